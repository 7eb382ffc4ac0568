//! The node that shows clients who belongs to the ensemble.
//!
//! Source: ZooKeeper, `QuorumMaj.toString` and `DataTree.setData` of the configuration, for the version
//! of the node, which is always -1, and for the zxid of the first configuration.

use bytes::Bytes;
use jute::reply::{Body, EventType};
use jute::{Version, Zxid};

use super::draft::DataChange;
use super::{Applied, CONFIG_NODE, Draft, Path, Progress};

/// What stands before the zxid of a configuration, in the last line of its text.
const VERSION_LINE: &str = "version=";

impl Draft<'_> {
    /// Shows a configuration, one line a server, unless it is shown already. The first one has the zxid
    /// with which the first leader begins; every later one is a transaction.
    pub fn show_configuration(&mut self, servers: &str) -> Option<Applied> {
        let shown = self.data(CONFIG_NODE).unwrap_or_default();
        let shown = std::str::from_utf8(&shown).unwrap_or_default();
        let is_first = shown.is_empty();
        if servers == lines_of(shown) {
            return None;
        }
        let progress = self.progress();
        let zxid = if is_first && progress.zxid == Zxid::ZERO {
            Zxid::new(1, 0)
        } else {
            let zxid = progress.next_zxid();
            self.set_progress(Progress { zxid, ..progress });
            zxid
        };
        let mut node = self.find(CONFIG_NODE)?;
        node.version = Version(-1);
        node.mzxid = zxid;
        let acl = std::sync::Arc::clone(&node.acl);
        let text = format!("{servers}{VERSION_LINE}{:x}", zxid.0);
        self.put(Path::trusted(CONFIG_NODE), node, DataChange::Set(Some(Bytes::from(text))));
        self.emit(EventType::NodeDataChanged, Path::trusted(CONFIG_NODE), zxid, acl);
        let events = self.take_events();
        Some(Applied { zxid, outcome: Ok(Body::Empty), events, session: None })
    }
}

/// The servers of a configuration's text.
fn lines_of(text: &str) -> &str {
    text.rfind(VERSION_LINE).and_then(|end| text.get(..end)).unwrap_or_default()
}

impl super::Tree {
    /// The servers of the configuration that is shown, one line each, and its zxid.
    pub fn configuration(&self) -> (String, Zxid) {
        let node = self.find(CONFIG_NODE);
        let text = node.and_then(super::NodeRef::data).unwrap_or_default();
        let text = std::str::from_utf8(text).unwrap_or_default();
        (lines_of(text).to_owned(), node.map_or(Zxid::ZERO, |node| node.znode().mzxid))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::Tree;

    fn show(tree: &mut Tree, servers: &str) -> Option<Applied> {
        let mut draft = Draft::over(tree);
        let applied = draft.show_configuration(servers);
        let changes = draft.finish();
        tree.absorb(&changes);
        applied
    }

    #[test]
    fn the_first_configuration_has_the_zxid_of_the_first_epoch_and_later_ones_their_own() {
        let mut tree = Tree::new();
        let applied = show(&mut tree, "server.1=a\n").unwrap();
        assert_eq!((applied.zxid, tree.zxid()), (Zxid::new(1, 0), Zxid::ZERO));
        assert_eq!(applied.events.len(), 1);
        let data = |tree: &Tree| tree.find(CONFIG_NODE).unwrap().data().map(<[u8]>::to_vec);
        assert_eq!(data(&tree).unwrap(), b"server.1=a\nversion=100000000");
        assert_eq!(show(&mut tree, "server.1=a\n"), None);

        let applied = show(&mut tree, "server.1=a\nserver.2=b\n").unwrap();
        assert_eq!(applied.zxid, tree.zxid());
        assert_eq!(data(&tree).unwrap(), b"server.1=a\nserver.2=b\nversion=1");
        let node = tree.find(CONFIG_NODE).unwrap().znode();
        assert_eq!((node.version, node.mzxid), (Version(-1), applied.zxid));
        assert_eq!(tree.configuration(), ("server.1=a\nserver.2=b\n".to_owned(), applied.zxid));
        tree.check_invariants().unwrap();
    }
}
