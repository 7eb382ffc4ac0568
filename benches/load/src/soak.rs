//! Mixed load for long: reads with watches, changes, creations and deletions, ephemeral nodes, and
//! sessions that come, go and expire. What it leaves behind is always as much, so whatever grows is
//! a leak, a compaction or a purge that does not keep up.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use jute::request::{Multi, MultiOp};
use jute::{ErrorCode, OpCode};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::args::{Soak, Target};
use crate::clock::{Pacer, now, sleep_until};
use crate::drive::{Latency, latency, note};
use crate::fill;
use crate::outcome::{MIB, median};
use crate::process;
use crate::report::say;
use crate::session::{EPHEMERAL, PERSISTENT, Session, create, delete, read, set_data};
use crate::stage::data;

/// The node that holds all others.
const ROOT: &str = "/soak";
/// Nodes that all read, watch and change.
const SHARED_NODES: u64 = 100;
/// Nodes that each connection has created and not yet deleted.
const RING_NODES: u64 = 1_000;
/// Requests after which a connection begins again.
const CYCLE: u64 = 10;
/// Between two sessions that come and go.
const CHURN_PAUSE: Duration = Duration::from_millis(200);
/// Their timeout: the shortest that servers grant with their usual tick.
const CHURN_TIMEOUT_MS: i32 = 4_000;
/// Resident memory at the end, as a multiple of that after the first sixth of the time.
const MEMORY_GROWTH_MAX: f64 = 1.10;
/// The same for p99.9: it varies more.
const LATENCY_GROWTH_MAX: f64 = 2.0;
/// Open files that may come and go: sessions that expire are not evenly spread.
const DESCRIPTORS_SLACK: u64 = 64;

/// What was seen at the end of one interval.
#[derive(Clone, Copy, Debug)]
struct Sample {
    seconds: f64,
    rss_mib: f64,
    descriptors: u64,
    disk_mib: f64,
    operations: u64,
    p999_ms: f64,
}

/// Runs the load, prints a sample each interval and fails if something grew.
pub(crate) async fn run(soak: &Soak) -> Result<()> {
    let pid = *soak.server.pids.first().context("the server's PID is needed")?;
    prepare(&soak.server).await?;
    let times = Arc::new(Mutex::new(latency()?));
    let begin = now();
    let end = begin + Duration::from_secs_f64(soak.minutes * 60.0);
    let mut tasks = JoinSet::new();
    for number in 0..soak.connections as u64 {
        let session = Session::open(soak.server.address).await?;
        let interval = Duration::from_secs_f64(soak.connections as f64 / soak.rate);
        let first = begin + interval.mul_f64(number as f64 / soak.connections as f64);
        let worker = Worker { session, number, times: Arc::clone(&times) };
        tasks.spawn(worker.work(first, interval, end));
    }
    tasks.spawn(churn(soak.server.clone(), end));
    let mut samples = Vec::new();
    let interval = Duration::from_secs_f64(soak.sample_seconds);
    while now() + interval <= end {
        tokio::select! {
            () = sleep_until(begin + interval * (samples.len() as u32 + 1)) => {}
            Some(ended) = tasks.join_next() => ended??,
        }
        if now() < begin + interval * (samples.len() as u32 + 1) {
            continue;
        }
        let sample = sample(pid, &soak.data, begin, &times)?;
        say(&format!("{sample:?}"));
        samples.push(sample);
    }
    while let Some(ended) = tasks.join_next().await {
        ended??;
    }
    let mut complaints = complaints(&samples, soak.disk_mib_max as f64);
    complaints.extend(burst(soak, pid, interval).await?);
    if let Some(file) = &soak.json {
        let text = json!({ "samples": samples.iter().map(to_json).collect::<Vec<Value>>(),
            "complaints": complaints });
        std::fs::write(file, serde_json::to_string_pretty(&text)? + "\n")?;
    }
    ensure!(complaints.is_empty(), "not flat: {}", complaints.join("; "));
    say("flat: memory, open files, disk and p99.9");
    Ok(())
}

async fn prepare(target: &Target) -> Result<()> {
    let mut session = Session::open(target.address).await?;
    session.remove_all(ROOT).await?;
    session.ensure_node(ROOT).await?;
    let data = data(100);
    let nodes = (0..SHARED_NODES).map(|number| create(&shared(number), &data, PERSISTENT));
    session.call_all(OpCode::Create, nodes, None).await?;
    session.close().await
}

