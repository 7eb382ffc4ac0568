//! The parts of the tree's memory against naive ones, and each edge of the compact form.
//!
//! The seed is fixed, so that a run on any machine runs the same programs.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};

use jute::{Id, Perms, SessionId, Version};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::RngSeed;

use super::*;
use crate::tree::TTL_MS_MAX;

/// The longest name or data that a request can bring, about.
const LARGE: usize = 900_000;

fn config(cases: u32) -> ProptestConfig {
    ProptestConfig {
        cases,
        rng_seed: RngSeed::Fixed(0x6e6f_6465),
        failure_persistence: None,
        max_shrink_iters: 4_096,
        ..ProptestConfig::default()
    }
}

fn stamp() -> impl Strategy<Value = i64> {
    let edges = [0, 1, 5, (1 << 48) - 1, 1 << 48, 1 << 62, i64::MAX, -1, -2, i64::MIN];
    prop_oneof![6 => 0..9_i64, 3 => select(edges.to_vec()), 1 => any::<i64>()]
}

fn count() -> impl Strategy<Value = i32> {
    let edges = [1, 255, 256, i32::MAX, -1, -2, i32::MIN];
    prop_oneof![4 => Just(0), 3 => select(edges.to_vec()), 1 => any::<i32>()]
}

fn owner() -> impl Strategy<Value = Owner> {
    prop_oneof![
        4 => Just(Owner::Persistent),
        2 => select(vec![1, 0x0100_0000_0000_0001, -2, i64::MAX])
            .prop_map(|id| Owner::Ephemeral(SessionId(id))),
        1 => Just(Owner::Container),
        1 => select(vec![1, 86_400_000, TTL_MS_MAX]).prop_map(Owner::Ttl),
    ]
}

fn acl() -> impl Strategy<Value = Arc<[Acl]>> {
    let acls = [
        vec![Acl::anyone(Perms::ALL)],
        vec![Acl::anyone(Perms::ALL)],
        vec![Acl::anyone(Perms::READ)],
        vec![Acl { perms: Perms::ALL, id: Id::new("digest", "u:h") }],
        vec![],
    ];
    select(acls.to_vec()).prop_map(Arc::from)
}

/// A record of which every group of fields is as with most nodes, or not.
fn znode() -> impl Strategy<Value = Znode> {
    let group = any::<[bool; 3]>();
    let stamps = (stamp(), stamp(), stamp(), stamp(), stamp());
    let counts = (count(), count(), count(), count());
    (group, stamps, counts, owner(), acl()).prop_map(|(group, stamps, counts, owner, acl)| {
        let [is_changed, is_parent, is_wild] = group;
        let (czxid, ctime_ms, mzxid, mtime_ms, pzxid) = stamps;
        let (version, created, present, aversion) = counts;
        let fresh = Znode { czxid: Zxid(czxid), ctime_ms, owner, acl, ..Znode::default() };
        let changed = Znode {
            mzxid: Zxid(if is_changed { mzxid } else { czxid }),
            mtime_ms: if is_changed { mtime_ms } else { ctime_ms },
            version: Version(if is_changed { version } else { 0 }),
            pzxid: Zxid(if is_parent { pzxid } else { czxid }),
            children_created: if is_parent { created } else { 0 },
            children_present: if is_parent { present } else { 0 },
            ..fresh
        };
        Znode { aversion: Version(if is_wild { aversion } else { 0 }), ..changed }
    })
}

fn data() -> impl Strategy<Value = Option<Vec<u8>>> {
    let length = prop_oneof![
        8 => 0..300_usize,
        8 => select(vec![0, 1, 254, 255, 256, 257, 511, 512, 513]),
        1 => select(vec![32_700, 32_800, 65_535, 65_536, LARGE]),
    ];
    prop_oneof![
        1 => Just(None),
        6 => (length, any::<u8>()).prop_map(|(length, byte)| Some(vec![byte; length])),
    ]
}

fn name() -> impl Strategy<Value = String> {
    let length = prop_oneof![
        8 => 1..40_usize,
        4 => select(vec![1, 254, 255, 256, 257]),
        1 => Just(LARGE),
    ];
    prop_oneof![4 => length.prop_map(|length| "n".repeat(length)), 1 => Just("é".to_owned())]
}

/// The bytes of a node, and others behind them.
fn packed(record: &Record, name: &str, data: Option<&[u8]>) -> Vec<u8> {
    let mut bytes = vec![0xee; record.packed_bytes() + 5];
    record.pack(&mut bytes, name.as_bytes(), data.unwrap_or_default());
    assert!(bytes.ends_with(&[0xee; 5]));
    bytes
}

