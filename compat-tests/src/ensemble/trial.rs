//! One trial: an ensemble, a schedule, a workload and a seed.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};

use super::chance::Chance;
use super::check::{self, Anomaly};
use super::client::World;
use super::faults::{Faults, Schedule};
use super::history::{History, Recorder};
use super::proxy::{Mutant, Proxies};
use super::walk::{Tree, walk};
use super::workload::Workload;
use super::{Ensemble, net};
use crate::control::now;
use crate::script::Judge;

/// How long clients may go on after faults have ended.
const CALM: Duration = Duration::from_millis(700);
/// How long all writes may have to wait: faults last for five seconds at most.
const WAIT_MAX: Duration = Duration::from_secs(20);
/// The first number of the clients that read the trees at the end.
const READERS: usize = 10_000;
/// The most anomalies that are told.
const TOLD_MAX: usize = 8;

/// What is to be tried.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Which server.
    pub judge: Judge,
    /// How many of them.
    pub servers: usize,
    /// What strikes.
    pub schedule: Schedule,
    /// What clients do.
    pub workload: Workload,
    /// How chance falls.
    pub seed: u64,
    /// How long faults strike.
    pub time: Duration,
    /// What stands between clients and servers and breaks promises.
    pub mutant: Option<Mutant>,
}

/// What came of it.
#[derive(Debug)]
pub struct Report {
    /// What was done, in a line.
    pub summary: String,
    /// What was wrong.
    pub anomalies: Vec<Anomaly>,
    /// Where everything was kept, if something was wrong.
    pub kept: Option<PathBuf>,
}

impl Report {
    /// What was wrong, in lines.
    pub fn complaint(&self) -> String {
        let mut text = String::new();
        for anomaly in self.anomalies.iter().take(TOLD_MAX) {
            text.extend(["- ", &anomaly.to_string(), "\n"]);
        }
        let count = self.anomalies.len();
        let kept = self.kept.as_deref().unwrap_or_else(|| std::path::Path::new("nowhere"));
        format!(
            "{count} broken promises; history and servers are kept in {}\n{text}",
            kept.display()
        )
    }
}

impl Plan {
    /// Its name.
    pub fn name(&self) -> String {
        if let Some(mutant) = self.mutant {
            return format!("mutant/{}", mutant.card().0);
        }
        format!("{}/{}/{}", self.schedule.name(), self.workload.name(), self.seed)
    }

    /// Why it cannot be tried here, if it cannot.
    pub fn refused(&self) -> Option<String> {
        self.schedule.needs_namespaces().then(net::no_namespaces).flatten()
    }

    /// Tries it.
    ///
    /// # Errors
    ///
    /// Servers or clients did not do what no fault excuses.
    pub fn run(&self) -> Result<Report> {
        let started = now();
        let in_namespaces = self.schedule.needs_namespaces();
        let mut ensemble = Ensemble::new(self.judge, self.servers, in_namespaces)?;
        let recorder = Recorder::default();
        let outcome = self.play(&mut ensemble, &recorder);
        let history = recorder.history();
        let (struck, trees) = match outcome {
            Ok(outcome) => outcome,
            Err(error) if self.mutant.is_some() => return Err(error),
            Err(error) => {
                let kept = keep(&mut ensemble, &history)?;
                return Err(error.context(format!("everything is kept in {}", kept.display())));
            }
        };
        let checking = now();
        let mut anomalies = check::all(&history, &trees);
        let wait = Duration::from_nanos(longest_gap(&history));
        if wait > WAIT_MAX {
            let what = format!("no write was answered for {wait:?}");
            anomalies.push(Anomaly { promise: "a majority goes on", what });
        }
        let found = anomalies.len();
        if self.judge == Judge::Zookeeper {
            anomalies.retain(|anomaly| !check::GAPS_OF_ZOOKEEPER.contains(&anomaly.promise));
        }
        let gaps = found - anomalies.len();
        let summary = format!(
            "{}: {}, {} faults, {} servers fell by themselves, {gaps} known gaps, {:.1} s and {:.1} s to check: {}",
            self.name(),
            counts(&history),
            struck.len(),
            ensemble.falls,
            checking.duration_since(started).as_secs_f64(),
            now().duration_since(checking).as_secs_f64(),
            struck.join(", "),
        );
        let is_fine = anomalies.is_empty() || self.mutant.is_some();
        let kept = if is_fine { None } else { Some(keep(&mut ensemble, &history)?) };
        Ok(Report { summary, anomalies, kept })
    }