fn shared(number: u64) -> String {
    format!("{ROOT}/shared-{:03}", number % SHARED_NODES)
}

/// One connection that works.
struct Worker {
    session: Session,
    number: u64,
    times: Arc<Mutex<Latency>>,
}

impl Worker {
    /// Sends requests when they are due; their times count from then.
    async fn work(mut self, first: Instant, interval: Duration, end: Instant) -> Result<()> {
        let mut pacer = Pacer::new()?;
        self.session.ensure_node(&self.folder()).await?;
        for turn in 0_u64.. {
            let due = first + interval.mul_f64(turn as f64);
            if due >= end {
                break;
            }
            pacer.sleep_until(due).await?;
            self.turn(turn).await.with_context(|| format!("request {turn} of the soak"))?;
            let mut times = self.times.lock().unwrap_or_else(PoisonError::into_inner);
            note(&mut times, due, now());
        }
        self.session.close().await
    }

    fn folder(&self) -> String {
        format!("{ROOT}/worker-{:04}", self.number)
    }

    async fn turn(&mut self, turn: u64) -> Result<()> {
        let (cycle, step) = (turn / CYCLE, turn % CYCLE);
        let folder = self.folder();
        let node = |number: u64| format!("{folder}/n-{number:010}");
        let ephemeral = format!("{folder}/e-{cycle:010}");
        // Sizes from 50 to 1,000 bytes, in no simple order.
        let data = data(50 + (turn * 7_919 % 951) as usize);
        let session = &mut self.session;
        session.forget_events();
        let place = turn * 31 + self.number;
        let reply = match step {
            0..=2 => session.call(OpCode::GetData, &read(&shared(place), true)).await?,
            3 => session.call(OpCode::Exists, &read(&shared(place), true)).await?,
            4 => session.call(OpCode::SetData, &set_data(&shared(place), &data)).await?,
            5 => session.call(OpCode::Create, &create(&node(cycle), &data, PERSISTENT)).await?,
            6 if cycle < RING_NODES => session.call(OpCode::GetChildren, &read(ROOT, true)).await?,
            6 => session.call(OpCode::Delete, &delete(&node(cycle - RING_NODES))).await?,
            7 => session.call(OpCode::Create, &create(&ephemeral, &data, EPHEMERAL)).await?,
            8 => session.call(OpCode::Delete, &delete(&ephemeral)).await?,
            _ => {
                let ops =
                    (0..5).map(|next| MultiOp::SetData(set_data(&shared(place + next), &data)));
                session.call(OpCode::Multi, &Multi::Ops(ops.collect())).await?
            }
        };
        reply.succeeded("a request").map(drop)
    }
}

/// Sessions that open, leave an ephemeral node and a watch, and go: every other one without a word.
async fn churn(target: Target, end: Instant) -> Result<()> {
    for number in 0_u64.. {
        if now() >= end {
            break;
        }
        let mut session = Session::open_with(target.address, CHURN_TIMEOUT_MS).await?;
        let path = format!("{ROOT}/visitor-{number:010}");
        session.create(&path, &data(100), EPHEMERAL).await?;
        session.exists_watched(&shared(number)).await?;
        if number % 2 == 0 {
            session.close().await?;
        }
        tokio::time::sleep(CHURN_PAUSE).await;
    }
    Ok(())
}

/// Looks at the server, and begins to count anew.
fn sample(pid: u32, folder: &Path, begin: Instant, times: &Mutex<Latency>) -> Result<Sample> {
    let mut times = times.lock().unwrap_or_else(PoisonError::into_inner);
    let sample = Sample {
        seconds: (now() - begin).as_secs_f64(),
        rss_mib: process::memory(pid)?.resident_bytes as f64 / MIB,
        descriptors: process::descriptors(pid)?,
        disk_mib: process::disk_bytes(folder)? as f64 / MIB,
        operations: times.len(),
        p999_ms: times.value_at_quantile(0.999) as f64 / 1e6,
    };
    times.reset();
    Ok(sample)
}

fn to_json(sample: &Sample) -> Value {
    json!({
        "seconds": sample.seconds,
        "rss_mib": sample.rss_mib,
        "descriptors": sample.descriptors,
        "disk_mib": sample.disk_mib,
        "operations": sample.operations,
        "p999_ms": sample.p999_ms,
    })
}

