//! A client with one session that moves from server to server and writes down all it sees.
//!
//! It never repeats a request: what is unanswered when a connection ends stays unanswered.

use std::collections::{BTreeSet, VecDeque};
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use bytes::{Bytes, BytesMut};
use jute::reply::{
    ConnectResponse, Create2Reply, GetChildren2Reply, GetDataReply, ReplyHeader, WatcherEvent,
};
use jute::request::{self, ConnectRequest, PathWatch, RequestHeader};
use jute::{
    Acl, Decode, Encode, OpCode, Perms, SessionId, Stat, Version, Xid, Zxid, begin_frame,
    decode_all, end_frame, split_frame,
};

use super::chance::Chance;
use super::history::{Ask, Connection, Expiry, Notice, Operation, Recorder, Reply, Told};
use crate::control::{FRAME_BYTES_MAX, now};

/// How long a connection may take to open.
const DIAL_TIMEOUT: Duration = Duration::from_millis(700);
/// How long a reply may take until the client tries another server.
pub const PATIENCE: Duration = Duration::from_millis(2_500);
/// How long to rest when no server was found.
const REST: Duration = Duration::from_millis(30);
/// How long a client may look for a server.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(40);
/// Bytes read at once.
const READ_BYTES: usize = 16 * 1024;

/// What a session is known by.
#[derive(Clone, Debug)]
struct Session {
    id: i64,
    password: [u8; 16],
    timeout_ms: i32,
}

/// A request that waits for its reply.
struct Pending {
    xid: Xid,
    index: usize,
}

/// A connection that carries the session.
struct Link {
    stream: TcpStream,
    input: BytesMut,
    pending: VecDeque<Pending>,
}

/// Watches that the client wants to have, and brings along to another server.
#[derive(Clone, Debug, Default)]
struct Watches {
    data: BTreeSet<String>,
    exist: BTreeSet<String>,
    child: BTreeSet<String>,
    below: BTreeSet<String>,
}

/// What a client needs to know of the world.
#[derive(Clone)]
pub struct World {
    /// Where the servers are.
    pub addresses: Vec<SocketAddr>,
    /// Where to write down what happens.
    pub recorder: Recorder,
    /// Whether it is time to come to an end.
    pub stop: Arc<AtomicBool>,
    /// Where numbers come from.
    pub chance: Chance,
    /// Whether requests are numbered anew on each connection. A real ZooKeeper then takes the commit of
    /// a request from the connection before for that of another with the same number.
    pub restarts_xids: bool,
}

impl World {
    /// Whether it is time to come to an end.
    pub fn is_over(&self) -> bool {
        self.stop.load(Ordering::SeqCst)
    }
}

/// The client.
pub struct Client {
    /// Its number.
    pub id: usize,
    world: World,
    chance: Chance,
    timeout_ms: i32,
    session: Option<Session>,
    link: Option<Link>,
    watches: Watches,
    /// Where its next connection goes, once.
    destination: Option<usize>,
    zxid_seen: i64,
    connections: u64,
    arrivals: u64,
    numbers: u64,
    alive: u64,
    xid: i32,
    noticed: u64,
}

/// What came.
enum Came {
    Frame(Bytes),
    Nothing,
    End,
}

impl Link {
    fn receive(&mut self, deadline: Instant) -> Came {
        loop {
            match split_frame(&mut self.input, FRAME_BYTES_MAX) {
                Ok(Some(frame)) => return Came::Frame(frame),
                Ok(None) => {}
                Err(_) => return Came::End,
            }
            let left = deadline.saturating_duration_since(now()).max(Duration::from_millis(1));
            let mut bytes = [0; READ_BYTES];
            if self.stream.set_read_timeout(Some(left)).is_err() {
                return Came::End;
            }
            match self.stream.read(&mut bytes) {
                Ok(0) => return Came::End,
                Ok(length) => {
                    self.input.extend_from_slice(bytes.get(..length).unwrap_or_default());
                }
                Err(error) => {
                    let is_early =
                        [ErrorKind::WouldBlock, ErrorKind::TimedOut, ErrorKind::Interrupted];
                    if !is_early.contains(&error.kind()) {
                        return Came::End;
                    }
                    if now() >= deadline {
                        return Came::Nothing;
                    }
                }
            }
        }
    }
}

