//! How much the clients together may ask of the server at once.
//!
//! Each limit is one of ZooKeeper's, found a place in our pipeline. A request comes from the socket
//! into its connection's input and waits there until it is *taken up*: a read is then answered, once
//! the connection's earlier writes are; a write is handed in, and is *unanswered* until it was
//! applied.
//!
//! - `globalOutstandingLimit`: while more requests are unanswered, a connection that has one of them
//!   takes up no further one; each may always have one. This cannot deadlock: who waits has a write
//!   handed in, whose answer depends on no connection, and that answer is what wakes it.
//! - `request_throttle_max_requests`: a *gate*. A request needs a permit to be taken up, which a
//!   write keeps until it is answered; permits are given in the order in which they were asked for.
//!   This cannot deadlock either: permits are held for unanswered writes alone. A read that waits for
//!   writes of its own connection holds none, and handshakes, which have a throttle of their own, need
//!   none.
//! - `request_throttle_stall_time`: how often a request at the gate is looked at for being stale.
//!   Waiting for a permit needs no such looks, as it does upstream.
//! - `throttled_op_wait_time`: a request that waited longer in its connection's input, from the read
//!   that brought its last byte until it was taken up, is answered `ThrottledOp` in its turn. Here
//!   the input is where requests gather when there are too many, at the gate and behind the limit
//!   above; upstream it is the throttler's queue. Time after a write was handed in does not count,
//!   there as here.
//! - `request_throttle_drop_stale`: the gate drops a stale request, and its connection with it. A
//!   connection that was lost is stale together with all it sent.
//! - `largeRequestMaxBytes`: large requests share it from their arrival until they are answered.
//! - `connection_throttle_tokens`: see [`bucket`].
//!
//! What is off, and that is all but the first by default, costs a comparison each.
//!
//! Source: ZooKeeper, `ZooKeeperServer.shouldThrottle`, `RequestThrottler`, `Request.isStale`,
//! `ZooKeeperServer.checkRequestSize*`, `BlueThrottle`.

mod bucket;

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

use bytes::Bytes;
use jute::{OpCode, SessionId};
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::config::{Config, LargeRequests, RequestThrottle};
use bucket::Bucket;

/// Where the operation's number stands in a request's frame.
const OP_AT: std::ops::Range<usize> = 4..8;

/// The limits, and what all connections together have taken of them.
pub struct Throttles {
    unanswered_max: usize,
    unanswered: AtomicUsize,
    requests: RequestThrottle,
    gate: Option<Arc<Semaphore>>,
    large: LargeRequests,
    large_bytes: AtomicU64,
    handshakes: Option<Mutex<Bucket>>,
}

impl Throttles {
    /// The limits of the configuration, with nothing taken.
    pub fn new(config: &Config, now_ms: i64) -> Throttles {
        let requests = config.request_throttle.clone();
        let permits = requests.max_requests as usize;
        let handshakes = &config.connection_throttle;
        Throttles {
            unanswered_max: config.global_outstanding_limit,
            unanswered: AtomicUsize::new(0),
            gate: (0 < permits).then(|| Arc::new(Semaphore::new(permits))),
            requests,
            large: config.large_requests.clone(),
            large_bytes: AtomicU64::new(0),
            handshakes: (0 < handshakes.tokens)
                .then(|| Mutex::new(Bucket::new(handshakes.clone(), now_ms))),
        }
    }

    /// Whether a handshake goes on, for a new session or for the one it names, and how probable it
    /// is that the next is dropped at random; `None` while handshakes are not throttled.
    ///
    /// # Errors
    ///
    /// The system gives no random numbers.
    pub(super) fn handshake(
        &self,
        session: SessionId,
        now_ms: i64,
    ) -> Result<Option<(bool, f64)>, getrandom::Error> {
        let Some(bucket) = &self.handshakes else { return Ok(None) };
        let mut bucket = bucket.lock();
        let lot = if bucket.draws_lots() { lot()? } else { 0.0 };
        let weight = bucket.weight(session);
        let goes_on = bucket.admit(weight, now_ms, lot);
        Ok(Some((goes_on, bucket.drop_probability())))
    }

