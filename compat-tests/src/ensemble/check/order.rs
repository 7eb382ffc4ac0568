//! All writes have one order, the one in which they happened; `sync` catches up with it; no session
//! ever goes back in it.

use std::collections::BTreeMap;

use jute::ErrorCode;

use super::{Anomaly, blame, brief};
use crate::ensemble::history::{Ask, History, Operation, Told};

/// Refusals that take a place in the order of writes.
const ORDERLY: &[ErrorCode] =
    &[ErrorCode::BadVersion, ErrorCode::NoNode, ErrorCode::NodeExists, ErrorCode::NotEmpty];

/// What `sync` promises.
pub const SYNC: &str = "sync catches up with every answered write";

/// A write's place in the order, if it is known.
pub fn place(operation: &Operation) -> Option<i64> {
    let reply = operation.reply.as_ref().filter(|_| operation.ask.is_write())?;
    let is_orderly = match reply.result {
        Ok(_) => true,
        Err(code) => ORDERLY.iter().any(|orderly| *orderly as i32 == code),
    };
    (is_orderly && reply.zxid > 0).then_some(reply.zxid)
}

/// Checks the order of writes.
pub fn check(history: &History) -> Vec<Anomaly> {
    let mut anomalies = Vec::new();
    one_each(history, &mut anomalies);
    real_time(history, &mut anomalies);
    first_come_first_served(history, &mut anomalies);
    never_back(history, &mut anomalies);
    anomalies
}

/// Every write has a zxid of its own, which is that of its node.
fn one_each(history: &History, anomalies: &mut Vec<Anomaly>) {
    let mut taken: BTreeMap<i64, &Operation> = BTreeMap::new();
    for operation in &history.operations {
        let Some(zxid) = place(operation) else { continue };
        if let Some(other) = taken.insert(zxid, operation) {
            let what = format!("{} and {}", brief(other), brief(operation));
            blame(anomalies, "every write has a zxid of its own", what);
        }
        let own = match (&operation.ask, operation.told()) {
            (Ask::Create { .. }, Some(Told::Node(_, stat))) => stat.czxid.0,
            (Ask::Set { .. }, Some(Told::Stat(stat))) => stat.mzxid.0,
            _ => zxid,
        };
        if own != zxid {
            blame(anomalies, "a reply has the zxid of its write", brief(operation));
        }
    }
}

/// What was answered before a request was sent comes before it.
fn real_time(history: &History, anomalies: &mut Vec<Anomaly>) {
    let mut ended: Vec<(u64, i64, &Operation)> = history
        .operations
        .iter()
        .filter_map(|operation| Some((operation.end(), place(operation)?, operation)))
        .collect();
    ended.sort_by_key(|(end, zxid, _)| (*end, *zxid));
    let mut begun: Vec<&Operation> = history.operations.iter().collect();
    begun.sort_by_key(|operation| operation.sent);
    let mut ended = ended.into_iter().peekable();
    let mut last: Option<(i64, &Operation)> = None;
    for operation in begun {
        while let Some((_, zxid, before)) = ended.next_if(|(end, _, _)| *end < operation.sent) {
            if last.is_none_or(|(most, _)| most < zxid) {
                last = Some((zxid, before));
            }
        }
        let Some((most, before)) = last else { continue };
        if place(operation).is_some_and(|zxid| zxid <= most) {
            let what = format!("{}, then {}", brief(before), brief(operation));
            blame(anomalies, "writes have the order of their times", what);
        }
        let synced = operation.reply.as_ref().filter(|reply| reply.result.is_ok());
        let is_sync = matches!(operation.ask, Ask::Sync { .. });
        if is_sync && synced.is_some_and(|reply| reply.zxid < most) {
            let what = format!("{}, then {}", brief(before), brief(operation));
            blame(anomalies, SYNC, what);
        }
    }
}

/// A session's writes are carried out in the order in which they were sent, also those that were not
/// answered before the session moved: once it has written through its new connection, nothing that it
/// sent through the old one may happen any more.
fn first_come_first_served(history: &History, anomalies: &mut Vec<Anomaly>) {
    let mut shown: BTreeMap<&str, i64> = BTreeMap::new();
    for operation in &history.operations {
        if let Some(Told::Data(value, stat)) = operation.told() {
            shown.insert(value, stat.mzxid.0);
        }
    }
    let zxid = |operation: &Operation| {
        let (Ask::Create { value, .. } | Ask::Set { value, .. }) = &operation.ask else {
            return place(operation);
        };
        place(operation).or_else(|| {
            let is_unknown = operation.reply.is_none();
            shown.get(value.as_str()).copied().filter(|_| is_unknown)
        })
    };
    let mut last: BTreeMap<(usize, i64), (i64, &Operation)> = BTreeMap::new();
    let mut sent: Vec<&Operation> = history.operations.iter().collect();
    sent.sort_by_key(|operation| operation.number);
    for operation in sent {
        let Some(zxid) = zxid(operation) else { continue };
        let session = (operation.client, operation.session);
        if let Some((most, before)) = last.get(&session)
            && zxid < *most
        {
            let what = format!("{} has 0x{most:x}, then {}", brief(before), brief(operation));
            blame(anomalies, "a session's writes keep their order", what);
        }
        let most = last.entry(session).or_insert((zxid, operation));
        if most.0 <= zxid {
            *most = (zxid, operation);
        }
    }
}

/// The zxids of a session's replies never fall, whatever server they come from.
fn never_back(history: &History, anomalies: &mut Vec<Anomaly>) {
    type Replies<'a> = Vec<(u64, i64, &'a Operation)>;
    let mut sessions: BTreeMap<(usize, i64), Replies<'_>> = BTreeMap::new();
    for operation in &history.operations {
        if let Some(reply) = operation.reply.as_ref().filter(|reply| reply.zxid > 0) {
            let session = sessions.entry((operation.client, operation.session)).or_default();
            session.push((reply.arrival, reply.zxid, operation));
        }
    }
    for mut replies in sessions.into_values() {
        replies.sort_by_key(|(arrival, _, _)| *arrival);
        for (before, after) in replies.iter().zip(replies.iter().skip(1)) {
            if after.1 < before.1 {
                let what = format!("{}, then {}", brief(before.2), brief(after.2));
                blame(anomalies, "a session never goes back in time", what);
            }
            if after.2.connection == before.2.connection && after.2.number < before.2.number {
                let what = format!("{}, then {}", brief(before.2), brief(after.2));
                blame(anomalies, "replies have the order of requests", what);
            }
        }
    }
}
