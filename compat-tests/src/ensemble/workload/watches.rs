//! Nodes that come, change and go, and clients that watch them in every way.

use std::time::Duration;

use anyhow::Result;

use super::{LONG_MS, Life, breathe, make};
use crate::ensemble::chance::Chance;
use crate::ensemble::client::{Client, World};
use crate::ensemble::history::{Ask, Mode};

/// Where the nodes are.
const DIRECTORY: &str = "/watches";
/// How many nodes there are at most.
const NODES: usize = 5;
/// How many clients change them.
const WRITERS: usize = 3;
/// How many watch in each way.
const OBSERVERS: usize = 2;

/// How a client watches.
#[derive(Clone, Copy)]
enum Way {
    /// By a persistent recursive watch on the directory.
    Below,
    /// By one-shot watches on every node.
    Each,
    /// By a one-shot watch on the list of children.
    List,
}

fn path(number: usize) -> String {
    format!("{DIRECTORY}/{number}")
}

/// Makes the nodes.
pub(super) fn prepare(client: &mut Client) -> Result<()> {
    make(client, DIRECTORY)?;
    (0..NODES).try_for_each(|number| make(client, &path(number)))
}

/// The clients.
pub(super) fn lives(world: &World) -> Vec<Life> {
    let mut lives: Vec<Life> = Vec::new();
    for id in 1..=WRITERS {
        let world = world.clone();
        lives.push(Box::new(move || {
            write(Client::new(600 + id, &world, LONG_MS), world.chance.branch(id as u64))
        }));
    }
    for (kind, way) in [Way::Below, Way::Each, Way::List].into_iter().enumerate() {
        for number in 1..=OBSERVERS {
            let (world, id) = (world.clone(), 650 + 10 * kind + number);
            lives.push(Box::new(move || {
                let client = Client::new(id, &world, LONG_MS);
                watch(client, world.chance.branch(id as u64), way)
            }));
        }
    }
    lives
}

fn write(mut client: Client, mut chance: Chance) -> Result<()> {
    let world = client.world().clone();
    let mut written = 0;
    while !world.is_over() {
        client.connect()?;
        written += 1;
        let path = path(chance.below(NODES));
        let value = format!("{} {written}", client.id);
        client.send(match chance.below(10) {
            0..3 => Ask::Create { path, value, mode: Mode::Persistent },
            3..5 => Ask::Delete { path, version: -1 },
            _ => Ask::Set { path, value, version: -1 },
        });
        if chance.happens(60) {
            client.await_all()?;
            breathe(&mut client, &mut chance, 60)?;
        }
    }
    client.await_all().map(drop)
}

fn watch(mut client: Client, mut chance: Chance, way: Way) -> Result<()> {
    let world = client.world().clone();
    let mut watched = None;
    while !world.is_over() {
        if chance.happens(4) {
            client.move_to(chance.below(world.addresses.len()));
        }
        client.connect()?;
        match way {
            Way::Below => {
                if watched != client.session() {
                    client.call(Ask::WatchBelow { path: DIRECTORY.to_owned() })?;
                    watched = client.session();
                }
                client.send(Ask::Get { path: path(chance.below(NODES)), watch: false });
            }
            Way::Each => {
                let path = path(chance.below(NODES));
                client.send(if chance.happens(50) {
                    Ask::Exists { path, watch: true }
                } else {
                    Ask::Get { path, watch: true }
                });
            }
            Way::List => {
                client.send(Ask::Children { path: DIRECTORY.to_owned(), watch: true });
            }
        }
        client.await_all()?;
        client.idle_quietly(Duration::from_millis(chance.between(1, 40)))?;
    }
    Ok(())
}