    fn play(
        &self,
        ensemble: &mut Ensemble,
        recorder: &Recorder,
    ) -> Result<(Vec<String>, Vec<Tree>)> {
        let chance = Chance::from_seed(self.seed);
        ensemble.start()?;
        let servers = ensemble.addresses();
        let proxies = self.mutant.map(|mutant| Proxies::start(&servers, mutant)).transpose()?;
        let world = World {
            addresses: proxies.as_ref().map_or(servers, |proxies| proxies.addresses.clone()),
            recorder: recorder.clone(),
            stop: Arc::new(AtomicBool::new(false)),
            chance: chance.branch(1),
            restarts_xids: self.judge == Judge::Rookeeper,
        };
        self.workload.prepare(&world).context("preparing")?;
        let spawn = |life: super::workload::Life| std::thread::spawn(life);
        let lives: Vec<_> = self.workload.lives(&world).into_iter().map(spawn).collect();
        let struck = self.strike(ensemble, chance.branch(2));
        world.stop.store(true, Ordering::SeqCst);
        let lived = join(lives);
        let mut struck = struck?;
        lived?;
        if let Some(proxies) = &proxies {
            struck.push(format!("broken by a proxy {} times", proxies.acts()));
        }
        let trees = self.read(ensemble, &world)?;
        Ok((struck, trees))
    }

    fn strike(&self, ensemble: &mut Ensemble, chance: Chance) -> Result<Vec<String>> {
        let end = now() + self.time;
        let mut faults = Faults::new(ensemble, chance);
        while now() < end {
            faults.round(self.schedule)?;
        }
        let struck = faults.struck;
        ensemble.heal().with_context(|| format!("after {struck:?}"))?;
        std::thread::sleep(CALM);
        Ok(struck)
    }

    /// Reads the tree of every server.
    fn read(&self, ensemble: &Ensemble, world: &World) -> Result<Vec<Tree>> {
        self.workload.settle(world)?;
        let numbers = ensemble.numbers().into_iter();
        let read = |number: usize| {
            walk(world, READERS + number, ensemble.address(number))
                .with_context(|| format!("reading server {number}"))
        };
        numbers.map(read).collect()
    }
}

fn join(lives: Vec<JoinHandle<Result<()>>>) -> Result<()> {
    // All of them, so that none still runs when the servers go.
    let lived: Vec<_> = lives.into_iter().map(JoinHandle::join).collect();
    lived.into_iter().try_for_each(|life| life.map_err(|_| anyhow!("a client panicked"))?)
}

fn keep(ensemble: &mut Ensemble, history: &History) -> Result<PathBuf> {
    let kept = ensemble.keep();
    std::fs::write(kept.join("history"), history.text())?;
    Ok(kept)
}

/// How much happened, in words.
fn counts(history: &History) -> String {
    let unknown = history.operations.iter().filter(|one| one.reply.is_none());
    let unknown_writes = unknown.clone().filter(|one| one.ask.is_write()).count();
    let refused = history.operations.iter().filter(|one| one.refused().is_some()).count();
    format!(
        "{} operations, {} unknown ({unknown_writes} writes), {refused} refused, {} events, {} \
         connections, {} expiries, longest wait for a write {:.1} s",
        history.operations.len(),
        unknown.count(),
        history.notices.len(),
        history.connections.len(),
        history.expiries.len(),
        longest_gap(history) as f64 / 1e9,
    )
}

/// The longest time in which no write was answered.
fn longest_gap(history: &History) -> u64 {
    let writes = history.operations.iter().filter(|one| one.ask.is_write());
    let mut ends: Vec<u64> =
        writes.filter(|one| one.told().is_some()).map(super::history::Operation::end).collect();
    ends.sort_unstable();
    ends.iter().zip(ends.iter().skip(1)).map(|(a, b)| b - a).max().unwrap_or_default()
}
