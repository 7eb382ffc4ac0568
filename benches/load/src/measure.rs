//! `measure`: every operation, on one server or on two in alternation, several times.

use anyhow::{Context as _, Result};

use crate::args::{Measure, Operation, Target};
use crate::outcome::Figures;
use crate::report::Report;
use crate::{fanout, lock, pipelined, sessions, stage};

/// Runs all rounds and reports medians.
///
/// The servers take turns within a round, and who begins changes from round to round, so that
/// neither has the quieter machine.
pub(crate) async fn run(measure: &Measure) -> Result<()> {
    let targets: Vec<Target> =
        measure.compare.iter().flatten().chain(&measure.server).cloned().collect();
    for target in &targets {
        stage::set(target, measure).await.with_context(|| format!("preparing {}", target.name))?;
    }
    let mut report = Report::new(targets.iter().map(|target| target.name.clone()).collect());
    for round in 0..measure.rounds {
        for &operation in &measure.operations {
            let mut turns: Vec<(usize, &Target)> = targets.iter().enumerate().collect();
            if round % 2 == 1 {
                turns.reverse();
            }
            for (number, target) in turns {
                let name = title(operation, measure);
                let figures = one(target, operation, measure)
                    .await
                    .with_context(|| format!("{name} on {}", target.name))?;
                report.add(&name, number, figures);
            }
        }
    }
    for target in &targets {
        stage::strike(target).await?;
    }
    report.print(measure.json.as_deref())
}

async fn one(target: &Target, operation: Operation, measure: &Measure) -> Result<Figures> {
    match operation {
        Operation::Lock => lock::measure(target, measure).await,
        Operation::Fanout => fanout::measure(target, measure).await,
        Operation::Connect => sessions::measure(target, measure).await,
        Operation::Get
        | Operation::Exists
        | Operation::Children
        | Operation::Set
        | Operation::Create
        | Operation::Mixed
        | Operation::Multi => pipelined::measure(target, operation, measure).await,
    }
}

/// What the report calls an operation: with its load.
fn title(operation: Operation, measure: &Measure) -> String {
    let name = format!("{operation:?}").to_lowercase();
    match (operation, measure.rate) {
        (Operation::Lock, _) => format!("{name} {} on {}", measure.lock_clients, measure.locks),
        (Operation::Fanout, _) => format!("{name} {}", measure.watchers),
        (Operation::Connect, _) => format!("{name} {}", measure.sessions),
        (_, Some(rate)) => format!("{name} at {rate}/s"),
        (_, None) => format!("{name} {}×{}", measure.shape.connections, measure.shape.in_flight),
    }
}
