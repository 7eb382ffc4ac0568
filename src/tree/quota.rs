//! Quotas: how much lies below a path, and how much may.
//!
//! The quota of `/p` is kept in `/zookeeper/quota/p/zookeeper_limits`, written by clients, and
//! `…/zookeeper_stats`, which the server keeps. Only the deepest limited ancestor of a node counts.
//!
//! Source: ZooKeeper, `DataTree`, `Quotas`, `StatsTrack`, `ZooKeeperServer.checkQuota`.

use std::collections::BTreeMap;

use super::{DataChange, Draft, Path, QUOTA_ROOT, Refusal, parent_of};

/// Name of the node that holds a quota's limits.
const LIMITS: &str = "zookeeper_limits";
/// Name of the node that holds what a quota has counted.
const STATS: &str = "zookeeper_stats";

/// Name of a number of nodes.
const COUNT: &str = "count";
/// Name of a number of bytes.
const BYTES: &str = "bytes";
/// What stands between two pairs.
const SEPARATORS: [char; 2] = [',', ';'];

/// Limits or counts by their names, as text that clients may write too; -1 is unlimited.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
struct Track(BTreeMap<String, i64>);

impl Track {
    /// Reads `count=1,bytes=2` and `count=1,bytes=2=;byteHardLimit=3;countHardLimit=4`. `None`: the
    /// text is something else.
    fn parse(text: &[u8]) -> Option<Track> {
        let text = std::str::from_utf8(text).ok()?;
        if text.starts_with(SEPARATORS) {
            return None;
        }
        let mut numbers = BTreeMap::new();
        for pair in text.split(SEPARATORS).filter(|pair| !pair.is_empty()) {
            let mut parts = pair.split('=');
            let (key, value) = (parts.next()?, parts.next()?);
            numbers.insert(key.to_owned(), value.parse().ok()?);
        }
        Some(Track(numbers))
    }

    /// The number of this name; -1 if there is none.
    fn get(&self, name: &str) -> i64 {
        self.0.get(name).copied().unwrap_or(-1)
    }

    /// Writes the text; whatever else a client wrote stays in it, as with upstream.
    fn write(mut self, count: i64, bytes: i64) -> String {
        self.0.remove(COUNT);
        self.0.remove(BYTES);
        let mut text = format!("{COUNT}={count},{BYTES}={bytes}");
        // Upstream's older parsers need a second `=` between the bytes and what they do not know.
        let mut separator = "=;";
        for (name, number) in self.0 {
            text.extend([separator, &name, "=", &number.to_string()]);
            separator = ";";
        }
        text
    }
}

/// The path whose quota this node limits, if it is such a node.
pub(super) fn limited_by(path: &str) -> Option<&str> {
    guarded(path, LIMITS)
}

/// The path whose quota a node of this name under the quota root is about.
fn guarded<'a>(path: &'a str, name: &str) -> Option<&'a str> {
    let prefix = path.strip_prefix(QUOTA_ROOT)?.strip_suffix(name)?.strip_suffix('/')?;
    prefix.starts_with('/').then_some(prefix)
}

/// Whether the path would be about a quota on the root, which stops upstream's server for good.
pub(super) fn is_of_root(path: &str) -> bool {
    matches!(path.strip_prefix(QUOTA_ROOT), Some("/zookeeper_limits" | "/zookeeper_stats"))
}

/// The deepest path at or above `path` that has a quota.
fn prefix_of(draft: &Draft<'_>, path: &str, exists: impl Fn(&str) -> bool) -> Option<String> {
    if !draft.may_have_quotas() {
        return None;
    }
    let mut candidate = Some(path);
    while let Some(prefix) = candidate.filter(|prefix| *prefix != "/") {
        if exists(&format!("{QUOTA_ROOT}{prefix}/{LIMITS}")) {
            return Some(prefix.to_owned());
        }
        candidate = parent_of(prefix);
    }
    None
}

/// Refuses if `count_more` nodes and `bytes_more` bytes at `path` would exceed a hard limit.
pub(super) fn enforce(
    draft: &Draft<'_>,
    path: &str,
    count_more: i64,
    bytes_more: i64,
) -> Result<(), Refusal> {
    // What counts is what had been applied before this transaction: a multi is not judged by its own
    // earlier operations.
    let exists = |path: &str| draft.quota_existed(path);
    let Some(prefix) = prefix_of(draft, path, exists) else { return Ok(()) };
    let read = |name: &str| draft.quota_data_before(&format!("{QUOTA_ROOT}{prefix}/{name}"));
    let limits = read(LIMITS).and_then(|text| Track::parse(&text)).ok_or(Refusal::Malformed)?;
    if count_more == 0 && bytes_more == 0 {
        return Ok(());
    }
    // Without counts there is nothing to compare.
    let Some(stats) = read(STATS) else { return Ok(()) };
    let stats = Track::parse(&stats).ok_or(Refusal::Malformed)?;
    let exceeds = |more: i64, counted: i64, hard: i64| {
        more != 0 && hard > -1 && counted.wrapping_add(more) > hard
    };
    if exceeds(count_more, stats.get(COUNT), limits.get("countHardLimit"))
        || exceeds(bytes_more, stats.get(BYTES), limits.get("byteHardLimit"))
    {
        return Err(Refusal::QuotaExceeded { prefix });
    }
    Ok(())
}

