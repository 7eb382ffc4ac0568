//! How fast sessions may be opened: a token bucket that handshakes draw from, and the probability
//! with which they are dropped although there are tokens.
//!
//! It decides and nothing else: time and chance are passed in.
//!
//! Source of the rules: ZooKeeper, `BlueThrottle`; the idea of the probability is that of the queue
//! management BLUE (Feng, Kandlur, Saha, Shin: 1999). One difference: upstream forgets the part of a
//! refill's time that has passed when it refills, so that handshakes that come often get fewer
//! tokens than were configured. Here it is kept.

use jute::SessionId;

use crate::config::ConnectionThrottle;

/// The bucket.
#[derive(Clone, Debug)]
pub(super) struct Bucket {
    settings: ConnectionThrottle,
    tokens: u32,
    /// Up to when the bucket was refilled.
    filled_ms: i64,
    drop_probability: f64,
    /// When the probability was last looked at.
    judged_ms: i64,
}

impl Bucket {
    /// A full bucket.
    pub(super) fn new(settings: ConnectionThrottle, now_ms: i64) -> Bucket {
        let tokens = settings.tokens;
        Bucket { settings, tokens, filled_ms: now_ms, drop_probability: 0.0, judged_ms: now_ms }
    }

    /// Tokens that the opening or continuing of a session takes: 1 unless weights are switched on.
    pub(super) fn weight(&self, session: SessionId) -> u32 {
        if !self.settings.weight_enabled {
            1
        } else if session == SessionId::NONE {
            self.settings.global_session_weight
        } else {
            self.settings.renew_session_weight
        }
    }

    /// Whether handshakes are dropped at random.
    pub(super) fn draws_lots(&self) -> bool {
        self.settings.freeze_time_ms.is_some()
    }

    /// The probability with which a handshake is dropped at random.
    pub(super) fn drop_probability(&self) -> f64 {
        self.drop_probability
    }

    /// Whether a handshake that takes `weight` tokens goes on; takes them if it does.
    ///
    /// `lot` is drawn evenly from 0 to 1, without 1; it counts only if lots are drawn.
    pub(super) fn admit(&mut self, weight: u32, now_ms: i64, lot: f64) -> bool {
        self.refill(now_ms);
        if let Some(freeze_time_ms) = self.settings.freeze_time_ms {
            self.judge(now_ms, i64::from(freeze_time_ms));
            if lot < self.drop_probability {
                return false;
            }
        }
        let is_covered = weight <= self.tokens;
        if is_covered {
            self.tokens -= weight;
        }
        is_covered
    }

    /// Adds what was refilled until `now_ms`. The time of a full bucket begins anew.
    fn refill(&mut self, now_ms: i64) {
        let fill_time_ms = i64::from(self.settings.fill_time_ms.max(1));
        let refills = (now_ms - self.filled_ms).max(0) / fill_time_ms;
        let added = refills.saturating_mul(i64::from(self.settings.fill_count));
        let size = i64::from(self.settings.tokens);
        let tokens = added.saturating_add(i64::from(self.tokens)).min(size);
        self.tokens = tokens as u32; // No more than the size, which is a u32.
        self.filled_ms =
            if tokens == size { now_ms } else { self.filled_ms + refills * fill_time_ms };
    }

