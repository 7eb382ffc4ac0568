//! Histories that are fine, and the same with a planted fault, which its check must find.

use std::collections::BTreeSet;

use jute::{ErrorCode, Stat, Version, Zxid};

use super::{all, order, registers};
use crate::ensemble::history::{
    Ask, Expiry, History, Hold, Mode, Notice, Operation, Reply, Told, Touch,
};
use crate::ensemble::walk::Tree;

/// A history under construction. Each call takes ten units of time.
#[derive(Clone, Default)]
struct Story {
    history: History,
    tree: Tree,
    time: u64,
}

fn stat(czxid: i64, mzxid: i64, version: i32) -> Stat {
    Stat {
        czxid: Zxid(czxid),
        mzxid: Zxid(mzxid),
        pzxid: Zxid(czxid),
        version: Version(version),
        ..Stat::default()
    }
}

fn set(path: &str, value: &str, version: i32) -> Ask {
    Ask::Set { path: path.to_owned(), value: value.to_owned(), version }
}

fn get(path: &str) -> Ask {
    Ask::Get { path: path.to_owned(), watch: false }
}

fn sync() -> Ask {
    Ask::Sync { path: "/".to_owned() }
}

fn create(path: &str, value: &str, mode: Mode) -> Ask {
    Ask::Create { path: path.to_owned(), value: value.to_owned(), mode }
}

fn delete(path: &str) -> Ask {
    Ask::Delete { path: path.to_owned(), version: -1 }
}

#[allow(clippy::unnecessary_wraps, reason = "as a reply carries it")]
fn data(value: &str, stat: Stat) -> Result<Told, i32> {
    Ok(Told::Data(value.to_owned(), stat))
}

#[allow(clippy::unnecessary_wraps, reason = "as a reply carries it")]
fn node(path: &str, stat: Stat) -> Result<Told, i32> {
    Ok(Told::Node(path.to_owned(), stat))
}

fn refused(code: ErrorCode) -> Result<Told, i32> {
    Err(code as i32)
}

impl Story {
    /// A request that is not answered.
    fn lost(&mut self, client: usize, ask: Ask) -> usize {
        self.time += 10;
        let history = &mut self.history;
        let number = history.operations.len() as u64 + 1;
        let (session, connection, sent) = (client as i64, 1, self.time);
        let reply = None;
        let operation = Operation { client, session, connection, number, sent, ask, reply };
        history.operations.push(operation);
        history.operations.len() - 1
    }

    /// A request and its answer.
    fn call(&mut self, client: usize, ask: Ask, zxid: i64, result: Result<Told, i32>) -> usize {
        let index = self.lost(client, ask);
        let at = self.time + 5;
        self.history.operations[index].reply = Some(Reply { at, arrival: at, zxid, result });
        index
    }

    fn told(&mut self, client: usize, zxid: i64, kind: i32, path: &str) {
        self.time += 10;
        let notice = Notice {
            client,
            session: client as i64,
            connection: 1,
            at: self.time,
            arrival: self.time,
            zxid,
            kind,
            path: path.to_owned(),
        };
        self.history.notices.push(notice);
    }

    fn reply(&mut self, index: usize) -> &mut Reply {
        self.history.operations[index].reply.as_mut().expect("it was answered")
    }

    fn at_end(&mut self, path: &str, value: &str, stat: Stat) {
        self.tree.insert(path.to_owned(), (value.to_owned(), stat));
    }

    fn broken(&self) -> BTreeSet<&'static str> {
        let trees = [self.tree.clone(), self.tree.clone()];
        all(&self.history, &trees).into_iter().map(|anomaly| anomaly.promise).collect()
    }

    /// The promises that are broken after a change.
    fn after(&self, change: impl FnOnce(&mut Story)) -> BTreeSet<&'static str> {
        let mut changed = self.clone();
        change(&mut changed);
        changed.broken()
    }
}

