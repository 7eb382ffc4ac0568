//! What servers hand in to be decided, and how it is written to the log.
//!
//! Invariant 1: everything that may decide a write besides the tree is in here: time, identities,
//! server settings, random passwords.

use std::sync::Arc;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use jute::{
    Acl, Decode, Encode, ErrorCode, Id, OpCode, Parsed, SessionId, Text, Version, Xid, decode_all,
};

use super::{Holder, Owner};

/// Which kind of node a creation makes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct CreateMode {
    /// Whether the parent's sequence number is appended to the name.
    pub sequential: bool,
    /// Whether the node belongs to the session that creates it.
    pub ephemeral: bool,
    /// The owner it has otherwise.
    pub owner: Owner,
}

/// A request that changes state.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Write {
    /// Any of the creations; `op` decides which reply is sent.
    Create {
        op: OpCode,
        path: String,
        data: Option<Bytes>,
        acl: Option<Vec<Acl>>,
        flags: i32,
        ttl_ms: i64,
    },
    /// Deletes a node.
    Delete { path: String, version: Version },
    /// Replaces a node's data.
    SetData { path: String, data: Option<Bytes>, version: Version },
    /// Replaces a node's ACL.
    SetAcl { path: String, acl: Option<Vec<Acl>>, version: Version },
    /// Compares a version, inside a multi.
    Check { path: String, version: Version },
    /// All of them or none.
    Multi(Vec<Write>),
    /// Opens a session with an id and a password of the accepting server's choice.
    OpenSession { timeout_ms: i32, password: [u8; 16] },
    /// Moves a session to the connection of the origin.
    AttachSession { timeout_ms: i32 },
    /// Ends a session: the client's wish if `expired_holder` is none, else the leader's, and only
    /// if that connection still holds it.
    CloseSession { expired_holder: Option<Holder> },
    /// Deletes an emptied container or an outlived TTL node, if it still is one.
    Reap { path: String, never_used_ms_max: i64 },
    /// A request that was found impossible at the door and only consumes a zxid, as upstream's do.
    Refused(ErrorCode),
}

/// Who asks, on which connection, and what the reply must carry.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Origin {
    /// The connection.
    pub holder: Holder,
    /// Its session; [`SessionId::NONE`] for the leader's own requests.
    pub session: SessionId,
    /// The request's number.
    pub xid: Xid,
    /// The submission's number among those of its server since its start; 0: it has none, since
    /// it is handed in once.
    pub sequence: u64,
}

/// On which terms a write is judged.
#[derive(Clone, Debug, Eq, PartialEq)]
#[allow(clippy::struct_excessive_bools, reason = "each is a setting that decides by itself")]
pub struct Admission {
    /// Who the client has proved to be.
    pub identities: Arc<[Id]>,
    /// `skipACL=yes`.
    pub skip_acl: bool,
    /// `enforceQuota=true`.
    pub enforce_quota: bool,
    /// `extendedTypesEnabled=true`.
    pub extended_types: bool,
    /// `DigestAuthenticationProvider.enabled`.
    pub digest_enabled: bool,
}

impl Admission {
    /// The terms of the server's own requests.
    pub fn internal() -> Admission {
        Admission {
            identities: Arc::from([]),
            skip_acl: true,
            enforce_quota: false,
            extended_types: true,
            digest_enabled: true,
        }
    }
}

/// What a server hands in.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Submission {
    /// Who asks.
    pub origin: Origin,
    /// On which terms.
    pub admission: Admission,
    /// What.
    pub write: Write,
}

/// A submission with the time its transaction will carry.
#[derive(Clone, Copy, Debug)]
pub struct Proposal<'a> {
    /// The leader's wall clock, in milliseconds since 1970.
    pub time_ms: i64,
    /// What was handed in.
    pub submission: &'a Submission,
}

/// The payload of a log entry: submissions that the leader took at the same time.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Batch {
    /// The leader's wall clock, in milliseconds since 1970.
    pub time_ms: i64,
    /// In the order in which they are decided.
    pub submissions: Vec<Submission>,
}

impl Batch {
    /// What the batch proposes, one by one.
    pub fn proposals(&self) -> impl Iterator<Item = Proposal<'_>> {
        self.submissions.iter().map(|submission| Proposal { time_ms: self.time_ms, submission })
    }
}

/// The format of a batch on disk and between servers.
const FORMAT: u8 = 2;
/// The first one, in which submissions had no number.
const FORMAT_1: u8 = 1;

