//! Turns submissions into log entries: many into one while the log is busy, one alone when it is not.
//!
//! Invariant: submissions are proposed in the order in which they were handed in. What could not be
//! proposed is given up here: whoever handed it in with a number hands it in again, and that of a
//! standalone server, whose log takes everything or stops it, is never tried again: its connection
//! closes.

use std::sync::Arc;

use bytes::{BufMut as _, Bytes, BytesMut};
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use jute::{Acl, Encode as _, SessionId};
use openraft::raft::{ClientWriteResult, responder::ProgressResponder};
use tokio::sync::{OwnedSemaphorePermit, mpsc};

use super::shared::Shared;
use super::types::{Payload, TypeConfig};
use crate::config::limits::{
    PROPOSAL_BYTES_MAX, PROPOSAL_SUBMISSIONS_MAX, PROPOSALS_IN_FLIGHT_MAX,
};
use crate::tree::{Batch, Holder, Origin, Submission, Write};

/// A submission that waits to be proposed.
pub(super) enum Queued {
    /// This server's own, handed in once.
    Own {
        submission: Submission,
        /// What a large one takes of the queue's room, given back when it leaves the queue.
        _room: Option<OwnedSemaphorePermit>,
    },
    /// A numbered one as it stands in a batch, and how many rejections there had been before it.
    Encoded { bytes: Bytes, rejections: u64 },
}

impl Queued {
    fn weight(&self) -> usize {
        match self {
            Queued::Own { submission, .. } => weight(&submission.write),
            Queued::Encoded { bytes, .. } => bytes.len(),
        }
    }
}

/// What the proposer needs.
pub(super) struct Proposer {
    pub(super) shared: Arc<Shared>,
    pub(super) queue: mpsc::Receiver<Queued>,
}

impl Proposer {
    /// Proposes until nobody is left who could hand anything in.
    pub(super) async fn run(mut self) {
        self.shared.has_joined().await;
        let Some(raft) = self.shared.raft().cloned() else { return };
        let mut in_flight = FuturesUnordered::new();
        let mut holding = self.shared.holding.subscribe();
        loop {
            tokio::select! {
                // Nothing is taken from the queue while the log is busy: it gathers there.
                first = self.queue.recv(),
                    if in_flight.len() < PROPOSALS_IN_FLIGHT_MAX && !*self.shared.holding.borrow() =>
                {
                    let Some(first) = first else { break };
                    let (payload, asked) = self.gather(first);
                    let (responder, outcome) =
                        ProgressResponder::<TypeConfig, ClientWriteResult<TypeConfig>>::complete_only();
                    let sent = raft.client_write_ff(payload, Some(responder)).await;
                    if let Err(error) = sent {
                        return self.shared.fault.raise(&error);
                    }
                    in_flight.push(async move { (asked, outcome.await) });
                }
                changed = holding.changed() => if changed.is_err() { return },
                Some((asked, outcome)) = in_flight.next() => match outcome {
                    Ok(Ok(_)) => {}
                    Ok(Err(error)) => self.give_up(&asked, &error),
                    Err(_) => return self.shared.fault.raise(&"the consensus task has stopped"),
                },
            }
        }
    }

    /// Takes what has gathered behind `first`, as much as an entry holds.
    fn gather(&mut self, first: Queued) -> (Payload, Asked) {
        let mut bytes = first.weight();
        let mut gathered = vec![first];
        while gathered.len() < PROPOSAL_SUBMISSIONS_MAX && bytes < PROPOSAL_BYTES_MAX {
            let Ok(next) = self.queue.try_recv() else { break };
            bytes += next.weight();
            gathered.push(next);
        }
        let mut batch = BytesMut::new();
        Batch::begin(self.shared.clock.wall_ms(), gathered.len(), &mut batch);
        let mut asked = Asked::default();
        for one in gathered {
            match one {
                Queued::Own { submission, .. } => {
                    submission.encode(&mut batch);
                    asked.note(&submission);
                }
                Queued::Encoded { bytes, rejections } => {
                    batch.put_slice(&bytes);
                    asked.rejections = Some(asked.rejections.unwrap_or(0).max(rejections));
                }
            }
        }
        (Payload::encoded(batch), asked)
    }

    /// Gives up what was not proposed.
    fn give_up(&self, asked: &Asked, error: &dyn std::fmt::Display) {
        if let Some(before) = asked.rejections {
            tracing::debug!("requests did not reach the log: {error}");
            self.shared.reject(before);
        }
        if asked.origins.is_empty() {
            return;
        }
        let replica = &self.shared.replica;
        tracing::warn!("{} requests could not be proposed: {error}", asked.origins.len());
        for &(session, holder) in &asked.expired {
            if let Some(record) = replica.tree().session(session) {
                self.shared.sessions.revive(session, record.timeout_ms, holder);
            }
        }
        replica.abandon(asked.origins.iter().copied());
    }
}

/// Whom to tell if a batch could not be proposed.
#[derive(Default)]
struct Asked {
    origins: Vec<Origin>,
    expired: Vec<(SessionId, Holder)>,
    /// With numbered submissions among them: the most rejections that came before one.
    rejections: Option<u64>,
}

impl Asked {
    fn note(&mut self, submission: &Submission) {
        if let Write::CloseSession { expired_holder: Some(holder) } = submission.write {
            self.expired.push((submission.origin.session, holder));
        }
        self.origins.push(submission.origin);
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
