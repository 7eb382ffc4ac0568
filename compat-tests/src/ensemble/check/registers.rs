//! A node that is only set and read is a register: its versions show the order of its values.
//!
//! Every answered write names its version and every value was written once, so each read tells between
//! which writes it stands. A history is linearizable when no operation stands before one that had ended
//! when it began: the places are totally ordered, so looking at pairs is enough.

use std::collections::{BTreeMap, BTreeSet};

use jute::{ErrorCode, Stat};

use super::order::place;
use super::{Anomaly, blame, brief};
use crate::ensemble::history::{Ask, History, Operation, Told};

/// What reads behind a `sync` promise.
pub const READS: &str = "reads behind a sync are linearizable";

/// What is known of one version of a node.
#[derive(Clone, Debug, Default)]
struct Version {
    value: String,
    mzxid: i64,
}

/// All operations on one node.
struct Register<'a> {
    path: &'a str,
    operations: Vec<&'a Operation>,
    versions: BTreeMap<i32, Version>,
    /// Zxids of the versions, and their numbers; both rise.
    marks: Vec<(i64, i32)>,
    /// Writes by their unique values.
    writes: BTreeMap<&'a str, &'a Operation>,
}

/// An operation's place among the versions, and when it began.
struct Placed<'a> {
    /// Twice the version for its write, one more for its reads.
    place: i64,
    begun: u64,
    ended: u64,
    operation: &'a Operation,
}

/// Nodes that were set and never deleted.
fn registers(history: &History) -> Vec<Register<'_>> {
    let mut by_path: BTreeMap<&str, Vec<&Operation>> = BTreeMap::new();
    let mut set = BTreeSet::new();
    let mut gone = BTreeSet::new();
    for operation in &history.operations {
        let path = operation.ask.path();
        by_path.entry(path).or_default().push(operation);
        if matches!(operation.ask, Ask::Set { .. }) {
            set.insert(path);
        }
        if matches!(operation.ask, Ask::Delete { .. }) {
            gone.insert(path);
        }
    }
    let is_register = |path: &&str| set.contains(path) && !gone.contains(path);
    by_path.retain(|path, _| is_register(path));
    let register = |(path, operations)| Register {
        path,
        operations,
        versions: BTreeMap::new(),
        marks: Vec::new(),
        writes: BTreeMap::new(),
    };
    by_path.into_iter().map(register).collect()
}

/// Checks every register.
pub fn check(history: &History) -> Vec<Anomaly> {
    let mut anomalies = Vec::new();
    let syncs = syncs(history);
    let seen = seen_before(history);
    for mut register in registers(history) {
        register.learn(&mut anomalies);
        register.values_are_of_writes(&mut anomalies);
        register.versions_have_writes(&mut anomalies);
        register.linearizable(&syncs, &mut anomalies);
        register.refusals(&mut anomalies);
        register.sessions_go_forward(&seen, &mut anomalies);
    }
    anomalies
}

/// When the `sync` in front of a read was sent, by client and number of the read.
fn syncs(history: &History) -> BTreeMap<(usize, u64), u64> {
    let mut syncs = BTreeMap::new();
    let mut last: BTreeMap<usize, &Operation> = BTreeMap::new();
    for operation in &history.operations {
        if let Some(before) = last.insert(operation.client, operation) {
            let is_synced = matches!(before.ask, Ask::Sync { .. })
                && before.connection == operation.connection
                && before.told().is_some();
            if is_synced && matches!(operation.ask, Ask::Get { .. }) {
                syncs.insert((operation.client, operation.number), before.sent);
            }
        }
    }
    syncs
}

/// The highest zxid that a session had seen in replies before one.
fn seen_before(history: &History) -> BTreeMap<(usize, u64), i64> {
    let mut replies: Vec<(usize, i64, u64, u64, i64)> = Vec::new();
    for operation in &history.operations {
        if let Some(reply) = &operation.reply {
            let Operation { client, session, number, .. } = operation;
            replies.push((*client, *session, reply.arrival, *number, reply.zxid));
        }
    }
    replies.sort_unstable();
    let mut seen = BTreeMap::new();
    let mut of = (0, 0);
    let mut most = 0;
    for (client, session, _, number, zxid) in replies {
        if of != (client, session) {
            (of, most) = ((client, session), 0);
        }
        seen.insert((client, number), most);
        most = most.max(zxid);
    }
    seen
}

