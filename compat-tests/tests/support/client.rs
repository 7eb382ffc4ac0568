//! A client that sends as much as it likes before it reads, and sees every reply as it came.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use bytes::{Bytes, BytesMut};
use compat_tests::control::{FRAME_BYTES_MAX, now};
use compat_tests::engine::{Engine as _, Received, Tcp, Wire};
use jute::reply::{ConnectResponse, Create2Reply, GetChildren2Reply, GetDataReply, ReplyHeader};
use jute::request::{self, ConnectRequest, PathWatch, RequestHeader};
use jute::{
    Acl, Decode, Encode, ErrorCode, OpCode, Perms, SessionId, Stat, Version, Xid, Zxid,
    begin_frame, decode_all, end_frame, split_frame,
};

/// How long one answer may take, on a machine that has much else to do.
pub(crate) const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// A session, as its client knows it.
#[derive(Clone, Debug)]
pub(crate) struct Session {
    /// Its id.
    pub(crate) id: SessionId,
    /// Its password.
    pub(crate) password: [u8; 16],
    /// Its negotiated timeout.
    pub(crate) timeout_ms: i32,
}

/// What came.
#[derive(Debug)]
pub(crate) enum Arrival {
    /// A reply or a notification.
    Reply(Reply),
    /// The end of the connection.
    End,
}

/// A reply or a notification.
#[derive(Clone, Debug)]
pub(crate) struct Reply {
    /// The request's number, or that of a notification.
    pub(crate) xid: Xid,
    /// The transaction.
    pub(crate) zxid: Zxid,
    /// The code; 0 for success.
    pub(crate) error: i32,
    /// What follows the header.
    pub(crate) body: Bytes,
}

impl Reply {
    /// The body of a reply that must be a success.
    ///
    /// # Errors
    ///
    /// It is none, or not of this kind.
    pub(crate) fn body<T: Decode>(&self) -> Result<T> {
        ensure!(self.error == 0, "refused with {}", self.error);
        Ok(decode_all(&self.body)?)
    }

    /// Whether the code is this one.
    pub(crate) fn is(&self, code: ErrorCode) -> bool {
        self.error == code as i32
    }
}

/// A connection with a session.
pub(crate) struct Client {
    wire: Box<dyn Wire>,
    input: BytesMut,
    output: BytesMut,
    xid: i32,
    /// The session.
    pub(crate) session: Session,
}

/// The body of requests without one.
pub(crate) struct Nothing;

impl Encode for Nothing {
    fn encode(&self, _: &mut BytesMut) {}
}

/// A port of this machine.
fn local(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}

impl Client {
    /// Opens a session.
    ///
    /// # Errors
    ///
    /// The server does not.
    pub(crate) fn open(port: u16, timeout_ms: i32) -> Result<Client> {
        Client::open_at(local(port), timeout_ms)
    }

    /// As [`Client::open`], at any address.
    ///
    /// # Errors
    ///
    /// The server does not.
    pub(crate) fn open_at(address: SocketAddr, timeout_ms: i32) -> Result<Client> {
        Client::connect(address, timeout_ms, None)?.context("the server opens no session")
    }

    /// Continues a session; `None` if the server says that it is gone.
    ///
    /// # Errors
    ///
    /// No answer.
    pub(crate) fn attach(port: u16, session: &Session) -> Result<Option<Client>> {
        Client::attach_at(local(port), session)
    }

    /// As [`Client::attach`], at any address.
    ///
    /// # Errors
    ///
    /// No answer.
    pub(crate) fn attach_at(address: SocketAddr, session: &Session) -> Result<Option<Client>> {
        Client::connect(address, session.timeout_ms, Some(session))
    }

