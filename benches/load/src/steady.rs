//! Writes at a steady rate by clients that stay, spread over the servers of an ensemble; and what a
//! failure did to them.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::args::Steady;
use crate::client::{Client, Happened, Journal, Note, Work};
use crate::clock::now;
use crate::drive::{Latency, Pace, latency, note};
use crate::session::{PATIENCE, PERSISTENT, Session};
use crate::stage::data;

/// Bytes of each write.
const BYTES: usize = 100;
/// A client that had no reply for so long is not well.
const WELL: Duration = Duration::from_millis(500);
/// Between two looks.
const LOOK: Duration = Duration::from_millis(10);

/// The load.
pub(crate) struct Load {
    /// The node that holds all others.
    root: &'static str,
    servers: Arc<[SocketAddr]>,
    steady: Steady,
    journal: Journal,
    stop: watch::Sender<bool>,
    clients: JoinSet<()>,
}

impl Load {
    /// Starts it below `root`, and waits until every client writes.
    pub(crate) async fn start(
        root: &'static str,
        servers: &[SocketAddr],
        steady: Steady,
    ) -> Result<Load> {
        let first = *servers.first().ok_or_else(|| anyhow::anyhow!("there is no server"))?;
        let mut session = Session::open(first).await?;
        session.remove_all(root).await?;
        session.ensure_node(root).await?;
        let (stop, stopped) = watch::channel(false);
        let mut load = Load {
            root,
            servers: Arc::from(servers),
            steady,
            journal: Journal::default(),
            stop,
            clients: JoinSet::new(),
        };
        for client in 0..steady.clients {
            session.ensure_node(&load.folder(client)).await?;
        }
        session.close().await?;
        let begun = now();
        for number in 0..steady.clients {
            let client = load.client(number, begun);
            load.clients.spawn(client.live(stopped.clone()));
        }
        let writing = load.until_well(begun + steady.quiet()).await?;
        ensure!(writing, "the clients cannot write");
        Ok(load)
    }

    fn folder(&self, client: usize) -> String {
        format!("{}/client-{client:04}", self.root)
    }

    fn client(&self, number: usize, begun: Instant) -> Client {
        let every = Duration::from_secs_f64(1.0 / self.steady.rate);
        let work = Work {
            pace: Pace {
                first: begun + every * number as u32,
                interval: every * self.steady.clients as u32,
            },
            limit: u64::MAX,
            folder: self.folder(number),
            prefix: "n-".to_owned(),
            data: data(BYTES),
            flags: PERSISTENT,
        };
        let timeout = Duration::from_millis(self.steady.session_timeout_ms as u64);
        Client::new(number, Arc::clone(&self.servers), timeout, work, self.journal.clone())
    }

    /// What happened so far.
    pub(crate) fn story(&self) -> Story {
        Story { clients: self.steady.clients, notes: self.journal.notes() }
    }

