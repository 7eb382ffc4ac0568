//! The rules of writes, each shown on a small tree.

use std::sync::Arc;

use bytes::Bytes;
use jute::reply::{EventType, MultiResult};
use jute::{Acl, ErrorCode, OpCode, Perms, SessionId, Version};

use super::*;
use crate::tree::{Changes, Holder, NodeChange, Origin, Owner, Submission, Tree};

const S1: SessionId = SessionId(0x1_0000_0001);

fn holder(connection: u64) -> Holder {
    Holder { server: 1, boot: 1, connection }
}

fn submission(session: SessionId, write: Write) -> Submission {
    let origin =
        Origin { holder: holder(session.0 as u64), session, xid: jute::Xid(1), sequence: 0 };
    Submission { origin, admission: Admission { skip_acl: false, ..Admission::internal() }, write }
}

fn create(path: &str, flags: i32) -> Write {
    Write::Create {
        op: OpCode::Create,
        path: path.into(),
        data: Some(Bytes::from_static(b"x")),
        acl: Some(vec![Acl::anyone(Perms::ALL)]),
        flags,
        ttl_ms: -1,
    }
}

fn delete(path: &str) -> Write {
    Write::Delete { path: path.into(), version: Version::ANY }
}

/// Applies a write for session 1 and takes its changes in.
fn run(tree: &mut Tree, write: Write) -> Applied {
    let (applied, changes) = attempt(tree, write);
    tree.absorb(&changes);
    tree.check_invariants().unwrap();
    applied
}

fn attempt(tree: &Tree, write: Write) -> (Applied, Changes) {
    let mut draft = Draft::over(tree);
    let submission = submission(S1, write);
    let applied = apply(&mut draft, &Proposal { time_ms: 1_000, submission: &submission });
    (applied, draft.finish())
}

fn tree_with(paths: &[&str]) -> Tree {
    let mut tree = Tree::new();
    run(&mut tree, Write::OpenSession { timeout_ms: 4_000, password: [7; 16] });
    for path in paths {
        run(&mut tree, create(path, 0)).outcome.unwrap();
    }
    tree
}

#[test]
fn a_new_tree_shows_upstreams_odd_counts() {
    let tree = Tree::new();
    tree.check_invariants().unwrap();
    let cversion = |path: &str| tree.find(path).unwrap().stat().cversion;
    assert_eq!((cversion("/"), cversion("/zookeeper"), cversion("/zookeeper/quota")), (-1, -2, 0));
    assert_eq!(tree.find("/zookeeper/config").unwrap().stat().aversion, Version(-1));
    assert_eq!(tree.node_count(), 4);
}

#[test]
fn every_write_consumes_a_zxid_whatever_comes_of_it() {
    let mut tree = tree_with(&["/a"]);
    let before = tree.zxid();
    assert!(run(&mut tree, create("/a", 0)).outcome.is_err());
    assert_eq!(tree.zxid().0, before.0 + 1);
}

#[test]
fn a_sequence_number_counts_all_children_ever_created_and_no_failures() {
    let mut tree = tree_with(&["/a", "/a/x"]);
    run(&mut tree, delete("/a/x")).outcome.unwrap();
    assert!(run(&mut tree, create("/a/b/c", 2)).outcome.is_err());
    let applied = run(&mut tree, create("/a/", 2));
    assert_eq!(applied.outcome, Ok(Body::Path(Some("/a/0000000001".into()))));
    assert_eq!(tree.find("/a").unwrap().stat().cversion, 3);
}

#[test]
fn after_the_last_sequence_number_the_same_one_is_tried_again() {
    let mut tree = tree_with(&["/a"]);
    let path = crate::tree::Path::parse("/a").unwrap();
    let node = tree.find("/a").unwrap();
    let (znode, data) = (node.znode(), node.data().map(<[u8]>::to_vec));
    let worn = crate::tree::Znode { children_created: i32::MAX, ..znode };
    tree.restore_node(&path, &worn, data.as_deref());

    let last = run(&mut tree, create("/a/n", 2));
    let refused = run(&mut tree, create("/a/n", 2));

    assert_eq!(last.outcome, Ok(Body::Path(Some("/a/n2147483647".into()))));
    assert_eq!(refused.outcome, Err(Refusal::NodeExists { path: "/a/n2147483647".into() }));
    assert_eq!(tree.find("/a").unwrap().pzxid(), last.zxid, "it moves on, unlike upstream's");
}

