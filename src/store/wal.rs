//! The end of the log's WAL after a crash: a torn write is cut off, anything else is damage.
//!
//! RocksDB 11.8 cannot tell them apart by itself. Measured with `TolerateCorruptedTailRecords` on a
//! log of five writes, one bit flipped at a time: a broken length in the last 32 KiB is taken for the
//! end of the log, so that this write and all later ones, acknowledged as they were, are dropped
//! without a word; so is the whole log after one bit in the first write's type, while the same bit in
//! a later one makes opening the database loop for ever; and a torn end whose garbage has a plausible
//! length is refused. So the files are walked here first.
//!
//! The rule: entries are synced in order, so a write that was torn is the last one. If any write
//! begins, whole, after a damaged place, something acknowledged may be missing: refuse. Otherwise
//! cut the file where its last whole write ends. RocksDB never appends to an old WAL file, so
//! nothing is ever written after such a place by honest means.
//!
//! RocksDB lets a WAL file grow with every write, so that every sync has to write the file's new
//! length too: 125 to 146 µs instead of 92 here. [`extend`] gives the file its length beforehand.
//! Zeros up to the end of a file are therefore no torn write. (RocksDB can also write over old
//! files; but then a power failure may leave new writes under an old file's name.)
//!
//! This file knows RocksDB's log format (`log_format.h`): blocks of 32 KiB hold fragments, each
//! with a masked CRC-32C (4 bytes), a length (2 bytes) and a type (1 byte); less than a header's
//! room at the end of a block is filled up.

use std::fs::{File, OpenOptions};
use std::io::Read;
use std::path::{Path, PathBuf};

use rustix::fs::{FallocateFlags, fallocate};

use super::StoreError;

/// Bytes in a block.
const BLOCK_BYTES: usize = 32_768;
/// Bytes before a fragment's payload.
const HEADER_BYTES: usize = 7;
/// What RocksDB adds to a rotated checksum.
const MASK_DELTA: u32 = 0xa282_ead8;

/// What a fragment is of its record.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Part {
    Whole,
    First,
    Middle,
    Last,
}

/// A fragment whose checksum holds.
struct Fragment {
    part: Part,
    bytes: usize,
}

/// Gives the newest WAL file in `database` a length of `bytes` at the least, filled up with zeros
/// that RocksDB writes over. It only saves time: where it does not work, nothing else changes.
pub(super) fn extend(database: &Path, bytes: u64) {
    let newest = wal_files(database).ok().and_then(|mut files| files.pop());
    let opened = newest.and_then(|path| OpenOptions::new().write(true).open(path).ok());
    let Some(file) = opened else { return };
    if file.metadata().is_ok_and(|metadata| metadata.len() < bytes) {
        // Not every file system can; and a full disk is noticed by the next write.
        let _ = fallocate(&file, FallocateFlags::empty(), 0, bytes);
    }
}

/// Cuts a torn write off the end of the WAL in `database`, with the zeros that [`extend`] added, and
/// tells whether there was anything but those.
///
/// # Errors
///
/// [`StoreError::Corrupt`]: a place before the end is damaged.
pub(super) fn cut_torn_end(database: &Path) -> Result<bool, StoreError> {
    let mut damage = None;
    let mut cuts = Vec::new();
    for path in wal_files(database)? {
        let walk = walk(&path, &mut damage)?;
        if walk.whole_bytes < walk.written_bytes {
            damage.get_or_insert((path.clone(), walk.whole_bytes));
        }
        if walk.whole_bytes < walk.bytes {
            cuts.push((path, walk));
        }
    }
    let mut is_torn = false;
    for (path, walk) in cuts {
        let failed = |error| StoreError::failed(&format!("repairing {}", path.display()), &error);
        let file = OpenOptions::new().write(true).open(&path).map_err(failed)?;
        file.set_len(walk.whole_bytes).and_then(|()| file.sync_all()).map_err(failed)?;
        is_torn |= walk.whole_bytes < walk.written_bytes;
    }
    Ok(is_torn)
}

/// The WAL files of a database, oldest first.
pub(super) fn wal_files(database: &Path) -> Result<Vec<PathBuf>, StoreError> {
    let failed = |error| StoreError::failed(&format!("listing {}", database.display()), &error);
    let mut numbered = Vec::new();
    for file in std::fs::read_dir(database).map_err(failed)? {
        let path = file.map_err(failed)?.path();
        let is_wal = path.extension().is_some_and(|extension| extension == "log");
        let stem = path.file_stem().and_then(|stem| stem.to_str());
        if let Some(number) = stem.and_then(|stem| stem.parse::<u64>().ok()).filter(|_| is_wal) {
            numbered.push((number, path));
        }
    }
    numbered.sort_unstable();
    Ok(numbered.into_iter().map(|(_, path)| path).collect())
}

