//! What servers say to one another: greetings, questions and answers, in our own encoding.
//!
//! openraft's types never travel as such, since they change between its releases. A frame is one
//! message; its first byte says which. Entries travel as they lie on disk.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use jute::SessionId;
use openraft::entry::RaftEntry as _;
use openraft::raft::StreamAppendError;

use super::reconfig::Reconfiguration;
use super::types::{
    Entry, LogId, TypeConfig, Unreadable, Vote, decode_entry, decode_log_id, decode_vote,
    encode_vote, put_entry, put_log_id, unreadable,
};

/// The first bytes of every greeting.
const MAGIC: u32 = 0x524f_4f4b;
/// The version of everything in this file. Servers of different versions do not talk.
const PROTOCOL: u16 = 1;

/// What a connection is for. Each kind has one of its own, so that none waits behind another.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u8)]
pub(super) enum Purpose {
    /// Entries, heartbeats, votes, questions.
    Questions = 1,
    /// Submissions on their way to the leader.
    Lane = 2,
    /// A snapshot.
    Snapshot = 3,
    /// Questions of a server that is no member yet.
    Introduction = 4,
}

/// The first frame of whoever connects.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Greeting {
    pub(super) purpose: Purpose,
    /// The ensemble; 0 for one that has none yet.
    pub(super) cluster: u64,
    /// Who connects; 0 for one that has no name yet.
    pub(super) from: u64,
    /// Who is meant to answer; 0 for anybody at that address.
    pub(super) to: u64,
}

/// A question.
#[derive(Clone, Debug)]
pub(super) enum Ask {
    Append {
        vote: Vote,
        prev: Option<LogId>,
        commit: Option<LogId>,
        entries: Vec<Entry>,
    },
    Vote {
        vote: Vote,
        last: Option<LogId>,
        is_transfer: bool,
        is_trial: bool,
    },
    Transfer {
        from: Vote,
        to: u64,
        last: Option<LogId>,
    },
    /// Sessions that were heard of.
    Touch(Vec<SessionId>),
    /// Up to which entry everything that was ever answered is.
    ReadIndex,
    /// To change the members.
    Reconfigure(Reconfiguration),
    /// What a server is to an ensemble.
    Standing,
    /// To be a member of the ensemble `cluster` from its first entry on, whose servers are these.
    Found {
        cluster: u64,
        servers: String,
    },
    /// To be taken in as server `my_id`, with this line.
    Join {
        my_id: u64,
        line: String,
    },
}

/// What became of entries.
pub(super) type Appended = Result<Option<LogId>, StreamAppendError<TypeConfig>>;

/// An answer.
#[derive(Clone, Debug)]
pub(super) enum Answer {
    Appended(Appended),
    Voted {
        vote: Vote,
        is_granted: bool,
        last: Option<LogId>,
    },
    Done,
    Index(u64),
    /// The ensemble and the name of a server, 0 where it has none; who leads, if it knows; whether
    /// anything was ever written.
    Standing {
        cluster: u64,
        node: u64,
        leader: u64,
    },
    /// The name under which a server is taken in.
    Joined {
        cluster: u64,
        node: u64,
    },
    /// It cannot be done, and why.
    Refused(String),
    /// It cannot be done, and what the client is told.
    Failed(i32),
}

mod tag {
    pub(super) const APPEND: u8 = 1;
    pub(super) const VOTE: u8 = 2;
    pub(super) const TRANSFER: u8 = 3;
    pub(super) const TOUCH: u8 = 4;
    pub(super) const READ_INDEX: u8 = 5;
    pub(super) const STANDING: u8 = 6;
    pub(super) const FOUND: u8 = 7;
    pub(super) const JOIN: u8 = 8;
    pub(super) const RECONFIGURE: u8 = 9;

