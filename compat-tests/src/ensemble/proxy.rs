//! A proxy in front of a server that breaks a promise now and then: whatever it does, a check must see.
//!
//! It understands just enough of the protocol to tell requests, replies and notifications apart.

use std::collections::{BTreeMap, VecDeque};
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Result;
use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use jute::reply::{ConnectResponse, GetChildren2Reply, ReplyHeader, put_connect_response};
use jute::request::{ConnectRequest, Create, PathWatch, RequestHeader, SetData};
use jute::{
    Decode, Encode, ErrorCode, OpCode, SessionId, Stat, Version, Xid, begin_frame, decode_all,
    end_frame, split_frame,
};

use super::workload::Workload;
use crate::control::FRAME_BYTES_MAX;

/// Every how many occasions it acts.
const EVERY: usize = 25;
/// What is added to the number of a request that the client did not send.
const REPLAYED: i32 = 1_000_000_000;
/// How long to sleep between two looks for connections.
const PAUSE: Duration = Duration::from_millis(5);
/// Bytes read at once.
const READ_BYTES: usize = 16 * 1024;

/// What goes wrong.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Mutant {
    /// A write is answered and not carried out.
    LoseWrite,
    /// A write is carried out twice.
    ReplayWrite,
    /// A read shows what was long ago.
    StaleRead,
    /// A reply's zxid is lower than before.
    GoBack,
    /// Two replies change places.
    SwapReplies,
    /// A notification does not come.
    DropEvent,
    /// It comes twice.
    RepeatEvent,
    /// It comes after the reply that shows its effect.
    DelayEvent,
    /// A session is called gone that is there.
    DenySession,
    /// The list of those who want the lock is not whole.
    HideQueue,
    /// An ephemeral node is called gone that is there.
    HideEphemeral,
}

impl Mutant {
    /// Every mutant.
    pub const ALL: &'static [Mutant] = &[
        Mutant::LoseWrite,
        Mutant::ReplayWrite,
        Mutant::StaleRead,
        Mutant::GoBack,
        Mutant::SwapReplies,
        Mutant::DropEvent,
        Mutant::RepeatEvent,
        Mutant::DelayEvent,
        Mutant::DenySession,
        Mutant::HideQueue,
        Mutant::HideEphemeral,
    ];

    /// Its name, the work it spoils, and what is found broken, one of these at least.
    pub fn card(self) -> (&'static str, Workload, &'static [&'static str]) {
        match self {
            Mutant::LoseWrite => (
                "lose-write",
                Workload::Registers,
                &["an answered write lasts", "a version has one value and one zxid"],
            ),
            Mutant::ReplayWrite => ("replay-write", Workload::Sequences, &["a write happens once"]),
            Mutant::StaleRead => (
                "stale-read",
                Workload::Registers,
                &[super::check::registers::READS, "a session sees what it has seen"],
            ),
            Mutant::GoBack => {
                ("go-back", Workload::Registers, &["a session never goes back in time"])
            }
            Mutant::SwapReplies => ("swap-replies", Workload::Registers, &["out of order"]),
            Mutant::DropEvent => (
                "drop-event",
                Workload::Watches,
                &["a watch hears of the next change", "a recursive watch hears of every change"],
            ),
            Mutant::RepeatEvent => ("repeat-event", Workload::Watches, &["an event comes once"]),
            Mutant::DelayEvent => {
                ("delay-event", Workload::Watches, &["an event comes before its effect"])
            }
            Mutant::DenySession => {
                ("deny-session", Workload::Moves, &["a session lives for its timeout"])
            }
            Mutant::HideQueue => {
                ("hide-queue", Workload::Locks, &["a lock has one holder", "fencing tokens rise"])
            }
            Mutant::HideEphemeral => (
                "hide-ephemeral",
                Workload::Ephemerals,
                &["ephemeral nodes live as long as their sessions"],
            ),
        }
    }
}

