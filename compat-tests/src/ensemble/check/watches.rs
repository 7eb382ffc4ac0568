//! A watch hears of each change once, in order, and before its session can see the change.
//!
//! What changed when is learnt from answered writes and from the `Stat`s that reads show; a write that
//! nobody was told of may also cause events.

use std::collections::{BTreeMap, BTreeSet};

use jute::ErrorCode;

use super::order::place;
use super::{Anomaly, blame, brief};
use crate::ensemble::history::{Ask, History, Notice, Operation, Told};

/// The number of the event that a node came into being.
const CREATED: i32 = 1;
/// … that it went.
const DELETED: i32 = 2;
/// … that its data was set.
const CHANGED: i32 = 3;
/// … that a child came or went.
const CHILDREN: i32 = 4;

/// What happened to a path, by zxid: the number of the event.
type Changes = BTreeMap<i64, i32>;

/// Everything that came over one connection, in the order in which it came.
#[derive(Default)]
struct Stream<'a> {
    /// Place, header zxid, request.
    replies: Vec<(u64, i64, &'a Operation)>,
    notices: Vec<&'a Notice>,
}

/// A watch that must hear of the first change after `base`.
struct Armed<'a> {
    path: &'a str,
    is_list: bool,
    /// From where on the event may come.
    arrival: u64,
    base: i64,
}

/// What is known of changes.
struct Known<'a> {
    nodes: BTreeMap<&'a str, Changes>,
    lists: BTreeMap<&'a str, Changes>,
}

fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("/", |(parent, _)| if parent.is_empty() { "/" } else { parent })
}

impl<'a> Known<'a> {
    fn add(&mut self, path: &'a str, zxid: i64, kind: i32) {
        let changes = self.nodes.entry(path).or_default();
        changes.entry(zxid).or_insert(kind);
        if kind == CREATED || kind == DELETED {
            self.lists.entry(parent(path)).or_default().insert(zxid, CHILDREN);
        }
    }

    fn of(history: &'a History) -> Known<'a> {
        let mut known = Known { nodes: BTreeMap::new(), lists: BTreeMap::new() };
        for operation in &history.operations {
            let path = operation.ask.path();
            if let (Some(zxid), Some(_)) = (place(operation), operation.told()) {
                if matches!(operation.ask, Ask::Delete { .. }) {
                    known.add(path, zxid, DELETED);
                }
                if matches!(operation.ask, Ask::Set { .. }) {
                    known.add(path, zxid, CHANGED);
                }
            }
            let shown = match operation.told() {
                Some(Told::Node(path, stat)) => Some((path.as_str(), stat)),
                Some(Told::Data(_, stat) | Told::Stat(stat)) => Some((path, stat)),
                _ => None,
            };
            if let Some((path, stat)) = shown {
                known.add(path, stat.czxid.0, CREATED);
                if stat.mzxid != stat.czxid {
                    known.add(path, stat.mzxid.0, CHANGED);
                }
            }
        }
        known
    }

    /// The first change of what a watch is for after a zxid.
    fn next(&self, path: &str, is_list: bool, after: i64) -> Option<(i64, i32)> {
        let node = self.nodes.get(path).into_iter().flat_map(|one| one.range(after + 1..));
        let first = if is_list {
            let list = self.lists.get(path)?.range(after + 1..).next();
            list.into_iter().chain(node.filter(|(_, kind)| **kind == DELETED)).min()
        } else {
            node.min()
        };
        first.map(|(zxid, kind)| (*zxid, *kind))
    }
}

/// Checks all watches.
pub fn check(history: &History) -> Vec<Anomaly> {
    let mut anomalies = Vec::new();
    let known = Known::of(history);
    let mut streams: BTreeMap<(usize, u64), Stream<'_>> = BTreeMap::new();
    for operation in &history.operations {
        if let Some(reply) = operation.reply.as_ref().filter(|reply| reply.zxid > 0) {
            let stream = streams.entry((operation.client, operation.connection)).or_default();
            stream.replies.push((reply.arrival, reply.zxid, operation));
        }
    }
    for notice in &history.notices {
        streams.entry((notice.client, notice.connection)).or_default().notices.push(notice);
    }
    for stream in streams.values_mut() {
        stream.replies.sort_by_key(|(arrival, _, _)| *arrival);
        stream.notices.sort_by_key(|notice| notice.arrival);
        stream.order(&mut anomalies);
        stream.truth(&known, &mut anomalies);
        if let Some(directory) = stream.recursive() {
            stream.below(&directory, &known, &mut anomalies);
        } else {
            stream.heard(&known, &mut anomalies);
            stream.once(&mut anomalies);
        }
    }
    anomalies
}

impl<'a> Stream<'a> {
    /// The first reply after `arrival` that may show what happened at `zxid`.
    fn shows(&self, zxid: i64, arrival: u64) -> Option<&(u64, i64, &'a Operation)> {
        let by_zxid = self.replies.partition_point(|(_, header, _)| *header < zxid);
        let by_arrival = self.replies.partition_point(|(place, _, _)| *place <= arrival);
        self.replies.get(by_zxid.max(by_arrival))
    }

