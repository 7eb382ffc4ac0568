//! The keys of both databases, and nothing about what lies under them.
//!
//! Numbers in keys are big-endian, so that RocksDB's order of bytes is their order. A node's key
//! begins with the depth of its path: a scan meets parents before children and siblings together.

use jute::SessionId;

use crate::tree::Path;

/// Column family of the tree: the records of nodes, with small data.
pub(super) const ZNODE: &str = "znode";
/// Column family of the tree: larger data, under the key of its node.
pub(super) const DATA: &str = "data";
/// Column family of the tree: the records of sessions.
pub(super) const SESSION: &str = "session";
/// Column family of the tree: a few values with names.
pub(super) const STATE: &str = "state";
/// Every column family of the tree, besides the one that every database has.
pub(super) const TREE_COLUMNS: [&str; 4] = [ZNODE, DATA, SESSION, STATE];

/// Name under which the tree keeps its own progress.
pub(super) const PROGRESS: &str = "progress";

/// First byte of the keys of log entries.
const ENTRY_TAG: u8 = b'e';
/// First byte of the keys of the log's state.
const LOG_STATE_TAG: u8 = b's';

/// Length of the keys of log entries.
const ENTRY_KEY_BYTES: usize = 9;

/// The key of a log entry.
pub(super) fn entry_key(index: u64) -> [u8; ENTRY_KEY_BYTES] {
    let mut key = [ENTRY_TAG; ENTRY_KEY_BYTES];
    for (place, byte) in key.iter_mut().skip(1).zip(index.to_be_bytes()) {
        *place = byte;
    }
    key
}

/// Above the keys of all log entries and below those of the state.
pub(super) const ENTRY_KEY_END: [u8; 1] = [ENTRY_TAG + 1];
/// Below the keys of all log entries.
pub(super) const ENTRY_KEY_START: [u8; 1] = [ENTRY_TAG];

/// The index in the key of a log entry.
pub(super) fn parse_entry_key(key: &[u8]) -> Option<u64> {
    let index = key.strip_prefix(&[ENTRY_TAG])?;
    Some(u64::from_be_bytes(index.try_into().ok()?))
}

/// The key of a value of the log's state.
pub(super) fn log_state_key(name: &str) -> Vec<u8> {
    [&[LOG_STATE_TAG], name.as_bytes()].concat()
}

/// The key of a node.
pub(super) fn node_key(path: &Path) -> Vec<u8> {
    // Paths of 65,535 and more elements share a depth; a parent is still less than its children,
    // being the beginning of their keys.
    let depth = u16::try_from(path.depth()).unwrap_or(u16::MAX);
    [&depth.to_be_bytes(), path.as_str().as_bytes()].concat()
}

/// The path in the key of a node.
pub(super) fn parse_node_key(key: &[u8]) -> Option<Path> {
    let (_, path) = key.split_first_chunk::<2>()?;
    let path = Path::parse(std::str::from_utf8(path).ok()?).ok()?;
    (node_key(&path) == key).then_some(path)
}

/// The key of a session.
pub(super) fn session_key(id: SessionId) -> [u8; 8] {
    id.0.to_be_bytes()
}

/// The session in a key.
pub(super) fn parse_session_key(key: &[u8]) -> Option<SessionId> {
    Some(SessionId(i64::from_be_bytes(key.try_into().ok()?)))
}

/// A key as a person can read it, for messages about damage.
pub(super) fn shown(key: &[u8]) -> String {
    key.escape_ascii().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_frozen() {
        assert_eq!(entry_key(0x0102), *b"e\0\0\0\0\0\0\x01\x02");
        assert_eq!(log_state_key("vote"), b"svote");
        assert_eq!(node_key(&Path::root()), b"\0\0/");
        assert_eq!(node_key(&Path::parse("/a/b").unwrap()), b"\0\x02/a/b");
        assert_eq!(session_key(SessionId(0x0100_0000_0000_0002)), *b"\x01\0\0\0\0\0\0\x02");
        assert_eq!(TREE_COLUMNS, ["znode", "data", "session", "state"]);
        assert_eq!(PROGRESS, "progress");
    }

    #[test]
    fn entries_lie_in_the_order_of_their_indexes_and_apart_from_the_state() {
        let keys = [0, 1, 255, 256, u64::MAX].map(entry_key);
        assert!(keys.is_sorted());
        assert!(ENTRY_KEY_START.as_slice() < keys[0].as_slice());
        assert!(keys[4].as_slice() < ENTRY_KEY_END.as_slice());
        assert!(ENTRY_KEY_END.as_slice() < log_state_key("").as_slice());
        assert_eq!(keys.map(|key| parse_entry_key(&key)).map(Option::unwrap)[3], 256);
    }

    #[test]
    fn parents_come_before_children_however_deep() {
        let deep = "/a".repeat(70_000);
        let texts = ["/", "/b", "/a/a", "/a/b", "/a/a/a", &deep, &format!("{deep}/0")];
        let keys = texts.map(|text| node_key(&Path::parse(text).unwrap()));
        assert!(keys.is_sorted());
        for (text, key) in texts.iter().zip(&keys) {
            assert_eq!(parse_node_key(key).unwrap().as_str(), *text);
        }
    }

    #[test]
    fn a_key_that_no_node_can_have_is_none() {
        for key in [&b"\0\x01/a/b"[..], b"\0\0", b"\0", b"\0\x01a", b"\0\x01/\xff", b"\0\x01/a/"] {
            assert_eq!(parse_node_key(key), None, "{}", shown(key));
        }
    }
}
