//! One client connection: a single task that reads, decides and writes.
//!
//! Frames are handled in order. Writes are handed in without waiting; anything else waits until
//! this connection has no write unanswered, so that a session sees its own writes and gets its
//! replies in order. While a request waits, notifications and replies go on being sent. How many
//! requests are taken up is decided in [`throttle`](super::throttle).

use std::future::Future as _;
use std::io;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::{Buf as _, Bytes, BytesMut};
use jute::split_frame;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_util::sync::CancellationToken;

use super::dispatch::{Handshaking, Stalled, Step};
use super::service::{Service, Word};
use super::throttle::{Gate, OverBudget, Share, Visit, Waiting};
use crate::config::limits::{CONNECTION_REQUESTS_PER_TURN_MAX, OUTBOX_BYTES_MAX};
use crate::net::{Accepted, Place, ReadHalf, Stream, WriteHalf};
use crate::replica::{Closing, Incident, Outbox, Seat};
use crate::session;

/// Bytes read ahead of a request that waits.
const READ_AHEAD_BYTES: usize = 64 << 10;
/// Bytes not yet taken by the client above which no further request is handled.
const UNSENT_BYTES: usize = 1 << 20;
/// Room for replies that a connection keeps.
const KEPT_BYTES: usize = 1 << 10;
/// Room for a read; most requests are much smaller.
const READ_BYTES: usize = 4 << 10;

/// How far a connection has come.
pub(super) enum Phase {
    /// Nothing has been read: a handshake or a four-letter word.
    AwaitingConnect,
    /// The session's opening or attaching is being decided.
    Opening(Handshaking),
    /// Requests are served.
    Open(Seat),
    /// Nothing more is read.
    Ending,
}

/// A connection.
pub(super) struct Connection {
    pub(super) service: Arc<Service>,
    pub(super) outbox: Arc<Outbox>,
    pub(super) peer: std::net::SocketAddr,
    pub(super) phase: Phase,
    /// The request that waits until no write is unanswered.
    pub(super) stalled: Option<Stalled>,
    /// What the connection has taken of the server's limits.
    pub(super) share: Share,
    /// The request that waits to be taken up.
    waiting: Option<Waiting>,
    /// No further request is taken up until one is answered.
    is_full: bool,
    /// No further request is taken up until the client has taken replies.
    is_clogged: bool,
    /// The client has sent all that it will.
    input_ended: bool,
    /// When the session was last reported alive, on the monotonic clock.
    pub(super) touched_ms: i64,
    input: BytesMut,
    output: BytesMut,
}

