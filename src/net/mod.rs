//! Sockets: listening, accepting within limits, and the signal to stop.
//!
//! Knows nothing of what is said over a connection. The only room that names `tokio::net`.

mod descriptors;
mod listener;
mod peer;

pub use descriptors::{connections_max, raise_descriptor_limit};
pub use listener::{
    Accepted, BindError, Limits, Listener, Place, ReadHalf, Reserved, Stream, WriteHalf,
};
pub use peer::{PeerListener, PeerStream, admit_large_frames, connect_peer};
