//! Taking in what was applied: records into memory, notifications and replies to whoever is owed.

use bytes::BytesMut;
use jute::ErrorCode;
use jute::reply::put_event;

use super::outbox::Notified;
use super::{Closing, Decided, Replica};
use crate::tree::{Changes, Event, Refusal, SessionChange};
use crate::watch::WatchRegistry;

impl Replica {
    /// Takes in changes that are on disk already, and what was decided on the way to them, in order.
    ///
    /// Notifications go before the reply of the write that caused them, and both before anybody can
    /// read what changed.
    pub fn absorb(&self, changes: &Changes, decided: Vec<Decided>) {
        let now_us = self.now_us();
        let mut tree = self.tree.write();
        tree.absorb(changes);
        let mut watches = self.watches.lock();
        let mut frame = BytesMut::new();
        for decided in decided {
            for event in &decided.applied.events {
                self.notify(&mut watches, event, &mut frame);
            }
            self.answer(decided, now_us);
        }
    }

    /// Pushes a notification to everybody who watches, encoded once.
    fn notify(&self, watches: &mut WatchRegistry, event: &Event, frame: &mut BytesMut) {
        frame.clear();
        let connections = self.connections.read();
        let mut sent = 0;
        watches.fire(event, &mut |connection| {
            if frame.is_empty() {
                put_event(frame, event.zxid, event.kind, event.path.as_str());
            }
            let Some(outbox) = connections.get(&connection) else { return };
            match outbox.notify(frame, &event.acl, self.skip_acl) {
                Notified::Pushed => sent += 1,
                Notified::Hidden => {}
                Notified::Overflowed => self.stats.count_overflow(),
            }
        });
        if sent > 0 {
            self.stats.count_sent(sent);
        }
    }

    /// Pushes the reply, if the client is ours, and ends connections whose session moved or ended.
    fn answer(&self, decided: Decided, now_us: i64) {
        let Decided { origin, applied, is_handshake } = decided;
        let asker = self.local(origin.holder);
        match applied.session {
            Some(SessionChange::Attached { previous, holder, .. }) if previous != holder => {
                if let Some(outbox) = self.local(previous) {
                    outbox.close(Closing::AtOnce);
                }
            }
            Some(SessionChange::Closed { holder, .. }) if holder != origin.holder => {
                if let Some(outbox) = self.local(holder) {
                    outbox.close(Closing::AtOnce);
                }
            }
            _ => {}
        }
        let Some(outbox) = asker else { return };
        if is_handshake {
            if matches!(applied.session, Some(SessionChange::Opened { .. })) {
                outbox.note_opening(applied.zxid, now_us);
            }
            outbox.finish_handshake(applied.outcome.map(|_| ()));
            return;
        }
        if matches!(applied.outcome, Err(Refusal::SessionMoved { .. })) {
            outbox.close(Closing::AtOnce);
            return;
        }
        let ended = matches!(applied.session, Some(SessionChange::Closed { .. }))
            || matches!(applied.outcome, Err(Refusal::SessionExpired { .. }));
        let outcome = applied.outcome.map_err(|refusal| refusal.code());
        if let Some((pending, bytes)) = outbox.answer(origin.xid, applied.zxid, &outcome, now_us) {
            self.stats.count_answer(now_us - pending.since_us);
            self.stats.count_response(bytes);
        }
        if ended {
            outbox.close(Closing::AfterFlush);
        }
    }

    /// Ends the connections of writes that were handed in and never proposed: they learn nothing,
    /// and ask again on a new connection.
    pub fn abandon(&self, origins: impl Iterator<Item = crate::tree::Origin>) {
        for origin in origins {
            if let Some(outbox) = self.local(origin.holder) {
                outbox.close(Closing::AtOnce);
            }
        }
    }
}

/// The code of an error that is answered without asking anybody.
pub(super) type Answer<T> = Result<T, ErrorCode>;
