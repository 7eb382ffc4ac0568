//! A draft of what the tree will be: edits that later edits see and nobody else.
//!
//! Invariant: a refused [`Draft::attempt`] leaves the draft as it was, so `multi` is all or nothing
//! without any list of outstanding changes.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use jute::reply::EventType;
use jute::{Acl, Perms, SessionId, Version, Zxid};

use super::{
    CONFIG_NODE, Event, Lane, Lanes, NodeRef, Owner, Path, Progress, QUOTA_ROOT, Refusal, Session,
    Tree, Znode, quota,
};

/// Data up to this many bytes lies beside its node's record on disk, so that reading a node reads
/// one record; larger data lies apart, so that a new child does not write its parent's data again.
pub const INLINE_DATA_BYTES_MAX: usize = 512;

/// What became of a node's data.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum DataChange {
    /// It stayed as it is.
    Keep,
    /// It was replaced.
    Set(Option<Bytes>),
}

/// What became of a node.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum NodeChange {
    /// It is there now, new or changed. Data of up to [`INLINE_DATA_BYTES_MAX`] is always `Set`.
    Put { znode: Znode, data: DataChange },
    /// It is gone.
    Remove,
}

/// A finished draft: everything that is different, each thing once.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Changes {
    /// Nodes, in the order of their paths.
    pub nodes: Vec<(Path, NodeChange)>,
    /// Sessions; `None` is gone.
    pub sessions: Vec<(SessionId, Option<Session>)>,
    /// Where the tree has got to.
    pub progress: Progress,
    /// How far the submissions of each server are decided, if that is different.
    pub lanes: Option<Lanes>,
}

/// An edit's opposite.
enum Undo {
    Node(Path, Option<NodeChange>),
    Session(SessionId, Option<Session>),
    FirstOfSession(SessionId),
}

/// The draft.
pub struct Draft<'t> {
    tree: &'t Tree,
    nodes: BTreeMap<Path, NodeChange>,
    sessions: BTreeMap<SessionId, Option<Session>>,
    progress: Progress,
    lanes: Option<Lanes>,
    events: Vec<Event>,
    undo: Vec<Undo>,
    /// What the transaction that is being decided found where it edited below the root of quotas.
    quotas_before: BTreeMap<Path, Option<NodeChange>>,
    edits_quotas: bool,
}

