//! The servers of an ensemble as one text, and what a client may ask to be changed in it.
//!
//! The text is that of `/zookeeper/config`: a line `server.N=…` for each server and `version=<hex>`
//! at the end, without a newline. Here it is only read and written: whoever changes an ensemble also
//! asks whether its servers are there.
//!
//! Source: ZooKeeper, `QuorumMaj`, `QuorumPeerConfig.parseDynamicConfig` and `PrepRequestProcessor`,
//! `OpCode.reconfig`.

use super::ensemble::{BadServerLine, EnsembleConfig, Role, SERVER_ID_MAX, ServerSpec};
use super::error::printable;
use super::zoo_cfg;
use jute::ErrorCode;
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

/// All servers of an ensemble, and the version of that list.
///
/// It is written in the order of the ids. (ZooKeeper writes the order of a hash table, which is the
/// same up to twelve servers with ids up to 15.)
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct ServerList {
    /// What stands behind `server.N=`, by `N`.
    pub servers: BTreeMap<u64, ServerSpec>,
    /// The zxid of the change that made it.
    pub version: u64,
}

/// Why a list of servers, or a change of it, cannot be.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum BadServerList {
    /// It is not text of `java.util.Properties`.
    #[error("line {line}: {problem}")]
    Syntax {
        /// The line, counted from 1.
        line: usize,
        /// What is wrong in it.
        problem: &'static str,
    },
    /// A key that is no `server.N`.
    #[error("{key} is no key of a list of servers; write server.N=… and version=… only")]
    UnknownKey {
        /// The key.
        key: String,
    },
    /// A group or a weight.
    #[error("{key}: {NO_GROUPS}")]
    Grouped {
        /// The key.
        key: String,
    },
    /// A server without a number.
    #[error("{text:?} is not the number of a server; write one from 0 to {SERVER_ID_MAX}")]
    NoNumber {
        /// What stands in its place.
        text: String,
    },
    /// A number that no server can have.
    #[error("{id} is no server's number; write one from 0 to {SERVER_ID_MAX}")]
    NumberOutOfRange {
        /// The number.
        id: i64,
    },
    /// Two spellings of one number.
    #[error("server.{id} is written twice")]
    Twice {
        /// The number.
        id: u64,
    },
    /// A version that is no hexadecimal number.
    #[error("version={text} is not a hexadecimal number")]
    BadVersion {
        /// What stands in its place.
        text: String,
    },
    /// A server that joins without an equals sign, or with several.
    #[error("{text:?} is no server; write server.N=host:quorumPort:electionPort;clientPort")]
    NoServer {
        /// What was written.
        text: String,
    },
    /// A line of a server.
    #[error("server.{id}: {problem}")]
    BadLine {
        /// The server.
        id: u64,
        /// What is wrong with it.
        problem: BadServerLine,
    },
    /// A server that joins without a port for clients.
    #[error("server.{id} joins without a port for clients; write ;clientPort at its end")]
    NoClientPort {
        /// The server.
        id: u64,
    },
    /// A server that joins at an address that another one has.
    #[error("server.{id} joins at {address}, which server.{other} has")]
    SharedAddress {
        /// The server.
        id: u64,
        /// The address.
        address: String,
        /// Who has it.
        other: u64,
    },
    /// Observers without those whom they follow, or nobody.
    #[error("{voters} servers that vote and {observers} observers are no ensemble")]
    NoEnsemble {
        /// How many vote.
        voters: usize,
        /// How many do not.
        observers: usize,
    },
    /// Less servers that vote than an ensemble must keep.
    #[error("{voters} servers that vote are left; at least {least} must be")]
    TooFewVoters {
        /// How many vote.
        voters: usize,
        /// How many must.
        least: usize,
    },
}

/// What has to be said about groups and weights wherever they are written.
pub(super) const NO_GROUPS: &str =
    "a quorum is a majority of the servers, without groups and weights";

impl BadServerList {
    /// What a client hears that asked for it. ZooKeeper does not catch some of its own exceptions
    /// here, and says the same as of a request that it cannot read.
    pub const fn code(&self) -> ErrorCode {
        match self {
            BadServerList::Syntax { .. }
            | BadServerList::NoNumber { .. }
            | BadServerList::BadVersion { .. }
            | BadServerList::NoEnsemble { .. } => ErrorCode::MarshallingError,
            BadServerList::UnknownKey { .. }
            | BadServerList::Grouped { .. }
            | BadServerList::NumberOutOfRange { .. }
            | BadServerList::Twice { .. }
            | BadServerList::NoServer { .. }
            | BadServerList::BadLine { .. }
            | BadServerList::NoClientPort { .. }
            | BadServerList::SharedAddress { .. }
            | BadServerList::TooFewVoters { .. } => ErrorCode::BadArguments,
        }
    }
}

impl fmt::Display for ServerList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (id, spec) in &self.servers {
            writeln!(f, "server.{id}={spec}")?;
        }
        write!(f, "version={:x}", self.version)
    }
}

/// Reads the text of `/zookeeper/config`, or the whole list of a client that replaces it; there commas
/// stand for ends of lines. Of a key that is written twice the last one counts.
impl FromStr for ServerList {
    type Err = BadServerList;

