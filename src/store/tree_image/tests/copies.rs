//! Copies of the image: taken, carried over, damaged on the way, installed, and a crash at any point.

use std::cell::RefCell;
use std::fs;
use std::path::Path as FilePath;

use super::*;
use crate::store::tests::append;
use checkpoint::TABLE_SUFFIX;

/// What a test does at a place between two steps of an installation.
type Visit = Box<dyn FnMut(&'static str)>;

thread_local! {
    static VISIT: RefCell<Option<Visit>> = const { RefCell::new(None) };
}

/// An installation on this thread has come to this place.
pub(in crate::store::tree_image) fn reached(place: &'static str) {
    VISIT.with_borrow_mut(|visit| {
        if let Some(visit) = visit {
            visit(place);
        }
    });
}

/// A pair with every kind of record in it.
fn furnished() -> Pair {
    let mut pair = Pair::new();
    for session in 1..3 {
        pair.run(session, &[Write::OpenSession { timeout_ms: 4_000, password: [7; 16] }]);
    }
    let acl = vec![Acl { perms: Perms::ALL, id: Id::new("ip", "::1") }];
    pair.run(1, &[create("/a", Some(2_000), 0), create("/e", None, 1), create("/a/b", Some(9), 0)]);
    pair.run(1, &[Write::SetAcl { path: "/a".into(), acl: Some(acl), version: Version::ANY }]);
    pair.run(2, &[create("/large", Some(900_000), 0), create("/e2", Some(600), 1)]);
    pair
}

/// A pair whose tree is not that of the other.
fn other() -> Pair {
    let mut pair = Pair::new();
    pair.run(1, &[Write::OpenSession { timeout_ms: 9_000, password: [9; 16] }]);
    pair.run(1, &[create("/old", Some(700), 0), create("/old/e", Some(1), 1)]);
    pair
}

/// Carries what is missing over, `pieces` at the most, and tells whether that was all.
fn carry(from: &Checkpoint, to: &mut Incoming, pieces: usize) -> Result<bool, StoreError> {
    for _ in 0..pieces {
        let Some((file, offset)) = to.missing() else { return Ok(true) };
        to.write(file, offset, &from.read(file, offset, 100_000)?)?;
    }
    Ok(to.missing().is_none())
}

fn arrived(from: &Checkpoint, to: &TreeStore) -> Received {
    let mut incoming = to.begin_incoming(from.manifest().clone()).unwrap();
    assert!(carry(from, &mut incoming, 1_000).unwrap());
    incoming.finish().unwrap()
}

fn home(pair: &Pair) -> std::path::PathBuf {
    pair.directory.path().join(crate::store::HOME)
}

fn names(directory: &FilePath) -> Vec<String> {
    let entries = fs::read_dir(directory).into_iter().flatten();
    let mut names: Vec<_> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort_unstable();
    names
}

impl Pair {
    /// Installs another pair's image, and has its tree from then on.
    fn install(&mut self, from: &Checkpoint) {
        let received = arrived(from, self.image());
        self.tree = self.image().install(received, |_| Ok(())).unwrap();
        self.tree.check_invariants().unwrap();
    }
}

#[test]
fn a_copy_becomes_the_image_of_another_server_which_goes_on_from_there() {
    let (source, mut target) = (furnished(), other());
    let handle = target.image().clone();
    let checkpoint = source.image().take_checkpoint().unwrap();
    assert!(checkpoint.manifest().files().iter().any(|file| file.name.ends_with(TABLE_SUFFIX)));

    let received = arrived(&checkpoint, target.image());
    let expected = source.tree.zxid().to_string();
    let check = |candidate: &Candidate<'_>| {
        assert_eq!(candidate.state("applied")?.unwrap(), expected);
        assert_ne!(handle.state("applied")?.unwrap(), expected, "the old one serves on");
        Ok(())
    };
    target.tree = handle.install(received, check).unwrap();

    target.tree.check_invariants().unwrap();
    assert_same(&target.tree, &source.tree);
    for store in [&handle, target.image()] {
        assert_eq!(store.state("applied").unwrap().unwrap(), expected);
        assert_eq!(store.flushed_state("applied").unwrap().unwrap(), expected);
        assert!(store.disk_bytes() > 0);
    }
    assert_eq!(names(&home(&target)), ["FORMAT", "LOCK", "raft", "tree.1"]);
    drop(handle);
    // Data that stays where it is, shrinks or goes: what is large is known of the new image.
    target.run(1, &[create("/a/c", None, 0), set("/large", Some(3)), delete("/e2")]);
    assert_eq!(target.data_keys(), 1);
    target.image().flush().unwrap();
    target.run(1, &[create("/later", Some(1), 0)]);
    target.reopen();
    assert_eq!(names(&home(&target)), ["FORMAT", "LOCK", "raft", "tree.1"]);
}

