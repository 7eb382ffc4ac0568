//! What each server of the ensemble has handed in and had decided.
//!
//! A server numbers its submissions from 1 after each start and hands them in again whenever it cannot
//! know whether they reached the log: after a change of leaders, a lost connection, a refusal. Here,
//! where the log is carried out, each number is taken once and in order, so that a submission takes
//! effect once and never after a later one of its server, however often it is in the log.

use std::collections::BTreeMap;

use super::{Draft, Origin, Refusal};

/// How far the submissions of one server are decided.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Lane {
    /// The start of the server that counts; those before it are over.
    pub boot: u64,
    /// The number of the last submission of that start that was decided.
    pub decided: u64,
}

/// The lanes by the servers' ids.
pub type Lanes = BTreeMap<u64, Lane>;

/// Takes the number of a submission; 0 is that of submissions that are handed in once.
///
/// # Errors
///
/// [`Refusal::OutOfTurn`]: it was decided before, or one before it has not been, or its server has
/// started again since.
pub(super) fn take_turn(draft: &mut Draft<'_>, origin: &Origin) -> Result<(), Refusal> {
    let number = origin.sequence;
    if number == 0 {
        return Ok(());
    }
    let (server, boot) = (origin.holder.server, origin.holder.boot);
    let is_next = match draft.lane(server) {
        Some(lane) if boot == lane.boot => number == lane.decided + 1,
        Some(lane) => boot > lane.boot && number == 1,
        None => number == 1,
    };
    if !is_next {
        return Err(Refusal::OutOfTurn { server, number });
    }
    draft.put_lane(server, Lane { boot, decided: number });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::{Admission, Holder, Proposal, Submission, Tree, Write, apply};

    /// What becomes of submissions `(server, boot, number)` one after the other, each in an entry of
    /// its own or all in one.
    fn decide(numbers: &[(u64, u64, u64)], together: bool) -> (Vec<bool>, Tree) {
        let mut tree = Tree::new();
        let mut taken = Vec::new();
        for part in numbers.chunks(if together { numbers.len() } else { 1 }) {
            let mut draft = Draft::over(&tree);
            for &(server, boot, sequence) in part {
                let holder = Holder { server, boot, connection: 9 };
                let origin = Origin { holder, sequence, ..Origin::default() };
                let write = Write::Refused(jute::ErrorCode::BadArguments);
                let submission = Submission { origin, admission: Admission::internal(), write };
                let before = draft.progress().zxid;
                let applied = apply(&mut draft, &Proposal { time_ms: 1, submission: &submission });
                let is_taken = !matches!(applied.outcome, Err(Refusal::OutOfTurn { .. }));
                assert_eq!(draft.progress().zxid > before, is_taken, "only what counts has a zxid");
                taken.push(is_taken);
            }
            let changes = draft.finish();
            tree.absorb(&changes);
        }
        (taken, tree)
    }

    #[test]
    fn each_number_is_taken_once_and_in_order() {
        let log = [(1, 5, 1), (1, 5, 1), (1, 5, 3), (2, 7, 1), (1, 5, 2), (1, 5, 3), (1, 5, 2)];
        for together in [false, true] {
            let (taken, tree) = decide(&log, together);
            assert_eq!(taken, [true, false, false, true, true, true, false]);
            let lanes = [(1, Lane { boot: 5, decided: 3 }), (2, Lane { boot: 7, decided: 1 })];
            assert_eq!(*tree.lanes(), Lanes::from(lanes));
        }
    }

    #[test]
    fn a_server_that_started_again_begins_anew_and_its_past_is_over() {
        let log = [(1, 5, 1), (1, 5, 2), (1, 6, 2), (1, 6, 1), (1, 5, 3), (1, 5, 1), (1, 6, 2)];
        let (taken, _) = decide(&log, false);
        assert_eq!(taken, [true, true, false, true, false, false, true]);
    }

    #[test]
    fn what_is_not_numbered_is_always_taken() {
        let (taken, tree) = decide(&[(1, 5, 0), (1, 5, 0), (0, 0, 0)], true);
        assert_eq!(taken, [true; 3]);
        assert!(tree.lanes().is_empty());
    }
}
