//! What a connection is still to be sent, and what it still waits for.
//!
//! Everybody who owes a client something pushes it here, never to the socket; the connection's task
//! takes what has gathered once all that it took before is written. Pushing never blocks: an outbox
//! whose notifications would grow over its limit is closed instead, and a connection that does not
//! get its replies rid asks for no more of them.
//!
//! Invariant: replies stand in the order of their requests, and a notification stands before any
//! reply that could show its effect, because both are pushed while the tree is locked.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::{BufMut, BytesMut};
use jute::reply::{Body, put_reply};
use jute::{Acl, ErrorCode, Id, OpCode, Perms, SessionId, Xid, Zxid};
use tokio::sync::Notify;

use super::locks::Mutex;
use crate::tree::{Refusal, permits};
use crate::watch::ConnectionId;

/// How a connection is to end.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Closing {
    /// After everything pushed so far was written.
    AfterFlush,
    /// At once, without another byte.
    AtOnce,
}

/// What came of what a connection waits for before it is answered.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Arrival {
    /// It is here.
    Here,
    /// It is refused.
    Refused(ErrorCode),
    /// It will not come, or it is not known whether it has.
    Lost,
}

/// What became of a notification.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Notified {
    /// The client will read it.
    Pushed,
    /// The client does not get it: it may not, or it is being closed already.
    Hidden,
    /// The client left too many unread, and is closed for it.
    Overflowed,
}

/// A write that was submitted and not yet answered.
#[derive(Clone, Copy, Debug)]
pub struct Pending {
    /// The request's number.
    pub xid: Xid,
    /// What it asks for.
    pub op: OpCode,
    /// When it arrived, on the server's monotonic clock in microseconds.
    pub since_us: i64,
}

/// What has gone over a connection, as the four-letter words show it.
#[derive(Clone, Debug)]
pub struct Traffic {
    /// Requests received.
    pub received: u64,
    /// Replies and notifications sent.
    pub sent: u64,
    /// The last operation answered.
    pub last_op: Option<OpCode>,
    /// Its number.
    pub last_xid: Xid,
    /// The zxid of its reply.
    pub last_zxid: Zxid,
    /// When it was answered, monotonic milliseconds.
    pub last_response_ms: i64,
    /// How long it took, in milliseconds.
    pub last_latency_ms: i64,
    /// The shortest answer, in milliseconds.
    pub min_latency_ms: i64,
    /// The longest answer, in milliseconds.
    pub max_latency_ms: i64,
    /// All answers together, in milliseconds.
    pub total_latency_ms: i64,
    /// How many answers.
    pub answered: u64,
}

impl Default for Traffic {
    fn default() -> Traffic {
        Traffic {
            received: 0,
            sent: 0,
            last_op: None,
            last_xid: Xid(-1),
            last_zxid: Zxid::NONE,
            last_response_ms: 0,
            last_latency_ms: 0,
            min_latency_ms: i64::MAX,
            max_latency_ms: 0,
            total_latency_ms: 0,
            answered: 0,
        }
    }
}

/// The session of a connection, once its handshake is done.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Seat {
    /// The session.
    pub session: SessionId,
    /// Its negotiated timeout, in milliseconds.
    pub timeout_ms: i32,
    /// Whether it is a session of this server alone, which only reads.
    pub is_read_only: bool,
    /// When the connection was made, milliseconds since 1970.
    pub established_ms: i64,
}

struct State {
    buffer: BytesMut,
    /// How many bytes of the buffer are notifications.
    notification_bytes: usize,
    identities: Arc<[Id]>,
    pending: VecDeque<Pending>,
    handshake: Option<Result<(), Refusal>>,
    arrival: Option<Arrival>,
    closing: Option<Closing>,
    accepted_ms: i64,
    seat: Option<Seat>,
    traffic: Traffic,
}

/// The outbox of one connection.
pub struct Outbox {
    id: ConnectionId,
    peer: SocketAddr,
    bytes_max: usize,
    state: Mutex<State>,
    wake: Notify,
}

impl Outbox {
    /// An empty outbox that closes itself beyond `bytes_max` of unsent notifications.
    pub fn new(
        id: ConnectionId,
        identities: Arc<[Id]>,
        peer: SocketAddr,
        bytes_max: usize,
    ) -> Outbox {
        let state = State {
            buffer: BytesMut::new(),
            notification_bytes: 0,
            identities,
            pending: VecDeque::new(),
            handshake: None,
            arrival: None,
            closing: None,
            accepted_ms: 0,
            seat: None,
            traffic: Traffic::default(),
        };
        Outbox { id, peer, bytes_max, state: Mutex::new(state), wake: Notify::new() }
    }

