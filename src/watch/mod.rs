//! Who waits to hear of which path.
//!
//! A watch lives in the memory of one server and is never replicated; a client that moves to
//! another server brings its watches along (`setWatches`, [`reset`]). This room is pure: it only
//! answers which connections are owed a notification, and delivers nothing. It never judges an
//! ACL: an event that its watcher may not see is hidden by whoever delivers it, after it consumed
//! the watch here.
//!
//! Paths are compared as text, exactly as they were registered; they need not be valid.

mod fire;
mod registry;
mod reset;
mod table;
mod watchers;

#[cfg(test)]
mod tests;

pub use registry::{Summary, WatchRegistry};
pub use reset::{NullWatch, Owed, reset};

/// Names a client connection of this server, among all that it ever had since it started.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct ConnectionId(pub u64);
