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

/// What stands between two pairs.
const SEPARATORS: [char; 2] = [',', ';'];

/// Limits or counts, as text that clients may write too.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Track {
    count: i64,
    bytes: i64,
    count_hard: i64,
    bytes_hard: i64,
}

impl Track {
    /// What an empty text says: of limits, that there is none.
    const UNLIMITED: Track = Track { count: -1, bytes: -1, count_hard: -1, bytes_hard: -1 };

    /// Reads `count=1,bytes=2` and `count=1,bytes=2=;byteHardLimit=3;countHardLimit=4`; unknown keys
    /// are passed over. `None`: the text is something else.
    fn parse(text: &[u8]) -> Option<Track> {
        let text = std::str::from_utf8(text).ok()?;
        let mut track = Track::UNLIMITED;
        if text.starts_with(SEPARATORS) {
            return None;
        }
        for pair in text.split(SEPARATORS).filter(|pair| !pair.is_empty()) {
            let mut parts = pair.split('=');
            let (key, value) = (parts.next()?, parts.next()?);
            let number = value.parse().ok()?;
            match key {
                "count" => track.count = number,
                "bytes" => track.bytes = number,
                "countHardLimit" => track.count_hard = number,
                "byteHardLimit" => track.bytes_hard = number,
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
    let limits = read(LIMITS).and_then(|text| Track::parse(&text)).ok_or(Refusal::Malformed)?;
    // Without counts there is nothing to compare.
    let Some(stats) = read(STATS) else { return Ok(()) };
    let stats = Track::parse(&stats).ok_or(Refusal::Malformed)?;
    let exceeds = |more: i64, counted: i64, hard: i64| {
        more != 0 && hard > -1 && counted.wrapping_add(more) > hard
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
    // A client may have written any numbers; upstream's wrap too.
    let totals = (stats.count.wrapping_add(count_more), stats.bytes.wrapping_add(bytes_more));
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
        assert_eq!(soft, Track { count: 5, ..Track::UNLIMITED });
        let hard = Track::parse(b"count=-1,bytes=10=;byteHardLimit=20;countHardLimit=3").unwrap();
        assert_eq!((hard.bytes, hard.bytes_hard, hard.count_hard), (10, 20, 3));
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
