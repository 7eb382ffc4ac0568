//! Leaving well: a leader that stops hands its office over first.
//!
//! Whoever takes over must have the whole log, so nothing is proposed for the moment that takes; what is
//! handed in meanwhile is handed over to the new leader.

use std::time::Duration;

use openraft::async_runtime::WatchReceiver as _;

use super::Role;
use super::shared::Shared;

/// How long the successor may take to get the rest of the log.
const CATCH_UP_MS: u64 = 200;
/// How long it may take to be elected.
const HAND_OVER_MS: u64 = 1_000;
/// How often is looked.
const LOOK_MS: u64 = 1;

/// Hands the office of the leader over, if this server has it and there is somebody to take it.
pub(super) async fn step_aside(shared: &Shared) {
    if shared.role() != Role::Leader {
        return;
    }
    let Some(raft) = shared.raft() else { return };
    shared.holding.send_replace(true);
    let successor = match within(CATCH_UP_MS, || successor(shared, true)).await {
        Some(node) => Some(node),
        None => successor(shared, false),
    };
    if let Some(node) = successor {
        tracing::info!("handing leadership over to node {node:x}");
        let began = tokio::time::Instant::now();
        let has_gone = || shared.leader().filter(|leader| leader.node != shared.node());
        if raft.trigger().transfer_leader(node).await.is_ok()
            && let Some(leader) = within(HAND_OVER_MS, has_gone).await
        {
            let (server, took_ms) = (leader.server(), began.elapsed().as_millis());
            tracing::info!("server {server} leads after {took_ms} ms");
        }
    }
    shared.holding.send_replace(false);
}

/// Looks for something until it is there, or so long.
async fn within<T>(limit_ms: u64, mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let limit = Duration::from_millis(limit_ms);
    let found = tokio::time::timeout(limit, async {
        loop {
            if let Some(found) = look() {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(LOOK_MS)).await;
        }
    });
    found.await.ok()
}

/// The voter that has most of the log; `is_complete`: only one that has all of it.
fn successor(shared: &Shared, is_complete: bool) -> Option<u64> {
    let metrics = shared.raft()?.metrics();
    let metrics = metrics.borrow_watched();
    let replication = metrics.replication.as_ref()?;
    let own = shared.node();
    let others = metrics.membership_config.membership().voter_ids().filter(|node| *node != own);
    let matched = |node: u64| replication.get(&node).copied().flatten().map(|id| id.index);
    let (last, node) = others.filter_map(|node| Some((matched(node)?, node))).max()?;
    (!is_complete || Some(last) >= metrics.last_log_index).then_some(node)
}
