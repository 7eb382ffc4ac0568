//! Strikes ensembles with faults by hand: any schedule, any work, any seeds, as long as you like.

#![allow(clippy::print_stdout, reason = "a program for the command line")]

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use compat_tests::Judge;
use compat_tests::ensemble::faults::Schedule;
use compat_tests::ensemble::trial::Plan;
use compat_tests::ensemble::workload::Workload;

const USAGE: &str = "\
ensemble [--server zookeeper|rookeeper] [--schedule NAME] [--workload NAME] [--seed N] [--seeds COUNT]
         [--seconds N] [--servers N]

  --server    what is started (default: rookeeper, which $ROOKEEPER_BIN names)
  --schedule  which faults strike (default: every schedule)
  --workload  what clients do (default: every workload)
  --seed      the first seed (default: 1)
  --seeds     how many seeds, one after the other (default: 1)
  --seconds   how long faults strike (default: 8)
  --servers   how many servers (default: 3)

A trial with a broken promise keeps its servers' directories and its history, and the exit code is 1.";

struct Options {
    judge: Judge,
    schedules: Vec<Schedule>,
    workloads: Vec<Workload>,
    seed: u64,
    seeds: u64,
    seconds: u64,
    servers: usize,
}

fn options() -> Result<Options> {
    let mut options = Options {
        judge: Judge::Rookeeper,
        schedules: Schedule::ALL.to_vec(),
        workloads: Workload::ALL.to_vec(),
        seed: 1,
        seeds: 1,
        seconds: 8,
        servers: 3,
    };
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        if ["--help", "-h"].contains(&argument.as_str()) {
            bail!("{USAGE}");
        }
        let value = arguments.next().with_context(|| format!("{argument} needs a value"))?;
        match argument.as_str() {
            "--server" => {
                let judge = Judge::ALL.into_iter().find(|judge| judge.name() == value);
                options.judge = judge.with_context(|| format!("no server is called {value}"))?;
            }
            "--schedule" => options.schedules.retain(|schedule| schedule.name() == value),
            "--workload" => options.workloads.retain(|workload| workload.name() == value),
            "--seed" => options.seed = value.parse()?,
            "--seeds" => options.seeds = value.parse()?,
            "--seconds" => options.seconds = value.parse()?,
            "--servers" => options.servers = value.parse()?,
            other => bail!("unknown option {other}\n{USAGE}"),
        }
    }
    if options.schedules.is_empty() || options.workloads.is_empty() {
        bail!("no such schedule or workload; there are {:?}", (Schedule::ALL, Workload::ALL));
    }
    Ok(options)
}

/// Tries one plan; gives whether all promises were kept.
fn attempt(plan: &Plan) -> bool {
    if let Some(reason) = plan.refused() {
        println!("{}: skipped: {reason}", plan.name());
        return true;
    }
    match plan.run() {
        Ok(report) => {
            println!("{}", report.summary);
            if !report.anomalies.is_empty() {
                println!("{}", report.complaint());
            }
            report.anomalies.is_empty()
        }
        Err(error) => {
            println!("{}: {error:#}", plan.name());
            false
        }
    }
}

fn main() -> ExitCode {
    let options = match options() {
        Ok(options) => options,
        Err(error) => {
            eprintln!("{error:#}");
            return ExitCode::from(2);
        }
    };
    let (mut tried, mut broken) = (0, Vec::new());
    for seed in options.seed..options.seed + options.seeds {
        for &schedule in &options.schedules {
            for &workload in &options.workloads {
                let Options { judge, servers, seconds, .. } = options;
                let time = Duration::from_secs(seconds);
                let mutant = None;
                let plan = Plan { judge, servers, schedule, workload, seed, time, mutant };
                tried += 1;
                if !attempt(&plan) {
                    broken.push(plan.name());
                }
            }
        }
    }
    println!("{tried} trials, {} of them with broken promises: {}", broken.len(), broken.join(" "));
    if broken.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
