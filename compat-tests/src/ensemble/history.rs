//! What clients asked, what they were told, and when.
//!
//! Times are nanoseconds of one monotonic clock. A request that was sent but not answered may have
//! happened, now or later, or not.

use std::fmt::Write as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use jute::Stat;

use crate::control::now;

/// How a node is created.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Mode {
    /// Stays.
    Persistent,
    /// Goes with its session.
    Ephemeral,
    /// Stays, with a number behind its name.
    Sequential,
    /// Goes with its session, with a number behind its name.
    EphemeralSequential,
}

impl Mode {
    /// Its number on the wire.
    pub fn flags(self) -> i32 {
        match self {
            Mode::Persistent => 0,
            Mode::Ephemeral => 1,
            Mode::Sequential => 2,
            Mode::EphemeralSequential => 3,
        }
    }

    /// Whether the server puts a number behind the name.
    pub fn is_sequential(self) -> bool {
        matches!(self, Mode::Sequential | Mode::EphemeralSequential)
    }
}

/// A request. Values that are written are unique, so that a read tells who wrote.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Ask {
    /// Creates a node.
    Create { path: String, value: String, mode: Mode },
    /// Sets its data, if it is at this version.
    Set { path: String, value: String, version: i32 },
    /// Deletes it, if it is at this version.
    Delete { path: String, version: i32 },
    /// Reads it.
    Get { path: String, watch: bool },
    /// Asks for its `Stat`.
    Exists { path: String, watch: bool },
    /// Lists its children.
    Children { path: String, watch: bool },
    /// Catches up with the leader.
    Sync { path: String },
    /// Leaves a persistent recursive watch.
    WatchBelow { path: String },
    /// Leaves watches again after a reconnect.
    SetWatches {
        since: i64,
        data: Vec<String>,
        exist: Vec<String>,
        child: Vec<String>,
        below: Vec<String>,
    },
    /// Shows that the client lives.
    Ping,
    /// Ends the session.
    Close,
}

impl Ask {
    /// Whether it goes through the log.
    pub fn is_write(&self) -> bool {
        matches!(self, Ask::Create { .. } | Ask::Set { .. } | Ask::Delete { .. } | Ask::Close)
    }

    /// The path it is about.
    pub fn path(&self) -> &str {
        match self {
            Ask::Create { path, .. }
            | Ask::Set { path, .. }
            | Ask::Delete { path, .. }
            | Ask::Get { path, .. }
            | Ask::Exists { path, .. }
            | Ask::Children { path, .. }
            | Ask::Sync { path }
            | Ask::WatchBelow { path } => path,
            Ask::SetWatches { .. } | Ask::Ping | Ask::Close => "",
        }
    }
}

/// What a successful reply told.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Told {
    /// Nothing.
    Nothing,
    /// A node's path and `Stat`.
    Node(String, Stat),
    /// A `Stat`.
    Stat(Stat),
    /// Data and `Stat`.
    Data(String, Stat),
    /// Names of children and the parent's `Stat`.
    Children(Vec<String>, Stat),
}

/// A reply.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Reply {
    /// When it was read.
    pub at: u64,
    /// Its place among everything that this client was sent.
    pub arrival: u64,
    /// The zxid in its header.
    pub zxid: i64,
    /// What it told, or the code with which the request was refused.
    pub result: Result<Told, i32>,
}

/// A request and what became of it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Operation {
    /// Which client.
    pub client: usize,
    /// In which session.
    pub session: i64,
    /// On which of the client's connections.
    pub connection: u64,
    /// Its number among the requests of that client.
    pub number: u64,
    /// When it was sent.
    pub sent: u64,
    /// What was asked.
    pub ask: Ask,
    /// The reply, if there was one.
    pub reply: Option<Reply>,
}

impl Operation {
    /// What was told, if it succeeded.
    pub fn told(&self) -> Option<&Told> {
        self.reply.as_ref().and_then(|reply| reply.result.as_ref().ok())
    }

    /// The code with which it was refused, if it was.
    pub fn refused(&self) -> Option<i32> {
        self.reply.as_ref().and_then(|reply| reply.result.as_ref().err().copied())
    }

    /// Where in the world's clock it ended; never, without a reply.
    pub fn end(&self) -> u64 {
        self.reply.as_ref().map_or(u64::MAX, |reply| reply.at)
    }

    /// The `Stat` that was told.
    pub fn stat(&self) -> Option<&Stat> {
        match self.told()? {
            Told::Nothing => None,
            Told::Node(_, stat)
            | Told::Stat(stat)
            | Told::Data(_, stat)
            | Told::Children(_, stat) => Some(stat),
        }
    }
}

