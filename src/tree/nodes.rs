//! Where the nodes lie in memory.
//!
//! A node is a slot of 24 bytes, which links it with its neighbours, and one string of bytes, its
//! cell, with a compact record, its name and its data. It is found by the keyed hash of its whole
//! path; what the hash finds is then compared name by name up to the root, so a collision costs time
//! and never an answer. Nothing here ever grows by being copied as a whole: no insertion stalls for
//! long.
//!
//! Invariants: a slot's `parent` has the slot among its children, and the other way round; the
//! index holds every slot in use once; `present` is the length of the list of children.

mod cells;
mod index;
mod record;
mod slots;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use jute::{Acl, Stat, Zxid};

use self::cells::Cells;
use self::index::Index;
use self::record::{Packed, Record};
use self::slots::{NIL, Slot, Slots};
use super::acl_table::{AclId, AclTable};
use super::znode::visible_cversion;
use super::{Owner, Path, Znode, parent_of};

/// The root's slot.
const ROOT: u32 = 0;

/// All nodes.
pub(super) struct Nodes {
    slots: Slots,
    index: Index,
    cells: Cells,
    hasher: RandomState,
    acls: AclTable,
    data_bytes: u64,
}

/// What a put does to a node's data.
#[derive(Clone, Copy)]
pub(super) enum NewData<'a> {
    /// It stays as it is.
    Keep,
    /// It is replaced.
    Set(Option<&'a [u8]>),
}

/// What a put changed besides the node itself, for the indexes kept elsewhere.
pub(super) struct Replaced {
    /// The owner before, if the node was there.
    pub(super) owner: Option<Owner>,
}

impl Nodes {
    /// A tree of nothing but a root, which has no data.
    pub(super) fn new() -> Nodes {
        let mut nodes = Nodes {
            slots: Slots::new(),
            index: Index::new(),
            cells: Cells::new(),
            hasher: RandomState::new(),
            acls: AclTable::default(),
            data_bytes: 0,
        };
        let record = Record::new(&Znode::default(), AclId::default());
        let root = nodes.insert(&Path::root(), NIL, record, None);
        assert_eq!(root, ROOT, "the root has the first slot");
        nodes
    }

    /// How many nodes there are.
    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    /// Bytes of all paths and data.
    pub(super) fn data_bytes(&self) -> u64 {
        self.data_bytes
    }

