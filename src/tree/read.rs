//! Reading the tree on behalf of a client.
//!
//! Never registers a watch and never encodes: it only decides what may be seen.
//!
//! Source of the checks and their order: ZooKeeper, `FinalRequestProcessor`.

use jute::{Acl, ErrorCode, Id, Perms, SessionId, Stat};

use super::{NodeRef, Tree, acl, permits};

/// The tree through the eyes of one client.
#[derive(Clone, Copy)]
pub struct Reader<'a> {
    /// What there is.
    pub tree: &'a Tree,
    /// Who the client has proved to be.
    pub identities: &'a [Id],
    /// `skipACL=yes`.
    pub skip_acl: bool,
}

impl<'a> Reader<'a> {
    /// The node at `path`, for data and children.
    ///
    /// # Errors
    ///
    /// `NoNode`, then `NoAuth`. The path is not validated: one that no node can have is `NoNode`.
    pub fn node(self, path: &str) -> Result<NodeRef<'a>, ErrorCode> {
        let node = self.tree.find(path).ok_or(ErrorCode::NoNode)?;
        if self.may(Perms::READ, node) { Ok(node) } else { Err(ErrorCode::NoAuth) }
    }

    /// What `exists` tells.
    ///
    /// # Errors
    ///
    /// `BadArguments` for NUL in the path, `NoAuth`, `NoNode`.
    pub fn exists(self, path: &str) -> Result<Stat, ErrorCode> {
        if path.contains('\0') {
            return Err(ErrorCode::BadArguments);
        }
        self.node(path).map(NodeRef::stat)
    }

    /// The node's ACL, masked unless the client may administer it.
    ///
    /// # Errors
    ///
    /// `NoNode`, then `NoAuth` without both `READ` and `ADMIN`.
    pub fn acl(self, path: &str) -> Result<(Vec<Acl>, Stat), ErrorCode> {
        let node = self.tree.find(path).ok_or(ErrorCode::NoNode)?;
        if !self.may(Perms::READ.union(Perms::ADMIN), node) {
            return Err(ErrorCode::NoAuth);
        }
        let shown = if self.may(Perms::ADMIN, node) {
            node.acl().to_vec()
        } else {
            acl::masked(node.acl())
        };
        Ok((shown, node.stat()))
    }

    /// How many descendants the node has.
    ///
    /// # Errors
    ///
    /// `NoNode`, then `NoAuth`.
    pub fn descendants(self, path: &str) -> Result<i32, ErrorCode> {
        let node = self.node(path)?;
        let below = match path {
            "/" => self.tree.node_count() - 1,
            // Upstream keeps the root under two names, and counts the other one below this one.
            "" => self.tree.node_count(),
            _ => node.subtree().count() - 1,
        };
        Ok(below as i32)
    }

    /// The ephemeral nodes of a session whose paths start with `prefix`, as text and not as a path.
    pub fn ephemerals(self, session: SessionId, prefix: Option<&str>) -> Vec<String> {
        let prefix = prefix.filter(|prefix| !prefix.trim().is_empty()).unwrap_or("/");
        self.tree
            .ephemerals_of(session)
            .map(super::Path::as_str)
            .filter(|path| path.starts_with(prefix))
            .map(str::to_owned)
            .collect()
    }

    fn may(self, wanted: Perms, node: NodeRef<'_>) -> bool {
        self.skip_acl || permits(node.acl(), wanted, self.identities)
    }
}
