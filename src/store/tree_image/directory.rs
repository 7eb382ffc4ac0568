//! The directories below `<dataDir>/rookeeper/` that hold an image of the tree or a copy of one.
//!
//! ```text
//! tree         the image, until another server's is installed
//! tree.<n>     an installed image; FORMAT names the one that counts
//! incoming     where another server's image gathers
//! checkpoint.<n>   a copy that is being read
//! ```
//!
//! Nothing else is ever removed, whatever its name looks like.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use crate::store::StoreError;

/// The image of a store in which none was installed.
pub(in crate::store) const FIRST_IMAGE: &str = "tree";
/// Where another server's image gathers.
pub(super) const INCOMING: &str = "incoming";
/// Copies that are being read.
const CHECKPOINT: &str = "checkpoint";

/// A directory that this process made and may have to remove again when it is dropped.
pub(super) struct Directory {
    path: PathBuf,
    is_temporary: AtomicBool,
}

impl Directory {
    /// A directory that stays.
    pub(super) fn lasting(path: PathBuf) -> Directory {
        Directory { path, is_temporary: AtomicBool::new(false) }
    }

    /// A directory that is removed when this is dropped.
    pub(super) fn temporary(path: PathBuf) -> Directory {
        Directory { path, is_temporary: AtomicBool::new(true) }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Decides what becomes of it when this is dropped.
    pub(super) fn set_temporary(&self, is_temporary: bool) {
        self.is_temporary.store(is_temporary, Ordering::Release);
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        if self.is_temporary.load(Ordering::Acquire) {
            remove_leftover(&self.path);
        }
    }
}

/// Whether an image can lie under this name.
pub(in crate::store) fn is_image_name(name: &str) -> bool {
    image_number(name).is_some()
}

/// Which image it is; the first has number 0.
fn image_number(name: &str) -> Option<u64> {
    if name == FIRST_IMAGE { Some(0) } else { numbered(name, FIRST_IMAGE) }
}

/// The number in `<kind>.<number>`, if it is written as we write it.
fn numbered(name: &str, kind: &str) -> Option<u64> {
    let number = name.strip_prefix(kind)?.strip_prefix('.')?;
    let parsed = number.parse::<u64>().ok()?;
    (parsed.to_string() == number).then_some(parsed)
}

/// The copy that is made as the `number`th.
pub(super) fn checkpoint_name(number: u64) -> String {
    format!("{CHECKPOINT}.{number}")
}

/// A name under which no image lies or is being removed.
pub(super) fn unused_image_name(home: &Path) -> Result<String, StoreError> {
    let largest = names(home)?.iter().filter_map(|name| image_number(name)).max();
    match largest.unwrap_or(0).checked_add(1) {
        Some(next) => Ok(format!("{FIRST_IMAGE}.{next}")),
        None => Err(StoreError::failed("naming an image of the tree", "there are too many")),
    }
}

/// Whether there is an image besides the first.
pub(in crate::store) fn holds_installed_image(home: &Path) -> bool {
    let names = names(home).unwrap_or_default();
    names.iter().any(|name| name != FIRST_IMAGE && is_image_name(name))
}

/// Removes what a crash has left: copies, and every image but the one that counts. A half received
/// image stays: the rest of it may come yet.
pub(in crate::store) fn remove_leftovers(home: &Path, image: &str) -> Result<(), StoreError> {
    for name in names(home)? {
        // RocksDB makes a copy under another name first.
        let copy = name.strip_suffix(".tmp").unwrap_or(&name);
        let is_copy = numbered(copy, CHECKPOINT).is_some();
        let is_old_image = name != image && is_image_name(&name);
        if is_copy || is_old_image {
            remove_leftover(&home.join(name));
        }
    }
    Ok(())
}

/// The names in a directory that are text, as all of ours are.
fn names(home: &Path) -> Result<Vec<String>, StoreError> {
    let failed = |error| StoreError::failed(&format!("listing {}", home.display()), &error);
    let mut names = Vec::new();
    for entry in std::fs::read_dir(home).map_err(failed)? {
        names.extend(entry.map_err(failed)?.file_name().into_string());
    }
    Ok(names)
}

/// Removes a directory that nobody needs. Where that fails it only takes room, until the next start.
fn remove_leftover(path: &Path) {
    match std::fs::remove_dir_all(path) {
        Ok(()) => {}
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => {
            let path = path.display();
            tracing::warn!("{path} is left over and could not be removed: {error}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_that_we_give_are_ours() {
        for (name, number) in [("tree", 0), ("tree.1", 1), ("tree.12", 12)] {
            assert_eq!(image_number(name), Some(number), "{name}");
        }
        for name in ["tree.", "tree.01", "tree.+1", "tree.bak", "tree1", "trees", "../tree.1", ""] {
            assert_eq!(image_number(name), None, "{name}");
        }
        assert_eq!(numbered(&checkpoint_name(7), CHECKPOINT), Some(7));
    }

    #[test]
    fn what_a_crash_left_is_removed_and_nothing_else() {
        let home = tempfile::tempdir().unwrap();
        let kept = ["incoming", "raft", "tree.3", "tree.bak", "checkpoint", "checkpoint.x"];
        let removed = ["tree", "tree.2", "tree.4", "checkpoint.0", "checkpoint.12.tmp"];
        for name in kept.iter().chain(&removed) {
            std::fs::create_dir(home.path().join(name)).unwrap();
        }
        assert_eq!(unused_image_name(home.path()).unwrap(), "tree.5");
        remove_leftovers(home.path(), "tree.3").unwrap();
        let mut left = names(home.path()).unwrap();
        left.sort_unstable();
        let mut expected = kept.map(str::to_owned);
        expected.sort_unstable();
        assert_eq!(left, expected);
    }
}
