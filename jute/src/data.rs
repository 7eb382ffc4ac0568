//! The records that requests and replies share: identities, ACLs and `Stat`.

use crate::record::records;
use crate::{SessionId, Text, Version, Zxid};

/// A set of permissions. Bits without a meaning are kept as given.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Perms(pub i32);

impl Perms {
    /// Read data, list children, get `Stat`, hear of changes.
    pub const READ: Perms = Perms(1);
    /// Replace data.
    pub const WRITE: Perms = Perms(2);
    /// Create children.
    pub const CREATE: Perms = Perms(4);
    /// Delete children.
    pub const DELETE: Perms = Perms(8);
    /// Replace the ACL.
    pub const ADMIN: Perms = Perms(16);
    /// Every permission.
    pub const ALL: Perms = Perms(31);

    /// Whether any of `wanted` is in this set.
    pub const fn intersects(self, wanted: Perms) -> bool {
        self.0 & wanted.0 != 0
    }

    /// Both sets together.
    #[must_use]
    pub const fn union(self, other: Perms) -> Perms {
        Perms(self.0 | other.0)
    }
}

records! {
    /// Who: a scheme of authentication and a name in it.
    Id {
        /// For example `world`, `digest`, `ip`.
        scheme: Text,
        /// For example `anyone`, `user:hash`, `10.0.0.0/8`.
        id: Text,
    }

    /// One entry of an ACL: who may do what.
    Acl {
        /// What.
        perms: Perms,
        /// Who.
        id: Id,
    }

    /// What a client is told about a node besides its data.
    Stat {
        /// The transaction that created the node.
        czxid: Zxid,
        /// The transaction that last set its data.
        mzxid: Zxid,
        /// When it was created, in milliseconds since 1970.
        ctime_ms: i64,
        /// When its data was last set, in milliseconds since 1970.
        mtime_ms: i64,
        /// How often its data was set.
        version: Version,
        /// How many children were created and deleted.
        cversion: i32,
        /// How often its ACL was set.
        aversion: Version,
        /// The session that owns it, if it is ephemeral.
        ephemeral_owner: SessionId,
        /// Bytes of data; 0 for null.
        data_length: i32,
        /// Children there are now.
        num_children: i32,
        /// The transaction that last created or deleted a child.
        pzxid: Zxid,
    }
}

impl Id {
    /// The identity `id` of `scheme`.
    pub fn new(scheme: impl Into<String>, id: impl Into<String>) -> Id {
        Id { scheme: Some(scheme.into()), id: Some(id.into()) }
    }

    /// Everybody.
    pub fn anyone() -> Id {
        Id::new("world", "anyone")
    }
}

impl Acl {
    /// `perms` for everybody.
    pub fn anyone(perms: Perms) -> Acl {
        Acl { perms, id: Id::anyone() }
    }
}
