//! Carries out committed log entries: tries them on a draft, writes the changes to disk, takes them
//! into memory and answers whoever asked.
//!
//! Invariant: disk before memory, notifications before replies. One task does this, entry after
//! entry; a failed write to disk stops the server.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _};
use openraft::storage::{EntryResponder, RaftStateMachine};
use openraft::{EntryPayload, OptionalSend, RaftSnapshotBuilder, Snapshot};

use super::fault::Fault;
use super::members;
use super::shared::Shared;
use super::snapshot::{self, Received};
use super::types::{
    Entry, LogId, Membership, StoredMembership, TypeConfig, decode_lanes, decode_log_id,
    decode_stored_membership, encode_lanes, encode_log_id, encode_stored_membership,
};
use crate::config::limits::APPLY_BATCH_ENTRIES_MAX;
use crate::replica::Decided;
use crate::store::TreeStore;
use crate::tree::{Draft, Lanes, Origin, Proposal, Refusal, Tree, Write, apply};

/// Names under which the tree's store keeps what has been applied to it.
const APPLIED: &str = "applied";
const MEMBERSHIP: &str = "membership";
const LANES: &str = "lanes";

/// What openraft calls the description of a snapshot.
pub(super) type Meta = openraft::type_config::alias::SnapshotMetaOf<TypeConfig>;

/// What openraft calls the data of a snapshot.
pub(super) enum Image {
    /// All that has been flushed here. Whoever is to have it takes a copy then.
    Flushed,
    /// What another server sent.
    Received(Received),
}

/// Carries out committed entries.
pub(super) struct Applier {
    shared: Arc<Shared>,
    applied: Option<LogId>,
    membership: StoredMembership,
}

impl Applier {
    /// Goes on where the store ended.
    pub(super) fn new(shared: Arc<Shared>) -> io::Result<Applier> {
        let Meta { last_log_id: applied, last_membership: membership } =
            meta_of(|name| Ok(shared.tree.state(name)?))?;
        // Whoever waits for what is here already must not wait for the next write.
        shared.applied.send_replace(applied.map_or(0, |id| id.index));
        Ok(Applier { shared, applied, membership })
    }

    /// Applies entries together: one draft, one write to disk, one lock.
    fn apply_group(&mut self, entries: &[Entry]) -> io::Result<()> {
        let Some(last) = entries.last().map(|entry| entry.log_id) else { return Ok(()) };
        let mut decided = Vec::new();
        let mut membership_changed = false;
        let mut out_of_turn = None;
        let changes = {
            let tree = self.shared.replica.tree();
            let mut draft = Draft::over(&tree);
            for entry in entries {
                let raises_epoch = is_ensemble(self.membership.membership());
                draft.enter_term(entry.log_id.leader_id.term, raises_epoch);
                match &entry.payload {
                    EntryPayload::Blank => {}
                    EntryPayload::Normal(payload) => {
                        let batch =
                            payload.batch().inspect_err(|error| self.shared.fault.raise(error))?;
                        for proposal in batch.proposals() {
                            let one = decide(&mut draft, &proposal);
                            if matches!(one.applied.outcome, Err(Refusal::OutOfTurn { .. })) {
                                out_of_turn = out_of_turn.max(self.own_number(&one));
                            } else {
                                decided.push(one);
                            }
                        }
                    }
                    EntryPayload::Membership(membership) => {
                        self.membership =
                            StoredMembership::new(Some(entry.log_id), membership.clone());
                        membership_changed = true;
                        decided.extend(show(&mut draft, membership));
                    }
                }
            }
            draft.finish()
        };
        let mut state = vec![(APPLIED, encode_log_id(Some(&last)))];
        if membership_changed {
            state.push((MEMBERSHIP, encode_stored_membership(&self.membership)));
        }
        if let Some(lanes) = &changes.lanes {
            state.push((LANES, encode_lanes(lanes)));
        }
        let shared = &*self.shared;
        shared.tree.commit(&changes, &state).inspect_err(|error| shared.fault.raise(error))?;
        self.applied = Some(last);
        shared.sessions.follow(decided.iter().filter_map(|decided| decided.applied.session));
        shared.replica.absorb(&changes, decided);
        if let Some(lanes) = &changes.lanes {
            self.note_decided(lanes);
        }
        if let Some(number) = out_of_turn {
            shared.lane.note_out_of_turn(number);
        }
        shared.applied.send_replace(last.index);
        Ok(())
    }

