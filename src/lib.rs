//! Rookeeper.
pub mod tree;