    /// Whether a frame of so many bytes is large.
    fn is_large(&self, frame_bytes: usize) -> bool {
        self.large.threshold_bytes.is_some_and(|threshold| (threshold as usize) < frame_bytes)
    }

    /// Whether it depends on when a request arrived what becomes of it.
    fn counts_time(&self) -> bool {
        0 < self.requests.throttled_op_wait_time_ms
            || self.gate.is_some() && self.requests.stale_latency_check
    }
}

/// A number drawn evenly from 0 to 1, without 1.
fn lot() -> Result<f64, getrandom::Error> {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes)?;
    // As many bits as fit a double exactly.
    Ok((u64::from_ne_bytes(bytes) >> 11) as f64 / (1_u64 << 53) as f64)
}

/// A large request is over the budget.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct OverBudget;

/// What a request at the gate is told.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Gate {
    /// It is taken up.
    Open {
        /// It waited so long that it is only answered.
        is_late: bool,
        /// It is stale, and handled all the same.
        is_stale: bool,
    },
    /// It waits for a permit.
    Shut {
        /// It has just begun to.
        is_new: bool,
    },
    /// It is stale: it is dropped, and its connection with it.
    Stale,
}

/// What a request at the gate is judged by.
#[derive(Clone, Copy, Debug)]
pub(super) struct Visit {
    /// The server's monotonic clock.
    pub(super) now_ms: i64,
    /// The session's.
    pub(super) timeout_ms: i32,
    /// The client has ended the connection.
    pub(super) is_lost: bool,
}

/// A request that was received and not taken up.
#[derive(Clone, Debug)]
pub(super) struct Waiting {
    /// Its frame.
    pub(super) frame: Bytes,
    arrived_ms: i64,
}

impl Waiting {
    fn op(&self) -> Option<OpCode> {
        let number = self.frame.get(OP_AT).and_then(<[u8]>::first_chunk)?;
        OpCode::from_number(i32::from_be_bytes(*number))
    }
}

/// A permit on its way.
type Turn = Pin<Box<dyn Future<Output = Option<OwnedSemaphorePermit>> + Send>>;

/// What one connection has taken of the limits; given back when it is answered or dropped.
pub(super) struct Share {
    throttles: Arc<Throttles>,
    /// Writes and handshakes handed in so far.
    handed_in: u64,
    /// How many of them are counted as unanswered.
    unanswered: usize,
    permits: usize,
    turn: Option<Turn>,
    /// One of the permits is for the request at the gate.
    has_turn: bool,
    /// Bytes of the large request that is received and neither answered nor handed in.
    large_bytes: u64,
    /// Bytes of large requests handed in, each with how many had been handed in then.
    large_handed_in: VecDeque<(u64, u64)>,
    arrivals: Arrivals,
}

impl Share {
    /// Nothing yet.
    pub(super) fn new(throttles: Arc<Throttles>) -> Share {
        let arrivals = Arrivals { counts: throttles.counts_time(), ..Arrivals::default() };
        Share {
            throttles,
            handed_in: 0,
            unanswered: 0,
            permits: 0,
            turn: None,
            has_turn: false,
            large_bytes: 0,
            large_handed_in: VecDeque::new(),
            arrivals,
        }
    }

    /// Notes that bytes were read.
    pub(super) fn note_read(&mut self, bytes: usize, now_ms: impl FnOnce() -> i64) {
        if self.arrivals.counts {
            self.arrivals.note_read(bytes, now_ms());
        }
    }

    /// Notes that a frame was split off, which took so many bytes from the input.
    pub(super) fn note_frame(&mut self, frame: Bytes, taken_bytes: usize) -> Waiting {
        Waiting { frame, arrived_ms: self.arrivals.note_taken(taken_bytes) }
    }