    /// Looks a node up by its path, `""` being the root as well.
    pub(super) fn find(&self, path: &str) -> Option<NodeRef<'_>> {
        self.find_slot(path).map(|slot| NodeRef { nodes: self, slot })
    }

    /// Puts a node in place of what was at its path, if anything.
    ///
    /// # Panics
    ///
    /// If the parent is missing: the record would be lost.
    pub(super) fn put(&mut self, path: &Path, znode: &Znode, data: NewData<'_>) -> Replaced {
        let acl = self.acls.acquire(&znode.acl);
        let record = Record::new(znode, acl);
        if let Some(number) = self.find_slot(path.as_str()) {
            let before = self.rewrite(number, path, record, data);
            self.acls.release(before.acl);
            return Replaced { owner: Some(before.owner) };
        }
        let parent = parent_of(path.as_str()).and_then(|parent| self.find_slot(parent));
        let Some(parent) = parent else { panic!("{path} has no parent in memory") };
        let data = match data {
            NewData::Set(data) => data,
            NewData::Keep => None,
        };
        self.insert(path, parent, record, data);
        Replaced { owner: None }
    }

    /// Writes a node anew and tells what it was before.
    fn rewrite(&mut self, number: u32, path: &Path, record: Record, data: NewData<'_>) -> Record {
        let cell = self.slots.get(number).cell;
        let packed = Packed(self.cells.get(cell));
        let before = packed.record();
        let path = path.as_str().as_bytes();
        let name = path.get(path.len() - before.name_length as usize..).unwrap_or_default();
        let record = record.named(name);
        let after = match data {
            NewData::Set(data) => record.with_data(data),
            NewData::Keep => Record { data_length: before.data_length, ..record },
        };
        // Data may be large, and parents change often: it stays where it is if it can.
        let is_kept = matches!(data, NewData::Keep) && packed.form_bytes() == after.form_bytes();
        let data = match data {
            NewData::Set(data) => Cow::Borrowed(data.unwrap_or_default()),
            NewData::Keep if is_kept => Cow::default(),
            NewData::Keep => Cow::Owned(packed.data().unwrap_or_default().to_vec()),
        };
        let moved = if is_kept { cell } else { self.cells.resize(cell, after.packed_bytes()) };
        after.pack(self.cells.get_mut(moved), name, &data);
        self.slots.get_mut(number).cell = moved;
        self.data_bytes -= u64::from(before.data_length.unwrap_or(0));
        self.data_bytes += u64::from(after.data_length.unwrap_or(0));
        before
    }

    /// Adds a node below `parent`.
    fn insert(&mut self, path: &Path, parent: u32, record: Record, data: Option<&[u8]>) -> u32 {
        let name = path.name().as_bytes();
        let record = record.named(name).with_data(data);
        let next = if parent == NIL { NIL } else { self.slots.get(parent).first_child };

        self.data_bytes += (path.as_str().len() + data.map_or(0, <[u8]>::len)) as u64;
        let cell = self.cells.insert(record.packed_bytes());
        record.pack(self.cells.get_mut(cell), name, data.unwrap_or_default());
        let number = self.slots.insert(Slot {
            hash: self.hash_of(path.as_str()),
            cell,
            parent,
            first_child: NIL,
            previous: NIL,
            next,
        });
        if parent != NIL {
            self.slots.get_mut(parent).first_child = number;
        }
        if next != NIL {
            self.slots.get_mut(next).previous = number;
        }
        self.index.insert(&self.slots, number);
        number
    }

    /// Removes a node that has no children, and tells who owned it; `None` if it was not there.
    ///
    /// # Panics
    ///
    /// If it has children, or is the root: nodes would be lost.
    pub(super) fn remove(&mut self, path: &Path) -> Option<Owner> {
        let number = self.find_slot(path.as_str())?;
        let Slot { cell, parent, first_child, previous, next, .. } = *self.slots.get(number);
        assert_eq!(first_child, NIL, "{path} is removed while it has children");
        assert_ne!(number, ROOT, "the root is removed");
        let record = Packed(self.cells.get(cell)).record();

        self.data_bytes -= path.as_str().len() as u64 + u64::from(record.data_length.unwrap_or(0));
        if previous == NIL {
            self.slots.get_mut(parent).first_child = next;
        } else {
            self.slots.get_mut(previous).next = next;
        }
        if next != NIL {
            self.slots.get_mut(next).previous = previous;
        }
        self.index.remove(&self.slots, number);
        self.slots.remove(number);
        self.cells.remove(cell);
        self.acls.release(record.acl);
        Some(record.owner)
    }

    /// Every node, in no particular order, with its path: for the checks of tests and of start-up.
    pub(super) fn iter(&self) -> impl Iterator<Item = NodeRef<'_>> {
        self.slots.iter().map(|slot| NodeRef { nodes: self, slot })
    }

    fn find_slot(&self, path: &str) -> Option<u32> {
        if path.is_empty() || path == "/" {
            return Some(ROOT);
        }
        self.index.find(&self.slots, self.hash_of(path), |number| self.is_at(number, path))
    }

    fn hash_of(&self, path: &str) -> u32 {
        self.hasher.hash_one(path) as u32
    }

    /// Whether the node is the one at `path`, compared name by name up to the root.
    fn is_at(&self, number: u32, path: &str) -> bool {
        let mut rest = path.as_bytes();
        let mut number = number;
        while number != ROOT {
            let slot = self.slots.get(number);
            let name = Packed(self.cells.get(slot.cell)).name();
            let Some(before) = rest.strip_suffix(name).and_then(|rest| rest.strip_suffix(b"/"))
            else {
                return false;
            };
            rest = before;
            number = slot.parent;
        }
        rest.is_empty()
    }
}

