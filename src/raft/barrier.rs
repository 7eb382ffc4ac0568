//! Waiting until everything that was answered anywhere before is here: what `sync` promises.
//!
//! The leader is asked for the last entry that may have been answered, which it tells after a majority
//! confirmed that it still leads. A lease would not do: it does not survive a restart. All who wait are
//! served by one question, asked after the last of them came.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use openraft::ReadPolicy;
use tokio::sync::oneshot;

use super::peers::{Caller, unexpected};
use super::shared::Shared;
use super::wire::{Answer, Ask, Purpose};

/// How long the leader may take to answer.
const ANSWER_MS: u64 = 2_000;
/// Between two questions, where there is no answer.
const PAUSE_MS: u64 = 20;

/// A leader, and the way to ask it.
pub(super) struct AskLeader {
    caller: Option<(u64, Caller)>,
}

impl AskLeader {
    pub(super) fn new() -> AskLeader {
        AskLeader { caller: None }
    }

    /// Asks whoever leads, which is another server.
    pub(super) async fn ask(
        &mut self,
        shared: &Shared,
        node: u64,
        ask: &Ask,
    ) -> io::Result<Answer> {
        let line = shared.line_of(node).ok_or(io::ErrorKind::NotFound)?;
        // A server's line changes when it was standalone, or moved.
        let is_same = |(known, caller): &(u64, Caller)| *known == node && caller.line() == line;
        if !self.caller.as_ref().is_some_and(is_same) {
            let greeting = shared.identity()?.greeting(Purpose::Questions, node);
            self.caller = Some((node, Caller::new(&line, greeting)));
        }
        let Some((_, caller)) = &mut self.caller else {
            return Err(io::ErrorKind::NotConnected.into());
        };
        caller.call(ask, Duration::from_millis(ANSWER_MS)).await
    }
}

impl Shared {
    /// Waits until everything that was answered anywhere before this call is carried out here.
    ///
    /// # Errors
    ///
    /// This server is stopping.
    pub(super) async fn barrier(&self) -> io::Result<()> {
        let (done, waits) = oneshot::channel();
        self.waiters.lock().push(done);
        self.waiter_came.notify_one();
        waits.await.map_err(io::Error::other)?
    }
}

/// Serves those who wait, for ever.
pub(super) async fn run(shared: Arc<Shared>) {
    shared.has_joined().await;
    let mut leader = AskLeader::new();
    loop {
        let waiters = std::mem::take(&mut *shared.waiters.lock());
        if waiters.is_empty() {
            shared.waiter_came.notified().await;
            continue;
        }
        let index = loop {
            match read_index(&shared, &mut leader).await {
                Ok(index) => break index,
                Err(error) => tracing::debug!("the leader confirms nothing: {error}"),
            }
            tokio::time::sleep(Duration::from_millis(PAUSE_MS)).await;
        };
        let mut applied = shared.applied.subscribe();
        if applied.wait_for(|applied| *applied >= index).await.is_err() {
            return;
        }
        for waiter in waiters {
            // Whoever does not wait any more need not be told.
            drop(waiter.send(Ok(())));
        }
    }
}

async fn read_index(shared: &Shared, asked: &mut AskLeader) -> io::Result<u64> {
    let leader = shared.leader().ok_or_else(|| io::Error::other("there is no leader"))?;
    if leader.node == shared.node() {
        let raft = shared.raft_or_error()?;
        let linearizer = raft.get_read_linearizer(ReadPolicy::ReadIndex).await;
        return Ok(linearizer.map_err(io::Error::other)?.read_log_id().index());
    }
    match asked.ask(shared, leader.node, &Ask::ReadIndex).await? {
        Answer::Index(index) => Ok(index),
        Answer::Refused(why) => Err(io::Error::other(why)),
        other => Err(unexpected(&other)),
    }
}

/// Tells the leader of the sessions that were heard of here, for ever.
pub(super) async fn relay_touches(shared: Arc<Shared>) {
    let mut asked = AskLeader::new();
    loop {
        tokio::time::sleep(shared.tick / 2).await;
        let Some(leader) = shared.leader().filter(|leader| leader.node != shared.node()) else {
            continue;
        };
        let heard = shared.sessions.take_heard();
        if heard.is_empty() {
            continue;
        }
        let told = asked.ask(&shared, leader.node, &Ask::Touch(heard.clone())).await;
        if !matches!(told, Ok(Answer::Done)) {
            for session in heard {
                shared.sessions.touch(session);
            }
        }
    }
}