    /// Events come in the order of zxids, none twice, and none after a reply that may show its effect.
    fn order(&self, anomalies: &mut Vec<Anomaly>) {
        let mut last = 0;
        let mut seen = BTreeSet::new();
        for notice in self.notices.iter().filter(|notice| notice.zxid > 0) {
            if notice.zxid < last {
                let what = format!("{notice:?} after 0x{last:x}");
                blame(anomalies, "events come in the order of changes", what);
            }
            last = last.max(notice.zxid);
            if !seen.insert((notice.zxid, notice.kind, notice.path.as_str())) {
                blame(anomalies, "an event comes once", format!("{notice:?}"));
            }
            if let Some((arrival, _, reply)) = self.shows(notice.zxid, 0)
                && *arrival < notice.arrival
            {
                let what = format!("{}, then {notice:?}", brief(reply));
                blame(anomalies, "an event comes before its effect", what);
            }
        }
    }

    /// Events tell what happened.
    fn truth(&self, known: &Known<'_>, anomalies: &mut Vec<Anomaly>) {
        for notice in self.notices.iter().filter(|notice| notice.zxid > 0) {
            let lists = if notice.kind == CHILDREN { &known.lists } else { &known.nodes };
            let kind = lists.get(notice.path.as_str()).and_then(|one| one.get(&notice.zxid));
            if kind.is_some_and(|kind| *kind != notice.kind) {
                blame(anomalies, "events tell what happened", format!("{notice:?}: {kind:?}"));
            }
        }
    }

    /// The directory of a recursive watch on this connection, and from which reply on it is there.
    fn recursive(&self) -> Option<(String, u64, i64)> {
        self.replies.iter().find_map(|(arrival, zxid, operation)| {
            operation.told()?;
            if let Ask::WatchBelow { path } = &operation.ask {
                return Some((path.clone(), *arrival, *zxid));
            }
            let Ask::SetWatches { below, .. } = &operation.ask else { return None };
            let path = below.first()?.clone();
            Some((path, *arrival, *zxid))
        })
    }

    /// A recursive watch hears of every change.
    fn below(
        &self,
        (directory, from, since): &(String, u64, i64),
        known: &Known<'_>,
        anomalies: &mut Vec<Anomaly>,
    ) {
        let heard: BTreeMap<(i64, &str), u64> = self
            .notices
            .iter()
            .map(|notice| ((notice.zxid, notice.path.as_str()), notice.arrival))
            .collect();
        let prefix = format!("{directory}/");
        for (path, changes) in &known.nodes {
            if *path != directory && !path.starts_with(&prefix) {
                continue;
            }
            for (zxid, kind) in changes.range(since + 1..) {
                let Some((arrival, _, reply)) = self.shows(*zxid, *from) else { break };
                if heard.get(&(*zxid, *path)).is_none_or(|place| place > arrival) {
                    let what = format!("{path} event {kind} of 0x{zxid:x} by {}", brief(reply));
                    blame(anomalies, "a recursive watch hears of every change", what);
                }
            }
        }
    }

