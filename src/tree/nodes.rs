//! Where the nodes lie in memory: a slab, a hash index over full paths, and sibling links.
//!
//! A slot holds a node's record in 120 bytes; its name and data share one allocation. A node is
//! found by the keyed hash of its whole path; what the hash finds is then compared name by name up
//! to the root, so a collision costs time and never an answer. The slab grows by chunks and the
//! index by one of 1,024 parts at a time, so that no insertion stalls for long.
//!
//! Invariants: a slot's `parent` has the slot among its children, and the other way round; the
//! index holds every live slot once; `present` is the length of the list of children.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use hashbrown::HashTable;
use jute::{Acl, Stat, Version, Zxid};

use super::acl_table::{AclId, AclTable};
use super::znode::visible_cversion;
use super::{Owner, Path, Znode, parent_of};

/// Slots in a chunk of the slab.
const CHUNK_SLOTS: usize = 4_096;
/// Parts of the index.
const SHARDS: usize = 1_024;
/// No slot.
const NIL: u32 = u32::MAX;
/// The root's slot.
const ROOT: u32 = 0;
/// Length of null data.
const NULL_DATA: i32 = -1;

/// A node in memory.
struct Slot {
    hash: u64,
    czxid: Zxid,
    mzxid: Zxid,
    pzxid: Zxid,
    ctime_ms: i64,
    mtime_ms: i64,
    owner: i64,
    /// The name, then the data.
    blob: Box<[u8]>,
    version: Version,
    aversion: Version,
    created: i32,
    present: i32,
    name_length: u32,
    /// Bytes of data, or [`NULL_DATA`].
    data_length: i32,
    acl: AclId,
    parent: u32,
    first_child: u32,
    previous: u32,
    next: u32,
}

impl Slot {
    /// A node that is not in the tree yet.
    fn new(name: &[u8], data: Option<&[u8]>, znode: &Znode, acl: AclId) -> Slot {
        Slot {
            hash: 0,
            czxid: znode.czxid,
            mzxid: znode.mzxid,
            pzxid: znode.pzxid,
            ctime_ms: znode.ctime_ms,
            mtime_ms: znode.mtime_ms,
            owner: znode.owner.to_number(),
            blob: [name, data.unwrap_or_default()].concat().into(),
            version: znode.version,
            aversion: znode.aversion,
            created: znode.children_created,
            present: znode.children_present,
            name_length: name.len() as u32,
            data_length: data.map_or(NULL_DATA, |data| data.len() as i32),
            acl,
            parent: NIL,
            first_child: NIL,
            previous: NIL,
            next: NIL,
        }
    }

    fn name(&self) -> &[u8] {
        self.blob.get(..self.name_length as usize).unwrap_or_default()
    }

    fn data(&self) -> Option<&[u8]> {
        (self.data_length != NULL_DATA)
            .then(|| self.blob.get(self.name_length as usize..).unwrap_or_default())
    }

    fn set_data(&mut self, data: Option<&[u8]>) {
        // Small data comes along whenever a node changes; mostly it is the same as before.
        if self.data() == data {
            return;
        }
        self.blob = [self.name(), data.unwrap_or_default()].concat().into();
        self.data_length = data.map_or(NULL_DATA, |data| data.len() as i32);
    }
}