/// Two clients and one node: created, set by both, one write unanswered, read.
fn register() -> Story {
    let mut story = Story::default();
    story.call(1, create("/r/x", "first", Mode::Persistent), 10, node("/r/x", stat(10, 10, 0)));
    story.call(1, set("/r/x", "a", 0), 11, Ok(Told::Stat(stat(10, 11, 1)))); // 1
    story.call(2, set("/r/x", "b", 0), 12, refused(ErrorCode::BadVersion)); // 2
    story.call(2, set("/r/x", "c", 1), 13, Ok(Told::Stat(stat(10, 13, 2)))); // 3
    story.lost(1, set("/r/x", "d", -1)); // 4
    story.call(2, sync(), 14, Ok(Told::Nothing)); // 5
    story.call(2, get("/r/x"), 14, data("d", stat(10, 14, 3))); // 6
    story.call(1, get("/r/x"), 13, data("c", stat(10, 13, 2))); // 7: behind, which is allowed
    story.call(1, sync(), 14, Ok(Told::Nothing)); // 8
    story.call(1, get("/r/x"), 14, data("d", stat(10, 14, 3))); // 9
    story.at_end("/r/x", "d", stat(10, 14, 3));
    story
}

#[test]
fn a_register_that_keeps_its_promises_is_not_blamed() {
    assert_eq!(register().broken(), BTreeSet::new());
}

#[test]
fn an_unknown_write_may_also_not_have_happened_or_be_hidden_by_another() {
    let mut story = register();
    story.lost(1, set("/r/x", "e", 3));
    story.lost(1, set("/r/x", "f", -1));
    assert_eq!(story.broken(), BTreeSet::new());

    // Versions 4 and 5 have no values that anybody saw, but writes that may have been theirs.
    story.call(2, set("/r/x", "g", 5), 20, Ok(Told::Stat(stat(10, 20, 6))));
    story.at_end("/r/x", "g", stat(10, 20, 6));
    assert_eq!(story.broken(), BTreeSet::new());
}

#[test]
fn a_lost_update_is_found() {
    // Two answered compare-and-sets at the same version.
    let broken = register().after(|story| {
        story.reply(2).result = Ok(Told::Stat(stat(10, 12, 1)));
    });
    assert!(broken.contains("a version has one value and one zxid"), "{broken:?}");
}

#[test]
fn a_compare_and_set_that_does_not_compare_is_found() {
    let broken = register().after(|story| {
        story.history.operations[3].ask = set("/r/x", "c", 0);
    });
    assert!(broken.contains("compare-and-set compares"), "{broken:?}");
}

#[test]
fn a_refusal_at_the_right_version_is_found() {
    let broken = register().after(|story| {
        story.history.operations[2].ask = set("/r/x", "b", 1);
    });
    assert!(broken.contains("a write at the right version is not refused"), "{broken:?}");
}

#[test]
fn a_stale_read_behind_a_sync_is_found() {
    let broken = register().after(|story| {
        story.reply(9).result = data("c", stat(10, 13, 2));
    });
    assert!(broken.contains(registers::READS), "{broken:?}");
    let broken = register().after(|story| {
        story.reply(5).zxid = 12;
        story.reply(6).zxid = 12;
        story.reply(6).result = data("a", stat(10, 11, 1));
    });
    assert!(broken.contains(order::SYNC), "{broken:?}");
}

#[test]
fn a_value_from_nowhere_and_one_that_was_refused_are_found() {
    let broken = register().after(|story| {
        story.reply(6).result = data("z", stat(10, 14, 3));
        story.reply(9).result = data("z", stat(10, 14, 3));
    });
    assert!(broken.contains("every value was written"), "{broken:?}");
    let broken = register().after(|story| {
        story.reply(6).result = data("b", stat(10, 14, 3));
        story.reply(9).result = data("b", stat(10, 14, 3));
    });
    assert!(broken.contains("a refused write does not happen"), "{broken:?}");
}

#[test]
fn a_write_that_happens_twice_is_found() {
    // Its value is seen twice …
    let broken = register().after(|story| {
        story.reply(9).zxid = 15;
        story.reply(9).result = data("d", stat(10, 15, 4));
    });
    assert!(broken.contains("a write happens once"), "{broken:?}");
    // … or a version is there that nobody has written.
    let broken = register().after(|story| {
        story.call(1, set("/r/x", "e", -1), 20, Ok(Told::Stat(stat(10, 20, 5))));
        story.at_end("/r/x", "e", stat(10, 20, 5));
    });
    assert!(broken.contains("every version was written"), "{broken:?}");
}