fn record(znode: &Znode, acl: u32, name: &str, data: Option<&[u8]>) -> Record {
    Record::new(znode, AclId(acl)).named(name.as_bytes()).with_data(data)
}

proptest! {
    #![proptest_config(config(2_000))]

    #[test]
    fn whatever_is_packed_is_unpacked_again(
        znode in znode(), number in 0..3_u32, name in name(), data in data()
    ) {
        let record = record(&znode, number, &name, data.as_deref());

        let bytes = packed(&record, &name, data.as_deref());

        let packed = Packed(&bytes);
        prop_assert_eq!(packed.record(), record);
        prop_assert_eq!(packed.name(), name.as_bytes());
        prop_assert_eq!(packed.data(), data.as_deref());
        prop_assert_eq!(packed.form_bytes(), record.form_bytes());
        let length = record.form_bytes() + name.len() + data.as_ref().map_or(0, Vec::len);
        prop_assert_eq!(bytes.len(), length + 5);
    }
}

#[test]
fn each_field_that_is_not_as_with_most_nodes_is_kept_with_its_group() {
    let fresh = Znode {
        czxid: Zxid::new(3, 70_000),
        mzxid: Zxid::new(3, 70_000),
        pzxid: Zxid::new(3, 70_000),
        ctime_ms: 1_700_000_000_000,
        mtime_ms: 1_700_000_000_000,
        ..Znode::default()
    };
    let bytes = |change: fn(&mut Znode), acl: u32, name: &str, data: Option<&[u8]>| {
        let mut znode = fresh.clone();
        change(&mut znode);
        let record = record(&znode, acl, name, data);
        assert_eq!(Packed(&packed(&record, name, data)).record(), record);
        record.form_bytes()
    };
    let most = bytes(|_| {}, 0, "n", Some(b"x"));
    assert_eq!(most, 15);
    for (what, length) in [
        ("null data", bytes(|_| {}, 0, "n", None)),
        ("empty data", bytes(|_| {}, 0, "n", Some(b""))),
        ("255 bytes of data", bytes(|_| {}, 0, "n", Some(&[0; 255]))),
        ("a name of 255 bytes", bytes(|_| {}, 0, &"n".repeat(255), None)),
        ("the last narrow time", bytes(|z| z.ctime_ms = (1 << 48) - 1, 0, "n", None) - 16),
    ] {
        assert_eq!(length, most, "{what}");
    }
    let (set, parent, long, eight) = (most + 16, most + 14, most + 6, most + 8);
    for (what, length, expected) in [
        ("mzxid", bytes(|z| z.mzxid = Zxid::new(3, 70_001), 0, "n", None), set),
        ("mtime", bytes(|z| z.mtime_ms += 1, 0, "n", None), set),
        ("version", bytes(|z| z.version = Version(-1), 0, "n", None), set),
        ("pzxid", bytes(|z| z.pzxid = Zxid::new(3, 70_001), 0, "n", None), parent),
        ("created", bytes(|z| z.children_created = 1, 0, "n", None), parent),
        ("present", bytes(|z| z.children_present = -1, 0, "n", None), parent),
        ("owner", bytes(|z| z.owner = Owner::Container, 0, "n", None), eight),
        ("ACL", bytes(|_| {}, 1, "n", None), eight),
        ("aversion", bytes(|z| z.aversion = Version(1), 0, "n", None), eight),
        ("256 bytes of data", bytes(|_| {}, 0, "n", Some(&[0; 256])), long),
        ("a name of 256 bytes", bytes(|_| {}, 0, &"n".repeat(256), None), long),
        // mtime is another then, and all four stamps have eight bytes.
        ("a time far away", bytes(|z| z.ctime_ms = 1 << 48, 0, "n", None), set + 8),
        ("a time before 1970", bytes(|z| z.mtime_ms = -1, 0, "n", None), set + 8),
        (
            "an epoch above 65,535",
            bytes(|z| z.pzxid = Zxid::new(65_536, 1), 0, "n", None),
            parent + 6,
        ),
        (
            "everything",
            bytes(
                |z| {
                    z.mzxid = Zxid(-1);
                    z.pzxid = Zxid(-1);
                    z.owner = Owner::Ephemeral(SessionId(1));
                },
                7,
                "n",
                Some(&[0; 256]),
            ),
            77,
        ),
    ] {
        assert_eq!(length, expected, "{what}");
    }
}

