//! Frames: a four-byte big-endian length, then that many bytes of payload.
//!
//! The first frame of a client is a `ConnectRequest`, every later one a request header and a body.
//! This module never looks inside a payload.

use bytes::{BufMut, Bytes, BytesMut};

/// Bytes of the length in front of every payload.
const LENGTH_BYTES: usize = 4;

/// A length that no frame can have: negative, or above the limit in force.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("frame length {length} is outside 0..={payload_bytes_max} (jute.maxbuffer)")]
pub struct BadLength {
    /// The length that was read.
    pub length: i32,
    /// The limit it was compared with.
    pub payload_bytes_max: usize,
}

/// Splits one frame off the front of `buffer`, or returns `None` until all of it has arrived.
///
/// `payload_bytes_max` is `jute.maxbuffer`. It is compared before anything is reserved, so a
/// hostile length costs four bytes.
///
/// # Errors
///
/// [`BadLength`]: the stream cannot be read any further; close the connection.
///
/// Source: ZooKeeper, `NIOServerCnxn.readLength`.
///
/// ```
/// # use {bytes::BytesMut, jute::split_frame};
/// let mut buffer = BytesMut::from(&[0, 0, 0, 2, b'h', b'i', 0][..]);
/// assert_eq!(split_frame(&mut buffer, 1_048_575).unwrap().unwrap(), "hi");
/// assert_eq!(split_frame(&mut buffer, 1_048_575), Ok(None), "half a length is no frame");
/// ```
pub fn split_frame(
    buffer: &mut BytesMut,
    payload_bytes_max: usize,
) -> Result<Option<Bytes>, BadLength> {
    let Some(prefix) = buffer.first_chunk::<LENGTH_BYTES>() else {
        return Ok(None);
    };
    let length = i32::from_be_bytes(*prefix);
    let bad_length = BadLength { length, payload_bytes_max };
    let payload_bytes = usize::try_from(length).map_err(|_| bad_length)?;
    if payload_bytes > payload_bytes_max {
        return Err(bad_length);
    }
    let frame_bytes = LENGTH_BYTES + payload_bytes;
    if buffer.len() < frame_bytes {
        buffer.reserve(frame_bytes - buffer.len());
        return Ok(None);
    }
    let mut frame = buffer.split_to(frame_bytes).freeze();
    Ok(Some(frame.split_off(LENGTH_BYTES)))
}

/// Starts a frame at the end of `out`; write the payload, then call [`end_frame`] with the result.
pub fn begin_frame(out: &mut BytesMut) -> usize {
    let start = out.len();
    out.put_i32(0);
    start
}

/// Ends the frame that [`begin_frame`] started at `start` by filling in its length.
///
/// # Panics
///
/// If `start` did not come from [`begin_frame`] on the same buffer, or the payload exceeds 2 GiB.
pub fn end_frame(out: &mut BytesMut, start: usize) {
    let payload_bytes = out.len() - start - LENGTH_BYTES;
    assert!(i32::try_from(payload_bytes).is_ok(), "a frame holds at most 2 GiB");
    if let Some(prefix) = out.get_mut(start..start + LENGTH_BYTES) {
        prefix.copy_from_slice(&(payload_bytes as i32).to_be_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_at_the_limit_is_accepted_and_one_above_is_not() {
        let mut at_limit = BytesMut::from(&0xfffff_i32.to_be_bytes()[..]);
        let mut above = BytesMut::from(&0x10_0000_i32.to_be_bytes()[..]);
        let mut negative = BytesMut::from(&(-1_i32).to_be_bytes()[..]);

        assert_eq!(split_frame(&mut at_limit, 0xfffff), Ok(None));
        assert!(split_frame(&mut above, 0xfffff).is_err());
        assert!(split_frame(&mut negative, 0xfffff).is_err());
    }

    #[test]
    fn frames_come_out_one_by_one_whatever_the_cut() {
        let mut whole = BytesMut::new();
        for payload in [&b"one"[..], b"", b"three"] {
            let start = begin_frame(&mut whole);
            whole.put_slice(payload);
            end_frame(&mut whole, start);
        }
        for cut in 0..whole.len() {
            let mut buffer = BytesMut::from(&whole[..cut]);
            let mut frames = Vec::new();
            while let Some(frame) = split_frame(&mut buffer, 100).unwrap() {
                frames.push(frame);
            }
            buffer.extend_from_slice(&whole[cut..]);
            while let Some(frame) = split_frame(&mut buffer, 100).unwrap() {
                frames.push(frame);
            }
            assert_eq!(frames, ["one", "", "three"], "cut at {cut}");
        }
    }
}
