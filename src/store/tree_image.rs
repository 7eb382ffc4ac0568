//! The image of the tree: nodes, sessions and progress, in the database `tree/`.
//!
//! It has no WAL: the raft log is one. What is committed lies in RocksDB's memory until a flush,
//! which takes all column families at once; after a crash the image is that of the last flush, whole
//! and consistent, and raft applies again whatever came later.
//!
//! It can be copied to another server while this one runs ([`Checkpoint`]), and can be replaced by
//! another server's ([`Incoming`], [`TreeStore::install`]).

mod checkpoint;
pub(super) mod directory;
mod image;
mod incoming;
mod install;
mod manifest;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use bytes::Bytes;
use rocksdb::{Cache, ReadTier};

pub use checkpoint::Checkpoint;
pub use incoming::{Incoming, Received};
pub use install::Candidate;
pub use manifest::{FileEntry, Manifest};

use super::error::Latch;
use super::lock::DirectoryLock;
use super::{StoreError, database};
use crate::tree::{Changes, Tree};
use directory::Directory;
use image::Image;

/// The image of the tree. A clone is another handle to the same image.
#[derive(Clone)]
pub struct TreeStore {
    shared: Arc<Shared>,
}

struct Shared {
    setting: Setting,
    /// The image that counts. Whoever uses it takes a handle of its own, so that an image that is
    /// replaced is closed only when nobody is inside it.
    current: RwLock<Arc<Image>>,
    /// How many copies were made.
    checkpoints: AtomicU64,
    /// How many transfers of another server's image have begun.
    transfer: Mutex<u64>,
}

/// What all images of a store have in common.
pub(super) struct Setting {
    /// `<dataDir>/rookeeper`.
    pub(super) home: PathBuf,
    /// The log that belongs to the image.
    pub(super) log_identity: String,
    pub(super) cache: Cache,
    pub(super) latch: Latch,
    pub(super) locks: Arc<[DirectoryLock]>,
}

impl TreeStore {
    /// Opens the image that lies in the directory `name`.
    pub(super) fn open(setting: Setting, name: &str) -> Result<TreeStore, StoreError> {
        let directory = Directory::lasting(setting.home.join(name));
        let options = image::options(&setting.cache);
        let image = Image::open(directory, &options, setting.latch.clone())?;
        let current = RwLock::new(Arc::new(image));
        let (checkpoints, transfer) = (AtomicU64::default(), Mutex::default());
        Ok(TreeStore { shared: Arc::new(Shared { setting, current, checkpoints, transfer }) })
    }

    fn home(&self) -> &Path {
        &self.shared.setting.home
    }

    /// The image that counts now.
    fn current(&self) -> Arc<Image> {
        Arc::clone(&self.shared.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether nothing was ever committed: a new ensemble then commits its system nodes.
    ///
    /// # Errors
    ///
    /// The disk's.
    pub fn is_empty(&self) -> Result<bool, StoreError> {
        self.current().is_empty()
    }

    /// Reads everything into a bare tree, checking every record. Comes before the first commit.
    ///
    /// # Errors
    ///
    /// The disk's, or [`StoreError::Corrupt`] about the first thing that is damaged or does not
    /// fit; the tree is then of no use.
    pub fn load(&self, tree: &mut Tree) -> Result<(), StoreError> {
        self.current().load(tree)
    }

    /// Writes changes and state in one batch, without waiting for the disk: it lasts once it is
    /// flushed.
    ///
    /// # Errors
    ///
    /// The disk's; after that nothing is written any more.
    ///
    /// # Panics
    ///
    /// If nothing was loaded before, or if the changes keep data that they must set: either would
    /// corrupt the image.
    pub fn commit(
        &self,
        changes: &Changes,
        state: &[(&'static str, Bytes)],
    ) -> Result<(), StoreError> {
        self.current().commit(changes, state)
    }

    /// The value that was last committed under a name.
    ///
    /// # Errors
    ///
    /// The disk's, or [`StoreError::Corrupt`].
    pub fn state(&self, name: &str) -> Result<Option<Bytes>, StoreError> {
        self.current().state(name, ReadTier::All)
    }

    /// The value under a name that a restart would find: as of the last flush.
    ///
    /// # Errors
    ///
    /// The disk's, or [`StoreError::Corrupt`].
    pub fn flushed_state(&self, name: &str) -> Result<Option<Bytes>, StoreError> {
        self.current().state(name, ReadTier::Persisted)
    }

    /// Makes everything that is committed last. After a crash meanwhile, all of it does or none.
    ///
    /// # Errors
    ///
    /// The disk's; after that nothing is written any more.
    pub fn flush(&self) -> Result<(), StoreError> {
        self.current().flush()
    }

    /// Flushes, and makes a copy of the image out of hard links, for another server to read. Commits
    /// may go on meanwhile.
    ///
    /// # Errors
    ///
    /// The disk's.
    pub fn take_checkpoint(&self) -> Result<Checkpoint, StoreError> {
        let Shared { setting, checkpoints, .. } = &*self.shared;
        let number = checkpoints.fetch_add(1, Ordering::Relaxed);
        let path = setting.home.join(directory::checkpoint_name(number));
        let options = image::options(&setting.cache);
        let locks = Arc::clone(&setting.locks);
        Checkpoint::take(&self.current(), Directory::temporary(path), &options, locks)
    }

    /// Bytes that the image takes on disk, approximately.
    pub fn disk_bytes(&self) -> u64 {
        database::disk_bytes(self.current().path())
    }
}

#[cfg(test)]
mod tests;
