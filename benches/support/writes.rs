//! Writes for the benches, and what comes of them.
#![allow(dead_code, reason = "not every bench does everything")]

use bytes::Bytes;
use jute::{Acl, OpCode, Perms, Version};
use rookeeper::tree::{
    Admission, Changes, Draft, Origin, Proposal, Submission, Tree, Write, apply,
};

/// Bytes of data of a node.
pub(crate) const DATA_BYTES: usize = 100;

fn submission(write: Write) -> Submission {
    Submission { origin: Origin::default(), admission: Admission::internal(), write }
}

pub(crate) fn create(path: String) -> Submission {
    submission(Write::Create {
        op: OpCode::Create,
        path,
        data: Some(Bytes::from_static(&[b'x'; DATA_BYTES])),
        acl: Some(vec![Acl::anyone(Perms::ALL)]),
        flags: 0,
        ttl_ms: -1,
    })
}

pub(crate) fn set(path: String) -> Submission {
    set_to(path, DATA_BYTES)
}

pub(crate) fn set_to(path: String, bytes: usize) -> Submission {
    let data = Some(Bytes::from(vec![b'y'; bytes]));
    submission(Write::SetData { path, data, version: Version::ANY })
}

pub(crate) fn delete(path: String) -> Submission {
    submission(Write::Delete { path, version: Version::ANY })
}

/// What comes of the submissions, all of which must succeed.
pub(crate) fn changes_of(tree: &Tree, submissions: &[Submission]) -> Changes {
    let mut draft = Draft::over(tree);
    for submission in submissions {
        let applied = apply(&mut draft, &Proposal { time_ms: 1_000, submission });
        assert!(applied.outcome.is_ok(), "{submission:?}: {:?}", applied.outcome);
    }
    draft.finish()
}
