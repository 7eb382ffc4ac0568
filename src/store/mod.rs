//! What survives a restart: the raft log and the image of the tree, in two RocksDB databases.
//!
//! They are two because an applier that shared a database with the log would queue behind every
//! sync. The log has a WAL and is synced before anything is acknowledged; the image has none, is
//! flushed now and then, and after a restart is brought up to date from the log, which therefore is
//! purged only up to what a flush has covered (its user sees to that).
//!
//! The room never decides anything: raft's entries and state are bytes to it, the tree's are records
//! ([`record`]). It never skips what it cannot read: a damaged record is an error that names it.
//!
//! Layout, beside whatever else lies in the directories:
//!
//! ```text
//! <dataDir>/rookeeper/FORMAT        the format, which log belongs to the tree, and where that is
//! <dataDir>/rookeeper/LOCK          held while a server runs
//! <dataDir>/rookeeper/tree/         RocksDB; `tree.<n>/` once another server's tree was installed
//! <dataDir>/rookeeper/incoming/     another server's tree while it arrives
//! <dataDir>/rookeeper/checkpoint.<n>/  a copy of the tree while another server reads it
//! <dataLogDir>/rookeeper/LOCK
//! <dataLogDir>/rookeeper/raft/      RocksDB
//! ```

mod database;
mod error;
mod format_file;
mod keyspace;
mod lock;
mod log;
mod record;
mod tree_image;
mod wal;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use error::StoreError;
pub use format_file::FORMAT;
pub use log::{Done, LogStore, SyncObserver};
pub use record::{FORMAT_HISTORY, RecordFormat};
pub use tree_image::{Candidate, Checkpoint, FileEntry, Incoming, Manifest, Received, TreeStore};

use error::Latch;
use format_file::FormatFile;
use lock::DirectoryLock;
use record::Flaw;
use tree_image::{Setting, directory};

/// The one directory of ours in `dataDir` and in `dataLogDir`.
pub const HOME: &str = "rookeeper";

/// Both databases, opened together.
pub struct Store {
    /// The raft log.
    pub log: LogStore,
    /// The image of the tree.
    pub tree: TreeStore,
}

impl Store {
    /// Opens the store, or creates it where there is none. Without `log_dir` the log lies in
    /// `data_dir`. Both directories are created if they are missing; in them, nothing but
    /// `rookeeper/` is touched.
    ///
    /// A write that was torn by a crash is cut off the end of the log; it was acknowledged to
    /// nobody. Every entry of the log is checked.
    ///
    /// # Errors
    ///
    /// Any [`StoreError`] but [`StoreError::Stopped`].
    pub fn open(data_dir: &Path, log_dir: Option<&Path>) -> Result<Store, StoreError> {
        let data_home = data_dir.join(HOME);
        let format = FormatFile::read(&data_home)?;
        let image = format.as_ref().map_or(directory::FIRST_IMAGE, |format| &format.image);
        let places = Places::new(data_home, log_dir.unwrap_or(data_dir).join(HOME), image);
        places.check(format.is_some())?;
        let locks = places.prepare()?;
        if FormatFile::read(&places.data_home)? != format {
            return Err(StoreError::InUse { path: places.data_home });
        }

        let cache = database::block_cache();
        let latch = Latch::default();
        let log = LogStore::open(&places.raft, &cache, latch.clone(), Arc::clone(&locks))?;
        let log_identity = log.identity()?;
        let home = places.data_home.clone();
        let setting = Setting { home, log_identity: log_identity.clone(), cache, latch, locks };
        let tree = TreeStore::open(setting, image)?;
        match &format {
            Some(format) if format.log_identity == log_identity => {}
            Some(_) => return Err(places.mismatched("the tree was written along with another log")),
            // The first start may have ended before it could write the file.
            None if log.is_untouched()? && tree.is_empty()? => {
                FormatFile { log_identity, image: image.to_owned() }.write(&places.data_home)?;
            }
            None => return Err(places.mismatched("FORMAT is missing beside the tree")),
        }
        directory::remove_leftovers(&places.data_home, image)?;
        Ok(Store { log, tree })
    }
}

/// Where everything lies.
struct Places {
    data_home: PathBuf,
    log_home: PathBuf,
    tree: PathBuf,
    raft: PathBuf,
}

impl Places {
    fn new(data_home: PathBuf, log_home: PathBuf, image: &str) -> Places {
        Places { tree: data_home.join(image), raft: log_home.join("raft"), data_home, log_home }
    }

    /// Refuses before anything is created where something must have been lost.
    fn check(&self, has_format: bool) -> Result<(), StoreError> {
        if has_format && !is_database(&self.raft) {
            Err(self.mismatched("there is no log"))
        } else if has_format && !is_database(&self.tree) {
            Err(self.mismatched("there is no tree"))
        } else if !has_format && directory::holds_installed_image(&self.data_home) {
            Err(self.mismatched("FORMAT is missing beside the tree"))
        } else {
            Ok(())
        }
    }

    /// Creates the directories that are missing, so that they outlive a power failure, and locks
    /// them.
    fn prepare(&self) -> Result<Arc<[DirectoryLock]>, StoreError> {
        for database in [&self.tree, &self.raft] {
            std::fs::create_dir_all(database)
                .map_err(|error| StoreError::not_writable(database, &error))?;
        }
        // The database's own directory is RocksDB's to sync; those around it are ours.
        for home in [&self.data_home, &self.log_home] {
            sync_directory(home)?;
            home.parent().map_or(Ok(()), sync_directory)?;
        }
        let mut locks = vec![DirectoryLock::take(&self.data_home)?];
        if !is_same_directory(&self.data_home, &self.log_home) {
            locks.push(DirectoryLock::take(&self.log_home)?);
        }
        Ok(locks.into())
    }

    fn mismatched(&self, problem: &str) -> StoreError {
        StoreError::Mismatched {
            log: self.raft.clone(),
            tree: self.tree.clone(),
            problem: problem.to_owned(),
        }
    }
}

/// Whether RocksDB has created a database there.
fn is_database(path: &Path) -> bool {
    path.join("CURRENT").exists()
}

/// Whether two names are of one directory.
fn is_same_directory(one: &Path, other: &Path) -> bool {
    match (one.canonicalize(), other.canonicalize()) {
        (Ok(one), Ok(other)) => one == other,
        _ => one == other,
    }
}

/// Makes the entries of a directory last.
fn sync_directory(path: &Path) -> Result<(), StoreError> {
    // The parent of a relative path of one element is "", which is no name of a directory.
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    File::open(path)
        .and_then(|directory| directory.sync_all())
        .map_err(|error| StoreError::not_writable(path, &error))
}

/// The error for a record that cannot be read.
fn damaged_record(db: &rocksdb::DB, format: &RecordFormat, name: &str, flaw: &Flaw) -> StoreError {
    let place = format!("the {} {name} in {}", format.record, db.path().display());
    match flaw {
        Flaw::NewerFormat { found } => StoreError::NewerFormat {
            place,
            found: u32::from(*found),
            known: u32::from(format.version),
        },
        Flaw::Checksum | Flaw::TooShort | Flaw::Senseless(_) => {
            StoreError::Corrupt { place, problem: flaw.to_string() }
        }
    }
}

#[cfg(test)]
mod tests;
