//! How the server is set up: `zoo.cfg` and the command line become one typed [`Config`].
//!
//! Input is parsed into types here, at the door, and never checked again inside. The table
//! [`keys::KEYS`] says what each key means and whether it is honoured; bounds that are no keys are
//! in [`limits`]. This room opens the configuration and what it points to (`dynamicConfigFile` and, for a
//! member of an ensemble, `dataDir/myid`), and never logs: what an operator should hear is returned as
//! [`Warning`]s.

mod draft;
mod ensemble;
mod error;
mod form;
pub mod keys;
pub mod limits;
mod membership;
mod server_line;
mod server_list;
mod settings;
mod suggest;
#[cfg(test)]
mod tests;
mod texts;
pub mod zoo_cfg;

pub use ensemble::{BadServerLine, EnsembleConfig, Role, SERVER_ID_MAX, ServerSpec};
pub use error::{ConfigError, Level, Place, Warning};
pub use server_list::{BadServerList, ServerList};

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

/// The configuration of a server that is started without a file.
const EMBEDDED_ZOO_CFG: &str = "tickTime=2000\ndataDir=./data\nclientPort=2181\n";

/// What the messages call it.
const EMBEDDED_ORIGIN: &str = "built-in configuration";

/// Everything the server is told, checked and in its own types.
///
/// Each field names its key in `zoo.cfg`; the defaults are those of [`keys::KEYS`].
#[derive(Clone, Debug, PartialEq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own in the file")]
pub struct Config {
    /// Where the tree's image lives (`dataDir`).
    pub data_dir: PathBuf,
    /// Where the log lives (`dataLogDir`; unset: `data_dir`).
    pub data_log_dir: PathBuf,
    /// Whether a missing `data_dir` is created (`datadir.autocreate`); else the start fails.
    pub data_dir_autocreate: bool,
    /// Host name or IP address to listen on (`clientPortAddress`, `server.N`); `None`: every one.
    pub client_address: Option<String>,
    /// Port to listen on (`clientPort`, `server.N`); 0 takes any free one.
    pub client_port: u16,
    /// Connections the kernel queues before they are accepted (`clientPortListenBacklog`); `None`:
    /// the system's default.
    pub listen_backlog: Option<u32>,
    /// One tick (`tickTime`).
    pub tick_time_ms: u32,
    /// The shortest session time-out a client gets (`minSessionTimeout`; unset: two ticks).
    pub min_session_timeout_ms: u32,
    /// The longest session time-out a client gets (`maxSessionTimeout`; unset: twenty ticks).
    pub max_session_timeout_ms: u32,
    /// Connections from one address (`maxClientCnxns`); 0: unlimited.
    pub max_client_cnxns: u32,
    /// Connections in all (`maxCnxns`); 0: unlimited.
    pub max_cnxns: u32,
    /// Bytes of a frame; one byte more closes the connection (`jute.maxbuffer`).
    pub jute_maxbuffer: usize,
    /// Requests in the server above which it stops reading (`globalOutstandingLimit`).
    pub global_outstanding_limit: usize,
    /// Milliseconds a connection may stay without a session (`nio.sessionlessCnxnTimeout`).
    pub sessionless_timeout_ms: u32,
    /// Whether client sockets send TCP keep-alives (`clientTcpKeepAlive`).
    pub client_tcp_keep_alive: bool,
    /// The four-letter words that are answered (`4lw.commands.whitelist`).
    pub four_letter_whitelist: FourLetterWhitelist,
    /// Whether ACLs are not checked (`skipACL`).
    pub skip_acl: bool,
    /// Whether hard quotas refuse writes (`enforceQuota`).
    pub enforce_quota: bool,
    /// Whether TTL nodes exist (`extendedTypesEnabled`).
    pub extended_types_enabled: bool,
    /// Whether `reconfig` is allowed (`reconfigEnabled`).
    pub reconfig_enabled: bool,
    /// Whether a server without a quorum serves reads (`readonlymode.enabled`).
    pub read_only_mode: bool,
    /// Whether the scheme `digest` exists (`DigestAuthenticationProvider.enabled`).
    pub digest_auth_enabled: bool,
    /// How `digest` hashes (`DigestAuthenticationProvider.digestAlg`).
    pub digest_algorithm: DigestAlgorithm,
    /// The digest identity that passes every ACL, as `user:hash`
    /// (`DigestAuthenticationProvider.superDigest`).
    pub super_digest: Option<String>,
    /// Schemes of which a client needs one identity before it is served
    /// (`enforce.auth.schemes`, when `enforce.auth.enabled`); empty: none needed.
    pub enforce_auth_schemes: Vec<AuthScheme>,
    /// Milliseconds between two searches for nodes to reap (`znode.container.checkIntervalMs`).
    pub container_check_interval_ms: u64,
    /// Nodes reaped in a minute at most (`znode.container.maxPerMinute`).
    pub container_max_per_minute: u32,
    /// Milliseconds after which a container that never had a child is reaped; 0: never
    /// (`znode.container.maxNeverUsedIntervalMs`).
    pub container_max_never_used_interval_ms: u64,
    /// Log entries after which a snapshot lets the log be purged (`snapCount`).
    pub snap_count: u64,
    /// KiB of log after which it does so too; `None`: size does not count (`snapSizeLimitInKb`).
    pub snap_size_limit_kib: Option<u64>,
    /// Milliseconds of a sync above which it is logged and counted (`fsync.warningthresholdms`).
    pub fsync_warning_threshold_ms: u64,
    /// How fast sessions may be opened (`connection_throttle_*`).
    pub connection_throttle: ConnectionThrottle,
    /// How many requests may be under way (`request_throttle_*`, `throttled_op_wait_time`).
    pub request_throttle: RequestThrottle,
    /// What large requests may take together (`largeRequest*`).
    pub large_requests: LargeRequests,
    /// The HTTP AdminServer (`admin.*`).
    pub admin: Admin,
    /// The metrics endpoint (`metricsProvider.*`).
    pub metrics: Metrics,
    /// The ensemble this server belongs to (`server.N`); `None`: it is standalone.
    pub ensemble: Option<EnsembleConfig>,
    /// Whether every read is answered with what was committed when it came
    /// (`rookeeper.linearizableReads`), as if the client had sent `sync` before it.
    pub linearizable_reads: bool,
    /// The text of the file, as the command `initial_configuration` shows it.
    pub text: String,
}

