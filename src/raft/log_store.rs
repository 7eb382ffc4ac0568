//! openraft's log, kept by the store room.
//!
//! Entries can be read back as soon as they are handed in, from a tail in memory; RocksDB is read
//! only at start-up and for whoever lags far behind. Invariant: the tail holds every entry that is
//! not on disk yet.

use std::collections::VecDeque;
use std::fmt::Debug;
use std::io;
use std::ops::{Bound, RangeBounds};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use openraft::entry::RaftEntry as _;
use openraft::storage::{IOFlushed, RaftLogStorage};
use openraft::{EntryPayload, LogState, OptionalSend, RaftLogReader};
use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::fault::Fault;
use super::types::{
    Entry, LogId, TypeConfig, Vote, decode_entry, decode_log_id, decode_vote, encode_entry,
    encode_log_id, encode_vote,
};
use crate::clock::Stopwatch;
use crate::replica::Replica;
use crate::store::{Done, LogStore, StoreError};

/// Names under which the store keeps what belongs to the log.
pub(super) const VOTE: &str = "vote";
pub(super) const PURGED: &str = "purged";

/// Bytes of entries kept in memory for those who read the end of the log.
const TAIL_BYTES_MAX: usize = 8 << 20;
/// Bytes of entries read from disk at a time.
const READ_BYTES_MAX: usize = 4 << 20;

/// Bytes between two places of the log that are remembered.
const MARK_BYTES: u64 = 1 << 20;

/// Appends in a row that each had the log to itself, after which the next is likely to as well.
const LONE_APPENDS_MIN: u32 = 8;
/// The same after a sync that took longer than so many milliseconds.
const LONE_APPENDS_AFTER_SLOW: u32 = 1_000;
const SLOW_SYNC_MS: u64 = 2;
/// Requests between two of them: the write, and perhaps a read or a ping.
const LONE_REQUESTS_MAX: u64 = 2;
/// Bytes of such an entry at the most.
const LONE_BYTES_MAX: usize = 4 << 10;

/// The last entries, in memory.
#[derive(Default)]
struct Tail {
    entries: VecDeque<(Entry, usize)>,
    bytes: usize,
    /// Index of the last entry that is on disk.
    durable: u64,
}

impl Tail {
    fn first_index(&self) -> Option<u64> {
        self.entries.front().map(|(entry, _)| entry.index())
    }

    fn push(&mut self, entry: Entry, bytes: usize) {
        self.bytes += bytes;
        self.entries.push_back((entry, bytes));
    }

    /// Lets go of old entries that are on disk.
    fn shrink(&mut self) {
        while self.bytes > TAIL_BYTES_MAX
            && self.first_index().is_some_and(|index| index <= self.durable)
            && let Some((_, bytes)) = self.entries.pop_front()
        {
            self.bytes -= bytes;
        }
    }

    fn truncate_from(&mut self, index: u64) {
        while let Some((entry, bytes)) = self.entries.pop_back() {
            if entry.index() < index {
                self.entries.push_back((entry, bytes));
                break;
            }
            self.bytes -= bytes;
        }
        self.durable = self.durable.min(index.saturating_sub(1));
    }

    fn purge_through(&mut self, index: u64) {
        while self.first_index().is_some_and(|first| first <= index)
            && let Some((_, bytes)) = self.entries.pop_front()
        {
            self.bytes -= bytes;
        }
    }
}

/// How much was appended since the start, and where: what to keep is said in bytes.
#[derive(Default)]
pub(super) struct Volume {
    bytes: AtomicU64,
    /// Entries, each with the bytes up to and with it, a mebibyte or more apart.
    marks: Mutex<VecDeque<(u64, u64)>>,
}