#[test]
fn images_replace_one_another_again_and_again() {
    let (mut source, mut target) = (furnished(), other());
    for number in 1..4 {
        source.run(1, &[create(&format!("/round{number}"), Some(700), 0)]);
        let checkpoint = source.image().take_checkpoint().unwrap();
        target.install(&checkpoint);
        assert_same(&target.tree, &source.tree);
        if number == 2 {
            target.reopen();
        }
        assert!(home(&target).join(format!("tree.{number}")).is_dir());
        assert_eq!(names(&home(&target)).len(), 4);
    }
    // And what was installed is the source of further copies.
    let mut third = other();
    third.install(&target.image().take_checkpoint().unwrap());
    assert_same(&third.tree, &source.tree);
}

#[test]
fn a_checkpoint_is_the_tree_of_its_moment_and_goes_with_its_last_handle() {
    let mut pair = furnished();
    let checkpoint = pair.image().take_checkpoint().unwrap();
    let (zxid, applied) = (pair.tree.zxid(), pair.image().state("applied").unwrap());
    let first = checkpoint.read(0, 0, usize::MAX).unwrap();
    pair.run(1, &[create("/b", Some(2_000), 0), delete("/large")]);
    pair.image().flush().unwrap();
    let later = pair.image().take_checkpoint().unwrap();

    // The image it was taken from is replaced.
    let mut target = other();
    pair.install(&target.image().take_checkpoint().unwrap());
    target.install(&checkpoint);

    assert_eq!(target.tree.zxid(), zxid);
    assert!(target.tree.find("/large").is_some() && target.tree.find("/b").is_none());
    assert_eq!(checkpoint.state("applied"), applied);
    assert_ne!(later.state("applied"), applied);
    assert_eq!(checkpoint.state("progress"), None, "it is the tree's own");
    let name = |number: u64| home(&pair).join(format!("checkpoint.{number}"));
    let clone = checkpoint.clone();
    drop((checkpoint, later));
    assert!(name(0).exists() && !name(1).exists());
    assert_eq!(clone.read(0, 0, usize::MAX).unwrap(), first);
    drop(clone);
    assert_eq!(names(&home(&pair)), ["FORMAT", "LOCK", "raft", "tree.1"]);
}

#[test]
fn a_checkpoint_is_read_piece_by_piece_up_to_the_end_of_each_file() {
    let pair = furnished();
    let checkpoint = pair.image().take_checkpoint().unwrap();
    for (file, entry) in checkpoint.manifest().files().iter().enumerate() {
        let mut whole = Vec::new();
        while let piece = checkpoint.read(file, whole.len() as u64, 1_000).unwrap()
            && !piece.is_empty()
        {
            whole.extend_from_slice(&piece);
        }
        assert_eq!((whole.len() as u64, crc32c::crc32c(&whole)), (entry.bytes, entry.crc32c));
        assert_eq!(checkpoint.read(file, u64::MAX, 1).unwrap(), Bytes::new());
    }
    let files = checkpoint.manifest().files().len();
    assert!(checkpoint.read(files, 0, 1).unwrap_err().to_string().contains("no such file"));
}

#[test]
fn a_checksum_is_taken_once_of_a_table_and_is_that_of_its_content() {
    let mut pair = furnished();
    let before = pair.image().take_checkpoint().unwrap();
    pair.run(1, &[create("/b", Some(2_000), 0)]);
    let after = pair.image().take_checkpoint().unwrap();
    let tables = |checkpoint: &Checkpoint| -> Vec<FileEntry> {
        let files = checkpoint.manifest().files().iter().cloned();
        files.filter(|file| file.name.ends_with(TABLE_SUFFIX)).collect()
    };
    let kept = tables(&after).into_iter().filter(|table| tables(&before).contains(table)).count();
    assert!(0 < kept && kept < tables(&after).len());
    for entry in after.manifest().files() {
        let path = home(&pair).join("checkpoint.1").join(&entry.name);
        assert_eq!(checkpoint::checksum(&path).unwrap(), entry.crc32c, "{}", entry.name);
    }
    let image = pair.image().current();
    let known = image.checksums.lock().unwrap();
    assert_eq!(known.len(), tables(&after).len(), "none is remembered longer than it is needed");
}

