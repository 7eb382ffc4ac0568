//! What was acknowledged outlives every way to end a server.
//!
//! Clients write as fast as they can until the server is gone: each knows what every one of its
//! nodes must look like, what it was told and what not. A restarted server must have all that was
//! acknowledged, exactly, and of the rest the first so many writes of each client, whole ones.

mod damage;
mod load;
mod model;
#[path = "../support/mod.rs"]
mod support;
mod world;

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use compat_tests::control::now;
use jute::OpCode;

use support::chance::Chance;
use support::client::{Client, Session};
use support::process::{Rookeeper, directory_bytes};
use world::World;

/// Tests at once: each runs a server and five clients.
const THREADS: usize = 2;
/// Acknowledged writes without which a round was none.
const ACKNOWLEDGED_MIN: usize = 20;
/// Short ticks, so that sessions can expire while a test waits.
const TICKS: (&str, &str) = ("tickTime", "500");
/// Sessions outlive a round and its verification, however busy the machine is.
const PATIENT: (&str, &str) = ("maxSessionTimeout", "300000");

fn main() -> ExitCode {
    support::run(
        &[
            ("killed_under_load_nothing_acknowledged_is_lost", killed_under_load),
            ("killed_while_it_flushes_and_purges_nothing_is_lost", killed_while_it_flushes),
            ("killed_while_it_starts_nothing_is_lost", killed_while_it_starts),
            ("killed_during_its_very_first_start_it_starts_again", killed_at_first_start),
            ("stopped_under_load_it_ends_soon_and_nothing_is_lost", stopped_under_load),
            ("sessions_get_their_full_timeout_after_a_restart", full_timeout_after_restart),
            ("sessions_outlive_a_pause_of_the_whole_server", pause),
            ("the_log_is_purged_while_it_is_written", purged_while_written),
            ("a_torn_write_at_the_end_of_the_log_is_cut_off", damage::torn_end),
            ("a_damaged_log_is_refused", damage::damaged_log),
            ("damaged_files_of_the_databases_are_refused", damage::damaged_databases),
        ],
        THREADS,
    )
}

/// How a round ends.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum End {
    Kill,
    Stop,
}

/// Lets the clients work for a while and ends the server.
fn round(server: &mut Rookeeper, world: &mut World, work: Duration, end: End) -> Result<()> {
    let load = world.work(server.port());
    std::thread::sleep(work);
    load.expect_end();
    let ended = match end {
        End::Kill => server.kill(),
        End::Stop => server.stop("TERM", Duration::from_secs(10)),
    };
    // Whoever has been told something wrong knows more than that the server ended.
    world.take(load)?;
    ended
}

/// Some milliseconds.
fn some_ms(chance: &mut Chance, from: usize, to: usize) -> Duration {
    Duration::from_millis((from + chance.below(to - from)) as u64)
}

fn rounds(name: &str, settings: &[(&str, &str)], rounds: usize, end: End) -> Result<()> {
    let mut chance = Chance::for_test(name);
    let mut server = Rookeeper::started(settings)?;
    let mut world = World::new(server.port(), chance.fork())?;
    for number in 0..rounds {
        let before = world.acknowledged();
        let work = some_ms(&mut chance, 50, 1_500);
        round(&mut server, &mut world, work, end).with_context(|| format!("round {number}"))?;
        if end == End::Kill && chance.happens(30) {
            // Twice in a row, and not even the second start may come to an end.
            server.launch()?;
            std::thread::sleep(some_ms(&mut chance, 0, 500));
            server.kill()?;
        }
        server.start()?;
        world.verify(server.port()).with_context(|| format!("after round {number}"))?;
        support::say(&format!("{name}: {} writes in {work:?}", world.acknowledged() - before));
    }
    let enough = rounds * ACKNOWLEDGED_MIN;
    ensure!(world.acknowledged() >= enough, "only {} writes", world.acknowledged());
    server.stop("TERM", support::process::END_TIMEOUT)
}

fn killed_under_load() -> Result<()> {
    rounds("killed_under_load", &[PATIENT], 12, End::Kill)
}

fn killed_while_it_flushes() -> Result<()> {
    rounds("killed_while_it_flushes", &[PATIENT, ("snapCount", "50")], 12, End::Kill)
}

fn stopped_under_load() -> Result<()> {
    rounds("stopped_under_load", &[PATIENT, ("snapCount", "500")], 4, End::Stop)
}

fn killed_while_it_starts() -> Result<()> {
    let mut chance = Chance::for_test("killed_while_it_starts");
    let mut server = Rookeeper::started(&[PATIENT, ("snapCount", "200")])?;
    let mut world = World::new(server.port(), chance.fork())?;
    round(&mut server, &mut world, Duration::from_millis(1_500), End::Kill)?;
    for number in 0..10 {
        server.launch()?;
        std::thread::sleep(some_ms(&mut chance, 0, 60 + 60 * number));
        server.kill().with_context(|| format!("start {number}"))?;
    }
    server.start()?;
    world.verify(server.port())?;
    server.stop("TERM", support::process::END_TIMEOUT)
}

