//! What the server tells its operators: four-letter words, renderings of one report.
//!
//! [`Reporter`] gathers facts from the rooms that hold them; [`four_letter`] renders them as
//! upstream's texts, byte for byte where tools parse them. Nothing here changes the tree, and
//! nothing is kept but the trace mask. Facts are gathered when they are asked for, under locks held
//! no longer than a copy takes.

pub mod four_letter;
mod java_text;
mod monitor;
mod report;
mod system;

#[cfg(test)]
mod tests;

pub use four_letter::{FourLetterWords, WORDS};
pub use report::Reporter;

/// The version text of `srvr`, `stat`, `envi` and `mntr`.
///
/// Tools take the first `number.number.number` for the version of the server and decide by it what
/// they may ask for, so it begins with the release of ZooKeeper whose behaviour is ours. Behind it
/// stands our own, where upstream has the hash of its commit.
pub const VERSION: &str =
    concat!("3.9.5-rookeeper-", env!("CARGO_PKG_VERSION"), ", built on ", "2026-11-25 00:00 UTC");
