//! What all tasks of this room know of the server and its ensemble.

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use openraft::async_runtime::WatchReceiver as _;
use openraft::metrics::RaftServerMetrics;
use openraft::type_config::alias::WatchReceiverOf;
use openraft::{Instant as _, ServerState};
use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot, watch};

use super::fault::Fault;
use super::identity::{Identity, server_id};
use super::lane::Lane;
use super::proposer::Queued;
use super::sessions::Sessions;
use super::types::{Membership, TypeConfig};
use super::{RaftHandle, Role};
use crate::clock::{Clock, RateLimit};
use crate::config::limits::LOG_LINES_INTERVAL_MS;
use crate::config::{EnsembleConfig, Role as ConfiguredRole};
use crate::replica::Replica;
use crate::store::{LogStore, TreeStore};

/// Lines about refused servers in an interval: a server that is refused tries again many times a second.
const REFUSAL_LINES_MAX: u64 = 2;

/// Who leads, in which term.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Leader {
    pub(super) node: u64,
    pub(super) term: u64,
}

impl Leader {
    /// The leader's id (`myid`).
    pub(super) fn server(self) -> u64 {
        server_id(self.node)
    }
}

/// Whoever waits until everything is here that was answered anywhere before.
pub(super) type Waiter = oneshot::Sender<io::Result<()>>;

/// What all tasks know.
pub(super) struct Shared {
    /// The ensemble as it is configured; `None` for a standalone server.
    pub(super) config: Option<EnsembleConfig>,
    /// Whether a server that is not configured may look on.
    pub(super) admits_guests: bool,
    pub(super) tick: Duration,
    /// Milliseconds without a leader after which no client is served; standalone, any number.
    pub(super) silence_max_ms: i64,
    pub(super) clock: Clock,
    pub(super) fault: Fault,
    pub(super) replica: Arc<Replica>,
    pub(super) sessions: Arc<Sessions>,
    pub(super) log: LogStore,
    pub(super) tree: TreeStore,
    pub(super) lane: Lane,
    pub(super) proposals: mpsc::Sender<Queued>,
    /// There once this server is a member.
    raft: OnceLock<(RaftHandle, Identity)>,
    joined: watch::Sender<bool>,
    /// Counts proposals that did not reach the log.
    rejections: watch::Sender<u64>,
    /// Index of the last entry that was carried out here.
    pub(super) applied: watch::Sender<u64>,
    /// When a leader was last heard of, or a quorum by the leader; monotonic milliseconds.
    contact_ms: AtomicI64,
    /// Whether clients are served.
    pub(super) serving: watch::Sender<bool>,
    /// Whether clients are served that only read, without a leader.
    pub(super) read_only: watch::Sender<bool>,
    /// Whether this server leads and has taken up what a leader does.
    leading: AtomicBool,
    /// Held while the members change as an operator wishes.
    pub(super) reconfiguring: tokio::sync::Mutex<()>,
    /// Whether nothing is proposed for a moment.
    pub(super) holding: watch::Sender<bool>,
    /// Those who wait for a barrier, and how they are noticed.
    pub(super) waiters: Mutex<Vec<Waiter>>,
    pub(super) waiter_came: tokio::sync::Notify,
    /// How often it is logged that a server is refused.
    pub(super) refusal_lines: RateLimit,
    /// Who is told when this server's ensemble is founded by another.
    pub(super) told: Mutex<Option<oneshot::Sender<u64>>>,
}

impl Shared {
    #[expect(clippy::too_many_arguments, reason = "each is named where it is called, once")]
    pub(super) fn new(
        (config, admits_guests): (Option<EnsembleConfig>, bool),
        tick: Duration,
        clock: Clock,
        fault: Fault,
        replica: Arc<Replica>,
        sessions: Arc<Sessions>,
        (log, tree): (LogStore, TreeStore),
        proposals: mpsc::Sender<Queued>,
    ) -> Shared {
        let silence_max_ms = config.as_ref().map_or(i64::MAX, |config| {
            tick.as_millis() as i64 * i64::from(config.sync_limit_ticks)
        });
        Shared {
            config,
            admits_guests,
            tick,
            silence_max_ms,
            clock,
            fault,
            replica,
            sessions,
            log,
            tree,
            lane: Lane::new(),
            proposals,
            raft: OnceLock::new(),
            joined: watch::Sender::new(false),
            rejections: watch::Sender::new(0),
            applied: watch::Sender::new(0),
            contact_ms: AtomicI64::new(clock.monotonic_ms()),
            serving: watch::Sender::new(false),
            read_only: watch::Sender::new(false),
            leading: AtomicBool::new(false),
            reconfiguring: tokio::sync::Mutex::new(()),
            holding: watch::Sender::new(false),
            waiters: Mutex::default(),
            waiter_came: tokio::sync::Notify::new(),
            refusal_lines: RateLimit::new(clock, REFUSAL_LINES_MAX, LOG_LINES_INTERVAL_MS),
            told: Mutex::default(),
        }
    }

