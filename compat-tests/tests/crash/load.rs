//! Clients that write until the server is gone, and remember what they were told.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use jute::reply::Create2Reply;
use jute::request::MultiHeader;
use jute::{Decode as _, ErrorCode, OpCode, SessionId, Stat, Zxid};

use crate::model::{Model, Op};
use crate::support::chance::Chance;
use crate::support::client::{Arrival, Client, Nothing, Reply, Session, create};

/// Writes that a client sends before it reads.
const PIPELINE: usize = 48;
/// The number of the create mode of ephemeral sequential nodes.
const EPHEMERAL_SEQUENTIAL: i32 = 3;
/// Where sessions queue up for a lock.
pub(crate) const LOCKS: &str = "/locks";
/// Milliseconds of the sessions' timeouts: long enough for a restart on a busy machine.
pub(crate) const TIMEOUT_MS: i32 = 300_000;

/// Tells the clients that the server's end is at hand, so that losing it is no failure.
pub(crate) type Ending = Arc<AtomicBool>;

/// A client of nodes of its own.
pub(crate) struct Writer {
    /// Its nodes after everything that was acknowledged.
    pub(crate) acknowledged: Model,
    /// What it sent and was not told of, in order.
    pub(crate) unanswered: VecDeque<Op>,
    /// Every zxid that it was told since they were last taken, in order.
    pub(crate) zxids: Vec<i64>,
    /// The last of all.
    pub(crate) zxid_last: i64,
    chance: Chance,
}

impl Writer {
    /// A client of the nodes in `model`.
    pub(crate) fn new(model: Model, chance: Chance) -> Writer {
        let (unanswered, zxids) = (VecDeque::new(), Vec::new());
        Writer { acknowledged: model, unanswered, zxids, zxid_last: 0, chance }
    }

    /// Writes until the connection ends.
    fn write(&mut self, port: u16, ending: &Ending) -> Result<()> {
        let Some(mut client) = unless_ended(Client::open(port, TIMEOUT_MS), ending)? else {
            return Ok(());
        };
        let mut ahead = self.acknowledged.clone();
        loop {
            while self.unanswered.len() < PIPELINE {
                let op = ahead.choose(&mut self.chance);
                // What it comes to is compared when the reply is here.
                let _ = ahead.apply(&op, None);
                op.queue(&mut client);
                self.unanswered.push_back(op);
            }
            client.flush();
            for _ in 0..PIPELINE / 2 {
                match unless_ended(client.receive(), ending)? {
                    Some(Arrival::Reply(reply)) => self.take(&reply)?,
                    None => return Ok(()),
                    Some(Arrival::End) => {
                        ensure!(ending.load(Ordering::SeqCst), "the server closed a connection");
                        return Ok(());
                    }
                }
            }
        }
    }

    /// Compares a reply with what it must be.
    fn take(&mut self, reply: &Reply) -> Result<()> {
        let op = self.unanswered.pop_front().context("a reply to no request")?;
        let Zxid(zxid) = reply.zxid;
        ensure!(self.zxid_last < zxid, "{zxid:#x} comes after {:#x}", self.zxid_last);
        self.zxid_last = zxid;
        self.zxids.push(zxid);
        let expected = self.acknowledged.apply(&op, Some(zxid));
        self.compare(&op, reply, expected).with_context(|| format!("{zxid:#x}: {op:?}"))
    }

    fn compare(
        &mut self,
        op: &Op,
        reply: &Reply,
        expected: Result<Vec<String>, (ErrorCode, usize)>,
    ) -> Result<()> {
        match (op, expected) {
            (Op::Multi(ops), expected) => {
                let refusal = multi_refusal(reply, ops.len())?;
                let expected = expected.err().map(|(code, index)| (code as i32, index));
                ensure!(refusal == expected, "{refusal:?}, expected {expected:?}");
            }
            (_, Err((code, _))) => ensure!(reply.is(code), "{}, expected {code:?}", reply.error),
            (Op::Create { .. }, Ok(paths)) => {
                let created: Create2Reply = reply.body()?;
                let path = created.path.unwrap_or_default();
                ensure!(paths == [path.as_str()], "created {path}, expected {paths:?}");
                self.acknowledged.confirm(&path, &created.stat)?;
            }
            (Op::Set { path, .. }, Ok(_)) => {
                self.acknowledged.confirm(path, &reply.body::<Stat>()?)?;
            }
            (Op::Delete { .. } | Op::Check { .. }, Ok(_)) => {
                ensure!(reply.error == 0, "refused with {}", reply.error);
            }
        }
        Ok(())
    }
}

/// Which operation of a multi was refused, and with which code.
fn multi_refusal(reply: &Reply, operations: usize) -> Result<Option<(i32, usize)>> {
    let body = &reply.body;
    ensure!(reply.error == 0, "the multi was refused with {}", reply.error);
    let malformed = |_| anyhow!("a multi's reply that cannot be read");
    let (mut rest, mut header) = MultiHeader::decode(body, body).map_err(malformed)?;
    if header.op != -1 || header.done {
        return Ok(None);
    }
    for index in 0..operations {
        let (after, code) = i32::decode(rest, body).map_err(malformed)?;
        if code != 0 {
            return Ok(Some((code, index)));
        }
        (rest, header) = MultiHeader::decode(after, body).map_err(malformed)?;
        ensure!(header.op == -1, "a result among errors");
    }
    bail!("a refused multi without the operation that was refused");
}

