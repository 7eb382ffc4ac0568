//! Whether what clients saw can have come from one tree that keeps ZooKeeper's promises.
//!
//! Every check is a function of the history. A node's versions and the zxids of writes make the order
//! of writes visible, so that no check has to search for one.

pub mod end;
pub mod locks;
pub mod order;
pub mod registers;
pub mod sessions;
pub mod trees;
pub mod watches;

#[cfg(test)]
mod tests;

use std::fmt;

use super::history::{History, Operation};
use super::walk::Tree;

/// A broken promise.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Anomaly {
    /// Which.
    pub promise: &'static str,
    /// How it was seen.
    pub what: String,
}

impl fmt::Display for Anomaly {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.promise, self.what)
    }
}

/// Adds an anomaly.
fn blame(anomalies: &mut Vec<Anomaly>, promise: &'static str, what: String) {
    anomalies.push(Anomaly { promise, what });
}

/// An operation in few words.
fn brief(operation: &Operation) -> String {
    let Operation { client, number, sent, ask, .. } = operation;
    let reply = operation.reply.as_ref().map_or_else(
        || "without a reply".to_owned(),
        |reply| format!("told at {} by 0x{:x} {:?}", reply.at, reply.zxid, reply.result),
    );
    format!("client {client} request {number} sent at {sent}: {ask:?}, {reply}")
}

/// What a real ZooKeeper 3.9.5 does not keep: the leader, also one that no longer leads, answers `sync`
/// without asking anybody and before it has applied what a follower may have answered already.
pub const GAPS_OF_ZOOKEEPER: &[&str] = &[order::SYNC, registers::READS];

/// Every check: of what clients saw, and of the trees of all servers at the end.
pub fn all(history: &History, trees: &[Tree]) -> Vec<Anomaly> {
    let mut anomalies = order::check(history);
    anomalies.extend(registers::check(history));
    anomalies.extend(sessions::check(history));
    anomalies.extend(watches::check(history));
    anomalies.extend(locks::check(history));
    anomalies.extend(trees::check(trees));
    if let Some(tree) = trees.first() {
        anomalies.extend(end::check(history, tree));
    }
    anomalies
}
