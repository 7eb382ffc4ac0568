//! A client that stays: a session that goes on with the next server when its own is gone.
//!
//! It does what applications' clients do: it pings, it gives up a connection that is silent for two
//! thirds of the session timeout, and it asks the next server of its list to go on with the session,
//! showing the last zxid it saw. Requests on their way over a lost connection have failed, because
//! nobody knows whether they were carried out; those that come due meanwhile wait, and go out when
//! the session goes on. Times count from when a request was due.
//!
//! Where the Java client pauses for up to a second before it tries again, this one only pauses when
//! it has asked every server in vain: the servers are measured, not the pause.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use bytes::{Bytes, BytesMut};
use jute::reply::ReplyHeader;
use jute::request::{ConnectRequest, RequestHeader};
use jute::{
    Encode as _, ErrorCode, OpCode, SessionId, Xid, Zxid, begin_frame, decode_all, end_frame,
    split_frame,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::timeout;

use crate::clock::{Pacer, now, sleep_until};
use crate::drive::Pace;
use crate::session::{Session, create, put_close, put_request, set_data};

/// After every server was asked in vain.
const PAUSE: Duration = Duration::from_millis(20);
/// Requests without a reply, at most; later ones wait, and their time counts.
const IN_FLIGHT_MAX: usize = 1_000;
/// The longest reply to a write.
const FRAME_BYTES_MAX: usize = 1 << 20;
/// How long the reply to the end of a session may take.
const FAREWELL: Duration = Duration::from_secs(2);

/// What became of a client or of its request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Happened {
    /// A server has opened the session or goes on with it.
    Attached,
    /// The connection is gone.
    Lost,
    /// The session is gone.
    Expired,
    /// The write with this number was carried out.
    Acknowledged { due: Instant, number: u64 },
    /// A write was refused, or its connection was lost before the reply.
    Failed,
}

/// When something happened to whom, and which server it was about.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Note {
    pub(crate) at: Instant,
    pub(crate) client: usize,
    pub(crate) server: usize,
    pub(crate) what: Happened,
}

/// What happened, in order.
#[derive(Clone, Default)]
pub(crate) struct Journal(Arc<Mutex<Vec<Note>>>);

impl Journal {
    fn add(&self, note: Note) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(note);
    }

    /// All so far.
    pub(crate) fn notes(&self) -> Vec<Note> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How many of them are like this.
    pub(crate) fn count(&self, is_meant: impl Fn(&Note) -> bool) -> usize {
        let notes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        notes.iter().filter(|note| is_meant(note)).count()
    }
}

/// The writes of a client: even numbers create a node, odd ones change the folder's data.
#[derive(Clone, Debug)]
pub(crate) struct Work {
    pub(crate) pace: Pace,
    /// How many there are.
    pub(crate) limit: u64,
    pub(crate) folder: String,
    /// What the name of a new node begins with.
    pub(crate) prefix: String,
    pub(crate) data: Bytes,
    /// The create mode's number.
    pub(crate) flags: i32,
}

impl Work {
    fn name(&self, number: u64) -> String {
        format!("{}{number:010}", self.prefix)
    }

    fn put(&self, out: &mut BytesMut, xid: Xid, number: u64) {
        if number.is_multiple_of(2) {
            let path = format!("{}/{}", self.folder, self.name(number));
            put_request(out, xid, OpCode::Create, &create(&path, &self.data, self.flags));
        } else {
            put_request(out, xid, OpCode::SetData, &set_data(&self.folder, &self.data));
        }
    }
}

/// A session, whichever server it is attached to.
pub(crate) struct Client {
    number: usize,
    servers: Arc<[SocketAddr]>,
    /// The server that it is attached to or asks.
    server: usize,
    timeout: Duration,
    session: SessionId,
    password: Bytes,
    seen: Zxid,
    work: Work,
    made: u64,
    journal: Journal,
}

/// One connection of a client.
#[derive(Default)]
struct Line {
    input: BytesMut,
    output: BytesMut,
    requests: i32,
    /// From when each request without a reply counts, and its number; oldest first.
    pending: VecDeque<(Xid, Instant, u64)>,
    /// The request that ends the session, once it was sent.
    farewell: Option<Xid>,
    has_ended: bool,
}

impl Line {
    fn next_xid(&mut self) -> Xid {
        self.requests += 1;
        Xid(self.requests)
    }
}

impl Client {
    /// A client that begins with the server whose number its own gives.
    pub(crate) fn new(
        number: usize,
        servers: Arc<[SocketAddr]>,
        timeout: Duration,
        work: Work,
        journal: Journal,
    ) -> Client {
        Client {
            number,
            server: number % servers.len().max(1),
            servers,
            timeout,
            session: SessionId::NONE,
            password: Bytes::from_static(&[0; 16]),
            seen: Zxid::ZERO,
            work,
            made: 0,
            journal,
        }
    }

