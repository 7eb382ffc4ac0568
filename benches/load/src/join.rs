//! A server that lost its disk comes back to an ensemble with many nodes.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use crate::args::Join;
use crate::clock::now;
use crate::fill;
use crate::report::say;
use crate::steady::Load;

/// Sessions that fill the ensemble.
const FILLERS: u64 = 16;
/// How long filling may take, and joining.
const PATIENCE: Duration = Duration::from_mins(10);

/// Fills, wipes, and measures until the server has the last node.
pub(crate) async fn run(join: &Join) -> Result<()> {
    let members = &join.members;
    let name = &members.ensemble.name;
    let leader = members.leader().await?;
    let filled = now();
    let filling = fill::create_nodes(members.address(leader), join.nodes, join.bytes, FILLERS);
    tokio::time::timeout(PATIENCE, filling).await.context("filling takes too long")??;
    say(&format!("{name}: created {} nodes in {:.1} s", join.nodes, seconds_since(filled)));
    tokio::time::sleep(Duration::from_secs_f64(join.idle_seconds)).await;
    let joiner = members.follower().await?;
    members.control("kill", joiner).await?;
    members.control("wipe", joiner).await?;
    let others: Vec<SocketAddr> = (0..members.count())
        .filter(|server| *server != joiner)
        .map(|server| members.address(server))
        .collect();
    let load = Load::start("/steady", &others, join.steady).await?;
    let before = now();
    tokio::time::sleep(Duration::from_secs_f64(join.before_seconds)).await;
    let begun = now();
    let serves = async {
        members.until_serving(joiner).await?;
        let serving = seconds_since(begun);
        fill::read_last(members.address(joiner), join.nodes, join.bytes).await?;
        anyhow::Ok((serving, seconds_since(begun)))
    };
    let (started, serves) = tokio::join!(members.control("start", joiner), serves);
    started?;
    let (serving, read) = serves?;
    let joined = begun + Duration::from_secs_f64(read);
    load.until_well(joined + join.steady.quiet()).await?;
    let calm = load.story().times(before, begun)?;
    let busy = load.story().times(begun, joined)?;
    let story = load.stop().await?;
    let after = story.times(joined, now())?;
    let p99 = |times: &crate::drive::Latency| times.value_at_quantile(0.99) as f64 / 1e6;
    say(&format!(
        "{name}: serves as a follower after {serving:.2} s, has the last of {} nodes after {read:.2} s; \
         p99 of the others' writes {:.1} ms before ({} writes), {:.1} ms meanwhile ({}, worst {:.1} \
         ms), {:.1} ms after",
        join.nodes,
        p99(&calm),
        calm.len(),
        p99(&busy),
        busy.len(),
        busy.max() as f64 / 1e6,
        p99(&after),
    ));
    Ok(())
}

fn seconds_since(moment: Instant) -> f64 {
    (now() - moment).as_secs_f64()
}
