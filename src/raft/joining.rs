//! How a server without data finds its place: the ensemble is founded, or takes it in.
//!
//! An ensemble has a number, drawn when it is founded, and a server belongs to one ensemble at most, from
//! the moment its identity is on disk. Servers without data ask those of their configuration:
//!
//! - If one of them belongs to an ensemble, that takes the new server in, under a name that nobody had
//!   before: whether this one is new or lost its disk, it has forgotten what it promised.
//! - If all are without data, or most are and the others do not answer, the first of them founds an
//!   ensemble and tells the others. All of them begin with the same first entry, so it does not matter
//!   which of them is heard first.
//!
//! What was founded by fewer than a majority is nothing: a server that has nothing but the first entry
//! goes where the others went.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;

use super::identity::{Identity, first_node, server_id};
use super::peers::{Caller, introduction, unexpected};
use super::shared::Shared;
use super::wire::{Answer, Ask};
use crate::config::{EnsembleConfig, Role, ServerList};

/// How long a server may take to answer what it is.
const ANSWER_MS: u64 = 1_000;
/// How long taking a server in may take: it is an entry of the log.
const TAKE_IN_MS: u64 = 5_000;
/// Between two rounds of questions.
const PAUSE_MS: u64 = 200;
/// How long the servers that do not answer are waited for before the others found an ensemble.
const ABSENCE_MS: i64 = 5_000;
/// How often a server without a leader looks whether it is among strangers.
const STRANGERS_MS: u64 = 1_000;
/// Such looks between two messages that it still has no leader.
const ROUNDS_PER_COMPLAINT: u32 = 10;
/// Rounds between two messages that this server still looks for its place.
const ROUNDS_PER_MESSAGE: u32 = 25;

/// How a server got its identity.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Place {
    pub(super) identity: Identity,
    /// Whether it is there from the ensemble's first entry on.
    pub(super) is_founder: bool,
}

/// The servers of a configuration as text; two servers agree about them if they have the same.
pub(super) fn servers_text(config: &EnsembleConfig) -> String {
    ServerList { version: 0, ..config.list() }.to_string()
}

/// What a server said that it is.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Said {
    pub(super) cluster: u64,
    leader: u64,
}

/// Asks a server one thing.
async fn ask(line: &str, ask: &Ask, limit_ms: u64) -> io::Result<Answer> {
    Caller::new(line, introduction()).call(ask, Duration::from_millis(limit_ms)).await
}

/// What the other servers of the configuration are, of those that answer.
pub(super) async fn survey(config: &EnsembleConfig) -> BTreeMap<u64, Said> {
    let others = config.servers.iter().filter(|(id, _)| **id != config.my_id);
    let asked = others.map(|(id, spec)| async move {
        match ask(&spec.to_string(), &Ask::Standing, ANSWER_MS).await {
            Ok(Answer::Standing { cluster, leader, .. }) => Some((*id, Said { cluster, leader })),
            Ok(_) => None,
            Err(error) => {
                tracing::debug!("server {id} does not say what it is: {error}");
                None
            }
        }
    });
    futures_util::future::join_all(asked).await.into_iter().flatten().collect()
}

