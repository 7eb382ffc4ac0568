//! What can be wrong with a configuration, and where: each one line, for a log or a terminal.
//!
//! A [`ConfigError`] stops the start; a [`Warning`] is data that `main` logs, since this room never
//! logs. Every message names the key, the value, the line, what is allowed and what to do.

use super::limits::MESSAGE_VALUE_CHARS_MAX;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

/// Why the server cannot start with this configuration.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ConfigError {
    /// The file is not there, not readable or far too large.
    #[error("{}: cannot read the configuration: {problem}; check the path and its permissions", path.display())]
    Unreadable {
        /// The path as it was given.
        path: PathBuf,
        /// The system's words.
        problem: Box<str>,
    },
    /// A line is not text of `java.util.Properties`.
    #[error("{place}: {problem}; {remedy}")]
    Syntax {
        /// The line.
        place: Place,
        /// What is wrong in it.
        problem: &'static str,
        /// What to write instead.
        remedy: &'static str,
    },
    /// A value is malformed or out of range.
    #[error("{place}: {key}={value} {problem}; write {expected}")]
    BadValue {
        /// Where the value stands.
        place: Place,
        /// The key as it was written.
        key: Box<str>,
        /// The value, shortened and made printable; a secret is masked.
        value: Box<str>,
        /// What is wrong with it.
        problem: Box<str>,
        /// What is allowed, and the default if there is one.
        expected: Box<str>,
    },
    /// The key asks for something whose absence would be dangerous to pass over.
    #[error("{place}: {key}={value} is refused: {reason}; remove it to start without")]
    Refused {
        /// Where the key stands.
        place: Place,
        /// The key as it was written.
        key: Box<str>,
        /// The value, shortened and made printable; a secret is masked.
        value: Box<str>,
        /// What is missing, and what would happen if the key were ignored.
        reason: Box<str>,
    },
    /// A key that has no default is not there.
    #[error("{origin}: {key} is not set; {remedy}")]
    Missing {
        /// The file.
        origin: Arc<str>,
        /// The key.
        key: &'static str,
        /// What to write.
        remedy: &'static str,
    },
    /// A member of an ensemble does not find out which one it is.
    #[error("{}: {problem}; {remedy}", path.display())]
    MyId {
        /// The file `myid`.
        path: PathBuf,
        /// What is wrong with it.
        problem: Box<str>,
        /// What to write into it.
        remedy: Box<str>,
    },
    /// Two settings contradict each other.
    #[error("{place}: {problem}; {remedy}")]
    Conflict {
        /// Where one of them stands.
        place: Place,
        /// Both settings with their values.
        problem: Box<str>,
        /// How to resolve it.
        remedy: &'static str,
    },
}

impl ConfigError {
    /// The exit code of the process: 2, ZooKeeper's for arguments and configuration.
    ///
    /// Source: ZooKeeper, `ExitCode.INVALID_INVOCATION`.
    pub const fn exit_code(&self) -> u8 {
        2
    }
}

/// Where a setting was written.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Place {
    /// A line of a file, counted from 1; of a continued line, the first.
    Line {
        /// The file.
        origin: Arc<str>,
        /// The number of the line.
        line: usize,
    },
    /// An argument of the process.
    CommandLine,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Line { origin, line } => write!(f, "{origin}:{line}"),
            Place::CommandLine => f.write_str("command line"),
        }
    }
}

/// How loudly a [`Warning`] is told.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Level {
    /// Nothing is different for anybody.
    Debug,
    /// Worth a line at start.
    Info,
    /// The operator asked for something and does not get it.
    Warn,
}

/// Something an operator may want to know; the server starts all the same.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Warning {
    /// How loudly to tell it.
    pub level: Level,
    /// One line, with place and key.
    pub text: String,
}

impl Warning {
    /// A warning about the setting at `place`.
    pub(super) fn at(level: Level, place: &Place, text: impl fmt::Display) -> Self {
        Self { level, text: format!("{place}: {text}") }
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// `text` in one short printable line: control characters escaped, the tail cut.
pub(super) fn printable(text: &str) -> String {
    let mut shown: String = text
        .chars()
        .take(MESSAGE_VALUE_CHARS_MAX)
        .flat_map(|c| {
            let escaped = c.is_control().then(|| c.escape_default());
            let plain = (!c.is_control()).then_some(c);
            escaped.into_iter().flatten().chain(plain)
        })
        .collect();
    if text.chars().nth(MESSAGE_VALUE_CHARS_MAX).is_some() {
        shown.push('…');
    }
    shown
}
