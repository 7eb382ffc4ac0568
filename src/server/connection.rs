//! One client connection: a single task that reads, decides and writes.
//!
//! Frames are handled in order. Writes are handed in without waiting; anything else waits until
//! this connection has no write unanswered, so that a session sees its own writes and gets its
//! replies in order. While a request waits, notifications and replies go on being sent.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use jute::split_frame;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::watch;

use super::dispatch::{Handshaking, Stalled, Step};
use super::service::{Service, Word};
use crate::config::limits::{CONNECTION_REQUESTS_PER_TURN_MAX, OUTBOX_BYTES_MAX};
use crate::net::{Accepted, Place, Stream};
use crate::replica::{Closing, Outbox, Seat};
use crate::session;

/// Bytes read ahead of a request that waits.
const READ_AHEAD_BYTES: usize = 64 << 10;
/// Bytes not yet taken by the client above which no further request is handled.
const UNSENT_BYTES: usize = 1 << 20;
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
    /// It is over.
    Over,
}

/// Serves a connection to its end.
pub(super) async fn run(service: Arc<Service>, accepted: Accepted, stop: watch::Receiver<bool>) {
    let Accepted { stream, peer, place } = accepted;
    let identities = Arc::from([session::ip_identity(peer.ip())]);
    let outbox =
        Arc::new(Outbox::new(service.next_connection(), identities, peer, OUTBOX_BYTES_MAX));
    service.replica.connect(Arc::clone(&outbox));
    let mut connection = Connection {
        service,
        outbox,
        peer,
        phase: Phase::AwaitingConnect,
        stalled: None,
        touched_ms: i64::MIN,
        input: BytesMut::new(),
        output: BytesMut::new(),
    };
    match connection.serve(stream, stop).await {
        End::Over => {}
        End::Socket(error) => tracing::debug!("connection of {peer} ended: {error}"),
        End::Violation(problem) => tracing::info!("closing connection of {peer}: {problem}"),
    }
    connection.service.replica.disconnect(connection.outbox.id());
    // Last, so that whoever finds a place again also finds the connection gone.
    drop::<Place>(place);
}

impl Connection {
    async fn serve(&mut self, mut stream: Stream, mut stop: watch::Receiver<bool>) -> End {
        let (mut reader, mut writer) = stream.split();
        let sessionless_ms = u64::from(self.service.config.sessionless_timeout_ms);
        let sessionless = tokio::time::sleep(Duration::from_millis(sessionless_ms));
        tokio::pin!(sessionless);
        let mut is_ending = false;
        loop {
            let more = match self.handle_input().await {
                Ok(more) => more,
                Err(end) => return end,
            };
            let closing = self.outbox.take(&mut self.output);
            if closing == Some(Closing::AtOnce) {
                return End::Over;
            }
            if closing == Some(Closing::AfterFlush) {
                self.phase = Phase::Ending;
                if !is_ending {
                    // No session times out that could end a client which takes nothing any more.
                    is_ending = true;
                    let limit = Duration::from_millis(sessionless_ms);
                    sessionless.as_mut().reset(tokio::time::Instant::now() + limit);
                }
                if self.output.is_empty() {
                    // The client reads the end of the stream after the last reply.
                    let _ = writer.shutdown().await;
                    return End::Over;
                }
            }
            let wants_input = self.wants_input();
            let has_output = !self.output.is_empty();
            let has_session = matches!(self.phase, Phase::Opening(_) | Phase::Open(_));
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
                read = read_some(&mut reader, &mut self.input), if wants_input => match read {
                    Ok(0) => return End::Over,
                    Ok(_) => {}
                    Err(error) => return End::Socket(error),
                },
                () = &mut sessionless, if !has_session => {
                    return End::Violation(format!("no session within {sessionless_ms} ms"));
                }
                () = stopped(&mut stop) => return End::Over,
            }
        }
    }

    /// Whether there is room for more of what the client sends.
    fn wants_input(&self) -> bool {
        match self.phase {
            Phase::Ending => false,
            _ if self.unsent_bytes() > UNSENT_BYTES => false,
            Phase::Opening(_) => self.input.len() < READ_AHEAD_BYTES,
            Phase::AwaitingConnect | Phase::Open(_) => {
                self.stalled.is_none() || self.input.len() < READ_AHEAD_BYTES
            }
        }
    }

    /// Bytes that the client has not taken yet.
    fn unsent_bytes(&self) -> usize {
        self.output.len() + self.outbox.waiting_bytes()
    }

    /// Handles what was read, as far as it goes; tells whether there is more that could be handled.
    async fn handle_input(&mut self) -> Result<bool, End> {
        for _ in 0..CONNECTION_REQUESTS_PER_TURN_MAX {
            if self.unsent_bytes() > UNSENT_BYTES || self.outbox.is_closing() {
                return Ok(false);
            }
            let step = match self.phase {
                Phase::Ending => return Ok(false),
                Phase::Opening(_) => self.finish_handshake().await?,
                Phase::AwaitingConnect | Phase::Open(_) if self.stalled.is_some() => {
                    self.resume().await?
                }
                Phase::AwaitingConnect => {
                    if self.answer_word()? {
                        return Ok(false);
                    }
                    match self.next_frame()? {
                        Some(frame) => self.begin_handshake(&frame).await?,
                        None => return Ok(false),
                    }
                }
                Phase::Open(seat) => match self.next_frame()? {
                    Some(frame) => self.handle_request(&frame, seat).await?,
                    None => return Ok(false),
                },
            };
            if step == Step::Wait {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn next_frame(&mut self) -> Result<Option<Bytes>, End> {
        let limit = self.service.config.jute_maxbuffer;
        split_frame(&mut self.input, limit).map_err(|error| End::Violation(error.to_string()))
    }

    /// Answers a four-letter word, if the first bytes are one.
    fn answer_word(&mut self) -> Result<bool, End> {
        let Some(letters) = self.input.first_chunk::<4>().copied() else { return Ok(false) };
        let rest = self.input.get(4..).unwrap_or_default();
        let word = Word { letters, rest, outbox: &self.outbox };
        let Some(answer) = self.service.words.answer(&word) else { return Ok(false) };
        tracing::info!(
            "processed {} command from {}",
            String::from_utf8_lossy(&letters),
            self.peer
        );
        self.outbox.push_raw(|out| out.extend_from_slice(&answer));
        self.outbox.close(Closing::AfterFlush);
        self.phase = Phase::Ending;
        Ok(true)
    }
}

async fn read_some(
    reader: &mut (impl tokio::io::AsyncRead + Unpin),
    input: &mut BytesMut,
) -> io::Result<usize> {
    if input.capacity() - input.len() < READ_BYTES / 4 {
        input.reserve(READ_BYTES);
    }
    reader.read_buf(input).await
}

/// Waits until the server is told to stop.
pub(super) async fn stopped(stop: &mut watch::Receiver<bool>) {
    // Whoever could tell is gone: that is a stop too.
    let _ = stop.wait_for(|stop| *stop).await;
}
