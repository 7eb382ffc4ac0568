//! Wiring and start order, nothing else.

use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use rookeeper::admin::{FourLetterWords, Reporter};
use rookeeper::cli::{self, Invocation};
use rookeeper::clock::Clock;
use rookeeper::config::limits::{CROWD_MIN, SHUTDOWN_DRAIN_MS};
use rookeeper::config::{Config, Level, Warning};
use rookeeper::net::{Limits, Listener, connections_max, raise_descriptor_limit};
use rookeeper::raft::{Ensemble, Started, recover};
use rookeeper::server::{Helpers, LogLines, Service, Throttles, serve};
use rookeeper::session::{Credentials, SessionIds};
use rookeeper::store::Store;
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Exit code of a server that could not start or had to stop. Upstream's for an unexpected error.
const EXIT_FAILURE: u8 = 1;
/// File descriptors without which the databases may run out of them.
const DESCRIPTORS_MIN: u64 = 256;
/// Which messages are logged unless `RUST_LOG` says otherwise: ours, and what worries the others.
const LOG_FILTER: &str = "info,openraft=error";

fn main() -> ExitCode {
    let flags = ["SERVER_JVMFLAGS", "JVMFLAGS"].map(|name| std::env::var(name).unwrap_or_default());
    let version = concat!("rookeeper ", env!("CARGO_PKG_VERSION"));
    let serve = match cli::parse(std::env::args_os(), &flags.join(" "), version) {
        Ok(Invocation::Serve(serve)) => serve,
        Ok(Invocation::Print(text)) => {
            use std::io::Write as _;
            let printed = writeln!(std::io::stdout(), "{}", text.trim_end());
            return if printed.is_ok() { ExitCode::SUCCESS } else { ExitCode::from(EXIT_FAILURE) };
        }
        Err(error) => return refuse(&error, error.exit_code()),
    };
    let (config, warnings) = match serve.load() {
        Ok(loaded) => loaded,
        Err(error) => return refuse(&error, error.exit_code()),
    };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(LOG_FILTER));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    warnings.iter().for_each(log);

    let (runtime, crowd) = match (runtime("rookeeper"), runtime("crowd")) {
        (Ok(runtime), Ok(crowd)) => (runtime, crowd),
        (Err(error), _) | (_, Err(error)) => return refuse(&error, EXIT_FAILURE),
    };
    if let Some(recover) = serve.recover {
        return match runtime.block_on(recovered(&config, recover.others_are_lost)) {
            Ok(done) => {
                tracing::info!("{done}");
                ExitCode::SUCCESS
            }
            Err(problem) => refuse(&problem, EXIT_FAILURE),
        };
    }
    let ended = runtime.block_on(run(config, crowd.handle().clone()));
    crowd.shutdown_timeout(Duration::from_millis(SHUTDOWN_DRAIN_MS));
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) if problem.is::<Restart>() => refuse(&start_again(), EXIT_FAILURE),
        Err(problem) => refuse(&problem, EXIT_FAILURE),
    }
}

/// The server has to start again, as another than it was.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Restart(String);

/// Becomes a new process in the place of this one; returns only why that is not possible.
fn start_again() -> std::io::Error {
    use std::os::unix::process::CommandExt as _;
    let mut arguments = std::env::args_os();
    let own = arguments.next().unwrap_or_default();
    let program = std::env::current_exe().unwrap_or_else(|_| own.into());
    std::process::Command::new(program).args(arguments).exec()
}

/// Threads for clients. Handing a request from one to another costs more than serving it, so they are
/// few: half as many as processors, and again as many for the crowd.
fn runtime(name: &str) -> std::io::Result<Runtime> {
    let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    Builder::new_multi_thread()
        .worker_threads(processors.div_ceil(2))
        .thread_name(name)
        .enable_all()
        .build()
}

/// Says on standard error, in one line, why the server does not run.
fn refuse(problem: &dyn std::fmt::Display, code: u8) -> ExitCode {
    use std::io::Write as _;
    // Nobody is left to tell if standard error is gone.
    let _ = writeln!(std::io::stderr(), "rookeeper: {problem}");
    ExitCode::from(code)
}

fn log(warning: &Warning) {
    match warning.level {
        Level::Debug => tracing::debug!("{}", warning.text),
        Level::Info => tracing::info!("{}", warning.text),
        Level::Warn => tracing::warn!("{}", warning.text),
    }
}

