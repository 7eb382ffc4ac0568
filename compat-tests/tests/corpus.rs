//! Every script is a test: always that it can be read, and with `ROOKEEPER_BIN` that it passes.

use compat_tests::pool::{Pool, spread};
use compat_tests::server::ROOKEEPER_BIN;
use compat_tests::{Judge, Script, coverage, verdict};
use libtest_mimic::{Arguments, Failed, Trial};
use std::sync::Arc;

/// Scripts at once: most of their time is waiting.
const THREADS: usize = 8;

fn main() -> std::process::ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(THREADS);
    let scripts = match compat_tests::load_all() {
        Ok(scripts) => spread(scripts),
        Err(error) => {
            eprintln!("{error:#}");
            return std::process::ExitCode::FAILURE;
        }
    };
    let uncovered = coverage::missing(&scripts);
    let has_server = std::env::var_os(ROOKEEPER_BIN).is_some();
    let pool = Arc::new(Pool::new(Judge::Rookeeper, None));
    let mut trials: Vec<Trial> = scripts
        .into_iter()
        .map(|script| {
            let pool = Arc::clone(&pool);
            Trial::test(script.name.clone(), move || run(&pool, &script))
                .with_ignored_flag(!has_server)
        })
        .collect();
    trials.push(Trial::test("the_whole_checklist_is_covered", move || {
        let is_covered = uncovered.is_empty();
        is_covered.then_some(()).ok_or_else(|| format!("no script covers {uncovered:?}").into())
    }));
    libtest_mimic::run(&arguments, trials).exit_code()
}

fn run(pool: &Pool, script: &Script) -> Result<(), Failed> {
    let played = pool.play(script).map_err(|error| format!("{error:#}"))?;
    let differences = verdict::differences(script, pool.judge(), &played.transcripts);
    if differences.is_empty() { Ok(()) } else { Err(differences.into()) }
}
