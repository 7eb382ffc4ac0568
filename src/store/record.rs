//! What lies under the keys: every kind of record as bytes, and back.
//!
//! Each record says its format and carries a checksum over its key, its format and its payload, so
//! that a record under a wrong key is as damaged as one with a wrong byte.
//!
//! Invariant 10: bytes once written stay readable. A layout is never changed; a new one gets the
//! next version, a row in [`FORMAT_HISTORY`] and frozen bytes in the tests.

use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use jute::{Acl, Decode, Encode, Perms, Version, Zxid};

use crate::tree::{Holder, Owner, Progress, Session, Znode};

/// A layout of one kind of record.
#[derive(Debug, Eq, PartialEq)]
pub struct RecordFormat {
    /// What kind of record.
    pub record: &'static str,
    /// The first byte of records in this format.
    pub version: u8,
    /// The fields after the checksum.
    pub layout: &'static str,
}

/// A raft log entry.
pub(super) const ENTRY: RecordFormat =
    RecordFormat { record: "log entry", version: 1, layout: "the entry as raft encoded it" };
/// A value with a name, of the log or the tree.
pub(super) const STATE: RecordFormat =
    RecordFormat { record: "state", version: 1, layout: "the value as its owner encoded it" };
/// A node.
pub(super) const ZNODE: RecordFormat = RecordFormat {
    record: "znode",
    version: 1,
    layout: "czxid mzxid pzxid ctime_ms mtime_ms: i64; version aversion children_created \
             children_present: i32; owner: i64; data_length: i32, -1 is null; acl: 0 is \
             world:anyone:31, 1 is followed by a jute vector of ACL entries; data of up to 512 \
             bytes",
};
/// The larger data of a node.
pub(super) const DATA: RecordFormat =
    RecordFormat { record: "data", version: 1, layout: "the data" };
/// A session.
pub(super) const SESSION: RecordFormat = RecordFormat {
    record: "session",
    version: 1,
    layout: "timeout_ms: i32; password: 16 bytes; holder's server, boot, connection: u64",
};
/// How far the tree has got.
pub(super) const PROGRESS: RecordFormat =
    RecordFormat { record: "progress", version: 1, layout: "zxid: i64; term: u64" };

/// Every layout that any version ever wrote.
pub const FORMAT_HISTORY: [&RecordFormat; 6] = [&ENTRY, &STATE, &ZNODE, &DATA, &SESSION, &PROGRESS];

/// Data of up to this many bytes lies in its node's record. Part of the znode's format.
pub(super) const INLINE_DATA_BYTES_MAX: usize = 512;

/// Bytes before the payload: the format's version, then the checksum.
const HEADER_BYTES: usize = 5;

/// The short forms of ACLs.
mod acl_form {
    pub(super) const OPEN: u8 = 0;
    pub(super) const LISTED: u8 = 1;
}

/// What is wrong with a record.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub(super) enum Flaw {
    #[error("its checksum does not match")]
    Checksum,
    #[error("it is too short")]
    TooShort,
    #[error("it is whole but in format {found}")]
    NewerFormat { found: u8 },
    #[error("it is whole but makes no sense: {0}")]
    Senseless(&'static str),
}

/// Writes a record: header and what `write` appends.
pub(super) fn seal(
    format: &RecordFormat,
    key: &[u8],
    payload_bytes: usize,
    write: impl FnOnce(&mut BytesMut),
) -> BytesMut {
    let mut record = BytesMut::with_capacity(HEADER_BYTES + payload_bytes);
    record.put_u8(format.version);
    record.put_u32(0);
    write(&mut record);
    let checksum = checksum(key, &record);
    for (place, byte) in record.iter_mut().skip(1).zip(checksum.to_be_bytes()) {
        *place = byte;
    }
    record
}

/// The payload of a record that was checked.
pub(super) fn unseal<'r>(
    format: &RecordFormat,
    key: &[u8],
    record: &'r [u8],
) -> Result<&'r [u8], Flaw> {
    let Some(([version, stored @ ..], payload)) = record.split_first_chunk::<HEADER_BYTES>() else {
        return Err(Flaw::TooShort);
    };
    if u32::from_be_bytes(*stored) != checksum(key, record) {
        return Err(Flaw::Checksum);
    }
    if *version == format.version {
        Ok(payload)
    } else {
        Err(Flaw::NewerFormat { found: *version })
    }
}

/// CRC-32C over the key, the version and the payload of a record.
fn checksum(key: &[u8], record: &[u8]) -> u32 {
    let version = record.get(..1).unwrap_or_default();
    let payload = record.get(HEADER_BYTES..).unwrap_or_default();
    crc32c::crc32c_append(crc32c::crc32c_append(crc32c::crc32c(key), version), payload)
}

/// Whether data of this length lies in its node's record.
pub(super) fn is_inline(data_length: Option<u32>) -> bool {
    data_length.is_none_or(|length| length as usize <= INLINE_DATA_BYTES_MAX)
}

/// The record of a node; `data` is the data if it is inline.
pub(super) fn encode_znode(key: &[u8], znode: &Znode, data: &[u8]) -> BytesMut {
    // The fixed fields take 74 bytes, and most ACLs one.
    seal(&ZNODE, key, 80 + data.len(), |out| {
        for number in [znode.czxid.0, znode.mzxid.0, znode.pzxid.0, znode.ctime_ms, znode.mtime_ms]
        {
            number.encode(out);
        }
        znode.version.encode(out);
        znode.aversion.encode(out);
        znode.children_created.encode(out);
        znode.children_present.encode(out);
        znode.owner.to_number().encode(out);
        znode.data_length.map_or(-1, |length| length as i32).encode(out);
        if is_open(&znode.acl) {
            out.put_u8(acl_form::OPEN);
        } else {
            out.put_u8(acl_form::LISTED);
            (znode.acl.len() as i32).encode(out);
            znode.acl.iter().for_each(|entry| entry.encode(out));
        }
        out.put_slice(data);
    })
}

