//! The watchers of one path, and in which ways each of them watches.
//!
//! The usual single watcher takes two words; the ten thousandth is found in a tree. Knows neither
//! the path nor what else its watchers watch.
//!
//! Invariant: in a [`Crowd`], `recursive` holds exactly those of `all` whose modes say so.

use std::collections::{BTreeMap, BTreeSet};

use super::ConnectionId;

/// A set of ways to watch a path.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Modes(u8);

impl Modes {
    /// Not at all.
    pub(super) const NONE: Modes = Modes(0);
    /// Once.
    pub(super) const STANDARD: Modes = Modes(1);
    /// Until removed.
    pub(super) const PERSISTENT: Modes = Modes(2);
    /// Until removed, with everything below the path.
    pub(super) const RECURSIVE: Modes = Modes(4);
    /// In every way.
    pub(super) const ALL: Modes = Modes(7);

    /// Whether any of `wanted` is in this set.
    pub(super) const fn intersects(self, wanted: Modes) -> bool {
        self.0 & wanted.0 != 0
    }

    pub(super) const fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub(super) const fn union(self, other: Modes) -> Modes {
        Modes(self.0 | other.0)
    }

    pub(super) const fn without(self, other: Modes) -> Modes {
        Modes(self.0 & !other.0)
    }
}

/// The watchers of one path.
pub(super) enum Watchers {
    /// A single one, as nearly everywhere.
    One(ConnectionId, Modes),
    /// Any number.
    Many(Box<Crowd>),
}

/// Many watchers of one path, in the order of their ids.
#[derive(Default)]
pub(super) struct Crowd {
    all: BTreeMap<ConnectionId, Modes>,
    /// Those of `all` who watch recursively: a change far below must not ask all the others.
    recursive: BTreeSet<ConnectionId>,
}

impl Crowd {
    /// Sets the modes of a watcher; without any it is gone.
    fn set(&mut self, connection: ConnectionId, modes: Modes) {
        if modes.intersects(Modes::RECURSIVE) {
            self.recursive.insert(connection);
        } else {
            self.recursive.remove(&connection);
        }
        if modes.is_empty() {
            self.all.remove(&connection);
        } else {
            self.all.insert(connection, modes);
        }
    }
}

impl Watchers {
    /// How a connection watches.
    pub(super) fn modes(&self, connection: ConnectionId) -> Modes {
        match self {
            Watchers::One(one, modes) if *one == connection => *modes,
            Watchers::One(..) => Modes::NONE,
            Watchers::Many(crowd) => crowd.all.get(&connection).copied().unwrap_or(Modes::NONE),
        }
    }

    /// Sets how a connection watches.
    pub(super) fn set(&mut self, connection: ConnectionId, modes: Modes) {
        match self {
            Watchers::One(one, one_modes) if *one == connection => *one_modes = modes,
            Watchers::One(one, one_modes) => {
                let mut crowd = Crowd::default();
                crowd.set(*one, *one_modes);
                crowd.set(connection, modes);
                *self = Watchers::Many(Box::new(crowd));
            }
            Watchers::Many(crowd) => crowd.set(connection, modes),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        match self {
            Watchers::One(_, modes) => modes.is_empty(),
            Watchers::Many(crowd) => crowd.all.is_empty(),
        }
    }

    /// Uses up the one-shot watches. Tells of every watcher, in the order of their ids, and whether
    /// it watches no longer.
    pub(super) fn fire(&mut self, mut tell: impl FnMut(ConnectionId, bool)) {
        let mut fire_one = |connection: ConnectionId, modes: &mut Modes| {
            *modes = modes.without(Modes::STANDARD);
            tell(connection, modes.is_empty());
            !modes.is_empty()
        };
        match self {
            Watchers::One(connection, modes) => {
                fire_one(*connection, modes);
            }
            Watchers::Many(crowd) => {
                crowd.all.retain(|connection, modes| fire_one(*connection, modes));
            }
        }
    }

    /// Appends everyone who watches recursively.
    pub(super) fn extend_recursive(&self, told: &mut Vec<ConnectionId>) {
        match self {
            Watchers::One(connection, modes) if modes.intersects(Modes::RECURSIVE) => {
                told.push(*connection);
            }
            Watchers::One(..) => {}
            Watchers::Many(crowd) => told.extend(&crowd.recursive),
        }
    }

    /// Every watcher, in the order of their ids.
    pub(super) fn connections(&self) -> Vec<ConnectionId> {
        match self {
            Watchers::One(connection, _) => vec![*connection],
            Watchers::Many(crowd) => crowd.all.keys().copied().collect(),
        }
    }
}
