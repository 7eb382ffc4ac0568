//! How RocksDB is set up and what its errors mean; the options that both databases share.
//!
//! A server with little to do must stay small, so every cache, buffer and list has a bound here.

use std::path::Path;

use rocksdb::{
    BlockBasedOptions, Cache, ColumnFamilyDescriptor, DB, DBRecoveryMode, ErrorKind, LogLevel,
    Options,
};

use super::StoreError;

/// Blocks and indexes of both databases that are kept in memory. Reads are rare: the tree is served
/// from its own memory and the log's end from raft's.
const BLOCK_CACHE_BYTES: usize = 16 << 20;
/// Files that a database keeps open.
const OPEN_FILES_MAX: i32 = 256;
/// RocksDB's own messages: warnings and worse, in at most two files.
const INFO_LOG_BYTES_MAX: usize = 1 << 20;
const INFO_LOG_FILES_MAX: usize = 2;
/// RocksDB's list of its files is rewritten when it is longer.
const MANIFEST_BYTES_MAX: usize = 4 << 20;
/// Threads for flushes and compactions, of both databases together.
const BACKGROUND_JOBS_MAX: i32 = 2;

/// Bytes of a file after which the system is asked to write them.
const BYTES_PER_SYNC: u64 = 128 << 10;
/// Bytes a second that flushes and compactions of one database may write, in portions of
/// [`BACKGROUND_REFILL_US`]; one in so many grants goes to the less urgent of the two.
const BACKGROUND_BYTES_PER_S: i64 = 200 << 20;
const BACKGROUND_REFILL_US: i64 = 5_000;
const BACKGROUND_FAIRNESS: i32 = 10;

/// The cache that both databases share.
pub(super) fn block_cache() -> Cache {
    Cache::new_lru_cache(BLOCK_CACHE_BYTES)
}

/// What both databases have in common.
pub(super) fn shared_options(cache: &Cache) -> Options {
    let mut blocks = BlockBasedOptions::default();
    blocks.set_block_cache(cache);
    blocks.set_cache_index_and_filter_blocks(true);
    blocks.set_pin_l0_filter_and_index_blocks_in_cache(true);

    let mut options = Options::default();
    options.create_if_missing(true);
    options.create_missing_column_families(true);
    options.set_block_based_table_factory(&blocks);
    options.set_max_open_files(OPEN_FILES_MAX);
    options.set_max_background_jobs(BACKGROUND_JOBS_MAX);
    options.set_log_level(LogLevel::Warn);
    options.set_max_log_file_size(INFO_LOG_BYTES_MAX);
    options.set_keep_log_file_num(INFO_LOG_FILES_MAX);
    options.set_max_manifest_file_size(MANIFEST_BYTES_MAX);
    // Files are written evenly: a sync of the log waits for whatever the disk has before it.
    options.set_bytes_per_sync(BYTES_PER_SYNC);
    options.set_ratelimiter(BACKGROUND_BYTES_PER_S, BACKGROUND_REFILL_US, BACKGROUND_FAIRNESS);
    options.set_stats_dump_period_sec(0);
    options.set_stats_persist_period_sec(0);
    options.set_skip_stats_update_on_db_open(true);
    // A torn end was cut off before (`wal`); whatever else RocksDB dislikes is damage.
    options.set_wal_recovery_mode(DBRecoveryMode::AbsoluteConsistency);
    options
}

/// Opens the database at `path`, with column families besides the one that every database has.
pub(super) fn open(path: &Path, options: &Options, columns: &[&str]) -> Result<DB, StoreError> {
    let opened = if columns.is_empty() {
        DB::open(options, path)
    } else {
        DB::open_cf_descriptors(options, path, descriptors(options, columns))
    };
    opened.map_err(|error| opening_failed(path, &error))
}

/// Opens the database at `path` as it is: no file of it is changed.
pub(super) fn open_to_read(
    path: &Path,
    options: &Options,
    columns: &[&str],
) -> Result<DB, StoreError> {
    DB::open_cf_descriptors_read_only(options, path, descriptors(options, columns), false)
        .map_err(|error| opening_failed(path, &error))
}

fn descriptors(
    options: &Options,
    columns: &[&str],
) -> impl Iterator<Item = ColumnFamilyDescriptor> {
    columns.iter().map(|name| ColumnFamilyDescriptor::new(*name, options.clone()))
}

/// What it means that a database cannot be opened.
fn opening_failed(path: &Path, error: &rocksdb::Error) -> StoreError {
    let reason = error.to_string();
    let says = |words: &[&str]| words.iter().any(|words| reason.contains(words));
    if says(&["While lock file", "lock hold by current process"]) {
        StoreError::InUse { path: path.to_owned() }
    } else if says(&["Permission denied", "Read-only file system", "No space left"]) {
        StoreError::NotWritable { path: path.to_owned(), reason }
    } else {
        fault(&format!("opening {}", path.display()), path, error)
    }
}

/// What an error of a read or write means: damage, or a fault of the disk.
pub(super) fn fault(action: &str, path: &Path, error: &rocksdb::Error) -> StoreError {
    if error.kind() == ErrorKind::Corruption {
        let place = format!("the database {}", path.display());
        StoreError::Corrupt { place, problem: error.to_string() }
    } else {
        StoreError::failed(action, error)
    }
}

/// Bytes of all files of a database, approximately: files come and go while they are counted.
pub(super) fn disk_bytes(path: &Path) -> u64 {
    let files = std::fs::read_dir(path).into_iter().flatten().flatten();
    files.filter_map(|file| file.metadata().ok()).map(|metadata| metadata.len()).sum()
}
