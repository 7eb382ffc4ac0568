//! What must hold of a tree at any time: records and indexes agree, in both directions.

use std::collections::{BTreeMap, BTreeSet};

use super::{Owner, Path, Tree, quota};

impl Tree {
    /// Compares every index with every record, and both with the rules of the tree.
    ///
    /// # Errors
    ///
    /// One sentence about the first thing that does not hold.
    pub fn check_invariants(&self) -> Result<(), String> {
        let mut ephemerals: BTreeMap<_, BTreeSet<Path>> = BTreeMap::new();
        let mut reapable = BTreeSet::new();
        let mut quota_limits = 0;
        let mut below = 0;
        for node in self.nodes.iter() {
            let path = node.path();
            let znode = node.znode();
            let children = node.children().count();
            below += children;
            let holds = |holds: bool, what: &str| {
                if holds { Ok(()) } else { Err(format!("{path}: {what}: {znode:?}")) }
            };
            let found = self.find(path.as_str());
            holds(found.is_some_and(|found| found.path() == path), "is not found by its path")?;
            holds(children == znode.children_present as usize, "miscounts its children")?;
            holds(znode.czxid <= znode.mzxid && znode.czxid <= znode.pzxid, "precedes itself")?;
            let latest = znode.mzxid.max(znode.pzxid);
            holds(latest <= self.zxid(), "is ahead of the tree")?;
            holds(Path::parse(path.as_str()).is_ok(), "has an invalid path")?;
            match znode.owner {
                Owner::Persistent => {}
                Owner::Ephemeral(session) => {
                    holds(children == 0, "is ephemeral with children")?;
                    holds(self.session(session).is_some(), "is owned by no living session")?;
                    ephemerals.entry(session).or_default().insert(path.clone());
                }
                Owner::Container | Owner::Ttl(_) => drop(reapable.insert(path.clone())),
            }
            quota_limits += usize::from(quota::limited_by(path.as_str()).is_some());
        }
        let holds = |holds: bool, what: &str| if holds { Ok(()) } else { Err(what.to_owned()) };
        holds(below + 1 == self.node_count(), "a node is below no other")?;
        holds(ephemerals == self.ephemerals, "the index of ephemerals is stale")?;
        holds(reapable == self.reapable, "the index of reapable nodes is stale")?;
        holds(quota_limits == self.quota_limits, "the number of quotas is stale")
    }
}
