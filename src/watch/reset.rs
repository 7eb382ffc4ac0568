//! Watches that a client brings along to a new connection, and what it missed in between.
//!
//! What already happened is owed at once and its watch not registered; the rest is registered.
//! Neither paths nor ACLs are looked at, as upstream has it.

use jute::Zxid;
use jute::reply::EventType;
use jute::request::SetWatches2;

use super::{ConnectionId, WatchRegistry};

/// A node's last change of data (`mzxid`) and of children (`pzxid`).
type Changed = (Zxid, Zxid);

/// Events that a connection is owed, in their order.
pub type Owed = Vec<(EventType, String)>;

/// The request holds a null list or a null path; the client gets `MarshallingError`.
///
/// Watches before it are registered, and the events before it are owed: upstream has sent them when
/// it stumbles.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("setWatches with a null list or path, after {} events", owed.len())]
pub struct NullWatch {
    /// What was found before the null.
    pub owed: Owed,
}

/// Registers the watches of a `setWatches2` request, and returns the events that its client missed.
///
/// `lookup` finds a node and says when its data and its children last changed. The whole call must
/// see one state of the tree, and no change may come between it and the registry.
///
/// # Errors
///
/// [`NullWatch`], with what came before it done.
///
/// Source: ZooKeeper, `DataTree.setWatches`.
pub fn reset(
    registry: &mut WatchRegistry,
    request: &SetWatches2,
    connection: ConnectionId,
    lookup: impl Fn(&str) -> Option<Changed>,
) -> Result<Owed, NullWatch> {
    let mut owed = Vec::new();
    match register(registry, request, connection, lookup, &mut owed) {
        Some(()) => Ok(owed),
        None => Err(NullWatch { owed }),
    }
}

