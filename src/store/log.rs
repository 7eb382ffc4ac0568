//! The raft log: entries by index and a few values by name, in the database `raft/`.
//!
//! All writes go through one queue to one thread. It takes whatever has queued up, writes it as one
//! batch, syncs once and then reports to all, in order; so a slow disk makes larger batches. What an
//! entry says is none of this file's business.
//!
//! Invariants: nothing is reported as written before its sync returned; reports come in the order of
//! the jobs; indexes are consecutive; after a fault nothing is written any more.
//!
//! Entries and state share one column family, because an old unflushed value in a second one would
//! keep every WAL file since.

use std::path::Path;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;
use rocksdb::{Cache, DB, DBRawIterator, Options, WriteBatch, WriteOptions};

use crate::clock::Stopwatch;

use super::error::Latch;
use super::keyspace::{ENTRY_KEY_END, ENTRY_KEY_START, entry_key, log_state_key, parse_entry_key};
use super::lock::DirectoryLock;
use super::record::{ENTRY, STATE, seal, unseal};
use super::{StoreError, damaged_record, database, keyspace, wal};

/// Jobs that may wait; one more waits for room.
const QUEUED_JOBS_MAX: usize = 1_024;
/// A batch takes no further job when it has this many bytes.
const BATCH_BYTES_MAX: usize = 4 << 20;
/// Entries are kept in memory until two buffers are full and then go to a file together. Entries
/// that are purged before that never reach one. With more than three, what is written could run far
/// ahead of the purge.
const WRITE_BUFFER_BYTES: usize = 12 << 20;
const WRITE_BUFFERS_MAX: i32 = 3;
const WRITE_BUFFERS_PER_FLUSH: i32 = 2;
/// A WAL file is given this length beforehand: as many bytes as a buffer takes, at the most.
const WAL_BYTES: u64 = WRITE_BUFFER_BYTES as u64 + (1 << 20);
/// After so many bytes it is seen whether a new WAL file was begun.
const WAL_CHECK_BYTES: usize = 1 << 20;

/// Called once with a job's outcome, on the writer thread, in the order of the jobs. It must be
/// quick and must not queue another job: the queue may be full.
pub type Done = Box<dyn FnOnce(Result<(), StoreError>) + Send>;

/// Told how long each synced write took, on the writer thread.
pub type SyncObserver = Arc<dyn Fn(Duration) + Send + Sync>;

/// The raft log. A clone is another handle to the same log; with the last one the writer ends,
/// after it has written what is queued.
#[derive(Clone)]
pub struct LogStore {
    inner: Arc<Inner>,
}

struct Inner {
    db: Arc<DB>,
    syncs: Arc<Syncs>,
    writer: Arc<Mutex<Writer>>,
    /// Jobs that were queued and are not yet reported.
    unreported: Arc<AtomicUsize>,
    queue: Option<SyncSender<Queued>>,
    thread: Option<JoinHandle<()>>,
    /// Released after the writer has ended.
    _locks: Arc<[DirectoryLock]>,
}

/// The writer. A panic ends the process (`panic = "abort"`), so nobody meets half a batch.
fn lock(writer: &Mutex<Writer>) -> MutexGuard<'_, Writer> {
    writer.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What is known of synced writes.
#[derive(Default)]
struct Syncs {
    count: AtomicU64,
    observer: OnceLock<SyncObserver>,
}