    /// Checks whether the frame at the front of the input may be received, as soon as its length is
    /// there. Nothing is taken of the budget yet, for a length alone costs its sender nothing.
    pub(super) fn check_size(&self, input: &[u8]) -> Result<(), OverBudget> {
        if self.throttles.large.threshold_bytes.is_none() {
            return Ok(());
        }
        let Some(length) = input.first_chunk() else { return Ok(()) };
        let frame_bytes = u32::from_be_bytes(*length) as usize;
        let all_bytes = self.throttles.large_bytes.load(Relaxed) + frame_bytes as u64;
        let is_over = u64::from(self.throttles.large.bytes_max) < all_bytes;
        if self.throttles.is_large(frame_bytes) && is_over { Err(OverBudget) } else { Ok(()) }
    }

    /// Takes of the budget what a request needs that was received.
    pub(super) fn take_budget(&mut self, request: &Waiting) -> Result<(), OverBudget> {
        let frame_bytes = request.frame.len();
        if !self.throttles.is_large(frame_bytes) || is_immediate(request.op()) {
            return Ok(());
        }
        let bytes = frame_bytes as u64;
        let all_bytes = self.throttles.large_bytes.fetch_add(bytes, Relaxed) + bytes;
        if u64::from(self.throttles.large.bytes_max) < all_bytes {
            self.throttles.large_bytes.fetch_sub(bytes, Relaxed);
            return Err(OverBudget);
        }
        self.large_bytes = bytes;
        Ok(())
    }

    /// Whether another request may be taken up at all: the connection has none unanswered, or all
    /// connections together do not have too many.
    pub(super) fn may_have_more(&self) -> bool {
        self.unanswered == 0
            || self.throttles.unanswered.load(Relaxed) <= self.throttles.unanswered_max
    }

    /// Whether every request that may be had is taken up at once.
    pub(super) fn has_no_gate(&self) -> bool {
        self.throttles.gate.is_none() && !self.arrivals.counts
    }

    /// Whether a request is to be taken up now.
    pub(super) fn try_gate(&mut self, request: &Waiting, visit: Visit) -> Gate {
        let settings = &self.throttles.requests;
        let op = request.op();
        if is_immediate(op) {
            return Gate::Open { is_late: false, is_stale: false };
        }
        let waited_ms = visit.now_ms - request.arrived_ms;
        let is_stale = op != Some(OpCode::CloseSession)
            && (settings.stale_connection_check && visit.is_lost
                || settings.stale_latency_check && i64::from(visit.timeout_ms) < waited_ms);
        if let Some(gate) = &self.throttles.gate {
            if is_stale && settings.drop_stale {
                return Gate::Stale;
            }
            if self.has_turn {
                self.has_turn = false;
            } else if self.turn.is_some() {
                return Gate::Shut { is_new: false };
            } else if let Ok(permit) = gate.try_acquire() {
                permit.forget();
                self.permits += 1;
            } else {
                let gate = Arc::clone(gate);
                self.turn = Some(Box::pin(async move { gate.acquire_owned().await.ok() }));
                return Gate::Shut { is_new: true };
            }
        }
        let wait_max_ms = i64::from(settings.throttled_op_wait_time_ms);
        let may_be_late = !matches!(op, Some(OpCode::Ping | OpCode::CloseSession));
        let is_late = 0 < wait_max_ms && wait_max_ms < waited_ms && may_be_late;
        Gate::Open { is_late, is_stale: is_stale && self.throttles.gate.is_some() }
    }

    /// Whether a request waits at the gate.
    pub(super) fn is_at_gate(&self) -> bool {
        self.turn.is_some()
    }

    /// Milliseconds after which it is to be looked at again.
    pub(super) fn stall_ms(&self) -> u64 {
        u64::from(self.throttles.requests.stall_time_ms)
    }

    /// Waits for the permit of the request at the gate. May be dropped and called again.
    pub(super) async fn turn(&mut self) {
        let Some(turn) = &mut self.turn else { return };
        let permit = turn.await;
        self.turn = None;
        // The gate is never closed, so there is one.
        if let Some(permit) = permit {
            permit.forget();
            self.permits += 1;
            self.has_turn = true;
        }
    }

