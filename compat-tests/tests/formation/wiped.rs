//! Servers that lost their disks are taken in again, whatever happens meanwhile.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use compat_tests::control::now;
use jute::Version;

use crate::founding::{formed, written};
use crate::is_thorough;
use crate::rig::{FORMATION_TIMEOUT, PAUSE, Rig};
use crate::support::chance::Chance;
use crate::support::client::Client;
use crate::support::say;
use crate::tree::{has_all, same_trees};

/// Bytes of one large node.
const NODE_BYTES: usize = 512 << 10;
/// More than the log keeps, so that whoever comes without data gets a snapshot.
const NODES: usize = 80;
const NODES_THOROUGH: usize = 200;
/// What a server says that gets a snapshot, and that has it.
const RECEIVING: &str = "receiving a snapshot";
const INSTALLED: &str = "installed a snapshot";

/// Waits until a server votes, so that another may fail.
fn follower(rig: &Rig) -> Result<usize> {
    let leader = rig.await_leader()?;
    rig.running().into_iter().find(|one| *one != leader).context("a follower")
}

pub(crate) fn one_after_another() -> Result<()> {
    let mut rig = formed(3)?;
    let mut paths = written(&rig, "before")?;
    for round in 0..6 {
        // The leader, a follower, the same one twice.
        let victim = if round % 2 == 0 { rig.await_leader()? } else { follower(&rig)? };
        for again in 0..=round / 3 {
            rig.kill(victim)?;
            rig.wipe(victim)?;
            rig.start(victim)?;
            // The second time while it is being taken in.
            std::thread::sleep(Duration::from_millis(150 * (again + 1)));
        }
        rig.await_one().with_context(|| format!("round {round}"))?;
        paths.extend(written(&rig, &format!("round{round}"))?);
        has_all(&same_trees(&rig)?, &paths).with_context(|| format!("round {round}"))?;
    }
    Ok(())
}

pub(crate) fn while_leaders_change() -> Result<()> {
    let mut rig = formed(3)?;
    let mut paths = written(&rig, "before")?;
    for round in 0..5_u64 {
        let (leader, victim) = (rig.await_leader()?, follower(&rig)?);
        rig.kill(victim)?;
        rig.wipe(victim)?;
        rig.start(victim)?;
        std::thread::sleep(Duration::from_millis(round * 80));
        rig.kill(leader)?;
        std::thread::sleep(Duration::from_millis(400));
        rig.start(leader)?;
        rig.await_one().with_context(|| format!("round {round}"))?;
        paths.extend(written(&rig, &format!("round{round}"))?);
        has_all(&same_trees(&rig)?, &paths).with_context(|| format!("round {round}"))?;
    }
    Ok(())
}

/// An ensemble whose log does not reach back to its beginning.
fn loaded() -> Result<(Rig, Vec<String>)> {
    let mut rig = Rig::new(3)?;
    rig.set_all("snapCount", "10")?;
    rig.start_all(&[1, 2, 3])?;
    rig.await_one()?;
    let mut client = rig.client(rig.await_leader()?)?;
    let mut chance = Chance::from_seed(7);
    let mut paths = Vec::new();
    for number in 0..if is_thorough() { NODES_THOROUGH } else { NODES } {
        let data = chance.bytes(NODE_BYTES);
        let path = format!("/large-{number}");
        client.create(&path, &data, 0)?;
        paths.push(path);
    }
    client.close()?;
    Ok((rig, paths))
}

/// A client that writes until it is told to stop, at whichever server serves; gives what was acknowledged.
fn writer(rig: &Rig, stop: &Arc<AtomicBool>) -> std::thread::JoinHandle<Vec<String>> {
    let addresses: Vec<_> = rig.all().into_iter().map(|number| rig.address(number)).collect();
    let stop = Arc::clone(stop);
    std::thread::spawn(move || {
        let mut acknowledged = Vec::new();
        let mut number = 0;
        while !stop.load(Ordering::SeqCst) {
            for address in &addresses {
                let Ok(mut client) = Client::open_at(*address, 30_000) else { continue };
                while !stop.load(Ordering::SeqCst) {
                    number += 1;
                    let path = format!("/load-{number}");
                    if client.create(&path, b"", 0).is_err()
                        || client.set(&path, b"x", Version::ANY).is_err()
                    {
                        break;
                    }
                    acknowledged.push(path);
                }
            }
            std::thread::sleep(PAUSE);
        }
        acknowledged
    })
}