    pub(super) const APPENDED: u8 = 101;
    pub(super) const CONFLICT: u8 = 102;
    pub(super) const HIGHER_VOTE: u8 = 103;
    pub(super) const VOTED: u8 = 104;
    pub(super) const DONE: u8 = 105;
    pub(super) const INDEX: u8 = 106;
    pub(super) const IS: u8 = 107;
    pub(super) const JOINED: u8 = 108;
    pub(super) const REFUSED: u8 = 109;
    pub(super) const FAILED: u8 = 110;
}

/// A message that cannot be read.
fn bad(problem: impl Into<String>) -> Unreadable {
    unreadable("message of another server", problem)
}

fn short<E>(_: E) -> Unreadable {
    bad("it ends too early")
}

fn put_text(text: &str, out: &mut BytesMut) {
    out.put_u32(text.len() as u32);
    out.put_slice(text.as_bytes());
}

fn text(rest: &mut Bytes) -> Result<String, Unreadable> {
    let length = rest.try_get_u32().map_err(short)? as usize;
    if rest.len() < length {
        return Err(bad("a text ends too early"));
    }
    String::from_utf8(rest.split_to(length).to_vec()).map_err(|error| bad(error.to_string()))
}

fn flag(rest: &mut Bytes) -> Result<bool, Unreadable> {
    Ok(rest.try_get_u8().map_err(short)? != 0)
}

fn number(rest: &mut Bytes) -> Result<u64, Unreadable> {
    rest.try_get_u64().map_err(short)
}

fn put_vote(vote: &Vote, out: &mut BytesMut) {
    out.put_slice(&encode_vote(vote));
}

fn vote(rest: &mut Bytes) -> Result<Vote, Unreadable> {
    const BYTES: usize = 17;
    if rest.len() < BYTES {
        return Err(bad("a vote ends too early"));
    }
    decode_vote(rest.split_to(BYTES))
}

impl Greeting {
    pub(super) fn encode(&self) -> Bytes {
        let mut out = BytesMut::new();
        out.put_u32(MAGIC);
        out.put_u16(PROTOCOL);
        out.put_u8(self.purpose as u8);
        out.put_u64(self.cluster);
        out.put_u64(self.from);
        out.put_u64(self.to);
        out.freeze()
    }

    pub(super) fn decode(mut rest: Bytes) -> Result<Greeting, Unreadable> {
        if rest.try_get_u32().map_err(short)? != MAGIC {
            return Err(bad("it is no greeting of a Rookeeper server"));
        }
        let protocol = rest.try_get_u16().map_err(short)?;
        if protocol != PROTOCOL {
            return Err(bad(format!("it speaks version {protocol}, this server {PROTOCOL}")));
        }
        let purpose = match rest.try_get_u8().map_err(short)? {
            1 => Purpose::Questions,
            2 => Purpose::Lane,
            3 => Purpose::Snapshot,
            4 => Purpose::Introduction,
            other => return Err(bad(format!("a connection for purpose {other}"))),
        };
        let (cluster, from) = (number(&mut rest)?, number(&mut rest)?);
        Ok(Greeting { purpose, cluster, from, to: number(&mut rest)? })
    }
}

impl Ask {
    pub(super) fn encode(&self) -> Bytes {
        let mut out = BytesMut::new();
        match self {
            Ask::Append { vote, prev, commit, entries } => {
                put_append(vote, prev.as_ref(), commit.as_ref(), entries, &mut out);
            }
            Ask::Vote { vote, last, is_transfer, is_trial } => {
                out.put_u8(tag::VOTE);
                put_vote(vote, &mut out);
                put_log_id(last.as_ref(), &mut out);
                out.put_u8(u8::from(*is_transfer));
                out.put_u8(u8::from(*is_trial));
            }
            Ask::Transfer { from, to, last } => {
                out.put_u8(tag::TRANSFER);
                put_vote(from, &mut out);
                out.put_u64(*to);
                put_log_id(last.as_ref(), &mut out);
            }
            Ask::Touch(sessions) => {
                out.put_u8(tag::TOUCH);
                for session in sessions {
                    out.put_i64(session.0);
                }
            }
            Ask::ReadIndex => out.put_u8(tag::READ_INDEX),
            Ask::Reconfigure(wish) => put_reconfiguration(wish, &mut out),
            Ask::Standing => out.put_u8(tag::STANDING),
            Ask::Found { cluster, servers } => {
                out.put_u8(tag::FOUND);
                out.put_u64(*cluster);
                put_text(servers, &mut out);
            }
            Ask::Join { my_id, line } => {
                out.put_u8(tag::JOIN);
                out.put_u64(*my_id);
                put_text(line, &mut out);
            }
        }
        out.freeze()
    }

