//! Sockets: listening, accepting within limits, and the signal to stop.
//!
//! Knows nothing of what is said over a connection. The only room that names `tokio::net`.

mod listener;

pub use listener::{Accepted, BindError, Limits, Listener, Place, ReadHalf, Reserved, Stream};
