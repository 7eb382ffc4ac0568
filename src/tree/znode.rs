//! The record of a node. What a client sees of it, [`Stat`], is derived here and nowhere else.

use std::sync::Arc;

use jute::{Acl, SessionId, Stat, Version, Zxid};

/// The longest TTL a node can have, in milliseconds: what five bytes hold.
///
/// Source: ZooKeeper, `EphemeralType.TTL.maxValue`.
pub const TTL_MS_MAX: i64 = 0xff_ffff_ffff;

/// Upstream's owner of a container node.
const CONTAINER: i64 = i64::MIN;
/// Top byte and feature bytes of upstream's owner of a TTL node.
const TTL_MARK: i64 = 0xff << 56;

/// On whose behalf a node exists.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub enum Owner {
    /// Nobody's: it stays until it is deleted.
    #[default]
    Persistent,
    /// A session's: it ends with the session.
    Ephemeral(SessionId),
    /// Its children's: it ends after the last of them.
    Container,
    /// Nobody's, but it ends when left unchanged and childless for so many milliseconds.
    Ttl(i64),
}

impl Owner {
    /// The one number in which upstream keeps the owner.
    ///
    /// Source: ZooKeeper, `EphemeralType`.
    pub const fn to_number(self) -> i64 {
        match self {
            Owner::Persistent => 0,
            Owner::Ephemeral(session) => session.0,
            Owner::Container => CONTAINER,
            Owner::Ttl(ttl_ms) => TTL_MARK | ttl_ms,
        }
    }

    /// The owner that [`Owner::to_number`] wrote. No session id of ours has 0xff as its top byte.
    pub const fn from_number(number: i64) -> Owner {
        match number {
            0 => Owner::Persistent,
            CONTAINER => Owner::Container,
            _ if number & !TTL_MS_MAX == TTL_MARK => Owner::Ttl(number & TTL_MS_MAX),
            _ => Owner::Ephemeral(SessionId(number)),
        }
    }

    /// The session of an ephemeral node.
    pub const fn session(self) -> Option<SessionId> {
        match self {
            Owner::Ephemeral(session) => Some(session),
            Owner::Persistent | Owner::Container | Owner::Ttl(_) => None,
        }
    }
}

/// The record of a node, without its name and its data.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Znode {
    /// The transaction that created the node.
    pub czxid: Zxid,
    /// The transaction that last set its data.
    pub mzxid: Zxid,
    /// The transaction that last created or deleted a child.
    pub pzxid: Zxid,
    /// When it was created, in milliseconds since 1970.
    pub ctime_ms: i64,
    /// When its data was last set, in milliseconds since 1970.
    pub mtime_ms: i64,
    /// How often its data was set.
    pub version: Version,
    /// How often its ACL was set.
    pub aversion: Version,
    /// How many children were ever created: the next sequence number.
    pub children_created: i32,
    /// How many children there are.
    pub children_present: i32,
    /// On whose behalf it exists.
    pub owner: Owner,
    /// Bytes of data; `None` for null.
    pub data_length: Option<u32>,
    /// Who may do what.
    pub acl: Arc<[Acl]>,
}

impl Znode {
    /// What a client is told of the node.
    ///
    /// Source: ZooKeeper, `DataNode.copyStat`.
    pub fn stat(&self) -> Stat {
        Stat {
            czxid: self.czxid,
            mzxid: self.mzxid,
            ctime_ms: self.ctime_ms,
            mtime_ms: self.mtime_ms,
            version: self.version,
            cversion: visible_cversion(self.children_created, self.children_present),
            aversion: self.aversion,
            ephemeral_owner: self.owner.session().unwrap_or(SessionId::NONE),
            data_length: self.data_length.unwrap_or(0) as i32,
            num_children: self.children_present,
            pzxid: self.pzxid,
        }
    }
}

/// How many children were created and deleted, from how many were created and are there.
pub(super) const fn visible_cversion(created: i32, present: i32) -> i32 {
    created.wrapping_mul(2).wrapping_sub(present)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_owner_is_one_number_as_in_upstreams_files() {
        let numbers = [
            (Owner::Persistent, 0),
            (Owner::Ephemeral(SessionId(0x0100_0000_0000_0001)), 0x0100_0000_0000_0001),
            (Owner::Container, i64::MIN),
            (Owner::Ttl(86_400_000), -0x00ff_ffff_fad9_a400),
            (Owner::Ttl(TTL_MS_MAX), 0xff00_00ff_ffff_ffff_u64 as i64),
        ];
        for (owner, number) in numbers {
            assert_eq!(owner.to_number(), number, "{owner:?}");
            assert_eq!(Owner::from_number(number), owner, "{number:x}");
        }
    }
}
