//! The naive tree, for tests only: what writes must do, written down a second time in the plainest
//! way.
//!
//! It shares the types of input and output with `apply`, and none of its code: one map of paths, no
//! index, every count taken anew, a multi tried on a copy of everything.

#![allow(clippy::wildcard_enum_match_arm, reason = "what is not named here is not allowed")]

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use jute::reply::{Body, EventType, MultiResult};
use jute::{Acl, ErrorCode, Id, OpCode, Perms, SessionId, Stat, Version, Zxid};

use super::{Admission, Event, Owner, Path, Session, SessionChange, Submission, Write};

/// A node with all that belongs to it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Node {
    czxid: Zxid,
    mzxid: Zxid,
    pzxid: Zxid,
    ctime_ms: i64,
    mtime_ms: i64,
    version: i32,
    aversion: i32,
    created: i32,
    pub(super) owner: Owner,
    pub(super) data: Option<Bytes>,
    pub(super) acl: Arc<[Acl]>,
}

/// Everything there is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Model {
    /// The nodes before the proposal that is being decided: what quotas are judged by.
    applied: BTreeMap<String, Node>,
    pub(super) nodes: BTreeMap<String, Node>,
    pub(super) sessions: BTreeMap<SessionId, Session>,
    pub(super) zxid: Zxid,
    events: Vec<Event>,
}

/// What the model says must come of a proposal.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Decided {
    pub(super) zxid: Zxid,
    pub(super) outcome: Result<Body, ErrorCode>,
    pub(super) events: Vec<Event>,
    pub(super) session: Option<SessionChange>,
}

/// Who asks, when, on which terms.
struct Ask<'a> {
    zxid: Zxid,
    time_ms: i64,
    session: SessionId,
    terms: &'a Admission,
}

type Judged<T> = Result<T, ErrorCode>;

fn refuse_unless(holds: bool, code: ErrorCode) -> Judged<()> {
    if holds { Ok(()) } else { Err(code) }
}

impl Model {
    /// The tree of a new ensemble.
    pub(super) fn new() -> Model {
        let node = |perms, aversion| Node {
            czxid: Zxid(0),
            mzxid: Zxid(0),
            pzxid: Zxid(0),
            ctime_ms: 0,
            mtime_ms: 0,
            version: 0,
            aversion,
            created: 0,
            owner: Owner::Persistent,
            data: Some(Bytes::new()),
            acl: Arc::from([Acl::anyone(perms)]),
        };
        let nodes = BTreeMap::from([
            ("/".to_owned(), node(Perms::ALL, 0)),
            ("/zookeeper".to_owned(), node(Perms::ALL, 0)),
            ("/zookeeper/quota".to_owned(), node(Perms::ALL, 0)),
            ("/zookeeper/config".to_owned(), node(Perms::READ, -1)),
        ]);
        let applied = nodes.clone();
        Model { nodes, applied, sessions: BTreeMap::new(), zxid: Zxid(0), events: Vec::new() }
    }

    /// A new leader.
    pub(super) fn enter_term(&mut self) {
        self.zxid = Zxid(((self.zxid.0 >> 32) + 1) << 32);
    }

    /// Decides a proposal.
    pub(super) fn decide(&mut self, time_ms: i64, submission: &Submission) -> Decided {
        if !matches!(submission.write, Write::AttachSession { .. }) {
            self.zxid = Zxid(self.zxid.0 + 1);
        }
        let zxid = self.zxid;
        let ask =
            Ask { zxid, time_ms, session: submission.origin.session, terms: &submission.admission };
        self.applied = self.nodes.clone();
        let before = self.clone();
        let mut session = None;
        let outcome = self.about_session(&ask, submission).and_then(|change| {
            session = change;
            if change.is_some() { Ok(Body::Empty) } else { self.about_nodes(&ask, submission) }
        });
        if outcome.is_err() {
            *self = before;
        }
        Decided { zxid, outcome, events: std::mem::take(&mut self.events), session }
    }