fn frame(out: &mut BytesMut, write: impl FnOnce(&mut BytesMut)) {
    let start = begin_frame(out);
    write(out);
    end_frame(out, start);
}

fn texts<'a>(paths: impl IntoIterator<Item = &'a String>) -> Vec<Option<String>> {
    paths.into_iter().cloned().map(Some).collect()
}

/// Writes a request's body; gives its operation.
fn encode(ask: &Ask, out: &mut BytesMut) -> OpCode {
    let path = Some(ask.path().to_owned());
    match ask {
        Ask::Create { value, mode, .. } => {
            let data = Some(Bytes::copy_from_slice(value.as_bytes()));
            let acl = Some(vec![Acl::anyone(Perms::ALL)]);
            request::Create { path, data, acl, flags: mode.flags() }.encode(out);
            OpCode::Create2
        }
        Ask::Set { value, version, .. } => {
            let data = Some(Bytes::copy_from_slice(value.as_bytes()));
            request::SetData { path, data, version: Version(*version) }.encode(out);
            OpCode::SetData
        }
        Ask::Delete { version, .. } => {
            request::Delete { path, version: Version(*version) }.encode(out);
            OpCode::Delete
        }
        Ask::Get { watch, .. } => {
            PathWatch { path, watch: *watch }.encode(out);
            OpCode::GetData
        }
        Ask::Exists { watch, .. } => {
            PathWatch { path, watch: *watch }.encode(out);
            OpCode::Exists
        }
        Ask::Children { watch, .. } => {
            PathWatch { path, watch: *watch }.encode(out);
            OpCode::GetChildren2
        }
        Ask::Sync { .. } => {
            request::PathOnly { path }.encode(out);
            OpCode::Sync
        }
        Ask::WatchBelow { .. } => {
            request::AddWatch { path, mode: 1 }.encode(out);
            OpCode::AddWatch
        }
        Ask::SetWatches { since, data, exist, child, below } => {
            let request = request::SetWatches2 {
                relative_zxid: Zxid(*since),
                data_watches: Some(texts(data)),
                exist_watches: Some(texts(exist)),
                child_watches: Some(texts(child)),
                persistent_watches: Some(Vec::new()),
                persistent_recursive_watches: Some(texts(below)),
            };
            request.encode(out);
            OpCode::SetWatches2
        }
        Ask::Ping => OpCode::Ping,
        Ask::Close => OpCode::CloseSession,
    }
}

fn text(bytes: Option<Bytes>) -> String {
    String::from_utf8_lossy(&bytes.unwrap_or_default()).into_owned()
}

/// Reads what a successful reply told.
fn decode(ask: &Ask, body: &Bytes) -> Result<Told> {
    Ok(match ask {
        Ask::Create { .. } => {
            let Create2Reply { path, stat } = decode_all(body)?;
            Told::Node(path.unwrap_or_default(), stat)
        }
        Ask::Set { .. } | Ask::Exists { .. } => Told::Stat(decode_all::<Stat>(body)?),
        Ask::Get { .. } => {
            let GetDataReply { data, stat } = decode_all(body)?;
            Told::Data(text(data), stat)
        }
        Ask::Children { .. } => {
            let GetChildren2Reply { children, stat } = decode_all(body)?;
            Told::Children(children.unwrap_or_default().into_iter().flatten().collect(), stat)
        }
        Ask::Delete { .. }
        | Ask::Sync { .. }
        | Ask::WatchBelow { .. }
        | Ask::SetWatches { .. }
        | Ask::Ping
        | Ask::Close => Told::Nothing,
    })
}

impl Client {
    /// A client that is not connected.
    pub fn new(id: usize, world: &World, timeout_ms: i32) -> Client {
        Client {
            id,
            world: world.clone(),
            chance: world.chance.branch(1_000 + id as u64),
            timeout_ms,
            session: None,
            link: None,
            watches: Watches::default(),
            destination: None,
            zxid_seen: 0,
            connections: 0,
            arrivals: 0,
            numbers: 0,
            alive: 0,
            xid: 0,
            noticed: 0,
        }
    }

    /// Its session, if it has one.
    pub fn session(&self) -> Option<i64> {
        self.session.as_ref().map(|session| session.id)
    }

