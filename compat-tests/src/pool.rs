//! Gives each script a server: one for all that need the same settings, used by one at a time.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::Result;

use crate::engine::{Engine, Tcp};
use crate::play::{Played, play};
use crate::script::{Judge, Needs, Script};
use crate::server::Server;

/// A server that several scripts share, once the first of them has started it.
type Shared = Arc<Mutex<Option<Server>>>;

/// The servers of one run.
pub struct Pool {
    judge: Judge,
    /// Somebody else's server, in place of our own.
    address: Option<SocketAddr>,
    shared: Mutex<BTreeMap<Needs, Shared>>,
    roots: AtomicU32,
}

/// Locks; a script that failed while it held the lock leaves nothing half done in it.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Pool {
    /// Servers of `judge`'s kind, or the one at `address`.
    pub fn new(judge: Judge, address: Option<SocketAddr>) -> Pool {
        // Runs against one server of somebody else's must not share a root node.
        let first = std::process::id() % 1000 * 1000;
        Pool { judge, address, shared: Mutex::default(), roots: AtomicU32::new(first) }
    }

    /// Whose expectations apply.
    pub fn judge(&self) -> Judge {
        self.judge
    }

    /// Why `script` cannot run here, if it cannot.
    pub fn refuses(&self, script: &Script) -> Option<&'static str> {
        let needs_own = script.needs != Needs::default();
        (self.address.is_some() && needs_own).then_some("needs a server of its own")
    }

    /// Plays `script` on a server that is as it needs it.
    ///
    /// # Errors
    ///
    /// No such server, or the script makes no sense.
    pub fn play(&self, script: &Script) -> Result<Played> {
        let root = format!("/s{:06}", self.roots.fetch_add(1, Ordering::Relaxed) % 1_000_000);
        if let Some(address) = self.address {
            return play(script, &mut Tcp::new(address), &root);
        }
        if script.needs.fresh || script.needs.restarts {
            let mut server = Server::start(self.judge, &script.needs.settings)?;
            return play(script, &mut server, &root);
        }
        let shared = Arc::clone(lock(&self.shared).entry(script.needs.clone()).or_default());
        let mut server = lock(&shared);
        let engine: &mut dyn Engine = match server.as_mut() {
            Some(server) => server,
            None => server.insert(Server::start(self.judge, &script.needs.settings)?),
        };
        let played = play(script, engine, &root);
        if !played.as_ref().is_ok_and(|played| played.is_clean) {
            *server = None;
        }
        played
    }
}

/// Puts `scripts` into an order in which few neighbours want the same server.
pub fn spread(scripts: Vec<Script>) -> Vec<Script> {
    let mut groups: BTreeMap<Needs, Vec<Script>> = BTreeMap::new();
    for script in scripts {
        groups.entry(script.needs.clone()).or_default().push(script);
    }
    let mut queues: Vec<_> = groups.into_values().map(Vec::into_iter).collect();
    let mut ordered = Vec::new();
    loop {
        let before = ordered.len();
        ordered.extend(queues.iter_mut().filter_map(Iterator::next));
        if ordered.len() == before {
            return ordered;
        }
    }
}
