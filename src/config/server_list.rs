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
    #[error("no ensemble is made of {voters} that vote and {observers} that observe")]
    NoEnsemble {
        /// How many vote.
        voters: usize,
        /// How many do not.
        observers: usize,
    },
    /// Fewer servers that vote than an ensemble must keep.
    #[error("{voters} that vote are left; at least {least} must be")]
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

#[cfg(test)]
mod tests {
    use super::super::ensemble::tests::lines;
    use super::*;
    use proptest::collection::btree_map;
    use proptest::prelude::*;

    const THREE: &str = "server.1=a:1:2;2181\nserver.2=b:1:2;2181\nserver.3=c:1:2:observer;2181";

    fn list(text: &str) -> ServerList {
        text.parse().unwrap_or_else(|error| panic!("{text:?}: {error}"))
    }

    #[test]
    fn a_list_is_written_as_zookeeper_writes_it_and_read_again() {
        let text = "server.1=a:1:2:participant;0.0.0.0:2181\nserver.2=b:1:2:participant;0.0.0.0:2181\n\
                    server.3=c:1:2:observer;0.0.0.0:2181\nversion=10000001f";

        let read = list(&format!("{THREE}\nversion=10000001f"));

        assert_eq!((read.to_string().as_str(), read.version), (text, 0x1_0000_001f));
        assert_eq!(list(text), read);
        assert_eq!(list("").to_string(), "version=0");
        assert_eq!(read.voters_and_observers(), (2, 1));
    }

    proptest! {
        #[test]
        fn a_list_that_is_written_is_read_as_the_same(
            lines in btree_map(0..=SERVER_ID_MAX, lines(), 0..8),
            version in any::<u64>(),
        ) {
            let servers = lines.iter().map(|(id, line)| (*id, spec(*id, line).unwrap())).collect();
            let written = ServerList { servers, version };

            let text = written.to_string();

            prop_assert_eq!(text.parse::<ServerList>(), Ok(written.clone()));
            prop_assert_eq!(text.replace('\n', ",").parse::<ServerList>(), Ok(written));
        }
    }

    #[test]
    fn a_client_may_write_commas_for_ends_of_lines() {
        assert_eq!(list(&THREE.replace('\n', ",")), list(THREE));
        assert_eq!(
            list(" server.1 = a:1:2;1 , server.1=b:1:2;1").to_string(),
            "server.1=b:1:2:participant;0.0.0.0:1\nversion=0"
        );
    }

    /// The codes were taken from ZooKeeper 3.9.5, but for `group` and for numbers above 254.
    #[test]
    fn a_list_that_is_wrong_says_why() {
        use ErrorCode::{BadArguments, MarshallingError};
        let cases = [
            ("server.x=h:1:2;1", "\"x\" is not the number of a server", MarshallingError),
            ("server.255=h:1:2", "255 is no server's number; write one from 0 to", BadArguments),
            ("server.-1=h:1:2", "-1 is no server's number", BadArguments),
            ("server.1=h", "server.1: the line \"h\" has no ports; write host", BadArguments),
            ("server.1=h:1:2,server.01=i:1:2", "server.1 is written twice", BadArguments),
            ("x=1", "x is no key of a list of servers", BadArguments),
            ("group.1=1:2", "group.1: a quorum is a majority of the servers", BadArguments),
            ("weight.1=2", "weight.1: a quorum is a majority of the servers", BadArguments),
            ("version=zz", "version=zz is not a hexadecimal number", MarshallingError),
            ("a=1\nserver.1=\\u12", "line 2: \\u is not followed", MarshallingError),
        ];
        for (text, start, code) in cases {
            let error = text.parse::<ServerList>().unwrap_err();
            assert!(error.to_string().starts_with(start), "{text:?} gave {error}");
            assert_eq!(error.code(), code, "{text:?}");
        }
    }

