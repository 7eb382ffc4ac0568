//! The compact form of a node: what a [`Znode`] has besides the ACL's content, name and data, in as
//! few bytes as most nodes need.
//!
//! ```text
//! flags, length of name, length of data, czxid, ctime
//!     [mzxid, mtime, version] [pzxid, children created, children present] [owner]
//!     [ACL, aversion]
//! name, data
//! ```
//!
//! Fields in brackets are there if a flag says so, together with those that change together. A node
//! whose data was never set has its czxid for an mzxid; without children, for a pzxid. So the form
//! becomes longer at the first change of a kind, and later changes of the kind fit in place.
//!
//! Only for memory: bytes of this form never reach a disk or a wire.

use jute::{Version, Zxid};

use crate::tree::acl_table::AclId;
use crate::tree::{Owner, Znode};

/// Both lengths have four bytes instead of one.
const LONG: u8 = 1;
/// The data is null.
const NULL: u8 = 1 << 1;
/// Zxids and times have eight bytes instead of six.
const WIDE: u8 = 1 << 2;
/// mzxid, mtime and version are there.
const CHANGED: u8 = 1 << 3;
/// pzxid and the counts of children are there.
const PARENT: u8 = 1 << 4;
/// The owner is there.
const OWNED: u8 = 1 << 5;
/// The ACL and its version are there.
const GUARDED: u8 = 1 << 6;

/// Bytes of a header with everything in it.
const HEADER_BYTES_MAX: usize = header_bytes(0xff);

/// Bytes before the name.
const fn header_bytes(flags: u8) -> usize {
    const fn has(flags: u8, flag: u8) -> usize {
        (flags & flag != 0) as usize
    }
    let (changed, parent) = (has(flags, CHANGED), has(flags, PARENT));
    let lengths = 2 + 6 * has(flags, LONG);
    let wide = (6 + 2 * has(flags, WIDE)) * (2 + 2 * changed + parent);
    let others = 4 * changed + 8 * parent + 8 * has(flags, OWNED) + 8 * has(flags, GUARDED);
    1 + lengths + wide + others
}

/// What the header says.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Record {
    pub(super) czxid: Zxid,
    pub(super) mzxid: Zxid,
    pub(super) pzxid: Zxid,
    pub(super) ctime_ms: i64,
    pub(super) mtime_ms: i64,
    pub(super) version: Version,
    pub(super) aversion: Version,
    pub(super) created: i32,
    pub(super) present: i32,
    pub(super) owner: Owner,
    pub(super) acl: AclId,
    pub(super) name_length: u32,
    pub(super) data_length: Option<u32>,
}

impl Record {
    /// The record of a node with this ACL and name, and no data yet.
    pub(super) fn new(znode: &Znode, acl: AclId, name: &str) -> Record {
        Record {
            czxid: znode.czxid,
            mzxid: znode.mzxid,
            pzxid: znode.pzxid,
            ctime_ms: znode.ctime_ms,
            mtime_ms: znode.mtime_ms,
            version: znode.version,
            aversion: znode.aversion,
            created: znode.children_created,
            present: znode.children_present,
            owner: znode.owner,
            acl,
            name_length: name.len() as u32,
            data_length: None,
        }
    }

    /// The record of a node with this data.
    pub(super) fn with_data(self, data: Option<&[u8]>) -> Record {
        Record { data_length: data.map(|data| data.len() as u32), ..self }
    }

    fn flags(&self) -> u8 {
        let flag = |flag: u8, is_set: bool| if is_set { flag } else { 0 };
        let lengths = self.name_length | self.data_length.unwrap_or(0);
        let stamps = self.czxid.0 | self.mzxid.0 | self.pzxid.0 | self.ctime_ms | self.mtime_ms;
        let is_changed = self.mzxid != self.czxid
            || self.mtime_ms != self.ctime_ms
            || self.version != Version(0);
        let is_parent = self.pzxid != self.czxid || self.created != 0 || self.present != 0;
        let is_guarded = self.acl != AclId::default() || self.aversion != Version(0);
        flag(LONG, lengths > u32::from(u8::MAX))
            | flag(NULL, self.data_length.is_none())
            // A negative number has its highest bit set.
            | flag(WIDE, stamps as u64 >> 48 != 0)
            | flag(CHANGED, is_changed)
            | flag(PARENT, is_parent)
            | flag(OWNED, self.owner != Owner::Persistent)
            | flag(GUARDED, is_guarded)
    }

    /// The header.
    pub(super) fn header(&self) -> Header {
        let flags = self.flags();
        let mut header = Header { bytes: [0; HEADER_BYTES_MAX], length: 0 };
        let data_length = self.data_length.unwrap_or(0);
        header.put([flags]);
        if flags & LONG == 0 {
            header.put([self.name_length as u8, data_length as u8]);
        } else {
            header.put(self.name_length.to_le_bytes());
            header.put(data_length.to_le_bytes());
        }
        header.put_stamp(flags, self.czxid.0);
        header.put_stamp(flags, self.ctime_ms);
        if flags & CHANGED != 0 {
            header.put_stamp(flags, self.mzxid.0);
            header.put_stamp(flags, self.mtime_ms);
            header.put(self.version.0.to_le_bytes());
        }
        if flags & PARENT != 0 {
            header.put_stamp(flags, self.pzxid.0);
            header.put(self.created.to_le_bytes());
            header.put(self.present.to_le_bytes());
        }
        if flags & OWNED != 0 {
            header.put(self.owner.to_number().to_le_bytes());
        }
        if flags & GUARDED != 0 {
            header.put(self.acl.0.to_le_bytes());
            header.put(self.aversion.0.to_le_bytes());
        }
        debug_assert_eq!(header.length, header_bytes(flags), "{self:?}");
        header
    }
}

