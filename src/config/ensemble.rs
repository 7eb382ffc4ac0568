//! The servers of an ensemble, as `server.N` lines name them.

use super::error::printable;
use super::server_line;
use std::collections::BTreeMap;
use std::fmt;
use std::net::Ipv6Addr;
use std::str::FromStr;

/// The largest id of a server: session ids hold it in one byte, of which ZooKeeper keeps one value.
///
/// Source: ZooKeeper, `EphemeralType.validateServerId`.
pub const SERVER_ID_MAX: u64 = 254;

/// What a server of the ensemble is for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Role {
    /// It votes.
    Participant,
    /// It follows without a vote.
    Observer,
}

impl Role {
    /// Its name in a `server.N` line and in `peerType`.
    pub const fn name(self) -> &'static str {
        match self {
            Role::Participant => "participant",
            Role::Observer => "observer",
        }
    }

    /// The role of that name, in any case.
    pub(super) fn named(name: &str) -> Option<Role> {
        [Role::Participant, Role::Observer]
            .into_iter()
            .find(|role| name.eq_ignore_ascii_case(role.name()))
    }
}

/// One server of the ensemble: what stands behind `server.N=`.
///
/// It is written as ZooKeeper writes it: the role always, several addresses by the name of their
/// host, IPv6 addresses in full.
///
/// Source: ZooKeeper, `QuorumPeer.QuorumServer.toString`.
#[derive(Clone, Debug)]
pub struct ServerSpec {
    /// Where other servers reach it, in the order in which they try: host, port, and the port that
    /// ZooKeeper elects at. There is at least one.
    pub addresses: Vec<(String, u16, u16)>,
    /// What it is for.
    pub role: Role,
    /// Where clients reach it: host (`None`: every address of the machine) and port; `None`: the
    /// line does not say.
    pub client: Option<(Option<String>, u16)>,
}

/// What is wrong with a `server.N` line.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the line {line:?} {problem}; write {expected}")]
pub struct BadServerLine {
    line: String,
    problem: String,
    expected: String,
}

/// Two are the same if they are written the same: the order in which addresses are tried is each
/// server's own, and `0.0.0.0` is what a client's address without a host means.
impl PartialEq for ServerSpec {
    fn eq(&self, other: &ServerSpec) -> bool {
        self.to_string() == other.to_string()
    }
}

impl Eq for ServerSpec {}

impl FromStr for ServerSpec {
    type Err = BadServerLine;

    fn from_str(line: &str) -> Result<ServerSpec, BadServerLine> {
        let bad = |(problem, expected): (String, String)| BadServerLine {
            line: printable(line),
            problem: printable(&problem),
            expected,
        };
        server_line::parse(line).map_err(bad)
    }
}

impl fmt::Display for ServerSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut addresses: Vec<(String, u16, u16)> = self
            .addresses
            .iter()
            .map(|(host, quorum, election)| (canonical(host), *quorum, *election))
            .collect();
        addresses.sort();
        for (position, (host, quorum, election)) in addresses.iter().enumerate() {
            let separator = if position == 0 { "" } else { "|" };
            write!(f, "{separator}{}:{quorum}:{election}", bracketed(host))?;
        }
        write!(f, ":{}", self.role.name())?;
        if let Some((host, port)) = &self.client {
            let host = canonical(host.as_deref().unwrap_or("0.0.0.0"));
            write!(f, ";{}:{port}", bracketed(&host))?;
        }
        Ok(())
    }
}

impl ServerSpec {
    /// An address of this server that is also one of `other`, as `host:port`, where two servers
    /// cannot both listen.
    ///
    /// Names are compared, never resolved. The addresses that every machine has for itself do not
    /// count.
    ///
    /// Source: ZooKeeper, `QuorumPeer.QuorumServer.checkAddressDuplicate`.
    pub fn shared_address(&self, other: &ServerSpec) -> Option<String> {
        let others = other.sockets();
        let shared = self.sockets().into_iter().find(|socket| others.contains(socket));
        shared.map(|(host, port)| format!("{}:{port}", bracketed(&host)))
    }

    /// An address at which both servers wait for their peers.
    pub(super) fn shared_peer_address(&self, other: &ServerSpec) -> Option<String> {
        let peers = |spec: &ServerSpec| -> Vec<(String, u16)> {
            spec.addresses.iter().map(|(host, port, _)| (comparable(host), *port)).collect()
        };
        let others = peers(other);
        let shared = peers(self).into_iter().find(|socket| others.contains(socket));
        shared.map(|(host, port)| format!("{}:{port}", bracketed(&host)))
    }