/// Goes through the lists in their order; `None` at the first null.
fn register(
    registry: &mut WatchRegistry,
    request: &SetWatches2,
    connection: ConnectionId,
    lookup: impl Fn(&str) -> Option<Changed>,
    owed: &mut Owed,
) -> Option<()> {
    let seen = request.relative_zxid;
    let mut owe = |kind, path: &str| owed.push((kind, path.to_owned()));
    for path in request.data_watches.as_ref()? {
        let path = path.as_deref()?;
        match lookup(path) {
            None => owe(EventType::NodeDeleted, path),
            Some((mzxid, _)) if mzxid > seen => owe(EventType::NodeDataChanged, path),
            Some(_) => registry.add_data(path, connection),
        }
    }
    for path in request.exist_watches.as_ref()? {
        let path = path.as_deref()?;
        match lookup(path) {
            // The node was not there when the watch was left, whatever its zxids say now.
            Some(_) => owe(EventType::NodeCreated, path),
            None => registry.add_data(path, connection),
        }
    }
    for path in request.child_watches.as_ref()? {
        let path = path.as_deref()?;
        match lookup(path) {
            None => owe(EventType::NodeDeleted, path),
            Some((_, pzxid)) if pzxid > seen => owe(EventType::NodeChildrenChanged, path),
            Some(_) => registry.add_child(path, connection),
        }
    }
    for path in request.persistent_watches.as_ref()? {
        registry.add_persistent(path.as_deref()?, connection);
    }
    for path in request.persistent_recursive_watches.as_ref()? {
        registry.add_recursive(path.as_deref()?, connection);
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use jute::Text;

    use super::*;

    const CLIENT: ConnectionId = ConnectionId(1);
    const SEEN: Zxid = Zxid(10);

    fn texts(paths: &[&str]) -> Vec<Text> {
        paths.iter().map(|path| Some((*path).to_owned())).collect()
    }

    fn nothing() -> SetWatches2 {
        SetWatches2 {
            relative_zxid: SEEN,
            data_watches: Some(texts(&[])),
            exist_watches: Some(texts(&[])),
            child_watches: Some(texts(&[])),
            persistent_watches: Some(texts(&[])),
            persistent_recursive_watches: Some(texts(&[])),
        }
    }

    /// `/old` was last changed at the zxid the client saw, `/new` one later.
    fn lookup(path: &str) -> Option<Changed> {
        match path {
            "/old" => Some((SEEN, SEEN)),
            "/new-data" => Some((Zxid(11), SEEN)),
            "/new-children" => Some((SEEN, Zxid(11))),
            _ => None,
        }
    }

    #[test]
    fn what_was_missed_is_owed_and_not_registered_and_the_rest_the_other_way_round() {
        let all = ["/old", "/new-data", "/new-children", "/gone"];
        let request = SetWatches2 {
            data_watches: Some(texts(&all)),
            exist_watches: Some(texts(&all)),
            child_watches: Some(texts(&all)),
            ..nothing()
        };
        let mut registry = WatchRegistry::new();

        let owed = reset(&mut registry, &request, CLIENT, lookup).unwrap();

        let expected = [
            (EventType::NodeDataChanged, "/new-data"),
            (EventType::NodeDeleted, "/gone"),
            (EventType::NodeCreated, "/old"),
            (EventType::NodeCreated, "/new-data"),
            (EventType::NodeCreated, "/new-children"),
            (EventType::NodeChildrenChanged, "/new-children"),
            (EventType::NodeDeleted, "/gone"),
        ];
        assert_eq!(owed, expected.map(|(kind, path)| (kind, path.to_owned())));
        let registered = |kind| all.map(|path| registry.check(path, CLIENT, kind) == Some(true));
        assert_eq!(registered(2), [true, false, true, true], "data: /gone is awaited by exists");
        assert_eq!(registered(1), [true, true, false, false], "children");
        assert_eq!(registry.watch_count(), 5);
    }

    #[test]
    fn persistent_watches_miss_nothing_and_are_always_registered() {
        let request = SetWatches2 {
            persistent_watches: Some(texts(&["/new-data", "/gone"])),
            persistent_recursive_watches: Some(texts(&["/new-children"])),
            ..nothing()
        };
        let mut registry = WatchRegistry::new();

        assert_eq!(reset(&mut registry, &request, CLIENT, lookup), Ok(vec![]));

        assert_eq!(registry.check("/new-data", CLIENT, 4), Some(true));
        assert_eq!(registry.check("/gone", CLIENT, 4), Some(true));
        assert_eq!(registry.check("/new-children", CLIENT, 5), Some(true));
        assert_eq!(registry.watch_count(), 5);
    }

    #[test]
    fn a_null_list_fails_after_the_lists_before_it_were_processed() {
        let request = SetWatches2 {
            data_watches: Some(texts(&["/old", "/gone"])),
            exist_watches: Some(texts(&["/awaited"])),
            child_watches: None,
            persistent_watches: Some(texts(&["/p"])),
            ..nothing()
        };
        let mut registry = WatchRegistry::new();

        let failed = reset(&mut registry, &request, CLIENT, lookup).unwrap_err();

        assert_eq!(failed.owed, [(EventType::NodeDeleted, "/gone".to_owned())]);
        let paths: Vec<_> = registry.by_path().into_iter().map(|(path, _)| path).collect();
        assert_eq!(paths, ["/awaited", "/old"]);
    }

    #[test]
    fn a_null_path_fails_like_a_null_list() {
        let with_null = Some(vec![Some("/old".to_owned()), None, Some("/later".to_owned())]);
        let request = SetWatches2 { persistent_watches: with_null, ..nothing() };
        let mut registry = WatchRegistry::new();

        assert_eq!(reset(&mut registry, &request, CLIENT, lookup), Err(NullWatch { owed: vec![] }));

        assert_eq!(registry.check("/old", CLIENT, 4), Some(true));
        assert_eq!(registry.check("/later", CLIENT, 4), Some(false));
    }
}