/// The four-letter words that are answered.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum FourLetterWhitelist {
    /// `*`: every word the server knows.
    All,
    /// These, and `srvr`, which cannot be switched off.
    Only(BTreeSet<String>),
}

impl FourLetterWhitelist {
    /// Whether `word` is answered.
    ///
    /// Source: ZooKeeper, `FourLetterCommands.isEnabled`.
    pub fn allows(&self, word: &str) -> bool {
        match self {
            FourLetterWhitelist::All => true,
            FourLetterWhitelist::Only(words) => word == "srvr" || words.contains(word),
        }
    }
}

/// The hash behind the scheme `digest`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum DigestAlgorithm {
    /// ZooKeeper's default; identities look the same everywhere.
    Sha1,
    /// SHA-2 with 256 bits.
    Sha256,
    /// SHA-2 with 384 bits.
    Sha384,
    /// SHA-2 with 512 bits.
    Sha512,
    /// SHA-3 with 256 bits.
    Sha3_256,
    /// SHA-3 with 384 bits.
    Sha3_384,
    /// SHA-3 with 512 bits.
    Sha3_512,
}

/// A scheme that `enforce.auth.schemes` may demand of a client.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum AuthScheme {
    /// User and password, sent with `addauth`.
    Digest,
    /// The client's address; every connection has it.
    Ip,
}

