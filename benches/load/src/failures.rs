//! Servers that go while clients write: a leader that is killed, and a rolling restart.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use crate::args::{Failover, Members, Rolling, Steady};
use crate::client::Happened;
use crate::clock::now;
use crate::ensemble::Role;
use crate::outcome::median;
use crate::report::say;
use crate::steady::{Load, Story};

/// What the loss of one server did to clients.
struct Loss {
    /// The longest time without an acknowledged write, of clients of the other servers and of all.
    gap: Duration,
    gap_of_all: Duration,
    /// Connections and writes that clients of the other servers lost.
    connections: usize,
    errors: usize,
    /// When the last client of the lost server was attached again.
    attached: Option<Duration>,
    /// Sessions that are gone, of all clients.
    sessions: usize,
}

impl Loss {
    /// What happened from `since`, when `server` went, until `until`.
    fn of(story: &Story, server: usize, since: Instant, until: Instant) -> Loss {
        let (homeless, others) = story.clients_of(server, since);
        let all = [&homeless[..], &others[..]].concat();
        Loss {
            gap: story.gap(&others, since, until),
            gap_of_all: story.gap(&all, since, until),
            connections: story.count(Happened::Lost, &others, since),
            errors: story.count(Happened::Failed, &others, since),
            attached: story.attached_after(&homeless, since),
            sessions: story.count(Happened::Expired, &all, since),
        }
    }

    fn text(&self) -> String {
        let attached = self.attached.map_or("not all".to_owned(), |after| ms(after) + " ms");
        format!(
            "gap {} ms at the other servers ({} ms of all clients); their clients lost {} connections \
             and {} writes; clients of the lost server attached again: {attached}; sessions lost: {}",
            ms(self.gap),
            ms(self.gap_of_all),
            self.connections,
            self.errors,
            self.sessions
        )
    }
}

fn middle_and_worst(times: &[Duration]) -> String {
    let middle = median(times.iter().map(Duration::as_secs_f64).collect()).unwrap_or_default();
    let worst = times.iter().max().copied().unwrap_or_default();
    format!("median {} ms, worst {} ms", ms(Duration::from_secs_f64(middle)), ms(worst))
}

fn ms(time: Duration) -> String {
    format!("{:.0}", time.as_secs_f64() * 1e3)
}

/// Kills the leader again and again, each time under a load of new sessions.
pub(crate) async fn failover(failover: &Failover) -> Result<()> {
    let name = &failover.members.ensemble.name;
    let mut losses = Vec::new();
    for number in 1..=failover.tries {
        let loss = one_failover(failover).await.with_context(|| format!("{name}, try {number}"))?;
        say(&format!("{name}, try {number}: {}", loss.text()));
        losses.push(loss);
    }
    let gaps: Vec<Duration> = losses.iter().map(|loss| loss.gap).collect();
    let attached: Vec<Duration> = losses.iter().filter_map(|loss| loss.attached).collect();
    let sum = |of: fn(&Loss) -> usize| losses.iter().map(of).sum::<usize>();
    say(&format!(
        "{name}: {} tries: gap {}; clients of the killed server attached again after {}, in {} tries \
         not all; clients of the other servers lost {} connections and {} writes; sessions lost: {}",
        losses.len(),
        middle_and_worst(&gaps),
        middle_and_worst(&attached),
        losses.len() - attached.len(),
        sum(|loss| loss.connections),
        sum(|loss| loss.errors),
        sum(|loss| loss.sessions),
    ));
    Ok(())
}

async fn one_failover(failover: &Failover) -> Result<Loss> {
    let (members, steady) = (&failover.members, failover.steady);
    let load = Load::start("/steady", &members.ensemble.addresses, steady).await?;
    let leader = members.leader().await?;
    let killed = now();
    members.control("kill", leader).await?;
    load.until_well(killed + steady.quiet()).await?;
    let loss = Loss::of(&load.story(), leader, killed, now());
    members.control("start", leader).await?;
    members.until_serving(leader).await?;
    load.stop().await?;
    Ok(loss)
}

/// Stops and starts the followers, then the leader. Half of the writes come from sessions that see all
/// of it, the other half from sessions that are new and spread evenly before each server goes.
pub(crate) async fn rolling(rolling: &Rolling) -> Result<()> {
    let (members, mut steady) = (&rolling.members, rolling.steady);
    steady.rate /= 2.0;
    let name = &members.ensemble.name;
    let through = Load::start("/steady-through", &members.ensemble.addresses, steady).await?;
    let first_leader = members.leader().await?;
    let followers = (0..members.count()).filter(|server| *server != first_leader);
    let begun = now();
    for server in followers.chain([first_leader]) {
        let role = members.role(server).await.map_or("not serving", Role::name);
        let text = one_restart(members, &through, server, steady)
            .await
            .with_context(|| format!("{name}, server {} ({role})", server + 1))?;
        say(&format!("{name}, server {} ({role}): {text}", server + 1));
    }
    let story = through.stop().await?;
    let all: Vec<usize> = (0..steady.clients).collect();
    say(&format!(
        "{name}: of {} sessions that saw all of it, {} are lost; {} connections and {} writes were lost; \
         no acknowledged node is missing",
        all.len(),
        story.count(Happened::Expired, &all, begun),
        story.count(Happened::Lost, &all, begun),
        story.count(Happened::Failed, &all, begun),
    ));
    Ok(())
}

async fn one_restart(
    members: &Members,
    through: &Load,
    server: usize,
    steady: Steady,
) -> Result<String> {
    let load = Load::start("/steady", &members.ensemble.addresses, steady).await?;
    let stopped = now();
    members.control("stop", server).await?;
    let ended = now();
    load.until_well(stopped + steady.quiet()).await?;
    let loss = Loss::of(&load.story(), server, stopped, now());
    let started = now();
    members.control("start", server).await?;
    members.until_serving(server).await?;
    let back = now();
    through.until_well(back + steady.quiet()).await?;
    let all: Vec<usize> = (0..steady.clients).collect();
    let gap = through.story().gap(&all, stopped, now());
    load.stop().await?;
    Ok(format!(
        "ended after {} ms, served {} ms after its start; {}; gap of the sessions that see all of it, until \
         it was back and quiet: {} ms",
        ms(ended - stopped),
        ms(back - started),
        loss.text(),
        ms(gap),
    ))
}