    /// The connection.
    pub fn id(&self) -> ConnectionId {
        self.id
    }

    /// Where the connection comes from.
    pub fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// Notes when the connection was accepted, on the server's monotonic clock.
    pub(super) fn note_accepted(&self, now_ms: i64) {
        self.state.lock().accepted_ms = now_ms;
    }

    /// When the connection was accepted, on the server's monotonic clock.
    pub fn accepted_ms(&self) -> i64 {
        self.state.lock().accepted_ms
    }

    /// Waits until something was pushed. May return without reason; never misses one.
    pub async fn pushed(&self) {
        self.wake.notified().await;
    }

    /// Moves all that has gathered to `out` if that is empty, and tells whether the connection is to
    /// end. While a client does not take what `out` holds, the rest gathers here, where it is
    /// bounded.
    pub fn take(&self, out: &mut BytesMut) -> Option<Closing> {
        let mut state = self.state.lock();
        if out.is_empty() {
            std::mem::swap(out, &mut state.buffer);
            state.notification_bytes = 0;
        }
        state.closing
    }

    /// Bytes that wait to be sent.
    pub fn waiting_bytes(&self) -> usize {
        self.state.lock().buffer.len()
    }

    /// Who the client has proved to be.
    pub fn identities(&self) -> Arc<[Id]> {
        Arc::clone(&self.state.lock().identities)
    }

    /// Adds identities that the client has proved; each is kept once. Refuses those that would make
    /// more than `identities_max`.
    pub fn add_identities(&self, more: Vec<Id>, identities_max: usize) -> bool {
        let mut state = self.state.lock();
        let mut all = state.identities.to_vec();
        for identity in more {
            if !all.contains(&identity) {
                all.push(identity);
            }
        }
        let is_within = all.len() <= identities_max;
        if is_within {
            state.identities = all.into();
        }
        is_within
    }

    /// Counts a request that came in.
    pub fn count_received(&self) {
        self.state.lock().traffic.received += 1;
    }

    /// Notes that a write was handed in; its reply comes with [`Outbox::answer`].
    pub fn await_reply(&self, pending: Pending) {
        self.state.lock().pending.push_back(pending);
    }

    /// How many writes are handed in and not answered.
    pub fn pending(&self) -> usize {
        self.state.lock().pending.len()
    }

    /// Takes back the latest [`Outbox::await_reply`], when the write could not be handed in.
    pub fn forget_latest(&self) {
        self.state.lock().pending.pop_back();
    }

    /// Pushes the reply to the oldest write handed in, and returns what that was with the bytes of
    /// the reply's frame.
    pub(super) fn answer(
        &self,
        xid: Xid,
        zxid: Zxid,
        outcome: &Result<Body, ErrorCode>,
        now_us: i64,
    ) -> Option<(Pending, usize)> {
        let mut state = self.state.lock();
        let pending = state.pending.pop_front();
        debug_assert!(
            pending.is_none_or(|pending| pending.xid == xid),
            "writes are answered in order"
        );
        let start = state.buffer.len();
        put_reply(&mut state.buffer, xid, zxid, outcome);
        let bytes = state.buffer.len() - start;
        if let Some(pending) = pending {
            state.traffic.count(pending, zxid, now_us);
            if outcome.is_err() {
                // Upstream shows no operation for a write that was refused.
                state.traffic.last_op = None;
            }
        }
        drop(state);
        self.wake.notify_one();
        pending.map(|pending| (pending, bytes))
    }

    /// Pushes what `put` writes: one reply to a request that was just read. Returns its bytes.
    pub(super) fn reply(
        &self,
        pending: Pending,
        zxid: Zxid,
        now_us: i64,
        put: impl FnOnce(&mut BytesMut),
    ) -> usize {
        let mut state = self.state.lock();
        let start = state.buffer.len();
        put(&mut state.buffer);
        state.traffic.count(pending, zxid, now_us);
        state.buffer.len() - start
    }

