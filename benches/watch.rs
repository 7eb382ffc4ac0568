//! How long a change stalls everybody while it is told to those who watch: the tree is locked until
//! the last of them has the notification in its outbox.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use jute::request::{AddWatch, PathWatch, Request};
use jute::{Id, OpCode, SessionId, Xid};
use rookeeper::clock::Clock;
use rookeeper::replica::{Asker, Decided, Outbox, Pending, Replica};
use rookeeper::tree::{Changes, Draft, Holder, Origin, Proposal, Tree, apply};
use rookeeper::watch::ConnectionId;

#[path = "support/mod.rs"]
mod support;
#[path = "support/writes.rs"]
mod writes;

/// The node that is watched, and how deep it lies below the recursive watches.
const PATH: &str = "/services/orders";
const ROOT: &str = "/services";
/// Room for notifications nobody takes during a run.
const OUTBOX_BYTES: usize = 16 << 20;
/// Changes that are timed one by one.
const RUNS: usize = 200;

/// A server's copy with connections that watch one node.
struct Watched {
    replica: Replica,
    outboxes: Vec<Arc<Outbox>>,
    changes: Changes,
}

impl Watched {
    fn new(watchers: usize) -> Watched {
        let mut tree = Tree::new();
        for path in [ROOT, PATH] {
            let changes = writes::changes_of(&tree, &[writes::create(path.to_owned())]);
            tree.absorb(&changes);
        }
        let changes = writes::changes_of(&tree, &[writes::set(PATH.to_owned())]);
        let replica = Replica::new(tree, Holder::default(), false, Clock::system());
        let peer = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
        let outbox = |number: usize| {
            let nobody: Arc<[Id]> = Arc::from([]);
            Arc::new(Outbox::new(ConnectionId(number as u64), nobody, peer, OUTBOX_BYTES))
        };
        let outboxes: Vec<_> = (0..watchers).map(outbox).collect();
        for outbox in &outboxes {
            replica.connect(Arc::clone(outbox));
        }
        Watched { replica, outboxes, changes }
    }

    /// Lets every connection watch again, and forgets what it was sent.
    fn arm(&self, request: &Request, op: OpCode) {
        let mut sent = BytesMut::new();
        for outbox in &self.outboxes {
            let asker = Asker {
                outbox,
                identities: &[],
                session: SessionId(1),
                multi_read_bytes_max: OUTBOX_BYTES,
            };
            self.replica.read(&asker, Pending { xid: Xid(1), op, since_us: 0 }, request);
            outbox.take(&mut sent);
            sent.clear();
        }
    }

    /// What the change tells.
    fn decided(&self) -> Vec<Decided> {
        let tree = self.replica.tree();
        let mut draft = Draft::over(&tree);
        let submission = writes::set(PATH.to_owned());
        let applied = apply(&mut draft, &Proposal { time_ms: 1_000, submission: &submission });
        assert_eq!(applied.events.len(), 1);
        vec![Decided { origin: Origin::default(), applied, is_handshake: false }]
    }

    /// Changes the node, and sees that everybody is told.
    fn change(&self, decided: Vec<Decided>) {
        self.replica.absorb(&self.changes, decided);
    }

    fn told(&self) -> usize {
        self.outboxes.iter().filter(|outbox| outbox.waiting_bytes() > 0).count()
    }
}

fn fanout(c: &mut Criterion) {
    let once = Request::GetData(PathWatch { path: Some(PATH.to_owned()), watch: true });
    let recursive = Request::AddWatch(AddWatch { path: Some(ROOT.to_owned()), mode: 1 });
    let kinds = [("one-shot", &once, OpCode::GetData), ("recursive", &recursive, OpCode::AddWatch)];
    for (kind, request, op) in kinds {
        for watchers in [1, 100, 10_000] {
            let watched = Watched::new(watchers);
            let prepare = || {
                watched.arm(request, op);
                watched.decided()
            };
            watched.change(prepare());
            assert_eq!(watched.told(), watchers, "everybody is told");
            let name = format!("watch/{kind}/{watchers} watchers");
            let run = |_| {
                let decided = prepare();
                support::timed(|| watched.change(decided))
            };
            let times: Vec<Duration> = (0..RUNS).map(run).collect();
            support::print(&name, times);
            c.bench_function(&name, |b| {
                b.iter_batched(prepare, |decided| watched.change(decided), BatchSize::PerIteration);
            });
        }
    }
}

criterion_group!(benches, fanout);
criterion_main!(benches);
