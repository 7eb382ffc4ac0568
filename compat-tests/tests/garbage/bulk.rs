//! Requests that are right, and as large or as many as they can be.

use std::io::{Read as _, Write as _};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use jute::reply::{GetAclReply, PathsReply};
use jute::request::{self, Check, Multi, MultiHeader, MultiOp, PathOnly, SetAcl};
use jute::{Acl, Decode as _, ErrorCode, Id, OpCode, Perms, Version};

use crate::ANNOYED_BYTES_MAX;
use crate::arena::Arena;
use crate::raw::{await_end, encoded, handshake, request as raw_request, send};
use crate::support::client::{Client, Nothing, create, delete, set, watchless};

/// How long a client may be kept waiting that asks for a lot.
const PATIENCE: Duration = Duration::from_mins(1);
/// Milliseconds of sessions that outlive a test.
const TIMEOUT_MS: i32 = 30_000;
/// What the server's memory may grow by with large writes: the databases' buffers and the log's
/// newest entries.
const WRITTEN_BYTES_MAX: u64 = 640 << 20;

/// Pings, without waiting for one answer.
pub(crate) fn many_pings() -> Result<()> {
    let arena = Arena::start("many_pings", &[])?;
    let mut client = Client::open(arena.port(), TIMEOUT_MS)?;
    for _ in 0..100_000 {
        client.queue(OpCode::Ping, &Nothing);
    }
    client.flush();
    for number in 0..100_000 {
        let reply = client.reply().with_context(|| format!("ping {number}"))?;
        ensure!(reply.error == 0 && reply.body.is_empty(), "{reply:?}");
    }
    client.close()?;
    arena.finish(ANNOYED_BYTES_MAX)
}

/// Whether every operation of a multi was carried out.
fn is_done(body: &Bytes) -> Result<bool> {
    let header = MultiHeader::decode(body, body);
    let (_, header) = header.map_err(|_| anyhow::anyhow!("no result"))?;
    Ok(header.op != -1)
}

/// Ten thousand creations, then ten thousand and one that fails, then ten thousand deletions.
pub(crate) fn huge_multi() -> Result<()> {
    const COUNT: usize = 10_000;
    let arena = Arena::start("huge_multi", &[])?;
    let mut client = Client::open(arena.port(), TIMEOUT_MS)?;
    client.create("/m", b"", 0)?;
    let creations = || {
        let creation = |number| create(&format!("/m/{number}"), b"", 0);
        (0..COUNT).map(move |number| MultiOp::Create(OpCode::Create, creation(number)))
    };
    let failing = MultiOp::Check(Check { path: Some("/m".to_owned()), version: Version(9) });
    let ops = creations().chain([failing]).collect();
    let reply = client.call(OpCode::Multi, &Multi::Ops(ops))?;
    ensure!(!is_done(&reply.body)?, "it was not refused");
    ensure!(client.children("/m")?.0.is_empty(), "a refused multi left something behind");

    let reply = client.call(OpCode::Multi, &Multi::Ops(creations().collect()))?;
    ensure!(is_done(&reply.body)?, "refused");
    ensure!(client.children("/m")?.0.len() == COUNT, "not all were created");
    let deletions = |number| MultiOp::Delete(delete(&format!("/m/{number}"), Version(0)));
    let reply = client.call(OpCode::Multi, &Multi::Ops((0..COUNT).map(deletions).collect()))?;
    ensure!(is_done(&reply.body)?, "refused");
    ensure!(client.children("/m")?.0.is_empty(), "not all were deleted");

    // The most operations that fit a frame.
    let check = MultiOp::Check(Check { path: Some("/".to_owned()), version: Version::ANY });
    let reply = client.call(OpCode::Multi, &Multi::Ops(vec![check; 55_000]))?;
    ensure!(is_done(&reply.body)?, "refused");
    client.close()?;
    arena.finish(ANNOYED_BYTES_MAX)
}

