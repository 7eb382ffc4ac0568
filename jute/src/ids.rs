//! The numbers that name things: they are all integers on the wire and must not be mixed up here.

use std::fmt;

/// Place of a transaction in the one order of all writes: epoch in the high half, counter in the
/// low half. It is also the fencing token of whatever the transaction created.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Zxid(pub i64);

impl Zxid {
    /// Header zxid of replies and notifications that belong to no transaction.
    pub const NONE: Zxid = Zxid(-1);
    /// Before the first transaction; also the header zxid of `auth` and `sasl` replies.
    pub const ZERO: Zxid = Zxid(0);

    /// The zxid of `epoch` (high half) and `counter` (low half).
    pub const fn new(epoch: u32, counter: u32) -> Zxid {
        Zxid(((epoch as i64) << 32) | counter as i64)
    }

    /// The high half: which leader.
    pub const fn epoch(self) -> u32 {
        (self.0 >> 32) as u32
    }

    /// The low half: which transaction of that leader.
    pub const fn counter(self) -> u32 {
        self.0 as u32
    }
}

impl fmt::Display for Zxid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "0x{:x}", self.0)
    }
}

/// Number a client gives to a request; its reply carries the same.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Xid(pub i32);

impl Xid {
    /// A notification from the server.
    pub const NOTIFICATION: Xid = Xid(-1);
    /// A ping, and the answer to one whatever xid it came with.
    pub const PING: Xid = Xid(-2);
    /// An `addauth` packet.
    pub const AUTH: Xid = Xid(-4);
    /// A `setWatches` packet of the Java and C clients.
    pub const SET_WATCHES: Xid = Xid(-8);
}

/// Name of a session; 0 is no session.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct SessionId(pub i64);

impl SessionId {
    /// The request for a new session, and the owner of whatever no session owns.
    pub const NONE: SessionId = SessionId(0);
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "0x{:x}", self.0)
    }
}

/// How often a node's data or ACL was changed.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Version(pub i32);

impl Version {
    /// In a request: whatever the version is.
    pub const ANY: Version = Version(-1);

    /// Whether a request that expects `self` may go on at version `current`.
    pub const fn accepts(self, current: Version) -> bool {
        self.0 == Version::ANY.0 || self.0 == current.0
    }

    /// The version after a change: one more, wrapping, but never [`Version::ANY`], which no request
    /// could name.
    ///
    /// Source: ZooKeeper 3.10, `PrepRequestProcessor.checkAndIncVersion`; 3.9 passes through -1.
    #[must_use]
    pub const fn next(self) -> Version {
        match self.0.wrapping_add(1) {
            -1 => Version(0),
            next => Version(next),
        }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_zxid_is_an_epoch_and_a_counter() {
        let zxid = Zxid::new(2, 0xffff_ffff);
        assert_eq!((zxid.epoch(), zxid.counter()), (2, 0xffff_ffff));
        assert_eq!(zxid.to_string(), "0x2ffffffff");
    }

    #[test]
    fn a_version_wraps_and_skips_the_wildcard() {
        assert_eq!(Version(i32::MAX).next(), Version(i32::MIN));
        assert_eq!(Version(-3).next(), Version(-2));
        assert_eq!(Version(-2).next(), Version(0));
        assert!(Version::ANY.accepts(Version(7)) && !Version(6).accepts(Version(7)));
    }
}
