//! Random programs of writes, judged by the naive tree of `model`.
//!
//! The seed is fixed, so that a run on any machine runs the same programs.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use jute::{Acl, Encode, ErrorCode, Id, OpCode, Perms, SessionId, Version, Xid};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::RngSeed;

use super::model::{Decided, Model};
use super::*;

/// Programs that a test run tries.
const PROGRAMS: u32 = 300;
/// Steps of the longest program.
const STEPS_MAX: usize = 70;

/// One step of a program, before it is known who holds which session.
#[derive(Clone, Debug)]
enum Step {
    /// Somebody proposes a write.
    Propose(Asker, Admission, Write),
    /// A new leader takes over.
    NewTerm,
}

/// Who proposes.
#[derive(Clone, Copy, Debug)]
struct Asker {
    session: SessionId,
    /// Whether the write comes from another connection than the one that holds the session.
    is_stranger: bool,
}

/// A step, ready to be applied.
#[derive(Clone, Debug)]
enum Entry {
    Proposal { time_ms: i64, submission: Submission },
    NewTerm,
}

fn holder(connection: u64) -> Holder {
    Holder { server: 1, boot: 7, connection }
}

fn path() -> impl Strategy<Value = String> {
    let frequent = proptest::sample::select(vec!["/a", "/b", "/a/a", "/a/b", "/a/b/a"]);
    let ordinary = proptest::sample::select(vec![
        "/a/b/b",
        "/b/a",
        "/a/",
        "/a/b/",
        "/a0000000001",
        "/a/0000000003",
        "/a/b/0000000001",
    ]);
    let of_quotas = proptest::sample::select(vec![
        "/zookeeper/quota/a",
        "/zookeeper/quota/a/zookeeper_limits",
        "/zookeeper/quota/a/zookeeper_stats",
        "/zookeeper/quota/a/b",
        "/zookeeper/quota/a/b/zookeeper_limits",
        "/zookeeper/quota/a/b/zookeeper_stats",
        "/zookeeper/quota/zookeeper_limits",
    ]);
    let odd = proptest::sample::select(vec![
        "",
        "/",
        "a",
        "a/b",
        "//",
        "/a//b",
        "/a/.",
        "/a/..",
        "/no/./x",
        "/a/\0",
        "/\u{fffd}",
        "/zookeeper",
        "/zookeeper/quota",
        "/zookeeper/config",
        "/zookeeper/x",
        "/é",
    ]);
    prop_oneof![20 => frequent, 8 => ordinary, 6 => of_quotas, 3 => odd].prop_map(str::to_owned)
}

fn data() -> impl Strategy<Value = Option<Bytes>> {
    let texts = proptest::sample::select(vec![
        "",
        "x",
        "four",
        "count=3,bytes=40",
        "count=-1,bytes=-1",
        "count=-1,bytes=9=;byteHardLimit=12;countHardLimit=3",
        "count=0,bytes=0=;countHardLimit=2",
        "nonsense",
        "count=-7,bytes=1",
        ",count=1",
    ]);
    prop_oneof![
        1 => Just(None),
        8 => texts.prop_map(|text| Some(Bytes::from_static(text.as_bytes()))),
        1 => (500..600_usize).prop_map(|bytes| Some(Bytes::from(vec![b'z'; bytes]))),
    ]
}

fn entry(perms: i32, scheme: Option<&str>, id: Option<&str>) -> Acl {
    let id = Id { scheme: scheme.map(str::to_owned), id: id.map(str::to_owned) };
    Acl { perms: Perms(perms), id }
}

fn acl() -> impl Strategy<Value = Option<Vec<Acl>>> {
    let one = proptest::sample::select(vec![
        entry(31, Some("world"), Some("anyone")),
        entry(1, Some("world"), Some("anyone")),
        entry(15, Some("world"), Some("anyone")),
        entry(-1, Some("digest"), Some("u:h")),
        entry(22, Some("digest"), Some("v:h")),
        entry(31, Some("auth"), None),
        entry(6, Some("auth"), Some("ignored")),
        entry(31, Some("ip"), Some("127.0.0.0/8")),
        entry(0, Some("ip"), Some("10.0.0.1")),
    ]);
    let bad = proptest::sample::select(vec![
        entry(31, Some("world"), Some("someone")),
        entry(31, Some("world"), None),
        entry(31, Some("digest"), Some("u:")),
        entry(31, Some("ip"), Some("1.2.3")),
        entry(31, Some("unheard-of"), None),
        entry(31, Some("super"), Some("")),
        entry(31, None, Some("x")),
    ]);
    let open = vec![Acl::anyone(Perms::ALL)];
    prop_oneof![
        20 => Just(Some(open)),
        10 => vec(one.clone(), 1..4).prop_map(Some),
        1 => (one, bad).prop_map(|(one, bad)| Some(vec![one, bad])),
        1 => Just(Some(Vec::new())),
        1 => Just(None),
    ]
}

