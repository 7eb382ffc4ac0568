//! How fast the tree answers and changes, what a node costs in memory, and how long the worst absorb
//! stalls everybody while the tree grows to a million nodes.
#![allow(clippy::print_stdout, reason = "a bench tells a person")]

use std::fs;
use std::hint::black_box;
use std::time::Duration;

use criterion::{BatchSize, Criterion};
use rookeeper::tree::{NodeRef, Path, Submission, Tree, Znode};

#[path = "support/mod.rs"]
mod support;
#[path = "support/writes.rs"]
mod writes;

use writes::{DATA_BYTES, changes_of, create, delete, set, set_to};

/// Nodes of the big tree.
const NODES: usize = 1_000_000;
/// Nodes in one directory of it.
const NODES_A_DIRECTORY: usize = 1_000;
/// Proposals in an entry of the log while it grows.
const BATCH: usize = 16;
/// How often all its data is set to other sizes.
const CHURNS: usize = 4;
/// How often it is grown; a stall that happens every time is ours and not the machine's.
const GROWTHS: usize = 3;

fn directory(number: usize) -> String {
    format!("/services/part-{number:06}")
}

/// A path of 34 bytes.
fn path(number: usize) -> String {
    format!("{}/node-{number:07}", directory(number / NODES_A_DIRECTORY))
}

/// A tree with nothing but its directories, for `nodes` nodes.
fn bare_directories(nodes: usize) -> Tree {
    let mut tree = Tree::new();
    let directories =
        (0..nodes.div_ceil(NODES_A_DIRECTORY)).map(|number| create(directory(number)));
    let all: Vec<Submission> =
        std::iter::once(create("/services".to_owned())).chain(directories).collect();
    let changes = changes_of(&tree, &all);
    tree.absorb(&changes);
    tree
}

/// Adds the nodes in batches; how long each absorb took.
fn grow(tree: &mut Tree, nodes: usize) -> Vec<Duration> {
    let mut times = Vec::with_capacity(nodes / BATCH + 1);
    let numbers: Vec<usize> = (0..nodes).collect();
    for batch in numbers.chunks(BATCH) {
        let batch: Vec<Submission> = batch.iter().map(|&number| create(path(number))).collect();
        let changes = changes_of(tree, &batch);
        times.push(support::timed(|| tree.absorb(&changes)));
    }
    times
}

/// Bytes that this process keeps in memory.
fn resident_bytes() -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<usize>().ok());
    kib.unwrap_or(0) * 1_024
}

/// Grows the big tree several times over and tells what it costs.
fn growth() {
    let mut best: Vec<Duration> = Vec::new();
    for round in 0..GROWTHS {
        let mut tree = bare_directories(NODES);
        let before = resident_bytes();
        let times = grow(&mut tree, NODES);
        let bytes = resident_bytes().saturating_sub(before) as f64 / NODES as f64;
        support::print(&format!("tree/grow/{NODES} nodes/absorb of {BATCH}"), times.clone());
        if round == 0 {
            println!("tree/grow: {bytes:.0} bytes a node with {DATA_BYTES} bytes of data");
            best = times;
            // First, while nothing else was freed that the allocator could have kept.
            churn(&mut tree, before);
            big_reads(&tree);
            restore(&tree);
        } else {
            best = best.into_iter().zip(times).map(|(one, other)| one.min(other)).collect();
        }
        shrink(tree);
    }
    support::print("tree/grow/the same absorbs, each at its best", best);
}

/// Reads the big tree, whose nodes lie in no cache.
fn big_reads(tree: &Tree) {
    let paths: Vec<String> = (0..NODES).map(path).collect();
    let in_no_order = (0..NODES).map(|number| number * 499_979 % NODES);
    let paths: Vec<&String> = in_no_order.filter_map(|number| paths.get(number)).collect();
    let mut bytes = 0;
    let data = support::timed(|| {
        for path in &paths {
            bytes += tree.find(path).and_then(NodeRef::data).map_or(0, <[u8]>::len);
        }
    });
    assert_eq!(bytes, NODES * DATA_BYTES);
    let stat = support::timed(|| {
        for path in &paths {
            bytes += black_box(tree.find(path).map(NodeRef::stat)).map_or(0, |_| 1);
        }
    });
    let each = |time: Duration| time / NODES as u32;
    println!("tree/grow/find_data: mean {:.1?}; find_stat: mean {:.1?}", each(data), each(stat));
}

/// Sets the data of every node to other sizes several times over, at last to what it was, and tells
/// what is lost between the nodes.
fn churn(tree: &mut Tree, before: usize) {
    let mut times = Vec::new();
    for round in (0..CHURNS).rev() {
        let numbers: Vec<usize> = (0..NODES).map(|number| number * 499_979 % NODES).collect();
        for batch in numbers.chunks(BATCH) {
            let set = |&number: &usize| {
                let bytes = DATA_BYTES + round * (number * 31 + round * 17) % (DATA_BYTES + 1);
                set_to(path(number), bytes)
            };
            let batch: Vec<Submission> = batch.iter().map(set).collect();
            let changes = changes_of(tree, &batch);
            times.push(support::timed(|| tree.absorb(&changes)));
        }
    }
    let bytes = resident_bytes().saturating_sub(before) as f64 / NODES as f64;
    support::print(&format!("tree/churn/{NODES} nodes/absorb of {BATCH}"), times);
    println!("tree/churn: {bytes:.0} bytes a node with {DATA_BYTES} bytes of data again");
}

