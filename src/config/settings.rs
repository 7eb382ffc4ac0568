//! File and command line, merged: each key once, with the place that decided.
//!
//! This module knows names and precedence; it never reads a value.

use super::error::{ConfigError, Level, Place, Warning, printable};
use super::keys::{self, Key, Spelling};
use super::{suggest, zoo_cfg};
use std::collections::BTreeMap;
use std::collections::btree_map::Entry as Slot;
use std::sync::Arc;

/// A known key with the value it gets.
pub(super) struct Setting {
    /// Its row in the table.
    pub(super) key: &'static Key,
    /// The key as it is written in the file; for a family such as `server.*` the whole name.
    pub(super) name: String,
    /// Trimmed, not yet read.
    pub(super) value: String,
    /// Where it was set.
    pub(super) place: Place,
}

/// Collects all settings in the order of the file, those of the command line last.
///
/// # Errors
///
/// [`ConfigError::Syntax`].
pub(super) fn collect(
    text: &str,
    overrides: &[(String, String)],
    origin: &str,
    warnings: &mut Vec<Warning>,
) -> Result<Vec<Setting>, ConfigError> {
    let mut settings = BTreeMap::new();
    read_file(text, origin, &mut settings, warnings)?;
    for (name, value) in overrides {
        let setting = Setting {
            key: match property(name) {
                Ok(key) => key,
                Err(warning) => {
                    warnings.push(warning);
                    continue;
                }
            },
            name: file_name(name).to_owned(),
            value: value.trim().to_owned(),
            place: Place::CommandLine,
        };
        take_override(setting, &mut settings, warnings);
    }
    let mut settings: Vec<Setting> = settings.into_values().collect();
    settings.sort_by(|left, right| left.place.cmp(&right.place));
    Ok(settings)
}

/// Reads the file's entries; the last of a key counts.
fn read_file(
    text: &str,
    origin: &str,
    settings: &mut BTreeMap<String, Setting>,
    warnings: &mut Vec<Warning>,
) -> Result<(), ConfigError> {
    let origin: Arc<str> = origin.into();
    let place = |line| Place::Line { origin: Arc::clone(&origin), line };
    let entries = zoo_cfg::parse(text).map_err(|error| ConfigError::Syntax {
        place: place(error.line),
        problem: error.problem,
        remedy: "double every backslash that is meant as one, or write the character as \\uXXXX",
    })?;
    for zoo_cfg::Entry { line, key: name, value } in entries {
        let place = place(line);
        if looks_like_utf8(&value) {
            let text = format!(
                "{}: the file is read as ISO-8859-1, as ZooKeeper reads it, and this value looks \
                 like UTF-8; write characters beyond ASCII as \\uXXXX",
                printable(&name)
            );
            warnings.push(Warning::at(Level::Warn, &place, text));
        }
        let Some(key) = keys::find(&name) else {
            warnings.push(Warning::at(Level::Warn, &place, unknown(&name)));
            continue;
        };
        let setting = Setting { key, name: name.clone(), value, place };
        if let Some(earlier) = settings.insert(name, setting) {
            let text = format!("{} is set again further down; the last line counts", earlier.name);
            warnings.push(Warning::at(Level::Warn, &earlier.place, text));
        }
    }
    Ok(())
}

/// Sets what the command line says, unless the file has the last word.
fn take_override(
    setting: Setting,
    settings: &mut BTreeMap<String, Setting>,
    warnings: &mut Vec<Warning>,
) {
    match settings.entry(setting.name.clone()) {
        Slot::Vacant(slot) => {
            slot.insert(setting);
        }
        Slot::Occupied(mut slot) => {
            let held = slot.get();
            let file_decides =
                setting.key.spelling == Spelling::Property && held.place != Place::CommandLine;
            if !file_decides {
                slot.insert(setting);
            } else if held.value != setting.value {
                let text = format!("{} in the file replaces -Dzookeeper.{0}", held.name);
                warnings.push(Warning::at(Level::Info, &held.place, text));
            }
        }
    }
}

/// The key as the file writes it.
fn file_name(property: &str) -> &str {
    property.strip_prefix("zookeeper.").unwrap_or(property)
}

/// The key that the system property `name` sets, or why it sets none.
fn property(name: &str) -> Result<&'static Key, Warning> {
    let key = keys::find(file_name(name));
    let prefixed = name.starts_with("zookeeper.");
    let warn = |level, text: String| Warning::at(level, &Place::CommandLine, text);
    match key.map(|key| (key, key.spelling)) {
        Some((key, Spelling::Property)) if prefixed => Ok(key),
        Some((key, Spelling::File | Spelling::BareProperty)) if !prefixed => Ok(key),
        Some((_, Spelling::Property)) => {
            let text = format!("-D{name} is ignored; the property is zookeeper.{name}");
            Err(warn(Level::Warn, printable(&text)))
        }
        Some((key, Spelling::File | Spelling::BareProperty)) => {
            let text = format!("-D{name} is ignored, as ZooKeeper ignores it; write {}", key.name);
            Err(warn(Level::Warn, printable(&text)))
        }
        None => {
            let suggestion = suggest::closest_property(name);
            let ours = prefixed || suggestion.is_some();
            let meant = suggestion.map(|key| format!("; did you mean {key}?")).unwrap_or_default();
            let text = format!("-D{} is unknown and ignored{meant}", printable(name));
            Err(warn(if ours { Level::Warn } else { Level::Debug }, text))
        }
    }
}

/// The warning about a key that the table does not have.
fn unknown(name: &str) -> String {
    let meant = suggest::closest_key(name);
    let meant = meant.map(|key| format!("; did you mean {key}?")).unwrap_or_default();
    format!("{} is unknown and ignored{meant}", printable(name))
}

/// Whether text that was read as ISO-8859-1 has characters beyond ASCII and is valid UTF-8.
fn looks_like_utf8(text: &str) -> bool {
    let bytes: Option<Vec<u8>> = text.chars().map(|c| u8::try_from(c).ok()).collect();
    !text.is_ascii() && bytes.is_some_and(|bytes| std::str::from_utf8(&bytes).is_ok())
}
