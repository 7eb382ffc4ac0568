//! One table of watches: which connection watches which path, and how.
//!
//! It is built for many watchers of one path and for many paths of one connection: whatever is
//! done to one entry costs the same, give or take a logarithm. The text of a path is kept once,
//! its usual single watcher beside it. The index over paths grows by one of its [`SHARDS`] at a
//! time, so that no registration stalls for long.
//!
//! Invariants: `paths` and `by_connection` hold the same pairs, seen from both ends; no entry is
//! without a mode, no path without a watcher, no connection without a path; `entries` and
//! `recursive` count the entries, and those that are recursive.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use hashbrown::HashTable;
use hashbrown::hash_table::{Entry, OccupiedEntry};

use super::ConnectionId;
use super::watchers::{Modes, Watchers};

/// Parts of the index over paths.
const SHARDS: usize = 256;

/// Which connection watches which path.
pub(super) struct Table {
    paths: Paths,
    by_connection: BTreeMap<ConnectionId, BTreeSet<Arc<str>>>,
    entries: usize,
    recursive: usize,
}

impl Table {
    /// A table without entries.
    pub(super) fn new() -> Table {
        Table { paths: Paths::new(), by_connection: BTreeMap::new(), entries: 0, recursive: 0 }
    }

    /// Adds `modes` to those in which the connection watches the path.
    pub(super) fn add(&mut self, path: &str, connection: ConnectionId, modes: Modes) {
        debug_assert!(!modes.is_empty(), "an entry without a mode would never go");
        let (interned, before) = match self.paths.entry(path) {
            Entry::Occupied(mut entry) => {
                let Watched { path, watchers } = entry.get_mut();
                let before = watchers.modes(connection);
                watchers.set(connection, before.union(modes));
                (Arc::clone(path), before)
            }
            Entry::Vacant(entry) => {
                let interned: Arc<str> = Arc::from(path);
                let watchers = Watchers::One(connection, modes);
                entry.insert(Watched { path: Arc::clone(&interned), watchers });
                (interned, Modes::NONE)
            }
        };
        if before.is_empty() {
            self.entries += 1;
            self.by_connection.entry(connection).or_default().insert(interned);
        }
        let is_newly_recursive = modes.without(before).intersects(Modes::RECURSIVE);
        self.recursive += usize::from(is_newly_recursive);
    }

    /// How the connection watches the path.
    pub(super) fn modes(&self, path: &str, connection: ConnectionId) -> Modes {
        self.paths.find(path).map_or(Modes::NONE, |watched| watched.watchers.modes(connection))
    }

    /// Takes `modes` from those in which the connection watches the path. Returns whether it had
    /// any of them.
    pub(super) fn remove(&mut self, path: &str, connection: ConnectionId, modes: Modes) -> bool {
        let before = self.take(path, connection, modes);
        if !before.is_empty() && before.without(modes).is_empty() {
            self.unlink(path, connection);
        }
        before.intersects(modes)
    }

    /// Forgets everything the connection watches.
    pub(super) fn forget(&mut self, connection: ConnectionId) {
        for path in self.by_connection.remove(&connection).unwrap_or_default() {
            self.take(&path, connection, Modes::ALL);
        }
    }

    /// Appends everyone who watches the path to `told` and uses up the one-shot watches.
    pub(super) fn fire(&mut self, path: &str, told: &mut Vec<ConnectionId>) {
        let Some(mut entry) = self.paths.find_entry(path) else { return };
        let mut gone = Vec::new();
        let watchers = &mut entry.get_mut().watchers;
        watchers.fire(|connection, is_gone| {
            told.push(connection);
            if is_gone {
                gone.push(connection);
            }
        });
        if watchers.is_empty() {
            entry.remove();
        }
        self.entries -= gone.len();
        for connection in gone {
            self.unlink(path, connection);
        }
    }

