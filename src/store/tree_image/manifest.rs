//! What a copy of the image consists of: the list of its files, which travels ahead of them.
//!
//! It comes from another server, so nothing of it is believed: a name that is more than the name of
//! a file in one directory is refused before any file is touched.
//!
//! Layout: version u8, number of files u32; of each: length of its name u8, name, bytes u64, CRC-32C
//! u32. Invariant 10 holds for it too: servers of two versions speak to each other.

use std::collections::BTreeSet;

use bytes::{Buf, BufMut, Bytes, BytesMut};

use crate::store::StoreError;

/// The version of the layout.
const VERSION: u8 = 1;
/// RocksDB's files grow to 64 MiB each; so many hold a terabyte.
const FILES_MAX: usize = 16_384;
/// RocksDB's names have about twenty letters.
const NAME_BYTES_MAX: usize = 64;

/// A file of a copy.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct FileEntry {
    /// Its name in the directory of the copy.
    pub name: String,
    /// Its length.
    pub bytes: u64,
    /// The CRC-32C of its content.
    pub crc32c: u32,
}

/// The files of a copy. Their names are plain, and there are not too many.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Manifest {
    files: Vec<FileEntry>,
    bytes: u64,
}

impl Manifest {
    /// A list of files, if it is fit to be one.
    ///
    /// # Errors
    ///
    /// [`StoreError::BadCopy`].
    pub fn new(files: Vec<FileEntry>) -> Result<Manifest, StoreError> {
        if files.len() > FILES_MAX {
            let problem = format!("it has {} files, and {FILES_MAX} are too many", files.len());
            return Err(StoreError::bad_copy(&problem));
        }
        let mut names = BTreeSet::new();
        let mut bytes = 0_u64;
        for FileEntry { name, bytes: length, .. } in &files {
            if !is_plain(name) {
                return Err(StoreError::bad_copy(&format!("{name:?} is no plain name of a file")));
            }
            if !names.insert(name) {
                return Err(StoreError::bad_copy(&format!("it has two files {name:?}")));
            }
            let Some(sum) = bytes.checked_add(*length) else {
                return Err(StoreError::bad_copy("its files are longer than any disk"));
            };
            bytes = sum;
        }
        Ok(Manifest { files, bytes })
    }

    /// The files; elsewhere they are called by their place in this list.
    pub fn files(&self) -> &[FileEntry] {
        &self.files
    }

    /// Bytes of all files together.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// As it travels between servers.
    pub fn encode(&self) -> Bytes {
        let mut out = BytesMut::with_capacity(5 + self.files.len() * 40);
        out.put_u8(VERSION);
        out.put_u32(self.files.len() as u32);
        for FileEntry { name, bytes, crc32c } in &self.files {
            out.put_u8(name.len() as u8);
            out.put_slice(name.as_bytes());
            out.put_u64(*bytes);
            out.put_u32(*crc32c);
        }
        out.freeze()
    }

    /// Reads what [`Self::encode`] wrote.
    ///
    /// # Errors
    ///
    /// [`StoreError::BadCopy`], or [`StoreError::NewerFormat`].
    pub fn decode(mut encoded: &[u8]) -> Result<Manifest, StoreError> {
        let found = encoded.try_get_u8().map_err(cut_off)?;
        if found != VERSION {
            return Err(StoreError::NewerFormat {
                place: "the list of files that another server sent".to_owned(),
                found: u32::from(found),
                known: u32::from(VERSION),
            });
        }
        let count = encoded.try_get_u32().map_err(cut_off)? as usize;
        // Nothing is reserved for a number that may be wrong.
        let mut files = Vec::new();
        for _ in 0..count.min(FILES_MAX + 1) {
            let name_bytes = usize::from(encoded.try_get_u8().map_err(cut_off)?);
            let Some((name, rest)) = encoded.split_at_checked(name_bytes) else {
                return Err(StoreError::bad_copy("the list of its files is cut off"));
            };
            encoded = rest;
            files.push(FileEntry {
                name: String::from_utf8_lossy(name).into_owned(),
                bytes: encoded.try_get_u64().map_err(cut_off)?,
                crc32c: encoded.try_get_u32().map_err(cut_off)?,
            });
        }
        let manifest = Manifest::new(files)?;
        if !encoded.is_empty() {
            return Err(StoreError::bad_copy("bytes follow the list of its files"));
        }
        Ok(manifest)
    }
}

