//! Opening a store, and what is left of one after its process was killed or its disk refused.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use bytes::Bytes;
use tempfile::{TempDir, tempdir};

use super::*;
use crate::tree::{Changes, Progress, Tree};

/// Longer than any disk takes for one write, and the bound of every wait in these tests.
const PATIENCE: Duration = Duration::from_secs(30);

/// Tells a child process which directory its store is in.
const CHILD_DIRECTORY: &str = "ROOKEEPER_TEST_STORE";

pub(super) fn open(directory: &TempDir) -> Store {
    Store::open(directory.path(), None).unwrap()
}

pub(super) fn refusal(directory: &TempDir) -> StoreError {
    match Store::open(directory.path(), None) {
        Ok(_) => panic!("the store was opened"),
        Err(error) => error,
    }
}

/// A callback, and where its outcome arrives.
pub(super) fn awaited() -> (Done, Receiver<Result<(), StoreError>>) {
    let (sender, receiver) = channel();
    (Box::new(move |outcome| drop(sender.send(outcome))), receiver)
}

/// Waits for what a job came to.
pub(super) fn wait(queue: impl FnOnce(Done)) -> Result<(), StoreError> {
    let (done, outcome) = awaited();
    queue(done);
    outcome.recv_timeout(PATIENCE).expect("the job is reported")
}

/// An entry's payload that shows its index.
pub(super) fn payload(index: u64) -> Bytes {
    format!("entry {index} ").repeat(4).into()
}

pub(super) fn entries(indexes: std::ops::Range<u64>) -> Vec<(u64, Bytes)> {
    indexes.map(|index| (index, payload(index))).collect()
}

pub(super) fn append(store: &Store, indexes: std::ops::Range<u64>) {
    wait(|done| store.log.append(entries(indexes), done)).unwrap();
}

#[test]
fn what_else_lies_in_the_directories_stays_as_it_is() {
    let (data, log) = (tempdir().unwrap(), tempdir().unwrap());
    for directory in [&data, &log] {
        std::fs::create_dir(directory.path().join("version-2")).unwrap();
        std::fs::write(directory.path().join("version-2/log.1"), "upstream's").unwrap();
    }
    drop(Store::open(data.path(), Some(log.path())).unwrap());
    for (directory, ours) in [(&data, "tree"), (&log, "raft")] {
        let theirs = std::fs::read_to_string(directory.path().join("version-2/log.1")).unwrap();
        assert_eq!(theirs, "upstream's");
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 2);
        assert!(is_database(&directory.path().join("rookeeper").join(ours)));
    }
    assert!(!data.path().join("rookeeper/raft").exists());
}

#[test]
fn a_store_in_use_is_refused_and_free_again_when_it_is_closed() {
    let directory = tempdir().unwrap();
    let store = open(&directory);
    let refused = refusal(&directory);
    assert!(matches!(refused, StoreError::InUse { .. }), "{refused}");
    assert!(refused.to_string().contains("in use by another process"), "{refused}");
    drop(store);
    drop(open(&directory));
}

#[test]
fn a_log_directory_cannot_be_shared_by_two_servers() {
    let (one, other, log) = (tempdir().unwrap(), tempdir().unwrap(), tempdir().unwrap());
    let _store = Store::open(one.path(), Some(log.path())).unwrap();
    let refused = Store::open(other.path(), Some(log.path())).err().unwrap();
    assert!(matches!(refused, StoreError::InUse { .. }), "{refused}");
}

#[test]
fn a_directory_that_cannot_be_written_is_named() {
    let directory = tempdir().unwrap();
    std::fs::write(directory.path().join("rookeeper"), "in the way").unwrap();
    let refused = Store::open(directory.path(), None).err().unwrap();
    let text = refused.to_string();
    assert!(
        matches!(refused, StoreError::NotWritable { .. } | StoreError::Failed { .. }),
        "{text}"
    );
    assert!(text.contains(directory.path().to_str().unwrap()), "{text}");
}

#[test]
fn a_newer_format_is_refused_before_anything_is_touched() {
    let directory = tempdir().unwrap();
    let home = directory.path().join("rookeeper");
    std::fs::create_dir(&home).unwrap();
    std::fs::write(home.join("FORMAT"), "format 3\nlog x\n").unwrap();
    let refused = refusal(&directory);
    assert!(matches!(refused, StoreError::NewerFormat { found: 3, known: 2, .. }), "{refused}");
    assert_eq!(std::fs::read_dir(&home).unwrap().count(), 1);
}

