//! What a server sends: replies and notifications.
//!
//! Replies are also readable, for clients written in Rust and for tests.

use bytes::{Bytes, BytesMut};

use crate::record::records;
use crate::request::MultiHeader;
use crate::{
    Acl, Decode, Encode, ErrorCode, OpCode, Parsed, SessionId, Stat, Text, Xid, Zxid, begin_frame,
    end_frame,
};

records! {
    /// In front of every reply and notification.
    ReplyHeader {
        /// The request's xid, or one of [`Xid`]'s constants.
        xid: Xid,
        /// The last zxid this server had applied.
        zxid: Zxid,
        /// Number of an [`ErrorCode`].
        error: i32,
    }

    /// A notification's body.
    WatcherEvent {
        /// Number of an [`EventType`].
        kind: i32,
        /// Always 3: connected.
        state: i32,
        /// The path that was watched, or a descendant of a recursive watch's path.
        path: Text,
    }

    /// Body of a `create` reply, and of `sync`.
    PathReply {
        /// Path of the node, with its sequence number.
        path: Text,
    }

    /// Body of the other creations' replies.
    Create2Reply {
        /// Path of the node, with its sequence number.
        path: Text,
        /// Its `Stat`.
        stat: Stat,
    }

    /// Body of `getData` and `reconfig` replies.
    GetDataReply {
        /// The node's data.
        data: Option<Bytes>,
        /// Its `Stat`.
        stat: Stat,
    }

    /// Body of a `getChildren` reply, and of `getEphemerals`.
    PathsReply {
        /// Names of children, or paths of ephemeral nodes.
        paths: Option<Vec<Text>>,
    }

    /// Body of a `getChildren2` reply.
    GetChildren2Reply {
        /// Names.
        children: Option<Vec<Text>>,
        /// The parent's `Stat`.
        stat: Stat,
    }

    /// Body of a `getACL` reply.
    GetAclReply {
        /// The ACL.
        acl: Option<Vec<Acl>>,
        /// The node's `Stat`.
        stat: Stat,
    }

    /// One identity of a connection, as `whoAmI` shows it.
    ClientInfo {
        /// The scheme.
        auth_scheme: Text,
        /// The user, without secrets.
        user: Text,
    }

    /// Body of a `whoAmI` reply.
    WhoAmIReply {
        /// Every identity of the connection.
        client_info: Option<Vec<ClientInfo>>,
    }
}

/// The first frame of a server.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct ConnectResponse {
    /// Always 0.
    pub protocol_version: i32,
    /// The negotiated session timeout in milliseconds; 0: the session is gone.
    pub timeout_ms: i32,
    /// The session; [`SessionId::NONE`]: it is gone.
    pub session_id: SessionId,
    /// Its password, always 16 bytes.
    pub password: [u8; 16],
    /// Whether the server only reads; sent only to a client that sent its own flag.
    pub read_only: Option<bool>,
}

impl Encode for ConnectResponse {
    fn encode(&self, out: &mut BytesMut) {
        self.protocol_version.encode(out);
        self.timeout_ms.encode(out);
        self.session_id.encode(out);
        Some(&self.password[..]).encode(out);
        if let Some(read_only) = self.read_only {
            read_only.encode(out);
        }
    }
}

impl Decode for ConnectResponse {
    fn decode<'a>(input: &'a [u8], frame: &Bytes) -> Parsed<'a, ConnectResponse> {
        let (input, protocol_version) = Decode::decode(input, frame)?;
        let (input, timeout_ms) = Decode::decode(input, frame)?;
        let (input, session_id) = Decode::decode(input, frame)?;
        let (input, sent) = <Option<Bytes> as Decode>::decode(input, frame)?;
        let mut password = [0; 16];
        if let Some(sent) = sent.filter(|sent| sent.len() == password.len()) {
            password.copy_from_slice(&sent);
        }
        let (input, read_only) = match input.split_first() {
            Some((flag, rest)) => (rest, Some(*flag != 0)),
            None => (input, None),
        };
        Ok((
            input,
            ConnectResponse { protocol_version, timeout_ms, session_id, password, read_only },
        ))
    }
}

/// What a notification tells.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[repr(i32)]
pub enum EventType {
    /// The node came into being.
    NodeCreated = 1,
    /// The node is gone.
    NodeDeleted = 2,
    /// Its data was set.
    NodeDataChanged = 3,
    /// A child was created or deleted.
    NodeChildrenChanged = 4,
}

impl EventType {
    /// The event type with this number, if a server sends it.
    pub const fn from_number(number: i32) -> Option<EventType> {
        match number {
            1 => Some(EventType::NodeCreated),
            2 => Some(EventType::NodeDeleted),
            3 => Some(EventType::NodeDataChanged),
            4 => Some(EventType::NodeChildrenChanged),
            _ => None,
        }
    }
}

/// The only state servers send in a [`WatcherEvent`].
pub const STATE_SYNC_CONNECTED: i32 = 3;

/// Body of a reply that succeeded, and result of an operation inside a multi.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Body {
    /// Nothing.
    Empty,
    /// Of `create` and `sync`.
    Path(Text),
    /// Of the other creations.
    PathStat(String, Stat),
    /// Of `setData`, `setACL` and `exists`.
    Stat(Stat),
    /// Of `getData` and `reconfig`.
    Data(Option<Bytes>, Stat),
    /// Of `getChildren` and `getEphemerals`.
    Paths(Vec<String>),
    /// Of `getChildren2`.
    PathsStat(Vec<String>, Stat),
    /// Of `getACL`.
    Acl(Vec<Acl>, Stat),
    /// Of `getAllChildrenNumber`.
    Count(i32),
    /// Of `addWatch`.
    Error(ErrorCode),
    /// Of `whoAmI`.
    WhoAmI(Vec<ClientInfo>),
    /// Of `sasl`.
    Token(Option<Bytes>),
    /// Of `multi` and `multiRead`.
    Multi(Vec<MultiResult>),
}

