//! The command line.

use std::net::{SocketAddr, ToSocketAddrs as _};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use clap::{Args, Parser, Subcommand, ValueEnum};

/// A server that runs already.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    /// What the report calls it.
    pub(crate) name: String,
    pub(crate) address: SocketAddr,
    /// Its process, if what it costs is to be measured.
    pub(crate) pid: Option<u32>,
}

impl FromStr for Target {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Target> {
        let (name, rest) = text.split_once('=').unwrap_or((text, text));
        let mut parts = rest.split(':');
        let (host, port) = (parts.next(), parts.next());
        let host = host.filter(|host| !host.is_empty()).context("the host is missing")?;
        let port: u16 = port.context("the port is missing")?.parse().context("the port")?;
        let pid: Option<u32> = parts.next().map(str::parse).transpose().context("the pid")?;
        ensure!(parts.next().is_none(), "there is something after the pid");
        let address = (host, port).to_socket_addrs()?.next().context("the host has no address")?;
        Ok(Target { name: name.to_owned(), address, pid })
    }
}

/// Puts load on coordination servers and measures what it costs them.
///
/// A server is written [NAME=]HOST:PORT[:PID]. With a PID, its processor time per operation and
/// its memory are measured.
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
    /// Prints a port that is free
    FreePort,
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
        assert_eq!((&*whole.name, whole.address.port(), whole.pid), ("ours", 2181, Some(77)));
        let short: Target = "127.0.0.1:2181".parse().unwrap();
        assert_eq!((&*short.name, short.pid), ("127.0.0.1:2181", None));
        for wrong in ["127.0.0.1", "127.0.0.1:x", ":2181", "127.0.0.1:1:2:3"] {
            assert!(wrong.parse::<Target>().is_err(), "{wrong}");
        }
    }
}
