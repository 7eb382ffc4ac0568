//! Agreement: what the servers of an ensemble do together. This release's ensembles have one server.
//!
//! [`Ensemble`] is the handle: [`Ensemble::submit`] hands a write in, its reply comes out of the
//! [`Replica`] that holds the client. The only room that names openraft.

mod applier;
mod duties;
mod fault;
mod log_store;
mod network;
mod proposer;
mod sessions;
#[cfg(test)]
mod tests;
mod types;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use openraft::async_runtime::WatchReceiver as _;
use openraft::{ServerState, SnapshotPolicy};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinHandle;

use crate::clock::{Clock, RateLimit};
use crate::config::Config;
use crate::config::limits::{
    LANE_BYTES_MAX, LANE_SUBMISSIONS_MAX, LARGE_SUBMISSION_BYTES, LOG_LINES_INTERVAL_MS,
    LOG_LINES_PER_INTERVAL_MAX,
};
use crate::replica::{Incident, Replica};
use crate::store::{Store, StoreError, SyncObserver, TreeStore};
use crate::tree::{Draft, Holder, Submission, Tree};

pub use duties::Reaping;
pub use fault::Fault;
pub use sessions::Sessions;

use applier::Applier;
use log_store::RaftLog;
use network::NoNetwork;
use proposer::{Proposer, Queued};
use types::{Member, TypeConfig};

type RaftHandle = openraft::Raft<TypeConfig, Applier>;

/// The id of a standalone server: the number that upstream's standalone server gives itself.
pub const STANDALONE_ID: u64 = 1;
/// Low half of a Raft node's id; the high half is the server's id. Rises when a server's disk was
/// lost, since Raft must never see an id again with another log.
const INCARNATION_BITS: u32 = 32;
/// Milliseconds between heartbeats, and the tick by which a standalone server elects itself.
const HEARTBEAT_MS: u64 = 50;
/// Milliseconds after which a silent leader is replaced, at the earliest and at the latest.
const ELECTION_MS: (u64, u64) = (300, 600);
/// Entries before the last flush that are kept in the log: none, for a standalone server has no peer
/// that could lag behind. An entry can be large, so a thousand of them were over a gigabyte of files.
const PURGE_KEEPS_ENTRIES: u64 = 0;
/// Entries that are purged together at the least. A purge is one small write that nobody waits for.
const PURGE_BATCH_ENTRIES: u64 = 1;

/// Why a server could not join its ensemble.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("the log or the applied state cannot be used: {0}")]
    Io(#[from] std::io::Error),
    #[error("consensus cannot start: {0}")]
    Raft(String),
}

/// The ensemble does not take submissions any more.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the server is stopping")]
pub struct Stopped;

/// The handle.
pub struct Ensemble {
    raft: RaftHandle,
    submissions: mpsc::Sender<Queued>,
    /// Bytes that large submissions may still add to the queue.
    room: Arc<Semaphore>,
    sessions: Arc<Sessions>,
    store: TreeStore,
    appended_bytes: Arc<AtomicU64>,
    tasks: parking_lot::Mutex<Vec<JoinHandle<()>>>,
}

/// What [`Ensemble::start`] brings up.
pub struct Started {
    /// The handle.
    pub ensemble: Arc<Ensemble>,
    /// This server's copy, caught up with the log.
    pub replica: Arc<Replica>,
    /// Where faults are reported.
    pub fault: Fault,
}

