//! Rookeeper.
#[cfg(test)]
mod tidy;
pub mod tree;