    /// The name of the node that its write with this number creates.
    pub(crate) fn name(&self, number: u64) -> String {
        self.work.name(number)
    }

    fn note(&self, what: Happened) {
        let (client, server) = (self.number, self.server);
        self.journal.add(Note { at: now(), client, server, what });
    }

    /// Lives until it is told to stop, and ends its session then.
    pub(crate) async fn live(mut self, mut stop: watch::Receiver<bool>) {
        let mut in_vain = 0;
        while !*stop.borrow() {
            let attached = tokio::select! {
                biased;
                _ = stop.changed() => return,
                attached = self.attach() => attached,
            };
            if let Ok(stream) = attached {
                in_vain = 0;
                self.note(Happened::Attached);
                let mut line = Line::default();
                let served = self.serve(stream, &mut line, &mut stop).await;
                if served.is_ok() {
                    return;
                }
                line.pending.iter().for_each(|_| self.note(Happened::Failed));
                self.note(Happened::Lost);
            } else {
                in_vain += 1;
            }
            self.server = (self.server + 1) % self.servers.len().max(1);
            if in_vain >= self.servers.len() {
                in_vain = 0;
                tokio::time::sleep(PAUSE).await;
            }
        }
    }

    /// Asks the server for a session, or to go on with the one there is.
    async fn attach(&mut self) -> Result<TcpStream> {
        let Some(address) = self.servers.get(self.server).copied() else {
            bail!("there is no server");
        };
        let request = ConnectRequest {
            last_zxid_seen: self.seen,
            timeout_ms: self.timeout.as_millis() as i32,
            session_id: self.session,
            password: Some(self.password.clone()),
            read_only: Some(false),
            ..ConnectRequest::default()
        };
        let patience = self.timeout / self.servers.len() as u32;
        let (session, response) = timeout(patience, Session::ask(address, &request)).await??;
        if response.timeout_ms <= 0 {
            self.note(Happened::Expired);
            self.session = SessionId::NONE;
            self.password = Bytes::from_static(&[0; 16]);
            bail!("the session has expired");
        }
        let is_ours = self.session == SessionId::NONE || self.session == response.session_id;
        ensure!(is_ours, "the server gives another session");
        self.session = response.session_id;
        self.password = Bytes::copy_from_slice(&response.password);
        self.timeout = Duration::from_millis(response.timeout_ms as u64);
        session.into_stream()
    }

    /// Works until the connection is lost, which is the error, or until it is told to stop.
    async fn serve(
        &mut self,
        mut stream: TcpStream,
        line: &mut Line,
        stop: &mut watch::Receiver<bool>,
    ) -> Result<()> {
        let (mut reader, mut writer) = stream.split();
        // Each is a file, of which a crowd has none to spare; its requests have no pace either.
        let mut pacer = if self.work.limit > 1 { Some(Pacer::new()?) } else { None };
        let (mut heard, mut said) = (now(), now());
        loop {
            let due = self.put_what_is_due(line);
            if now() >= said + self.timeout / 3 {
                put_ping(&mut line.output);
                said = now();
            }
            let (silence, ping) = (heard + self.timeout * 2 / 3, said + self.timeout / 3);
            ensure!(now() < silence, "the server is silent");
            let wake = due.unwrap_or(ping).min(ping).min(silence);
            line.input.reserve(1_024);
            tokio::select! {
                biased;
                _ = stop.changed(), if line.farewell.is_none() => {
                    let xid = line.next_xid();
                    put_close(&mut line.output, xid);
                    line.farewell = Some(xid);
                    self.timeout = self.timeout.min(FAREWELL);
                    heard = now();
                }
                written = writer.write_buf(&mut line.output), if !line.output.is_empty() => {
                    ensure!(written? > 0, "the server takes nothing any more");
                    said = now();
                }
                read = reader.read_buf(&mut line.input) => {
                    ensure!(read? > 0, "the server closed the connection");
                    heard = now();
                    self.take_replies(line)?;
                    if line.has_ended {
                        return Ok(());
                    }
                }
                waited = wait(pacer.as_mut(), wake) => waited?,
            }
        }
    }

    /// Appends the requests that are due; returns when the next one is.
    fn put_what_is_due(&mut self, line: &mut Line) -> Option<Instant> {
        while self.made < self.work.limit
            && line.pending.len() < IN_FLIGHT_MAX
            && line.farewell.is_none()
        {
            let pace = self.work.pace;
            let due = pace.first + pace.interval.mul_f64(self.made as f64);
            if due > now() {
                return Some(due);
            }
            let xid = line.next_xid();
            self.work.put(&mut line.output, xid, self.made);
            line.pending.push_back((xid, due, self.made));
            self.made += 1;
        }
        None
    }

