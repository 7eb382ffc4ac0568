//! Bytes on a socket, without any manners.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use bytes::{Bytes, BytesMut};
use compat_tests::control::now;
use jute::request::{ConnectRequest, RequestHeader};
use jute::{Encode, Xid, begin_frame, end_frame};

/// How long a socket may take for one step.
const STEP: Duration = Duration::from_secs(10);

/// A connection, without a session yet.
pub(crate) fn dial(port: u16) -> Result<TcpStream> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let stream = TcpStream::connect_timeout(&address, STEP)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(STEP))?;
    stream.set_write_timeout(Some(STEP))?;
    Ok(stream)
}

/// A connection with a session of this timeout.
pub(crate) fn handshake(port: u16, timeout_ms: i32) -> Result<TcpStream> {
    let mut stream = dial(port)?;
    stream.write_all(&handshake_bytes(timeout_ms))?;
    let mut answer = [0; 41];
    stream.read_exact(&mut answer).context("the handshake is not answered")?;
    Ok(stream)
}

/// The first frame of a client.
pub(crate) fn handshake_bytes(timeout_ms: i32) -> Vec<u8> {
    let password = Some(Bytes::from_static(&[0; 16]));
    let read_only = Some(false);
    let request = ConnectRequest { timeout_ms, password, read_only, ..ConnectRequest::default() };
    framed(|out| request.encode(out))
}

/// A frame.
pub(crate) fn framed(put: impl FnOnce(&mut BytesMut)) -> Vec<u8> {
    let mut out = BytesMut::new();
    let start = begin_frame(&mut out);
    put(&mut out);
    end_frame(&mut out, start);
    out.to_vec()
}

/// A request.
pub(crate) fn request(xid: i32, op: i32, body: &[u8]) -> Vec<u8> {
    framed(|out| {
        RequestHeader { xid: Xid(xid), op }.encode(out);
        out.extend_from_slice(body);
    })
}

/// The bytes of a record.
pub(crate) fn encoded(record: &impl Encode) -> Vec<u8> {
    let mut out = BytesMut::new();
    record.encode(&mut out);
    out.to_vec()
}

/// Sends what the server takes; that it closed the connection is its right.
pub(crate) fn send(stream: &mut TcpStream, bytes: &[u8]) {
    let _ = stream.write_all(bytes);
}

/// Reads to the end, which must come in time. Gives how many bytes came.
pub(crate) fn await_end(stream: &mut TcpStream, limit: Duration) -> Result<usize> {
    let deadline = now() + limit;
    let mut buffer = vec![0; 64 << 10];
    let mut count = 0;
    loop {
        let left = deadline.saturating_duration_since(now());
        ensure!(!left.is_zero(), "the server keeps the connection open");
        stream.set_read_timeout(Some(left))?;
        match stream.read(&mut buffer) {
            Ok(0) => return Ok(count),
            Ok(bytes) => count += bytes,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            // A reset is an end as well.
            Err(_) => return Ok(count),
        }
    }
}

/// Reads what is there, for so long at most.
pub(crate) fn drain(stream: &mut TcpStream, limit: Duration) {
    // What cannot be read any more is read.
    let _ = stream.set_read_timeout(Some(limit));
    let mut buffer = vec![0; 64 << 10];
    while stream.read(&mut buffer).is_ok_and(|bytes| bytes > 0) {}
}
