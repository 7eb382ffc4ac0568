//! One image of the tree: an open database, its records and what they must agree on.
//!
//! Invariants: a node's data lies either in its record or, if it is larger, under the same key in
//! `data`, never in both; progress and the caller's state belong to the same moment as the nodes.

use std::collections::HashSet;
use std::path::Path as FilePath;
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use jute::SessionId;
use rocksdb::{
    Cache, ColumnFamily, DB, DBCompressionType, DBRawIterator, FlushOptions, MemtableFactory,
    Options, ReadOptions, ReadTier, WriteBatch, WriteOptions,
};

use super::checkpoint::KnownChecksums;
use super::directory::Directory;
use crate::store::error::Latch;
use crate::store::keyspace::{
    DATA, PROGRESS, SESSION, STATE, TREE_COLUMNS, ZNODE, node_key, parse_node_key,
    parse_session_key, session_key, shown,
};
use crate::store::record::{self, AclReader, Flaw, RecordFormat, is_inline, seal, unseal};
use crate::store::{StoreError, damaged_record, database};
use crate::tree::{Changes, DataChange, NodeChange, Owner, Path, Session, Tree, Znode};

/// A flush begins by itself when so much is committed but unflushed.
const WRITE_BUFFER_BYTES: usize = 16 << 20;
/// Buffers that may wait for their flush before commits have to.
const WRITE_BUFFERS_MAX: i32 = 4;
/// Read ahead of a scan over everything.
const SCAN_AHEAD_BYTES: usize = 2 << 20;

/// An open image.
pub(super) struct Image {
    pub(super) db: DB,
    latch: Latch,
    /// The nodes with a record in `data`; `None` until they are known. It saves every commit of a
    /// node with small data a deletion that would delete nothing.
    large: Mutex<Option<HashSet<Path>>>,
    /// Checksums of files that the last copy had.
    pub(super) checksums: Mutex<KnownChecksums>,
    /// Dropped after the database is closed.
    pub(super) directory: Directory,
}

/// RocksDB's settings for an image.
pub(super) fn options(cache: &Cache) -> Options {
    let mut options = database::shared_options(cache);
    options.set_atomic_flush(true);
    options.set_write_buffer_size(WRITE_BUFFER_BYTES);
    options.set_db_write_buffer_size(WRITE_BUFFER_BYTES);
    options.set_max_write_buffer_number(WRITE_BUFFERS_MAX);
    // What is committed is read again only after a flush, so it need not be sorted before one.
    options.set_memtable_factory(MemtableFactory::Vector);
    options.set_allow_concurrent_memtable_write(false);
    options.set_compression_type(DBCompressionType::Lz4);
    options
}

impl Image {
    /// Opens an image, with [`options`] or a stricter form of them.
    pub(super) fn open(
        directory: Directory,
        options: &Options,
        latch: Latch,
    ) -> Result<Image, StoreError> {
        let db = database::open(directory.path(), options, &TREE_COLUMNS)?;
        let (large, checksums) = (Mutex::default(), Mutex::default());
        Ok(Image { db, latch, large, checksums, directory })
    }

    pub(super) fn path(&self) -> &FilePath {
        self.directory.path()
    }

    /// Whether nothing was ever committed.
    pub(super) fn is_empty(&self) -> Result<bool, StoreError> {
        Ok(self.get(STATE, PROGRESS.as_bytes(), ReadTier::All)?.is_none())
    }

    /// Reads everything into a bare tree, checking every record.
    pub(super) fn load(&self, tree: &mut Tree) -> Result<(), StoreError> {
        self.load_sessions(tree)?;
        let large = self.load_nodes(tree)?;
        if let Some(record) = self.get(STATE, PROGRESS.as_bytes(), ReadTier::All)? {
            let progress = record::decode_progress(PROGRESS.as_bytes(), &record)
                .map_err(|flaw| self.damaged(&record::PROGRESS, PROGRESS, &flaw))?;
            tree.restore_progress(progress);
        }
        *self.large.lock().unwrap_or_else(PoisonError::into_inner) = Some(large);
        Ok(())
    }