impl<'a> Register<'a> {
    /// The value and `Stat` that an answered operation shows.
    fn shown(operation: &'a Operation) -> Option<(&'a str, &'a Stat)> {
        let told = operation.told()?;
        if let Told::Data(value, stat) = told {
            return Some((value, stat));
        }
        let (Ask::Set { value, .. } | Ask::Create { value, .. }) = &operation.ask else {
            return None;
        };
        operation.stat().map(|stat| (value.as_str(), stat))
    }

    /// Learns the versions; two that were shown must be equal.
    fn learn(&mut self, anomalies: &mut Vec<Anomaly>) {
        for operation in &self.operations {
            if let Ask::Set { value, .. } | Ask::Create { value, .. } = &operation.ask {
                self.writes.insert(value, operation);
            }
            let Some((value, stat)) = Register::shown(operation) else { continue };
            let known = self
                .versions
                .entry(stat.version.0)
                .or_insert_with(|| Version { value: value.to_owned(), mzxid: stat.mzxid.0 });
            if known.value != value || known.mzxid != stat.mzxid.0 {
                let what = format!("{known:?} is also shown by {}", brief(operation));
                blame(anomalies, "a version has one value and one zxid", what);
            }
        }
        self.marks = self.versions.iter().map(|(number, one)| (one.mzxid, *number)).collect();
        let mut last = i64::MIN;
        for (number, version) in &self.versions {
            if version.mzxid <= last {
                let what = format!("{} version {number}: {version:?}", self.path);
                blame(anomalies, "versions have the order of zxids", what);
            }
            last = version.mzxid;
        }
    }

    /// Every value was written, at most once, by a write that may have happened.
    fn values_are_of_writes(&self, anomalies: &mut Vec<Anomaly>) {
        let mut used: BTreeMap<&str, i32> = BTreeMap::new();
        for (number, version) in &self.versions {
            if let Some(other) = used.insert(&version.value, *number) {
                let what = format!("{}: {version:?} is version {other} and {number}", self.path);
                blame(anomalies, "a write happens once", what);
            }
            match self.writes.get(version.value.as_str()) {
                None => {
                    let what = format!("{} version {number}: {version:?}", self.path);
                    blame(anomalies, "every value was written", what);
                }
                Some(write) if write.refused().is_some() => {
                    let what = format!("version {number} shows {}", brief(write));
                    blame(anomalies, "a refused write does not happen", what);
                }
                Some(write) => {
                    // A node begins at version 0, when it is created.
                    let mut expected = 0;
                    if let Ask::Set { version, .. } = write.ask {
                        expected = if version < 0 { *number } else { version + 1 };
                    }
                    if expected != *number {
                        let what = format!("version {number} shows {}", brief(write));
                        blame(anomalies, "compare-and-set compares", what);
                    }
                }
            }
        }
    }

    /// Every version up to the last was written by somebody, if only by one who was not told.
    fn versions_have_writes(&self, anomalies: &mut Vec<Anomaly>) {
        let Some((last, _)) = self.versions.last_key_value() else { return };
        let shown: BTreeSet<&str> =
            self.versions.values().map(|version| version.value.as_str()).collect();
        let mut unknown: BTreeMap<i32, usize> = BTreeMap::new();
        for (value, write) in &self.writes {
            if let Ask::Set { version, .. } = write.ask
                && write.reply.is_none()
                && !shown.contains(value)
            {
                *unknown.entry(if version < 0 { -1 } else { version + 1 }).or_default() += 1;
            }
        }
        for number in 0..*last {
            if self.versions.contains_key(&number) {
                continue;
            }
            let fitting = [number, -1].into_iter().find(|key| unknown.get(key) > Some(&0));
            if let Some(left) = fitting.and_then(|key| unknown.get_mut(&key)) {
                *left -= 1;
            } else {
                let what = format!("{} version {number} of {last}", self.path);
                blame(anomalies, "every version was written", what);
            }
        }
    }

