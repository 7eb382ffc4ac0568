//! A session as every replica knows it.

use jute::SessionId;

/// Names a client connection among all servers and their restarts.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Holder {
    /// The server that has the connection.
    pub server: u64,
    /// Which start of that server.
    pub boot: u64,
    /// Which connection of that start.
    pub connection: u64,
}

/// The record of a session.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Session {
    /// After so many milliseconds of silence it expires.
    pub timeout_ms: i32,
    /// What a client must show to continue it.
    pub password: [u8; 16],
    /// The only connection whose writes count.
    pub holder: Holder,
}

/// What a proposal did to a session, for whoever keeps connections and clocks.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum SessionChange {
    /// It began.
    Opened { session: SessionId, holder: Holder, timeout_ms: i32 },
    /// It is held by another connection now.
    Attached { session: SessionId, holder: Holder, previous: Holder, timeout_ms: i32 },
    /// It ended.
    Closed { session: SessionId, holder: Holder },
}
