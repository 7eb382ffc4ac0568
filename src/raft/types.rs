//! The types openraft is told about, and how its log entries are written to disk.
//!
//! What is written is ours: a kind, a term and our own encodings, never openraft's, which change
//! between its releases.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use jute::Encode as _;
use openraft::EntryPayload;
use openraft::impls::leader_id_std;
use openraft::vote::RaftLeaderId;

use crate::tree::{Batch, Lane, Lanes};

openraft::declare_raft_types!(
    /// What this server tells openraft about itself.
    pub(super) TypeConfig:
        D = Payload,
        R = (),
        NodeId = u64,
        Node = Member,
        Term = u64,
        LeaderId = leader_id_std::LeaderId<u64, u64>,
        Entry = openraft::Entry<<Self::LeaderId as RaftLeaderId>::Committed, Self::Payload>,
        Vote = openraft::Vote<Self::LeaderId>,
        AsyncRuntime = openraft::TokioRuntime,
);

pub(super) type Entry = openraft::type_config::alias::EntryOf<TypeConfig>;
pub(super) type LogId = openraft::type_config::alias::LogIdOf<TypeConfig>;
pub(super) type Vote = openraft::type_config::alias::VoteOf<TypeConfig>;
pub(super) type Membership = openraft::Membership<u64, Member>;
pub(super) type StoredMembership = openraft::type_config::alias::StoredMembershipOf<TypeConfig>;

/// A member of the ensemble, as the log names it.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Member {
    /// What stands behind `server.N=` in a configuration: where it is reached and what it is for.
    /// Empty for a standalone server, which nobody reaches.
    pub line: String,
    /// Whether it only looks on: nobody has configured it yet.
    pub is_guest: bool,
}

impl Member {
    /// One that is configured.
    pub(super) fn new(line: String) -> Member {
        Member { line, is_guest: false }
    }
}

/// Stands before the line of a guest.
const GUEST: &str = "?";

/// A batch as its bytes. It is decoded when it is applied: until then the log's tail holds nothing
/// else, above all no buffers of the connections that sent it.
#[derive(Clone)]
pub(super) struct Payload(Bytes);

impl Payload {
    /// Encodes a batch.
    #[cfg(test)]
    pub(super) fn new(batch: &Batch) -> Payload {
        let mut bytes = BytesMut::new();
        batch.encode(&mut bytes);
        Payload(bytes.freeze())
    }

    /// A batch that is encoded already.
    pub(super) fn encoded(batch: BytesMut) -> Payload {
        Payload(batch.freeze())
    }

    /// Whether the batch has just one submission.
    pub(super) fn is_single(&self) -> bool {
        Batch::count(&self.0) == Some(1)
    }

    /// Bytes of the batch.
    pub(super) fn bytes(&self) -> usize {
        self.0.len()
    }

    /// Decodes the batch.
    pub(super) fn batch(&self) -> Result<Batch, Unreadable> {
        Batch::from_bytes(&self.0).map_err(|error| unreadable("batch", error.to_string()))
    }
}

impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a batch of {} bytes", self.0.len())
    }
}

/// Bytes of the log, of a vote or of the applied state that are none.
#[derive(Debug, thiserror::Error)]
#[error("{what} cannot be read: {problem}")]
pub struct Unreadable {
    what: &'static str,
    problem: String,
}

impl From<Unreadable> for std::io::Error {
    fn from(error: Unreadable) -> std::io::Error {
        std::io::Error::new(std::io::ErrorKind::InvalidData, error)
    }
}

pub(super) fn unreadable(what: &'static str, problem: impl Into<String>) -> Unreadable {
    Unreadable { what, problem: problem.into() }
}

/// Kinds of entries on disk.
mod kind {
    pub(super) const BLANK: u8 = 0;
    pub(super) const BATCH: u8 = 1;
    pub(super) const MEMBERSHIP: u8 = 2;
}

/// Writes an entry without its index, which is its key.
pub(super) fn encode_entry(entry: &Entry) -> Bytes {
    let mut out = BytesMut::new();
    put_entry(entry, &mut out);
    out.freeze()
}

pub(super) fn put_entry(entry: &Entry, out: &mut BytesMut) {
    let term = entry.log_id.leader_id.term;
    match &entry.payload {
        EntryPayload::Blank => {
            out.put_u8(kind::BLANK);
            out.put_u64(term);
        }
        EntryPayload::Normal(payload) => {
            let bytes = &payload.0;
            out.reserve(9 + bytes.len());
            out.put_u8(kind::BATCH);
            out.put_u64(term);
            out.put_slice(bytes);
        }
        EntryPayload::Membership(membership) => {
            out.put_u8(kind::MEMBERSHIP);
            out.put_u64(term);
            encode_membership(membership, out);
        }
    }
}

