//! Many sessions on the servers of an ensemble, one of which is killed: do they live on?

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::args::{Sessions, Victim};
use crate::client::{Client, Happened, Journal, Note, Work};
use crate::clock::now;
use crate::drive::Pace;
use crate::report::say;
use crate::session::{EPHEMERAL, PATIENCE, Session};
use crate::stage::data;

/// The node that holds the sessions' own.
const ROOT: &str = "/crowd";
/// Sessions that are opened at once.
const OPENING_MAX: usize = 50;
/// Between two looks.
const LOOK: Duration = Duration::from_millis(5);
/// Beyond its timeout a session lives on until the next turn of the server's clock.
const TICKS: Duration = Duration::from_secs(4);

/// Opens the sessions, kills a server and tells what became of them.
pub(crate) async fn run(sessions: &Sessions) -> Result<()> {
    let members = &sessions.members;
    let mut session = Session::open(members.ensemble.address).await?;
    session.remove_all(ROOT).await?;
    session.ensure_node(ROOT).await?;
    session.close().await?;
    let journal = Journal::default();
    let (stop, stopped) = watch::channel(false);
    let mut clients = JoinSet::new();
    let opened = now();
    open(sessions, &journal, &stopped, &mut clients).await?;
    say(&format!(
        "{}: {} sessions and their nodes in {:.1} s",
        members.ensemble.name,
        sessions.count,
        (now() - opened).as_secs_f64()
    ));
    let victim = match sessions.victim {
        Victim::Leader => members.leader().await?,
        Victim::Follower => members.follower().await?,
    };
    let killed = now();
    let homes = Homes::of(&journal.notes(), victim);
    members.control("kill", victim).await?;
    let is_settled = || homes.fates(&journal.notes(), killed).waiting == 0;
    while !is_settled() && now() < killed + PATIENCE {
        tokio::time::sleep(LOOK * 10).await;
    }
    // Who expires although it came back expires now.
    let timeout = Duration::from_millis(sessions.session_timeout_ms as u64);
    tokio::time::sleep(timeout + TICKS).await;
    let fates = homes.fates(&journal.notes(), killed);
    fates.tell(&members.ensemble.name, sessions.victim);
    count_nodes(sessions, victim, sessions.count - fates.expired).await?;
    members.control("start", victim).await?;
    members.until_serving(victim).await?;
    stop.send_replace(true);
    while let Some(ended) = clients.join_next().await {
        ended?;
    }
    Ok(())
}

/// Opens the sessions, a few at a time; each creates its node.
async fn open(
    sessions: &Sessions,
    journal: &Journal,
    stopped: &watch::Receiver<bool>,
    clients: &mut JoinSet<()>,
) -> Result<()> {
    let servers = Arc::from(&sessions.members.ensemble.addresses[..]);
    let timeout = Duration::from_millis(sessions.session_timeout_ms as u64);
    let deadline = now() + 2 * PATIENCE;
    let is_node = |note: &Note| matches!(note.what, Happened::Acknowledged { .. });
    for number in 0..sessions.count {
        let work = Work {
            pace: Pace { first: now(), interval: Duration::ZERO },
            limit: 1,
            folder: ROOT.to_owned(),
            prefix: format!("s-{number:06}-"),
            data: data(0),
            flags: EPHEMERAL,
        };
        let client = Client::new(number, Arc::clone(&servers), timeout, work, journal.clone());
        clients.spawn(client.live(stopped.clone()));
        let is_last = number + 1 == sessions.count;
        let awaited = if is_last { number + 1 } else { (number + 1).saturating_sub(OPENING_MAX) };
        // Counting takes a while when there are many, so not at every session.
        if is_last || number % OPENING_MAX == 0 {
            while journal.count(is_node) < awaited {
                ensure!(now() < deadline, "the sessions cannot be opened");
                tokio::time::sleep(LOOK).await;
            }
        }
    }
    Ok(())
}