    /// Waits for `earliest`, and then until every client writes; not for longer than a minute.
    pub(crate) async fn until_well(&self, earliest: Instant) -> Result<bool> {
        loop {
            let moment = now();
            if moment >= earliest && self.story().all_write(moment) {
                return Ok(true);
            }
            if moment >= earliest + PATIENCE {
                return Ok(false);
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Ends it, and fails unless every server has every node whose creation was acknowledged.
    pub(crate) async fn stop(mut self) -> Result<Story> {
        self.stop.send_replace(true);
        while let Some(ended) = self.clients.join_next().await {
            ended?;
        }
        let story = self.story();
        for server in self.servers.iter() {
            let mut session = Session::open(*server).await?;
            session.sync().await?;
            for number in 0..self.steady.clients {
                let names: HashSet<String> =
                    session.children(&self.folder(number)).await?.into_iter().collect();
                let work = self.client(number, now());
                let lost = story.created(number).filter(|made| !names.contains(&work.name(*made)));
                let lost = lost.count();
                ensure!(lost == 0, "{server} lacks {lost} acknowledged nodes of client {number}");
            }
            session.close().await?;
        }
        Ok(story)
    }
}

impl Steady {
    /// How long nothing happens before and after each failure.
    pub(crate) fn quiet(&self) -> Duration {
        Duration::from_secs_f64(self.quiet_seconds)
    }
}

/// What happened to the clients of a load.
pub(crate) struct Story {
    clients: usize,
    notes: Vec<Note>,
}

impl Story {
    fn of(&self, client: usize) -> impl DoubleEndedIterator<Item = &Note> {
        self.notes.iter().filter(move |note| note.client == client)
    }

    /// Whether every client is attached and had a write acknowledged shortly before that moment.
    fn all_write(&self, moment: Instant) -> bool {
        (0..self.clients).all(|client| {
            let last = self.of(client).next_back();
            last.is_some_and(|note| {
                note.at + WELL >= moment && matches!(note.what, Happened::Acknowledged { .. })
            })
        })
    }

    /// The clients that were attached to this server at that moment, or to any other.
    pub(crate) fn clients_of(&self, server: usize, moment: Instant) -> (Vec<usize>, Vec<usize>) {
        (0..self.clients).partition(|client| {
            let attached = |note: &&Note| note.at <= moment && note.what == Happened::Attached;
            self.of(*client).rev().find(attached).is_some_and(|note| note.server == server)
        })
    }

    /// The longest time between two acknowledged writes of these clients taken together, the last
    /// one before `since` among them; `until` counts like one, so that writes which never go on are
    /// no short gap.
    pub(crate) fn gap(&self, clients: &[usize], since: Instant, until: Instant) -> Duration {
        let is_write = |note: &&Note| {
            matches!(note.what, Happened::Acknowledged { .. }) && clients.contains(&note.client)
        };
        let writes = || self.notes.iter().filter(is_write).map(|note| note.at);
        let mut last = writes().filter(|at| *at < since).max().unwrap_or(since);
        let mut longest = Duration::ZERO;
        for at in writes().filter(|at| (since..=until).contains(at)) {
            longest = longest.max(at.saturating_duration_since(last));
            last = at;
        }
        longest.max(until.saturating_duration_since(last))
    }

    /// How often this happened to these clients since then.
    pub(crate) fn count(&self, what: Happened, clients: &[usize], since: Instant) -> usize {
        let is_meant = |note: &&Note| note.what == what && note.at >= since;
        self.notes.iter().filter(is_meant).filter(|note| clients.contains(&note.client)).count()
    }

    /// How long until the last of these clients was attached again, if all were.
    pub(crate) fn attached_after(&self, clients: &[usize], since: Instant) -> Option<Duration> {
        let again = |note: &&Note| note.at >= since && note.what == Happened::Attached;
        let after = |client: &usize| Some(self.of(*client).find(again)?.at - since);
        let all: Option<Vec<Duration>> = clients.iter().map(after).collect();
        all?.into_iter().max()
    }

    /// The times of the writes that were due from `since` on and before `until`.
    pub(crate) fn times(&self, since: Instant, until: Instant) -> Result<Latency> {
        let mut times = latency()?;
        for acknowledged in &self.notes {
            if let Happened::Acknowledged { due, .. } = acknowledged.what
                && (since..until).contains(&due)
            {
                note(&mut times, due, acknowledged.at);
            }
        }
        Ok(times)
    }

    /// The numbers of the creations of this client that were acknowledged.
    fn created(&self, client: usize) -> impl Iterator<Item = u64> {
        self.of(client).filter_map(|note| match note.what {
            Happened::Acknowledged { number, .. } if number.is_multiple_of(2) => Some(number),
            Happened::Acknowledged { .. }
            | Happened::Attached
            | Happened::Lost
            | Happened::Expired
            | Happened::Failed => None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// Two clients on servers 0 and 1; server 0 dies after 100 ms, writes stand still until 400.
    fn story(begun: Instant) -> Story {
        let ack = |number| Happened::Acknowledged { due: begun + 90 * MS, number };
        let notes = [
            (0, 0, 0, Happened::Attached),
            (0, 1, 1, Happened::Attached),
            (95, 0, 0, ack(0)),
            (96, 1, 1, ack(0)),
            (101, 0, 0, Happened::Failed),
            (101, 0, 0, Happened::Lost),
            (150, 0, 1, Happened::Attached),
            (400, 1, 1, ack(2)),
            (420, 0, 1, ack(4)),
        ];
        let notes = notes.map(|(ms, client, server, what)| Note {
            at: begun + ms * MS,
            client,
            server,
            what,
        });
        Story { clients: 2, notes: notes.to_vec() }
    }

    #[test]
    fn a_failure_is_told_from_the_clients_of_the_dead_server_and_from_the_others() {
        let begun = now();
        let (story, killed) = (story(begun), begun + 100 * MS);
        let (homeless, others) = story.clients_of(0, killed);
        assert_eq!((&homeless[..], &others[..]), (&[0][..], &[1][..]));
        assert_eq!(story.gap(&others, killed, begun + 450 * MS), 304 * MS);
        assert_eq!(story.count(Happened::Lost, &others, killed), 0);
        assert_eq!(story.count(Happened::Failed, &homeless, killed), 1);
        assert_eq!(story.attached_after(&homeless, killed), Some(50 * MS));
        assert_eq!(story.attached_after(&others, killed), None, "it was never away");
        assert_eq!(story.created(0).collect::<Vec<u64>>(), [0, 4]);
        assert_eq!(story.times(begun, killed).unwrap().max() / 1_000_000, 330);
    }

    #[test]
    fn writes_that_never_go_on_are_a_gap_until_the_end() {
        let begun = now();
        let story = story(begun);
        assert_eq!(story.gap(&[0, 1], begun + 420 * MS, begun + 5_000 * MS), 4_580 * MS);
        assert!(story.all_write(begun + 900 * MS) && !story.all_write(begun + 901 * MS));
    }
}