#[test]
fn a_tree_is_not_opened_with_a_log_that_is_not_its_own() {
    let (data, log, other) = (tempdir().unwrap(), tempdir().unwrap(), tempdir().unwrap());
    drop(Store::open(data.path(), Some(log.path())).unwrap());

    let refused = Store::open(data.path(), Some(other.path())).err().unwrap();
    assert!(matches!(refused, StoreError::Mismatched { .. }), "no log there: {refused}");
    assert_eq!(std::fs::read_dir(other.path()).unwrap().count(), 0, "nothing was created");

    drop(open(&other));
    let refused = Store::open(data.path(), Some(other.path())).err().unwrap();
    assert!(matches!(refused, StoreError::Mismatched { .. }), "another log: {refused}");

    drop(Store::open(data.path(), Some(log.path())).unwrap());
}

#[test]
fn only_an_empty_store_may_lack_its_format() {
    let directory = tempdir().unwrap();
    let format = directory.path().join("rookeeper/FORMAT");
    drop(open(&directory));
    std::fs::remove_file(&format).unwrap();
    append(&open(&directory), 1..2);
    std::fs::remove_file(&format).unwrap();
    let refused = refusal(&directory);
    assert!(matches!(refused, StoreError::Mismatched { .. }), "{refused}");
}

/// Runs one of the children below in a process of its own, through `shell` if given.
fn child(name: &str, directory: &TempDir, shell: Option<&str>) -> std::process::Child {
    let program = std::env::current_exe().unwrap();
    let name = format!("store::tests::{name}");
    let mut command = match shell {
        Some(before) => {
            let mut command = Command::new("sh");
            command.arg("-c").arg(format!("{before}; exec \"$0\" \"$@\"")).arg(program);
            command
        }
        None => Command::new(program),
    };
    command.args(["--ignored", "--exact", "--nocapture", "--test-threads=1", &name]);
    command.env(CHILD_DIRECTORY, directory.path()).stdout(Stdio::piped()).spawn().unwrap()
}

/// The numbers that a child printed after `word`.
fn numbers<'l>(lines: impl Iterator<Item = &'l str>, word: &str) -> Vec<u64> {
    lines.filter_map(|line| line.strip_prefix(word)?.trim().parse().ok()).collect()
}

/// The store of a child process and the index of its next entry; `None` in any other process.
fn child_store() -> Option<(Store, u64)> {
    let directory = std::env::var(CHILD_DIRECTORY).ok()?;
    let store = Store::open(Path::new(&directory), None).unwrap();
    let next = store.log.bounds().unwrap().map_or(1, |(_, last)| last + 1);
    Some((store, next))
}

/// Appends until it is killed, or for half a minute, and prints what is acknowledged.
#[test]
#[ignore = "the child process of another test"]
fn child_appends_until_it_is_killed() {
    let Some((store, mut next)) = child_store() else { return };
    let (window, acknowledged) = channel();
    for round in 0..1_000_000_u64 {
        let count = 1 + round % 7;
        let last = next + count - 1;
        let window = window.clone();
        let done = move |outcome: Result<(), StoreError>| {
            outcome.unwrap();
            println!("\nacknowledged {last}");
            window.send(()).unwrap();
        };
        store.log.append(entries(next..next + count), Box::new(done));
        store.log.put_state("committed", payload(last), Box::new(|_| {}));
        next += count;
        // Eight appends wait at a time, so that batches of several are killed as well.
        if round >= 8 {
            acknowledged.recv_timeout(PATIENCE).unwrap();
        }
    }
}

/// Reads a child's output until it has acknowledged `count` times, kills it `delay_us` later, and
/// returns all of its output.
fn kill_after(mut child: std::process::Child, word: &str, count: usize, delay_us: u64) -> String {
    let mut lines = BufReader::new(child.stdout.take().unwrap());
    let mut text = String::new();
    let mut found = 0;
    while found < count {
        let before = text.len();
        assert_ne!(lines.read_line(&mut text).unwrap(), 0, "the child ended too early: {text}");
        found += usize::from(text[before..].starts_with(word));
    }
    std::thread::sleep(Duration::from_micros(delay_us));
    child.kill().unwrap();
    std::io::Read::read_to_string(&mut lines, &mut text).unwrap();
    child.wait().unwrap();
    text
}

/// A number that is different each time, below `end`.
fn random_below(end: u64) -> u64 {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).unwrap();
    u64::from_ne_bytes(bytes) % end
}

