//! Sets the stage: the nodes that the measurements use, below one node of their own.

use anyhow::Result;
use bytes::Bytes;
use jute::{ErrorCode, OpCode};

use crate::args::{Measure, Target};
use crate::session::{PERSISTENT, Session, create};

/// The node that holds all others; nothing outside of it is touched.
pub(crate) const ROOT: &str = "/load";
/// Parent of the nodes that are read and set.
const DATA: &str = "/load/data";
/// The node whose children are listed.
pub(crate) const CHILDREN: &str = "/load/children";
/// Parent of what `create` creates.
pub(crate) const CREATED: &str = "/load/created";
/// Parent of the locks.
const LOCKS: &str = "/load/locks";
/// The node that `fanout` watches.
pub(crate) const WATCHED: &str = "/load/watched";

/// The path of a node that is read and set.
pub(crate) fn data_path(number: usize) -> String {
    format!("{DATA}/n-{number:06}")
}

/// The path of a lock.
pub(crate) fn lock_path(number: usize) -> String {
    format!("{LOCKS}/lock-{number:04}")
}

/// The node below which one connection creates.
pub(crate) fn created_folder(connection: usize) -> String {
    format!("{CREATED}/c-{connection:05}")
}

/// Data of so many bytes.
pub(crate) fn data(bytes: usize) -> Bytes {
    Bytes::from(vec![b'x'; bytes])
}

/// Creates every node that the measurements need.
pub(crate) async fn set(target: &Target, measure: &Measure) -> Result<()> {
    let mut session = Session::open(target.address).await?;
    session.remove_all(ROOT).await?;
    for path in [ROOT, DATA, CHILDREN, CREATED, LOCKS, WATCHED] {
        session.ensure_node(path).await?;
    }
    let data = data(measure.shape.bytes);
    let filled = (0..measure.nodes).map(|number| create(&data_path(number), &data, PERSISTENT));
    session.call_all(OpCode::Create, filled, None).await?;
    let empty = Bytes::new();
    let bare = (0..measure.children)
        .map(|number| format!("{CHILDREN}/child-{number:04}"))
        .chain((0..measure.locks).map(lock_path))
        .chain((0..measure.shape.connections).map(created_folder))
        .map(|path| create(&path, &empty, PERSISTENT));
    session.call_all(OpCode::Create, bare, Some(ErrorCode::NodeExists)).await?;
    session.close().await?;
    // The other servers of an ensemble may lag behind the one that answered.
    for address in &target.addresses {
        let mut session = Session::open(*address).await?;
        session.sync().await?;
        session.close().await?;
    }
    Ok(())
}

/// Removes them.
pub(crate) async fn strike(target: &Target) -> Result<()> {
    let mut session = Session::open(target.address).await?;
    session.remove_all(ROOT).await?;
    session.close().await
}
