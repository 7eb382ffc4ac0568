//! Turns submissions into log entries: many into one while the log is busy, one alone when it is not.
//!
//! Invariant: submissions are proposed in the order in which they were handed in. What could not be
//! proposed is given up, never tried again behind its back: its connection closes.

use std::sync::Arc;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use jute::{Acl, SessionId};
use openraft::raft::{ClientWriteResult, responder::ProgressResponder};
use tokio::sync::{OwnedSemaphorePermit, mpsc};

use super::RaftHandle;
use super::fault::Fault;
use super::sessions::Sessions;
use super::types::{Payload, TypeConfig};
use crate::clock::Clock;
use crate::config::limits::{
    PROPOSAL_BYTES_MAX, PROPOSAL_SUBMISSIONS_MAX, PROPOSALS_IN_FLIGHT_MAX,
};
use crate::replica::Replica;
use crate::tree::{Batch, Holder, Origin, Submission, Write};

/// A submission that waits to be proposed.
pub(super) struct Queued {
    pub(super) submission: Submission,
    /// What a large one takes of the queue's room, given back when it leaves the queue.
    pub(super) _room: Option<OwnedSemaphorePermit>,
}

/// What the proposer needs.
pub(super) struct Proposer {
    pub(super) raft: RaftHandle,
    pub(super) replica: Arc<Replica>,
    pub(super) sessions: Arc<Sessions>,
    pub(super) clock: Clock,
    pub(super) fault: Fault,
    pub(super) queue: mpsc::Receiver<Queued>,
}

impl Proposer {
    /// Proposes until nobody is left who could hand anything in.
    pub(super) async fn run(mut self) {
        let mut in_flight = FuturesUnordered::new();
        loop {
            tokio::select! {
                // Nothing is taken from the queue while the log is busy: it gathers there.
                first = self.queue.recv(), if in_flight.len() < PROPOSALS_IN_FLIGHT_MAX => {
                    let Some(first) = first else { break };
                    let batch = self.gather(first.submission);
                    let payload = Payload::new(&batch);
                    let asked = Asked::of(batch);
                    let (responder, outcome) =
                        ProgressResponder::<TypeConfig, ClientWriteResult<TypeConfig>>::complete_only();
                    let sent = self.raft.client_write_ff(payload, Some(responder)).await;
                    if let Err(error) = sent {
                        return self.fault.raise(&error);
                    }
                    in_flight.push(async move { (asked, outcome.await) });
                }
                Some((asked, outcome)) = in_flight.next() => match outcome {
                    Ok(Ok(_)) => {}
                    Ok(Err(error)) => self.give_up(&asked, &error),
                    Err(_) => return self.fault.raise(&"the consensus task has stopped"),
                },
            }
        }
    }

    /// Takes what has gathered behind `first`, as much as an entry holds.
    fn gather(&mut self, first: Submission) -> Batch {
        let mut bytes = weight(&first.write);
        let mut submissions = vec![first];
        while submissions.len() < PROPOSAL_SUBMISSIONS_MAX && bytes < PROPOSAL_BYTES_MAX {
            let Ok(Queued { submission: next, .. }) = self.queue.try_recv() else { break };
            bytes += weight(&next.write);
            submissions.push(next);
        }
        Batch { time_ms: self.clock.wall_ms(), submissions }
    }

    /// Gives up what was not proposed.
    fn give_up(&self, asked: &Asked, error: &dyn std::fmt::Display) {
        tracing::warn!("{} requests could not be proposed: {error}", asked.origins.len());
        for &(session, holder) in &asked.expired {
            if let Some(record) = self.replica.tree().session(session) {
                self.sessions.revive(session, record.timeout_ms, holder);
            }
        }
        self.replica.abandon(asked.origins.iter().copied());
    }
}

/// Whom to tell if a batch could not be proposed.
struct Asked {
    origins: Vec<Origin>,
    expired: Vec<(SessionId, Holder)>,
}

impl Asked {
    fn of(batch: Batch) -> Asked {
        let mut asked = Asked { origins: Vec::new(), expired: Vec::new() };
        for submission in batch.submissions {
            if let Write::CloseSession { expired_holder: Some(holder) } = submission.write {
                asked.expired.push((submission.origin.session, holder));
            }
            asked.origins.push(submission.origin);
        }
        asked
    }
}

/// About how many bytes a write adds to an entry.
pub(super) fn weight(write: &Write) -> usize {
    let data_bytes = |data: &Option<bytes::Bytes>| data.as_ref().map_or(0, bytes::Bytes::len);
    let acl_bytes =
        |acl: &Option<Vec<Acl>>| acl.as_ref().map_or(0, |acl| acl.len() * size_of::<Acl>());
    match write {
        Write::Create { path, data, acl, .. } => path.len() + data_bytes(data) + acl_bytes(acl),
        Write::SetData { path, data, .. } => path.len() + data_bytes(data),
        Write::SetAcl { path, acl, .. } => path.len() + acl_bytes(acl),
        Write::Multi(writes) => writes.iter().map(weight).sum(),
        Write::Delete { path, .. } | Write::Check { path, .. } | Write::Reap { path, .. } => {
            path.len()
        }
        Write::OpenSession { .. }
        | Write::AttachSession { .. }
        | Write::CloseSession { .. }
        | Write::Refused(_) => 0,
    }
}