/// Reads an entry back.
pub(super) fn decode_entry(index: u64, bytes: &Bytes) -> Result<Entry, Unreadable> {
    let what = "log entry";
    let mut rest = bytes.clone();
    if rest.len() < 9 {
        return Err(unreadable(what, format!("entry {index} has {} bytes", rest.len())));
    }
    let (kind, term) = (rest.get_u8(), rest.get_u64());
    let payload = match kind {
        kind::BLANK => EntryPayload::Blank,
        kind::BATCH => EntryPayload::Normal(Payload(rest)),
        kind::MEMBERSHIP => EntryPayload::Membership(decode_membership(&mut rest)?),
        kind => return Err(unreadable(what, format!("entry {index} is of unknown kind {kind}"))),
    };
    Ok(Entry { log_id: log_id(term, index), payload })
}

/// Names the entry at `index`, proposed in `term`.
pub(super) fn log_id(term: u64, index: u64) -> LogId {
    LogId { leader_id: leader_id_std::LeaderId { term, voted_for: 0 }.to_committed(), index }
}

/// Writes the name of an entry, or that there is none.
pub(super) fn encode_log_id(id: Option<&LogId>) -> Bytes {
    let mut out = BytesMut::new();
    put_log_id(id, &mut out);
    out.freeze()
}

pub(super) fn put_log_id(id: Option<&LogId>, out: &mut BytesMut) {
    out.put_u8(u8::from(id.is_some()));
    if let Some(id) = id {
        out.put_u64(id.leader_id.term);
        out.put_u64(id.index);
    }
}

/// Reads the name of an entry.
pub(super) fn decode_log_id(rest: &mut Bytes) -> Result<Option<LogId>, Unreadable> {
    let short = |_| unreadable("log id", "it ends too early");
    if rest.try_get_u8().map_err(short)? == 0 {
        return Ok(None);
    }
    let term = rest.try_get_u64().map_err(short)?;
    Ok(Some(log_id(term, rest.try_get_u64().map_err(short)?)))
}

/// Writes how far the submissions of each server are decided.
pub(super) fn encode_lanes(lanes: &Lanes) -> Bytes {
    let mut out = BytesMut::new();
    for (server, lane) in lanes {
        out.put_u64(*server);
        out.put_u64(lane.boot);
        out.put_u64(lane.decided);
    }
    out.freeze()
}

/// Reads how far they are.
pub(super) fn decode_lanes(mut rest: Bytes) -> Result<Lanes, Unreadable> {
    let short = |_| unreadable("lanes", "they end too early");
    let mut lanes = Lanes::new();
    while rest.has_remaining() {
        let server = rest.try_get_u64().map_err(short)?;
        let boot = rest.try_get_u64().map_err(short)?;
        lanes.insert(server, Lane { boot, decided: rest.try_get_u64().map_err(short)? });
    }
    Ok(lanes)
}

/// Writes a vote.
pub(super) fn encode_vote(vote: &Vote) -> Bytes {
    let mut out = BytesMut::new();
    out.put_u64(vote.leader_id.term);
    out.put_u64(vote.leader_id.voted_for);
    out.put_u8(u8::from(vote.committed));
    out.freeze()
}

/// Reads a vote.
pub(super) fn decode_vote(mut rest: Bytes) -> Result<Vote, Unreadable> {
    let short = |_| unreadable("vote", "it ends too early");
    let term = rest.try_get_u64().map_err(short)?;
    let voted_for = rest.try_get_u64().map_err(short)?;
    let committed = rest.try_get_u8().map_err(short)? != 0;
    Ok(Vote { leader_id: leader_id_std::LeaderId { term, voted_for }, committed })
}

/// Writes a membership and the entry that brought it.
pub(super) fn encode_stored_membership(stored: &StoredMembership) -> Bytes {
    let mut out = BytesMut::new();
    put_log_id(stored.log_id().as_ref(), &mut out);
    encode_membership(stored.membership(), &mut out);
    out.freeze()
}

/// Reads a membership and the entry that brought it.
pub(super) fn decode_stored_membership(mut rest: Bytes) -> Result<StoredMembership, Unreadable> {
    let id = decode_log_id(&mut rest)?;
    Ok(StoredMembership::new(id, decode_membership(&mut rest)?))
}

fn encode_membership(membership: &Membership, out: &mut BytesMut) {
    let configs = membership.get_joint_config();
    out.put_u32(configs.len() as u32);
    for config in configs {
        out.put_u32(config.len() as u32);
        for id in config {
            out.put_u64(*id);
        }
    }
    let members: Vec<_> = membership.nodes().collect();
    out.put_u32(members.len() as u32);
    for (id, member) in members {
        out.put_u64(*id);
        let line =
            if member.is_guest { format!("{GUEST}{}", member.line) } else { member.line.clone() };
        line.as_str().encode(out);
    }
}