/// Why a connection ends before its client wants it to.
pub(super) enum End {
    /// The socket failed or was closed.
    Socket(io::Error),
    /// The client broke the protocol.
    Violation(String),
    /// A limit was reached.
    Limit(&'static str),
    /// It is over.
    Over,
}

/// Serves a connection to its end.
pub(super) async fn run(service: Arc<Service>, accepted: Accepted, stop: CancellationToken) {
    let Accepted { mut stream, peer, place } = accepted;
    let identities = Arc::from([session::ip_identity(peer.ip())]);
    let outbox =
        Arc::new(Outbox::new(service.next_connection(), identities, peer, OUTBOX_BYTES_MAX));
    service.replica.connect(Arc::clone(&outbox));
    let share = Share::new(Arc::clone(&service.throttles));
    let mut connection = Connection {
        service,
        outbox,
        peer,
        phase: Phase::AwaitingConnect,
        stalled: None,
        share,
        waiting: None,
        is_full: false,
        is_clogged: false,
        input_ended: false,
        touched_ms: i64::MIN,
        input: BytesMut::new(),
        output: BytesMut::new(),
    };
    match connection.serve(&mut stream, stop).await {
        End::Over => {}
        End::Socket(error) => tracing::debug!("connection of {peer} ended: {error}"),
        End::Violation(problem) => connection.log_closing(&problem),
        End::Limit(limit) => connection.log_closing(&limit),
    }
    connection.service.replica.disconnect(connection.outbox.id());
    drop::<Place>(place);
    // Last: a client that sees the end of the stream finds its place free and its connection gone.
    // A socket that failed cannot be shut down, and need not be.
    let _ = stream.shutdown().await;
}

impl Connection {
    async fn serve(&mut self, stream: &mut Stream, stop: CancellationToken) -> End {
        let (mut reader, mut writer) = stream.split();
        let sessionless_ms = u64::from(self.service.config.sessionless_timeout_ms);
        let sessionless = tokio::time::sleep(Duration::from_millis(sessionless_ms));
        tokio::pin!(sessionless);
        let stopped = stop.cancelled();
        tokio::pin!(stopped);
        let mut is_ending = false;
        loop {
            self.settle();
            let mut more = match self.handle_input().await {
                Ok(more) => more,
                Err(end) => return end,
            };
            let closing = match self.send_some(&writer) {
                Ok(closing) => closing,
                Err(end) => return end,
            };
            // Requests may have been left because of replies that are gone now.
            more |= self.is_clogged && self.unsent_bytes() <= UNSENT_BYTES;
            if closing == Some(Closing::AfterFlush) {
                self.phase = Phase::Ending;
                if !is_ending {
                    // No session times out that could end a client which takes nothing any more.
                    is_ending = true;
                    let limit = Duration::from_millis(sessionless_ms);
                    sessionless.as_mut().reset(tokio::time::Instant::now() + limit);
                }
                if self.output.is_empty() {
                    return End::Over;
                }
            }
            if self.input_ended && !more && !self.is_held() && self.output.is_empty() {
                return End::Over;
            }
            self.let_buffers_go();
            let wants_input = self.wants_input();
            let is_at_gate = self.share.is_at_gate();
            let stall = Duration::from_millis(self.share.stall_ms());
            let has_output = !self.output.is_empty();
            let has_session = !matches!(self.phase, Phase::AwaitingConnect);
            tokio::select! {
                biased;
                written = writer.write_buf(&mut self.output), if has_output => match written {
                    Ok(0) => return End::Socket(io::ErrorKind::WriteZero.into()),
                    Ok(_) => {}
                    Err(error) => return End::Socket(error),
                },
                () = std::future::ready(()), if more => {
                    // Requests are left from this turn; others get theirs first.
                    tokio::task::yield_now().await;
                }
                () = self.outbox.pushed() => {}
                () = self.share.turn(), if is_at_gate => {}
                read = read_some(&mut reader, &mut self.input), if wants_input => match read {
                    Ok(0) if self.is_held() => self.input_ended = true,
                    Ok(0) => return End::Over,
                    Ok(bytes) => {
                        let clock = self.service.clock;
                        self.share.note_read(bytes, || clock.monotonic_ms());
                    }
                    Err(error) => return End::Socket(error),
                },
                () = pause(stall), if is_at_gate => {}
                () = &mut sessionless, if is_ending || !has_session => {
                    return self.overdue(is_ending);
                }
                () = &mut stopped => return End::Over,
            }
        }
    }

    /// Takes what has gathered and writes what the socket takes at once, which is nearly always all of
    /// it, until one of the two is exhausted; tells whether the connection is to end after it.
    /// Afterwards the outbox is empty, or there is output that the socket does not take.
    fn send_some(&mut self, writer: &WriteHalf<'_>) -> Result<Option<Closing>, End> {
        loop {
            let closing = self.outbox.take(&mut self.output);
            if closing == Some(Closing::AtOnce) {
                return Err(End::Over);
            }
            if self.output.is_empty() {
                return Ok(closing);
            }
            match writer.try_write(&self.output) {
                Ok(0) => return Err(End::Socket(io::ErrorKind::WriteZero.into())),
                Ok(bytes) => self.output.advance(bytes),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(closing),
                Err(error) => return Err(End::Socket(error)),
            }
        }
    }