#[test]
fn copies_are_of_one_moment_while_commits_go_on() {
    let pair = other();
    let writer = pair.image().clone();
    let stop = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let stopped = Arc::clone(&stop);
    let progress = pair.tree.progress();
    let committing = std::thread::spawn(move || {
        let mut number = 0_u64;
        while !stopped.load(Ordering::Relaxed) && number < 1_000_000 {
            number += 1;
            let progress = crate::tree::Progress { term: number, ..progress };
            let changes = Changes { progress, ..Changes::default() };
            let state = [("applied", Bytes::from(number.to_string()))];
            writer.commit(&changes, &state).unwrap();
        }
    });
    for _ in 0..4 {
        let checkpoint = pair.image().take_checkpoint().unwrap();
        let target = other();
        let received = arrived(&checkpoint, target.image());
        let tree = target.image().install(received, |_| Ok(())).unwrap();
        let applied = target.image().state("applied").unwrap();
        assert_eq!(checkpoint.state("applied"), applied);
        if tree.progress().term != progress.term {
            assert_eq!(applied.unwrap(), tree.progress().term.to_string());
        }
    }
    stop.store(true, Ordering::Relaxed);
    committing.join().unwrap();
}

#[test]
fn a_transfer_that_broke_off_goes_on_with_the_files_that_are_missing() {
    let (source, mut target) = (furnished(), other());
    let checkpoint = source.image().take_checkpoint().unwrap();
    let manifest = checkpoint.manifest();
    let mut incoming = target.image().begin_incoming(manifest.clone()).unwrap();
    // All files but the last are complete, and of the last there is a piece.
    while incoming.missing().unwrap() != (manifest.files().len() - 1, 0) {
        assert!(!carry(&checkpoint, &mut incoming, 1).unwrap());
    }
    let last = manifest.files().len() - 1;
    incoming.write(last, 0, &checkpoint.read(last, 0, 10).unwrap()).unwrap();
    drop(incoming);
    target.reopen();
    let directory = home(&target).join("incoming");
    fs::write(directory.join("stranger.sst"), "of another transfer").unwrap();
    fs::create_dir(directory.join("folder")).unwrap();
    let damaged = &manifest.files()[1];
    flip(&directory.join(&damaged.name), damaged.bytes / 2);

    let mut incoming = target.image().begin_incoming(manifest.clone()).unwrap();
    assert!(!directory.join("stranger.sst").exists() && !directory.join("folder").exists());
    let mut asked = Vec::new();
    while let Some((file, offset)) = incoming.missing() {
        asked.push(file);
        incoming.write(file, offset, &checkpoint.read(file, offset, 1 << 30).unwrap()).unwrap();
    }
    assert_eq!(asked, [1, last], "the damaged one and the one that was not complete");
    let received = incoming.finish().unwrap();
    target.tree = target.image().install(received, |_| Ok(())).unwrap();
    assert_same(&target.tree, &source.tree);
    target.reopen();
}

fn flip(path: &FilePath, byte: u64) {
    let mut content = fs::read(path).unwrap();
    content[byte as usize] ^= 0x10;
    fs::write(path, content).unwrap();
}

#[test]
fn whatever_arrives_damaged_is_refused_and_asked_for_again() {
    let (source, target) = (furnished(), other());
    let checkpoint = source.image().take_checkpoint().unwrap();
    let mut incoming = target.image().begin_incoming(checkpoint.manifest().clone()).unwrap();
    let is_bad = |written: Result<(), StoreError>| {
        assert!(matches!(written, Err(StoreError::BadCopy { .. })), "{written:?}");
    };
    while let Some((file, offset)) = incoming.missing() {
        let whole = checkpoint.read(file, offset, usize::MAX).unwrap();
        let mut flipped = whole.to_vec();
        flipped[whole.len() / 2] ^= 1;
        is_bad(incoming.write(file, offset, &flipped));
        is_bad(incoming.write(file, offset, &[&whole[..], b"x"].concat()));
        is_bad(incoming.write(file, offset, b""));
        for (file, offset) in [(file + 1, 0), (file, 1), (usize::MAX, u64::MAX)] {
            let elsewhere = incoming.write(file, offset, &whole);
            assert!(matches!(elsewhere, Err(StoreError::Failed { .. })), "{elsewhere:?}");
        }
        assert_eq!(incoming.missing(), Some((file, offset)));
        incoming.write(file, offset, &whole).unwrap();
    }
    let received = incoming.finish().unwrap();
    assert_same(&target.image().install(received, |_| Ok(())).unwrap(), &source.tree);
}

