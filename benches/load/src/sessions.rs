//! Opening sessions, and what they cost while nobody uses them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::Result;
use tokio::task::JoinSet;

use crate::args::{Measure, Target};
use crate::clock::now;
use crate::drive::{Latency, latency, note};
use crate::outcome::{Figures, MIB, Meter, figures};
use crate::process;
use crate::session::Session;

/// Sessions and how long it took to open each.
pub(crate) struct Opened {
    pub(crate) sessions: Vec<Session>,
    pub(crate) latency: Latency,
}

/// Opens `count` sessions, `at_once` at a time.
pub(crate) async fn open_many(target: &Target, count: usize, at_once: usize) -> Result<Opened> {
    let begun = Arc::new(AtomicUsize::new(0));
    let mut openers = JoinSet::new();
    for _ in 0..at_once.max(1) {
        let begun = Arc::clone(&begun);
        let target = target.clone();
        openers.spawn(async move {
            let mut opened = Opened { sessions: Vec::new(), latency: latency()? };
            loop {
                let number = begun.fetch_add(1, Ordering::Relaxed);
                if number >= count {
                    break;
                }
                let start = now();
                opened.sessions.push(Session::open(target.address_of(number)).await?);
                note(&mut opened.latency, start, now());
            }
            anyhow::Ok(opened)
        });
    }
    let mut all = Opened { sessions: Vec::with_capacity(count), latency: latency()? };
    while let Some(opened) = openers.join_next().await {
        let opened = opened??;
        all.sessions.extend(opened.sessions);
        all.latency.add(&opened.latency)?;
    }
    Ok(all)
}

/// Closes sessions, `at_once` at a time.
async fn close_many(mut sessions: Vec<Session>, at_once: usize) -> Result<()> {
    let share = sessions.len().div_ceil(at_once.max(1));
    let mut closers = JoinSet::new();
    while !sessions.is_empty() {
        let mine = sessions.split_off(sessions.len().saturating_sub(share));
        closers.spawn(async move {
            for session in mine {
                session.close().await?;
            }
            anyhow::Ok(())
        });
    }
    while let Some(closed) = closers.join_next().await {
        closed??;
    }
    Ok(())
}

/// Measures opening; then what the sessions occupy when idle, and what remains when they are gone.
pub(crate) async fn measure(target: &Target, measure: &Measure) -> Result<Figures> {
    let resident = || -> Result<Option<f64>> {
        Ok(process::resident_bytes_of_all(&target.pids)?.map(|bytes| bytes as f64))
    };
    let idle = Duration::from_secs_f64(measure.idle_seconds);
    let before = resident()?;
    let meter = Meter::start(target)?;
    let Opened { sessions, latency } =
        open_many(target, measure.sessions, measure.shape.connections).await?;
    let spent = meter.stop()?;
    tokio::time::sleep(idle).await;
    let during = resident()?;
    close_many(sessions, measure.shape.connections).await?;
    tokio::time::sleep(idle).await;
    let after = resident()?;
    let mut others = vec![("sessions", measure.sessions as f64)];
    if let (Some(before), Some(during), Some(after)) = (before, during, after) {
        others.push(("session_kib", (during - before) / 1_024.0 / measure.sessions.max(1) as f64));
        others.push(("rss_before_mib", before / MIB));
        others.push(("rss_idle_mib", during / MIB));
        others.push(("rss_closed_mib", after / MIB));
    }
    figures(target, &latency, spent, &others)
}
