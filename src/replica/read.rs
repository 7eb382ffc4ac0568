//! Answering reads: look up, leave the watch, push the reply, all while the tree stands still.

use bytes::{Bytes, BytesMut};
use jute::reply::{Body, ClientInfo, MultiResult, ReplyHeader, put_event, put_reply};
use jute::request::{
    AddWatch, Multi, MultiOp, PathOnly, PathWatch, Request, SetWatches2, WatchesOf,
};
use jute::{Encode, ErrorCode, Id, OpCode, Text, Xid, Zxid, begin_frame, end_frame};

use super::absorb::Answer;
use super::{Outbox, Pending, Replica};
use crate::session;
use crate::tree::{NodeRef, Reader, Tree};
use crate::watch::{self, ConnectionId, WatchRegistry};

/// Who asks.
pub struct Asker<'a> {
    /// Where the reply goes.
    pub outbox: &'a Outbox,
    /// Who the client has proved to be.
    pub identities: &'a [Id],
    /// Its session.
    pub session: jute::SessionId,
    /// Bytes of data and names that one multiRead may ask for.
    pub multi_read_bytes_max: usize,
}

/// A request with what its reply needs.
struct Reading<'a> {
    tree: &'a Tree,
    reader: Reader<'a>,
    connection: ConnectionId,
    identities: &'a [Id],
    session: jute::SessionId,
    multi_read_bytes_max: usize,
}