    /// Takes every whole reply off the input.
    fn take_replies(&mut self, line: &mut Line) -> Result<()> {
        while let Some(frame) = split_frame(&mut line.input, FRAME_BYTES_MAX)? {
            let header: ReplyHeader = decode_all(&frame)?;
            if header.xid == Xid::PING || header.xid == Xid::NOTIFICATION {
                continue;
            }
            self.seen = self.seen.max(header.zxid);
            if line.farewell == Some(header.xid) {
                line.has_ended = true;
                continue;
            }
            let Some((xid, due, number)) = line.pending.pop_front() else {
                bail!("a reply that nothing asked for");
            };
            ensure!(xid == header.xid, "reply {:?} came instead of {xid:?}", header.xid);
            let is_done = header.error == ErrorCode::Ok as i32;
            let what =
                if is_done { Happened::Acknowledged { due, number } } else { Happened::Failed };
            self.note(what);
        }
        Ok(())
    }
}

fn put_ping(out: &mut BytesMut) {
    let start = begin_frame(out);
    RequestHeader { xid: Xid::PING, op: OpCode::Ping as i32 }.encode(out);
    end_frame(out, start);
}

async fn wait(pacer: Option<&mut Pacer>, moment: Instant) -> Result<()> {
    match pacer {
        Some(pacer) => pacer.sleep_until(moment).await?,
        None => sleep_until(moment).await,
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use jute::reply::{Body, ConnectResponse, put_reply};
    use tokio::net::TcpListener;

    const SESSION: SessionId = SessionId(7);
    const PASSWORD: [u8; 16] = [5; 16];

    /// Takes one connection: answers its beginning, then so many writes, and closes.
    async fn one_connection(
        listener: &TcpListener,
        timeout_ms: i32,
        writes: i64,
    ) -> ConnectRequest {
        let (mut stream, _) = listener.accept().await.unwrap();
        let (mut input, mut output) = (BytesMut::new(), BytesMut::new());
        let mut hello: Option<ConnectRequest> = None;
        let mut answered = 0;
        while hello.is_none() || answered < writes {
            assert!(stream.read_buf(&mut input).await.unwrap() > 0, "the client has gone");
            while let Some(frame) = split_frame(&mut input, 10_000).unwrap() {
                if hello.is_none() {
                    hello = Some(decode_all(&frame).unwrap());
                    let (session_id, password) = (SESSION, PASSWORD);
                    let response = ConnectResponse {
                        protocol_version: 0,
                        timeout_ms,
                        session_id,
                        password,
                        read_only: Some(false),
                    };
                    let start = begin_frame(&mut output);
                    response.encode(&mut output);
                    end_frame(&mut output, start);
                } else if answered < writes {
                    let header: RequestHeader = decode_all(&frame).unwrap();
                    answered += 1;
                    put_reply(&mut output, header.xid, Zxid(answered), &Ok(Body::Empty));
                }
                stream.write_all_buf(&mut output).await.unwrap();
            }
        }
        hello.unwrap()
    }

    #[tokio::test]
    async fn a_session_goes_on_with_the_next_server_and_an_expired_one_begins_anew() {
        let (first, second) = (TcpListener::bind("127.0.0.1:0"), TcpListener::bind("127.0.0.1:0"));
        let (first, second) = (first.await.unwrap(), second.await.unwrap());
        let servers = [&first, &second].map(|one| one.local_addr().unwrap());
        let work = Work {
            pace: Pace { first: now(), interval: Duration::from_millis(5) },
            limit: u64::MAX,
            folder: "/a".to_owned(),
            prefix: "n-".to_owned(),
            data: Bytes::new(),
            flags: 0,
        };
        let journal = Journal::default();
        let (stop, stopped) = watch::channel(false);
        let timeout = Duration::from_secs(6);
        let client = Client::new(0, Arc::from(servers), timeout, work, journal.clone());
        let client = tokio::spawn(client.live(stopped));

        let new = one_connection(&first, 6_000, 3).await;
        let moved = one_connection(&second, 0, 0).await;
        let again = one_connection(&first, 6_000, 1).await;
        stop.send_replace(true);
        client.await.unwrap();

        assert_eq!((new.session_id, new.last_zxid_seen), (SessionId::NONE, Zxid::ZERO));
        assert_eq!((moved.session_id, moved.last_zxid_seen), (SESSION, Zxid(3)));
        assert_eq!(moved.password.as_deref(), Some(&PASSWORD[..]));
        assert_eq!((again.session_id, again.last_zxid_seen), (SessionId::NONE, Zxid(3)));
        let all = |what| journal.count(|note| note.what == what);
        let written = journal.count(|note| matches!(note.what, Happened::Acknowledged { .. }));
        assert_eq!((all(Happened::Attached), all(Happened::Expired), written), (2, 1, 4));
    }
}
