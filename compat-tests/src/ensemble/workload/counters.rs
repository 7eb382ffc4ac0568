//! Counters: read, add one, write if nobody else did.

use anyhow::Result;

use super::{LONG_MS, Life, breathe, make};
use crate::ensemble::chance::Chance;
use crate::ensemble::client::{Client, World};
use crate::ensemble::history::{Ask, Told};

/// Where the nodes are.
pub const DIRECTORY: &str = "/counters";
/// How many nodes.
const NODES: usize = 2;
/// How many clients.
const CLIENTS: usize = 4;

/// Makes the nodes.
pub(super) fn prepare(client: &mut Client) -> Result<()> {
    make(client, DIRECTORY)?;
    (0..NODES).try_for_each(|number| make(client, &format!("{DIRECTORY}/{number}")))
}

/// The clients.
pub(super) fn lives(world: &World) -> Vec<Life> {
    let life = |id: usize| -> Life {
        let world = world.clone();
        Box::new(move || {
            live(Client::new(300 + id, &world, LONG_MS), world.chance.branch(id as u64))
        })
    };
    (1..=CLIENTS).map(life).collect()
}

/// The count in a value; the first value has none.
pub fn count(value: &str) -> i64 {
    value.split(' ').next().and_then(|word| word.parse().ok()).unwrap_or(0)
}

fn live(mut client: Client, mut chance: Chance) -> Result<()> {
    let world = client.world().clone();
    let mut written = 0;
    while !world.is_over() {
        let path = format!("{DIRECTORY}/{}", chance.below(NODES));
        let read = client.call(Ask::Get { path: path.clone(), watch: false })?;
        let Some(Told::Data(value, stat)) = read.as_ref().and_then(|read| read.told()) else {
            continue;
        };
        written += 1;
        let (count, version) = (count(value) + 1, stat.version.0);
        let value = format!("{count} {} {written}", client.id);
        client.call(Ask::Set { path, value, version })?;
        breathe(&mut client, &mut chance, 20)?;
    }
    Ok(())
}
