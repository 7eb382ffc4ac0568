//! A reader and the applier in every order: a watcher hears of a change before it can read it, never
//! reads what is older afterwards, and hears of each change that comes after what it read.

use std::net::{Ipv4Addr, SocketAddr};

use bytes::{Buf, Bytes, BytesMut};
use jute::reply::{Body, put_reply};
use jute::request::{PathWatch, Request};
use jute::{Acl, Id, OpCode, Perms, SessionId, Stat, Version, Xid};

use super::locks::in_every_order;
use super::*;
use crate::tree::{Admission, Changes, Draft, NodeRef, Origin, Proposal, Submission, Write, apply};

/// What the client that reads asks for.
const PENDING: Pending = Pending { xid: Xid(9), op: OpCode::GetData, since_us: 0 };
const PATH: &str = "/a";
/// How often the node is changed; its data is the number of the last change.
const CHANGES: i64 = 2;

/// A server with one client that reads and another that writes.
struct Scene {
    replica: Replica,
    reader: Arc<Outbox>,
    writer: Arc<Outbox>,
}

fn decide(tree: &Tree, origin: Origin, write: Write) -> (Changes, Decided) {
    let mut draft = Draft::over(tree);
    let submission = Submission { origin, admission: Admission::internal(), write };
    let applied = apply(&mut draft, &Proposal { time_ms: 1, submission: &submission });
    assert!(applied.outcome.is_ok(), "{applied:?}");
    (draft.finish(), Decided { origin, applied, is_handshake: false })
}

fn digits(number: i64) -> Bytes {
    Bytes::from(number.to_string())
}

impl Scene {
    fn begin() -> Scene {
        let mut tree = Tree::new();
        let acl = Some(vec![Acl::anyone(Perms::ALL)]);
        let (op, path, data) = (OpCode::Create, PATH.to_owned(), Some(digits(0)));
        let create = Write::Create { op, path, data, acl, flags: 0, ttl_ms: -1 };
        let (changes, _) = decide(&tree, Origin::default(), create);
        tree.absorb(&changes);
        let replica = Replica::new(tree, Holder::default(), true, Clock::system());
        let peer = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
        let outbox = |number| {
            let nobody: Arc<[Id]> = Arc::from([]);
            Arc::new(Outbox::new(ConnectionId(number), nobody, peer, 1 << 20))
        };
        let (reader, writer) = (outbox(1), outbox(2));
        replica.connect(Arc::clone(&reader));
        replica.connect(Arc::clone(&writer));
        Scene { replica, reader, writer }
    }

    /// What the applier does.
    fn change(&self) {
        for number in 1..=CHANGES {
            let xid = Xid(number as i32);
            let origin =
                Origin { holder: self.replica.holder(self.writer.id()), xid, ..Origin::default() };
            self.writer.await_reply(Pending { xid, op: OpCode::SetData, since_us: 0 });
            let data = Some(digits(number));
            let write = Write::SetData { path: PATH.to_owned(), data, version: Version::ANY };
            let (changes, decided) = decide(&self.replica.tree(), origin, write);
            self.replica.absorb(&changes, vec![decided]);
        }
    }

    /// What the client's connection does.
    fn read(&self) {
        let request = Request::GetData(PathWatch { path: Some(PATH.to_owned()), watch: true });
        let asker = Asker {
            outbox: &self.reader,
            identities: &[],
            session: SessionId(1),
            multi_read_bytes_max: 0,
        };
        self.replica.read(&asker, PENDING, &request);
    }

    /// As [`Self::read`], but the watch is left when the tree may have changed.
    fn read_and_watch_too_late(&self) {
        let data = self.data();
        self.replica.watches.lock().add_data(PATH, self.reader.id());
        self.push(data);
    }

    /// As [`Self::read`], but the reply is pushed when the tree may have changed.
    fn read_and_push_too_late(&self) {
        let tree = self.replica.tree();
        self.replica.watches.lock().add_data(PATH, self.reader.id());
        let data = tree.find(PATH).and_then(NodeRef::data).map(Bytes::copy_from_slice);
        drop(tree);
        self.push(data);
    }

    fn data(&self) -> Option<Bytes> {
        let tree = self.replica.tree();
        tree.find(PATH).and_then(NodeRef::data).map(Bytes::copy_from_slice)
    }

    fn push(&self, data: Option<Bytes>) {
        let outcome = Ok(Body::Data(data, Stat::default()));
        self.reader
            .reply(PENDING, Zxid::ZERO, 0, |out| put_reply(out, PENDING.xid, Zxid::ZERO, &outcome));
    }

    /// What the client that reads makes of what it was sent.
    fn judge(&self) -> Result<(), String> {
        let (mut known, mut is_watching) = (0, false);
        let mut sent = BytesMut::new();
        self.reader.take(&mut sent);
        while sent.has_remaining() {
            let length = sent.get_i32() as usize;
            let mut frame = sent.split_to(length);
            let (xid, zxid, _) = (frame.get_i32(), frame.get_i64(), frame.get_i32());
            if xid == Xid::NOTIFICATION.0 {
                // The first transaction created the node.
                let number = zxid - 1;
                if !is_watching || number <= known {
                    // Such as before the reply to the read that left the watch.
                    return Err(format!("told of change {number} after {known} was known"));
                }
                (known, is_watching) = (number, false);
            } else {
                let length = frame.get_i32() as usize;
                let number: i64 = std::str::from_utf8(&frame[..length]).unwrap().parse().unwrap();
                if number < known {
                    return Err(format!("read {number} after {known} was known"));
                }
                (known, is_watching) = (number, true);
            }
        }
        if is_watching && known < CHANGES {
            return Err(format!("never told of a change after {known}"));
        }
        assert_eq!(self.replica.with_watches(WatchRegistry::watch_count), usize::from(is_watching));
        assert_eq!(self.writer.pending(), 0);
        Ok(())
    }
}

/// In how many orders the client reads so often while the node changes, and what it complains of.
fn complaints(times: usize, read: fn(&Scene)) -> (usize, Vec<String>) {
    let complaints = parking_lot::Mutex::new(Vec::new());
    let reads = |scene: &Scene| (0..times).for_each(|_| read(scene));
    let threads: [&(dyn Fn(&Scene) + Sync); 2] = [&Scene::change, &reads];
    let orders = in_every_order(Scene::begin, &threads, |scene| {
        complaints.lock().extend(scene.judge().err());
    });
    (orders, complaints.into_inner())
}

#[test]
fn a_watcher_hears_of_a_change_before_it_can_read_it_and_misses_none() {
    let (orders, complaints) = complaints(2, Scene::read);
    assert_eq!(complaints, <[String; 0]>::default());
    assert!(orders > 100, "{orders}");
}

#[test]
fn readers_that_let_the_tree_go_too_early_are_found_out() {
    let (_, late_watch) = complaints(1, Scene::read_and_watch_too_late);
    assert!(late_watch.iter().any(|what| what.contains("never told")), "{late_watch:?}");
    let (_, late_push) = complaints(1, Scene::read_and_push_too_late);
    let early_event = "told of change 1 after 0 was known";
    assert!(late_push.iter().any(|what| what == early_event), "{late_push:?}");
}
