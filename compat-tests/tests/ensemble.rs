//! Faults strike an ensemble while clients work; every schedule, workload and seed is a test. So is every
//! mutant, a proxy that breaks a promise: it must be caught.
//!
//! `ROOKEEPER_BIN` names the server; `ENSEMBLE_SERVER=zookeeper` takes the real one instead. The program
//! `ensemble` of this package plays any other schedule, workload or seed.

use std::time::Duration;

use compat_tests::Judge;
use compat_tests::ensemble::faults::Schedule;
use compat_tests::ensemble::proxy::Mutant;
use compat_tests::ensemble::trial::Plan;
use compat_tests::ensemble::workload::Workload;
use compat_tests::server::ROOKEEPER_BIN;
use libtest_mimic::{Arguments, Failed, Trial};

/// What runs unless more is asked for: few enough for two processors and four minutes.
const USUAL: &[(usize, Schedule, Workload, u64)] = &[
    (3, Schedule::Calm, Workload::All, 1),
    (3, Schedule::Kill, Workload::Registers, 2),
    (3, Schedule::Kill, Workload::Moves, 3),
    (3, Schedule::Kill, Workload::Watches, 4),
    (5, Schedule::Kill, Workload::All, 5),
    (3, Schedule::Roll, Workload::Locks, 6),
    (3, Schedule::Pause, Workload::Ephemerals, 7),
    (3, Schedule::Pause, Workload::Counters, 8),
    (3, Schedule::Wipe, Workload::Sequences, 9),
    (3, Schedule::Isolate, Workload::Registers, 10),
    (3, Schedule::OneWay, Workload::Moves, 11),
    (3, Schedule::Bridge, Workload::Watches, 12),
    (3, Schedule::Mixed, Workload::All, 13),
];

/// How long faults strike.
const TIME: Duration = Duration::from_secs(8);

/// How long a mutant has to do harm.
const MUTANT_TIME: Duration = Duration::from_secs(3);

fn plans() -> Vec<Plan> {
    let is_real =
        std::env::var("ENSEMBLE_SERVER").is_ok_and(|name| name == Judge::Zookeeper.name());
    let judge = if is_real { Judge::Zookeeper } else { Judge::Rookeeper };
    let usual = USUAL.iter().map(|&(servers, schedule, workload, seed)| {
        let (time, mutant) = (TIME, None);
        Plan { judge, servers, schedule, workload, seed, time, mutant }
    });
    let mutants = Mutant::ALL.iter().map(|&mutant| Plan {
        judge,
        servers: 3,
        schedule: Schedule::Calm,
        workload: mutant.card().1,
        seed: 1,
        time: MUTANT_TIME,
        mutant: Some(mutant),
    });
    usual.chain(mutants).collect()
}

fn say(text: &str) {
    use std::io::Write as _;
    // Whoever does not listen misses nothing that is judged.
    let _ = std::io::stderr().write_all(format!("{text}\n").as_bytes());
}

/// A mutant must be caught, for what it does.
fn catch(plan: &Plan, mutant: Mutant) -> Result<(), Failed> {
    let (_, _, expected) = mutant.card();
    let found = match plan.run() {
        Ok(report) => {
            say(&report.summary);
            report.anomalies.iter().map(ToString::to_string).collect()
        }
        Err(error) => vec![format!("{error:#}")],
    };
    let is_caught = found.iter().any(|what| expected.iter().any(|one| what.contains(one)));
    let found: Vec<_> = found.iter().take(5).collect();
    is_caught.then_some(()).ok_or_else(|| format!("{expected:?} is not in {found:#?}").into())
}

fn run(plan: &Plan) -> Result<(), Failed> {
    if let Some(reason) = plan.refused() {
        say(&format!("{}: skipped: {reason}", plan.name()));
        return Ok(());
    }
    if let Some(mutant) = plan.mutant {
        return catch(plan, mutant);
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