    /// Pushes a reply that belongs to no state of the tree.
    pub fn push(&self, xid: Xid, zxid: Zxid, outcome: &Result<Body, ErrorCode>) {
        let mut state = self.state.lock();
        put_reply(&mut state.buffer, xid, zxid, outcome);
        state.traffic.sent += 1;
    }

    /// Pushes bytes that are no counted reply: the handshake's answer.
    pub fn push_raw(&self, put: impl FnOnce(&mut BytesMut)) {
        put(&mut self.state.lock().buffer);
        self.wake.notify_one();
    }

    /// Pushes a notification, unless the client may not read the node or has too many to read.
    pub(super) fn notify(&self, frame: &[u8], acl: &[Acl], skip_acl: bool) -> Notified {
        let mut state = self.state.lock();
        if !skip_acl && !permits(acl, Perms::READ, &state.identities) {
            return Notified::Hidden;
        }
        let is_over = state.notification_bytes + frame.len() > self.bytes_max;
        let notified = match (is_over, state.closing) {
            (false, _) => Notified::Pushed,
            (true, Some(Closing::AtOnce)) => Notified::Hidden,
            (true, _) => Notified::Overflowed,
        };
        if is_over {
            // It would miss this notification, so it must come again and ask what changed.
            state.closing = Some(Closing::AtOnce);
        } else {
            state.buffer.put_slice(frame);
            state.notification_bytes += frame.len();
            state.traffic.sent += 1;
        }
        drop(state);
        self.wake.notify_one();
        notified
    }

    /// Tells the connection how its session's opening or attaching came out.
    pub(super) fn finish_handshake(&self, outcome: Result<(), Refusal>) {
        self.state.lock().handshake = Some(outcome);
        self.wake.notify_one();
    }

    /// How the opening or attaching came out, once it has.
    pub fn take_handshake(&self) -> Option<Result<(), Refusal>> {
        self.state.lock().handshake.take()
    }

    /// Tells the connection that everything is here that it waits for, or that it will not be.
    pub fn note_arrival(&self, arrival: Arrival) {
        self.state.lock().arrival = Some(arrival);
        self.wake.notify_one();
    }

    /// Whether everything is here that the connection waits for, once that is known.
    pub fn take_arrival(&self) -> Option<Arrival> {
        self.state.lock().arrival.take()
    }

    /// Notes that the connection's session was opened: its first operation.
    pub(super) fn note_opening(&self, zxid: Zxid, now_us: i64) {
        let mut state = self.state.lock();
        state.traffic.last_op = Some(OpCode::CreateSession);
        state.traffic.last_xid = Xid(0);
        state.traffic.last_zxid = zxid;
        state.traffic.last_response_ms = now_us / 1_000;
    }

    /// Notes the session that the connection now holds, of which its client is about to be told.
    pub fn take_seat(&self, seat: Seat) {
        let mut state = self.state.lock();
        state.seat = Some(seat);
        state.traffic.sent += 1;
    }

    /// The session that the connection holds.
    pub fn seat(&self) -> Option<Seat> {
        self.state.lock().seat
    }

    /// Ends the connection; the more abrupt of two wishes counts.
    pub fn close(&self, closing: Closing) {
        let mut state = self.state.lock();
        state.closing = state.closing.max(Some(closing));
        drop(state);
        self.wake.notify_one();
    }

    /// Whether the connection is to end.
    pub fn is_closing(&self) -> bool {
        self.state.lock().closing.is_some()
    }

    /// What has gone over the connection.
    pub fn traffic(&self) -> Traffic {
        self.state.lock().traffic.clone()
    }

    /// Forgets what has gone over the connection (`crst`).
    pub fn reset_traffic(&self) {
        self.state.lock().traffic = Traffic::default();
    }
}

impl Traffic {
    fn count(&mut self, answered: Pending, zxid: Zxid, now_us: i64) {
        let latency_ms = (now_us - answered.since_us) / 1_000;
        self.sent += 1;
        self.answered += 1;
        self.last_op = Some(answered.op);
        if 0 <= answered.xid.0 {
            // Special numbers, such as a ping's, do not hide the last real one.
            self.last_xid = answered.xid;
        }
        self.last_zxid = zxid;
        self.last_response_ms = now_us / 1_000;
        self.last_latency_ms = latency_ms;
        self.min_latency_ms = self.min_latency_ms.min(latency_ms);
        self.max_latency_ms = self.max_latency_ms.max(latency_ms);
        self.total_latency_ms += latency_ms;
    }
}
