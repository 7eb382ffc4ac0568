//! The znodes and sessions that all servers agree on, and the rules by which writes change them.
//!
//! This is the heart, and it is pure: no clock, no randomness, no configuration, no locks, nothing
//! asynchronous. Whatever else may decide a write travels in its [`Proposal`]. A committed log
//! entry is tried on a [`Draft`] over the [`Tree`] ([`apply`]); the finished draft gives the
//! [`Changes`], which go to disk first and are then taken into memory ([`Tree::absorb`]).
//!
//! Records and indexes: what clients and disk know are records ([`Znode`], [`Session`]); the
//! children of a node, the ephemerals of a session and the nodes to be reaped are indexes, rebuilt
//! from records whenever these change.

mod acl;
mod acl_table;
mod apply;
mod check;
mod config_node;
mod create;
mod delete;
mod draft;
mod event;
mod lane;
mod lifecycle;
#[cfg(test)]
mod model;
mod multi;
mod nodes;
mod path;
mod proposal;
mod quota;
mod read;
mod refusal;
mod session;
#[cfg(test)]
mod tests;
mod update;
mod znode;

use std::collections::{BTreeMap, BTreeSet};

use jute::{SessionId, Zxid};

pub use acl::{is_super, permits};
pub use apply::{Applied, apply};
pub use draft::{Changes, DataChange, Draft, INLINE_DATA_BYTES_MAX, NodeChange};
pub use event::Event;
pub use lane::{Lane, Lanes};
pub use nodes::NodeRef;
pub use path::{InvalidPath, Path, parent_of};
pub use proposal::{Admission, Batch, CreateMode, Origin, Proposal, Submission, Write};
pub use read::Reader;
pub use refusal::Refusal;
pub use session::{Holder, Session, SessionChange};
pub use znode::{Owner, TTL_MS_MAX, Znode};

use nodes::{NewData, Nodes};

/// The node under which quotas are kept.
pub const QUOTA_ROOT: &str = "/zookeeper/quota";
/// The node that holds the ensemble's configuration.
pub const CONFIG_NODE: &str = "/zookeeper/config";
/// Nodes that always exist and cannot be deleted.
const SYSTEM_NODES: [&str; 4] = ["/", "/zookeeper", QUOTA_ROOT, CONFIG_NODE];

/// The few numbers that all servers agree on besides nodes and sessions.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Progress {
    /// The zxid of the last transaction.
    pub zxid: Zxid,
    /// The Raft term of the last entry that was applied; 0 before the first.
    pub term: u64,
}

impl Progress {
    /// The zxid of the next transaction. At the end of an epoch's counter the next epoch begins.
    const fn next_zxid(self) -> Zxid {
        match self.zxid.counter() {
            // Counter 0 marks the start of an epoch; no transaction has it.
            u32::MAX => Zxid::new(self.zxid.epoch() + 1, 1),
            counter => Zxid::new(self.zxid.epoch(), counter + 1),
        }
    }
}

/// The tree in memory.
pub struct Tree {
    nodes: Nodes,
    sessions: BTreeMap<SessionId, Session>,
    ephemerals: BTreeMap<SessionId, BTreeSet<Path>>,
    /// Containers and TTL nodes.
    reapable: BTreeSet<Path>,
    /// How many nodes limit a quota: with none there is nothing to count.
    quota_limits: usize,
    progress: Progress,
    lanes: Lanes,
}

impl Tree {
    /// A tree of nothing but a root, to be filled with the records of a store.
    pub fn bare() -> Tree {
        Tree {
            nodes: Nodes::new(),
            sessions: BTreeMap::new(),
            ephemerals: BTreeMap::new(),
            reapable: BTreeSet::new(),
            quota_limits: 0,
            progress: Progress::default(),
            lanes: Lanes::new(),
        }
    }

    /// The tree of a new ensemble: only the system nodes.
    pub fn new() -> Tree {
        let mut tree = Tree::bare();
        tree.absorb(&Draft::of_system_nodes(&Tree::bare()));
        tree
    }

    /// Takes finished changes into memory. The only way in which the tree ever changes.
    pub fn absorb(&mut self, changes: &Changes) {
        // Children go before their parents and come after them.
        for (path, change) in changes.nodes.iter().rev() {
            if matches!(change, NodeChange::Remove) {
                self.remove_node(path);
            }
        }
        for (path, change) in &changes.nodes {
            if let NodeChange::Put { znode, data } = change {
                let data = match data {
                    DataChange::Keep => NewData::Keep,
                    DataChange::Set(data) => NewData::Set(data.as_deref()),
                };
                self.put_node(path, znode, data);
            }
        }
        for (id, session) in &changes.sessions {
            match session {
                Some(session) => {
                    self.sessions.insert(*id, session.clone());
                }
                None => {
                    self.sessions.remove(id);
                }
            }
        }
        self.progress = changes.progress;
        if let Some(lanes) = &changes.lanes {
            self.lanes.clone_from(lanes);
        }
    }