    /// Takes part from now on.
    pub(super) fn join(&self, raft: RaftHandle, identity: Identity) {
        // It is called once.
        drop(self.raft.set((raft, identity)));
        self.joined.send_replace(true);
    }

    /// Waits until this server takes part.
    pub(super) async fn has_joined(&self) {
        let mut joined = self.joined.subscribe();
        // The sender lives as long as this does.
        drop(joined.wait_for(|joined| *joined).await);
    }

    /// Consensus, once this server takes part.
    pub(super) fn raft(&self) -> Option<&RaftHandle> {
        self.raft.get().map(|(raft, _)| raft)
    }

    /// As [`Self::raft`].
    ///
    /// # Errors
    ///
    /// It does not take part yet.
    pub(super) fn raft_or_error(&self) -> io::Result<&RaftHandle> {
        self.raft().ok_or_else(|| io::Error::other("this server is no member yet"))
    }

    /// Who this server is.
    ///
    /// # Errors
    ///
    /// It is no member yet.
    pub(super) fn identity(&self) -> io::Result<Identity> {
        let identity = self.raft.get().map(|(_, identity)| *identity);
        identity.ok_or_else(|| io::Error::other("this server is no member yet"))
    }

    /// This server's name, 0 while it has none.
    pub(super) fn node(&self) -> u64 {
        self.identity().map_or(0, |identity| identity.node)
    }

    /// Who leads, as far as this server knows.
    pub(super) fn leader(&self) -> Option<Leader> {
        let metrics = self.raft()?.server_metrics();
        let metrics = metrics.borrow_watched();
        let node = metrics.current_leader?;
        Some(Leader { node, term: metrics.vote.leader_id.term })
    }

    /// Tells of every change of the leader, and perhaps of other things.
    pub(super) fn leader_changes(&self) -> Option<LeaderChanges> {
        let mut changes = self.raft()?.server_metrics();
        changes.borrow_and_update();
        Some(LeaderChanges(changes))
    }

    /// The members, as of the last entry of the log that says so.
    pub(super) fn membership(&self) -> Option<Membership> {
        let metrics = self.raft()?.server_metrics();
        let membership = metrics.borrow_watched().membership_config.membership().clone();
        Some(membership)
    }

    /// Index of the last entry of the log.
    pub(super) fn last_index(&self) -> Option<u64> {
        self.raft()?.metrics().borrow_watched().last_log_index
    }

    /// The line by which a member is reached.
    pub(super) fn line_of(&self, node: u64) -> Option<String> {
        let configured = self.configured_lines().remove(&server_id(node));
        configured.or_else(|| self.membership()?.get_node(&node).map(|member| member.line.clone()))
    }

    /// Lines of the configuration, by server. They count where nobody may reconfigure: there operators
    /// write down new addresses and start the servers again. Elsewhere what the members agreed upon does.
    pub(super) fn configured_lines(&self) -> BTreeMap<u64, String> {
        let Some(config) = self.config.as_ref().filter(|_| !self.admits_guests) else {
            return BTreeMap::new();
        };
        config.servers.iter().map(|(id, spec)| (*id, spec.to_string())).collect()
    }

    /// What this server is to its ensemble now.
    pub(super) fn role(&self) -> Role {
        let Some(raft) = self.raft() else { return Role::Looking };
        let metrics = raft.server_metrics();
        let metrics = metrics.borrow_watched();
        if self.config.is_none() {
            return Role::Standalone;
        }
        let Some(leader) = metrics.current_leader else { return Role::Looking };
        if leader == metrics.id && metrics.state == ServerState::Leader {
            return Role::Leader;
        }
        let line = metrics.membership_config.membership().get_node(&metrics.id);
        let is_observer = line.is_none_or(|member| is_observer(&member.line));
        if is_observer { Role::Observer } else { Role::Follower }
    }

    /// How many proposals did not reach the log.
    pub(super) fn rejections(&self) -> u64 {
        *self.rejections.borrow()
    }

    /// Notes that a proposal did not reach the log; it counted so many before.
    pub(super) fn reject(&self, before: u64) {
        self.rejections.send_if_modified(|count| {
            let is_first = *count == before;
            *count += u64::from(is_first);
            is_first
        });
    }

