//! Quotas: how much lies below a path, and how much may.
//!
//! The quota of `/p` is kept in `/zookeeper/quota/p/zookeeper_limits`, written by clients, and
//! `…/zookeeper_stats`, which the server keeps. Only the deepest limited ancestor of a node counts.
//!
//! Source: ZooKeeper, `DataTree`, `Quotas`, `StatsTrack`, `ZooKeeperServer.checkQuota`.

use bytes::Bytes;

use super::{DataChange, Draft, Path, QUOTA_ROOT, Refusal, parent_of};

/// Name of the node that holds a quota's limits.
const LIMITS: &str = "zookeeper_limits";
/// Name of the node that holds what a quota has counted.
const STATS: &str = "zookeeper_stats";

/// Limits or counts; `None` is unlimited.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
struct Track {
    count: Option<i64>,
    bytes: Option<i64>,
    count_hard: Option<i64>,
    bytes_hard: Option<i64>,
}

impl Track {
    /// Reads `count=1,bytes=2` and `count=1,bytes=2=;byteHardLimit=3;countHardLimit=4`; -1 is
    /// unlimited, unknown keys are passed over. `None`: the text is something else.
    fn parse(text: &[u8]) -> Option<Track> {
        let text = std::str::from_utf8(text).ok()?;
        let mut track = Track::default();
        for pair in text.split([',', ';']).filter(|pair| !pair.is_empty()) {
            let mut parts = pair.split('=');
            let (key, value) = (parts.next()?, parts.next()?);
            let number: i64 = if value.is_empty() { -1 } else { value.parse().ok()? };
            let limit = (number > -1).then_some(number);
            match key {
                "count" => track.count = limit,
                "bytes" => track.bytes = limit,
                "countHardLimit" => track.count_hard = limit,
                "byteHardLimit" => track.bytes_hard = limit,
                _ => {}
            }
        }
        Some(track)
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
fn prefix_of(draft: &Draft<'_>, path: &str) -> Option<String> {
    if !draft.may_have_quotas() {
        return None;
    }
    let mut candidate = Some(path);
    while let Some(prefix) = candidate.filter(|prefix| *prefix != "/") {
        if draft.find(&format!("{QUOTA_ROOT}{prefix}/{LIMITS}")).is_some() {
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
    let Some(prefix) = prefix_of(draft, path) else { return Ok(()) };
    let read = |name: &str| draft.data(&format!("{QUOTA_ROOT}{prefix}/{name}"));
    let limits = Track::parse(&read(LIMITS).unwrap_or_default()).ok_or(Refusal::Malformed)?;
    // Without counts there is nothing to compare.
    let Some(stats) = read(STATS) else { return Ok(()) };
    let stats = Track::parse(&stats).ok_or(Refusal::Malformed)?;
    let exceeds = |more: i64, counted: Option<i64>, hard: Option<i64>| {
        more != 0 && hard.is_some_and(|hard| counted.unwrap_or(-1) + more > hard)
    };
    if exceeds(count_more, stats.count, limits.count_hard)
        || exceeds(bytes_more, stats.bytes, limits.bytes_hard)
    {
        return Err(Refusal::QuotaExceeded { prefix });
    }
    Ok(())
}

/// Counts a new node; a new statistics node is filled with what is there.
pub(super) fn count_created(draft: &mut Draft<'_>, path: &Path, bytes: i64) {
    if let Some(prefix) = guarded(path.as_str(), STATS) {
        let totals = draft.subtree_totals(prefix);
        write_stats(draft, prefix, totals);
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
    let Some(prefix) = prefix_of(draft, path.as_str()) else { return };
    let Some(stats) = draft.data(&format!("{QUOTA_ROOT}{prefix}/{STATS}")) else { return };
    let Some(stats) = Track::parse(&stats) else { return };
    let totals = (stats.count.unwrap_or(-1) + count_more, stats.bytes.unwrap_or(-1) + bytes_more);
    write_stats(draft, &prefix, totals);
}

/// Writes what was counted. No version changes and nobody is told, as with upstream.
fn write_stats(draft: &mut Draft<'_>, prefix: &str, (count, bytes): (i64, i64)) {
    let path = format!("{QUOTA_ROOT}{prefix}/{STATS}");
    if let (Some(node), Ok(path)) = (draft.find(&path), Path::parse(&path)) {
        let text = Bytes::from(format!("count={count},bytes={bytes}"));
        draft.put(path, node, DataChange::Set(Some(text)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_read_in_both_of_upstreams_forms() {
        let soft = Track::parse(b"count=5,bytes=-1").unwrap();
        assert_eq!(soft, Track { count: Some(5), ..Track::default() });
        let hard = Track::parse(b"count=-1,bytes=10=;byteHardLimit=20;countHardLimit=3").unwrap();
        assert_eq!((hard.bytes, hard.bytes_hard, hard.count_hard), (Some(10), Some(20), Some(3)));
        assert_eq!(Track::parse(b"count="), Some(Track::default()));
        assert_eq!(Track::parse(b"nonsense"), None);
    }

    #[test]
    fn only_nodes_of_the_right_name_in_the_right_place_limit_a_quota() {
        assert_eq!(limited_by("/zookeeper/quota/a/b/zookeeper_limits"), Some("/a/b"));
        assert_eq!(limited_by("/zookeeper/quota/zookeeper_limits"), None);
        assert_eq!(limited_by("/zookeeper/quotas/a/zookeeper_limits"), None);
        assert!(is_of_root("/zookeeper/quota/zookeeper_stats"));
    }
}
