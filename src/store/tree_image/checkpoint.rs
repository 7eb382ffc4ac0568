//! A copy of the image as it was at one moment, made of hard links, for another server to read.
//!
//! It costs no room of its own until the image's files are replaced, and is removed with its last
//! handle. It stays readable whatever becomes of the image.
//!
//! What it says of itself is read from the copy and not from the image, which goes on meanwhile.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::{Arc, PoisonError};

use bytes::Bytes;
use rocksdb::{DB, Options};

use super::directory::Directory;
use super::image::Image;
use super::manifest::{FileEntry, Manifest};
use crate::store::keyspace::{PROGRESS, STATE, TREE_COLUMNS, shown};
use crate::store::lock::DirectoryLock;
use crate::store::record::{self, unseal};
use crate::store::{StoreError, damaged_record, database};

/// A file is read in such pieces.
const PIECE_BYTES: usize = 256 << 10;
/// Such files never change, and their names are never given again while the image is open.
pub(super) const TABLE_SUFFIX: &str = ".sst";

/// Lengths and checksums by name.
pub(super) type KnownChecksums = HashMap<String, (u64, u32)>;

/// A copy of the image. A clone is another handle to the same copy.
#[derive(Clone)]
pub struct Checkpoint {
    copy: Arc<Copied>,
}

struct Copied {
    manifest: Manifest,
    state: BTreeMap<String, Bytes>,
    directory: Directory,
    /// The next server must not begin before the directory is removed.
    _locks: Arc<[DirectoryLock]>,
}

impl Checkpoint {
    /// Makes a copy in `directory`, which must not exist yet and lies on the same disk.
    pub(super) fn take(
        image: &Image,
        directory: Directory,
        options: &Options,
        locks: Arc<[DirectoryLock]>,
    ) -> Result<Checkpoint, StoreError> {
        image.flush()?;
        rocksdb::checkpoint::Checkpoint::new(&image.db)
            .and_then(|checkpoint| checkpoint.create_checkpoint(directory.path()))
            .map_err(|error| image.fault("making a copy of the tree", &error))?;
        let manifest = list(image, directory.path())?;
        let state = read_state(directory.path(), options)?;
        Ok(Checkpoint { copy: Arc::new(Copied { manifest, state, directory, _locks: locks }) })
    }

    /// The files it consists of.
    pub fn manifest(&self) -> &Manifest {
        &self.copy.manifest
    }

    /// The value that was committed under a name when the copy was made.
    pub fn state(&self, name: &str) -> Option<Bytes> {
        self.copy.state.get(name).cloned()
    }

    /// Bytes of the manifest's file number `file` from `offset` on: `bytes_max`, or fewer at its
    /// end; none after it.
    ///
    /// # Errors
    ///
    /// The disk's, or [`StoreError::Failed`]: there is no such file.
    pub fn read(&self, file: usize, offset: u64, bytes_max: usize) -> Result<Bytes, StoreError> {
        let directory = self.copy.directory.path();
        let action = || format!("reading file {file} of {}", directory.display());
        let Some(entry) = self.copy.manifest.files().get(file) else {
            return Err(StoreError::failed(&action(), "there is no such file"));
        };
        let rest = entry.bytes.saturating_sub(offset);
        let bytes = usize::try_from(rest).map_or(bytes_max, |rest| rest.min(bytes_max));
        let mut piece = vec![0; bytes];
        File::open(directory.join(&entry.name))
            .and_then(|file| file.read_exact_at(&mut piece, offset))
            .map_err(|error| StoreError::failed(&action(), &error))?;
        Ok(piece.into())
    }
}

/// Lists the files of a copy of `image`, reading those that the last copy did not have.
fn list(image: &Image, directory: &Path) -> Result<Manifest, StoreError> {
    let failed = |error| StoreError::failed(&format!("listing {}", directory.display()), &error);
    let mut known = image.checksums.lock().unwrap_or_else(PoisonError::into_inner);
    let mut tables = KnownChecksums::new();
    let mut files = Vec::new();
    for entry in std::fs::read_dir(directory).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let bytes = entry.metadata().map_err(failed)?.len();
        let crc32c = match known.get(&name) {
            Some((known_bytes, crc32c)) if *known_bytes == bytes => *crc32c,
            _ => checksum(&entry.path())?,
        };
        if name.ends_with(TABLE_SUFFIX) {
            tables.insert(name.clone(), (bytes, crc32c));
        }
        files.push(FileEntry { name, bytes, crc32c });
    }
    *known = tables;
    files.sort_by(|one, other| one.name.cmp(&other.name));
    Manifest::new(files)
}

/// The CRC-32C of a file's content.
pub(super) fn checksum(path: &Path) -> Result<u32, StoreError> {
    let failed = |error| StoreError::failed(&format!("reading {}", path.display()), &error);
    let mut file = File::open(path).map_err(failed)?;
    let mut piece = vec![0; PIECE_BYTES];
    let mut checksum = 0;
    loop {
        let bytes = file.read(&mut piece).map_err(failed)?;
        if bytes == 0 {
            return Ok(checksum);
        }
        checksum = crc32c::crc32c_append(checksum, piece.get(..bytes).unwrap_or_default());
    }
}

/// The caller's values in a copy.
fn read_state(directory: &Path, options: &Options) -> Result<BTreeMap<String, Bytes>, StoreError> {
    let db: DB = database::open_to_read(directory, options, &TREE_COLUMNS)?;
    let action = "reading the state in a copy of the tree";
    let column = db.cf_handle(STATE);
    let column = column.ok_or_else(|| StoreError::failed(action, "there is none"))?;
    let mut state = BTreeMap::new();
    let mut records = db.raw_iterator_cf(column);
    records.seek_to_first();
    while let Some((key, sealed)) = records.item() {
        if key != PROGRESS.as_bytes() {
            let name = shown(key);
            match unseal(&record::STATE, key, sealed) {
                Ok(value) => state.insert(name, Bytes::copy_from_slice(value)),
                Err(flaw) => return Err(damaged_record(&db, &record::STATE, &name, &flaw)),
            };
        }
        records.next();
    }
    records.status().map_err(|error| database::fault(action, directory, &error))?;
    Ok(state)
}
