//! Who expires when, with a hand-turned clock: by example, and against a tracker that looks at every
//! session every millisecond.

use proptest::prelude::*;

use super::*;

const TICK_MS: i64 = 2_000;
const S1: SessionId = SessionId(1);
const S2: SessionId = SessionId(2);

fn holder(connection: u64) -> Holder {
    Holder { server: 1, boot: 1, connection }
}

#[test]
fn a_silent_session_expires_between_its_timeout_and_a_tick_later() {
    for heard_ms in [0, 1, 1_999, 2_000, 123_456] {
        let mut tracker = SessionTracker::new(TICK_MS);
        tracker.track(S1, 5_000, holder(1), heard_ms);
        let deadline_ms = tracker.next_deadline().unwrap();
        assert!((5_001..=7_000).contains(&(deadline_ms - heard_ms)), "{heard_ms}");
        assert_eq!(tracker.expire(deadline_ms - 1), []);
        assert_eq!(tracker.expire(deadline_ms), [(S1, holder(1))]);
    }
}

#[test]
fn a_session_that_is_heard_lives_on() {
    let mut tracker = SessionTracker::new(TICK_MS);
    tracker.track(S1, 4_000, holder(1), 0);
    for now_ms in (0..60_000).step_by(3_000) {
        tracker.touch(S1, now_ms);
        assert_eq!(tracker.expire(now_ms), []);
    }
    assert_eq!(tracker.expire(61_999), []);
    assert_eq!(tracker.expire(62_000), [(S1, holder(1))]);
}

#[test]
fn a_late_word_does_not_turn_the_clock_back() {
    let mut tracker = SessionTracker::new(TICK_MS);
    tracker.track(S1, 4_000, holder(1), 10_000);
    tracker.touch(S1, 3_000);
    assert_eq!(tracker.expire(14_000), []);
}

#[test]
fn a_session_is_reported_once_until_it_is_heard_or_tracked_again() {
    let mut tracker = SessionTracker::new(TICK_MS);
    tracker.track(S1, 4_000, holder(1), 0);
    assert_eq!(tracker.expire(10_000), [(S1, holder(1))]);
    assert_eq!(tracker.expire(20_000), []);
    assert_eq!(tracker.next_deadline(), None);

    // Its close was refused, for another connection had continued it.
    tracker.track(S1, 4_000, holder(2), 20_000);
    assert_eq!(tracker.expire(24_000), []);
    assert_eq!(tracker.expire(26_000), [(S1, holder(2))]);

    tracker.touch(S1, 30_000);
    assert_eq!(tracker.expire(34_000), []);
    assert_eq!(tracker.expire(36_000), [(S1, holder(2))]);
}

#[test]
fn a_closed_session_is_never_reported() {
    let mut tracker = SessionTracker::new(TICK_MS);
    tracker.track(S1, 4_000, holder(1), 0);
    tracker.track(S2, 4_000, holder(2), 0);
    tracker.forget(S1);
    tracker.touch(S1, 1);
    assert_eq!(tracker.expire(100_000), [(S2, holder(2))]);
    tracker.forget(S2);
    tracker.touch(S2, 100_000);
    assert_eq!(tracker.next_deadline(), None);
}

#[test]
fn a_new_leader_gives_everyone_a_full_timeout() {
    let mut tracker = SessionTracker::new(TICK_MS);
    tracker.track(S1, 4_000, holder(1), 0);
    tracker.track(S2, 8_000, holder(2), 0);
    assert_eq!(tracker.expire(6_000), [(S1, holder(1))]);
    tracker.restart(100_000);
    assert_eq!(tracker.expire(104_000), []);
    assert_eq!(tracker.expire(106_000), [(S1, holder(1))]);
    assert_eq!(tracker.expire(110_000), [(S2, holder(2))]);
}

#[test]
fn the_listing_shows_when_sessions_expire_and_not_where_they_wait() {
    let mut tracker = SessionTracker::new(TICK_MS);
    tracker.track(S1, 4_000, holder(1), 0);
    tracker.track(S2, 4_000, holder(2), 0);
    tracker.track(SessionId(3), 4_000, holder(3), 0);
    tracker.touch(S2, 5_000);
    tracker.touch(SessionId(3), 5_000);
    let expected = [(6_000, BTreeSet::from([S1])), (10_000, BTreeSet::from([S2, SessionId(3)]))];
    assert_eq!(tracker.sets(), BTreeMap::from(expected.clone()));
    assert_eq!(tracker.expire(6_000), [(S1, holder(1))]);
    assert_eq!(tracker.sets(), BTreeMap::from([expected[1].clone()]));
}

