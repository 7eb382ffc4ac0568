//! What servers hold, read from each of them.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};
use bytes::Bytes;
use jute::reply::GetChildren2Reply;
use jute::request::PathOnly;
use jute::{ErrorCode, OpCode, Stat};

use crate::rig::Rig;
use crate::support::client::{Client, watchless};

/// Data and `Stat` of every node below the root, without the servers' own.
pub(crate) type Tree = BTreeMap<String, (Bytes, Stat)>;

/// A client's `sync`.
pub(crate) fn sync(client: &mut Client) -> Result<()> {
    let reply = client.call(OpCode::Sync, &PathOnly { path: Some("/".to_owned()) })?;
    ensure!(reply.error == 0, "sync is refused with {}", reply.error);
    Ok(())
}

/// The tree of a server, as new as the leader's.
pub(crate) fn tree_of(rig: &Rig, number: usize) -> Result<Tree> {
    rig.ask(number, |client| {
        sync(client)?;
        let mut tree = Tree::new();
        let mut pending = vec![String::new()];
        while let Some(path) = pending.pop() {
            let shown = if path.is_empty() { "/" } else { &path };
            let Some((data, stat)) = client.get(shown)? else { continue };
            let list = client.call(OpCode::GetChildren2, &watchless(shown))?;
            if !list.is(ErrorCode::NoNode) {
                let children: GetChildren2Reply = list.body()?;
                let names = children.children.unwrap_or_default().into_iter().flatten();
                let names = names.filter(|name| name != "zookeeper");
                pending.extend(names.map(|name| format!("{path}/{name}")));
            }
            tree.insert(shown.to_owned(), (data, stat));
        }
        Ok(tree)
    })
}

/// Fails unless all running servers hold the same; gives what.
pub(crate) fn same_trees(rig: &Rig) -> Result<Tree> {
    let mut first: Option<(usize, Tree)> = None;
    for number in rig.running() {
        let tree = tree_of(rig, number)?;
        match &first {
            None => first = Some((number, tree)),
            Some((other, expected)) => {
                ensure!(
                    *expected == tree,
                    "servers {other} and {number} differ:\n{expected:?}\n{tree:?}"
                );
            }
        }
    }
    Ok(first.map(|(_, tree)| tree).unwrap_or_default())
}

/// Fails unless a tree has these nodes.
pub(crate) fn has_all(tree: &Tree, paths: &[String]) -> Result<()> {
    let missing: Vec<&String> = paths.iter().filter(|path| !tree.contains_key(*path)).collect();
    ensure!(missing.is_empty(), "acknowledged and lost: {missing:?}");
    Ok(())
}
