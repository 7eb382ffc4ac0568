//! The facts behind everything that operators are told, gathered from the rooms that hold them.
//!
//! Each part of the report is a value of its own, made when it is asked for: `ruok` must not pay for
//! `wchp`. A part says nothing of how it is shown.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jute::{SessionId, Zxid};

use super::system;
use crate::clock::Clock;
use crate::config::Config;
use crate::raft::{Ensemble, Role};
use crate::replica::{Outbox, Replica, Seat, StatsSnapshot, Traffic};
use crate::store;
use crate::watch::{ConnectionId, Summary};

/// Where data lies and how much of it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Folder {
    /// The folder, absolute.
    pub path: PathBuf,
    /// Bytes of all files in it.
    pub bytes: u64,
}

/// How the server is set up.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Setup {
    /// The port that clients connect to.
    pub client_port: u16,
    /// Where the image of the tree lies.
    pub data: Folder,
    /// Where the log lies.
    pub log: Folder,
    /// One tick.
    pub tick_time_ms: u32,
    /// Connections from one address; 0: unlimited.
    pub max_client_cnxns: u32,
    /// The shortest session time-out.
    pub min_session_timeout_ms: u32,
    /// The longest session time-out.
    pub max_session_timeout_ms: u32,
    /// Connections the kernel queues; `None`: the system's default.
    pub listen_backlog: Option<u32>,
}

/// How the server is doing.
#[derive(Clone, Debug, PartialEq)]
pub struct Server {
    /// What it is to its ensemble.
    pub mode: Role,
    /// What was counted since the start or the last `srst`.
    pub stats: StatsSnapshot,
    /// How many connections there are.
    pub connections: usize,
    /// Requests that are not answered yet.
    pub outstanding: usize,
    /// The last transaction.
    pub zxid: Zxid,
    /// Nodes, of which upstream counts the root twice.
    pub nodes: usize,
}

/// What is measured.
#[derive(Clone, Debug, PartialEq)]
pub struct Monitor {
    /// How the server is doing.
    pub server: Server,
    /// How many nodes end with their sessions.
    pub ephemerals: usize,
    /// How many sessions there are.
    pub sessions: usize,
    /// How many watches this server keeps.
    pub watches: usize,
    /// Bytes of paths and data.
    pub data_bytes: u64,
    /// Milliseconds since the start.
    pub uptime_ms: i64,
    /// Open file descriptors, or -1.
    pub files_open: i64,
    /// The limit of open file descriptors, or -1.
    pub files_max: i64,
}

/// A client's connection.
#[derive(Clone, Debug)]
pub struct Connection {
    /// Where it comes from.
    pub peer: SocketAddr,
    /// Whether this report was asked for on it.
    pub is_asking: bool,
    /// Whether it does not take its replies as fast as they come.
    pub is_behind: bool,
    /// Requests that are not answered yet.
    pub outstanding: usize,
    /// What has gone over it.
    pub traffic: Traffic,
    /// Its session, if it has one.
    pub seat: Option<Seat>,
}

/// What ends when, unless it is heard of; times are milliseconds since 1970.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Dump {
    /// Sessions by the time at which they expire.
    pub sessions: BTreeMap<i64, Vec<SessionId>>,
    /// Nodes that end with their sessions.
    pub ephemerals: Vec<(SessionId, Vec<String>)>,
    /// Connections by the time at which they are closed; those without a session have none.
    pub connections: BTreeMap<i64, Vec<(SocketAddr, Option<SessionId>)>>,
}

/// Gathers the facts.
pub struct Reporter {
    /// How the server is set up.
    pub config: Arc<Config>,
    /// This server's copy.
    pub replica: Arc<Replica>,
    /// What it belongs to.
    pub ensemble: Arc<Ensemble>,
    /// The clock whose start is the server's.
    pub clock: Clock,
    /// The port that clients connect to, also where the configuration leaves the choice.
    pub client_port: u16,
}

impl Reporter {
    /// How the server is set up.
    pub fn setup(&self) -> Setup {
        let config = &self.config;
        let (data, log) = self.folders();
        Setup {
            client_port: self.client_port,
            data,
            log,
            tick_time_ms: config.tick_time_ms,
            max_client_cnxns: config.max_client_cnxns,
            min_session_timeout_ms: config.min_session_timeout_ms,
            max_session_timeout_ms: config.max_session_timeout_ms,
            listen_backlog: config.listen_backlog,
        }
    }

    /// Where the image of the tree and the log lie; both whole where they share a folder.
    pub fn folders(&self) -> (Folder, Folder) {
        let folder = |parent: &Path| {
            let path = parent.join(store::HOME);
            let path = std::path::absolute(&path).unwrap_or(path);
            Folder { bytes: system::folder_bytes(&path), path }
        };
        (folder(&self.config.data_dir), folder(&self.config.data_log_dir))
    }

    /// How the server is doing.
    pub fn server(&self) -> Server {
        let connections = self.replica.connections();
        let tree = self.replica.tree();
        Server {
            mode: self.ensemble.role(),
            stats: self.replica.stats().snapshot(),
            connections: connections.len(),
            outstanding: connections.iter().map(|outbox| outbox.pending()).sum(),
            zxid: tree.zxid(),
            nodes: tree.node_count() + 1,
        }
    }

