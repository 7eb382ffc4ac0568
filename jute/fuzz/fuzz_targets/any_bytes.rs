//! Any bytes, as a stranger may send them: nothing panics, and what can be read can be written again
//! and is then read as the same.
#![no_main]

use bytes::{Bytes, BytesMut};
use jute::reply::{
    ConnectResponse, GetAclReply, GetChildren2Reply, GetDataReply, ReplyHeader, WatcherEvent,
};
use jute::request::{
    Auth, ConnectRequest, Create, CreateTtl, Multi, PathWatch, Reconfig, Request, RequestHeader,
    SetAcl, SetData, SetWatches2,
};
use jute::{Decode, Encode, OPCODES, decode_all, split_frame};
use libfuzzer_sys::fuzz_target;

/// The frame limit; small, so that it is reached.
const PAYLOAD_BYTES_MAX: usize = 4_096;
/// Bytes before the body of a request.
const HEADER_BYTES: usize = 8;

fuzz_target!(|bytes: &[u8]| {
    let whole = Bytes::copy_from_slice(bytes);
    records(&whole);
    requests(&whole);
    let mut stream = BytesMut::from(bytes);
    while let Ok(Some(frame)) = split_frame(&mut stream, PAYLOAD_BYTES_MAX) {
        assert!(frame.len() <= PAYLOAD_BYTES_MAX);
        records(&frame);
        if decode_all::<RequestHeader>(&frame).is_ok() {
            requests(&frame.slice(HEADER_BYTES..));
        }
    }
});

/// Reads a body as every operation's.
fn requests(body: &Bytes) {
    for &(op, ..) in OPCODES {
        let _ = Request::decode(op, body);
    }
}

/// Reads the bytes as records of many shapes.
fn records(bytes: &Bytes) {
    comes_back::<RequestHeader>(bytes);
    comes_back::<ConnectRequest>(bytes);
    comes_back::<ConnectResponse>(bytes);
    comes_back::<Create>(bytes);
    comes_back::<CreateTtl>(bytes);
    comes_back::<SetData>(bytes);
    comes_back::<SetAcl>(bytes);
    comes_back::<PathWatch>(bytes);
    comes_back::<SetWatches2>(bytes);
    comes_back::<Reconfig>(bytes);
    comes_back::<Auth>(bytes);
    comes_back::<Multi>(bytes);
    comes_back::<ReplyHeader>(bytes);
    comes_back::<WatcherEvent>(bytes);
    comes_back::<GetDataReply>(bytes);
    comes_back::<GetAclReply>(bytes);
    comes_back::<GetChildren2Reply>(bytes);
}

/// Asserts that what can be read is the same after it was written and read again.
fn comes_back<T: Decode + Encode + PartialEq + std::fmt::Debug>(bytes: &Bytes) {
    let Ok(value) = decode_all::<T>(bytes) else { return };
    let mut out = BytesMut::new();
    value.encode(&mut out);
    assert_eq!(decode_all::<T>(&out.freeze()), Ok(value));
}
