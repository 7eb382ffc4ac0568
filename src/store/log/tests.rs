//! The log as its user sees it, and what becomes of it when its files are damaged.

use std::path::PathBuf;
use std::sync::mpsc::channel;

use tempfile::{TempDir, tempdir};

use super::*;
use crate::store::tests::{append, awaited, entries, open, payload, refusal, wait};
use crate::store::{Store, wal};

/// The files of the log's database whose names end like this, oldest first.
fn files(directory: &Path, extension: &str) -> Vec<PathBuf> {
    let files = std::fs::read_dir(directory.join("rookeeper/raft")).unwrap();
    let paths = files.map(|file| file.unwrap().path());
    let mut paths: Vec<_> =
        paths.filter(|path| path.extension().is_some_and(|found| found == extension)).collect();
    paths.sort_unstable();
    paths
}

/// A closed store with these entries, one a write, in its WAL; and that file.
fn closed_with(indexes: std::ops::Range<u64>) -> (TempDir, PathBuf) {
    let directory = tempdir().unwrap();
    let store = open(&directory);
    for index in indexes {
        append(&store, index..index + 1);
    }
    drop(store);
    let path = files(directory.path(), "log").pop().unwrap();
    (directory, path)
}

fn all(store: &Store) -> Vec<(u64, Bytes)> {
    store.log.read(0, u64::MAX, usize::MAX).unwrap()
}

fn flip(path: &Path, at: usize, bits: u8) {
    let mut bytes = std::fs::read(path).unwrap();
    bytes[at] ^= bits;
    std::fs::write(path, bytes).unwrap();
}

#[test]
fn entries_and_state_outlive_a_restart() {
    let directory = tempdir().unwrap();
    let store = open(&directory);
    assert_eq!(store.log.bounds().unwrap(), None);
    assert_eq!(store.log.state("vote").unwrap(), None);
    append(&store, 1..5);
    append(&store, 5..6);
    wait(|done| store.log.put_state("vote", payload(0), done)).unwrap();
    assert_eq!(store.log.sync_count(), 3);

    drop(store);
    let store = open(&directory);
    assert_eq!(store.log.bounds().unwrap(), Some((1, 5)));
    assert_eq!(store.log.state("vote").unwrap(), Some(payload(0)));
    assert_eq!(all(&store), entries(1..6));
    append(&store, 6..7);
    assert_eq!(all(&store), entries(1..7));
    assert!(store.log.disk_bytes() > 0);
}

#[test]
fn reads_are_bounded_but_never_empty_handed() {
    let directory = tempdir().unwrap();
    let store = open(&directory);
    append(&store, 1..10);
    let read = |from, to, bytes_max| store.log.read(from, to, bytes_max).unwrap();
    assert_eq!(read(3, 6, usize::MAX), entries(3..6));
    assert_eq!(read(3, 6, 0), entries(3..4));
    assert_eq!(read(3, 9, 2 * payload(3).len()), entries(3..5));
    assert_eq!(read(8, 100, usize::MAX), entries(8..10));
    assert_eq!(read(10, 100, usize::MAX), []);
    assert_eq!(read(5, 5, usize::MAX), []);
    assert_eq!(read(0, 3, usize::MAX), entries(1..3));
}

#[test]
fn what_is_truncated_or_purged_stays_away_and_the_log_goes_on() {
    let directory = tempdir().unwrap();
    let store = open(&directory);
    append(&store, 1..10);
    wait(|done| store.log.truncate_from(7, done)).unwrap();
    wait(|done| store.log.purge_through(3, ("purged", payload(3)), done)).unwrap();
    assert_eq!(store.log.bounds().unwrap(), Some((4, 6)));
    append(&store, 7..9);

    drop(store);
    let store = open(&directory);
    assert_eq!(all(&store), entries(4..9));
    assert_eq!(store.log.state("purged").unwrap(), Some(payload(3)));

    // A purge past the end, as after a snapshot was installed.
    wait(|done| store.log.purge_through(20, ("purged", payload(20)), done)).unwrap();
    assert_eq!(store.log.bounds().unwrap(), None);
    append(&store, 21..23);
    assert_eq!(all(&store), entries(21..23));
}