/// A chain of thousands of nodes, each the child of the one before.
pub(crate) fn deep_path() -> Result<()> {
    const DEPTH: usize = 3_000;
    const WINDOW: usize = 100;
    let arena = Arena::start("deep_path", &[])?;
    let mut client = Client::open(arena.port(), TIMEOUT_MS)?;
    client.create("/d", b"", 0)?;
    let path = |depth: usize| format!("/d{}", "/d".repeat(depth));
    let depths: Vec<usize> = (1..=DEPTH).collect();
    for some in depths.chunks(WINDOW) {
        for depth in some {
            client.queue(OpCode::Create, &create(&path(*depth), b"", 0));
        }
        client.flush();
        for depth in some {
            let reply = client.reply()?;
            ensure!(reply.error == 0, "depth {depth}: {}", reply.error);
        }
    }
    let count = client.call(OpCode::GetAllChildrenNumber, &PathOnly { path: Some("/d".into()) })?;
    ensure!(count.body::<i32>()? == DEPTH as i32, "{count:?}");
    // A recursive watch at the top hears of the bottom.
    let watch = request::AddWatch { path: Some("/d".to_owned()), mode: 1 };
    ensure!(client.call(OpCode::AddWatch, &watch)?.error == 0, "no watch");
    client.set(&path(DEPTH), b"bottom", Version(0))?;
    for strange in [path(10_000), "/d".repeat(400_000), "/".repeat(1_000_000)] {
        let reply = client.call(OpCode::Exists, &watchless(&strange))?;
        ensure!(reply.is(ErrorCode::NoNode), "{}", reply.error);
        let reply = client.call(OpCode::Create, &create(&strange, b"", 0))?;
        ensure!(
            reply.is(ErrorCode::NoNode) || reply.is(ErrorCode::BadArguments),
            "{}",
            reply.error
        );
    }
    for depth in (0..=DEPTH).rev() {
        client.queue(OpCode::Delete, &delete(&path(depth), Version::ANY));
        client.flush();
        let reply = client.reply()?;
        ensure!(reply.error == 0, "deleting at depth {depth}: {}", reply.error);
    }
    client.close()?;
    arena.finish(WRITTEN_BYTES_MAX)
}

/// A name that fills a frame: created, listed, watched, deleted.
pub(crate) fn long_path() -> Result<()> {
    let arena = Arena::start("long_path", &[])?;
    let mut client = Client::open(arena.port(), TIMEOUT_MS)?;
    client.create("/l", b"", 0)?;
    for number in 0..5 {
        let path = format!("/l/{}", "p".repeat(900_000));
        let (created, stat) = client.create(&path, b"x", 0)?;
        ensure!(created == path, "another path");
        ensure!(client.get(&path)?.is_some_and(|(_, read)| read == stat), "not read");
        let reply = client.call(OpCode::GetChildren, &watchless("/l"))?;
        let names = reply.body::<PathsReply>()?.paths.unwrap_or_default();
        ensure!(names.len() == 1, "{} names in round {number}", names.len());
        let watch = request::PathWatch { path: Some(path.clone()), watch: true };
        ensure!(client.call(OpCode::GetData, &watch)?.error == 0, "no watch");
        client.delete(&path)?;
    }
    client.close()?;
    arena.finish(WRITTEN_BYTES_MAX)
}

/// Data of which the frame is as long as it may be.
pub(crate) fn data_at_the_limit() -> Result<()> {
    const FRAME_BYTES_MAX: usize = 0xf_ffff;
    let arena = Arena::start("data_at_the_limit", &[])?;
    let mut client = Client::open(arena.port(), TIMEOUT_MS)?;
    client.create("/n", b"", 0)?;
    let around = encoded(&set("/n", b"", Version::ANY)).len() + 8;
    let data = vec![b'd'; FRAME_BYTES_MAX - around];
    client.set("/n", &data, Version::ANY)?;
    ensure!(client.get("/n")?.is_some_and(|(read, _)| read == data), "other data");
    let mut other = Client::open(arena.port(), 1_000)?;
    let too_much = vec![b'd'; data.len() + 1];
    ensure!(other.set("/n", &too_much, Version::ANY).is_err(), "taken");
    ensure!(client.get("/n")?.is_some_and(|(read, _)| read == data), "other data");
    client.close()?;
    arena.finish(ANNOYED_BYTES_MAX)
}

