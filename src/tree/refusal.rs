//! Why a write was refused.
//!
//! Every replica comes to the same refusal, so it is an outcome of the log and not a fault of this
//! server.

use jute::{ErrorCode, SessionId, Version};

/// Why a write was refused.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Refusal {
    #[error("the request holds a null or a combination that cannot be served")]
    Malformed,
    #[error("create mode {flags} is not enabled or not known to this operation")]
    UnknownMode { flags: i32 },
    #[error("TTL nodes need extendedTypesEnabled=true")]
    TtlDisabled,
    #[error("a TTL of {ttl_ms} ms is not allowed with create mode {flags}")]
    BadTtl { ttl_ms: i64, flags: i32 },
    #[error("{path:?} is not a valid path")]
    BadPath { path: String },
    #[error("{path} belongs to the system")]
    SystemNode { path: String },
    #[error("a quota on / is not supported")]
    RootQuota,
    #[error("the ACL is empty or holds an invalid entry")]
    InvalidAcl,
    #[error("{path} does not exist")]
    NoNode { path: String },
    #[error("{path} exists already")]
    NodeExists { path: String },
    #[error("the ACL of {path} refuses")]
    NoAuth { path: String },
    #[error("{path} is at version {found}, the request expects {expected}")]
    BadVersion { path: String, expected: Version, found: Version },
    #[error("{path} is ephemeral and cannot have children")]
    NoChildrenForEphemerals { path: String },
    #[error("{path} has {children} children")]
    NotEmpty { path: String, children: i32 },
    #[error("the hard quota of {prefix} is exceeded")]
    QuotaExceeded { prefix: String },
    #[error("session {session} is closed or expired")]
    SessionExpired { session: SessionId },
    #[error("session {session} is held by another connection")]
    SessionMoved { session: SessionId },
    #[error("{path} is not, or not any more, a node to be reaped")]
    NotReapable { path: String },
    #[error("number {number} of server {server} is not its next submission")]
    OutOfTurn { server: u64, number: u64 },
    #[error("it was found impossible before it was proposed: {code:?}")]
    AtTheDoor { code: ErrorCode },
}

impl Refusal {
    /// The code the client sees. There is no `_` arm: a new refusal chooses its code here.
    pub const fn code(&self) -> ErrorCode {
        match self {
            Refusal::Malformed => ErrorCode::MarshallingError,
            Refusal::UnknownMode { .. }
            | Refusal::BadTtl { .. }
            | Refusal::BadPath { .. }
            | Refusal::SystemNode { .. }
            | Refusal::RootQuota => ErrorCode::BadArguments,
            Refusal::AtTheDoor { code } => *code,
            // Nobody is told: the submission is in the log again, or was.
            Refusal::OutOfTurn { .. } => ErrorCode::RuntimeInconsistency,
            Refusal::TtlDisabled => ErrorCode::Unimplemented,
            Refusal::InvalidAcl => ErrorCode::InvalidAcl,
            Refusal::NoNode { .. } => ErrorCode::NoNode,
            Refusal::NodeExists { .. } => ErrorCode::NodeExists,
            Refusal::NoAuth { .. } => ErrorCode::NoAuth,
            Refusal::BadVersion { .. } | Refusal::NotReapable { .. } => ErrorCode::BadVersion,
            Refusal::NoChildrenForEphemerals { .. } => ErrorCode::NoChildrenForEphemerals,
            Refusal::NotEmpty { .. } => ErrorCode::NotEmpty,
            Refusal::QuotaExceeded { .. } => ErrorCode::QuotaExceeded,
            Refusal::SessionExpired { .. } => ErrorCode::SessionExpired,
            Refusal::SessionMoved { .. } => ErrorCode::SessionMoved,
        }
    }
}