    fn about_session(
        &mut self,
        ask: &Ask<'_>,
        submission: &Submission,
    ) -> Judged<Option<SessionChange>> {
        let (id, holder) = (ask.session, submission.origin.holder);
        let found = self.sessions.get(&id).cloned();
        match submission.write {
            Write::OpenSession { timeout_ms, password } => {
                refuse_unless(found.is_none(), ErrorCode::NodeExists)?;
                self.sessions.insert(id, Session { timeout_ms, password, holder });
                Ok(Some(SessionChange::Opened { session: id, holder, timeout_ms }))
            }
            Write::AttachSession { timeout_ms } => {
                let found = found.ok_or(ErrorCode::SessionExpired)?;
                let previous = found.holder;
                self.sessions.insert(id, Session { timeout_ms, holder, ..found });
                Ok(Some(SessionChange::Attached { session: id, holder, previous, timeout_ms }))
            }
            Write::CloseSession { expired_holder } => {
                let found = found.ok_or(ErrorCode::SessionExpired)?;
                let expected = expired_holder.unwrap_or(holder);
                refuse_unless(expected == found.holder, ErrorCode::SessionMoved)?;
                for path in self.ephemerals_of(id) {
                    self.remove(ask, &path);
                }
                self.sessions.remove(&id);
                Ok(Some(SessionChange::Closed { session: id, holder: found.holder }))
            }
            _ if id == SessionId(0) => Ok(None),
            _ => {
                let found = found.ok_or(ErrorCode::SessionExpired)?;
                refuse_unless(found.holder == holder, ErrorCode::SessionMoved)?;
                Ok(None)
            }
        }
    }

    fn about_nodes(&mut self, ask: &Ask<'_>, submission: &Submission) -> Judged<Body> {
        let Write::Multi(writes) = &submission.write else {
            return self.single(ask, &submission.write);
        };
        let writes: Vec<Write> = writes.iter().map(as_read_in_a_multi).collect::<Judged<_>>()?;
        let before = self.clone();
        let mut results = Vec::new();
        for (position, write) in writes.iter().enumerate() {
            match self.single(ask, write) {
                Ok(body) => results.push(MultiResult::Done(result_type(write, &body), body)),
                Err(code) => {
                    *self = before;
                    let mut codes = vec![ErrorCode::Ok; position];
                    codes.push(code);
                    codes.resize(writes.len(), ErrorCode::RuntimeInconsistency);
                    return Ok(Body::Multi(codes.into_iter().map(MultiResult::Failed).collect()));
                }
            }
        }
        Ok(Body::Multi(results))
    }

    fn single(&mut self, ask: &Ask<'_>, write: &Write) -> Judged<Body> {
        match write {
            Write::Create { .. } => self.create(ask, write),
            Write::Delete { path, version } => self.delete(ask, path, *version),
            Write::SetData { path, data, version } => {
                self.set_data(ask, path, data.as_ref(), *version)
            }
            Write::SetAcl { path, acl, version } => {
                self.set_acl(ask, path, acl.as_deref(), *version)
            }
            Write::Check { path, version } => {
                refuse_unless(is_valid_path(path), ErrorCode::BadArguments)?;
                let node = self.node(path)?;
                allow(ask, node, Perms::READ)?;
                compare(*version, node.version)?;
                Ok(Body::Empty)
            }
            Write::Reap { path, never_used_ms_max } => self.reap(ask, path, *never_used_ms_max),
            Write::Refused(code) => Err(*code),
            _ => Err(ErrorCode::MarshallingError),
        }
    }

