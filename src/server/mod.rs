//! Client connections: from bytes to requests, and from requests to reads and submissions.
//!
//! A connection is one task. It never touches the tree itself: reads go to the
//! [`Replica`], writes to the [`Ensemble`], and replies come back through the
//! connection's [`Outbox`](crate::replica::Outbox).

mod admission;
mod connection;
mod dispatch;
mod service;
#[cfg(test)]
mod tests;
mod throttle;

pub use service::{Helpers, LogLines, Service, Word, Words, serve};
pub use throttle::Throttles;
