//! Rookeeper: a coordination server that speaks ZooKeeper's protocol.
//!
//! The map. A request goes **down** one straight line and its reply comes **up** another; a write
//! never returns the way it came.
//!
//! ```text
//!            DOWN                                                UP
//!   client socket                                          client socket
//!        │ bytes                                                 ▲ bytes
//!   net, server   frame, decode, admit                           │
//!        │ write        └ read ─▶ replica: look up, watch ──▶ outbox
//!        ▼                                                       ▲ events, then the reply
//!   raft  submit ─▶ propose ─▶ log (fsync) ─▶ commit             │
//!                                              ▼                 │
//!                        tree: apply (pure) ─▶ store ─▶ replica: absorb
//! ```
//!
//! An arrow between rooms points only upwards in this list; a test checks it.

pub mod admin;
pub mod cli;
pub mod clock;
pub mod config;
pub mod net;
pub mod raft;
pub mod replica;
pub mod server;
pub mod session;
pub mod store;
#[cfg(test)]
mod tidy;
pub mod tree;
pub mod watch;