/// Finds the place of a server without data. `own` is the ensemble that it has founded or was told of
/// before, if nothing came of that yet.
pub(super) async fn find_place(
    shared: &Shared,
    config: &EnsembleConfig,
    own: Option<Identity>,
) -> io::Result<Place> {
    let mut told = shared.wait_to_be_told();
    let began_ms = shared.clock.monotonic_ms();
    let mut round = 0;
    loop {
        let said = survey(config).await;
        let clusters: BTreeSet<u64> =
            said.values().map(|said| said.cluster).filter(|cluster| *cluster != 0).collect();
        let elsewhere = elsewhere(config, own.map_or(0, |own| own.cluster), &said);
        let is_ours = |own: &Identity| {
            elsewhere.is_none() && (clusters.contains(&own.cluster) || clusters.is_empty())
        };
        if let Some(own) = own.filter(is_ours) {
            // One that was taken in later begins with what the others send.
            let is_founder = own.node == first_node(config.my_id);
            return Ok(Place { identity: own, is_founder });
        }
        let only = clusters.first().copied().filter(|_| clusters.len() == 1);
        if let Some(cluster) = elsewhere.or(only) {
            if let Some(identity) = join(config, cluster, &said).await {
                return Ok(Place { identity, is_founder: false });
            }
        } else if !clusters.is_empty() {
            if round % ROUNDS_PER_MESSAGE == 0 {
                tracing::error!("the servers belong to different ensembles: {said:x?}");
            }
        } else if may_found(config, &said, shared.clock.monotonic_ms() - began_ms) {
            let identity = Identity { cluster: random_number()?, node: first_node(config.my_id) };
            return Ok(Place { identity, is_founder: true });
        }
        if round % ROUNDS_PER_MESSAGE == 0 {
            let all = config.servers.len() - 1;
            tracing::info!(
                "looking for the ensemble: {} of {all} other servers answer",
                said.len()
            );
        }
        round += 1;
        tokio::select! {
            cluster = &mut told => {
                let cluster = cluster.map_err(io::Error::other)?;
                let identity = Identity { cluster, node: first_node(config.my_id) };
                return Ok(Place { identity, is_founder: true });
            }
            () = tokio::time::sleep(Duration::from_millis(PAUSE_MS)) => {}
        }
    }
}

/// The ensemble to which a server belongs that has nothing but the first entry, if that is not its own: the
/// one that most servers belong to. If several were founded at once and none of them got a majority, all
/// servers agree upon the same one.
fn elsewhere(config: &EnsembleConfig, own: u64, said: &BTreeMap<u64, Said>) -> Option<u64> {
    let mut counts: BTreeMap<u64, usize> = BTreeMap::new();
    for cluster in said.values().map(|said| said.cluster).chain([own]) {
        *counts.entry(cluster).or_default() += 1;
    }
    let has_new = counts.remove(&0).is_some();
    let (count, cluster) = counts.into_iter().map(|(cluster, count)| (count, cluster)).max()?;
    let all = config.servers.len();
    let is_settled =
        !has_new && said.len() + 1 == all && said.values().all(|said| said.leader == 0);
    let is_chosen = count * 2 > all || is_settled;
    (is_chosen && cluster != own).then_some(cluster)
}

/// Whether this server is the one to found an ensemble: of those who vote, all are without data, or most
/// and the others do not answer; and it is the first of them.
fn may_found(config: &EnsembleConfig, said: &BTreeMap<u64, Said>, waited_ms: i64) -> bool {
    let votes =
        |id: &&u64| config.servers.get(*id).is_some_and(|spec| spec.role == Role::Participant);
    let voters: Vec<u64> = config.servers.keys().filter(votes).copied().collect();
    let is_there = |id: &u64| *id == config.my_id || said.contains_key(id);
    let there: Vec<u64> = voters.iter().copied().filter(is_there).collect();
    let are_enough =
        there.len() == voters.len() || waited_ms >= ABSENCE_MS && there.len() * 2 > voters.len();
    are_enough && there.first() == Some(&config.my_id)
}

/// Asks to be taken in by an ensemble.
async fn join(
    config: &EnsembleConfig,
    cluster: u64,
    said: &BTreeMap<u64, Said>,
) -> Option<Identity> {
    let line = config.servers.get(&config.my_id)?.to_string();
    let leaders: BTreeSet<u64> = said.values().map(|said| server_id(said.leader)).collect();
    for (id, spec) in config.servers.iter().filter(|(id, _)| leaders.contains(id)) {
        let question = Ask::Join { my_id: config.my_id, line: line.clone() };
        match ask(&spec.to_string(), &question, TAKE_IN_MS).await {
            Ok(Answer::Joined { cluster: found, node }) if found == cluster => {
                return Some(Identity { cluster, node });
            }
            Ok(Answer::Refused(why)) => {
                tracing::warn!("server {id} does not take this one in: {why}");
            }
            Ok(other) => tracing::warn!("server {id}: {}", unexpected(&other)),
            Err(error) => tracing::debug!("server {id} cannot be asked: {error}"),
        }
    }
    None
}

