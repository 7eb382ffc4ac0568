//! All states of a few ensembles, and what comes of mistakes made on purpose.

use std::collections::VecDeque;

use super::explore::{Violation, explore};
use super::{Ensemble, Message, Mischief, Mutant, decide};
use crate::raft::lane::Kept;

const NO_MISCHIEF: Mischief =
    Mischief { elections: 0, breaks: 0, rejections: 0, restarts: 0, jumps: 0 };

/// More states than any of these tests looks at.
const STATES_MAX: usize = 1_000_000;

/// Looks at all states there are with so many submissions of each server, so many of one server on the
/// way at a time, and these faults.
fn look(submissions: &[u8], on_the_way_max: usize, mischief: Mischief) -> usize {
    let ensemble = Ensemble::new(submissions, on_the_way_max, mischief, None);
    let clock = crate::clock::Stopwatch::start();
    match explore(&ensemble, STATES_MAX) {
        Ok(explored) => {
            eprintln!("{submissions:?}, {mischief:?}: {explored:?} in {:?}", clock.elapsed());
            explored.states
        }
        Err(violation) => panic!("{violation}"),
    }
}

#[test]
fn each_submission_takes_effect_once_and_in_order_whoever_leads() {
    let states = look(&[3], 4, Mischief { elections: 2, breaks: 1, ..NO_MISCHIEF });
    assert!(states > 100_000);
}

#[test]
fn each_is_decided_although_some_are_rejected_and_others_skipped_over_by_a_snapshot() {
    let one_of_each = Mischief { elections: 1, rejections: 1, jumps: 1, ..NO_MISCHIEF };
    assert!(look(&[3], 4, one_of_each) > 50_000);
    let rejections = Mischief { rejections: 2, breaks: 1, ..NO_MISCHIEF };
    assert!(look(&[3], 4, rejections) > 5_000);
}

#[test]
fn nothing_of_a_start_takes_effect_after_the_next_one_has_begun() {
    let states = look(&[2], 4, Mischief { elections: 2, restarts: 1, ..NO_MISCHIEF });
    assert!(states > 100_000);
}

#[test]
fn servers_do_not_disturb_one_another() {
    assert!(look(&[2, 1], 3, Mischief { elections: 2, ..NO_MISCHIEF }) > 100_000);
    assert!(look(&[2, 2], 3, Mischief { elections: 1, ..NO_MISCHIEF }) > 50_000);
}

/// What comes of a mistake made on purpose.
fn mistake(mutant: Mutant, mischief: Mischief) -> Violation {
    let ensemble = Ensemble::new(&[3], 6, mischief, Some(mutant));
    explore(&ensemble, STATES_MAX).expect_err("the mistake is found")
}

#[test]
fn every_mistake_is_found() {
    let calm = NO_MISCHIEF;
    let (a_break, a_rejection) =
        (Mischief { breaks: 1, ..calm }, Mischief { rejections: 1, ..calm });
    let a_restart = Mischief { restarts: 1, ..calm };
    for (mutant, mischief, problem) in [
        (Mutant::TakesDuplicates, a_break, "takes effect twice"),
        (Mutant::TakesGaps, a_rejection, "takes effect out of order"),
        (Mutant::TakesOldBoots, a_restart, "takes effect after its server's next start"),
        (Mutant::AnswersDuplicates, a_break, "is answered twice"),
        (Mutant::BeginsWhereItWas, a_break, "it is stuck"),
        (Mutant::NotesOneMore, calm, "did not take effect is not handed over any more"),
        (Mutant::NotesOneLess, calm, "it is stuck"),
        (Mutant::HidesLosses, a_rejection, "it is stuck"),
    ] {
        let violation = mistake(mutant, mischief);
        let first = violation.lines().next().unwrap_or_default();
        assert!(first.contains(problem), "{mutant:?}: {violation}");
    }
}

/// When a submission was last found in the log that was there before, if one is handed in every tick for
/// 200 ticks, an entry is applied after eight, and the connection is lost once, at tick 20.
fn last_duplicate_at(rewinds_for_duplicates: bool) -> u64 {
    const APPLIED_AFTER_TICKS: u64 = 8;
    const PAUSE_TICKS: u64 = 2;
    let (mut lane, mut attempt, mut connects_at) = (Kept::new(), None, 0);
    let (mut log, mut decided, mut last_duplicate_at) = (VecDeque::new(), None, 0);
    for tick in 0..200 {
        lane.keep(lane.next_number() as u8);
        if tick == 20 {
            attempt = None;
        }
        match attempt {
            None if connects_at <= tick => attempt = Some(lane.begin()),
            None => {}
            Some(current) => match lane.next(current, usize::MAX, |_| 1) {
                None => (attempt, connects_at) = (None, tick + PAUSE_TICKS),
                Some(next) => log.extend(next.map(|number| (tick + APPLIED_AFTER_TICKS, *number))),
            },
        }
        while let Some((_, number)) = log.pop_front_if(|(applied_at, _)| *applied_at == tick) {
            if let Some(after) = decide(decided, Message { server: 0, boot: 1, number }) {
                decided = Some(after);
                lane.note_decided(number.into());
            } else {
                last_duplicate_at = tick;
                lane.note_out_of_turn(number.into());
                lane.attempt += u64::from(rewinds_for_duplicates);
            }
        }
    }
    assert!(lane.first > 180, "{} are decided", lane.first - 1);
    last_duplicate_at
}

#[test]
fn what_is_in_the_log_twice_is_no_reason_to_hand_over_again() {
    let (as_it_is, with_the_mistake) = (last_duplicate_at(false), last_duplicate_at(true));
    assert!((20..40).contains(&as_it_is), "{as_it_is}");
    assert!(190 < with_the_mistake, "{with_the_mistake}: one lost connection makes no end of them");
}
