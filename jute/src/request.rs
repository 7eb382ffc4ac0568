//! What a client sends: the handshake, and requests by operation.

use bytes::{Bytes, BytesMut};
use nom::error::ErrorKind;

use crate::record::records;
use crate::{
    Acl, Decode, Encode, Malformed, OpCode, Parsed, SessionId, Text, Version, Xid, Zxid, decode_all,
};

records! {
    /// In front of every request.
    RequestHeader {
        /// Comes back with the reply.
        xid: Xid,
        /// The operation's number; [`OpCode::from_number`] may not know it.
        op: i32,
    }

    /// `create`, `create2` and `createContainer`.
    Create {
        /// Path of the node, without the sequence number.
        path: Text,
        /// Its data.
        data: Option<Bytes>,
        /// Its ACL.
        acl: Option<Vec<Acl>>,
        /// Number of the create mode.
        flags: i32,
    }

    /// `createTTL`.
    CreateTtl {
        /// As in [`Create`].
        path: Text,
        /// As in [`Create`].
        data: Option<Bytes>,
        /// As in [`Create`].
        acl: Option<Vec<Acl>>,
        /// As in [`Create`].
        flags: i32,
        /// How long the node may be left unchanged, in milliseconds.
        ttl_ms: i64,
    }

    /// `delete`.
    Delete {
        /// Which node.
        path: Text,
        /// The version it must have.
        version: Version,
    }

    /// `setData`.
    SetData {
        /// Which node.
        path: Text,
        /// Its new data.
        data: Option<Bytes>,
        /// The version it must have.
        version: Version,
    }

    /// `setACL`.
    SetAcl {
        /// Which node.
        path: Text,
        /// Its new ACL.
        acl: Option<Vec<Acl>>,
        /// The ACL version it must have.
        version: Version,
    }

    /// `check`, inside `multi` only.
    Check {
        /// Which node.
        path: Text,
        /// The version it must have.
        version: Version,
    }

    /// `exists`, `getData`, `getChildren` and `getChildren2`.
    PathWatch {
        /// Which node.
        path: Text,
        /// Whether to leave a one-shot watch.
        watch: bool,
    }

    /// `getACL`, `sync`, `getEphemerals`, `getAllChildrenNumber` and, sent as a buffer of the same
    /// bytes, `deleteContainer`.
    PathOnly {
        /// Which node; a prefix for `getEphemerals`.
        path: Text,
    }

    /// `addWatch`.
    AddWatch {
        /// Which path.
        path: Text,
        /// 0 persistent, 1 persistent and recursive.
        mode: i32,
    }

    /// `checkWatches` and `removeWatches`.
    WatchesOf {
        /// Which path.
        path: Text,
        /// Number of the watcher type.
        kind: i32,
    }

    /// `setWatches`.
    SetWatches {
        /// The last zxid the client saw in a reply.
        relative_zxid: Zxid,
        /// Paths of watches left by `getData` and by `exists` of a node that was there.
        data_watches: Option<Vec<Text>>,
        /// Paths of watches left by `exists` of a node that was not there.
        exist_watches: Option<Vec<Text>>,
        /// Paths of watches left by `getChildren`.
        child_watches: Option<Vec<Text>>,
    }

    /// `setWatches2`.
    SetWatches2 {
        /// As in [`SetWatches`].
        relative_zxid: Zxid,
        /// As in [`SetWatches`].
        data_watches: Option<Vec<Text>>,
        /// As in [`SetWatches`].
        exist_watches: Option<Vec<Text>>,
        /// As in [`SetWatches`].
        child_watches: Option<Vec<Text>>,
        /// Paths of persistent watches.
        persistent_watches: Option<Vec<Text>>,
        /// Paths of persistent recursive watches.
        persistent_recursive_watches: Option<Vec<Text>>,
    }

    /// `reconfig`.
    Reconfig {
        /// Servers to add or change.
        joining_servers: Text,
        /// Servers to remove.
        leaving_servers: Text,
        /// The whole membership, instead of the two above.
        new_members: Text,
        /// The version the configuration must have; -1 for any.
        current_config_id: i64,
    }

    /// `addauth`.
    Auth {
        /// Always 0.
        kind: i32,
        /// For example `digest`.
        scheme: Text,
        /// For example `user:password`.
        auth: Option<Bytes>,
    }

    /// One step of a SASL exchange.
    Sasl {
        /// Opaque here.
        token: Option<Bytes>,
    }

    /// In front of every operation of a multi and of every result.
    MultiHeader {
        /// The operation's number; -1 for an error and at the end.
        op: i32,
        /// Whether this is the end.
        done: bool,
        /// Error code of a result; -1 in requests.
        error: i32,
    }
}

