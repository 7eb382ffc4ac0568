//! Files as a power failure or a broken disk leaves them.
//!
//! A write that was never acknowledged may be torn: it is cut off. Anything else that is damaged
//! stops the start, for what was acknowledged could be missing.

use std::fs::OpenOptions;
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use jute::request::{Multi, MultiOp};
use jute::{OpCode, Version};

use crate::support::chance::Chance;
use crate::support::client::{Client, create, set};
use crate::support::process::{END_TIMEOUT, Rookeeper};
use crate::support::say;

/// Zeros that a write may end with, at the most.
const ENDING_ZEROS_MAX: usize = 16;
/// Milliseconds of sessions that outlive a test.
const TIMEOUT_MS: i32 = 60_000;

/// The files in a directory whose names end so, oldest first.
fn files(directory: &Path, extension: &str) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        if path.extension().is_some_and(|found| found == extension) {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// The newest file of the log that has anything in it.
fn newest_wal(server: &Rookeeper) -> Result<PathBuf> {
    let mut wals = files(&server.raft(), "log")?;
    wals.retain(|path| path.metadata().is_ok_and(|metadata| metadata.len() > 0));
    wals.pop().context("the log has no file")
}

/// Bytes of a file before the zeros that give it its length beforehand.
fn length(path: &Path) -> Result<u64> {
    Ok(std::fs::read(path)?.iter().rposition(|byte| *byte != 0).map_or(0, |last| last as u64 + 1))
}

/// Waits until nothing more is written to a file without being asked; gives its length.
fn settled_length(path: &Path) -> Result<u64> {
    let mut before = length(path)?;
    for _ in 0..100 {
        std::thread::sleep(Duration::from_millis(150));
        let after = length(path)?;
        if before == after {
            return Ok(after);
        }
        before = after;
    }
    anyhow::bail!("{} goes on growing", path.display())
}

fn flip(path: &Path, at: u64) -> Result<()> {
    let mut file = OpenOptions::new().read(true).write(true).open(path)?;
    let mut byte = [0];
    file.seek(SeekFrom::Start(at))?;
    file.read_exact(&mut byte)?;
    file.seek(SeekFrom::Start(at))?;
    file.write_all(&byte.map(|byte| byte ^ 0x55))?;
    Ok(())
}

/// All or nothing: two nodes and a change.
fn last_write() -> Multi {
    Multi::Ops(vec![
        MultiOp::Create(OpCode::Create, create("/last", &[b'l'; 3_000], 0)),
        MultiOp::SetData(set("/first", b"changed", Version(0))),
        MultiOp::Create(OpCode::Create, create("/last/child", &[b'c'; 3_000], 0)),
    ])
}

/// The last write reached the disk only in part, and was followed by whatever lay there before.
pub(crate) fn torn_end() -> Result<()> {
    let mut chance = Chance::for_test("torn_end");
    let mut server = Rookeeper::started(&[])?;
    let mut client = Client::open(server.port(), TIMEOUT_MS)?;
    let session = client.session.clone();
    client.create("/first", b"kept", 0)?;
    let wal = newest_wal(&server)?;
    let acknowledged = settled_length(&wal)?;
    let reply = client.call(OpCode::Multi, &last_write())?;
    ensure!(reply.error == 0, "refused with {}", reply.error);
    let whole = settled_length(&wal)?;
    server.kill()?;

    let bytes = std::fs::read(&wal)?;
    let torn_max = usize::try_from(whole - acknowledged)?;
    ensure!(torn_max > 6_000, "the last write has {torn_max} bytes");
    for attempt in 0..14 {
        let torn = ENDING_ZEROS_MAX + chance.below(torn_max - ENDING_ZEROS_MAX);
        let kept = usize::try_from(acknowledged)? + torn;
        let mut torn = bytes.get(..kept).context("the log is shorter")?.to_vec();
        match attempt % 3 {
            0 => {}
            1 => torn.resize(kept + chance.below(50_000), 0),
            _ => torn.extend(chance.below(50_000).clamp(1, 50_000).to_be_bytes()),
        }
        if attempt % 3 == 2 {
            let garbage = chance.below(5_000);
            torn.extend(chance.bytes(garbage));
        }
        restore(&server, &wal, &torn)?;
        server.start().with_context(|| format!("cut at {kept} of {whole}"))?;
        check_torn(&server, &session).with_context(|| format!("cut at {kept} of {whole}"))?;
        server.kill()?;
    }
    Ok(())
}

/// Brings the log back to one file with these bytes, whatever starts made of it since.
fn restore(server: &Rookeeper, wal: &Path, bytes: &[u8]) -> Result<()> {
    let saved = server.home().join("saved");
    let data = server.data();
    if saved.exists() {
        std::fs::remove_dir_all(&data)?;
        copy(&saved, &data)?;
    } else {
        copy(&data, &saved)?;
    }
    Ok(std::fs::write(wal, bytes)?)
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &target)?;
        } else {
            std::fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

/// What was acknowledged before the torn write is there, and of that write all or nothing.
fn check_torn(server: &Rookeeper, session: &crate::support::client::Session) -> Result<()> {
    let mut client = Client::attach(server.port(), session)?.context("the session is gone")?;
    let (data, stat) = client.get("/first")?.context("/first is gone")?;
    let last = client.get("/last")?.is_some();
    let child = client.get("/last/child")?.is_some();
    let changed = stat.version == Version(1) && data == "changed";
    let unchanged = stat.version == Version(0) && data == "kept";
    let all = last && child && changed;
    let nothing = !last && !child && unchanged;
    ensure!(all || nothing, "last {last}, child {child}, first {stat:?} {data:?}");
    // The log can be written again, and the number of the lost transaction is not a trap.
    client.create("/after", b"", 0)?;
    Ok(())
}

/// A server with some nodes, whose log was killed with them in it.
fn written(nodes: usize) -> Result<Rookeeper> {
    let mut server = Rookeeper::started(&[])?;
    let mut client = Client::open(server.port(), TIMEOUT_MS)?;
    for number in 0..nodes {
        client.create(&format!("/n{number}"), &[b'n'; 700], 0)?;
    }
    server.kill()?;
    Ok(server)
}

/// Starts, and expects one line that says what is damaged.
fn expect_refusal(server: &mut Rookeeper) -> Result<()> {
    let ended = server.start_in_vain()?;
    let complaint = ended.complaint(1)?;
    let is_clear = complaint.contains("damaged") && complaint.contains("restore");
    let names = complaint.contains(&server.data().display().to_string());
    ensure!(is_clear && names, "{complaint}");
    Ok(())
}

/// A bit that flipped in an acknowledged write which others follow.
pub(crate) fn damaged_log() -> Result<()> {
    let mut chance = Chance::for_test("damaged_log");
    let mut server = written(100)?;
    let wal = newest_wal(&server)?;
    let bytes = std::fs::read(&wal)?;
    let written_bytes = usize::try_from(length(&wal)?)?;
    for _ in 0..12 {
        // The last writes could be taken for torn ones.
        let at = chance.below(written_bytes * 9 / 10) as u64;
        std::fs::write(&wal, &bytes)?;
        flip(&wal, at)?;
        expect_refusal(&mut server).with_context(|| format!("byte {at} of {written_bytes}"))?;
    }
    std::fs::write(&wal, &bytes)?;
    server.start()?;
    let mut client = Client::open(server.port(), TIMEOUT_MS)?;
    ensure!(client.children("/")?.0.len() == 101, "nodes are missing");
    Ok(())
}

/// Bytes that changed in the files of a server which had been stopped properly.
///
/// Whatever starts all the same must have every node as it was: not every byte of a file counts.
pub(crate) fn damaged_databases() -> Result<()> {
    let mut chance = Chance::for_test("damaged_databases");
    let mut server = written(300)?;
    server.start()?;
    server.stop("TERM", END_TIMEOUT)?;
    let mut victims = files(&server.tree(), "sst")?;
    ensure!(!victims.is_empty(), "the tree was not flushed");
    victims.extend(files(&server.raft(), "sst")?);
    for directory in [server.raft(), server.tree()] {
        victims.push(directory.join("CURRENT"));
        let manifest = std::fs::read_to_string(directory.join("CURRENT"))?;
        victims.push(directory.join(manifest.trim()));
    }
    // As they are now: a start that gets over a damage may write them anew under other names.
    let victims: Vec<(PathBuf, Vec<u8>)> = victims
        .into_iter()
        .map(|victim| std::fs::read(&victim).map(|bytes| (victim, bytes)))
        .collect::<Result<_, _>>()?;
    let mut refused = 0;
    let mut survived = 0;
    for (victim, bytes) in victims.iter().cycle().take(24) {
        let at = chance.below(bytes.len()) as u64;
        restore(&server, victim, bytes)?;
        flip(victim, at)?;
        let place = format!("byte {at} of {} in {}", bytes.len(), victim.display());
        if survives(&mut server).with_context(|| place.clone())? {
            survived += 1;
        } else {
            refused += 1;
        }
    }
    say(&format!("damaged_databases: {refused} refused, {survived} did not matter"));
    ensure!(refused > survived, "only {refused} of {} were refused", refused + survived);
    Ok(())
}

/// Whether the server starts all the same; if so, with everything.
fn survives(server: &mut Rookeeper) -> Result<bool> {
    if let Err(error) = server.start() {
        let ended = server.await_end(END_TIMEOUT).with_context(|| format!("{error:#}"))?;
        ended.complaint(1)?;
        return Ok(false);
    }
    let mut client = Client::open(server.port(), TIMEOUT_MS)?;
    for number in 0..300 {
        let path = format!("/n{number}");
        let (data, stat) = client.get(&path)?.with_context(|| format!("{path} is gone"))?;
        ensure!(data.len() == 700 && stat.version == Version(0), "{path} is {stat:?}");
    }
    server.kill()?;
    Ok(true)
}