/// Every session with its timeout, its holder, when it was heard and whether it was reported;
/// all are looked at every time.
type Model = BTreeMap<SessionId, (i64, Holder, i64, bool)>;

#[derive(Clone, Debug)]
enum Step {
    Track(SessionId, i32, u64),
    Touch(SessionId),
    Forget(SessionId),
    Restart,
    Wait(i64),
}

fn step() -> impl Strategy<Value = Step> {
    let id = || (1..=4_i64).prop_map(SessionId);
    prop_oneof![
        3 => (id(), 5..=60_i32, 1..=3_u64).prop_map(|(id, ms, by)| Step::Track(id, ms, by)),
        6 => id().prop_map(Step::Touch),
        1 => id().prop_map(Step::Forget),
        1 => Just(Step::Restart),
        6 => (1..=40_i64).prop_map(Step::Wait),
    ]
}

proptest! {
    /// The clock is turned a millisecond at a time, and one tracker asked each time: the bounds
    /// are those that clients are promised. A second tracker is asked only when it says so.
    #[test]
    fn no_session_dies_early_or_lives_long(
        tick_ms in 1..=20_i64,
        steps in proptest::collection::vec(step(), 0..60),
    ) {
        let mut tracker = SessionTracker::new(tick_ms);
        let mut lazy = SessionTracker::new(tick_ms);
        let mut model = Model::new();
        let mut now_ms = 1_000;
        for step in steps {
            match step {
                Step::Track(id, timeout_ms, by) => {
                    tracker.track(id, timeout_ms, holder(by), now_ms);
                    lazy.track(id, timeout_ms, holder(by), now_ms);
                    model.insert(id, (i64::from(timeout_ms), holder(by), now_ms, false));
                }
                Step::Touch(id) => {
                    tracker.touch(id, now_ms);
                    lazy.touch(id, now_ms);
                    if let Some((_, _, heard_ms, is_reported)) = model.get_mut(&id) {
                        (*heard_ms, *is_reported) = (now_ms, false);
                    }
                }
                Step::Forget(id) => {
                    tracker.forget(id);
                    lazy.forget(id);
                    model.remove(&id);
                }
                Step::Restart => {
                    tracker.restart(now_ms);
                    lazy.restart(now_ms);
                    for (_, _, heard_ms, is_reported) in model.values_mut() {
                        (*heard_ms, *is_reported) = (now_ms, false);
                    }
                }
                Step::Wait(wait_ms) => {
                    for _ in 0..wait_ms {
                        now_ms += 1;
                        let expired = tracker.expire(now_ms);
                        let is_asked = lazy.next_deadline().is_some_and(|due| due <= now_ms);
                        let by_lazy = if is_asked { lazy.expire(now_ms) } else { Vec::new() };
                        prop_assert_eq!(&by_lazy, &expired);
                        for (id, reported_holder) in expired {
                            let (timeout_ms, holder, heard_ms, is_reported) =
                                model.get_mut(&id).expect("what is reported is tracked");
                            prop_assert!(now_ms - *heard_ms > *timeout_ms, "{} died early", id);
                            prop_assert!(!*is_reported, "{} is reported twice", id);
                            prop_assert_eq!(reported_holder, *holder);
                            *is_reported = true;
                        }
                        for (id, (timeout_ms, _, heard_ms, is_reported)) in &model {
                            let silent_ms = now_ms - heard_ms;
                            let is_alive = silent_ms < timeout_ms + tick_ms;
                            prop_assert!(is_alive || *is_reported, "{} lives too long", id);
                        }
                    }
                }
            }
            let listed: BTreeSet<_> = tracker.sets().into_values().flatten().collect();
            let living = model.iter().filter(|(_, (_, _, _, is_reported))| !is_reported);
            prop_assert_eq!(listed, living.map(|(id, _)| *id).collect::<BTreeSet<_>>());
        }
    }
}
