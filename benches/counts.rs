//! One operation, many times, for a tool that counts instructions: `benches/instructions` runs this
//! under callgrind twice, so that the difference is what the operation costs.
//!
//! `counts OPERATION TIMES`; without arguments, every operation once.
#![allow(clippy::expect_used, clippy::print_stdout, reason = "a bench tells a person")]

use std::hint::black_box;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use jute::request::{PathWatch, Request, RequestHeader, SetData};
use jute::{Encode as _, Id, OpCode, SessionId, Version, Xid, begin_frame, end_frame};
use rookeeper::clock::Clock;
use rookeeper::replica::{Asker, Decided, Outbox, Pending, Replica};
use rookeeper::tree::{Draft, Holder, Origin, Proposal, Tree, apply};
use rookeeper::watch::ConnectionId;

#[path = "support/writes.rs"]
mod writes;

/// Nodes of the tree.
const NODES: usize = 1_000;
/// Everything that is counted.
const OPERATIONS: [&str; 6] = ["decode-get", "decode-set", "get", "set", "create", "notify"];

fn path(number: usize) -> String {
    format!("/services/orders/node-{:011}", number % NODES)
}

/// A server's copy of a small tree, with one connection.
struct Server {
    replica: Replica,
    outbox: Arc<Outbox>,
    sent: BytesMut,
}

impl Server {
    fn new() -> Server {
        let mut tree = Tree::new();
        let folders = ["/services".to_owned(), "/services/orders".to_owned()];
        for path in folders.into_iter().chain((0..NODES).map(path)) {
            let changes = writes::changes_of(&tree, &[writes::create(path)]);
            tree.absorb(&changes);
        }
        let replica = Replica::new(tree, Holder::default(), false, Clock::system());
        let nobody: Arc<[Id]> = Arc::from([]);
        let peer = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
        let outbox = Arc::new(Outbox::new(ConnectionId(0), nobody, peer, 1 << 20));
        replica.connect(Arc::clone(&outbox));
        Server { replica, outbox, sent: BytesMut::new() }
    }

    /// Answers a getData.
    fn get(&mut self, number: usize, watch: bool) {
        let request = Request::GetData(PathWatch { path: Some(path(number)), watch });
        let asker = Asker {
            outbox: &self.outbox,
            identities: &[],
            session: SessionId(1),
            multi_read_bytes_max: 1 << 20,
        };
        let pending = Pending { xid: Xid(1), op: OpCode::GetData, since_us: 0 };
        self.replica.read(&asker, pending, &request);
        self.take();
    }

    /// Decides a write, takes it in and answers it.
    fn write(&mut self, submission: &rookeeper::tree::Submission) {
        let (changes, applied) = {
            let tree = self.replica.tree();
            let mut draft = Draft::over(&tree);
            let applied = apply(&mut draft, &Proposal { time_ms: 1_000, submission });
            (draft.finish(), applied)
        };
        assert!(applied.outcome.is_ok());
        let decided = Decided { origin: Origin::default(), applied, is_handshake: false };
        self.replica.absorb(&changes, vec![decided]);
        self.take();
    }

    fn take(&mut self) {
        self.outbox.take(&mut self.sent);
        black_box(&self.sent);
        self.sent.clear();
    }
}

/// The frame of a request without its length.
fn frame(op: OpCode, body: &impl jute::Encode) -> Bytes {
    let mut out = BytesMut::new();
    let start = begin_frame(&mut out);
    RequestHeader { xid: Xid(7), op: op as i32 }.encode(&mut out);
    body.encode(&mut out);
    end_frame(&mut out, start);
    out.freeze().slice(size_of::<i32>() + size_of::<RequestHeader>()..)
}

fn run(operation: &str, times: usize) {
    let mut server = Server::new();
    let get = frame(OpCode::GetData, &PathWatch { path: Some(path(1)), watch: false });
    let data = Some(Bytes::from_static(&[b'x'; writes::DATA_BYTES]));
    let set = SetData { path: Some(path(1)), data, version: Version::ANY };
    let set = frame(OpCode::SetData, &set);
    for number in 0..times {
        match operation {
            "decode-get" => drop(black_box(Request::decode(OpCode::GetData, &get).expect("a get"))),
            "decode-set" => drop(black_box(Request::decode(OpCode::SetData, &set).expect("a set"))),
            "get" => server.get(number, false),
            "set" => server.write(&writes::set(path(number))),
            "create" => server.write(&writes::create(format!("/new-{number:020}"))),
            "notify" => {
                server.get(number, true);
                server.write(&writes::set(path(number)));
            }
            unknown => panic!("{unknown} is none of {OPERATIONS:?}"),
        }
    }
}

fn main() {
    let arguments: Vec<String> =
        std::env::args().skip(1).filter(|a| !a.starts_with("--")).collect();
    match arguments.as_slice() {
        [operation, times] => run(operation, times.parse().expect("TIMES is a number")),
        _ => OPERATIONS.iter().for_each(|operation| run(operation, 1)),
    }
    println!("{}", OPERATIONS.join(" "));
}