fn admission() -> impl Strategy<Value = Admission> {
    let identities = proptest::sample::select(vec![
        vec![],
        vec![Id::new("ip", "127.0.0.1")],
        vec![Id::new("ip", "10.0.0.1"), Id::new("digest", "u:h")],
        vec![Id::new("digest", "u:h"), Id::new("digest", "v:h")],
        vec![Id::new("super", ""), Id::new("digest", "u:h")],
    ]);
    let mostly = |likely: bool| prop_oneof![7 => Just(likely), 1 => Just(!likely)];
    (identities, mostly(false), any::<bool>(), mostly(true), mostly(true)).prop_map(
        |(identities, skip_acl, enforce_quota, extended_types, digest_enabled)| Admission {
            identities: Arc::from(identities),
            skip_acl,
            enforce_quota,
            extended_types,
            digest_enabled,
        },
    )
}

fn version() -> impl Strategy<Value = Version> {
    prop_oneof![4 => Just(-1), 1 => 0..3_i32].prop_map(Version)
}

fn creation() -> impl Strategy<Value = Write> {
    let mode = prop_oneof![
        6 => (Just(OpCode::Create), 0..4_i32, Just(-1_i64)),
        2 => (Just(OpCode::Create2), 0..4_i32, Just(-1_i64)),
        2 => (Just(OpCode::CreateContainer), 0..5_i32, Just(-1_i64)),
        2 => (Just(OpCode::CreateTtl), 5..7_i32, 1..30_i64),
        1 => (
            proptest::sample::select(vec![OpCode::Create, OpCode::CreateContainer, OpCode::CreateTtl]),
            -1..8_i32,
            proptest::sample::select(vec![-1, 0, 5, TTL_MS_MAX, TTL_MS_MAX + 1]),
        ),
    ];
    (mode, path(), data(), acl()).prop_map(|((op, flags, ttl_ms), path, data, acl)| Write::Create {
        op,
        path,
        data,
        acl,
        flags,
        ttl_ms,
    })
}

/// A write that may be part of a multi.
fn part() -> impl Strategy<Value = Write> {
    prop_oneof![
        8 => creation(),
        3 => (path(), version()).prop_map(|(path, version)| Write::Delete { path, version }),
        4 => (path(), data(), version())
            .prop_map(|(path, data, version)| Write::SetData { path, data, version }),
        1 => (path(), version()).prop_map(|(path, version)| Write::Check { path, version }),
    ]
}

fn write() -> impl Strategy<Value = Write> {
    let reapable = proptest::sample::select(vec!["/a", "/b", "/a/b", "/a/a", "/", "/zookeeper"]);
    let codes =
        [ErrorCode::MarshallingError, ErrorCode::ReconfigDisabled, ErrorCode::Unimplemented];
    let expiry = prop_oneof![2 => Just(None), 1 => Just(Some(holder(1)))];
    prop_oneof![
        60 => part(),
        12 => (path(), acl(), version())
            .prop_map(|(path, acl, version)| Write::SetAcl { path, acl, version }),
        12 => vec(part(), 0..5).prop_map(Write::Multi),
        10 => (reapable, 0..2_i64)
            .prop_map(|(path, never)| Write::Reap { path: path.into(), never_used_ms_max: never * 9 }),
        3 => (1..9_i32, any::<[u8; 16]>())
            .prop_map(|(timeout_ms, password)| Write::OpenSession { timeout_ms, password }),
        4 => (1..9_i32).prop_map(|timeout_ms| Write::AttachSession { timeout_ms }),
        3 => expiry.prop_map(|expired_holder| Write::CloseSession { expired_holder }),
        1 => proptest::sample::select(codes.to_vec()).prop_map(Write::Refused),
    ]
}