#[test]
fn a_session_that_goes_back_is_found() {
    let broken = register().after(|story| story.reply(9).zxid = 12);
    assert!(broken.contains("a session never goes back in time"), "{broken:?}");
    // The header is right, what it shows is not.
    let broken = register().after(|story| {
        story.call(1, get("/r/x"), 14, data("a", stat(10, 11, 1)));
    });
    assert!(broken.contains("a session sees what it has seen"), "{broken:?}");
    let broken = register().after(|story| story.reply(7).result = data("d", stat(10, 14, 3)));
    assert!(broken.contains("a reply's zxid covers what it shows"), "{broken:?}");
}

#[test]
fn replies_out_of_order_are_found() {
    let broken = register().after(|story| {
        let before = story.reply(8).arrival;
        story.reply(9).arrival = before - 1;
    });
    assert!(broken.contains("replies have the order of requests"), "{broken:?}");
}

#[test]
fn writes_out_of_order_and_two_at_one_place_are_found() {
    let broken = register().after(|story| {
        story.reply(3).zxid = 12;
        story.reply(3).result = Ok(Told::Stat(stat(10, 12, 2)));
    });
    assert!(broken.contains("every write has a zxid of its own"), "{broken:?}");
    // Answered early: a later write gets an earlier place.
    let broken = register().after(|story| {
        story.call(1, create("/r/y", "y", Mode::Persistent), 9, node("/r/y", stat(9, 9, 0)));
        story.at_end("/r/y", "y", stat(9, 9, 0));
    });
    assert!(broken.contains("writes have the order of their times"), "{broken:?}");
    let broken = register().after(|story| story.reply(3).zxid = 14);
    assert!(broken.contains("a reply has the zxid of its write"), "{broken:?}");
}

#[test]
fn a_write_of_before_a_move_that_happens_after_it_is_found() {
    let mut story = Story::default();
    story.call(1, create("/r/x", "first", Mode::Persistent), 10, node("/r/x", stat(10, 10, 0)));
    story.lost(1, set("/r/x", "old", -1));
    let index = story.call(1, set("/r/x", "new", -1), 12, Ok(Told::Stat(stat(10, 12, 2))));
    story.history.operations[index].connection = 2;
    story.call(2, get("/r/x"), 11, data("old", stat(10, 11, 1)));
    story.at_end("/r/x", "new", stat(10, 12, 2));
    assert_eq!(story.broken(), BTreeSet::new());
    let broken = story.after(|story| {
        story.reply(2).zxid = 11;
        story.reply(2).result = Ok(Told::Stat(stat(10, 11, 1)));
        story.reply(3).zxid = 12;
        story.reply(3).result = data("old", stat(10, 12, 2));
        story.at_end("/r/x", "old", stat(10, 12, 2));
    });
    assert!(broken.contains("a session's writes keep their order"), "{broken:?}");
}

#[test]
fn writes_of_a_register_out_of_order_are_found() {
    let mut story = Story::default();
    story.call(1, create("/r/x", "first", Mode::Persistent), 10, node("/r/x", stat(10, 10, 0)));
    story.call(1, set("/r/x", "b", -1), 12, Ok(Told::Stat(stat(10, 12, 2))));
    story.call(2, set("/r/x", "a", -1), 11, Ok(Told::Stat(stat(10, 11, 1))));
    story.at_end("/r/x", "b", stat(10, 12, 2));
    assert!(story.broken().contains("writes are linearizable"), "{:?}", story.broken());
}

#[test]
fn an_answered_write_that_is_missing_at_the_end_is_found() {
    let broken = register().after(|story| drop(story.tree.remove("/r/x")));
    assert!(broken.contains("an answered write lasts"), "{broken:?}");
    let broken = register().after(|story| story.at_end("/r/x", "a", stat(10, 11, 1)));
    assert!(broken.contains("an answered write lasts"), "{broken:?}");
    let mut gone = register();
    gone.call(1, delete("/r/x"), 30, Ok(Told::Nothing));
    gone.tree.clear();
    assert_eq!(gone.broken(), BTreeSet::new());
    let broken = gone.after(|story| story.at_end("/r/x", "d", stat(10, 14, 3)));
    assert!(broken.contains("an answered write lasts"), "{broken:?}");
}

#[test]
fn a_tree_that_differs_is_found() {
    let story = register();
    let mut other = story.tree.clone();
    other.insert("/r/x".to_owned(), ("d".to_owned(), stat(10, 14, 4)));
    let broken = all(&story.history, &[story.tree.clone(), other]);
    assert_eq!(broken.len(), 1);
    assert!(all(&story.history, &[story.tree.clone(), story.tree.clone()]).is_empty());
}

