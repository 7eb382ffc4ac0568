//! What the nodes below one client's directory must look like, change by change.
//!
//! Only one client writes there, in one session, so that the model knows every outcome beforehand:
//! the name of a sequential node, each version, each refusal. Zxids and times are learnt from
//! replies; those of changes that were not acknowledged are unknown until the nodes are read.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};
use jute::request::{Check, Multi, MultiOp};
use jute::{ErrorCode, OpCode, SessionId, Stat, Version};

use crate::support::chance::Chance;
use crate::support::client;

/// The number of the create mode of persistent sequential nodes.
pub(crate) const SEQUENTIAL: i32 = 2;
/// Nodes above which no more are created.
const NODES_MAX: usize = 80;
/// How deep nodes may lie below the client's directory.
const DEPTH_MAX: usize = 3;

/// A write.
#[derive(Clone, Debug)]
pub(crate) enum Op {
    /// Creates a node; its name may get a number.
    Create { path: String, data: Vec<u8>, sequential: bool },
    /// Sets data.
    Set { path: String, data: Vec<u8>, version: i32 },
    /// Deletes.
    Delete { path: String, version: i32 },
    /// Compares a version, in a multi.
    Check { path: String, version: i32 },
    /// All or none.
    Multi(Vec<Op>),
}

/// A transaction, as far as it is known.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Mark {
    /// Its zxid.
    pub(crate) zxid: Option<i64>,
    /// Its time.
    pub(crate) time_ms: Option<i64>,
}

impl Mark {
    /// Whether a node may tell this; `after` is the last zxid before whatever is unknown.
    fn agrees(self, zxid: i64, time_ms: i64, after: i64) -> bool {
        let zxid_agrees = self.zxid.map_or(after < zxid, |known| known == zxid);
        zxid_agrees && self.time_ms.is_none_or(|known| known == time_ms)
    }
}

/// A node.
#[derive(Clone, Debug, Default)]
pub(crate) struct Node {
    data: Vec<u8>,
    version: i32,
    created_children: i32,
    children: i32,
    born: Mark,
    changed: Mark,
    childed: Mark,
}

impl Node {
    /// Why the node is not this one, if it is not.
    fn difference(&self, data: &[u8], stat: &Stat, after: i64) -> Option<String> {
        let expected = Stat {
            version: Version(self.version),
            cversion: 2 * self.created_children - self.children,
            num_children: self.children,
            data_length: self.data.len() as i32,
            aversion: Version(0),
            ephemeral_owner: SessionId::NONE,
            ..stat.clone()
        };
        let agrees = expected == *stat
            && self.data == data
            && self.born.agrees(stat.czxid.0, stat.ctime_ms, after)
            && self.changed.agrees(stat.mzxid.0, stat.mtime_ms, after)
            && self.childed.zxid.map_or(after < stat.pzxid.0, |known| known == stat.pzxid.0);
        (!agrees).then(|| format!("{self:?} is read as {stat:?} with {} bytes", data.len()))
    }

    /// Learns what was unknown.
    fn learn(&mut self, stat: &Stat) {
        self.born = Mark { zxid: Some(stat.czxid.0), time_ms: Some(stat.ctime_ms) };
        self.changed = Mark { zxid: Some(stat.mzxid.0), time_ms: Some(stat.mtime_ms) };
        self.childed.zxid = Some(stat.pzxid.0);
    }
}

/// The nodes as they were read from a server.
pub(crate) type Seen = BTreeMap<String, (Vec<u8>, Stat)>;

/// Every node below a directory, and the directory.
#[derive(Clone, Debug)]
pub(crate) struct Model {
    root: String,
    nodes: BTreeMap<String, Node>,
    written: u64,
}

fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(parent, _)| parent)
}

impl Model {
    /// The directory `root` as it was created.
    pub(crate) fn new(root: &str, stat: &Stat) -> Model {
        let mut node = Node::default();
        node.learn(stat);
        Model { root: root.to_owned(), nodes: [(root.to_owned(), node)].into(), written: 0 }
    }

