//! Servers that do not agree about the ensemble, or whose data belongs elsewhere, do not serve, say why
//! and leave the others alone.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use compat_tests::control::now;

use crate::founding::{formed, written};
use crate::rig::{PAUSE, Rig, copy_directory};
use crate::tree::{has_all, same_trees};

/// How long a complaint may take.
const COMPLAINT: Duration = Duration::from_secs(10);

/// Waits until one of the servers says all of this.
fn await_complaint(rig: &mut Rig, words: &[&str]) -> Result<()> {
    let deadline = now() + COMPLAINT;
    loop {
        let mut said = Vec::new();
        for number in rig.all() {
            said.push(rig.said(number)?);
        }
        let has_all = |line: &str| words.iter().all(|word| line.contains(word));
        if said.iter().flat_map(|said| said.lines()).any(has_all) {
            return Ok(());
        }
        ensure!(now() < deadline, "nobody says {words:?}:\n{}", said.join("\n---\n"));
        std::thread::sleep(PAUSE);
    }
}

/// Servers 1 and 2 serve, 3 does not; once it is corrected it does.
fn third_is_left_out(
    rig: &mut Rig,
    words: &[&str],
    correct: fn(&mut Rig) -> Result<()>,
) -> Result<()> {
    rig.start_all(&[3, 2, 1])?;
    rig.await_leader()?;
    let paths = written_by(rig, &[1, 2])?;
    await_complaint(rig, words)?;
    ensure!(rig.mode(3).is_none(), "server 3 serves");
    if rig.ended(3)?.is_none() {
        rig.kill(3)?;
    }
    correct(rig)?;
    rig.start(3)?;
    rig.await_one()?;
    has_all(&same_trees(rig)?, &paths)
}

fn written_by(rig: &Rig, numbers: &[usize]) -> Result<Vec<String>> {
    let mut paths = Vec::new();
    for number in numbers {
        let deadline = now() + COMPLAINT;
        while rig.mode(*number).is_none() {
            ensure!(now() < deadline, "server {number} does not serve");
            std::thread::sleep(PAUSE);
        }
        let path = format!("/by-{number}");
        rig.ask(*number, |client| client.create(&path, b"", 0).map(drop))?;
        paths.push(path);
    }
    Ok(paths)
}

pub(crate) fn other_line() -> Result<()> {
    let mut rig = Rig::new(3)?;
    let line = rig.line(3);
    let (before, client) = line.split_once(';').context("a client port")?;
    let (quorum, _) = before.rsplit_once(':').context("an election port")?;
    let other = format!("{quorum}:19999;{client}");
    rig.set(3, "server.3", &other)?;
    third_is_left_out(&mut rig, &["server.3", ":19999"], |rig| {
        let line = rig.line(3);
        rig.set(3, "server.3", &line)
    })
}

pub(crate) fn other_quorum_port() -> Result<()> {
    let mut rig = Rig::new(3)?;
    let line = rig.line(3);
    let (host, rest) = line.split_once(':').context("a host")?;
    let (_, rest) = rest.split_once(':').context("a port")?;
    rig.set(3, "server.3", &format!("{host}:19998:{rest}"))?;
    third_is_left_out(&mut rig, &["server.3", ":19998"], |rig| {
        let line = rig.line(3);
        rig.set(3, "server.3", &line)
    })
}

pub(crate) fn shorter_list() -> Result<()> {
    let mut rig = Rig::new(3)?;
    rig.unset(3, "server.2")?;
    third_is_left_out(&mut rig, &["configurations differ", "server.2"], |rig| {
        let line = rig.line(2);
        rig.set(3, "server.2", &line)
    })
}

pub(crate) fn data_of_another_server() -> Result<()> {
    let mut rig = formed(3)?;
    let paths = written(&rig, "before")?;
    rig.stop(3)?;
    rig.stop(2)?;
    rig.wipe(3)?;
    let (from, to) = (rig.data(2)?, rig.data(3)?);
    copy_directory(&from, &to)?;
    rig.start(3)?;
    let (status, said) = rig.await_end(3)?;
    ensure!(!status.success(), "it ended well");
    let is_told = said.contains("the data is that of server 2, and myid says 3");
    ensure!(is_told, "no word of why:\n{said}");
    rig.start(2)?;
    rig.await_one()?;
    rig.wipe(3)?;
    rig.start(3)?;
    rig.await_one()?;
    has_all(&same_trees(&rig)?, &paths)
}

pub(crate) fn data_of_another_ensemble() -> Result<()> {
    let mut home = formed(3)?;
    let mut other = formed(3)?;
    let (paths, others) = (written(&home, "home")?, written(&other, "other")?);
    // First a copy of a server that is down, then of one that runs again meanwhile.
    for runs in [false, true] {
        home.stop(3)?;
        home.wipe(3)?;
        other.stop(3)?;
        copy_directory(&other.data(3)?, &home.data(3)?)?;
        if runs {
            other.start(3)?;
            other.await_one()?;
        }
        home.start(3)?;
        let (status, said) = home.await_end(3)?;
        ensure!(!status.success(), "it ended well");
        ensure!(said.contains("belongs to ensemble"), "no word of why:\n{said}");
        ensure!(!said.contains("serving as"), "it served:\n{said}");
        home.await_one()?;
        home.wipe(3)?;
        home.start(3)?;
        home.await_one()?;
        has_all(&same_trees(&home)?, &paths)?;
        if !runs {
            other.start(3)?;
        }
        other.await_one()?;
        has_all(&same_trees(&other)?, &others)?;
    }
    Ok(())
}
