//! Time: the wall clock that stamps transactions and the monotonic one that measures.
//!
//! The only file that asks the operating system for the time.

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
