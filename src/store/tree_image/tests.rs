//! The image against the tree in memory, and images that do not fit together.

pub(super) mod copies;

use jute::{Acl, Id, OpCode, Perms, SessionId, Version, Xid};
use proptest::prelude::*;
use rocksdb::properties::NUM_ENTRIES_ACTIVE_MEM_TABLE;
use tempfile::{TempDir, tempdir};

use super::*;
use crate::store::Store;
use crate::store::keyspace::{DATA, SESSION, ZNODE, node_key, session_key, shown};
use crate::store::tests::open;
use crate::tree::{Admission, Draft, Holder, Origin, Path, Proposal, Submission, Write, apply};

fn load(store: &TreeStore) -> Result<Tree, StoreError> {
    let mut tree = Tree::bare();
    store.load(&mut tree).map(|()| tree)
}

fn refusal(store: &TreeStore) -> String {
    match load(store) {
        Ok(_) => panic!("the tree was loaded"),
        Err(error) => error.to_string(),
    }
}

/// A tree and its image, which get the same changes.
struct Pair {
    directory: TempDir,
    store: Option<Store>,
    tree: Tree,
}

impl Pair {
    fn new() -> Pair {
        let directory = tempdir().unwrap();
        let store = open(&directory);
        let mut tree = load(&store.tree).unwrap();
        assert!(store.tree.is_empty().unwrap());
        let system = Draft::of_system_nodes(&tree);
        store.tree.commit(&system, &[]).unwrap();
        tree.absorb(&system);
        assert!(!store.tree.is_empty().unwrap());
        Pair { directory, store: Some(store), tree }
    }

    fn image(&self) -> &TreeStore {
        &self.store.as_ref().unwrap().tree
    }

    /// Applies writes of a session as one batch.
    fn run(&mut self, session: i64, writes: &[Write]) {
        let mut draft = Draft::over(&self.tree);
        draft.enter_term(1, true);
        for write in writes {
            let holder = Holder { server: 1, boot: 1, connection: session as u64 };
            let origin = Origin { holder, session: SessionId(session), xid: Xid(1), sequence: 0 };
            let admission = Admission::internal();
            let submission = Submission { origin, admission, write: write.clone() };
            apply(&mut draft, &Proposal { time_ms: 1_000, submission: &submission });
        }
        let changes = draft.finish();
        let applied = Bytes::from(changes.progress.zxid.to_string());
        self.image().commit(&changes, &[("applied", applied)]).unwrap();
        self.tree.absorb(&changes);
    }

    /// Closes the image, which flushes it, and opens it again.
    fn reopen(&mut self) {
        self.store = None;
        self.store = Some(open(&self.directory));
        let loaded = load(self.image()).unwrap();
        loaded.check_invariants().unwrap();
        assert_same(&loaded, &self.tree);
        let applied = self.image().state("applied").unwrap().unwrap();
        assert_eq!(applied, loaded.zxid().to_string());
    }

    fn data_keys(&self) -> usize {
        let image = self.image().current();
        let mut scan = image.scan(DATA).unwrap();
        let mut count = 0;
        while scan.current().unwrap().is_some() {
            count += 1;
            scan.iterator.next();
        }
        count
    }
}

fn assert_same(one: &Tree, other: &Tree) {
    let nodes = |tree: &Tree| {
        let node = |path: Path| {
            let node = tree.find(path.as_str()).unwrap();
            (path, node.znode(), node.data().map(<[u8]>::to_vec))
        };
        let mut nodes: Vec<_> = tree.nodes().map(|found| node(found.path())).collect();
        nodes.sort_by(|one, other| one.0.cmp(&other.0));
        nodes
    };
    assert_eq!(nodes(one), nodes(other));
    assert!(one.sessions().eq(other.sessions()));
    assert_eq!(one.progress(), other.progress());
}

fn create(path: &str, data_bytes: Option<usize>, flags: i32) -> Write {
    Write::Create {
        op: OpCode::Create,
        path: path.into(),
        data: data_bytes.map(|length| vec![b'd'; length].into()),
        acl: Some(vec![Acl::anyone(Perms::ALL)]),
        flags,
        ttl_ms: -1,
    }
}

fn set(path: &str, data_bytes: Option<usize>) -> Write {
    let data = data_bytes.map(|length| vec![b's'; length].into());
    Write::SetData { path: path.into(), data, version: Version::ANY }
}

fn delete(path: &str) -> Write {
    Write::Delete { path: path.into(), version: Version::ANY }
}

fn any_path() -> impl Strategy<Value = String> {
    proptest::collection::vec("[abc]", 1..4).prop_map(|names| format!("/{}", names.join("/")))
}

/// Lengths on both sides of what lies in a node's record.
fn any_data_bytes() -> impl Strategy<Value = Option<usize>> {
    prop_oneof![
        Just(None),
        Just(Some(0)),
        Just(Some(512)),
        Just(Some(513)),
        (1..2_000_usize).prop_map(Some)
    ]
}

