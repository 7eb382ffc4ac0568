//! A node's path: absolute, without empty or relative elements, without a slash at the end.
//!
//! The wire has only strings. A [`Path`] is a string that passed upstream's rules once; nothing
//! checks it again.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

/// The path of a node that exists or could exist. Cheap to clone.
#[derive(Clone, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Path(Arc<str>);

/// A string that is no path of a node.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum InvalidPath {
    #[error("a path starts with /")]
    NotAbsolute,
    #[error("a path does not end with /")]
    TrailingSlash,
    #[error("a path has no empty element")]
    EmptyElement,
    #[error("a path has no . or .. element")]
    RelativeElement,
    #[error("U+{0:04X} is not allowed in a path")]
    Character(u32),
}

impl Path {
    /// The path of the root.
    pub fn root() -> Path {
        Path(Arc::from("/"))
    }

    /// Takes a string as a path.
    ///
    /// # Errors
    ///
    /// [`InvalidPath`], as upstream's `PathUtils.validatePath` decides.
    pub fn parse(text: &str) -> Result<Path, InvalidPath> {
        match text.strip_prefix('/') {
            Some(relative) if is_plain(relative) => {}
            Some(relative) => check(relative)?,
            None => return Err(InvalidPath::NotAbsolute),
        }
        Ok(Path(Arc::from(text)))
    }

    /// Takes a path that was checked before it was written to disk or to the log.
    pub(crate) fn trusted(text: &str) -> Path {
        debug_assert!(Path::parse(text).is_ok(), "{text:?} was checked before it was stored");
        Path(Arc::from(text))
    }

    /// The path as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The path of the parent; the root has none.
    pub fn parent(&self) -> Option<Path> {
        parent_of(&self.0).map(|parent| Path(Arc::from(parent)))
    }

    /// The last element; empty for the root.
    pub fn name(&self) -> &str {
        self.0.rsplit_once('/').map_or("", |(_, name)| name)
    }

    /// How many elements the path has; 0 for the root.
    pub fn depth(&self) -> usize {
        if self.is_root() { 0 } else { self.0.bytes().filter(|&byte| byte == b'/').count() }
    }

    /// Whether this is the root's path.
    pub fn is_root(&self) -> bool {
        &*self.0 == "/"
    }
}

/// The text of the parent's path, `/` for top-level nodes; `None` for the root.
pub fn parent_of(path: &str) -> Option<&str> {
    match path.rsplit_once('/') {
        Some(("", "")) | None => None,
        Some(("", _)) => Some("/"),
        Some((parent, _)) => Some(parent),
    }
}

/// Judges what follows the first slash.
fn check(relative: &str) -> Result<(), InvalidPath> {
    if relative.is_empty() {
        return Ok(());
    }
    if relative.ends_with('/') {
        return Err(InvalidPath::TrailingSlash);
    }
    for element in relative.split('/') {
        match element {
            "" => return Err(InvalidPath::EmptyElement),
            "." | ".." => return Err(InvalidPath::RelativeElement),
            _ => {}
        }
    }
    match relative.chars().find(|&character| is_forbidden(character)) {
        Some(character) => Err(InvalidPath::Character(character.into())),
        None => Ok(()),
    }
}

/// Whether what follows the first slash is so plain that it needs no closer look, as nearly all paths
/// are: printable ASCII, and no element that is empty or begins with a dot.
fn is_plain(relative: &str) -> bool {
    let mut previous = b'/';
    for byte in relative.bytes() {
        let begins_badly = previous == b'/' && (byte == b'/' || byte == b'.');
        if begins_badly || !matches!(byte, b' '..=b'~') {
            return false;
        }
        previous = byte;
    }
    previous != b'/'
}

/// Whether upstream refuses a character in paths. It thinks in UTF-16, so everything beyond the
/// basic plane, written as two surrogates there, is refused too.
fn is_forbidden(character: char) -> bool {
    matches!(u32::from(character),
        0..=0x1f | 0x7f..=0x9f | 0xd800..=0xf8ff | 0xfff0..=0xffff | 0x1_0000..)
}

impl Borrow<str> for Path {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &*self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn upstreams_boundary_characters_are_judged_as_upstream_does() {
        for allowed in ["/", "/a", "/...", "/.a", "/a..", "/\u{20}", "/\u{a0}", "/\u{200b}"] {
            assert!(Path::parse(allowed).is_ok(), "{allowed:?}");
        }
        for allowed in ["/\u{d7ff}", "/\u{f900}", "/\u{ffef}"] {
            assert!(Path::parse(allowed).is_ok(), "{allowed:?}");
        }
        for refused in ["", "a", "/a/", "//", "/a//b", "/.", "/a/../b", "/\0", "/\u{1f}"] {
            assert!(Path::parse(refused).is_err(), "{refused:?}");
        }
        for refused in ["/\u{7f}", "/\u{9f}", "/\u{e000}", "/\u{fffd}", "/\u{1f600}"] {
            assert!(Path::parse(refused).is_err(), "{refused:?}");
        }
    }

    #[test]
    fn what_is_plain_is_a_path() {
        const PARTS: [&str; 9] = ["", "/", ".", "a", " ", "~", "\u{1f}", "\u{7f}", "\u{e9}"];
        let mut plain = 0;
        for number in 0..PARTS.len().pow(5) {
            let part = |place: u32| PARTS[number / PARTS.len().pow(place) % PARTS.len()];
            let relative: String = (0..5).map(part).collect();
            if is_plain(&relative) {
                plain += 1;
                assert_eq!(
                    check(&relative).err().map(|error| error.to_string()),
                    None,
                    "{relative:?}"
                );
            }
        }
        assert!(plain > 1_000, "{plain}");
    }

    #[test]
    fn a_path_knows_its_parent_name_and_depth() {
        let path = Path::parse("/a/b").unwrap();
        assert_eq!(path.parent().unwrap().as_str(), "/a");
        assert_eq!((path.name(), path.depth()), ("b", 2));
        assert_eq!(path.parent().unwrap().parent(), Some(Path::root()));
        assert_eq!((Path::root().parent(), Path::root().depth()), (None, 0));
    }
}
