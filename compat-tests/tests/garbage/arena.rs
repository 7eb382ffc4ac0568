//! A server, a client that behaves, and room for those who do not.
//!
//! Whatever is done to the server, the behaving client must see nothing of it; and when it is over,
//! the server must have given back every file, connection and session.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use compat_tests::control::now;
use jute::reply::WatcherEvent;
use jute::request::PathWatch;
use jute::{OpCode, Version, Xid};

use crate::support::client::{Arrival, Client, Nothing, set};
use crate::support::process::{END_TIMEOUT, Rookeeper};
use crate::support::say;

/// How long the behaving client may wait for one answer, on a machine that has much else to do.
const PATIENCE: Duration = Duration::from_secs(15);
/// How long the server may take to give everything back.
const CLEANUP_TIMEOUT: Duration = Duration::from_mins(1);
/// Rounds of the behaving client before anything bad happens.
const WARM_UP_ROUNDS: usize = 20;
/// Files that the databases may have opened meanwhile: they come and go as these are written.
const FILES_SLACK: usize = 40;
/// The connection on which the server was asked how many there are.
const SOCKETS_SLACK: usize = 1;
/// Milliseconds of the behaving client's session.
const TIMEOUT_MS: i32 = 10_000;

/// The server and the client that behaves.
pub(crate) struct Arena {
    pub(crate) server: Rookeeper,
    name: &'static str,
    witness: JoinHandle<Result<Duration>>,
    is_over: Arc<AtomicBool>,
    rounds: Arc<AtomicUsize>,
    sockets: usize,
    files: usize,
    resident_bytes: u64,
}

impl Arena {
    /// Starts both.
    pub(crate) fn start(name: &'static str, settings: &[(&str, &str)]) -> Result<Arena> {
        let usual = [
            ("tickTime", "500"),
            ("maxClientCnxns", "0"),
            ("nio.sessionlessCnxnTimeout", "3000"),
            ("clientPortListenBacklog", "1000"),
        ];
        let settings: Vec<_> = usual.iter().chain(settings).copied().collect();
        let server = Rookeeper::started(&settings)?;
        let (is_over, rounds) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let port = server.port();
        let witness = {
            let (is_over, rounds) = (Arc::clone(&is_over), Arc::clone(&rounds));
            std::thread::spawn(move || behave(port, &is_over, &rounds))
        };
        let (sockets, files, resident_bytes) = (0, 0, 0);
        let mut arena =
            Arena { server, name, witness, is_over, rounds, sockets, files, resident_bytes };
        arena.await_rounds(WARM_UP_ROUNDS)?;
        (arena.sockets, arena.files) = arena.server.open_files()?;
        arena.resident_bytes = arena.server.resident_bytes()?;
        Ok(arena)
    }

    /// The port.
    pub(crate) fn port(&self) -> u16 {
        self.server.port()
    }

    /// Waits until the behaving client has got on so much further.
    pub(crate) fn await_rounds(&self, more: usize) -> Result<()> {
        let goal = self.rounds.load(Ordering::SeqCst) + more;
        let deadline = now() + PATIENCE;
        while self.rounds.load(Ordering::SeqCst) < goal {
            ensure!(now() < deadline && !self.witness.is_finished(), "the client does not get on");
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }

    /// Ends both, and compares with the start. At its peak the server's memory may have grown by
    /// `growth_bytes_max`.
    pub(crate) fn finish(mut self, growth_bytes_max: u64) -> Result<()> {
        ensure!(self.server.runs()?, "the server has ended: {}", self.server.said());
        self.await_rounds(5)?;
        self.await_cleanup()?;
        self.is_over.store(true, Ordering::SeqCst);
        let slowest = self.witness.join().map_err(|_| anyhow!("the client panicked"))??;
        let grown = self.server.peak_bytes()?.saturating_sub(self.resident_bytes);
        let name = self.name;
        let mib = grown >> 20;
        say(&format!("{name}: slowest answer {slowest:?}, memory grew by up to {mib} MiB"));
        ensure!(grown <= growth_bytes_max, "memory grew by {mib} MiB");
        self.server.stop("TERM", END_TIMEOUT)
    }

    /// Waits until all connections, sessions and files are given back but those of the client that
    /// behaves.
    fn await_cleanup(&self) -> Result<()> {
        let deadline = now() + CLEANUP_TIMEOUT;
        loop {
            // The word that asks comes over a connection of its own.
            let connections = self.server.monitored("num_alive_connections")?;
            let sessions = self.server.monitored("global_sessions")?;
            let (sockets, files) = self.server.open_files()?;
            let is_closed = connections <= 2 && sockets <= self.sockets + SOCKETS_SLACK;
            if is_closed && sessions <= 1 && files <= self.files + FILES_SLACK {
                return Ok(());
            }
            let left = format!(
                "{connections} connections, {sessions} sessions, {sockets} sockets (before: {}), \
                 {files} files (before: {})",
                self.sockets, self.files
            );
            ensure!(now() < deadline, "not given back: {left}");
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

/// Writes, reads and watches, and compares everything, until it is over. Gives the slowest answer.
fn behave(port: u16, is_over: &AtomicBool, rounds: &AtomicUsize) -> Result<Duration> {
    let mut client = Client::open(port, TIMEOUT_MS)?;
    let mut slowest = Duration::ZERO;
    client.create("/witness", b"", 0)?;
    let mut version = 0;
    while !is_over.load(Ordering::SeqCst) {
        let began = now();
        one_round(&mut client, &mut version)
            .with_context(|| format!("the client that behaves, round {rounds:?}"))?;
        slowest = slowest.max(began.elapsed());
        rounds.fetch_add(1, Ordering::SeqCst);
        std::thread::sleep(Duration::from_millis(2));
    }
    client.close()?;
    Ok(slowest)
}

fn one_round(client: &mut Client, version: &mut i32) -> Result<()> {
    timely(|| client.call(OpCode::Ping, &Nothing))?;
    let watch = PathWatch { path: Some("/witness".to_owned()), watch: true };
    let reply = timely(|| client.call(OpCode::GetData, &watch))?;
    ensure!(reply.error == 0, "getData: {}", reply.error);
    client.queue(OpCode::SetData, &set("/witness", b"seen", Version(*version)));
    client.flush();
    *version += 1;
    match timely(|| client.receive())? {
        Arrival::Reply(event) if event.xid == Xid::NOTIFICATION => {
            let event: WatcherEvent = event.body()?;
            ensure!(event.path.as_deref() == Some("/witness"), "{event:?}");
        }
        other @ (Arrival::Reply(_) | Arrival::End) => {
            bail!("{other:?} in place of the notification")
        }
    }
    let reply = timely(|| client.reply())?;
    let stat: jute::Stat = reply.body()?;
    ensure!(stat.version == Version(*version), "{stat:?}, expected version {version}");
    let (path, created) = timely(|| client.create("/witness/child-", b"", 3))?;
    ensure!(created.ephemeral_owner == client.session.id, "{created:?}");
    timely(|| client.delete(&path))?;
    Ok(())
}

/// Does it, in time.
fn timely<T>(action: impl FnOnce() -> Result<T>) -> Result<T> {
    let began: Instant = now();
    let done = action()?;
    ensure!(began.elapsed() < PATIENCE, "an answer took {:?}", began.elapsed());
    Ok(done)
}