    fn connect(
        address: SocketAddr,
        timeout_ms: i32,
        session: Option<&Session>,
    ) -> Result<Option<Client>> {
        let wire = Tcp::new(address).dial()?;
        let unknown = Session { id: SessionId::NONE, password: [0; 16], timeout_ms };
        let session = session.unwrap_or(&unknown).clone();
        let request = ConnectRequest {
            timeout_ms,
            session_id: session.id,
            password: Some(Bytes::copy_from_slice(&session.password)),
            read_only: Some(false),
            ..ConnectRequest::default()
        };
        let (input, output) = (BytesMut::new(), BytesMut::new());
        let mut client = Client { wire, input, output, xid: 0, session };
        let start = begin_frame(&mut client.output);
        request.encode(&mut client.output);
        end_frame(&mut client.output, start);
        client.flush();
        let frame = client.frame(ANSWER_TIMEOUT)?.context("the handshake is not answered")?;
        let response: ConnectResponse = decode_all(&frame)?;
        let ConnectResponse { session_id: id, password, timeout_ms, .. } = response;
        client.session = Session { id, password, timeout_ms };
        Ok((id != SessionId::NONE).then_some(client))
    }

    /// Adds a request to those that the next [`Client::flush`] sends.
    pub(crate) fn queue(&mut self, op: OpCode, record: &impl Encode) -> Xid {
        self.xid += 1;
        let xid = if op == OpCode::Ping { Xid::PING } else { Xid(self.xid) };
        let start = begin_frame(&mut self.output);
        RequestHeader { xid, op: op as i32 }.encode(&mut self.output);
        record.encode(&mut self.output);
        end_frame(&mut self.output, start);
        xid
    }

    /// Sends what was queued.
    pub(crate) fn flush(&mut self) {
        let output = self.output.split();
        self.wire.send(&output);
    }

    /// Sends bytes as they are.
    pub(crate) fn send_raw(&mut self, bytes: &[u8]) {
        self.wire.send(bytes);
    }

    /// The next frame; `None` at the end of the connection.
    fn frame(&mut self, limit: Duration) -> Result<Option<Bytes>> {
        let deadline = now() + limit;
        loop {
            if let Some(frame) = split_frame(&mut self.input, FRAME_BYTES_MAX)? {
                return Ok(Some(frame));
            }
            let left = deadline.saturating_duration_since(now());
            ensure!(!left.is_zero(), "nothing came within {limit:?}");
            if self.wire.receive(&mut self.input, left) == Received::End {
                return Ok(None);
            }
        }
    }

    /// What comes next, waiting for it.
    ///
    /// # Errors
    ///
    /// Nothing comes.
    pub(crate) fn receive(&mut self) -> Result<Arrival> {
        self.receive_within(ANSWER_TIMEOUT)
    }

    /// What comes next within a time.
    ///
    /// # Errors
    ///
    /// Nothing comes.
    pub(crate) fn receive_within(&mut self, limit: Duration) -> Result<Arrival> {
        let Some(frame) = self.frame(limit)? else { return Ok(Arrival::End) };
        let Ok((rest, header)) = ReplyHeader::decode(&frame, &frame) else {
            bail!("a reply without a header");
        };
        let body = frame.slice_ref(rest);
        let ReplyHeader { xid, zxid, error } = header;
        Ok(Arrival::Reply(Reply { xid, zxid, error, body }))
    }

    /// The next reply; notifications are passed over.
    ///
    /// # Errors
    ///
    /// The connection ends, or nothing comes.
    pub(crate) fn reply(&mut self) -> Result<Reply> {
        loop {
            match self.receive()? {
                Arrival::Reply(reply) if reply.xid != Xid::NOTIFICATION => return Ok(reply),
                Arrival::Reply(_) => {}
                Arrival::End => bail!("the server closed the connection"),
            }
        }
    }

    /// Sends a request and waits for its reply.
    ///
    /// # Errors
    ///
    /// No reply, or that to another request.
    pub(crate) fn call(&mut self, op: OpCode, record: &impl Encode) -> Result<Reply> {
        let xid = self.queue(op, record);
        self.flush();
        let reply = self.reply()?;
        ensure!(reply.xid == xid, "reply to {:?}, waiting for {xid:?}", reply.xid);
        Ok(reply)
    }

