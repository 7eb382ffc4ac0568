//! Where the requests of a connection come from: ready frames in turn, or new nodes.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use jute::{Encode, OpCode, Xid};

use crate::session::{PERSISTENT, create, put_request};

/// Where the xid stands in a frame.
const XID_BYTES: std::ops::Range<usize> = 4..8;

/// An endless supply of requests.
pub(crate) enum Requests {
    /// The same frames again and again, only with other xids.
    Cycle {
        /// The frames.
        frames: Arc<[Bytes]>,
        /// Which is next.
        next: usize,
    },
    /// Creations of ever new nodes.
    Creations {
        /// The parent.
        folder: String,
        /// The data.
        data: Bytes,
        /// How many there were.
        made: u64,
    },
}

/// A frame for [`Requests::Cycle`].
pub(crate) fn frame(op: OpCode, body: &impl Encode) -> Bytes {
    let mut out = BytesMut::new();
    put_request(&mut out, Xid::default(), op, body);
    out.freeze()
}

/// The path of the node that was created as number `number` in `folder`.
pub(crate) fn created_path(folder: &str, number: u64) -> String {
    format!("{folder}/n-{number:010}")
}

impl Requests {
    /// Appends the next request.
    pub(crate) fn put(&mut self, out: &mut BytesMut, xid: Xid) {
        match self {
            Requests::Cycle { frames, next } => {
                let Some(frame) = frames.get(*next) else {
                    *next = 0;
                    assert!(!frames.is_empty(), "a cycle has at least one request");
                    return self.put(out, xid);
                };
                let start = out.len();
                out.extend_from_slice(frame);
                if let Some(place) = out.get_mut(start..).and_then(|new| new.get_mut(XID_BYTES)) {
                    place.copy_from_slice(&xid.0.to_be_bytes());
                }
                *next += 1;
            }
            Requests::Creations { folder, data, made } => {
                let path = created_path(folder, *made);
                put_request(out, xid, OpCode::Create, &create(&path, data, PERSISTENT));
                *made += 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::read;

    #[test]
    fn a_cycle_starts_again_and_gives_every_request_its_own_xid() {
        let frames = ["/a", "/b"].map(|path| frame(OpCode::GetData, &read(path, false)));
        let mut requests = Requests::Cycle { frames: Arc::from(frames), next: 0 };
        let mut found = BytesMut::new();
        let mut expected = BytesMut::new();
        for (number, path) in ["/a", "/b", "/a"].into_iter().enumerate() {
            requests.put(&mut found, Xid(number as i32 + 7));
            put_request(&mut expected, Xid(number as i32 + 7), OpCode::GetData, &read(path, false));
        }
        assert_eq!(found, expected);
    }
}
