//! What can be wrong with a store: faults of our disk or our code, each with what to do about it.
//!
//! Never holds RocksDB's own error type, so that no other room needs to name it.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

/// A store that cannot be opened, read or written. The server that meets one ends.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    #[error(
        "{} is in use by another process: stop that process, or configure another dataDir",
        path.display()
    )]
    InUse { path: PathBuf },
    #[error(
        "cannot write in {}: {reason}; the server's user must own this directory, on a disk that \
         is neither full nor read-only",
        path.display()
    )]
    NotWritable { path: PathBuf, reason: String },
    #[error(
        "{place} is written in format {found}, and this version knows formats up to {known}: start \
         the version that wrote it, or a newer one"
    )]
    NewerFormat { place: String, found: u32, known: u32 },
    #[error(
        "the log in {} and the tree in {} do not belong together: {problem}; check dataDir and \
         dataLogDir",
        log.display(),
        tree.display()
    )]
    Mismatched { log: PathBuf, tree: PathBuf, problem: String },
    #[error(
        "{place} is damaged: {problem}; restore this server from a backup, or empty its \
         directories and let it copy the others' state"
    )]
    Corrupt { place: String, problem: String },
    /// Never a fault of this server's own store.
    #[error("the copy of another server's tree cannot be used: {problem}")]
    BadCopy { problem: String },
    #[error("{action} failed: {reason}")]
    Failed { action: String, reason: String },
    #[error("the store stopped at an earlier fault: {first}")]
    Stopped { first: Arc<StoreError> },
}

impl StoreError {
    /// What failed, in words that follow "… failed: ".
    pub(super) fn failed(action: &str, reason: &(impl ToString + ?Sized)) -> StoreError {
        StoreError::Failed { action: action.to_owned(), reason: reason.to_string() }
    }

    /// What makes another server's image useless.
    pub fn bad_copy(problem: &(impl ToString + ?Sized)) -> StoreError {
        StoreError::BadCopy { problem: problem.to_string() }
    }

    /// An error of the file system while `path` was prepared.
    pub(super) fn not_writable(path: &Path, reason: &std::io::Error) -> StoreError {
        StoreError::NotWritable { path: path.to_owned(), reason: reason.to_string() }
    }
}

/// Remembers the first fault of a write, after which nothing is written any more: what lies on disk
/// is then unknown, and an acknowledgement would be a guess.
#[derive(Clone, Default)]
pub(super) struct Latch(Arc<OnceLock<Arc<StoreError>>>);

impl Latch {
    /// Refuses if there was a fault.
    pub(super) fn check(&self) -> Result<(), StoreError> {
        match self.0.get() {
            Some(first) => Err(StoreError::Stopped { first: Arc::clone(first) }),
            None => Ok(()),
        }
    }

    /// Passes the outcome of a write on, and remembers it if it is a fault.
    pub(super) fn note<T>(&self, outcome: Result<T, StoreError>) -> Result<T, StoreError> {
        if let Err(error) = &outcome {
            self.0.get_or_init(|| Arc::new(error.clone()));
        }
        outcome
    }
}
