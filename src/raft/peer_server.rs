//! Answers other servers.
//!
//! Nobody is answered who does not greet as a member of this ensemble, but for questions by which a
//! server finds out where it belongs.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::BoxStream;
use futures_util::{SinkExt as _, StreamExt as _, stream};
use openraft::ReadPolicy;
use openraft::errors::Fatal;
use openraft::raft::{
    AppendEntriesRequest, StreamAppendResult, TransferLeaderRequest, VoteRequest,
};
use tokio::sync::mpsc;

use super::identity::{self, Identity, server_id};
use super::proposer::Queued;
use super::shared::{Leader, Shared, rejected};
use super::types::TypeConfig;
use super::wire::{Answer, Ask, Greeting, Purpose, submissions};
use super::{RaftHandle, joining, members, reconfig, snapshot};
use crate::config::limits::APPENDS_IN_FLIGHT_MAX;
use crate::net::{PeerListener, PeerStream, admit_large_frames};
use crate::tree::Submission;

/// How long whoever connects may take to greet.
const GREETING_MS: u64 = 5_000;
/// How often a server that lost its leader's connection tries to be elected, how many times, and by how
/// much each waits for the one before it.
const HASTEN_MS: u64 = 20;
const HASTEN_TRIES: u32 = 25;
const HASTEN_RANK_MS: u64 = 60;
/// How often it is tried again to listen, and after how long.
const LISTEN_RETRIES: u32 = 3;
const LISTEN_PAUSE_MS: u64 = 1_000;
/// How long to wait when the system cannot accept.
const ACCEPT_PAUSE_MS: u64 = 100;

/// Listens to other servers. A name or an address that does not exist yet is waited for, but not for long.
///
/// Source: ZooKeeper, `QuorumCnxManager.Listener`, `electionPortBindRetry`.
pub(super) async fn listen(host: Option<&str>, port: u16) -> io::Result<PeerListener> {
    for _ in 0..LISTEN_RETRIES {
        match PeerListener::bind(host, port).await {
            Err(error) if error.kind() != io::ErrorKind::AddrInUse => {
                let host = host.unwrap_or("*");
                tracing::warn!("cannot listen to other servers on {host}:{port} yet: {error}");
                tokio::time::sleep(Duration::from_millis(LISTEN_PAUSE_MS)).await;
            }
            bound => return bound,
        }
    }
    PeerListener::bind(host, port).await
}

/// Accepts and answers other servers, for ever.
pub(super) async fn serve(shared: Arc<Shared>, listener: PeerListener) {
    loop {
        match listener.accept().await {
            Ok((stream, address)) => {
                let shared = Arc::clone(&shared);
                tokio::spawn(async move {
                    if let Err(error) = answer(&shared, stream, address).await {
                        tracing::debug!("connection of the server at {address} ended: {error}");
                    }
                });
            }
            Err(error) => {
                tracing::warn!("cannot accept servers: {error}");
                tokio::time::sleep(Duration::from_millis(ACCEPT_PAUSE_MS)).await;
            }
        }
    }
}

async fn answer(
    shared: &Arc<Shared>,
    mut stream: PeerStream,
    address: SocketAddr,
) -> io::Result<()> {
    let limit = Duration::from_millis(GREETING_MS);
    let frame = tokio::time::timeout(limit, stream.next()).await;
    let frame = frame.map_err(|_| io::ErrorKind::TimedOut)?;
    let frame = frame.ok_or(io::ErrorKind::UnexpectedEof)??;
    let checked = Greeting::decode(frame.freeze()).map_err(|error| error.to_string());
    let asked = checked.as_ref().ok().cloned();
    let checked = checked.and_then(|greeting| check(shared, &greeting).map(|()| greeting));
    let greeting = match checked {
        Ok(greeting) => greeting,
        Err(why) => {
            if let Some(left_out) = shared.refusal_lines.pass() {
                tracing::warn!("the server at {address} is refused: {why}{left_out}");
            }
            stream.send(Answer::Refused(why).encode()).await?;
            return be_renamed(shared, asked).await;
        }
    };
    stream.send(Answer::Done.encode()).await?;
    if greeting.purpose != Purpose::Introduction {
        admit_large_frames(&mut stream);
    }
    match greeting.purpose {
        Purpose::Questions => {
            let ended = questions(shared, stream).await;
            if let Some(leader) = shared.leader().filter(|leader| leader.node == greeting.from) {
                tokio::spawn(hasten(Arc::clone(shared), leader));
            }
            ended
        }
        Purpose::Lane => lane(shared, stream, greeting.from).await,
        Purpose::Snapshot => snapshot::receive(shared, stream).await,
        Purpose::Introduction => introductions(shared, stream).await,
    }
}