#[test]
fn a_killed_process_has_lost_no_acknowledged_entry() {
    let directory = tempdir().unwrap();
    for round in 0..6 {
        let (count, delay_us) = (1 + random_below(60) as usize, random_below(4_000));
        let child = child("child_appends_until_it_is_killed", &directory, None);
        let text = kill_after(child, "acknowledged ", count, delay_us);

        let acknowledged = numbers(text.lines(), "acknowledged ");
        let context = format!("round {round}, killed {delay_us} us after {count} acknowledgements");
        assert!(acknowledged.is_sorted(), "{context}");
        let store = open(&directory);
        let (first, last) = store.log.bounds().unwrap().unwrap();
        let promised = acknowledged.last().copied().unwrap();
        assert!(first == 1 && promised <= last, "{context}: {promised} of {first}..={last}");
        assert_eq!(store.log.read(1, last + 1, usize::MAX).unwrap(), entries(1..last + 1));
    }
}

/// Commits and flushes until it is killed: the state says which commit it belongs to.
#[test]
#[ignore = "the child process of another test"]
fn child_commits_until_it_is_killed() {
    let Some((store, _)) = child_store() else { return };
    let mut tree = Tree::bare();
    store.tree.load(&mut tree).unwrap();
    let mut number = tree.progress().term;
    for _ in 0..1_000_000 {
        number += 1;
        commit_number(&store, number);
        println!("\ncommitted {number}");
        if number.is_multiple_of(16) {
            store.tree.flush().unwrap();
            println!("\nflushed {number}");
        }
    }
}

#[test]
fn a_killed_process_leaves_the_tree_as_of_a_flush_with_its_state() {
    let directory = tempdir().unwrap();
    for round in 0..3 {
        let (count, delay_us) = (1 + random_below(8) as usize, random_below(4_000));
        let child = child("child_commits_until_it_is_killed", &directory, None);
        let text = kill_after(child, "flushed ", count, delay_us);

        let context = format!("round {round}, killed {delay_us} us after {count} flushes");
        let flushed = numbers(text.lines(), "flushed ").last().copied().unwrap();
        let store = open(&directory);
        let mut tree = Tree::bare();
        store.tree.load(&mut tree).unwrap();
        let found = tree.progress().term;
        let state = store.tree.state("applied").unwrap().unwrap();
        assert_eq!(state, found.to_string(), "{context}: state and progress are of one moment");
        assert!(flushed <= found && found.is_multiple_of(16), "{context}: {flushed}, {found}");
    }
}

/// Appends until the disk refuses, then goes on trying, and prints how each append ended.
#[test]
#[ignore = "the child process of another test"]
fn child_meets_a_full_disk() {
    let Some((store, mut next)) = child_store() else { return };
    let (report, reports) = channel();
    let mut refused = 0;
    for _ in 0..2_000 {
        for _ in 0..4 {
            let (index, report) = (next, report.clone());
            let entry = vec![(index, Bytes::from(vec![7; 4_096]))];
            let done = move |outcome| drop(report.send((index, outcome)));
            store.log.append(entry, Box::new(done));
            next += 1;
        }
        for _ in 0..4 {
            let (index, outcome): (_, Result<(), StoreError>) =
                reports.recv_timeout(PATIENCE).expect("every append is reported");
            match outcome {
                Ok(()) => println!("\nacknowledged {index}"),
                Err(error) => {
                    println!("\nrefused {index}\nbecause {error}");
                    refused += 1;
                }
            }
        }
        if refused >= 12 {
            let tree = store.tree.load(&mut Tree::bare());
            let commit = store.tree.commit(&Changes::default(), &[]);
            println!("\ntree {:?} {}", tree.is_ok(), commit.unwrap_err());
            return;
        }
    }
}

#[test]
fn a_disk_that_refuses_stops_the_store_and_every_waiter_hears_of_it() {
    let directory = tempdir().unwrap();
    drop(open(&directory));
    // No file may grow beyond 512 KiB; the kernel then refuses the write, as a full disk does.
    let limited =
        child("child_meets_a_full_disk", &directory, Some("trap '' XFSZ; ulimit -f 1024"));
    let output = limited.wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);

    let acknowledged = numbers(text.lines(), "acknowledged ");
    let refused = numbers(text.lines(), "refused ");
    assert!(!acknowledged.is_empty() && refused.len() >= 12, "{text}");
    assert!(acknowledged.last() < refused.first(), "nothing is written after the fault: {text}");
    let reasons: Vec<_> = text.lines().filter(|line| line.starts_with("because ")).collect();
    assert!(reasons[0].contains("File too large"), "{text}");
    assert!(reasons[reasons.len() - 1].contains("stopped at an earlier fault"), "{text}");
    let tree = text.lines().find(|line| line.starts_with("tree ")).unwrap();
    assert!(tree.starts_with("tree true") && tree.contains("earlier fault"), "{tree}");

    let store = open(&directory);
    let (_, last) = store.log.bounds().unwrap().unwrap();
    assert!(acknowledged.iter().all(|index| *index <= last), "{last}: {text}");
}

