//! From requests as they came to the writes that are handed in.
//!
//! What upstream finds impossible while it prepares a transaction consumes a zxid there, so it
//! becomes a write that is refused when it is applied; what it cannot even decode consumes none.

use std::sync::Arc;

use jute::request::{Create, Multi, MultiOp, Request};
use jute::{ErrorCode, Id, OpCode, Text};

use crate::config::Config;
use crate::tree::{Admission, Write};

/// What a request comes to.
pub(super) enum Intent {
    /// It changes state.
    Write(Write),
    /// It reads.
    Read(Request),
    /// Nobody could say what it is.
    Undecodable,
}

/// On which terms a client's writes are judged.
pub(super) fn terms(config: &Config, identities: Arc<[Id]>) -> Admission {
    Admission {
        identities,
        skip_acl: config.skip_acl,
        enforce_quota: config.enforce_quota,
        extended_types: config.extended_types_enabled,
        digest_enabled: config.digest_auth_enabled,
    }
}

/// What a request comes to whose body cannot be decoded: upstream gives a multi its zxid before it
/// looks into it.
pub(super) fn undecodable(op: OpCode) -> Intent {
    if op == OpCode::Multi {
        Intent::Write(Write::Refused(ErrorCode::MarshallingError))
    } else {
        Intent::Undecodable
    }
}

/// What a request comes to.
pub(super) fn intent(request: Request, config: &Config) -> Intent {
    Intent::Write(match request {
        Request::Create(op, create) => from_create(op, create, -1),
        Request::CreateTtl(create) => {
            let ttl_ms = create.ttl_ms;
            let (path, data) = (create.path, create.data);
            let create = Create { path, data, acl: create.acl, flags: create.flags };
            from_create(OpCode::CreateTtl, create, ttl_ms)
        }
        Request::Delete(delete) => {
            with_path(delete.path, |path| Write::Delete { path, version: delete.version })
        }
        Request::SetData(set) => {
            Write::SetData { path: invalid_if_null(set.path), data: set.data, version: set.version }
        }
        Request::SetAcl(set) => {
            Write::SetAcl { path: invalid_if_null(set.path), acl: set.acl, version: set.version }
        }
        Request::Multi(multi) => return from_multi(multi),
        Request::Reconfig(_) if config.reconfig_enabled && config.ensemble.is_some() => {
            return Intent::Read(request);
        }
        // A standalone server has no membership to change.
        Request::Reconfig(_) if config.reconfig_enabled => Write::Refused(ErrorCode::Unimplemented),
        Request::Reconfig(_) => Write::Refused(ErrorCode::ReconfigDisabled),
        Request::CloseSession => Write::CloseSession { expired_holder: None },
        Request::Exists(_)
        | Request::GetData(_)
        | Request::GetAcl(_)
        | Request::GetChildren(_)
        | Request::GetChildren2(_)
        | Request::Sync(_)
        | Request::Ping
        | Request::MultiRead(_)
        | Request::CheckWatches(_)
        | Request::RemoveWatches(_)
        | Request::Auth(_)
        | Request::Sasl(_)
        | Request::SetWatches(_)
        | Request::GetEphemerals(_)
        | Request::GetAllChildrenNumber(_)
        | Request::AddWatch(_)
        | Request::WhoAmI => return Intent::Read(request),
    })
}

/// The write, unless the path is null, over which upstream stumbles.
fn with_path(path: Text, write: impl FnOnce(String) -> Write) -> Write {
    path.map_or(Write::Refused(ErrorCode::MarshallingError), write)
}

/// The path; a null one is as invalid as an empty one where upstream validates paths first.
fn invalid_if_null(path: Text) -> String {
    path.unwrap_or_default()
}

fn from_create(op: OpCode, create: Create, ttl_ms: i64) -> Write {
    let Create { path, data, acl, flags } = create;
    with_path(path, |path| Write::Create { op, path, data, acl, flags, ttl_ms })
}

/// A multi; one impossible operation in it makes all of it impossible.
fn from_multi(multi: Multi) -> Intent {
    let impossible = Intent::Write(Write::Refused(ErrorCode::MarshallingError));
    let Multi::Ops(ops) = multi else { return impossible };
    let mut writes = Vec::with_capacity(ops.len());
    for op in ops {
        // Upstream copies the list while it decodes, and stumbles over null there.
        if matches!(&op, MultiOp::Create(_, Create { acl: None, .. })) {
            return Intent::Undecodable;
        }
        match from_multi_op(op) {
            Some(Write::Refused(_)) | None => return impossible,
            Some(write) => writes.push(write),
        }
    }
    Intent::Write(Write::Multi(writes))
}

/// An operation of a multi. Which kind of creation it is, is told by its flags here.
///
/// Source: ZooKeeper, `MultiOperationRecord.deserialize`, `Op.create`.
fn from_multi_op(op: MultiOp) -> Option<Write> {
    Some(match op {
        MultiOp::Create(op, create) => {
            let op = match (op, create.flags) {
                (OpCode::CreateContainer, 0..=4) | (_, 4) => OpCode::CreateContainer,
                (op, 0..=3) => op,
                _ => return None,
            };
            from_create(op, create, -1)
        }
        MultiOp::CreateTtl(create) => {
            let (flags, ttl_ms) = (create.flags, create.ttl_ms);
            let (op, ttl_ms) = match flags {
                0..=3 => (OpCode::Create, -1),
                4 => (OpCode::CreateContainer, -1),
                5 | 6 => (OpCode::CreateTtl, ttl_ms),
                _ => return None,
            };
            let create = Create { path: create.path, data: create.data, acl: create.acl, flags };
            from_create(op, create, ttl_ms)
        }
        MultiOp::Delete(delete) => {
            with_path(delete.path, |path| Write::Delete { path, version: delete.version })
        }
        MultiOp::SetData(set) => {
            Write::SetData { path: invalid_if_null(set.path), data: set.data, version: set.version }
        }
        MultiOp::Check(check) => {
            Write::Check { path: invalid_if_null(check.path), version: check.version }
        }
        MultiOp::GetData(_) | MultiOp::GetChildren(_) => return None,
    })
}
