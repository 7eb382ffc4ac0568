//! Faults strike an ensemble while clients work; every schedule, workload and seed is a test.
//!
//! `ROOKEEPER_BIN` names the server. `ENSEMBLE_SERVER=zookeeper` takes the real one instead,
//! `ENSEMBLE_SEEDS=7,8` other seeds, `ENSEMBLE_ALL=1` every schedule with every workload,
//! `ENSEMBLE_SECONDS=60` longer storms, `ENSEMBLE_SERVERS=5` more servers.

use std::time::Duration;

use compat_tests::Judge;
use compat_tests::ensemble::faults::Schedule;
use compat_tests::ensemble::trial::Plan;
use compat_tests::ensemble::workload::Workload;
use compat_tests::server::ROOKEEPER_BIN;
use libtest_mimic::{Arguments, Failed, Trial};

/// What runs unless more is asked for: few enough for two processors and four minutes.
const USUAL: &[(Schedule, Workload, u64)] = &[
    (Schedule::Calm, Workload::All, 1),
    (Schedule::Kill, Workload::Registers, 2),
    (Schedule::Kill, Workload::Moves, 3),
    (Schedule::Kill, Workload::Watches, 4),
    (Schedule::Kill, Workload::All, 5),
    (Schedule::Roll, Workload::Locks, 6),
    (Schedule::Pause, Workload::Ephemerals, 7),
    (Schedule::Pause, Workload::Counters, 8),
    (Schedule::Wipe, Workload::Sequences, 9),
    (Schedule::Isolate, Workload::Registers, 10),
    (Schedule::OneWay, Workload::Moves, 11),
    (Schedule::Bridge, Workload::Watches, 12),
    (Schedule::Mixed, Workload::All, 13),
];

/// How long faults strike.
const SECONDS: u64 = 8;

fn number(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(otherwise)
}

fn plans() -> Vec<Plan> {
    let is_real = std::env::var("ENSEMBLE_SERVER").is_ok_and(|name| name == "zookeeper");
    let judge = if is_real { Judge::Zookeeper } else { Judge::Rookeeper };
    let seeds = std::env::var("ENSEMBLE_SEEDS").unwrap_or_default();
    let seeds: Vec<u64> = seeds.split(',').filter_map(|seed| seed.trim().parse().ok()).collect();
    let mut chosen: Vec<(Schedule, Workload, u64)> = Vec::new();
    if number("ENSEMBLE_ALL", 0) > 0 {
        for schedule in Schedule::ALL {
            chosen.extend(Workload::ALL.iter().map(|workload| (*schedule, *workload, 1)));
        }
    } else {
        chosen.extend(USUAL);
    }
    if !seeds.is_empty() {
        let mut pairs: Vec<_> = chosen.iter().map(|(one, two, _)| (*one, *two)).collect();
        pairs.dedup();
        let with = |(schedule, workload)| seeds.iter().map(move |seed| (schedule, workload, *seed));
        chosen = pairs.into_iter().flat_map(with).collect();
    }
    let time = Duration::from_secs(number("ENSEMBLE_SECONDS", SECONDS));
    let servers = number("ENSEMBLE_SERVERS", 3) as usize;
    let plan = |(schedule, workload, seed)| Plan { judge, servers, schedule, workload, seed, time };
    chosen.into_iter().map(plan).collect()
}

fn say(text: &str) {
    use std::io::Write as _;
    // Whoever does not listen misses nothing that is judged.
    let _ = std::io::stderr().write_all(format!("{text}\n").as_bytes());
}

fn run(plan: &Plan) -> Result<(), Failed> {
    if let Some(reason) = plan.refused() {
        say(&format!("{}: skipped: {reason}", plan.name()));
        return Ok(());
    }
    let report = plan.run().map_err(|error| Failed::from(format!("{error:#}")))?;
    say(&report.summary);
    if report.anomalies.is_empty() { Ok(()) } else { Err(report.complaint().into()) }
}

fn main() -> std::process::ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(1);
    let plans = plans();
    let is_real = plans.first().is_some_and(|plan| plan.judge == Judge::Zookeeper);
    let has_server = is_real || std::env::var_os(ROOKEEPER_BIN).is_some();
    if !has_server && !arguments.list {
        say(&format!("ignored: {ROOKEEPER_BIN} names no server to run"));
    }
    let trial =
        |plan: Plan| Trial::test(plan.name(), move || run(&plan)).with_ignored_flag(!has_server);
    libtest_mimic::run(&arguments, plans.into_iter().map(trial).collect()).exit_code()
}