    /// One-shot watches of this connection, with those that were brought along.
    fn armed(&self) -> Vec<Armed<'a>> {
        let mut armed = Vec::new();
        for &(arrival, zxid, operation) in &self.replies {
            let path = operation.ask.path();
            let is_absent = operation.refused() == Some(ErrorCode::NoNode as i32);
            match (&operation.ask, operation.told()) {
                (Ask::Get { watch: true, .. }, Some(Told::Data(_, stat)))
                | (Ask::Exists { watch: true, .. }, Some(Told::Stat(stat))) => {
                    armed.push(Armed { path, is_list: false, arrival, base: stat.mzxid.0 });
                }
                (Ask::Exists { watch: true, .. }, None) if is_absent => {
                    armed.push(Armed { path, is_list: false, arrival, base: zxid });
                }
                (Ask::Children { watch: true, .. }, Some(Told::Children(_, stat))) => {
                    armed.push(Armed { path, is_list: true, arrival, base: stat.pzxid.0 });
                }
                (Ask::SetWatches { since, data, exist, child, .. }, Some(_)) => {
                    let brought = |path: &'a String, is_list| Armed {
                        path,
                        is_list,
                        arrival: 0,
                        base: *since,
                    };
                    armed.extend(data.iter().map(|path| brought(path, false)));
                    armed.extend(child.iter().map(|path| brought(path, true)));
                    // A node that came and went before this has left no trace.
                    let late = exist.iter().map(|path| Armed {
                        path,
                        is_list: false,
                        arrival: 0,
                        base: zxid,
                    });
                    armed.extend(late);
                }
                _ => {}
            }
        }
        armed
    }

    /// A one-shot watch hears of the first change after what its read showed.
    fn heard(&self, known: &Known<'_>, anomalies: &mut Vec<Anomaly>) {
        for Armed { path, is_list, arrival: from, base } in self.armed() {
            let Some((zxid, kind)) = known.next(path, is_list, base) else { continue };
            let Some(&(arrival, _, reply)) = self.shows(zxid, from) else { continue };
            let start = self.notices.partition_point(|notice| notice.arrival <= from);
            let between = self.notices.iter().skip(start);
            let mut between = between.take_while(|notice| notice.arrival < arrival);
            let is_heard = between.any(|notice| {
                let is_kind = (notice.kind == CHILDREN) == is_list || notice.kind == DELETED;
                notice.path == path && is_kind && notice.zxid <= zxid
            });
            if !is_heard {
                let what = format!(
                    "{path} event {kind} of 0x{zxid:x} after 0x{base:x} and {from} by {}",
                    brief(reply)
                );
                blame(anomalies, "a watch hears of the next change", what);
            }
        }
    }

    /// A one-shot watch hears once.
    fn once(&self, anomalies: &mut Vec<Anomaly>) {
        // How many watches there may be on a path: those of requests that were answered before, or sent
        // and then answered with a watch that was used up already.
        let mut armed: BTreeMap<(&str, bool), bool> = BTreeMap::new();
        let mut arming: Vec<(u64, &str, bool)> = Vec::new();
        for watch in self.armed() {
            arming.push((watch.arrival, watch.path, watch.is_list));
        }
        arming.sort_unstable();
        let mut arming = arming.into_iter().peekable();
        for notice in &self.notices {
            while let Some((_, path, is_list)) =
                arming.next_if(|(arrival, _, _)| *arrival < notice.arrival)
            {
                armed.insert((path, is_list), true);
            }
            let path = notice.path.as_str();
            let data = armed.insert((path, false), false) == Some(true);
            let list = armed.insert((path, true), false) == Some(true);
            let is_armed = match notice.kind {
                CHILDREN => {
                    armed.insert((path, false), data);
                    list
                }
                DELETED => data || list,
                _ => {
                    armed.insert((path, true), list);
                    data
                }
            };
            if !is_armed {
                blame(anomalies, "a one-shot watch hears once", format!("{notice:?}"));
            }
        }
    }
}
