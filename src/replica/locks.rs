//! The locks of this room. Tests put others in their place, which let a test run its threads in every
//! order that the locks allow.

#[cfg(test)]
mod interleaved;

#[cfg(not(test))]
pub(super) use parking_lot::{Mutex, RwLock};

#[cfg(test)]
pub(super) use interleaved::{Mutex, RwLock, in_every_order};