    /// The directory.
    pub(crate) fn root(&self) -> &str {
        &self.root
    }

    /// Does what a write does; gives the paths that it leaves behind or takes away.
    ///
    /// # Errors
    ///
    /// The code with which the server must refuse it, and which operation of a multi is to blame.
    pub(crate) fn apply(
        &mut self,
        op: &Op,
        zxid: Option<i64>,
    ) -> Result<Vec<String>, (ErrorCode, usize)> {
        match op {
            Op::Multi(ops) => {
                let before = self.nodes.clone();
                let mut paths = Vec::new();
                for (index, op) in ops.iter().enumerate() {
                    match self.apply_one(op, zxid) {
                        Ok(path) => paths.push(path),
                        Err(code) => {
                            self.nodes = before;
                            return Err((code, index));
                        }
                    }
                }
                Ok(paths)
            }
            Op::Create { .. } | Op::Set { .. } | Op::Delete { .. } | Op::Check { .. } => {
                self.apply_one(op, zxid).map(|path| vec![path]).map_err(|code| (code, 0))
            }
        }
    }

    fn apply_one(&mut self, op: &Op, zxid: Option<i64>) -> Result<String, ErrorCode> {
        let mark = Mark { zxid, time_ms: None };
        match op {
            Op::Create { path, data, sequential } => {
                let above = self.nodes.get(parent(path)).ok_or(ErrorCode::NoNode)?;
                let number = format!("{:010}", above.created_children);
                let path = format!("{path}{}", if *sequential { &number } else { "" });
                if self.nodes.contains_key(&path) {
                    return Err(ErrorCode::NodeExists);
                }
                let born = mark;
                let node = Node {
                    data: data.clone(),
                    born,
                    changed: born,
                    childed: born,
                    ..Node::default()
                };
                self.count_child(&path, 1, mark);
                self.nodes.insert(path.clone(), node);
                Ok(path)
            }
            Op::Set { path, data, version } => {
                let node = self.at_version(path, *version)?;
                node.data.clone_from(data);
                node.version += 1;
                node.changed = mark;
                Ok(path.clone())
            }
            Op::Delete { path, version } => {
                if self.at_version(path, *version)?.children > 0 {
                    return Err(ErrorCode::NotEmpty);
                }
                self.nodes.remove(path);
                self.count_child(path, -1, mark);
                Ok(path.clone())
            }
            Op::Check { path, version } => self.at_version(path, *version).map(|_| path.clone()),
            // The generator builds none.
            Op::Multi(_) => Err(ErrorCode::BadArguments),
        }
    }

    fn at_version(&mut self, path: &str, version: i32) -> Result<&mut Node, ErrorCode> {
        let node = self.nodes.get_mut(path).ok_or(ErrorCode::NoNode)?;
        if Version(version).accepts(Version(node.version)) {
            Ok(node)
        } else {
            Err(ErrorCode::BadVersion)
        }
    }

    fn count_child(&mut self, path: &str, change: i32, mark: Mark) {
        if let Some(above) = self.nodes.get_mut(parent(path)) {
            above.children += change;
            above.created_children += change.max(0);
            above.childed = mark;
        }
    }

    /// Compares with the `Stat` in a reply and learns its times.
    ///
    /// # Errors
    ///
    /// They differ.
    pub(crate) fn confirm(&mut self, path: &str, stat: &Stat) -> Result<()> {
        let node = self.nodes.get_mut(path).with_context(|| format!("there is no {path}"))?;
        let difference = node.difference(&node.data, stat, i64::MAX);
        ensure!(difference.is_none(), "{path}: {}", difference.unwrap_or_default());
        node.learn(stat);
        Ok(())
    }

    /// Why the nodes are not those that were read, if they are not.
    pub(crate) fn difference(&self, seen: &Seen, after: i64) -> Option<String> {
        if let Some(path) = self.nodes.keys().find(|path| !seen.contains_key(*path)) {
            return Some(format!("{path} is missing"));
        }
        seen.iter().find_map(|(path, (data, stat))| match self.nodes.get(path) {
            None => Some(format!("{path} should not be there")),
            Some(node) => {
                node.difference(data, stat, after).map(|difference| format!("{path}: {difference}"))
            }
        })
    }

