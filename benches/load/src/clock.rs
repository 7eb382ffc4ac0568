//! Time as the generator sees it: the only file that asks for it, and the timer that paces.

use std::io;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};
use tokio::io::unix::AsyncFd;

/// The monotonic time.
#[allow(clippy::disallowed_methods, reason = "this is the one door to the time")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// Nanoseconds since 1970, to measure from a moment that another process noted.
#[allow(clippy::disallowed_methods, reason = "this is the one door to the time")]
pub(crate) fn wall_ns() -> u128 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_nanos()
}

/// Sleeps until `moment`, to the millisecond.
pub(crate) async fn sleep_until(moment: Instant) {
    tokio::time::sleep_until(moment.into()).await;
}

/// A timer of microseconds: tokio's has a grain of a millisecond, which would be measured as the
/// server's latency.
pub(crate) struct Pacer {
    timer: AsyncFd<OwnedFd>,
    armed_for: Option<Instant>,
}

impl Pacer {
    #[allow(
        deprecated,
        reason = "`register` is `unsafe`; the timer is owned here and never replaced, which is all it asks"
    )]
    pub(crate) fn new() -> io::Result<Pacer> {
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let timer = timerfd_create(TimerfdClockId::Monotonic, flags)?;
        Ok(Pacer { timer: AsyncFd::new(timer)?, armed_for: None })
    }

    /// Sleeps until `moment`. May be dropped and called again.
    pub(crate) async fn sleep_until(&mut self, moment: Instant) -> io::Result<()> {
        if self.armed_for != Some(moment) {
            // Zero would switch the timer off.
            let left = moment.saturating_duration_since(now()).max(Duration::from_nanos(1));
            let value =
                Timespec { tv_sec: left.as_secs() as i64, tv_nsec: left.subsec_nanos().into() };
            let interval = Timespec { tv_sec: 0, tv_nsec: 0 };
            let timer = self.timer.get_ref();
            timerfd_settime(
                timer,
                TimerfdTimerFlags::empty(),
                &Itimerspec { it_interval: interval, it_value: value },
            )?;
            self.armed_for = Some(moment);
        }
        loop {
            let mut ready = self.timer.readable().await?;
            let mut expirations = [0; 8];
            // It is not if the readiness was that of an earlier arming.
            if let Ok(read) = ready.try_io(|timer| Ok(rustix::io::read(timer, &mut expirations)?)) {
                self.armed_for = None;
                return read.map(drop);
            }
        }
    }
}
