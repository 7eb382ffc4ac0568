//! Keeps two servers out of the same directory.
//!
//! RocksDB locks each of its databases as well, but the end of the log is repaired before RocksDB
//! opens it, and two servers may be given the same `dataLogDir` and different data directories.

use std::fs::{File, OpenOptions, TryLockError};
use std::path::Path;

use super::StoreError;

/// The name of the file that is locked.
const LOCK_FILE: &str = "LOCK";

/// A locked directory; free again when this is dropped, or when the process ends in any way.
pub(super) struct DirectoryLock {
    _file: File,
}

impl DirectoryLock {
    /// Locks a directory.
    ///
    /// # Errors
    ///
    /// [`StoreError::InUse`], or [`StoreError::NotWritable`].
    pub(super) fn take(directory: &Path) -> Result<DirectoryLock, StoreError> {
        let not_writable = |error| StoreError::not_writable(directory, &error);
        let path = directory.join(LOCK_FILE);
        let mut options = OpenOptions::new();
        options.create(true).truncate(false).write(true);
        let file = options.open(path).map_err(not_writable)?;
        match file.try_lock() {
            Ok(()) => Ok(DirectoryLock { _file: file }),
            Err(TryLockError::WouldBlock) => Err(StoreError::InUse { path: directory.to_owned() }),
            Err(TryLockError::Error(error)) => Err(not_writable(error)),
        }
    }
}