#[test]
fn jobs_take_effect_and_are_reported_in_their_order() {
    let directory = tempdir().unwrap();
    let store = open(&directory);
    let (sender, reports) = channel();
    let report = |number: u32| -> Done {
        let sender = sender.clone();
        Box::new(move |outcome| sender.send((number, outcome.is_ok())).unwrap())
    };
    for round in 0..50 {
        store.log.append(entries(1..4), report(4 * round));
        store.log.truncate_from(2, report(4 * round + 1));
        store.log.append(entries(2..3), report(4 * round + 2));
        store.log.truncate_from(1, report(4 * round + 3));
    }
    store.log.append(entries(1..3), report(200));
    let heard: Vec<_> = (0..201).map(|_| reports.recv().unwrap()).collect();
    assert_eq!(heard, (0..201).map(|number| (number, true)).collect::<Vec<_>>());
    assert_eq!(all(&store), entries(1..3));
    assert!(store.log.sync_count() < 201, "what queues up shares a sync");
}

#[test]
fn what_is_appended_in_place_is_reported_before_the_call_returns_and_stays_in_order() {
    let directory = tempdir().unwrap();
    let store = open(&directory);
    let (sender, reports) = channel();
    let report = |number: u64| -> Done {
        let sender = sender.clone();
        Box::new(move |outcome| sender.send((number, outcome.is_ok())).unwrap())
    };
    store.log.append_in_place(entries(1..2), report(1));
    assert_eq!(reports.try_recv(), Ok((1, true)));
    assert_eq!(store.log.sync_count(), 1);
    // Behind what is queued it must wait for its turn, on whichever thread that comes.
    for index in (2..60).step_by(2) {
        store.log.append(entries(index..index + 1), report(index));
        store.log.append_in_place(entries(index + 1..index + 2), report(index + 1));
    }
    for index in 2..60 {
        assert_eq!(reports.recv(), Ok((index, true)));
    }
    store.log.append_in_place(entries(70..71), report(70));
    assert_eq!(reports.recv(), Ok((70, false)), "it leaves a hole");
    drop(store);
    assert_eq!(all(&open(&directory)), entries(1..60));
}

#[test]
fn whoever_observes_syncs_hears_of_each() {
    let directory = tempdir().unwrap();
    let store = open(&directory);
    let heard = Arc::new(Mutex::new(Vec::new()));
    let observer = Arc::clone(&heard);
    store.log.observe_syncs(Arc::new(move |took| observer.lock().unwrap().push(took)));
    append(&store, 1..2);
    append(&store, 2..3);
    wait(|done| store.log.put_state("committed", payload(2), done)).unwrap();
    let heard = heard.lock().unwrap();
    assert_eq!(heard.len() as u64, store.log.sync_count());
    assert!(heard.len() == 3 && heard.iter().all(|took| *took > Duration::ZERO), "{heard:?}");
}

#[test]
fn an_entry_that_leaves_a_hole_stops_the_store() {
    let directory = tempdir().unwrap();
    let store = open(&directory);
    append(&store, 1..4);
    let refused = wait(|done| store.log.append(entries(5..6), done)).unwrap_err();
    assert!(matches!(refused, StoreError::Failed { .. }), "{refused}");
    for job in 0..3 {
        let refused = wait(|done| match job {
            0 => store.log.append(entries(4..5), done),
            1 => store.log.put_state("vote", payload(0), done),
            _ => store.log.truncate_from(1, done),
        });
        assert!(matches!(refused, Err(StoreError::Stopped { .. })), "{refused:?}");
    }
    assert!(matches!(store.tree.flush(), Err(StoreError::Stopped { .. })));
    drop(store);
    assert_eq!(all(&open(&directory)), entries(1..4));
}

#[test]
fn the_last_handle_may_be_dropped_inside_a_callback() {
    let directory = tempdir().unwrap();
    let Store { log, tree } = open(&directory);
    drop(tree);
    let (done, outcome) = awaited();
    let (handle, keep) = (log.clone(), Mutex::new(None));
    *keep.lock().unwrap() = Some(handle);
    log.append(
        entries(1..2),
        Box::new(move |written| {
            drop(keep.lock().unwrap().take());
            done(written);
        }),
    );
    drop(log);
    outcome.recv_timeout(Duration::from_secs(30)).unwrap().unwrap();
}