    /// Gives back the memory of buffers that are empty: most connections are idle most of the time.
    fn let_buffers_go(&mut self) {
        if self.input.is_empty() {
            self.input = BytesMut::new();
        }
        if self.output.is_empty() && self.output.capacity() > KEPT_BYTES {
            self.output = BytesMut::new();
        }
    }

    /// Why a connection ends that makes no progress where no session times out.
    fn overdue(&self, is_ending: bool) -> End {
        let limit_ms = self.service.config.sessionless_timeout_ms;
        if is_ending {
            return End::Violation(format!("last replies not taken within {limit_ms} ms"));
        }
        self.service.replica.stats().count_incident(Incident::SessionlessExpired);
        End::Violation(format!("no session within {limit_ms} ms"))
    }

    /// Whether there is room for more of what the client sends.
    fn wants_input(&self) -> bool {
        match self.phase {
            Phase::Ending => false,
            _ if self.input_ended => false,
            _ if self.unsent_bytes() > UNSENT_BYTES => false,
            Phase::Opening(_) => self.input.len() < READ_AHEAD_BYTES,
            Phase::AwaitingConnect | Phase::Open(_) => {
                !self.is_held() || self.input.len() < READ_AHEAD_BYTES
            }
        }
    }

    /// Bytes that the client has not taken yet.
    fn unsent_bytes(&self) -> usize {
        self.output.len() + self.outbox.waiting_bytes()
    }

    /// Whether requests that were read wait for something other than the rest of their bytes.
    fn is_held(&self) -> bool {
        self.stalled.is_some() || self.waiting.is_some() || self.is_full
    }

    /// Gives back what the connection had taken of the server's limits for what is answered now.
    fn settle(&mut self) {
        if self.share.holds_anything() {
            let opening = usize::from(matches!(self.phase, Phase::Opening(_)));
            let is_idle = self.stalled.is_none() && self.waiting.is_none();
            self.share.settle(self.outbox.pending() + opening, is_idle);
        }
    }

    fn log_closing(&self, reason: &dyn std::fmt::Display) {
        if let Some(left_out) = self.service.log_lines.closings.pass() {
            tracing::info!("closing connection of {}: {reason}{left_out}", self.peer);
        }
    }

