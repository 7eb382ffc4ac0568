//! Changing nodes that are there: data, ACL, and the comparison of a version.

use bytes::Bytes;
use jute::reply::{Body, EventType};
use jute::{Acl, Perms, Version};

use super::apply::Context;
use super::delete::check_version;
use super::{DataChange, Draft, Path, Refusal, acl, quota};

/// Replaces a node's data.
///
/// Order of checks: ZooKeeper, `PrepRequestProcessor`, `OpCode.setData`; the quota comes before the
/// version.
pub(super) fn set_data(
    draft: &mut Draft<'_>,
    context: &Context<'_>,
    path: &str,
    data: Option<Bytes>,
    version: Version,
) -> Result<Body, Refusal> {
    let path = validated(path)?;
    let mut node = draft.get(path.as_str())?;
    context.admission.require(Perms::WRITE, path.as_str(), &node)?;
    let bytes_before = i64::from(node.data_length.unwrap_or(0));
    let bytes_more = data.as_ref().map_or(0, |data| data.len() as i64) - bytes_before;
    if context.admission.enforce_quota {
        quota::enforce(draft, path.as_str(), 0, bytes_more)?;
    }
    node.check_version(path.as_str(), version)?;

    node.version = node.version.next();
    node.mzxid = context.stamp.zxid;
    node.mtime_ms = context.stamp.time_ms;
    node.data_length = data.as_ref().map(|data| data.len() as u32);
    let stat = node.stat();
    let acl = node.acl.clone();
    draft.put(path.clone(), node, DataChange::Set(data));
    quota::count_resized(draft, &path, bytes_more);
    draft.emit(EventType::NodeDataChanged, path, context.stamp.zxid, acl);
    Ok(Body::Stat(stat))
}

/// Replaces a node's ACL. Nobody is told.
///
/// Order of checks: ZooKeeper, `PrepRequestProcessor`, `OpCode.setACL`.
pub(super) fn set_acl(
    draft: &mut Draft<'_>,
    context: &Context<'_>,
    path: &str,
    acl: Option<&[Acl]>,
    version: Version,
) -> Result<Body, Refusal> {
    let path = validated(path)?;
    let acl = acl::fixed_up(acl, context.admission)?;
    let mut node = draft.get(path.as_str())?;
    context.admission.require(Perms::ADMIN, path.as_str(), &node)?;
    check_version(path.as_str(), version, node.aversion)?;

    node.aversion = node.aversion.next();
    node.acl = acl;
    let stat = node.stat();
    draft.put(path, node, DataChange::Keep);
    Ok(Body::Stat(stat))
}

/// Compares a node's version, inside a multi.
///
/// Order of checks: ZooKeeper, `PrepRequestProcessor`, `OpCode.check`.
pub(super) fn check(
    draft: &Draft<'_>,
    context: &Context<'_>,
    path: &str,
    version: Version,
) -> Result<Body, Refusal> {
    let path = validated(path)?;
    let node = draft.get(path.as_str())?;
    context.admission.require(Perms::READ, path.as_str(), &node)?;
    node.check_version(path.as_str(), version)?;
    Ok(Body::Empty)
}

/// The path, if it follows all rules.
fn validated(path: &str) -> Result<Path, Refusal> {
    Path::parse(path).map_err(|_| Refusal::BadPath { path: path.to_owned() })
}