    /// The number of a submission of this start of this server.
    fn own_number(&self, decided: &Decided) -> Option<u64> {
        let (home, origin) = (self.shared.replica.home(), &decided.origin);
        let is_own = (origin.holder.server, origin.holder.boot) == (home.server, home.boot);
        is_own.then_some(origin.sequence)
    }

    /// Tells this server's lane how far its submissions are decided.
    fn note_decided(&self, lanes: &Lanes) {
        let home = self.shared.replica.home();
        if let Some(own) = lanes.get(&home.server).filter(|own| own.boot == home.boot) {
            self.shared.lane.note_decided(own.decided);
        }
    }
}

/// How far an image is, by the values that were committed with it under their names.
pub(super) fn meta_of(state: impl Fn(&str) -> io::Result<Option<Bytes>>) -> io::Result<Meta> {
    let applied = state(APPLIED)?.map(|mut bytes| decode_log_id(&mut bytes)).transpose()?;
    let membership = state(MEMBERSHIP)?.map(decode_stored_membership).transpose()?;
    let last_membership = membership.unwrap_or_default();
    Ok(Meta { last_log_id: applied.flatten(), last_membership })
}

/// Takes the lanes in from the store.
pub(super) fn restore_lanes(tree: &mut Tree, store: &TreeStore) -> io::Result<()> {
    if let Some(lanes) = store.state(LANES)? {
        tree.restore_lanes(decode_lanes(lanes)?);
    }
    Ok(())
}

/// Whether the members are those of an ensemble, with other leaders than this one.
fn is_ensemble(membership: &Membership) -> bool {
    membership.nodes().any(|(_, member)| !member.line.is_empty())
}

/// Shows clients who the members are, once a change of them is complete.
fn show(draft: &mut Draft<'_>, membership: &Membership) -> Option<Decided> {
    if !is_ensemble(membership) || membership.get_joint_config().len() > 1 {
        return None;
    }
    let applied = draft.show_configuration(&members::text_of(membership))?;
    Some(Decided { origin: Origin::default(), applied, is_handshake: false })
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
    type SnapshotData = Image;
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
        let meta = Meta { last_log_id: self.applied, last_membership: self.membership.clone() };
        Flusher { store: self.shared.tree.clone(), fault: self.shared.fault.clone(), meta }
    }

    async fn install_snapshot(&mut self, meta: &Meta, image: Image) -> io::Result<()> {
        let Image::Received(received) = image else {
            // What was flushed here is here.
            return Ok(());
        };
        let installed = snapshot::install(&self.shared, meta, received).await;
        installed.inspect_err(|error| self.shared.fault.raise(error))?;
        self.applied = meta.last_log_id;
        self.membership = meta.last_membership.clone();
        let lanes = self.shared.replica.tree().lanes().clone();
        self.note_decided(&lanes);
        self.shared.applied.send_replace(meta.last_log_id.map_or(0, |id| id.index));
        Ok(())
    }

    async fn get_current_snapshot(
        &mut self,
    ) -> io::Result<Option<openraft::type_config::alias::SnapshotOf<TypeConfig, Image>>> {
        let meta = meta_of(|name| Ok(self.shared.tree.flushed_state(name)?))?;
        Ok(meta.last_log_id.map(|_| Snapshot { meta, snapshot: Image::Flushed }))
    }
}

/// Flushes the tree's store, so that the log before it can be purged.
pub(super) struct Flusher {
    store: TreeStore,
    fault: Fault,
    meta: Meta,
}

impl RaftSnapshotBuilder<TypeConfig> for Flusher {
    type SnapshotData = Image;

    async fn build_snapshot(
        &mut self,
    ) -> io::Result<openraft::type_config::alias::SnapshotOf<TypeConfig, Image>> {
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
        Ok(Snapshot { meta: self.meta.clone(), snapshot: Image::Flushed })
    }
}
