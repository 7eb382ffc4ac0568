//! Whether what clients saw can have come from one tree that keeps ZooKeeper's promises.
//!
//! Every check is a function of the history. A node's versions and the zxids of writes make the order
//! of writes visible, so that no check has to search for one.

pub mod order;
pub mod registers;
pub mod trees;

use std::fmt;

use super::history::{History, Operation};

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

/// Every check of what clients saw.
pub fn all(history: &History) -> Vec<Anomaly> {
    let mut anomalies = order::check(history);
    anomalies.extend(registers::check(history));
    anomalies
}