/// Three sequential nodes, one of them made by a write that was not answered.
fn sequence() -> Story {
    let mut story = Story::default();
    let path = |number: usize| format!("/sequences/n-{number:010}");
    let ask = |value: &str| create("/sequences/n-", value, Mode::Sequential);
    story.call(1, ask("a"), 10, node(&path(0), stat(10, 10, 0)));
    story.lost(2, ask("b"));
    story.lost(2, ask("c"));
    story.call(1, ask("d"), 12, node(&path(2), stat(12, 12, 0)));
    story.at_end(&path(0), "a", stat(10, 10, 0));
    story.at_end(&path(1), "b", stat(11, 11, 0));
    story.at_end(&path(2), "d", stat(12, 12, 0));
    story
}

#[test]
fn sequences_are_checked() {
    assert_eq!(sequence().broken(), BTreeSet::new());
    let path = |number: usize| format!("/sequences/n-{number:010}");
    // Without the one in the middle there is a gap.
    let broken = sequence().after(|story| drop(story.tree.remove(&path(1))));
    assert!(broken.contains("numbers count"), "{broken:?}");
    // The last one is gone.
    let broken = sequence().after(|story| drop(story.tree.remove(&path(2))));
    assert!(broken.contains("an answered write lasts"), "{broken:?}");
    assert!(broken.contains("numbers count"), "{broken:?}");
    // An unanswered request was carried out twice.
    let broken = sequence().after(|story| story.at_end(&path(3), "b", stat(13, 13, 0)));
    assert!(broken.contains("a write happens once"), "{broken:?}");
    // A node that nobody wrote.
    let broken = sequence().after(|story| story.at_end(&path(3), "z", stat(13, 13, 0)));
    assert!(broken.contains("every node was written"), "{broken:?}");
    // Numbers that do not rise with the order.
    let broken = sequence().after(|story| story.at_end(&path(1), "b", stat(13, 13, 0)));
    assert!(broken.contains("numbers count"), "{broken:?}");
}

#[test]
fn a_counter_that_skips_is_found() {
    let mut story = Story::default();
    story.call(1, get("/counters/0"), 10, data("3 1 7", stat(2, 9, 3)));
    assert_eq!(story.broken(), BTreeSet::new());
    let broken = story.after(|story| story.reply(0).result = data("4 1 7", stat(2, 9, 3)));
    assert!(broken.contains("a counter counts"), "{broken:?}");
}

/// A session with two nodes that is closed, and one that looks on.
fn session() -> Story {
    let mut story = Story::default();
    let exists = |path: &str| Ask::Exists { path: path.to_owned(), watch: false };
    let list = || Ask::Children { path: "/e".to_owned(), watch: false };
    let names = |names: &[&str]| {
        Ok(Told::Children(names.iter().map(|name| (*name).to_owned()).collect(), stat(1, 1, 0)))
    };
    story.call(2, exists("/e/a"), 9, refused(ErrorCode::NoNode)); // 0
    story.call(1, create("/e/a", "a", Mode::Ephemeral), 10, node("/e/a", stat(10, 10, 0)));
    story.call(1, create("/e/b", "b", Mode::Ephemeral), 11, node("/e/b", stat(11, 11, 0)));
    story.call(2, sync(), 12, Ok(Told::Nothing));
    story.call(2, exists("/e/a"), 12, Ok(Told::Stat(stat(10, 10, 0)))); // 4
    story.call(2, list(), 12, names(&["a", "b"])); // 5
    story.call(1, Ask::Ping, 13, Ok(Told::Nothing));
    story.call(3, Ask::WatchBelow { path: "/e".to_owned() }, 13, Ok(Told::Nothing));
    story.call(1, Ask::Close, 15, Ok(Told::Nothing));
    story.told(3, 15, 2, "/e/a");
    story.told(3, 15, 2, "/e/b");
    story.call(2, sync(), 16, Ok(Told::Nothing));
    story.call(2, exists("/e/a"), 16, refused(ErrorCode::NoNode)); // 10
    story.call(2, list(), 16, names(&[])); // 11
    story
}

