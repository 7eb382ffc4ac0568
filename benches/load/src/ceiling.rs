//! What no server on this machine could exceed: a bare echo, a bare group-commit log, the disk.
//!
//! The bare servers are processes of their own (this program again), so that their cost is measured
//! exactly as a real server's is.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use bytes::{Buf as _, Bytes, BytesMut};
use jute::OpCode;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use crate::args::{Bare, BareKind, Ceiling, Shape, Target};
use crate::clock::now;
use crate::drive::{latency, note};
use crate::outcome::{Figures, Meter, figures};
use crate::pipelined::{Limits, merged, run as load};
use crate::report::{Report, say};
use crate::requests::{Requests, frame};
use crate::session::set_data;
use crate::stage::{data, data_path};

/// Appends of the bare log that wait, at most.
const APPENDS_MAX: usize = 4_096;
/// Bytes appended before each sync of the disk measurement.
const SYNC_BYTES: usize = 1_024;
/// Syncs of the disk measurement, at most.
const SYNCS_MAX: u64 = 5_000;

/// Measures the ceilings.
pub(crate) async fn run(ceiling: &Ceiling) -> Result<()> {
    let mut report = Report::new(vec!["bare".to_owned()]);
    let alone = Shape { connections: 1, in_flight: 1, ..ceiling.shape.clone() };
    let file = ceiling.data.join("bare-log");
    for (name, kind) in [("echo", BareKind::Echo), ("log", BareKind::Log)] {
        for shape in [&ceiling.shape, &alone] {
            let title = format!("{name} {}×{}", shape.connections, shape.in_flight);
            report.add(&title, 0, bare_server(kind, &file, shape).await?);
        }
    }
    let title = format!("fdatasync {SYNC_BYTES} B");
    report.add(&title, 0, disk(&file, &ceiling.shape)?);
    std::fs::remove_file(&file)?;
    report.print(ceiling.json.as_deref())
}

/// A process of ours that ends with its owner.
struct Guarded(Child);

impl Drop for Guarded {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

async fn bare_server(kind: BareKind, file: &Path, shape: &Shape) -> Result<Figures> {
    let kind = if kind == BareKind::Echo { "echo" } else { "log" };
    let child = Command::new(std::env::current_exe()?)
        .args(["bare", kind, "--file"])
        .arg(file)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut child = Guarded(child);
    let mut line = String::new();
    let output = child.0.stdout.take().context("its output is piped")?;
    BufReader::new(output).read_line(&mut line)?;
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, line.trim().parse()?));
    let target = Target {
        name: kind.to_owned(),
        address,
        addresses: vec![address],
        pids: vec![child.0.id()],
    };
    let frames: Arc<[Bytes]> =
        Arc::from([frame(OpCode::SetData, &set_data(&data_path(0), &data(shape.bytes)))]);
    let mut loads = Vec::new();
    for _ in 0..shape.connections {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        loads.push((stream, Requests::Cycle { frames: Arc::clone(&frames), next: 0 }));
    }
    let limits = Limits { rate: None, ops: u64::MAX, is_session: false };
    let (tallies, spent) = load(&target, shape, limits, loads).await?;
    figures(&target, &merged(&tallies)?, spent, &[])
}

/// Times single appends, each synced.
fn disk(file: &Path, shape: &Shape) -> Result<Figures> {
    let own = std::process::id();
    let target = Target {
        name: "disk".to_owned(),
        address: (Ipv4Addr::LOCALHOST, 0).into(),
        addresses: Vec::new(),
        pids: vec![own],
    };
    let mut log = File::create(file)?;
    let mut times = latency()?;
    let meter = Meter::start(&target)?;
    let end = now() + shape.measured();
    while now() < end && times.len() < SYNCS_MAX {
        let start = now();
        log.write_all(&[b'x'; SYNC_BYTES])?;
        log.sync_data()?;
        note(&mut times, start, now());
    }
    figures(&target, &times, meter.stop()?, &[])
}

/// Runs a bare server until it is killed.
pub(crate) async fn bare(bare: &Bare) -> Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let (appends, queue) = mpsc::channel(APPENDS_MAX);
    let mut log = File::create(&bare.file)?;
    std::thread::spawn(move || group_commit(&mut log, queue));
    say(&listener.local_addr()?.port().to_string());
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        match bare.kind {
            BareKind::Echo => tokio::spawn(echo(stream)),
            BareKind::Log => tokio::spawn(logged(stream, appends.clone())),
        };
    }
}

async fn echo(mut stream: TcpStream) -> Result<()> {
    let mut buffer = BytesMut::new();
    loop {
        buffer.reserve(SYNC_BYTES);
        ensure!(stream.read_buf(&mut buffer).await? > 0, "the generator has what it wants");
        while !buffer.is_empty() {
            stream.write_buf(&mut buffer).await?;
        }
    }
}

/// Bytes to append, and who waits for that.
type Append = (Bytes, mpsc::Sender<Bytes>);

async fn logged(mut stream: TcpStream, log: mpsc::Sender<Append>) -> Result<()> {
    let (mut reader, mut writer) = stream.split();
    let (done, mut synced) = mpsc::channel(APPENDS_MAX);
    let (mut input, mut output) = (BytesMut::new(), BytesMut::new());
    loop {
        input.reserve(SYNC_BYTES);
        tokio::select! {
            read = reader.read_buf(&mut input) => {
                ensure!(read? > 0, "the generator has what it wants");
                let whole = whole_frames(&input);
                if whole > 0 {
                    log.send((input.split_to(whole).freeze(), done.clone())).await?;
                }
            }
            bytes = synced.recv() => output.extend_from_slice(&bytes.context("we hold a sender")?),
            written = writer.write_buf(&mut output), if output.has_remaining() => drop(written?),
        }
    }
}

/// How many bytes at the front are whole frames.
fn whole_frames(input: &[u8]) -> usize {
    let mut rest = input;
    while let Some((length, after)) = rest.split_first_chunk() {
        let length = usize::try_from(i32::from_be_bytes(*length)).unwrap_or(usize::MAX);
        let Some((_, after)) = after.split_at_checked(length) else { break };
        rest = after;
    }
    input.len() - rest.len()
}

/// Appends all that waits, syncs once, tells everybody; again and again.
fn group_commit(log: &mut File, mut queue: mpsc::Receiver<Append>) -> Result<()> {
    let mut bytes = Vec::new();
    let mut waiting = Vec::new();
    while let Some(first) = queue.blocking_recv() {
        waiting.push(first);
        while let Ok(next) = queue.try_recv() {
            waiting.push(next);
        }
        for (append, _) in &waiting {
            bytes.extend_from_slice(append);
        }
        log.write_all(&bytes)?;
        log.sync_data()?;
        bytes.clear();
        for (append, done) in waiting.drain(..) {
            // A connection that is gone waits for nothing.
            let _ = done.blocking_send(append);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_that_is_cut_waits() {
        let one = frame(OpCode::SetData, &set_data("/a", &data(3)));
        let mut input = BytesMut::from(&one[..]);
        input.extend_from_slice(&one);
        assert_eq!(whole_frames(&input), 2 * one.len());
        assert_eq!(whole_frames(&input[..2 * one.len() - 1]), one.len());
        assert_eq!(whole_frames(&input[..3]), 0);
    }
}
