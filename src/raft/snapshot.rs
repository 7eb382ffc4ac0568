//! Snapshots on their way from one server to another.
//!
//! The sender makes a copy of its image out of hard links and offers the list of its files; the receiver
//! asks for what it lacks, piece by piece, so that neither holds more than a few pieces in memory and a
//! transfer that broke off goes on where it was. The copy names the last entry in it: it may be newer
//! than what the sender's log had in mind.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use futures_util::{SinkExt as _, StreamExt as _};
use openraft::Snapshot;
use tokio::task::spawn_blocking;

use super::applier::{Image, Meta, meta_of, restore_lanes};
use super::peers::greet;
use super::shared::Shared;
use super::types::{
    Unreadable, Vote, decode_log_id, decode_stored_membership, decode_vote, encode_log_id,
    encode_stored_membership, encode_vote, unreadable,
};
use super::wire::Greeting;
use crate::config::limits::SNAPSHOT_CHUNK_BYTES;
use crate::net::PeerStream;
use crate::store::{Checkpoint, Incoming, Manifest, StoreError, TreeStore};

pub(super) use crate::store::Received;

/// How long the other server may take for its next message. Installing is one of them.
const PATIENCE_MS: u64 = 60_000;
/// Pieces that are sent for one request.
const PIECES_AT_ONCE: u64 = 8;

/// What snapshots are made of.
pub(super) struct SnapshotSource {
    pub(super) tree: TreeStore,
}

mod tag {
    pub(super) const WANT: u8 = 1;
    pub(super) const DONE: u8 = 2;
    pub(super) const REFUSED: u8 = 3;
}

/// A message that cannot be read.
fn bad(problem: &str) -> Unreadable {
    unreadable("snapshot message", problem)
}

fn short<E>(_: E) -> Unreadable {
    bad("it ends too early")
}

/// What a sender offers.
struct Offer {
    vote: Vote,
    meta: Meta,
    manifest: Manifest,
}

impl Offer {
    fn encode(vote: &Vote, meta: &Meta, manifest: &Manifest) -> Bytes {
        let mut out = BytesMut::new();
        let parts = [
            encode_vote(vote),
            encode_log_id(meta.last_log_id.as_ref()),
            encode_stored_membership(&meta.last_membership),
            manifest.encode(),
        ];
        for part in parts {
            out.put_u32(part.len() as u32);
            out.put_slice(&part);
        }
        out.freeze()
    }

    fn decode(mut rest: Bytes) -> io::Result<Offer> {
        let mut part = || -> Result<Bytes, Unreadable> {
            let length = rest.try_get_u32().map_err(short)? as usize;
            if rest.len() < length {
                Err(bad("a part ends too early"))
            } else {
                Ok(rest.split_to(length))
            }
        };
        let vote = decode_vote(part()?)?;
        let last_log_id = decode_log_id(&mut part()?)?;
        let last_membership = decode_stored_membership(part()?)?;
        let manifest = Manifest::decode(&part()?)?;
        Ok(Offer { vote, meta: Meta { last_log_id, last_membership }, manifest })
    }
}

/// What a receiver says.
enum Reply {
    Want { file: usize, offset: u64 },
    Done(Vote),
    Refused(String),
}

impl Reply {
    fn encode(&self) -> Bytes {
        let mut out = BytesMut::new();
        match self {
            Reply::Want { file, offset } => {
                out.put_u8(tag::WANT);
                out.put_u32(*file as u32);
                out.put_u64(*offset);
            }
            Reply::Done(vote) => {
                out.put_u8(tag::DONE);
                out.put_slice(&encode_vote(vote));
            }
            Reply::Refused(why) => {
                out.put_u8(tag::REFUSED);
                out.put_slice(why.as_bytes());
            }
        }
        out.freeze()
    }

    fn decode(mut rest: Bytes) -> Result<Reply, Unreadable> {
        match rest.try_get_u8().map_err(short)? {
            tag::WANT => {
                let file = rest.try_get_u32().map_err(short)? as usize;
                Ok(Reply::Want { file, offset: rest.try_get_u64().map_err(short)? })
            }
            tag::DONE => Ok(Reply::Done(decode_vote(rest)?)),
            tag::REFUSED => Ok(Reply::Refused(String::from_utf8_lossy(&rest).into_owned())),
            _ => Err(bad("it is of an unknown kind")),
        }
    }
}

/// The bytes of the pieces that are sent for a request at `offset` of a file so long.
fn asked_bytes(file_bytes: u64, offset: u64) -> u64 {
    (file_bytes - offset.min(file_bytes)).min(PIECES_AT_ONCE * SNAPSHOT_CHUNK_BYTES as u64)
}

/// Waits for the next frame.
async fn next(stream: &mut PeerStream) -> io::Result<Bytes> {
    let frame = tokio::time::timeout(Duration::from_millis(PATIENCE_MS), stream.next()).await;
    let frame = frame.map_err(|_| io::ErrorKind::TimedOut)?;
    Ok(frame.ok_or(io::ErrorKind::UnexpectedEof)??.freeze())
}

/// Does what waits for the disk elsewhere.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> io::Result<T> {
    Ok(spawn_blocking(work).await.map_err(io::Error::other)??)
}

