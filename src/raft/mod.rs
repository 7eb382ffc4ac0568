//! Agreement: what the servers of an ensemble do together, be they one or seven.
//!
//! [`Ensemble`] is the handle: [`Ensemble::submit`] hands a write in, its reply comes out of the
//! [`Replica`] that holds the client. The only room that names openraft.

mod applier;
#[allow(clippy::wildcard_enum_match_arm, reason = "whatever else is said is out of place")]
mod barrier;
mod duties;
mod fault;
mod founder;
mod identity;
#[allow(clippy::wildcard_enum_match_arm, reason = "whatever else is said is out of place")]
mod joining;
mod lane;
#[cfg(test)]
mod lane_model;
mod leaving;
mod log_store;
mod members;
#[allow(clippy::wildcard_enum_match_arm, reason = "whatever else is said is out of place")]
mod network;
mod oversee;
#[allow(clippy::wildcard_enum_match_arm, reason = "whatever else is said is out of place")]
mod peer_server;
#[allow(clippy::wildcard_enum_match_arm, reason = "whatever else is said is out of place")]
mod peers;
mod proposer;
#[allow(clippy::wildcard_enum_match_arm, reason = "whatever else is said is out of place")]
mod reconfig;
mod recovery;
mod sessions;
mod shared;
mod snapshot;
#[cfg(test)]
mod suite;
#[cfg(test)]
mod tests;
mod types;
mod wire;

use std::collections::BTreeSet;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use jute::ErrorCode;
use openraft::SnapshotPolicy;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::JoinHandle;

use crate::clock::{Clock, RateLimit};
use crate::config::limits::{
    LANE_BYTES_MAX, LANE_SUBMISSIONS_MAX, LARGE_SUBMISSION_BYTES, LOG_KEPT_BYTES,
    LOG_LINES_INTERVAL_MS, LOG_LINES_PER_INTERVAL_MAX,
};
use crate::config::{Config, EnsembleConfig};
use crate::replica::{Incident, Replica};
use crate::store::{Store, StoreError, SyncObserver, TreeStore};
use crate::tree::{Draft, Holder, Submission, Tree};

pub use duties::Reaping;
pub use fault::Fault;
pub use reconfig::Reconfiguration;
pub use recovery::{RecoveryError, recover};
pub use sessions::Sessions;

use applier::Applier;
use founder::Founder;
use log_store::Volume;
use proposer::{Proposer, Queued};
use shared::Shared;
use types::TypeConfig;

type RaftHandle = openraft::Raft<TypeConfig, Applier>;

/// The id of a standalone server: the number that upstream's standalone server gives itself.
pub const STANDALONE_ID: u64 = 1;
/// Low half of a Raft node's id; the high half is the server's id. Rises when a server's disk was
/// lost, since Raft must never see an id again with another log.
const INCARNATION_BITS: u32 = 32;
/// Milliseconds between heartbeats, and the tick by which a standalone server elects itself.
const HEARTBEAT_MS: u64 = 100;
/// A leader that is silent for the second of them may be replaced; whoever wants to waits between the
/// first and the second of them more.
const ELECTION_MS: (u64, u64) = (150, 300);
/// Without its majority, a leader lets the others be for so long from time to time, so that those who
/// have one can elect another.
const QUORUM_LOSS_PROBE_MS: u64 = 700;
/// Entries before the last flush that openraft keeps in the log: none, for a standalone server has no
/// peer that could lag behind; in an ensemble all, for there it is said in bytes what is kept. An entry
/// can be large, so a thousand of them were over a gigabyte of files.
const PURGE_KEEPS_ENTRIES: (u64, u64) = (0, 1 << 40);
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
    #[error(
        "cannot listen to other servers on {host}:{port}: {error}; check the own server.N line, or \
         write quorumListenOnAllIPs=true"
    )]
    Listen { host: String, port: u16, error: std::io::Error },
}

/// The ensemble does not take submissions any more.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the server is stopping")]
pub struct Stopped;

