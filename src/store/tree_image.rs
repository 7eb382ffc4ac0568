//! The image of the tree. (Signatures; the bodies follow.)

use std::path::Path;

use bytes::Bytes;

use super::StoreError;
use crate::tree::{Changes, Tree};

/// The image of the tree. A clone is another handle to the same image.
#[derive(Clone)]
pub struct TreeStore {}

impl TreeStore {
    /// Whether nothing was ever committed: then the caller commits the system nodes first.
    pub fn is_empty(&self) -> Result<bool, StoreError> {
        unimplemented!()
    }
    /// Reads everything into a bare tree. Comes before the first `commit`.
    pub fn load(&self, _tree: &mut Tree) -> Result<(), StoreError> {
        unimplemented!()
    }
    /// Writes changes and state in one batch, without a sync: it lasts once it is flushed.
    pub fn commit(
        &self,
        _changes: &Changes,
        _state: &[(&'static str, Bytes)],
    ) -> Result<(), StoreError> {
        unimplemented!()
    }
    /// The value last committed under a name.
    pub fn state(&self, _name: &str) -> Result<Option<Bytes>, StoreError> {
        unimplemented!()
    }
    /// The value that a restart would find under a name.
    pub fn flushed_state(&self, _name: &str) -> Result<Option<Bytes>, StoreError> {
        unimplemented!()
    }
    /// Makes everything committed last, all of it or, after a crash, none.
    pub fn flush(&self) -> Result<(), StoreError> {
        unimplemented!()
    }
    /// Flushes, and makes a copy at `dir`, which must not exist, out of hard links.
    pub fn checkpoint(&self, _dir: &Path) -> Result<(), StoreError> {
        unimplemented!()
    }
    /// Bytes of memory that committed but unflushed changes take, approximately.
    pub fn unflushed_bytes(&self) -> u64 {
        unimplemented!()
    }
    /// Bytes the image takes on disk, approximately.
    pub fn disk_bytes(&self) -> u64 {
        unimplemented!()
    }
}
