//! Plays scripts against a server of a few lines that lives in memory: no socket, no clock.
//!
//! It shows that [`Engine`] and [`Wire`] ask for no more than that, and what a transcript tells
//! when a server misbehaves in a known way.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use jute::reply::{Body, ConnectResponse, EventType, put_connect_response, put_event, put_reply};
use jute::request::{ConnectRequest, PathOnly, RequestHeader};
use jute::{Decode, ErrorCode, decode_all};

use super::*;

/// What all connections share: zxid, sessions, and whom to tell of writes.
#[derive(Default)]
struct State {
    zxid: i64,
    sessions_opened: i64,
    restarts: u32,
    outboxes: BTreeMap<i64, Rc<RefCell<BytesMut>>>,
    /// Replies to `sync` come in the wrong order.
    swaps: bool,
}

#[derive(Clone, Default)]
struct Memory {
    state: Rc<RefCell<State>>,
}

struct MemoryWire {
    state: Rc<RefCell<State>>,
    inbox: BytesMut,
    outbox: Rc<RefCell<BytesMut>>,
    session: i64,
    is_closed: bool,
    restarts: u32,
    held_back: Option<(Xid, Zxid)>,
}

impl Engine for Memory {
    fn dial(&mut self) -> Result<Box<dyn Wire>> {
        Ok(Box::new(MemoryWire {
            state: Rc::clone(&self.state),
            inbox: BytesMut::new(),
            outbox: Rc::default(),
            session: 0,
            is_closed: false,
            restarts: self.state.borrow().restarts,
            held_back: None,
        }))
    }

    fn restart(&mut self, _: Down) -> Result<()> {
        let mut state = self.state.borrow_mut();
        state.restarts += 1;
        state.outboxes.clear();
        state.zxid = ((state.zxid >> 32) + 1) << 32;
        Ok(())
    }

    fn wait(&mut self, _: Duration) {}
}

impl MemoryWire {
    fn handle(&mut self, frame: &Bytes) {
        let mut state = self.state.borrow_mut();
        let mut out = self.outbox.borrow_mut();
        if self.session == 0 {
            let request: ConnectRequest = decode_all(frame).unwrap();
            let is_new = request.session_id == SessionId::NONE;
            if is_new {
                state.zxid += 1;
                state.sessions_opened += 1;
            }
            self.session = if is_new { state.sessions_opened } else { request.session_id.0 };
            let response = ConnectResponse {
                timeout_ms: request.timeout_ms,
                session_id: SessionId(self.session),
                password: [7; 16],
                read_only: request.read_only.map(|_| false),
                ..ConnectResponse::default()
            };
            put_connect_response(&mut out, &response);
            state.outboxes.insert(self.session, Rc::clone(&self.outbox));
            return;
        }
        let (_, header) = RequestHeader::decode(frame, frame).unwrap();
        let body = frame.slice(8..);
        let op = OpCode::from_number(header.op);
        if matches!(op, Some(OpCode::Create | OpCode::CloseSession)) {
            state.zxid += 1;
        }
        let zxid = Zxid(state.zxid);
        let path = |body: &Bytes| decode_all::<PathOnly>(body).unwrap().path;
        match op {
            Some(OpCode::Create) => {
                for (session, outbox) in &state.outboxes {
                    if *session != self.session {
                        let path = path(&body).unwrap();
                        put_event(&mut outbox.borrow_mut(), zxid, EventType::NodeCreated, &path);
                    }
                }
                put_reply(&mut out, header.xid, zxid, &Ok(Body::Path(path(&body))));
            }
            Some(OpCode::Sync) if state.swaps && self.held_back.is_none() => {
                self.held_back = Some((header.xid, zxid));
            }
            Some(OpCode::Sync) => {
                put_reply(&mut out, header.xid, zxid, &Ok(Body::Path(path(&body))));
                if let Some((xid, zxid)) = self.held_back.take() {
                    put_reply(&mut out, xid, zxid, &Ok(Body::Path(None)));
                }
            }
            Some(OpCode::Ping | OpCode::Auth) => {
                put_reply(&mut out, header.xid, zxid, &Ok(Body::Empty));
            }
            Some(OpCode::CloseSession) => {
                put_reply(&mut out, header.xid, zxid, &Ok(Body::Empty));
                state.outboxes.remove(&self.session);
                self.is_closed = true;
            }
            _ => put_reply(&mut out, header.xid, zxid, &Err(ErrorCode::NoNode)),
        }
    }
}

