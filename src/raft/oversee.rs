//! Whether this server serves clients, and whether it does what a leader does.
//!
//! Invariant: no client is served who could see what is older than the limit. A server begins to serve
//! when a leader speaks to it and it has all that was answered before, and ends when it has not heard of a
//! leader, or as the leader of a majority, for `syncLimit` ticks. The connection of a session that may be
//! ended elsewhere before that is closed in time.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use super::Role;
use super::identity;
use super::members;
use super::shared::{Shared, is_observer};
use super::snapshot;
use crate::replica::Closing;

/// How often the leader is looked for.
const LOOK_MS: u64 = 20;
/// How long a server that has caught up waits for its vote.
const VOTE_MS: u64 = 10_000;
/// How often the leader looks after its members.
const MEMBERS_MS: u64 = 200;
/// Milliseconds without a leader after which clients may be served that only read, or a tick if that is
/// longer.
///
/// Source: ZooKeeper, `QuorumPeer.run`.
const READ_ONLY_MS: i64 = 2_000;
/// Milliseconds without a leader below which no session is in danger.
const SHORT_SILENCE_MS: i64 = 1_000;

/// Looks after it, for ever.
///
/// `may_read_only`: clients that ask for it may read what there is, where there is no leader.
pub(super) async fn run(shared: Arc<Shared>, may_read_only: bool) {
    shared.has_joined().await;
    let patience_ms = READ_ONLY_MS.max(shared.tick.as_millis() as i64);
    loop {
        tokio::time::sleep(Duration::from_millis(LOOK_MS)).await;
        shared.set_leading(shared.role() == Role::Leader && !shared.is_gathering());
        let silence_ms = shared.since_contact_ms();
        if *shared.serving.borrow() {
            if silence_ms > shared.silence_max_ms {
                tracing::warn!("no leader for {silence_ms} ms: closing all client connections");
                shared.serving.send_replace(false);
                close_silent(&shared, i64::MAX);
            } else if silence_ms > SHORT_SILENCE_MS {
                close_silent(&shared, silence_ms);
            }
        } else if may_read_only && silence_ms > patience_ms && !*shared.read_only.borrow() {
            tracing::warn!("no leader for {silence_ms} ms: serving clients that only read");
            shared.read_only.send_replace(true);
        }
    }
}

/// Closes the connections of sessions that may have been ended elsewhere in so long a silence.
fn close_silent(shared: &Shared, silence_ms: i64) {
    for outbox in shared.replica.connections() {
        // A client gives up after two thirds of its timeout, too.
        let is_safe = |timeout_ms: i32| silence_ms < i64::from(timeout_ms) * 2 / 3;
        if !outbox.seat().is_some_and(|seat| is_safe(seat.timeout_ms)) {
            outbox.close(Closing::AtOnce);
        }
    }
}

/// Waits until this server leads, or a leader speaks to it: one that only answers takes it for another or
/// cannot reach it.
async fn await_leader(shared: &Shared) {
    let contact_ms = shared.last_contact_ms();
    let is_alone = || shared.role() != Role::Leader && shared.last_contact_ms() == contact_ms;
    while shared.is_gathering() || is_alone() {
        tokio::time::sleep(Duration::from_millis(LOOK_MS)).await;
    }
}

/// Waits until a server that was taken in has its vote, though not for ever: whoever sees it serve believes
/// that another one may fail.
async fn await_vote(shared: &Shared) {
    let own = shared.node();
    let is_waiting = || {
        shared.membership().is_some_and(|members| {
            let is_voter = members.voter_ids().any(|node| node == own);
            let member = members.get_node(&own);
            let will_vote =
                member.is_some_and(|member| !member.is_guest && !is_observer(&member.line));
            will_vote && !is_voter
        })
    };
    for _ in 0..VOTE_MS / LOOK_MS {
        if !is_waiting() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(LOOK_MS)).await;
    }
}

/// Whether the ensemble knows of a later start of this server: it lost its disk, and its clock stands
/// before that start. Its submissions would all be out of turn, so it starts again with a higher number.
async fn is_from_the_past(shared: &Shared) -> io::Result<bool> {
    let home = shared.replica.home();
    let known = shared.replica.tree().lanes().get(&home.server).map_or(0, |lane| lane.boot);
    if known <= home.boot {
        return Ok(false);
    }
    identity::note_boot(&shared.log, known).await?;
    shared.fault.ask_restart(&format!(
        "the ensemble knows start {known} of this server, and this is start {}; is the clock right?",
        home.boot
    ));
    Ok(true)
}

/// Begins to serve whenever everything is here, for ever.
pub(super) async fn open(shared: Arc<Shared>) {
    shared.has_joined().await;
    if let Err(error) = open_again_and_again(&shared).await {
        tracing::debug!("not serving any more: {error}");
    }
}

async fn open_again_and_again(shared: &Shared) -> io::Result<()> {
    let mut serving = shared.serving.subscribe();
    loop {
        serving.wait_for(|serving| !serving).await.map_err(io::Error::other)?;
        await_leader(shared).await;
        shared.barrier().await?;
        await_vote(shared).await;
        if is_from_the_past(shared).await? {
            return Ok(());
        }
        if let Err(error) = snapshot::discard(shared).await {
            tracing::warn!("what arrived of a snapshot stays on disk: {error}");
        }
        if shared.role() == Role::Leader {
            shared.note_contact();
        }
        if shared.read_only.send_replace(false) {
            // They come again, and find a server that writes.
            close_silent(shared, i64::MAX);
        }
        tracing::info!("serving as {}", shared.role().name());
        shared.serving.send_replace(true);
    }
}

/// Looks after the members while this server leads, for ever.
pub(super) async fn keep_members(shared: Arc<Shared>) {
    loop {
        tokio::time::sleep(Duration::from_millis(MEMBERS_MS)).await;
        if shared.role() == Role::Leader
            && let Err(error) = members::keep(&shared).await
        {
            tracing::debug!("the members stay as they are: {error}");
        }
    }
}
