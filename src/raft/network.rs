//! openraft's network: its questions to one other server, put into our words.
//!
//! Entries are sent on without waiting for the answers before; they come in the same order.

use std::collections::BTreeMap;
use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use futures_util::stream::BoxStream;
use futures_util::{Stream, StreamExt as _, stream};
use openraft::base::BoxFuture;
use openraft::errors::{NetworkError, RPCError, ReplicationClosed, StreamingError, Unreachable};
use openraft::network::RPCOption;
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, StreamAppendError,
    StreamAppendResult, TransferLeaderRequest, TransferLeaderResponse, VoteRequest, VoteResponse,
};
use openraft::{OptionalSend, RaftNetworkFactory, RaftNetworkV2};

use super::applier::Image;
use super::identity::{Identity, server_id};
use super::peers::{Caller, unexpected};
use super::snapshot::{self, SnapshotSource};
use super::types::{Member, TypeConfig, Vote};
use super::wire::{Answer, Ask, Greeting, Purpose, put_append};
use crate::config::limits::APPENDS_IN_FLIGHT_MAX;

/// How long a follower may take for entries until it is asked again: it may have to sync.
const APPEND_MS: u64 = 5_000;
/// How long to wait after a server refused a snapshot.
const REFUSED_PAUSE_MS: u64 = 1_000;
/// How long a question may take.
const QUESTION_MS: u64 = 1_000;

type Failure = RPCError<TypeConfig>;

/// Makes [`Peer`]s.
pub(super) struct Network {
    pub(super) identity: Identity,
    pub(super) snapshots: Arc<SnapshotSource>,
    /// Lines that count whatever the members' say, by server.
    pub(super) lines: BTreeMap<u64, String>,
}

impl Network {
    fn peer(&self, target: u64, member: &Member) -> Peer {
        let line = self.lines.get(&server_id(target)).unwrap_or(&member.line);
        Peer {
            caller: Caller::new(line, self.identity.greeting(Purpose::Questions, target)),
            snapshots: Arc::clone(&self.snapshots),
        }
    }
}

impl RaftNetworkFactory<TypeConfig> for Network {
    type Network = Peer;

    async fn new_client(&mut self, target: u64, member: &Member) -> Peer {
        self.peer(target, member)
    }
}

/// One other server.
pub(super) struct Peer {
    caller: Caller,
    snapshots: Arc<SnapshotSource>,
}

impl Peer {
    async fn ask(&mut self, ask: &Ask) -> Result<Answer, Failure> {
        let limit = Duration::from_millis(QUESTION_MS);
        self.caller.call(ask, limit).await.map_err(|error| failure(&error))
    }
}

/// Whether a server is not there, or something went wrong on the way.
fn failure(error: &io::Error) -> Failure {
    match error.kind() {
        io::ErrorKind::ConnectionRefused
        | io::ErrorKind::NotFound
        | io::ErrorKind::PermissionDenied
        | io::ErrorKind::HostUnreachable => RPCError::Unreachable(Unreachable::new(error)),
        _ => RPCError::Network(NetworkError::new(error)),
    }
}

/// Requests to append on their way.
struct Appends<'s, S> {
    caller: &'s mut Caller,
    requests: S,
    is_connected: bool,
    /// No more requests come.
    is_ended: bool,
    /// The answer was given that ends it.
    is_over: bool,
}

impl<S> Appends<'_, S>
where
    S: Stream<Item = AppendEntriesRequest<TypeConfig>> + Unpin,
{
    /// The next answer; sends what there is meanwhile.
    async fn next(&mut self) -> Option<Result<StreamAppendResult<TypeConfig>, Failure>> {
        if self.is_over {
            return None;
        }
        let answer = self.advance().await;
        self.is_over = !matches!(answer, Ok(Some(Ok(_))));
        match answer {
            Ok(Some(appended)) => Some(Ok(appended)),
            Ok(None) => None,
            Err(error) => {
                self.caller.hang_up();
                Some(Err(failure(&error)))
            }
        }
    }

    async fn advance(&mut self) -> io::Result<Option<StreamAppendResult<TypeConfig>>> {
        let limit = Duration::from_millis(APPEND_MS);
        let patience = tokio::time::sleep(limit);
        tokio::pin!(patience);
        loop {
            // Whatever is unanswered of another stream is not ours.
            let unanswered = if self.is_connected { self.caller.unanswered } else { 0 };
            if self.is_ended && unanswered == 0 {
                return Ok(None);
            }
            tokio::select! {
                biased;
                answer = self.caller.answer(), if unanswered > 0 => return match answer? {
                    Answer::Appended(appended) => Ok(Some(appended)),
                    other => Err(unexpected(&other)),
                },
                request = self.requests.next(),
                    if !self.is_ended && unanswered < APPENDS_IN_FLIGHT_MAX =>
                {
                    let Some(request) = request else {
                        self.is_ended = true;
                        continue;
                    };
                    if !self.is_connected {
                        self.caller.connect().await?;
                        self.is_connected = true;
                    }
                    self.caller.send(encoded(&request)).await?;
                    patience.as_mut().reset(tokio::time::Instant::now() + limit);
                }
                () = &mut patience, if unanswered > 0 => {
                    return Err(io::ErrorKind::TimedOut.into());
                }
            }
        }
    }
}