/// Commits to the store of another server, and brings its image over until it is killed.
#[test]
#[ignore = "the child process of another test"]
fn child_installs_until_it_is_killed() {
    let Some((store, _)) = child_store() else { return };
    let source = Path::new(&std::env::var(CHILD_DIRECTORY).unwrap()).join("source");
    let source = Store::open(&source, None).unwrap();
    source.tree.load(&mut Tree::bare()).unwrap();
    let mut tree = Tree::bare();
    store.tree.load(&mut tree).unwrap();
    let mut number = tree.progress().term;
    for _ in 0..1_000 {
        number += 1;
        commit_number(&source, number);
        let checkpoint = source.tree.take_checkpoint().unwrap();
        let mut incoming = store.tree.begin_incoming(checkpoint.manifest().clone()).unwrap();
        while let Some((file, offset)) = incoming.missing() {
            let piece = checkpoint.read(file, offset, 1 << 20).unwrap();
            incoming.write(file, offset, &piece).unwrap();
        }
        store.tree.install(incoming.finish().unwrap(), |_| Ok(())).unwrap();
        println!("\ninstalled {number}");
    }
}

/// Commits a number as the tree's progress and as the state.
fn commit_number(store: &Store, number: u64) {
    let progress = Progress { term: number, ..Progress::default() };
    let changes = Changes { progress, ..Changes::default() };
    let state = [("applied", Bytes::from(number.to_string()))];
    store.tree.commit(&changes, &state).unwrap();
}

#[test]
fn a_killed_process_leaves_the_image_before_an_installation_or_after_it() {
    let directory = tempdir().unwrap();
    for round in 0..4 {
        let (count, delay_us) = (1 + random_below(3) as usize, random_below(60_000));
        let child = child("child_installs_until_it_is_killed", &directory, None);
        let text = kill_after(child, "installed ", count, delay_us);

        let context = format!("round {round}, killed {delay_us} us after {count} installations");
        let installed = numbers(text.lines(), "installed ").last().copied().unwrap();
        let store = open(&directory);
        let mut tree = Tree::bare();
        store.tree.load(&mut tree).unwrap();
        let found = tree.progress().term;
        assert!((installed..=installed + 1).contains(&found), "{context}: {installed}, {found}");
        let state = store.tree.flushed_state("applied").unwrap().unwrap();
        assert_eq!(state, found.to_string(), "{context}");
    }
}

/// Receives another server's image until the disk refuses, and goes on without it.
#[test]
#[ignore = "the child process of another test"]
fn child_meets_a_full_disk_while_it_receives() {
    let Some((store, next)) = child_store() else { return };
    store.tree.load(&mut Tree::bare()).unwrap();
    commit_number(&store, 1);
    let (name, piece) = ("1.sst".to_owned(), vec![7; 100_000]);
    let file = FileEntry { name, bytes: 10_000_000, crc32c: 0 };
    let mut incoming = store.tree.begin_incoming(Manifest::new(vec![file]).unwrap()).unwrap();
    for _ in 0..100 {
        let (file, offset) = incoming.missing().unwrap();
        let Err(error) = incoming.write(file, offset, &piece) else { continue };
        println!("\nrefused at {offset}: {error}");
        append(&store, next..next + 1);
        commit_number(&store, 2);
        store.tree.flush().unwrap();
        println!("\nwent on");
        return;
    }
}

#[test]
fn a_disk_that_is_full_while_a_tree_arrives_keeps_nothing_of_it_and_the_server_goes_on() {
    let directory = tempdir().unwrap();
    drop(open(&directory));
    let limited = child(
        "child_meets_a_full_disk_while_it_receives",
        &directory,
        Some("trap '' XFSZ; ulimit -f 1024"),
    );
    let output = limited.wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let refusal = text.lines().find(|line| line.starts_with("refused at ")).unwrap();
    assert!(refusal.contains("File too large") && refusal.contains("1.sst"), "{text}");
    assert!(text.lines().any(|line| line == "went on"), "{text}");
    assert!(!directory.path().join("rookeeper/incoming").exists());
    assert_eq!(open(&directory).tree.state("applied").unwrap().unwrap(), "2");
}