    #[test]
    fn a_whole_list_must_be_one_of_an_ensemble() {
        use ErrorCode::{BadArguments, MarshallingError};
        assert_eq!(ServerList::replaced(THREE, true), Ok(list(THREE)));
        let alone = "server.1=a:1:2;1";
        assert_eq!(ServerList::replaced(alone, false), Ok(list(alone)));
        let observed = "server.1=a:1:2;1,server.2=b:1:2:observer;1";
        let observers = "server.1=a:1:2:observer,server.2=b:1:2:observer";
        let cases = [
            (alone, true, "1 that vote are left; at least 2 must be", BadArguments),
            ("", true, "0 that vote are left; at least 2 must be", BadArguments),
            ("", false, "no ensemble is made of 0 that vote and 0 that observe", MarshallingError),
            (observed, true, "no ensemble is made of 1 that vote and 1", MarshallingError),
            (observers, true, "no ensemble is made of 0 that vote and 2", MarshallingError),
            (observers, false, "no ensemble is made of 0 that vote and 2", MarshallingError),
        ];
        for (text, standalone_enabled, start, code) in cases {
            let error = ServerList::replaced(text, standalone_enabled).unwrap_err();
            assert!(error.to_string().starts_with(start), "{text:?} gave {error}");
            assert_eq!(error.code(), code, "{text:?}");
        }
        assert_eq!(ServerList::replaced(observed, false), Ok(list(observed)));
    }

    #[test]
    fn servers_leave_then_join() {
        let cases: [(Option<&str>, Option<&str>, &str); 8] = [
            (None, None, THREE),
            (Some(""), Some(""), THREE),
            (None, Some("9"), THREE),
            (None, Some(" 3 ,9"), "server.1=a:1:2;2181,server.2=b:1:2;2181"),
            (
                Some(" server.4 = d:1:2 ; 1 "),
                Some("3"),
                "server.1=a:1:2;2181,server.2=b:1:2;2181,server.4=d:1:2;1",
            ),
            (
                Some("server.2=b:1:2:participant;3,x.4=d:1:2:observer;1"),
                Some("3"),
                "server.1=a:1:2;2181,server.2=b:1:2;3,server.4=d:1:2:observer;1",
            ),
            (Some("3=c:1:2;1"), None, "server.1=a:1:2;2181,server.2=b:1:2;2181,server.3=c:1:2;1"),
            (
                Some("server.4=c:1:2;1"),
                Some("3"),
                "server.1=a:1:2;2181,server.2=b:1:2;2181,server.4=c:1:2;1",
            ),
        ];
        for (joining, leaving, expected) in cases {
            let changed = list(THREE).changed(joining, leaving, true);
            assert_eq!(changed, Ok(list(expected)), "{joining:?} {leaving:?}");
        }
    }

    /// The codes were taken from ZooKeeper 3.9.5.
    #[test]
    fn a_change_that_is_wrong_says_why() {
        use ErrorCode::{BadArguments, MarshallingError};
        let cases = [
            ("server.x=h:1:2;1", "", "\"x\" is not the number of a server", MarshallingError),
            ("server.4", "", "\"server.4\" is no server; write server.N=host", BadArguments),
            ("server.4=a=b", "", "\"server.4=a=b\" is no server", BadArguments),
            ("server.4=h:1", "", "server.4: the line \"h:1\" has no election port", BadArguments),
            ("server.4=h:1:2", "", "server.4 joins without a port for clients", BadArguments),
            ("server.4=b:5:1;1", "", "server.4 joins at b:1, which server.2 has", BadArguments),
            ("server.4=d:1:2;1,server.5=d:2:3;1", "", "server.5 joins at d:2", BadArguments),
            ("", "x", "\"x\" is not the number of a server", MarshallingError),
            ("", "1", "1 that vote are left; at least 2 must be", BadArguments),
            ("server.2=b:1:2:observer;1", "", "1 that vote are left", BadArguments),
        ];
        for (joining, leaving, start, code) in cases {
            let error = list(THREE).changed(Some(joining), Some(leaving), true).unwrap_err();
            assert!(error.to_string().starts_with(start), "{joining} {leaving} gave {error}");
            assert_eq!(error.code(), code, "{joining} {leaving}");
        }
        assert!(list(THREE).changed(None, Some("1"), false).is_ok());
        assert!(list(THREE).changed(None, Some("1,2"), false).is_err());
    }
}