/// Reads the big tree's records and builds another tree of them, as a start of the server does.
fn restore(tree: &Tree) {
    let record = |node: NodeRef<'_>| (node.path(), node.znode(), node.data().map(<[u8]>::to_vec));
    let mut records: Vec<(Path, Znode, Option<Vec<u8>>)> = Vec::new();
    let listing = support::timed(|| records = tree.nodes().map(record).collect());
    records
        .sort_unstable_by(|(one, ..), (other, ..)| (one.depth(), one).cmp(&(other.depth(), other)));
    let mut restored = Tree::bare();
    let mut times = Vec::with_capacity(records.len());
    let whole = support::timed(|| {
        for (path, znode, data) in &records {
            times.push(support::timed(|| restored.restore_node(path, znode, data.as_deref())));
        }
    });
    assert_eq!(restored.node_count(), tree.node_count());
    println!("tree/restore: {listing:.2?} to list, {whole:.2?} to restore {}", records.len());
    support::print("tree/restore/node", times);
}

/// Deletes the big tree's nodes in batches.
fn shrink(mut tree: Tree) {
    let numbers: Vec<usize> = (0..NODES).collect();
    let mut times = Vec::with_capacity(NODES / BATCH + 1);
    for batch in numbers.chunks(BATCH) {
        let batch: Vec<Submission> = batch.iter().map(|&number| delete(path(number))).collect();
        let changes = changes_of(&tree, &batch);
        times.push(support::timed(|| tree.absorb(&changes)));
    }
    support::print(&format!("tree/shrink/{NODES} nodes/absorb of {BATCH}"), times);
}

fn reads(c: &mut Criterion) {
    const NODES: usize = 100_000;
    let mut tree = bare_directories(NODES);
    grow(&mut tree, NODES);
    let mut hundred = vec![create("/hundred".to_owned())];
    hundred.extend((0..100).map(|number| create(format!("/hundred/child-{number:04}"))));
    let changes = changes_of(&tree, &hundred);
    tree.absorb(&changes);
    let paths: Vec<String> = (0..NODES).map(path).collect();
    // Steps of a large odd number visit every path in an order that no cache foresees.
    let mut position = 0;
    let mut next = || {
        position = (position + 49_999) % NODES;
        paths.get(position).map_or("/", String::as_str)
    };

    let mut find = || black_box(tree.find(next()).and_then(NodeRef::data)).map_or(0, <[u8]>::len);
    support::worst("tree/read/find_data", || _ = find());
    c.bench_function("tree/read/find_data", |b| b.iter(&mut find));
    let mut stat = || black_box(tree.find(next()).map(NodeRef::stat));
    support::worst("tree/read/stat", || _ = stat());
    c.bench_function("tree/read/stat", |b| b.iter(&mut stat));
    let mut children = || {
        let parent = tree.find("/hundred");
        let names = parent.into_iter().flat_map(NodeRef::children);
        black_box(names.map(|child| child.name().to_owned()).collect::<Vec<String>>());
    };
    support::worst("tree/read/children_100", &mut children);
    c.bench_function("tree/read/children_100", |b| b.iter(&mut children));
}

fn writes(c: &mut Criterion) {
    const NODES: usize = 100_000;
    let mut tree = bare_directories(NODES);
    grow(&mut tree, NODES);
    for size in [1, 16, 256] {
        let steps = (0..size).map(|number| number * 97);
        let cases = [
            ("set", steps.clone().map(|number| set(path(number))).collect::<Vec<_>>()),
            ("delete", steps.clone().map(|number| delete(path(number))).collect()),
            ("create", steps.map(|number| create(format!("{}-new", path(number)))).collect()),
        ];
        for (what, submissions) in cases {
            let name = format!("tree/apply/{what}/batch of {size}");
            let mut run = || drop(black_box(changes_of(&tree, &submissions)));
            support::worst(&name, &mut run);
            c.bench_function(&name, |b| b.iter(&mut run));
        }
    }
    absorbs(c, &mut tree);
}

/// Absorbs changes of the same nodes over and over.
fn absorbs(c: &mut Criterion, tree: &mut Tree) {
    for size in [1, 16, 256] {
        let submissions: Vec<Submission> = (0..size).map(|number| set(path(number * 97))).collect();
        let changes = changes_of(tree, &submissions);
        let name = format!("tree/absorb/set/batch of {size}");
        support::worst(&name, || tree.absorb(&changes));
        c.bench_function(&name, |b| {
            b.iter_batched(|| (), |()| tree.absorb(&changes), BatchSize::SmallInput);
        });
    }
}

fn main() {
    // `cargo bench --bench tree -- grow` does this alone; it is left out where benches are only tried.
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let is_growth_alone = arguments.iter().any(|argument| argument == "grow");
    if is_growth_alone || arguments.iter().all(|argument| argument == "--bench") {
        growth();
    }
    if is_growth_alone {
        return;
    }
    let mut criterion = Criterion::default().configure_from_args();
    reads(&mut criterion);
    writes(&mut criterion);
    criterion.final_summary();
}
