//! All servers have the same tree.

use super::{Anomaly, blame};
use crate::ensemble::walk::Tree;

/// The most differences that are told.
const TOLD_MAX: usize = 10;

/// Compares the trees of all servers, which were at rest.
pub fn check(trees: &[Tree]) -> Vec<Anomaly> {
    let mut anomalies = Vec::new();
    let Some((first, others)) = trees.split_first() else { return anomalies };
    for (index, other) in others.iter().enumerate() {
        let paths = first.keys().chain(other.keys().filter(|path| !first.contains_key(*path)));
        let differing = paths.filter(|path| first.get(*path) != other.get(*path));
        for path in differing.take(TOLD_MAX) {
            let (here, there) = (first.get(path), other.get(path));
            let what = format!("{path}: 1 has {here:?}, {} has {there:?}", index + 2);
            blame(&mut anomalies, "all servers have the same tree", what);
        }
    }
    anomalies
}
