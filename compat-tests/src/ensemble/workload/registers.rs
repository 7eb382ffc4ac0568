//! Registers: a few nodes that many clients set and read, some with requests in a row, some moving from
//! server to server.

use anyhow::Result;

use super::{LONG_MS, Life, breathe, make};
use crate::ensemble::chance::Chance;
use crate::ensemble::client::{Client, World};
use crate::ensemble::history::{Ask, Told};

/// How many nodes.
const NODES: usize = 3;
/// How many clients.
const CLIENTS: usize = 5;
/// The most requests that a client sends in a row.
const ROW_MAX: usize = 5;

fn path(number: usize) -> String {
    format!("/registers/{number}")
}

/// How a client goes about it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Habit {
    /// It moves now and then.
    Stays,
    /// It moves all the time, often before it is answered.
    Moves,
}

impl Habit {
    /// In how many of a hundred turns it moves, and in how many it does not wait for answers.
    fn percents(self) -> (usize, usize) {
        match self {
            Habit::Stays => (8, 2),
            Habit::Moves => (40, 15),
        }
    }
}

/// Makes the nodes.
pub(super) fn prepare(client: &mut Client) -> Result<()> {
    make(client, "/registers")?;
    (0..NODES).try_for_each(|number| make(client, &path(number)))
}

/// The clients.
pub(super) fn lives(world: &World, habit: Habit) -> Vec<Life> {
    let life = |id: usize| -> Life {
        let world = world.clone();
        Box::new(move || {
            live(Client::new(100 + id, &world, LONG_MS), world.chance.branch(id as u64), habit)
        })
    };
    (1..=CLIENTS).map(life).collect()
}

fn live(mut client: Client, mut chance: Chance, habit: Habit) -> Result<()> {
    let (moves, hangs_up) = habit.percents();
    let world = client.world().clone();
    let mut version = [0; NODES];
    let mut written = 0;
    while !world.is_over() {
        if chance.happens(moves) {
            client.move_to(chance.below(world.addresses.len()));
        }
        client.connect()?;
        for _ in 0..=chance.below(ROW_MAX) {
            let number = chance.below(NODES);
            let path = path(number);
            written += 1;
            let value = format!("{} {written}", client.id);
            let known = version.get(number).copied().unwrap_or(0);
            match chance.below(100) {
                0..40 => drop(client.send(Ask::Set { path, value, version: known })),
                40..50 => drop(client.send(Ask::Set { path, value, version: -1 })),
                50..75 => {
                    client.send(Ask::Sync { path: path.clone() });
                    client.send(Ask::Get { path, watch: false });
                }
                _ => drop(client.send(Ask::Get { path, watch: false })),
            }
        }
        if chance.happens(hangs_up) {
            client.hang_up(); // Before anything is answered.
            continue;
        }
        for operation in client.await_all()? {
            let number = operation.ask.path().rsplit('/').next().and_then(|n| n.parse().ok());
            let Some(known) = number.and_then(|number: usize| version.get_mut(number)) else {
                continue;
            };
            if let Some(Told::Stat(stat) | Told::Data(_, stat)) = operation.told() {
                *known = stat.version.0;
            }
        }
        breathe(&mut client, &mut chance, 25)?;
    }
    Ok(())
}
