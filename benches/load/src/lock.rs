//! The lock recipe: queue up with an ephemeral sequential node, watch only the one in front.

use anyhow::{Context as _, Result, bail, ensure};
use bytes::Bytes;
use jute::OpCode;
use tokio::task::JoinSet;

use crate::args::{Measure, Target};
use crate::clock::{now, sleep_until};
use crate::drive::{Latency, Window, latency, note};
use crate::outcome::{Figures, Meter, figures};
use crate::session::{EPHEMERAL_SEQUENTIAL, Session, delete};
use crate::stage::lock_path;

/// Looks at the queue during one acquisition, at most: each follows a change of it.
const LOOKS_MAX: usize = 10_000;

/// Measures acquisitions, from asking to holding; a lock is released at once.
pub(crate) async fn measure(target: &Target, measure: &Measure) -> Result<Figures> {
    let mut opened = Vec::new();
    for number in 0..measure.lock_clients {
        opened.push(Session::open(target.address_of(number)).await?);
    }
    let start = now() + measure.shape.warmup();
    let window = Window { start, end: start + measure.shape.measured() };
    let ops = measure.ops.div_ceil(measure.lock_clients.max(1) as u64);
    let mut clients = JoinSet::new();
    for (number, session) in opened.into_iter().enumerate() {
        let dice = Dice(0x9e37_79b9_7f4a_7c15 ^ (number as u64 + 1));
        clients.spawn(client(session, dice, measure.locks, window, ops));
    }
    sleep_until(window.start).await;
    let meter = Meter::start(target)?;
    sleep_until(window.end).await;
    let spent = meter.stop()?;
    let mut all = latency()?;
    while let Some(times) = clients.join_next().await {
        all.add(times??)?;
    }
    ensure!(!all.is_empty(), "no lock was acquired while it was measured");
    figures(target, &all, spent, &[])
}

/// A reproducible choice of locks (xorshift).
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound.max(1) as u64) as usize
    }
}

async fn client(
    mut session: Session,
    mut dice: Dice,
    locks: usize,
    window: Window,
    ops: u64,
) -> Result<Latency> {
    let mut times = latency()?;
    while now() < window.end && times.len() < ops {
        let lock = lock_path(dice.below(locks));
        let asked = now();
        let ours = acquire(&mut session, &lock).await?;
        let held = now();
        if held >= window.start && held < window.end {
            note(&mut times, asked, held);
        }
        session.call(OpCode::Delete, &delete(&ours)).await?.succeeded(&ours)?;
    }
    session.close().await?;
    Ok(times)
}

/// Acquires the lock and returns the path of our node, whose deletion releases it.
async fn acquire(session: &mut Session, lock: &str) -> Result<String> {
    let ours = session.create(&format!("{lock}/n-"), &Bytes::new(), EPHEMERAL_SEQUENTIAL).await?;
    let our_name = ours.rsplit('/').next().context("a path without a name")?.to_owned();
    for _ in 0..LOOKS_MAX {
        let names = session.children(lock).await?;
        // All names have the same length, so that their order is that of their numbers.
        let Some(front) = names.into_iter().filter(|name| *name < our_name).max() else {
            session.forget_events();
            return Ok(ours);
        };
        let front = format!("{lock}/{front}");
        if session.exists_watched(&front).await? {
            while session.event().await?.path.as_deref() != Some(&front) {}
        }
    }
    bail!("{ours} did not get its turn in {LOOKS_MAX} looks")
}
