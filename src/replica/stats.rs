//! What this server counts about its clients' requests.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};

/// What begins each frame and belongs to no response.
const FRAME_LENGTH_BYTES: i64 = 4;

/// What does not happen to every request, counted one by one.
///
/// Names and order are those of ZooKeeper's metrics, but for the last.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Incident {
    /// A handshake came (`connection_request_count`).
    ConnectionRequest,
    /// It was refused by the connection throttle (`connection_rejected`).
    ConnectionRejected,
    /// A large request was over the budget (`large_requests_rejected`).
    LargeRequestRejected,
    /// A request had to wait for its turn (`request_throttle_wait_count`).
    RequestThrottled,
    /// A connection was closed that had no session in time (`sessionless_connections_expired`).
    SessionlessExpired,
    /// A request was stale when its turn came (`stale_requests`).
    StaleRequest,
    /// It was dropped for that (`stale_requests_dropped`).
    StaleRequestDropped,
    /// A session expired (`stale_sessions_expired`).
    SessionExpired,
    /// A request was answered `ThrottledOp` (`throttled_ops`).
    ThrottledOp,
    /// A sync of the log took long (`fsync_threshold_exceed_count`).
    SlowSync,
}

/// How many kinds there are.
const INCIDENTS: usize = Incident::SlowSync as usize + 1;

/// Counters since the start or the last `srst`.
pub struct ServerStats {
    received: AtomicU64,
    sent: AtomicU64,
    answered: AtomicU64,
    latency_total_us: AtomicU64,
    latency_min_us: AtomicI64,
    latency_max_us: AtomicI64,
    response_last: AtomicI64,
    response_min: AtomicI64,
    response_max: AtomicI64,
    overflowed: AtomicU64,
    incidents: [AtomicU64; INCIDENTS],
    drop_probability: AtomicU64,
}

/// What the counters say at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct StatsSnapshot {
    /// Requests and four-letter words received.
    pub received: u64,
    /// Replies and notifications sent.
    pub sent: u64,
    /// Shortest answer, in milliseconds.
    pub latency_min_ms: i64,
    /// Mean answer, in milliseconds.
    pub latency_avg_ms: f64,
    /// Longest answer, in milliseconds.
    pub latency_max_ms: i64,
    /// Bytes of the last, the smallest and the largest response; -1 before any.
    pub response_bytes: (i64, i64, i64),
    /// Connections that were closed because they did not take what they were owed.
    pub overflowed: u64,
    /// How often each [`Incident`] happened; see [`StatsSnapshot::count_of`].
    pub incidents: [u64; INCIDENTS],
    /// The probability with which a handshake is refused at random.
    pub drop_probability: f64,
}

impl StatsSnapshot {
    /// How often it happened.
    pub fn count_of(&self, incident: Incident) -> u64 {
        self.incidents.get(incident as usize).copied().unwrap_or(0)
    }
}

impl Default for ServerStats {
    fn default() -> ServerStats {
        ServerStats {
            received: AtomicU64::new(0),
            sent: AtomicU64::new(0),
            answered: AtomicU64::new(0),
            latency_total_us: AtomicU64::new(0),
            latency_min_us: AtomicI64::new(i64::MAX),
            latency_max_us: AtomicI64::new(0),
            response_last: AtomicI64::new(-1),
            response_min: AtomicI64::new(-1),
            response_max: AtomicI64::new(-1),
            overflowed: AtomicU64::new(0),
            incidents: std::array::from_fn(|_| AtomicU64::new(0)),
            drop_probability: AtomicU64::new(0.0_f64.to_bits()),
        }
    }
}

impl ServerStats {
    /// Counts a packet that came in.
    pub fn count_received(&self) {
        self.received.fetch_add(1, Relaxed);
    }

    /// How many requests have been counted: whoever sees the same number twice knows that none came.
    pub fn received(&self) -> u64 {
        self.received.load(Relaxed)
    }

    /// Counts notifications or other packets that went out without being answers.
    pub fn count_sent(&self, packets: u64) {
        self.sent.fetch_add(packets, Relaxed);
    }

    /// Counts an answer that took `latency_us`.
    pub fn count_answer(&self, latency_us: i64) {
        self.sent.fetch_add(1, Relaxed);
        self.answered.fetch_add(1, Relaxed);
        self.latency_total_us.fetch_add(latency_us.max(0) as u64, Relaxed);
        self.latency_min_us.fetch_min(latency_us, Relaxed);
        self.latency_max_us.fetch_max(latency_us, Relaxed);
    }

    /// Notes the size of a response, given with the length that its frame begins with.
    pub fn count_response(&self, frame_bytes: usize) {
        let bytes = frame_bytes as i64 - FRAME_LENGTH_BYTES;
        self.response_last.store(bytes, Relaxed);
        self.response_max.fetch_max(bytes, Relaxed);
        // -1 stands for none yet, so it must not win.
        let smaller = |min: i64| (min < 0 || bytes < min).then_some(bytes);
        let _ = self.response_min.fetch_update(Relaxed, Relaxed, smaller);
    }

    /// Counts a connection that was closed because it did not take what it was owed.
    pub fn count_overflow(&self) {
        self.overflowed.fetch_add(1, Relaxed);
    }

    /// Counts something that happened.
    pub fn count_incident(&self, incident: Incident) {
        if let Some(counter) = self.incidents.get(incident as usize) {
            counter.fetch_add(1, Relaxed);
        }
    }

    /// Notes the probability with which a handshake is refused at random.
    pub fn note_drop_probability(&self, probability: f64) {
        self.drop_probability.store(probability.to_bits(), Relaxed);
    }

    /// Starts over (`srst`).
    pub fn reset(&self) {
        let fresh = ServerStats::default();
        for (counter, value) in [
            (&self.received, fresh.received),
            (&self.sent, fresh.sent),
            (&self.answered, fresh.answered),
            (&self.latency_total_us, fresh.latency_total_us),
        ] {
            counter.store(value.into_inner(), Relaxed);
        }
        for (counter, value) in [
            (&self.latency_min_us, fresh.latency_min_us),
            (&self.latency_max_us, fresh.latency_max_us),
            (&self.response_last, fresh.response_last),
            (&self.response_min, fresh.response_min),
            (&self.response_max, fresh.response_max),
        ] {
            counter.store(value.into_inner(), Relaxed);
        }
        self.incidents.iter().for_each(|counter| counter.store(0, Relaxed));
    }

    /// What the counters say now.
    pub fn snapshot(&self) -> StatsSnapshot {
        let answered = self.answered.load(Relaxed);
        let total_ms = self.latency_total_us.load(Relaxed) as f64 / 1_000.0;
        StatsSnapshot {
            received: self.received.load(Relaxed),
            sent: self.sent.load(Relaxed),
            latency_min_ms: match self.latency_min_us.load(Relaxed) {
                i64::MAX => 0,
                min_us => min_us / 1_000,
            },
            latency_avg_ms: if answered == 0 { 0.0 } else { total_ms / answered as f64 },
            latency_max_ms: self.latency_max_us.load(Relaxed) / 1_000,
            response_bytes: (
                self.response_last.load(Relaxed),
                self.response_min.load(Relaxed),
                self.response_max.load(Relaxed),
            ),
            overflowed: self.overflowed.load(Relaxed),
            incidents: std::array::from_fn(|at| {
                self.incidents.get(at).map_or(0, |counter| counter.load(Relaxed))
            }),
            drop_probability: f64::from_bits(self.drop_probability.load(Relaxed)),
        }
    }
}
