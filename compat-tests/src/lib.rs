//! Scripts: what a client can see of a server, as lines of text that a real ZooKeeper can judge.
//!
//! A [`Script`] holds requests by named clients and what they are told. [`play`](play::play) runs
//! the requests against an [`Engine`](engine::Engine), which is a socket to some server or, later,
//! the core in memory, and writes down what came back in the same language. A script passes when
//! the two texts are equal; `--record` keeps what a real ZooKeeper said as the new expectation.
//!
//! Nothing here knows how a server ought to behave: the scripts alone do.

pub mod control;
pub mod coverage;
pub mod engine;
pub mod ensemble;
pub mod names;
pub mod operation;
pub mod play;
pub mod pool;
pub mod render;
pub mod script;
pub mod server;
pub mod tokens;
pub mod verdict;
pub mod word;

use std::path::PathBuf;

use anyhow::Context;
pub use script::{Judge, Script};

/// Where the scripts are.
pub fn scripts_dir() -> PathBuf {
    home().join("scripts")
}

/// This package's directory in the clone that runs. Clones share what was built, so the one that was
/// built from may be another, or gone; it counts only if cargo does not run this.
pub(crate) fn home() -> PathBuf {
    let running = std::env::var_os("CARGO_MANIFEST_DIR");
    running.map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from)
}

/// Every script, by name.
///
/// # Errors
///
/// The first script that cannot be read, with its name and line.
pub fn load_all() -> anyhow::Result<Vec<Script>> {
    let dir = scripts_dir();
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(&dir).with_context(|| format!("reading {}", dir.display()))? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "txt") {
            paths.push(path);
        }
    }
    paths.sort();
    paths.iter().map(|path| Script::load(path)).collect()
}