impl Ensemble {
    /// Loads what is on disk, elects this server, and returns once everything that was ever
    /// acknowledged is in memory.
    ///
    /// # Errors
    ///
    /// [`StartError`]: what is on disk cannot be read or does not fit together.
    pub async fn start(
        config: &Config,
        store: Store,
        home: Holder,
        clock: Clock,
    ) -> Result<Started, StartError> {
        let tree = load(&store.tree)?;
        let fault = Fault::default();
        let sessions = Arc::new(Sessions::new(&tree, i64::from(config.tick_time_ms), clock));
        let replica = Arc::new(Replica::new(tree, home, config.skip_acl, clock));
        let tree_store = store.tree.clone();
        let applier =
            Applier::new(store.tree, Arc::clone(&replica), Arc::clone(&sessions), fault.clone())?;
        store.log.observe_syncs(slow_syncs(config.fsync_warning_threshold_ms, &replica, clock));
        let log = RaftLog::new(store.log, Arc::clone(&replica), fault.clone());
        let appended_bytes = log.appended_bytes();
        let node_id = STANDALONE_ID << INCARNATION_BITS;
        let raft = RaftHandle::new(node_id, Arc::new(settings(config)?), NoNetwork, log, applier)
            .await
            .map_err(|error| StartError::Raft(error.to_string()))?;
        elect(&raft, node_id, &fault).await?;

        let (submissions, queue) = mpsc::channel(LANE_SUBMISSIONS_MAX);
        let proposer = Proposer {
            raft: raft.clone(),
            replica: Arc::clone(&replica),
            sessions: Arc::clone(&sessions),
            clock,
            fault: fault.clone(),
            queue,
        };
        let ensemble = Arc::new(Ensemble {
            raft,
            submissions,
            room: Arc::new(Semaphore::new(LANE_BYTES_MAX)),
            sessions,
            store: tree_store,
            appended_bytes,
            tasks: parking_lot::Mutex::default(),
        });
        ensemble.take_up_duties(config, &replica, clock, proposer);
        Ok(Started { ensemble, replica, fault })
    }

    fn take_up_duties(
        self: &Arc<Ensemble>,
        config: &Config,
        replica: &Arc<Replica>,
        clock: Clock,
        proposer: Proposer,
    ) {
        let reaping = Reaping {
            check_interval_ms: config.container_check_interval_ms,
            per_minute_max: config.container_max_per_minute,
            never_used_ms_max: config.container_max_never_used_interval_ms as i64,
        };
        let snap_bytes_max = config.snap_size_limit_kib.map_or(u64::MAX, |kib| kib << 10);
        let replica = Arc::clone(replica);
        *self.tasks.lock() = vec![
            tokio::spawn(proposer.run()),
            tokio::spawn(duties::expire_sessions(
                Arc::clone(self),
                Arc::clone(&replica),
                clock,
                u64::from(config.tick_time_ms),
            )),
            tokio::spawn(duties::reap_nodes(Arc::clone(self), replica, clock, reaping)),
            tokio::spawn(duties::flush_tree(Arc::clone(self), snap_bytes_max)),
        ];
    }

    /// Hands a write in. Waits while too many are queued, or too large ones.
    ///
    /// # Errors
    ///
    /// [`Stopped`]: it was not taken and never will be.
    pub async fn submit(&self, submission: Submission) -> Result<(), Stopped> {
        let bytes = proposer::weight(&submission.write).min(LANE_BYTES_MAX);
        let room = if bytes < LARGE_SUBMISSION_BYTES {
            None
        } else {
            let room = Arc::clone(&self.room).acquire_many_owned(bytes as u32).await;
            Some(room.map_err(|_| Stopped)?)
        };
        let queued = Queued { submission, _room: room };
        self.submissions.send(queued).await.map_err(|_| Stopped)
    }

    /// Notes that a session's client was heard from.
    pub fn touch(&self, session: jute::SessionId) {
        self.sessions.touch(session);
    }

    /// The clock of the sessions.
    pub fn sessions(&self) -> &Sessions {
        &self.sessions
    }

    /// Whether writes can be agreed on.
    pub fn is_serving(&self) -> bool {
        self.raft.metrics().borrow_watched().state == ServerState::Leader
    }

    /// Index of the last entry of the log.
    pub fn log_position(&self) -> Option<u64> {
        self.raft.metrics().borrow_watched().last_log_index
    }

    /// Bytes of log entries appended since the start.
    fn appended_bytes(&self) -> u64 {
        self.appended_bytes.load(Ordering::Relaxed)
    }