/// A write of a program about little else than what ends by itself: few paths, few refusals.
fn passing_write() -> impl Strategy<Value = Write> {
    let path = || proptest::sample::select(vec!["/a", "/b", "/b/a"]).prop_map(str::to_owned);
    let mode = proptest::sample::select(vec![
        (OpCode::Create, 0),
        (OpCode::Create, 1),
        (OpCode::Create, 1),
        (OpCode::CreateContainer, 4),
        (OpCode::CreateTtl, 5),
    ]);
    prop_oneof![
        6 => (mode, path()).prop_map(|((op, flags), path)| {
            let acl = Some(vec![Acl::anyone(Perms::ALL)]);
            let ttl_ms = if op == OpCode::CreateTtl { 9 } else { -1 };
            Write::Create { op, path, data: None, acl, flags, ttl_ms }
        }),
        4 => path().prop_map(|path| Write::Delete { path, version: Version::ANY }),
        2 => path().prop_map(|path| Write::Reap { path, never_used_ms_max: 9 }),
        2 => Just(Write::CloseSession { expired_holder: None }),
    ]
}

/// Steps of two or three sessions, each with the time that passed before it.
fn program_of(
    admission: impl Strategy<Value = Admission>,
    write: impl Strategy<Value = Write>,
) -> impl Strategy<Value = Vec<(i64, Step)>> {
    let session = proptest::sample::select(vec![11, 11, 12, 12, 13]).prop_map(SessionId);
    let stranger = prop_oneof![15 => Just(false), 1 => Just(true)];
    let asker =
        (session, stranger).prop_map(|(session, is_stranger)| Asker { session, is_stranger });
    let step = prop_oneof![
        40 => (asker, admission, write)
            .prop_map(|(asker, admission, write)| Step::Propose(asker, admission, write)),
        1 => Just(Step::NewTerm),
    ];
    vec((0..6_i64, step), 1..STEPS_MAX)
}

fn program() -> impl Strategy<Value = Vec<(i64, Step)>> {
    program_of(admission(), write())
}

fn passing_program() -> impl Strategy<Value = Vec<(i64, Step)>> {
    program_of(Just(Admission::internal()), passing_write())
}

/// Finds out who holds what, and what must come of each step: the steps ready to be applied, and
/// after each of them the model's word and the model.
fn judge(program: Vec<(i64, Step)>) -> Vec<(Entry, Option<Decided>, Model)> {
    let mut model = Model::new();
    let mut time_ms = 1_000;
    let mut judged = Vec::new();
    for (passed_ms, step) in furniture().into_iter().chain(program) {
        time_ms += passed_ms;
        let Step::Propose(asker, admission, write) = step else {
            model.enter_term();
            judged.push((Entry::NewTerm, None, model.clone()));
            continue;
        };
        let position = judged.len();
        // Mostly, a client whose session has ended opens it again before it goes on.
        if !model.sessions.contains_key(&asker.session) && position % 4 != 0 {
            let write = Write::OpenSession { timeout_ms: 5, password: [9; 16] };
            let submission = submission(&model, position, asker, Admission::internal(), write);
            let decided = model.decide(time_ms, &submission);
            judged.push((Entry::Proposal { time_ms, submission }, Some(decided), model.clone()));
        }
        let submission = submission(&model, position, asker, admission, write);
        let decided = model.decide(time_ms, &submission);
        judged.push((Entry::Proposal { time_ms, submission }, Some(decided), model.clone()));
    }
    judged
}

/// Steps with which every program begins, so that there is something to work on.
fn furniture() -> Vec<(i64, Step)> {
    let nodes = [
        ("/a", ""),
        ("/b", ""),
        ("/a/b", ""),
        ("/zookeeper/quota/a", ""),
        ("/zookeeper/quota/a/b", ""),
        ("/zookeeper/quota/a/zookeeper_stats", ""),
        (
            "/zookeeper/quota/a/zookeeper_limits",
            "count=9,bytes=9=;byteHardLimit=40;countHardLimit=5",
        ),
    ];
    let create = |(path, data): (&str, &'static str)| {
        let asker = Asker { session: SessionId(11), is_stranger: false };
        let (op, acl) = (OpCode::Create2, Some(vec![Acl::anyone(Perms::ALL)]));
        let (path, data) = (path.to_owned(), Some(Bytes::from_static(data.as_bytes())));
        let write = Write::Create { op, path, data, acl, flags: 0, ttl_ms: -1 };
        (1, Step::Propose(asker, Admission::internal(), write))
    };
    nodes.map(create).to_vec()
}

