//! `load` puts load on coordination servers and measures what it costs them: times, rates,
//! processor time of the server per operation, memory.
//!
//! It shares the machine with what it measures, so it looks at replies in place and sends ready
//! frames. Every loop ends by itself: after its seconds, its operations or its patience.

mod args;
mod ceiling;
mod clock;
mod drive;
mod fanout;
mod fill;
mod lock;
mod measure;
mod outcome;
mod pipelined;
mod process;
mod report;
mod requests;
mod session;
mod sessions;
mod soak;
mod stage;

use std::net::{Ipv4Addr, TcpListener};
use std::process::ExitCode;

use anyhow::Result;
use clap::Parser as _;
use tokio::runtime::{Builder, Runtime};

use args::{Arguments, Command};

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            report::complain(&format!("load: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<()> {
    process::raise_descriptor_limit()?;
    let cores = std::thread::available_parallelism()?.get();
    let threads = arguments.threads.unwrap_or((cores / 2).max(1));
    match &arguments.command {
        Command::Bare(bare) => runtime(cores)?.block_on(ceiling::bare(bare)),
        Command::Measure(measure) => runtime(threads)?.block_on(measure::run(measure)),
        Command::Ceiling(ceiling) => runtime(threads)?.block_on(ceiling::run(ceiling)),
        Command::Fill(fill) => runtime(threads)?.block_on(fill::run(fill)),
        Command::FirstRead(first) => runtime(threads)?.block_on(fill::first_read(first)),
        Command::Soak(soak) => runtime(threads)?.block_on(soak::run(soak)),
        Command::FreePort => {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
            report::say(&listener.local_addr()?.port().to_string());
            Ok(())
        }
    }
}

/// A runtime of so many threads; one thread needs no other to wake it.
fn runtime(threads: usize) -> Result<Runtime> {
    let runtime = match threads {
        0 | 1 => Builder::new_current_thread().enable_all().build(),
        _ => Builder::new_multi_thread().worker_threads(threads).enable_all().build(),
    };
    Ok(runtime?)
}