#[test]
fn a_torn_end_costs_only_the_write_that_was_torn() {
    let (directory, path) = closed_with(1..6);
    let whole = std::fs::read(&path).unwrap();
    let record_bytes = whole.len() / 5;
    for cut in [1, 7, record_bytes - 1] {
        std::fs::write(&path, &whole[..whole.len() - cut]).unwrap();
        assert!(wal::cut_torn_end(path.parent().unwrap()).unwrap());
        assert_eq!(std::fs::read(&path).unwrap(), whole[..whole.len() - record_bytes], "{cut}");
    }
    std::fs::write(&path, &whole[..whole.len() - 3]).unwrap();
    let store = open(&directory);
    assert_eq!(all(&store), entries(1..5));
    append(&store, 5..7);
    drop(store);
    assert_eq!(all(&open(&directory)), entries(1..7));
}

#[test]
fn garbage_or_zeros_after_the_end_cost_nothing() {
    let (directory, path) = closed_with(1..4);
    let whole = std::fs::read(&path).unwrap();
    // With a plausible length, RocksDB alone would call this damage and refuse to open.
    let plausible = [&[1, 2, 3, 4, 9, 0, 1][..], &[5; 40]].concat();
    for tail in [vec![0; 5_000], vec![0xff; 3], vec![0xa5; 100_000], plausible] {
        std::fs::write(&path, [whole.clone(), tail.clone()].concat()).unwrap();
        let is_torn = wal::cut_torn_end(path.parent().unwrap()).unwrap();
        assert_eq!(is_torn, tail.iter().any(|byte| *byte != 0), "zeros are no write");
        assert_eq!(std::fs::read(&path).unwrap(), whole);
    }
    std::fs::write(&path, [&whole[..], &[0xa5; 1_000]].concat()).unwrap();
    assert_eq!(all(&open(&directory)), entries(1..4));
}

#[test]
fn any_flipped_bit_before_the_last_write_is_refused_and_never_cut() {
    let (_directory, path) = closed_with(1..6);
    let database = path.parent().unwrap();
    let whole = std::fs::read(&path).unwrap();
    let last_begins = whole.len() / 5 * 4;
    let with_zeros = [&whole[..], &vec![0; 40_000]].concat();
    for (bit, whole) in (0..whole.len() * 8).flat_map(|bit| [(bit, &whole), (bit, &with_zeros)]) {
        let mut damaged = whole.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        std::fs::write(&path, &damaged).unwrap();
        let outcome = wal::cut_torn_end(database);
        if bit / 8 < last_begins {
            assert!(matches!(outcome, Err(StoreError::Corrupt { .. })), "bit {bit}: {outcome:?}");
            assert_eq!(std::fs::read(&path).unwrap(), damaged, "bit {bit}: it was left alone");
        } else {
            // Nothing tells this from a write that was torn.
            assert!(outcome.unwrap(), "bit {bit}");
            assert_eq!(std::fs::read(&path).unwrap(), whole[..last_begins], "bit {bit}");
        }
    }
}

#[test]
fn damage_among_large_writes_is_refused_wherever_it_is() {
    let directory = tempdir().unwrap();
    let store = open(&directory);
    for index in 1..6 {
        let entry = vec![(index, Bytes::from(vec![index as u8; 50_000]))];
        wait(|done| store.log.append(entry, done)).unwrap();
    }
    drop(store);
    let path = files(directory.path(), "log").pop().unwrap();
    let whole = std::fs::read(&path).unwrap();
    for at in (0..whole.len() * 4 / 5 - 100).step_by(997) {
        flip(&path, at, 0x10);
        let outcome = wal::cut_torn_end(path.parent().unwrap());
        assert!(matches!(outcome, Err(StoreError::Corrupt { .. })), "byte {at}: {outcome:?}");
        flip(&path, at, 0x10);
    }
    // Two pages of the last write that the machine did not get to disk.
    let mut torn = whole.clone();
    let at = whole.len() - 30_000;
    torn[at..at + 8_192].fill(0);
    std::fs::write(&path, torn).unwrap();
    let store = open(&directory);
    assert_eq!(store.log.bounds().unwrap(), Some((1, 4)));
}

