//! Tests of what servers say to one another.

use openraft::EntryPayload;

use super::*;
use crate::raft::types::{Payload, log_id};
use crate::tree::{Admission, Batch, Origin, Submission, Write};

fn entry(index: u64) -> Entry {
    let write = Write::CloseSession { expired_holder: None };
    let admission = Admission::internal();
    let submission = Submission { origin: Origin::default(), admission, write };
    let batch = Batch { time_ms: 5, submissions: vec![submission; index as usize] };
    Entry { log_id: log_id(3, index), payload: EntryPayload::Normal(Payload::new(&batch)) }
}

fn asks() -> Vec<Ask> {
    let vote = Vote::new_committed(7, 3 << 32);
    let last = Some(log_id(6, 99));
    let wish = Reconfiguration {
        joining: Some("server.4=d:1:2;3".to_owned()),
        leaving: None,
        members: Some(String::new()),
        from_version: -1,
        is_permitted: true,
    };
    vec![
        Ask::Append { vote, prev: last, commit: None, entries: vec![entry(1), entry(2)] },
        Ask::Append { vote, prev: None, commit: last, entries: Vec::new() },
        Ask::Vote { vote, last, is_transfer: true, is_trial: false },
        Ask::Transfer { from: vote, to: 9, last: None },
        Ask::Touch(vec![SessionId(-1), SessionId(7)]),
        Ask::ReadIndex,
        Ask::Reconfigure(wish),
        Ask::Standing,
        Ask::Found { cluster: 5, servers: "server.1=a:1:2\n".to_owned() },
        Ask::Join { my_id: 2, line: "ä:1:2".to_owned() },
    ]
}

fn answers() -> Vec<Answer> {
    let vote = Vote::new(7, 3 << 32);
    let id = log_id(6, 99);
    vec![
        Answer::Appended(Ok(Some(id))),
        Answer::Appended(Ok(None)),
        Answer::Appended(Err(StreamAppendError::Conflict(id))),
        Answer::Appended(Err(StreamAppendError::HigherVote(vote))),
        Answer::Voted { vote, is_granted: true, last: Some(id) },
        Answer::Done,
        Answer::Index(5),
        Answer::Standing { cluster: 1, node: 2, leader: 3 },
        Answer::Joined { cluster: 1, node: 2 },
        Answer::Refused("not now".to_owned()),
        Answer::Failed(-13),
    ]
}

#[test]
fn every_question_and_answer_arrives_as_it_was_sent() {
    for ask in asks() {
        let bytes = ask.encode();
        assert_eq!(Ask::decode(bytes.clone()).unwrap().encode(), bytes, "{ask:?}");
    }
    for answer in answers() {
        let bytes = answer.encode();
        assert_eq!(Answer::decode(bytes.clone()).unwrap().encode(), bytes, "{answer:?}");
    }
}

#[test]
fn what_is_cut_short_is_refused_or_says_less() {
    let check = |whole: &Bytes, cut: Bytes, again: Result<Bytes, Unreadable>| {
        // Lists may end anywhere between two of their elements.
        assert!(again.is_err() || again.is_ok_and(|again| again == cut && again != whole));
    };
    for bytes in asks().iter().map(Ask::encode) {
        for length in 0..bytes.len() {
            let cut = bytes.slice(..length);
            check(&bytes, cut.clone(), Ask::decode(cut).map(|ask| ask.encode()));
        }
    }
    for bytes in answers().iter().map(Answer::encode) {
        for length in 0..bytes.len() {
            let cut = bytes.slice(..length);
            // A text knows its length, and a number has one.
            assert!(Answer::decode(cut).is_err(), "{bytes:?} cut at {length}");
        }
    }
}

#[test]
fn strangers_are_told_apart_by_their_first_bytes() {
    let greeting = Greeting { purpose: Purpose::Lane, cluster: 1, from: 2, to: 3 };
    let bytes = greeting.encode();
    assert_eq!(Greeting::decode(bytes.clone()).unwrap(), greeting);
    let changed = |at: usize, byte: u8| {
        let mut bytes = bytes.to_vec();
        bytes[at] = byte;
        Greeting::decode(bytes.into()).unwrap_err().to_string()
    };
    assert!(changed(0, b'x').contains("no greeting"));
    assert!(changed(5, 9).contains("version 9"));
    assert!(changed(6, 9).contains("purpose 9"));
    assert!(Greeting::decode(Bytes::from_static(b"ruok")).is_err());
}

#[test]
fn submissions_of_a_frame_stay_apart() {
    let mut frame = BytesMut::new();
    for one in [&b"one"[..], b"", b"three"] {
        put_submission(one, &mut frame);
    }
    let frame = frame.freeze();
    let parts = submissions(frame.clone()).unwrap();
    assert_eq!(parts, [&b"one"[..], b"", b"three"]);
    assert!(submissions(frame.slice(..frame.len() - 1)).is_err());
}
