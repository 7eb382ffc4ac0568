//! Operations whose requests follow each other on a connection without a thought between them.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};
use bytes::Bytes;
use jute::request::{Multi, MultiOp};
use jute::{ErrorCode, OpCode};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::args::{Measure, Operation, Shape, Target};
use crate::clock::{now, sleep_until};
use crate::drive::{Latency, Pace, Plan, Tally, Window, drive, latency};
use crate::outcome::{Figures, Meter, Spent, figures};
use crate::requests::{Requests, created_path, frame};
use crate::session::{Session, delete, read, set_data};
use crate::stage;

/// Reads and writes of `mixed` are spread evenly over so many requests.
const MIX: usize = 100;

/// Measures one such operation.
pub(crate) async fn measure(
    target: &Target,
    operation: Operation,
    measure: &Measure,
) -> Result<Figures> {
    let shape = &measure.shape;
    let mut loads = Vec::new();
    for connection in 0..shape.connections {
        let stream = Session::open(target.address_of(connection)).await?.into_stream()?;
        loads.push((stream, requests(operation, measure, connection)));
    }
    let limits = Limits { rate: measure.rate, ops: measure.ops, is_session: true };
    let (tallies, spent) = run(target, shape, limits, loads).await?;
    if operation == Operation::Create {
        remove_created(target, &tallies).await?;
    }
    figures(target, &merged(&tallies)?, spent, &[])
}

/// Endless requests for one connection; each begins at another place of the same round.
fn requests(operation: Operation, measure: &Measure, connection: usize) -> Requests {
    let data = stage::data(measure.shape.bytes);
    let path = |number: usize| stage::data_path(number % measure.nodes.max(1));
    let get = |number| frame(OpCode::GetData, &read(&path(number), false));
    let set = |number| frame(OpCode::SetData, &set_data(&path(number), &data));
    let frames: Vec<Bytes> = match operation {
        Operation::Create => {
            let folder = stage::created_folder(connection);
            return Requests::Creations { folder, data, made: 0 };
        }
        Operation::Set => (0..measure.nodes).map(set).collect(),
        Operation::Exists => (0..measure.nodes)
            .map(|number| frame(OpCode::Exists, &read(&path(number), false)))
            .collect(),
        Operation::Children => vec![frame(OpCode::GetChildren, &read(stage::CHILDREN, false))],
        Operation::Mixed => (0..measure.nodes.max(MIX))
            .map(|number| {
                let before = number * measure.reads / MIX;
                let is_read = (number + 1) * measure.reads / MIX > before;
                if is_read { get(number) } else { set(number) }
            })
            .collect(),
        Operation::Multi => (0..measure.nodes)
            .map(|number| {
                let ops = (number..number + measure.multi_operations)
                    .map(|number| MultiOp::SetData(set_data(&path(number), &data)));
                frame(OpCode::Multi, &Multi::Ops(ops.collect()))
            })
            .collect(),
        Operation::Get | Operation::Lock | Operation::Fanout | Operation::Connect => {
            (0..measure.nodes).map(get).collect()
        }
    };
    let next = connection * frames.len() / measure.shape.connections.max(1);
    Requests::Cycle { frames: Arc::from(frames), next }
}

/// What bounds a load beside its time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) rate: Option<f64>,
    pub(crate) ops: u64,
    pub(crate) is_session: bool,
}

/// Loads every connection at once, and measures what that costs between warm-up and end.
pub(crate) async fn run(
    target: &Target,
    shape: &Shape,
    limits: Limits,
    loads: Vec<(TcpStream, Requests)>,
) -> Result<(Vec<Tally>, Spent)> {
    let connections = loads.len().max(1);
    let begin = now();
    let start = begin + shape.warmup();
    let window = Window { start, end: start + shape.measured() };
    let mut drivers = JoinSet::new();
    for (number, (stream, requests)) in loads.into_iter().enumerate() {
        let pace = limits.rate.map(|rate| Pace {
            first: begin + Duration::from_secs_f64(number as f64 / rate),
            interval: Duration::from_secs_f64(connections as f64 / rate),
        });
        let plan = Plan {
            window,
            in_flight: shape.in_flight,
            pace,
            operations_max: limits.ops.div_ceil(connections as u64),
            is_session: limits.is_session,
        };
        drivers.spawn(drive(stream, requests, plan));
    }
    sleep_until(window.start).await;
    let meter = Meter::start(target)?;
    let mut tallies = Vec::new();
    // With `ops` the drivers may be done before the time is over.
    tokio::select! {
        () = sleep_until(window.end) => {}
        all = collect(&mut drivers, &mut tallies) => all?,
    }
    let spent = meter.stop()?;
    collect(&mut drivers, &mut tallies).await?;
    Ok((tallies, spent))
}

async fn collect(drivers: &mut JoinSet<Result<Tally>>, tallies: &mut Vec<Tally>) -> Result<()> {
    while let Some(tally) = drivers.join_next().await {
        tallies.push(tally??);
    }
    Ok(())
}

/// The times of all connections together.
pub(crate) fn merged(tallies: &[Tally]) -> Result<Latency> {
    let mut all = latency()?;
    for tally in tallies {
        all.add(&tally.latency)?;
    }
    ensure!(!all.is_empty(), "no reply came while it was measured");
    Ok(all)
}

/// Deletes what was created, so that the next round finds the same tree.
async fn remove_created(target: &Target, tallies: &[Tally]) -> Result<()> {
    // Which connection created how many is not told apart: the most is enough.
    let made = tallies.iter().map(|tally| tally.sent).max().unwrap_or(0);
    let mut sessions = JoinSet::new();
    for connection in 0..tallies.len() {
        let address = target.address_of(connection);
        sessions.spawn(async move {
            let mut session = Session::open(address).await?;
            let folder = stage::created_folder(connection);
            let deletions = (0..made).map(|number| delete(&created_path(&folder, number)));
            session.call_all(OpCode::Delete, deletions, Some(ErrorCode::NoNode)).await?;
            session.close().await
        });
    }
    while let Some(done) = sessions.join_next().await {
        done??;
    }
    Ok(())
}