/// What a walk through a file found.
struct Walk {
    /// Bytes of the file.
    bytes: u64,
    /// Bytes before the zeros at its end.
    written_bytes: u64,
    /// Where its last whole record ends, before any damage.
    whole_bytes: u64,
}

/// Walks through a file. `damage` is the first damaged place of all files so far.
fn walk(path: &Path, damage: &mut Option<(PathBuf, u64)>) -> Result<Walk, StoreError> {
    let failed = |error| StoreError::failed(&format!("reading {}", path.display()), &error);
    let written_bytes = written_bytes(path).map_err(failed)?;
    let mut file = File::open(path).map_err(failed)?;
    let mut walk = Walk { bytes: 0, written_bytes, whole_bytes: 0 };
    let mut in_record = false;
    let mut block = Vec::with_capacity(BLOCK_BYTES);
    loop {
        block.clear();
        let read = file.by_ref().take(BLOCK_BYTES as u64).read_to_end(&mut block);
        if read.map_err(failed)? == 0 {
            return Ok(walk);
        }
        let mut rest = block.as_slice();
        while rest.len() >= HEADER_BYTES {
            let at = walk.bytes + (block.len() - rest.len()) as u64;
            let fragment = match fragment(rest) {
                Some(fragment) if fits(fragment.part, in_record) => fragment,
                _ if written_bytes <= at => break,
                misfit => {
                    // A write that begins inside another proves that the other was not the last.
                    let begins = misfit.is_some_and(|fragment| begins(fragment.part));
                    let (file, at) = damage.get_or_insert((path.to_owned(), at));
                    if begins || (1..rest.len()).any(|skip| begins_at(rest, skip)) {
                        return Err(damaged(file, *at));
                    }
                    in_record = false;
                    break;
                }
            };
            if let Some((file, at)) = damage.as_ref().filter(|_| begins(fragment.part)) {
                return Err(damaged(file, *at));
            }
            rest = rest.get(fragment.bytes..).unwrap_or_default();
            in_record = matches!(fragment.part, Part::First | Part::Middle);
            if !in_record && damage.is_none() {
                walk.whole_bytes = walk.bytes + (block.len() - rest.len()) as u64;
            }
        }
        walk.bytes += block.len() as u64;
    }
}

/// Bytes of a file without the zeros at its end.
fn written_bytes(path: &Path) -> std::io::Result<u64> {
    let mut file = File::open(path)?;
    let (mut bytes, mut written_bytes) = (0, 0);
    let mut block = Vec::with_capacity(BLOCK_BYTES);
    while file.by_ref().take(BLOCK_BYTES as u64).read_to_end(&mut block)? > 0 {
        if let Some(last) = block.iter().rposition(|byte| *byte != 0) {
            written_bytes = bytes + last as u64 + 1;
        }
        bytes += block.len() as u64;
        block.clear();
    }
    Ok(written_bytes)
}

/// The fragment at the front of the rest of a block, if it is whole and of a type that we write.
fn fragment(rest: &[u8]) -> Option<Fragment> {
    let (&[c0, c1, c2, c3, low, high, kind], _) = rest.split_first_chunk::<HEADER_BYTES>()?;
    let part = match kind {
        1 => Part::Whole,
        2 => Part::First,
        3 => Part::Middle,
        4 => Part::Last,
        _ => return None,
    };
    let bytes = HEADER_BYTES + usize::from(u16::from_le_bytes([low, high]));
    // The checksum is over the type and the payload.
    let checksum = crc32c::crc32c(rest.get(HEADER_BYTES - 1..bytes)?);
    let masked = checksum.rotate_right(15).wrapping_add(MASK_DELTA);
    (masked == u32::from_le_bytes([c0, c1, c2, c3])).then_some(Fragment { part, bytes })
}

/// Whether a fragment may come where it comes.
fn fits(part: Part, in_record: bool) -> bool {
    begins(part) != in_record
}

/// Whether a record begins with such a fragment.
fn begins(part: Part) -> bool {
    matches!(part, Part::Whole | Part::First)
}

/// Whether a record begins, whole, so many bytes further on.
fn begins_at(rest: &[u8], skip: usize) -> bool {
    rest.get(skip..).and_then(fragment).is_some_and(|fragment| begins(fragment.part))
}

fn damaged(path: &Path, at: u64) -> StoreError {
    StoreError::Corrupt {
        place: format!("{} at byte {at}", path.display()),
        problem: "a write is broken, and whole writes follow it".to_owned(),
    }
}
