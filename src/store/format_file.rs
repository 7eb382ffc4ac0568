//! The file `FORMAT`: which version may open the store, which log belongs to the tree, and which
//! directory is the tree's.
//!
//! It is read before RocksDB touches anything, so that an older version leaves a newer store as it
//! is. The log's identity is in it because `dataDir` and `dataLogDir` can be configured apart, and a
//! tree with a wrong or empty log would silently miss acknowledged writes.
//!
//! Format 1 knows one directory of the tree, `tree`; format 2 names it, because a tree that came from
//! another server lies in another directory (`tree_image/install.rs`). A store in which no such tree
//! was installed is written in format 1, which older versions can open.

use std::fs::{File, rename};
use std::io::{ErrorKind, Read, Write};
use std::path::{Path, PathBuf};

use super::tree_image::directory::{FIRST_IMAGE, is_image_name};
use super::{StoreError, sync_directory};

/// The newest format of a store that this version reads.
pub const FORMAT: u32 = 2;
/// The format of a store whose tree lies in the directory of the first.
const FIRST_IMAGE_FORMAT: u32 = 1;

/// The file's name.
const NAME: &str = "FORMAT";
/// What it is called until it is complete.
const UNFINISHED: &str = "FORMAT.new";
/// No format's file will be longer.
const BYTES_MAX: u64 = 4_096;

/// What the file says.
#[derive(Debug, Eq, PartialEq)]
pub(super) struct FormatFile {
    /// The identity of the log's database.
    pub(super) log_identity: String,
    /// The directory of the tree's database, beside the file.
    pub(super) image: String,
}

/// A file that is complete but does not count yet.
#[must_use]
pub(super) struct Unfinished {
    home: PathBuf,
}

impl FormatFile {
    /// Reads the file in a directory; `None` if there is none.
    pub(super) fn read(home: &Path) -> Result<Option<FormatFile>, StoreError> {
        let path = home.join(NAME);
        let mut text = String::new();
        let read =
            File::open(&path).and_then(|file| file.take(BYTES_MAX).read_to_string(&mut text));
        match read {
            Ok(_) => FormatFile::parse(&path, &text).map(Some),
            // A file in place of a directory is told of when the directory is created.
            Err(error)
                if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) =>
            {
                Ok(None)
            }
            Err(error) => Err(StoreError::failed(&format!("reading {}", path.display()), &error)),
        }
    }

    fn parse(path: &Path, text: &str) -> Result<FormatFile, StoreError> {
        let place = path.display().to_string();
        let field =
            |name: &str| text.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
        let Some(found) = field("format ").and_then(|number| number.parse::<u32>().ok()) else {
            return Err(StoreError::Corrupt { place, problem: "it names no format".to_owned() });
        };
        if FORMAT < found {
            return Err(StoreError::NewerFormat { place, found, known: FORMAT });
        }
        let Some(log_identity) = field("log ").filter(|identity| !identity.is_empty()) else {
            return Err(StoreError::Corrupt { place, problem: "it names no log".to_owned() });
        };
        let image = if found == FIRST_IMAGE_FORMAT { Some(FIRST_IMAGE) } else { field("tree ") };
        let Some(image) = image.filter(|image| is_image_name(image)) else {
            let problem = "it names no directory of the tree".to_owned();
            return Err(StoreError::Corrupt { place, problem });
        };
        Ok(FormatFile { log_identity: log_identity.to_owned(), image: image.to_owned() })
    }

    /// Writes the file in a directory: it is there as a whole or not at all.
    pub(super) fn write(&self, home: &Path) -> Result<(), StoreError> {
        self.prepare(home)?.finish()
    }

    /// Writes the file under another name.
    ///
    /// # Errors
    ///
    /// The disk's; whatever was there before still counts.
    pub(super) fn prepare(&self, home: &Path) -> Result<Unfinished, StoreError> {
        let path = home.join(UNFINISHED);
        let text = if self.image == FIRST_IMAGE {
            format!("format {FIRST_IMAGE_FORMAT}\nlog {}\n", self.log_identity)
        } else {
            format!("format {FORMAT}\nlog {}\ntree {}\n", self.log_identity, self.image)
        };
        File::create(&path)
            .and_then(|mut file| file.write_all(text.as_bytes()).and_then(|()| file.sync_all()))
            .map_err(|error| StoreError::not_writable(&path, &error))?;
        Ok(Unfinished { home: home.to_owned() })
    }
}

impl Unfinished {
    /// Puts the file in its place.
    ///
    /// # Errors
    ///
    /// The disk's; then nobody knows which file a restart would find.
    pub(super) fn finish(self) -> Result<(), StoreError> {
        let path = self.home.join(NAME);
        rename(self.home.join(UNFINISHED), &path)
            .map_err(|error| StoreError::not_writable(&path, &error))?;
        sync_directory(&self.home)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<FormatFile, StoreError> {
        FormatFile::parse(Path::new("/data/rookeeper/FORMAT"), text)
    }

    fn written(image: &str) -> String {
        let home = tempfile::tempdir().unwrap();
        let written = FormatFile { log_identity: "a-b-c".to_owned(), image: image.to_owned() };
        written.write(home.path()).unwrap();
        assert_eq!(FormatFile::read(home.path()).unwrap(), Some(written));
        std::fs::read_to_string(home.path().join("FORMAT")).unwrap()
    }

    #[test]
    fn every_format_is_frozen() {
        assert_eq!(written("tree"), "format 1\nlog a-b-c\n");
        assert_eq!(written("tree.3"), "format 2\nlog a-b-c\ntree tree.3\n");
    }

    #[test]
    fn a_newer_format_is_refused_whatever_else_it_says() {
        let refused = parse("format 3\nsomething new\n").unwrap_err().to_string();
        assert!(refused.contains("/data/rookeeper/FORMAT"), "{refused}");
        assert!(refused.contains("format 3") && refused.contains("up to 2"), "{refused}");
    }

    #[test]
    fn a_file_that_says_too_little_is_damaged() {
        let texts = ["", "format\n", "format one\nlog a\n", "format 1\n", "format 1\nlog \n"];
        for text in texts {
            assert!(matches!(parse(text), Err(StoreError::Corrupt { .. })), "{text:?}");
        }
        for image in ["", "tree ", "tree ../x", "tree tree.x", "tree incoming"] {
            let text = format!("format 2\nlog a\n{image}\n");
            assert!(matches!(parse(&text), Err(StoreError::Corrupt { .. })), "{text:?}");
        }
    }
}