    fn create(&mut self, ask: &Ask<'_>, write: &Write) -> Judged<Body> {
        let Write::Create { op, path, data, acl, flags, ttl_ms } = write else {
            panic!("{write:?} is no creation");
        };
        let owner = owner_of_new(ask, *op, *flags, *ttl_ms)?;
        let (parent_path, _) = path.rsplit_once('/').ok_or(ErrorCode::BadArguments)?;
        refuse_unless(!path.contains('\0'), ErrorCode::BadArguments)?;
        let acl = acl_to_store(acl.as_deref().unwrap_or_default(), ask.terms)?;
        let parent = self.node(parent_path)?;
        allow(ask, parent, Perms::CREATE)?;
        let is_sequential = [2, 3, 6].contains(flags);
        let suffix = if is_sequential { format!("{:010}", parent.created) } else { String::new() };
        let path = format!("{path}{suffix}");
        refuse_unless(is_valid_path(&path), ErrorCode::BadArguments)?;
        let on_root = ["/zookeeper/quota/zookeeper_limits", "/zookeeper/quota/zookeeper_stats"];
        refuse_unless(!on_root.contains(&path.as_str()), ErrorCode::BadArguments)?;
        refuse_unless(!self.nodes.contains_key(&path), ErrorCode::NodeExists)?;
        let is_below_ephemeral = matches!(parent.owner, Owner::Ephemeral(_));
        refuse_unless(!is_below_ephemeral, ErrorCode::NoChildrenForEphemerals)?;
        let bytes = length(data.as_ref());
        self.enforce_quota(ask, &path, 1, bytes)?;

        let node = Node {
            czxid: ask.zxid,
            mzxid: ask.zxid,
            pzxid: ask.zxid,
            ctime_ms: ask.time_ms,
            mtime_ms: ask.time_ms,
            version: 0,
            aversion: 0,
            created: 0,
            owner,
            data: data.clone(),
            acl,
        };
        self.nodes.insert(path.clone(), node);
        let stat = self.stat(&path);
        self.tell(EventType::NodeCreated, &path, ask);
        let parent = parent_of(&path);
        self.node_mut(&parent).created += 1;
        self.node_mut(&parent).pzxid = ask.zxid;
        self.tell(EventType::NodeChildrenChanged, &parent, ask);
        if let Some(quota) = path.strip_suffix("/zookeeper_stats")
            && let Some(top) = quota.strip_prefix("/zookeeper/quota/")
        {
            let (count, bytes) = self.totals(&format!("/{top}"));
            let text = format!("count={count},bytes={bytes}");
            self.node_mut(&path).data = Some(Bytes::from(text));
        }
        self.count(&path, 1, bytes);
        let short = *op == OpCode::Create;
        Ok(if short { Body::Path(Some(path)) } else { Body::PathStat(path, stat) })
    }

    fn delete(&mut self, ask: &Ask<'_>, path: &str, version: Version) -> Judged<Body> {
        let (parent_path, _) = path.rsplit_once('/').ok_or(ErrorCode::BadArguments)?;
        refuse_unless(!path.contains('\0') && !is_system(path), ErrorCode::BadArguments)?;
        allow(ask, self.node(parent_path)?, Perms::DELETE)?;
        compare(version, self.node(path)?.version)?;
        refuse_unless(self.children_of(path).is_empty(), ErrorCode::NotEmpty)?;
        self.remove(ask, path);
        Ok(Body::Empty)
    }

    fn reap(&mut self, ask: &Ask<'_>, path: &str, never_used_ms_max: i64) -> Judged<Body> {
        refuse_unless(!is_system(path), ErrorCode::BadArguments)?;
        self.node(path)?;
        refuse_unless(self.children_of(path).is_empty(), ErrorCode::NotEmpty)?;
        let due = self.is_due(path, ask.time_ms, never_used_ms_max);
        refuse_unless(due, ErrorCode::BadVersion)?;
        self.remove(ask, path);
        Ok(Body::Empty)
    }

    /// Whether a node without children has outlived its purpose.
    pub(super) fn is_due(&self, path: &str, now_ms: i64, never_used_ms_max: i64) -> bool {
        let node = &self.nodes[path];
        let age_ms = now_ms - node.mtime_ms;
        match node.owner {
            Owner::Container if node.created > 0 => true,
            Owner::Container => never_used_ms_max != 0 && age_ms > never_used_ms_max,
            Owner::Ttl(ttl_ms) => age_ms > ttl_ms,
            Owner::Persistent | Owner::Ephemeral(_) => false,
        }
    }

    fn set_data(
        &mut self,
        ask: &Ask<'_>,
        path: &str,
        data: Option<&Bytes>,
        version: Version,
    ) -> Judged<Body> {
        refuse_unless(is_valid_path(path), ErrorCode::BadArguments)?;
        let node = self.node(path)?;
        allow(ask, node, Perms::WRITE)?;
        let more = length(data) - length(node.data.as_ref());
        self.enforce_quota(ask, path, 0, more)?;
        compare(version, node.version)?;

        let node = self.node_mut(path);
        node.version = next(node.version);
        node.mzxid = ask.zxid;
        node.mtime_ms = ask.time_ms;
        node.data = data.cloned();
        let stat = self.stat(path);
        self.tell(EventType::NodeDataChanged, path, ask);
        self.count(path, 0, more);
        Ok(Body::Stat(stat))
    }