/// What all connections share.
struct Plot {
    mutant: Mutant,
    occasions: AtomicUsize,
    /// How often it acted.
    acts: AtomicUsize,
    stop: AtomicBool,
    /// What reads showed long ago.
    shown: Mutex<BTreeMap<String, Bytes>>,
}

impl Plot {
    /// Whether to act on this occasion.
    fn acts(&self) -> bool {
        let acts = self.occasions.fetch_add(1, Ordering::SeqCst) % EVERY == EVERY - 1;
        if acts {
            self.acts.fetch_add(1, Ordering::SeqCst);
        }
        acts
    }
}

/// Proxies in front of all servers.
pub struct Proxies {
    /// Where they listen.
    pub addresses: Vec<SocketAddr>,
    plot: Arc<Plot>,
}

impl Proxies {
    /// Starts them.
    ///
    /// # Errors
    ///
    /// There are no ports.
    pub fn start(servers: &[SocketAddr], mutant: Mutant) -> Result<Proxies> {
        let plot = Arc::new(Plot {
            mutant,
            occasions: AtomicUsize::new(0),
            acts: AtomicUsize::new(0),
            stop: AtomicBool::new(false),
            shown: Mutex::default(),
        });
        let mut addresses = Vec::new();
        for &server in servers {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
            listener.set_nonblocking(true)?;
            addresses.push(listener.local_addr()?);
            let plot = Arc::clone(&plot);
            std::thread::spawn(move || accept(&listener, server, &plot));
        }
        Ok(Proxies { addresses, plot })
    }

    /// How often they acted.
    pub fn acts(&self) -> usize {
        self.plot.acts.load(Ordering::SeqCst)
    }
}

impl Drop for Proxies {
    fn drop(&mut self) {
        self.plot.stop.store(true, Ordering::SeqCst);
    }
}

fn accept(listener: &TcpListener, server: SocketAddr, plot: &Arc<Plot>) {
    while !plot.stop.load(Ordering::SeqCst) {
        match listener.accept() {
            Ok((client, _)) => {
                let plot = Arc::clone(plot);
                std::thread::spawn(move || {
                    // A connection that fails is closed, which the client sees.
                    let _ = serve(&client, server, &plot);
                });
            }
            Err(_) => std::thread::sleep(PAUSE),
        }
    }
}

/// A request under way.
struct Pending {
    op: Option<OpCode>,
    path: String,
}

