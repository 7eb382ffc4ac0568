//! The command line.

use std::net::{SocketAddr, ToSocketAddrs as _};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use clap::{Args, Parser, Subcommand, ValueEnum};

/// A server that runs already, or the servers of an ensemble.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    /// What the report calls it.
    pub(crate) name: String,
    /// The first of its servers.
    pub(crate) address: SocketAddr,
    /// All of them; connections are spread over them.
    pub(crate) addresses: Vec<SocketAddr>,
    /// Their processes, if what they cost is to be measured: of all or of none.
    pub(crate) pids: Vec<u32>,
}

impl Target {
    /// Which server the connection with this number goes to.
    pub(crate) fn address_of(&self, connection: usize) -> SocketAddr {
        let place = connection % self.addresses.len().max(1);
        self.addresses.get(place).copied().unwrap_or(self.address)
    }
}

impl FromStr for Target {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Target> {
        let (name, rest) = text.split_once('=').unwrap_or((text, text));
        let mut addresses = Vec::new();
        let mut pids = Vec::new();
        for server in rest.split(',') {
            let (address, pid) = server_of(server)?;
            addresses.push(address);
            pids.extend(pid);
        }
        ensure!(pids.is_empty() || pids.len() == addresses.len(), "a pid is missing");
        let address = *addresses.first().context("the server is missing")?;
        Ok(Target { name: name.to_owned(), address, addresses, pids })
    }
}

/// The address and perhaps the process in HOST:PORT[:PID].
fn server_of(text: &str) -> anyhow::Result<(SocketAddr, Option<u32>)> {
    let mut parts = text.split(':');
    let (host, port) = (parts.next(), parts.next());
    let host = host.filter(|host| !host.is_empty()).context("the host is missing")?;
    let port: u16 = port.context("the port is missing")?.parse().context("the port")?;
    let pid: Option<u32> = parts.next().map(str::parse).transpose().context("the pid")?;
    ensure!(parts.next().is_none(), "there is something after the pid");
    let address = (host, port).to_socket_addrs()?.next().context("the host has no address")?;
    Ok((address, pid))
}

/// Puts load on coordination servers and measures what it costs them.
///
/// A server is written [NAME=]HOST:PORT[:PID]. With a PID, its processor time per operation and
/// its memory are measured. An ensemble is written [NAME=]HOST:PORT[:PID],HOST:PORT[:PID],…:
/// connections are spread over its servers, and what these cost is added up.
#[derive(Debug, Parser)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,
    /// Threads of the generator [default: half of the machine's]
    #[arg(long, global = true)]
    pub(crate) threads: Option<usize>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Measures operations of one server, or of two in alternation
    Measure(Measure),
    /// Measures what the machine can do at most: echo, group commit, fdatasync
    Ceiling(Ceiling),
    /// Creates many nodes
    Fill(Fill),
    /// Waits for a server that starts, until it answers a read
    FirstRead(FirstRead),
    /// Mixed load for long; fails if memory, files, disk or latency grow
    Soak(Soak),
    /// Kills the leader of an ensemble under load, several times: how long do writes stand still?
    Failover(Failover),
    /// Stops and starts every server of an ensemble under load
    Rolling(Rolling),
    /// A server of an ensemble loses its disk and comes back
    Join(Join),
    /// Kills a server of an ensemble with many sessions: do they live on?
    Sessions(Sessions),
    /// Prints ports that are free
    FreePort {
        /// How many
        #[arg(long, default_value_t = 1)]
        count: usize,
    },
    /// The bare server of a ceiling
    #[command(hide = true)]
    Bare(Bare),
}

/// What can be measured.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum Operation {
    /// getData
    Get,
    /// exists
    Exists,
    /// getChildren
    Children,
    /// setData
    Set,
    /// create
    Create,
    /// getData and setData
    Mixed,
    /// multi of setData
    Multi,
    /// The lock recipe: an operation is an acquisition, timed from asking to holding
    Lock,
    /// Many watchers of one node: an operation is one watch armed and told, times are to the last
    Fanout,
    /// Opening sessions, then leaving them idle
    Connect,
}

/// The shape of the load.
#[derive(Args, Clone, Debug)]
pub(crate) struct Shape {
    /// Connections that send requests; sessions opened at once in `connect`
    #[arg(long, default_value_t = 16)]
    pub(crate) connections: usize,
    /// Requests on their way on each connection
    #[arg(long, default_value_t = 8)]
    pub(crate) in_flight: usize,
    /// Bytes of data of a node
    #[arg(long, default_value_t = 100)]
    pub(crate) bytes: usize,
    /// Seconds that are measured
    #[arg(long, default_value_t = 5.0)]
    pub(crate) seconds: f64,
    /// Seconds of the same load before that
    #[arg(long, default_value_t = 2.0)]
    pub(crate) warmup_seconds: f64,
}

impl Shape {
    pub(crate) fn measured(&self) -> Duration {
        Duration::from_secs_f64(self.seconds)
    }

    pub(crate) fn warmup(&self) -> Duration {
        Duration::from_secs_f64(self.warmup_seconds)
    }
}

