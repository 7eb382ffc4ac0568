//! Many watchers of one node, each with a session of its own: when has the last one heard?

use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use jute::OpCode;
use jute::reply::EventType;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::args::{Measure, Target};
use crate::clock::now;
use crate::drive::{latency, note};
use crate::outcome::{Figures, Meter, figures, median};
use crate::session::{PATIENCE, Session, read, set_data};
use crate::sessions::open_many;
use crate::stage::{WATCHED, data};

/// Measures several changes of one watched node. An operation is one watch, armed and told; the
/// times are those from the change to the last event.
pub(crate) async fn measure(target: &Target, measure: &Measure) -> Result<Figures> {
    let watchers = measure.watchers;
    let opened = open_many(target, watchers, measure.shape.connections).await?.sessions;
    let (change_of, changes) = watch::channel(0_usize);
    let (armed, mut all_armed) = mpsc::channel(watchers.max(1));
    let (told, mut all_told) = mpsc::channel(watchers.max(1));
    let mut tasks = JoinSet::new();
    for session in opened {
        tasks.spawn(watcher(session, changes.clone(), armed.clone(), told.clone()));
    }
    drop((changes, armed, told));
    let mut writer = Session::open(target.address).await?;
    let data = data(measure.shape.bytes);
    let mut lasts = latency()?;
    let mut firsts = Vec::new();
    let mut meter = Meter::start(target)?;
    // The first change is the warm-up.
    for change in 0..=measure.changes {
        if change == 1 {
            meter = Meter::start(target)?;
        }
        change_of.send_replace(change + 1);
        gather(&mut all_armed, watchers, &mut tasks).await?;
        let start = now();
        writer.call(OpCode::SetData, &set_data(WATCHED, &data)).await?.succeeded(WATCHED)?;
        let times = gather(&mut all_told, watchers, &mut tasks).await?;
        let last = times.iter().max().context("nobody watches")?;
        let first = times.iter().min().context("nobody watches")?;
        if change > 0 {
            note(&mut lasts, start, *last);
            firsts.push(first.saturating_duration_since(start).as_secs_f64() * 1e6);
        }
    }
    let spent = meter.stop()?;
    drop(change_of);
    while let Some(done) = tasks.join_next().await {
        done??;
    }
    writer.close().await?;
    let notifications = (watchers * measure.changes.max(1)) as f64;
    let cpu = spent.server.map(|server| server.as_secs_f64() * 1e6 / notifications);
    let mut others = vec![
        ("operations", notifications),
        ("rate_per_s", notifications / spent.elapsed.as_secs_f64()),
        ("first_told_us", median(firsts).unwrap_or(f64::NAN)),
        ("watchers", watchers as f64),
    ];
    others.extend(cpu.map(|cpu| ("cpu_us", cpu)));
    figures(target, &lasts, spent, &others)
}

/// Waits for a message of each watcher, or for the error of the first that fails.
async fn gather(
    from: &mut mpsc::Receiver<Instant>,
    count: usize,
    tasks: &mut JoinSet<Result<()>>,
) -> Result<Vec<Instant>> {
    let mut times = Vec::with_capacity(count);
    let all = async {
        while times.len() < count {
            tokio::select! {
                biased;
                time = from.recv() => times.push(time.context("the watchers have ended")?),
                ended = tasks.join_next() => {
                    ended.context("no watcher is left")???;
                }
            }
        }
        anyhow::Ok(())
    };
    timeout(PATIENCE, all).await.with_context(|| format!("not all {count} were told"))??;
    Ok(times)
}

/// Arms a watch for each change, and says so, and when it was told.
async fn watcher(
    mut session: Session,
    mut changes: watch::Receiver<usize>,
    armed: mpsc::Sender<Instant>,
    told: mpsc::Sender<Instant>,
) -> Result<()> {
    while changes.changed().await.is_ok() {
        let reply = session.call(OpCode::GetData, &read(WATCHED, true)).await?;
        reply.succeeded(WATCHED)?;
        armed.send(now()).await?;
        let event = session.event().await?;
        told.send(now()).await?;
        let is_expected = event.kind == EventType::NodeDataChanged as i32
            && event.path.as_deref() == Some(WATCHED);
        ensure!(is_expected, "an unexpected event: {event:?}");
    }
    session.close().await
}
