//! A session lives as long as it is used, and its ephemeral nodes live exactly as long as it does.
//!
//! A reply with a zxid shows that the session lived when that was applied.

use std::collections::{BTreeMap, BTreeSet};

use jute::ErrorCode;

use super::{Anomaly, blame, brief};
use crate::ensemble::history::{Ask, History, Mode, Operation, Told};

/// What is known of an ephemeral node.
struct Ephemeral<'a> {
    create: &'a Operation,
    session: i64,
    created: i64,
    /// The last zxid at which its session was there.
    alive: i64,
    /// Where its session was closed by its client.
    closed: Option<i64>,
    /// Where it was deleted, if somebody knows.
    deleted: Option<i64>,
    /// Whether somebody deleted it, perhaps.
    is_deleted: bool,
}

/// Checks sessions and their nodes.
pub fn check(history: &History) -> Vec<Anomaly> {
    let mut anomalies = Vec::new();
    let nodes = ephemerals(history);
    not_too_early(history, &mut anomalies);
    as_long_as_sessions(history, &nodes, &mut anomalies);
    at_once(history, &nodes, &mut anomalies);
    anomalies
}

/// Nobody is told that a session is gone that was used within its timeout.
fn not_too_early(history: &History, anomalies: &mut Vec<Anomaly>) {
    let closes = history.operations.iter().filter(|one| one.ask == Ask::Close);
    let closed: BTreeSet<i64> = closes.map(|close| close.session).collect();
    for expiry in &history.expiries {
        let timeout = u64::try_from(expiry.timeout_ms).unwrap_or_default() * 1_000_000;
        if !closed.contains(&expiry.session) && expiry.at < expiry.alive + timeout {
            let what = format!("{expiry:?}, sent {} ns before", expiry.at - expiry.alive);
            blame(anomalies, "a session lives for its timeout", what);
        }
    }
}

fn ephemerals(history: &History) -> BTreeMap<&str, Ephemeral<'_>> {
    let mut alive: BTreeMap<i64, i64> = BTreeMap::new();
    let mut closed: BTreeMap<i64, i64> = BTreeMap::new();
    for operation in &history.operations {
        let Some(reply) = operation.reply.as_ref().filter(|reply| reply.zxid > 0) else { continue };
        if operation.ask == Ask::Close {
            closed.insert(operation.session, reply.zxid);
        } else if reply.result != Err(ErrorCode::SessionExpired as i32) {
            let alive = alive.entry(operation.session).or_default();
            *alive = reply.zxid.max(*alive);
        }
    }
    let mut nodes = BTreeMap::new();
    for operation in &history.operations {
        let Ask::Create { mode: Mode::Ephemeral | Mode::EphemeralSequential, .. } = operation.ask
        else {
            continue;
        };
        let Some(Told::Node(path, stat)) = operation.told() else { continue };
        let session = operation.session;
        let node = Ephemeral {
            create: operation,
            session,
            created: stat.czxid.0,
            alive: alive.get(&session).copied().unwrap_or_default(),
            closed: closed.get(&session).copied(),
            deleted: None,
            is_deleted: false,
        };
        nodes.insert(path.as_str(), node);
    }
    for operation in &history.operations {
        if let Ask::Delete { path, .. } = &operation.ask
            && let Some(node) = nodes.get_mut(path.as_str())
            && operation.refused().is_none()
        {
            node.is_deleted = true;
            node.deleted = operation.reply.as_ref().map(|reply| reply.zxid);
        }
    }
    nodes
}

/// Between which zxids a read looked at the tree.
fn window(operation: &Operation, seen: &mut BTreeMap<(usize, i64), i64>) -> Option<(i64, i64)> {
    let reply = operation.reply.as_ref().filter(|reply| reply.zxid > 0)?;
    let seen = seen.entry((operation.client, operation.session)).or_default();
    let from = *seen;
    *seen = from.max(reply.zxid);
    Some((from, reply.zxid))
}

/// Reads find an ephemeral node while its session is there, and not after it was closed.
fn as_long_as_sessions(
    history: &History,
    nodes: &BTreeMap<&str, Ephemeral<'_>>,
    anomalies: &mut Vec<Anomaly>,
) {
    let mut seen = BTreeMap::new();
    let mut operations: Vec<&Operation> =
        history.operations.iter().filter(|operation| operation.reply.is_some()).collect();
    let arrival = |one: &Operation| one.reply.as_ref().map_or(0, |reply| reply.arrival);
    operations.sort_by_key(|one| (one.client, arrival(one)));
    for operation in operations {
        let Some((from, to)) = window(operation, &mut seen) else { continue };
        let mut look = |path: &str, node: &Ephemeral<'_>, is_there: bool| {
            let may_be_gone = node.is_deleted && node.deleted.is_none_or(|zxid| zxid <= to);
            let must_be = node.created <= from && to <= node.alive && !may_be_gone;
            let end = [node.closed, node.deleted].into_iter().flatten().min();
            let must_not_be = to < node.created || end.is_some_and(|end| end <= from);
            if (must_be && !is_there) || (must_not_be && is_there) {
                let create = brief(node.create);
                let what = format!("{path} by {create} is seen by {}", brief(operation));
                blame(anomalies, "ephemeral nodes live as long as their sessions", what);
            }
        };
        let is_gone = operation.refused() == Some(ErrorCode::NoNode as i32);
        match (&operation.ask, operation.told()) {
            (Ask::Children { path: directory, .. }, Some(Told::Children(names, _))) => {
                let names: BTreeSet<&str> = names.iter().map(String::as_str).collect();
                let below = format!("{directory}/");
                for (path, node) in nodes.range(below.as_str()..) {
                    let Some(name) = path.strip_prefix(&below) else { break };
                    look(path, node, names.contains(name));
                }
            }
            (Ask::Exists { path, .. } | Ask::Get { path, .. }, told)
                if told.is_some() || is_gone =>
            {
                if let Some(node) = nodes.get(path.as_str()) {
                    look(path, node, told.is_some());
                }
            }
            _ => {}
        }
    }
}

/// All nodes of a session go in one transaction, that of its end.
fn at_once(history: &History, nodes: &BTreeMap<&str, Ephemeral<'_>>, anomalies: &mut Vec<Anomaly>) {
    let mut ends: BTreeMap<i64, i64> = BTreeMap::new();
    for notice in history.notices.iter().filter(|notice| notice.kind == 2 && notice.zxid > 0) {
        let Some(node) = nodes.get(notice.path.as_str()).filter(|node| !node.is_deleted) else {
            continue;
        };
        let end = *ends.entry(node.session).or_insert(notice.zxid);
        let closed = node.closed.unwrap_or(end);
        if notice.zxid != end || notice.zxid != closed {
            let what = format!("{notice:?}, but 0x{end:x} and 0x{closed:x}");
            blame(anomalies, "the nodes of a session go at once", what);
        }
        if notice.zxid <= node.alive {
            let what = format!("{notice:?}, but the session lived at 0x{:x}", node.alive);
            blame(anomalies, "ephemeral nodes live as long as their sessions", what);
        }
    }
}