    /// Takes a node in from the store, parents before children.
    pub fn restore_node(&mut self, path: &Path, znode: &Znode, data: Option<&[u8]>) {
        self.put_node(path, znode, NewData::Set(data));
    }

    /// Takes a session in from the store.
    pub fn restore_session(&mut self, id: SessionId, session: Session) {
        self.sessions.insert(id, session);
    }

    /// Takes the progress in from the store.
    pub fn restore_progress(&mut self, progress: Progress) {
        self.progress = progress;
    }

    /// Takes the lanes in from the store.
    pub fn restore_lanes(&mut self, lanes: Lanes) {
        self.lanes = lanes;
    }

    fn put_node(&mut self, path: &Path, znode: &Znode, data: NewData<'_>) {
        let replaced = self.nodes.put(path, znode, data);
        match replaced.owner {
            Some(owner) if owner == znode.owner => {}
            Some(owner) => {
                self.unindex(path, owner);
                self.index(path, znode.owner);
            }
            None => {
                self.index(path, znode.owner);
                self.quota_limits += usize::from(quota::limited_by(path.as_str()).is_some());
            }
        }
    }

    fn remove_node(&mut self, path: &Path) {
        if let Some(owner) = self.nodes.remove(path) {
            self.unindex(path, owner);
            self.quota_limits -= usize::from(quota::limited_by(path.as_str()).is_some());
        }
    }

    fn index(&mut self, path: &Path, owner: Owner) {
        match owner {
            Owner::Persistent => {}
            Owner::Ephemeral(session) => {
                self.ephemerals.entry(session).or_default().insert(path.clone());
            }
            Owner::Container | Owner::Ttl(_) => {
                self.reapable.insert(path.clone());
            }
        }
    }

    fn unindex(&mut self, path: &Path, owner: Owner) {
        match owner {
            Owner::Persistent => {}
            Owner::Ephemeral(session) => {
                if let Some(paths) = self.ephemerals.get_mut(&session) {
                    paths.remove(path);
                    if paths.is_empty() {
                        self.ephemerals.remove(&session);
                    }
                }
            }
            Owner::Container | Owner::Ttl(_) => {
                self.reapable.remove(path);
            }
        }
    }

    /// The zxid of the last transaction.
    pub fn zxid(&self) -> Zxid {
        self.progress.zxid
    }

    /// The numbers that all servers agree on.
    pub fn progress(&self) -> Progress {
        self.progress
    }

    /// How far the submissions of each server are decided.
    pub fn lanes(&self) -> &Lanes {
        &self.lanes
    }

    /// The node at `path`; `""` is the root, as upstream has it.
    pub fn find(&self, path: &str) -> Option<NodeRef<'_>> {
        self.nodes.find(path)
    }

    /// Every node, in no particular order.
    pub fn nodes(&self) -> impl Iterator<Item = NodeRef<'_>> {
        self.nodes.iter()
    }

    /// How many nodes there are, the root among them.
    pub fn node_count(&self) -> usize {
        self.nodes.len()
    }

    /// Bytes of all paths and data; upstream's `approximate_data_size`.
    ///
    /// Source: ZooKeeper, `DataTree.approximateDataSize`.
    pub fn data_bytes(&self) -> u64 {
        self.nodes.data_bytes()
    }

    /// The session of this id, unless it is closed or expired.
    pub fn session(&self, id: SessionId) -> Option<&Session> {
        self.sessions.get(&id)
    }

    /// How many sessions there are.
    pub fn session_count(&self) -> usize {
        self.sessions.len()
    }

    /// Every session, in the order of their ids.
    pub fn sessions(&self) -> impl Iterator<Item = (SessionId, &Session)> {
        self.sessions.iter().map(|(id, session)| (*id, session))
    }

    /// The ephemeral nodes of a session, in the order of their paths.
    pub fn ephemerals_of(&self, session: SessionId) -> impl Iterator<Item = &Path> {
        self.ephemerals.get(&session).into_iter().flatten()
    }

    /// Every session that has ephemeral nodes, with these.
    pub fn ephemerals(&self) -> impl Iterator<Item = (SessionId, &BTreeSet<Path>)> {
        self.ephemerals.iter().map(|(session, paths)| (*session, paths))
    }

    /// Containers and TTL nodes, in the order of their paths.
    pub fn reapable(&self) -> impl Iterator<Item = &Path> {
        self.reapable.iter()
    }
}

impl Default for Tree {
    fn default() -> Tree {
        Tree::new()
    }
}
