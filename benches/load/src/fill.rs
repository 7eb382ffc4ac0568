//! Many nodes: creating them, and waiting for a server that finds them again.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use jute::reply::GetDataReply;
use jute::{OpCode, decode_all};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::args::{Fill, FirstRead};
use crate::clock::wall_ns;
use crate::outcome::{MIB, Meter};
use crate::process;
use crate::report::say;
use crate::session::{PERSISTENT, Session, create, read};
use crate::stage::data;

/// The node that holds all others.
pub(crate) const ROOT: &str = "/fill";
/// Nodes in one folder.
const FOLDER_NODES: u64 = 1_000;
/// Between two attempts to reach a server that starts.
const ATTEMPT_PAUSE: Duration = Duration::from_millis(5);
/// Attempts that wait for an answer at once.
const ATTEMPTS_MAX: usize = 1_000;

fn folder(number: u64) -> String {
    format!("{ROOT}/d-{number:05}")
}

fn node(number: u64) -> String {
    format!("{}/n-{number:010}", folder(number / FOLDER_NODES))
}

/// Creates `nodes` nodes; the number of folders is beside that.
pub(crate) async fn create_nodes(
    address: SocketAddr,
    nodes: u64,
    bytes: usize,
    connections: u64,
) -> Result<()> {
    let mut session = Session::open(address).await?;
    session.ensure_node(ROOT).await?;
    session.close().await?;
    let mut tasks = JoinSet::new();
    for connection in 0..connections {
        tasks.spawn(async move {
            let data = data(bytes);
            let mut session = Session::open(address).await?;
            let folders = nodes.div_ceil(FOLDER_NODES);
            for number in (connection..folders).step_by(connections.max(1) as usize) {
                session.ensure_node(&folder(number)).await?;
                let end = ((number + 1) * FOLDER_NODES).min(nodes);
                let new = (number * FOLDER_NODES..end)
                    .map(|number| create(&node(number), &data, PERSISTENT));
                session.call_all(OpCode::Create, new, None).await?;
            }
            session.close().await
        });
    }
    while let Some(done) = tasks.join_next().await {
        done??;
    }
    Ok(())
}

/// Fills a server and tells what that took.
pub(crate) async fn run(fill: &Fill) -> Result<()> {
    let target = &fill.server;
    let meter = Meter::start(target)?;
    let work = create_nodes(target.address, fill.nodes, fill.bytes, fill.connections);
    timeout(Duration::from_secs_f64(fill.seconds), work)
        .await
        .context("filling takes too long")??;
    let spent = meter.stop()?;
    say(&format!(
        "{}: created {} nodes of {} bytes in {:.1} s with {:.1} s of processor time",
        target.name,
        fill.nodes,
        fill.bytes,
        spent.elapsed.as_secs_f64(),
        spent.server.unwrap_or_default().as_secs_f64(),
    ));
    tokio::time::sleep(Duration::from_secs_f64(fill.idle_seconds)).await;
    for pid in &target.pids {
        say_memory(&target.name, *pid)?;
    }
    Ok(())
}

fn say_memory(name: &str, pid: u32) -> Result<()> {
    let memory = process::memory(pid)?;
    let (resident, peak) = (memory.resident_bytes as f64 / MIB, memory.peak_bytes as f64 / MIB);
    say(&format!("{name}: resident at rest {resident:.0} MiB, at peak {peak:.0} MiB"));
    Ok(())
}

/// Waits until the server answers a read, and tells how long that took and what it cost.
pub(crate) async fn first_read(first: &FirstRead) -> Result<()> {
    let target = &first.server;
    let patience = Duration::from_secs_f64(first.seconds);
    let unanswered =
        timeout(patience, until_answered(first)).await.context("no read is answered")??;
    let elapsed_ms = wall_ns().saturating_sub(first.since_ns) as f64 / 1e6;
    let pid: u32 = fs::read_to_string(&first.pid_file)?.trim().parse().context("the pid file")?;
    let cpu = process::cpu(pid)?;
    say(&format!(
        "{}: first read answered after {elapsed_ms:.0} ms with {:.2} s of processor time; \
         {unanswered} connections were accepted before and not answered",
        target.name,
        cpu.as_secs_f64(),
    ));
    tokio::time::sleep(Duration::from_secs_f64(first.idle_seconds)).await;
    say_memory(&target.name, pid)
}

/// Tries again and again; returns how many connections were accepted and then closed.
///
/// A starting server may accept a connection and never answer on it, so nobody waits for the
/// attempt before; all go on, and the first to succeed counts.
async fn until_answered(first: &FirstRead) -> Result<u64> {
    let mut unanswered = 0;
    let mut attempts = JoinSet::new();
    let mut pause = tokio::time::interval(ATTEMPT_PAUSE);
    loop {
        tokio::select! {
            _ = pause.tick(), if attempts.len() < ATTEMPTS_MAX => {
                attempts.spawn(attempt(first.clone()));
            }
            Some(ended) = attempts.join_next() => match ended? {
                Ok(()) => return Ok(unanswered),
                Err(error) => {
                    let io = error.downcast_ref::<io::Error>().map(io::Error::kind);
                    unanswered += u64::from(io != Some(io::ErrorKind::ConnectionRefused));
                }
            },
        }
    }
}

async fn attempt(first: FirstRead) -> Result<()> {
    read_last(first.server.address, first.nodes, first.bytes).await
}

/// Reads the last of so many nodes; fails unless it has so many bytes.
pub(crate) async fn read_last(address: SocketAddr, nodes: u64, expected: usize) -> Result<()> {
    let path = node(nodes.saturating_sub(1));
    let mut session = Session::open(address).await?;
    let reply = session.call(OpCode::GetData, &read(&path, false)).await?.succeeded(&path)?;
    let reply: GetDataReply = decode_all(&reply)?;
    let bytes = reply.data.unwrap_or_default().len();
    ensure!(bytes == expected, "{path} has {bytes} bytes");
    session.close().await
}
