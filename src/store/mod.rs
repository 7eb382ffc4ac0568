//! What survives a restart: the raft log and the image of the tree, in two RocksDB databases.

use std::path::Path;

mod error;
mod log;
mod tree_image;

pub use error::StoreError;
pub use log::{Done, LogStore, SyncObserver};
pub use tree_image::TreeStore;

/// The newest format that this version reads, and the one it writes.
pub const FORMAT: u32 = 1;

/// Both databases, opened together.
pub struct Store {
    /// The raft log.
    pub log: LogStore,
    /// The image of the tree.
    pub tree: TreeStore,
}

impl Store {
    /// Opens `<data_dir>/rookeeper/tree` and `<log_dir>/rookeeper/raft`, creating what is missing;
    /// `log_dir` is `data_dir` if none. Nothing else in these directories is touched.
    pub fn open(_data_dir: &Path, _log_dir: Option<&Path>) -> Result<Store, StoreError> {
        unimplemented!()
    }
}
