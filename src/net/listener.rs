//! Accepting client connections, no more than are allowed in all and from one address.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::net::{TcpListener, TcpSocket, TcpStream, lookup_host};

use crate::clock::{Clock, RateLimit};
use crate::config::limits::{LOG_LINES_INTERVAL_MS, LOG_LINES_PER_INTERVAL_MAX};

/// A client's connection.
pub type Stream = TcpStream;
/// Its end for reading.
pub type ReadHalf<'a> = tokio::net::tcp::ReadHalf<'a>;
/// Its end for writing.
pub type WriteHalf<'a> = tokio::net::tcp::WriteHalf<'a>;

/// Connections the kernel queues before they are accepted, where the configuration does not say.
///
/// Source: ZooKeeper's default; it leaves -1 to Java, which takes 50.
const BACKLOG: u32 = 50;

/// How many connections there may be; 0 is any number.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// From one address.
    pub per_address_max: u32,
    /// In all.
    pub total_max: u32,
}

/// Why nothing can be accepted.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    #[error("cannot resolve clientPortAddress={host}: {error}; name an address of this machine")]
    Resolve { host: String, error: io::Error },
    #[error("cannot listen on clientPort={port} ({address}): {error}; {remedy}")]
    Bind { address: SocketAddr, port: u16, error: io::Error, remedy: &'static str },
}

impl BindError {
    /// The error with what to do about it.
    fn bind(address: SocketAddr, error: io::Error) -> BindError {
        let remedy = if error.kind() == io::ErrorKind::AddrInUse {
            "stop what listens there or choose another clientPort"
        } else if error.kind() == io::ErrorKind::PermissionDenied {
            "choose a clientPort above 1023"
        } else {
            "check clientPortAddress"
        };
        BindError::Bind { address, port: address.port(), error, remedy }
    }
}

/// Counts the connections there are.
#[derive(Default)]
struct Crowd {
    total: u32,
    by_address: HashMap<IpAddr, u32>,
}

/// A place among the connections; dropping it gives the place back.
pub struct Place {
    crowd: Arc<Mutex<Crowd>>,
    address: IpAddr,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut crowd = self.crowd.lock();
        crowd.total -= 1;
        if let Some(count) = crowd.by_address.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                crowd.by_address.remove(&self.address);
            }
        }
    }
}

/// A connection that was accepted.
pub struct Accepted {
    /// The socket.
    pub stream: Stream,
    /// Where it comes from; an IPv4 client is one, also on a socket for both families.
    pub peer: SocketAddr,
    /// Its place.
    pub place: Place,
}

impl Accepted {
    /// The same connection, woken by the runtime that this is called on.
    ///
    /// # Errors
    ///
    /// The system's.
    pub fn moved_here(self) -> io::Result<Accepted> {
        let stream = Stream::from_std(self.stream.into_std()?)?;
        Ok(Accepted { stream, ..self })
    }
}

/// A port that is taken and not yet listened on: connections are refused.
pub struct Reserved {
    socket: TcpSocket,
    limits: Limits,
}

/// A port that is listened on.
pub struct Listener {
    socket: TcpListener,
    limits: Limits,
    crowd: Arc<Mutex<Crowd>>,
    surplus_lines: RateLimit,
}

impl Listener {
    /// Takes `port` of `host`, or of every address of this machine, without listening yet: clients
    /// are to find it closed until the server can answer.
    ///
    /// # Errors
    ///
    /// [`BindError`], naming the address and what to do.
    pub async fn reserve(
        host: Option<&str>,
        port: u16,
        keep_alive: bool,
        limits: Limits,
    ) -> Result<Reserved, BindError> {
        let mut failure = None;
        for address in addresses(host, port).await? {
            match bind(address, keep_alive) {
                Ok(socket) => return Ok(Reserved { socket, limits }),
                Err(error) => failure = Some((address, error)),
            }
        }
        let wildcard = SocketAddr::from((Ipv4Addr::UNSPECIFIED, port));
        let nothing = || (wildcard, io::Error::from(io::ErrorKind::AddrNotAvailable));
        let (address, error) = failure.unwrap_or_else(nothing);
        Err(BindError::bind(address, error))
    }

    /// The address that is listened on.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// The next connection for which there is a place; others are closed without a byte.
    ///
    /// # Errors
    ///
    /// Whatever the system says, for example that no file descriptor is left; try again later.
    pub async fn accept(&self) -> io::Result<Accepted> {
        loop {
            let (stream, peer) = self.socket.accept().await?;
            let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
            let Some(place) = self.place_for(peer.ip()) else {
                if let Some(left_out) = self.surplus_lines.pass() {
                    tracing::warn!(
                        "too many connections from {}: maxClientCnxns={}, maxCnxns={}{left_out}",
                        peer.ip(),
                        self.limits.per_address_max,
                        self.limits.total_max
                    );
                }
                continue;
            };
            stream.set_nodelay(true)?;
            return Ok(Accepted { stream, peer, place });
        }
    }

    fn place_for(&self, address: IpAddr) -> Option<Place> {
        let below = |count: u32, max: u32| max == 0 || count < max;
        let mut crowd = self.crowd.lock();
        let from_there = crowd.by_address.get(&address).copied().unwrap_or(0);
        if !below(crowd.total, self.limits.total_max)
            || !below(from_there, self.limits.per_address_max)
        {
            return None;
        }
        crowd.total += 1;
        *crowd.by_address.entry(address).or_default() += 1;
        Some(Place { crowd: Arc::clone(&self.crowd), address })
    }
}

/// Addresses to try, one after another: for every address of this machine, both families at once,
/// then IPv4 alone where the machine has no IPv6.
async fn addresses(host: Option<&str>, port: u16) -> Result<Vec<SocketAddr>, BindError> {
    match host {
        None | Some("0.0.0.0") => Ok(vec![
            SocketAddr::from((Ipv6Addr::UNSPECIFIED, port)),
            SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)),
        ]),
        Some(host) => match lookup_host((host, port)).await {
            Ok(addresses) => Ok(addresses.collect()),
            Err(error) => Err(BindError::Resolve { host: host.to_owned(), error }),
        },
    }
}

fn bind(address: SocketAddr, keep_alive: bool) -> io::Result<TcpSocket> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    // Accepted sockets inherit this.
    socket.set_keepalive(keep_alive)?;
    socket.bind(address)?;
    Ok(socket)
}

impl Reserved {
    /// The address that is taken.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// Starts to listen.
    ///
    /// # Errors
    ///
    /// Another process took the port between the two steps, or the system refuses.
    pub fn listen(self, backlog: Option<u32>) -> Result<Listener, BindError> {
        let unspecified = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
        let address = self.address().unwrap_or(unspecified);
        let listened = self.socket.listen(backlog.unwrap_or(BACKLOG));
        let socket = listened.map_err(|error| BindError::bind(address, error))?;
        let surplus_lines =
            RateLimit::new(Clock::system(), LOG_LINES_PER_INTERVAL_MAX, LOG_LINES_INTERVAL_MS);
        Ok(Listener { socket, limits: self.limits, crowd: Arc::default(), surplus_lines })
    }
}

#[cfg(test)]
mod tests;