/// Runs the server until it is told to stop.
async fn run(config: Config, crowd: Handle) -> Result<(), Box<dyn std::error::Error>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let config = Arc::new(config);
    let clock = Clock::system();
    let descriptors = raise_descriptor_limit();
    if let Some(few) = descriptors.filter(|limit| *limit < DESCRIPTORS_MIN) {
        tracing::warn!(
            "only {few} file descriptors are granted; raise the limit (ulimit -n) to {DESCRIPTORS_MIN} \
             or more: the databases may run out of them, which stops the server"
        );
    }
    // The port first: a second server on this machine must not wait for the first one's data.
    let listener = Listener::reserve(
        config.client_address.as_deref(),
        config.client_port,
        config.client_tcp_keep_alive,
        Limits {
            per_address_max: config.max_client_cnxns,
            total_max: connections_max(config.max_cnxns, descriptors),
        },
    )
    .await?;
    let store = open_store(&config)?;
    let started = tokio::select! {
        started = Ensemble::start(&config, store, clock) => started?,
        _ = terminate.recv() => return Ok(()),
        _ = interrupt.recv() => return Ok(()),
    };
    let Started { ensemble, replica, fault } = started;
    let my_id = replica.home().server;
    let words = FourLetterWords::new(Reporter {
        config: Arc::clone(&config),
        replica: Arc::clone(&replica),
        ensemble: Arc::clone(&ensemble),
        clock,
        client_port: listener.address()?.port(),
    });
    let service = Arc::new(Service {
        credentials: credentials(&config)?,
        session_ids: parking_lot::Mutex::new(SessionIds::new(my_id, clock.wall_ms())?),
        config: Arc::clone(&config),
        replica,
        ensemble: Arc::clone(&ensemble),
        words: Arc::new(words),
        throttles: Arc::new(Throttles::new(&config, clock.monotonic_ms())),
        log_lines: LogLines::new(clock),
        clock,
        connections: AtomicU64::new(0),
    });
    let listener = listener.listen(config.listen_backlog)?;
    announce(listener.address()?, &config);
    let stop = CancellationToken::new();
    let helpers = Helpers { handle: crowd, crowd_min: CROWD_MIN };
    let serving = tokio::spawn(serve(service, listener, helpers, stop.clone()));
    let problem = tokio::select! {
        _ = terminate.recv() => None,
        _ = interrupt.recv() => None,
        problem = fault.raised() => Some(problem),
    };
    if let Some(problem) = problem {
        // Nothing may be answered or written any more.
        return Err(if fault.is_restart() { Restart(problem).into() } else { problem.into() });
    }
    tracing::info!("stopping");
    ensemble.step_aside().await;
    stop.cancel();
    serving.await?;
    ensemble.stop().await;
    tracing::info!("stopped");
    Ok(())
}

/// Makes the data of this server an ensemble of its own.
async fn recovered(
    config: &Config,
    others_are_lost: bool,
) -> Result<String, Box<dyn std::error::Error>> {
    let store = open_store(config)?;
    Ok(recover(config, &store, Clock::system(), others_are_lost).await?)
}

fn open_store(config: &Config) -> Result<Store, Box<dyn std::error::Error>> {
    let dirs = [("dataDir", &config.data_dir), ("dataLogDir", &config.data_log_dir)];
    if let Some((key, dir)) = dirs.into_iter().find(|(_, dir)| !dir.exists())
        && !config.data_dir_autocreate
    {
        let dir = dir.display();
        let problem = format!("{key}={dir} does not exist and datadir.autocreate=false; create it");
        return Err(problem.into());
    }
    let log_dir = (config.data_log_dir != config.data_dir).then_some(config.data_log_dir.as_path());
    Ok(Store::open(&config.data_dir, log_dir)?)
}

fn credentials(config: &Config) -> Result<Credentials, Box<dyn std::error::Error>> {
    Ok(Credentials {
        super_digest: config.super_digest.clone(),
        digest_enabled: config.digest_auth_enabled,
        algorithm: config.digest_algorithm.name().parse()?,
    })
}

/// Says where the server listens, also where logs are filtered.
fn announce(address: SocketAddr, config: &Config) {
    tracing::info!(
        "rookeeper {} serves ZooKeeper clients on {address}, data in {}",
        env!("CARGO_PKG_VERSION"),
        config.data_dir.display()
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_autocreate_a_missing_directory_is_named_and_not_created() {
        let home = tempfile::tempdir().unwrap();
        let there = home.path().join("there");
        std::fs::create_dir(&there).unwrap();
        let missing = home.path().join("missing");
        let open = |data_dir: &std::path::Path, log_dir: &std::path::Path, create: bool| {
            let (data_dir, data_log_dir) = (data_dir.to_owned(), log_dir.to_owned());
            let data_dir_autocreate = create;
            let config = Config::embedded_default();
            open_store(&Config { data_dir, data_log_dir, data_dir_autocreate, ..config })
        };

        let data = open(&missing, &missing, false).map(drop).unwrap_err().to_string();
        let log = open(&there, &missing, false).map(drop).unwrap_err().to_string();

        assert!(data.starts_with("dataDir=") && log.starts_with("dataLogDir="), "{data}, {log}");
        assert!(!missing.exists());
        assert!(open(&there, &there, false).is_ok());
        assert!(open(&missing, &missing, true).is_ok());
    }
}
