//! What watchers hear of and which watches stay: the table of triggers row by row, and random
//! histories against a registry so simple that it can be seen to be right.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jute::Zxid;
use jute::reply::EventType;
use jute::reply::EventType::{NodeChildrenChanged, NodeCreated, NodeDataChanged, NodeDeleted};
use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::tree::{Event, Path};

const C1: ConnectionId = ConnectionId(1);
const C2: ConnectionId = ConnectionId(2);
const C3: ConnectionId = ConnectionId(3);

fn event(kind: EventType, path: &str) -> Event {
    Event { kind, path: Path::parse(path).unwrap(), zxid: Zxid(1), acl: Arc::from([]) }
}

/// Who is told of an event, in which order.
fn fire(registry: &mut WatchRegistry, kind: EventType, path: &str) -> Vec<ConnectionId> {
    let mut told = Vec::new();
    registry.fire(&event(kind, path), &mut |connection| told.push(connection));
    told
}

#[test]
fn a_one_shot_watch_is_told_once() {
    for kind in [NodeCreated, NodeDeleted, NodeDataChanged] {
        let mut registry = WatchRegistry::new();
        registry.add_data("/a", C1);
        assert_eq!(fire(&mut registry, kind, "/a"), [C1], "{kind:?}");
        assert_eq!(fire(&mut registry, kind, "/a"), [], "{kind:?}");
        assert_eq!(registry.watch_count(), 0);
    }
}

#[test]
fn exists_and_get_data_on_one_path_share_one_watch() {
    let mut registry = WatchRegistry::new();
    registry.add_data("/a", C1);
    registry.add_data("/a", C1);
    assert_eq!(registry.watch_count(), 1);
    assert_eq!(fire(&mut registry, NodeDataChanged, "/a"), [C1]);
}

#[test]
fn a_data_watch_hears_nothing_of_children_and_a_child_watch_nothing_of_data() {
    let mut registry = WatchRegistry::new();
    registry.add_data("/a", C1);
    registry.add_child("/a", C2);
    assert_eq!(fire(&mut registry, NodeDataChanged, "/a"), [C1]);
    assert_eq!(fire(&mut registry, NodeCreated, "/a"), []);
    assert_eq!(fire(&mut registry, NodeChildrenChanged, "/a"), [C2]);
}

#[test]
fn a_client_that_watches_node_and_children_hears_of_the_deletion_once_and_loses_both() {
    let mut registry = WatchRegistry::new();
    registry.add_child("/a", C1);
    registry.add_child("/a", C2);
    registry.add_data("/a", C2);
    registry.add_data("/a", C3);
    assert_eq!(fire(&mut registry, NodeDeleted, "/a"), [C1, C2, C3]);
    assert_eq!(registry.watch_count(), 0);
}

#[test]
fn a_persistent_watch_hears_everything_of_its_node_and_nothing_below() {
    let mut registry = WatchRegistry::new();
    registry.add_persistent("/a", C1);
    for kind in [NodeCreated, NodeDataChanged, NodeChildrenChanged, NodeDeleted, NodeCreated] {
        assert_eq!(fire(&mut registry, kind, "/a"), [C1], "{kind:?}");
        assert_eq!(fire(&mut registry, kind, "/a/b"), [], "{kind:?}");
    }
}

#[test]
fn a_recursive_watch_hears_of_all_nodes_below_and_never_of_lists_of_children() {
    let mut registry = WatchRegistry::new();
    registry.add_recursive("/a", C1);
    registry.add_recursive("/", C2);
    for kind in [NodeCreated, NodeDataChanged, NodeDeleted] {
        assert_eq!(fire(&mut registry, kind, "/a"), [C1, C2], "{kind:?}");
        assert_eq!(fire(&mut registry, kind, "/a/b/c"), [C1, C2], "{kind:?}");
        assert_eq!(fire(&mut registry, kind, "/ab"), [C2], "{kind:?}: not below /a");
        assert_eq!(fire(&mut registry, kind, "/"), [C2], "{kind:?}");
    }
    assert_eq!(fire(&mut registry, NodeChildrenChanged, "/a"), []);
}

#[test]
fn several_watches_of_one_client_give_one_event_and_only_the_one_shot_goes() {
    let mut registry = WatchRegistry::new();
    registry.add_data("/a/b", C1);
    registry.add_persistent("/a/b", C1);
    registry.add_recursive("/a/b", C1);
    registry.add_recursive("/a", C1);
    assert_eq!(fire(&mut registry, NodeDataChanged, "/a/b"), [C1]);
    assert_eq!(registry.check("/a/b", C1, 2), Some(false));
    assert_eq!(registry.check("/a/b", C1, 4), Some(true));
    assert_eq!(registry.check("/a/b", C1, 5), Some(true));
    assert_eq!(fire(&mut registry, NodeDataChanged, "/a/b"), [C1]);
}