    /// Learns what was unknown.
    pub(crate) fn learn(&mut self, seen: &Seen) {
        for (path, (_, stat)) in seen {
            if let Some(node) = self.nodes.get_mut(path) {
                node.learn(stat);
            }
        }
    }

    /// The next write.
    pub(crate) fn choose(&mut self, chance: &mut Chance) -> Op {
        if chance.happens(15) {
            let count = 1 + chance.below(4);
            let mut ops: Vec<Op> = (0..count).map(|_| self.choose_one(chance)).collect();
            if chance.happens(30) {
                let path = self.root.clone();
                ops.push(Op::Check { path, version: if chance.happens(50) { 7 } else { 0 } });
            }
            return Op::Multi(ops);
        }
        self.choose_one(chance)
    }

    fn choose_one(&mut self, chance: &mut Chance) -> Op {
        self.written += 1;
        let mut data = format!("{} {}", self.root, self.written).into_bytes();
        let more = chance.pick(&[0, 0, 40, 3_000]).copied().unwrap_or_default();
        data.resize(data.len() + more, b'.');
        let (path, node) = self.any_node(chance);
        let right = node.version;
        let version = if chance.happens(90) { right } else { right + 1 };
        let is_deep = path.split('/').count() > DEPTH_MAX;
        match chance.below(100) {
            0..=44 if self.nodes.len() < NODES_MAX && !is_deep => {
                let sequential = chance.happens(40);
                let name = if sequential { "s-".to_owned() } else { format!("n{}", self.written) };
                Op::Create { path: format!("{path}/{name}"), data, sequential }
            }
            45..=49 if path != self.root => Op::Create { path, data, sequential: false },
            50..=74 => Op::Set { path, data, version },
            75..=79 => Op::Set { path, data, version: -1 },
            _ if path == self.root => Op::Set { path: self.root.clone(), data, version: 99_999 },
            _ => Op::Delete { path, version },
        }
    }

    fn any_node(&self, chance: &mut Chance) -> (String, Node) {
        let chosen = self.nodes.iter().nth(chance.below(self.nodes.len()));
        // The root is never deleted.
        chosen.map_or((self.root.clone(), Node::default()), |(path, node)| {
            (path.clone(), node.clone())
        })
    }
}

impl Op {
    /// The request.
    pub(crate) fn queue(&self, client: &mut client::Client) {
        match self {
            Op::Create { path, data, sequential } => {
                let flags = if *sequential { SEQUENTIAL } else { 0 };
                client.queue(OpCode::Create2, &client::create(path, data, flags));
            }
            Op::Set { path, data, version } => {
                client.queue(OpCode::SetData, &client::set(path, data, Version(*version)));
            }
            Op::Delete { path, version } => {
                client.queue(OpCode::Delete, &client::delete(path, Version(*version)));
            }
            Op::Check { .. } => {
                // Only inside a multi: the generator builds no other.
            }
            Op::Multi(ops) => {
                let ops = ops.iter().filter_map(Op::in_multi).collect();
                client.queue(OpCode::Multi, &Multi::Ops(ops));
            }
        }
    }

    fn in_multi(&self) -> Option<MultiOp> {
        Some(match self {
            Op::Create { path, data, sequential } => {
                let flags = if *sequential { SEQUENTIAL } else { 0 };
                MultiOp::Create(OpCode::Create2, client::create(path, data, flags))
            }
            Op::Set { path, data, version } => {
                MultiOp::SetData(client::set(path, data, Version(*version)))
            }
            Op::Delete { path, version } => {
                MultiOp::Delete(client::delete(path, Version(*version)))
            }
            Op::Check { path, version } => {
                let path = Some(path.clone());
                MultiOp::Check(Check { path, version: Version(*version) })
            }
            Op::Multi(_) => return None,
        })
    }
}