    /// Every address that means this machine and no other.
    fn sockets(&self) -> Vec<(String, u16)> {
        let peers = self.addresses.iter().flat_map(|(host, quorum, election)| {
            [(comparable(host), *quorum), (comparable(host), *election)]
        });
        let client = self
            .client
            .iter()
            .filter_map(|(host, port)| Some((comparable(host.as_deref()?), *port)));
        peers.chain(client).filter(|(host, _)| !is_everywhere(host)).collect()
    }
}

/// Whether two hosts are spelled differently at most.
pub(super) fn is_same_host(one: &str, other: &str) -> bool {
    comparable(one) == comparable(other)
}

/// A host as it is compared with others.
fn comparable(host: &str) -> String {
    canonical(host).to_ascii_lowercase()
}

/// Whether the host is a different machine on each machine: loopback, or every address.
fn is_everywhere(canonical_host: &str) -> bool {
    let address = canonical_host.parse::<std::net::IpAddr>();
    canonical_host == "localhost"
        || address.is_ok_and(|address| address.is_loopback() || address.is_unspecified())
}

/// A host as Java writes it: an IPv6 address has all its groups, or is the IPv4 address in it.
///
/// Source: Java, `Inet6Address.getHostAddress`.
fn canonical(host: &str) -> String {
    let (bare, zone) = host.split_once('%').map_or((host, None), |(bare, zone)| (bare, Some(zone)));
    let Ok(address) = bare.parse::<Ipv6Addr>() else { return host.to_owned() };
    if let Some(mapped) = address.to_ipv4_mapped() {
        return mapped.to_string();
    }
    let groups = address.segments().map(|group| format!("{group:x}")).join(":");
    zone.map_or_else(|| groups.clone(), |zone| format!("{groups}%{zone}"))
}

/// A host as it stands before a colon.
fn bracketed(host: &str) -> String {
    if host.contains(':') { format!("[{host}]") } else { host.to_owned() }
}

