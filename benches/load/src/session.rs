//! A session with a server: what sets the stage, watches, and takes locks.
//!
//! One request at a time, or many at once with nobody measuring. What is measured under load is
//! in [`drive`](crate::drive).

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use bytes::{Bytes, BytesMut};
use jute::reply::{ConnectResponse, PathReply, PathsReply, ReplyHeader, WatcherEvent};
use jute::request::{ConnectRequest, Create, Delete, PathOnly, PathWatch, RequestHeader, SetData};
use jute::{
    Acl, Encode, ErrorCode, OpCode, Perms, Version, Xid, begin_frame, decode_all, end_frame,
    split_frame,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// The session timeout asked for; sessions that stay idle for less need no pings. The longest that
/// a server grants by default, with its tick of 2 s.
pub(crate) const SESSION_TIMEOUT_MS: i32 = 40_000;
/// How long anything may take. A server that needs longer has failed, not slowed down.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);
/// The longest frame read. Replies with the names of very many children are long.
const FRAME_BYTES_MAX: usize = 256 << 20;
/// Bytes of a reply before its body.
const REPLY_HEADER_BYTES: usize = 16;
/// Number of the create mode: gone with its session, numbered by the server.
pub(crate) const EPHEMERAL_SEQUENTIAL: i32 = 3;
/// Number of the create mode: gone with its session.
pub(crate) const EPHEMERAL: i32 = 1;
/// Number of the create mode.
pub(crate) const PERSISTENT: i32 = 0;
/// Requests on their way at once while the stage is set.
const STAGE_IN_FLIGHT: usize = 256;

/// Appends one request.
pub(crate) fn put_request(out: &mut BytesMut, xid: Xid, op: OpCode, body: &impl Encode) {
    let start = begin_frame(out);
    RequestHeader { xid, op: op as i32 }.encode(out);
    body.encode(out);
    end_frame(out, start);
}

/// Appends the request that ends a session; it has no body.
pub(crate) fn put_close(out: &mut BytesMut, xid: Xid) {
    let start = begin_frame(out);
    RequestHeader { xid, op: OpCode::CloseSession as i32 }.encode(out);
    end_frame(out, start);
}

/// A creation that anybody may do anything with.
pub(crate) fn create(path: &str, data: &Bytes, flags: i32) -> Create {
    let acl = Some(vec![Acl::anyone(Perms::ALL)]);
    Create { path: Some(path.to_owned()), data: Some(data.clone()), acl, flags }
}

/// A deletion of whatever version.
pub(crate) fn delete(path: &str) -> Delete {
    Delete { path: Some(path.to_owned()), version: Version::ANY }
}

/// New data for whatever version.
pub(crate) fn set_data(path: &str, data: &Bytes) -> SetData {
    SetData { path: Some(path.to_owned()), data: Some(data.clone()), version: Version::ANY }
}

/// A read.
pub(crate) fn read(path: &str, watch: bool) -> PathWatch {
    PathWatch { path: Some(path.to_owned()), watch }
}

/// A reply to one request.
pub(crate) struct Reply {
    pub(crate) error: i32,
    pub(crate) body: Bytes,
}

impl Reply {
    /// Whether the reply carries `code`.
    pub(crate) fn is(&self, code: ErrorCode) -> bool {
        self.error == code as i32
    }

    /// Fails unless the request was carried out.
    pub(crate) fn succeeded(self, what: &str) -> Result<Bytes> {
        ensure!(self.is(ErrorCode::Ok), "{what}: the server answers {}", self.error);
        Ok(self.body)
    }
}

/// A session.
pub(crate) struct Session {
    stream: TcpStream,
    input: BytesMut,
    events: VecDeque<WatcherEvent>,
    requests: i32,
}

impl Session {
    /// Opens a session.
    pub(crate) async fn open(address: SocketAddr) -> Result<Session> {
        Session::open_with(address, SESSION_TIMEOUT_MS).await
    }

    /// Opens a session that asks for this timeout.
    pub(crate) async fn open_with(address: SocketAddr, timeout_ms: i32) -> Result<Session> {
        let request = ConnectRequest {
            timeout_ms,
            password: Some(Bytes::from_static(&[0; 16])),
            read_only: Some(false),
            ..ConnectRequest::default()
        };
        let (session, response) = Session::ask(address, &request).await?;
        ensure!(response.timeout_ms > 0, "the server opens no session");
        Ok(session)
    }

    /// Asks for a session, or for one to go on; the answer may be that there is none.
    pub(crate) async fn ask(
        address: SocketAddr,
        request: &ConnectRequest,
    ) -> Result<(Session, ConnectResponse)> {
        let connect = TcpStream::connect(address);
        let stream = timeout(PATIENCE, connect).await.context("connecting takes too long")??;
        ensure!(stream.local_addr()? != stream.peer_addr()?, "the connection reached itself");
        stream.set_nodelay(true)?;
        let mut session =
            Session { stream, input: BytesMut::new(), events: VecDeque::new(), requests: 0 };
        let mut out = BytesMut::new();
        let start = begin_frame(&mut out);
        request.encode(&mut out);
        end_frame(&mut out, start);
        session.stream.write_all(&out).await?;
        let response: ConnectResponse = decode_all(&session.frame().await?)?;
        Ok((session, response))
    }

    /// The bare connection, of which everything has been read.
    pub(crate) fn into_stream(self) -> Result<TcpStream> {
        ensure!(self.input.is_empty(), "something is left to read");
        Ok(self.stream)
    }

    async fn frame(&mut self) -> Result<Bytes> {
        loop {
            if let Some(frame) = split_frame(&mut self.input, FRAME_BYTES_MAX)? {
                return Ok(frame);
            }
            let read = self.stream.read_buf(&mut self.input);
            let read = timeout(PATIENCE, read).await.context("the server does not answer")??;
            ensure!(read > 0, "the server closed the connection");
        }
    }

    /// The next reply; events before it are kept.
    async fn reply(&mut self) -> Result<(Xid, Reply)> {
        loop {
            let frame = self.frame().await?;
            let header: ReplyHeader = decode_all(&frame)?;
            let body = frame.slice(REPLY_HEADER_BYTES..);
            if header.xid != Xid::NOTIFICATION {
                return Ok((header.xid, Reply { error: header.error, body }));
            }
            self.events.push_back(decode_all(&body)?);
        }
    }

    fn next_xid(&mut self) -> Xid {
        self.requests = self.requests.wrapping_add(1) & i32::MAX;
        Xid(self.requests)
    }

    /// Sends one request and waits for its reply.
    pub(crate) async fn call(&mut self, op: OpCode, body: &impl Encode) -> Result<Reply> {
        let mut out = BytesMut::new();
        let xid = self.next_xid();
        put_request(&mut out, xid, op, body);
        self.stream.write_all(&out).await?;
        let (answered, reply) = self.reply().await?;
        ensure!(answered == xid, "the reply to {answered:?} came for {xid:?}");
        Ok(reply)
    }

    /// Sends many requests, several at a time; each must succeed or be refused with `refusal`.
    pub(crate) async fn call_all<B: Encode>(
        &mut self,
        op: OpCode,
        bodies: impl IntoIterator<Item = B>,
        refusal: Option<ErrorCode>,
    ) -> Result<u64> {
        let mut bodies = bodies.into_iter();
        let mut done = 0;
        loop {
            let mut out = BytesMut::new();
            let mut sent = 0;
            for body in bodies.by_ref().take(STAGE_IN_FLIGHT) {
                put_request(&mut out, self.next_xid(), op, &body);
                sent += 1;
            }
            if sent == 0 {
                return Ok(done);
            }
            self.stream.write_all(&out).await?;
            for _ in 0..sent {
                let (xid, reply) = self.reply().await?;
                let is_fine =
                    reply.is(ErrorCode::Ok) || refusal.is_some_and(|refusal| reply.is(refusal));
                ensure!(
                    is_fine,
                    "{}, request {xid:?}: the server answers {}",
                    op.name(),
                    reply.error
                );
            }
            done += sent;
        }
    }

    /// Creates a node without data, unless it is there.
    pub(crate) async fn ensure_node(&mut self, path: &str) -> Result<()> {
        let creation = create(path, &Bytes::new(), PERSISTENT);
        self.call_all(OpCode::Create, [creation], Some(ErrorCode::NodeExists)).await.map(drop)
    }

    /// Creates a node and tells its path, with the number that the server gave it.
    pub(crate) async fn create(&mut self, path: &str, data: &Bytes, flags: i32) -> Result<String> {
        let reply = self.call(OpCode::Create, &create(path, data, flags)).await?;
        let reply: PathReply = decode_all(&reply.succeeded(path)?)?;
        reply.path.context("a creation without a path")
    }

    /// The names of a node's children.
    pub(crate) async fn children(&mut self, path: &str) -> Result<Vec<String>> {
        let reply = self.call(OpCode::GetChildren, &read(path, false)).await?;
        let reply: PathsReply = decode_all(&reply.succeeded(path)?)?;
        Ok(reply.paths.unwrap_or_default().into_iter().flatten().collect())
    }

    /// Whether a node exists; leaves a watch.
    pub(crate) async fn exists_watched(&mut self, path: &str) -> Result<bool> {
        let reply = self.call(OpCode::Exists, &read(path, true)).await?;
        match reply.error {
            error if error == ErrorCode::Ok as i32 => Ok(true),
            error if error == ErrorCode::NoNode as i32 => Ok(false),
            error => bail!("exists {path}: the server answers {error}"),
        }
    }

    /// The next event.
    pub(crate) async fn event(&mut self) -> Result<WatcherEvent> {
        if let Some(event) = self.events.pop_front() {
            return Ok(event);
        }
        let frame = self.frame().await?;
        let header: ReplyHeader = decode_all(&frame)?;
        ensure!(header.xid == Xid::NOTIFICATION, "a reply that nothing asked for");
        Ok(decode_all(&frame.slice(REPLY_HEADER_BYTES..))?)
    }

    /// Forgets the events that came.
    pub(crate) fn forget_events(&mut self) {
        self.events.clear();
    }

    /// Deletes a node and all below it, if it is there.
    pub(crate) async fn remove_all(&mut self, path: &str) -> Result<()> {
        let mut folders = vec![path.to_owned()];
        let mut found = Vec::new();
        while let Some(folder) = folders.pop() {
            let reply = self.call(OpCode::GetChildren, &read(&folder, false)).await?;
            if reply.is(ErrorCode::NoNode) {
                continue;
            }
            let children: PathsReply = decode_all(&reply.succeeded(&folder)?)?;
            let names = children.paths.unwrap_or_default();
            folders.extend(names.into_iter().flatten().map(|name| format!("{folder}/{name}")));
            found.push(folder);
        }
        // Children were found after their parents.
        let deletions = found.iter().rev().map(|path| delete(path));
        self.call_all(OpCode::Delete, deletions, Some(ErrorCode::NoNode)).await.map(drop)
    }

    /// Waits until the server has done all it was asked for before.
    pub(crate) async fn sync(&mut self) -> Result<()> {
        let reply = self.call(OpCode::Sync, &PathOnly { path: Some("/".to_owned()) }).await?;
        reply.succeeded("sync").map(drop)
    }

    /// Ends the session.
    pub(crate) async fn close(mut self) -> Result<()> {
        let mut out = BytesMut::new();
        let xid = self.next_xid();
        put_close(&mut out, xid);
        self.stream.write_all(&out).await?;
        let (answered, reply) = self.reply().await?;
        ensure!(answered == xid, "the reply to {answered:?} came for {xid:?}");
        reply.succeeded("closeSession").map(drop)
    }
}