impl MultiHeader {
    /// The end of a multi, in both directions.
    pub const END: MultiHeader = MultiHeader { op: -1, done: true, error: -1 };
}

/// The first frame of a client.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct ConnectRequest {
    /// Always 0; ignored.
    pub protocol_version: i32,
    /// The last zxid the client saw in a reply.
    pub last_zxid_seen: Zxid,
    /// The session timeout it would like, in milliseconds.
    pub timeout_ms: i32,
    /// The session to continue, or [`SessionId::NONE`] for a new one.
    pub session_id: SessionId,
    /// The session's password.
    pub password: Option<Bytes>,
    /// Whether a server that only reads will do; old clients do not send this.
    pub read_only: Option<bool>,
}

impl Decode for ConnectRequest {
    fn decode<'a>(input: &'a [u8], frame: &Bytes) -> Parsed<'a, ConnectRequest> {
        let (input, protocol_version) = Decode::decode(input, frame)?;
        let (input, last_zxid_seen) = Decode::decode(input, frame)?;
        let (input, timeout_ms) = Decode::decode(input, frame)?;
        let (input, session_id) = Decode::decode(input, frame)?;
        let (input, password) = Decode::decode(input, frame)?;
        let (input, read_only) = match input.split_first() {
            Some((flag, rest)) => (rest, Some(*flag != 0)),
            None => (input, None),
        };
        let request = ConnectRequest {
            protocol_version,
            last_zxid_seen,
            timeout_ms,
            session_id,
            password,
            read_only,
        };
        Ok((input, request))
    }
}

impl Encode for ConnectRequest {
    fn encode(&self, out: &mut BytesMut) {
        self.protocol_version.encode(out);
        self.last_zxid_seen.encode(out);
        self.timeout_ms.encode(out);
        self.session_id.encode(out);
        self.password.encode(out);
        if let Some(read_only) = self.read_only {
            read_only.encode(out);
        }
    }
}

/// One operation inside a `multi` or a `multiRead`, as it came.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum MultiOp {
    /// `create`, `create2` or `createContainer`.
    Create(OpCode, Create),
    /// `createTTL`.
    CreateTtl(CreateTtl),
    /// `delete`.
    Delete(Delete),
    /// `setData`.
    SetData(SetData),
    /// `check`.
    Check(Check),
    /// `getData`; the watch flag is ignored.
    GetData(PathWatch),
    /// `getChildren`; the watch flag is ignored.
    GetChildren(PathWatch),
}

impl MultiOp {
    /// Whether the operation belongs into a `multiRead`.
    pub const fn is_read(&self) -> bool {
        matches!(self, MultiOp::GetData(_) | MultiOp::GetChildren(_))
    }

    /// The operation's code.
    pub const fn op(&self) -> OpCode {
        match self {
            MultiOp::Create(op, _) => *op,
            MultiOp::CreateTtl(_) => OpCode::CreateTtl,
            MultiOp::Delete(_) => OpCode::Delete,
            MultiOp::SetData(_) => OpCode::SetData,
            MultiOp::Check(_) => OpCode::Check,
            MultiOp::GetData(_) => OpCode::GetData,
            MultiOp::GetChildren(_) => OpCode::GetChildren,
        }
    }
}

