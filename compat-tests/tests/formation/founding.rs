//! Servers without data found one ensemble, whatever the order and whoever is killed meanwhile.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use crate::is_thorough;
use crate::rig::{FORMATION_TIMEOUT, Rig};
use crate::support::say;
use crate::tree::{has_all, same_trees};

const ORDERS: [[usize; 3]; 6] = [[1, 2, 3], [1, 3, 2], [2, 1, 3], [2, 3, 1], [3, 1, 2], [3, 2, 1]];

/// Creates a node at every server that runs; gives their paths.
pub(crate) fn written(rig: &Rig, name: &str) -> Result<Vec<String>> {
    let mut paths = Vec::new();
    for number in rig.running() {
        let path = format!("/{name}-{number}");
        rig.ask(number, |client| {
            if client.get(&path)?.is_none() {
                client.create(&path, path.as_bytes(), 0)?;
            }
            Ok(())
        })?;
        paths.push(path);
    }
    Ok(paths)
}

/// An ensemble of so many servers that serves.
pub(crate) fn formed(servers: usize) -> Result<Rig> {
    let mut rig = Rig::new(servers)?;
    rig.start_all(&rig.all())?;
    rig.await_one()?;
    Ok(rig)
}

/// One ensemble with equal trees, before and after a restart of all.
fn check(rig: &mut Rig) -> Result<()> {
    rig.await_one()?;
    let paths = written(rig, "check")?;
    has_all(&same_trees(rig)?, &paths)
}

pub(crate) fn any_order() -> Result<()> {
    for (round, order) in ORDERS.into_iter().enumerate() {
        let mut rig = Rig::new(3)?;
        // At once, in quick succession, and with seconds between.
        let pauses_ms: &[u64] = if is_thorough() { &[0, 150, 1_000, 2_200, 5_050] } else { &[] };
        let usual = [0, 40, 300, 1_300, 0, 100];
        let usual = usual.get(round..=round).unwrap_or_default();
        for pause_ms in usual.iter().chain(pauses_ms) {
            for number in order {
                rig.start(number)?;
                std::thread::sleep(Duration::from_millis(*pause_ms));
            }
            check(&mut rig).with_context(|| format!("{order:?}, {pause_ms} ms"))?;
            rig.kill_all()?;
            for number in order {
                rig.wipe(number)?;
            }
        }
    }
    Ok(())
}

pub(crate) fn two_of_three() -> Result<()> {
    for absent in 1..=3 {
        let mut rig = Rig::new(3)?;
        let present: Vec<usize> = rig.all().into_iter().filter(|one| *one != absent).collect();
        rig.start_all(&present)?;
        rig.await_one()?;
        let paths = written(&rig, "early")?;
        rig.start(absent)?;
        rig.await_one().with_context(|| format!("without {absent}"))?;
        has_all(&same_trees(&rig)?, &paths)?;
        if !is_thorough() && absent == 1 {
            // The two others behave alike.
            break;
        }
    }
    Ok(())
}

/// The first server comes when the others have just decided, or not, to found an ensemble without it.
pub(crate) fn last_moment() -> Result<()> {
    let steps: Vec<u64> =
        if is_thorough() { (0..24).map(|step| 4_700 + step * 25).collect() } else { vec![4_900] };
    for servers in [3, 4] {
        for after_ms in &steps {
            let mut rig = Rig::new(servers)?;
            let others: Vec<usize> = rig.all().into_iter().skip(1).collect();
            rig.start_all(&others)?;
            rig.await_words(2, "looking for the ensemble", FORMATION_TIMEOUT)?;
            std::thread::sleep(Duration::from_millis(*after_ms));
            rig.start(1)?;
            check(&mut rig).with_context(|| format!("{servers} servers, {after_ms} ms"))?;
        }
    }
    Ok(())
}

pub(crate) fn restarted() -> Result<()> {
    let mut rig = formed(3)?;
    let mut paths = Vec::new();
    let rounds = if is_thorough() { 30 } else { 5 };
    for round in 0..rounds {
        paths.extend(written(&rig, &format!("round{round}"))?);
        if round % 2 == 0 {
            rig.kill_all()?;
        } else {
            rig.running().into_iter().try_for_each(|number| rig.stop(number))?;
        }
        let order = ORDERS.get(round % ORDERS.len()).context("an order")?;
        for number in order {
            rig.start(*number)?;
            std::thread::sleep(Duration::from_millis(70 * (round as u64 % 3)));
        }
        rig.await_one().with_context(|| format!("round {round}"))?;
        has_all(&same_trees(&rig)?, &paths).with_context(|| format!("round {round}"))?;
    }
    Ok(())
}

/// What a server says when it begins to look for the others.
const RUNS: &str = "serves ZooKeeper clients";

/// Milliseconds after [`RUNS`] at which somebody is killed.
fn steps_ms(usual: &[u64]) -> Vec<u64> {
    if is_thorough() { (0..40).map(|step| step * 50).collect() } else { usual.to_vec() }
}

pub(crate) fn killed() -> Result<()> {
    for victim in 1..=3_usize {
        for after_ms in steps_ms(&[0, 60, 150, 350]) {
            let mut rig = Rig::new(3)?;
            rig.start_all(&[1, 2, 3])?;
            rig.await_words(victim, RUNS, FORMATION_TIMEOUT)?;
            std::thread::sleep(Duration::from_millis(after_ms));
            rig.kill(victim)?;
            let was = rig.said(victim)?.contains("member ");
            // Whether the others go on without it for a while.
            std::thread::sleep(Duration::from_millis(after_ms % 3 * 200));
            rig.start(victim)?;
            check(&mut rig).with_context(|| format!("{victim} killed after {after_ms} ms"))?;
            if is_thorough() {
                say(&format!("{victim} killed after {after_ms} ms, was a member: {was}"));
            }
        }
    }
    Ok(())
}

pub(crate) fn all_killed() -> Result<()> {
    let mut rig = Rig::new(3)?;
    let mut members = 0;
    for (round, after_ms) in steps_ms(&[0, 60, 130, 210, 300]).into_iter().enumerate() {
        rig.start_all(&[1, 2, 3])?;
        rig.await_words(1, RUNS, FORMATION_TIMEOUT)?;
        std::thread::sleep(Duration::from_millis(after_ms));
        let order = ORDERS.get(round % ORDERS.len()).context("an order")?;
        for number in order {
            rig.kill(*number)?;
            members += usize::from(rig.said(*number)?.contains("member "));
            std::thread::sleep(Duration::from_millis(round as u64 % 4 * 30));
        }
        let order = ORDERS.get((round * 5 + 3) % ORDERS.len()).context("an order")?;
        rig.start_all(order)?;
        check(&mut rig).with_context(|| format!("all killed after {after_ms} ms"))?;
        rig.kill_all()?;
        rig.all().into_iter().try_for_each(|number| rig.wipe(number))?;
    }
    ensure!(members > 0, "nobody was ever a member: the kills come too early");
    Ok(())
}

pub(crate) fn four_and_five() -> Result<()> {
    for servers in [4, 5] {
        let mut rig = formed(servers)?;
        let paths = written(&rig, "first")?;
        let leader = rig.leader().context("a leader")?;
        rig.kill(leader)?;
        rig.await_one()?;
        let more = written(&rig, "second")?;
        rig.start(leader)?;
        rig.await_one()?;
        let tree = same_trees(&rig)?;
        has_all(&tree, &paths)?;
        has_all(&tree, &more)?;
    }
    Ok(())
}