fn decode_membership(rest: &mut Bytes) -> Result<Membership, Unreadable> {
    let what = "membership";
    let short = |_| unreadable(what, "it ends too early");
    let mut configs = Vec::new();
    for _ in 0..rest.try_get_u32().map_err(short)? {
        let mut config = BTreeSet::new();
        for _ in 0..rest.try_get_u32().map_err(short)? {
            config.insert(rest.try_get_u64().map_err(short)?);
        }
        configs.push(config);
    }
    let mut members = BTreeMap::new();
    for _ in 0..rest.try_get_u32().map_err(short)? {
        let id = rest.try_get_u64().map_err(short)?;
        let length = rest.try_get_u32().map_err(short)? as usize;
        if rest.len() < length {
            return Err(unreadable(what, "a line ends too early"));
        }
        let line = String::from_utf8_lossy(&rest.split_to(length)).into_owned();
        let member = match line.strip_prefix(GUEST) {
            Some(line) => Member { line: line.to_owned(), is_guest: true },
            None => Member::new(line),
        };
        members.insert(id, member);
    }
    if configs.is_empty() && members.is_empty() {
        return Ok(Membership::default());
    }
    Membership::new(configs, members).map_err(|error| unreadable(what, error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::{Admission, Origin, Submission, Write};

    fn membership() -> Membership {
        let configs = vec![BTreeSet::from([1, 2]), BTreeSet::from([2, 3])];
        let member = |id: u64| {
            (id, Member { line: format!("host{id}:2888:3888:participant"), is_guest: id == 3 })
        };
        Membership::new(configs, BTreeMap::from([member(1), member(2), member(3)])).unwrap()
    }

    #[test]
    fn entries_of_every_kind_come_back_from_disk() {
        let submission = Submission {
            origin: Origin::default(),
            admission: Admission::internal(),
            write: Write::CloseSession { expired_holder: None },
        };
        let batch = Batch { time_ms: 9, submissions: vec![submission] };
        for payload in [
            EntryPayload::Blank,
            EntryPayload::Normal(Payload::new(&batch)),
            EntryPayload::Membership(membership()),
        ] {
            let entry = Entry { log_id: log_id(7, 42), payload };
            let bytes = encode_entry(&entry);
            let back = decode_entry(42, &bytes).unwrap();
            assert_eq!(back.log_id, entry.log_id);
            assert_eq!(encode_entry(&back), bytes);
        }
        assert!(decode_entry(1, &Bytes::from_static(&[9; 12])).is_err());
    }

    #[test]
    fn a_payload_knows_whether_it_has_one_submission() {
        let submission = Submission {
            origin: Origin::default(),
            admission: Admission::internal(),
            write: Write::CloseSession { expired_holder: None },
        };
        for count in 0..4 {
            let batch = Batch { time_ms: -1, submissions: vec![submission.clone(); count] };
            assert_eq!(Payload::new(&batch).is_single(), count == 1, "{count}");
        }
    }

    #[test]
    fn votes_and_memberships_come_back_and_cut_bytes_do_not() {
        let vote =
            Vote { leader_id: leader_id_std::LeaderId { term: 3, voted_for: 1 }, committed: true };
        let bytes = encode_vote(&vote);
        assert_eq!(decode_vote(bytes.clone()).unwrap(), vote);
        assert!(decode_vote(bytes.slice(..16)).is_err());

        let stored = StoredMembership::new(Some(log_id(2, 5)), membership());
        let bytes = encode_stored_membership(&stored);
        assert_eq!(decode_stored_membership(bytes.clone()).unwrap(), stored);
        for cut in 0..bytes.len() {
            assert!(decode_stored_membership(bytes.slice(..cut)).is_err(), "cut at {cut}");
        }
    }

    #[test]
    fn lanes_come_back_and_their_first_format_stays_readable() {
        let lanes = Lanes::from([(2, Lane { boot: 3, decided: 4 })]);
        let mut frozen = [0; 24];
        for (place, value) in [(7, 2), (15, 3), (23, 4)] {
            frozen[place] = value;
        }
        assert_eq!(encode_lanes(&lanes)[..], frozen);
        assert_eq!(decode_lanes(Bytes::copy_from_slice(&frozen)).unwrap(), lanes);
        assert!(decode_lanes(Bytes::copy_from_slice(&frozen[..20])).is_err());
    }

    #[test]
    fn a_membership_that_was_written_before_there_were_guests_stays_readable() {
        let line = b"a:1:2:participant";
        let mut out = BytesMut::new();
        for number in [1_u32, 1] {
            out.put_u32(number);
        }
        out.put_u64(1 << 32);
        out.put_u32(1);
        out.put_u64(1 << 32);
        out.put_u32(line.len() as u32);
        out.put_slice(line);
        let membership = decode_membership(&mut out.freeze()).unwrap();
        let member = Member::new("a:1:2:participant".to_owned());
        assert_eq!(membership.get_node(&(1 << 32)), Some(&member));
    }

    #[test]
    fn the_first_format_of_a_vote_stays_readable() {
        let frozen = [0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 1, 0, 0, 0, 0, 1];
        let vote = decode_vote(Bytes::copy_from_slice(&frozen)).unwrap();
        assert_eq!((vote.leader_id.term, vote.leader_id.voted_for), (3, 1 << 32));
        assert_eq!(encode_vote(&vote)[..], frozen);
    }
}
