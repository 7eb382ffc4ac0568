//! Where the servers of an ensemble live: on loopback, or each in a network namespace of its own.
//!
//! On loopback every server has an address of its own below 127, so that no outgoing connection can
//! take the port of a server that is down. In namespaces, joined by a bridge, a way from one server to
//! another can be cut: the sender is told that the other has a hardware address which nobody has. What
//! it sends then vanishes without an answer, as behind a broken cable, and only in that direction. This
//! needs neither a packet filter nor traffic control in the kernel.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};

use super::chance::Chance;
use super::guard::Guard;

/// A hardware address that no interface has.
const NOBODY: &str = "02:00:00:00:de:ad";
/// How often to look for addresses that are free.
const ATTEMPTS_MAX: usize = 64;

/// The addresses of an ensemble.
#[derive(Debug)]
pub struct Net {
    /// The first three bytes of every address.
    prefix: [u8; 3],
    servers: usize,
    ports: [u16; 3],
    /// What names of namespaces and links begin with; none on loopback.
    namespaces: Option<String>,
}

/// Runs `ip`.
fn ip(arguments: &str) -> Result<()> {
    let output = Command::new("ip")
        .args(arguments.split_whitespace())
        .stdin(Stdio::null())
        .output()
        .context("ip (Debian: iproute2)")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "ip {arguments}: {}", said.trim());
    Ok(())
}

/// Why there can be no network namespaces here, if so.
pub fn no_namespaces() -> Option<String> {
    let name = format!("rk{}probe", std::process::id());
    let made = ip(&format!("netns add {name}")).and_then(|()| ip(&format!("netns del {name}")));
    made.err().map(|error| format!("no network namespaces: {error:#}"))
}

impl Net {
    /// Addresses on loopback.
    ///
    /// # Errors
    ///
    /// None are free.
    pub fn loopback(servers: usize) -> Result<Net> {
        let mut chance = Chance::from_seed(u64::from(std::process::id()) ^ clock_number());
        for _ in 0..ATTEMPTS_MAX {
            let prefix = [127, 1 + chance.below(250) as u8, chance.below(256) as u8];
            // Below the ports that the system gives to whoever asks for any.
            let port = 20_000 + 3 * chance.below(4_000) as u16;
            let net = Net { prefix, servers, ports: [port, port + 1, port + 2], namespaces: None };
            if net.is_free() {
                return Ok(net);
            }
        }
        bail!("no free addresses on loopback")
    }

    fn is_free(&self) -> bool {
        (1..=self.servers).all(|number| {
            self.ports.iter().all(|port| TcpListener::bind((self.host(number), *port)).is_ok())
        })
    }

    /// A namespace for each server.
    ///
    /// # Errors
    ///
    /// They cannot be made.
    pub fn namespaces(servers: usize, guard: &mut Guard) -> Result<Net> {
        let mut chance = Chance::from_seed(u64::from(std::process::id()) ^ clock_number());
        for _ in 0..ATTEMPTS_MAX {
            // 198.18.0.0/15 is for tests of networks.
            let prefix = [198, 18, chance.below(255) as u8];
            let [a, b, c] = prefix;
            let gateway = Ipv4Addr::new(a, b, c, 254);
            if TcpListener::bind((gateway, 0)).is_ok() {
                continue; // Another ensemble's.
            }
            let name = format!("rk{:x}", chance.below(0xff_ffff));
            let ports = [2181, 2888, 3888];
            let net = Net { prefix, servers, ports, namespaces: Some(name.clone()) };
            if ip(&format!("link add {name}b type bridge")).is_err() {
                continue;
            }
            guard.has_link(&format!("{name}b"))?;
            ip(&format!("addr add {gateway}/24 dev {name}b"))?;
            ip(&format!("link set {name}b up"))?;
            for number in 1..=servers {
                net.add_namespace(&name, number, guard)?;
            }
            return Ok(net);
        }
        bail!("no free addresses for namespaces")
    }

