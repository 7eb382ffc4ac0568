//! From what is on disk to taking part: who this server is, and consensus under that name.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use openraft::storage::RaftLogStorage as _;
use openraft::{RaftLogReader as _, ServerState};

use super::applier::Applier;
use super::identity::{self, Identity, first_node, server_id};
use super::joining::{self, Place, find_place};
use super::log_store::{RaftLog, Volume};
use super::members;
use super::network::Network;
use super::shared::Shared;
use super::snapshot::SnapshotSource;
use super::types::Member;
use super::{RaftHandle, STANDALONE_ID, StartError};

/// What consensus is made of, before it begins.
pub(super) struct Founder {
    shared: Arc<Shared>,
    settings: openraft::Config,
    log: RaftLog,
    applier: Applier,
}

impl Founder {
    pub(super) fn new(
        shared: Arc<Shared>,
        settings: openraft::Config,
    ) -> Result<Founder, StartError> {
        let applier = Applier::new(Arc::clone(&shared))?;
        let log = RaftLog::new(
            shared.log.clone(),
            Arc::clone(&shared.replica),
            shared.fault.clone(),
            shared.config.is_none(),
        );
        Ok(Founder { shared, settings, log, applier })
    }

    /// How much is appended to the log, and where.
    pub(super) fn volume(&self) -> Arc<Volume> {
        self.log.volume()
    }

    async fn take_part(self, identity: Identity) -> Result<RaftHandle, StartError> {
        let tree = self.shared.tree.clone();
        let snapshots = Arc::new(SnapshotSource { tree });
        let network = Network { identity, snapshots, lines: self.shared.configured_lines() };
        let settings = Arc::new(self.settings);
        let raft = RaftHandle::new(identity.node, settings, network, self.log, self.applier).await;
        let raft = raft.map_err(|error| StartError::Raft(error.to_string()))?;
        self.shared.join(raft.clone(), identity);
        Ok(raft)
    }

    /// Makes this server the leader of its ensemble of one, and waits until its log is applied.
    pub(super) async fn stand_alone(self) -> Result<(), StartError> {
        let shared = Arc::clone(&self.shared);
        let identity = if let Some(identity) = identity::read(&shared.log)? {
            identity
        } else {
            let cluster = joining::random_number()?;
            let identity = Identity { cluster, node: first_node(STANDALONE_ID) };
            identity::write(&shared.log, identity).await?;
            identity
        };
        let raft = self.take_part(identity).await?;
        begin(&raft, identity.node).await?;
        tokio::select! {
            applied = is_applied(&raft) => applied,
            problem = shared.fault.raised() => Err(StartError::Raft(problem)),
        }
    }

    /// Finds the ensemble, and takes part in it from then on.
    pub(super) async fn join(mut self) -> Result<(), StartError> {
        let shared = Arc::clone(&self.shared);
        let Some(config) = &shared.config else { return Ok(()) };
        let known = identity::read(&shared.log)?;
        let is_new = self.has_nothing().await?;
        let known = match known {
            // A standalone server of an earlier version.
            None if !is_new => Some(Identity {
                cluster: joining::random_number()?,
                node: first_node(STANDALONE_ID),
            }),
            known => known,
        };
        if let Some(known) = known.filter(|known| server_id(known.node) != config.my_id) {
            let (found, own) = (server_id(known.node), config.my_id);
            return Err(StartError::Raft(format!(
                "the data is that of server {found}, and myid says {own}; correct myid or start \
                 with an empty dataDir"
            )));
        }
        let place = match known {
            Some(identity) if !is_new => Place { identity, is_founder: false },
            known => find_place(&shared, config, known).await?,
        };
        if known.is_some_and(|known| known != place.identity) {
            // What it was told of before came to nothing.
            self.log.reset().await?;
        }
        identity::write(&shared.log, place.identity).await?;
        let cluster = place.identity.cluster;
        tracing::info!("member {:x} of ensemble {cluster:016x}", place.identity.node);
        if place.is_founder && self.log.get_log_state().await?.last_log_id.is_none() {
            self.log.begin(members::first_entry(config)?).await?;
        }
        let raft = self.take_part(place.identity).await?;
        if place.is_founder {
            joining::spawn_telling(&shared, cluster);
            // Nobody leads yet, so there is nothing to wait for.
            raft.trigger()
                .elect(true)
                .await
                .map_err(|error| StartError::Raft(error.to_string()))?;
        }
        Ok(())
    }

    /// Whether the log has nothing but the entry that every ensemble begins with, if that.
    async fn has_nothing(&mut self) -> io::Result<bool> {
        let state = self.log.get_log_state().await?;
        let has_vote = self.log.read_vote().await?.is_some();
        Ok(state.last_purged_log_id.is_none()
            && state.last_log_id.is_none_or(|last| last.index == 0)
            && (!has_vote || state.last_log_id.is_some()))
    }
}

/// Begins an ensemble of one, unless its log has begun already.
async fn begin(raft: &RaftHandle, node: u64) -> Result<(), StartError> {
    let failed = |error: &dyn std::fmt::Display| StartError::Raft(error.to_string());
    if raft.is_initialized().await.map_err(|error| failed(&error))? {
        return Ok(());
    }
    let members = BTreeMap::from([(node, Member::default())]);
    raft.initialize(members).await.map_err(|error| failed(&error))
}

/// Waits until everything that was ever acknowledged is in memory.
async fn is_applied(raft: &RaftHandle) -> Result<(), StartError> {
    let wait = raft.wait(None);
    let caught_up = wait.metrics(
        |metrics| {
            let applied = metrics.last_applied.map(|id| id.index);
            // The entry that begins the leader's term comes after all that was acknowledged.
            let begun =
                metrics.last_applied.is_some_and(|id| id.leader_id.term == metrics.current_term);
            metrics.state == ServerState::Leader && begun && applied >= metrics.last_log_index
        },
        "the log is applied",
    );
    caught_up.await.map(|_| ()).map_err(|error| StartError::Raft(error.to_string()))
}
