//! The change from this server's image to one that another server has sent.
//!
//! What counts is the file `FORMAT`: it names the directory of the image, and one rename changes it.
//!
//! 1. All files are in `incoming/`, checked and synced, and so is the directory.
//! 2. `incoming/` is renamed to `tree.<n>`, a name that nothing has; the directory above is synced.
//! 3. RocksDB opens it, and every record is read into a new tree; the caller looks at the state.
//! 4. `FORMAT.new`, which names `tree.<n>`, is written and synced.
//! 5. It is renamed to `FORMAT`, and the directory above is synced.
//! 6. Every handle speaks to the new image. The old one is closed and its directory removed as soon
//!    as no thread is inside it.
//!
//! **A crash** (of the process or of the power) before 5 finds the old name in `FORMAT`, and nothing
//! has touched the old directory; what there is of the new one is removed at the start, or is still
//! `incoming/`. A crash after 5 finds the new name. All that it stands for was synced before: the
//! files at 1, the directory's name at 2, and what RocksDB itself adds at 3 (its list of files is
//! synced before its own `CURRENT` names it). A crash within 5 finds one or the other name, since a
//! rename is atomic. The old directory goes only after 5 has returned, and if it goes by halves, the
//! rest is removed at the next start.
//!
//! **A failure** before 5 removes the new directory, and the old image goes on as if nothing had
//! been. If 5 itself fails, nobody knows which name a restart would find: the old image can still be
//! read, both directories stay, and nothing is written any more, as after any failed sync.

use std::fs::rename;
use std::sync::{Arc, PoisonError};

use bytes::Bytes;
use rocksdb::ReadTier;

use super::directory::{Directory, unused_image_name};
use super::image::{self, Image};
use super::incoming::{Received, check_transfer};
use super::{Shared, TreeStore};
use crate::store::format_file::FormatFile;
use crate::store::{StoreError, sync_directory};
use crate::tree::Tree;

#[cfg(test)]
use super::tests::copies::reached;

/// Told of every place between two steps: tests look at what a crash there would leave.
#[cfg(not(test))]
fn reached(_place: &'static str) {}

/// The state of an image that may be installed.
pub struct Candidate<'i> {
    image: &'i Image,
}

impl Candidate<'_> {
    /// The value that was last committed under a name.
    ///
    /// # Errors
    ///
    /// The disk's, or [`StoreError::Corrupt`].
    pub fn state(&self, name: &str) -> Result<Option<Bytes>, StoreError> {
        self.image.state(name, ReadTier::All)
    }
}

impl TreeStore {
    /// Replaces the image by another server's, once every record of it was read and `check` agrees,
    /// and returns its tree. Every handle then speaks to the new image. Reading state meanwhile is
    /// well; a commit meanwhile would be lost.
    ///
    /// # Errors
    ///
    /// [`StoreError::BadCopy`] or [`StoreError::NewerFormat`]: it cannot be used. Those of `check`;
    /// [`StoreError::bad_copy`] makes one. [`StoreError::Failed`]: another transfer has begun since.
    /// Otherwise the disk's. In each case the new image is removed and the old one serves on; but if
    /// the very last sync fails, nothing is written any more.
    ///
    /// # Panics
    ///
    /// If it was received for another store.
    pub fn install(
        &self,
        received: Received,
        check: impl FnOnce(&Candidate<'_>) -> Result<(), StoreError>,
    ) -> Result<Tree, StoreError> {
        let shared = &*self.shared;
        shared.setting.latch.check()?;
        let Received { store, transfer } = received;
        assert!(Arc::ptr_eq(&self.shared, &store.shared), "it was received for another store");
        let (name, directory) = self.adopt(transfer)?;
        reached("renamed");
        let (image, tree) = shared.open_received(directory).map_err(unusable)?;
        check(&Candidate { image: &image })?;
        reached("opened");

        shared.switch(name, image)?;
        Ok(tree)
    }

    /// Gives what was received its place among the images.
    fn adopt(&self, own: u64) -> Result<(String, Directory), StoreError> {
        let home = self.home();
        let transfer = self.lock_transfer();
        check_transfer(*transfer, own)?;
        let name = unused_image_name(home)?;
        let path = home.join(&name);
        let not_writable = |error| StoreError::not_writable(&path, &error);
        rename(self.incoming_path(), &path).map_err(not_writable)?;
        let directory = Directory::temporary(path.clone());
        sync_directory(home)?;
        Ok((name, directory))
    }
}

impl Shared {
    /// Opens an image that must be complete, and reads all of it.
    fn open_received(&self, directory: Directory) -> Result<(Image, Tree), StoreError> {
        let mut options = image::options(&self.setting.cache);
        options.create_if_missing(false);
        options.create_missing_column_families(false);
        let image = Image::open(directory, &options, self.setting.latch.clone())?;
        if image.is_empty()? {
            return Err(StoreError::bad_copy("nothing was ever committed to it"));
        }
        let mut tree = Tree::bare();
        image.load(&mut tree)?;
        Ok((image, tree))
    }

    /// Makes `image` the one that counts, on disk and for every handle.
    fn switch(&self, name: String, image: Image) -> Result<(), StoreError> {
        let log_identity = self.setting.log_identity.clone();
        let unfinished = FormatFile { log_identity, image: name }.prepare(&self.setting.home)?;
        reached("prepared");

        image.directory.set_temporary(false);
        self.setting.latch.note(unfinished.finish())?;
        reached("switched");
        let old = {
            let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
            std::mem::replace(&mut *current, Arc::new(image))
        };
        old.directory.set_temporary(true);
        drop(old);
        reached("removed");
        Ok(())
    }
}

/// Damage of what was received is no damage of ours.
fn unusable(error: StoreError) -> StoreError {
    match error {
        StoreError::Corrupt { .. } | StoreError::Failed { .. } => StoreError::bad_copy(&error),
        StoreError::InUse { .. }
        | StoreError::NotWritable { .. }
        | StoreError::NewerFormat { .. }
        | StoreError::Mismatched { .. }
        | StoreError::BadCopy { .. }
        | StoreError::Stopped { .. } => error,
    }
}
