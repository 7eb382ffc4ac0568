//! The way of this server's submissions to whoever leads.
//!
//! Every submission gets the next number and is kept until it is seen decided. It is handed to the
//! leader, and handed over again from the first undecided one on, whenever it is not certain that the
//! leader took it: another leader, a lost connection, a refusal. That can put a submission into the log
//! twice or leave a gap; [`take_turn`](crate::tree) takes each number once and in order.
//!
//! Invariant: what is kept is exactly the numbers that are handed in and not known as decided, without
//! a gap.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::{SinkExt as _, StreamExt as _};
use jute::Encode as _;
use parking_lot::Mutex;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

use super::peers::greet;
use super::proposer::Queued;
use super::shared::{Leader, Shared, rejected};
use super::wire::{Purpose, put_submission};
use crate::config::limits::{LANE_FRAME_BYTES_MAX, LANE_SUBMISSIONS_MAX};
use crate::tree::Submission;

/// Between two attempts to hand over to the same leader.
const PAUSE_MS: u64 = 10;

/// A submission that is not known as decided.
struct Undecided {
    /// Encoded as in a batch.
    bytes: Bytes,
    /// What a large one takes of the lane's room.
    _room: Option<OwnedSemaphorePermit>,
}

/// What is kept, numbered: the part of a lane that neither waits nor locks nor knows what it keeps.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(super) struct Kept<T> {
    /// The number of the first in `undecided`.
    pub(super) first: u64,
    pub(super) undecided: VecDeque<T>,
    /// How many of them are handed over.
    pub(super) handed_over: usize,
    /// Raised whenever everything is to be handed over again.
    pub(super) attempt: u64,
}

impl<T> Kept<T> {
    pub(super) fn new() -> Kept<T> {
        Kept { first: 1, undecided: VecDeque::new(), handed_over: 0, attempt: 0 }
    }

    /// The number of the one that is kept next.
    pub(super) fn next_number(&self) -> u64 {
        self.first + self.undecided.len() as u64
    }

    /// Keeps one.
    pub(super) fn keep(&mut self, one: T) {
        self.undecided.push_back(one);
    }

    /// Notes that everything up to a number is decided. How many of those kept that were.
    pub(super) fn note_decided(&mut self, number: u64) -> usize {
        let decided = (number + 1).saturating_sub(self.first).min(self.undecided.len() as u64);
        self.undecided.drain(..decided as usize);
        self.first += decided;
        self.handed_over = self.handed_over.saturating_sub(decided as usize);
        decided as usize
    }

    /// Notes that a number came out of turn. If it is not decided yet, one before it did not reach the
    /// log, and everything is handed over again; whether that is so.
    ///
    /// If it is decided, it was in the log twice and nothing is missing. To hand over again then would
    /// put what is on its way there twice, too, and so on without end.
    pub(super) fn note_out_of_turn(&mut self, number: u64) -> bool {
        let is_missing = self.first <= number;
        self.attempt += u64::from(is_missing);
        is_missing
    }

    /// Begins to hand everything over.
    pub(super) fn begin(&mut self) -> u64 {
        self.handed_over = 0;
        self.attempt += 1;
        self.attempt
    }

    /// Those that are to be handed over next, not much more than so many bytes; `None`: the attempt is
    /// over.
    pub(super) fn next(
        &mut self,
        attempt: u64,
        bytes_max: usize,
        bytes_of: impl Fn(&T) -> usize,
    ) -> Option<impl Iterator<Item = &T>> {
        if self.attempt != attempt {
            return None;
        }
        let (before, mut bytes, mut count) = (self.handed_over, 0, 0);
        for one in self.undecided.iter().skip(before) {
            bytes += bytes_of(one);
            if count > 0 && bytes > bytes_max {
                break;
            }
            count += 1;
        }
        self.handed_over += count;
        Some(self.undecided.iter().skip(before).take(count))
    }
}

/// The submissions of this server.
pub(super) struct Lane {
    kept: Mutex<Kept<Undecided>>,
    wake: Notify,
    places: Semaphore,
}

/// What is to be handed over next.
enum Next {
    Submissions(Vec<Bytes>),
    Nothing,
    /// The attempt is over.
    Rewound,
}

