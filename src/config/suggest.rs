//! Which known name a misspelt one may have meant.
//!
//! Only ever a suggestion in a message: nothing is set by it.

use super::keys::{KEYS, MANUAL_NAMES, Spelling};
use super::limits::SUGGESTION_CHARS_MAX;

/// The closest known key, if it is close: a third of its characters may be wrong, at most four.
pub(super) fn closest_key(name: &str) -> Option<&'static str> {
    let bare = name.strip_prefix("zookeeper.").unwrap_or(name);
    if let Some((_, key)) = MANUAL_NAMES.iter().find(|(manual, _)| *manual == bare) {
        return Some(key);
    }
    KEYS.iter()
        .map(|key| key.name)
        .filter(|key| !key.ends_with('*'))
        .map(|key| (distance(&folded(bare), &folded(key)), key))
        .filter(|(distance, key)| *distance <= (key.len() / 3).min(4))
        .min()
        .map(|(_, key)| key)
}

/// As [`closest_key`], written as a system property.
pub(super) fn closest_property(name: &str) -> Option<String> {
    let key = KEYS.iter().find(|key| Some(key.name) == closest_key(name))?;
    match key.spelling {
        Spelling::Property => Some(format!("zookeeper.{}", key.name)),
        Spelling::BareProperty | Spelling::File => Some(key.name.to_owned()),
    }
}

/// Lower case, without the signs that are easily swapped, and short.
fn folded(name: &str) -> Vec<char> {
    name.chars()
        .filter(|c| !matches!(c, '.' | '_' | '-'))
        .map(|c| c.to_ascii_lowercase())
        .take(SUGGESTION_CHARS_MAX)
        .collect()
}

/// Insertions, deletions and substitutions that make `right` of `left` (Levenshtein).
fn distance(left: &[char], right: &[char]) -> usize {
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (index, a) in left.iter().enumerate() {
        let mut diagonal = index;
        let mut before = index + 1;
        let mut next = vec![before];
        for (above, b) in row.iter().skip(1).zip(right) {
            let substituted = diagonal + usize::from(a != b);
            before = substituted.min(before + 1).min(above + 1);
            next.push(before);
            diagonal = *above;
        }
        row = next;
    }
    row.last().copied().unwrap_or_default()
}