#[test]
fn what_is_damaged_after_it_arrived_is_noticed_at_the_end() {
    let (source, target) = (furnished(), other());
    let checkpoint = source.image().take_checkpoint().unwrap();
    let manifest = checkpoint.manifest();
    let directory = home(&target).join("incoming");
    let damages: [fn(&FilePath, u64); 3] = [
        flip,
        |path, byte| fs::OpenOptions::new().write(true).open(path).unwrap().set_len(byte).unwrap(),
        |path, _| fs::remove_file(path).unwrap(),
    ];
    for damage in damages {
        for entry in manifest.files().iter().filter(|entry| 0 < entry.bytes) {
            let mut incoming = target.image().begin_incoming(manifest.clone()).unwrap();
            assert!(carry(&checkpoint, &mut incoming, 1_000).unwrap());
            fs::write(directory.join("extra.sst"), "is removed").unwrap();
            damage(&directory.join(&entry.name), entry.bytes / 2);
            let refused = incoming.finish().err().unwrap().to_string();
            assert!(refused.contains(&entry.name) && refused.contains("damaged"), "{refused}");
        }
    }
    let mut incoming = target.image().begin_incoming(manifest.clone()).unwrap();
    assert!(!carry(&checkpoint, &mut incoming, 0).unwrap());
    assert!(incoming.finish().err().unwrap().to_string().contains("missing"));
    assert_same(&load(target.image()).unwrap(), &target.tree);
}

/// Everything but a list of files and their content is invented here: what another server sends
/// may be whole and still no image.
fn invented(files: &[(&str, Bytes)], to: &TreeStore) -> Received {
    let entry = |(name, content): &(&str, Bytes)| FileEntry {
        name: (*name).to_owned(),
        bytes: content.len() as u64,
        crc32c: crc32c::crc32c(content),
    };
    let manifest = Manifest::new(files.iter().map(entry).collect()).unwrap();
    let mut incoming = to.begin_incoming(manifest).unwrap();
    while let Some((file, offset)) = incoming.missing() {
        incoming.write(file, offset, &files[file].1[offset as usize..]).unwrap();
    }
    incoming.finish().unwrap()
}

#[test]
fn a_copy_that_is_no_image_is_refused_and_leaves_the_old_one_serving() {
    let source = furnished();
    let checkpoint = source.image().take_checkpoint().unwrap();
    let listed = checkpoint.manifest().files().iter().enumerate();
    let files: Vec<(&str, Bytes)> = listed
        .map(|(file, entry)| (&*entry.name, checkpoint.read(file, 0, usize::MAX).unwrap()))
        .collect();
    let mut cases = vec![(vec![], "nothing"), (vec![("a.sst", Bytes::new())], "one empty file")];
    for left_out in 0..files.len() {
        let mut fewer = files.clone();
        let (name, _) = fewer.remove(left_out);
        // RocksDB does without the file of its options and without an empty WAL.
        if !name.starts_with("OPTIONS") && !files[left_out].1.is_empty() {
            cases.push((fewer, name));
        }
        if !name.ends_with(TABLE_SUFFIX) && !name.starts_with("MANIFEST") {
            continue;
        }
        // Its first record and its end are read in any case.
        for place in [0, files[left_out].1.len() - 1] {
            let mut damaged = files.clone();
            let mut content = damaged[left_out].1.to_vec();
            content[place] ^= 0x41;
            damaged[left_out].1 = content.into();
            cases.push((damaged, name));
        }
    }
    assert!(cases.len() > 12, "{}", cases.len());
    for (files, case) in cases {
        // A new one each time: what was read of an earlier copy is still in memory.
        let mut target = other();
        let received = invented(&files, target.image());
        let Err(refused) = target.image().install(received, |_| Ok(())) else {
            panic!("{case} makes no difference");
        };
        assert!(matches!(refused, StoreError::BadCopy { .. }), "{case}: {refused}");
        assert_eq!(names(&home(&target)), ["FORMAT", "LOCK", "raft", "tree"], "{case}");
        assert_same(&load(target.image()).unwrap(), &target.tree);
        target.run(1, &[create("/on", Some(600), 0)]);
        target.image().flush().unwrap();
        target.reopen();
    }
}