/// Result of one operation inside a `multi` or `multiRead`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum MultiResult {
    /// It was carried out; the code tells what the body is.
    Done(OpCode, Body),
    /// It was not, or was undone; [`ErrorCode::Ok`] stands for an operation before the failed one.
    Failed(ErrorCode),
}

impl Encode for MultiResult {
    fn encode(&self, out: &mut BytesMut) {
        match self {
            MultiResult::Done(op, body) => {
                MultiHeader { op: *op as i32, done: false, error: 0 }.encode(out);
                body.encode(out);
            }
            MultiResult::Failed(code) => {
                let code = *code as i32;
                MultiHeader { op: -1, done: false, error: code }.encode(out);
                code.encode(out);
            }
        }
    }
}

impl Encode for Body {
    fn encode(&self, out: &mut BytesMut) {
        match self {
            Body::Empty => {}
            Body::Path(path) => path.encode(out),
            Body::PathStat(path, stat) => {
                path.as_str().encode(out);
                stat.encode(out);
            }
            Body::Stat(stat) => stat.encode(out),
            Body::Data(data, stat) => {
                data.encode(out);
                stat.encode(out);
            }
            Body::Paths(paths) => encode_texts(paths, out),
            Body::PathsStat(paths, stat) => {
                encode_texts(paths, out);
                stat.encode(out);
            }
            Body::Acl(acl, stat) => {
                acl.encode(out);
                stat.encode(out);
            }
            Body::Count(count) => count.encode(out),
            Body::Error(code) => (*code as i32).encode(out),
            Body::WhoAmI(client_info) => client_info.encode(out),
            Body::Token(token) => token.encode(out),
            Body::Multi(results) => {
                for result in results {
                    result.encode(out);
                }
                MultiHeader::END.encode(out);
            }
        }
    }
}

/// Writes strings as a vector of ustrings.
fn encode_texts(texts: &[String], out: &mut BytesMut) {
    (texts.len() as i32).encode(out);
    for text in texts {
        text.as_str().encode(out);
    }
}

/// Appends a whole reply frame. A reply that carries an error has no body.
pub fn put_reply(out: &mut BytesMut, xid: Xid, zxid: Zxid, outcome: &Result<Body, ErrorCode>) {
    let start = begin_frame(out);
    let error = outcome.as_ref().err().map_or(0, |code| *code as i32);
    ReplyHeader { xid, zxid, error }.encode(out);
    if let Ok(body) = outcome {
        body.encode(out);
    }
    end_frame(out, start);
}

/// Appends a whole notification frame.
pub fn put_event(out: &mut BytesMut, zxid: Zxid, kind: EventType, path: &str) {
    let start = begin_frame(out);
    ReplyHeader { xid: Xid::NOTIFICATION, zxid, error: 0 }.encode(out);
    (kind as i32).encode(out);
    STATE_SYNC_CONNECTED.encode(out);
    path.encode(out);
    end_frame(out, start);
}

/// Appends the whole frame that answers a handshake.
pub fn put_connect_response(out: &mut BytesMut, response: &ConnectResponse) {
    let start = begin_frame(out);
    response.encode(out);
    end_frame(out, start);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode_all;

    /// Bytes as hexadecimal digits.
    fn hex(bytes: &[u8]) -> String {
        bytes.iter().fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"))
    }

    #[test]
    fn a_connect_response_has_37_bytes_with_the_flag_and_36_without() {
        let mut response = ConnectResponse {
            timeout_ms: 10_000,
            session_id: SessionId(0x0100_0012_07a1_0000),
            password: *b"0123456789abcdef",
            read_only: Some(false),
            ..ConnectResponse::default()
        };
        let mut out = BytesMut::new();
        put_connect_response(&mut out, &response);
        assert_eq!(
            hex(&out),
            "0000002500000000000027100100001207a1000000000010303132333435363738396162636465660\
             0"
        );
        response.read_only = None;
        out.clear();
        put_connect_response(&mut out, &response);
        assert_eq!(out.len(), 4 + 36);
        assert_eq!(decode_all::<ConnectResponse>(&out.freeze().slice(4..)), Ok(response));
    }

    #[test]
    fn a_ping_reply_and_a_notification_have_upstreams_bytes() {
        let mut out = BytesMut::new();
        put_reply(&mut out, Xid::PING, Zxid(0x27), &Ok(Body::Empty));
        assert_eq!(hex(&out), "00000010fffffffe000000000000002700000000");
        out.clear();
        put_event(&mut out, Zxid(0x51), EventType::NodeCreated, "/w/c");
        assert_eq!(
            hex(&out),
            "00000020ffffffff00000000000000510000000000000001000000030000000\
             42f772f63"
        );
    }

    #[test]
    fn a_failed_multi_tells_which_operation_failed_and_carries_no_header_error() {
        let results = vec![
            MultiResult::Failed(ErrorCode::Ok),
            MultiResult::Failed(ErrorCode::BadVersion),
            MultiResult::Failed(ErrorCode::RuntimeInconsistency),
        ];
        let mut out = BytesMut::new();
        put_reply(&mut out, Xid(1), Zxid(5), &Ok(Body::Multi(results)));
        assert_eq!(
            hex(&out[20..]),
            "ffffffff000000000000000000ffffffff00ffffff99ffffff99ffffffff00fffffffefffffffe\
             ffffffff01ffffffff"
        );
    }
}
