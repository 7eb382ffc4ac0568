//! The runner's own client: gives a script its root node and cleans up behind it.
//!
//! It is connected only before and after a script, so that nothing it does can be seen in between.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use bytes::{BufMut, Bytes, BytesMut};
use jute::reply::{ConnectResponse, PathsReply, ReplyHeader};
use jute::request::{self, ConnectRequest, PathWatch, RequestHeader};
use jute::{
    Acl, Decode, Encode, ErrorCode, OpCode, Perms, SessionId, Version, Xid, begin_frame,
    decode_all, end_frame, split_frame,
};

use crate::engine::{Engine, Received, Wire};
use crate::names::KnownSession;

/// How long the server may take over one answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(15);

/// The longest frame that is read.
pub const FRAME_BYTES_MAX: usize = 64 * 1024 * 1024;

/// The most nodes that a script may leave behind.
const NODES_MAX: usize = 100_000;

/// The present, for time-outs of this crate.
#[allow(clippy::disallowed_methods, reason = "a client of servers that have clocks of their own")]
pub fn now() -> Instant {
    Instant::now()
}

/// A connected client.
pub struct Control {
    wire: Box<dyn Wire>,
    buffer: BytesMut,
    xid: i32,
}

impl Control {
    /// Opens a session, or continues `session`; `None` if the server says that it is gone.
    ///
    /// # Errors
    ///
    /// No connection, or no answer.
    pub fn connect(
        engine: &mut dyn Engine,
        session: Option<&KnownSession>,
    ) -> Result<Option<Control>> {
        let wire = engine.dial()?;
        let mut control = Control { wire, buffer: BytesMut::new(), xid: 0 };
        let request = ConnectRequest {
            timeout_ms: 30_000,
            session_id: SessionId(session.map_or(0, |session| session.id)),
            password: Some(
                session.map_or_else(|| vec![0; 16], |session| session.password.clone()).into(),
            ),
            read_only: Some(true),
            ..ConnectRequest::default()
        };
        control.send(&request);
        let frame = control.frame().context("handshake")?;
        let response: ConnectResponse = decode_all(&frame)?;
        if response.session_id == SessionId::NONE {
            return Ok(None);
        }
        let auth = request::Auth {
            scheme: Some("digest".into()),
            auth: Some(Bytes::from_static(b"runner:runner")),
            ..request::Auth::default()
        };
        let (_, outcome) = control.call(OpCode::Auth, &auth)?;
        ensure!(outcome.is_ok(), "addauth: {outcome:?}");
        Ok(Some(control))
    }

    fn send(&mut self, record: &impl Encode) {
        let mut out = BytesMut::new();
        let start = begin_frame(&mut out);
        record.encode(&mut out);
        end_frame(&mut out, start);
        self.wire.send(&out);
    }

    fn frame(&mut self) -> Result<Bytes> {
        let deadline = now() + ANSWER_TIMEOUT;
        loop {
            if let Some(frame) = split_frame(&mut self.buffer, FRAME_BYTES_MAX)? {
                return Ok(frame);
            }
            let left = deadline.saturating_duration_since(now());
            ensure!(!left.is_zero(), "no answer within {ANSWER_TIMEOUT:?}");
            let received = self.wire.receive(&mut self.buffer, left);
            ensure!(received != Received::End, "the server closed the runner's connection");
        }
    }

    /// Sends a request and waits for its reply: zxid, outcome and body.
    ///
    /// # Errors
    ///
    /// No answer.
    pub fn call(&mut self, op: OpCode, record: &impl Encode) -> Result<(i64, Result<Bytes, i32>)> {
        self.xid += 1;
        let xid = if op == OpCode::Auth { Xid::AUTH } else { Xid(self.xid) };
        let mut out = BytesMut::new();
        let start = begin_frame(&mut out);
        RequestHeader { xid, op: op as i32 }.encode(&mut out);
        record.encode(&mut out);
        end_frame(&mut out, start);
        self.wire.send(&out);
        let frame = self.frame()?;
        let (body, header) = ReplyHeader::decode(&frame, &frame)
            .map_err(|_| anyhow::anyhow!("reply without a header"))?;
        ensure!(header.xid == xid, "reply to {:?}, waiting for {xid:?}", header.xid);
        let body = frame.slice_ref(body);
        Ok((header.zxid.0, if header.error == 0 { Ok(body) } else { Err(header.error) }))
    }

    /// Closes the session and waits for the connection to end; gives the zxid of the close.
    ///
    /// # Errors
    ///
    /// No answer.
    pub fn close(mut self) -> Result<i64> {
        let (zxid, outcome) = self.call(OpCode::CloseSession, &Nothing)?;
        ensure!(outcome.is_ok(), "the session cannot be closed");
        let deadline = now() + ANSWER_TIMEOUT;
        while self.wire.receive(&mut self.buffer, Duration::from_secs(1)) != Received::End {
            ensure!(now() < deadline, "the connection stays open after closeSession");
        }
        Ok(zxid)
    }

    /// Creates `path`, which must not exist, for everybody.
    ///
    /// # Errors
    ///
    /// The server refuses.
    pub fn create(&mut self, path: &str) -> Result<()> {
        let create = request::Create {
            path: Some(path.to_owned()),
            data: Some(Bytes::new()),
            acl: Some(vec![Acl::anyone(Perms::ALL)]),
            flags: 0,
        };
        match self.call(OpCode::Create, &create)?.1 {
            Ok(_) => Ok(()),
            Err(code) => bail!("creating {path}: {code}"),
        }
    }

    /// Deletes `path` and all below it, as far as ACLs allow.
    ///
    /// # Errors
    ///
    /// No answer.
    pub fn delete_tree(&mut self, path: &str) -> Result<()> {
        let mut pending = vec![path.to_owned()];
        let mut found = Vec::new();
        while let Some(path) = pending.pop() {
            ensure!(found.len() < NODES_MAX, "more than {NODES_MAX} nodes left behind");
            let list = PathWatch { path: Some(path.clone()), watch: false };
            if let Ok(body) = self.call(OpCode::GetChildren, &list)?.1 {
                let children = decode_all::<PathsReply>(&body)?.paths.unwrap_or_default();
                pending.extend(children.iter().flatten().map(|child| format!("{path}/{child}")));
            }
            found.push(path);
        }
        for path in found.into_iter().rev() {
            let delete = request::Delete { path: Some(path.clone()), version: Version::ANY };
            let outcome = self.call(OpCode::Delete, &delete)?.1;
            let is_expected = outcome.is_ok()
                || [ErrorCode::NoNode, ErrorCode::NoAuth, ErrorCode::NotEmpty]
                    .iter()
                    .any(|code| outcome == Err(*code as i32));
            ensure!(is_expected, "deleting {path}: {outcome:?}");
        }
        Ok(())
    }
}

/// The body of requests without one.
struct Nothing;

impl Encode for Nothing {
    fn encode(&self, out: &mut BytesMut) {
        out.put_slice(&[]);
    }
}