#[derive(Args, Clone, Debug)]
pub(crate) struct Measure {
    /// What to measure
    #[arg(required = true, value_enum)]
    pub(crate) operations: Vec<Operation>,
    /// The server
    #[arg(long, required_unless_present = "compare", conflicts_with = "compare")]
    pub(crate) server: Option<Target>,
    /// Two servers, in alternation
    #[arg(long, num_args = 2, value_names = ["A", "B"])]
    pub(crate) compare: Option<Vec<Target>>,
    /// How often everything is measured; medians are reported
    #[arg(long, default_value_t = 3)]
    pub(crate) rounds: usize,
    #[command(flatten)]
    pub(crate) shape: Shape,
    /// Operations after which a measurement ends early
    #[arg(long, default_value_t = u64::MAX, hide_default_value = true)]
    pub(crate) ops: u64,
    /// Requests a second of all connections together, whether the server keeps up or not
    #[arg(long)]
    pub(crate) rate: Option<f64>,
    /// Nodes that get, exists, set, mixed and multi go through
    #[arg(long, default_value_t = 1_000)]
    pub(crate) nodes: usize,
    /// Percentage of reads in mixed
    #[arg(long, default_value_t = 80)]
    pub(crate) reads: usize,
    /// Children that `children` lists
    #[arg(long, default_value_t = 100)]
    pub(crate) children: usize,
    /// Operations in a multi
    #[arg(long, default_value_t = 10)]
    pub(crate) multi_operations: usize,
    /// Clients of `lock`
    #[arg(long, default_value_t = 8)]
    pub(crate) lock_clients: usize,
    /// Locks of `lock`; each acquisition picks one
    #[arg(long, default_value_t = 8)]
    pub(crate) locks: usize,
    /// Watchers of `fanout`, each with a session of its own
    #[arg(long, default_value_t = 1_000)]
    pub(crate) watchers: usize,
    /// Changes of the watched node that are measured
    #[arg(long, default_value_t = 5)]
    pub(crate) changes: usize,
    /// Sessions of `connect`
    #[arg(long, default_value_t = 1_000)]
    pub(crate) sessions: usize,
    /// Seconds after which memory counts as that of idle sessions, and as returned
    #[arg(long, default_value_t = 3.0)]
    pub(crate) idle_seconds: f64,
    /// Also writes everything as JSON
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
}

#[derive(Args, Clone, Debug)]
pub(crate) struct Ceiling {
    #[command(flatten)]
    pub(crate) shape: Shape,
    /// Where the log is written: on the disk that the servers use
    #[arg(long, value_name = "FOLDER")]
    pub(crate) data: PathBuf,
    /// Also writes everything as JSON
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
}

#[derive(Args, Clone, Debug)]
pub(crate) struct Fill {
    /// The server
    #[arg(long)]
    pub(crate) server: Target,
    /// How many nodes
    #[arg(long, default_value_t = 1_000_000)]
    pub(crate) nodes: u64,
    /// Bytes of data of each
    #[arg(long, default_value_t = 100)]
    pub(crate) bytes: usize,
    /// Connections
    #[arg(long, default_value_t = 16)]
    pub(crate) connections: u64,
    /// Seconds after which memory counts as that of a server at rest
    #[arg(long, default_value_t = 10.0)]
    pub(crate) idle_seconds: f64,
    /// Seconds after which it has failed
    #[arg(long, default_value_t = 600.0)]
    pub(crate) seconds: f64,
}

#[derive(Args, Clone, Debug)]
pub(crate) struct FirstRead {
    /// The server, without a PID
    #[arg(long)]
    pub(crate) server: Target,
    /// A file that holds the PID by the time the server answers
    #[arg(long)]
    pub(crate) pid_file: PathBuf,
    /// Nanoseconds since 1970 when the server was started
    #[arg(long)]
    pub(crate) since_ns: u128,
    /// Nodes of an earlier `fill`: the last one is read
    #[arg(long, default_value_t = 1_000_000)]
    pub(crate) nodes: u64,
    /// Bytes of data that each of them must have
    #[arg(long, default_value_t = 100)]
    pub(crate) bytes: usize,
    /// Seconds after which it has failed
    #[arg(long, default_value_t = 120.0)]
    pub(crate) seconds: f64,
    /// Seconds after which memory counts as that of a server at rest
    #[arg(long, default_value_t = 10.0)]
    pub(crate) idle_seconds: f64,
}

#[derive(Args, Clone, Debug)]
pub(crate) struct Soak {
    /// The server, with its PID
    #[arg(long)]
    pub(crate) server: Target,
    /// Where its data is: what occupies the disk
    #[arg(long, value_name = "FOLDER")]
    pub(crate) data: PathBuf,
    /// How long
    #[arg(long, default_value_t = 30.0)]
    pub(crate) minutes: f64,
    /// Seconds between two samples
    #[arg(long, default_value_t = 60.0)]
    pub(crate) sample_seconds: f64,
    /// Connections that work
    #[arg(long, default_value_t = 16)]
    pub(crate) connections: usize,
    /// Requests a second of all of them together
    #[arg(long, default_value_t = 2_000.0)]
    pub(crate) rate: f64,
    /// What the data may occupy
    #[arg(long, default_value_t = 1_024)]
    pub(crate) disk_mib_max: u64,
    /// Nodes of the burst at the end
    #[arg(long, default_value_t = 200_000)]
    pub(crate) burst_nodes: u64,
    /// Also writes the samples as JSON
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
}