    /// Writes changes and state in one batch. Panics if nothing was loaded before.
    pub(super) fn commit(
        &self,
        changes: &Changes,
        state: &[(&'static str, Bytes)],
    ) -> Result<(), StoreError> {
        self.latch.check()?;
        let mut large = self.large.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(large) = large.as_mut() else { panic!("a tree is loaded before it is changed") };

        let mut batch = WriteBatch::default();
        for (path, change) in &changes.nodes {
            self.add_node(&mut batch, large, path, change)?;
        }
        let sessions = self.column(SESSION)?;
        for (id, session) in &changes.sessions {
            let key = session_key(*id);
            match session {
                Some(session) => {
                    batch.put_cf(sessions, key, record::encode_session(&key, session));
                }
                None => batch.delete_cf(sessions, key),
            }
        }
        let states = self.column(STATE)?;
        for (name, value) in state {
            assert_ne!(*name, PROGRESS, "the tree's progress is the tree's");
            let key = name.as_bytes();
            let write = |out: &mut bytes::BytesMut| out.extend_from_slice(value);
            batch.put_cf(states, key, seal(&record::STATE, key, value.len(), write));
        }
        let progress = record::encode_progress(PROGRESS.as_bytes(), changes.progress);
        batch.put_cf(states, PROGRESS, progress);
        self.write(batch)
    }

    /// Makes everything that is committed last.
    pub(super) fn flush(&self) -> Result<(), StoreError> {
        self.latch.check()?;
        let columns = TREE_COLUMNS.iter().map(|name| self.column(name));
        let columns = columns.collect::<Result<Vec<_>, _>>()?;
        let columns: Vec<_> = columns.iter().collect();
        let flushed = self.db.flush_cfs_opt(&columns, &FlushOptions::default());
        self.latch.note(flushed.map_err(|error| self.fault("flushing the tree", &error)))
    }

    pub(super) fn column(&self, name: &str) -> Result<&ColumnFamily, StoreError> {
        let missing = || StoreError::failed("finding a column family", name);
        self.db.cf_handle(name).ok_or_else(missing)
    }

    pub(super) fn fault(&self, action: &str, error: &rocksdb::Error) -> StoreError {
        database::fault(action, self.db.path(), error)
    }

    pub(super) fn damaged(&self, format: &RecordFormat, name: &str, flaw: &Flaw) -> StoreError {
        damaged_record(&self.db, format, name, flaw)
    }

    /// The record under a key.
    pub(super) fn get(
        &self,
        column: &str,
        key: &[u8],
        tier: ReadTier,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        let mut options = ReadOptions::default();
        options.set_read_tier(tier);
        self.db
            .get_cf_opt(self.column(column)?, key, &options)
            .map_err(|error| self.fault(&format!("reading the tree's {column}"), &error))
    }

    pub(super) fn state(&self, name: &str, tier: ReadTier) -> Result<Option<Bytes>, StoreError> {
        let key = name.as_bytes();
        let Some(record) = self.get(STATE, key, tier)? else { return Ok(None) };
        match unseal(&record::STATE, key, &record) {
            Ok(value) => Ok(Some(Bytes::copy_from_slice(value))),
            Err(flaw) => Err(self.damaged(&record::STATE, name, &flaw)),
        }
    }

    fn write(&self, batch: WriteBatch) -> Result<(), StoreError> {
        let mut options = WriteOptions::default();
        options.disable_wal(true);
        let written = self.db.write_opt(batch, &options);
        self.latch.note(written.map_err(|error| self.fault("writing the tree", &error)))
    }

    /// Adds what became of a node to a batch.
    fn add_node(
        &self,
        batch: &mut WriteBatch,
        large: &mut HashSet<Path>,
        path: &Path,
        change: &NodeChange,
    ) -> Result<(), StoreError> {
        let (znodes, data_column) = (self.column(ZNODE)?, self.column(DATA)?);
        let key = node_key(path);
        let (znode, data) = match change {
            NodeChange::Remove => {
                batch.delete_cf(znodes, &key);
                if large.remove(path) {
                    batch.delete_cf(data_column, &key);
                }
                return Ok(());
            }
            NodeChange::Put { znode, data } => (znode, data),
        };
        let inline = match data {
            DataChange::Keep => {
                let is_kept = !is_inline(znode.data_length) && large.contains(path);
                assert!(is_kept, "{path} keeps data that does not lie apart: {znode:?}");
                &[][..]
            }
            DataChange::Set(data) => {
                let length = data.as_ref().map(|data| data.len() as u32);
                assert_eq!(length, znode.data_length, "{path} says how long its data is");
                data.as_deref().unwrap_or_default()
            }
        };
        if is_inline(znode.data_length) {
            batch.put_cf(znodes, &key, record::encode_znode(&key, znode, inline));
            if large.remove(path) {
                batch.delete_cf(data_column, &key);
            }
            return Ok(());
        }
        batch.put_cf(znodes, &key, record::encode_znode(&key, znode, &[]));
        if let DataChange::Set(Some(data)) = data {
            let write = |out: &mut bytes::BytesMut| out.extend_from_slice(data);
            batch.put_cf(data_column, &key, seal(&record::DATA, &key, data.len(), write));
            large.insert(path.clone());
        }
        Ok(())
    }

    /// A walk over a column family.
    pub(super) fn scan(&self, column: &'static str) -> Result<Scan<'_>, StoreError> {
        let mut options = ReadOptions::default();
        options.fill_cache(false);
        options.set_readahead_size(SCAN_AHEAD_BYTES);
        let mut iterator = self.db.raw_iterator_cf_opt(self.column(column)?, options);
        iterator.seek_to_first();
        Ok(Scan { store: self, column, iterator })
    }

    fn load_sessions(&self, tree: &mut Tree) -> Result<(), StoreError> {
        let mut sessions = self.scan(SESSION)?;
        while let Some((key, record)) = sessions.current()? {
            let (id, session) = self.session(key, record)?;
            tree.restore_session(id, session);
            sessions.iterator.next();
        }
        Ok(())
    }

    fn session(&self, key: &[u8], record: &[u8]) -> Result<(SessionId, Session), StoreError> {
        let damaged = |flaw| self.damaged(&record::SESSION, &shown(key), &flaw);
        let id = parse_session_key(key).ok_or(Flaw::Senseless("its key is no id"));
        let id = id.map_err(damaged)?;
        Ok((id, record::decode_session(key, record).map_err(damaged)?))
    }

    /// Reads all nodes, with their larger data from a second walk in step with the first, and tells
    /// which have larger data.
    fn load_nodes(&self, tree: &mut Tree) -> Result<HashSet<Path>, StoreError> {
        let acls = AclReader::new();
        let mut large = HashSet::new();
        let mut children_expected = 0;
        let mut nodes = self.scan(ZNODE)?;
        let mut data = self.scan(DATA)?;
        let mut count = 0_i64;
        while let Some((key, record)) = nodes.current()? {
            let damaged = |flaw| self.damaged(&record::ZNODE, &shown(key), &flaw);
            let path = parse_node_key(key).ok_or(Flaw::Senseless("its key is no path"));
            let path = path.map_err(damaged)?;
            let (znode, inline) = record::decode_znode(&acls, key, record).map_err(damaged)?;
            check_place(tree, &path, &znode).map_err(damaged)?;
            if is_inline(znode.data_length) {
                tree.restore_node(&path, &znode, znode.data_length.map(|_| inline));
            } else {
                let large_data = self.large_data(&data, key, &znode)?;
                tree.restore_node(&path, &znode, Some(large_data));
                data.iterator.next();
                large.insert(path);
            }
            count += 1;
            children_expected += i64::from(znode.children_present);
            nodes.iterator.next();
        }
        if let Some((key, _)) = data.current()? {
            let flaw = Flaw::Senseless("no node has so much data");
            return Err(self.damaged(&record::DATA, &shown(key), &flaw));
        }
        // Every node but the root is somebody's child.
        if count != 0 && children_expected != count - 1 {
            let place = format!("the tree in {}", self.db.path().display());
            let problem = format!("its {count} nodes have {children_expected} children together");
            return Err(StoreError::Corrupt { place, problem });
        }
        Ok(large)
    }

    /// The larger data of the node with this key, which must be the next in the walk.
    fn large_data<'s>(
        &self,
        data: &'s Scan<'_>,
        key: &[u8],
        znode: &Znode,
    ) -> Result<&'s [u8], StoreError> {
        let damaged = |key: &[u8], flaw| self.damaged(&record::DATA, &shown(key), &flaw);
        match data.current()? {
            Some((found, record)) if found == key => {
                let payload = unseal(&record::DATA, key, record);
                let payload = payload.map_err(|flaw| damaged(key, flaw))?;
                if Some(payload.len() as u32) == znode.data_length {
                    Ok(payload)
                } else {
                    Err(damaged(key, Flaw::Senseless("its length is not what the node says")))
                }
            }
            Some((found, _)) if found < key => {
                Err(damaged(found, Flaw::Senseless("no node has so much data")))
            }
            _ => Err(damaged(key, Flaw::Senseless("it is missing"))),
        }
    }
}

/// Whether a node may stand where it stands, among those that were read before it.
fn check_place(tree: &Tree, path: &Path, znode: &Znode) -> Result<(), Flaw> {
    if path.parent().is_some_and(|parent| tree.find(parent.as_str()).is_none()) {
        return Err(Flaw::Senseless("its parent is missing"));
    }
    match znode.owner {
        Owner::Ephemeral(session) if tree.session(session).is_none() => {
            Err(Flaw::Senseless("its session is missing"))
        }
        Owner::Ephemeral(_) | Owner::Persistent | Owner::Container | Owner::Ttl(_) => Ok(()),
    }
}

/// A key and its record.
pub(super) type Pair<'s> = (&'s [u8], &'s [u8]);

/// A walk over a column family, which may end early because of an error.
pub(super) struct Scan<'s> {
    store: &'s Image,
    column: &'static str,
    pub(super) iterator: DBRawIterator<'s>,
}

impl Scan<'_> {
    /// The key and the record here; `None` at the end.
    pub(super) fn current(&self) -> Result<Option<Pair<'_>>, StoreError> {
        match self.iterator.item() {
            Some(item) => Ok(Some(item)),
            None => self.iterator.status().map(|()| None).map_err(|error| {
                self.store.fault(&format!("reading the tree's {}", self.column), &error)
            }),
        }
    }
}
