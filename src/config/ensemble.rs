//! The servers of an ensemble, as `server.N` lines name them.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use super::server_line;

/// What a server of the ensemble is for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Role {
    /// It votes.
    Participant,
    /// It follows without a vote.
    Observer,
}

/// One server of the ensemble: what stands behind `server.N=`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ServerSpec {
    /// Where other servers reach it, in the order in which they try: host, port, and the port that
    /// ZooKeeper elects at.
    pub addresses: Vec<(String, u16, u16)>,
    /// What it is for.
    pub role: Role,
    /// Where clients reach it: host (`None`: every address of the machine) and port.
    pub client: Option<(Option<String>, u16)>,
    /// A third part names a TLS port.
    pub(super) has_secure_part: bool,
}

/// What is wrong with a `server.N` line.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the line {line:?} {problem}")]
pub struct BadServerLine {
    line: String,
    problem: String,
}

impl FromStr for ServerSpec {
    type Err = BadServerLine;

    fn from_str(line: &str) -> Result<ServerSpec, BadServerLine> {
        let bad = |(problem, _)| BadServerLine { line: line.to_owned(), problem };
        server_line::parse(line).map_err(bad)
    }
}

/// A host as it stands before a colon.
fn bracketed(host: &str) -> String {
    if host.contains(':') { format!("[{host}]") } else { host.to_owned() }
}

/// As ZooKeeper writes it.
///
/// Source: ZooKeeper, `QuorumPeer.QuorumServer.toString`.
impl fmt::Display for ServerSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let role = match self.role {
            Role::Participant => "participant",
            Role::Observer => "observer",
        };
        for (position, (host, quorum, election)) in self.addresses.iter().enumerate() {
            let separator = if position == 0 { "" } else { "|" };
            write!(f, "{separator}{}:{quorum}:{election}", bracketed(host))?;
        }
        write!(f, ":{role}")?;
        if let Some((host, port)) = &self.client {
            let host = host.as_deref().unwrap_or("0.0.0.0");
            write!(f, ";{}:{port}", bracketed(host))?;
        }
        Ok(())
    }
}

/// The ensemble that a server belongs to.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct EnsembleConfig {
    /// This server's id (`dataDir/myid`).
    pub my_id: u64,
    /// Every server of the ensemble, this one among them.
    pub servers: BTreeMap<u64, ServerSpec>,
    /// Ticks that following a leader may take to begin (`initLimit`).
    pub init_limit_ticks: u32,
    /// Ticks without a leader after which no client is served (`syncLimit`).
    pub sync_limit_ticks: u32,
    /// Whether to listen on all addresses (`quorumListenOnAllIPs`), not only that of the own line.
    pub listen_on_all_addresses: bool,
}