    fn set_acl(
        &mut self,
        ask: &Ask<'_>,
        path: &str,
        acl: Option<&[Acl]>,
        version: Version,
    ) -> Judged<Body> {
        refuse_unless(is_valid_path(path), ErrorCode::BadArguments)?;
        let acl = acl_to_store(acl.unwrap_or_default(), ask.terms)?;
        let node = self.node(path)?;
        allow(ask, node, Perms::ADMIN)?;
        compare(version, node.aversion)?;

        let node = self.node_mut(path);
        node.aversion = next(node.aversion);
        node.acl = acl;
        Ok(Body::Stat(self.stat(path)))
    }

    fn remove(&mut self, ask: &Ask<'_>, path: &str) {
        self.tell(EventType::NodeDeleted, path, ask);
        let node = self.nodes.remove(path).expect("only what is there is removed");
        let parent = parent_of(path);
        self.node_mut(&parent).pzxid = ask.zxid;
        self.tell(EventType::NodeChildrenChanged, &parent, ask);
        self.count(path, -1, -length(node.data.as_ref()));
    }

    fn tell(&mut self, kind: EventType, path: &str, ask: &Ask<'_>) {
        let acl = Arc::clone(&self.nodes[path].acl);
        let path = Path::parse(path).expect("the model holds valid paths");
        self.events.push(Event { kind, path, zxid: ask.zxid, acl });
    }

    /// The node at `path`; the root is found under the empty path too.
    fn node(&self, path: &str) -> Judged<&Node> {
        let path = if path.is_empty() { "/" } else { path };
        self.nodes.get(path).ok_or(ErrorCode::NoNode)
    }

    fn node_mut(&mut self, path: &str) -> &mut Node {
        self.nodes.get_mut(path).expect("looked up before")
    }

    /// Paths of the children.
    pub(super) fn children_of(&self, path: &str) -> Vec<&str> {
        let others = self.nodes.keys().filter(|other| *other != "/");
        others.filter(|other| parent_of(other) == path).map(String::as_str).collect()
    }

    /// Paths of a session's nodes, in their order.
    pub(super) fn ephemerals_of(&self, session: SessionId) -> Vec<String> {
        let owned = |node: &Node| node.owner == Owner::Ephemeral(session);
        self.nodes.iter().filter(|(_, node)| owned(node)).map(|(path, _)| path.clone()).collect()
    }

    /// What a client is told of a node.
    pub(super) fn stat(&self, path: &str) -> Stat {
        let node = &self.nodes[path];
        let children = self.children_of(path).len() as i32;
        let ephemeral_owner = match node.owner {
            Owner::Ephemeral(session) => session,
            Owner::Persistent | Owner::Container | Owner::Ttl(_) => SessionId(0),
        };
        Stat {
            czxid: node.czxid,
            mzxid: node.mzxid,
            ctime_ms: node.ctime_ms,
            mtime_ms: node.mtime_ms,
            version: Version(node.version),
            cversion: node.created * 2 - children,
            aversion: Version(node.aversion),
            ephemeral_owner,
            data_length: length(node.data.as_ref()) as i32,
            num_children: children,
            pzxid: node.pzxid,
        }
    }

    /// Nodes at and below `path`, and bytes of their data.
    fn totals(&self, path: &str) -> (i64, i64) {
        let below = |other: &str| other == path || other.starts_with(&format!("{path}/"));
        let nodes = self.nodes.iter().filter(|(other, _)| below(other));
        nodes.fold((0, 0), |(n, bytes), (_, node)| (n + 1, bytes + length(node.data.as_ref())))
    }

    /// Where the deepest quota on the way to `path` is kept.
    fn quota_of(nodes: &BTreeMap<String, Node>, path: &str) -> Option<String> {
        let mut place = path.to_owned();
        while place != "/" {
            let quota = format!("/zookeeper/quota{place}");
            if nodes.contains_key(&format!("{quota}/zookeeper_limits")) {
                return Some(quota);
            }
            place = parent_of(&place);
        }
        None
    }