    /// Creates a node that must not exist, for everybody; gives its path and `Stat`.
    ///
    /// # Errors
    ///
    /// The server refuses.
    pub(crate) fn create(&mut self, path: &str, data: &[u8], flags: i32) -> Result<(String, Stat)> {
        let reply = self.call(OpCode::Create2, &create(path, data, flags))?;
        let created: Create2Reply = reply.body().with_context(|| format!("creating {path}"))?;
        Ok((created.path.unwrap_or_default(), created.stat))
    }

    /// Reads a node; `None` if there is none.
    ///
    /// # Errors
    ///
    /// The server refuses.
    pub(crate) fn get(&mut self, path: &str) -> Result<Option<(Bytes, Stat)>> {
        let reply = self.call(OpCode::GetData, &watchless(path))?;
        if reply.is(ErrorCode::NoNode) {
            return Ok(None);
        }
        let read: GetDataReply = reply.body().with_context(|| format!("reading {path}"))?;
        Ok(Some((read.data.unwrap_or_default(), read.stat)))
    }

    /// Names of a node's children, with its `Stat`.
    ///
    /// # Errors
    ///
    /// The server refuses.
    pub(crate) fn children(&mut self, path: &str) -> Result<(Vec<String>, Stat)> {
        let reply = self.call(OpCode::GetChildren2, &watchless(path))?;
        let list: GetChildren2Reply = reply.body().with_context(|| format!("listing {path}"))?;
        Ok((list.children.unwrap_or_default().into_iter().flatten().collect(), list.stat))
    }

    /// Sets a node's data; gives the transaction and the `Stat`.
    ///
    /// # Errors
    ///
    /// The server refuses.
    pub(crate) fn set(
        &mut self,
        path: &str,
        data: &[u8],
        version: Version,
    ) -> Result<(Zxid, Stat)> {
        let reply = self.call(OpCode::SetData, &set(path, data, version))?;
        Ok((reply.zxid, reply.body().with_context(|| format!("setting {path}"))?))
    }

    /// Deletes a node, whatever its version.
    ///
    /// # Errors
    ///
    /// The server refuses.
    pub(crate) fn delete(&mut self, path: &str) -> Result<Zxid> {
        let reply = self.call(OpCode::Delete, &delete(path, Version::ANY))?;
        ensure!(reply.error == 0, "deleting {path}: {}", reply.error);
        Ok(reply.zxid)
    }

    /// Ends the session.
    ///
    /// # Errors
    ///
    /// No answer.
    pub(crate) fn close(mut self) -> Result<Zxid> {
        let reply = self.call(OpCode::CloseSession, &Nothing)?;
        ensure!(reply.error == 0, "the session cannot be closed: {}", reply.error);
        Ok(reply.zxid)
    }
}

/// A request to create a node for everybody.
pub(crate) fn create(path: &str, data: &[u8], flags: i32) -> request::Create {
    request::Create {
        path: Some(path.to_owned()),
        data: Some(Bytes::copy_from_slice(data)),
        acl: Some(vec![Acl::anyone(Perms::ALL)]),
        flags,
    }
}

/// A request to set a node's data.
pub(crate) fn set(path: &str, data: &[u8], version: Version) -> request::SetData {
    let data = Some(Bytes::copy_from_slice(data));
    request::SetData { path: Some(path.to_owned()), data, version }
}

/// A request to delete a node.
pub(crate) fn delete(path: &str, version: Version) -> request::Delete {
    request::Delete { path: Some(path.to_owned()), version }
}

/// A request to read a node without a watch.
pub(crate) fn watchless(path: &str) -> PathWatch {
    PathWatch { path: Some(path.to_owned()), watch: false }
}