impl Replica {
    /// Answers a request that changes nothing.
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "`outcome` names all that is not named here"
    )]
    pub fn read(&self, asker: &Asker<'_>, pending: Pending, request: &Request) {
        let tree = self.tree.read();
        let reading = Reading {
            tree: &tree,
            reader: Reader { tree: &tree, identities: asker.identities, skip_acl: self.skip_acl },
            connection: asker.outbox.id(),
            identities: asker.identities,
            session: asker.session,
            multi_read_bytes_max: asker.multi_read_bytes_max,
        };
        let zxid = tree.zxid();
        let xid = if pending.op == OpCode::Ping { Xid::PING } else { pending.xid };
        let now_us = self.now_us();
        let bytes = match request {
            // The hot reads write their replies from the tree itself, without a copy in between.
            Request::GetData(request) => {
                let node = self.watched(&reading, request, WatchRegistry::add_data);
                asker.outbox.reply(pending, zxid, now_us, |out| match node {
                    Ok(node) => put_data(out, xid, zxid, node),
                    Err(code) => put_reply(out, xid, zxid, &Err(code)),
                })
            }
            Request::GetChildren(request) | Request::GetChildren2(request) => {
                let node = self.watched(&reading, request, WatchRegistry::add_child);
                let with_stat = pending.op == OpCode::GetChildren2;
                asker.outbox.reply(pending, zxid, now_us, |out| match node {
                    Ok(node) => put_children(out, xid, zxid, node, with_stat),
                    Err(code) => put_reply(out, xid, zxid, &Err(code)),
                })
            }
            Request::SetWatches(request) => {
                let outcome = self.set_watches(&reading, request);
                asker.outbox.reply(pending, zxid, now_us, |out| {
                    let (events, outcome) = outcome;
                    for (kind, path) in &events {
                        put_event(out, Zxid::NONE, *kind, path);
                    }
                    put_reply(out, xid, zxid, &outcome);
                })
            }
            Request::MultiRead(Multi::Ops(ops)) if is_foreign(ops) => {
                asker.outbox.reply(pending, zxid, now_us, |out| put_foreign(out, xid, zxid))
            }
            request => {
                let outcome = self.outcome(&reading, request);
                let put = |out: &mut BytesMut| put_reply(out, xid, zxid, &outcome);
                asker.outbox.reply(pending, zxid, now_us, put)
            }
        };
        self.stats.count_answer(now_us - pending.since_us);
        if pending.op != OpCode::Ping {
            self.stats.count_response(bytes);
        }
    }

    /// The node a request wants to read, after leaving its watch.
    fn watched<'a>(
        &self,
        reading: &Reading<'a>,
        request: &PathWatch,
        leave: fn(&mut WatchRegistry, &str, ConnectionId),
    ) -> Answer<NodeRef<'a>> {
        let path = present(&request.path)?;
        let node = reading.reader.node(path)?;
        if request.watch {
            leave(&mut self.watches.lock(), path, reading.connection);
        }
        Ok(node)
    }

    /// The outcome of the reads that are not hot.
    fn outcome(&self, reading: &Reading<'_>, request: &Request) -> Answer<Body> {
        let reader = reading.reader;
        match request {
            Request::Exists(request) => self.exists(reading, request),
            Request::GetAcl(PathOnly { path }) => {
                reader.acl(present(path)?).map(|(acl, stat)| Body::Acl(acl, stat))
            }
            Request::Sync(PathOnly { path }) => Ok(Body::Path(path.clone())),
            Request::Ping => Ok(Body::Empty),
            Request::MultiRead(multi) => multi_read(reader, multi, reading.multi_read_bytes_max),
            Request::CheckWatches(WatchesOf { path, kind }) => {
                let watches = self.watches.lock();
                watch_found(watches.check(present(path)?, reading.connection, *kind))
            }
            Request::RemoveWatches(WatchesOf { path, kind }) => {
                let mut watches = self.watches.lock();
                watch_found(watches.remove(present(path)?, reading.connection, *kind))
            }
            Request::GetEphemerals(PathOnly { path }) => {
                Ok(Body::Paths(reader.ephemerals(reading.session, path.as_deref())))
            }
            Request::GetAllChildrenNumber(PathOnly { path }) => {
                reader.descendants(present(path)?).map(Body::Count)
            }
            Request::AddWatch(request) => self.add_watch(reading, request),
            Request::WhoAmI => Ok(Body::WhoAmI(client_info(reading.identities))),
            // Everything else is answered elsewhere.
            Request::Create(..)
            | Request::CreateTtl(_)
            | Request::Delete(_)
            | Request::GetData(_)
            | Request::SetData(_)
            | Request::SetAcl(_)
            | Request::GetChildren(_)
            | Request::GetChildren2(_)
            | Request::Multi(_)
            | Request::Reconfig(_)
            | Request::Auth(_)
            | Request::Sasl(_)
            | Request::SetWatches(_)
            | Request::CloseSession => Err(ErrorCode::MarshallingError),
        }
    }

    /// `exists` leaves its watch whether the node is there or not, unless the client may not know.
    fn exists(&self, reading: &Reading<'_>, request: &PathWatch) -> Answer<Body> {
        let path = present(&request.path)?;
        let found = reading.reader.exists(path);
        if request.watch && matches!(found, Ok(_) | Err(ErrorCode::NoNode)) {
            self.watches.lock().add_data(path, reading.connection);
        }
        found.map(Body::Stat)
    }

    fn add_watch(&self, reading: &Reading<'_>, request: &AddWatch) -> Answer<Body> {
        // Upstream takes a null path here; nothing can ever fire it.
        let path = request.path.as_deref().unwrap_or_default();
        let mut watches = self.watches.lock();
        match request.mode {
            0 => watches.add_persistent(path, reading.connection),
            1 => watches.add_recursive(path, reading.connection),
            _ => return Err(ErrorCode::MarshallingError),
        }
        Ok(Body::Error(ErrorCode::Ok))
    }

    /// Takes the watches of a reconnected client in, and tells what it missed.
    fn set_watches(
        &self,
        reading: &Reading<'_>,
        request: &SetWatches2,
    ) -> (Vec<(jute::reply::EventType, String)>, Answer<Body>) {
        let lookup = |path: &str| reading.tree.find(path).map(|node| (node.mzxid(), node.pzxid()));
        let mut watches = self.watches.lock();
        match watch::reset(&mut watches, request, reading.connection, lookup) {
            Ok(events) => (events, Ok(Body::Empty)),
            Err(null) => (null.owed, Err(ErrorCode::MarshallingError)),
        }
    }
}

/// The path, which upstream's server stumbles over when it is null.
fn present(path: &Text) -> Answer<&str> {
    path.as_deref().ok_or(ErrorCode::MarshallingError)
}

