//! `load` puts load on coordination servers and measures what it costs them: times, rates,
//! processor time of the server per operation, memory.
//!
//! It shares the machine with what it measures, so it looks at replies in place and sends ready
//! frames. Every loop ends by itself: after its seconds, its operations or its patience.

mod args;
mod ceiling;
mod client;
mod clock;
mod crowd;
mod drive;
mod ensemble;
mod failures;
mod fanout;
mod fill;
mod join;
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
mod steady;

use std::net::{Ipv4Addr, TcpListener};
use std::ops::Range;
use std::process::ExitCode;

use anyhow::{Result, ensure};
use clap::Parser as _;
use tokio::runtime::{Builder, Runtime};

use args::{Arguments, Command};

/// Where free ports are looked for.
const PORTS: Range<u16> = 20_000..30_000;

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
        Command::Failover(failover) => runtime(threads)?.block_on(failures::failover(failover)),
        Command::Rolling(rolling) => runtime(threads)?.block_on(failures::rolling(rolling)),
        Command::Join(join) => runtime(threads)?.block_on(join::run(join)),
        Command::Sessions(sessions) => runtime(threads)?.block_on(crowd::run(sessions)),
        Command::FreePort { count } => {
            free_ports(*count)?.iter().for_each(|port| report::say(&port.to_string()));
            Ok(())
        }
    }
}

/// Ports that nobody listens on, below those that the kernel gives to clients: a client that keeps
/// trying to reach a server that starts may be given the server's own port, and reach itself.
fn free_ports(count: usize) -> Result<Vec<u16>> {
    let from = PORTS.start + (std::process::id() % PORTS.len() as u32) as u16;
    let is_free = |port: &u16| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok();
    let all = (from..PORTS.end).chain(PORTS.start..from);
    let free: Vec<u16> = all.filter(is_free).take(count).collect();
    ensure!(free.len() == count, "fewer than {count} ports are free");
    Ok(free)
}

/// A runtime of so many threads; one thread needs no other to wake it.
fn runtime(threads: usize) -> Result<Runtime> {
    let runtime = match threads {
        0 | 1 => Builder::new_current_thread().enable_all().build(),
        _ => Builder::new_multi_thread().worker_threads(threads).enable_all().build(),
    };
    Ok(runtime?)
}
