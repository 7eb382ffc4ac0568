//! What a measurement gives: times, rates and what they cost the server.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::args::Target;
use crate::clock::now;
use crate::drive::Latency;
use crate::process;

/// Bytes of a mebibyte.
pub(crate) const MIB: f64 = 1_048_576.0;

/// Figures by name; the name ends with the unit.
pub(crate) type Figures = BTreeMap<&'static str, f64>;

/// Measures what a stretch of time costs the server, and the generator itself.
pub(crate) struct Meter {
    started: Instant,
    pids: Vec<u32>,
    servers: Option<Duration>,
    generator: Duration,
}

/// What it cost.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Spent {
    pub(crate) elapsed: Duration,
    pub(crate) server: Option<Duration>,
    pub(crate) generator: Duration,
}

impl Meter {
    pub(crate) fn start(target: &Target) -> Result<Meter> {
        Ok(Meter {
            pids: target.pids.clone(),
            servers: process::cpu_of_all(&target.pids)?,
            generator: process::cpu(std::process::id())?,
            started: now(),
        })
    }

    pub(crate) fn stop(&self) -> Result<Spent> {
        let elapsed = now().saturating_duration_since(self.started);
        let server = match (process::cpu_of_all(&self.pids)?, self.servers) {
            (Some(after), Some(before)) => Some(after.saturating_sub(before)),
            _ => None,
        };
        let generator = process::cpu(std::process::id())?.saturating_sub(self.generator);
        Ok(Spent { elapsed, server, generator })
    }
}

/// The figures of `latency.len()` operations that took `latency` and cost `spent`.
///
/// `others` are added to them.
pub(crate) fn figures(
    target: &Target,
    latency: &Latency,
    spent: Spent,
    others: &[(&'static str, f64)],
) -> Result<Figures> {
    let operations = latency.len() as f64;
    let micros = |quantile| latency.value_at_quantile(quantile) as f64 / 1e3;
    let mut figures = Figures::from([
        ("operations", operations),
        ("rate_per_s", operations / spent.elapsed.as_secs_f64()),
        ("p50_us", micros(0.5)),
        ("p90_us", micros(0.9)),
        ("p99_us", micros(0.99)),
        ("p999_us", micros(0.999)),
        ("max_us", latency.max() as f64 / 1e3),
        ("generator_cores", spent.generator.as_secs_f64() / spent.elapsed.as_secs_f64()),
    ]);
    if let Some(server) = spent.server {
        figures.insert("cpu_us", server.as_secs_f64() * 1e6 / operations.max(1.0));
        figures.insert("server_cores", server.as_secs_f64() / spent.elapsed.as_secs_f64());
    }
    if let Some(bytes) = process::resident_bytes_of_all(&target.pids)? {
        figures.insert("rss_mib", bytes as f64 / MIB);
    }
    figures.extend(others.iter().copied());
    Ok(figures)
}

/// The median of each figure over several rounds.
pub(crate) fn medians(rounds: &[Figures]) -> Figures {
    let mut all: BTreeMap<&'static str, Vec<f64>> = BTreeMap::new();
    for (name, value) in rounds.iter().flatten() {
        all.entry(name).or_default().push(*value);
    }
    all.into_iter().filter_map(|(name, values)| Some((name, median(values)?))).collect()
}

/// The middle value, or the mean of the two in the middle.
pub(crate) fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let upper = values.get(values.len() / 2)?;
    let lower = values.get((values.len() - 1) / 2)?;
    Some(f64::midpoint(*lower, *upper))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_median_is_in_the_middle() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(vec![4.0, 1.0, 2.0, 3.0]), Some(2.5));
        assert_eq!(median(vec![]), None);
        let rounds = [1.0, 9.0, 2.0].map(|value| Figures::from([("rate_per_s", value)]));
        assert_eq!(medians(&rounds), Figures::from([("rate_per_s", 2.0)]));
    }
}