/// What this server is.
pub(super) fn standing(shared: &Shared) -> Answer {
    let (cluster, node) =
        shared.identity().map_or((0, 0), |identity| (identity.cluster, identity.node));
    let leader = shared.leader().map_or(0, |leader| leader.node);
    Answer::Standing { cluster, node, leader }
}

/// Tells this server of an ensemble that is founded.
pub(super) async fn found(shared: &Shared, cluster: u64, servers: &str) -> Answer {
    let Some(config) = &shared.config else {
        return Answer::Refused("this server is standalone".to_owned());
    };
    let own = servers_text(config);
    if own != servers {
        return Answer::Refused(format!(
            "the configurations differ: there it is {servers:?}, on server {} {own:?}",
            config.my_id
        ));
    }
    if let Some(told) = shared.take_told() {
        // Whoever waits for it has a place by now.
        let _ = told.send(cluster);
    }
    let joined = tokio::time::timeout(Duration::from_millis(TAKE_IN_MS), shared.has_joined()).await;
    match shared.identity() {
        Ok(identity) if joined.is_ok() && identity.cluster == cluster => Answer::Done,
        Ok(identity) => {
            Answer::Refused(format!("it belongs to ensemble {:016x}", identity.cluster))
        }
        Err(error) => Answer::Refused(error.to_string()),
    }
}

/// Tells the other servers of the ensemble that this one is founding with them, until there is a leader.
pub(super) async fn tell(shared: &Shared, config: &EnsembleConfig, cluster: u64) {
    let others = || config.servers.iter().filter(|(id, _)| **id != config.my_id);
    let mut told = BTreeSet::new();
    while shared.leader().is_none() && told.len() < config.servers.len() - 1 {
        for (id, spec) in others() {
            if told.contains(id) || spec.role == Role::Observer {
                continue;
            }
            let question = Ask::Found { cluster, servers: servers_text(config) };
            match ask(&spec.to_string(), &question, ANSWER_MS).await {
                Ok(Answer::Done) => drop(told.insert(*id)),
                Ok(Answer::Refused(why)) => tracing::warn!("server {id} does not join in: {why}"),
                Ok(other) => tracing::warn!("server {id}: {}", unexpected(&other)),
                Err(error) => tracing::debug!("server {id} cannot be told: {error}"),
            }
        }
        tokio::time::sleep(Duration::from_millis(PAUSE_MS)).await;
    }
}

/// A number that no ensemble has yet.
pub(super) fn random_number() -> io::Result<u64> {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).map_err(|error| io::Error::other(error.to_string()))?;
    Ok(u64::from_ne_bytes(bytes).max(1))
}

impl Shared {
    /// Waits to be told of an ensemble that is founded.
    fn wait_to_be_told(&self) -> oneshot::Receiver<u64> {
        let (tell, told) = oneshot::channel();
        *self.told.lock() = Some(tell);
        told
    }

    /// Whom to tell, once.
    fn take_told(&self) -> Option<oneshot::Sender<u64>> {
        self.told.lock().take()
    }
}