/// An edit of the nodes at the few paths of a program.
#[derive(Clone, Debug)]
enum Edit {
    Put(usize, Znode, Option<Vec<u8>>),
    Keep(usize, Znode),
    Remove(usize),
}

/// Parents before children.
fn paths() -> Vec<Path> {
    let long = format!("/{}", "l".repeat(300));
    let paths = ["/", "/a", "/b", "/é", "/a/a", "/a/b", "/a/c", &long, "/a/b/c", "/a/b/d"];
    paths.into_iter().map(|path| Path::parse(path).unwrap()).collect()
}

fn edit() -> impl Strategy<Value = Edit> {
    let number = 0..paths().len();
    prop_oneof![
        4 => (number.clone(), znode(), data()).prop_map(|(n, znode, data)| Edit::Put(n, znode, data)),
        2 => (number.clone(), znode()).prop_map(|(n, znode)| Edit::Keep(n, znode)),
        2 => number.prop_map(Edit::Remove),
    ]
}

type Model = BTreeMap<Path, (Znode, Option<Vec<u8>>)>;

fn put(nodes: &mut Nodes, model: &mut Model, path: &Path, znode: Znode, data: NewData<'_>) {
    let before = model.get(path).cloned();
    let kept = before.as_ref().and_then(|(_, data)| data.clone());
    let after = match data {
        NewData::Keep => kept,
        NewData::Set(data) => data.map(<[u8]>::to_vec),
    };
    let znode = Znode { data_length: after.as_ref().map(|data| data.len() as u32), ..znode };
    let replaced = nodes.put(path, &znode, data);
    assert_eq!(replaced.owner, before.map(|(znode, _)| znode.owner), "{path}");
    model.insert(path.clone(), (znode, after));
}

fn carry_out(nodes: &mut Nodes, model: &mut Model, edit: Edit) {
    let paths = paths();
    let has_parent =
        |model: &Model, path: &Path| path.parent().is_none_or(|p| model.contains_key(&p));
    match edit {
        Edit::Put(number, znode, data) if has_parent(model, &paths[number]) => {
            put(nodes, model, &paths[number], znode, NewData::Set(data.as_deref()));
        }
        Edit::Keep(number, znode) if has_parent(model, &paths[number]) => {
            put(nodes, model, &paths[number], znode, NewData::Keep);
        }
        Edit::Put(..) | Edit::Keep(..) => {}
        Edit::Remove(number) => {
            let path = &paths[number];
            let is_parent = model.keys().any(|other| other.parent().as_ref() == Some(path));
            if !path.is_root() && !is_parent {
                let owner = nodes.remove(path);
                assert_eq!(owner, model.remove(path).map(|(znode, _)| znode.owner), "{path}");
            }
        }
    }
}

fn compare(nodes: &Nodes, model: &Model) {
    for path in paths() {
        let found = nodes.find(path.as_str());
        let Some((znode, data)) = model.get(&path) else {
            assert!(found.is_none(), "{path}");
            continue;
        };
        let found = found.unwrap_or_else(|| panic!("{path} is missing"));
        assert_eq!((&found.znode(), found.stat()), (znode, znode.stat()), "{path}");
        assert_eq!((found.data(), found.path()), (data.as_deref(), path.clone()));
        assert_eq!((found.acl(), found.owner()), (&znode.acl, znode.owner), "{path}");
        let changed = (found.mzxid(), found.mtime_ms(), found.pzxid());
        assert_eq!(changed, (znode.mzxid, znode.mtime_ms, znode.pzxid), "{path}");
        let children = (found.children_created(), found.children_present());
        assert_eq!(children, (znode.children_created, znode.children_present), "{path}");
        let children: BTreeSet<Path> = found.children().map(NodeRef::path).collect();
        let expected = model.keys().filter(|other| other.parent().as_ref() == Some(&path));
        assert!(children.iter().eq(expected), "{path}: {children:?}");
        assert_eq!(found.children().count(), children.len(), "{path}");
    }
    let all: BTreeSet<Path> = nodes.iter().map(NodeRef::path).collect();
    assert!(all.iter().eq(model.keys()), "{all:?}");
    assert_eq!((nodes.iter().count(), nodes.len()), (model.len(), model.len()));
    let bytes = |(path, (_, data)): (&Path, &(Znode, Option<Vec<u8>>))| {
        path.as_str().len() + data.as_ref().map_or(0, Vec::len)
    };
    assert_eq!(nodes.data_bytes(), model.iter().map(bytes).sum::<usize>() as u64);
}