/// Whether an ACL lets everybody do everything, as most do.
fn is_open(acl: &[Acl]) -> bool {
    match acl {
        [entry] => {
            entry.perms == Perms::ALL
                && entry.id.scheme.as_deref() == Some("world")
                && entry.id.id.as_deref() == Some("anyone")
        }
        _ => false,
    }
}

/// Reads the fields of a payload one after the other.
struct Fields<'r>(&'r [u8]);

impl Fields<'_> {
    fn next<T: Decode>(&mut self) -> Result<T, Flaw> {
        // None of our records has a field that would be a slice of the frame.
        match T::decode(self.0, &Bytes::new()) {
            Ok((rest, value)) => {
                self.0 = rest;
                Ok(value)
            }
            Err(_) => Err(Flaw::Senseless("a field is cut off or has an impossible length")),
        }
    }

    fn next_u64(&mut self) -> Result<u64, Flaw> {
        self.next::<i64>().map(|number| number as u64)
    }

    fn end(self) -> Result<(), Flaw> {
        if self.0.is_empty() { Ok(()) } else { Err(Flaw::Senseless("bytes follow its last field")) }
    }
}

/// Reads ACLs; the one that most nodes have is made once.
pub(super) struct AclReader {
    open: Arc<[Acl]>,
}

impl AclReader {
    pub(super) fn new() -> AclReader {
        AclReader { open: Arc::from([Acl::anyone(Perms::ALL)]) }
    }

    fn read(&self, fields: &mut Fields<'_>) -> Result<Arc<[Acl]>, Flaw> {
        let Some((form, rest)) = fields.0.split_first() else { return Err(Flaw::TooShort) };
        fields.0 = rest;
        match *form {
            acl_form::OPEN => Ok(Arc::clone(&self.open)),
            acl_form::LISTED => {
                let entries = fields.next::<Option<Vec<Acl>>>()?;
                entries.map(Arc::from).ok_or(Flaw::Senseless("its ACL is null"))
            }
            _ => Err(Flaw::Senseless("its ACL has an unknown form")),
        }
    }
}

/// Reads a node: its record and, if it is inline, its data.
pub(super) fn decode_znode<'r>(
    acls: &AclReader,
    key: &[u8],
    record: &'r [u8],
) -> Result<(Znode, &'r [u8]), Flaw> {
    let mut fields = Fields(unseal(&ZNODE, key, record)?);
    let znode = Znode {
        czxid: fields.next()?,
        mzxid: fields.next()?,
        pzxid: fields.next()?,
        ctime_ms: fields.next()?,
        mtime_ms: fields.next()?,
        version: fields.next()?,
        aversion: fields.next::<Version>()?,
        children_created: fields.next()?,
        children_present: fields.next()?,
        owner: Owner::from_number(fields.next()?),
        data_length: match fields.next::<i32>()? {
            -1 => None,
            length => match u32::try_from(length) {
                Ok(length) => Some(length),
                Err(_) => return Err(Flaw::Senseless("its data has a negative length")),
            },
        },
        acl: acls.read(&mut fields)?,
    };
    let data = fields.0;
    let inline_bytes =
        if is_inline(znode.data_length) { znode.data_length.unwrap_or(0) } else { 0 };
    if data.len() == inline_bytes as usize {
        Ok((znode, data))
    } else {
        Err(Flaw::Senseless("its data is not as long as it says"))
    }
}

/// The record of a session.
pub(super) fn encode_session(key: &[u8], session: &Session) -> BytesMut {
    seal(&SESSION, key, 44, |out| {
        session.timeout_ms.encode(out);
        out.put_slice(&session.password);
        out.put_u64(session.holder.server);
        out.put_u64(session.holder.boot);
        out.put_u64(session.holder.connection);
    })
}

/// Reads a session.
pub(super) fn decode_session(key: &[u8], record: &[u8]) -> Result<Session, Flaw> {
    let mut fields = Fields(unseal(&SESSION, key, record)?);
    let timeout_ms = fields.next()?;
    let Some((password, rest)) = fields.0.split_first_chunk::<16>() else {
        return Err(Flaw::TooShort);
    };
    fields.0 = rest;
    let holder = Holder {
        server: fields.next_u64()?,
        boot: fields.next_u64()?,
        connection: fields.next_u64()?,
    };
    fields.end()?;
    Ok(Session { timeout_ms, password: *password, holder })
}

/// The record of the tree's progress.
pub(super) fn encode_progress(key: &[u8], progress: Progress) -> BytesMut {
    seal(&PROGRESS, key, 16, |out| {
        progress.zxid.encode(out);
        out.put_u64(progress.term);
    })
}

/// Reads the tree's progress.
pub(super) fn decode_progress(key: &[u8], record: &[u8]) -> Result<Progress, Flaw> {
    let mut fields = Fields(unseal(&PROGRESS, key, record)?);
    let progress = Progress { zxid: fields.next::<Zxid>()?, term: fields.next_u64()? };
    fields.end()?;
    Ok(progress)
}

#[cfg(test)]
mod tests;
