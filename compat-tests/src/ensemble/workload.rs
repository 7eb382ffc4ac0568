//! What clients do while faults strike.
//!
//! A client goes on until it is told that it is over. Faults are no errors here: an error is what no
//! fault excuses, a reply out of order or no server for very long.

pub mod registers;

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
}

/// A client's life.
pub type Life = Box<dyn FnOnce() -> Result<()> + Send>;

impl Workload {
    /// Every kind.
    pub const ALL: &'static [Workload] = &[Workload::Registers];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Workload::Registers => "registers",
        }
    }

    /// Makes the nodes that the clients need.
    ///
    /// # Errors
    ///
    /// The servers do not let it.
    pub fn prepare(self, world: &World) -> Result<()> {
        let mut client = Client::new(0, world, LONG_MS);
        match self {
            Workload::Registers => registers::prepare(&mut client)?,
        }
        client.close()
    }

    /// Waits until nothing changes any more by itself.
    ///
    /// # Errors
    ///
    /// It does not come to rest.
    pub fn settle(self, _: &World) -> Result<()> {
        match self {
            Workload::Registers => Ok(()),
        }
    }

    /// The clients.
    pub fn lives(self, world: &World) -> Vec<Life> {
        match self {
            Workload::Registers => registers::lives(world),
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