    fn add_namespace(&self, name: &str, number: usize, guard: &mut Guard) -> Result<()> {
        let inside = format!("{name}n{number}");
        let outside = format!("{name}v{number}");
        guard.has_namespace(&inside)?;
        ip(&format!("netns add {inside}"))?;
        guard.has_link(&outside)?;
        ip(&format!("link add {outside} type veth peer name eth0 netns {inside}"))?;
        ip(&format!("link set {outside} master {name}b up"))?;
        ip(&format!("-n {inside} addr add {}/24 dev eth0", self.host(number)))?;
        ip(&format!("-n {inside} link set eth0 up"))?;
        ip(&format!("-n {inside} link set lo up"))
    }

    /// The address of a server.
    pub fn host(&self, number: usize) -> Ipv4Addr {
        let [a, b, c] = self.prefix;
        Ipv4Addr::new(a, b, c, number as u8)
    }

    /// Where clients reach a server.
    pub fn client_address(&self, number: usize) -> SocketAddr {
        let [port, ..] = self.ports;
        SocketAddr::from((self.host(number), port))
    }

    /// The value of `server.N`.
    pub fn server_line(&self, number: usize) -> String {
        let (host, [client, quorum, election]) = (self.host(number), self.ports);
        format!("{host}:{quorum}:{election};{host}:{client}")
    }

    /// A command that runs `program` where the server lives.
    pub fn command(&self, number: usize, program: &str) -> Command {
        match &self.namespaces {
            None => Command::new(program),
            Some(name) => {
                let mut command = Command::new("ip");
                command.args(["netns", "exec", &format!("{name}n{number}"), program]);
                command
            }
        }
    }

    /// Whether servers can be cut off from one another.
    pub fn can_be_cut(&self) -> bool {
        self.namespaces.is_some()
    }

    /// Lets nothing through from one server to another.
    ///
    /// # Errors
    ///
    /// The servers are on loopback.
    pub fn cut(&self, from: usize, to: usize) -> Result<()> {
        let name = self.namespaces.as_ref().context("only namespaces can be cut off")?;
        let host = self.host(to);
        ip(&format!("-n {name}n{from} neigh replace {host} lladdr {NOBODY} dev eth0 nud permanent"))
    }

    /// Lets everything through again.
    ///
    /// # Errors
    ///
    /// The servers are on loopback.
    pub fn mend(&self, from: usize, to: usize) -> Result<()> {
        let name = self.namespaces.as_ref().context("only namespaces can be cut off")?;
        // The way may be whole.
        let _ = ip(&format!("-n {name}n{from} neigh del {} dev eth0", self.host(to)));
        Ok(())
    }

    /// Lets only so much through from a server, as a line that is too thin does; 0 is no limit.
    ///
    /// # Errors
    ///
    /// The servers are on loopback, or the kernel cannot.
    pub fn throttle(&self, number: usize, kbit: usize) -> Result<()> {
        let name = self.namespaces.as_ref().context("only namespaces can be throttled")?;
        let wish = format!("root tbf rate {kbit}kbit burst 4kb latency 2000ms");
        let place = format!("dev eth0 {}", if kbit == 0 { "root" } else { &wish });
        let verb = if kbit == 0 { "del" } else { "replace" };
        let mut command = Command::new("tc");
        command.args(["-n", &format!("{name}n{number}"), "qdisc", verb]);
        let output = command.args(place.split_whitespace()).output().context("tc")?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(kbit == 0 || output.status.success(), "tc {verb}: {}", said.trim());
        Ok(())
    }

    /// Removes the namespaces.
    pub fn remove(&self) {
        let Some(name) = &self.namespaces else { return };
        // What is left over is visible in `ip netns`; nobody can be told here.
        for number in 1..=self.servers {
            let _ = ip(&format!("netns del {name}n{number}"));
            let _ = ip(&format!("link del {name}v{number}"));
        }
        let _ = ip(&format!("link del {name}b"));
    }
}

/// A number that differs from call to call.
fn clock_number() -> u64 {
    use std::hash::{BuildHasher as _, RandomState};
    RandomState::new().hash_one(0)
}