    fn from_str(text: &str) -> Result<ServerList, BadServerList> {
        let entries = zoo_cfg::parse(&text.replace(',', "\n"))
            .map_err(|error| BadServerList::Syntax { line: error.line, problem: error.problem })?;
        let last: BTreeMap<String, String> =
            entries.into_iter().map(|entry| (entry.key, entry.value)).collect();
        let mut list = ServerList::default();
        for (key, value) in last {
            if let Some(id) = key.strip_prefix("server.") {
                let id = server_id(id)?;
                if list.servers.insert(id, spec(id, &value)?).is_some() {
                    return Err(BadServerList::Twice { id });
                }
            } else if key == "version" {
                let version = u64::from_str_radix(&value, 16);
                list.version =
                    version.map_err(|_| BadServerList::BadVersion { text: printable(&value) })?;
            } else if is_grouping(&key) {
                return Err(BadServerList::Grouped { key: printable(&key) });
            } else {
                return Err(BadServerList::UnknownKey { key: printable(&key) });
            }
        }
        Ok(list)
    }
}

impl ServerList {
    /// The list that a client gives as a whole (`newMembers`); its version is still to be set.
    ///
    /// `standalone_enabled` is [`EnsembleConfig::standalone_enabled`].
    ///
    /// # Errors
    ///
    /// The list is malformed, or has too few servers that vote.
    pub fn replaced(members: &str, standalone_enabled: bool) -> Result<ServerList, BadServerList> {
        let list: ServerList = members.parse()?;
        list.check_shape(standalone_enabled)?;
        list.check_voters(standalone_enabled)?;
        Ok(list)
    }

    /// This list after some servers leave, and then some join or change; its version is still to be
    /// set. Both are separated by commas. Whoever leaves need not be there.
    ///
    /// `standalone_enabled` is [`EnsembleConfig::standalone_enabled`].
    ///
    /// # Errors
    ///
    /// A server is malformed, comes to an address that another one has, or too few that vote are left.
    pub fn changed(
        &self,
        joining: Option<&str>,
        leaving: Option<&str>,
        standalone_enabled: bool,
    ) -> Result<ServerList, BadServerList> {
        let mut list = self.clone();
        for id in items(leaving) {
            list.servers.remove(&server_id(id)?);
        }
        for joiner in items(joining) {
            let (id, spec) = joining_server(joiner)?;
            for (other, held) in list.servers.iter().filter(|(other, _)| **other != id) {
                if let Some(address) = spec.shared_address(held) {
                    return Err(BadServerList::SharedAddress { id, address, other: *other });
                }
            }
            list.servers.insert(id, spec);
        }
        list.check_voters(standalone_enabled)?;
        Ok(list)
    }

    /// How many vote, and how many do not.
    pub fn voters_and_observers(&self) -> (usize, usize) {
        let voters = self.servers.values().filter(|spec| spec.role == Role::Participant).count();
        (voters, self.servers.len() - voters)
    }

    /// Whether the list can be that of an ensemble, or of a standalone server.
    ///
    /// Source: ZooKeeper, `QuorumPeerConfig.parseDynamicConfig`.
    pub(super) fn check_shape(&self, standalone_enabled: bool) -> Result<(), BadServerList> {
        let (voters, observers) = self.voters_and_observers();
        let least = if standalone_enabled { 2 } else { 1 };
        let is_standalone = standalone_enabled && observers == 0;
        if voters < least && !is_standalone {
            return Err(BadServerList::NoEnsemble { voters, observers });
        }
        Ok(())
    }

    fn check_voters(&self, standalone_enabled: bool) -> Result<(), BadServerList> {
        let (voters, _) = self.voters_and_observers();
        let least = if standalone_enabled { 2 } else { 1 };
        if voters < least { Err(BadServerList::TooFewVoters { voters, least }) } else { Ok(()) }
    }
}

impl EnsembleConfig {
    /// The servers as they are configured.
    pub fn list(&self) -> ServerList {
        ServerList { servers: self.servers.clone(), version: self.version }
    }
}

/// Whether the key is one of a hierarchical quorum.
pub(super) fn is_grouping(key: &str) -> bool {
    key.starts_with("group") || key.starts_with("weight")
}

/// What stands between commas.
fn items(list: Option<&str>) -> impl Iterator<Item = &str> {
    list.unwrap_or_default().split(',').map(str::trim).filter(|item| !item.is_empty())
}

/// Reads `server.N=…` as a server that joins; what stands before the number is not looked at.
fn joining_server(text: &str) -> Result<(u64, ServerSpec), BadServerList> {
    let mut halves = text.split('=').map(str::trim).filter(|half| !half.is_empty());
    let (Some(name), Some(line), None) = (halves.next(), halves.next(), halves.next()) else {
        return Err(BadServerList::NoServer { text: printable(text) });
    };
    let id = server_id(name.rsplit_once('.').map_or(name, |(_, id)| id))?;
    let spec = spec(id, line)?;
    if spec.client.is_none() {
        return Err(BadServerList::NoClientPort { id });
    }
    Ok((id, spec))
}

/// Reads the number of a server.
pub(super) fn server_id(text: &str) -> Result<u64, BadServerList> {
    let id: i64 = text.parse().map_err(|_| BadServerList::NoNumber { text: printable(text) })?;
    let in_range = u64::try_from(id).ok().filter(|id| *id <= SERVER_ID_MAX);
    in_range.ok_or(BadServerList::NumberOutOfRange { id })
}

fn spec(id: u64, line: &str) -> Result<ServerSpec, BadServerList> {
    line.parse().map_err(|problem| BadServerList::BadLine { id, problem })
}