/// A notification.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Notice {
    /// Which client.
    pub client: usize,
    /// In which session.
    pub session: i64,
    /// On which of the client's connections.
    pub connection: u64,
    /// When it was read.
    pub at: u64,
    /// Its place among everything that this client was sent.
    pub arrival: u64,
    /// The transaction that caused it, -1 if the server does not tell.
    pub zxid: i64,
    /// The number of its kind.
    pub kind: i32,
    /// Which node.
    pub path: String,
}

/// A connection that carries a session.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Connection {
    /// Which client.
    pub client: usize,
    /// Which session.
    pub session: i64,
    /// Which of the client's connections.
    pub connection: u64,
    /// To which server, from 0.
    pub server: usize,
    /// When the handshake was answered.
    pub at: u64,
    /// The last zxid that the client had seen.
    pub seen: i64,
    /// Whether the session was there before.
    pub resumed: bool,
    /// The timeout that was agreed upon, in milliseconds.
    pub timeout_ms: i32,
}

/// A client was told that its session is gone.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Expiry {
    /// Which client.
    pub client: usize,
    /// Which session.
    pub session: i64,
    /// When it was told.
    pub at: u64,
    /// When it had sent the last write that was answered, or opened the session: a server that no longer
    /// leads answers other requests as well, and nobody else hears of them.
    pub alive: u64,
    /// The timeout that had been agreed upon, in milliseconds.
    pub timeout_ms: i32,
}

/// Somebody held a lock.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Hold {
    /// Which client.
    pub client: usize,
    /// The zxid that created its node: the fencing token.
    pub token: i64,
    /// When it asked whether it holds the lock.
    pub asked: u64,
    /// When it knew that it does.
    pub since: u64,
    /// When it sent its release, if that succeeded.
    pub released: Option<u64>,
}

/// A write to the resource behind a lock.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Touch {
    /// Which client.
    pub client: usize,
    /// With which token.
    pub token: i64,
    /// Whether the resource took it.
    pub accepted: bool,
}

/// All that was written down.
#[derive(Clone, Debug, Default)]
pub struct History {
    /// Requests, in the order in which they were sent, client by client.
    pub operations: Vec<Operation>,
    /// Notifications.
    pub notices: Vec<Notice>,
    /// Connections.
    pub connections: Vec<Connection>,
    /// Sessions that ended without the client's will.
    pub expiries: Vec<Expiry>,
    /// Holders of locks.
    pub holds: Vec<Hold>,
    /// Writes to what locks protect, in the order in which they came.
    pub touches: Vec<Touch>,
}

impl History {
    /// Everything, as text.
    pub fn text(&self) -> String {
        let mut text = String::new();
        // Writing to a string cannot fail.
        let mut line = |at: u64, what: &dyn std::fmt::Debug| {
            let _ = writeln!(text, "{at:>14} {what:?}");
        };
        let mut lines: Vec<(u64, &dyn std::fmt::Debug)> = Vec::new();
        lines.extend(self.operations.iter().map(|one| (one.sent, one as &dyn std::fmt::Debug)));
        lines.extend(self.notices.iter().map(|one| (one.at, one as &dyn std::fmt::Debug)));
        lines.extend(self.connections.iter().map(|one| (one.at, one as &dyn std::fmt::Debug)));
        lines.extend(self.expiries.iter().map(|one| (one.at, one as &dyn std::fmt::Debug)));
        lines.extend(self.holds.iter().map(|one| (one.since, one as &dyn std::fmt::Debug)));
        lines.sort_by_key(|(at, _)| *at);
        for (at, what) in lines {
            line(at, what);
        }
        for touch in &self.touches {
            line(0, touch);
        }
        text
    }
}

/// Where clients write down what they see.
#[derive(Clone, Debug)]
pub struct Recorder {
    start: Instant,
    history: Arc<Mutex<History>>,
}

impl Default for Recorder {
    fn default() -> Recorder {
        Recorder { start: now(), history: Arc::default() }
    }
}

impl Recorder {
    /// Nanoseconds since this was made.
    pub fn clock(&self) -> u64 {
        now().duration_since(self.start).as_nanos() as u64
    }

    /// Changes the history.
    pub fn write<T>(&self, change: impl FnOnce(&mut History) -> T) -> T {
        // Whoever panicked here left nothing half written.
        change(&mut self.history.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Adds a request that is sent now; gives where it is.
    pub fn sent(&self, operation: Operation) -> usize {
        self.write(|history| {
            history.operations.push(operation);
            history.operations.len() - 1
        })
    }

    /// Adds the reply to a request.
    pub fn replied(&self, index: usize, reply: Reply) {
        self.write(|history| {
            if let Some(operation) = history.operations.get_mut(index) {
                operation.reply = Some(reply);
            }
        });
    }

    /// All that was written down so far.
    pub fn history(&self) -> History {
        self.write(|history| history.clone())
    }
}
