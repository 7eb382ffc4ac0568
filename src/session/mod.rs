//! Sessions as this server deals with them: who gets one, who loses one, who its client is.
//!
//! The record of a session is replicated state and lives in [`tree`](crate::tree). This room is
//! pure: it is told the time, the wall clock's at the start and a monotonic one later, and returns
//! what is to be done. It never opens, closes or answers anything.

mod credentials;
mod handshake;
mod id;
mod tracker;

pub use credentials::{
    AuthFailed, Credentials, DigestAlgorithm, UnknownAlgorithm, client_info, ip_identity,
};
pub use handshake::{Facts, Handshake, decide};
pub use id::{ServerIdTooLarge, SessionIds};
pub use tracker::SessionTracker;