    /// What is measured.
    pub fn monitor(&self) -> Monitor {
        let server = self.server();
        let (ephemerals, sessions, data_bytes) = {
            let tree = self.replica.tree();
            let ephemerals = tree.ephemerals().map(|(_, paths)| paths.len()).sum();
            (ephemerals, tree.session_count(), tree.data_bytes())
        };
        Monitor {
            server,
            ephemerals,
            sessions,
            watches: self.replica.with_watches(crate::watch::WatchRegistry::watch_count),
            data_bytes,
            uptime_ms: self.clock.monotonic_ms(),
            files_open: system::files_open(),
            files_max: system::files_max(),
        }
    }

    /// Every connection, the oldest first. `asking` is the one that asks.
    pub fn connections(&self, asking: &Outbox) -> Vec<Connection> {
        let describe = |outbox: Arc<Outbox>| Connection {
            peer: outbox.peer(),
            is_asking: outbox.id() == asking.id(),
            is_behind: outbox.waiting_bytes() > 0,
            outstanding: outbox.pending(),
            traffic: outbox.traffic(),
            seat: outbox.seat(),
        };
        self.outboxes().into_values().map(describe).collect()
    }

    /// Every connection in the order in which they came.
    fn outboxes(&self) -> BTreeMap<ConnectionId, Arc<Outbox>> {
        self.replica.connections().into_iter().map(|outbox| (outbox.id(), outbox)).collect()
    }

    /// How many watches there are of nodes themselves.
    pub fn watch_summary(&self) -> Summary {
        self.replica.with_watches(crate::watch::WatchRegistry::summary)
    }

    /// Sessions with the nodes that they watch.
    pub fn watches_by_session(&self) -> Vec<(SessionId, Vec<String>)> {
        let watches = self.replica.with_watches(|watches| {
            let owned = |paths: Vec<&str>| paths.into_iter().map(str::to_owned).collect();
            let all = watches.by_connection().into_iter();
            all.map(|(id, paths)| (id, owned(paths))).collect::<Vec<_>>()
        });
        let outboxes = self.outboxes();
        let session = |id| outboxes.get(&id).and_then(|outbox| outbox.seat()).map(|s| s.session);
        watches.into_iter().filter_map(|(id, paths)| Some((session(id)?, paths))).collect()
    }

    /// Nodes with the sessions that watch them.
    pub fn watches_by_path(&self) -> Vec<(String, Vec<SessionId>)> {
        let watches = self.replica.with_watches(|watches| {
            let all = watches.by_path().into_iter();
            all.map(|(path, ids)| (path.to_owned(), ids)).collect::<Vec<_>>()
        });
        let outboxes = self.outboxes();
        let session = |id| outboxes.get(&id).and_then(|outbox| outbox.seat()).map(|s| s.session);
        let sessions = |ids: Vec<_>| ids.into_iter().filter_map(session).collect();
        watches.into_iter().map(|(path, ids)| (path, sessions(ids))).collect()
    }

    /// What ends when.
    pub fn dump(&self) -> Dump {
        let sets = self.ensemble.sessions().with_tracker(crate::session::SessionTracker::sets);
        let ephemerals = {
            let tree = self.replica.tree();
            let owned = |(session, paths): (SessionId, &std::collections::BTreeSet<_>)| {
                (session, paths.iter().map(ToString::to_string).collect())
            };
            tree.ephemerals().map(owned).collect()
        };
        let start_ms = self.clock.wall_ms() - self.clock.monotonic_ms();
        let mut due_ms_of = HashMap::new();
        let mut sessions = BTreeMap::new();
        for (due_ms, ids) in sets {
            due_ms_of.extend(ids.iter().map(|id| (*id, due_ms)));
            sessions.insert(start_ms + due_ms, ids.into_iter().collect());
        }
        let mut connections: BTreeMap<i64, Vec<_>> = BTreeMap::new();
        for outbox in self.outboxes().into_values() {
            let session = outbox.seat().map(|seat| seat.session);
            let due_ms = match session {
                // A session that is not tracked any more is being closed, its connection with it.
                Some(id) => {
                    due_ms_of.get(&id).copied().unwrap_or_else(|| self.clock.monotonic_ms())
                }
                None => self.sessionless_due_ms(&outbox),
            };
            connections.entry(start_ms + due_ms).or_default().push((outbox.peer(), session));
        }
        Dump { sessions, ephemerals, connections }
    }

    /// The first tick after which a connection that has no session yet is closed.
    fn sessionless_due_ms(&self, outbox: &Outbox) -> i64 {
        let tick_ms = i64::from(self.config.tick_time_ms);
        let timeout_ms = i64::from(self.config.sessionless_timeout_ms);
        ((outbox.accepted_ms() + timeout_ms).div_euclid(tick_ms) + 1) * tick_ms
    }

    /// What process and machine are, as upstream names it.
    pub fn environment(&self) -> Vec<(&'static str, String)> {
        system::environment()
    }

    /// Whether clients' requests are answered.
    pub fn is_serving(&self) -> bool {
        self.ensemble.is_serving() || self.is_read_only()
    }

    /// Whether only reads are answered.
    pub fn is_read_only(&self) -> bool {
        self.ensemble.is_read_only()
    }
}
