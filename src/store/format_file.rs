//! The file `FORMAT`: which version may open the store, and which log belongs to the tree.
//!
//! It is read before RocksDB touches anything, so that an older version leaves a newer store as it
//! is. The log's identity is in it because `dataDir` and `dataLogDir` can be configured apart, and a
//! tree with a wrong or empty log would silently miss acknowledged writes.

use std::fs::{File, rename};
use std::io::{ErrorKind, Read, Write};
use std::path::Path;

use super::{StoreError, sync_directory};

/// The newest format of a store that this version reads, and the one it writes.
pub const FORMAT: u32 = 1;

/// The file's name.
const NAME: &str = "FORMAT";
/// No format's file will be longer.
const BYTES_MAX: u64 = 4_096;

/// What the file says.
#[derive(Debug, Eq, PartialEq)]
pub(super) struct FormatFile {
    /// The identity of the log's database.
    pub(super) log_identity: String,
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
        match field("log ") {
            Some(identity) if !identity.is_empty() => {
                Ok(FormatFile { log_identity: identity.to_owned() })
            }
            _ => Err(StoreError::Corrupt { place, problem: "it names no log".to_owned() }),
        }
    }

    /// Writes the file in a directory: it is there as a whole or not at all.
    pub(super) fn write(&self, home: &Path) -> Result<(), StoreError> {
        let path = home.join(NAME);
        let unfinished = home.join("FORMAT.new");
        let text = format!("format {FORMAT}\nlog {}\n", self.log_identity);
        File::create(&unfinished)
            .and_then(|mut file| file.write_all(text.as_bytes()).and_then(|()| file.sync_all()))
            .and_then(|()| rename(&unfinished, &path))
            .map_err(|error| StoreError::not_writable(&path, &error))?;
        sync_directory(home)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<FormatFile, StoreError> {
        FormatFile::parse(Path::new("/data/rookeeper/FORMAT"), text)
    }

    #[test]
    fn the_first_format_is_frozen() {
        let home = tempfile::tempdir().unwrap();
        let written = FormatFile { log_identity: "a-b-c".to_owned() };
        written.write(home.path()).unwrap();
        let text = std::fs::read_to_string(home.path().join("FORMAT")).unwrap();
        assert_eq!(text, "format 1\nlog a-b-c\n");
        assert_eq!(FormatFile::read(home.path()).unwrap(), Some(written));
    }

    #[test]
    fn a_newer_format_is_refused_whatever_else_it_says() {
        let refused = parse("format 2\nsomething new\n").unwrap_err().to_string();
        assert!(refused.contains("/data/rookeeper/FORMAT"), "{refused}");
        assert!(refused.contains("format 2") && refused.contains("up to 1"), "{refused}");
    }

    #[test]
    fn a_file_that_says_too_little_is_damaged() {
        for text in ["", "format\n", "format one\nlog a\n", "format 1\n", "format 1\nlog \n"] {
            assert!(matches!(parse(text), Err(StoreError::Corrupt { .. })), "{text:?}");
        }
    }
}