impl Wire for MemoryWire {
    fn send(&mut self, bytes: &[u8]) {
        self.inbox.extend_from_slice(bytes);
        while let Some(frame) = split_frame(&mut self.inbox, 0xfffff).unwrap() {
            if !self.is_closed {
                self.handle(&frame);
            }
        }
    }

    fn receive(&mut self, buffer: &mut BytesMut, _: Duration) -> Received {
        let is_over = self.is_closed || self.restarts != self.state.borrow().restarts;
        let mut outbox = self.outbox.borrow_mut();
        if !outbox.is_empty() {
            buffer.extend_from_slice(&outbox.split());
            return Received::Bytes;
        }
        if is_over { Received::End } else { Received::Nothing }
    }
}

fn told(engine: &mut Memory, text: &str) -> Vec<String> {
    let script = Script::parse("test", &format!("# T.\n{text}")).unwrap();
    let played = play(&script, engine, "/base").unwrap();
    assert!(played.is_clean);
    played.transcripts.concat()
}

#[test]
fn a_step_tells_replies_and_what_others_were_told_because_of_it() {
    let told = told(
        &mut Memory::default(),
        "s1 connect\n\ns2 connect readOnly=none\n\ns2 create ~/a\n\ns2 close\n\ns1 ping\n",
    );
    assert_eq!(
        told,
        [
            "s1 connect ok timeout=10000 session=new password=16-bytes readOnly=0",
            "s2 connect ok timeout=10000 session=new password=16-bytes readOnly=none",
            "s1 event NodeCreated ~/a z3",
            "s2 create ok z3 ~/a",
            "s2 close ok z4",
            "s2 closed",
            "s1 ping ok z4",
        ]
    );
}

#[test]
fn a_reply_out_of_order_is_told_by_its_xid() {
    let mut engine = Memory::default();
    engine.state.borrow_mut().swaps = true;
    let told = told(&mut engine, "s1 connect\n\ns1 sync ~/a\ns1 sync ~/b\n");
    assert_eq!(told[1..], ["s1 sync xid=2 ok z1 ~/b", "s1 sync ok z1 null"]);
}

#[test]
fn after_a_restart_connections_are_closed_and_zxids_have_a_prime() {
    let told = told(
        &mut Memory::default(),
        "s1 connect\n\ns1 create ~/a\n\nserver restart\n\ns1 connect session=s1\n\ns1 create ~/b\n",
    );
    assert_eq!(
        told[1..],
        [
            "s1 create ok z2 ~/a",
            "s1 closed",
            "s1 connect ok timeout=10000 session=s1 password=same readOnly=0",
            "s1 create ok z1' ~/b",
        ]
    );
}

#[test]
fn a_client_that_is_quiet_is_told_nothing_until_it_waits() {
    let told = told(
        &mut Memory::default(),
        "s1 connect\n\ns2 connect\n\ns1 quiet\n\ns2 create ~/a\n\ns1 await 1 within=10\n\n\
         s1 await 1 within=10\n",
    );
    assert_eq!(
        told[2..],
        ["s2 create ok z3 ~/a", "s1 event NodeCreated ~/a z3", "s1 hears no more"]
    );
}

#[test]
fn what_makes_no_sense_is_told_too() {
    let told =
        told(&mut Memory::default(), "s1 ping\n\ns1 connect session=s9\n\ns1 connect\ns1 tcp\n");
    assert_eq!(told[..2], ["s1 is not connected", "s1 cannot connect: no session is called 's9'"]);
    assert_eq!(told[2], "s1 is connected already");
}