/// What a client asked for, and whether it was told that it was done.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Asked {
    /// It has not asked.
    No,
    /// It has asked, and does not know.
    Unanswered,
    /// It was done.
    Done,
}

/// A session and its place in the queue for the lock.
#[derive(Clone, Debug)]
pub(crate) struct Holder {
    /// The session.
    pub(crate) session: Session,
    /// Its node, once that was acknowledged.
    pub(crate) place: Option<(String, Stat)>,
    /// Whether the node was asked for.
    pub(crate) queued: Asked,
    /// Whether it was asked to end.
    pub(crate) closed: Asked,
}

/// A client that opens sessions, queues up, and closes some of them.
pub(crate) struct Visitor {
    /// Every session that it was given.
    pub(crate) holders: Vec<Holder>,
    /// Every zxid that it was told, in order.
    pub(crate) zxids: Vec<i64>,
    chance: Chance,
}

impl Visitor {
    /// A client without a session.
    pub(crate) fn new(chance: Chance) -> Visitor {
        Visitor { holders: Vec::new(), zxids: Vec::new(), chance }
    }

    /// Comes and goes until the server is gone.
    fn visit(&mut self, port: u16, ending: &Ending) -> Result<()> {
        loop {
            let opened = unless_ended(Client::open(port, TIMEOUT_MS), ending)?;
            let Some(client) = opened else { return Ok(()) };
            let session = client.session.clone();
            let (queued, closed) = (Asked::Unanswered, Asked::No);
            let mut holder = Holder { session, place: None, queued, closed };
            let visited = self.one_visit(client, &mut holder);
            self.holders.push(holder);
            if unless_ended(visited, ending)?.is_none() {
                return Ok(());
            }
        }
    }

    fn one_visit(&mut self, mut client: Client, holder: &mut Holder) -> Result<()> {
        let id = client.session.id;
        let path = format!("{LOCKS}/lock-");
        let request = create(&path, id.to_string().as_bytes(), EPHEMERAL_SEQUENTIAL);
        let reply = client.call(OpCode::Create2, &request)?;
        let created: Create2Reply = reply.body()?;
        ensure!(created.stat.ephemeral_owner == id, "{:?} is not its owner", created.stat);
        self.zxids.push(reply.zxid.0);
        holder.place = Some((created.path.unwrap_or_default(), created.stat));
        holder.queued = Asked::Done;
        if self.chance.happens(70) {
            holder.closed = Asked::Unanswered;
            let reply = client.call(OpCode::CloseSession, &Nothing)?;
            ensure!(reply.error == 0, "closing: {}", reply.error);
            self.zxids.push(reply.zxid.0);
            holder.closed = Asked::Done;
        }
        Ok(())
    }
}

/// `None` in place of a failure once the server was told to end.
fn unless_ended<T>(outcome: Result<T>, ending: &Ending) -> Result<Option<T>> {
    match outcome {
        Ok(value) => Ok(Some(value)),
        Err(_) if ending.load(Ordering::SeqCst) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Clients at work.
pub(crate) struct Load {
    ending: Ending,
    writers: Vec<JoinHandle<Result<Writer>>>,
    visitors: Vec<JoinHandle<Result<Visitor>>>,
}

impl Load {
    /// Sets the clients to work.
    pub(crate) fn start(port: u16, writers: Vec<Writer>, visitors: Vec<Visitor>) -> Load {
        let ending = Ending::default();
        let write = |mut writer: Writer| {
            let ending = Arc::clone(&ending);
            std::thread::spawn(move || writer.write(port, &ending).map(|()| writer))
        };
        let writers = writers.into_iter().map(write).collect();
        let visit = |mut visitor: Visitor| {
            let ending = Arc::clone(&ending);
            std::thread::spawn(move || visitor.visit(port, &ending).map(|()| visitor))
        };
        let visitors = visitors.into_iter().map(visit).collect();
        Load { ending, writers, visitors }
    }

    /// Tells the clients that they are about to lose the server.
    pub(crate) fn expect_end(&self) {
        self.ending.store(true, Ordering::SeqCst);
    }

    /// What the clients remember.
    ///
    /// # Errors
    ///
    /// What one of them was told is wrong.
    pub(crate) fn finish(self) -> Result<(Vec<Writer>, Vec<Visitor>)> {
        let panicked = |_| anyhow!("a client panicked");
        let mut writers = Vec::new();
        for writer in self.writers {
            writers.push(writer.join().map_err(panicked)??);
        }
        let mut visitors = Vec::new();
        for visitor in self.visitors {
            visitors.push(visitor.join().map_err(panicked)??);
        }
        Ok((writers, visitors))
    }
}

/// The number at the end of a sequential node's name.
///
/// # Errors
///
/// There is none.
pub(crate) fn number_of(path: &str) -> Result<i64> {
    let digits = path.rsplit_once('-').map(|(_, digits)| digits);
    digits.and_then(|digits| digits.parse().ok()).with_context(|| format!("no number in {path}"))
}

/// Whether a node is that of the session.
pub(crate) fn is_of(stat: &Stat, session: SessionId) -> bool {
    stat.ephemeral_owner == session
}
