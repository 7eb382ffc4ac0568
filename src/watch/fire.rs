//! Which connections an event is owed to, and which watches it uses up.
//!
//! Never asks whether a connection may see the event: a watch whose event stays hidden is used up
//! all the same, as upstream has it.

use jute::reply::EventType;

use super::{ConnectionId, WatchRegistry};
use crate::tree::{Event, parent_of};

impl WatchRegistry {
    /// Tells every connection once, in the order of their ids, that an event is owed to it.
    /// One-shot watches that the event concerns are used up, the others stay.
    ///
    /// A deletion concerns the node's data watchers and its child watchers. Recursive watchers hear
    /// of what becomes of nodes, and never of a list of children that changed.
    ///
    /// Source: ZooKeeper, `DataTree.createNode`, `deleteNode`, `setData`; `WatchManager.triggerWatch`.
    pub fn fire(&mut self, event: &Event, deliver: &mut dyn FnMut(ConnectionId)) {
        let path = event.path.as_str();
        let mut told = Vec::new();
        match event.kind {
            EventType::NodeCreated | EventType::NodeDataChanged => {
                self.fire_data(path, &mut told);
            }
            EventType::NodeDeleted => {
                self.fire_data(path, &mut told);
                self.child.fire(path, &mut told);
            }
            EventType::NodeChildrenChanged => self.child.fire(path, &mut told),
        }
        // Whoever has several watches that the event concerns is told once.
        told.sort_unstable();
        told.dedup();
        told.into_iter().for_each(deliver);
    }

    /// Appends whoever watches the node, or recursively one above it.
    fn fire_data(&mut self, path: &str, told: &mut Vec<ConnectionId>) {
        self.data.fire(path, told);
        if self.data.has_recursive() {
            let mut below = path;
            while let Some(ancestor) = parent_of(below) {
                self.data.extend_recursive(ancestor, told);
                below = ancestor;
            }
        }
    }
}