fn killed_at_first_start() -> Result<()> {
    let mut chance = Chance::for_test("killed_at_first_start");
    for number in 0..10 {
        let mut server = Rookeeper::new(&[TICKS])?;
        for _ in 0..2 {
            server.launch()?;
            std::thread::sleep(some_ms(&mut chance, 0, 30 + 40 * number));
            server.kill().with_context(|| format!("server {number}"))?;
        }
        server.start().with_context(|| format!("server {number}"))?;
        let mut client = Client::open(server.port(), 10_000)?;
        client.create("/there", b"", 0)?;
    }
    Ok(())
}

/// A session whose client stays away keeps its node for its whole timeout, counted from the start
/// at the earliest, and no longer than it must.
fn full_timeout_after_restart() -> Result<()> {
    let timeout = Duration::from_secs(8);
    let mut server = Rookeeper::started(&[TICKS])?;
    let mut away = Client::open(server.port(), timeout.as_millis() as i32)?;
    away.create("/away", b"", 1)?;
    let mut here = Client::open(server.port(), timeout.as_millis() as i32)?;
    here.create("/here", b"", 1)?;
    let here: Session = here.session.clone();
    // Half of the timeout has passed when the server ends.
    std::thread::sleep(timeout / 2);
    server.kill()?;

    let launched = now();
    server.start()?;
    let mut here = Client::attach(server.port(), &here)?.context("the session is gone")?;
    let deadline = now() + timeout + Duration::from_secs(30);
    let mut seen = 0;
    loop {
        // Pings keep this session; its node must outlive the other.
        here.call(OpCode::Ping, &support::client::Nothing)?;
        let is_there = here.get("/away")?.is_some();
        let asked_within = launched.elapsed();
        ensure!(is_there || timeout <= asked_within, "expired after {asked_within:?}");
        if !is_there {
            break;
        }
        seen += 1;
        ensure!(now() < deadline, "not expired after {asked_within:?}");
        std::thread::sleep(Duration::from_millis(100));
    }
    ensure!(seen > 0, "the machine was too slow to see anything");
    ensure!(here.get("/here")?.is_some(), "the node of a living session is gone");
    Ok(())
}

/// A server that stood still for longer than a session's timeout hears its client first.
fn pause() -> Result<()> {
    let mut server = Rookeeper::started(&[("tickTime", "2000")])?;
    let mut client = Client::open(server.port(), 4_000)?;
    client.create("/mine", b"", 1)?;
    server.pause(Duration::from_secs(9))?;
    // As long as a client may take to notice.
    std::thread::sleep(Duration::from_millis(500));
    client.call(OpCode::Ping, &support::client::Nothing)?;
    ensure!(client.get("/mine")?.is_some(), "the node of a living session is gone");
    server.stop("TERM", support::process::END_TIMEOUT)
}

/// Far more is written than the log may keep, in many small writes and in fewer large ones.
fn purged_while_written() -> Result<()> {
    let mut server = Rookeeper::started(&[PATIENT, ("snapCount", "200")])?;
    let mut client = Client::open(server.port(), 60_000)?;
    client.create("/n", b"", 0)?;
    let small: u64 = write_many(&mut client, 100_000, 20)?;
    let after_small = directory_bytes(&server.raft())?;
    let large: u64 = write_many(&mut client, 5_000, 100_000)?;
    let bytes = directory_bytes(&server.raft())?;
    support::say(&format!("purge: {small} bytes left {after_small}, {large} more left {bytes}"));
    ensure!(bytes < LOG_BYTES_MAX, "{large} bytes were written, {bytes} are kept");

    server.kill()?;
    server.start()?;
    let bytes = directory_bytes(&server.raft())?;
    ensure!(bytes < LOG_BYTES_MAX, "{bytes} are kept after a restart");
    let mut client = Client::open(server.port(), 60_000)?;
    let (data, stat) = client.get("/n")?.context("/n is gone")?;
    ensure!(stat.version.0 == 105_000 && data.len() == 100_000, "{stat:?}");
    server.stop("TERM", support::process::END_TIMEOUT)
}

/// What the log may take on disk: three buffers of 64 MiB, and files that are being merged. Less
/// than is written.
const LOG_BYTES_MAX: u64 = 384 << 20;

/// Sets a node's data so often; gives the bytes of data.
fn write_many(client: &mut Client, count: usize, bytes: usize) -> Result<u64> {
    let data = Bytes::from(vec![b'x'; bytes]);
    let set = jute::request::SetData {
        path: Some("/n".to_owned()),
        data: Some(data),
        version: jute::Version::ANY,
    };
    let window = (4_000_000 / bytes).clamp(1, 1_000).min(count);
    let mut answered = 0;
    let mut sent = 0;
    while answered < count {
        while sent < count && sent < answered + window {
            client.queue(OpCode::SetData, &set);
            sent += 1;
        }
        client.flush();
        let reply = client.reply()?;
        ensure!(reply.error == 0, "refused with {}", reply.error);
        answered += 1;
    }
    Ok((count * bytes) as u64)
}
