//! Which sessions have been silent for too long.
//!
//! The leader asks it. A silent session is reported between its timeout and its timeout plus a tick
//! after it was last heard, never earlier; it is dead only once the ensemble has agreed to close it.
//! All times are milliseconds of one monotonic clock, which the caller reads.
//!
//! Hearing from a session must cost next to nothing, for every request does it: the time is noted
//! and nothing else. When the bucket in which a session was put comes due, it moves on to the one
//! that the noted time asks for.
//!
//! Invariant: every session but the reported ones is in exactly one bucket, the one it names, and
//! that bucket comes due no later than the session does.
//!
//! Source of the bounds: ZooKeeper, `ExpiryQueue`.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use jute::SessionId;

use crate::tree::Holder;

/// A session that may expire.
struct Tracked {
    timeout_ms: i64,
    holder: Holder,
    heard_ms: i64,
    /// The bucket it is in; `None` once it was reported.
    bucket_ms: Option<i64>,
}

/// Sessions by the time at which they expire.
pub struct SessionTracker {
    tick_ms: i64,
    sessions: HashMap<SessionId, Tracked>,
    buckets: BTreeMap<i64, BTreeSet<SessionId>>,
}

impl SessionTracker {
    /// Tracks nothing yet. `tick_ms` (`tickTime`) is how late a session may expire.
    pub fn new(tick_ms: i64) -> SessionTracker {
        assert!(tick_ms > 0, "the configuration does not admit a tick of {tick_ms} ms");
        SessionTracker { tick_ms, sessions: HashMap::new(), buckets: BTreeMap::new() }
    }

    /// Tracks a session that was opened or continued, with a full timeout from `now_ms`. Whatever
    /// was known of it, be it that it was reported, is forgotten.
    pub fn track(&mut self, id: SessionId, timeout_ms: i32, holder: Holder, now_ms: i64) {
        self.forget(id);
        let timeout_ms = i64::from(timeout_ms);
        self.sessions.insert(id, Tracked { timeout_ms, holder, heard_ms: now_ms, bucket_ms: None });
        self.place(id);
    }

    /// Notes that a session was heard at `now_ms`, if it is tracked. One that was reported may be
    /// reported again.
    pub fn touch(&mut self, id: SessionId, now_ms: i64) {
        if let Some(tracked) = self.sessions.get_mut(&id) {
            tracked.heard_ms = tracked.heard_ms.max(now_ms);
            if tracked.bucket_ms.is_none() {
                self.place(id);
            }
        }
    }

    /// Forgets a session that is closed.
    pub fn forget(&mut self, id: SessionId) {
        if let Some(bucket_ms) = self.sessions.remove(&id).and_then(|tracked| tracked.bucket_ms)
            && let Some(bucket) = self.buckets.get_mut(&bucket_ms)
        {
            bucket.remove(&id);
            if bucket.is_empty() {
                self.buckets.remove(&bucket_ms);
            }
        }
    }

    /// Reports the sessions that have expired at `now_ms`, each with the connection it was tracked
    /// with, in the order of their deadlines.
    ///
    /// Each is reported once, until it is tracked or touched again: whoever fails to have it closed
    /// tracks it again.
    pub fn expire(&mut self, now_ms: i64) -> Vec<(SessionId, Holder)> {
        let mut expired = Vec::new();
        while let Some(bucket) = self.buckets.first_entry().filter(|first| *first.key() <= now_ms) {
            for id in bucket.remove() {
                let Some(tracked) = self.sessions.get_mut(&id) else { continue };
                tracked.bucket_ms = None;
                if tracked.due_ms(self.tick_ms) <= now_ms {
                    expired.push((id, tracked.holder));
                } else {
                    self.place(id);
                }
            }
        }
        expired
    }

    /// When [`SessionTracker::expire`] is to be asked next. It may find nothing then, for sessions
    /// heard in the meantime move on only when they are looked at.
    pub fn next_deadline(&self) -> Option<i64> {
        self.buckets.keys().next().copied()
    }

    /// Gives every session a full timeout from `now_ms`, as a new leader does: it cannot know when
    /// they were heard. Those already reported may be reported again.
    pub fn restart(&mut self, now_ms: i64) {
        self.buckets.clear();
        for (id, tracked) in &mut self.sessions {
            tracked.heard_ms = now_ms;
            let due_ms = tracked.due_ms(self.tick_ms);
            tracked.bucket_ms = Some(due_ms);
            self.buckets.entry(due_ms).or_default().insert(*id);
        }
    }

    /// What `dump` lists: the sessions by the time at which they expire unless they are heard.
    /// Those already reported are not among them.
    pub fn sets(&self) -> BTreeMap<i64, BTreeSet<SessionId>> {
        let mut sets: BTreeMap<i64, BTreeSet<SessionId>> = BTreeMap::new();
        for (id, tracked) in &self.sessions {
            if tracked.bucket_ms.is_some() {
                sets.entry(tracked.due_ms(self.tick_ms)).or_default().insert(*id);
            }
        }
        sets
    }

    /// Puts a session that is in no bucket into the one in which it expires.
    fn place(&mut self, id: SessionId) {
        if let Some(tracked) = self.sessions.get_mut(&id) {
            let due_ms = tracked.due_ms(self.tick_ms);
            tracked.bucket_ms = Some(due_ms);
            self.buckets.entry(due_ms).or_default().insert(id);
        }
    }
}

impl Tracked {
    /// The first tick after the timeout has passed.
    fn due_ms(&self, tick_ms: i64) -> i64 {
        let silent_until_ms = self.heard_ms.saturating_add(self.timeout_ms);
        (silent_until_ms.div_euclid(tick_ms) + 1).saturating_mul(tick_ms)
    }
}

#[cfg(test)]
mod tests;
