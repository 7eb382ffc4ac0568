//! Creating nodes, in all modes.
//!
//! The first check to fail is the error the client sees, so their order is ZooKeeper's
//! (`PrepRequestProcessor.pRequest2TxnCreate`).

use jute::reply::Body;
use jute::{OpCode, Perms, Version};

use super::apply::Context;
use super::{CreateMode, Draft, Owner, Path, Refusal, TTL_MS_MAX, Write, Znode, acl, quota};

/// Creates a node.
pub(super) fn create(
    draft: &mut Draft<'_>,
    context: &Context<'_>,
    write: &Write,
) -> Result<Body, Refusal> {
    let Write::Create { op, path, data, acl, flags, ttl_ms } = write else {
        return Err(Refusal::Malformed);
    };
    let admission = context.admission;
    let mode = create_mode(*op, *flags, *ttl_ms, admission.extended_types)?;
    let parent_path = parent_of_any(path)?;
    let acl = acl::fixed_up(acl.as_deref(), admission)?;
    let parent = draft.get(parent_path)?;
    admission.require(Perms::CREATE, parent_path, &parent)?;
    let path = named(path, mode, &parent)?;
    if draft.find(path.as_str()).is_some() {
        return Err(Refusal::NodeExists { path: path.to_string() });
    }
    if parent.owner.session().is_some() {
        return Err(Refusal::NoChildrenForEphemerals { path: parent_path.to_owned() });
    }
    let bytes = data.as_ref().map_or(0, |data| data.len() as i64);
    if admission.enforce_quota {
        quota::enforce(draft, path.as_str(), 1, bytes)?;
    }

    let (zxid, time_ms) = (context.stamp.zxid, context.stamp.time_ms);
    let owner = if mode.ephemeral { Owner::Ephemeral(context.origin.session) } else { mode.owner };
    let znode = Znode {
        czxid: zxid,
        mzxid: zxid,
        pzxid: zxid,
        ctime_ms: time_ms,
        mtime_ms: time_ms,
        version: Version(0),
        aversion: Version(0),
        children_created: 0,
        children_present: 0,
        owner,
        data_length: data.as_ref().map(|data| data.len() as u32),
        acl,
    };
    let stat = znode.stat();
    draft.add(&path, znode, data.clone());
    quota::count_created(draft, &path, bytes);
    Ok(if *op == OpCode::Create {
        Body::Path(Some(path.to_string()))
    } else {
        Body::PathStat(path.to_string(), stat)
    })
}

/// The path with its sequence number, if the mode asks for one.
fn named(path: &str, mode: CreateMode, parent: &Znode) -> Result<Path, Refusal> {
    let path = if mode.sequential {
        format!("{path}{}", sequence_suffix(parent.children_created))
    } else {
        path.to_owned()
    };
    let parsed = Path::parse(&path).map_err(|_| Refusal::BadPath { path })?;
    if quota::is_of_root(parsed.as_str()) { Err(Refusal::RootQuota) } else { Ok(parsed) }
}

/// A sequence number as Java's `%010d` writes it.
fn sequence_suffix(number: i32) -> String {
    format!("{number:010}")
}

/// The part before the last slash, `""` for the root: where upstream looks for the parent, before it
/// checks the rest of the path.
pub(super) fn parent_of_any(path: &str) -> Result<&str, Refusal> {
    match path.rsplit_once('/') {
        Some((parent, _)) if !path.contains('\0') => Ok(parent),
        _ => Err(Refusal::BadPath { path: path.to_owned() }),
    }
}

/// What a creation of this operation, with these flags and this TTL, makes.
///
/// The operation decides whether the node is a container or has a TTL, not the flags.
///
/// Source: ZooKeeper, `CreateMode.fromFlag`, `EphemeralType.validateTTL`.
fn create_mode(
    op: OpCode,
    flags: i32,
    ttl_ms: i64,
    extended_types: bool,
) -> Result<CreateMode, Refusal> {
    let has_ttl = match flags {
        0..=4 => false,
        5 | 6 => true,
        _ => return Err(Refusal::UnknownMode { flags }),
    };
    let ttl_ms = if op == OpCode::CreateTtl { ttl_ms } else { -1 };
    if has_ttl && !extended_types {
        return Err(Refusal::TtlDisabled);
    }
    // A TTL without a mode that wants one stops upstream's server for good.
    if has_ttl != (op == OpCode::CreateTtl) || (has_ttl && !(1..=TTL_MS_MAX).contains(&ttl_ms)) {
        return Err(Refusal::BadTtl { ttl_ms, flags });
    }
    let owner = if op == OpCode::CreateContainer {
        Owner::Container
    } else if op == OpCode::CreateTtl {
        Owner::Ttl(ttl_ms)
    } else {
        Owner::Persistent
    };
    let ephemeral = owner == Owner::Persistent && matches!(flags, 1 | 3);
    Ok(CreateMode { sequential: matches!(flags, 2 | 3 | 6), ephemeral, owner })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sequence_number_has_ten_digits_or_more() {
        assert_eq!(sequence_suffix(0), "0000000000");
        assert_eq!(sequence_suffix(i32::MAX), "2147483647");
        assert_eq!(sequence_suffix(i32::MIN), "-2147483648");
    }

    #[test]
    fn operation_and_flags_together_make_the_mode() {
        let mode = |op, flags, ttl_ms| create_mode(op, flags, ttl_ms, true);
        assert_eq!(mode(OpCode::Create, 4, 0).unwrap().owner, Owner::Persistent);
        assert_eq!(mode(OpCode::CreateContainer, 0, 0).unwrap().owner, Owner::Container);
        assert!(mode(OpCode::CreateContainer, 3, 0).unwrap().sequential);
        assert!(!mode(OpCode::CreateContainer, 3, 0).unwrap().ephemeral);
        assert_eq!(mode(OpCode::CreateTtl, 5, 9).unwrap().owner, Owner::Ttl(9));
        assert!(mode(OpCode::CreateTtl, 5, 0).is_err());
        assert!(mode(OpCode::CreateTtl, 5, TTL_MS_MAX + 1).is_err());
        assert!(mode(OpCode::CreateTtl, 0, -1).is_err(), "this one kills upstream");
        assert!(mode(OpCode::Create2, 5, 9).is_err());
        assert_eq!(create_mode(OpCode::CreateTtl, 5, 0, false), Err(Refusal::TtlDisabled));
        assert_eq!(
            create_mode(OpCode::Create, 7, 0, false),
            Err(Refusal::UnknownMode { flags: 7 })
        );
    }
}
