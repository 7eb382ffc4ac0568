//! Reads a server's whole tree.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use anyhow::{Context, Result, ensure};
use jute::{ErrorCode, Stat};

use super::client::{Client, World};
use super::history::{Ask, Told};

/// The most nodes that are read.
const NODES_MAX: usize = 200_000;
/// What servers may show as they like: the membership is theirs.
const PRIVATE: &str = "/zookeeper/config";

/// Data and `Stat` of every node.
pub type Tree = BTreeMap<String, (String, Stat)>;

/// The tree of the server at `address`, as new as the leader's.
///
/// # Errors
///
/// It cannot be read.
pub fn walk(world: &World, id: usize, address: SocketAddr) -> Result<Tree> {
    let alone = World { addresses: vec![address], ..world.clone() };
    let mut client = Client::new(id, &alone, super::workload::LONG_MS);
    let mut call = |ask: Ask| client.call(ask)?.context("no reply from a server that is well");
    let synced = call(Ask::Sync { path: "/".to_owned() })?;
    ensure!(synced.told().is_some(), "sync is refused: {synced:?}");
    let mut tree = Tree::new();
    let mut pending = vec!["/".to_owned()];
    while let Some(path) = pending.pop() {
        ensure!(tree.len() < NODES_MAX, "more than {NODES_MAX} nodes");
        let read = call(Ask::Get { path: path.clone(), watch: false })?;
        let list = call(Ask::Children { path: path.clone(), watch: false })?;
        // A node that goes away meanwhile leaves its parent changed, which the comparison sees.
        let gone = Some(ErrorCode::NoNode as i32);
        if read.refused() == gone || list.refused() == gone {
            continue;
        }
        let (Some(Told::Data(data, _)), Some(Told::Children(names, stat))) =
            (read.told(), list.told())
        else {
            anyhow::bail!("{path}: {read:?}, {list:?}");
        };
        let below = path.trim_end_matches('/');
        let children = names.iter().map(|name| format!("{below}/{name}"));
        pending.extend(children.filter(|child| child != PRIVATE));
        tree.insert(path, (data.clone(), stat.clone()));
    }
    client.close()?;
    Ok(tree)
}
