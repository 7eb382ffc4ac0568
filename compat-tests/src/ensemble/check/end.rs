//! What is there at the end is what was written: nothing answered is missing, nothing came twice.

use std::collections::{BTreeMap, BTreeSet};

use super::order::place;
use super::{Anomaly, blame, brief};
use crate::ensemble::history::{Ask, History, Mode, Operation, Told};
use crate::ensemble::walk::Tree;
use crate::ensemble::workload::{counters, sequences};

/// What was written to one path.
#[derive(Default)]
struct Writes<'a> {
    /// Answered with success, by zxid.
    done: BTreeMap<i64, &'a Operation>,
    /// Not answered.
    unknown: Vec<&'a Operation>,
    is_ephemeral: bool,
}

/// Checks the tree at the end.
pub fn check(history: &History, tree: &Tree) -> Vec<Anomaly> {
    let mut anomalies = Vec::new();
    let writes = writes(history);
    for (path, writes) in &writes {
        if !writes.is_ephemeral {
            kept(path, writes, tree, &mut anomalies);
        }
    }
    written(history, &writes, tree, &mut anomalies);
    numbers(history, tree, &mut anomalies);
    counts(history, &mut anomalies);
    anomalies
}

fn writes(history: &History) -> BTreeMap<String, Writes<'_>> {
    let mut all: BTreeMap<String, Writes<'_>> = BTreeMap::new();
    for operation in history.operations.iter().filter(|one| one.ask.is_write()) {
        if operation.ask == Ask::Close {
            continue;
        }
        let mut path = operation.ask.path().to_owned();
        if let Some(Told::Node(created, _)) = operation.told() {
            path.clone_from(created);
        }
        let writes = all.entry(path).or_default();
        if let Ask::Create { mode: Mode::Ephemeral | Mode::EphemeralSequential, .. } = operation.ask
        {
            writes.is_ephemeral = true;
        }
        match (place(operation), operation.told(), &operation.reply) {
            (Some(zxid), Some(_), _) => drop(writes.done.insert(zxid, operation)),
            (_, _, None) => writes.unknown.push(operation),
            _ => {}
        }
    }
    all
}

/// The last answered write is the last, unless one that was not answered came later.
fn kept(path: &str, writes: &Writes<'_>, tree: &Tree, anomalies: &mut Vec<Anomaly>) {
    let Some((&zxid, last)) = writes.done.last_key_value() else { return };
    let may = |is_it: fn(&Ask) -> bool| writes.unknown.iter().any(|one| is_it(&one.ask));
    let may_be_deleted = may(|ask| matches!(ask, Ask::Delete { .. }));
    let may_be_created = may(|ask| matches!(ask, Ask::Create { .. }));
    let may_be_set = may(|ask| matches!(ask, Ask::Set { .. }));
    let is_deleted = matches!(last.ask, Ask::Delete { .. });
    let is_fine = match tree.get(path) {
        None => is_deleted || may_be_deleted,
        Some((_, stat)) if is_deleted => stat.czxid.0 > zxid && may_be_created,
        Some((_, stat)) if stat.mzxid.0 > zxid => {
            may_be_set || (stat.czxid.0 > zxid && may_be_created && may_be_deleted)
        }
        Some((_, stat)) => stat.mzxid.0 == zxid,
    };
    if !is_fine {
        let what = format!("{path} is {:?} at the end, after {}", tree.get(path), brief(last));
        blame(anomalies, "an answered write lasts", what);
    }
}

/// Every node has a value that was written there, and no write made two nodes.
fn written(
    history: &History,
    writes: &BTreeMap<String, Writes<'_>>,
    tree: &Tree,
    anomalies: &mut Vec<Anomaly>,
) {
    let mut values: BTreeMap<&str, &Operation> = BTreeMap::new();
    for operation in history.operations.iter().filter(|one| one.refused().is_none()) {
        if let Ask::Create { value, .. } | Ask::Set { value, .. } = &operation.ask {
            values.insert(value, operation);
        }
    }
    let directories: BTreeSet<&str> = writes
        .keys()
        .filter_map(|path| path.rsplit_once('/'))
        .map(|(directory, _)| directory)
        .filter(|directory| !directory.is_empty())
        .collect();
    let mut used: BTreeMap<&str, &str> = BTreeMap::new();
    for (path, (value, _)) in tree {
        let Some((directory, _)) = path.rsplit_once('/') else { continue };
        if !directories.contains(directory) {
            continue;
        }
        let is_written = values.get(value.as_str()).is_some_and(|write| {
            let asked = write.ask.path();
            match (&write.ask, write.told()) {
                (_, Some(Told::Node(created, _))) => created == path,
                (Ask::Create { mode, .. }, _) if mode.is_sequential() => path.starts_with(asked),
                _ => asked == path,
            }
        });
        if !is_written {
            blame(anomalies, "every node was written", format!("{path} has {value:?}"));
        }
        if let Some(other) = used.insert(value, path) {
            blame(anomalies, "a write happens once", format!("{value:?} is {other} and {path}"));
        }
    }
}

/// The numbers of sequential nodes have no gaps where nothing is deleted, and rise with the zxids.
fn numbers(history: &History, tree: &Tree, anomalies: &mut Vec<Anomaly>) {
    let prefix = format!("{}/n-", sequences::DIRECTORY);
    let mut last = None;
    for (path, (_, stat)) in tree.range(prefix.clone()..) {
        let Some(digits) = path.strip_prefix(&prefix) else { break };
        let number: i64 = digits.parse().unwrap_or(-1);
        let (before, zxid) = last.unwrap_or((-1, 0));
        if number != before + 1 || stat.czxid.0 <= zxid {
            let what = format!("{path} of 0x{:x} after {before} of 0x{zxid:x}", stat.czxid.0);
            blame(anomalies, "numbers count", what);
        }
        last = Some((number, stat.czxid.0));
    }
    let done = history.operations.iter().filter(|one| one.ask.path() == prefix);
    let most = done.filter_map(|one| match one.told() {
        Some(Told::Node(path, _)) => path.strip_prefix(&prefix)?.parse::<i64>().ok(),
        _ => None,
    });
    if most.max() > last.map(|(number, _)| number) {
        blame(anomalies, "numbers count", format!("the last is {last:?}"));
    }
}

/// A counter's value is the number of its versions.
fn counts(history: &History, anomalies: &mut Vec<Anomaly>) {
    for operation in &history.operations {
        let (Ask::Get { path, .. }, Some(Told::Data(value, stat))) =
            (&operation.ask, operation.told())
        else {
            continue;
        };
        let is_counter = path.strip_prefix(counters::DIRECTORY).is_some_and(|rest| rest.len() > 1);
        if is_counter && counters::count(value) != i64::from(stat.version.0) {
            blame(anomalies, "a counter counts", brief(operation));
        }
    }
}
