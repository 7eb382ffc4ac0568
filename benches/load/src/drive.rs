//! One connection under load: sends requests, several at a time, and times their replies.
//!
//! *Closed loop*: a request goes out as soon as there is room among those on their way; its time
//! counts from then. *Open loop*: requests are due at a given rate, whether the server keeps up or
//! not, and their time counts from when they were due. A server that stalls is charged for all the
//! requests that would have come meanwhile.
//!
//! The generator shares the machine with what it measures, so replies are looked at in place: their
//! order (the xid) and their error code are checked, nothing else is decoded.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use bytes::{Buf as _, BytesMut};
use hdrhistogram::Histogram;
use jute::Xid;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::clock::{Pacer, now};
use crate::requests::Requests;
use crate::session::{PATIENCE, put_close};

/// Requests of an open loop that may wait for their replies on one connection. Later ones are held
/// back, and their time goes on counting.
const OPEN_LOOP_IN_FLIGHT_MAX: usize = 100_000;
/// Room for one read.
const READ_BYTES: usize = 64 << 10;
/// Bytes of a reply's length and header.
const LENGTH_BYTES: usize = 4;
/// Where the error code stands after the length.
const ERROR_BYTES: std::ops::Range<usize> = 12..16;

/// What counts: replies that arrive from `start` on and before `end`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Window {
    pub(crate) start: Instant,
    pub(crate) end: Instant,
}

/// When requests are due in an open loop.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    pub(crate) first: Instant,
    pub(crate) interval: Duration,
}

/// How to load one connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) window: Window,
    /// Requests on their way at once, in a closed loop.
    pub(crate) in_flight: usize,
    /// An open loop.
    pub(crate) pace: Option<Pace>,
    /// Replies that count, at most.
    pub(crate) operations_max: u64,
    /// Whether this is a session, whose replies have an error code and which is closed at the end;
    /// an echo is none.
    pub(crate) is_session: bool,
}

/// What one connection measured.
pub(crate) struct Tally {
    pub(crate) latency: Latency,
    /// All that was sent, also outside of the window.
    pub(crate) sent: u64,
}

/// Times in nanoseconds.
pub(crate) type Latency = Histogram<u64>;

/// A place for times from a nanosecond to an hour, to three digits.
pub(crate) fn latency() -> Result<Latency> {
    Ok(Histogram::new_with_bounds(1, 3_600_000_000_000, 3)?)
}

/// Notes that something took from `start` to `end`.
pub(crate) fn note(latency: &mut Latency, start: Instant, end: Instant) {
    latency.saturating_record(end.saturating_duration_since(start).as_nanos() as u64);
}

/// A connection under load.
struct Driver {
    requests: Requests,
    plan: Plan,
    /// From when each request without a reply counts, oldest first.
    pending: VecDeque<Instant>,
    latency: Latency,
    sent: u64,
    answered: u64,
    input: BytesMut,
    output: BytesMut,
}

/// Loads one connection until the window ends and the last reply has come.
pub(crate) async fn drive(stream: TcpStream, requests: Requests, plan: Plan) -> Result<Tally> {
    let mut driver = Driver {
        requests,
        plan,
        pending: VecDeque::new(),
        latency: latency()?,
        sent: 0,
        answered: 0,
        input: BytesMut::new(),
        output: BytesMut::new(),
    };
    let deadline = plan.window.end + PATIENCE;
    tokio::time::timeout_at(deadline.into(), driver.run(stream))
        .await
        .context("the server still owes replies")??;
    Ok(Tally { latency: driver.latency, sent: driver.sent })
}

/// The xid of a connection's request with this number; never one that means something else.
fn xid(number: u64) -> Xid {
    Xid((number as i32) & i32::MAX)
}

impl Driver {
    async fn run(&mut self, mut stream: TcpStream) -> Result<()> {
        let (mut reader, mut writer) = stream.split();
        let mut pacer = Pacer::new()?;
        loop {
            let next_due = self.send_what_is_due();
            if next_due.is_none() && self.pending.is_empty() && self.is_over(now()) {
                break;
            }
            self.input.reserve(READ_BYTES);
            tokio::select! {
                biased;
                written = writer.write_buf(&mut self.output), if !self.output.is_empty() => {
                    ensure!(written? > 0, "the server takes nothing any more");
                }
                read = reader.read_buf(&mut self.input) => {
                    ensure!(read? > 0, "the server closed the connection");
                    self.take_replies()?;
                }
                waited = pacer.sleep_until(next_due.unwrap_or(self.plan.window.end)),
                    if next_due.is_some() => waited?,
            }
        }
        // A session that stays would cost its expiry, in the middle of what is measured next.
        if self.plan.is_session {
            put_close(&mut self.output, xid(self.sent));
            self.pending.push_back(now());
            writer.write_all_buf(&mut self.output).await?;
            while !self.pending.is_empty() {
                ensure!(reader.read_buf(&mut self.input).await? > 0, "closeSession has no reply");
                self.take_replies()?;
            }
        }
        Ok(())
    }