    fn enforce_quota(&self, ask: &Ask<'_>, path: &str, count: i64, bytes: i64) -> Judged<()> {
        let quota = Self::quota_of(&self.applied, path).filter(|_| ask.terms.enforce_quota);
        let Some(quota) = quota else { return Ok(()) };
        let read = |name: &str| self.applied.get(&format!("{quota}/{name}"))?.data.clone();
        let limits = read("zookeeper_limits").ok_or(ErrorCode::MarshallingError)?;
        let limits = numbers(&limits).ok_or(ErrorCode::MarshallingError)?;
        if count == 0 && bytes == 0 {
            return Ok(());
        }
        let Some(stats) = read("zookeeper_stats") else { return Ok(()) };
        let stats = numbers(&stats).ok_or(ErrorCode::MarshallingError)?;
        for (more, counted, hard) in
            [(count, "count", "countHardLimit"), (bytes, "bytes", "byteHardLimit")]
        {
            let hard = *limits.get(hard).unwrap_or(&-1);
            let would_be = stats.get(counted).unwrap_or(&-1) + more;
            refuse_unless(more == 0 || hard < 0 || would_be <= hard, ErrorCode::QuotaExceeded)?;
        }
        Ok(())
    }

    fn count(&mut self, path: &str, count: i64, bytes: i64) {
        let Some(quota) = Self::quota_of(&self.nodes, path) else { return };
        let stats = format!("{quota}/zookeeper_stats");
        let Some(text) = self.nodes.get(&stats).and_then(|node| node.data.clone()) else { return };
        let Some(counted) = numbers(&text) else { return };
        let of = |name: &str| *counted.get(name).unwrap_or(&-1);
        let mut text = format!("count={},bytes={}", of("count") + count, of("bytes") + bytes);
        let others =
            counted.iter().filter(|(name, _)| !["count", "bytes"].contains(&name.as_str()));
        for (position, (name, number)) in others.enumerate() {
            let separator = if position == 0 { "=;" } else { ";" };
            text = format!("{text}{separator}{name}={number}");
        }
        self.node_mut(&stats).data = Some(Bytes::from(text));
    }
}

/// The kind of node that a creation makes.
fn owner_of_new(ask: &Ask<'_>, op: OpCode, flags: i32, ttl_ms: i64) -> Judged<Owner> {
    refuse_unless((0..=6).contains(&flags), ErrorCode::BadArguments)?;
    let wants_ttl = flags == 5 || flags == 6;
    refuse_unless(!wants_ttl || ask.terms.extended_types, ErrorCode::Unimplemented)?;
    if op == OpCode::CreateTtl {
        let in_range = 0 < ttl_ms && ttl_ms < 1 << 40;
        refuse_unless(wants_ttl && in_range, ErrorCode::BadArguments)?;
        return Ok(Owner::Ttl(ttl_ms));
    }
    refuse_unless(!wants_ttl, ErrorCode::BadArguments)?;
    let is_ephemeral = flags == 1 || flags == 3;
    Ok(match op {
        OpCode::CreateContainer => Owner::Container,
        _ if is_ephemeral => Owner::Ephemeral(ask.session),
        _ => Owner::Persistent,
    })
}

/// Inside a multi, the flags tell what a creation is.
fn as_read_in_a_multi(write: &Write) -> Judged<Write> {
    let mut write = write.clone();
    if let Write::Create { op, flags, .. } = &mut write {
        let is_ttl = *op == OpCode::CreateTtl;
        match *flags {
            4 => *op = OpCode::CreateContainer,
            0..=3 if is_ttl => *op = OpCode::Create,
            0..=3 => {}
            _ => refuse_unless(is_ttl, ErrorCode::MarshallingError)?,
        }
    }
    Ok(write)
}

fn result_type(write: &Write, body: &Body) -> OpCode {
    match (write, body) {
        (Write::Create { .. }, Body::Path(_)) => OpCode::Create,
        (Write::Create { .. }, _) => OpCode::Create2,
        (Write::Delete { .. }, _) => OpCode::Delete,
        (Write::SetData { .. }, _) => OpCode::SetData,
        _ => OpCode::Check,
    }
}

fn length(data: Option<&Bytes>) -> i64 {
    data.map_or(0, |data| data.len() as i64)
}

fn is_system(path: &str) -> bool {
    ["/", "/zookeeper", "/zookeeper/quota", "/zookeeper/config"].contains(&path)
}

fn parent_of(path: &str) -> String {
    let slash = path.rfind('/').expect("the model holds absolute paths");
    if slash == 0 { "/".to_owned() } else { path[..slash].to_owned() }
}