#[test]
fn ephemeral_nodes_are_checked() {
    const LIFE: &str = "ephemeral nodes live as long as their sessions";
    assert_eq!(session().broken(), BTreeSet::new());
    // Gone although the session lives.
    let broken = session().after(|story| story.reply(4).result = refused(ErrorCode::NoNode));
    assert!(broken.contains(LIFE), "{broken:?}");
    let broken = session().after(|story| {
        story.reply(5).result = Ok(Told::Children(vec!["b".to_owned()], stat(1, 1, 0)));
    });
    assert!(broken.contains(LIFE), "{broken:?}");
    // There although the session was closed.
    let broken = session().after(|story| story.reply(10).result = Ok(Told::Stat(stat(10, 10, 0))));
    assert!(broken.contains(LIFE), "{broken:?}");
    let broken = session().after(|story| {
        story.reply(11).result = Ok(Told::Children(vec!["b".to_owned()], stat(1, 1, 0)));
    });
    assert!(broken.contains(LIFE), "{broken:?}");
    // Nodes that go one after the other.
    let broken = session().after(|story| story.history.notices[0].zxid = 14);
    assert!(broken.contains("the nodes of a session go at once"), "{broken:?}");
}

#[test]
fn a_session_that_expires_too_early_is_found() {
    let expiry = |at: u64| Expiry { client: 1, session: 1, at, alive: 7, timeout_ms: 2 };
    let mut story = Story::default();
    story.history.expiries.push(expiry(2_000_007));
    assert_eq!(story.broken(), BTreeSet::new());
    story.history.expiries.push(expiry(2_000_006));
    assert!(story.broken().contains("a session lives for its timeout"));
}

/// A writer, and a client that watches a node with one-shot watches.
fn watcher() -> Story {
    let mut story = Story::default();
    let watched = || Ask::Get { path: "/w/x".to_owned(), watch: true };
    story.call(1, create("/w/x", "a", Mode::Persistent), 10, node("/w/x", stat(10, 10, 0)));
    story.call(2, watched(), 10, data("a", stat(10, 10, 0))); // 1
    story.call(1, set("/w/x", "b", -1), 11, Ok(Told::Stat(stat(10, 11, 1)))); // 2
    story.told(2, 11, 3, "/w/x");
    story.call(2, watched(), 11, data("b", stat(10, 11, 1))); // 3
    story.call(1, delete("/w/x"), 12, Ok(Told::Nothing)); // 4
    story.told(2, 12, 2, "/w/x");
    story.call(2, sync(), 13, Ok(Told::Nothing)); // 5
    story
}

#[test]
fn one_shot_watches_are_checked() {
    assert_eq!(watcher().broken(), BTreeSet::new());
    let broken = watcher().after(|story| drop(story.history.notices.remove(0)));
    assert!(broken.contains("a watch hears of the next change"), "{broken:?}");
    let broken = watcher().after(|story| drop(story.history.notices.pop()));
    assert!(broken.contains("a watch hears of the next change"), "{broken:?}");
    // The same event once more.
    let broken = watcher().after(|story| {
        let mut again = story.history.notices[0].clone();
        again.arrival += 1;
        story.history.notices.insert(1, again);
    });
    assert!(broken.contains("an event comes once"), "{broken:?}");
    assert!(broken.contains("a one-shot watch hears once"), "{broken:?}");
    // A second event although the watch was used up.
    let broken = watcher().after(|story| {
        story.history.operations[3].ask = get("/w/x");
    });
    assert!(broken.contains("a one-shot watch hears once"), "{broken:?}");
    // The effect before the event.
    let broken = watcher().after(|story| {
        let late = story.reply(3).arrival + 1;
        story.history.notices[0].arrival = late;
    });
    assert!(broken.contains("an event comes before its effect"), "{broken:?}");
    // An event that tells of something else.
    let broken = watcher().after(|story| story.history.notices[0].kind = 2);
    assert!(broken.contains("events tell what happened"), "{broken:?}");
    let broken = watcher().after(|story| story.history.notices[0].zxid = 14);
    assert!(broken.contains("events come in the order of changes"), "{broken:?}");
}