    /// Whether it is connected.
    pub fn is_connected(&self) -> bool {
        self.link.is_some()
    }

    /// What it knows of the world.
    pub fn world(&self) -> &World {
        &self.world
    }

    /// Ends the connection, not the session; what is unanswered stays so.
    pub fn hang_up(&mut self) {
        self.link = None;
    }

    /// Forgets the session, as a client does that was killed.
    pub fn abandon(&mut self) {
        self.link = None;
        self.session = None;
        self.watches = Watches::default();
        self.zxid_seen = 0;
    }

    /// Moves to a server with the same session.
    pub fn move_to(&mut self, server: usize) {
        self.link = None;
        self.destination = Some(server);
    }

    /// Connects, if it is not: to continue its session, or with a new one if that is gone.
    ///
    /// Gives whether the session is the same as before.
    ///
    /// # Errors
    ///
    /// No server within [`CONNECT_TIMEOUT`], or it is over.
    pub fn connect(&mut self) -> Result<bool> {
        let before = self.session();
        let deadline = now() + CONNECT_TIMEOUT;
        while self.link.is_none() {
            ensure!(now() < deadline, "client {}: no server within {CONNECT_TIMEOUT:?}", self.id);
            let mut servers: Vec<usize> = (0..self.world.addresses.len()).collect();
            self.chance.shuffle(&mut servers);
            servers.splice(0..0, self.destination.take());
            for server in servers {
                match self.handshake(server) {
                    Ok(true) => break,
                    Ok(false) => bail!("client {}: a broken handshake", self.id),
                    Err(_) => {}
                }
            }
            if self.link.is_none() {
                std::thread::sleep(REST);
            }
        }
        Ok(before.is_some() && before == self.session())
    }

    /// Whether the server took the session, an own or a new one. An error: it is no good now.
    fn handshake(&mut self, server: usize) -> Result<bool> {
        let address = self.world.addresses.get(server).context("no such server")?;
        let stream = TcpStream::connect_timeout(address, DIAL_TIMEOUT)?;
        stream.set_nodelay(true)?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let (input, pending) = (BytesMut::new(), VecDeque::new());
        let mut link = Link { stream, input, pending };
        let none = Session { id: 0, password: [0; 16], timeout_ms: self.timeout_ms };
        let session = self.session.clone().unwrap_or(none);
        let connect = ConnectRequest {
            last_zxid_seen: Zxid(self.zxid_seen),
            timeout_ms: self.timeout_ms,
            session_id: SessionId(session.id),
            password: Some(Bytes::copy_from_slice(&session.password)),
            read_only: Some(false),
            ..ConnectRequest::default()
        };
        let sent = self.world.recorder.clock();
        let mut out = BytesMut::new();
        frame(&mut out, |out| connect.encode(out));
        link.stream.write_all(&out)?;
        let Came::Frame(answer) = link.receive(now() + PATIENCE) else { bail!("no answer") };
        let at = self.world.recorder.clock();
        let Ok(answer) = decode_all::<ConnectResponse>(&answer) else { return Ok(false) };
        if answer.session_id == SessionId::NONE {
            self.lose_session(&session, at);
            bail!("the session is gone");
        }
        if session.id != 0 && answer.session_id.0 != session.id {
            return Ok(false);
        }
        self.connections += 1;
        let connection = Connection {
            client: self.id,
            session: answer.session_id.0,
            connection: self.connections,
            server,
            at,
            seen: self.zxid_seen,
            resumed: session.id != 0,
            timeout_ms: answer.timeout_ms,
        };
        self.world.recorder.write(|history| history.connections.push(connection));
        if session.id == 0 {
            self.alive = sent;
        }
        if self.world.restarts_xids {
            self.xid = 0;
        }
        let (id, timeout_ms) = (answer.session_id.0, answer.timeout_ms);
        self.session = Some(Session { id, password: answer.password, timeout_ms });
        self.link = Some(link);
        self.bring_watches();
        Ok(true)
    }

    fn lose_session(&mut self, session: &Session, at: u64) {
        if session.id != 0 {
            let expiry = Expiry {
                client: self.id,
                session: session.id,
                at,
                alive: self.alive,
                timeout_ms: session.timeout_ms,
            };
            self.world.recorder.write(|history| history.expiries.push(expiry));
        }
        self.session = None;
        self.watches = Watches::default();
        self.zxid_seen = 0;
    }