#[test]
fn a_refused_multi_leaves_no_trace_but_its_zxid() {
    let tree = tree_with(&["/a", "/a/b"]);
    let writes = vec![create("/a/c", 0), delete("/a/b"), delete("/a"), create("/z", 0)];

    let (applied, changes) = attempt(&tree, Write::Multi(writes));

    let failed =
        [ErrorCode::Ok, ErrorCode::Ok, ErrorCode::NotEmpty, ErrorCode::RuntimeInconsistency];
    let results = failed.map(MultiResult::Failed).to_vec();
    assert_eq!(applied.outcome, Ok(Body::Multi(results)));
    assert!(applied.events.is_empty() && changes.nodes.is_empty());
    assert_eq!(changes.progress.zxid.0, tree.zxid().0 + 1);
}

/// A creation of `/m` by this operation, with these flags.
fn creation(op: OpCode, flags: i32) -> Write {
    let (path, acl) = ("/m".to_owned(), Some(vec![Acl::anyone(Perms::ALL)]));
    Write::Create { op, path, data: None, acl, flags, ttl_ms: 5 }
}

#[test]
fn inside_a_multi_the_flags_of_a_creation_decide_what_it_is() {
    let tree = tree_with(&[]);
    let owner = |op, flags| {
        let (applied, changes) = attempt(&tree, Write::Multi(vec![creation(op, flags)]));
        let Ok(Body::Multi(results)) = applied.outcome else { panic!("{:?}", applied.outcome) };
        let MultiResult::Done(op, _) = &results[0] else { panic!("{results:?}") };
        let created = changes.nodes.iter().find(|(path, _)| path.as_str() == "/m");
        let Some((_, NodeChange::Put { znode, .. })) = created else { panic!("{changes:?}") };
        (*op, znode.owner)
    };
    assert_eq!(owner(OpCode::Create, 4), (OpCode::Create2, Owner::Container));
    assert_eq!(owner(OpCode::Create2, 0), (OpCode::Create2, Owner::Persistent));
    assert_eq!(owner(OpCode::CreateContainer, 1), (OpCode::Create2, Owner::Container));
    assert_eq!(owner(OpCode::CreateTtl, 0), (OpCode::Create, Owner::Persistent));
    assert_eq!(owner(OpCode::CreateTtl, 1), (OpCode::Create, Owner::Ephemeral(S1)));
    assert_eq!(owner(OpCode::CreateTtl, 4), (OpCode::Create2, Owner::Container));
    assert_eq!(owner(OpCode::CreateTtl, 5), (OpCode::Create2, Owner::Ttl(5)));
}

#[test]
fn a_creation_with_unreadable_flags_makes_the_whole_multi_unreadable() {
    let tree = tree_with(&[]);
    for (op, flags) in [
        (OpCode::Create, 5),
        (OpCode::Create2, 6),
        (OpCode::CreateContainer, 5),
        (OpCode::Create, 7),
        (OpCode::Create, -1),
    ] {
        let writes = vec![create("/first", 0), creation(op, flags)];
        let (applied, changes) = attempt(&tree, Write::Multi(writes));
        assert_eq!(applied.outcome, Err(Refusal::Malformed), "{op:?} {flags}");
        assert!(changes.nodes.is_empty());
    }
    let (applied, _) = attempt(&tree, Write::Multi(vec![creation(OpCode::CreateTtl, 7)]));
    let failed = vec![MultiResult::Failed(ErrorCode::BadArguments)];
    assert_eq!(applied.outcome, Ok(Body::Multi(failed)));
}

