//! A lock by the usual recipe, and a resource behind it that checks fencing tokens.
//!
//! A client now and then stands still for longer than its session lasts, and then goes on as if it still
//! held the lock: the resource must refuse it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Result;

use super::{Life, make};
use crate::ensemble::chance::Chance;
use crate::ensemble::client::{Client, World};
use crate::ensemble::history::{Ask, Hold, Mode, Operation, Told, Touch};

/// Where the nodes are.
pub(super) const DIRECTORY: &str = "/lock";
/// How many clients.
const CLIENTS: usize = 4;
/// The timeout of sessions.
const TIMEOUT_MS: i32 = 1_500;
/// How long a client waits for the one in front of it until it looks again.
const LOOK: Duration = Duration::from_millis(400);

/// What the lock protects: it takes writes in the order of their tokens.
#[derive(Default)]
struct Resource {
    token: i64,
}

impl Resource {
    fn write(&mut self, token: i64) -> bool {
        let is_accepted = self.token <= token;
        self.token = self.token.max(token);
        is_accepted
    }
}

/// A client in its turn.
struct Worker {
    client: Client,
    chance: Chance,
    resource: Arc<Mutex<Resource>>,
    turns: usize,
}

/// A node in the queue for the lock.
struct Place {
    path: String,
    token: i64,
}

/// Makes the nodes.
pub(super) fn prepare(client: &mut Client) -> Result<()> {
    make(client, DIRECTORY)
}

/// The clients.
pub(super) fn lives(world: &World) -> Vec<Life> {
    let resource = Arc::new(Mutex::new(Resource::default()));
    let life = |id: usize| -> Life {
        let (world, resource) = (world.clone(), Arc::clone(&resource));
        let chance = world.chance.branch(id as u64);
        Box::new(move || {
            let client = Client::new(400 + id, &world, TIMEOUT_MS);
            Worker { client, chance, resource, turns: 0 }.live()
        })
    };
    (1..=CLIENTS).map(life).collect()
}

/// The number behind a node's name.
fn sequence(name: &str) -> i64 {
    name.rsplit('-').next().and_then(|digits| digits.parse().ok()).unwrap_or(i64::MAX)
}

impl Worker {
    fn live(mut self) -> Result<()> {
        let world = self.client.world().clone();
        while !world.is_over() {
            self.turns += 1;
            self.client.connect()?;
            let mut is_left = false;
            if let Some(place) = self.queue()? {
                is_left = match self.await_turn(&place)? {
                    Some((asked, since)) => self.hold(&place, asked, since)?,
                    None => self.leave(&place)?.is_some(),
                };
            }
            if !is_left {
                // A node of ours may still be in the queue, and goes with the session.
                self.client.close()?;
                self.client.abandon();
            }
        }
        self.client.close()
    }

    /// Joins the queue. What nobody was told of is found by its name.
    fn queue(&mut self) -> Result<Option<Place>> {
        let session = self.client.session();
        let mark = format!("{}_{}", self.client.id, self.turns);
        let path = format!("{DIRECTORY}/{mark}-");
        let mode = Mode::EphemeralSequential;
        let created = self.client.call(Ask::Create { path, value: mark.clone(), mode })?;
        if let Some(Told::Node(path, stat)) = created.as_ref().and_then(Operation::told) {
            return Ok(Some(Place { path: path.clone(), token: stat.czxid.0 }));
        }
        self.client.connect()?;
        if self.client.session() != session {
            return Ok(None);
        }
        self.client.call(Ask::Sync { path: DIRECTORY.to_owned() })?;
        let Some((names, _)) = self.list()? else { return Ok(None) };
        let own = names.into_iter().find(|name| name.starts_with(&format!("{mark}-")));
        let Some(path) = own.map(|name| format!("{DIRECTORY}/{name}")) else { return Ok(None) };
        let stat = self.client.call(Ask::Exists { path: path.clone(), watch: false })?;
        let stat = stat.as_ref().and_then(Operation::stat);
        Ok(stat.map(|stat| Place { path, token: stat.czxid.0 }))
    }

    fn list(&mut self) -> Result<Option<(Vec<String>, Operation)>> {
        let list = self.client.call(Ask::Children { path: DIRECTORY.to_owned(), watch: false })?;
        Ok(list.and_then(|list| match list.told() {
            Some(Told::Children(names, _)) => Some((names.clone(), list)),
            _ => None,
        }))
    }

    /// Waits until the place is the first; gives when it asked for the last time, and when it knew.
    fn await_turn(&mut self, place: &Place) -> Result<Option<(u64, u64)>> {
        let session = self.client.session();
        let world = self.client.world().clone();
        while !world.is_over() && self.client.session() == session {
            let Some((names, list)) = self.list()? else { continue };
            let own = place.path.rsplit('/').next().unwrap_or_default();
            if self.client.session() != session || !names.iter().any(|name| name == own) {
                return Ok(None);
            }
            let in_front = names.iter().filter(|name| sequence(name) < sequence(own));
            let Some(last) = in_front.max_by_key(|name| sequence(name)) else {
                return Ok(Some((list.sent, list.end())));
            };
            let path = format!("{DIRECTORY}/{last}");
            let before = self.client.call(Ask::Exists { path, watch: true })?;
            if before.is_some_and(|before| before.told().is_some()) {
                self.client.await_notice(LOOK)?;
            }
        }
        Ok(None)
    }

    /// Leaves the queue; gives when that was sent, if it succeeded.
    fn leave(&mut self, place: &Place) -> Result<Option<u64>> {
        let session = self.client.session();
        self.client.connect()?;
        if self.client.session() != session {
            return Ok(None);
        }
        let deleted = self.client.call(Ask::Delete { path: place.path.clone(), version: -1 })?;
        Ok(deleted.filter(|deleted| deleted.told().is_some()).map(|deleted| deleted.sent))
    }

    /// Uses what the lock protects, and releases it; gives whether that is known to have succeeded.
    fn hold(&mut self, place: &Place, asked: u64, since: u64) -> Result<bool> {
        for _ in 0..=self.chance.below(3) {
            self.touch(place.token);
            self.client.idle_quietly(Duration::from_millis(self.chance.between(0, 20)))?;
        }
        if self.chance.below(1_000) < 12 {
            // It stands still, and does not notice.
            std::thread::sleep(Duration::from_millis(self.chance.between(1_500, 3_500)));
            self.touch(place.token);
        }
        let released = self.leave(place)?;
        let (client, token) = (self.client.id, place.token);
        let hold = Hold { client, token, asked, since, released };
        self.client.world().recorder.write(|history| history.holds.push(hold));
        Ok(released.is_some())
    }

    fn touch(&self, token: i64) {
        // Both under one lock, so that the order written down is that of the resource.
        let mut resource = self.resource.lock().unwrap_or_else(PoisonError::into_inner);
        let accepted = resource.write(token);
        let touch = Touch { client: self.client.id, token, accepted };
        self.client.world().recorder.write(|history| history.touches.push(touch));
    }
}
