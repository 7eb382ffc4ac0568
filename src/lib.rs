//! Rookeeper.
pub mod tree;
pub mod watch;
