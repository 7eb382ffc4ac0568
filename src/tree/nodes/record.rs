//! The compact form of a node: what a [`Znode`] has besides the ACL's content, name and data, in as
//! few bytes as most nodes need.
//!
//! ```text
//! flags, length of name, length of data
//! name
//! czxid, ctime [mzxid, mtime, version] [pzxid, children created, children present] [owner]
//!     [ACL, aversion]
//! data
//! ```
//!
//! The name comes early because every look-up reads the names of a whole path.
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

/// Whether a flag is set, as a number.
const fn has(flags: u8, flag: u8) -> usize {
    (flags & flag != 0) as usize
}

/// Bytes before the name.
const fn start_bytes(flags: u8) -> usize {
    3 + 6 * has(flags, LONG)
}

/// Bytes between name and data.
const fn fields_bytes(flags: u8) -> usize {
    let (changed, parent) = (has(flags, CHANGED), has(flags, PARENT));
    let stamps = (6 + 2 * has(flags, WIDE)) * (2 + 2 * changed + parent);
    stamps + 4 * changed + 8 * parent + 8 * has(flags, OWNED) + 8 * has(flags, GUARDED)
}

/// What the form says of a node, besides name and data themselves.
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
    /// The record of a node with this ACL, which has no name and no data yet.
    pub(super) fn new(znode: &Znode, acl: AclId) -> Record {
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
            name_length: 0,
            data_length: None,
        }
    }

    /// The record of a node with this name.
    pub(super) fn named(self, name: &[u8]) -> Record {
        Record { name_length: name.len() as u32, ..self }
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

    /// Bytes besides name and data.
    pub(super) fn form_bytes(&self) -> usize {
        let flags = self.flags();
        start_bytes(flags) + fields_bytes(flags)
    }

    /// Bytes with name and data.
    pub(super) fn packed_bytes(&self) -> usize {
        let data_length = self.data_length.unwrap_or(0);
        self.form_bytes() + self.name_length as usize + data_length as usize
    }

    /// Writes the compact form of a node; without data, what is there stays.
    pub(super) fn pack(&self, out: &mut [u8], name: &[u8], data: &[u8]) {
        let flags = self.flags();
        let data_length = self.data_length.unwrap_or(0);
        let mut out = Out { rest: out, is_wide: flags & WIDE != 0 };
        out.put([flags]);
        if flags & LONG == 0 {
            out.put([self.name_length as u8, data_length as u8]);
        } else {
            out.put(self.name_length.to_le_bytes());
            out.put(data_length.to_le_bytes());
        }
        out.put_slice(name);
        out.put_stamp(self.czxid.0);
        out.put_stamp(self.ctime_ms);
        if flags & CHANGED != 0 {
            out.put_stamp(self.mzxid.0);
            out.put_stamp(self.mtime_ms);
            out.put(self.version.0.to_le_bytes());
        }
        if flags & PARENT != 0 {
            out.put_stamp(self.pzxid.0);
            out.put(self.created.to_le_bytes());
            out.put(self.present.to_le_bytes());
        }
        if flags & OWNED != 0 {
            out.put(self.owner.to_number().to_le_bytes());
        }
        if flags & GUARDED != 0 {
            out.put(self.acl.0.to_le_bytes());
            out.put(self.aversion.0.to_le_bytes());
        }
        out.put_slice(data);
    }
}

/// Where a compact form is written, which is long enough for all of it.
struct Out<'a> {
    rest: &'a mut [u8],
    is_wide: bool,
}

impl Out<'_> {
    fn put<const BYTES: usize>(&mut self, field: [u8; BYTES]) {
        self.put_slice(&field);
    }

    fn put_stamp(&mut self, stamp: i64) {
        // In two pieces that the processor stores and loads whole.
        self.put((stamp as u32).to_le_bytes());
        if self.is_wide {
            self.put(((stamp >> 32) as u32).to_le_bytes());
        } else {
            self.put(((stamp >> 32) as u16).to_le_bytes());
        }
    }

    fn put_slice(&mut self, bytes: &[u8]) {
        let (place, rest) = std::mem::take(&mut self.rest).split_at_mut(bytes.len());
        place.copy_from_slice(bytes);
        self.rest = rest;
    }
}

/// A node in its compact form, with anything behind it.
#[derive(Clone, Copy)]
pub(super) struct Packed<'a>(pub(super) &'a [u8]);

impl<'a> Packed<'a> {
    fn flags(self) -> u8 {
        self.0.first().copied().unwrap_or_default()
    }

    /// Bytes besides name and data.
    pub(super) fn form_bytes(self) -> usize {
        start_bytes(self.flags()) + fields_bytes(self.flags())
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
        let start = start_bytes(self.flags());
        let (length, _) = self.lengths();
        self.0.get(start..start + length).unwrap_or_default()
    }

    /// The data.
    pub(super) fn data(self) -> Option<&'a [u8]> {
        let (name_length, length) = self.lengths();
        let start = self.form_bytes() + name_length;
        (self.flags() & NULL == 0).then(|| self.0.get(start..start + length).unwrap_or_default())
    }

    /// The record.
    pub(super) fn record(self) -> Record {
        let flags = self.flags();
        let (name_length, data_length) = self.lengths();
        let rest = self.0.get(start_bytes(flags) + name_length..).unwrap_or_default();
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

/// Takes fields off the front of what stands behind a name.
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
        let low = i64::from(u32::from_le_bytes(self.take()));
        let high = if self.flags & WIDE != 0 {
            i64::from(i32::from_le_bytes(self.take()))
        } else {
            i64::from(u16::from_le_bytes(self.take()))
        };
        (high << 32) | low
    }
}
