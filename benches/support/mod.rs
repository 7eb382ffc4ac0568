//! What the benches share: timing single runs, so that the worst case stands beside the mean.
#![allow(dead_code, reason = "not every bench does everything")]
#![allow(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a bench measures real time and tells a person"
)]

use std::time::{Duration, Instant};

/// Runs that are timed one by one.
const RUNS: usize = 20_000;

/// How long `run` takes.
pub(crate) fn timed(run: impl FnOnce()) -> Duration {
    let start = Instant::now();
    run();
    start.elapsed()
}

/// Prints mean, 99.9th percentile and worst of many single runs.
pub(crate) fn worst(name: &str, mut run: impl FnMut()) {
    let times = (0..RUNS).map(|_| timed(&mut run)).collect();
    print(name, times);
}

/// Prints mean, 99.9th percentile and worst.
pub(crate) fn print(name: &str, mut times: Vec<Duration>) {
    times.sort_unstable();
    let mean = times.iter().sum::<Duration>() / times.len().max(1) as u32;
    let at = |share: f64| times.get((times.len() as f64 * share) as usize).copied();
    let (high, worst) = (at(0.999).unwrap_or_default(), times.last().copied().unwrap_or_default());
    println!("{name}: mean {mean:.1?}, p99.9 {high:.1?}, worst {worst:.1?} of {}", times.len());
}
