//! Clients that come in masses, that stop in the middle, and that never read.

use std::io::Write as _;
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use compat_tests::control::now;
use jute::request::{AddWatch, Multi, MultiOp};
use jute::{OpCode, Version};

use crate::ANNOYED_BYTES_MAX;
use crate::arena::Arena;
use crate::raw::{await_end, dial, encoded, handshake, handshake_bytes, request, send};
use crate::support::client::{Client, set, watchless};

/// Milliseconds of sessions that nobody needs.
const TIMEOUT_MS: i32 = 2_000;
/// How long the server may take to end what makes no progress.
const CLOSING: Duration = Duration::from_secs(30);
/// What the server's memory may grow by with a few clients that do not read.
const UNREAD_BYTES_MAX: u64 = 256 << 20;

/// Frames that are never completed, before and after the handshake.
pub(crate) fn half_frames() -> Result<()> {
    let arena = Arena::start("half_frames", &[])?;
    let mut streams = Vec::new();
    for number in 0..200 {
        let mut stream = if number % 2 == 0 {
            let mut stream = dial(arena.port())?;
            let bytes = handshake_bytes(TIMEOUT_MS);
            stream.write_all(bytes.get(..number % bytes.len()).unwrap_or_default())?;
            stream
        } else {
            handshake(arena.port(), TIMEOUT_MS)?
        };
        if number % 2 == 1 {
            // The longest frame there is, of which little ever comes.
            stream.write_all(&0xf_ffff_i32.to_be_bytes())?;
            stream.write_all(&vec![0; number])?;
        }
        streams.push(stream);
    }
    arena.await_rounds(20)?;
    for (number, stream) in streams.iter_mut().enumerate() {
        await_end(stream, CLOSING).with_context(|| format!("connection {number}"))?;
    }
    arena.finish(ANNOYED_BYTES_MAX)
}

/// Connections that are gone before anybody has looked at them.
pub(crate) fn connection_flood() -> Result<()> {
    let arena = Arena::start("connection_flood", &[])?;
    for number in 0..4_000 {
        let mut stream = dial(arena.port())?;
        match number % 4 {
            0 => {}
            1 => send(&mut stream, &[0]),
            2 => send(&mut stream, b"srvr"),
            _ => send(&mut stream, &handshake_bytes(TIMEOUT_MS)),
        }
    }
    arena.finish(ANNOYED_BYTES_MAX)
}

/// Sessions whose clients are gone, with what belongs to them.
pub(crate) fn session_flood() -> Result<()> {
    let arena = Arena::start("session_flood", &[])?;
    let mut client = Client::open(arena.port(), 30_000)?;
    client.create("/left", b"", 0)?;
    for number in 0..500 {
        let mut left = Client::open(arena.port(), TIMEOUT_MS)?;
        left.create(&format!("/left/{number}"), b"", 1)?;
    }
    let deadline = now() + CLOSING;
    while !client.children("/left")?.0.is_empty() {
        ensure!(now() < deadline, "nodes are there without their sessions");
        std::thread::sleep(Duration::from_millis(50));
    }
    client.delete("/left")?;
    client.close()?;
    arena.finish(ANNOYED_BYTES_MAX)
}

/// More notifications than a client may leave unread.
pub(crate) fn watcher_that_never_reads() -> Result<()> {
    let arena = Arena::start("watcher_that_never_reads", &[])?;
    // A notification is as long as the path, and the system's own buffers take a few megabytes.
    let path = format!("/{}", "w".repeat(4_000));
    let mut writer = Client::open(arena.port(), 30_000)?;
    writer.create(&path, b"", 0)?;
    let mut watchers = Vec::new();
    for _ in 0..3 {
        let mut watcher = handshake(arena.port(), 40_000)?;
        let watch = AddWatch { path: Some("/".to_owned()), mode: 1 };
        watcher.write_all(&request(1, OpCode::AddWatch as i32, &encoded(&watch)))?;
        watchers.push(watcher);
    }
    arena.await_rounds(5)?;
    for _ in 0..100 {
        for _ in 0..100 {
            writer.queue(OpCode::SetData, &set(&path, b"x", Version::ANY));
        }
        writer.flush();
        for _ in 0..100 {
            ensure!(writer.reply()?.error == 0, "a write was refused");
        }
    }
    writer.close()?;
    for watcher in &mut watchers {
        let bytes = await_end(watcher, CLOSING)?;
        ensure!(bytes < 10_000 * path.len(), "all {bytes} bytes were kept for it");
    }
    // Their sessions live on for a while: clients come again and ask what changed.
    arena.finish(UNREAD_BYTES_MAX)
}

