//! Time: the wall clock that stamps transactions and the monotonic one that measures.
//!
//! The only file that asks the operating system for the time.

use std::fmt;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// A source of time. Its monotonic time counts from when it was made.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    start: Instant,
}

impl Clock {
    /// The machine's clocks.
    #[allow(clippy::disallowed_methods, reason = "this is the one door to the time")]
    pub fn system() -> Clock {
        Clock { start: Instant::now() }
    }

    /// Milliseconds since 1970, as the machine believes.
    #[allow(clippy::disallowed_methods, reason = "this is the one door to the time")]
    pub fn wall_ms(self) -> i64 {
        let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        since_1970.as_millis() as i64
    }

    /// Milliseconds since the clock was made; never goes back.
    pub fn monotonic_ms(self) -> i64 {
        self.elapsed().as_millis() as i64
    }

    /// Time since the clock was made; never goes back.
    #[allow(clippy::disallowed_methods, reason = "this is the one door to the time")]
    pub fn elapsed(self) -> Duration {
        self.start.elapsed()
    }
}

/// Measures how long something takes; nothing is ever decided by it.
#[derive(Clone, Copy, Debug)]
pub struct Stopwatch(Instant);

impl Stopwatch {
    /// Begins to measure.
    #[allow(clippy::disallowed_methods, reason = "this is the one door to the time")]
    pub fn start() -> Stopwatch {
        Stopwatch(Instant::now())
    }

    /// Time since then.
    pub fn elapsed(self) -> Duration {
        self.0.elapsed()
    }
}

/// Lets through so many in an interval and counts the others: for lines of the log of which clients
/// can cause as many as they like.
///
/// It has no lock: at the edge of an interval one line more or less may pass.
#[derive(Debug)]
pub struct RateLimit {
    clock: Clock,
    passes_max: u64,
    interval_ms: i64,
    interval_began_ms: AtomicI64,
    passed: AtomicU64,
    left_out: AtomicU64,
}

/// How many were left out before one that is let through.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct LeftOut(pub u64);

impl RateLimit {
    /// Lets through `passes_max` in each `interval_ms`.
    pub fn new(clock: Clock, passes_max: u64, interval_ms: i64) -> RateLimit {
        RateLimit {
            clock,
            passes_max,
            interval_ms,
            interval_began_ms: AtomicI64::new(i64::MIN),
            passed: AtomicU64::new(0),
            left_out: AtomicU64::new(0),
        }
    }

    /// Whether this one passes, and how many did not since the last one that did.
    pub fn pass(&self) -> Option<LeftOut> {
        self.pass_at(self.clock.monotonic_ms())
    }

    fn pass_at(&self, now_ms: i64) -> Option<LeftOut> {
        let began_ms = self.interval_began_ms.load(Relaxed);
        let is_over = now_ms.saturating_sub(began_ms) >= self.interval_ms;
        if is_over {
            let ours = self.interval_began_ms.compare_exchange(began_ms, now_ms, Relaxed, Relaxed);
            if ours.is_ok() {
                self.passed.store(0, Relaxed);
            }
        }
        if self.passed.fetch_add(1, Relaxed) < self.passes_max {
            return Some(LeftOut(self.left_out.swap(0, Relaxed)));
        }
        self.left_out.fetch_add(1, Relaxed);
        None
    }
}

/// Nothing, or a remark for the end of a line.
impl fmt::Display for LeftOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0 => Ok(()),
            count => write!(f, " ({count} such lines were left out before this one)"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_leaves_few_lines_and_their_number() {
        let limit = RateLimit::new(Clock::system(), 2, 1_000);

        let passed: Vec<_> = (0..10).filter_map(|ms| limit.pass_at(5_000 + ms)).collect();
        assert_eq!(passed, [LeftOut(0), LeftOut(0)]);

        assert_eq!(limit.pass_at(5_999), None, "the interval is not over");
        let next = limit.pass_at(6_000).unwrap();
        assert_eq!(next, LeftOut(9));
        assert_eq!(next.to_string(), " (9 such lines were left out before this one)");
        assert_eq!(limit.pass_at(6_001).unwrap().to_string(), "");
    }
}