/// An ensemble whose servers can be ended and started.
#[derive(Args, Clone, Debug)]
pub(crate) struct Members {
    /// Its servers: the first is number 1
    #[arg(long)]
    pub(crate) ensemble: Target,
    /// A program that is called with what to do (`kill`, `stop`, `wipe`, `start`), the folder and the
    /// number of a server
    #[arg(long)]
    pub(crate) control: PathBuf,
    /// The folder of the ensemble
    #[arg(long, value_name = "FOLDER")]
    pub(crate) data: PathBuf,
}

/// Writes that are due at a fixed rate: every other one changes a node, every other one creates one.
#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct Steady {
    /// Writes a second of all clients together
    #[arg(long, default_value_t = 200.0)]
    pub(crate) rate: f64,
    /// Clients, each with a session of its own
    #[arg(long, default_value_t = 12)]
    pub(crate) clients: usize,
    /// Session timeout to ask for
    #[arg(long, default_value_t = 10_000)]
    pub(crate) session_timeout_ms: i32,
    /// Seconds before anything happens, and after all is well again
    #[arg(long, default_value_t = 2.0)]
    pub(crate) quiet_seconds: f64,
}

#[derive(Args, Clone, Debug)]
pub(crate) struct Failover {
    #[command(flatten)]
    pub(crate) members: Members,
    #[command(flatten)]
    pub(crate) steady: Steady,
    /// How often
    #[arg(long, default_value_t = 10)]
    pub(crate) tries: usize,
}

#[derive(Args, Clone, Debug)]
pub(crate) struct Rolling {
    #[command(flatten)]
    pub(crate) members: Members,
    #[command(flatten)]
    pub(crate) steady: Steady,
}

#[derive(Args, Clone, Debug)]
pub(crate) struct Join {
    #[command(flatten)]
    pub(crate) members: Members,
    #[command(flatten)]
    pub(crate) steady: Steady,
    /// How many nodes there are
    #[arg(long, default_value_t = 1_000_000)]
    pub(crate) nodes: u64,
    /// Bytes of data of each
    #[arg(long, default_value_t = 100)]
    pub(crate) bytes: usize,
    /// Seconds of rest after filling, so that its aftermath is not taken for the usual times
    #[arg(long, default_value_t = 10.0)]
    pub(crate) idle_seconds: f64,
    /// Seconds of load before the server comes back
    #[arg(long, default_value_t = 5.0)]
    pub(crate) before_seconds: f64,
}

/// Which server is killed.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum Victim {
    /// One that follows.
    Follower,
    /// The one that leads.
    Leader,
}

#[derive(Args, Clone, Debug)]
pub(crate) struct Sessions {
    #[command(flatten)]
    pub(crate) members: Members,
    /// How many, spread over the servers; each has an ephemeral node
    #[arg(long, default_value_t = 10_000)]
    pub(crate) count: usize,
    /// Session timeout to ask for
    #[arg(long, default_value_t = 10_000)]
    pub(crate) session_timeout_ms: i32,
    /// Which server is killed
    #[arg(long, value_enum, default_value_t = Victim::Follower)]
    pub(crate) victim: Victim,
}

/// Which bare server.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum BareKind {
    /// Sends back what it gets.
    Echo,
    /// Does so when it is on disk.
    Log,
}

#[derive(Args, Clone, Debug)]
pub(crate) struct Bare {
    #[arg(value_enum)]
    pub(crate) kind: BareKind,
    /// The log's file
    #[arg(long)]
    pub(crate) file: PathBuf,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn a_server_has_a_host_and_a_port_and_perhaps_a_name_and_a_pid() {
        let whole: Target = "ours=127.0.0.1:2181:77".parse().unwrap();
        assert_eq!(
            (&*whole.name, whole.address.port(), &whole.pids[..]),
            ("ours", 2181, &[77][..])
        );
        let short: Target = "127.0.0.1:2181".parse().unwrap();
        assert_eq!((&*short.name, short.pids.len()), ("127.0.0.1:2181", 0));
        for wrong in ["127.0.0.1", "127.0.0.1:x", ":2181", "127.0.0.1:1:2:3"] {
            assert!(wrong.parse::<Target>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn an_ensemble_spreads_connections_over_its_servers() {
        let three: Target = "a=127.0.0.1:1:71,127.0.0.1:2:72,127.0.0.1:3:73".parse().unwrap();
        let ports: Vec<u16> = (0..4).map(|number| three.address_of(number).port()).collect();
        assert_eq!((&ports[..], &three.pids[..]), (&[1, 2, 3, 1][..], &[71, 72, 73][..]));
        assert!("127.0.0.1:1:71,127.0.0.1:2".parse::<Target>().is_err(), "a pid is missing");
    }
}