/// What a server is to its ensemble.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Role {
    /// It is the only one.
    Standalone,
    /// It knows no leader.
    Looking,
    /// It orders the writes.
    Leader,
    /// It follows the leader and votes.
    Follower,
    /// It follows the leader without a vote.
    Observer,
    /// It knows no leader and answers reads all the same.
    ReadOnly,
}

impl Role {
    /// Upstream's word for it.
    pub const fn name(self) -> &'static str {
        match self {
            Role::Standalone => "standalone",
            Role::Looking => "looking",
            Role::Leader => "leader",
            Role::Follower => "follower",
            Role::Observer => "observer",
            Role::ReadOnly => "read-only",
        }
    }
}

/// The handle.
pub struct Ensemble {
    shared: Arc<Shared>,
    /// Bytes that large submissions may still add to the queue.
    room: Arc<Semaphore>,
    volume: Arc<Volume>,
    tasks: parking_lot::Mutex<Vec<JoinHandle<()>>>,
}

/// What [`Ensemble::start`] brings up.
pub struct Started {
    /// The handle.
    pub ensemble: Arc<Ensemble>,
    /// This server's copy: caught up with the log, where the server is standalone.
    pub replica: Arc<Replica>,
    /// Where faults are reported.
    pub fault: Fault,
}

impl Ensemble {
    /// Loads what is on disk. A standalone server elects itself and returns once everything that was
    /// ever acknowledged is in memory; a member of an ensemble goes on to look for the others.
    ///
    /// # Errors
    ///
    /// [`StartError`]: what is on disk cannot be read or does not fit together.
    pub async fn start(config: &Config, store: Store, clock: Clock) -> Result<Started, StartError> {
        let tree = load(&store.tree)?;
        let fault = Fault::default();
        let sessions = Arc::new(Sessions::new(&tree, i64::from(config.tick_time_ms), clock));
        let my_id = config.ensemble.as_ref().map_or(STANDALONE_ID, |ensemble| ensemble.my_id);
        let boot = identity::next_boot(&store.log, clock.wall_ms()).await?;
        let home = Holder { server: my_id, boot, connection: 0 };
        let replica = Arc::new(Replica::new(tree, home, config.skip_acl, clock));
        store.log.observe_syncs(slow_syncs(config.fsync_warning_threshold_ms, &replica, clock));
        let (proposals, queue) = mpsc::channel(LANE_SUBMISSIONS_MAX);
        let shared = Arc::new(Shared::new(
            (config.ensemble.clone(), config.reconfig_enabled),
            Duration::from_millis(u64::from(config.tick_time_ms)),
            clock,
            fault.clone(),
            Arc::clone(&replica),
            sessions,
            (store.log.clone(), store.tree.clone()),
            proposals,
        ));
        let founder = Founder::new(Arc::clone(&shared), settings(config)?)?;
        let ensemble = Arc::new(Ensemble {
            shared: Arc::clone(&shared),
            room: Arc::new(Semaphore::new(LANE_BYTES_MAX)),
            volume: founder.volume(),
            tasks: parking_lot::Mutex::default(),
        });
        ensemble.take_up_duties(config, queue);
        if let Some(members) = &config.ensemble {
            shared.sessions.set_local(false);
            ensemble.take_part(config, members, founder).await?;
        } else {
            founder.stand_alone().await?;
            shared.serving.send_replace(true);
        }
        Ok(Started { ensemble, replica, fault })
    }

    fn take_up_duties(self: &Arc<Ensemble>, config: &Config, queue: mpsc::Receiver<Queued>) {
        let reaping = Reaping {
            check_interval_ms: config.container_check_interval_ms,
            per_minute_max: config.container_max_per_minute,
            never_used_ms_max: config.container_max_never_used_interval_ms as i64,
        };
        let snap_bytes_max = config.snap_size_limit_kib.map_or(u64::MAX, |kib| kib << 10);
        let proposer = Proposer { shared: Arc::clone(&self.shared), queue };
        let tick_ms = u64::from(config.tick_time_ms);
        self.tasks.lock().extend([
            tokio::spawn(proposer.run()),
            tokio::spawn(duties::expire_sessions(Arc::clone(self), tick_ms)),
            tokio::spawn(duties::reap_nodes(Arc::clone(self), reaping)),
            tokio::spawn(duties::flush_tree(Arc::clone(self), snap_bytes_max)),
        ]);
    }

