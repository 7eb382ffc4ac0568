//! A standalone server with data becomes the first member of an ensemble.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use compat_tests::control::now;

use crate::founding::written;
use crate::rig::{PAUSE, Rig};
use crate::support::client::{Client, Session};
use crate::tree::{Tree, has_all, same_trees, tree_of};

const EPHEMERAL: i32 = 1;
const SEQUENTIAL: i32 = 2;

/// What the standalone server had.
struct Past {
    tree: Tree,
    session: Session,
    zxid: i64,
}

/// A server that was standalone and has data; it is down, and to be a member.
fn grown(rig: &mut Rig) -> Result<Past> {
    rig.make_standalone(1)?;
    rig.start(1)?;
    let deadline = now() + Duration::from_secs(20);
    while rig.mode(1).is_none() {
        ensure!(now() < deadline, "the standalone server does not serve");
        std::thread::sleep(PAUSE);
    }
    let mut client = rig.client(1)?;
    client.create("/jobs", b"", 0)?;
    for _ in 0..5 {
        client.create("/jobs/job-", b"work", SEQUENTIAL)?;
    }
    client.create("/owner", b"me", EPHEMERAL)?;
    let session = client.session.clone();
    let tree = tree_of(rig, 1)?;
    let zxid = client.create("/last", b"", 0)?.1.czxid.0;
    // The client goes away without a farewell.
    drop(client);
    rig.stop(1)?;
    rig.make_member(1)?;
    Ok(Past { tree, session, zxid })
}

/// Whether nothing is lost and everything goes on at a server.
fn goes_on(rig: &Rig, number: usize, past: &Past) -> Result<()> {
    let moved = rig.moved(number, &past.session)?;
    let mut client: Client = moved.with_context(|| format!("the session is gone at {number}"))?;
    let (path, stat) = client.create("/jobs/job-", b"more", SEQUENTIAL)?;
    ensure!(stat.czxid.0 > past.zxid, "zxid {:?} after {:#x}", stat.czxid, past.zxid);
    let count: usize = path.trim_start_matches("/jobs/job-").parse()?;
    ensure!(count >= 5, "the counter began again: {path}");
    let owner = client.get("/owner")?.context("the ephemeral node is gone")?.1;
    ensure!(owner.ephemeral_owner == past.session.id, "another owner: {owner:?}");
    Ok(())
}

pub(crate) fn becomes_first() -> Result<()> {
    for (order, pause_ms) in [([1, 2, 3], 500), ([2, 3, 1], 600), ([3, 1, 2], 0)] {
        let mut rig = Rig::new(3)?;
        let past = grown(&mut rig)?;
        for number in order {
            rig.start(number)?;
            std::thread::sleep(Duration::from_millis(pause_ms));
        }
        rig.await_one().with_context(|| format!("{order:?}"))?;
        let tree = same_trees(&rig)?;
        for (path, node) in &past.tree {
            let is_parent = ["/", "/jobs"].contains(&path.as_str());
            ensure!(is_parent || tree.get(path) == Some(node), "{path}: {node:?}");
        }
        for number in [2, 3, 1] {
            goes_on(&rig, number, &past).with_context(|| format!("{order:?}"))?;
        }
        // And any two of them can do without the third.
        await_votes(&mut rig)?;
        let leader = rig.await_leader()?;
        rig.kill(leader)?;
        rig.await_one().context("without the leader")?;
        let paths = written(&rig, "later")?;
        has_all(&same_trees(&rig)?, &paths)?;
    }
    Ok(())
}

/// Waits until all three vote.
fn await_votes(rig: &mut Rig) -> Result<()> {
    let deadline = now() + Duration::from_secs(10);
    loop {
        let shown = rig.ask(1, |client| client.get("/zookeeper/config"))?;
        let (shown, _) = shown.context("no configuration")?;
        let shown = String::from_utf8_lossy(&shown).into_owned();
        if shown.matches(":participant").count() == 3 {
            return Ok(());
        }
        ensure!(now() < deadline, "not all vote:\n{shown}");
        std::thread::sleep(PAUSE);
    }
}

pub(crate) fn comes_too_late() -> Result<()> {
    let mut rig = Rig::new(3)?;
    grown(&mut rig)?;
    rig.start_all(&[2, 3])?;
    rig.await_one()?;
    let paths = written(&rig, "without")?;
    rig.start(1)?;
    let (status, said) = rig.await_end(1)?;
    ensure!(!status.success(), "it ended well");
    ensure!(said.contains("belongs to ensemble"), "no word of why:\n{said}");
    ensure!(!said.contains("serving as"), "it served clients:\n{said}");
    rig.await_one()?;
    has_all(&same_trees(&rig)?, &paths)
}

pub(crate) fn is_not_the_first() -> Result<()> {
    let mut rig = Rig::new(3)?;
    grown(&mut rig)?;
    let (from, to) = (rig.data(1)?, rig.data(2)?);
    rig.wipe(2)?;
    std::fs::rename(from, to)?;
    rig.start(2)?;
    let (status, said) = rig.await_end(2)?;
    ensure!(!status.success(), "it ended well");
    ensure!(said.contains("the data is that of server 1, and myid says 2"), "{said}");
    Ok(())
}