#[test]
fn watches_that_a_client_brings_along_are_checked() {
    let mut story = watcher();
    story.call(1, create("/w/x", "c", Mode::Persistent), 14, node("/w/x", stat(14, 14, 0)));
    story.told(2, 0, 1, "/w/x");
    let path = || vec!["/w/x".to_owned()];
    let (exist, child, below) = (Vec::new(), Vec::new(), Vec::new());
    let ask = Ask::SetWatches { since: 13, data: path(), exist, child, below };
    let index = story.call(2, ask, 14, Ok(Told::Nothing));
    story.history.operations[index].connection = 2;
    let notice = story.history.notices.last_mut().expect("it was told");
    (notice.connection, notice.zxid) = (2, -1);
    story.at_end("/w/x", "c", stat(14, 14, 0));
    assert_eq!(story.broken(), BTreeSet::new());
    let broken = story.after(|story| drop(story.history.notices.pop()));
    assert!(broken.contains("a watch hears of the next change"), "{broken:?}");
}

#[test]
fn watches_of_children_are_checked() {
    let mut story = Story::default();
    let told = |pzxid: i64| {
        let mut parent = stat(1, 1, 0);
        parent.pzxid = Zxid(pzxid);
        Ok(Told::Children(Vec::new(), parent))
    };
    let list = || Ask::Children { path: "/w".to_owned(), watch: true };
    story.call(2, list(), 9, told(1));
    story.call(1, create("/w/x", "a", Mode::Persistent), 10, node("/w/x", stat(10, 10, 0)));
    story.call(1, set("/w/x", "b", -1), 11, Ok(Told::Stat(stat(10, 11, 1))));
    story.told(2, 10, 4, "/w");
    story.call(2, list(), 11, told(10));
    story.at_end("/w/x", "b", stat(10, 11, 1));
    assert_eq!(story.broken(), BTreeSet::new());
    let broken = story.after(|story| story.history.notices.clear());
    assert!(broken.contains("a watch hears of the next change"), "{broken:?}");
}

#[test]
fn recursive_watches_are_checked() {
    const EVERY: &str = "a recursive watch hears of every change";
    let mut story = Story::default();
    story.call(2, Ask::WatchBelow { path: "/w".to_owned() }, 9, Ok(Told::Nothing));
    story.call(1, create("/w/x", "a", Mode::Persistent), 10, node("/w/x", stat(10, 10, 0)));
    story.call(1, set("/w/x", "b", -1), 11, Ok(Told::Stat(stat(10, 11, 1))));
    story.told(2, 10, 1, "/w/x");
    story.told(2, 11, 3, "/w/x");
    story.call(2, get("/w/x"), 11, data("b", stat(10, 11, 1)));
    story.at_end("/w/x", "b", stat(10, 11, 1));
    assert_eq!(story.broken(), BTreeSet::new());
    let broken = story.after(|story| drop(story.history.notices.remove(0)));
    assert!(broken.contains(EVERY), "{broken:?}");
    let broken = story.after(|story| drop(story.history.notices.pop()));
    assert!(broken.contains(EVERY), "{broken:?}");
    let broken = story.after(|story| story.history.notices.swap(0, 1));
    assert_eq!(broken, BTreeSet::new(), "only the order in which they came counts");
    let broken = story.after(|story| {
        let [first, second] = &mut story.history.notices[..] else { return };
        std::mem::swap(&mut first.arrival, &mut second.arrival);
    });
    assert!(broken.contains("events come in the order of changes"), "{broken:?}");
}

#[test]
fn locks_are_checked() {
    let hold =
        |client, token, asked, since, released| Hold { client, token, asked, since, released };
    let mut story = Story::default();
    story.history.holds = vec![
        hold(1, 10, 1, 2, Some(5)),
        hold(2, 12, 5, 6, None), // Its session expired.
        hold(3, 15, 8, 9, Some(12)),
    ];
    let touch = |token, accepted| Touch { client: 1, token, accepted };
    story.history.touches =
        vec![touch(10, true), touch(12, true), touch(15, true), touch(12, false), touch(15, true)];
    assert_eq!(story.broken(), BTreeSet::new());
    // The second has it before the first lets go.
    let broken = story.after(|story| story.history.holds[1].since = 4);
    assert!(broken.contains("a lock has one holder"), "{broken:?}");
    // A later holder with a lower token.
    let broken = story.after(|story| story.history.holds[2].token = 11);
    assert!(broken.contains("fencing tokens rise"), "{broken:?}");
    // The resource took a write of a former holder, or refused that of the holder.
    let broken = story.after(|story| story.history.touches[3].accepted = true);
    assert!(broken.contains("a resource keeps out former holders"), "{broken:?}");
    let broken = story.after(|story| story.history.touches.push(touch(10, false)));
    assert!(broken.contains("a holder is not kept out"), "{broken:?}");
}
