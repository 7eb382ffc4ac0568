//! A server without a leader sends its clients away, says so, and serves again afterwards.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use compat_tests::control::now;
use compat_tests::ensemble::net::no_namespaces;
use jute::{ErrorCode, OpCode};

use crate::founding::{formed, written};
use crate::rig::{PAUSE, Rig};
use crate::support::client::{Arrival, Client, watchless};
use crate::support::say;
use crate::tree::{has_all, same_trees};

/// `syncLimit` ticks of the rig's servers.
const SYNC_LIMIT: Duration = Duration::from_secs(2);
/// What upstream answers.
const NOT_SERVING: &str = "This ZooKeeper instance is not currently serving requests\n";
/// Words that tell about clients and data, which there are none of.
const WORDS: [&str; 9] = ["srvr", "stat", "mntr", "cons", "dump", "wchs", "wchc", "wchp", "crst"];

/// Waits until the server ends the connection; how long that took.
fn await_close(client: &mut Client) -> Result<Duration> {
    let began = now();
    loop {
        match client.receive_within(SYNC_LIMIT * 4).context("the connection stays open")? {
            Arrival::End => return Ok(now() - began),
            Arrival::Reply(_) => {}
        }
    }
}

/// Whether a server that is cut off behaves as such.
fn is_out(rig: &Rig, number: usize) -> Result<()> {
    for word in WORDS {
        let answer = rig.word(number, word)?;
        ensure!(answer == NOT_SERVING, "{word}: {answer:?}");
    }
    ensure!(rig.word(number, "ruok")? == "imok", "ruok is not answered");
    ensure!(rig.client(number).is_err(), "a session was opened");
    Ok(())
}

/// The one connection, in the time that it may take.
fn closes_in_time(client: &mut Client) -> Result<()> {
    let took = await_close(client)?;
    // What was heard of last was heard a moment before it was cut off.
    let (least, most) = (SYNC_LIMIT.mul_f32(0.8), SYNC_LIMIT.mul_f32(2.0));
    ensure!(took >= least && took <= most, "closed after {took:?}");
    Ok(())
}

pub(crate) fn stopped_others() -> Result<()> {
    let mut rig = formed(3)?;
    let mut paths = written(&rig, "before")?;
    let leader = rig.await_leader()?;
    let left = leader % 3 + 1;
    let others: Vec<usize> = rig.all().into_iter().filter(|one| *one != left).collect();
    let mut client = rig.client(left)?;
    for number in &others {
        rig.signal(*number, "STOP")?;
    }
    let closed = closes_in_time(&mut client).and_then(|()| is_out(&rig, left));
    for number in &others {
        rig.signal(*number, "CONT")?;
    }
    closed?;
    rig.await_one()?;
    let session = client.session.clone();
    ensure!(rig.moved(left, &session)?.is_some(), "the session is gone");
    paths.extend(written(&rig, "after")?);
    has_all(&same_trees(&rig)?, &paths)
}

pub(crate) fn cut_follower_and_leader() -> Result<()> {
    if let Some(reason) = no_namespaces() {
        say(&format!("skipped: {reason}"));
        return Ok(());
    }
    let mut rig = Rig::cuttable(3)?;
    rig.start_all(&[1, 2, 3])?;
    for leads in [false, true] {
        let leader = rig.await_one()?;
        let lone = if leads { leader } else { leader % 3 + 1 };
        let others: Vec<usize> = rig.all().into_iter().filter(|one| *one != lone).collect();
        let mut paths = written(&rig, &format!("before-{leads}"))?;
        let mut client = rig.client(lone)?;
        for other in &others {
            rig.net().cut(lone, *other)?;
            rig.net().cut(*other, lone)?;
        }
        closes_in_time(&mut client).with_context(|| format!("of the leader: {leads}"))?;
        is_out(&rig, lone)?;
        let deadline = now() + Duration::from_secs(10);
        for other in &others {
            while rig.mode(*other).is_none() {
                ensure!(now() < deadline, "the others do not serve");
                std::thread::sleep(PAUSE);
            }
            let path = format!("/while-{leads}-{other}");
            rig.client(*other)?.create(&path, b"", 0)?;
            paths.push(path);
        }
        for other in &others {
            rig.net().mend(lone, *other)?;
            rig.net().mend(*other, lone)?;
        }
        rig.await_one()?;
        paths.extend(written(&rig, &format!("after-{leads}"))?);
        has_all(&same_trees(&rig)?, &paths)?;
    }
    Ok(())
}

pub(crate) fn stopped_leader() -> Result<()> {
    let mut rig = formed(3)?;
    let leader = rig.await_leader()?;
    let mut client = rig.client(leader)?;
    rig.signal(leader, "STOP")?;
    let deadline = now() + Duration::from_secs(10);
    let next = loop {
        let mut others = rig.all().into_iter().filter(|one| *one != leader);
        let found = others.find(|one| rig.mode(*one).as_deref() == Some("leader"));
        if let Some(found) = found {
            break found;
        }
        ensure!(now() < deadline, "nobody takes over from a leader that stands still");
        std::thread::sleep(PAUSE);
    };
    rig.client(next)?.create("/meanwhile", b"", 0)?;
    std::thread::sleep(SYNC_LIMIT);
    // A client of the one that stood still does not see the past, not even with what it asked meanwhile:
    // that is the first thing the server does when it goes on.
    client.queue(OpCode::GetData, &watchless("/meanwhile"));
    client.flush();
    rig.signal(leader, "CONT")?;
    let seen = client.reply();
    let is_past = seen.is_ok_and(|reply| reply.is(ErrorCode::NoNode));
    ensure!(!is_past, "the former leader answers with what was");
    rig.await_one()?;
    has_all(&same_trees(&rig)?, &["/meanwhile".to_owned()])
}

/// A leader whose others stood still for a moment, less than `syncLimit`, keeps its clients.
pub(crate) fn briefly_stopped_others() -> Result<()> {
    let mut rig = formed(3)?;
    // Longer than a server may be silent.
    std::thread::sleep(SYNC_LIMIT.mul_f32(1.5));
    for round in 0..2 {
        let leader = rig.await_one()?;
        let others: Vec<usize> = rig.all().into_iter().filter(|one| *one != leader).collect();
        let mut client = rig.client(leader)?;
        others.iter().try_for_each(|number| rig.signal(*number, "STOP"))?;
        std::thread::sleep(SYNC_LIMIT.mul_f32(0.6));
        others.iter().try_for_each(|number| rig.signal(*number, "CONT"))?;
        client.create(&format!("/round-{round}"), b"", 0).context("its client was sent away")?;
    }
    Ok(())
}