/// The operations of a `multi` or a `multiRead`, or the number of one that cannot be in either.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Multi {
    /// Every operation could be read.
    Ops(Vec<MultiOp>),
    /// An operation of this number stood among them; what follows it cannot be read.
    UnknownOp(i32),
}

impl Decode for Multi {
    fn decode<'a>(input: &'a [u8], frame: &Bytes) -> Parsed<'a, Multi> {
        let mut ops = Vec::new();
        let (mut input, mut header) = MultiHeader::decode(input, frame)?;
        while !header.done {
            let (rest, op) = match OpCode::from_number(header.op) {
                Some(OpCode::CreateTtl) => {
                    into(CreateTtl::decode(input, frame), MultiOp::CreateTtl)
                }
                Some(OpCode::Delete) => into(Delete::decode(input, frame), MultiOp::Delete),
                Some(OpCode::SetData) => into(SetData::decode(input, frame), MultiOp::SetData),
                Some(OpCode::Check) => into(Check::decode(input, frame), MultiOp::Check),
                Some(OpCode::GetData) => into(PathWatch::decode(input, frame), MultiOp::GetData),
                Some(OpCode::GetChildren) => {
                    into(PathWatch::decode(input, frame), MultiOp::GetChildren)
                }
                Some(op @ (OpCode::Create | OpCode::Create2 | OpCode::CreateContainer)) => {
                    into(Create::decode(input, frame), |create| MultiOp::Create(op, create))
                }
                _ => return Ok((input, Multi::UnknownOp(header.op))),
            }?;
            ops.push(op);
            (input, header) = MultiHeader::decode(rest, frame)?;
        }
        Ok((input, Multi::Ops(ops)))
    }
}

/// Turns what was parsed into something else.
fn into<T, U>(parsed: Parsed<'_, T>, convert: impl FnOnce(T) -> U) -> Parsed<'_, U> {
    parsed.map(|(rest, value)| (rest, convert(value)))
}

impl Encode for MultiOp {
    fn encode(&self, out: &mut BytesMut) {
        MultiHeader { op: self.op() as i32, done: false, error: -1 }.encode(out);
        match self {
            MultiOp::Create(_, request) => request.encode(out),
            MultiOp::CreateTtl(request) => request.encode(out),
            MultiOp::Delete(request) => request.encode(out),
            MultiOp::SetData(request) => request.encode(out),
            MultiOp::Check(request) => request.encode(out),
            MultiOp::GetData(request) | MultiOp::GetChildren(request) => request.encode(out),
        }
    }
}

impl Encode for Multi {
    fn encode(&self, out: &mut BytesMut) {
        match self {
            Multi::Ops(ops) => ops.iter().for_each(|op| op.encode(out)),
            Multi::UnknownOp(op) => MultiHeader { op: *op, done: false, error: -1 }.encode(out),
        }
        MultiHeader::END.encode(out);
    }
}

/// A request, by operation, as it came.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Request {
    /// `create`, `create2` or `createContainer`.
    Create(OpCode, Create),
    /// `createTTL`.
    CreateTtl(CreateTtl),
    /// `delete`.
    Delete(Delete),
    /// `exists`.
    Exists(PathWatch),
    /// `getData`.
    GetData(PathWatch),
    /// `setData`.
    SetData(SetData),
    /// `getACL`.
    GetAcl(PathOnly),
    /// `setACL`.
    SetAcl(SetAcl),
    /// `getChildren`.
    GetChildren(PathWatch),
    /// `getChildren2`.
    GetChildren2(PathWatch),
    /// `sync`.
    Sync(PathOnly),
    /// `ping`.
    Ping,
    /// `multi`.
    Multi(Multi),
    /// `multiRead`.
    MultiRead(Multi),
    /// `reconfig`.
    Reconfig(Reconfig),
    /// `checkWatches`.
    CheckWatches(WatchesOf),
    /// `removeWatches`.
    RemoveWatches(WatchesOf),
    /// `addauth`.
    Auth(Auth),
    /// `sasl`.
    Sasl(Sasl),
    /// `setWatches`, with empty lists of persistent watches, and `setWatches2`.
    SetWatches(SetWatches2),
    /// `getEphemerals`.
    GetEphemerals(PathOnly),
    /// `getAllChildrenNumber`.
    GetAllChildrenNumber(PathOnly),
    /// `addWatch`.
    AddWatch(AddWatch),
    /// `whoAmI`.
    WhoAmI,
    /// `closeSession`.
    CloseSession,
}

