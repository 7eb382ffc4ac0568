//! Sequential creates: many clients below one node, several requests in a row.

use anyhow::Result;

use super::{LONG_MS, Life, breathe, make};
use crate::ensemble::chance::Chance;
use crate::ensemble::client::{Client, World};
use crate::ensemble::history::{Ask, Mode};

/// Where the nodes are.
pub const DIRECTORY: &str = "/sequences";
/// How many clients.
const CLIENTS: usize = 4;
/// The most requests that a client sends in a row.
const ROW_MAX: usize = 4;
/// The most nodes of one client, so that reading them all takes no time.
const NODES_MAX: usize = 600;

/// Makes the nodes.
pub(super) fn prepare(client: &mut Client) -> Result<()> {
    make(client, DIRECTORY)
}

/// The clients.
pub(super) fn lives(world: &World) -> Vec<Life> {
    let life = |id: usize| -> Life {
        let world = world.clone();
        Box::new(move || {
            live(Client::new(200 + id, &world, LONG_MS), world.chance.branch(id as u64))
        })
    };
    (1..=CLIENTS).map(life).collect()
}

fn live(mut client: Client, mut chance: Chance) -> Result<()> {
    let world = client.world().clone();
    let mut written = 0;
    while !world.is_over() {
        if chance.happens(5) {
            client.move_to(chance.below(world.addresses.len()));
        }
        client.connect()?;
        for _ in 0..=chance.below(ROW_MAX) {
            if written < NODES_MAX {
                written += 1;
                let path = format!("{DIRECTORY}/n-");
                let value = format!("{} {written}", client.id);
                client.send(Ask::Create { path, value, mode: Mode::Sequential });
            }
        }
        client.send(Ask::Ping);
        client.await_all()?;
        breathe(&mut client, &mut chance, 80)?;
    }
    Ok(())
}
