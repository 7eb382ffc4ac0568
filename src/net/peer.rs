//! Connections between the servers of an ensemble: frames with a length over TCP.
//!
//! What the frames say is the business of whoever sends them. Encryption between servers, when it
//! comes, is made here.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket, TcpStream, lookup_host};
use tokio_util::codec::{Framed, LengthDelimitedCodec};

use crate::config::limits::{PEER_FRAME_BYTES_MAX, PEER_GREETING_BYTES_MAX};

/// A connection to or from another server. It takes frames of a greeting's size until
/// [`admit_large_frames`] is called.
pub type PeerStream = Framed<TcpStream, LengthDelimitedCodec>;

/// Connections the kernel queues before they are accepted.
const BACKLOG: u32 = 128;
/// How long one address may take to be reached.
const CONNECT_MS: u64 = 2_000;

/// Accepts other servers.
pub struct PeerListener(TcpListener);

impl PeerListener {
    /// Listens at a port, of the addresses that a host name stands for now, or of all.
    ///
    /// # Errors
    ///
    /// The name does not resolve, or no address of it can be listened at.
    pub async fn bind(host: Option<&str>, port: u16) -> io::Result<PeerListener> {
        let addresses: Vec<SocketAddr> = match host {
            Some(host) => lookup_host((host, port)).await?.collect(),
            None => vec![([0_u16; 8], port).into(), ([0_u8; 4], port).into()],
        };
        let mut failed = io::Error::from(io::ErrorKind::AddrNotAvailable);
        for address in addresses {
            match listen(address) {
                Ok(listener) => return Ok(PeerListener(listener)),
                Err(error) => failed = error,
            }
        }
        Err(failed)
    }

    /// The next connection, and where it comes from.
    ///
    /// # Errors
    ///
    /// The system cannot accept, for example for want of file descriptors.
    pub async fn accept(&self) -> io::Result<(PeerStream, SocketAddr)> {
        let (stream, address) = self.0.accept().await?;
        Ok((framed(stream)?, address))
    }
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // A server that starts again finds its port free at once.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Connects to a server. Its name is resolved anew each time.
///
/// # Errors
///
/// The name does not resolve, or no address of it answers.
pub async fn connect_peer(host: &str, port: u16) -> io::Result<PeerStream> {
    let mut failed = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in lookup_host((host, port)).await? {
        let limit = Duration::from_millis(CONNECT_MS);
        match tokio::time::timeout(limit, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => return framed(stream),
            Ok(Err(error)) => failed = error,
            Err(_) => failed = io::ErrorKind::TimedOut.into(),
        }
    }
    Err(failed)
}

fn framed(stream: TcpStream) -> io::Result<PeerStream> {
    stream.set_nodelay(true)?;
    let codec =
        LengthDelimitedCodec::builder().max_frame_length(PEER_GREETING_BYTES_MAX).new_codec();
    Ok(Framed::new(stream, codec))
}

/// Lets a connection that has greeted take frames of any size that servers send.
pub fn admit_large_frames(stream: &mut PeerStream) {
    stream.codec_mut().set_max_frame_length(PEER_FRAME_BYTES_MAX);
}
