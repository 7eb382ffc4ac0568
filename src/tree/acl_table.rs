//! ACLs shared by the nodes that have the same: most trees hold a handful for millions of nodes.
//!
//! Invariant: an entry lives as long as a slot refers to it, and is found by its content.

use std::collections::BTreeMap;
use std::sync::Arc;

use jute::{Acl, Perms};

/// Names an ACL of this table. The default is the ACL that lets everybody do everything.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct AclId(pub(super) u32);

/// An ACL and how many slots refer to it.
struct Entry {
    acl: Arc<[Acl]>,
    users: usize,
}

/// The table.
pub(super) struct AclTable {
    entries: Vec<Entry>,
    free: Vec<u32>,
    by_content: BTreeMap<Arc<[Acl]>, u32>,
}

impl Default for AclTable {
    fn default() -> AclTable {
        let open: Arc<[Acl]> = Arc::from([Acl::anyone(Perms::ALL)]);
        AclTable {
            // Number 0 is the most used and is never given back.
            entries: vec![Entry { acl: Arc::clone(&open), users: 1 }],
            free: Vec::new(),
            by_content: BTreeMap::from([(open, 0)]),
        }
    }
}

impl AclTable {
    /// The ACL of this name.
    #[allow(clippy::indexing_slicing, reason = "an id is never out of bounds")]
    pub(super) fn get(&self, id: AclId) -> &Arc<[Acl]> {
        &self.entries[id.0 as usize].acl
    }

    /// Names an ACL for one more user.
    pub(super) fn acquire(&mut self, acl: &Arc<[Acl]>) -> AclId {
        if let Some(&number) = self.by_content.get(acl) {
            if let Some(entry) = self.entries.get_mut(number as usize) {
                entry.users += 1;
            }
            return AclId(number);
        }
        let entry = Entry { acl: Arc::clone(acl), users: 1 };
        let number = if let Some(number) = self.free.pop() {
            if let Some(slot) = self.entries.get_mut(number as usize) {
                *slot = entry;
            }
            number
        } else {
            self.entries.push(entry);
            self.entries.len() as u32 - 1
        };
        self.by_content.insert(Arc::clone(acl), number);
        AclId(number)
    }

    /// Gives one use back.
    pub(super) fn release(&mut self, id: AclId) {
        let Some(entry) = self.entries.get_mut(id.0 as usize) else { return };
        entry.users -= 1;
        if entry.users == 0 {
            self.by_content.remove(&entry.acl);
            entry.acl = Arc::from([]);
            self.free.push(id.0);
        }
    }
}

#[cfg(test)]
mod tests {
    use jute::Id;

    use super::*;

    #[test]
    fn equal_acls_are_one_and_the_last_user_frees_it() {
        let mut table = AclTable::default();
        let acl: Arc<[Acl]> = Arc::from([Acl { perms: Perms::READ, id: Id::new("ip", "::1") }]);
        let first = table.acquire(&acl);
        assert_eq!(table.acquire(&Arc::from(acl.to_vec())), first);
        table.release(first);
        assert_eq!(table.get(first), &acl);
        table.release(first);
        assert!(!table.by_content.contains_key(&acl));
        assert_eq!(table.acquire(&Arc::from([Acl::anyone(Perms::READ)])), first, "reused");
    }
}