/// Looks whether this server is among strangers, while it does not serve. If its data is that of another
/// ensemble than most of the servers of its configuration have, the data of one of the two is in the wrong
/// place, and only an operator can tell which. If it has none, it goes where the others went.
pub(super) async fn watch_strangers(shared: Arc<Shared>) {
    shared.has_joined().await;
    let (Some(config), Ok(identity)) = (&shared.config, shared.identity()) else { return };
    let mut serving = shared.serving.subscribe();
    let mut round = 0;
    // The sender lives as long as this does.
    while serving.wait_for(|serving| !serving).await.is_ok() {
        let said = survey(config).await;
        round += 1;
        if round % ROUNDS_PER_COMPLAINT == 0 {
            let all = config.servers.len() - 1;
            let leaders: BTreeSet<u64> = said.values().map(|said| server_id(said.leader)).collect();
            tracing::warn!(
                "not serving yet: {} of {all} other servers answer, and follow {leaders:?} (0: nobody); \
                 no leader reaches this server, whose own line is {:?}",
                said.len(),
                shared.line_of(identity.node).unwrap_or_default()
            );
        }
        let own = identity.cluster;
        let has_nothing = shared.last_index().is_none_or(|last| last == 0);
        let members = said.values().filter(|said| said.cluster == own).count() + 1;
        let strangers = said.values().filter(|said| ![0, own].contains(&said.cluster)).count();
        if has_nothing && elsewhere(config, own, &said).is_some() {
            shared.fault.ask_restart(&format!(
                "ensemble {own:016x} has come to nothing, the others belong to another: {said:x?}"
            ));
        } else if has_nothing || members > 1 || strangers * 2 <= config.servers.len() {
            tokio::time::sleep(Duration::from_millis(STRANGERS_MS)).await;
            continue;
        } else {
            shared.fault.raise(&format!(
                "the data of this server belongs to ensemble {own:016x}, and most of its servers to \
                 others: {said:x?}; start it with the data that belongs there, or with none, so \
                 that it is taken in"
            ));
        }
        return;
    }
}

/// Has the other servers told, in the background.
pub(super) fn spawn_telling(shared: &Arc<Shared>, cluster: u64) {
    let shared = Arc::clone(shared);
    tokio::spawn(async move {
        if let Some(config) = &shared.config {
            tell(&shared, config, cluster).await;
        }
    });
}

/// A configuration of so many servers, for the first of them.
#[cfg(test)]
pub(super) fn config_of(servers: u64) -> EnsembleConfig {
    let line = |id: u64| (id, format!("s{id}:2888:3888").parse().unwrap());
    EnsembleConfig {
        my_id: 1,
        servers: (1..=servers).map(line).collect(),
        version: 0,
        init_limit_ticks: 10,
        sync_limit_ticks: 5,
        listen_on_all_addresses: false,
        standalone_enabled: true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Where a server goes that belongs to `own`, of as many as the others and itself.
    fn goes_to(own: u64, others: &[(u64, u64)]) -> Option<u64> {
        let config = config_of(others.len() as u64 + 1);
        let said = |(cluster, leader): &(u64, u64)| Said { cluster: *cluster, leader: *leader };
        let others = (2..).zip(others.iter().map(said)).filter(|(_, said)| said.cluster != ABSENT);
        elsewhere(&config, own, &others.collect())
    }

    /// In place of a number: the server does not answer.
    const ABSENT: u64 = u64::MAX;

    #[test]
    fn a_server_with_nothing_goes_where_most_are() {
        assert_eq!(goes_to(7, &[(9, 0), (9, 0)]), Some(9));
        assert_eq!(
            goes_to(7, &[(9, 1), (9, 1), (9, 1), (7, 0)]),
            Some(9),
            "another went astray, too"
        );
        assert_eq!(goes_to(0, &[(9, 1), (9, 1), (9, 1), (7, 0)]), Some(9), "it is new");
        assert_eq!(goes_to(7, &[(7, 0), (9, 0)]), None);
        assert_eq!(goes_to(7, &[(9, 0), (0, 0)]), None, "the third may come to this one");
        assert_eq!(goes_to(7, &[(9, 0), (ABSENT, 0)]), None);
    }

    #[test]
    fn where_there_is_no_majority_all_agree_upon_the_same_ensemble() {
        assert_eq!(goes_to(7, &[(7, 0), (9, 0), (9, 0)]), Some(9));
        assert_eq!(goes_to(9, &[(7, 0), (7, 0), (9, 0)]), None);
        assert_eq!(goes_to(7, &[(7, 0), (9, 0), (ABSENT, 0)]), None, "one may decide it");
        assert_eq!(goes_to(7, &[(7, 0), (9, 3), (9, 0)]), None, "a leader has a majority");
        assert_eq!(goes_to(5, &[(5, 0), (7, 0), (7, 0), (9, 0)]), Some(7));
        assert_eq!(goes_to(9, &[(5, 0), (5, 0), (7, 0), (7, 0)]), Some(7));
    }
}