fn watch_found(found: Option<bool>) -> Answer<Body> {
    match found {
        Some(true) => Ok(Body::Empty),
        Some(false) => Err(ErrorCode::NoWatcher),
        None => Err(ErrorCode::MarshallingError),
    }
}

fn client_info(identities: &[Id]) -> Vec<ClientInfo> {
    session::client_info(identities)
}

fn put_data(out: &mut BytesMut, xid: Xid, zxid: Zxid, node: NodeRef<'_>) {
    let start = begin_frame(out);
    ReplyHeader { xid, zxid, error: 0 }.encode(out);
    node.data().encode(out);
    node.stat().encode(out);
    end_frame(out, start);
}

fn put_children(out: &mut BytesMut, xid: Xid, zxid: Zxid, node: NodeRef<'_>, with_stat: bool) {
    let start = begin_frame(out);
    ReplyHeader { xid, zxid, error: 0 }.encode(out);
    node.children_present().encode(out);
    node.children().for_each(|child| child.name().encode(out));
    if with_stat {
        node.stat().encode(out);
    }
    end_frame(out, start);
}

/// Whether a multiRead holds writes, and nothing else.
fn is_foreign(ops: &[MultiOp]) -> bool {
    !ops.is_empty() && !ops.iter().any(MultiOp::is_read)
}

/// Refuses a multiRead of writes. Upstream has begun its reply when it finds out, so the end of an
/// empty result follows the error; clients do not look at it.
fn put_foreign(out: &mut BytesMut, xid: Xid, zxid: Zxid) {
    let start = begin_frame(out);
    ReplyHeader { xid, zxid, error: ErrorCode::MarshallingError as i32 }.encode(out);
    Body::Multi(Vec::new()).encode(out);
    end_frame(out, start);
}

/// Several reads of one state; each has its own result.
///
/// A frame has room for tens of thousands of reads of the largest node, so `bytes_max` bounds them.
fn multi_read(reader: Reader<'_>, multi: &Multi, bytes_max: usize) -> Answer<Body> {
    let Multi::Ops(ops) = multi else { return Err(ErrorCode::MarshallingError) };
    if !ops.iter().all(MultiOp::is_read) {
        return Err(ErrorCode::MarshallingError);
    }
    let mut bytes = 0;
    let mut results = Vec::with_capacity(ops.len());
    for op in ops {
        let result = match read_one(reader, op) {
            Ok(body) => {
                bytes += data_bytes(&body);
                MultiResult::Done(op.op(), body)
            }
            Err(code) => MultiResult::Failed(code),
        };
        if bytes > bytes_max {
            return Err(ErrorCode::MarshallingError);
        }
        results.push(result);
    }
    Ok(Body::Multi(results))
}

/// One read of several.
fn read_one(reader: Reader<'_>, op: &MultiOp) -> Answer<Body> {
    match op {
        MultiOp::GetData(request) => {
            let node = reader.node(present(&request.path)?)?;
            Ok(Body::Data(node.data().map(Bytes::copy_from_slice), node.stat()))
        }
        MultiOp::GetChildren(request) => {
            let children = reader.node(present(&request.path)?)?.children();
            Ok(Body::Paths(children.map(|child| child.name().to_owned()).collect()))
        }
        MultiOp::Create(..)
        | MultiOp::CreateTtl(_)
        | MultiOp::Delete(_)
        | MultiOp::SetData(_)
        | MultiOp::Check(_) => Err(ErrorCode::MarshallingError),
    }
}

/// Bytes of data or names that the result of a read holds.
fn data_bytes(body: &Body) -> usize {
    match body {
        Body::Data(data, _) => data.as_ref().map_or(0, Bytes::len),
        Body::Paths(names) => names.iter().map(String::len).sum(),
        Body::Empty
        | Body::Path(_)
        | Body::PathStat(..)
        | Body::Stat(_)
        | Body::PathsStat(..)
        | Body::Acl(..)
        | Body::Count(_)
        | Body::Error(_)
        | Body::WhoAmI(_)
        | Body::Token(_)
        | Body::Multi(_) => 0,
    }
}