    fn bring_watches(&mut self) {
        let Watches { data, exist, child, below } = self.watches.clone();
        if data.is_empty() && exist.is_empty() && child.is_empty() && below.is_empty() {
            return;
        }
        let list = |paths: BTreeSet<String>| paths.into_iter().collect();
        self.send(Ask::SetWatches {
            since: self.zxid_seen,
            data: list(data),
            exist: list(exist),
            child: list(child),
            below: list(below),
        });
    }

    /// Sends a request; its reply comes later. Without a connection it is not sent.
    pub fn send(&mut self, ask: Ask) -> Option<usize> {
        let link = self.link.as_mut()?;
        let (client, connection) = (self.id, self.connections);
        let session = self.session.as_ref().map_or(0, |session| session.id);
        self.xid += 1;
        let xid = if ask == Ask::Ping { Xid::PING } else { Xid(self.xid) };
        let mut body = BytesMut::new();
        let op = encode(&ask, &mut body);
        let mut out = BytesMut::new();
        frame(&mut out, |out| {
            RequestHeader { xid, op: op as i32 }.encode(out);
            out.extend_from_slice(&body);
        });
        self.numbers += 1;
        let (number, sent) = (self.numbers, self.world.recorder.clock());
        let operation = Operation { client, session, connection, number, sent, ask, reply: None };
        let index = self.world.recorder.sent(operation);
        link.pending.push_back(Pending { xid, index });
        // What fails here is seen as the end of the connection by the next read.
        let _ = link.stream.write_all(&out);
        Some(index)
    }

    /// Requests that wait for their replies.
    pub fn pending(&self) -> usize {
        self.link.as_ref().map_or(0, |link| link.pending.len())
    }

    /// Takes in one reply or notification within `limit`; gives the reply's operation, if it is one.
    ///
    /// # Errors
    ///
    /// What came breaks the protocol; a server that is gone is no error.
    pub fn receive(&mut self, limit: Duration) -> Result<Option<Operation>> {
        let Some(link) = self.link.as_mut() else { return Ok(None) };
        match link.receive(now() + limit) {
            Came::Nothing => Ok(None),
            Came::End => {
                self.link = None;
                Ok(None)
            }
            Came::Frame(frame) => self.take_in(&frame),
        }
    }

    fn take_in(&mut self, frame: &Bytes) -> Result<Option<Operation>> {
        let at = self.world.recorder.clock();
        let Ok((rest, header)) = ReplyHeader::decode(frame, frame) else {
            bail!("client {}: a reply without a header", self.id);
        };
        let body = frame.slice_ref(rest);
        self.arrivals += 1;
        let (arrival, zxid) = (self.arrivals, header.zxid.0);
        if header.xid == Xid::NOTIFICATION {
            let event: WatcherEvent = decode_all(&body)?;
            let notice = Notice {
                client: self.id,
                session: self.session().unwrap_or_default(),
                connection: self.connections,
                at,
                arrival,
                zxid,
                kind: event.kind,
                path: event.path.unwrap_or_default(),
            };
            self.forget_watch(&notice.path, notice.kind);
            self.noticed += 1;
            self.world.recorder.write(|history| history.notices.push(notice));
            return Ok(None);
        }
        let pending = self.link.as_mut().and_then(|link| link.pending.pop_front());
        let pending = pending.with_context(|| format!("client {}: no such request", self.id))?;
        ensure!(
            pending.xid == header.xid,
            "client {}: out of order: the reply to {:?} came before that to {:?}",
            self.id,
            header.xid,
            pending.xid
        );
        let recorder = self.world.recorder.clone();
        let operation = recorder.write(|history| history.operations.get(pending.index).cloned());
        let mut operation = operation.context("it was written down")?;
        let result = match header.error {
            0 => Ok(decode(&operation.ask, &body)?),
            code => Err(code),
        };
        let reply = Reply { at, arrival, zxid, result };
        recorder.replied(pending.index, reply.clone());
        operation.reply = Some(reply);
        if zxid > 0 {
            self.zxid_seen = self.zxid_seen.max(zxid);
        }
        if operation.ask.is_write() {
            self.alive = self.alive.max(operation.sent);
        }
        self.remember_watch(&operation);
        Ok(Some(operation))
    }

