//! Observers: they serve, forward and follow, and never vote.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use compat_tests::control::now;

use crate::founding::written;
use crate::rig::{PAUSE, Rig};
use crate::tree::{has_all, same_trees, sync};

/// Three voters and an observer, the fourth.
fn watched() -> Result<Rig> {
    let mut rig = Rig::new(4)?;
    let line = rig.line(4);
    let (quorum, client) = line.split_once(';').context("a client port")?;
    rig.set_all("server.4", &format!("{quorum}:observer;{client}"))?;
    Ok(rig)
}

fn await_mode(rig: &Rig, number: usize, mode: Option<&str>) -> Result<()> {
    let deadline = now() + Duration::from_secs(15);
    loop {
        let found = rig.mode(number);
        if found.as_deref() == mode {
            return Ok(());
        }
        ensure!(now() < deadline, "server {number} is {found:?}, not {mode:?}");
        std::thread::sleep(PAUSE);
    }
}

/// Waits until a server says that it does not serve. That it does not answer says nothing: the machine may
/// be busy.
fn await_rest(rig: &Rig, number: usize) -> Result<()> {
    let deadline = now() + Duration::from_secs(15);
    while !rig.word(number, "srvr").is_ok_and(|said| said.contains("not currently serving")) {
        ensure!(now() < deadline, "server {number} goes on serving");
        std::thread::sleep(PAUSE);
    }
    Ok(())
}

pub(crate) fn any_order() -> Result<()> {
    for order in [[4, 1, 2, 3], [1, 2, 3, 4], [3, 4, 2, 1]] {
        let mut rig = watched()?;
        for number in order {
            rig.start(number)?;
            std::thread::sleep(Duration::from_millis(150));
        }
        rig.await_one().with_context(|| format!("{order:?}"))?;
        await_mode(&rig, 4, Some("observer"))?;
        // It forwards writes and hears of those of others.
        let mut paths = written(&rig, "first")?;
        let mut here = rig.client(4)?;
        rig.client(1)?.create("/there", b"", 0)?;
        sync(&mut here)?;
        ensure!(here.get("/there")?.is_some(), "sync did not bring it");
        // Again, without its data, then with.
        rig.kill(4)?;
        rig.wipe(4)?;
        paths.extend(written(&rig, "meanwhile")?);
        rig.start(4)?;
        rig.await_one()?;
        await_mode(&rig, 4, Some("observer"))?;
        rig.stop(4)?;
        rig.start(4)?;
        await_mode(&rig, 4, Some("observer"))?;
        paths.extend(written(&rig, "later")?);
        has_all(&same_trees(&rig)?, &paths)?;
    }
    Ok(())
}

pub(crate) fn never_votes() -> Result<()> {
    let mut rig = watched()?;
    rig.start_all(&[1, 2, 3, 4])?;
    let leader = rig.await_one()?;
    let paths = written(&rig, "before")?;
    let follower = (1..=3).find(|one| *one != leader).context("a follower")?;
    rig.kill(leader)?;
    rig.kill(follower)?;
    let left = 6 - leader - follower;
    await_rest(&rig, left)?;
    await_rest(&rig, 4)?;
    let until = now() + Duration::from_secs(3);
    while now() < until {
        ensure!(rig.mode(left).is_none() && rig.mode(4).is_none(), "an observer's vote counted");
        std::thread::sleep(PAUSE);
    }
    // Not even the leader's vote and the observer's are enough; two votes are.
    rig.start(follower)?;
    rig.await_one()?;
    has_all(&same_trees(&rig)?, &paths)
}

pub(crate) fn without_all_voters() -> Result<()> {
    let mut rig = watched()?;
    rig.start_all(&[4, 3])?;
    let until = now() + Duration::from_secs(7);
    while now() < until {
        ensure!(rig.mode(3).is_none() && rig.mode(4).is_none(), "an observer helped to found");
        std::thread::sleep(PAUSE);
    }
    rig.start(2)?;
    rig.await_one()?;
    await_mode(&rig, 4, Some("observer"))?;
    let paths = written(&rig, "two")?;
    rig.start(1)?;
    rig.await_one()?;
    has_all(&same_trees(&rig)?, &paths)
}