    /// Handles what was read, as far as it goes; tells whether there is more that could be handled.
    async fn handle_input(&mut self) -> Result<bool, End> {
        for _ in 0..CONNECTION_REQUESTS_PER_TURN_MAX {
            self.is_clogged = self.unsent_bytes() > UNSENT_BYTES;
            if self.is_clogged || self.outbox.is_closing() {
                self.share.pass_turn_on();
                self.settle();
                return Ok(false);
            }
            let step = match self.phase {
                Phase::Ending => return Ok(false),
                Phase::Opening(_) => self.finish_handshake().await?,
                Phase::AwaitingConnect | Phase::Open(_) if self.stalled.is_some() => self.resume(),
                Phase::AwaitingConnect => {
                    if self.answer_word() {
                        return Ok(false);
                    }
                    match self.next_frame()? {
                        Some(handshake) => self.begin_handshake(&handshake.frame).await?,
                        None => return Ok(false),
                    }
                }
                Phase::Open(seat) => {
                    let Some((frame, is_late)) = self.next_request(seat)? else {
                        return Ok(false);
                    };
                    let step = self.handle_request(&frame, seat, is_late).await?;
                    if self.share.holds_for_a_read() {
                        self.settle();
                    }
                    step
                }
            };
            if step == Step::Wait {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn next_frame(&mut self) -> Result<Option<Waiting>, End> {
        self.share.check_size(&self.input).map_err(|OverBudget| self.refuse_large())?;
        let limit = self.service.config.jute_maxbuffer;
        let input_bytes = self.input.len();
        let frame = split_frame(&mut self.input, limit)
            .map_err(|error| End::Violation(error.to_string()))?;
        Ok(frame.map(|frame| self.share.note_frame(frame, input_bytes - self.input.len())))
    }

    fn refuse_large(&self) -> End {
        self.service.replica.stats().count_incident(Incident::LargeRequestRejected);
        End::Limit("a large request is over largeRequestMaxBytes")
    }

    /// The next request that is to be taken up, and whether it has waited too long for anything but
    /// an answer.
    fn next_request(&mut self, seat: Seat) -> Result<Option<(Bytes, bool)>, End> {
        if !self.share.may_have_more() {
            // What was answered meanwhile will not wake this connection again.
            self.settle();
        }
        self.is_full = !self.share.may_have_more();
        if self.is_full {
            return Ok(None);
        }
        let request = if let Some(request) = self.waiting.take() {
            request
        } else {
            let Some(request) = self.next_frame()? else { return Ok(None) };
            self.share.take_budget(&request).map_err(|OverBudget| self.refuse_large())?;
            request
        };
        if self.share.has_no_gate() {
            return Ok(Some((request.frame, false)));
        }
        self.pass_gate(request, seat)
    }

    /// As [`Self::next_request`], where requests have to pass a gate.
    fn pass_gate(&mut self, request: Waiting, seat: Seat) -> Result<Option<(Bytes, bool)>, End> {
        let now_ms = self.service.clock.monotonic_ms();
        let visit = Visit { now_ms, timeout_ms: seat.timeout_ms, is_lost: self.input_ended };
        let stats = self.service.replica.stats();
        match self.share.try_gate(&request, visit) {
            Gate::Open { is_late, is_stale } => {
                if is_stale {
                    stats.count_incident(Incident::StaleRequest);
                }
                Ok(Some((request.frame, is_late)))
            }
            Gate::Shut { is_new } => {
                if is_new {
                    stats.count_incident(Incident::RequestThrottled);
                }
                self.waiting = Some(request);
                Ok(None)
            }
            Gate::Stale => {
                stats.count_incident(Incident::StaleRequestDropped);
                Err(End::Limit("a stale request is dropped"))
            }
        }
    }

    /// Answers a four-letter word, if the first bytes are one.
    fn answer_word(&mut self) -> bool {
        let Some(letters) = self.input.first_chunk::<4>().copied() else { return false };
        let rest = self.input.get(4..).unwrap_or_default();
        let word = Word { letters, rest, outbox: &self.outbox };
        let Some(answer) = self.service.words.answer(&word) else { return false };
        if let Some(left_out) = self.service.log_lines.words.pass() {
            let word = String::from_utf8_lossy(&letters);
            tracing::info!("Processing {word} command from {}{left_out}", self.peer);
        }
        self.outbox.push_raw(|out| out.extend_from_slice(&answer));
        self.outbox.close(Closing::AfterFlush);
        self.phase = Phase::Ending;
        true
    }
}

/// Reads what there is, once there is something: an idle connection holds no buffer.
async fn read_some(reader: &mut ReadHalf<'_>, input: &mut BytesMut) -> io::Result<usize> {
    loop {
        reader.readable().await?;
        if input.capacity() - input.len() < READ_BYTES / 4 {
            input.reserve(READ_BYTES);
        }
        // One try: unlike `try_read_buf`, it knows a socket to be empty when it gave less than fits.
        let mut once = std::pin::pin!(reader.read_buf(input));
        let read = std::future::poll_fn(|context| Poll::Ready(once.as_mut().poll(context))).await;
        if let Poll::Ready(read) = read {
            return read;
        }
        // There was nothing, or this task has had its turn: then others get theirs.
        tokio::task::consume_budget().await;
    }
}

/// Sleeps; costs nothing before it is polled.
async fn pause(time: Duration) {
    tokio::time::sleep(time).await;
}