    fn remember_watch(&mut self, operation: &Operation) {
        let path = operation.ask.path().to_owned();
        match (&operation.ask, operation.refused()) {
            (Ask::Get { watch: true, .. } | Ask::Exists { watch: true, .. }, None) => {
                self.watches.data.insert(path);
            }
            (Ask::Exists { watch: true, .. }, Some(_)) => {
                self.watches.exist.insert(path);
            }
            (Ask::Children { watch: true, .. }, None) => {
                self.watches.child.insert(path);
            }
            (Ask::WatchBelow { .. }, None) => {
                self.watches.below.insert(path);
            }
            _ => {}
        }
    }

    /// One-shot watches that an event has used up.
    fn forget_watch(&mut self, path: &str, kind: i32) {
        if kind != 4 {
            self.watches.data.remove(path);
            self.watches.exist.remove(path);
        }
        if kind == 2 || kind == 4 {
            self.watches.child.remove(path);
        }
    }

    /// Sends a request and waits for its reply, connecting first. `None`: nobody knows what became of
    /// it, or it was not sent because the session is another than that the caller means.
    ///
    /// # Errors
    ///
    /// No server was found, or what came breaks the protocol.
    pub fn call(&mut self, ask: Ask) -> Result<Option<Operation>> {
        self.connect()?;
        let Some(index) = self.send(ask) else { return Ok(None) };
        self.await_reply(index)
    }

    /// Waits for the reply to a request that was sent.
    ///
    /// # Errors
    ///
    /// What came breaks the protocol.
    pub fn await_reply(&mut self, index: usize) -> Result<Option<Operation>> {
        let deadline = now() + PATIENCE;
        let waits = |client: &Client| {
            let pending = client.link.iter().flat_map(|link| link.pending.iter());
            pending.into_iter().any(|pending| pending.index == index)
        };
        let mut last = None;
        while waits(self) {
            let left = deadline.saturating_duration_since(now());
            if left.is_zero() {
                self.link = None; // This server is no good; try another.
                return Ok(None);
            }
            last = self.receive(left)?;
        }
        // The loop ends with this reply or, then without any, with the connection.
        Ok(last)
    }

    /// Waits for the replies to everything that was sent; gives those that came.
    ///
    /// # Errors
    ///
    /// What came breaks the protocol.
    pub fn await_all(&mut self) -> Result<Vec<Operation>> {
        let deadline = now() + PATIENCE;
        let mut answered = Vec::new();
        while self.pending() > 0 {
            let left = deadline.saturating_duration_since(now());
            if left.is_zero() {
                self.link = None;
                break;
            }
            answered.extend(self.receive(left)?);
        }
        Ok(answered)
    }

    /// Takes in notifications for a while.
    ///
    /// # Errors
    ///
    /// What came breaks the protocol.
    pub fn idle_quietly(&mut self, time: Duration) -> Result<()> {
        let deadline = now() + time;
        while now() < deadline && self.link.is_some() {
            self.receive(deadline.saturating_duration_since(now()))?;
        }
        std::thread::sleep(deadline.saturating_duration_since(now()));
        Ok(())
    }

    /// Waits for a notification, but not for long, and shows that it lives.
    ///
    /// # Errors
    ///
    /// No server was found, or what came breaks the protocol.
    pub fn await_notice(&mut self, limit: Duration) -> Result<()> {
        let deadline = now() + limit;
        let before = self.noticed;
        while self.noticed == before && now() < deadline && self.link.is_some() {
            self.receive(deadline.saturating_duration_since(now()))?;
        }
        self.call(Ask::Ping).map(drop)
    }

    /// Takes in notifications for a while, and shows that it lives.
    ///
    /// # Errors
    ///
    /// No server was found, or what came breaks the protocol.
    pub fn idle(&mut self, time: Duration) -> Result<()> {
        self.idle_quietly(time)?;
        self.call(Ask::Ping).map(drop)
    }

    /// Ends the session.
    ///
    /// # Errors
    ///
    /// What came breaks the protocol.
    pub fn close(&mut self) -> Result<()> {
        let closed = self.call(Ask::Close)?;
        if closed.is_some() {
            self.abandon();
        }
        Ok(())
    }
}