    pub(super) fn decode(mut rest: Bytes) -> Result<Ask, Unreadable> {
        Ok(match rest.try_get_u8().map_err(short)? {
            tag::APPEND => append(&mut rest)?,
            tag::VOTE => Ask::Vote {
                vote: vote(&mut rest)?,
                last: decode_log_id(&mut rest)?,
                is_transfer: flag(&mut rest)?,
                is_trial: flag(&mut rest)?,
            },
            tag::TRANSFER => Ask::Transfer {
                from: vote(&mut rest)?,
                to: number(&mut rest)?,
                last: decode_log_id(&mut rest)?,
            },
            tag::TOUCH => {
                let mut sessions = Vec::with_capacity(rest.len() / size_of::<i64>());
                while rest.has_remaining() {
                    sessions.push(SessionId(rest.try_get_i64().map_err(short)?));
                }
                Ask::Touch(sessions)
            }
            tag::READ_INDEX => Ask::ReadIndex,
            tag::RECONFIGURE => Ask::Reconfigure(reconfiguration(&mut rest)?),
            tag::STANDING => Ask::Standing,
            tag::FOUND => Ask::Found { cluster: number(&mut rest)?, servers: text(&mut rest)? },
            tag::JOIN => Ask::Join { my_id: number(&mut rest)?, line: text(&mut rest)? },
            other => return Err(bad(format!("question {other} is unknown"))),
        })
    }
}

fn put_reconfiguration(wish: &Reconfiguration, out: &mut BytesMut) {
    out.put_u8(tag::RECONFIGURE);
    for part in [&wish.joining, &wish.leaving, &wish.members] {
        out.put_u8(u8::from(part.is_some()));
        put_text(part.as_deref().unwrap_or_default(), out);
    }
    out.put_i64(wish.from_version);
    out.put_u8(u8::from(wish.is_permitted));
}

fn reconfiguration(rest: &mut Bytes) -> Result<Reconfiguration, Unreadable> {
    let mut part = || {
        let is_there = flag(rest)?;
        text(rest).map(|text| is_there.then_some(text))
    };
    let (joining, leaving, members) = (part()?, part()?, part()?);
    let from_version = rest.try_get_i64().map_err(short)?;
    let is_permitted = flag(rest)?;
    Ok(Reconfiguration { joining, leaving, members, from_version, is_permitted })
}

/// Writes a request to append without having to own its entries.
pub(super) fn put_append(
    vote: &Vote,
    prev: Option<&LogId>,
    commit: Option<&LogId>,
    entries: &[Entry],
    out: &mut BytesMut,
) {
    out.put_u8(tag::APPEND);
    put_vote(vote, out);
    put_log_id(prev, out);
    put_log_id(commit, out);
    for entry in entries {
        out.put_u64(entry.index());
        let length_at = out.len();
        out.put_u32(0);
        put_entry(entry, out);
        let length = (out.len() - length_at - size_of::<u32>()) as u32;
        if let Some(place) = out.get_mut(length_at..length_at + size_of::<u32>()) {
            place.copy_from_slice(&length.to_be_bytes());
        }
    }
}

fn append(rest: &mut Bytes) -> Result<Ask, Unreadable> {
    let vote = vote(rest)?;
    let (prev, commit) = (decode_log_id(rest)?, decode_log_id(rest)?);
    let mut entries = Vec::new();
    while rest.has_remaining() {
        let index = number(rest)?;
        let length = rest.try_get_u32().map_err(short)? as usize;
        if rest.len() < length {
            return Err(bad("an entry ends too early"));
        }
        entries.push(decode_entry(index, &rest.split_to(length))?);
    }
    Ok(Ask::Append { vote, prev, commit, entries })
}