/// Whether whoever greets like this is answered; else, why not.
fn check(shared: &Shared, greeting: &Greeting) -> Result<(), String> {
    if greeting.purpose == Purpose::Introduction {
        return Ok(());
    }
    let Ok(identity) = shared.identity() else {
        return Err("this server has not found its ensemble yet".to_owned());
    };
    if greeting.cluster != identity.cluster {
        return Err(format!(
            "it belongs to ensemble {:016x}, this server to ensemble {:016x}",
            greeting.cluster, identity.cluster
        ));
    }
    if greeting.to != identity.node {
        return Err(format!(
            "it means node {:x}, and this is node {:x} (server {})",
            greeting.to,
            identity.node,
            server_id(identity.node)
        ));
    }
    Ok(())
}

/// Takes the name under which the ensemble took this server in again, after it had left: nobody was ever
/// called by it. What it voted for and what it has of the log stay true.
async fn be_renamed(shared: &Shared, asked: Option<Greeting>) -> io::Result<()> {
    let (Some(asked), Ok(identity), Some(members)) =
        (asked, shared.identity(), shared.membership())
    else {
        return Ok(());
    };
    let is_ours = asked.cluster == identity.cluster
        && server_id(asked.to) == server_id(identity.node)
        && asked.to > identity.node;
    let has_left = members.get_node(&identity.node).is_none_or(|member| member.is_guest);
    if is_ours && has_left {
        identity::write(&shared.log, Identity { node: asked.to, ..identity }).await?;
        let reason = format!("the ensemble took this server in again, as node {:x}", asked.to);
        shared.fault.ask_restart(&reason);
    }
    Ok(())
}

/// Requests to append that were passed on, and what comes of them.
struct Appends {
    requests: mpsc::Sender<AppendEntriesRequest<TypeConfig>>,
    answers: BoxStream<'static, Result<StreamAppendResult<TypeConfig>, Fatal<TypeConfig>>>,
}

impl Appends {
    fn new(raft: &RaftHandle) -> Appends {
        let (requests, queue) = mpsc::channel(APPENDS_IN_FLIGHT_MAX);
        let queue = stream::unfold(queue, |mut queue: mpsc::Receiver<_>| async move {
            queue.recv().await.map(|request| (request, queue))
        });
        Appends { requests, answers: raft.stream_append(queue).boxed() }
    }

    /// What came of the next request; waits for ever without requests.
    async fn next(
        appends: &mut Option<Appends>,
    ) -> Option<Result<StreamAppendResult<TypeConfig>, Fatal<TypeConfig>>> {
        match appends {
            Some(appends) => Pin::new(&mut appends.answers).next().await,
            None => std::future::pending().await,
        }
    }
}

/// Stands for election as soon as that may be, when the leader's connection is lost: most often that is
/// since its process has ended. If it lives it is still heard of over another connection, and nobody
/// votes for this server.
async fn hasten(shared: Arc<Shared>, lost: Leader) {
    let (Some(raft), Some(membership)) = (shared.raft(), shared.membership()) else { return };
    let mut others = membership.voter_ids().filter(|node| *node != lost.node);
    // One after the other, so that they do not take each other's votes.
    let Some(rank) = others.position(|node| node == shared.node()) else { return };
    tokio::time::sleep(Duration::from_millis(HASTEN_RANK_MS * rank as u64)).await;
    for _ in 0..HASTEN_TRIES {
        if shared.leader() != Some(lost) || raft.trigger().elect(true).await.is_err() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(HASTEN_MS)).await;
    }
}