#[test]
fn removing_names_the_kind_and_leaves_the_others() {
    // Removed kind, then whether kinds 1 to 5 are still there.
    let cases = [
        (1, [false, true, true, true, true]),
        (2, [true, false, true, true, true]),
        (3, [false, false, false, false, false]),
        (4, [true, true, true, false, true]),
        (5, [true, true, true, true, false]),
    ];
    for (removed, left) in cases {
        let mut registry = WatchRegistry::new();
        for connection in [C1, C2] {
            registry.add_data("/a", connection);
            registry.add_child("/a", connection);
            registry.add_persistent("/a", connection);
            registry.add_recursive("/a", connection);
        }
        let state = |registry: &WatchRegistry, connection| {
            [1, 2, 3, 4, 5].map(|kind| registry.check("/a", connection, kind) == Some(true))
        };

        assert_eq!(registry.remove("/a", C1, removed), Some(true));

        assert_eq!(state(&registry, C1), left, "after {removed} was removed");
        assert_eq!(state(&registry, C2), [true; 5], "the other client keeps its own");
        assert_eq!(registry.remove("/a", C1, removed), Some(false));
    }
}

#[test]
fn a_path_with_only_a_persistent_watch_has_no_data_and_no_child_watch() {
    let mut registry = WatchRegistry::new();
    registry.add_persistent("/a", C1);
    assert_eq!(registry.remove("/a", C1, 1), Some(false));
    assert_eq!(registry.remove("/a", C1, 2), Some(false));
    assert_eq!(registry.remove("/a/", C1, 4), Some(false), "paths are compared as text");
    assert_eq!(registry.watch_count(), 2);
    assert_eq!(registry.remove("/a", C1, 4), Some(true));
    assert_eq!(registry.watch_count(), 0);
}

#[test]
fn an_unknown_watcher_type_is_no_type_at_all() {
    let mut registry = WatchRegistry::new();
    registry.add_data("/a", C1);
    for kind in [i32::MIN, -1, 0, 6] {
        assert_eq!(registry.check("/a", C1, kind), None);
        assert_eq!(registry.remove("/a", C1, kind), None);
    }
    assert_eq!(registry.watch_count(), 1);
}

#[test]
fn a_forgotten_connection_is_told_nothing_any_more() {
    let mut registry = WatchRegistry::new();
    for connection in [C1, C2] {
        registry.add_data("/a", connection);
        registry.add_persistent("/a", connection);
        registry.add_recursive("/", connection);
    }
    registry.forget(C1);
    assert_eq!(fire(&mut registry, NodeDeleted, "/a"), [C2]);
    registry.forget(C2);
    assert_eq!(registry.watch_count(), 0);
    assert_eq!(fire(&mut registry, NodeDeleted, "/a"), []);
}

#[test]
fn the_listings_know_the_data_table_only() {
    let mut registry = WatchRegistry::new();
    registry.add_data("/b", C2);
    registry.add_data("/a", C2);
    registry.add_persistent("/a", C1);
    registry.add_child("/c", C3);
    assert_eq!(registry.summary(), Summary { connections: 2, paths: 2, watches: 3 });
    assert_eq!(registry.by_connection(), [(C1, vec!["/a"]), (C2, vec!["/a", "/b"])]);
    assert_eq!(registry.by_path(), [("/a", vec![C1, C2]), ("/b", vec![C2])]);
    assert_eq!(registry.watch_count(), 5);
}

#[test]
fn ten_thousand_watchers_of_one_path_are_told_in_order() {
    let mut registry = WatchRegistry::new();
    for number in (0..10_000).rev() {
        registry.add_data("/herd", ConnectionId(number));
    }
    let told = fire(&mut registry, NodeDataChanged, "/herd");
    assert!(told.iter().copied().eq((0..10_000).map(ConnectionId)));
    assert_eq!(registry.watch_count(), 0);
}

/// How a path is watched, in the model.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Mode {
    Standard,
    Persistent,
    Recursive,
}

/// One of the model's two tables: a flat list of registrations, searched from end to end.
type Entries = BTreeSet<(String, ConnectionId, Mode)>;

/// A registry that looks at every entry every time.
#[derive(Default)]
struct Model {
    data: Entries,
    child: Entries,
}

impl Model {
    /// One table's part of an event: who is told, and the one-shot watches go.
    fn pass(
        table: &mut Entries,
        path: &str,
        told: &BTreeSet<ConnectionId>,
    ) -> BTreeSet<ConnectionId> {
        let concerned = |(watched, _, mode): &&(String, ConnectionId, Mode)| {
            let is_above = path.starts_with(&format!("{}/", watched.trim_end_matches('/')));
            watched == path || (*mode == Mode::Recursive && is_above)
        };
        let hit = table.iter().filter(concerned).map(|(_, connection, _)| *connection);
        let new = hit.filter(|connection| !told.contains(connection)).collect();
        table.retain(|(watched, _, mode)| watched != path || *mode != Mode::Standard);
        new
    }

