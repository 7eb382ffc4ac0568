//! Rookeeper.
pub mod store;
pub mod tree;