/// A node in the tree.
#[derive(Clone, Copy)]
pub struct NodeRef<'a> {
    nodes: &'a Nodes,
    slot: u32,
}

impl<'a> NodeRef<'a> {
    fn slot(self) -> &'a Slot {
        self.nodes.slots.get(self.slot)
    }

    fn packed(self) -> Packed<'a> {
        Packed(self.nodes.cells.get(self.slot().cell))
    }

    /// The node's data; `None` is null.
    pub fn data(self) -> Option<&'a [u8]> {
        self.packed().data()
    }

    /// Who may do what with it.
    pub fn acl(self) -> &'a Arc<[Acl]> {
        self.nodes.acls.get(self.packed().record().acl)
    }

    /// On whose behalf it exists.
    pub fn owner(self) -> Owner {
        self.packed().record().owner
    }

    /// The transaction that last set its data.
    pub fn mzxid(self) -> Zxid {
        self.packed().record().mzxid
    }

    /// The transaction that last created or deleted a child.
    pub fn pzxid(self) -> Zxid {
        self.packed().record().pzxid
    }

    /// When its data was last set, in milliseconds since 1970.
    pub fn mtime_ms(self) -> i64 {
        self.packed().record().mtime_ms
    }

    /// How many children were ever created below it.
    pub fn children_created(self) -> i32 {
        self.packed().record().created
    }

    /// How many children it has.
    pub fn children_present(self) -> i32 {
        self.packed().record().present
    }

    /// What a client is told of it, without a detour over [`Znode`].
    pub fn stat(self) -> Stat {
        let record = self.packed().record();
        Stat {
            czxid: record.czxid,
            mzxid: record.mzxid,
            ctime_ms: record.ctime_ms,
            mtime_ms: record.mtime_ms,
            version: record.version,
            cversion: visible_cversion(record.created, record.present),
            aversion: record.aversion,
            ephemeral_owner: record.owner.session().unwrap_or_default(),
            data_length: record.data_length.unwrap_or(0) as i32,
            num_children: record.present,
            pzxid: record.pzxid,
        }
    }

    /// Its record.
    pub fn znode(self) -> Znode {
        let record = self.packed().record();
        Znode {
            czxid: record.czxid,
            mzxid: record.mzxid,
            pzxid: record.pzxid,
            ctime_ms: record.ctime_ms,
            mtime_ms: record.mtime_ms,
            version: record.version,
            aversion: record.aversion,
            children_created: record.created,
            children_present: record.present,
            owner: record.owner,
            data_length: record.data_length,
            acl: Arc::clone(self.nodes.acls.get(record.acl)),
        }
    }

    /// Its children, in no particular order.
    pub fn children(self) -> impl Iterator<Item = NodeRef<'a>> {
        let mut next = self.slot().first_child;
        std::iter::from_fn(move || {
            (next != NIL).then(|| {
                let child = NodeRef { nodes: self.nodes, slot: next };
                next = child.slot().next;
                child
            })
        })
    }

    /// The last element of its path.
    pub fn name(self) -> &'a str {
        // Names come from text and are never changed.
        std::str::from_utf8(self.packed().name()).unwrap_or_default()
    }

    /// Its whole path, put together from the names above it.
    pub fn path(self) -> Path {
        let mut names = Vec::new();
        let mut node = self;
        while node.slot != ROOT {
            names.push(node.name());
            node.slot = node.slot().parent;
        }
        if names.is_empty() {
            return Path::root();
        }
        names.reverse();
        Path::trusted(&format!("/{}", names.join("/")))
    }

    /// The node and all its descendants, parents first, without recursion.
    pub fn subtree(self) -> impl Iterator<Item = NodeRef<'a>> {
        let mut pending = vec![self];
        std::iter::from_fn(move || {
            let node = pending.pop()?;
            pending.extend(node.children());
            Some(node)
        })
    }
}