impl Volume {
    /// Bytes of entries appended since the start.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    fn count(&self, index: u64, bytes: usize) {
        let total = self.bytes.fetch_add(bytes as u64, Ordering::Relaxed) + bytes as u64;
        let mut marks = self.marks.lock();
        if marks.back().is_none_or(|(_, marked)| total - marked >= MARK_BYTES) {
            marks.push_back((index, total));
        }
    }

    /// The last entry after which there are at least so many bytes, if that is known. It is told once.
    pub(super) fn take_before(&self, bytes: u64) -> Option<u64> {
        let total = self.bytes();
        let mut marks = self.marks.lock();
        let mut last = None;
        while let Some((index, marked)) = marks.front().copied()
            && total - marked >= bytes
        {
            last = Some(index);
            marks.pop_front();
        }
        last
    }
}

/// The log.
#[derive(Clone)]
pub(super) struct RaftLog {
    store: LogStore,
    tail: Arc<Mutex<Tail>>,
    volume: Arc<Volume>,
    fault: Fault,
    replica: Arc<Replica>,
    quiet: Quiet,
    is_alone: bool,
}

/// Whether one client that waits for each of its writes has the server to itself.
#[derive(Clone)]
struct Quiet {
    /// Requests that had been received at the last append.
    received: u64,
    /// How many more of its writes must come, without anything else, until one is synced in place.
    lone_appends_missing: u32,
}

impl Quiet {
    /// Notes an append, and tells whether nobody else is likely to want anything while it is synced.
    fn note_append(&mut self, is_single: bool, received: u64) -> bool {
        let is_lone = is_single && received.wrapping_sub(self.received) <= LONE_REQUESTS_MAX;
        self.received = received;
        if !is_lone {
            self.lone_appends_missing = self.lone_appends_missing.max(LONE_APPENDS_MIN);
            return false;
        }
        let missing = self.lone_appends_missing;
        self.lone_appends_missing = missing.saturating_sub(1);
        missing == 0
    }

    /// Notes how long a sync in place took: a disk that was slow is left to the log's own thread.
    fn note_sync(&mut self, took: Duration) {
        if took > Duration::from_millis(SLOW_SYNC_MS) {
            self.lone_appends_missing = LONE_APPENDS_AFTER_SLOW;
        }
    }
}

impl RaftLog {
    /// `is_alone`: nobody else waits for this server's consensus task, so that it may wait for the disk.
    pub(super) fn new(
        store: LogStore,
        replica: Arc<Replica>,
        fault: Fault,
        is_alone: bool,
    ) -> RaftLog {
        let quiet = Quiet { received: 0, lone_appends_missing: LONE_APPENDS_MIN };
        RaftLog {
            store,
            tail: Arc::default(),
            volume: Arc::default(),
            fault,
            replica,
            quiet,
            is_alone,
        }
    }

    /// Writes the entry that the log begins with; it lasts when this returns.
    pub(super) async fn begin(&mut self, entry: Entry) -> io::Result<()> {
        let record = (entry.index(), encode_entry(&entry));
        self.durably(|done| self.store.append(vec![record], done)).await
    }

    /// Forgets everything. Only for what came to nothing: nobody was ever promised any of it.
    pub(super) async fn reset(&mut self) -> io::Result<()> {
        self.tail.lock().truncate_from(0);
        self.durably(|done| self.store.truncate_from(0, done)).await?;
        self.durably(|done| self.store.put_state(VOTE, Bytes::new(), done)).await
    }

    /// How much is appended, and where.
    pub(super) fn volume(&self) -> Arc<Volume> {
        Arc::clone(&self.volume)
    }

    /// Reads what there is of `[from, to)`: what is old from disk, the rest from memory.
    fn entries(&self, from: u64, to: u64, bytes_max: usize) -> io::Result<Vec<Entry>> {
        let mut entries = Vec::new();
        let mut next = from;
        while next < to {
            let (disk_to, in_memory) = self.tail_entries(next, to);
            if let Some(in_memory) = in_memory {
                entries.extend(in_memory);
                break;
            }
            let read = self.store.read(next, disk_to, bytes_max.min(READ_BYTES_MAX))?;
            // What is not there was purged, or never was; openraft knows which it must find.
            let Some((last, _)) = read.last() else {
                next = disk_to;
                continue;
            };
            next = last + 1;
            for (index, bytes) in &read {
                entries.push(decode_entry(*index, bytes)?);
            }
            if bytes_max != usize::MAX {
                break;
            }
        }
        Ok(entries)
    }