/// Tags of [`Write`]'s kinds in that format.
mod tag {
    pub(super) const CREATE: u8 = 1;
    pub(super) const DELETE: u8 = 2;
    pub(super) const SET_DATA: u8 = 3;
    pub(super) const SET_ACL: u8 = 4;
    pub(super) const CHECK: u8 = 5;
    pub(super) const MULTI: u8 = 6;
    pub(super) const OPEN_SESSION: u8 = 7;
    pub(super) const ATTACH_SESSION: u8 = 8;
    pub(super) const CLOSE_SESSION: u8 = 9;
    pub(super) const EXPIRE_SESSION: u8 = 10;
    pub(super) const REAP: u8 = 11;
    pub(super) const REFUSED: u8 = 12;
}

/// Bits of [`Admission`]'s switches in that format.
mod switch {
    pub(super) const SKIP_ACL: u8 = 1;
    pub(super) const ENFORCE_QUOTA: u8 = 2;
    pub(super) const EXTENDED_TYPES: u8 = 4;
    pub(super) const DIGEST_ENABLED: u8 = 8;
}

impl Encode for Batch {
    fn encode(&self, out: &mut BytesMut) {
        let count = self.submissions.len();
        Batch::begin(self.time_ms, count, out);
        self.submissions.iter().for_each(|submission| submission.encode(out));
    }
}

impl Batch {
    /// Writes what stands before the submissions of a batch.
    pub fn begin(time_ms: i64, count: usize, out: &mut BytesMut) {
        out.put_u8(FORMAT);
        time_ms.encode(out);
        (count as i32).encode(out);
    }

    /// Reads a batch back.
    ///
    /// # Errors
    ///
    /// [`jute::Malformed`]: the bytes are no batch of a known format.
    pub fn from_bytes(bytes: &Bytes) -> Result<Batch, jute::Malformed> {
        decode_all(bytes)
    }

    /// How many submissions the bytes of a batch say that it has.
    pub fn count(bytes: &[u8]) -> Option<u32> {
        let (_, rest) = bytes.split_first_chunk::<BYTES_BEFORE_COUNT>()?;
        rest.first_chunk().map(|count| u32::from_be_bytes(*count))
    }
}

/// Bytes of a batch's format and time.
const BYTES_BEFORE_COUNT: usize = 1 + size_of::<i64>();

impl Decode for Batch {
    fn decode<'a>(input: &'a [u8], frame: &Bytes) -> Parsed<'a, Batch> {
        let (input, format) = byte(input)?;
        let (input, time_ms) = Decode::decode(input, frame)?;
        let (input, submissions) = match format {
            FORMAT => {
                let (input, submissions) = <Option<Vec<Submission>>>::decode(input, frame)?;
                (input, submissions.unwrap_or_default())
            }
            FORMAT_1 => {
                let (input, old) = <Option<Vec<Unnumbered>>>::decode(input, frame)?;
                (input, old.into_iter().flatten().map(|Unnumbered(one)| one).collect())
            }
            _ => return malformed(input),
        };
        Ok((input, Batch { time_ms, submissions }))
    }
}

impl Encode for Submission {
    fn encode(&self, out: &mut BytesMut) {
        encode_holder(&self.origin.holder, out);
        self.origin.session.encode(out);
        self.origin.xid.encode(out);
        out.put_u64(self.origin.sequence);
        let admission = &self.admission;
        let switches = [
            (admission.skip_acl, switch::SKIP_ACL),
            (admission.enforce_quota, switch::ENFORCE_QUOTA),
            (admission.extended_types, switch::EXTENDED_TYPES),
            (admission.digest_enabled, switch::DIGEST_ENABLED),
        ];
        out.put_u8(switches.iter().filter(|(on, _)| *on).map(|(_, bit)| bit).sum());
        (admission.identities.len() as i32).encode(out);
        admission.identities.iter().for_each(|identity| identity.encode(out));
        self.write.encode(out);
    }
}

impl Decode for Submission {
    fn decode<'a>(input: &'a [u8], frame: &Bytes) -> Parsed<'a, Submission> {
        decode_submission(input, frame, true)
    }
}

/// A submission in the first format.
struct Unnumbered(Submission);

impl Decode for Unnumbered {
    fn decode<'a>(input: &'a [u8], frame: &Bytes) -> Parsed<'a, Unnumbered> {
        let (input, submission) = decode_submission(input, frame, false)?;
        Ok((input, Unnumbered(submission)))
    }
}