/// What the writer is asked to do.
enum Job {
    Append(Vec<(u64, Bytes)>),
    PutState { name: &'static str, value: Bytes },
    TruncateFrom(u64),
    PurgeThrough { index: u64, name: &'static str, value: Bytes },
}

/// A job, and whom to tell.
type Queued = (Job, Done);

impl LogStore {
    /// Opens the log in the directory `path` and checks every entry.
    pub(super) fn open(
        path: &Path,
        cache: &Cache,
        latch: Latch,
        locks: Arc<[DirectoryLock]>,
    ) -> Result<LogStore, StoreError> {
        if wal::cut_torn_end(path)? {
            let path = path.display();
            tracing::info!(%path, "cut what was not written to its end off the log");
        }
        let db = Arc::new(database::open(path, &options(cache), &[])?);
        let last = check_entries(&db)?;
        let syncs = Arc::new(Syncs::default());
        let (queue, jobs) = sync_channel(QUEUED_JOBS_MAX);
        let writer = Arc::new(Mutex::new(Writer {
            db: Arc::clone(&db),
            latch,
            syncs: Arc::clone(&syncs),
            next: last.map(|last| last + 1),
            unchecked_bytes: WAL_CHECK_BYTES,
        }));
        let unreported = Arc::new(AtomicUsize::new(0));
        let queued =
            WriterQueue { jobs, writer: Arc::clone(&writer), unreported: Arc::clone(&unreported) };
        let thread = std::thread::Builder::new()
            .name("raft-log".to_owned())
            .spawn(move || queued.run())
            .map_err(|error| StoreError::failed("starting the log's writer thread", &error))?;
        let (queue, thread) = (Some(queue), Some(thread));
        let inner = Inner { db, syncs, writer, unreported, queue, thread, _locks: locks };
        Ok(LogStore { inner: Arc::new(inner) })
    }

    /// Queues entries with consecutive indexes, the first after the log's last. `done` is called
    /// once they are synced. Returns at once, unless 1,024 jobs are waiting for the disk.
    pub fn append(&self, entries: Vec<(u64, Bytes)>, done: Done) {
        self.enqueue(Job::Append(entries), done);
    }

    /// As [`Self::append`], but waits for the disk on the caller's thread if nothing else is queued.
    pub fn append_in_place(&self, entries: Vec<(u64, Bytes)>, done: Done) {
        let inner = &*self.inner;
        if inner.unreported.load(Ordering::Acquire) > 0 {
            return self.append(entries, done);
        }
        let outcome = lock(&inner.writer).write(&[Job::Append(entries)]);
        done(outcome);
    }

    /// Queues a small value under a name. `done` is called once it is synced.
    pub fn put_state(&self, name: &'static str, value: Bytes, done: Done) {
        self.enqueue(Job::PutState { name, value }, done);
    }

    /// Queues the removal of the entries from `index` on. `done` is called once it is synced.
    pub fn truncate_from(&self, index: u64, done: Done) {
        self.enqueue(Job::TruncateFrom(index), done);
    }

    /// Queues the removal of the entries up to and with `index`, together with a value of the
    /// state. `done` is called once it is synced.
    pub fn purge_through(&self, index: u64, (name, value): (&'static str, Bytes), done: Done) {
        self.enqueue(Job::PurgeThrough { index, name, value }, done);
    }

    fn enqueue(&self, job: Job, done: Done) {
        self.inner.unreported.fetch_add(1, Ordering::AcqRel);
        let refused = match &self.inner.queue {
            Some(queue) => queue.send((job, done)).err().map(|refused| refused.0),
            None => Some((job, done)),
        };
        if let Some((_, done)) = refused {
            done(Err(StoreError::failed("queueing a write", "the log's writer thread has died")));
        }
    }

    /// The value that was last written under a name.
    ///
    /// # Errors
    ///
    /// The disk's, or [`StoreError::Corrupt`].
    pub fn state(&self, name: &str) -> Result<Option<Bytes>, StoreError> {
        let db = &self.inner.db;
        let key = log_state_key(name);
        let record = db
            .get_pinned(&key)
            .map_err(|error| database::fault("reading the log's state", db.path(), &error))?;
        let Some(record) = record else { return Ok(None) };
        match unseal(&STATE, &key, &record) {
            Ok(value) => Ok(Some(Bytes::copy_from_slice(value))),
            Err(flaw) => Err(damaged_record(db, &STATE, name, &flaw)),
        }
    }

    /// The written entries from `from` up to but without `to_exclusive`: consecutive, as far as the
    /// log reaches, and no more after `bytes_max`, but one in any case. Entries before the log's
    /// first are left out.
    ///
    /// # Errors
    ///
    /// The disk's, or [`StoreError::Corrupt`] for a damaged or missing entry.
    pub fn read(
        &self,
        from: u64,
        to_exclusive: u64,
        bytes_max: usize,
    ) -> Result<Vec<(u64, Bytes)>, StoreError> {
        let mut scan = EntryScan::new(&self.inner.db);
        let mut entries = Vec::new();
        let mut bytes = 0;
        scan.seek(from)?;
        while let Some((index, payload)) = scan.entry()? {
            let is_full = bytes + payload.len() > bytes_max && !entries.is_empty();
            if index >= to_exclusive || is_full {
                break;
            }
            bytes += payload.len();
            entries.push((index, Bytes::copy_from_slice(payload)));
            scan.advance();
        }
        Ok(entries)
    }

    /// The first and the last index that are written; `None` without entries.
    ///
    /// # Errors
    ///
    /// The disk's, or [`StoreError::Corrupt`].
    pub fn bounds(&self) -> Result<Option<(u64, u64)>, StoreError> {
        let mut scan = EntryScan::new(&self.inner.db);
        scan.iterator.seek(ENTRY_KEY_START);
        let Some(first) = scan.index()? else { return Ok(None) };
        scan.iterator.seek_for_prev(ENTRY_KEY_END);
        Ok(scan.index()?.map(|last| (first, last)))
    }

    /// How many synced writes there were since the log was opened.
    pub fn sync_count(&self) -> u64 {
        self.inner.syncs.count.load(Ordering::Relaxed)
    }

    /// Sets who is told of synced writes, once and for all: a second observer is not heard.
    pub fn observe_syncs(&self, observer: SyncObserver) {
        self.inner.syncs.observer.get_or_init(|| observer);
    }

    /// The name that RocksDB gave the database when it was created.
    pub(super) fn identity(&self) -> Result<String, StoreError> {
        let db = &self.inner.db;
        let identity = db
            .get_db_identity()
            .map_err(|error| database::fault("asking the log's identity", db.path(), &error))?;
        Ok(String::from_utf8_lossy(&identity).into_owned())
    }

    /// Whether nothing was ever written.
    pub(super) fn is_untouched(&self) -> Result<bool, StoreError> {
        let db = &self.inner.db;
        let mut iterator = db.raw_iterator();
        iterator.seek_to_first();
        let found = iterator.valid();
        let status = iterator.status();
        status
            .map(|()| !found)
            .map_err(|error| database::fault("reading the log", db.path(), &error))
    }

    /// Bytes that the log takes on disk, approximately.
    pub fn disk_bytes(&self) -> u64 {
        database::disk_bytes(self.inner.db.path())
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.queue = None;
        let Some(thread) = self.thread.take() else { return };
        // The last handle may have been inside a callback: the writer cannot wait for itself.
        if thread.thread().id() != std::thread::current().id() {
            // It has reported whatever went wrong to those who waited.
            drop(thread.join());
        }
    }
}

/// RocksDB's settings for a log. The limit on WAL files has no say with one column family: they go
/// when the buffers do.
fn options(cache: &Cache) -> Options {
    let mut options = database::shared_options(cache);
    options.set_write_buffer_size(WRITE_BUFFER_BYTES);
    options.set_max_write_buffer_number(WRITE_BUFFERS_MAX);
    options.set_min_write_buffer_number_to_merge(WRITE_BUFFERS_PER_FLUSH);
    // What reaches a file is about to be purged.
    options.set_compression_type(rocksdb::DBCompressionType::None);
    options
}

/// Reads every entry once, and returns the last index.
fn check_entries(db: &DB) -> Result<Option<u64>, StoreError> {
    let mut scan = EntryScan::new(db);
    let mut last = None;
    scan.seek(0)?;
    while let Some((index, _)) = scan.entry()? {
        last = Some(index);
        scan.advance();
    }
    Ok(last)
}

/// A walk over entries, as they were when it began, that stumbles over any that is damaged or
/// missing.
struct EntryScan<'d> {
    db: &'d DB,
    iterator: DBRawIterator<'d>,
    /// The index that must come next; `None` before the first.
    expected: Option<u64>,
}

impl<'d> EntryScan<'d> {
    fn new(db: &'d DB) -> EntryScan<'d> {
        EntryScan { db, iterator: db.raw_iterator(), expected: None }
    }

    /// Moves to the first entry at or after `index`.
    fn seek(&mut self, index: u64) -> Result<(), StoreError> {
        self.iterator.seek_for_prev(entry_key(index));
        // With an entry before it, the one at `index` must be there, unless the log ends here.
        self.expected = self.index()?.map(|_| index);
        self.iterator.seek(entry_key(index));
        Ok(())
    }

    fn advance(&mut self) {
        self.expected = self.index().ok().flatten().map(|index| index.saturating_add(1));
        self.iterator.next();
    }

    /// The index here; `None` outside of the entries.
    fn index(&self) -> Result<Option<u64>, StoreError> {
        let Some(key) = self.iterator.key() else {
            let status = self.iterator.status();
            return status
                .map(|()| None)
                .map_err(|error| database::fault("reading the log", self.db.path(), &error));
        };
        if !key.starts_with(&ENTRY_KEY_START) {
            return Ok(None);
        }
        match parse_entry_key(key) {
            Some(index) => Ok(Some(index)),
            None => Err(self.corrupt(&keyspace::shown(key), "its key is that of no entry")),
        }
    }

    /// The entry here, checked; `None` after the last.
    fn entry(&self) -> Result<Option<(u64, &[u8])>, StoreError> {
        let Some(index) = self.index()? else { return Ok(None) };
        if self.expected.is_some_and(|expected| expected != index) {
            let problem = format!("the next entry there is {index}");
            return Err(self.corrupt(&self.expected.unwrap_or(0).to_string(), &problem));
        }
        let record = self.iterator.value().unwrap_or_default();
        match unseal(&ENTRY, &entry_key(index), record) {
            Ok(payload) => Ok(Some((index, payload))),
            Err(flaw) => Err(damaged_record(self.db, &ENTRY, &index.to_string(), &flaw)),
        }
    }

    fn corrupt(&self, entry: &str, problem: &str) -> StoreError {
        let place = format!("log entry {entry} in {}", self.db.path().display());
        StoreError::Corrupt { place, problem: problem.to_owned() }
    }
}

/// The thread that writes what is queued.
struct WriterQueue {
    jobs: Receiver<Queued>,
    writer: Arc<Mutex<Writer>>,
    unreported: Arc<AtomicUsize>,
}

impl WriterQueue {
    fn run(self) {
        while let Ok(first) = self.jobs.recv() {
            let (jobs, reports): (Vec<_>, Vec<_>) = self.take_queued(first).into_iter().unzip();
            let outcome = lock(&self.writer).write(&jobs);
            for done in reports {
                done(outcome.clone());
                self.unreported.fetch_sub(1, Ordering::AcqRel);
            }
        }
    }

    /// Takes what has queued up behind `first`, up to the size of a batch.
    fn take_queued(&self, first: Queued) -> Vec<Queued> {
        let mut bytes = first.0.bytes();
        let mut queued = vec![first];
        while bytes < BATCH_BYTES_MAX
            && let Ok(next) = self.jobs.try_recv()
        {
            bytes += next.0.bytes();
            queued.push(next);
        }
        queued
    }
}

/// What writes.
struct Writer {
    db: Arc<DB>,
    latch: Latch,
    syncs: Arc<Syncs>,
    /// The index that the next entry must have; `None` if any may come.
    next: Option<u64>,
    /// Bytes written since the newest WAL file was looked at.
    unchecked_bytes: usize,
}

impl Writer {
    /// Writes jobs as one batch, unless something went wrong before.
    fn write(&mut self, jobs: &[Job]) -> Result<(), StoreError> {
        let outcome = self.latch.check().and_then(|()| self.write_batch(jobs));
        self.latch.note(outcome)
    }

    /// Writes jobs as one batch, and syncs it whatever it holds: a write that was lost before a later
    /// one that was not would look like damage.
    fn write_batch(&mut self, jobs: &[Job]) -> Result<(), StoreError> {
        let mut batch = WriteBatch::default();
        for job in jobs {
            self.add(job, &mut batch)?;
        }
        self.extend_wal(batch.size_in_bytes());
        let mut options = WriteOptions::default();
        options.set_sync(true);
        let began = Stopwatch::start();
        self.db
            .write_opt(batch, &options)
            .map_err(|error| database::fault("writing the log", self.db.path(), &error))?;
        self.syncs.count.fetch_add(1, Ordering::Relaxed);
        if let Some(observer) = self.syncs.observer.get() {
            observer(began.elapsed());
        }
        Ok(())
    }

    /// Sees to the WAL's length before so many bytes are written to it.
    fn extend_wal(&mut self, bytes: usize) {
        self.unchecked_bytes += bytes;
        if self.unchecked_bytes >= WAL_CHECK_BYTES {
            self.unchecked_bytes = 0;
            wal::extend(self.db.path(), WAL_BYTES);
        }
    }

    /// Adds a job to the batch.
    fn add(&mut self, job: &Job, batch: &mut WriteBatch) -> Result<(), StoreError> {
        match job {
            Job::Append(entries) => {
                for (index, payload) in entries {
                    self.check_next(*index)?;
                    let key = entry_key(*index);
                    let write = |out: &mut bytes::BytesMut| out.extend_from_slice(payload);
                    batch.put(key, seal(&ENTRY, &key, payload.len(), write));
                    self.next = Some(index + 1);
                }
            }
            Job::PutState { name, value } => put_state(batch, name, value),
            Job::TruncateFrom(index) => {
                batch.delete_range(entry_key(*index).as_slice(), &ENTRY_KEY_END);
                self.next = self.next.map(|next| next.min(*index));
            }
            Job::PurgeThrough { index, name, value } => {
                // No index is the largest of all: `check_next` sees to that.
                let end = index.saturating_add(1);
                batch.delete_range(ENTRY_KEY_START.as_slice(), &entry_key(end));
                put_state(batch, name, value);
                self.next = self.next.map(|next| next.max(end)).or(Some(end));
            }
        }
        Ok(())
    }

    /// Refuses an entry that would leave a hole or lie over another.
    fn check_next(&self, index: u64) -> Result<(), StoreError> {
        let is_next = self.next.is_none_or(|next| next == index) && index < u64::MAX;
        if is_next {
            return Ok(());
        }
        let reason = format!("entry {index} was handed in where {:?} is next", self.next);
        Err(StoreError::failed("appending to the log", &reason))
    }
}

impl Job {
    /// Bytes of payload.
    fn bytes(&self) -> usize {
        match self {
            Job::Append(entries) => entries.iter().map(|(_, payload)| payload.len()).sum(),
            Job::PutState { value, .. } | Job::PurgeThrough { value, .. } => value.len(),
            Job::TruncateFrom(_) => 0,
        }
    }
}

fn put_state(batch: &mut WriteBatch, name: &str, value: &Bytes) {
    let key = log_state_key(name);
    let record = seal(&STATE, &key, value.len(), |out| out.extend_from_slice(value));
    batch.put(&key, record);
}

#[cfg(test)]
mod tests;