fn is_valid_path(path: &str) -> bool {
    let is_allowed =
        |unit: u16| !matches!(unit, 0..=0x1f | 0x7f..=0x9f | 0xd800..=0xf8ff | 0xfff0..=0xffff);
    let is_element = |element: &str| !["", ".", ".."].contains(&element);
    path == "/"
        || path.starts_with('/')
            && path[1..].split('/').all(is_element)
            && path.encode_utf16().all(is_allowed)
}

fn compare(expected: Version, found: i32) -> Judged<()> {
    refuse_unless(expected.0 == -1 || expected.0 == found, ErrorCode::BadVersion)
}

/// The version after a change; never -1.
fn next(version: i32) -> i32 {
    if version == -2 { 0 } else { version.wrapping_add(1) }
}

fn allow(ask: &Ask<'_>, node: &Node, wanted: Perms) -> Judged<()> {
    let ids = &ask.terms.identities;
    let is_super = ids.iter().any(|id| id.scheme.as_deref() == Some("super"));
    let is_meant = |entry: &Acl| {
        entry.perms.0 & wanted.0 != 0
            && (entry.id == Id::anyone() || ids.iter().any(|id| is_same(id, &entry.id)))
    };
    let allowed = ask.terms.skip_acl || is_super || node.acl.iter().any(is_meant);
    refuse_unless(allowed, ErrorCode::NoAuth)
}

/// Whether a connection's identity is the one of an entry. Programs use only whole IPv4 networks.
fn is_same(id: &Id, entry: &Id) -> bool {
    match (id.scheme.as_deref(), entry.scheme.as_deref()) {
        (Some("ip"), Some("ip")) => {
            let network = entry.id.as_deref().unwrap_or_default();
            let prefix = network.strip_suffix(".0.0.0/8").unwrap_or(network);
            let address = id.id.as_deref().unwrap_or_default();
            address == network || (prefix != network && address.starts_with(&format!("{prefix}.")))
        }
        (scheme, other) => scheme == other && id.id == entry.id,
    }
}

fn acl_to_store(sent: &[Acl], terms: &Admission) -> Judged<Arc<[Acl]>> {
    let mut distinct: Vec<&Acl> = Vec::new();
    for entry in sent {
        if !distinct.contains(&entry) {
            distinct.push(entry);
        }
    }
    refuse_unless(!distinct.is_empty(), ErrorCode::InvalidAcl)?;
    let mut stored = Vec::new();
    for entry in distinct {
        let scheme = entry.id.scheme.as_deref().ok_or(ErrorCode::InvalidAcl)?;
        if scheme == "auth" {
            let digests =
                terms.identities.iter().filter(|id| id.scheme.as_deref() == Some("digest"));
            let own: Vec<Acl> =
                digests.map(|id| Acl { perms: entry.perms, id: id.clone() }).collect();
            refuse_unless(!own.is_empty(), ErrorCode::InvalidAcl)?;
            stored.extend(own);
            continue;
        }
        let is_known =
            ["world", "ip"].contains(&scheme) || (scheme == "digest" && terms.digest_enabled);
        refuse_unless(is_known, ErrorCode::InvalidAcl)?;
        let name = entry.id.id.as_deref().ok_or(ErrorCode::MarshallingError)?;
        let is_valid = match scheme {
            "world" => name == "anyone",
            "digest" => name.matches(':').count() == 1 && !name.ends_with(':'),
            _ => name.split('/').next().is_some_and(|address| address.parse::<IpAddr>().is_ok()),
        };
        refuse_unless(is_valid, ErrorCode::InvalidAcl)?;
        stored.push(entry.clone());
    }
    Ok(stored.into())
}

/// The numbers in the text of a quota.
fn numbers(text: &[u8]) -> Option<BTreeMap<String, i64>> {
    let text = String::from_utf8(text.to_vec()).ok()?;
    let is_separator = |character: char| character == ',' || character == ';';
    let mut numbers = BTreeMap::new();
    for (position, pair) in text.split(is_separator).enumerate() {
        if pair.is_empty() {
            // An empty text has no pairs; one that begins with a separator cannot be read.
            refuse_unless(position > 0 || text.is_empty(), ErrorCode::MarshallingError).ok()?;
            continue;
        }
        let mut parts = pair.split('=');
        numbers.insert(parts.next()?.to_owned(), parts.next()?.parse().ok()?);
    }
    Some(numbers)
}