#[test]
fn a_copy_that_the_caller_refuses_is_removed_and_the_old_image_serves_on() {
    let (source, mut target) = (furnished(), other());
    let checkpoint = source.image().take_checkpoint().unwrap();
    let received = arrived(&checkpoint, target.image());
    let refuse = |_: &Candidate<'_>| Err(StoreError::bad_copy("it is not what was promised"));
    let refused = target.image().install(received, refuse).err().unwrap();
    assert!(refused.to_string().contains("not what was promised"), "{refused}");
    assert_eq!(names(&home(&target)), ["FORMAT", "LOCK", "raft", "tree"]);
    target.run(1, &[create("/on", Some(600), 0)]);
    target.reopen();
}

#[test]
fn a_transfer_ends_when_another_one_begins() {
    let (source, target) = (furnished(), other());
    let checkpoint = source.image().take_checkpoint().unwrap();
    let manifest = checkpoint.manifest();
    let early = arrived(&checkpoint, target.image());
    let mut second = target.image().begin_incoming(manifest.clone()).unwrap();
    let refused = target.image().install(early, |_| Ok(())).err().unwrap();
    assert!(refused.to_string().contains("another one has begun"), "{refused}");
    assert_eq!(second.missing(), None, "its files are still good");

    let third = target.image().begin_incoming(manifest.clone()).unwrap();
    assert!(second.write(0, 0, b"x").is_err() && second.finish().is_err());
    target.image().discard_incoming().unwrap();
    assert!(third.finish().is_err() && !home(&target).join("incoming").exists());
    target.image().discard_incoming().unwrap();
}

#[test]
fn a_copy_that_would_fill_the_disk_is_not_begun() {
    let target = other();
    let files = vec![FileEntry { name: "1.sst".to_owned(), bytes: u64::MAX / 2, crc32c: 0 }];
    let refused = target.image().begin_incoming(Manifest::new(files).unwrap()).err().unwrap();
    assert!(matches!(refused, StoreError::NotWritable { .. }), "{refused}");
    assert!(refused.to_string().contains("No space left"), "{refused}");
}

