//! What a change tells whoever watches.

use std::sync::Arc;

use jute::reply::EventType;
use jute::{Acl, Zxid};

use super::Path;

/// A change of one node, owed to its watchers.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Event {
    /// What happened.
    pub kind: EventType,
    /// To which node; its parent for [`EventType::NodeChildrenChanged`].
    pub path: Path,
    /// The transaction that did it.
    pub zxid: Zxid,
    /// The ACL of that node (its last one, if it is gone): a watcher who may not read hears nothing.
    pub acl: Arc<[Acl]>,
}
