//! Another server's image while it arrives, file after file, in the directory `incoming`.
//!
//! Nobody reads it before all of it is there, has the right checksums and is synced. A transfer that
//! broke off can be taken up again: files that are complete stay, even after a restart, and are kept
//! by the next transfer if its list names them with the same content.
//!
//! Only the last transfer that began may write; the handles of earlier ones fail. Whatever goes wrong
//! here is no fault of the running image, which does not notice.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::{MutexGuard, PoisonError};

use rustix::fs::statvfs;

use super::TreeStore;
use super::checkpoint::checksum;
use super::directory::INCOMING;
use super::manifest::{FileEntry, Manifest};
use crate::store::{StoreError, sync_directory};

/// What is received is synced in such portions: a sync of the log waits for whatever the disk has
/// before it.
const SYNC_BYTES: u64 = 1 << 20;
/// Room that a transfer must leave on the disk: the log fails, and with it the server, if it is full.
const SPARE_BYTES: u64 = 64 << 20;

/// Another server's image of which something is missing yet.
pub struct Incoming {
    store: TreeStore,
    transfer: u64,
    manifest: Manifest,
    /// Whether a file was there from an earlier transfer.
    kept: Vec<bool>,
    /// The file that comes next, by its place in the manifest.
    next: usize,
    /// The begun part of it.
    part: Option<Part>,
}

/// A file that is being received.
struct Part {
    file: File,
    bytes: u64,
    unsynced_bytes: u64,
    checksum: u32,
}

/// Another server's image, complete, checked and synced. It is used by [`TreeStore::install`].
pub struct Received {
    pub(super) store: TreeStore,
    pub(super) transfer: u64,
}

impl TreeStore {
    /// Where another server's image gathers. Ends every earlier transfer, but keeps the files that
    /// are already there with the same name, length and checksum.
    ///
    /// # Errors
    ///
    /// The disk's, also if it would be filled.
    pub fn begin_incoming(&self, manifest: Manifest) -> Result<Incoming, StoreError> {
        let directory = self.incoming_path();
        let mut transfer = self.lock_transfer();
        *transfer += 1;
        let (store, transfer) = (self.clone(), *transfer);
        let kept = keep_files(&directory, &manifest)?;
        let mut incoming = Incoming { store, transfer, manifest, kept, next: 0, part: None };
        incoming.check_room(&directory)?;
        incoming.pass_kept(&directory)?;
        Ok(incoming)
    }

    /// Removes what there is of another server's image: it is not needed any more. Ends every
    /// transfer.
    pub fn discard_incoming(&self) -> Result<(), StoreError> {
        *self.lock_transfer() += 1;
        remove(&self.incoming_path())
    }

    pub(super) fn incoming_path(&self) -> PathBuf {
        self.home().join(INCOMING)
    }