    /// Appends everyone to `told` who watches the path recursively.
    pub(super) fn extend_recursive(&self, path: &str, told: &mut Vec<ConnectionId>) {
        if let Some(watched) = self.paths.find(path) {
            watched.watchers.extend_recursive(told);
        }
    }

    /// Whether anybody watches anything recursively.
    pub(super) fn has_recursive(&self) -> bool {
        self.recursive > 0
    }

    /// How many pairs of a path and a connection there are.
    pub(super) fn entry_count(&self) -> usize {
        self.entries
    }

    /// How many paths are watched.
    pub(super) fn path_count(&self) -> usize {
        self.paths.shards.iter().map(HashTable::len).sum()
    }

    /// How many connections watch something.
    pub(super) fn connection_count(&self) -> usize {
        self.by_connection.len()
    }

    /// Every connection that watches something, with its paths; both in order.
    pub(super) fn by_connection(&self) -> &BTreeMap<ConnectionId, BTreeSet<Arc<str>>> {
        &self.by_connection
    }

    /// Every watched path, with the connections that watch it; both in order.
    pub(super) fn by_path(&self) -> BTreeMap<&str, Vec<ConnectionId>> {
        let all = self.paths.shards.iter().flatten();
        all.map(|watched| (&*watched.path, watched.watchers.connections())).collect()
    }

    /// Takes `modes` from an entry, and the entry from the path once it has none. Returns the modes
    /// it had. The path may still stand in `by_connection`.
    fn take(&mut self, path: &str, connection: ConnectionId, modes: Modes) -> Modes {
        let Some(mut entry) = self.paths.find_entry(path) else { return Modes::NONE };
        let watchers = &mut entry.get_mut().watchers;
        let before = watchers.modes(connection);
        if before.is_empty() {
            return before;
        }
        let after = before.without(modes);

        watchers.set(connection, after);
        if watchers.is_empty() {
            entry.remove();
        }
        self.entries -= usize::from(after.is_empty());
        let was_recursive = before.without(after).intersects(Modes::RECURSIVE);
        self.recursive -= usize::from(was_recursive);
        before
    }

    /// Takes a path from those of a connection.
    fn unlink(&mut self, path: &str, connection: ConnectionId) {
        if let Some(paths) = self.by_connection.get_mut(&connection) {
            paths.remove(path);
            if paths.is_empty() {
                self.by_connection.remove(&connection);
            }
        }
    }
}

/// A path that somebody watches.
struct Watched {
    path: Arc<str>,
    watchers: Watchers,
}

/// The watched paths, found by the keyed hash of their text.
struct Paths {
    hasher: RandomState,
    shards: Box<[HashTable<Watched>]>,
}

impl Paths {
    fn new() -> Paths {
        let shards = (0..SHARDS).map(|_| HashTable::new()).collect();
        Paths { hasher: RandomState::new(), shards }
    }

    fn find(&self, path: &str) -> Option<&Watched> {
        let hash = self.hasher.hash_one(path);
        self.shards.get(shard_of(hash))?.find(hash, |watched| &*watched.path == path)
    }

    fn find_entry(&mut self, path: &str) -> Option<OccupiedEntry<'_, Watched>> {
        let hash = self.hasher.hash_one(path);
        let shard = self.shards.get_mut(shard_of(hash))?;
        shard.find_entry(hash, |watched| &*watched.path == path).ok()
    }

    #[expect(clippy::indexing_slicing, reason = "a shard's number is below the number of shards")]
    fn entry(&mut self, path: &str) -> Entry<'_, Watched> {
        let hash = self.hasher.hash_one(path);
        let rehash = |watched: &Watched| self.hasher.hash_one(&*watched.path);
        self.shards[shard_of(hash)].entry(hash, |watched| &*watched.path == path, rehash)
    }
}

/// Which shard a hash belongs to. Bits from its middle: inside a shard those of both ends are used.
const fn shard_of(hash: u64) -> usize {
    (hash >> 32) as usize % SHARDS
}