/// Copies the files of a database as a crash would leave them.
fn crashed(database: &Path) -> TempDir {
    let copy = tempdir().unwrap();
    for file in std::fs::read_dir(database).unwrap() {
        let file = file.unwrap();
        // RocksDB may delete a file meanwhile; what it still needs stays.
        drop(std::fs::copy(file.path(), copy.path().join(file.file_name())));
    }
    copy
}

/// A database like the log's, but one that begins a new WAL file after a few writes.
fn restless(database: &Path) -> DB {
    let mut options = options(&database::block_cache());
    options.set_write_buffer_size(8 << 10);
    options.set_min_write_buffer_number_to_merge(1);
    database::open(database, &options, &[]).unwrap()
}

/// How many writes there are, one after the other from the first.
fn writes(db: &DB) -> u64 {
    let is_missing = |number: &u64| db.get(number.to_be_bytes()).unwrap().is_none();
    (0..1_000_000).find(is_missing).unwrap()
}

#[test]
fn whatever_moment_a_crash_comes_nothing_is_lost() {
    let directory = tempdir().unwrap();
    let db = restless(directory.path());
    let mut synced = WriteOptions::default();
    synced.set_sync(true);
    let (mut longer, mut files_max) = (0, 0);
    for number in 0..300_u64 {
        let value = vec![0; 37 + (number as usize * 7_919) % 600];
        db.put_opt(number.to_be_bytes(), value, &synced).unwrap();
        wal::extend(directory.path(), 40_000);
        let copy = crashed(directory.path());
        let before = files_in(copy.path());
        assert!(!wal::cut_torn_end(copy.path()).unwrap(), "zeros are no write");
        let after = files_in(copy.path());
        longer += u32::from(before.iter().map(|file| file.1).max() == Some(40_000));
        files_max = files_max.max(after.iter().filter(|file| file.1 > 0).count());
        assert_eq!(writes(&restless(copy.path())), number + 1, "after write {number}");
    }
    assert!(longer > 200 && files_max > 1, "{longer} had zeros at the end, {files_max} at once");
}

/// The WAL files of a database with their lengths.
fn files_in(database: &Path) -> Vec<(PathBuf, u64)> {
    let length = |path: PathBuf| (path.clone(), path.metadata().unwrap().len());
    wal::wal_files(database).unwrap().into_iter().map(length).collect()
}

#[test]
fn damage_in_the_wal_is_reported_with_its_place() {
    let (directory, path) = closed_with(1..6);
    flip(&path, 60, 4);
    let refused = refusal(&directory).to_string();
    assert!(refused.contains(path.to_str().unwrap()) && refused.contains("damaged"), "{refused}");
}

#[test]
fn damage_in_a_table_is_refused_at_the_start() {
    let (directory, _) = closed_with(1..200);
    drop(open(&directory)); // What the WAL held lies in a table now.
    let table = files(directory.path(), "sst").pop().unwrap();
    flip(&table, 1_000, 1);
    let refused = refusal(&directory);
    assert!(matches!(refused, StoreError::Corrupt { .. }), "{refused}");
    assert!(refused.to_string().contains("rookeeper/raft"), "{refused}");
}

#[test]
fn a_missing_or_misplaced_entry_is_refused_with_its_index() {
    let directory = tempdir().unwrap();
    let store = open(&directory);
    append(&store, 1..8);
    let db = &store.log.inner.db;

    db.put(entry_key(6), db.get(entry_key(5)).unwrap().unwrap()).unwrap();
    let refused = store.log.read(1, 8, usize::MAX).unwrap_err().to_string();
    assert!(refused.contains("log entry 6") && refused.contains("checksum"), "{refused}");
    db.delete(entry_key(6)).unwrap();
    for from in [1, 6] {
        let refused = store.log.read(from, 8, usize::MAX).unwrap_err().to_string();
        assert!(refused.contains("log entry 6"), "{refused}");
    }
    assert_eq!(store.log.read(1, 5, usize::MAX).unwrap(), entries(1..5));
    drop(store);
    let refused = refusal(&directory).to_string();
    assert!(refused.contains("log entry 6"), "{refused}");
}