/// What the asker hands in, now that it is known who holds the session.
fn submission(
    model: &Model,
    position: usize,
    asker: Asker,
    admission: Admission,
    mut write: Write,
) -> Submission {
    let stranger = holder(position as u64 + 100);
    let held = model.sessions.get(&asker.session).map(|session| session.holder);
    let mut holder = held.filter(|_| !asker.is_stranger).unwrap_or(stranger);
    let mut session = asker.session;
    match &mut write {
        Write::Reap { .. } => session = SessionId::NONE,
        Write::AttachSession { .. } => holder = stranger,
        // The leader's wish counts if it names the holder.
        Write::CloseSession { expired_holder: Some(expired) } => *expired = holder,
        Write::CloseSession { expired_holder: None }
        | Write::OpenSession { .. }
        | Write::Create { .. }
        | Write::Delete { .. }
        | Write::SetData { .. }
        | Write::SetAcl { .. }
        | Write::Check { .. }
        | Write::Multi(_)
        | Write::Refused(_) => {}
    }
    Submission {
        origin: Origin { holder, session, xid: Xid(position as i32), sequence: 0 },
        admission,
        write,
    }
}

/// What came of a proposal, as the model would put it.
fn told(applied: Applied) -> Decided {
    Decided {
        zxid: applied.zxid,
        outcome: applied.outcome.map_err(|refusal| refusal.code()),
        events: applied.events,
        session: applied.session,
    }
}

/// Asserts that the tree holds what the model holds, and nothing else.
fn compare(tree: &Tree, model: &Model, now_ms: i64) {
    tree.check_invariants().unwrap();
    assert_eq!(tree.zxid(), model.zxid);
    assert_eq!(tree.node_count(), model.nodes.len());
    for (path, node) in &model.nodes {
        let found = tree.find(path).unwrap_or_else(|| panic!("{path} is missing"));
        assert_eq!(found.stat(), model.stat(path), "{path}");
        assert_eq!(found.data(), node.data.as_deref(), "{path}");
        assert_eq!((found.acl(), found.owner()), (&node.acl, node.owner), "{path}");
        let mut children: Vec<String> =
            found.children().map(|child| child.path().to_string()).collect();
        children.sort();
        assert_eq!(children, model.children_of(path), "{path}");
    }
    let sessions = model.sessions.iter().map(|(id, session)| (*id, session));
    assert!(tree.sessions().eq(sessions), "{:?}", model.sessions);
    for session in model.sessions.keys() {
        let ephemerals = model.ephemerals_of(*session);
        assert!(tree.ephemerals_of(*session).map(Path::as_str).eq(&ephemerals), "{ephemerals:?}");
    }
    let due = model
        .nodes
        .keys()
        .filter(|path| model.children_of(path).is_empty() && model.is_due(path, now_ms, 9));
    let found = tree.reapable_at(now_ms, 9);
    assert!(found.iter().map(Path::as_str).eq(due), "{found:?}");
}

/// Applies a judged program, absorbing after every step for which `is_cut` says so.
fn run(judged: &[(Entry, Option<Decided>, Model)], is_cut: impl Fn(usize) -> bool) -> Tree {
    let mut tree = Tree::new();
    let mut steps = judged.iter().enumerate().peekable();
    while steps.peek().is_some() {
        let mut draft = Draft::over(&tree);
        let mut now_ms = 0;
        let mut model = None;
        for (position, (entry, decided, after)) in steps.by_ref() {
            match entry {
                Entry::NewTerm => {
                    let term = draft.progress().term + 1;
                    draft.enter_term(term, true);
                }
                Entry::Proposal { time_ms, submission } => {
                    now_ms = *time_ms;
                    let applied = apply(&mut draft, &Proposal { time_ms: now_ms, submission });
                    assert_eq!(Some(&told(applied)), decided.as_ref(), "{position}: {entry:?}");
                }
            }
            model = Some(after);
            if is_cut(position) {
                break;
            }
        }
        let changes = draft.finish();
        tree.absorb(&changes);
        compare(&tree, model.expect("a batch has a step"), now_ms);
    }
    tree
}

