//! What the leader does by itself: ends silent sessions, reaps nodes, lets the log be purged.

use std::sync::Arc;
use std::time::Duration;

use super::Ensemble;
use crate::clock::{RateLimit, Stopwatch};
use crate::config::limits::{
    LOG_FLUSH_BYTES, LOG_LINES_INTERVAL_MS, LOG_LINES_PER_INTERVAL_MAX, TREE_FLUSH_INTERVAL_MS,
};
use crate::replica::Incident;
use crate::tree::{Admission, Origin, Submission, Write};

/// How often the size of what is not flushed is looked at.
const FLUSH_CHECK_MS: u64 = 100;
/// Milliseconds without a write after which so many bytes of log are flushed although they are few:
/// then it disturbs nobody, and a restart has the less to do.
const QUIET_MS: u64 = 2_000;
pub(super) const QUIET_FLUSH_BYTES: u64 = 1 << 20;

/// How containers and TTL nodes are reaped.
#[derive(Clone, Copy, Debug)]
pub struct Reaping {
    /// Milliseconds between two searches.
    pub check_interval_ms: u64,
    /// Nodes reaped in a minute at most.
    pub per_minute_max: u32,
    /// Milliseconds after which a container goes that never had a child; 0: never.
    pub never_used_ms_max: i64,
}

/// A request of the server's own.
fn own(session: jute::SessionId, write: Write) -> Submission {
    let origin = Origin { session, ..Origin::default() };
    Submission { origin, admission: Admission::internal(), write }
}

/// Ends sessions whose deadline has passed.
pub(super) async fn expire_sessions(ensemble: Arc<Ensemble>, tick_ms: u64) {
    let (replica, clock) = (Arc::clone(&ensemble.shared.replica), ensemble.shared.clock);
    let lines = RateLimit::new(clock, LOG_LINES_PER_INTERVAL_MAX, LOG_LINES_INTERVAL_MS);
    loop {
        let next_ms = ensemble.sessions().until_next_deadline_ms();
        let wait_ms = next_ms.map_or(tick_ms, |ms| ms.clamp(1, tick_ms as i64) as u64);
        let asleep = Stopwatch::start();
        tokio::time::sleep(Duration::from_millis(wait_ms)).await;
        if asleep.elapsed() > Duration::from_millis(wait_ms + tick_ms) {
            // The whole server stood still, and pings lie unread: their senders are alive.
            tokio::time::sleep(Duration::from_millis(tick_ms)).await;
        }
        if !ensemble.is_in_charge() {
            continue;
        }
        for (session, holder) in ensemble.sessions().expire() {
            replica.stats().count_incident(Incident::SessionExpired);
            if let Some(left_out) = lines.pass() {
                tracing::info!("session {session} expired{left_out}");
            }
            let write = Write::CloseSession { expired_holder: Some(holder) };
            if ensemble.propose(own(session, write), None).await.is_err() {
                return;
            }
        }
    }
}

/// Deletes emptied containers and outlived TTL nodes, evenly spaced.
///
/// Source: ZooKeeper, `ContainerManager`.
pub(super) async fn reap_nodes(ensemble: Arc<Ensemble>, reaping: Reaping) {
    let (replica, clock) = (Arc::clone(&ensemble.shared.replica), ensemble.shared.clock);
    let gap = Duration::from_millis(60_000 / u64::from(reaping.per_minute_max.max(1)));
    loop {
        tokio::time::sleep(Duration::from_millis(reaping.check_interval_ms.max(1))).await;
        if !ensemble.is_in_charge() {
            continue;
        }
        let due = replica.tree().reapable_at(clock.wall_ms(), reaping.never_used_ms_max);
        for path in due {
            let never_used_ms_max = reaping.never_used_ms_max;
            let write = Write::Reap { path: path.to_string(), never_used_ms_max };
            if ensemble.propose(own(jute::SessionId::NONE, write), None).await.is_err() {
                return;
            }
            tokio::time::sleep(gap).await;
        }
    }
}

/// Flushes the tree's store now and then, so that a restart replays a bounded tail of the log and
/// what was flushed can be purged from it.
pub(super) async fn flush_tree(ensemble: Arc<Ensemble>, snap_bytes_max: u64) {
    let mut since_flush_ms = 0;
    let mut since_append_ms = 0;
    let mut flushed = ensemble.log_position();
    let mut flushed_bytes = ensemble.appended_bytes();
    let mut seen_bytes = flushed_bytes;
    loop {
        tokio::time::sleep(Duration::from_millis(FLUSH_CHECK_MS)).await;
        since_flush_ms += FLUSH_CHECK_MS;
        since_append_ms += FLUSH_CHECK_MS;
        let appended_bytes = ensemble.appended_bytes();
        if appended_bytes != seen_bytes {
            (seen_bytes, since_append_ms) = (appended_bytes, 0);
        }
        let unflushed_bytes = appended_bytes - flushed_bytes;
        let is_large = unflushed_bytes >= LOG_FLUSH_BYTES.min(snap_bytes_max);
        let is_quiet = since_append_ms >= QUIET_MS && unflushed_bytes >= QUIET_FLUSH_BYTES;
        let is_old = since_flush_ms >= TREE_FLUSH_INTERVAL_MS && ensemble.log_position() != flushed;
        if is_large || is_quiet || is_old {
            flushed = ensemble.log_position();
            flushed_bytes = appended_bytes;
            since_flush_ms = 0;
            ensemble.trigger_flush().await;
        }
        ensemble.purge().await;
    }
}