impl Lane {
    pub(super) fn new() -> Lane {
        let places = Semaphore::new(LANE_SUBMISSIONS_MAX);
        Lane { kept: Mutex::new(Kept::new()), wake: Notify::new(), places }
    }

    /// Takes a submission, once there is a place.
    pub(super) async fn hand_in(
        &self,
        mut submission: Submission,
        room: Option<OwnedSemaphorePermit>,
    ) {
        // The places are never closed.
        if let Ok(place) = self.places.acquire().await {
            place.forget();
        }
        let mut kept = self.kept.lock();
        submission.origin.sequence = kept.next_number();
        let mut bytes = BytesMut::new();
        submission.encode(&mut bytes);
        kept.keep(Undecided { bytes: bytes.freeze(), _room: room });
        drop(kept);
        self.wake.notify_one();
    }

    /// Notes that everything up to a number is decided.
    pub(super) fn note_decided(&self, number: u64) {
        let decided = self.kept.lock().note_decided(number);
        self.places.add_permits(decided);
    }

    /// Notes that a number came out of turn, after [`Self::note_decided`] for those before it.
    pub(super) fn note_out_of_turn(&self, number: u64) {
        if self.kept.lock().note_out_of_turn(number) {
            self.wake.notify_one();
        }
    }

    /// Begins to hand everything over.
    fn begin(&self) -> u64 {
        self.kept.lock().begin()
    }

    /// What is next, not much more than so many bytes.
    fn next(&self, attempt: u64, bytes_max: usize) -> Next {
        let mut kept = self.kept.lock();
        match kept.next(attempt, bytes_max, |one| one.bytes.len()) {
            None => Next::Rewound,
            Some(next) => {
                let next: Vec<Bytes> = next.map(|one| one.bytes.clone()).collect();
                if next.is_empty() { Next::Nothing } else { Next::Submissions(next) }
            }
        }
    }
}

/// Hands submissions over to whoever leads, for ever.
pub(super) async fn run(shared: Arc<Shared>) {
    shared.has_joined().await;
    let Some(mut leader) = shared.leader_changes() else { return };
    loop {
        let Some(now) = shared.leader() else {
            if leader.changed().await.is_err() {
                return;
            }
            continue;
        };
        let ended = if now.node == shared.node() {
            propose_here(&shared, now).await
        } else {
            hand_over(&shared, now).await
        };
        if let Err(error) = ended {
            tracing::debug!("submissions to server {}: {error}", now.server());
        }
        tokio::time::sleep(Duration::from_millis(PAUSE_MS)).await;
    }
}

/// Hands over to this server's own proposer, until another leads or everything is to be handed over
/// again.
async fn propose_here(shared: &Shared, leader: Leader) -> std::io::Result<()> {
    let Some(mut changes) = shared.leader_changes() else { return Ok(()) };
    let lane = &shared.lane;
    let attempt = lane.begin();
    let rejections = shared.rejections();
    let mut watched = shared.watch_rejections();
    loop {
        match lane.next(attempt, LANE_FRAME_BYTES_MAX) {
            Next::Submissions(submissions) => {
                for bytes in submissions {
                    let queued = Queued::Encoded { bytes, rejections };
                    if shared.proposals.send(queued).await.is_err() {
                        return Ok(());
                    }
                }
            }
            Next::Rewound => return Ok(()),
            Next::Nothing => tokio::select! {
                () = lane.wake.notified() => {}
                () = rejected(&mut watched, rejections) => return Ok(()),
                changed = changes.changed() => if changed.is_err() { return Ok(()) },
            },
        }
        if shared.leader() != Some(leader) || shared.rejections() != rejections {
            return Ok(());
        }
    }
}