/// Copies a store as a crash at this moment would leave it.
fn copy_directory(from: &FilePath, to: &FilePath) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_directory(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

#[test]
fn a_crash_at_any_point_leaves_the_old_image_or_the_new_one_whole() {
    let (source, target) = (furnished(), other());
    append(target.store.as_ref().unwrap(), 1..4);
    target.image().flush().unwrap();
    let checkpoint = source.image().take_checkpoint().unwrap();
    let received = arrived(&checkpoint, target.image());
    let crashes = tempdir().unwrap();
    let (from, to) = (target.directory.path().to_owned(), crashes.path().to_owned());
    let copy = move |place: &'static str| copy_directory(&from, &to.join(place));
    copy("received");
    VISIT.set(Some(Box::new(copy)));
    let installed = target.image().install(received, |_| Ok(()));
    VISIT.take();
    assert_same(&installed.unwrap(), &source.tree);

    let places = ["received", "renamed", "opened", "prepared", "switched", "removed"];
    assert_eq!(names(crashes.path()).len(), places.len());
    for (number, place) in places.into_iter().enumerate() {
        let directory = crashes.path().join(place);
        let is_new = 4 <= number;
        for start in 0..2 {
            let store = Store::open(&directory, None).unwrap();
            let loaded = load(&store.tree).unwrap();
            loaded.check_invariants().unwrap();
            assert_same(&loaded, if is_new { &source.tree } else { &target.tree });
            assert_eq!(store.log.bounds().unwrap(), Some((1, 3)), "{place}, start {start}");
            let mut left = names(&directory.join(crate::store::HOME));
            left.retain(|name| !name.starts_with("FORMAT"));
            let image = if is_new { "tree.1" } else { "tree" };
            let incoming: &[&str] = if number == 0 { &["incoming"] } else { &[] };
            assert_eq!(left, [&["LOCK"], incoming, &["raft", image]].concat(), "{place}");
        }
        // The next transfer does not stumble over anything.
        let store = Store::open(&directory, None).unwrap();
        let next = arrived(&checkpoint, &store.tree);
        assert_same(&store.tree.install(next, |_| Ok(())).unwrap(), &source.tree);
        drop(store);
        assert_same(&load(&Store::open(&directory, None).unwrap().tree).unwrap(), &source.tree);
    }
}

#[test]
fn an_installation_that_cannot_be_prepared_leaves_the_old_image_serving() {
    let (source, mut target) = (furnished(), other());
    let checkpoint = source.image().take_checkpoint().unwrap();
    let received = arrived(&checkpoint, target.image());
    let in_the_way = home(&target).join("FORMAT.new");
    fs::create_dir(&in_the_way).unwrap();
    let refused = target.image().install(received, |_| Ok(())).err().unwrap();
    assert!(matches!(refused, StoreError::NotWritable { .. }), "{refused}");
    fs::remove_dir(&in_the_way).unwrap();
    assert_eq!(names(&home(&target)), ["FORMAT", "LOCK", "raft", "tree"]);
    target.run(1, &[create("/on", Some(600), 0)]);
    target.reopen();
    target.install(&checkpoint);
}

#[test]
fn nothing_is_written_when_it_is_unknown_which_image_a_restart_would_find() {
    let (source, mut target) = (furnished(), other());
    target.image().flush().unwrap();
    let received = arrived(&source.image().take_checkpoint().unwrap(), target.image());
    let unfinished = home(&target).join("FORMAT.new");
    VISIT.set(Some(Box::new(move |place| {
        if place == "prepared" {
            fs::remove_file(&unfinished).unwrap();
        }
    })));
    let refused = target.image().install(received, |_| Ok(())).err().unwrap();
    VISIT.take();
    assert!(matches!(refused, StoreError::NotWritable { .. }), "{refused}");
    assert_eq!(names(&home(&target)), ["FORMAT", "LOCK", "raft", "tree", "tree.1"]);
    assert_same(&load(target.image()).unwrap(), &target.tree);
    let stopped = |outcome: Result<(), StoreError>| {
        assert!(matches!(outcome, Err(StoreError::Stopped { .. })), "{outcome:?}");
    };
    stopped(target.image().commit(&Changes::default(), &[]));
    stopped(target.image().flush());
    stopped(target.image().take_checkpoint().map(drop));
    target.reopen();
    assert_eq!(names(&home(&target)), ["FORMAT", "LOCK", "raft", "tree"]);
}

#[test]
fn an_image_in_use_is_closed_and_removed_when_nobody_is_inside_it() {
    let (source, mut target) = (furnished(), other());
    let inside = target.image().current();
    target.install(&source.image().take_checkpoint().unwrap());
    inside.flush().unwrap();
    assert!(inside.state("applied", ReadTier::Persisted).unwrap().is_some());
    assert_eq!(names(&home(&target)), ["FORMAT", "LOCK", "raft", "tree", "tree.1"]);
    drop(inside);
    assert_eq!(names(&home(&target)), ["FORMAT", "LOCK", "raft", "tree.1"]);
    target.reopen();
}

#[test]
fn a_transfer_that_cannot_be_written_is_removed_and_can_begin_again() {
    let (source, mut target) = (furnished(), other());
    let checkpoint = source.image().take_checkpoint().unwrap();
    let directory = home(&target).join("incoming");
    let mut incoming = target.image().begin_incoming(checkpoint.manifest().clone()).unwrap();
    assert!(!carry(&checkpoint, &mut incoming, 1).unwrap());
    let (next, _) = incoming.missing().unwrap();
    fs::create_dir(directory.join(&checkpoint.manifest().files()[next].name)).unwrap();
    let failed = carry(&checkpoint, &mut incoming, 1).unwrap_err();
    assert!(matches!(failed, StoreError::NotWritable { .. }), "{failed}");
    assert!(!directory.exists());
    let ended = carry(&checkpoint, &mut incoming, 1).unwrap_err().to_string();
    assert!(ended.contains("has ended") && incoming.finish().is_err(), "{ended}");
    target.install(&checkpoint);
    assert_same(&target.tree, &source.tree);
}

#[test]
fn a_store_whose_tree_is_gone_is_not_opened_with_an_empty_one() {
    let (source, mut target) = (furnished(), other());
    target.install(&source.image().take_checkpoint().unwrap());
    target.store = None;
    let home = home(&target);
    for case in ["tree.1", "FORMAT"] {
        let elsewhere = target.directory.path().join(case);
        fs::rename(home.join(case), &elsewhere).unwrap();
        let refused = crate::store::tests::refusal(&target.directory);
        assert!(matches!(refused, StoreError::Mismatched { .. }), "{case}: {refused}");
        assert!(!home.join("tree").exists(), "{case}");
        fs::rename(&elsewhere, home.join(case)).unwrap();
    }
    target.reopen();
}
