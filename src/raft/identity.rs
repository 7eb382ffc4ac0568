//! Which ensemble a server's data belongs to and under which name, kept beside the log.

use std::io;

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::INCARNATION_BITS;
use super::log_store::durably;
use super::types::unreadable;
use super::wire::{Greeting, Purpose};
use crate::store::LogStore;

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

impl Identity {
    /// How this server greets another one, as a member.
    pub(super) fn greeting(self, purpose: Purpose, to: u64) -> Greeting {
        Greeting { purpose, cluster: self.cluster, from: self.node, to }
    }
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
pub(super) fn read(log: &LogStore) -> io::Result<Option<Identity>> {
    let Some(mut bytes) = log.state(IDENTITY)? else { return Ok(None) };
    let short = |_| unreadable("identity", "it ends too early");
    let cluster = bytes.try_get_u64().map_err(short)?;
    Ok(Some(Identity { cluster, node: bytes.try_get_u64().map_err(short)? }))
}

/// Keeps the identity; it lasts when this returns.
pub(super) async fn write(log: &LogStore, identity: Identity) -> io::Result<()> {
    let mut bytes = BytesMut::new();
    bytes.put_u64(identity.cluster);
    bytes.put_u64(identity.node);
    put(log, IDENTITY, bytes.freeze()).await
}

/// The number of this start, above that of every start before.
pub(super) async fn next_boot(log: &LogStore, wall_ms: i64) -> io::Result<u64> {
    let last = match log.state(BOOT)? {
        Some(mut bytes) => {
            bytes.try_get_u64().map_err(|_| unreadable("boot", "it ends too early"))?
        }
        None => 0,
    };
    let boot = (last + 1).max(wall_ms.max(0) as u64);
    note_boot(log, boot).await?;
    Ok(boot)
}

/// Makes the number of the next start higher than this one.
pub(super) async fn note_boot(log: &LogStore, boot: u64) -> io::Result<()> {
    put(log, BOOT, Bytes::copy_from_slice(&boot.to_be_bytes())).await
}

async fn put(log: &LogStore, name: &'static str, value: Bytes) -> io::Result<()> {
    durably(|done| log.put_state(name, value, done)).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Store;

    #[tokio::test]
    async fn every_start_has_a_higher_number_whatever_the_clock_says() {
        let dir = tempfile::tempdir().unwrap();
        let log = Store::open(dir.path(), None).unwrap().log;
        assert_eq!(next_boot(&log, 5_000).await.unwrap(), 5_000);
        assert_eq!(next_boot(&log, 9_000).await.unwrap(), 9_000);
        assert_eq!(next_boot(&log, 4_000).await.unwrap(), 9_001);
        assert_eq!(next_boot(&log, -1).await.unwrap(), 9_002);
        // What the ensemble knows of a start before the disk was lost.
        note_boot(&log, 20_000).await.unwrap();
        assert_eq!(next_boot(&log, 9_500).await.unwrap(), 20_001);
    }

    #[tokio::test]
    async fn an_identity_lasts() {
        let dir = tempfile::tempdir().unwrap();
        let identity = Identity { cluster: 7, node: first_node(3) + 9 };
        {
            let log = Store::open(dir.path(), None).unwrap().log;
            assert_eq!(read(&log).unwrap(), None);
            write(&log, identity).await.unwrap();
        }
        let log = Store::open(dir.path(), None).unwrap().log;
        assert_eq!(read(&log).unwrap(), Some(identity));
        assert_eq!(server_id(identity.node), 3);
    }
}