impl<'t> Draft<'t> {
    /// A draft without edits.
    pub fn over(tree: &'t Tree) -> Draft<'t> {
        Draft {
            tree,
            nodes: BTreeMap::new(),
            sessions: BTreeMap::new(),
            progress: tree.progress,
            lanes: None,
            events: Vec::new(),
            undo: Vec::new(),
            quotas_before: BTreeMap::new(),
            edits_quotas: false,
        }
    }

    /// What makes a bare tree that of a new ensemble.
    ///
    /// Source: ZooKeeper, `DataTree` constructor and `addConfigNode`, for the odd counts: system
    /// nodes were never "created", and the configuration's ACL has version -1.
    pub fn of_system_nodes(bare: &Tree) -> Changes {
        let mut draft = Draft::over(bare);
        let open: Arc<[Acl]> = Arc::from([Acl::anyone(Perms::ALL)]);
        let readable: Arc<[Acl]> = Arc::from([Acl::anyone(Perms::READ)]);
        for (path, children_present, aversion, acl) in [
            ("/", 1, 0, &open),
            ("/zookeeper", 2, 0, &open),
            (CONFIG_NODE, 0, -1, &readable),
            (QUOTA_ROOT, 0, 0, &open),
        ] {
            let znode = Znode {
                czxid: Zxid::ZERO,
                mzxid: Zxid::ZERO,
                pzxid: Zxid::ZERO,
                ctime_ms: 0,
                mtime_ms: 0,
                version: Version(0),
                aversion: Version(aversion),
                children_created: 0,
                children_present,
                owner: Owner::Persistent,
                data_length: Some(0),
                acl: Arc::clone(acl),
            };
            draft.put(Path::trusted(path), znode, DataChange::Set(Some(Bytes::new())));
        }
        draft.finish()
    }

    /// Does what `edits` does, or nothing: a refusal undoes its edits and its events.
    ///
    /// # Errors
    ///
    /// The refusal of `edits`.
    pub fn attempt<T>(
        &mut self,
        edits: impl FnOnce(&mut Draft<'t>) -> Result<T, Refusal>,
    ) -> Result<T, Refusal> {
        let (undo_before, events_before) = (self.undo.len(), self.events.len());
        let outcome = edits(self);
        if outcome.is_err() {
            self.events.truncate(events_before);
            for undo in self.undo.split_off(undo_before).into_iter().rev() {
                match undo {
                    Undo::Node(path, Some(change)) => drop(self.nodes.insert(path, change)),
                    Undo::Node(path, None) => drop(self.nodes.remove(&path)),
                    Undo::Session(id, session) => drop(self.sessions.insert(id, session)),
                    Undo::FirstOfSession(id) => drop(self.sessions.remove(&id)),
                }
            }
        }
        outcome
    }

    /// Ends a transaction: forgets how to undo it and gives out its events.
    pub(super) fn take_events(&mut self) -> Vec<Event> {
        self.undo.clear();
        self.quotas_before.clear();
        std::mem::take(&mut self.events)
    }

    /// Everything that is different from the tree now.
    pub fn finish(self) -> Changes {
        let complete = |(path, mut change): (Path, NodeChange)| {
            if let NodeChange::Put { znode, data: data @ DataChange::Keep } = &mut change
                && znode.data_length.is_none_or(|length| length as usize <= INLINE_DATA_BYTES_MAX)
            {
                let kept = self.tree.find(path.as_str()).and_then(NodeRef::data);
                *data = DataChange::Set(kept.map(Bytes::copy_from_slice));
            }
            (path, change)
        };
        Changes {
            nodes: self.nodes.into_iter().map(complete).collect(),
            sessions: self.sessions.into_iter().collect(),
            progress: self.progress,
            lanes: self.lanes,
        }
    }

    /// Where the draft has got to.
    pub(super) fn progress(&self) -> Progress {
        self.progress
    }

    /// Moves on.
    pub(super) fn set_progress(&mut self, progress: Progress) {
        self.progress = progress;
    }

    /// How far the submissions of a server are decided.
    pub(super) fn lane(&self, server: u64) -> Option<Lane> {
        self.lanes.as_ref().unwrap_or(&self.tree.lanes).get(&server).copied()
    }

    /// Notes how far they are. No refusal undoes it: a number is taken whatever comes of it.
    pub(super) fn put_lane(&mut self, server: u64, lane: Lane) {
        self.lanes.get_or_insert_with(|| self.tree.lanes.clone()).insert(server, lane);
    }

    /// The record of the node at `path`, `""` being the root.
    pub(super) fn find(&self, path: &str) -> Option<Znode> {
        let path = if path.is_empty() { "/" } else { path };
        match self.nodes.get(path) {
            Some(NodeChange::Put { znode, .. }) => Some(znode.clone()),
            Some(NodeChange::Remove) => None,
            None => self.tree.find(path).map(NodeRef::znode),
        }
    }

    /// The record of the node at `path`.
    ///
    /// # Errors
    ///
    /// [`Refusal::NoNode`].
    pub(super) fn get(&self, path: &str) -> Result<Znode, Refusal> {
        self.find(path).ok_or_else(|| Refusal::NoNode { path: path.to_owned() })
    }

    /// The data of the node at `path`; `None` also if there is no node.
    pub(super) fn data(&self, path: &str) -> Option<Bytes> {
        self.data_after(path, self.nodes.get(path))
    }

    /// The data that the tree's node at `path` has after this change, if any.
    fn data_after(&self, path: &str, change: Option<&NodeChange>) -> Option<Bytes> {
        match change {
            Some(NodeChange::Put { data: DataChange::Set(data), .. }) => data.clone(),
            Some(NodeChange::Remove) => None,
            Some(NodeChange::Put { data: DataChange::Keep, .. }) | None => {
                self.tree.find(path).and_then(NodeRef::data).map(Bytes::copy_from_slice)
            }
        }
    }

    /// Whether there was a node at `path`, below the root of quotas, before the transaction that is
    /// being decided.
    pub(super) fn quota_existed(&self, path: &str) -> bool {
        match self.quotas_before.get(path) {
            Some(Some(change)) => matches!(change, NodeChange::Put { .. }),
            Some(None) => self.tree.find(path).is_some(),
            None => self.find(path).is_some(),
        }
    }

    /// The data of that node before the transaction that is being decided.
    pub(super) fn quota_data_before(&self, path: &str) -> Option<Bytes> {
        let change = match self.quotas_before.get(path) {
            Some(before) => before.as_ref(),
            None => self.nodes.get(path),
        };
        self.data_after(path, change)
    }

    /// Whether any quota could be in force.
    pub(super) fn may_have_quotas(&self) -> bool {
        self.edits_quotas || self.tree.quota_limits > 0
    }

    /// How many nodes there are at and below `path`, and how many bytes their data has.
    pub(super) fn subtree_totals(&self, path: &str) -> (i64, i64) {
        let (mut count, mut bytes) = (0, 0);
        for node in self.tree.find(path).into_iter().flat_map(NodeRef::subtree) {
            count += 1;
            bytes += node.data().map_or(0, |data| data.len() as i64);
        }
        let below = |other: &Path| {
            other.as_str().strip_prefix(path).is_some_and(|r| r.is_empty() || r.starts_with('/'))
        };
        for (other, change) in self.nodes.iter().filter(|(other, _)| below(other)) {
            if let Some(node) = self.tree.find(other.as_str()) {
                count -= 1;
                bytes -= node.data().map_or(0, |data| data.len() as i64);
            }
            if let NodeChange::Put { znode, .. } = change {
                count += 1;
                bytes += i64::from(znode.data_length.unwrap_or(0));
            }
        }
        (count, bytes)
    }

    /// The ephemeral nodes of a session, in the order of their paths.
    pub(super) fn ephemerals_of(&self, session: SessionId) -> Vec<Path> {
        let owned = Owner::Ephemeral(session);
        let is_owned = |change: &NodeChange| matches!(change, NodeChange::Put { znode, .. } if znode.owner == owned);
        let mut paths: Vec<Path> = self.tree.ephemerals_of(session).cloned().collect();
        paths.retain(|path| self.nodes.get(path).is_none_or(is_owned));
        paths.extend(
            self.nodes.iter().filter(|(_, change)| is_owned(change)).map(|(path, _)| path.clone()),
        );
        paths.sort_unstable();
        paths.dedup();
        paths
    }

    /// Puts a record in place, new or changed.
    pub(super) fn put(&mut self, path: Path, mut znode: Znode, data: DataChange) {
        if let DataChange::Set(data) = &data {
            znode.data_length = data.as_ref().map(|data| data.len() as u32);
        }
        let data = match (data, self.nodes.get(&path)) {
            // The data of an earlier edit is still to be written.
            (DataChange::Keep, Some(NodeChange::Put { data, .. })) => data.clone(),
            (data, _) => data,
        };
        self.edits_quotas |= quota::limited_by(path.as_str()).is_some();
        self.edit(path, NodeChange::Put { znode, data });
    }

    /// Adds a node and emits what its watchers and its parent's are owed.
    pub(super) fn add(&mut self, path: &Path, znode: Znode, data: Option<Bytes>) {
        let (zxid, acl) = (znode.czxid, Arc::clone(&znode.acl));
        self.put(path.clone(), znode, DataChange::Set(data));
        self.emit(EventType::NodeCreated, path.clone(), zxid, acl);
        self.with_parent(path, |parent| {
            // Upstream's count stops at the largest number instead of turning negative.
            parent.children_created = parent.children_created.saturating_add(1);
            parent.children_present += 1;
            parent.pzxid = zxid;
        });
    }

    /// Removes a node that has no children and emits what its watchers and its parent's are owed.
    pub(super) fn remove(&mut self, path: &Path, znode: &Znode, zxid: Zxid) {
        debug_assert_eq!(znode.children_present, 0, "{path} is removed with children");
        self.edit(path.clone(), NodeChange::Remove);
        self.emit(EventType::NodeDeleted, path.clone(), zxid, Arc::clone(&znode.acl));
        self.with_parent(path, |parent| {
            parent.children_present -= 1;
            parent.pzxid = parent.pzxid.max(zxid);
        });
    }

    /// Changes the parent of a node that came or went, and tells the parent's watchers.
    fn with_parent(&mut self, path: &Path, change: impl FnOnce(&mut Znode)) {
        let Some(parent_path) = path.parent() else { return };
        let Some(mut parent) = self.find(parent_path.as_str()) else { return };
        change(&mut parent);
        let (zxid, acl) = (parent.pzxid, Arc::clone(&parent.acl));
        self.put(parent_path.clone(), parent, DataChange::Keep);
        self.emit(EventType::NodeChildrenChanged, parent_path, zxid, acl);
    }

    /// Owes an event to whoever watches.
    pub(super) fn emit(&mut self, kind: EventType, path: Path, zxid: Zxid, acl: Arc<[Acl]>) {
        self.events.push(Event { kind, path, zxid, acl });
    }

    fn edit(&mut self, path: Path, change: NodeChange) {
        let before = self.nodes.insert(path.clone(), change);
        if path.as_str().starts_with(QUOTA_ROOT) {
            self.quotas_before.entry(path.clone()).or_insert_with(|| before.clone());
        }
        self.undo.push(Undo::Node(path, before));
    }

    /// The session of this id.
    pub(super) fn session(&self, id: SessionId) -> Option<&Session> {
        match self.sessions.get(&id) {
            Some(session) => session.as_ref(),
            None => self.tree.session(id),
        }
    }

    /// Puts a session in place, or removes it.
    pub(super) fn put_session(&mut self, id: SessionId, session: Option<Session>) {
        self.undo.push(match self.sessions.insert(id, session) {
            Some(before) => Undo::Session(id, before),
            None => Undo::FirstOfSession(id),
        });
    }
}