/// A header as bytes.
pub(super) struct Header {
    bytes: [u8; HEADER_BYTES_MAX],
    length: usize,
}

impl Header {
    /// The bytes.
    pub(super) fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }

    fn put<const BYTES: usize>(&mut self, field: [u8; BYTES]) {
        let rest = self.bytes.get_mut(self.length..).unwrap_or_default();
        if let Some(place) = rest.first_chunk_mut() {
            *place = field;
            self.length += BYTES;
        }
    }

    fn put_stamp(&mut self, flags: u8, stamp: i64) {
        // The two highest bytes are the last.
        self.put(stamp.to_le_bytes());
        if flags & WIDE == 0 {
            self.length -= 2;
        }
    }
}

/// A node in its compact form, with anything behind it.
#[derive(Clone, Copy)]
pub(super) struct Packed<'a>(pub(super) &'a [u8]);

impl<'a> Packed<'a> {
    fn flags(self) -> u8 {
        self.0.first().copied().unwrap_or_default()
    }

    /// Bytes of the header.
    pub(super) fn header_bytes(self) -> usize {
        header_bytes(self.flags())
    }

    /// Bytes of name and data.
    fn lengths(self) -> (usize, usize) {
        match self.0 {
            [flags, name, data, ..] if flags & LONG == 0 => ((*name).into(), (*data).into()),
            [_, n0, n1, n2, n3, d0, d1, d2, d3, ..] => (
                u32::from_le_bytes([*n0, *n1, *n2, *n3]) as usize,
                u32::from_le_bytes([*d0, *d1, *d2, *d3]) as usize,
            ),
            _ => (0, 0),
        }
    }

    /// The name.
    pub(super) fn name(self) -> &'a [u8] {
        let start = self.header_bytes();
        let (length, _) = self.lengths();
        self.0.get(start..start + length).unwrap_or_default()
    }

    /// The data.
    pub(super) fn data(self) -> Option<&'a [u8]> {
        let (name_length, length) = self.lengths();
        let start = self.header_bytes() + name_length;
        (self.flags() & NULL == 0).then(|| self.0.get(start..start + length).unwrap_or_default())
    }

    /// The record.
    pub(super) fn record(self) -> Record {
        let flags = self.flags();
        let (name_length, data_length) = self.lengths();
        let rest = self.0.get(if flags & LONG == 0 { 3 } else { 9 }..).unwrap_or_default();
        let mut fields = Fields { rest, flags };
        let (czxid, ctime_ms) = (Zxid(fields.stamp()), fields.stamp());
        let (mut mzxid, mut mtime_ms, mut version) = (czxid, ctime_ms, Version(0));
        if flags & CHANGED != 0 {
            (mzxid, mtime_ms) = (Zxid(fields.stamp()), fields.stamp());
            version = Version(i32::from_le_bytes(fields.take()));
        }
        let (mut pzxid, mut created, mut present) = (czxid, 0, 0);
        if flags & PARENT != 0 {
            pzxid = Zxid(fields.stamp());
            created = i32::from_le_bytes(fields.take());
            present = i32::from_le_bytes(fields.take());
        }
        let mut owner = Owner::Persistent;
        if flags & OWNED != 0 {
            owner = Owner::from_number(i64::from_le_bytes(fields.take()));
        }
        let (mut acl, mut aversion) = (AclId::default(), Version(0));
        if flags & GUARDED != 0 {
            acl = AclId(u32::from_le_bytes(fields.take()));
            aversion = Version(i32::from_le_bytes(fields.take()));
        }
        Record {
            czxid,
            mzxid,
            pzxid,
            ctime_ms,
            mtime_ms,
            version,
            aversion,
            created,
            present,
            owner,
            acl,
            name_length: name_length as u32,
            data_length: (flags & NULL == 0).then_some(data_length as u32),
        }
    }
}

/// Takes fields off the front of a header, which has as many bytes as its flags say.
struct Fields<'a> {
    rest: &'a [u8],
    flags: u8,
}

impl Fields<'_> {
    fn take<const BYTES: usize>(&mut self) -> [u8; BYTES] {
        let Some((field, rest)) = self.rest.split_first_chunk() else { return [0; BYTES] };
        self.rest = rest;
        *field
    }

    fn stamp(&mut self) -> i64 {
        if self.flags & WIDE != 0 {
            return i64::from_le_bytes(self.take());
        }
        let [b0, b1, b2, b3, b4, b5] = self.take();
        i64::from_le_bytes([b0, b1, b2, b3, b4, b5, 0, 0])
    }
}