impl DigestAlgorithm {
    /// Java's name of it, as the key has it.
    pub const fn name(self) -> &'static str {
        match self {
            DigestAlgorithm::Sha1 => "SHA1",
            DigestAlgorithm::Sha256 => "SHA-256",
            DigestAlgorithm::Sha384 => "SHA-384",
            DigestAlgorithm::Sha512 => "SHA-512",
            DigestAlgorithm::Sha3_256 => "SHA3-256",
            DigestAlgorithm::Sha3_384 => "SHA3-384",
            DigestAlgorithm::Sha3_512 => "SHA3-512",
        }
    }
}

impl AuthScheme {
    /// The scheme's name in ACLs and in the key.
    pub const fn name(self) -> &'static str {
        match self {
            AuthScheme::Digest => "digest",
            AuthScheme::Ip => "ip",
        }
    }
}

/// A token bucket that handshakes draw from.
///
/// Source: ZooKeeper, `BlueThrottle`.
#[derive(Clone, Debug, PartialEq)]
pub struct ConnectionThrottle {
    /// Size of the bucket (`connection_throttle_tokens`); 0: not throttled.
    pub tokens: u32,
    /// Milliseconds between two refills (`connection_throttle_fill_time`).
    pub fill_time_ms: u32,
    /// Tokens of one refill (`connection_throttle_fill_count`).
    pub fill_count: u32,
    /// Milliseconds between two changes of the drop probability; `None`: handshakes are not
    /// dropped at random (`connection_throttle_freeze_time`).
    pub freeze_time_ms: Option<u32>,
    /// Added to the drop probability when the bucket is empty (`connection_throttle_drop_increase`).
    pub drop_increase: f64,
    /// Taken from it while the bucket fills (`connection_throttle_drop_decrease`).
    pub drop_decrease: f64,
    /// Share of tokens that may be taken while it is lowered (`connection_throttle_decrease_ratio`).
    pub decrease_ratio: f64,
    /// Whether the two weights below count (`connection_throttle_weight_enabled`); else each
    /// handshake takes one token.
    pub weight_enabled: bool,
    /// Tokens of a new session (`connection_throttle_global_session_weight`).
    pub global_session_weight: u32,
    /// Tokens of a session that comes back (`connection_throttle_renew_session_weight`).
    pub renew_session_weight: u32,
}

/// The queue in front of the request line.
///
/// Source: ZooKeeper, `RequestThrottler`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RequestThrottle {
    /// Requests under way above which new ones wait (`request_throttle_max_requests`); 0: never.
    pub max_requests: u32,
    /// Milliseconds between two looks at a request that waits (`request_throttle_stall_time`).
    pub stall_time_ms: u32,
    /// Whether a stale request is dropped (`request_throttle_drop_stale`).
    pub drop_stale: bool,
    /// Whether a request of a closed connection is stale (`request_stale_connection_check`).
    pub stale_connection_check: bool,
    /// Whether a request older than its session's time-out is (`request_stale_latency_check`).
    pub stale_latency_check: bool,
    /// Milliseconds in the queue after which a request is answered `ThrottledOp`
    /// (`throttled_op_wait_time`); 0: never.
    pub throttled_op_wait_time_ms: u32,
}

/// A budget that large requests share.
///
/// Source: ZooKeeper, `ZooKeeperServer.checkRequestSizeWhenReceivingMessage`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct LargeRequests {
    /// Bytes above which a request is large (`largeRequestThreshold`); `None`: none is.
    pub threshold_bytes: Option<u32>,
    /// Bytes of all large requests under way (`largeRequestMaxBytes`); one more closes its
    /// connection.
    pub bytes_max: u32,
}

/// The HTTP AdminServer, as the file asks for it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Admin {
    /// `admin.enableServer`.
    pub enabled: bool,
    /// Host name or IP address to listen on (`admin.serverAddress`).
    pub address: String,
    /// Port to listen on (`admin.serverPort`).
    pub port: u16,
    /// Path before the commands (`admin.commandURL`).
    pub command_url: String,
}

/// The metrics endpoint, as the file asks for it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Metrics {
    /// `metricsProvider.className` names the Prometheus provider.
    pub enabled: bool,
    /// Host name or IP address to listen on (`metricsProvider.httpHost`).
    pub host: String,
    /// Port to listen on (`metricsProvider.httpPort`).
    pub port: u16,
}