/// The ensemble that a server belongs to.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct EnsembleConfig {
    /// This server's id (`dataDir/myid`), at most [`SERVER_ID_MAX`].
    pub my_id: u64,
    /// Every server of the ensemble, this one among them (`server.N`).
    pub servers: BTreeMap<u64, ServerSpec>,
    /// The configuration's version: what `dynamicConfigFile` ends with, else 0.
    pub version: u64,
    /// Ticks that following a leader may take to begin (`initLimit`).
    pub init_limit_ticks: u32,
    /// Ticks without a leader after which no client is served (`syncLimit`).
    pub sync_limit_ticks: u32,
    /// Whether to listen on all addresses (`quorumListenOnAllIPs`), not only that of the own line.
    pub listen_on_all_addresses: bool,
    /// Whether one server alone would be no ensemble (`standaloneEnabled`): then a change must leave
    /// two that vote.
    pub standalone_enabled: bool,
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::option;
    use proptest::prelude::*;

    /// Lines that are right, with hosts that are the same in several spellings among them.
    pub(in crate::config) fn lines() -> impl Strategy<Value = String> {
        let host = prop_oneof![
            1 => "[a-c][.-][a-c]|[aA]",
            1 => any::<[u8; 4]>().prop_map(|octets| std::net::Ipv4Addr::from(octets).to_string()),
            1 => any::<[u16; 8]>().prop_map(|groups| format!("[{}]", Ipv6Addr::from(groups))),
            4 => proptest::sample::select(vec![
                "10.0.0.1",
                "[::ffff:10.0.0.1]",
                "[::ffff:a00:1]",
                "[::1]",
                "[0:0::1]",
                "[0:0:0:0:0:0:0:1]",
                "[fe80::1%eth0]",
                "[::]",
            ])
            .prop_map(str::to_owned),
        ]
        .boxed();
        let address = (host.clone(), 1_u16..3, 3_u16..5)
            .prop_map(|(host, quorum, election)| format!("{host}:{quorum}:{election}"));
        let role = proptest::sample::select(vec!["", ":participant", ":observer", ":OBSERVER"]);
        let client = option::of((option::of(host), 1_u16..));
        (vec(address, 1..4), role, client).prop_map(|(addresses, role, client)| {
            let client = client.map_or_else(String::new, |(host, port)| {
                host.map_or_else(|| format!(";{port}"), |host| format!(";{host}:{port}"))
            });
            format!("{}{role}{client}", addresses.join("|"))
        })
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_as_the_same_and_written_the_same(line in lines()) {
            let read = spec(&line);

            let again = spec(&read.to_string());

            prop_assert_eq!(&again, &read, "{}", line);
            prop_assert_eq!(again.role, read.role);
            prop_assert_eq!(again.addresses.len(), read.addresses.len(), "{}", line);
            prop_assert_eq!(again.client.map(|(_, port)| port), read.client.map(|(_, port)| port));
        }
    }

    fn spec(line: &str) -> ServerSpec {
        line.parse().unwrap_or_else(|error| panic!("{error}"))
    }

    /// Each result was taken from ZooKeeper 3.9.5.
    #[test]
    fn a_line_is_written_as_zookeeper_writes_it() {
        let cases = [
            ("h:1:2", "h:1:2:participant"),
            ("H:1:2;2181", "H:1:2:participant;0.0.0.0:2181"),
            ("h:1:2;", "h:1:2:participant"),
            ("h:1:2:OBSERVER;h2:2181", "h:1:2:observer;h2:2181"),
            ("127.0.0.1:1:2;[::1]:2181", "127.0.0.1:1:2:participant;[0:0:0:0:0:0:0:1]:2181"),
            ("[::1]:1:2;[::]:2181", "[0:0:0:0:0:0:0:1]:1:2:participant;[0:0:0:0:0:0:0:0]:2181"),
            ("[fe80::1%eth0]:1:2", "[fe80:0:0:0:0:0:0:1%eth0]:1:2:participant"),
            ("[::ffff:10.0.0.1]:1:2", "10.0.0.1:1:2:participant"),
            ("b:1:2|a:3:4;2181", "a:3:4|b:1:2:participant;0.0.0.0:2181"),
            ("b:1:2|a:3:4:observer;1", "a:3:4|b:1:2:observer;0.0.0.0:1"),
            ("b:1:2:observer|a:3:4", "a:3:4|b:1:2:observer"),
            ("a:3:4|a:1:2;1", "a:1:2|a:3:4:participant;0.0.0.0:1"),
            ("a:1:2|a:1:2", "a:1:2:participant"),
            ("[::ffff:10.0.0.1]:1:2|10.0.0.1:1:2", "10.0.0.1:1:2:participant"),
            ("[::1]:1:2|[0:0::1]:1:2:observer", "[0:0:0:0:0:0:0:1]:1:2:observer"),
        ];
        for (line, written) in cases {
            assert_eq!(spec(line).to_string(), written);
            assert_eq!(spec(written).to_string(), written, "it is read as it is written");
        }
    }

    #[test]
    fn addresses_are_tried_in_the_order_of_the_line() {
        let several = spec("b:1:2|a:3:4:observer;[::1]:5");

        assert_eq!(several.addresses, [("b".to_owned(), 1, 2), ("a".to_owned(), 3, 4)]);
        assert_eq!(several.role, Role::Observer);
        assert_ne!(several, spec("b:1:2|a:3:4;[::1]:5"));
        assert_eq!(several.client, Some((Some("::1".to_owned()), 5)));
    }

    #[test]
    fn a_bad_line_is_shown_with_what_is_wrong_and_what_to_write() {
        let error = "h:1".parse::<ServerSpec>().unwrap_err().to_string();

        let start = "the line \"h:1\" has no election port; write host:quorumPort:electionPort[:";
        assert!(error.starts_with(start), "{error}");
        assert!("h".repeat(100_000).parse::<ServerSpec>().unwrap_err().to_string().len() < 400);
    }

    #[test]
    fn servers_share_addresses_that_mean_one_machine() {
        let cases = [
            ("h:1:2;9", "h:3:4;9", None),
            ("h:1:2;9", "H:3:1;9", Some("h:1")),
            ("h:1:2;h:9", "i:1:2;h:9", Some("h:9")),
            ("h:1:2;h:9", "h:9:3", Some("h:9")),
            ("i:1:2|h:1:2", "h:7:2", Some("h:2")),
            ("[fd00::1]:1:2", "[fd00:0::1]:1:2", Some("[fd00:0:0:0:0:0:0:1]:1")),
            ("localhost:1:2;9", "localhost:1:2;9", None),
            ("127.0.0.1:1:2;127.0.0.1:9", "127.0.0.1:1:2;127.0.0.1:9", None),
            ("[::]:1:2;0.0.0.0:9", "[::]:1:2;0.0.0.0:9", None),
        ];
        for (one, other, shared) in cases {
            assert_eq!(spec(one).shared_address(&spec(other)).as_deref(), shared, "{one} {other}");
        }
    }
}
