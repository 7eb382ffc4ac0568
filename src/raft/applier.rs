//! Carries out committed log entries: tries them on a draft, writes the changes to disk, takes them
//! into memory and answers whoever asked.
//!
//! Invariant: disk before memory, notifications before replies. One task does this, entry after
//! entry; a failed write to disk stops the server.

use std::io;
use std::sync::Arc;

use futures_util::{Stream, StreamExt as _};
use openraft::storage::{EntryResponder, RaftStateMachine};
use openraft::{EntryPayload, OptionalSend, RaftSnapshotBuilder, Snapshot, SnapshotMeta};

use super::fault::Fault;
use super::sessions::Sessions;
use super::types::{
    Entry, LogId, StoredMembership, TypeConfig, decode_log_id, decode_stored_membership,
    encode_log_id, encode_stored_membership,
};
use crate::config::limits::APPLY_BATCH_ENTRIES_MAX;
use crate::replica::{Decided, Replica};
use crate::store::TreeStore;
use crate::tree::{Draft, Proposal, Write, apply};

/// Names under which the tree's store keeps what has been applied to it.
const APPLIED: &str = "applied";
const MEMBERSHIP: &str = "membership";

/// Stands for all that has been flushed; a standalone server has nobody to send it to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Flushed;

/// Carries out committed entries.
pub(super) struct Applier {
    store: TreeStore,
    replica: Arc<Replica>,
    sessions: Arc<Sessions>,
    fault: Fault,
    applied: Option<LogId>,
    membership: StoredMembership,
}

impl Applier {
    /// Goes on where the store ended.
    pub(super) fn new(
        store: TreeStore,
        replica: Arc<Replica>,
        sessions: Arc<Sessions>,
        fault: Fault,
    ) -> io::Result<Applier> {
        let applied = match store.state(APPLIED)? {
            Some(mut bytes) => decode_log_id(&mut bytes)?,
            None => None,
        };
        let membership = match store.state(MEMBERSHIP)? {
            Some(bytes) => decode_stored_membership(bytes)?,
            None => StoredMembership::default(),
        };
        Ok(Applier { store, replica, sessions, fault, applied, membership })
    }

    /// Applies entries together: one draft, one write to disk, one lock.
    fn apply_group(&mut self, entries: &[Entry]) -> io::Result<()> {
        let Some(last) = entries.last().map(|entry| entry.log_id) else { return Ok(()) };
        let mut decided = Vec::new();
        let mut membership_changed = false;
        let changes = {
            let tree = self.replica.tree();
            let mut draft = Draft::over(&tree);
            for entry in entries {
                let raises_epoch = self.membership.membership().voter_ids().count() > 1;
                draft.enter_term(entry.log_id.leader_id.term, raises_epoch);
                match &entry.payload {
                    EntryPayload::Blank => {}
                    EntryPayload::Normal(payload) => {
                        let batch = payload.batch().inspect_err(|error| self.fault.raise(error))?;
                        decided.extend(
                            batch.proposals().map(|proposal| decide(&mut draft, &proposal)),
                        );
                    }
                    EntryPayload::Membership(membership) => {
                        self.membership =
                            StoredMembership::new(Some(entry.log_id), membership.clone());
                        membership_changed = true;
                    }
                }
            }
            draft.finish()
        };
        let mut state = vec![(APPLIED, encode_log_id(Some(&last)))];
        if membership_changed {
            state.push((MEMBERSHIP, encode_stored_membership(&self.membership)));
        }
        self.store.commit(&changes, &state).inspect_err(|error| self.fault.raise(error))?;
        self.applied = Some(last);
        self.sessions.follow(decided.iter().filter_map(|decided| decided.applied.session));
        self.replica.absorb(&changes, decided);
        Ok(())
    }
}

/// Decides a proposal, and keeps who asked.
fn decide(draft: &mut Draft<'_>, proposal: &Proposal<'_>) -> Decided {
    let submission = proposal.submission;
    Decided {
        origin: submission.origin,
        is_handshake: matches!(
            submission.write,
            Write::OpenSession { .. } | Write::AttachSession { .. }
        ),
        applied: apply(draft, proposal),
    }
}

impl RaftStateMachine<TypeConfig> for Applier {
    type SnapshotData = Flushed;
    type SnapshotBuilder = Flusher;

    async fn applied_state(&mut self) -> io::Result<(Option<LogId>, StoredMembership)> {
        Ok((self.applied, self.membership.clone()))
    }

    async fn apply<Strm>(&mut self, mut entries: Strm) -> io::Result<()>
    where
        Strm: Stream<Item = Result<EntryResponder<TypeConfig>, io::Error>> + Unpin + OptionalSend,
    {
        let mut group = Vec::new();
        let mut responders = Vec::new();
        loop {
            let next = entries.next().await.transpose()?;
            let is_last = next.is_none();
            if let Some((entry, responder)) = next {
                group.push(entry);
                responders.extend(responder);
            }
            if is_last || group.len() >= APPLY_BATCH_ENTRIES_MAX {
                self.apply_group(&group)?;
                group.clear();
                responders.drain(..).for_each(|responder| responder.send(()));
            }
            if is_last {
                return Ok(());
            }
        }
    }

    async fn get_snapshot_builder(&mut self) -> Flusher {
        let meta =
            SnapshotMeta { last_log_id: self.applied, last_membership: self.membership.clone() };
        Flusher { store: self.store.clone(), fault: self.fault.clone(), meta }
    }

    async fn install_snapshot(
        &mut self,
        _: &openraft::type_config::alias::SnapshotMetaOf<TypeConfig>,
        _: Flushed,
    ) -> io::Result<()> {
        Err(io::Error::new(io::ErrorKind::Unsupported, "a standalone server has no peers"))
    }

    async fn get_current_snapshot(
        &mut self,
    ) -> io::Result<Option<openraft::type_config::alias::SnapshotOf<TypeConfig, Flushed>>> {
        let Some(mut applied) = self.store.flushed_state(APPLIED)? else { return Ok(None) };
        let last_log_id = decode_log_id(&mut applied)?;
        let last_membership = match self.store.flushed_state(MEMBERSHIP)? {
            Some(bytes) => decode_stored_membership(bytes)?,
            None => StoredMembership::default(),
        };
        let meta = SnapshotMeta { last_log_id, last_membership };
        Ok(Some(Snapshot { meta, snapshot: Flushed }))
    }
}

/// Flushes the tree's store, so that the log before it can be purged.
pub(super) struct Flusher {
    store: TreeStore,
    fault: Fault,
    meta: openraft::type_config::alias::SnapshotMetaOf<TypeConfig>,
}

impl RaftSnapshotBuilder<TypeConfig> for Flusher {
    type SnapshotData = Flushed;

    async fn build_snapshot(
        &mut self,
    ) -> io::Result<openraft::type_config::alias::SnapshotOf<TypeConfig, Flushed>> {
        let store = self.store.clone();
        let flushed = tokio::task::spawn_blocking(move || {
            store.flush()?;
            store.flushed_state(APPLIED)
        });
        let flushed = flushed.await.map_err(io::Error::other)?;
        let applied = flushed.inspect_err(|error| self.fault.raise(error))?;
        let applied = applied.map(|mut bytes| decode_log_id(&mut bytes)).transpose()?.flatten();
        // The log is purged up to here, so what was applied up to here must be on disk.
        assert!(self.meta.last_log_id <= applied, "a flush left applied entries behind");
        Ok(Snapshot { meta: self.meta.clone(), snapshot: Flushed })
    }
}