#[test]
fn a_multi_sees_its_own_edits() {
    let mut tree = tree_with(&[]);
    let set = Write::SetData { path: "/m".into(), data: None, version: Version(0) };
    let applied = run(&mut tree, Write::Multi(vec![create("/m", 0), set, delete("/m")]));
    let kinds: Vec<_> = applied.events.iter().map(|event| event.kind).collect();
    assert_eq!(
        kinds,
        [
            EventType::NodeCreated,
            EventType::NodeChildrenChanged,
            EventType::NodeDataChanged,
            EventType::NodeDeleted,
            EventType::NodeChildrenChanged
        ]
    );
    assert!(tree.find("/m").is_none());
}

#[test]
fn a_closed_session_takes_its_ephemerals_along_under_one_zxid() {
    let mut tree = tree_with(&["/a"]);
    run(&mut tree, create("/a/e1", 1)).outcome.unwrap();
    run(&mut tree, create("/a/e2", 1)).outcome.unwrap();
    let applied = run(&mut tree, Write::CloseSession { expired_holder: None });
    assert!(applied.events.iter().all(|event| event.zxid == applied.zxid));
    assert_eq!(tree.find("/a").unwrap().children_present(), 0);
    let refused = run(&mut tree, create("/b", 0));
    assert_eq!(refused.outcome, Err(Refusal::SessionExpired { session: S1 }));
}

#[test]
fn a_moved_session_writes_only_from_its_new_connection() {
    let mut tree = tree_with(&[]);
    let mut moved = submission(S1, Write::AttachSession { timeout_ms: 8_000 });
    moved.origin.holder = holder(99);
    let mut draft = Draft::over(&tree);
    let applied = apply(&mut draft, &Proposal { time_ms: 0, submission: &moved });
    let changes = draft.finish();
    assert_eq!(applied.zxid, tree.zxid(), "an attach is no transaction");
    tree.absorb(&changes);

    let refused = run(&mut tree, create("/late", 0));
    assert_eq!(refused.outcome, Err(Refusal::SessionMoved { session: S1 }));
    let expiry = Write::CloseSession { expired_holder: Some(holder(S1.0 as u64)) };
    assert!(run(&mut tree, expiry).outcome.is_err(), "the expiry of the old holder comes too late");
}

#[test]
fn a_child_of_an_ephemeral_is_refused_after_path_and_existence() {
    let mut tree = tree_with(&[]);
    run(&mut tree, create("/e", 1)).outcome.unwrap();
    assert_eq!(
        run(&mut tree, create("/e/x", 0)).outcome,
        Err(Refusal::NoChildrenForEphemerals { path: "/e".into() })
    );
    assert!(matches!(run(&mut tree, create("/e/.", 0)).outcome, Err(Refusal::BadPath { .. })));
    assert!(matches!(run(&mut tree, create("/no/./x", 0)).outcome, Err(Refusal::NoNode { .. })));
    assert!(matches!(run(&mut tree, create("/", 0)).outcome, Err(Refusal::NodeExists { .. })));
    assert!(matches!(run(&mut tree, delete("/")).outcome, Err(Refusal::SystemNode { .. })));
}

#[test]
fn the_end_of_a_counter_begins_an_epoch() {
    let mut tree = tree_with(&[]);
    tree.restore_progress(Progress { zxid: Zxid::new(3, u32::MAX), term: 1 });
    assert_eq!(run(&mut tree, create("/a", 0)).zxid, Zxid::new(4, 1));
}

#[test]
fn quota_statistics_count_the_root_of_the_quota_and_follow_every_change() {
    let mut tree = tree_with(&["/q", "/q/a", "/zookeeper/quota/q"]);
    run(&mut tree, create("/zookeeper/quota/q/zookeeper_limits", 0)).outcome.unwrap();
    run(&mut tree, create("/zookeeper/quota/q/zookeeper_stats", 0)).outcome.unwrap();
    let stats = |tree: &Tree| {
        let node = tree.find("/zookeeper/quota/q/zookeeper_stats").unwrap();
        assert_eq!(node.stat().version, Version(0));
        String::from_utf8(node.data().unwrap().to_vec()).unwrap()
    };
    assert_eq!(stats(&tree), "count=2,bytes=2");
    run(&mut tree, create("/q/b", 0)).outcome.unwrap();
    let data = Some(Bytes::from_static(b"four"));
    run(&mut tree, Write::SetData { path: "/q/a".into(), data, version: Version::ANY });
    run(&mut tree, delete("/q/b")).outcome.unwrap();
    assert_eq!(stats(&tree), "count=2,bytes=5");
}