fn any_write() -> impl Strategy<Value = Write> {
    let acl = Acl { perms: Perms::ALL, id: Id::new("ip", "::1") };
    prop_oneof![
        6 => (any_path(), any_data_bytes(), 0..2).prop_map(|(p, d, flags)| create(&p, d, flags)),
        3 => (any_path(), any_data_bytes()).prop_map(|(path, data)| set(&path, data)),
        3 => any_path().prop_map(|path| delete(&path)),
        1 => any_path().prop_map(move |path| Write::SetAcl {
            path,
            acl: Some(vec![acl.clone(), Acl::anyone(Perms::READ)]),
            version: Version::ANY,
        }),
        1 => Just(Write::OpenSession { timeout_ms: 4_000, password: [7; 16] }),
        1 => Just(Write::CloseSession { expired_holder: None }),
        1 => proptest::collection::vec((any_path(), any_data_bytes()), 1..4).prop_map(|nodes| {
            Write::Multi(nodes.iter().map(|(path, data)| create(path, *data, 0)).collect())
        }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn whatever_is_applied_is_loaded_again(
        batches in proptest::collection::vec(
            (1..4_i64, proptest::collection::vec(any_write(), 1..20)), 1..12)
    ) {
        let mut pair = Pair::new();
        for session in 1..4 {
            pair.run(session, &[Write::OpenSession { timeout_ms: 4_000, password: [7; 16] }]);
        }
        for (number, (session, writes)) in batches.iter().enumerate() {
            pair.run(*session, writes);
            if number % 4 == 3 {
                pair.reopen();
            }
        }
        pair.reopen();
        let is_large = |node: &crate::tree::NodeRef<'_>| node.data().is_some_and(|d| d.len() > 512);
        prop_assert_eq!(pair.data_keys(), pair.tree.nodes().filter(is_large).count());
    }
}

#[test]
fn large_data_goes_with_its_node_or_when_it_shrinks() {
    let mut pair = Pair::new();
    pair.run(0, &[create("/a", Some(513), 0), create("/b", Some(9_000), 0)]);
    assert_eq!(pair.data_keys(), 2);
    pair.reopen();
    pair.run(0, &[set("/a", Some(512))]);
    assert_eq!(pair.data_keys(), 1);
    pair.run(0, &[delete("/b"), create("/b", None, 0)]);
    assert_eq!(pair.data_keys(), 0);
    pair.run(0, &[set("/a", Some(600))]);
    pair.run(0, &[delete("/a")]);
    assert_eq!(pair.data_keys(), 0);
    pair.reopen();
}

#[test]
fn a_new_child_does_not_write_its_parents_large_data_again() {
    let mut pair = Pair::new();
    pair.run(0, &[create("/a", Some(900_000), 0)]);
    pair.image().flush().unwrap();
    for number in 0..20 {
        pair.run(0, &[create(&format!("/a/{number}"), Some(1), 0)]);
    }
    let image = pair.image().current();
    let unflushed = |column| {
        let family = image.column(column).unwrap();
        image.db.property_int_value_cf(family, NUM_ENTRIES_ACTIVE_MEM_TABLE).unwrap()
    };
    assert_eq!((unflushed(DATA), unflushed(ZNODE)), (Some(0), Some(40)));
    drop(image);
    pair.reopen();
}

#[test]
fn what_is_flushed_can_be_told_from_what_is_committed() {
    let mut pair = Pair::new();
    pair.run(0, &[create("/a", Some(1), 0)]);
    let committed = pair.image().state("applied").unwrap();
    assert!(committed.is_some());
    assert_eq!(pair.image().flushed_state("applied").unwrap(), None);
    pair.image().flush().unwrap();
    assert_eq!(pair.image().flushed_state("applied").unwrap(), committed);
    pair.run(0, &[create("/b", Some(1), 0)]);
    assert_eq!(pair.image().flushed_state("applied").unwrap(), committed);
    assert_ne!(pair.image().state("applied").unwrap(), committed);
    assert!(pair.image().disk_bytes() > 0);
}

#[test]
fn a_damaged_or_missing_record_is_named_and_never_skipped() {
    let mut pair = Pair::new();
    pair.run(1, &[Write::OpenSession { timeout_ms: 4_000, password: [7; 16] }]);
    pair.run(1, &[create("/a", Some(900), 0), create("/a/b", Some(1), 0), create("/e", None, 1)]);
    let key = |path: &str| node_key(&Path::parse(path).unwrap());
    let session = session_key(SessionId(1)).to_vec();
    let cases = [
        (ZNODE, key("/a/b"), "/a/b"),
        (ZNODE, key("/a"), "/a/b"),
        (DATA, key("/a"), "/a"),
        (SESSION, session, "/e"),
        (ZNODE, key("/e"), "children together"),
    ];
    let image = pair.image().current();
    for (column, key, missed) in cases {
        let family = image.column(column).unwrap();
        let record = image.get(column, &key, ReadTier::All).unwrap().unwrap();
        for byte in [0, 3, record.len() - 1] {
            let mut damaged = record.clone();
            damaged[byte] ^= 0x40;
            image.db.put_cf(family, &key, damaged).unwrap();
            let refused = refusal(pair.image());
            let is_named = refused.contains(&shown(&key)) && refused.contains("checksum");
            assert!(is_named, "{column}: {refused}");
        }
        image.db.delete_cf(family, &key).unwrap();
        let refused = refusal(pair.image());
        let is_noticed = refused.contains(missed) || refused.contains("children together");
        assert!(is_noticed, "{column} {}: {refused}", shown(&key));
        image.db.put_cf(family, &key, record).unwrap();
    }
    let family = image.column(DATA).unwrap();
    image.db.put_cf(family, key("/e"), "left over").unwrap();
    assert!(refusal(pair.image()).contains("/e"), "data that no node has");
    image.db.delete_cf(family, key("/e")).unwrap();
    assert_same(&load(pair.image()).unwrap(), &pair.tree);
}

#[test]
#[should_panic(expected = "a tree is loaded before it is changed")]
fn nothing_is_committed_to_an_image_that_was_not_loaded() {
    let directory = tempdir().unwrap();
    drop(open(&directory).tree.commit(&Changes::default(), &[]));
}
