//! What all connections of a server share, and the loop that accepts them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::connection;
use super::throttle::Throttles;
use crate::clock::{Clock, RateLimit};
use crate::config::Config;
use crate::config::limits::{LOG_LINES_INTERVAL_MS, LOG_LINES_PER_INTERVAL_MAX, SHUTDOWN_DRAIN_MS};
use crate::net::{Accepted, Listener};
use crate::raft::Ensemble;
use crate::replica::{Outbox, Replica};
use crate::session::{Credentials, SessionIds};
use crate::watch::ConnectionId;

/// How long to wait when the system cannot accept, for example for want of file descriptors.
const ACCEPT_PAUSE_MS: u64 = 100;

/// In how many parts the clients of a server that stops are let go, how long it waits at the most between
/// two of them, and how many clients it has for each millisecond of that.
const FAREWELLS: usize = 16;
const FAREWELL_MS_MAX: u64 = 20;
const CLIENTS_PER_MS: u64 = 200;

/// A four-letter word as it came.
pub struct Word<'a> {
    /// The four bytes.
    pub letters: [u8; 4],
    /// What came behind it; only `stmk` looks at it.
    pub rest: &'a [u8],
    /// The connection it came on.
    pub outbox: &'a Outbox,
}

/// Answers four-letter words; `None` is for bytes that are none.
pub trait Words: Send + Sync {
    /// The whole answer; counts the word as a packet received, and the answer as one sent.
    fn answer(&self, word: &Word<'_>) -> Option<Vec<u8>>;
}

/// What all connections of a server share.
pub struct Service {
    /// How the server is set up.
    pub config: Arc<Config>,
    /// This server's copy.
    pub replica: Arc<Replica>,
    /// Where writes go.
    pub ensemble: Arc<Ensemble>,
    /// How credentials become identities.
    pub credentials: Credentials,
    /// Ids of new sessions.
    pub session_ids: Mutex<SessionIds>,
    /// Four-letter words.
    pub words: Arc<dyn Words>,
    /// How much the clients may ask at once.
    pub throttles: Arc<Throttles>,
    /// How often lines that clients cause are logged.
    pub log_lines: LogLines,
    /// Time.
    pub clock: Clock,
    /// Numbers the connections.
    pub connections: AtomicU64,
}

/// How often lines are logged of which clients can cause any number.
pub struct LogLines {
    /// A connection is closed before its client wants it to be.
    pub closings: RateLimit,
    /// Credentials are refused.
    pub refusals: RateLimit,
    /// A four-letter word is answered.
    pub words: RateLimit,
}

impl LogLines {
    /// Each kind as often as the others.
    pub fn new(clock: Clock) -> LogLines {
        let limit = || RateLimit::new(clock, LOG_LINES_PER_INTERVAL_MAX, LOG_LINES_INTERVAL_MS);
        LogLines { closings: limit(), refusals: limit(), words: limit() }
    }
}

impl Service {
    pub(super) fn next_connection(&self) -> ConnectionId {
        ConnectionId(self.connections.fetch_add(1, Ordering::Relaxed) + 1)
    }
}

/// Serves a connection on another runtime than the one that accepted it.
async fn elsewhere(service: Arc<Service>, accepted: Accepted, stop: CancellationToken) {
    match accepted.moved_here() {
        Ok(accepted) => connection::run(service, accepted, stop).await,
        Err(error) => tracing::debug!("a connection could not be handed over: {error}"),
    }
}

/// A runtime that serves half of a crowd.
pub struct Helpers {
    /// The runtime.
    pub handle: Handle,
    /// How many connections make a crowd.
    pub crowd_min: usize,
}

/// Accepts connections until `stop` is cancelled, then lets those there are end. They are served where
/// this runs, but from a crowd on the `helpers` get as many: telling thousands of one change takes
/// longer than handing over; telling a thousand does not.
pub async fn serve(
    service: Arc<Service>,
    listener: Listener,
    helpers: Helpers,
    stop: CancellationToken,
) {
    let (mut here, mut there) = (JoinSet::new(), JoinSet::new());
    let stops: Vec<_> = (0..FAREWELLS).map(|_| CancellationToken::new()).collect();
    let mut next_stop = stops.iter().cycle();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok(accepted) => {
                    let stop = next_stop.next().cloned().unwrap_or_default();
                    let service = Arc::clone(&service);
                    if here.len() < helpers.crowd_min || here.len() <= there.len() {
                        here.spawn(connection::run(service, accepted, stop));
                    } else {
                        there.spawn_on(elsewhere(service, accepted, stop), &helpers.handle);
                    }
                }
                Err(error) => {
                    tracing::warn!("cannot accept connections: {error}");
                    tokio::time::sleep(Duration::from_millis(ACCEPT_PAUSE_MS)).await;
                }
            },
            Some(_) = here.join_next() => {}
            Some(_) = there.join_next() => {}
            () = stop.cancelled() => break,
        }
    }
    drop(listener);
    // Clients come again on other servers, and should not all come at once.
    let pause_ms = FAREWELL_MS_MAX.min((here.len() + there.len()) as u64 / CLIENTS_PER_MS);
    for stop in stops {
        stop.cancel();
        tokio::time::sleep(Duration::from_millis(pause_ms)).await;
    }
    let drained = async {
        while here.join_next().await.is_some() {}
        while there.join_next().await.is_some() {}
    };
    let limit = Duration::from_millis(SHUTDOWN_DRAIN_MS);
    if tokio::time::timeout(limit, drained).await.is_err() {
        tracing::debug!("closing connections that did not end in {SHUTDOWN_DRAIN_MS} ms");
    }
}