    /// Lets others have the turn of the request at the gate, which cannot be taken up although it has
    /// come: its client does not take its replies. To be followed by [`Share::settle`].
    pub(super) fn pass_turn_on(&mut self) {
        self.has_turn = false;
    }

    /// Counts what is handed in.
    pub(super) fn hand_in(&mut self) {
        self.handed_in += 1;
        self.unanswered += 1;
        self.throttles.unanswered.fetch_add(1, Relaxed);
        if 0 < self.large_bytes {
            self.large_handed_in.push_back((self.handed_in, std::mem::take(&mut self.large_bytes)));
        }
    }

    /// Whether anything could be given back.
    pub(super) fn holds_anything(&self) -> bool {
        0 < self.unanswered || self.holds_for_a_read()
    }

    /// Whether something could be given back although nothing was handed in.
    pub(super) fn holds_for_a_read(&self) -> bool {
        0 < self.permits || 0 < self.large_bytes
    }

    /// Gives back what was answered. `unanswered` is how much of what was handed in is not;
    /// `is_idle`: neither is a request received and not taken up, nor does a read wait.
    pub(super) fn settle(&mut self, unanswered: usize, is_idle: bool) {
        let answered = self.unanswered.saturating_sub(unanswered);
        if 0 < answered {
            self.unanswered -= answered;
            self.throttles.unanswered.fetch_sub(answered, Relaxed);
        }
        let spare = self.permits.saturating_sub(unanswered + usize::from(self.has_turn));
        if let Some(gate) = self.throttles.gate.as_ref().filter(|_| 0 < spare) {
            self.permits -= spare;
            gate.add_permits(spare);
        }
        let mut large_bytes = if is_idle { std::mem::take(&mut self.large_bytes) } else { 0 };
        let answered_through = self.handed_in - self.unanswered as u64;
        while let Some((number, bytes)) = self.large_handed_in.front().copied()
            && number <= answered_through
        {
            large_bytes += bytes;
            self.large_handed_in.pop_front();
        }
        if 0 < large_bytes {
            self.throttles.large_bytes.fetch_sub(large_bytes, Relaxed);
        }
    }
}

impl Drop for Share {
    /// Writes that are still under way are nobody's any more; the queue they stand in has a bound.
    fn drop(&mut self) {
        self.has_turn = false;
        self.settle(0, true);
    }
}

/// Whether a request is answered when it is read, before any queue.
fn is_immediate(op: Option<OpCode>) -> bool {
    matches!(op, Some(OpCode::Auth | OpCode::Sasl))
}

/// When the bytes of the input arrived.
#[derive(Debug, Default)]
struct Arrivals {
    /// Anything is noted at all.
    counts: bool,
    read_bytes: u64,
    taken_bytes: u64,
    /// How many bytes had been read when; those not yet taken. One for each millisecond in which
    /// something was read, and no more than there are bytes in the input.
    marks: VecDeque<(u64, i64)>,
}

impl Arrivals {
    fn note_read(&mut self, bytes: usize, now_ms: i64) {
        self.read_bytes += bytes as u64;
        match self.marks.back_mut() {
            Some((end, at_ms)) if *at_ms == now_ms => *end = self.read_bytes,
            _ => self.marks.push_back((self.read_bytes, now_ms)),
        }
    }

    /// When the last of the next `bytes` arrived, which are taken now; 0 if nothing is noted.
    fn note_taken(&mut self, bytes: usize) -> i64 {
        if !self.counts {
            return 0;
        }
        self.taken_bytes += bytes as u64;
        while let Some((end, _)) = self.marks.front()
            && *end < self.taken_bytes
        {
            self.marks.pop_front();
        }
        self.marks.front().map_or(0, |(_, at_ms)| *at_ms)
    }
}

#[cfg(test)]
mod tests;