/// What is not flat. The first sixth of the time is for warming up: five minutes of thirty.
fn complaints(samples: &[Sample], disk_mib_max: f64) -> Vec<String> {
    let sixth = samples.len().div_ceil(6);
    let Some((base, last)) = samples.get(sixth.saturating_sub(1)).zip(samples.last()) else {
        return vec!["there is no sample".to_owned()];
    };
    let mut complaints = Vec::new();
    if last.rss_mib > base.rss_mib * MEMORY_GROWTH_MAX {
        complaints.push(format!("memory grew from {} to {} MiB", base.rss_mib, last.rss_mib));
    }
    if last.descriptors > base.descriptors + DESCRIPTORS_SLACK {
        let (from, to) = (base.descriptors, last.descriptors);
        complaints.push(format!("open files grew from {from} to {to}"));
    }
    let disk = samples.iter().map(|sample| sample.disk_mib).fold(0.0, f64::max);
    if disk > disk_mib_max {
        complaints.push(format!("the data took {disk} MiB, more than {disk_mib_max}"));
    }
    // The first interval belongs to caches and compilers; a machine has its bad minutes too.
    let p999 = |some: &[Sample]| median(some.iter().map(|sample| sample.p999_ms).collect());
    let early = samples.get(1..=sixth.min(samples.len() - 1)).and_then(p999);
    let late = samples.get(samples.len() - sixth..).and_then(p999);
    if let (Some(early), Some(late)) = (early, late)
        && late > early * LATENCY_GROWTH_MAX
    {
        complaints.push(format!("p99.9 grew from {early} to {late} ms"));
    }
    if samples.iter().any(|sample| sample.operations == 0) {
        complaints.push("nothing was done for a whole interval".to_owned());
    }
    complaints
}

/// Creates and deletes many nodes at once, and complains if their memory does not come back.
async fn burst(soak: &Soak, pid: u32, pause: Duration) -> Result<Option<String>> {
    if soak.burst_nodes == 0 {
        return Ok(None);
    }
    let rss = || Ok::<_, anyhow::Error>(process::memory(pid)?.resident_bytes as f64 / MIB);
    let mut session = Session::open(soak.server.address).await?;
    session.remove_all(ROOT).await?;
    let before = rss()?;
    fill::create_nodes(soak.server.address, soak.burst_nodes, 100, 4).await?;
    let filled = rss()?;
    session.remove_all(fill::ROOT).await?;
    tokio::time::sleep(pause.min(Duration::from_secs(30))).await;
    session.sync().await?;
    let gone = session.call(OpCode::Exists, &read(fill::ROOT, false)).await?;
    ensure!(gone.is(ErrorCode::NoNode), "the burst was not deleted");
    session.close().await?;
    let after = rss()?;
    say(&format!(
        "burst of {} nodes: {before:.0} MiB before, {filled:.0} with them, {after:.0} after",
        soak.burst_nodes
    ));
    let has_returned =
        after <= before * MEMORY_GROWTH_MAX || filled - after >= (filled - before) * 3.0 / 4.0;
    Ok((!has_returned).then(|| format!("memory stays at {after:.0} MiB after the burst")))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How a sample worsens, and how the complaint begins.
    type Change = (fn(&mut Sample), &'static str);

    fn flat() -> Vec<Sample> {
        let sample = Sample {
            seconds: 60.0,
            rss_mib: 100.0,
            descriptors: 50,
            disk_mib: 80.0,
            operations: 1_000,
            p999_ms: 4.0,
        };
        vec![sample; 30]
    }

    #[test]
    fn a_flat_run_passes_and_each_kind_of_growth_is_told() {
        assert_eq!(complaints(&flat(), 90.0), Vec::<String>::new());
        let changes: [Change; 5] = [
            (|sample| sample.rss_mib = 111.0, "memory grew"),
            (|sample| sample.descriptors = 115, "open files grew"),
            (|sample| sample.disk_mib = 91.0, "the data took"),
            (|sample| sample.p999_ms = 8.1, "p99.9 grew"),
            (|sample| sample.operations = 0, "nothing was done"),
        ];
        for (change, expected) in changes {
            let mut samples = flat();
            samples[25..].iter_mut().for_each(change);
            let found = complaints(&samples, 90.0);
            assert!(found.len() == 1 && found[0].starts_with(expected), "{found:?}");
        }
        assert!(!complaints(&[], 90.0).is_empty());
    }
}
