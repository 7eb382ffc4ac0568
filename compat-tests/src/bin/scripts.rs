//! Plays scripts by hand, against a real ZooKeeper or Rookeeper, and records what the judge says.

#![allow(clippy::print_stdout, reason = "a program for the command line")]

use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context, Result, bail};
use compat_tests::pool::{Pool, spread};
use compat_tests::{Judge, Script, coverage, load_all, scripts_dir, verdict};

const USAGE: &str = "\
scripts [--server zookeeper|rookeeper] [--at HOST:PORT] [--record] [--jobs N] [FILTER …]
scripts --coverage

Plays the scripts whose name contains a FILTER, or all.
  --server    whose expectations apply, and what is started (default: zookeeper);
              rookeeper is the program that $ROOKEEPER_BIN names
  --at        plays against a server that runs already
  --record    writes what was told as the new expectations
  --jobs      scripts at once (default: 8)
  --coverage  which point of the checklist is covered by which scripts";

struct Options {
    judge: Judge,
    address: Option<SocketAddr>,
    record: bool,
    jobs: usize,
    coverage: bool,
    filters: Vec<String>,
}

fn options() -> Result<Options> {
    let mut options = Options {
        judge: Judge::Zookeeper,
        address: None,
        record: false,
        jobs: 8,
        coverage: false,
        filters: Vec::new(),
    };
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().with_context(|| format!("{argument} needs a value"));
        match argument.as_str() {
            "--server" => {
                let name = value()?;
                let judge = Judge::ALL.into_iter().find(|judge| judge.name() == name);
                options.judge = judge.with_context(|| format!("no server is called {name}"))?;
            }
            "--at" => options.address = Some(value()?.parse()?),
            "--record" => options.record = true,
            "--jobs" => options.jobs = value()?.parse()?,
            "--coverage" => options.coverage = true,
            "--help" | "-h" => bail!("{USAGE}"),
            other if other.starts_with('-') => bail!("unknown option {other}\n{USAGE}"),
            filter => options.filters.push(filter.to_owned()),
        }
    }
    Ok(options)
}

fn main() -> ExitCode {
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::from(2)
        }
    }
}

fn run() -> Result<bool> {
    let options = options()?;
    let mut scripts = load_all()?;
    if options.coverage {
        print!("{}", coverage::table(&scripts));
        return Ok(true);
    }
    scripts.retain(|script| {
        options.filters.is_empty()
            || options.filters.iter().any(|filter| script.name.contains(filter.as_str()))
    });
    let scripts = spread(scripts);
    let pool = Pool::new(options.judge, options.address);
    let next = AtomicUsize::new(0);
    let counts = Mutex::new((0, 0, 0));
    std::thread::scope(|scope| {
        for _ in 0..options.jobs.clamp(1, 64) {
            scope.spawn(|| {
                while let Some(script) = scripts.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let outcome = one(&pool, script, &options);
                    report(script, &outcome, &counts);
                }
            });
        }
    });
    let (passed, failed, skipped) =
        *counts.lock().map_err(|_| anyhow::anyhow!("a script panicked"))?;
    println!("{}: {passed} passed, {failed} failed, {skipped} skipped", options.judge.name());
    Ok(failed == 0 && passed > 0)
}

/// What came of a script.
enum Outcome {
    Passed(&'static str),
    Skipped(&'static str),
    Failed(String),
}

fn one(pool: &Pool, script: &Script, options: &Options) -> Outcome {
    if let Some(reason) = pool.refuses(script) {
        return Outcome::Skipped(reason);
    }
    let played = match pool.play(script) {
        Ok(played) => played,
        Err(error) => return Outcome::Failed(format!("{error:#}\n")),
    };
    let differences = verdict::differences(script, pool.judge(), &played.transcripts);
    if differences.is_empty() {
        return Outcome::Passed("ok");
    }
    if !options.record {
        return Outcome::Failed(differences);
    }
    let path = scripts_dir().join(format!("{}.txt", script.name));
    match std::fs::write(&path, script.rewrite(pool.judge(), &played.transcripts)) {
        Ok(()) => Outcome::Passed("recorded"),
        Err(error) => Outcome::Failed(format!("{}: {error}\n", path.display())),
    }
}

fn report(script: &Script, outcome: &Outcome, counts: &Mutex<(usize, usize, usize)>) {
    let Ok(mut counts) = counts.lock() else { return };
    match outcome {
        Outcome::Passed(how) => {
            counts.0 += 1;
            println!("{} ... {how}", script.name);
        }
        Outcome::Failed(why) => {
            counts.1 += 1;
            print!("{} ... FAILED\n{why}", script.name);
        }
        Outcome::Skipped(why) => {
            counts.2 += 1;
            println!("{} ... skipped: {why}", script.name);
        }
    }
}
