//! The raft log. (Signatures; the bodies follow.)

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::StoreError;

/// Called once on the writer thread, in the order of the jobs. It must be quick, and must not queue
/// another job.
pub type Done = Box<dyn FnOnce(Result<(), StoreError>) + Send>;
/// Told how long each synced write took.
pub type SyncObserver = Arc<dyn Fn(Duration) + Send + Sync>;

/// The raft log. A clone is another handle to the same log.
#[derive(Clone)]
pub struct LogStore {}

impl LogStore {
    /// Queues consecutive entries. `done` is called once they are synced.
    pub fn append(&self, _entries: Vec<(u64, Bytes)>, _done: Done) {
        unimplemented!()
    }
    /// Queues a small value under a name: the vote (synced), what is committed (not synced).
    pub fn put_state(&self, _name: &'static str, _value: Bytes, _sync: bool, _done: Done) {
        unimplemented!()
    }
    /// Queues the removal of the entries from `index` on, synced.
    pub fn truncate_from(&self, _index: u64, _done: Done) {
        unimplemented!()
    }
    /// Queues the removal of the entries up to and with `index`, and a state value, atomically.
    pub fn purge_through(&self, _index: u64, _state: (&'static str, Bytes), _done: Done) {
        unimplemented!()
    }
    /// The value last written under a name.
    pub fn state(&self, _name: &str) -> Result<Option<Bytes>, StoreError> {
        unimplemented!()
    }
    /// Written entries of `from..to`, consecutive; ends early after `bytes_max`, but never before
    /// the first entry, or where the log ends.
    pub fn read(
        &self,
        _from: u64,
        _to: u64,
        _bytes_max: usize,
    ) -> Result<Vec<(u64, Bytes)>, StoreError> {
        unimplemented!()
    }
    /// The first and the last index written; `None` if there is no entry.
    pub fn bounds(&self) -> Result<Option<(u64, u64)>, StoreError> {
        unimplemented!()
    }
    /// How many synced writes there were since the store was opened.
    pub fn sync_count(&self) -> u64 {
        unimplemented!()
    }
    /// Sets who is told of synced writes; only the first call counts.
    pub fn observe_syncs(&self, _observer: SyncObserver) {
        unimplemented!()
    }
    /// Bytes the log takes on disk, approximately.
    pub fn disk_bytes(&self) -> u64 {
        unimplemented!()
    }
}