fn decode_submission<'a>(
    input: &'a [u8],
    frame: &Bytes,
    is_numbered: bool,
) -> Parsed<'a, Submission> {
    let (input, holder) = decode_holder(input, frame)?;
    let (input, session) = Decode::decode(input, frame)?;
    let (input, xid) = Decode::decode(input, frame)?;
    let (input, sequence) = if is_numbered { number(input)? } else { (input, 0) };
    let (input, switches) = byte(input)?;
    let (input, identities) = <Option<Vec<Id>>>::decode(input, frame)?;
    let (input, write) = Write::decode(input, frame)?;
    let admission = Admission {
        identities: identities.unwrap_or_default().into(),
        skip_acl: switches & switch::SKIP_ACL != 0,
        enforce_quota: switches & switch::ENFORCE_QUOTA != 0,
        extended_types: switches & switch::EXTENDED_TYPES != 0,
        digest_enabled: switches & switch::DIGEST_ENABLED != 0,
    };
    Ok((input, Submission { origin: Origin { holder, session, xid, sequence }, admission, write }))
}

impl Encode for Write {
    fn encode(&self, out: &mut BytesMut) {
        match self {
            Write::Create { op, path, data, acl, flags, ttl_ms } => {
                out.put_u8(tag::CREATE);
                (*op as i32).encode(out);
                path.as_str().encode(out);
                data.encode(out);
                acl.encode(out);
                flags.encode(out);
                ttl_ms.encode(out);
            }
            Write::Delete { path, version } => {
                out.put_u8(tag::DELETE);
                path.as_str().encode(out);
                version.encode(out);
            }
            Write::SetData { path, data, version } => {
                out.put_u8(tag::SET_DATA);
                path.as_str().encode(out);
                data.encode(out);
                version.encode(out);
            }
            Write::SetAcl { path, acl, version } => {
                out.put_u8(tag::SET_ACL);
                path.as_str().encode(out);
                acl.encode(out);
                version.encode(out);
            }
            Write::Check { path, version } => {
                out.put_u8(tag::CHECK);
                path.as_str().encode(out);
                version.encode(out);
            }
            Write::Multi(writes) => {
                out.put_u8(tag::MULTI);
                writes.encode(out);
            }
            Write::OpenSession { timeout_ms, password } => {
                out.put_u8(tag::OPEN_SESSION);
                timeout_ms.encode(out);
                out.put_slice(password);
            }
            Write::AttachSession { timeout_ms } => {
                out.put_u8(tag::ATTACH_SESSION);
                timeout_ms.encode(out);
            }
            Write::CloseSession { expired_holder: None } => out.put_u8(tag::CLOSE_SESSION),
            Write::CloseSession { expired_holder: Some(holder) } => {
                out.put_u8(tag::EXPIRE_SESSION);
                encode_holder(holder, out);
            }
            Write::Reap { path, never_used_ms_max } => {
                out.put_u8(tag::REAP);
                path.as_str().encode(out);
                never_used_ms_max.encode(out);
            }
            Write::Refused(code) => {
                out.put_u8(tag::REFUSED);
                (*code as i32).encode(out);
            }
        }
    }
}

impl Decode for Write {
    fn decode<'a>(input: &'a [u8], frame: &Bytes) -> Parsed<'a, Write> {
        let (input, tag) = byte(input)?;
        match tag {
            tag::CREATE => decode_create(input, frame),
            tag::DELETE | tag::CHECK => {
                let (input, path) = decode_path(input, frame)?;
                let (input, version) = Decode::decode(input, frame)?;
                let is_check = tag == tag::CHECK;
                let write = if is_check {
                    Write::Check { path, version }
                } else {
                    Write::Delete { path, version }
                };
                Ok((input, write))
            }
            tag::SET_DATA => {
                let (input, path) = decode_path(input, frame)?;
                let (input, data) = Decode::decode(input, frame)?;
                let (input, version) = Decode::decode(input, frame)?;
                Ok((input, Write::SetData { path, data, version }))
            }
            tag::SET_ACL => {
                let (input, path) = decode_path(input, frame)?;
                let (input, acl) = Decode::decode(input, frame)?;
                let (input, version) = Decode::decode(input, frame)?;
                Ok((input, Write::SetAcl { path, acl, version }))
            }
            tag::MULTI => {
                let (input, parts) = <Option<Vec<Part>>>::decode(input, frame)?;
                let parts = parts.unwrap_or_default().into_iter();
                Ok((input, Write::Multi(parts.map(|Part(write)| write).collect())))
            }
            tag::REAP => {
                let (input, path) = decode_path(input, frame)?;
                let (input, never_used_ms_max) = Decode::decode(input, frame)?;
                Ok((input, Write::Reap { path, never_used_ms_max }))
            }
            tag::REFUSED => {
                let (input, number) = i32::decode(input, frame)?;
                match ErrorCode::from_number(number) {
                    Some(code) => Ok((input, Write::Refused(code))),
                    None => malformed(input),
                }
            }
            _ => decode_session_write(tag, input, frame),
        }
    }
}

