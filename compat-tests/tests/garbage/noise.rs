//! Bytes that mean nothing, and requests that nearly mean something.

use std::io::Write as _;
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use jute::request::{
    AddWatch, Auth, Check, CreateTtl, Multi, MultiOp, PathOnly, PathWatch, Reconfig, SetAcl,
    SetWatches2, WatchesOf,
};
use jute::{Acl, OPCODES, OpCode, Perms, Version, Zxid};

use crate::ANNOYED_BYTES_MAX;
use crate::arena::Arena;
use crate::raw::{
    await_end, dial, drain, encoded, framed, handshake, handshake_bytes, request, send,
};
use crate::support::chance::Chance;
use crate::support::client::{Client, create, delete, set, watchless};

/// Milliseconds of sessions that nobody needs.
const TIMEOUT_MS: i32 = 1_000;
/// How long the server may take to close what makes no sense.
const CLOSING: Duration = Duration::from_secs(20);

/// Noise from the first byte on.
pub(crate) fn random_bytes() -> Result<()> {
    let mut chance = Chance::for_test("random_bytes");
    let arena = Arena::start("random_bytes", &[])?;
    for round in 0..300 {
        let mut stream = dial(arena.port())?;
        let count = 1 + chance.below(if round % 10 == 0 { 200_000 } else { 500 });
        let mut bytes = chance.bytes(count);
        if round % 3 == 0
            && let Some(first) = bytes.first_mut()
        {
            // A length that is below the limit, so that more is awaited.
            *first = 0;
        }
        send(&mut stream, &bytes);
        if round % 4 == 0 {
            // Half a word or half a frame: the client gives up.
            give_up(&stream);
            await_end(&mut stream, CLOSING)?;
        }
    }
    arena.finish(ANNOYED_BYTES_MAX)
}

/// Ends the client's half of a connection, if there still is one.
fn give_up(stream: &TcpStream) {
    let _ = stream.shutdown(Shutdown::Write);
}

/// Frames of any content, after a handshake and before one.
pub(crate) fn random_frames() -> Result<()> {
    let mut chance = Chance::for_test("random_frames");
    let arena = Arena::start("random_frames", &[])?;
    for round in 0..150 {
        let mut stream =
            if round % 4 == 0 { dial(arena.port())? } else { handshake(arena.port(), TIMEOUT_MS)? };
        for _ in 0..20 {
            let bytes_max = if chance.happens(5) { 50_000 } else { 200 };
            let count = chance.below(bytes_max);
            let content = chance.bytes(count);
            let frame = if chance.happens(50) {
                framed(|out| out.extend_from_slice(&content))
            } else {
                let op = chance.pick(OPCODES).map_or(0, |row| row.0 as i32);
                request(chance.number() as i32, op, &content)
            };
            send(&mut stream, &frame);
        }
        drain(&mut stream, Duration::from_millis(5));
    }
    arena.finish(ANNOYED_BYTES_MAX)
}

/// Requests that are well-formed, for each operation there is.
fn well_formed() -> Vec<(OpCode, Vec<u8>)> {
    let path = || Some("/target/node".to_owned());
    let acl = || Some(vec![Acl::anyone(Perms::ALL)]);
    let creation = encoded(&create("/target/node", b"data", 0));
    let multi = Multi::Ops(vec![
        MultiOp::Create(OpCode::Create, create("/target/multi", b"", 0)),
        MultiOp::SetData(set("/target/multi", b"x", Version(0))),
        MultiOp::Check(Check { path: path(), version: Version(0) }),
        MultiOp::Delete(delete("/target/multi", Version::ANY)),
    ]);
    let reads = Multi::Ops(vec![
        MultiOp::GetData(watchless("/target")),
        MultiOp::GetChildren(watchless("/target")),
    ]);
    let paths = || Some(vec![path(), Some("/".to_owned())]);
    let watches = SetWatches2 {
        relative_zxid: Zxid(1),
        data_watches: paths(),
        exist_watches: paths(),
        child_watches: paths(),
        persistent_watches: paths(),
        persistent_recursive_watches: paths(),
    };
    let read = encoded(&PathWatch { path: path(), watch: true });
    let path_only = encoded(&PathOnly { path: path() });
    let watch = encoded(&WatchesOf { path: path(), kind: 3 });
    let auth = Auth { kind: 0, scheme: Some("digest".into()), auth: Some("u:p".into()) };
    let ttl = CreateTtl { path: path(), data: Some("x".into()), acl: acl(), flags: 5, ttl_ms: 9 };
    vec![
        (OpCode::Create, creation.clone()),
        (OpCode::Create2, creation.clone()),
        (OpCode::CreateContainer, creation),
        (OpCode::CreateTtl, encoded(&ttl)),
        (OpCode::Delete, encoded(&delete("/target/node", Version::ANY))),
        (OpCode::Exists, read.clone()),
        (OpCode::GetData, read.clone()),
        (OpCode::GetChildren, read.clone()),
        (OpCode::GetChildren2, read),
        (OpCode::SetData, encoded(&set("/target/node", b"more", Version::ANY))),
        (OpCode::GetAcl, path_only.clone()),
        (OpCode::SetAcl, encoded(&SetAcl { path: path(), acl: acl(), version: Version::ANY })),
        (OpCode::Sync, path_only.clone()),
        (OpCode::GetEphemerals, path_only.clone()),
        (OpCode::GetAllChildrenNumber, path_only.clone()),
        (OpCode::DeleteContainer, path_only),
        (OpCode::Multi, encoded(&multi)),
        (OpCode::MultiRead, encoded(&reads)),
        (OpCode::Reconfig, encoded(&Reconfig::default())),
        (OpCode::CheckWatches, watch.clone()),
        (OpCode::RemoveWatches, watch),
        (OpCode::AddWatch, encoded(&AddWatch { path: path(), mode: 1 })),
        (OpCode::SetWatches2, encoded(&watches)),
        (OpCode::SetWatches, encoded(&watches)),
        (OpCode::Auth, encoded(&auth)),
        (OpCode::Sasl, vec![0, 0, 0, 1, 7]),
    ]
}