/// Every record of a tree, for comparing two.
fn dump(tree: &Tree) -> Vec<(Path, Znode, Option<Vec<u8>>)> {
    let record = |node: NodeRef<'_>| (node.path(), node.znode(), node.data().map(<[u8]>::to_vec));
    let mut nodes: Vec<_> = tree.nodes().map(record).collect();
    nodes.sort_by(|one, other| one.0.cmp(&other.0));
    nodes
}

fn config() -> ProptestConfig {
    ProptestConfig {
        cases: PROGRAMS,
        rng_seed: RngSeed::Fixed(0x7265_656b),
        failure_persistence: None,
        max_shrink_iters: 4_096,
        ..ProptestConfig::default()
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn any_program_does_what_the_naive_tree_does_however_the_log_is_cut(
        program in prop_oneof![2 => program().boxed(), 1 => passing_program().boxed()],
        cuts in vec(any::<bool>(), 2 * STEPS_MAX + 10),
    ) {
        let judged = judge(program);

        let one_by_one = run(&judged, |_| true);
        let at_random = run(&judged, |position| cuts[position]);
        let at_once = run(&judged, |_| false);

        let records = dump(&one_by_one);
        prop_assert_eq!(&records, &dump(&at_random));
        prop_assert_eq!(&records, &dump(&at_once));
    }

    #[test]
    fn a_tree_restored_from_its_records_is_the_same(program in program()) {
        let judged = judge(program);
        let tree = run(&judged, |_| false);

        let mut restored = Tree::bare();
        for (path, znode, data) in dump(&tree) {
            restored.restore_node(&path, &znode, data.as_deref());
        }
        for (id, session) in tree.sessions() {
            restored.restore_session(id, session.clone());
        }
        restored.restore_progress(tree.progress());

        let (_, _, model) = judged.last().expect("a program has a step");
        compare(&restored, model, 0);
        prop_assert_eq!(dump(&restored), dump(&tree));
    }

    #[test]
    fn every_batch_is_read_back_as_it_was_written(program in program(), time_ms: i64) {
        let submissions = judge(program).into_iter().filter_map(|(entry, _, _)| match entry {
            Entry::Proposal { submission, .. } => Some(submission),
            Entry::NewTerm => None,
        });
        let batch = Batch { time_ms, submissions: submissions.collect() };
        let mut out = BytesMut::new();
        batch.encode(&mut out);
        let bytes = out.freeze();
        prop_assert_eq!(Batch::from_bytes(&bytes).unwrap(), batch);
        for cut in (0..bytes.len()).step_by(97) {
            prop_assert!(Batch::from_bytes(&bytes.slice(..cut)).is_err(), "cut at {}", cut);
        }
    }
}

#[test]
fn programs_reach_every_outcome_that_writes_can_have() {
    use proptest::strategy::ValueTree;
    let mut runner = proptest::test_runner::TestRunner::new(config());
    let mut seen = std::collections::BTreeMap::new();
    for _ in 0..PROGRAMS / 4 {
        let program = program().new_tree(&mut runner).unwrap().current();
        for (_, decided, _) in judge(program) {
            let code = decided.map(|decided| decided.outcome.err());
            *seen.entry(code).or_insert(0) += 1;
        }
    }
    let expected = [
        ErrorCode::MarshallingError,
        ErrorCode::Unimplemented,
        ErrorCode::BadArguments,
        ErrorCode::NoNode,
        ErrorCode::NoAuth,
        ErrorCode::BadVersion,
        ErrorCode::NoChildrenForEphemerals,
        ErrorCode::NodeExists,
        ErrorCode::NotEmpty,
        ErrorCode::SessionExpired,
        ErrorCode::InvalidAcl,
        ErrorCode::SessionMoved,
        ErrorCode::ReconfigDisabled,
        ErrorCode::QuotaExceeded,
    ];
    for code in expected {
        assert!(seen.contains_key(&Some(Some(code))), "{code:?} is not among {seen:?}");
    }
    let successes = seen[&Some(None)];
    let all: u32 = seen.values().sum();
    assert!(successes * 3 > all, "{successes} of {all} succeed: {seen:?}");
}