/// One connection.
#[derive(Default)]
struct Lane {
    is_open: bool,
    pending: VecDeque<(Xid, Pending)>,
    held: Option<Bytes>,
    /// What the last answered write told, by path.
    written: BTreeMap<String, Stat>,
    /// Name of the client's node in the queue for the lock.
    mark: String,
    zxid: i64,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn serve(client: &TcpStream, server: SocketAddr, plot: &Arc<Plot>) -> Result<()> {
    client.set_nonblocking(false)?;
    client.set_nodelay(true)?;
    let upstream = TcpStream::connect(server)?;
    upstream.set_nodelay(true)?;
    let lane = Arc::new(Mutex::new(Lane::default()));
    let to_client = Arc::new(Mutex::new(client.try_clone()?));
    let back = {
        let (plot, lane, to_client) = (Arc::clone(plot), Arc::clone(&lane), Arc::clone(&to_client));
        let from_server = upstream.try_clone()?;
        std::thread::spawn(move || {
            let _ = each_frame(&from_server, |frame| {
                let frames = lock(&lane).reply(&plot, frame);
                send(&to_client, &frames)
            });
            let _ = lock(&to_client).shutdown(std::net::Shutdown::Both);
        })
    };
    let to_server = Arc::new(Mutex::new(upstream.try_clone()?));
    let done = each_frame(client, |frame| {
        let (forward, answers) = lock(&lane).request(plot, frame);
        send(&to_server, &forward)?;
        send(&to_client, &answers)
    });
    let _ = upstream.shutdown(std::net::Shutdown::Both);
    let _ = client.shutdown(std::net::Shutdown::Both);
    let _ = back.join();
    done
}

/// Does something with each frame until the end.
fn each_frame(mut stream: &TcpStream, mut act: impl FnMut(Bytes) -> Result<()>) -> Result<()> {
    let mut input = BytesMut::new();
    let mut bytes = [0; READ_BYTES];
    loop {
        while let Some(frame) = split_frame(&mut input, FRAME_BYTES_MAX)? {
            act(frame)?;
        }
        let length = stream.read(&mut bytes)?;
        if length == 0 {
            return Ok(());
        }
        input.extend_from_slice(bytes.get(..length).unwrap_or_default());
    }
}

fn send(stream: &Mutex<TcpStream>, frames: &[Bytes]) -> Result<()> {
    let mut out = BytesMut::new();
    for frame in frames {
        let start = begin_frame(&mut out);
        out.extend_from_slice(frame);
        end_frame(&mut out, start);
    }
    Ok(lock(stream).write_all(&out)?)
}

/// A header and what follows it.
fn payload(header: &impl Encode, body: &[u8]) -> Bytes {
    let mut out = BytesMut::new();
    header.encode(&mut out);
    out.put_slice(body);
    out.freeze()
}

impl Lane {
    /// What to send to the server and what to the client.
    fn request(&mut self, plot: &Plot, frame: Bytes) -> (Vec<Bytes>, Vec<Bytes>) {
        if !self.is_open {
            self.is_open = true;
            return Lane::handshake(plot, frame);
        }
        let Ok((body, header)) = RequestHeader::decode(&frame, &frame) else {
            return (vec![frame], Vec::new());
        };
        let body = frame.slice_ref(body);
        let op = OpCode::from_number(header.op);
        let text = |path: Option<String>| path.unwrap_or_default();
        let path = match op {
            Some(OpCode::GetData | OpCode::Exists | OpCode::GetChildren2) => {
                decode_all::<PathWatch>(&body).map(|one| text(one.path))
            }
            Some(OpCode::Create2) => decode_all::<Create>(&body).map(|one| text(one.path)),
            Some(OpCode::SetData) => decode_all::<SetData>(&body).map(|one| text(one.path)),
            _ => Ok(String::new()),
        };
        let path = path.unwrap_or_default();
        if op == Some(OpCode::Create2)
            && let Some(mark) = path.strip_prefix("/lock/")
        {
            mark.clone_into(&mut self.mark);
        }
        if plot.mutant == Mutant::LoseWrite
            && op == Some(OpCode::SetData)
            && self.pending.is_empty()
            && self.written.contains_key(&path)
            && plot.acts()
        {
            return (Vec::new(), vec![self.invent(header.xid, &path)]);
        }
        self.pending.push_back((header.xid, Pending { op, path }));
        let mut forward = vec![frame];
        if plot.mutant == Mutant::ReplayWrite && op == Some(OpCode::Create2) && plot.acts() {
            let xid = Xid(header.xid.0 + REPLAYED);
            forward.push(payload(&RequestHeader { xid, op: header.op }, &body));
        }
        (forward, Vec::new())
    }

    fn handshake(plot: &Plot, frame: Bytes) -> (Vec<Bytes>, Vec<Bytes>) {
        let request = decode_all::<ConnectRequest>(&frame).unwrap_or_default();
        let is_resumed = request.session_id != SessionId::NONE;
        if plot.mutant == Mutant::DenySession && is_resumed && plot.acts() {
            let gone = ConnectResponse { read_only: Some(false), ..ConnectResponse::default() };
            let mut out = BytesMut::new();
            put_connect_response(&mut out, &gone);
            out.advance(4); // The length comes again when it is sent.
            return (Vec::new(), vec![out.freeze()]);
        }
        (vec![frame], Vec::new())
    }

    /// An answer to a write that nobody carries out.
    fn invent(&mut self, xid: Xid, path: &str) -> Bytes {
        let mut stat = self.written.get(path).cloned().unwrap_or_default();
        self.zxid += 1;
        stat.version = Version(stat.version.0 + 1);
        stat.mzxid = jute::Zxid(self.zxid);
        let mut body = BytesMut::new();
        stat.encode(&mut body);
        payload(&ReplyHeader { xid, zxid: stat.mzxid, error: 0 }, &body)
    }

