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
use crate::session::PATIENCE;

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
    /// Whether replies have an error code; an echo has none.
    pub(crate) checks_errors: bool,
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
                return Ok(());
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
    }

    fn is_over(&self, moment: Instant) -> bool {
        moment >= self.plan.window.end || self.latency.len() >= self.plan.operations_max
    }

    /// Appends the requests that are due; returns when the next one will be, if only time is missing.
    fn send_what_is_due(&mut self) -> Option<Instant> {
        let moment = now();
        let room = self.plan.pace.map_or(self.plan.in_flight, |_| OPEN_LOOP_IN_FLIGHT_MAX);
        while self.pending.len() < room && !self.is_over(moment) {
            let due = match self.plan.pace {
                None => moment,
                Some(pace) => pace.first + pace.interval.mul_f64(self.sent as f64),
            };
            if due > moment {
                return (due < self.plan.window.end).then_some(due);
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
            if self.plan.checks_errors {
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
