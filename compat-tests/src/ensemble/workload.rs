//! What clients do while faults strike.
//!
//! A client goes on until it is told that it is over. Faults are no errors here: an error is what no
//! fault excuses, a reply out of order or no server for very long.

pub mod counters;
pub mod ephemerals;
pub mod locks;
pub mod registers;
pub mod sequences;
pub mod watches;

use std::time::Duration;

use anyhow::{Context, Result};

use super::client::{Client, World};
use super::history::{Ask, Mode};

/// The timeout of sessions that are not meant to expire.
pub const LONG_MS: i32 = 20_000;
/// How often a setup may be tried.
const ATTEMPTS_MAX: usize = 20;

/// A kind of work.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Workload {
    /// Compare-and-set, plain sets, reads with and without `sync`.
    Registers,
    /// The same, by clients that move from server to server all the time.
    Moves,
    /// Read, add one, write.
    Counters,
    /// Sequential creates.
    Sequences,
    /// A lock and what it protects.
    Locks,
    /// Sessions that end, and their nodes.
    Ephemerals,
    /// Watches of every kind.
    Watches,
    /// All of it at once.
    All,
}

/// A client's life.
pub type Life = Box<dyn FnOnce() -> Result<()> + Send>;

impl Workload {
    /// Every kind.
    pub const ALL: &'static [Workload] = &[
        Workload::Registers,
        Workload::Moves,
        Workload::Counters,
        Workload::Sequences,
        Workload::Locks,
        Workload::Ephemerals,
        Workload::Watches,
        Workload::All,
    ];

    /// Those that run at once.
    const TOGETHER: &'static [Workload] = &[
        Workload::Registers,
        Workload::Counters,
        Workload::Sequences,
        Workload::Locks,
        Workload::Ephemerals,
        Workload::Watches,
    ];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Workload::Registers => "registers",
            Workload::Moves => "moves",
            Workload::Counters => "counters",
            Workload::Sequences => "sequences",
            Workload::Locks => "locks",
            Workload::Ephemerals => "ephemerals",
            Workload::Watches => "watches",
            Workload::All => "all",
        }
    }

    /// Makes the nodes that the clients need.
    ///
    /// # Errors
    ///
    /// The servers do not let it.
    pub fn prepare(self, world: &World) -> Result<()> {
        let mut client = Client::new(0, world, LONG_MS);
        let parts = if self == Workload::All { Workload::TOGETHER } else { &[self] };
        for part in parts {
            match part {
                Workload::Registers | Workload::Moves => registers::prepare(&mut client)?,
                Workload::Counters => counters::prepare(&mut client)?,
                Workload::Sequences => sequences::prepare(&mut client)?,
                Workload::Locks => locks::prepare(&mut client)?,
                Workload::Ephemerals => ephemerals::prepare(&mut client)?,
                Workload::Watches => watches::prepare(&mut client)?,
                Workload::All => {} // Its parts are.
            }
        }
        client.close()
    }

    /// Waits until nothing changes any more by itself.
    ///
    /// # Errors
    ///
    /// It does not come to rest.
    pub fn settle(self, world: &World) -> Result<()> {
        match self {
            Workload::Ephemerals => ephemerals::settle(world, ephemerals::DIRECTORY),
            Workload::Locks => ephemerals::settle(world, locks::DIRECTORY),
            Workload::All => {
                Workload::TOGETHER.iter().try_for_each(|workload| workload.settle(world))
            }
            Workload::Registers
            | Workload::Moves
            | Workload::Counters
            | Workload::Sequences
            | Workload::Watches => Ok(()),
        }
    }

    /// The clients.
    pub fn lives(self, world: &World) -> Vec<Life> {
        match self {
            Workload::Registers => registers::lives(world, registers::Habit::Stays),
            Workload::Moves => registers::lives(world, registers::Habit::Moves),
            Workload::Counters => counters::lives(world),
            Workload::Sequences => sequences::lives(world),
            Workload::Locks => locks::lives(world),
            Workload::Ephemerals => ephemerals::lives(world),
            Workload::Watches => watches::lives(world),
            Workload::All => {
                Workload::TOGETHER.iter().flat_map(|workload| workload.lives(world)).collect()
            }
        }
    }
}

/// Creates a node that must be there before the clients begin.
fn make(client: &mut Client, path: &str) -> Result<()> {
    for _ in 0..ATTEMPTS_MAX {
        let (path, mode) = (path.to_owned(), Mode::Persistent);
        let create = Ask::Create { value: format!("{path} first"), path, mode };
        if let Some(operation) = client.call(create)? {
            let refused = operation.refused();
            let is_there = refused.is_none_or(|code| code == jute::ErrorCode::NodeExists as i32);
            return is_there.then_some(()).with_context(|| format!("{operation:?}"));
        }
    }
    anyhow::bail!("{path} cannot be created")
}

/// A breath between two requests, so that two processors are enough for servers and clients.
fn breathe(client: &mut Client, chance: &mut super::chance::Chance, most_ms: u64) -> Result<()> {
    let time = Duration::from_millis(chance.between(0, most_ms));
    if time.is_zero() { Ok(()) } else { client.idle_quietly(time) }
}