impl Config {
    /// A server started without a file: data in `./data`, port 2181, ticks of 2,000 ms.
    pub fn embedded_default() -> Self {
        let tick_time_ms = 2_000;
        Self {
            data_dir: PathBuf::from("./data"),
            data_log_dir: PathBuf::from("./data"),
            client_port: 2_181,
            tick_time_ms,
            min_session_timeout_ms: tick_time_ms * draft::TICKS_MIN,
            max_session_timeout_ms: tick_time_ms * draft::TICKS_MAX,
            text: EMBEDDED_ZOO_CFG.to_owned(),
            ..draft::defaults()
        }
    }

    /// [`embedded_default`](Self::embedded_default), changed by the command line.
    ///
    /// `overrides` is as in [`from_zoo_cfg`](Self::from_zoo_cfg).
    ///
    /// # Errors
    ///
    /// As [`from_zoo_cfg`](Self::from_zoo_cfg).
    pub fn embedded(overrides: &[(String, String)]) -> Result<(Self, Vec<Warning>), ConfigError> {
        Self::from_zoo_cfg(EMBEDDED_ZOO_CFG, overrides, EMBEDDED_ORIGIN)
    }

    /// Reads the text of a `zoo.cfg`, already [decoded](zoo_cfg::decode).
    ///
    /// `overrides` are the command line's names and values, the last of a name counts:
    /// - a key of the file (`dataDir`) replaces what the file says;
    /// - a system property without prefix (`jute.maxbuffer`) does so too;
    /// - `zookeeper.<key>` sets the key unless the file has it: ZooKeeper sets the property again
    ///   when it reads the file.
    ///
    /// `origin` is what messages call the file.
    ///
    /// # Errors
    ///
    /// The first malformed, contradictory or refused setting, in the order of the file; for a member
    /// of an ensemble also what is wrong with `dynamicConfigFile` and `dataDir/myid`, which it reads.
    ///
    /// Source: ZooKeeper, `QuorumPeerConfig.parseProperties`.
    pub fn from_zoo_cfg(
        text: &str,
        overrides: &[(String, String)],
        origin: &str,
    ) -> Result<(Self, Vec<Warning>), ConfigError> {
        let mut warnings = Vec::new();
        let settings = settings::collect(text, overrides, origin, &mut warnings)?;
        let mut draft = draft::Draft::new(text, origin);
        for setting in &settings {
            draft.take(setting, &mut warnings)?;
        }
        let config = draft.finish(&mut warnings)?;
        Ok((config, warnings))
    }

    /// Reads the file at `path`; `overrides` is as in [`from_zoo_cfg`](Self::from_zoo_cfg).
    ///
    /// # Errors
    ///
    /// [`ConfigError::Unreadable`], also for a file beyond
    /// [`ZOO_CFG_BYTES_MAX`](limits::ZOO_CFG_BYTES_MAX); else as
    /// [`from_zoo_cfg`](Self::from_zoo_cfg).
    pub fn from_file(
        path: &Path,
        overrides: &[(String, String)],
    ) -> Result<(Self, Vec<Warning>), ConfigError> {
        let text = read_file(path)?;
        Self::from_zoo_cfg(&text, overrides, &path.display().to_string())
    }
}

/// Reads and decodes a file of `zoo.cfg`'s form.
///
/// # Errors
///
/// [`ConfigError::Unreadable`].
fn read_file(path: &Path) -> Result<String, ConfigError> {
    let unreadable = |problem: String| ConfigError::Unreadable {
        path: path.to_owned(),
        problem: problem.into(),
    };
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(limits::ZOO_CFG_BYTES_MAX + 1).read_to_end(&mut bytes))
        .map_err(|error| unreadable(error.to_string()))?;
    if limits::ZOO_CFG_BYTES_MAX < bytes.len() as u64 {
        let limit = limits::ZOO_CFG_BYTES_MAX;
        return Err(unreadable(format!("it is larger than {limit} bytes")));
    }
    Ok(zoo_cfg::decode(&bytes))
}
