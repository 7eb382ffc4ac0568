//! Every watch of this server: registering, asking, removing, listing.
//!
//! As upstream there are two tables. The data table hears of the node itself, the child table of
//! its children; a persistent watch stands in both, a recursive one in the data table only. Nothing
//! here limits how many watches there are: upstream does not, and clients rely on it.
//!
//! Source: ZooKeeper 3.9, `DataTree`, `WatchManager`.

use super::ConnectionId;
use super::table::Table;
use super::watchers::Modes;

/// Which watches a client asks about or removes.
///
/// Source: ZooKeeper, `Watcher.WatcherType`.
enum WatcherType {
    Children,
    Data,
    Any,
    Persistent,
    PersistentRecursive,
}

impl WatcherType {
    const fn from_number(number: i32) -> Option<WatcherType> {
        match number {
            1 => Some(WatcherType::Children),
            2 => Some(WatcherType::Data),
            3 => Some(WatcherType::Any),
            4 => Some(WatcherType::Persistent),
            5 => Some(WatcherType::PersistentRecursive),
            _ => None,
        }
    }

    /// The modes that count in the data table and in the child table.
    const fn modes(self) -> (Modes, Modes) {
        match self {
            WatcherType::Children => (Modes::NONE, Modes::STANDARD),
            WatcherType::Data => (Modes::STANDARD, Modes::NONE),
            WatcherType::Any => (Modes::ALL, Modes::ALL),
            WatcherType::Persistent => (Modes::PERSISTENT, Modes::PERSISTENT),
            WatcherType::PersistentRecursive => (Modes::RECURSIVE, Modes::NONE),
        }
    }
}

/// The counts of `wchs`; like upstream's they are those of the data table alone.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Summary {
    /// How many connections watch something.
    pub connections: usize,
    /// How many paths are watched.
    pub paths: usize,
    /// How many pairs of the two there are.
    pub watches: usize,
}

/// Who waits to hear of which path.
pub struct WatchRegistry {
    pub(super) data: Table,
    pub(super) child: Table,
}

impl WatchRegistry {
    /// A registry without watches.
    pub fn new() -> WatchRegistry {
        WatchRegistry { data: Table::new(), child: Table::new() }
    }

    /// Registers a one-shot watch for the node itself: `getData`, `exists`.
    pub fn add_data(&mut self, path: &str, connection: ConnectionId) {
        self.data.add(path, connection, Modes::STANDARD);
    }

    /// Registers a one-shot watch for the node's children: `getChildren`.
    pub fn add_child(&mut self, path: &str, connection: ConnectionId) {
        self.child.add(path, connection, Modes::STANDARD);
    }

    /// Registers a watch for node and children that stays until it is removed.
    pub fn add_persistent(&mut self, path: &str, connection: ConnectionId) {
        self.data.add(path, connection, Modes::PERSISTENT);
        self.child.add(path, connection, Modes::PERSISTENT);
    }

    /// Registers a watch for the node and everything below that stays until it is removed.
    pub fn add_recursive(&mut self, path: &str, connection: ConnectionId) {
        self.data.add(path, connection, Modes::RECURSIVE);
    }

    /// Whether the connection watches the path in a way that `kind`, the number of a watcher type,
    /// names; `None` if there is no such type.
    pub fn check(&self, path: &str, connection: ConnectionId, kind: i32) -> Option<bool> {
        let (data, child) = WatcherType::from_number(kind)?.modes();
        let is_in_data = self.data.modes(path, connection).intersects(data);
        Some(is_in_data || self.child.modes(path, connection).intersects(child))
    }

    /// Removes those watches of the connection on the path that `kind`, the number of a watcher
    /// type, names. Whether there were any; `None` if there is no such type.
    pub fn remove(&mut self, path: &str, connection: ConnectionId, kind: i32) -> Option<bool> {
        let (data, child) = WatcherType::from_number(kind)?.modes();
        let was_in_data = self.data.remove(path, connection, data);
        let was_in_child = self.child.remove(path, connection, child);
        Some(was_in_data || was_in_child)
    }

    /// Forgets every watch of a connection that is gone.
    pub fn forget(&mut self, connection: ConnectionId) {
        self.data.forget(connection);
        self.child.forget(connection);
    }

    /// How many watches there are. A persistent one counts twice, for it stands in both tables.
    pub fn watch_count(&self) -> usize {
        self.data.entry_count() + self.child.entry_count()
    }

    /// What `wchs` counts.
    pub fn summary(&self) -> Summary {
        Summary {
            connections: self.data.connection_count(),
            paths: self.data.path_count(),
            watches: self.data.entry_count(),
        }
    }

    /// What `wchc` lists: every connection in the data table with its paths, both in order.
    pub fn by_connection(&self) -> Vec<(ConnectionId, Vec<&str>)> {
        let all = self.data.by_connection().iter();
        all.map(|(id, paths)| (*id, paths.iter().map(|path| &**path).collect())).collect()
    }

    /// What `wchp` lists: every path in the data table with its connections, both in order.
    pub fn by_path(&self) -> Vec<(&str, Vec<ConnectionId>)> {
        self.data.by_path().into_iter().collect()
    }
}

impl Default for WatchRegistry {
    fn default() -> WatchRegistry {
        WatchRegistry::new()
    }
}