/// Hands over to another server, until that does not lead any more or the connection is lost.
async fn hand_over(shared: &Shared, leader: Leader) -> std::io::Result<()> {
    let Some(mut changes) = shared.leader_changes() else { return Ok(()) };
    let Some(line) = shared.line_of(leader.node) else { return Ok(()) };
    let greeting = shared.identity()?.greeting(Purpose::Lane, leader.node);
    let mut stream = tokio::select! {
        stream = greet(&line, &greeting) => stream?,
        _ = changes.changed() => return Ok(()),
    };
    let lane = &shared.lane;
    let attempt = lane.begin();
    loop {
        if shared.leader() != Some(leader) {
            return Ok(());
        }
        match lane.next(attempt, LANE_FRAME_BYTES_MAX) {
            Next::Submissions(submissions) => {
                let mut frame = BytesMut::new();
                for one in &submissions {
                    put_submission(one, &mut frame);
                }
                tokio::select! {
                    sent = stream.send(frame.freeze()) => sent?,
                    // It may have stopped in the middle of a frame, so the connection is over.
                    _ = changes.changed() => return Ok(()),
                }
            }
            Next::Rewound => return Ok(()),
            Next::Nothing => tokio::select! {
                () = lane.wake.notified() => {}
                _ = changes.changed() => {}
                // Nothing is ever said here but that it is over.
                _ = stream.next() => return Err(std::io::ErrorKind::ConnectionReset.into()),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::{Admission, Origin, Write};

    async fn hand_in(lane: &Lane, count: usize) {
        for _ in 0..count {
            let write = Write::CloseSession { expired_holder: None };
            let admission = Admission::internal();
            lane.hand_in(Submission { origin: Origin::default(), admission, write }, None).await;
        }
    }

    /// The numbers that are handed over next.
    fn next(lane: &Lane, attempt: u64, bytes_max: usize) -> Option<Vec<u64>> {
        use jute::Decode as _;
        match lane.next(attempt, bytes_max) {
            Next::Rewound => None,
            Next::Nothing => Some(Vec::new()),
            Next::Submissions(all) => {
                let number = |bytes: &Bytes| Submission::decode(bytes, bytes).unwrap().1;
                Some(all.iter().map(|bytes| number(bytes).origin.sequence).collect())
            }
        }
    }

    #[tokio::test]
    async fn everything_undecided_is_handed_over_again_in_order() {
        let lane = Lane::new();
        let attempt = lane.begin();
        assert_eq!(next(&lane, attempt, 1 << 20), Some(vec![]));
        hand_in(&lane, 5).await;
        assert_eq!(next(&lane, attempt, 1), Some(vec![1]), "one goes whatever its size");
        assert_eq!(next(&lane, attempt, 1 << 20), Some(vec![2, 3, 4, 5]));
        lane.note_decided(2);
        lane.note_decided(1);
        hand_in(&lane, 1).await;
        assert_eq!(next(&lane, attempt, 1 << 20), Some(vec![6]));

        lane.note_out_of_turn(2);
        assert_eq!(next(&lane, attempt, 1 << 20), Some(vec![]), "it was decided before");
        lane.note_out_of_turn(4);
        assert_eq!(next(&lane, attempt, 1 << 20), None, "one before it is not in the log");
        let attempt = lane.begin();
        assert_eq!(next(&lane, attempt, 1 << 20), Some(vec![3, 4, 5, 6]));
        lane.note_decided(6);
        assert_eq!(next(&lane, attempt, 1 << 20), Some(vec![]));
        assert_eq!(lane.places.available_permits(), LANE_SUBMISSIONS_MAX);
    }

    #[tokio::test]
    async fn what_is_decided_before_it_was_handed_over_again_is_not_handed_over() {
        let lane = Lane::new();
        hand_in(&lane, 4).await;
        let attempt = lane.begin();
        lane.note_decided(3);
        assert_eq!(next(&lane, attempt, 1 << 20), Some(vec![4]));
        // What never existed is nobody's.
        lane.note_decided(9);
        hand_in(&lane, 1).await;
        assert_eq!(next(&lane, attempt, 1 << 20), Some(vec![5]));
    }

    #[tokio::test]
    async fn a_full_lane_waits_until_something_is_decided() {
        let lane = Lane::new();
        hand_in(&lane, LANE_SUBMISSIONS_MAX).await;
        let one_more = hand_in(&lane, 1);
        tokio::pin!(one_more);
        let waited = tokio::time::timeout(Duration::from_millis(20), &mut one_more).await;
        assert!(waited.is_err(), "there is no place");
        lane.note_decided(1);
        one_more.await;
    }
}