    /// Moves the drop probability, at most once in `freeze_time_ms`: up when the bucket is empty,
    /// down when no more of it is taken than `decrease_ratio`.
    fn judge(&mut self, now_ms: i64, freeze_time_ms: i64) {
        if now_ms - self.judged_ms <= freeze_time_ms {
            return;
        }
        self.judged_ms = now_ms;
        let taken = self.settings.tokens - self.tokens;
        let threshold = (f64::from(self.settings.tokens) * self.settings.decrease_ratio).round();
        if self.tokens == 0 {
            self.drop_probability = (self.drop_probability + self.settings.drop_increase).min(1.0);
        } else if f64::from(taken) <= threshold {
            self.drop_probability = (self.drop_probability - self.settings.drop_decrease).max(0.0);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::config::Config;

    fn settings(tokens: u32, fill_time_ms: u32, fill_count: u32) -> ConnectionThrottle {
        let throttle = Config::embedded_default().connection_throttle;
        ConnectionThrottle { tokens, fill_time_ms, fill_count, ..throttle }
    }

    #[test]
    fn an_empty_bucket_refuses_until_it_is_refilled() {
        let mut bucket = Bucket::new(settings(3, 100, 2), 1_000);
        // When, and whether a handshake with one token goes on.
        let table = [
            (1_000, true),
            (1_000, true),
            (1_050, true),
            (1_099, false), // The bucket was full until 1,000 and is refilled every 100 ms.
            (1_100, true),
            (1_199, true),
            (1_199, false),
            (1_200, true),
            (1_900, true), // Never more than three.
            (1_900, true),
            (1_900, true),
            (1_900, false),
        ];
        for (row, (now_ms, admitted)) in table.into_iter().enumerate() {
            assert_eq!(bucket.admit(1, now_ms, 0.0), admitted, "row {row} at {now_ms} ms");
        }
    }

    #[test]
    fn a_handshake_takes_its_weight_or_nothing() {
        let weighted = ConnectionThrottle { weight_enabled: true, ..settings(4, 60_000, 1) };
        let mut bucket = Bucket::new(weighted, 0);
        let (new, renewed) = (bucket.weight(SessionId::NONE), bucket.weight(SessionId(7)));
        assert_eq!((new, renewed), (3, 2));

        assert!(bucket.admit(new, 1, 0.0));
        assert!(!bucket.admit(renewed, 1, 0.0), "one token is left");
        assert!(bucket.admit(1, 1, 0.0), "what was refused took nothing");
        assert_eq!(Bucket::new(settings(4, 1, 1), 0).weight(SessionId::NONE), 1);
    }

    #[test]
    fn the_drop_probability_rises_while_the_bucket_is_empty_and_falls_while_it_is_full() {
        let blue = ConnectionThrottle {
            freeze_time_ms: Some(10),
            drop_increase: 0.4,
            drop_decrease: 0.3,
            ..settings(1, 1_000, 1)
        };
        let mut bucket = Bucket::new(blue, 0);
        let mut probability_after = |now_ms, lot| {
            let admitted = bucket.admit(1, now_ms, lot);
            (admitted, (bucket.drop_probability() * 10.0).round() as i32)
        };

        assert_eq!(probability_after(5, 0.0), (true, 0));
        assert_eq!(probability_after(10, 0.9), (false, 0), "frozen, and empty");
        assert_eq!(probability_after(11, 0.9), (false, 4));
        assert_eq!(probability_after(21, 0.9), (false, 4), "frozen");
        assert_eq!(probability_after(22, 0.9), (false, 8));
        assert_eq!(probability_after(33, 0.9), (false, 10), "never above certainty");
        assert_eq!(probability_after(2_000, 0.0), (false, 7), "full, and drawn");
        assert_eq!(probability_after(2_001, 0.7), (true, 7));
        assert_eq!(probability_after(4_000, 0.9), (true, 4));
    }

    proptest! {
        /// In any time no more tokens go out than the bucket held and was refilled with, and a
        /// handshake that the bucket could pay for is not refused without lots.
        #[test]
        fn tokens_are_conserved(
            (tokens, fill_time_ms, fill_count) in (1_u32..50, 1_u32..100, 1_u32..10),
            arrivals in prop::collection::vec((0_i64..200, 1_u32..4), 1..200),
        ) {
            let mut bucket = Bucket::new(settings(tokens, fill_time_ms, fill_count), 0);
            let mut now_ms = 0;
            let mut taken = 0_i64;
            for (pause_ms, weight) in arrivals {
                now_ms += pause_ms;
                let before = bucket.clone();
                if bucket.admit(weight, now_ms, 0.0) {
                    taken += i64::from(weight);
                } else {
                    prop_assert!(before.tokens < weight);
                }
                let refills = now_ms / i64::from(fill_time_ms);
                prop_assert!(taken <= i64::from(tokens) + refills * i64::from(fill_count));
                prop_assert!(bucket.tokens <= tokens);
            }
        }
    }
}