/// A write inside a multi. That is never a multi again, so nothing on disk can exhaust the stack.
struct Part(Write);

impl Decode for Part {
    fn decode<'a>(input: &'a [u8], frame: &Bytes) -> Parsed<'a, Part> {
        if input.first() == Some(&tag::MULTI) {
            return malformed(input);
        }
        let (input, write) = Write::decode(input, frame)?;
        Ok((input, Part(write)))
    }
}

fn decode_create<'a>(input: &'a [u8], frame: &Bytes) -> Parsed<'a, Write> {
    let (input, op) = i32::decode(input, frame)?;
    let (input, path) = decode_path(input, frame)?;
    let (input, data) = Decode::decode(input, frame)?;
    let (input, acl) = Decode::decode(input, frame)?;
    let (input, flags) = Decode::decode(input, frame)?;
    let (input, ttl_ms) = Decode::decode(input, frame)?;
    match OpCode::from_number(op) {
        Some(op) => Ok((input, Write::Create { op, path, data, acl, flags, ttl_ms })),
        None => malformed(input),
    }
}

fn decode_session_write<'a>(tag: u8, input: &'a [u8], frame: &Bytes) -> Parsed<'a, Write> {
    match tag {
        tag::OPEN_SESSION => {
            let (input, timeout_ms) = Decode::decode(input, frame)?;
            let Some((password, rest)) = input.split_first_chunk::<16>() else {
                return malformed(input);
            };
            Ok((rest, Write::OpenSession { timeout_ms, password: *password }))
        }
        tag::ATTACH_SESSION => {
            let (input, timeout_ms) = Decode::decode(input, frame)?;
            Ok((input, Write::AttachSession { timeout_ms }))
        }
        tag::CLOSE_SESSION => Ok((input, Write::CloseSession { expired_holder: None })),
        tag::EXPIRE_SESSION => {
            let (input, holder) = decode_holder(input, frame)?;
            Ok((input, Write::CloseSession { expired_holder: Some(holder) }))
        }
        _ => malformed(input),
    }
}

/// Writes a connection's name.
pub(crate) fn encode_holder(holder: &Holder, out: &mut BytesMut) {
    out.put_u64(holder.server);
    out.put_u64(holder.boot);
    out.put_u64(holder.connection);
}

/// Reads a connection's name.
pub(crate) fn decode_holder<'a>(input: &'a [u8], _: &Bytes) -> Parsed<'a, Holder> {
    let Some((mut fields, rest)) = input.split_at_checked(24) else { return malformed(input) };
    let holder =
        Holder { server: fields.get_u64(), boot: fields.get_u64(), connection: fields.get_u64() };
    Ok((rest, holder))
}

/// Reads a path, which is never null in the log.
fn decode_path<'a>(input: &'a [u8], frame: &Bytes) -> Parsed<'a, String> {
    let (input, path) = Text::decode(input, frame)?;
    match path {
        Some(path) => Ok((input, path)),
        None => malformed(input),
    }
}

fn number(input: &[u8]) -> Parsed<'_, u64> {
    match input.split_first_chunk() {
        Some((number, rest)) => Ok((rest, u64::from_be_bytes(*number))),
        None => malformed(input),
    }
}

fn byte(input: &[u8]) -> Parsed<'_, u8> {
    match input.split_first() {
        Some((byte, rest)) => Ok((rest, *byte)),
        None => malformed(input),
    }
}

fn malformed<T>(input: &[u8]) -> Parsed<'_, T> {
    let malformed = jute::Malformed { kind: jute::MalformedKind::Switch, remaining: input.len() };
    Err(jute::ParseFailure::Error(malformed))
}