    /// No operation stands before one that had ended when it began.
    fn linearizable(&self, syncs: &BTreeMap<(usize, u64), u64>, anomalies: &mut Vec<Anomaly>) {
        let mut placed: Vec<Placed<'_>> = Vec::new();
        for (number, version) in &self.versions {
            let place = 2 * i64::from(*number);
            if let Some(&operation) = self.writes.get(version.value.as_str()) {
                let (begun, ended) = (operation.sent, operation.end());
                placed.push(Placed { place, begun, ended, operation });
            }
        }
        for &operation in &self.operations {
            let sync = syncs.get(&(operation.client, operation.number));
            if let (Some(Told::Data(_, stat)), Some(&begun)) = (operation.told(), sync) {
                let place = 2 * i64::from(stat.version.0) + 1;
                placed.push(Placed { place, begun, ended: operation.end(), operation });
            }
        }
        let mut by_end: Vec<&Placed<'_>> = placed.iter().collect();
        by_end.sort_by_key(|one| one.ended);
        let mut by_begin: Vec<&Placed<'_>> = placed.iter().collect();
        by_begin.sort_by_key(|one| one.begun);
        let mut ended = by_end.into_iter().peekable();
        let mut furthest: Option<&Placed<'_>> = None;
        for one in by_begin {
            while let Some(before) = ended.next_if(|before| before.ended < one.begun) {
                if furthest.is_none_or(|furthest| furthest.place < before.place) {
                    furthest = Some(before);
                }
            }
            if let Some(before) = furthest.filter(|before| before.place > one.place) {
                let what = format!("{}, then {}", brief(before.operation), brief(one.operation));
                let are_writes = before.operation.ask.is_write() && one.operation.ask.is_write();
                let promise = if are_writes { "writes are linearizable" } else { READS };
                blame(anomalies, promise, what);
            }
        }
    }

    /// The number of the newest version at a zxid.
    fn newest(&self, zxid: i64) -> Option<i32> {
        let until = self.marks.partition_point(|(mzxid, _)| *mzxid <= zxid);
        self.marks.get(until.checked_sub(1)?).map(|(_, number)| *number)
    }

    /// A write that was refused for its version met another version.
    fn refusals(&self, anomalies: &mut Vec<Anomaly>) {
        for operation in &self.operations {
            let Ask::Set { version, .. } = operation.ask else { continue };
            if operation.refused() != Some(ErrorCode::BadVersion as i32) {
                continue;
            }
            let Some(zxid) = place(operation) else { continue };
            // Between two known versions there may be unknown ones.
            let is_current = self.newest(zxid) == Some(version);
            let next = self.versions.get(&(version + 1));
            if is_current && next.is_some_and(|next| next.mzxid > zxid) {
                blame(anomalies, "a write at the right version is not refused", brief(operation));
            }
        }
    }

    /// A read shows at least what its session had seen, and nothing that comes later.
    fn sessions_go_forward(
        &self,
        seen: &BTreeMap<(usize, u64), i64>,
        anomalies: &mut Vec<Anomaly>,
    ) {
        for operation in &self.operations {
            let Some((_, stat)) = Register::shown(operation) else { continue };
            let Some(reply) = &operation.reply else { continue };
            let seen = seen.get(&(operation.client, operation.number)).copied();
            let least = self.newest(seen.unwrap_or_default());
            if least.is_some_and(|least| stat.version.0 < least) {
                let what = format!("{} after version {least:?}", brief(operation));
                blame(anomalies, "a session sees what it has seen", what);
            }
            if stat.mzxid.0 > reply.zxid {
                blame(anomalies, "a reply's zxid covers what it shows", brief(operation));
            }
        }
    }
}
