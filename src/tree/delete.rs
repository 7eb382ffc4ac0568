//! Deleting nodes.

use jute::reply::Body;
use jute::{Perms, Version};

use super::apply::Context;
use super::create::parent_of_any;
use super::{Draft, Path, Refusal, SYSTEM_NODES, Znode, quota};

/// Deletes a node that has no children.
///
/// The first check to fail is the error the client sees, so their order is ZooKeeper's
/// (`PrepRequestProcessor`, `OpCode.delete`).
pub(super) fn delete(
    draft: &mut Draft<'_>,
    context: &Context<'_>,
    path: &str,
    version: Version,
) -> Result<Body, Refusal> {
    let parent_path = parent_of_any(path)?;
    if SYSTEM_NODES.contains(&path) {
        return Err(Refusal::SystemNode { path: path.to_owned() });
    }
    let parent = draft.get(parent_path)?;
    context.admission.require(Perms::DELETE, parent_path, &parent)?;
    let node = draft.get(path)?;
    node.check_version(path, version)?;
    node.check_childless(path)?;

    remove(draft, context, path, &node)
}

/// Removes a node that was found childless, and counts it off its quota.
pub(super) fn remove(
    draft: &mut Draft<'_>,
    context: &Context<'_>,
    path: &str,
    node: &Znode,
) -> Result<Body, Refusal> {
    let path = Path::parse(path).map_err(|_| Refusal::BadPath { path: path.to_owned() })?;
    draft.remove(&path, node, context.stamp.zxid);
    quota::count_deleted(draft, &path, i64::from(node.data_length.unwrap_or(0)));
    Ok(Body::Empty)
}

impl Znode {
    /// Refuses unless the data is at the expected version.
    pub(super) fn check_version(&self, path: &str, expected: Version) -> Result<(), Refusal> {
        check_version(path, expected, self.version)
    }

    /// Refuses unless the node has no children.
    pub(super) fn check_childless(&self, path: &str) -> Result<(), Refusal> {
        match self.children_present {
            0 => Ok(()),
            children => Err(Refusal::NotEmpty { path: path.to_owned(), children }),
        }
    }
}

/// Refuses unless `found` is the expected version.
pub(super) fn check_version(path: &str, expected: Version, found: Version) -> Result<(), Refusal> {
    if expected.accepts(found) {
        Ok(())
    } else {
        Err(Refusal::BadVersion { path: path.to_owned(), expected, found })
    }
}
