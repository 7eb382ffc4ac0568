//! What can be wrong with a store: faults of our disk or our code, each with what to do about it.
//!
//! Never holds RocksDB's own error type, so that no other room needs to name it.

use std::path::PathBuf;
use std::sync::Arc;

use super::FORMAT;

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
        "{} was written in format {found}, and this version knows formats up to {FORMAT}: start \
         the version that wrote it, or a newer one",
        path.display()
    )]
    NewerFormat { path: PathBuf, found: u32 },
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
    #[error("{action} failed: {reason}")]
    Failed { action: String, reason: String },
    #[error("the store stopped at an earlier fault: {first}")]
    Stopped { first: Arc<StoreError> },
}