    /// What to send to the client.
    fn reply(&mut self, plot: &Plot, frame: Bytes) -> Vec<Bytes> {
        let Ok((body, header)) = ReplyHeader::decode(&frame, &frame) else { return vec![frame] };
        let body = frame.slice_ref(body);
        if header.xid == Xid::NOTIFICATION {
            return self.notification(plot, frame);
        }
        if header.xid.0 >= REPLAYED {
            return Vec::new();
        }
        let is_next = self.pending.front().is_some_and(|(xid, _)| *xid == header.xid);
        if !is_next {
            return vec![frame]; // The answer to the handshake.
        }
        let Some((_, pending)) = self.pending.pop_front() else { return vec![frame] };
        self.zxid = self.zxid.max(header.zxid.0);
        if pending.op == Some(OpCode::SetData)
            && header.error == 0
            && let Ok(stat) = decode_all::<Stat>(&body)
        {
            self.written.insert(pending.path.clone(), stat);
        }
        let changed = Lane::change(plot, &self.mark, &pending, &header, &body).unwrap_or(frame);
        if plot.mutant == Mutant::SwapReplies
            && self.held.is_none()
            && !self.pending.is_empty()
            && plot.acts()
        {
            self.held = Some(changed);
            return Vec::new();
        }
        [changed].into_iter().chain(self.held.take()).collect()
    }

    fn notification(&mut self, plot: &Plot, frame: Bytes) -> Vec<Bytes> {
        if plot.mutant == Mutant::DropEvent && plot.acts() {
            return Vec::new();
        }
        if plot.mutant == Mutant::RepeatEvent && plot.acts() {
            return vec![frame.clone(), frame];
        }
        if plot.mutant == Mutant::DelayEvent && self.held.is_none() && plot.acts() {
            self.held = Some(frame);
            return Vec::new();
        }
        vec![frame]
    }

    /// Another reply in place of the right one.
    fn change(
        plot: &Plot,
        mark: &str,
        pending: &Pending,
        header: &ReplyHeader,
        body: &Bytes,
    ) -> Option<Bytes> {
        let is = |op: OpCode| pending.op == Some(op) && header.error == 0;
        let is_mutant = |mutant: Mutant| plot.mutant == mutant;
        if is_mutant(Mutant::StaleRead) && is(OpCode::GetData) {
            let mut shown = lock(&plot.shown);
            let old = shown.entry(pending.path.clone()).or_insert_with(|| body.clone());
            return (old != body && plot.acts()).then(|| payload(header, old));
        }
        if is_mutant(Mutant::GoBack) && is(OpCode::GetData) && header.zxid.counter() > 50 {
            let zxid = jute::Zxid(header.zxid.0 - 40);
            return plot.acts().then(|| payload(&ReplyHeader { zxid, ..header.clone() }, body));
        }
        if is_mutant(Mutant::HideQueue) && is(OpCode::GetChildren2) && pending.path == "/lock" {
            let mut list: GetChildren2Reply = decode_all(body).ok()?;
            let names = list.children.as_mut()?;
            let is_own =
                |name: &Option<String>| name.as_ref().is_some_and(|name| name.starts_with(mark));
            if names.len() < 2 || !names.iter().any(is_own) || !plot.acts() {
                return None;
            }
            names.retain(is_own);
            let mut out = BytesMut::new();
            list.encode(&mut out);
            return Some(payload(header, &out));
        }
        let is_ephemeral = pending.path.starts_with("/ephemerals/");
        if is_mutant(Mutant::HideEphemeral) && is(OpCode::Exists) && is_ephemeral {
            let error = ErrorCode::NoNode as i32;
            return plot.acts().then(|| payload(&ReplyHeader { error, ..header.clone() }, &[]));
        }
        None
    }
}
