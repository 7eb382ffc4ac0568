//! Servers by their names: which nobody knows at first, or which come to mean another address.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use compat_tests::control::now;

use crate::founding::written;
use crate::rig::{PAUSE, Rig};
use crate::support::say;
use crate::tree::{has_all, same_trees};

/// Whether servers can have a hosts file of their own.
fn has_own_hosts() -> bool {
    let probe = std::process::Command::new("unshare").args(["--mount", "true"]).output();
    let can = probe.is_ok_and(|output| output.status.success());
    if !can {
        say("skipped: nothing can be mounted here");
    }
    can
}

/// Servers that are named, and see the file of hosts that is given as well.
fn named() -> Result<(Rig, PathBuf)> {
    let mut rig = Rig::new(3)?;
    let hosts = rig.home(1)?.with_file_name("hosts");
    std::fs::write(&hosts, "127.0.0.1 localhost\n")?;
    let none = rig.home(1)?.with_file_name("resolv.conf");
    std::fs::write(&none, "")?;
    let script = format!(
        "mount --bind {} /etc/hosts; mount --bind {} /etc/resolv.conf; exec \"$0\" \"$@\"",
        hosts.display(),
        none.display()
    );
    for number in rig.all() {
        let line = rig.line(number);
        let (_, ports) = line.split_once(':').context("a host")?;
        rig.set_all(&format!("server.{number}"), &format!("s{number}.formation.test:{ports}"))?;
        rig.wrap(number, Some(&script))?;
    }
    Ok((rig, hosts))
}

/// Tells all servers whose names mean what.
fn resolve(hosts: &Path, names: &[(usize, String)]) -> Result<()> {
    let lines = names.iter().map(|(number, ip)| format!("{ip} s{number}.formation.test\n"));
    // The same file, for that is what is mounted.
    Ok(std::fs::write(hosts, lines.collect::<String>())?)
}

fn own_addresses(rig: &Rig, numbers: &[usize]) -> Vec<(usize, String)> {
    numbers.iter().map(|number| (*number, rig.address(*number).ip().to_string())).collect()
}

pub(crate) fn unknown_at_first() -> Result<()> {
    if !has_own_hosts() {
        return Ok(());
    }
    let (mut rig, hosts) = named()?;
    // Each knows only the names before its own.
    for number in [1, 2, 3] {
        let known: Vec<usize> = (1..=number).collect();
        resolve(&hosts, &own_addresses(&rig, &known))?;
        rig.start(number)?;
        std::thread::sleep(Duration::from_millis(400));
    }
    rig.await_one()?;
    let paths = written(&rig, "named")?;
    has_all(&same_trees(&rig)?, &paths)
}

pub(crate) fn moved() -> Result<()> {
    if !has_own_hosts() {
        return Ok(());
    }
    let (mut rig, hosts) = named()?;
    let mut names = own_addresses(&rig, &[1, 2, 3]);
    resolve(&hosts, &names)?;
    rig.start_all(&[1, 2, 3])?;
    let leader = rig.await_one()?;
    let paths = written(&rig, "before")?;
    for victim in [leader % 3 + 1, leader] {
        rig.kill(victim)?;
        if let Some((_, ip)) = names.iter_mut().find(|(number, _)| *number == victim) {
            // Another address of this machine.
            *ip = format!("127.255.{}.{victim}", 10 + victim);
        }
        resolve(&hosts, &names)?;
        rig.start(victim)?;
        rig.await_one().with_context(|| format!("{victim} moved"))?;
    }
    has_all(&same_trees(&rig)?, &paths)
}

pub(crate) fn own_name_unknown() -> Result<()> {
    if !has_own_hosts() {
        return Ok(());
    }
    let (mut rig, hosts) = named()?;
    rig.start_all(&[1, 2, 3])?;
    std::thread::sleep(Duration::from_millis(1_500));
    let mut ended = Vec::new();
    for number in rig.all() {
        if let Some(status) = rig.ended(number)? {
            ended.push((number, status, rig.said(number)?));
        }
    }
    ensure!(ended.is_empty(), "it is known later: {ended:?}");
    resolve(&hosts, &own_addresses(&rig, &[1, 2, 3]))?;
    rig.await_one()?;
    Ok(())
}

/// The lines of servers change in every configuration, as they may where nobody reconfigures.
pub(crate) fn other_addresses() -> Result<()> {
    for all in [false, true] {
        let mut rig = crate::founding::formed(3)?;
        let mut paths = written(&rig, "before")?;
        rig.kill_all()?;
        let moved: &[usize] = if all { &[1, 2, 3] } else { &[2] };
        for number in moved {
            let line = rig.line(*number);
            let (before, client) = line.split_once(';').context("a client port")?;
            let mut parts = before.split(':');
            let (host, election) = (parts.next().context("a host")?, parts.nth(1));
            let election = election.context("an election port")?;
            let quorum: u16 = election.parse::<u16>()? + 5_000;
            let line = format!("{host}:{quorum}:{election};{client}");
            rig.set_all(&format!("server.{number}"), &line)?;
        }
        rig.start_all(&[1, 2, 3])?;
        rig.await_one().with_context(|| format!("moved: {moved:?}"))?;
        paths.extend(written(&rig, "after")?);
        has_all(&same_trees(&rig)?, &paths)?;
        // Clients are shown where the servers are.
        let deadline = now() + Duration::from_secs(10);
        loop {
            let shown = rig.ask(1, |client| client.get("/zookeeper/config"))?;
            let (shown, _) = shown.context("no configuration")?;
            let shown = String::from_utf8_lossy(&shown).into_owned();
            let line = rig.setting(2, "server.2")?;
            let (quorum, _) = line.split_once(';').context("a client port")?;
            if shown.contains(quorum) {
                break;
            }
            ensure!(now() < deadline, "shown is still {shown}");
            std::thread::sleep(PAUSE);
        }
    }
    Ok(())
}