/// Sends a snapshot to the server whose line this is; its vote afterwards.
pub(super) async fn send(
    source: &SnapshotSource,
    line: &str,
    greeting: &Greeting,
    vote: Vote,
) -> io::Result<Vote> {
    let mut stream = greet(line, greeting).await?;
    let tree = source.tree.clone();
    let copy = blocking(move || tree.take_checkpoint()).await?;
    let meta = meta_of(|name| Ok(copy.state(name)))?;
    let bytes = copy.manifest().bytes();
    tracing::info!("sending a snapshot of {bytes} bytes to {line}");
    stream.send(Offer::encode(&vote, &meta, copy.manifest())).await?;
    loop {
        match Reply::decode(next(&mut stream).await?)? {
            Reply::Want { file, offset } => send_pieces(&mut stream, &copy, file, offset).await?,
            Reply::Done(vote) => {
                tracing::info!("the snapshot has reached {line}");
                return Ok(vote);
            }
            Reply::Refused(why) => return Err(io::Error::other(why)),
        }
    }
}

async fn send_pieces(
    stream: &mut PeerStream,
    copy: &Checkpoint,
    file: usize,
    offset: u64,
) -> io::Result<()> {
    let entry = copy.manifest().files().get(file).ok_or_else(|| bad("no such file"))?;
    let end = offset + asked_bytes(entry.bytes, offset);
    let mut offset = offset;
    while offset < end {
        let copy = copy.clone();
        let length = SNAPSHOT_CHUNK_BYTES.min((end - offset) as usize);
        let piece = blocking(move || copy.read(file, offset, length)).await?;
        if piece.is_empty() {
            return Err(bad("a file of the copy is shorter than it was").into());
        }
        offset += piece.len() as u64;
        let sent = tokio::time::timeout(Duration::from_millis(PATIENCE_MS), stream.send(piece));
        sent.await.map_err(|_| io::ErrorKind::TimedOut)??;
    }
    Ok(())
}

/// Receives a snapshot, and has it installed.
pub(super) async fn receive(shared: &Arc<Shared>, mut stream: PeerStream) -> io::Result<()> {
    let Offer { vote, meta, manifest } = Offer::decode(next(&mut stream).await?)?;
    let raft = shared.raft_or_error()?.clone();
    tracing::info!("receiving a snapshot of {} bytes", manifest.bytes());
    let received = match gather(&shared.tree, &mut stream, manifest).await {
        Ok(received) => received,
        Err(error) => {
            tracing::warn!("the snapshot did not arrive: {error}");
            // The sender may be gone as well.
            let _ = stream.send(Reply::Refused(error.to_string()).encode()).await;
            return Err(error);
        }
    };
    let snapshot = Snapshot { meta, snapshot: Image::Received(received) };
    let response = raft.install_full_snapshot(vote, snapshot).await.map_err(io::Error::other)?;
    stream.send(Reply::Done(response.vote).encode()).await
}

/// Asks for everything that is missing.
async fn gather(
    tree: &TreeStore,
    stream: &mut PeerStream,
    manifest: Manifest,
) -> io::Result<Received> {
    let tree = tree.clone();
    let lengths: Vec<u64> = manifest.files().iter().map(|file| file.bytes).collect();
    let mut incoming = blocking(move || tree.begin_incoming(manifest)).await?;
    while let Some((file, offset)) = incoming.missing() {
        stream.send(Reply::Want { file, offset }.encode()).await?;
        let end = offset + asked_bytes(lengths.get(file).copied().unwrap_or(0), offset);
        let mut offset = offset;
        while offset < end {
            let piece = next(stream).await?;
            let length = piece.len() as u64;
            incoming = write(incoming, file, offset, piece).await?;
            offset += length;
        }
    }
    blocking(move || incoming.finish()).await
}

async fn write(
    mut incoming: Incoming,
    file: usize,
    offset: u64,
    piece: Bytes,
) -> io::Result<Incoming> {
    blocking(move || incoming.write(file, offset, &piece).map(|()| incoming)).await
}

/// Lets go of a snapshot that did not arrive whole: the log has brought what was missing.
pub(super) async fn discard(shared: &Shared) -> io::Result<()> {
    let store = shared.tree.clone();
    blocking(move || store.discard_incoming()).await
}

/// Takes a snapshot in, in place of all that this server had.
pub(super) async fn install(shared: &Shared, meta: &Meta, received: Received) -> io::Result<()> {
    let (store, expected) = (shared.tree.clone(), meta.last_log_id);
    let tree = blocking(move || {
        store.install(received, |candidate| match meta_of(|name| Ok(candidate.state(name)?)) {
            Ok(meta) if meta.last_log_id == expected => Ok(()),
            Ok(_) => Err(StoreError::bad_copy("it ends with another entry than it was said to")),
            Err(error) => Err(StoreError::bad_copy(&error)),
        })
    });
    let mut tree = tree.await?;
    restore_lanes(&mut tree, &shared.tree)?;
    tracing::info!("installed a snapshot of {} nodes", tree.node_count());
    shared.sessions.replace(&tree);
    shared.replica.replace(tree);
    Ok(())
}