/// Entries of an ACL by the thousand.
pub(crate) fn huge_acl() -> Result<()> {
    const ENTRIES: usize = 8_000;
    let arena = Arena::start("huge_acl", &[])?;
    let mut client = Client::open(arena.port(), TIMEOUT_MS)?;
    client.create("/a", b"", 0)?;
    let entry = |number: usize| Acl {
        perms: Perms::READ,
        id: Id::new("ip", format!("10.{}.{}.0/24", number / 250, number % 250)),
    };
    for round in 0..20 {
        let mut acl: Vec<Acl> = (0..ENTRIES + round).map(entry).collect();
        acl.push(Acl::anyone(Perms::ALL));
        let request =
            SetAcl { path: Some("/a".to_owned()), acl: Some(acl.clone()), version: Version::ANY };
        let reply = client.call(OpCode::SetAcl, &request)?;
        ensure!(reply.error == 0, "refused with {}", reply.error);
        let reply = client.call(OpCode::GetAcl, &PathOnly { path: Some("/a".to_owned()) })?;
        let read = reply.body::<GetAclReply>()?.acl.unwrap_or_default();
        ensure!(read == acl, "{} entries of {}", read.len(), acl.len());
        // Only the last entry permits.
        client.set("/a", b"x", Version::ANY)?;
    }
    client.close()?;
    arena.finish(ANNOYED_BYTES_MAX)
}

/// Credentials by the thousand on one connection.
pub(crate) fn many_identities() -> Result<()> {
    let arena = Arena::start("many_identities", &[])?;
    let mut stream = handshake(arena.port(), 2_000)?;
    let mut bytes = Vec::new();
    for number in 0..20_000 {
        let auth = request::Auth {
            kind: 0,
            scheme: Some("digest".to_owned()),
            auth: Some(format!("user{number}:password").into()),
        };
        bytes.extend(raw_request(-4, OpCode::Auth as i32, &encoded(&auth)));
    }
    send(&mut stream, &bytes);
    send(&mut stream, &raw_request(1, OpCode::CloseSession as i32, &[]));
    let bytes = await_end(&mut stream, PATIENCE)?;
    // A reply is a length and a header; who asks for more than a thousand identities is refused.
    ensure!(bytes < 2_000 * (4 + 16), "{} identities were taken", bytes / (4 + 16));
    arena.finish(ANNOYED_BYTES_MAX)
}

/// Several clients that send large writes as fast as they can.
pub(crate) fn large_writes() -> Result<()> {
    let arena = Arena::start("large_writes", &[("snapCount", "100")])?;
    let mut setup = Client::open(arena.port(), TIMEOUT_MS)?;
    let mut writers = Vec::new();
    for number in 0..6 {
        let path = format!("/large{number}");
        setup.create(&path, b"", 0)?;
        let port = arena.port();
        writers.push(std::thread::spawn(move || write_much(port, &path)));
    }
    for writer in writers {
        writer.join().map_err(|_| anyhow::anyhow!("a writer panicked"))??;
    }
    setup.close()?;
    arena.finish(WRITTEN_BYTES_MAX)
}

/// Sends a hundred large writes before it looks at the first reply.
fn write_much(port: u16, path: &str) -> Result<()> {
    const WRITES: usize = 100;
    let mut stream = handshake(port, TIMEOUT_MS)?;
    // The server takes them as fast as its disk does.
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let data = vec![b'w'; 900_000];
    let write = raw_request(1, OpCode::SetData as i32, &encoded(&set(path, &data, Version::ANY)));
    for number in 0..WRITES {
        stream.write_all(&write).with_context(|| format!("write {number} of {path}"))?;
    }
    // A reply is a length, a header and a Stat.
    let mut replies = [0; WRITES * (4 + 16 + 68)];
    stream.read_exact(&mut replies).with_context(|| format!("replies of {path}"))?;
    for reply in replies.chunks(4 + 16 + 68) {
        ensure!(reply.get(16..20) == Some(&[0; 4]), "refused: {reply:02x?}");
    }
    send(&mut stream, &raw_request(2, OpCode::CloseSession as i32, &[]));
    await_end(&mut stream, PATIENCE).map(drop)
}