fn cut_off(_: bytes::TryGetError) -> StoreError {
    StoreError::bad_copy("the list of its files is cut off")
}

/// Whether a name is that of a visible file in one directory, and nothing more.
fn is_plain(name: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    (1..=NAME_BYTES_MAX).contains(&name.len())
        && !name.starts_with('.')
        && name.bytes().all(is_allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(name: &str) -> FileEntry {
        FileEntry { name: name.to_owned(), bytes: 0x0102, crc32c: 0x0304_0506 }
    }

    #[test]
    fn the_first_version_is_frozen() {
        let manifest = Manifest::new(vec![file("CURRENT"), file("000012.sst")]).unwrap();
        let encoded = manifest.encode();
        let frozen = b"\x01\0\0\0\x02\
            \x07CURRENT\0\0\0\0\0\0\x01\x02\x03\x04\x05\x06\
            \x0a000012.sst\0\0\0\0\0\0\x01\x02\x03\x04\x05\x06";
        assert_eq!(encoded, frozen.as_slice());
        assert_eq!(Manifest::decode(&encoded).unwrap(), manifest);
        assert_eq!(manifest.bytes(), 0x0204);
    }

    #[test]
    fn a_list_that_is_cut_off_or_too_long_is_refused() {
        let encoded = Manifest::new(vec![file("CURRENT"), file("000012.sst")]).unwrap().encode();
        for length in 0..encoded.len() {
            assert!(Manifest::decode(&encoded[..length]).is_err(), "{length}");
        }
        let longer = [&encoded, &b"x"[..]].concat();
        assert!(matches!(Manifest::decode(&longer), Err(StoreError::BadCopy { .. })));
        let many = [&b"\x01\xff\xff\xff\xff"[..], &[1, b'a'], &[0; 12]].concat();
        assert!(matches!(Manifest::decode(&many), Err(StoreError::BadCopy { .. })));
    }

    #[test]
    fn a_newer_version_is_told_from_damage() {
        let newer = Manifest::decode(b"\x02whatever").unwrap_err();
        assert!(matches!(newer, StoreError::NewerFormat { found: 2, known: 1, .. }), "{newer}");
    }

    #[test]
    fn a_name_that_leads_anywhere_is_refused() {
        let long = "a".repeat(NAME_BYTES_MAX + 1);
        let names = [
            "",
            ".",
            "..",
            "../CURRENT",
            "/etc/passwd",
            "a/b",
            ".hidden",
            "a\0",
            "a b",
            "é",
            &long,
        ];
        for name in names {
            let refused = Manifest::new(vec![file(name)]).unwrap_err();
            assert!(matches!(refused, StoreError::BadCopy { .. }), "{name:?}: {refused}");
        }
        let unreadable = b"\x01\0\0\0\x01\x01\xff\0\0\0\0\0\0\0\0\0\0\0\0";
        assert!(Manifest::decode(unreadable).is_err());
    }

    #[test]
    fn too_many_files_and_files_of_one_name_are_refused() {
        let numbered = |count: usize| (0..count).map(|n| file(&format!("{n}.sst"))).collect();
        assert!(Manifest::new(numbered(FILES_MAX)).is_ok());
        let too_many = Manifest { files: numbered(FILES_MAX + 1), bytes: 0 };
        assert!(Manifest::decode(&too_many.encode()).is_err());
        assert!(Manifest::new(vec![file("CURRENT"), file("CURRENT")]).is_err());
        let mut huge = file("1.sst");
        huge.bytes = u64::MAX;
        assert!(Manifest::new(vec![huge, file("2.sst")]).is_err());
    }
}