/// Every number that an operation could have, with bodies of others, cut, prolonged and random.
pub(crate) fn every_opcode() -> Result<()> {
    let mut chance = Chance::for_test("every_opcode");
    let arena = Arena::start("every_opcode", &[("extendedTypesEnabled", "true")])?;
    prepare_target(&arena)?;
    let bodies = well_formed();
    for op in -20..=120 {
        for variant in 0..6 {
            let (_, own) = bodies
                .iter()
                .find(|(known, _)| *known as i32 == op)
                .or_else(|| chance.pick(&bodies))
                .context("no bodies")?;
            let mut body = own.clone();
            match variant {
                0 => body.clear(),
                1 => body.truncate(chance.below(body.len())),
                2 => body = chance.pick(&bodies).map_or_else(Vec::new, |(_, body)| body.clone()),
                3 => body.splice(..4.min(body.len()), [0x7f, 0xff, 0xff, 0xff]).for_each(drop),
                4 => scramble(&mut body, &mut chance),
                _ => body.extend(chance.bytes(30)),
            }
            let mut stream = handshake(arena.port(), TIMEOUT_MS)?;
            send(&mut stream, &request(7, op, &body));
            // A request that cannot be refused ends the session, and with it the connection.
            send(&mut stream, &request(8, OpCode::CloseSession as i32, &[]));
            await_end(&mut stream, CLOSING)
                .with_context(|| format!("operation {op}, body {body:02x?}"))?;
        }
    }
    arena.finish(ANNOYED_BYTES_MAX)
}

fn scramble(body: &mut [u8], chance: &mut Chance) {
    for _ in 0..4 {
        let at = chance.below(body.len());
        if let Some(byte) = body.get_mut(at) {
            *byte = chance.number() as u8;
        }
    }
}

fn prepare_target(arena: &Arena) -> Result<()> {
    let mut client = Client::open(arena.port(), 10_000)?;
    client.create("/target", b"", 0)?;
    client.create("/target/node", b"data", 0)?;
    client.close().map(drop)
}

/// A stream of good requests that ends anywhere, politely or not.
pub(crate) fn truncated() -> Result<()> {
    let arena = Arena::start("truncated", &[])?;
    prepare_target(&arena)?;
    let mut whole = handshake_bytes(TIMEOUT_MS);
    for (op, body) in well_formed() {
        whole.extend(request(1, op as i32, &body));
    }
    let step = (whole.len() / 250).max(1);
    for cut in (0..whole.len()).step_by(step) {
        let mut stream = dial(arena.port())?;
        stream.write_all(whole.get(..cut).unwrap_or_default())?;
        if cut % 2 == 0 {
            give_up(&stream);
            await_end(&mut stream, CLOSING).with_context(|| format!("cut at {cut}"))?;
        }
        // Else what it was sent is left unread, which resets the connection.
    }
    arena.finish(ANNOYED_BYTES_MAX)
}

/// Lengths that no frame has, instead of a handshake and after one.
pub(crate) fn impossible_lengths() -> Result<()> {
    let arena = Arena::start("impossible_lengths", &[])?;
    for length in [-1, i32::MIN, -2, i32::MAX, 0x10_0000, 0x7fff_0000] {
        for after_handshake in [false, true] {
            let mut stream = if after_handshake {
                handshake(arena.port(), TIMEOUT_MS)?
            } else {
                dial(arena.port())?
            };
            send(&mut stream, &i32::to_be_bytes(length));
            send(&mut stream, &[0; 100]);
            let bytes = await_end(&mut stream, CLOSING)
                .with_context(|| format!("length {length}, after handshake: {after_handshake}"))?;
            ensure!(bytes == 0, "{bytes} bytes in answer to a length of {length}");
        }
    }
    arena.finish(ANNOYED_BYTES_MAX)
}
