//! What the tests that run the built server share: the process, a client, and chance.
//!
//! Nothing here judges: it starts, stops, sends, receives, and never waits without a limit.

#![allow(dead_code, reason = "each test uses its part of this")]

pub(crate) mod chance;
pub(crate) mod client;
pub(crate) mod process;

use std::process::ExitCode;

use compat_tests::server::ROOKEEPER_BIN;
use libtest_mimic::{Arguments, Failed, Trial};

/// A test that needs the server.
pub(crate) type Test = (&'static str, fn() -> anyhow::Result<()>);

/// Says something about a test, in one piece although others speak as well.
pub(crate) fn say(text: &str) {
    use std::io::Write as _;
    // Whoever does not listen misses nothing that is judged.
    let _ = std::io::stderr().write_all(format!("{text}\n").as_bytes());
}

/// Runs the tests; without a server to run they are shown as ignored, and why is said.
pub(crate) fn run(tests: &[Test], threads: usize) -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(threads);
    let has_server = std::env::var_os(ROOKEEPER_BIN).is_some();
    if !has_server && !arguments.list {
        say(&format!("ignored: {ROOKEEPER_BIN} names no server to run"));
    }
    let trials = tests.iter().map(|&(name, test)| {
        let checked = move || test().map_err(|error| Failed::from(format!("{error:?}")));
        Trial::test(name, checked).with_ignored_flag(!has_server)
    });
    libtest_mimic::run(&arguments, trials.collect()).exit_code()
}
