//! Sessions that end in every way there is, and others that watch their ephemeral nodes.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Result, ensure};

use super::{LONG_MS, Life, breathe, make};
use crate::control::now;
use crate::ensemble::chance::Chance;
use crate::ensemble::client::{Client, World};
use crate::ensemble::history::{Ask, Mode, Operation, Told};

/// Where the nodes are.
pub(super) const DIRECTORY: &str = "/ephemerals";
/// How many clients own nodes.
const OWNERS: usize = 3;
/// How many look on.
const OBSERVERS: usize = 2;
/// The timeout of sessions.
const TIMEOUT_MS: i32 = 2_000;
/// How long the last of them may take to go: an election, a time-out, and much else on the machine.
const SETTLE_TIMEOUT: Duration = Duration::from_secs(20);
/// Paths that observers look at.
const KNOWN_MAX: usize = 40;

type Known = Arc<Mutex<Vec<String>>>;

/// Makes the nodes.
pub(super) fn prepare(client: &mut Client) -> Result<()> {
    make(client, DIRECTORY)
}

/// The clients.
pub(super) fn lives(world: &World) -> Vec<Life> {
    let known = Known::default();
    let owner = |id: usize| -> Life {
        let (world, known) = (world.clone(), Arc::clone(&known));
        Box::new(move || {
            own(Client::new(500 + id, &world, TIMEOUT_MS), world.chance.branch(id as u64), &known)
        })
    };
    let observer = |id: usize| -> Life {
        let (world, known) = (world.clone(), Arc::clone(&known));
        Box::new(move || {
            observe(Client::new(550 + id, &world, LONG_MS), world.chance.branch(id as u64), &known)
        })
    };
    (1..=OWNERS).map(owner).chain((1..=OBSERVERS).map(observer)).collect()
}

/// Waits until nothing is left below `directory`, where all nodes are ephemeral.
pub(super) fn settle(world: &World, directory: &str) -> Result<()> {
    let mut client = Client::new(599, world, LONG_MS);
    let deadline = now() + SETTLE_TIMEOUT;
    loop {
        client.call(Ask::Sync { path: directory.to_owned() })?;
        let path = directory.to_owned();
        let list = client.call(Ask::Children { path, watch: false })?;
        if let Some(Told::Children(names, _)) = list.as_ref().and_then(Operation::told) {
            if names.is_empty() {
                return client.close();
            }
            ensure!(now() < deadline, "left in {directory} after {SETTLE_TIMEOUT:?}: {names:?}");
        }
        client.idle(Duration::from_millis(100))?;
    }
}

fn own(mut client: Client, mut chance: Chance, known: &Known) -> Result<()> {
    let world = client.world().clone();
    let mut created = 0;
    while !world.is_over() {
        client.connect()?;
        let mut own = Vec::new();
        for _ in 0..=chance.below(3) {
            created += 1;
            let path = format!("{DIRECTORY}/{}_{created}", client.id);
            let (value, mode) = (path.clone(), Mode::Ephemeral);
            client.send(Ask::Create { path: path.clone(), value, mode });
            own.push(path);
        }
        client.await_all()?;
        {
            let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
            known.extend(own.iter().cloned());
            let excess = known.len().saturating_sub(KNOWN_MAX);
            known.drain(..excess);
        }
        for _ in 0..chance.below(6) {
            client.idle(Duration::from_millis(chance.between(10, 200)))?;
        }
        end(&mut client, &mut chance, own)?;
    }
    client.close()
}

/// One of the ways in which a session can go on or end.
fn end(client: &mut Client, chance: &mut Chance, own: Vec<String>) -> Result<()> {
    match chance.below(100) {
        0..30 => client.close()?,
        30..55 => client.abandon(),
        55..80 => {
            // Silence, perhaps for too long.
            client.hang_up();
            std::thread::sleep(Duration::from_millis(chance.between(300, 3_500)));
            client.connect()?;
        }
        80..90 => client.move_to(chance.below(client.world().addresses.len())),
        _ => {
            for path in own {
                client.call(Ask::Delete { path, version: -1 })?;
            }
        }
    }
    Ok(())
}

fn observe(mut client: Client, mut chance: Chance, known: &Known) -> Result<()> {
    let world = client.world().clone();
    let mut watched = None;
    while !world.is_over() {
        client.connect()?;
        if watched != client.session() {
            client.call(Ask::WatchBelow { path: DIRECTORY.to_owned() })?;
            watched = client.session();
        }
        if chance.happens(3) {
            client.move_to(chance.below(world.addresses.len()));
            continue;
        }
        let paths = known.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let ask = match (chance.pick(&paths).cloned(), chance.below(10)) {
            (_, 0) => Ask::Sync { path: DIRECTORY.to_owned() },
            (Some(path), 1..7) => Ask::Exists { path, watch: false },
            _ => Ask::Children { path: DIRECTORY.to_owned(), watch: false },
        };
        client.call(ask)?;
        breathe(&mut client, &mut chance, 30)?;
    }
    client.close()
}