proptest! {
    #![proptest_config(config(400))]

    #[test]
    fn nodes_are_what_was_last_put(edits in vec(edit(), 1..60)) {
        let mut nodes = Nodes::new();
        let mut model = Model::from([(Path::root(), (Znode::default(), None))]);
        let open: Arc<[Acl]> = Arc::from([Acl::anyone(Perms::ALL)]);
        put(&mut nodes, &mut model, &Path::root(), Znode { acl: open, ..Znode::default() }, NewData::Keep);
        for edit in edits {
            carry_out(&mut nodes, &mut model, edit);
            compare(&nodes, &model);
        }
    }
}

#[test]
fn a_name_as_long_as_a_request_is_found_and_removed() {
    let mut nodes = Nodes::new();
    let path = Path::parse(&format!("/{}", "n".repeat(LARGE))).unwrap();
    let data = vec![7; LARGE];
    nodes.put(&path, &Znode::default(), NewData::Set(Some(&data)));
    let found = nodes.find(path.as_str()).unwrap();
    assert_eq!((found.name(), found.data()), (path.name(), Some(&*data)));
    assert!(nodes.find(&path.as_str()[..LARGE]).is_none());

    assert_eq!(nodes.remove(&path), Some(Owner::Persistent));

    assert!(nodes.find(path.as_str()).is_none());
    assert_eq!((nodes.len(), nodes.data_bytes()), (1, 1));
}

#[test]
fn a_parent_that_changes_keeps_its_large_data_where_it_lies() {
    let mut nodes = Nodes::new();
    let path = Path::parse("/p").unwrap();
    let mut znode = Znode { children_created: 1, children_present: 1, ..Znode::default() };
    nodes.put(&path, &znode, NewData::Set(Some(&vec![7; LARGE])));
    let before = nodes.find("/p").and_then(NodeRef::data).map(<[u8]>::as_ptr);
    for count in [2, 300, 70_000, i32::MAX, 1, -1] {
        (znode.children_created, znode.children_present) = (count, 0);
        znode.pzxid = Zxid(i64::from(count.max(0)));
        nodes.put(&path, &znode, NewData::Keep);
        let node = nodes.find("/p").unwrap();
        assert_eq!(node.data().map(<[u8]>::as_ptr), before, "{count}");
        assert_eq!((node.children_created(), node.pzxid()), (count, znode.pzxid));
    }
}

fn slot(hash: u32) -> Slot {
    let cell = Cells::new().insert(1);
    let neighbours = (NIL, NIL, NIL, NIL);
    let (parent, first_child, previous, next) = neighbours;
    Slot { hash, cell, parent, first_child, previous, next }
}

#[test]
fn slots_of_one_hash_are_told_apart_and_taken_out_one_by_one() {
    for removed in 0..5 {
        let (mut slots, mut index) = (Slots::new(), Index::new());
        for _ in 0..5 {
            let number = slots.insert(slot(77));
            index.insert(&slots, number);
        }
        index.remove(&slots, removed);
        slots.remove(removed);
        for number in 0..5 {
            let found = index.find(&slots, 77, |other| other == number);
            assert_eq!(found, (number != removed).then_some(number));
        }
        assert_eq!(index.find(&slots, 78, |_| true), None);
    }
}

#[test]
fn the_index_finds_every_slot_at_every_size_it_grows_through() {
    const SLOTS: u32 = 40_000;
    let hash_of = |number: u32| {
        let mut hasher = DefaultHasher::new();
        number.hash(&mut hasher);
        hasher.finish() as u32
    };
    let (mut slots, mut index) = (Slots::new(), Index::new());
    let is_found = |slots: &Slots, index: &Index, number: u32| {
        index.find(slots, hash_of(number), |other| other == number) == Some(number)
    };
    for number in 0..SLOTS {
        assert_eq!(slots.insert(slot(hash_of(number))), number);
        index.insert(&slots, number);
        assert!((0..=number).rev().step_by(977).all(|other| is_found(&slots, &index, other)));
    }
    assert!((0..SLOTS).all(|number| is_found(&slots, &index, number)));
    for number in (0..SLOTS).step_by(2) {
        index.remove(&slots, number);
        slots.remove(number);
    }
    let odd: Vec<u32> = (0..SLOTS).filter(|&number| is_found(&slots, &index, number)).collect();
    assert!(odd.iter().all(|number| number % 2 == 1) && odd.len() == SLOTS as usize / 2);
    assert!(slots.iter().eq(odd));
    // Slots that were free are used again, the last one freed first.
    assert_eq!(slots.insert(slot(5)), SLOTS - 2);
}