    fn is_over(&self, moment: Instant) -> bool {
        moment >= self.plan.window.end || self.latency.len() >= self.plan.operations_max
    }

    /// Appends the requests that are due; returns when to look again, if only time is missing.
    fn send_what_is_due(&mut self) -> Option<Instant> {
        let moment = now();
        let room = self.plan.pace.map_or(self.plan.in_flight, |_| OPEN_LOOP_IN_FLIGHT_MAX);
        while self.pending.len() < room && !self.is_over(moment) {
            let due = match self.plan.pace {
                None => moment,
                Some(pace) => pace.first + pace.interval.mul_f64(self.sent as f64),
            };
            if due > moment {
                return Some(due.min(self.plan.window.end));
            }
            self.requests.put(&mut self.output, xid(self.sent));
            self.pending.push_back(due);
            self.sent += 1;
        }
        None
    }

    /// Takes every whole reply off the input.
    fn take_replies(&mut self) -> Result<()> {
        let moment = now();
        let counts = moment >= self.plan.window.start && moment < self.plan.window.end;
        let mut rest = &self.input[..];
        while let Some((length, after)) = rest.split_first_chunk::<LENGTH_BYTES>() {
            let length = usize::try_from(i32::from_be_bytes(*length))?;
            let Some((frame, after)) = after.split_at_checked(length) else { break };
            rest = after;
            let found = frame.first_chunk().copied().map(i32::from_be_bytes);
            let expected = xid(self.answered);
            ensure!(found == Some(expected.0), "reply {found:?} came instead of {expected:?}");
            if self.plan.is_session {
                let error = frame.get(ERROR_BYTES);
                ensure!(error == Some(&[0; 4]), "request {expected:?} failed with {error:?}");
            }
            self.answered += 1;
            let since = self.pending.pop_front().context("a reply that nothing asked for")?;
            if counts && self.latency.len() < self.plan.operations_max {
                note(&mut self.latency, since, moment);
            }
        }
        let taken = self.input.len() - rest.len();
        self.input.advance(taken);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::requests::frame;
    use crate::session::read;
    use jute::reply::{Body, put_reply};
    use jute::request::RequestHeader;
    use jute::{ErrorCode, OpCode, Zxid, decode_all, split_frame};
    use std::sync::Arc;
    use tokio::net::TcpListener;

    /// How long the server below does nothing.
    const STALL: Duration = Duration::from_millis(400);

    /// Answers every request with `outcome`, and does nothing for a while after the tenth.
    async fn stalling_server(listener: TcpListener, outcome: Result<Body, ErrorCode>) {
        let (mut stream, _) = listener.accept().await.unwrap();
        let (mut input, mut output) = (BytesMut::new(), BytesMut::new());
        let mut answered = 0;
        while stream.read_buf(&mut input).await.unwrap() > 0 {
            while let Some(request) = split_frame(&mut input, 1_000).unwrap() {
                let header: RequestHeader = decode_all(&request).unwrap();
                put_reply(&mut output, header.xid, Zxid(1), &outcome);
                answered += 1;
                if answered == 10 {
                    tokio::time::sleep(STALL).await;
                }
            }
            stream.write_all_buf(&mut output).await.unwrap();
        }
    }

    async fn driven(pace: Option<Duration>, outcome: Result<Body, ErrorCode>) -> Result<Tally> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        tokio::spawn(stalling_server(listener, outcome));
        let frames = Arc::from([frame(OpCode::GetData, &read("/a", false))]);
        let start = now();
        let plan = Plan {
            window: Window { start, end: start + 2 * STALL },
            in_flight: 1,
            pace: pace.map(|interval| Pace { first: start, interval }),
            operations_max: u64::MAX,
            is_session: true,
        };
        drive(stream, Requests::Cycle { frames, next: 0 }, plan).await
    }

    #[tokio::test]
    async fn a_stall_is_charged_to_all_that_came_due_meanwhile() {
        let open = driven(Some(Duration::from_millis(1)), Ok(Body::Empty)).await.unwrap();
        let half = (STALL / 2).as_nanos() as u64;
        let late = open.latency.count_between(half, u64::MAX);
        assert!(late >= 150, "{late} of {} were late", open.latency.len());
        assert!(open.sent <= 2 * STALL.as_millis() as u64 + 1, "{} were sent", open.sent);

        let closed = driven(None, Ok(Body::Empty)).await.unwrap();
        assert!(closed.latency.max() >= STALL.as_nanos() as u64 - 1_000_000);
        // The last reply may come after the end.
        assert!(closed.sent - closed.latency.len() <= 1);
    }

    #[tokio::test]
    async fn a_refusal_ends_the_measurement() {
        let refused = driven(None, Err(ErrorCode::NoNode)).await;
        assert!(refused.is_err_and(|error| error.to_string().contains("failed")));
    }
}