#[test]
fn quota_statistics_that_started_too_low_count_on_below_zero() {
    let mut tree = tree_with(&["/q", "/zookeeper/quota/q"]);
    run(&mut tree, create("/zookeeper/quota/q/zookeeper_stats", 0)).outcome.unwrap();
    for path in ["/q/a", "/q/b", "/q/c", "/q/d", "/zookeeper/quota/q/zookeeper_limits"] {
        run(&mut tree, create(path, 0)).outcome.unwrap();
    }
    let set = |text: &'static str| Write::SetData {
        path: "/zookeeper/quota/q/zookeeper_limits".into(),
        data: Some(Bytes::from_static(text.as_bytes())),
        version: Version::ANY,
    };
    run(&mut tree, set("count=-1,bytes=-1")).outcome.unwrap();
    for path in ["/q/a", "/q/b", "/q/c", "/q/d"] {
        run(&mut tree, delete(path)).outcome.unwrap();
    }
    let stats = tree.find("/zookeeper/quota/q/zookeeper_stats").unwrap();
    assert_eq!(stats.data(), Some(&b"count=-3,bytes=-3"[..]));
}

#[test]
fn quota_statistics_written_by_a_client_wrap_as_upstreams_do() {
    let mut tree = tree_with(&["/q", "/zookeeper/quota/q"]);
    let stats = "/zookeeper/quota/q/zookeeper_stats";
    run(&mut tree, create(stats, 0)).outcome.unwrap();
    run(&mut tree, create("/zookeeper/quota/q/zookeeper_limits", 0)).outcome.unwrap();
    let data = Some(Bytes::from_static(b"count=9223372036854775807,bytes=0"));
    run(&mut tree, Write::SetData { path: stats.into(), data, version: Version::ANY });
    run(&mut tree, create("/q/a", 0)).outcome.unwrap();
    let text = tree.find(stats).unwrap().data().unwrap();
    assert_eq!(text, b"count=-9223372036854775808,bytes=1");
}

#[test]
fn quotas_are_judged_by_what_was_there_before_the_transaction() {
    let limits = "/zookeeper/quota/q/zookeeper_limits";
    let hard = |text: &'static str| Some(Bytes::from_static(text.as_bytes()));
    let limit = |text| {
        let mut write = create(limits, 0);
        if let Write::Create { data, .. } = &mut write {
            *data = hard(text);
        }
        write
    };
    let set = |path: &str, text| {
        let (path, data) = (path.to_owned(), hard(text));
        Write::SetData { path, data, version: Version::ANY }
    };
    let mut tree = tree_with(&["/q", "/zookeeper/quota/q"]);
    let mut multi = |writes: Vec<Write>| {
        let mut submission = submission(S1, Write::Multi(writes));
        submission.admission.enforce_quota = true;
        let mut draft = Draft::over(&tree);
        let applied = apply(&mut draft, &Proposal { time_ms: 1_000, submission: &submission });
        let changes = draft.finish();
        tree.absorb(&changes);
        let Ok(Body::Multi(results)) = applied.outcome else { panic!("{:?}", applied.outcome) };
        results.last().cloned().unwrap()
    };
    let stats = "/zookeeper/quota/q/zookeeper_stats";
    let refused = MultiResult::Failed(ErrorCode::QuotaExceeded);

    multi(vec![create(stats, 0)]);
    let new_limit = limit("count=-1,bytes=-1=;countHardLimit=1");
    let under_new_limit = multi(vec![new_limit, create("/q/x", 0)]);
    assert!(matches!(under_new_limit, MultiResult::Done(..)), "{under_new_limit:?}");
    assert_eq!(multi(vec![create("/q/y", 0)]), refused);
    assert_eq!(multi(vec![delete(limits), create("/q/z", 0)]), refused);
    assert_eq!(multi(vec![set(limits, "count=9,bytes=9"), create("/q/z", 0)]), refused);
    assert_eq!(multi(vec![set(stats, "count=0,bytes=0"), create("/q/z", 0)]), refused);
}