    /// Counts on: whoever looks again and again does not subscribe each time.
    pub(super) fn watch_rejections(&self) -> watch::Receiver<u64> {
        self.rejections.subscribe()
    }

    /// Notes that the leader was heard of.
    pub(super) fn note_contact(&self) {
        self.contact_ms.store(self.clock.monotonic_ms(), Ordering::Relaxed);
    }

    /// When the leader was last heard of, or when this server started; monotonic milliseconds.
    pub(super) fn last_contact_ms(&self) -> i64 {
        self.contact_ms.load(Ordering::Relaxed)
    }

    /// Milliseconds since the leader was heard of, or a quorum by the leader.
    pub(super) fn since_contact_ms(&self) -> i64 {
        if let Some(raft) = self.raft()
            && raft.is_leader()
        {
            let metrics = raft.data_metrics();
            let acked = metrics.borrow_watched().last_quorum_acked;
            let alone = self.is_only_voter().then_some(0);
            let silence_ms = alone.or(acked.map(|acked| acked.elapsed().as_millis() as i64));
            if let Some(silence_ms) = silence_ms {
                // It counts as well when this server does not lead any more.
                let contact_ms = self.clock.monotonic_ms() - silence_ms;
                self.contact_ms.fetch_max(contact_ms, Ordering::Relaxed);
            }
        }
        // A new leader has heard of the one before it, and then of those who voted for it.
        self.clock.monotonic_ms() - self.last_contact_ms()
    }

    /// Whether a leader was heard of lately enough, at this time on the monotonic clock, for clients to be
    /// answered. A server that stood still finds out here, before its first answer.
    pub(super) fn is_in_touch(&self, now_ms: i64) -> bool {
        now_ms - self.last_contact_ms() <= self.silence_max_ms
    }

    /// Whether nobody votes but this server.
    fn is_only_voter(&self) -> bool {
        let Some(membership) = self.membership() else { return false };
        membership.voter_ids().eq([self.node()])
    }

    /// Whether this server was standalone and has not gathered most of its ensemble yet. As long as that
    /// is so the others may found one without it: no client must be served before.
    pub(super) fn is_gathering(&self) -> bool {
        let Some(membership) = self.membership() else { return false };
        let own = membership.get_node(&self.node());
        self.config.is_some() && own.is_some_and(|member| member.line.is_empty())
    }

    /// Whether this server leads and has taken up what a leader does.
    pub(super) fn is_leading(&self) -> bool {
        self.leading.load(Ordering::Acquire)
    }

    /// Takes up, or lays down, what a leader does.
    pub(super) fn set_leading(&self, is_leading: bool) {
        if self.leading.load(Ordering::Acquire) == is_leading {
            return;
        }
        if is_leading {
            // Nobody knows when the sessions were heard of by other servers.
            self.sessions.restart();
        }
        self.leading.store(is_leading, Ordering::Release);
        self.sessions.set_local(is_leading);
    }
}

/// Waits until more proposals did not reach the log than these.
pub(super) async fn rejected(rejections: &mut watch::Receiver<u64>, before: u64) {
    drop(rejections.wait_for(|count| *count > before).await);
}

/// Tells of changes of the leader.
pub(super) struct LeaderChanges(WatchReceiverOf<TypeConfig, RaftServerMetrics<TypeConfig>>);

impl LeaderChanges {
    /// Waits for the next change.
    ///
    /// # Errors
    ///
    /// Consensus has stopped.
    pub(super) async fn changed(&mut self) -> io::Result<()> {
        self.0.changed().await.map_err(|_| io::Error::other("consensus has stopped"))
    }
}

/// Whether a member's line is that of an observer.
pub(super) fn is_observer(line: &str) -> bool {
    let spec = line.parse::<crate::config::ServerSpec>();
    spec.is_ok_and(|spec| spec.role == ConfiguredRole::Observer)
}

#[cfg(test)]
mod tests {
    use super::super::joining::config_of;
    use super::super::suite::shared;

    #[test]
    fn clients_are_answered_for_sync_limit_ticks_without_a_leader() {
        let (_dir, member) = shared(Some(config_of(3))).unwrap();
        member.note_contact();
        let limit_ms = member.tick.as_millis() as i64 * 5;
        let last_ms = member.last_contact_ms();
        assert!(member.is_in_touch(last_ms + limit_ms));
        assert!(!member.is_in_touch(last_ms + limit_ms + 1));

        let (_dir, alone) = shared(None).unwrap();
        assert!(alone.is_in_touch(i64::MAX / 2), "there is nobody to be out of touch with");
    }
}