fn encoded(request: &AppendEntriesRequest<TypeConfig>) -> bytes::Bytes {
    let mut frame = BytesMut::new();
    let (prev, commit) = (request.prev_log_id.as_ref(), request.leader_commit.as_ref());
    put_append(&request.vote, prev, commit, &request.entries, &mut frame);
    frame.freeze()
}

impl RaftNetworkV2<TypeConfig> for Peer {
    type SnapshotData = Image;

    async fn append_entries(
        &mut self,
        request: AppendEntriesRequest<TypeConfig>,
        _: RPCOption,
    ) -> Result<AppendEntriesResponse<TypeConfig>, Failure> {
        let ask = Ask::Append {
            vote: request.vote,
            prev: request.prev_log_id,
            commit: request.leader_commit,
            entries: request.entries,
        };
        match self.ask(&ask).await? {
            Answer::Appended(Ok(last)) => Ok(AppendEntriesResponse::PartialSuccess(last)),
            Answer::Appended(Err(StreamAppendError::Conflict(_))) => {
                Ok(AppendEntriesResponse::Conflict)
            }
            Answer::Appended(Err(StreamAppendError::HigherVote(vote))) => {
                Ok(AppendEntriesResponse::HigherVote(vote))
            }
            other => Err(failure(&unexpected(&other))),
        }
    }

    fn stream_append<S>(
        &mut self,
        input: S,
        _: RPCOption,
    ) -> BoxFuture<
        '_,
        Result<BoxStream<'_, Result<StreamAppendResult<TypeConfig>, Failure>>, Failure>,
    >
    where
        S: Stream<Item = AppendEntriesRequest<TypeConfig>> + OptionalSend + Unpin + 'static,
    {
        Box::pin(async move {
            // Nothing is connected before there is a request: with those, openraft waits a while after
            // a failure.
            let caller = &mut self.caller;
            let appends = Appends {
                caller,
                requests: input,
                is_connected: false,
                is_ended: false,
                is_over: false,
            };
            let answers = stream::unfold(appends, |mut appends| async move {
                appends.next().await.map(|answer| (answer, appends))
            });
            Ok(answers.boxed())
        })
    }

    async fn vote(
        &mut self,
        request: VoteRequest<TypeConfig>,
        _: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, Failure> {
        voted(self.ask(&vote_ask(&request, false)).await?)
    }

    async fn pre_vote(
        &mut self,
        request: VoteRequest<TypeConfig>,
        _: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, Failure> {
        voted(self.ask(&vote_ask(&request, true)).await?)
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        _: openraft::type_config::alias::SnapshotOf<TypeConfig, Image>,
        cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        _: RPCOption,
    ) -> Result<SnapshotResponse<TypeConfig>, StreamingError<TypeConfig>> {
        let line = self.caller.line();
        let greeting = Greeting { purpose: Purpose::Snapshot, ..self.caller.greeting().clone() };
        tokio::select! {
            closed = cancel => Err(StreamingError::Closed(closed)),
            sent = snapshot::send(&self.snapshots, line, &greeting, vote) => match sent {
                Ok(vote) => Ok(SnapshotResponse::new(vote)),
                Err(error) => {
                    tracing::warn!("a snapshot did not reach {line}: {error}");
                    if error.kind() == io::ErrorKind::Other {
                        // It has no room, say; that does not change at once.
                        tokio::time::sleep(Duration::from_millis(REFUSED_PAUSE_MS)).await;
                    }
                    Err(match failure(&error) {
                        RPCError::Unreachable(unreachable) => unreachable.into(),
                        _ => NetworkError::new(&error).into(),
                    })
                }
            },
        }
    }

    async fn transfer_leader(
        &mut self,
        request: TransferLeaderRequest<TypeConfig>,
        _: RPCOption,
    ) -> Result<TransferLeaderResponse<TypeConfig>, Failure> {
        let ask = Ask::Transfer {
            from: *request.from_leader(),
            to: *request.to_node_id(),
            last: request.last_log_id().copied(),
        };
        match self.ask(&ask).await? {
            Answer::Done => Ok(Ok(())),
            other => Err(failure(&unexpected(&other))),
        }
    }
}

fn vote_ask(request: &VoteRequest<TypeConfig>, is_trial: bool) -> Ask {
    Ask::Vote {
        vote: request.vote,
        last: request.last_log_id,
        is_transfer: request.leadership_transfer,
        is_trial,
    }
}

fn voted(answer: Answer) -> Result<VoteResponse<TypeConfig>, Failure> {
    match answer {
        Answer::Voted { vote, is_granted, last } => Ok(VoteResponse::new(vote, last, is_granted)),
        other => Err(failure(&unexpected(&other))),
    }
}
