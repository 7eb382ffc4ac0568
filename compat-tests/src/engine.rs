//! What a script is played against: something that takes connections and can be restarted.
//!
//! [`Tcp`] is any server behind a socket. The core in memory can be an [`Engine`] too: its
//! [`Wire`] hands the bytes to a connection object, and its `wait` turns a clock by hand.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result};
use bytes::BytesMut;

use crate::script::Down;

/// How long a connection may take to open, and a write to be taken.
const IO_TIMEOUT: Duration = Duration::from_secs(5);

/// Bytes read at once.
const READ_BYTES: usize = 16 * 1024;

/// What a read brought.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Received {
    /// Bytes, appended to the buffer.
    Bytes,
    /// Nothing within the time.
    Nothing,
    /// The end: the server closed the connection.
    End,
}

/// One connection, seen by the client.
pub trait Wire {
    /// Sends bytes. A server that has closed the connection is no error: reading tells.
    fn send(&mut self, bytes: &[u8]);

    /// Appends to `buffer` what arrives within `wait`.
    fn receive(&mut self, buffer: &mut BytesMut, wait: Duration) -> Received;
}

/// A server, or what stands for one.
pub trait Engine {
    /// Opens a connection.
    ///
    /// # Errors
    ///
    /// The server does not accept it.
    fn dial(&mut self) -> Result<Box<dyn Wire>>;

    /// Takes the server down and brings it up with the same data.
    ///
    /// # Errors
    ///
    /// It did not come up, or this engine does not control its server.
    fn restart(&mut self, down: Down) -> Result<()>;

    /// Lets time pass.
    fn wait(&mut self, time: Duration);
}

/// A server that listens somewhere; somebody else starts and stops it.
#[derive(Debug)]
pub struct Tcp {
    address: SocketAddr,
}

impl Tcp {
    /// The server at `address`.
    pub fn new(address: SocketAddr) -> Tcp {
        Tcp { address }
    }
}

impl Engine for Tcp {
    fn dial(&mut self) -> Result<Box<dyn Wire>> {
        let stream = TcpStream::connect_timeout(&self.address, IO_TIMEOUT)
            .with_context(|| format!("connecting to {}", self.address))?;
        stream.set_nodelay(true)?;
        stream.set_write_timeout(Some(IO_TIMEOUT))?;
        Ok(Box::new(TcpWire { stream }))
    }

    fn restart(&mut self, _: Down) -> Result<()> {
        anyhow::bail!("the server at {} is not ours to restart", self.address)
    }

    fn wait(&mut self, time: Duration) {
        std::thread::sleep(time);
    }
}

struct TcpWire {
    stream: TcpStream,
}

impl Wire for TcpWire {
    fn send(&mut self, bytes: &[u8]) {
        // What fails here is seen as the end of the stream by the next read.
        let _ = self.stream.write_all(bytes);
    }

    fn receive(&mut self, buffer: &mut BytesMut, wait: Duration) -> Received {
        let mut bytes = [0; READ_BYTES];
        // A time-out of zero would mean none at all.
        let wait = wait.max(Duration::from_millis(1));
        if self.stream.set_read_timeout(Some(wait)).is_err() {
            return Received::End;
        }
        match self.stream.read(&mut bytes) {
            Ok(0) => Received::End,
            Ok(length) => {
                buffer.extend_from_slice(bytes.get(..length).unwrap_or_default());
                Received::Bytes
            }
            Err(error) => {
                let is_early = [ErrorKind::WouldBlock, ErrorKind::TimedOut, ErrorKind::Interrupted]
                    .contains(&error.kind());
                if is_early { Received::Nothing } else { Received::End }
            }
        }
    }
}