/// A node whose data fills a frame.
fn large_node(arena: &Arena) -> Result<()> {
    let mut client = Client::open(arena.port(), 30_000)?;
    client.create("/large", &vec![b'l'; 1_000_000], 0)?;
    client.close().map(drop)
}

/// Requests for hundreds of megabytes by clients that take none of them.
pub(crate) fn reader_that_never_reads() -> Result<()> {
    let arena = Arena::start("reader_that_never_reads", &[])?;
    large_node(&arena)?;
    let read = request(1, OpCode::GetData as i32, &encoded(&watchless("/large")));
    let mut readers = Vec::new();
    for _ in 0..6 {
        let mut reader = handshake(arena.port(), TIMEOUT_MS)?;
        send(&mut reader, &read.repeat(400));
        readers.push(reader);
    }
    arena.await_rounds(50)?;
    // One that takes its time gets everything.
    let mut slow = Client::open(arena.port(), 30_000)?;
    for _ in 0..100 {
        slow.queue(OpCode::GetData, &watchless("/large"));
    }
    slow.flush();
    for _ in 0..100 {
        let reply = slow.reply()?;
        ensure!(reply.body.len() > 1_000_000, "{} bytes", reply.body.len());
        std::thread::sleep(Duration::from_millis(2));
    }
    slow.close()?;
    for reader in &mut readers {
        // Those who were not heard of for so long lose their sessions.
        await_end(reader, CLOSING)?;
    }
    arena.finish(UNREAD_BYTES_MAX)
}

/// One small request whose reply would be larger than any memory.
pub(crate) fn much_in_one_reply() -> Result<()> {
    let arena = Arena::start("much_in_one_reply", &[])?;
    large_node(&arena)?;
    let reads = |count| {
        let read = MultiOp::GetData(watchless("/large"));
        encoded(&Multi::Ops(vec![read; count]))
    };
    for _ in 0..2 {
        let mut greedy = handshake(arena.port(), TIMEOUT_MS)?;
        send(&mut greedy, &request(1, OpCode::MultiRead as i32, &reads(30_000)));
        await_end(&mut greedy, CLOSING)?;
    }
    // What can be answered is.
    let mut modest = Client::open(arena.port(), 30_000)?;
    let read = MultiOp::GetData(watchless("/large"));
    let reply = modest.call(OpCode::MultiRead, &Multi::Ops(vec![read; 5]))?;
    ensure!(
        reply.error == 0 && reply.body.len() > 5_000_000,
        "{} {}",
        reply.error,
        reply.body.len()
    );
    modest.close()?;
    arena.finish(UNREAD_BYTES_MAX)
}

/// Clients that say good-bye and do not take what they have asked for.
pub(crate) fn leaves_without_reading() -> Result<()> {
    let arena = Arena::start("leaves_without_reading", &[])?;
    large_node(&arena)?;
    let read = request(1, OpCode::GetData as i32, &encoded(&watchless("/large")));
    let close = request(2, OpCode::CloseSession as i32, &[]);
    let mut leavers: Vec<TcpStream> = Vec::new();
    for reads in 0..16 {
        let mut leaver = handshake(arena.port(), 4_000)?;
        send(&mut leaver, &read.repeat(reads));
        send(&mut leaver, &close);
        leavers.push(leaver);
    }
    // They stay connected, and the server must not wait for them for ever.
    let deadline = now() + CLOSING;
    while arena.server.monitored("num_alive_connections")? > 2 {
        ensure!(now() < deadline, "connections of clients that left are kept");
        std::thread::sleep(Duration::from_millis(100));
    }
    drop(leavers);
    arena.finish(UNREAD_BYTES_MAX)
}

/// Four-letter words whose answers are long, asked by those who do not read them.
pub(crate) fn words_that_nobody_reads() -> Result<()> {
    let arena = Arena::start("words_that_nobody_reads", &[])?;
    let mut watcher = Client::open(arena.port(), 30_000)?;
    for number in 0..3_000 {
        let path = format!("/{}/{number}", "w".repeat(3_000));
        watcher.queue(OpCode::AddWatch, &AddWatch { path: Some(path), mode: 0 });
    }
    watcher.flush();
    for _ in 0..3_000 {
        ensure!(watcher.reply()?.error == 0, "a watch was refused");
    }
    let mut askers = Vec::new();
    for word in [b"wchc", b"wchp", b"dump", b"cons"].repeat(4) {
        let mut asker = dial(arena.port())?;
        send(&mut asker, word);
        askers.push(asker);
    }
    let deadline = now() + CLOSING;
    while arena.server.monitored("num_alive_connections")? > 3 {
        ensure!(now() < deadline, "connections of words that nobody reads are kept");
        std::thread::sleep(Duration::from_millis(100));
    }
    drop(askers);
    watcher.close()?;
    arena.finish(UNREAD_BYTES_MAX)
}