impl Request {
    /// Reads the body of a request; bytes after it are ignored.
    ///
    /// # Errors
    ///
    /// [`Malformed`]: the body cannot be read, or `op` is none that a client may send by itself.
    pub fn decode(op: OpCode, body: &Bytes) -> Result<Request, Malformed> {
        Ok(match op {
            OpCode::Create | OpCode::Create2 | OpCode::CreateContainer => {
                Request::Create(op, decode_all(body)?)
            }
            OpCode::CreateTtl => Request::CreateTtl(decode_all(body)?),
            OpCode::Delete => Request::Delete(decode_all(body)?),
            OpCode::Exists => Request::Exists(decode_all(body)?),
            OpCode::GetData => Request::GetData(decode_all(body)?),
            OpCode::SetData => Request::SetData(decode_all(body)?),
            OpCode::GetAcl => Request::GetAcl(decode_all(body)?),
            OpCode::SetAcl => Request::SetAcl(decode_all(body)?),
            OpCode::GetChildren => Request::GetChildren(decode_all(body)?),
            OpCode::GetChildren2 => Request::GetChildren2(decode_all(body)?),
            OpCode::Sync => Request::Sync(decode_all(body)?),
            OpCode::Ping => Request::Ping,
            OpCode::Multi => Request::Multi(decode_all(body)?),
            OpCode::MultiRead => Request::MultiRead(decode_all(body)?),
            OpCode::Reconfig => Request::Reconfig(decode_all(body)?),
            OpCode::CheckWatches => Request::CheckWatches(decode_all(body)?),
            OpCode::RemoveWatches => Request::RemoveWatches(decode_all(body)?),
            OpCode::Auth => Request::Auth(decode_all(body)?),
            OpCode::Sasl => Request::Sasl(decode_all(body)?),
            OpCode::SetWatches => Request::SetWatches(decode_all::<SetWatches>(body)?.into()),
            OpCode::SetWatches2 => Request::SetWatches(decode_all(body)?),
            OpCode::GetEphemerals => Request::GetEphemerals(decode_all(body)?),
            OpCode::GetAllChildrenNumber => Request::GetAllChildrenNumber(decode_all(body)?),
            OpCode::AddWatch => Request::AddWatch(decode_all(body)?),
            OpCode::WhoAmI => Request::WhoAmI,
            OpCode::CloseSession => Request::CloseSession,
            OpCode::CreateSession
            | OpCode::Error
            | OpCode::Notification
            | OpCode::Check
            | OpCode::DeleteContainer => {
                return Err(Malformed { kind: ErrorKind::Switch, remaining: body.len() });
            }
        })
    }
}

impl From<SetWatches> for SetWatches2 {
    fn from(request: SetWatches) -> SetWatches2 {
        SetWatches2 {
            relative_zxid: request.relative_zxid,
            data_watches: request.data_watches,
            exist_watches: request.exist_watches,
            child_watches: request.child_watches,
            persistent_watches: Some(Vec::new()),
            persistent_recursive_watches: Some(Vec::new()),
        }
    }
}

#[cfg(test)]
mod tests;