/// All nodes.
pub(super) struct Nodes {
    chunks: Vec<Vec<Slot>>,
    free: Vec<u32>,
    index: Vec<HashTable<u32>>,
    hasher: RandomState,
    acls: AclTable,
    count: usize,
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
            chunks: Vec::new(),
            free: Vec::new(),
            index: (0..SHARDS).map(|_| HashTable::new()).collect(),
            hasher: RandomState::new(),
            acls: AclTable::default(),
            count: 0,
            // The root's path.
            data_bytes: 1,
        };
        let hash = nodes.hasher.hash_one("/");
        let slot = Slot::new(b"", None, &Znode::default(), AclId::default());
        let root = nodes.allocate(Slot { hash, ..slot });
        assert_eq!(root, ROOT, "the root is the first slot");
        nodes.index_insert(root, hash);
        nodes
    }

    /// How many nodes there are.
    pub(super) fn len(&self) -> usize {
        self.count
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
        if let Some(index) = self.find_slot(path.as_str()) {
            let slot = self.slot_mut(index);
            let owner = Owner::from_number(slot.owner);
            let old_acl = std::mem::replace(&mut slot.acl, acl);
            let before = slot.blob.len() as u64;
            write_record(slot, znode);
            if let NewData::Set(data) = data {
                slot.set_data(data);
            }
            let after = slot.blob.len() as u64;
            self.acls.release(old_acl);
            self.data_bytes = self.data_bytes + after - before;
            return Replaced { owner: Some(owner) };
        }
        let parent = parent_of(path.as_str()).and_then(|parent| self.find_slot(parent));
        let Some(parent) = parent else { panic!("{path} has no parent in memory") };
        let data = match data {
            NewData::Set(data) => data,
            NewData::Keep => None,
        };
        self.insert(path, parent, Slot::new(path.name().as_bytes(), data, znode, acl));
        Replaced { owner: None }
    }

    /// Adds a node below `parent`.
    fn insert(&mut self, path: &Path, parent: u32, slot: Slot) {
        let hash = self.hasher.hash_one(path.as_str());
        let first_child = self.slot(parent).first_child;
        self.data_bytes += bytes_of(path, &slot);
        let index = self.allocate(Slot { hash, parent, next: first_child, ..slot });
        if first_child != NIL {
            self.slot_mut(first_child).previous = index;
        }
        self.slot_mut(parent).first_child = index;
        self.index_insert(index, hash);
    }

    /// Removes a node that has no children, and tells who owned it; `None` if it was not there.
    ///
    /// # Panics
    ///
    /// If it has children: they would be lost.
    pub(super) fn remove(&mut self, path: &Path) -> Option<Owner> {
        let index = self.find_slot(path.as_str())?;
        let slot = self.slot(index);
        assert_eq!(slot.first_child, NIL, "{path} is removed while it has children");
        let (hash, parent, previous, next) = (slot.hash, slot.parent, slot.previous, slot.next);
        let (owner, acl) = (Owner::from_number(slot.owner), slot.acl);
        let bytes = bytes_of(path, slot);
        self.data_bytes -= bytes;
        if previous == NIL {
            self.slot_mut(parent).first_child = next;
        } else {
            self.slot_mut(previous).next = next;
        }
        if next != NIL {
            self.slot_mut(next).previous = previous;
        }
        if let Ok(entry) = self.shard_mut(hash).find_entry(hash, |&other| other == index) {
            entry.remove();
        }
        self.acls.release(acl);
        self.slot_mut(index).blob = Box::default();
        self.free.push(index);
        self.count -= 1;
        Some(owner)
    }

    /// Every node, in no particular order, with its path: for the checks of tests and of start-up.
    pub(super) fn iter(&self) -> impl Iterator<Item = NodeRef<'_>> {
        self.index.iter().flatten().map(|&slot| NodeRef { nodes: self, slot })
    }

    fn allocate(&mut self, slot: Slot) -> u32 {
        self.count += 1;
        if let Some(index) = self.free.pop() {
            *self.slot_mut(index) = slot;
            return index;
        }
        if self.chunks.last().is_none_or(|chunk| chunk.len() == CHUNK_SLOTS) {
            self.chunks.push(Vec::with_capacity(CHUNK_SLOTS));
        }
        let before = (self.chunks.len() - 1) * CHUNK_SLOTS;
        let index = self.chunks.last_mut().map_or(0, |chunk| {
            chunk.push(slot);
            before + chunk.len() - 1
        });
        assert!(index < NIL as usize, "the tree holds at most 2^32 - 1 nodes");
        index as u32
    }

    #[allow(clippy::indexing_slicing, reason = "an index of a slot is never out of bounds")]
    fn slot(&self, index: u32) -> &Slot {
        &self.chunks[index as usize / CHUNK_SLOTS][index as usize % CHUNK_SLOTS]
    }

    #[allow(clippy::indexing_slicing, reason = "an index of a slot is never out of bounds")]
    fn slot_mut(&mut self, index: u32) -> &mut Slot {
        &mut self.chunks[index as usize / CHUNK_SLOTS][index as usize % CHUNK_SLOTS]
    }

    #[allow(clippy::indexing_slicing, reason = "ten bits number 1,024 shards")]
    fn shard(&self, hash: u64) -> &HashTable<u32> {
        // The table inside uses the highest and the lowest bits; these lie between.
        &self.index[(hash >> 40) as usize % SHARDS]
    }

    #[allow(clippy::indexing_slicing, reason = "ten bits number 1,024 shards")]
    fn shard_mut(&mut self, hash: u64) -> &mut HashTable<u32> {
        &mut self.index[(hash >> 40) as usize % SHARDS]
    }

    fn index_insert(&mut self, index: u32, hash: u64) {
        let mut shard = std::mem::take(self.shard_mut(hash));
        shard.insert_unique(hash, index, |&other| self.slot(other).hash);
        *self.shard_mut(hash) = shard;
    }

    fn find_slot(&self, path: &str) -> Option<u32> {
        if path.is_empty() || path == "/" {
            return Some(ROOT);
        }
        let hash = self.hasher.hash_one(path);
        self.shard(hash)
            .find(hash, |&index| self.slot(index).hash == hash && self.is_at(index, path))
            .copied()
    }

    /// Whether the node is the one at `path`, compared name by name up to the root.
    fn is_at(&self, index: u32, path: &str) -> bool {
        let mut rest = path.as_bytes();
        let mut index = index;
        while index != ROOT {
            let slot = self.slot(index);
            let Some(before) = rest.strip_suffix(slot.name()).and_then(|r| r.strip_suffix(b"/"))
            else {
                return false;
            };
            rest = before;
            index = slot.parent;
        }
        rest.is_empty()
    }
}