impl Answer {
    pub(super) fn encode(&self) -> Bytes {
        let mut out = BytesMut::new();
        match self {
            Answer::Appended(Ok(last)) => {
                out.put_u8(tag::APPENDED);
                put_log_id(last.as_ref(), &mut out);
            }
            Answer::Appended(Err(StreamAppendError::Conflict(id))) => {
                out.put_u8(tag::CONFLICT);
                put_log_id(Some(id), &mut out);
            }
            Answer::Appended(Err(StreamAppendError::HigherVote(vote))) => {
                out.put_u8(tag::HIGHER_VOTE);
                put_vote(vote, &mut out);
            }
            Answer::Voted { vote, is_granted, last } => {
                out.put_u8(tag::VOTED);
                put_vote(vote, &mut out);
                out.put_u8(u8::from(*is_granted));
                put_log_id(last.as_ref(), &mut out);
            }
            Answer::Done => out.put_u8(tag::DONE),
            Answer::Index(index) => {
                out.put_u8(tag::INDEX);
                out.put_u64(*index);
            }
            Answer::Standing { cluster, node, leader } => {
                out.put_u8(tag::IS);
                out.put_u64(*cluster);
                out.put_u64(*node);
                out.put_u64(*leader);
            }
            Answer::Joined { cluster, node } => {
                out.put_u8(tag::JOINED);
                out.put_u64(*cluster);
                out.put_u64(*node);
            }
            Answer::Failed(code) => {
                out.put_u8(tag::FAILED);
                out.put_i32(*code);
            }
            Answer::Refused(why) => {
                out.put_u8(tag::REFUSED);
                put_text(why, &mut out);
            }
        }
        out.freeze()
    }

    pub(super) fn decode(mut rest: Bytes) -> Result<Answer, Unreadable> {
        Ok(match rest.try_get_u8().map_err(short)? {
            tag::APPENDED => Answer::Appended(Ok(decode_log_id(&mut rest)?)),
            tag::CONFLICT => match decode_log_id(&mut rest)? {
                Some(id) => Answer::Appended(Err(StreamAppendError::Conflict(id))),
                None => return Err(bad("a conflict with nothing")),
            },
            tag::HIGHER_VOTE => {
                Answer::Appended(Err(StreamAppendError::HigherVote(vote(&mut rest)?)))
            }
            tag::VOTED => Answer::Voted {
                vote: vote(&mut rest)?,
                is_granted: flag(&mut rest)?,
                last: decode_log_id(&mut rest)?,
            },
            tag::DONE => Answer::Done,
            tag::INDEX => Answer::Index(number(&mut rest)?),
            tag::IS => Answer::Standing {
                cluster: number(&mut rest)?,
                node: number(&mut rest)?,
                leader: number(&mut rest)?,
            },
            tag::JOINED => Answer::Joined { cluster: number(&mut rest)?, node: number(&mut rest)? },
            tag::REFUSED => Answer::Refused(text(&mut rest)?),
            tag::FAILED => Answer::Failed(rest.try_get_i32().map_err(short)?),
            other => return Err(bad(format!("answer {other} is unknown"))),
        })
    }
}

/// Writes submissions, each as it lies in a batch, for a frame of the lane.
pub(super) fn put_submission(submission: &[u8], out: &mut BytesMut) {
    out.put_u32(submission.len() as u32);
    out.put_slice(submission);
}

/// Reads the submissions of a frame of the lane.
pub(super) fn submissions(mut rest: Bytes) -> Result<Vec<Bytes>, Unreadable> {
    let mut submissions = Vec::new();
    while rest.has_remaining() {
        let length = rest.try_get_u32().map_err(short)? as usize;
        if rest.len() < length {
            return Err(bad("a submission ends too early"));
        }
        submissions.push(rest.split_to(length));
    }
    Ok(submissions)
}

#[cfg(test)]
mod tests;
