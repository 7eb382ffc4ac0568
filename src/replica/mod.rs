//! This server's copy of the tree, with the watches and outboxes of its clients.
//!
//! The only room with locks. There are two that matter, always taken in this order: the tree's
//! (many readers or one writer), then the watches'; an outbox's own lock comes last and is held for
//! the push of one frame. Replies to reads are pushed while the tree is read-locked, notifications
//! and replies to writes while it is write-locked: otherwise a reader could queue old data after
//! the notification that outdates it, and its client would lose the watch.
//!
//! Invariant: memory changes only in [`Replica::absorb`], and only to what disk already holds.

mod absorb;
mod locks;
mod outbox;
mod read;
mod stats;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::Arc;

use jute::Zxid;
use parking_lot::RwLockReadGuard;

use self::locks::{Mutex, RwLock};
use crate::clock::Clock;
use crate::tree::{Applied, Holder, Tree};
use crate::watch::{ConnectionId, WatchRegistry};

pub use outbox::{Arrival, Closing, Outbox, Pending, Seat, Traffic};
pub use read::Asker;
pub use stats::{Incident, ServerStats, StatsSnapshot};

/// A proposal's result on its way to whoever asked.
pub struct Decided {
    /// Who asked.
    pub origin: crate::tree::Origin,
    /// What came of it.
    pub applied: Applied,
    /// Whether it opened or attached a session, which is answered by a handshake.
    pub is_handshake: bool,
}

/// This server's copy.
pub struct Replica {
    home: Holder,
    skip_acl: bool,
    clock: Clock,
    tree: RwLock<Tree>,
    watches: Mutex<WatchRegistry>,
    connections: RwLock<HashMap<ConnectionId, Arc<Outbox>>>,
    stats: ServerStats,
}

impl Replica {
    /// A copy of `tree` at the server and start that `home` names; its connection is ignored.
    pub fn new(tree: Tree, home: Holder, skip_acl: bool, clock: Clock) -> Replica {
        Replica {
            home,
            skip_acl,
            clock,
            tree: RwLock::new(tree),
            watches: Mutex::new(WatchRegistry::default()),
            connections: RwLock::new(HashMap::new()),
            stats: ServerStats::default(),
        }
    }

    /// The tree, to look at. Nothing is applied meanwhile, so look quickly.
    pub fn tree(&self) -> RwLockReadGuard<'_, Tree> {
        self.tree.read()
    }

    /// The zxid of the last transaction that was applied here.
    pub fn zxid(&self) -> Zxid {
        self.tree.read().zxid()
    }

    /// The server and its start; the connection is none.
    pub fn home(&self) -> Holder {
        self.home
    }

    /// Takes in another tree, at which nobody here has looked yet: all connections end, since what their
    /// clients missed cannot be told.
    pub fn replace(&self, tree: Tree) {
        let old = {
            let mut current = self.tree.write();
            for outbox in self.connections() {
                outbox.close(Closing::AtOnce);
            }
            std::mem::replace(&mut *current, tree)
        };
        drop(old);
    }

    /// The name of a connection of this server.
    pub fn holder(&self, connection: ConnectionId) -> Holder {
        Holder { connection: connection.0, ..self.home }
    }

    /// The connection of this server that `holder` names, if it is one and still there.
    fn local(&self, holder: Holder) -> Option<Arc<Outbox>> {
        if holder.server != self.home.server || holder.boot != self.home.boot {
            return None;
        }
        self.connections.read().get(&ConnectionId(holder.connection)).cloned()
    }

    /// Takes a connection in.
    pub fn connect(&self, outbox: Arc<Outbox>) {
        outbox.note_accepted(self.clock.monotonic_ms());
        self.connections.write().insert(outbox.id(), outbox);
    }

    /// Forgets a connection, with its watches. Its session lives on.
    pub fn disconnect(&self, connection: ConnectionId) {
        self.watches.lock().forget(connection);
        self.connections.write().remove(&connection);
    }

    /// Every connection, in no particular order.
    pub fn connections(&self) -> Vec<Arc<Outbox>> {
        self.connections.read().values().cloned().collect()
    }

    /// How many connections there are.
    pub fn connection_count(&self) -> usize {
        self.connections.read().len()
    }

    /// The watches, to look at.
    pub fn with_watches<T>(&self, look: impl FnOnce(&WatchRegistry) -> T) -> T {
        look(&self.watches.lock())
    }

    /// What was counted.
    pub fn stats(&self) -> &ServerStats {
        &self.stats
    }

    /// The server's monotonic clock, in microseconds.
    pub fn now_us(&self) -> i64 {
        self.clock.elapsed().as_micros() as i64
    }
}