/// What a node counts in [`Nodes::data_bytes`].
fn bytes_of(path: &Path, slot: &Slot) -> u64 {
    (path.as_str().len() - slot.name().len() + slot.blob.len()) as u64
}

/// Writes the record's fields, except those that say where the node lies.
fn write_record(slot: &mut Slot, znode: &Znode) {
    slot.czxid = znode.czxid;
    slot.mzxid = znode.mzxid;
    slot.pzxid = znode.pzxid;
    slot.ctime_ms = znode.ctime_ms;
    slot.mtime_ms = znode.mtime_ms;
    slot.version = znode.version;
    slot.aversion = znode.aversion;
    slot.created = znode.children_created;
    slot.present = znode.children_present;
    slot.owner = znode.owner.to_number();
}

/// A node in the tree.
#[derive(Clone, Copy)]
pub struct NodeRef<'a> {
    nodes: &'a Nodes,
    slot: u32,
}

impl<'a> NodeRef<'a> {
    fn slot(self) -> &'a Slot {
        self.nodes.slot(self.slot)
    }

    /// The node's data; `None` is null.
    pub fn data(self) -> Option<&'a [u8]> {
        self.slot().data()
    }

    /// Who may do what with it.
    pub fn acl(self) -> &'a Arc<[Acl]> {
        self.nodes.acls.get(self.slot().acl)
    }

    /// On whose behalf it exists.
    pub fn owner(self) -> Owner {
        Owner::from_number(self.slot().owner)
    }

    /// The transaction that last set its data.
    pub fn mzxid(self) -> Zxid {
        self.slot().mzxid
    }

    /// The transaction that last created or deleted a child.
    pub fn pzxid(self) -> Zxid {
        self.slot().pzxid
    }

    /// When its data was last set, in milliseconds since 1970.
    pub fn mtime_ms(self) -> i64 {
        self.slot().mtime_ms
    }

    /// How many children were ever created below it.
    pub fn children_created(self) -> i32 {
        self.slot().created
    }

    /// How many children it has.
    pub fn children_present(self) -> i32 {
        self.slot().present
    }

    /// What a client is told of it, without a detour over [`Znode`].
    pub fn stat(self) -> Stat {
        let slot = self.slot();
        Stat {
            czxid: slot.czxid,
            mzxid: slot.mzxid,
            ctime_ms: slot.ctime_ms,
            mtime_ms: slot.mtime_ms,
            version: slot.version,
            cversion: visible_cversion(slot.created, slot.present),
            aversion: slot.aversion,
            ephemeral_owner: self.owner().session().unwrap_or_default(),
            data_length: slot.data_length.max(0),
            num_children: slot.present,
            pzxid: slot.pzxid,
        }
    }

    /// Its record.
    pub fn znode(self) -> Znode {
        let slot = self.slot();
        Znode {
            czxid: slot.czxid,
            mzxid: slot.mzxid,
            pzxid: slot.pzxid,
            ctime_ms: slot.ctime_ms,
            mtime_ms: slot.mtime_ms,
            version: slot.version,
            aversion: slot.aversion,
            children_created: slot.created,
            children_present: slot.present,
            owner: self.owner(),
            data_length: (slot.data_length != NULL_DATA).then_some(slot.data_length as u32),
            acl: Arc::clone(self.acl()),
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
        std::str::from_utf8(self.slot().name()).unwrap_or_default()
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
