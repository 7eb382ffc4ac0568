//! Snapshots on their way from one server to another.

use std::io;
use std::sync::Arc;

use super::shared::Shared;
use super::types::{TypeConfig, Vote};
use super::wire::Greeting;
use crate::net::PeerStream;
use crate::store::TreeStore;

/// What snapshots are made of.
pub(super) struct SnapshotSource {
    pub(super) tree: TreeStore,
}

/// A snapshot that came whole.
#[derive(Debug)]
pub(super) struct Received;

/// Sends a snapshot to the server whose line this is; its vote afterwards.
pub(super) async fn send(_: &SnapshotSource, _: &str, _: &Greeting, _: Vote) -> io::Result<Vote> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Receives a snapshot.
pub(super) async fn receive(_: &Arc<Shared>, _: PeerStream) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Takes a snapshot in.
pub(super) async fn install(
    _: &Shared,
    _: &openraft::type_config::alias::SnapshotMetaOf<TypeConfig>,
    _: Received,
) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}
