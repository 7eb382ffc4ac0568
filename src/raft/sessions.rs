//! The clock of the sessions, kept by the leader: who was last heard from when.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};

use jute::SessionId;
use parking_lot::Mutex;

use crate::clock::Clock;
use crate::session::SessionTracker;
use crate::tree::{Holder, SessionChange, Tree};

/// The tracker with the clock it is turned by.
pub struct Sessions {
    clock: Clock,
    tick_ms: i64,
    tracker: Mutex<SessionTracker>,
    /// Whether it is this server that ends silent sessions.
    is_local: AtomicBool,
    /// Sessions that were heard of here since the leader was last told.
    heard: Mutex<HashSet<SessionId>>,
}

impl Sessions {
    /// Tracks every session of the tree, each from now with its full timeout.
    pub fn new(tree: &Tree, tick_ms: i64, clock: Clock) -> Sessions {
        let tracker = tracked(tree, tick_ms, clock);
        let is_local = AtomicBool::new(true);
        Sessions { clock, tick_ms, tracker: Mutex::new(tracker), is_local, heard: Mutex::default() }
    }

    /// Notes that a client was heard from.
    pub fn touch(&self, session: SessionId) {
        if !self.is_local.load(Ordering::Relaxed) {
            self.heard.lock().insert(session);
            return;
        }
        self.tracker.lock().touch(session, self.clock.monotonic_ms());
    }

    /// Notes whether it is this server that ends silent sessions; else another is told of them.
    pub(super) fn set_local(&self, is_local: bool) {
        self.is_local.store(is_local, Ordering::Relaxed);
    }

    /// The sessions that were heard of since this was last asked.
    pub(super) fn take_heard(&self) -> Vec<SessionId> {
        self.heard.lock().drain().collect()
    }

    /// Tracks the sessions of another tree instead.
    pub(super) fn replace(&self, tree: &Tree) {
        *self.tracker.lock() = tracked(tree, self.tick_ms, self.clock);
    }

    /// Gives every session its full timeout.
    pub(super) fn restart(&self) {
        self.tracker.lock().restart(self.clock.monotonic_ms());
    }

    /// Follows what was applied.
    pub(super) fn follow(&self, changes: impl Iterator<Item = SessionChange>) {
        let mut tracker = None;
        for change in changes {
            let tracker = tracker.get_or_insert_with(|| self.tracker.lock());
            match change {
                SessionChange::Opened { session, holder, timeout_ms }
                | SessionChange::Attached { session, holder, timeout_ms, .. } => {
                    tracker.track(session, timeout_ms, holder, self.clock.monotonic_ms());
                }
                SessionChange::Closed { session, .. } => tracker.forget(session),
            }
        }
    }

    /// Sessions whose deadline has passed, each told once, with the connections that held them.
    pub(super) fn expire(&self) -> Vec<(SessionId, Holder)> {
        self.tracker.lock().expire(self.clock.monotonic_ms())
    }

    /// Gives a session whose close could not be proposed another timeout.
    pub(super) fn revive(&self, session: SessionId, timeout_ms: i32, holder: Holder) {
        self.tracker.lock().track(session, timeout_ms, holder, self.clock.monotonic_ms());
    }

    /// Milliseconds until the next deadline can pass.
    pub(super) fn until_next_deadline_ms(&self) -> Option<i64> {
        let deadline = self.tracker.lock().next_deadline()?;
        Some(deadline - self.clock.monotonic_ms())
    }

    /// The tracker, to look at.
    pub fn with_tracker<T>(&self, look: impl FnOnce(&SessionTracker) -> T) -> T {
        look(&self.tracker.lock())
    }
}

/// Every session of a tree, from now with its full timeout.
fn tracked(tree: &Tree, tick_ms: i64, clock: Clock) -> SessionTracker {
    let mut tracker = SessionTracker::new(tick_ms);
    let now_ms = clock.monotonic_ms();
    for (id, session) in tree.sessions() {
        tracker.track(id, session.timeout_ms, session.holder, now_ms);
    }
    tracker
}
