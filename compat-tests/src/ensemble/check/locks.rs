//! A lock has one holder, and its fencing tokens rise from holder to holder.

use super::{Anomaly, blame};
use crate::ensemble::history::{History, Hold};

/// Checks the holders of the lock.
pub fn check(history: &History) -> Vec<Anomaly> {
    let mut anomalies = Vec::new();
    exclusion(&history.holds, &mut anomalies);
    rising(&history.holds, &mut anomalies);
    fencing(history, &mut anomalies);
    anomalies
}

/// Nobody gets the lock while an earlier holder still has it. One whose release succeeded had it until
/// it sent that; of others nobody knows when their sessions ended.
fn exclusion(holds: &[Hold], anomalies: &mut Vec<Anomaly>) {
    let mut by_token: Vec<&Hold> = holds.iter().collect();
    by_token.sort_by_key(|hold| hold.token);
    let mut latest: Option<(u64, &Hold)> = None;
    for hold in by_token {
        if let Some((released, before)) = latest.filter(|(released, _)| hold.since < *released) {
            let what = format!("{hold:?} although {before:?} released it at {released}");
            blame(anomalies, "a lock has one holder", what);
        }
        if let Some(released) = hold.released
            && latest.is_none_or(|(until, _)| until < released)
        {
            latest = Some((released, hold));
        }
    }
}

/// Whoever asks after another has got the lock gets it with a higher token.
fn rising(holds: &[Hold], anomalies: &mut Vec<Anomaly>) {
    let mut got: Vec<&Hold> = holds.iter().collect();
    got.sort_by_key(|hold| hold.since);
    let mut asked: Vec<&Hold> = holds.iter().collect();
    asked.sort_by_key(|hold| hold.asked);
    let mut got = got.into_iter().peekable();
    let mut highest: Option<&Hold> = None;
    for hold in asked {
        while let Some(before) = got.next_if(|before| before.since < hold.asked) {
            if highest.is_none_or(|highest| highest.token < before.token) {
                highest = Some(before);
            }
        }
        if let Some(before) = highest.filter(|before| before.token >= hold.token) {
            blame(anomalies, "fencing tokens rise", format!("{before:?}, then {hold:?}"));
        }
    }
}

/// The resource takes nothing from a holder of before, and everything from the holder.
fn fencing(history: &History, anomalies: &mut Vec<Anomaly>) {
    let mut highest = 0;
    for touch in &history.touches {
        if touch.accepted != (highest <= touch.token) {
            blame(anomalies, "a resource keeps out former holders", format!("{touch:?}"));
        }
        highest = highest.max(touch.token);
    }
    for hold in &history.holds {
        let of_hold = history.touches.iter().filter(|touch| touch.token == hold.token);
        let refused = of_hold.filter(|touch| !touch.accepted).count();
        if refused > 0 && hold.released.is_some() {
            let what = format!("{hold:?} was refused by the resource {refused} times");
            blame(anomalies, "a holder is not kept out", what);
        }
    }
}