/// Counts a new node; a new statistics node is filled with what is there.
pub(super) fn count_created(draft: &mut Draft<'_>, path: &Path, bytes: i64) {
    if let Some(prefix) = guarded(path.as_str(), STATS) {
        let totals = draft.subtree_totals(prefix);
        write_stats(draft, prefix, Track::default(), totals);
    }
    count(draft, path, 1, bytes);
}

/// Counts a node off.
pub(super) fn count_deleted(draft: &mut Draft<'_>, path: &Path, bytes: i64) {
    count(draft, path, -1, -bytes);
}

/// Counts a change of a node's data.
pub(super) fn count_resized(draft: &mut Draft<'_>, path: &Path, bytes_more: i64) {
    count(draft, path, 0, bytes_more);
}

fn count(draft: &mut Draft<'_>, path: &Path, count_more: i64, bytes_more: i64) {
    let exists = |path: &str| draft.find(path).is_some();
    let Some(prefix) = prefix_of(draft, path.as_str(), exists) else { return };
    let Some(stats) = draft.data(&format!("{QUOTA_ROOT}{prefix}/{STATS}")) else { return };
    let Some(stats) = Track::parse(&stats) else { return };
    // A client may have written any numbers; upstream's wrap too.
    let counted = (stats.get(COUNT), stats.get(BYTES));
    let totals = (counted.0.wrapping_add(count_more), counted.1.wrapping_add(bytes_more));
    write_stats(draft, &prefix, stats, totals);
}

/// Writes what was counted. No version changes and nobody is told, as with upstream.
fn write_stats(draft: &mut Draft<'_>, prefix: &str, stats: Track, (count, bytes): (i64, i64)) {
    let path = format!("{QUOTA_ROOT}{prefix}/{STATS}");
    if let (Some(node), Ok(path)) = (draft.find(&path), Path::parse(&path)) {
        let text = stats.write(count, bytes);
        draft.put(path, node, DataChange::Set(Some(text.into())));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_read_in_both_of_upstreams_forms() {
        let soft = Track::parse(b"count=5,bytes=-1").unwrap();
        assert_eq!((soft.get(COUNT), soft.get(BYTES), soft.get("countHardLimit")), (5, -1, -1));
        let hard = Track::parse(b"count=-1,bytes=10=;byteHardLimit=20;countHardLimit=3").unwrap();
        assert_eq!((hard.get("byteHardLimit"), hard.get("countHardLimit")), (20, 3));
    }

    #[test]
    fn whatever_else_stands_in_statistics_stays_there() {
        let written = |text: &str| Track::parse(text.as_bytes()).unwrap().write(4, 5);
        assert_eq!(written(""), "count=4,bytes=5");
        assert_eq!(written("bytes=1,count=1"), "count=4,bytes=5");
        assert_eq!(written("count=3,bytes=4,x=9"), "count=4,bytes=5=;x=9");
        assert_eq!(written("count=0;a=2,b=1,=7"), "count=4,bytes=5=;=7;a=2;b=1");
    }

    #[test]
    fn other_texts_are_judged_as_by_upstream() {
        for text in ["", "count=1,", "=5", "count=+5", "count=9;;bytes=9", "count=1=2=3,bytes=7"] {
            assert!(Track::parse(text.as_bytes()).is_some(), "{text}");
        }
        for text in ["nonsense", "count", "count=", ",count=1", "a=b", "count= 5"] {
            assert!(Track::parse(text.as_bytes()).is_none(), "{text}");
        }
    }

    #[test]
    fn only_nodes_of_the_right_name_in_the_right_place_limit_a_quota() {
        assert_eq!(limited_by("/zookeeper/quota/a/b/zookeeper_limits"), Some("/a/b"));
        assert_eq!(limited_by("/zookeeper/quota/zookeeper_limits"), None);
        assert_eq!(limited_by("/zookeeper/quotas/a/zookeeper_limits"), None);
        assert!(is_of_root("/zookeeper/quota/zookeeper_stats"));
    }
}
