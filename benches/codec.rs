//! How long it takes to read the hot requests and to write the hot replies.
//!
//! Criterion shows the mean; the worst of many single runs is printed beside it.

use std::hint::black_box;

use bytes::{Bytes, BytesMut};
use criterion::{Criterion, criterion_group, criterion_main};
use jute::reply::{Body, EventType, put_event, put_reply};
use jute::request::{
    Create, Multi, MultiOp, PathWatch, Request, RequestHeader, SetData, SetWatches2,
};
use jute::{
    Acl, Encode, OpCode, Perms, Stat, Version, Xid, Zxid, begin_frame, decode_all, end_frame,
    split_frame,
};

#[path = "support/mod.rs"]
mod support;

/// A path of 34 bytes, as long as those of real trees.
const PATH: &str = "/services/orders/instances/node-01";
/// Bytes before the body of a request.
const HEADER_BYTES: usize = 8;

/// A frame with a request in it, as it comes from a client.
fn request(op: OpCode, body: &impl Encode) -> BytesMut {
    let mut out = BytesMut::new();
    let start = begin_frame(&mut out);
    RequestHeader { xid: Xid(7), op: op as i32 }.encode(&mut out);
    body.encode(&mut out);
    end_frame(&mut out, start);
    out
}

/// Splits the frame off a stream and reads what is in it.
#[allow(clippy::expect_used, reason = "the request was written above")]
fn read(stream: &BytesMut) -> Request {
    let frame = split_frame(&mut stream.clone(), 1_048_575).expect("a length").expect("a frame");
    let header: RequestHeader = decode_all(&frame).expect("a header");
    let op = OpCode::from_number(header.op).expect("an operation");
    Request::decode(op, &frame.slice(HEADER_BYTES..)).expect("a request")
}

fn requests(c: &mut Criterion) {
    let path = Some(PATH.to_owned());
    let data = Some(Bytes::from(vec![b'x'; 100]));
    let watched = PathWatch { path: path.clone(), watch: true };
    let set = SetData { path: path.clone(), data: data.clone(), version: Version::ANY };
    let acl = Some(vec![Acl::anyone(Perms::ALL)]);
    let create = Create { path: path.clone(), data, acl, flags: 0 };
    let multi = Multi::Ops(vec![MultiOp::SetData(set.clone()); 10]);
    let watches = Some(vec![path; 100]);
    let set_watches = SetWatches2 { data_watches: watches.clone(), ..SetWatches2::default() };
    let cases = [
        ("get_data", request(OpCode::GetData, &watched)),
        ("set_data_100_bytes", request(OpCode::SetData, &set)),
        ("create_100_bytes", request(OpCode::Create, &create)),
        ("multi_of_10", request(OpCode::Multi, &multi)),
        ("set_watches_of_100", request(OpCode::SetWatches2, &set_watches)),
    ];
    for (name, stream) in cases {
        let name = format!("codec/read/{name}");
        support::worst(&name, || drop(black_box(read(black_box(&stream)))));
        c.bench_function(&name, |b| b.iter(|| read(black_box(&stream))));
    }
}

fn replies(c: &mut Criterion) {
    let stat = Stat { data_length: 100, ..Stat::default() };
    let names: Vec<String> = (0..100).map(|number| format!("child-{number:04}")).collect();
    let cases = [
        ("ping", Body::Empty),
        ("stat", Body::Stat(stat.clone())),
        ("data_100_bytes", Body::Data(Some(Bytes::from(vec![b'x'; 100])), stat.clone())),
        ("children_100", Body::PathsStat(names, stat)),
    ];
    let mut out = BytesMut::with_capacity(64 * 1_024);
    for (name, body) in cases {
        let name = format!("codec/write/{name}");
        let outcome = Ok(body);
        let mut write = || {
            out.clear();
            put_reply(&mut out, Xid(7), Zxid(9), black_box(&outcome));
            black_box(out.len());
        };
        support::worst(&name, &mut write);
        c.bench_function(&name, |b| b.iter(&mut write));
    }
    let mut notify = || {
        out.clear();
        put_event(&mut out, Zxid(9), EventType::NodeDataChanged, black_box(PATH));
        black_box(out.len());
    };
    support::worst("codec/write/notification", &mut notify);
    c.bench_function("codec/write/notification", |b| b.iter(&mut notify));
}

criterion_group!(benches, requests, replies);
criterion_main!(benches);