/// Fails unless the servers that live have the nodes of so many sessions.
async fn count_nodes(sessions: &Sessions, victim: usize, expected: usize) -> Result<()> {
    let members = &sessions.members;
    for server in (0..members.count()).filter(|server| *server != victim) {
        let mut session = Session::open(members.address(server)).await?;
        session.sync().await?;
        let found = session.children(ROOT).await?.len();
        session.close().await?;
        ensure!(found == expected, "server {} has {found} of {expected} nodes", server + 1);
    }
    say(&format!("{}: their {expected} ephemeral nodes are there", members.ensemble.name));
    Ok(())
}

/// Which clients were attached to the server that was killed.
struct Homes {
    is_homeless: HashMap<usize, bool>,
}

/// What became of the clients.
struct Fates {
    homeless: usize,
    /// How long each took that was attached again, in order.
    attached: Vec<Duration>,
    /// Sessions that are gone, of all.
    expired: usize,
    /// Neither.
    waiting: usize,
    /// Connections that clients of the other servers lost.
    others_lost: usize,
}

impl Homes {
    fn of(notes: &[Note], victim: usize) -> Homes {
        let attached = notes.iter().filter(|note| note.what == Happened::Attached);
        Homes { is_homeless: attached.map(|note| (note.client, note.server == victim)).collect() }
    }

    fn fates(&self, notes: &[Note], killed: Instant) -> Fates {
        let is_homeless = |client| self.is_homeless.get(&client).copied().unwrap_or(false);
        let (mut attached, mut expired) = (HashMap::new(), HashSet::new());
        let mut others_lost = 0;
        for note in notes.iter().filter(|note| note.at >= killed) {
            match note.what {
                Happened::Attached if is_homeless(note.client) => {
                    attached.entry(note.client).or_insert(note.at - killed);
                }
                Happened::Expired => {
                    expired.insert(note.client);
                }
                Happened::Lost if !is_homeless(note.client) => others_lost += 1,
                Happened::Attached
                | Happened::Lost
                | Happened::Acknowledged { .. }
                | Happened::Failed => {}
            }
        }
        let homeless = self.is_homeless.values().filter(|is_homeless| **is_homeless).count();
        attached.retain(|client, _| !expired.contains(client));
        let gone = expired.iter().filter(|client| is_homeless(**client)).count();
        let mut times: Vec<Duration> = attached.into_values().collect();
        times.sort();
        Fates {
            homeless,
            waiting: homeless - times.len() - gone,
            attached: times,
            expired: expired.len(),
            others_lost,
        }
    }
}

impl Fates {
    fn tell(&self, name: &str, victim: Victim) {
        let at = |place: usize| self.attached.get(place).map_or(f64::NAN, Duration::as_secs_f64);
        say(&format!(
            "{name}: a {} was killed: {} of its {} sessions attached elsewhere, the median after {:.2} s, \
             the last after {:.2} s; {} did not; {} of all expired; other clients lost {} connections",
            format!("{victim:?}").to_lowercase(),
            self.attached.len(),
            self.homeless,
            at(self.attached.len() / 2),
            at(self.attached.len().saturating_sub(1)),
            self.waiting,
            self.expired,
            self.others_lost,
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_lives_on_elsewhere_or_expires_or_waits() {
        let begun = now();
        let after = |ms| begun + Duration::from_millis(ms);
        let note = |ms, client, server, what| Note { at: after(ms), client, server, what };
        let mut notes: Vec<Note> =
            (0..5).map(|client| note(0, client, client % 2, Happened::Attached)).collect();
        let homes = Homes::of(&notes, 0);
        notes.extend([
            note(10, 0, 0, Happened::Lost),
            note(10, 2, 0, Happened::Lost),
            note(10, 4, 0, Happened::Lost),
            note(11, 1, 1, Happened::Lost),
            note(30, 0, 1, Happened::Attached),
            note(40, 2, 1, Happened::Expired),
            note(41, 2, 1, Happened::Attached),
        ]);
        let fates = homes.fates(&notes, after(5));
        assert_eq!(fates.attached, [Duration::from_millis(25)]);
        let numbers = (fates.homeless, fates.expired, fates.waiting, fates.others_lost);
        assert_eq!(numbers, (3, 1, 1, 1));
    }
}