#[test]
fn a_batch_is_read_back_as_it_was_written() {
    let writes = vec![
        create("/a", 3),
        delete("/b"),
        Write::Multi(vec![create("/c", 0), Write::Check { path: "/".into(), version: Version(3) }]),
        Write::SetAcl { path: "/a".into(), acl: None, version: Version(1) },
        Write::OpenSession { timeout_ms: 5, password: [3; 16] },
        Write::AttachSession { timeout_ms: 6 },
        Write::CloseSession { expired_holder: None },
        Write::CloseSession { expired_holder: Some(holder(4)) },
        Write::Reap { path: "/c".into(), never_used_ms_max: 9 },
        Write::Refused(ErrorCode::MarshallingError),
    ];
    let submissions = writes.into_iter().map(|write| submission(S1, write)).collect();
    let batch = crate::tree::Batch { time_ms: 77, submissions };
    let mut out = bytes::BytesMut::new();
    jute::Encode::encode(&batch, &mut out);
    let bytes = out.freeze();
    assert_eq!(crate::tree::Batch::from_bytes(&bytes).unwrap(), batch);
    for cut in 0..bytes.len() {
        assert!(crate::tree::Batch::from_bytes(&bytes.slice(..cut)).is_err(), "cut at {cut}");
    }
}

/// One batch with one submission, as it was first written (without a number) and as it is now.
const FROZEN: [&str; 2] = [
    "01 000000000000004d 00000001 0000000000000001 0000000000000002 0000000000000003 \
     0000000000000007 00000009 05 00000001 00000002 6970 00000007 312e322e332e34 02 00000002 2f61 \
     00000005",
    "02 000000000000004d 00000001 0000000000000001 0000000000000002 0000000000000003 \
     0000000000000007 00000009 000000000000002a 05 00000001 00000002 6970 00000007 312e322e332e34 02 \
     00000002 2f61 00000005",
];

#[test]
fn every_format_of_a_batch_stays_readable() {
    let holder = Holder { server: 1, boot: 2, connection: 3 };
    for (text, sequence) in FROZEN.iter().zip([0, 42]) {
        let origin = Origin { holder, session: SessionId(7), xid: jute::Xid(9), sequence };
        let admission = Admission {
            identities: Arc::from([jute::Id::new("ip", "1.2.3.4")]),
            skip_acl: true,
            enforce_quota: false,
            extended_types: true,
            digest_enabled: false,
        };
        let write = Write::Delete { path: "/a".into(), version: Version(5) };
        let submissions = vec![Submission { origin, admission, write }];
        let batch = crate::tree::Batch { time_ms: 77, submissions };
        let digits: String = text.split_whitespace().collect();
        let byte = |at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap();
        let bytes: bytes::Bytes = (0..digits.len()).step_by(2).map(byte).collect();
        assert_eq!(crate::tree::Batch::from_bytes(&bytes).unwrap(), batch);
        if sequence > 0 {
            let mut out = bytes::BytesMut::new();
            jute::Encode::encode(&batch, &mut out);
            assert_eq!(out, bytes);
        }
    }
}

#[test]
fn a_multi_inside_a_multi_cannot_be_read_however_deep() {
    let mut write = Write::Check { path: "/".into(), version: Version::ANY };
    for _ in 0..2 {
        write = Write::Multi(vec![write]);
    }
    let batch = crate::tree::Batch { time_ms: 77, submissions: vec![submission(S1, write)] };
    let mut out = bytes::BytesMut::new();
    jute::Encode::encode(&batch, &mut out);
    assert!(crate::tree::Batch::from_bytes(&out.freeze()).is_err());
}