    async fn trigger_flush(&self) {
        if let Err(error) = self.raft.trigger().snapshot().await {
            tracing::warn!("the tree's store could not be flushed: {error}");
        }
    }

    /// Stops taking part. Flushes the tree's store, so that the next start has nothing to replay.
    pub async fn stop(&self) {
        let tasks = std::mem::take(&mut *self.tasks.lock());
        tasks.iter().for_each(JoinHandle::abort);
        if let Err(error) = self.raft.shutdown().await {
            tracing::warn!("consensus did not stop cleanly: {error}");
        }
        let store = self.store.clone();
        match tokio::task::spawn_blocking(move || store.flush()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!("the tree's store could not be flushed: {error}"),
            Err(error) => tracing::warn!("the tree's store could not be flushed: {error}"),
        }
    }
}

/// Warns of syncs that took longer than `threshold_ms`, and counts them.
fn slow_syncs(threshold_ms: u64, replica: &Arc<Replica>, clock: Clock) -> SyncObserver {
    let replica = Arc::clone(replica);
    let threshold = Duration::from_millis(threshold_ms);
    let lines = RateLimit::new(clock, LOG_LINES_PER_INTERVAL_MAX, LOG_LINES_INTERVAL_MS);
    Arc::new(move |took: Duration| {
        if took <= threshold {
            return;
        }
        let took_ms = took.as_millis();
        replica.stats().count_incident(Incident::SlowSync);
        if let Some(left_out) = lines.pass() {
            tracing::warn!(
                "a sync of the log took {took_ms} ms (fsync.warningthresholdms={threshold_ms}), and \
                 every write waits for it; the disk of dataLogDir is slow or busy{left_out}"
            );
        }
    })
}

/// The tree as the store has it; a new one's if the store is empty.
fn load(store: &TreeStore) -> Result<Tree, StartError> {
    let mut tree = Tree::bare();
    store.load(&mut tree)?;
    if tree.node_count() == 1 {
        let changes = Draft::of_system_nodes(&tree);
        store.commit(&changes, &[])?;
        tree.absorb(&changes);
    }
    Ok(tree)
}

/// openraft's settings; why, stands in ARCHITECTURE.md.
fn settings(config: &Config) -> Result<openraft::Config, StartError> {
    let settings = openraft::Config {
        cluster_name: "rookeeper".to_owned(),
        heartbeat_interval: HEARTBEAT_MS,
        election_timeout_min: ELECTION_MS.0,
        election_timeout_max: ELECTION_MS.1,
        enable_pre_vote: Some(true),
        snapshot_policy: SnapshotPolicy::LogsSinceLast(config.snap_count.max(1)),
        max_in_snapshot_log_to_keep: PURGE_KEEPS_ENTRIES,
        purge_batch_size: PURGE_BATCH_ENTRIES,
        ..openraft::Config::default()
    };
    settings.validate().map_err(|error| StartError::Raft(error.to_string()))
}

/// Makes this server the leader of its ensemble of one, and waits until its log is applied.
async fn elect(raft: &RaftHandle, node_id: u64, fault: &Fault) -> Result<(), StartError> {
    let failed = |error: &dyn std::fmt::Display| StartError::Raft(error.to_string());
    if !raft.is_initialized().await.map_err(|error| failed(&error))? {
        let members = BTreeMap::from([(node_id, Member::default())]);
        raft.initialize(members).await.map_err(|error| failed(&error))?;
    }
    let wait = raft.wait(None);
    let caught_up = wait.metrics(
        |metrics| {
            let applied = metrics.last_applied.map(|id| id.index);
            // The entry that begins the leader's term comes after all that was acknowledged.
            let begun =
                metrics.last_applied.is_some_and(|id| id.leader_id.term == metrics.current_term);
            metrics.state == ServerState::Leader && begun && applied >= metrics.last_log_index
        },
        "the log is applied",
    );
    tokio::select! {
        metrics = caught_up => metrics.map(|_| ()).map_err(|error| failed(&error)),
        problem = fault.raised() => Err(StartError::Raft(problem)),
    }
}
