//! How long the store takes to make log entries durable, to take changes of the tree, to flush them
//! and to read the tree back. The figures are mostly the disk's: `BENCH_DIR` names the folder.
#![allow(
    clippy::print_stdout,
    clippy::expect_used,
    reason = "a bench tells a person, and ends when the disk does not work"
)]

use std::sync::mpsc::channel;
use std::time::Duration;

use bytes::Bytes;
use criterion::Criterion;
use rookeeper::store::{LogStore, Store};
use rookeeper::tree::{Submission, Tree};

#[path = "support/mod.rs"]
mod support;
#[path = "support/writes.rs"]
mod writes;

/// Bytes of an entry with one small write.
const ENTRY_BYTES: usize = 200;
/// Entries that are written one sync after the other, timed one by one.
const SYNCS: u64 = 2_000;
/// Nodes of the tree that is flushed and loaded, and how many are committed together.
const NODES: usize = 200_000;
const BATCH: usize = 100;

fn folder() -> tempfile::TempDir {
    match std::env::var_os("BENCH_DIR") {
        Some(folder) => tempfile::tempdir_in(folder).expect("a folder in BENCH_DIR"),
        None => tempfile::tempdir().expect("a temporary folder"),
    }
}

/// Appends entries and waits until they are synced.
fn append(log: &LogStore, first: u64, count: u64) {
    let entry = Bytes::from_static(&[b'x'; ENTRY_BYTES]);
    let entries = (first..first + count).map(|index| (index, entry.clone())).collect();
    let (done, outcome) = channel();
    log.append(entries, Box::new(move |result| drop(done.send(result))));
    outcome.recv().expect("a report").expect("it is synced");
}

fn appends(log: &LogStore) {
    let mut next = 1;
    for count in [1, 16, 256] {
        let run = |_| {
            let time = support::timed(|| append(log, next, count));
            next += count;
            time
        };
        let times: Vec<Duration> = (0..SYNCS).map(run).collect();
        support::print(&format!("store/log/append and sync {count}"), times);
    }
}

fn commits(c: &mut Criterion, store: &Store) -> Tree {
    let mut tree = Tree::bare();
    store.tree.load(&mut tree).expect("an empty tree");
    let root = rookeeper::tree::Draft::of_system_nodes(&tree);
    store.tree.commit(&root, &[]).expect("it is written");
    tree.absorb(&root);

    let paths: Vec<String> = (0..NODES).map(|number| format!("/node-{number:030}")).collect();
    let mut times = Vec::new();
    for batch in paths.chunks(BATCH) {
        let batch: Vec<Submission> = batch.iter().cloned().map(writes::create).collect();
        let changes = writes::changes_of(&tree, &batch);
        times.push(support::timed(|| {
            store.tree.commit(&changes, &[]).expect("it is written");
        }));
        tree.absorb(&changes);
    }
    support::print(&format!("store/tree/commit {BATCH} creations"), times);
    let flush = support::timed(|| store.tree.flush().expect("it is flushed"));
    println!("store/tree/flush what was left of {NODES} nodes: {flush:.1?}");
    for size in [1, 16, 256] {
        let sets: Vec<_> = paths.iter().take(size).cloned().map(writes::set).collect();
        let changes = writes::changes_of(&tree, &sets);
        c.bench_function(&format!("store/tree/commit {size} setData"), |b| {
            b.iter(|| store.tree.commit(&changes, &[]).expect("it is written"));
        });
    }
    tree
}

fn main() {
    let folder = folder();
    let store = Store::open(folder.path(), None).expect("a store");
    let mut criterion = Criterion::default().configure_from_args();
    appends(&store.log);
    let tree = commits(&mut criterion, &store);
    store.tree.flush().expect("it is flushed");
    drop(store);

    let store = Store::open(folder.path(), None).expect("the store again");
    let mut loaded = Tree::bare();
    let load = support::timed(|| store.tree.load(&mut loaded).expect("a tree"));
    assert_eq!(loaded.node_count(), tree.node_count());
    println!("store/tree/load {NODES} nodes: {load:.1?}");
    criterion.final_summary();
}