pub(crate) fn snapshot_transfers() -> Result<()> {
    let (mut rig, mut paths) = loaded()?;
    let stop = Arc::new(AtomicBool::new(false));
    let writer = writer(&rig, &stop);
    let survived = under_load(&mut rig);
    stop.store(true, Ordering::SeqCst);
    let acknowledged = writer.join().map_err(|_| anyhow::anyhow!("the writer panicked"))?;
    survived?;
    ensure!(!acknowledged.is_empty(), "nothing was written meanwhile");
    paths.extend(acknowledged);
    has_all(&same_trees(&rig)?, &paths)
}

fn under_load(rig: &mut Rig) -> Result<()> {
    let victim = follower(rig)?;
    // Killed while it receives, and while it installs.
    let mut halves = 0;
    let steps = if is_thorough() { 20 } else { 6 };
    for step in 0..steps {
        let is_done = rig.said(victim)?.contains(INSTALLED);
        rig.kill(victim)?;
        // What has arrived of it is kept, most of the time.
        if step % 3 == 0 || is_done {
            rig.wipe(victim)?;
        }
        rig.start(victim)?;
        rig.await_words(victim, RECEIVING, FORMATION_TIMEOUT)?;
        std::thread::sleep(Duration::from_millis(30 * step));
        halves += usize::from(!rig.said(victim)?.contains(INSTALLED));
    }
    ensure!(halves > 0, "no transfer was interrupted");
    rig.await_one().context("after the receiver was killed")?;
    // The sender dies, so does the transfer.
    for step in 0..3 {
        let victim = follower(rig)?;
        rig.kill(victim)?;
        rig.wipe(victim)?;
        rig.start(victim)?;
        rig.await_words(victim, RECEIVING, FORMATION_TIMEOUT)?;
        std::thread::sleep(Duration::from_millis(40 * step));
        let sender = rig.await_leader()?;
        rig.kill(sender)?;
        std::thread::sleep(Duration::from_millis(300));
        rig.start(sender)?;
        rig.await_one().with_context(|| format!("after the sender was killed, step {step}"))?;
    }
    // Whatever was received in vain is gone by the time a server serves.
    for number in rig.all() {
        let half = rig.data(number)?.join("rookeeper/incoming");
        ensure!(!half.exists(), "{} is left", half.display());
    }
    Ok(())
}

/// Starts a server on a disk of so many bytes, which is gone with it.
const SMALL_DISK: &str = r#"
id=$(cat data/myid)
mount -t tmpfs -o size=24m formation data
echo "$id" >data/myid
exec "$0" "$@"
"#;

pub(crate) fn full_disk() -> Result<()> {
    let probe = std::process::Command::new("unshare").args(["--mount", "true"]).output();
    if !probe.is_ok_and(|output| output.status.success()) {
        say("skipped: nothing can be mounted here");
        return Ok(());
    }
    let (mut rig, mut paths) = loaded()?;
    let victim = follower(&rig)?;
    rig.kill(victim)?;
    rig.wipe(victim)?;
    rig.wrap(victim, Some(SMALL_DISK))?;
    rig.start(victim)?;
    rig.await_words(victim, RECEIVING, FORMATION_TIMEOUT)?;
    let deadline = now() + FORMATION_TIMEOUT;
    while !rig.said(victim)?.contains("No space left") {
        ensure!(now() < deadline, "no word of the full disk:\n{}", rig.said(victim)?);
        std::thread::sleep(PAUSE);
    }
    std::thread::sleep(Duration::from_secs(1));
    ensure!(rig.mode(victim).is_none(), "it serves without the data");
    // The others go on, and so does it as soon as there is room.
    let leader = rig.await_leader()?;
    rig.client(leader)?.create("/meanwhile", b"", 0)?;
    paths.push("/meanwhile".to_owned());
    rig.enlarge_disk(victim)?;
    rig.await_one()?;
    has_all(&same_trees(&rig)?, &paths)
}

/// A server whose majority is lost for good goes on alone, and is left in peace by its own silence.
pub(crate) fn recovered() -> Result<()> {
    let mut rig = formed(3)?;
    let paths = written(&rig, "before")?;
    rig.kill_all()?;
    rig.recover(1)?;
    rig.start(1)?;
    rig.await_one()?;
    let mut client = rig.client(1)?;
    let until = now() + Duration::from_secs(4);
    while now() < until {
        ensure!(client.get("/before-1")?.is_some(), "a node is gone");
        std::thread::sleep(Duration::from_millis(300));
    }
    for number in [2, 3] {
        rig.wipe(number)?;
        rig.start(number)?;
    }
    rig.await_one()?;
    has_all(&same_trees(&rig)?, &paths)
}