    /// Listens to the other servers, and looks for the ensemble.
    async fn take_part(
        &self,
        config: &Config,
        members: &EnsembleConfig,
        founder: Founder,
    ) -> Result<(), StartError> {
        let shared = &self.shared;
        let Some(own) = members.servers.get(&members.my_id) else {
            return Err(StartError::Raft(format!("there is no server.{}", members.my_id)));
        };
        let mut bound = BTreeSet::new();
        for (host, port, _) in &own.addresses {
            if members.listen_on_all_addresses && !bound.insert(*port) {
                continue;
            }
            let host = (!members.listen_on_all_addresses).then_some(host.as_str());
            let listener = peer_server::listen(host, *port).await.map_err(|error| {
                let host = host.unwrap_or("*");
                StartError::Listen { host: host.to_owned(), port: *port, error }
            })?;
            let shared = Arc::clone(shared);
            self.tasks.lock().push(tokio::spawn(peer_server::serve(shared, listener)));
        }
        let fault = shared.fault.clone();
        self.tasks.lock().extend([
            tokio::spawn(async move {
                if let Err(error) = founder.join().await {
                    fault.raise(&error);
                }
            }),
            tokio::spawn(barrier::run(Arc::clone(shared))),
            tokio::spawn(barrier::relay_touches(Arc::clone(shared))),
            tokio::spawn(oversee::run(Arc::clone(shared), config.read_only_mode)),
            tokio::spawn(oversee::keep_members(Arc::clone(shared))),
            tokio::spawn(joining::watch_strangers(Arc::clone(shared))),
            tokio::spawn(lane::run(Arc::clone(shared))),
            tokio::spawn(oversee::open(Arc::clone(shared))),
        ]);
        Ok(())
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
            let room = Arc::clone(&self.room).acquire_many_owned(bytes as u32);
            Some(self.while_serving(room).await?.map_err(|_| Stopped)?)
        };
        if self.shared.config.is_some() {
            return self.while_serving(self.shared.lane.hand_in(submission, room)).await;
        }
        self.propose(submission, room).await
    }

    /// Waits for something, but not for longer than clients are served.
    async fn while_serving<T>(&self, what: impl Future<Output = T>) -> Result<T, Stopped> {
        tokio::pin!(what);
        // Nearly always there is nothing to wait for.
        if let std::task::Poll::Ready(done) = futures_util::poll!(&mut what) {
            return Ok(done);
        }
        let mut serving = self.shared.serving.subscribe();
        tokio::select! {
            done = what => Ok(done),
            _ = serving.wait_for(|serving| !serving) => Err(Stopped),
        }
    }

    /// Hands in what is not repeated if it does not reach the log.
    async fn propose(
        &self,
        submission: Submission,
        room: Option<OwnedSemaphorePermit>,
    ) -> Result<(), Stopped> {
        let queued = Queued::Own { submission, _room: room };
        self.shared.proposals.send(queued).await.map_err(|_| Stopped)
    }

    /// Whether reads may miss what was answered elsewhere.
    pub fn has_others(&self) -> bool {
        self.shared.config.is_some()
    }

    /// Waits until everything that was answered anywhere before is here.
    ///
    /// # Errors
    ///
    /// [`Stopped`]: the server is stopping, or does not serve any more.
    pub async fn barrier(&self) -> Result<(), Stopped> {
        let barrier = self.while_serving(self.shared.barrier()).await?;
        barrier.map_err(|_| Stopped)
    }

    /// Changes who belongs to the ensemble, and waits until that is so here.
    ///
    /// # Errors
    ///
    /// [`Stopped`]: it is not known what came of it. The code: what the client is told.
    pub async fn reconfigure(
        &self,
        wish: &Reconfiguration,
    ) -> Result<Result<(), ErrorCode>, Stopped> {
        let asked = self.while_serving(reconfig::ask(&self.shared, wish)).await?;
        match asked.map_err(|_| Stopped)? {
            Err(code) => Ok(Err(code)),
            Ok(index) => {
                let mut applied = self.shared.applied.subscribe();
                let is_here = applied.wait_for(|applied| *applied >= index);
                self.while_serving(is_here).await?.map_err(|_| Stopped)?;
                Ok(Ok(()))
            }
        }
    }

    /// Notes that a session's client was heard from.
    pub fn touch(&self, session: jute::SessionId) {
        self.shared.sessions.touch(session);
    }

    /// The clock of the sessions.
    pub fn sessions(&self) -> &Sessions {
        &self.shared.sessions
    }

    /// What this server is to its ensemble.
    pub fn role(&self) -> Role {
        if self.is_read_only() { Role::ReadOnly } else { self.shared.role() }
    }

    /// Whether clients that ask for it are served without a leader, reading only.
    pub fn is_read_only(&self) -> bool {
        *self.shared.read_only.borrow()
    }

    /// Whether clients are served.
    pub fn is_serving(&self) -> bool {
        *self.shared.serving.borrow()
    }

    /// Whether a leader was heard of lately enough, at this time on the monotonic clock, for a client to
    /// be answered.
    pub fn is_in_touch(&self, now_ms: i64) -> bool {
        self.shared.is_in_touch(now_ms)
    }

    /// Whether it is for this server to end sessions and to reap nodes.
    fn is_in_charge(&self) -> bool {
        self.shared.config.is_none() || self.shared.is_leading()
    }

    /// Index of the last entry of the log.
    pub fn log_position(&self) -> Option<u64> {
        self.shared.last_index()
    }

    /// Bytes of log entries appended since the start.
    fn appended_bytes(&self) -> u64 {
        self.volume.bytes()
    }

    /// Has the log purged but for what a server may need that was away for a moment.
    async fn purge(&self) {
        let Some(index) = self.volume.take_before(LOG_KEPT_BYTES) else { return };
        let (Some(raft), true) = (self.shared.raft(), self.has_others()) else { return };
        if let Err(error) = raft.trigger().purge_log(index).await {
            tracing::warn!("the log could not be purged: {error}");
        }
    }

    async fn trigger_flush(&self) {
        let Some(raft) = self.shared.raft() else { return };
        if let Err(error) = raft.trigger().snapshot().await {
            tracing::warn!("the tree's store could not be flushed: {error}");
        }
    }

    /// Lets another lead, if this server does: to be called before it stops.
    pub async fn step_aside(&self) {
        leaving::step_aside(&self.shared).await;
    }

    /// Stops taking part. Flushes the tree's store, so that the next start has nothing to replay.
    pub async fn stop(&self) {
        let tasks = std::mem::take(&mut *self.tasks.lock());
        tasks.iter().for_each(JoinHandle::abort);
        if let Some(raft) = self.shared.raft()
            && let Err(error) = raft.shutdown().await
        {
            tracing::warn!("consensus did not stop cleanly: {error}");
        }
        let store = self.shared.tree.clone();
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
    applier::restore_lanes(&mut tree, store)?;
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
        quorum_loss_probe_interval: Some(QUORUM_LOSS_PROBE_MS),
        enable_leader_restore: Some(false),
        snapshot_policy: SnapshotPolicy::LogsSinceLast(config.snap_count.max(1)),
        max_in_snapshot_log_to_keep: if config.ensemble.is_none() {
            PURGE_KEEPS_ENTRIES.0
        } else {
            PURGE_KEEPS_ENTRIES.1
        },
        // Whoever lags gets a snapshot when the log does not reach back to where it is.
        replication_lag_threshold: PURGE_KEEPS_ENTRIES.1,
        purge_batch_size: PURGE_BATCH_ENTRIES,
        ..openraft::Config::default()
    };
    settings.validate().map_err(|error| StartError::Raft(error.to_string()))
}