async fn questions(shared: &Arc<Shared>, mut stream: PeerStream) -> io::Result<()> {
    let raft = shared.raft_or_error()?.clone();
    let mut appends = None;
    loop {
        tokio::select! {
            frame = stream.next() => {
                let Some(frame) = frame else { return Ok(()) };
                match Ask::decode(frame?.freeze())? {
                    Ask::Append { vote, prev, commit, entries } => {
                        let request = AppendEntriesRequest {
                            vote,
                            prev_log_id: prev,
                            leader_commit: commit,
                            entries,
                        };
                        let passed = appends.get_or_insert_with(|| Appends::new(&raft));
                        passed.requests.send(request).await.map_err(io::Error::other)?;
                    }
                    ask => stream.send(answer_to(shared, &raft, ask).await?.encode()).await?,
                }
            }
            answer = Appends::next(&mut appends) => {
                let Some(answer) = answer else {
                    return Err(io::Error::other("consensus answers no more"));
                };
                let answer = answer.map_err(io::Error::other)?;
                if answer.is_ok() {
                    shared.note_contact();
                } else {
                    // What was sent after it is not answered: the leader begins anew.
                    appends = None;
                }
                stream.send(Answer::Appended(answer).encode()).await?;
            }
        }
    }
}

/// The answer to a question of a member.
async fn answer_to(shared: &Shared, raft: &RaftHandle, ask: Ask) -> io::Result<Answer> {
    Ok(match ask {
        Ask::Vote { vote, last, is_transfer, is_trial } => {
            let request = VoteRequest { vote, last_log_id: last, leadership_transfer: is_transfer };
            let voted =
                if is_trial { raft.pre_vote(request).await } else { raft.vote(request).await };
            let voted = voted.map_err(io::Error::other)?;
            let last = voted.last_log_id;
            Answer::Voted { vote: voted.vote, is_granted: voted.vote_granted, last }
        }
        Ask::Transfer { from, to, last } => {
            let request = TransferLeaderRequest::new(from, to, last);
            match raft.handle_transfer_leader(request).await.map_err(io::Error::other)? {
                Ok(()) => Answer::Done,
                Err(error) => Answer::Refused(error.to_string()),
            }
        }
        Ask::Touch(sessions) => {
            for session in sessions {
                shared.sessions.touch(session);
            }
            Answer::Done
        }
        Ask::ReadIndex => match raft.get_read_linearizer(ReadPolicy::ReadIndex).await {
            Ok(linearizer) => Answer::Index(linearizer.read_log_id().index()),
            Err(error) => Answer::Refused(error.to_string()),
        },
        Ask::Reconfigure(wish) => match reconfig::carry_out(shared, &wish).await {
            Ok(index) => Answer::Index(index),
            Err(code) => Answer::Failed(code as i32),
        },
        Ask::Append { .. } | Ask::Standing | Ask::Found { .. } | Ask::Join { .. } => {
            Answer::Refused("the question is out of place".to_owned())
        }
    })
}

/// Proposes what another server hands over, while this one leads. The connection ends as soon as
/// anything may not have reached the log.
async fn lane(shared: &Shared, mut stream: PeerStream, from: u64) -> io::Result<()> {
    let raft = shared.raft_or_error()?;
    let Some(mut changes) = shared.leader_changes() else { return Ok(()) };
    let rejections = shared.rejections();
    let mut watched = shared.watch_rejections();
    loop {
        if !raft.is_leader() {
            return Err(io::Error::other("this server does not lead"));
        }
        tokio::select! {
            frame = stream.next() => {
                let Some(frame) = frame else { return Ok(()) };
                for bytes in submissions(frame?.freeze())? {
                    // Nothing enters the log that could not be read back from it.
                    let submission: Submission = jute::decode_all(&bytes)
                        .map_err(|error| io::Error::other(error.to_string()))?;
                    if submission.origin.holder.server != server_id(from) {
                        return Err(io::Error::other("a submission of another server"));
                    }
                    let queued = Queued::Encoded { bytes, rejections };
                    shared.proposals.send(queued).await.map_err(io::Error::other)?;
                }
            }
            () = rejected(&mut watched, rejections) => {
                return Err(io::Error::other("a proposal did not reach the log"));
            }
            changed = changes.changed() => changed?,
        }
    }
}

/// Answers a server that looks for its place.
async fn introductions(shared: &Arc<Shared>, mut stream: PeerStream) -> io::Result<()> {
    while let Some(frame) = stream.next().await {
        let answer = match Ask::decode(frame?.freeze())? {
            Ask::Standing => joining::standing(shared),
            Ask::Found { cluster, servers } => joining::found(shared, cluster, &servers).await,
            Ask::Join { my_id, line } => match members::take_in(shared, my_id, line).await {
                Ok(answer) => answer,
                Err(error) => Answer::Refused(error.to_string()),
            },
            _ => Answer::Refused("the question is for members".to_owned()),
        };
        stream.send(answer.encode()).await?;
    }
    Ok(())
}