    fn fire(&mut self, kind: EventType, path: &str) -> BTreeSet<ConnectionId> {
        let nobody = BTreeSet::new();
        match kind {
            NodeCreated | NodeDataChanged => Model::pass(&mut self.data, path, &nobody),
            NodeChildrenChanged => Model::pass(&mut self.child, path, &nobody),
            NodeDeleted => {
                let first = Model::pass(&mut self.data, path, &nobody);
                let second = Model::pass(&mut self.child, path, &first);
                assert!(first.is_disjoint(&second), "nobody is told twice");
                first.union(&second).copied().collect()
            }
        }
    }

    fn remove(&mut self, path: &str, connection: ConnectionId, kind: i32) -> bool {
        use Mode::{Persistent, Recursive, Standard};
        let (data, child): (&[Mode], &[Mode]) = match kind {
            1 => (&[], &[Standard]),
            2 => (&[Standard], &[]),
            3 => (&[Standard, Persistent, Recursive], &[Standard, Persistent, Recursive]),
            4 => (&[Persistent], &[Persistent]),
            _ => (&[Recursive], &[]),
        };
        let mut found = false;
        for (table, modes) in [(&mut self.data, data), (&mut self.child, child)] {
            for mode in modes {
                found |= table.remove(&(path.to_owned(), connection, *mode));
            }
        }
        found
    }

    /// Entries without their modes, as upstream counts them.
    fn pairs(table: &Entries) -> BTreeSet<(&str, ConnectionId)> {
        table.iter().map(|(path, connection, _)| (path.as_str(), *connection)).collect()
    }

    fn by_path(&self) -> Vec<(&str, Vec<ConnectionId>)> {
        let mut listing: BTreeMap<&str, Vec<ConnectionId>> = BTreeMap::new();
        for (path, connection) in Model::pairs(&self.data) {
            listing.entry(path).or_default().push(connection);
        }
        listing.into_iter().collect()
    }

    fn by_connection(&self) -> Vec<(ConnectionId, Vec<&str>)> {
        let mut listing: BTreeMap<ConnectionId, Vec<&str>> = BTreeMap::new();
        for (path, connection) in Model::pairs(&self.data) {
            listing.entry(connection).or_default().push(path);
        }
        listing.into_iter().collect()
    }
}

#[derive(Clone, Debug)]
enum Step {
    Data,
    Child,
    Persistent,
    Recursive,
    Remove(i32),
    Forget,
    Fire(EventType),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => Just(Step::Data),
        3 => Just(Step::Child),
        2 => Just(Step::Persistent),
        2 => Just(Step::Recursive),
        2 => (1..=5_i32).prop_map(Step::Remove),
        1 => Just(Step::Forget),
        4 => prop::sample::select(vec![
            NodeCreated, NodeDeleted, NodeDataChanged, NodeChildrenChanged,
        ]).prop_map(Step::Fire),
    ]
}

fn path() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["/", "/a", "/ab", "/a/b", "/a/b/c", "/b"])
}

proptest! {
    #[test]
    fn any_history_is_told_and_remembered_as_by_the_naive_registry(
        history in vec((step(), path(), (1..=4_u64).prop_map(ConnectionId)), 0..80),
    ) {
        let mut registry = WatchRegistry::new();
        let mut model = Model::default();
        for (step, path, connection) in history {
            let entry = |mode| (path.to_owned(), connection, mode);
            match step {
                Step::Data => {
                    registry.add_data(path, connection);
                    model.data.insert(entry(Mode::Standard));
                }
                Step::Child => {
                    registry.add_child(path, connection);
                    model.child.insert(entry(Mode::Standard));
                }
                Step::Persistent => {
                    registry.add_persistent(path, connection);
                    model.data.insert(entry(Mode::Persistent));
                    model.child.insert(entry(Mode::Persistent));
                }
                Step::Recursive => {
                    registry.add_recursive(path, connection);
                    model.data.insert(entry(Mode::Recursive));
                }
                Step::Remove(kind) => {
                    let checked = registry.check(path, connection, kind);
                    let expected = Some(model.remove(path, connection, kind));
                    prop_assert_eq!(checked, expected);
                    prop_assert_eq!(registry.remove(path, connection, kind), expected);
                }
                Step::Forget => {
                    registry.forget(connection);
                    model.data.retain(|(_, watcher, _)| *watcher != connection);
                    model.child.retain(|(_, watcher, _)| *watcher != connection);
                }
                Step::Fire(kind) => {
                    let expected: Vec<_> = model.fire(kind, path).into_iter().collect();
                    prop_assert_eq!(fire(&mut registry, kind, path), expected);
                }
            }
            let (data, child) = (Model::pairs(&model.data), Model::pairs(&model.child));
            prop_assert_eq!(registry.watch_count(), data.len() + child.len());
            prop_assert_eq!(registry.by_path(), model.by_path());
            prop_assert_eq!(registry.by_connection(), model.by_connection());
            let summary = Summary {
                connections: model.by_connection().len(),
                paths: model.by_path().len(),
                watches: data.len(),
            };
            prop_assert_eq!(registry.summary(), summary);
            let recursive = model.data.iter().any(|(_, _, mode)| *mode == Mode::Recursive);
            prop_assert_eq!(registry.data.has_recursive(), recursive);
        }
    }
}
