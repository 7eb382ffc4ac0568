//! Which ensemble a server's data belongs to and under which name, kept beside the log.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use tokio::sync::oneshot;

use super::INCARNATION_BITS;
use super::types::{Unreadable, unreadable};
use crate::store::{LogStore, StoreError};

/// Names under which the log's store keeps what this file is about.
const IDENTITY: &str = "identity";
const BOOT: &str = "boot";

/// Who a server is among those that agree.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Identity {
    /// The ensemble: a number drawn when it was founded.
    pub(super) cluster: u64,
    /// The server's id (`myid`) and, in the lower half, how often it lost its disk.
    pub(super) node: u64,
}

/// The server's id (`myid`) in the name of a node.
pub(super) fn server_id(node: u64) -> u64 {
    node >> INCARNATION_BITS
}

/// The name of a server that never lost its disk.
pub(super) fn first_node(my_id: u64) -> u64 {
    my_id << INCARNATION_BITS
}

/// The identity of this server, if its data has one.
pub(super) fn read(log: &LogStore) -> Result<Option<Identity>, IdentityError> {
    let Some(mut bytes) = log.state(IDENTITY)? else { return Ok(None) };
    let short = |_| unreadable("identity", "it ends too early");
    let cluster = bytes.try_get_u64().map_err(short)?;
    Ok(Some(Identity { cluster, node: bytes.try_get_u64().map_err(short)? }))
}

/// Why what is kept could not be read or written.
#[derive(Debug, thiserror::Error)]
pub(super) enum IdentityError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("the log's writer has stopped")]
    Gone,
    #[error(transparent)]
    Unreadable(#[from] Unreadable),
}

impl From<IdentityError> for std::io::Error {
    fn from(error: IdentityError) -> std::io::Error {
        std::io::Error::other(error)
    }
}

/// Keeps the identity; it lasts when this returns.
pub(super) async fn write(log: &LogStore, identity: Identity) -> Result<(), IdentityError> {
    let mut bytes = BytesMut::new();
    bytes.put_u64(identity.cluster);
    bytes.put_u64(identity.node);
    put(log, IDENTITY, bytes.freeze()).await
}

/// The number of this start, above that of every start before.
pub(super) async fn next_boot(log: &LogStore, wall_ms: i64) -> Result<u64, IdentityError> {
    let last = match log.state(BOOT)? {
        Some(mut bytes) => {
            bytes.try_get_u64().map_err(|_| unreadable("boot", "it ends too early"))?
        }
        None => 0,
    };
    let boot = (last + 1).max(wall_ms.max(0) as u64);
    put(log, BOOT, Bytes::copy_from_slice(&boot.to_be_bytes())).await?;
    Ok(boot)
}

/// Makes the number of the next start higher than this one.
pub(super) async fn note_boot(log: &LogStore, boot: u64) -> Result<(), IdentityError> {
    put(log, BOOT, Bytes::copy_from_slice(&boot.to_be_bytes())).await
}

async fn put(log: &LogStore, name: &'static str, value: Bytes) -> Result<(), IdentityError> {
    let (done, finished) = oneshot::channel();
    log.put_state(name, value, Box::new(move |result| drop(done.send(result))));
    Ok(finished.await.map_err(|_| IdentityError::Gone)??)
}