    /// The number of the transfer that may write. While this is held, no other one does.
    pub(super) fn lock_transfer(&self) -> MutexGuard<'_, u64> {
        self.shared.transfer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Incoming {
    /// The file and the offset in it that [`Self::write`] waits for; `None` if nothing is missing.
    pub fn missing(&self) -> Option<(usize, u64)> {
        self.manifest.files().get(self.next)?;
        Some((self.next, self.part.as_ref().map_or(0, |part| part.bytes)))
    }

    /// Takes a piece of a file, which must be the one that is missing.
    ///
    /// # Errors
    ///
    /// [`StoreError::BadCopy`]: the piece is empty or goes beyond the file's end, or the file, now
    /// complete, is damaged and missing again. [`StoreError::Failed`]: another piece is missing, or
    /// this transfer has ended. Otherwise the disk's: then all that has arrived is removed, and this
    /// transfer has ended.
    pub fn write(&mut self, file: usize, offset: u64, data: &[u8]) -> Result<(), StoreError> {
        let store = self.store.clone();
        let mut transfer = store.lock_transfer();
        check_transfer(*transfer, self.transfer)?;
        let directory = store.incoming_path();
        if self.missing() != Some((file, offset)) {
            let reason = format!(
                "file {file} from {offset} on was handed in where {:?} is missing",
                self.missing()
            );
            return Err(StoreError::failed("receiving a copy of the tree", &reason));
        }
        let written = self.write_piece(&directory, data);
        if matches!(written, Err(StoreError::NotWritable { .. })) {
            *transfer += 1;
            self.part = None;
            // The first error says more than this one could.
            let _ = remove(&directory);
        }
        written
    }

    fn write_piece(&mut self, directory: &Path, data: &[u8]) -> Result<(), StoreError> {
        let Some(entry) = self.manifest.files().get(self.next) else { return Ok(()) };
        let path = directory.join(&entry.name);
        let not_writable = |error| StoreError::not_writable(&path, &error);
        let mut part = match self.part.take() {
            Some(part) => part,
            None => Part::create(&path).map_err(not_writable)?,
        };
        if data.is_empty() || entry.bytes - part.bytes < data.len() as u64 {
            let problem = format!(
                "{} is not {} bytes long, as its list of files says",
                entry.name, entry.bytes
            );
            self.part = Some(part);
            return Err(StoreError::bad_copy(&problem));
        }
        part.write(data).map_err(not_writable)?;
        if part.bytes < entry.bytes {
            self.part = Some(part);
            return Ok(());
        }
        part.file.sync_all().map_err(not_writable)?;
        if part.checksum != entry.crc32c {
            std::fs::remove_file(&path).map_err(not_writable)?;
            return Err(damaged(entry));
        }
        self.next += 1;
        self.pass_kept(directory)
    }

    /// Goes on to the next file of which something is missing.
    fn pass_kept(&mut self, directory: &Path) -> Result<(), StoreError> {
        while let Some(entry) = self.manifest.files().get(self.next) {
            let is_kept = self.kept.get(self.next).is_some_and(|kept| *kept);
            if !is_kept && entry.bytes == 0 {
                let path = directory.join(&entry.name);
                Part::create(&path)
                    .and_then(|part| part.file.sync_all())
                    .map_err(|error| StoreError::not_writable(&path, &error))?;
            } else if !is_kept {
                break;
            }
            self.next += 1;
        }
        Ok(())
    }

    /// Checks once more that everything is there and undamaged, and makes it last.
    ///
    /// # Errors
    ///
    /// [`StoreError::Failed`]: something is missing yet, or this transfer has ended.
    /// [`StoreError::BadCopy`]: a file is not what the manifest says; it is removed, so that the next
    /// transfer asks for it again. Otherwise the disk's.
    pub fn finish(self) -> Result<Received, StoreError> {
        let transfer = self.store.lock_transfer();
        check_transfer(*transfer, self.transfer)?;
        if let Some((file, offset)) = self.missing() {
            let reason = format!("file {file} is missing from {offset} on");
            return Err(StoreError::failed("receiving a copy of the tree", &reason));
        }
        let directory = self.store.incoming_path();
        let intact = keep_files(&directory, &self.manifest)?;
        let mut files = self.manifest.files().iter().zip(intact);
        if let Some((entry, _)) = files.find(|(_, is_intact)| !is_intact) {
            return Err(damaged(entry));
        }
        sync_directory(&directory)?;
        drop(transfer);
        Ok(Received { store: self.store, transfer: self.transfer })
    }

    /// Refuses a copy for which there is not enough room.
    fn check_room(&self, directory: &Path) -> Result<(), StoreError> {
        let not_writable = |error| StoreError::not_writable(directory, &error);
        let disk = statvfs(directory).map_err(|error| not_writable(error.into()))?;
        let free_bytes = disk.f_bavail.saturating_mul(disk.f_frsize);
        let files = self.manifest.files().iter().zip(&self.kept);
        let missing = files.filter(|(_, is_kept)| !**is_kept).map(|(entry, _)| entry.bytes);
        let missing_bytes: u64 = missing.sum();
        if free_bytes < missing_bytes.saturating_add(SPARE_BYTES) {
            let reason = format!(
                "No space left on device: {missing_bytes} bytes of another server's tree are to \
                 come, {SPARE_BYTES} must stay free, and {free_bytes} are"
            );
            return Err(StoreError::NotWritable { path: directory.to_owned(), reason });
        }
        Ok(())
    }
}

impl Part {
    fn create(path: &Path) -> std::io::Result<Part> {
        let file = OpenOptions::new().write(true).create_new(true).open(path)?;
        Ok(Part { file, bytes: 0, unsynced_bytes: 0, checksum: 0 })
    }

    fn write(&mut self, data: &[u8]) -> std::io::Result<()> {
        self.file.write_all(data)?;
        self.checksum = crc32c::crc32c_append(self.checksum, data);
        self.bytes += data.len() as u64;
        self.unsynced_bytes += data.len() as u64;
        if SYNC_BYTES <= self.unsynced_bytes {
            self.unsynced_bytes = 0;
            self.file.sync_data()?;
        }
        Ok(())
    }
}

pub(super) fn check_transfer(current: u64, own: u64) -> Result<(), StoreError> {
    if current == own {
        return Ok(());
    }
    let reason = "this transfer has ended, or another one has begun";
    Err(StoreError::failed("receiving a copy of the tree", reason))
}

fn damaged(entry: &FileEntry) -> StoreError {
    let problem = format!("{} arrived damaged: its checksum does not match", entry.name);
    StoreError::bad_copy(&problem)
}

/// Tells which files of the manifest are there, whole, and removes whatever else there is.
fn keep_files(directory: &Path, manifest: &Manifest) -> Result<Vec<bool>, StoreError> {
    let not_writable = |error| StoreError::not_writable(directory, &error);
    std::fs::create_dir_all(directory).map_err(not_writable)?;
    let names =
        manifest.files().iter().enumerate().map(|(place, file)| (&*file.name, (place, file)));
    let files: BTreeMap<&str, (usize, &FileEntry)> = names.collect();
    let mut kept = vec![false; manifest.files().len()];
    for found in std::fs::read_dir(directory).map_err(not_writable)? {
        let found = found.map_err(not_writable)?;
        let metadata = found.metadata().map_err(not_writable)?;
        let name = found.file_name();
        let listed = name.to_str().and_then(|name| files.get(name));
        let place = match listed {
            Some((place, entry)) if metadata.is_file() && metadata.len() == entry.bytes => {
                (checksum(&found.path())? == entry.crc32c).then_some(*place)
            }
            _ => None,
        };
        match place.and_then(|place| kept.get_mut(place)) {
            Some(is_kept) => *is_kept = true,
            None if metadata.is_dir() => {
                std::fs::remove_dir_all(found.path()).map_err(not_writable)?;
            }
            None => std::fs::remove_file(found.path()).map_err(not_writable)?,
        }
    }
    Ok(kept)
}

fn remove(directory: &Path) -> Result<(), StoreError> {
    match std::fs::remove_dir_all(directory) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(StoreError::not_writable(directory, &error))
        }
        _ => Ok(()),
    }
}