    /// What the tail has of `[from, to)`; if it does not reach back to `from`, up to where disk has
    /// to be read first.
    fn tail_entries(&self, from: u64, to: u64) -> (u64, Option<Vec<Entry>>) {
        let tail = self.tail.lock();
        match tail.first_index() {
            Some(first) if first <= from => {
                let skip = (from - first) as usize;
                let take = (to - from) as usize;
                let entries = tail.entries.iter().skip(skip).take(take);
                (from, Some(entries.map(|(entry, _)| entry.clone()).collect()))
            }
            Some(first) => (to.min(first), None),
            None => (to, None),
        }
    }

    /// As [`durably`]; a fault of the disk stops the server.
    async fn durably(&self, begin: impl FnOnce(Done)) -> io::Result<()> {
        durably(begin).await.inspect_err(|error| self.fault.raise(error))
    }

    fn log_id_of(&self, name: &'static str) -> io::Result<Option<LogId>> {
        match self.store.state(name)? {
            Some(mut bytes) => Ok(decode_log_id(&mut bytes)?),
            None => Ok(None),
        }
    }
}

/// Waits until the store has done what `begin` asks of it.
pub(super) async fn durably(begin: impl FnOnce(Done)) -> io::Result<()> {
    let (done, finished) = oneshot::channel();
    begin(Box::new(move |result| drop(done.send(result))));
    Ok(finished.await.map_err(|_| io::Error::other("the log's writer has stopped"))??)
}

/// Whether an entry has one submission, and not a large one.
fn is_single_write(entry: &Entry) -> bool {
    match &entry.payload {
        EntryPayload::Normal(payload) => payload.is_single() && payload.bytes() <= LONE_BYTES_MAX,
        EntryPayload::Blank | EntryPayload::Membership(_) => false,
    }
}

impl RaftLogReader<TypeConfig> for RaftLog {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> io::Result<Vec<Entry>> {
        let from = match range.start_bound() {
            Bound::Included(from) => *from,
            Bound::Excluded(before) => before + 1,
            Bound::Unbounded => self.store.bounds()?.map_or(0, |(first, _)| first),
        };
        let to = match range.end_bound() {
            Bound::Included(last) => last + 1,
            Bound::Excluded(to) => *to,
            Bound::Unbounded => {
                let in_memory = self.tail.lock().entries.back().map(|(entry, _)| entry.index());
                let on_disk = self.store.bounds()?.map(|(_, last)| last);
                in_memory.max(on_disk).map_or(from, |last| last + 1)
            }
        };
        self.entries(from, to, usize::MAX)
    }

    async fn read_vote(&mut self) -> io::Result<Option<Vote>> {
        let vote = self.store.state(VOTE)?.filter(|bytes| !bytes.is_empty());
        vote.map(decode_vote).transpose().map_err(io::Error::from)
    }

    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> io::Result<Vec<Entry>> {
        self.entries(start, end, READ_BYTES_MAX)
    }
}

/// What is committed is not noted down: it would be a write of its own behind every sync, and a start
/// finds it out again by electing a leader.
impl RaftLogStorage<TypeConfig> for RaftLog {
    type LogReader = RaftLog;

    async fn get_log_state(&mut self) -> io::Result<LogState<TypeConfig>> {
        let last_purged_log_id = self.log_id_of(PURGED)?;
        let last_log_id = match self.store.bounds()? {
            Some((_, last)) => {
                self.tail.lock().durable = last;
                self.entries(last, last + 1, usize::MAX)?.pop().map(|entry| entry.log_id)
            }
            None => last_purged_log_id,
        };
        Ok(LogState { last_purged_log_id, last_log_id })
    }

