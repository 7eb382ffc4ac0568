//! Forced recovery: the data of one server becomes an ensemble of its own, after a majority is lost for
//! good.
//!
//! The log gets one more entry, of a later term, that names this server as the only member, under a name
//! that it never had; and it gets a new ensemble's number, so that whoever is left of the old one is
//! refused. All of this server's log counts then, also what was never acknowledged; what only the lost
//! servers had is lost.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use bytes::Bytes;

use super::identity::{self, Identity};
use super::joining::{random_number, survey};
use super::log_store::{PURGED, VOTE, durably};
use super::members::next_name;
use super::types::{
    Entry, LogId, Member, Membership, Vote, decode_entry, decode_log_id, decode_vote, encode_entry,
    encode_vote, log_id,
};
use crate::clock::Clock;
use crate::config::Config;
use crate::store::{LogStore, Store};

/// Why there is no new ensemble.
#[derive(Debug, thiserror::Error)]
pub enum RecoveryError {
    #[error("this server is standalone; it needs no others")]
    Standalone,
    #[error("the data belongs to no ensemble; a server without data is taken in by the others")]
    NoData,
    #[error(
        "server {0} answers and belongs to the same ensemble: with a majority it needs no recovery, \
         and without one stop all of its servers first"
    )]
    Alive(u64),
    #[error(
        "nobody can tell from here whether the other servers are lost or out of reach. If they still \
         serve clients, there will be two ensembles that know nothing of one another. If they are \
         lost for good, say so with --others-are-lost"
    )]
    Unconfirmed,
    #[error("the log cannot be read or written: {0}")]
    Io(#[from] io::Error),
}

/// Makes the data of a stopped server an ensemble of its own; says what it did.
///
/// # Errors
///
/// [`RecoveryError`]; nothing has changed then, but for [`RecoveryError::Io`].
pub async fn recover(
    config: &Config,
    store: &Store,
    clock: Clock,
    others_are_lost: bool,
) -> Result<String, RecoveryError> {
    let ensemble = config.ensemble.as_ref().ok_or(RecoveryError::Standalone)?;
    let log = &store.log;
    let old = identity::read(log)?.ok_or(RecoveryError::NoData)?;
    let others = survey(ensemble).await;
    if let Some((id, _)) = others.iter().find(|(_, said)| said.cluster == old.cluster) {
        return Err(RecoveryError::Alive(*id));
    }
    if !others_are_lost {
        return Err(RecoveryError::Unconfirmed);
    }
    let last = last_entry(log)?.ok_or(RecoveryError::NoData)?;
    let vote = log.state(VOTE).map_err(io::Error::from)?.filter(|bytes| !bytes.is_empty());
    let voted = vote.map(decode_vote).transpose().map_err(io::Error::from)?;
    let voted_term = voted.map_or(0, |vote| vote.leader_id.term);
    let term = voted_term.max(last.leader_id.term) + 1;

    let node = next_name([old.node].into_iter(), ensemble.my_id, clock.wall_ms());
    let line = ensemble.servers.get(&ensemble.my_id).map(ToString::to_string);
    let member = Member::new(line.unwrap_or_default());
    let alone = Membership::new(vec![BTreeSet::from([node])], BTreeMap::from([(node, member)]));
    let payload = openraft::EntryPayload::Membership(alone.map_err(io::Error::other)?);
    let entry = Entry { log_id: log_id(term, last.index + 1), payload };

    let identity = Identity { cluster: random_number()?, node };
    durably(|done| log.append(vec![(last.index + 1, encode_entry(&entry))], done)).await?;
    let vote: Vote = openraft::Vote::new(term, node);
    durably(|done| log.put_state(VOTE, encode_vote(&vote), done)).await?;
    identity::write(log, identity).await?;
    Ok(format!(
        "server {} is ensemble {:016x} of its own now, from entry {} on. Start it, then start the \
         others with empty data directories: it takes them in",
        ensemble.my_id,
        identity.cluster,
        last.index + 1
    ))
}

/// The last entry of the log, or the last that was purged from it.
fn last_entry(log: &LogStore) -> io::Result<Option<LogId>> {
    if let Some((_, last)) = log.bounds()? {
        let read = log.read(last, last + 1, usize::MAX)?;
        let (index, bytes) = read.first().ok_or(io::ErrorKind::NotFound)?;
        return Ok(Some(decode_entry(*index, bytes)?.log_id));
    }
    let purged: Option<Bytes> = log.state(PURGED)?;
    Ok(purged.map(|mut bytes| decode_log_id(&mut bytes)).transpose()?.flatten())
}