    async fn get_log_reader(&mut self) -> RaftLog {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> io::Result<()> {
        let bytes = encode_vote(vote);
        self.durably(|done| self.store.put_state(VOTE, bytes, done)).await
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<TypeConfig>) -> io::Result<()>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let mut records: Vec<(u64, Bytes)> = Vec::new();
        let mut is_single = true;
        {
            let mut tail = self.tail.lock();
            for entry in entries {
                let bytes = encode_entry(&entry);
                let index = entry.index();
                is_single &= tail.durable + 1 == index && is_single_write(&entry);
                self.volume.count(index, bytes.len());
                tail.push(entry, bytes.len());
                records.push((index, bytes));
            }
        }
        let Some(last) = records.last().map(|(index, _)| *index) else {
            callback.io_completed(Ok(()));
            return Ok(());
        };
        let (tail, fault) = (Arc::clone(&self.tail), self.fault.clone());
        let done = move |result: Result<(), StoreError>| {
            match &result {
                Ok(()) => {
                    let mut tail = tail.lock();
                    tail.durable = tail.durable.max(last);
                    tail.shrink();
                }
                Err(error) => fault.raise(error),
            }
            callback.io_completed(result.map_err(io::Error::from));
        };
        // Waking the writer's thread, and this one again, takes as long as half a sync. But while the
        // disk is waited for, nothing else happens here.
        if self.is_alone && self.quiet.note_append(is_single, self.replica.stats().received()) {
            let began = Stopwatch::start();
            self.store.append_in_place(records, Box::new(done));
            self.quiet.note_sync(began.elapsed());
        } else {
            self.store.append(records, Box::new(done));
        }
        Ok(())
    }

    async fn truncate_after(&mut self, last_log_id: Option<LogId>) -> io::Result<()> {
        let from = last_log_id.map_or(0, |id| id.index + 1);
        self.tail.lock().truncate_from(from);
        self.durably(|done| self.store.truncate_from(from, done)).await?;
        // An append that was queued before has raised it again.
        self.tail.lock().truncate_from(from);
        Ok(())
    }

    async fn purge(&mut self, log_id: LogId) -> io::Result<()> {
        self.tail.lock().purge_through(log_id.index);
        let state = (PURGED, encode_log_id(Some(&log_id)));
        self.durably(|done| self.store.purge_through(log_id.index, state, done)).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quiet() -> Quiet {
        Quiet { received: 0, lone_appends_missing: LONE_APPENDS_MIN }
    }

    /// How many of the appends before the first in place, each after so many requests.
    fn until_in_place(quiet: &mut Quiet, requests: u64) -> Option<u32> {
        (0..2 * LONE_APPENDS_AFTER_SLOW)
            .find(|_| quiet.note_append(true, quiet.received.wrapping_add(requests)))
    }

    #[test]
    fn only_a_client_that_has_the_server_to_itself_is_synced_in_place() {
        assert_eq!(until_in_place(&mut quiet(), 1), Some(LONE_APPENDS_MIN));
        assert_eq!(until_in_place(&mut quiet(), LONE_REQUESTS_MAX), Some(LONE_APPENDS_MIN));
        assert_eq!(until_in_place(&mut quiet(), LONE_REQUESTS_MAX + 1), None);

        let mut quiet = quiet();
        until_in_place(&mut quiet, 1);
        assert!(quiet.note_append(true, quiet.received + 1), "it stays so");
        assert!(!quiet.note_append(false, quiet.received + 1), "two clients in one entry");
        assert_eq!(until_in_place(&mut quiet, 1), Some(LONE_APPENDS_MIN));
        // `srst` sets the count back.
        assert!(!quiet.note_append(true, 0));
    }

    #[test]
    fn a_disk_that_was_slow_is_left_to_the_logs_thread_for_long() {
        let mut quiet = quiet();
        until_in_place(&mut quiet, 1);
        quiet.note_sync(Duration::from_millis(SLOW_SYNC_MS));
        assert!(quiet.note_append(true, quiet.received + 1));
        quiet.note_sync(Duration::from_millis(SLOW_SYNC_MS + 1));
        assert_eq!(until_in_place(&mut quiet, 1), Some(LONE_APPENDS_AFTER_SLOW));
    }
}
