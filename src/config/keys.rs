//! Every key of `zoo.cfg` and every system property that ZooKeeper's server reads, and those that only
//! Rookeeper has (`rookeeper.*`): one table.
//!
//! The parser, the manual and the tests are made from [`KEYS`]. A row says how the key is spelled,
//! what it means, and honestly what Rookeeper does with it: nothing that is accepted without
//! effect could hurt whoever wrote it, and what could is refused.
//!
//! Source: ZooKeeper 3.9, `QuorumPeerConfig` and the classes that read `zookeeper.*` properties.

use super::form::{Form, put, put_from};
use super::server_list::NO_GROUPS;
use super::{Level, texts};
use Level::{Debug, Info, Warn};
use Verdict::{AcceptedWithoutEffect, Honoured, Refused, RefusedInEnsemble};

/// One row: a key, or a family of keys whose name ends with `*`.
pub struct Key {
    /// As written in `zoo.cfg`.
    pub name: &'static str,
    /// Unit of the value; empty if it has none.
    pub unit: &'static str,
    /// The text that means the same as leaving the key out; empty if there is none.
    pub default: &'static str,
    /// What it is for, in one sentence.
    pub meaning: &'static str,
    /// What Rookeeper does with it.
    pub verdict: Verdict,
    /// Where it may be written.
    pub spelling: Spelling,
    /// How the value is written, and the field it goes to.
    pub(super) form: Form,
}

impl Key {
    /// Whether the value must not appear in a message.
    pub fn is_secret(&self) -> bool {
        let name = self.name.to_ascii_lowercase();
        ["password", "superdigest", "*"].iter().any(|end| name.ends_with(end))
            && !["server.*", "group*", "weight*"].contains(&name.as_str())
    }
}

/// What Rookeeper does with a key.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Verdict {
    /// It works as in ZooKeeper.
    Honoured,
    /// It is read, found well-formed and told at that level with the reason; nothing follows.
    AcceptedWithoutEffect(Level, &'static str),
    /// The server does not start, for the reason; the key's default is accepted.
    Refused(&'static str),
    /// A member of an ensemble does not start, for the reason; for a standalone server nothing follows.
    RefusedInEnsemble(&'static str),
}

/// Where a key may be written.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Spelling {
    /// In `zoo.cfg` only (and as an override by our own command line).
    File,
    /// In `zoo.cfg`, or with `-Dzookeeper.` before it.
    Property,
    /// With `-D` as it stands; also in `zoo.cfg`, where ZooKeeper would pass over it.
    BareProperty,
}

/// The row of `name`; of several families the one with the longest name.
pub fn find(name: &str) -> Option<&'static Key> {
    let exact = KEYS.iter().find(|key| key.name == name);
    exact.or_else(|| {
        let family =
            |key: &&Key| key.name.strip_suffix('*').is_some_and(|stem| name.starts_with(stem));
        KEYS.iter().filter(family).max_by_key(|key| key.name.len())
    })
}

/// Headlines of ZooKeeper's manual that differ from the key they describe. Written in a file they
/// do nothing, there as here, so the warning names the key.
pub const MANUAL_NAMES: &[(&str, &str)] = &[
    ("connectionMaxTokens", "connection_throttle_tokens"),
    ("connectionTokenFillTime", "connection_throttle_fill_time"),
    ("connectionTokenFillCount", "connection_throttle_fill_count"),
    ("connectionFreezeTime", "connection_throttle_freeze_time"),
    ("connectionDropIncrease", "connection_throttle_drop_increase"),
    ("connectionDropDecrease", "connection_throttle_drop_decrease"),
    ("connectionDecreaseRatio", "connection_throttle_decrease_ratio"),
    ("requestThrottleLimit", "request_throttle_max_requests"),
    ("requestThrottleStallTime", "request_throttle_stall_time"),
    ("requestThrottleDropStale", "request_throttle_drop_stale"),
    ("requestStaleConnectionCheck", "request_stale_connection_check"),
    ("requestStaleLatencyCheck", "request_stale_latency_check"),
    ("throttledOpWaitTime", "throttled_op_wait_time"),
];

/// Why what is between servers does not matter to a standalone one.
pub(super) const SINGLE: &str = "a single server has no peers";
const ZAB: &str = "it tunes how ZooKeeper's servers agree; Rookeeper's do so by Raft";
const ONE_PORT: &str = "servers talk, and elect, over the quorum port alone";
const CATCH_UP: &str =
    "a server that lags gets the end of the log, or a snapshot where that is not enough";
const ADDRESSES: &str = "a member may always have several addresses, and they are tried in turn";
const PEER_TLS_LATER: &str = "TLS between servers comes with a later release";
const PEER_TLS: &str =
    "TLS between servers comes with a later release, and until then they would talk in the clear";
const PEER_SASL: &str = "SASL between servers comes with a later release, and until then no server would show who it is";
const TUNING: &str = "it tunes threads and buffers of ZooKeeper that Rookeeper does not have";
const DISK: &str = "Rookeeper stores log and snapshots in its own format and purges them itself";
const LOGGING: &str = "Rookeeper logs to standard error";
const ADMIN_LATER: &str = "the AdminServer comes with a later release";
const METRICS_LATER: &str = "the metrics endpoint comes with a later release";
const SASL_LATER: &str = "SASL comes with a later release; until then no client can log in with it";
/// Why nothing with TLS is served.
pub(super) const TLS_LATER: &str =
    "TLS comes with a later release, and no port is served in its place";

const I32_MAX: i64 = i32::MAX as i64;
const I64_MAX: i64 = i64::MAX;
/// The longest tick of which twenty still fit the int in which a client is told its time-out.
const TICK_MS_MAX: i64 = I32_MAX / super::draft::TICKS_MAX as i64;

// Forms of keys that go nowhere; they are checked all the same.
const COUNT: Form = Form::Int { min: 0, max: I32_MAX, set: |_, _| Some(()) };
const SIGNED: Form = Form::Int { min: -1, max: I64_MAX, set: |_, _| Some(()) };
const PORT: Form = Form::Int { min: 0, max: 65_535, set: |_, _| Some(()) };
const REAL: Form = Form::Real { min: -1e9, max: 1e9, set: |_, _| () };
const FLAG: Form = Form::Flag(|_, _| ());
const TEXT: Form = Form::Text(|_, _| Ok(()));

const DEFAULT_PROVIDER: &str = "org.apache.zookeeper.metrics.impl.DefaultMetricsProvider";
const NULL_PROVIDER: &str = "org.apache.zookeeper.metrics.impl.NullMetricsProvider";
const PROMETHEUS: &str = "org.apache.zookeeper.metrics.prometheus.PrometheusMetricsProvider";
const CNXN_FACTORIES: &[&str] = &[
    "org.apache.zookeeper.server.NIOServerCnxnFactory",
    "org.apache.zookeeper.server.NettyServerCnxnFactory",
];
const AUTH_PROVIDERS: &[&str] = &[
    "org.apache.zookeeper.server.auth.DigestAuthenticationProvider",
    "org.apache.zookeeper.server.auth.IPAuthenticationProvider",
];

/// One line or two a row: name, unit, default, form, verdict, meaning; under their spelling.
macro_rules! keys {
    ($($spelling:ident { $($name:literal [$unit:literal] $default:tt
        $form:expr, $verdict:expr, $meaning:literal;)* })*) => {
        &[$($(Key {
            name: $name,
            unit: $unit,
            default: $default,
            meaning: $meaning,
            verdict: $verdict,
            spelling: Spelling::$spelling,
            form: $form,
        },)*)*]
    };
}

/// The table. Rows stand together by what they are about.
#[rustfmt::skip] // The rows are a table: one statement a row, not one field a line.
pub static KEYS: &[Key] = keys! {
File {
    // Where the data is and where clients connect.
    "dataDir" [""] "" Form::Text(texts::data_dir), Honoured,
        "Directory of the tree's image; required in a file.";
    "dataLogDir" [""] "" Form::Text(texts::data_log_dir), Honoured,
        "Directory of the log; unset, the data directory.";
    "clientPort" [""] "" Form::Int { min: 0, max: 65_535, set: |d, v| put_from(&mut d.client_port, 0, v) },
        Honoured, "Port for clients; 0 takes any free one; unset, that of the server.N line.";
    "clientPortAddress" [""] "" Form::Text(texts::client_address), Honoured,
        "Address to listen on for clients; unset, every one.";
    "clientPortListenBacklog" [""] "-1"
        Form::Int { min: -1, max: I32_MAX, set: |d, v| put_from(&mut d.config.listen_backlog, 1, v) },
        Honoured, "Connections the kernel queues before they are accepted; -1, the system's default.";
    "secureClientPort" [""] "" PORT, Refused(TLS_LATER), "Port for clients with TLS.";
    "secureClientPortAddress" [""] "" TEXT, Refused(TLS_LATER), "Address to listen on with TLS.";
    "maxClientCnxns" [""] "60" Form::Int { min: -1, max: I32_MAX, set: |d, v| put(&mut d.config.max_client_cnxns, v.max(0)) },
        Honoured, "Connections from one address; 0, unlimited.";

    // Time.
    "tickTime" ["ms"] "3000" Form::Int { min: 1, max: TICK_MS_MAX, set: |d, v| put(&mut d.config.tick_time_ms, v) },
        Honoured, "One tick, the unit of session time-outs.";
    "minSessionTimeout" ["ms"] "-1"
        Form::Int { min: -1, max: I32_MAX, set: |d, v| put_from(&mut d.min_session_timeout_ms, 0, v) },
        Honoured, "Shortest session time-out a client gets; -1, two ticks.";
    "maxSessionTimeout" ["ms"] "-1"
        Form::Int { min: -1, max: I32_MAX, set: |d, v| put_from(&mut d.max_session_timeout_ms, 0, v) },
        Honoured, "Longest session time-out a client gets; -1, twenty ticks.";

    // The ensemble.
    "server.*" [""] "" Form::Text(texts::server), Honoured,
        "A member, and the port of its clients; one line alone is a standalone server.";
    "standaloneEnabled" [""] "true" Form::Flag(|d, v| d.standalone_enabled = v), Honoured,
        "Whether one server alone is standalone; else it is an ensemble of one.";
    "reconfigEnabled" [""] "false" Form::Flag(|d, v| d.config.reconfig_enabled = v), Honoured,
        "Whether reconfig is allowed.";
    "dynamicConfigFile" [""] "" Form::Text(texts::dynamic_config_file), Honoured,
        "File with the server.N lines; its name ends with their version, in hexadecimal after a dot.";
    "localSessionsEnabled" [""] "false" FLAG,
        AcceptedWithoutEffect(Info, "every session is a global one"), "Whether sessions start local.";
    "localSessionsUpgradingEnabled" [""] "false" FLAG,
        AcceptedWithoutEffect(Debug, "there are no local sessions"),
        "Whether a local session becomes global when it needs to.";
    "peerType" [""] "participant" Form::Text(texts::peer_type),
        AcceptedWithoutEffect(Debug, "the own server.N line says whether this server votes"),
        "Whether this server votes.";
    "electionAlg" [""] "3" COUNT, Refused("only 3 exists, as in ZooKeeper"), "Election algorithm.";
    "initLimit" ["ticks"] "" Form::Int { min: 1, max: I32_MAX, set: |d, v| put_from(&mut d.init_limit_ticks, 1, v) },
        Honoured, "Time for a member to connect and catch up; an ensemble must have it. Here a member takes the time it needs.";
    "syncLimit" ["ticks"] "" Form::Int { min: 1, max: I32_MAX, set: |d, v| put_from(&mut d.sync_limit_ticks, 1, v) },
        Honoured, "Time without the others after which a member serves no client; an ensemble must have it.";
    "connectToLearnerMasterLimit" ["ticks"] "0" COUNT, AcceptedWithoutEffect(Debug, ZAB),
        "Time to connect to the leader; 0, initLimit.";
    "group*" [""] "" TEXT, RefusedInEnsemble(NO_GROUPS), "A group of a hierarchical quorum.";
    "weight*" [""] "" COUNT, RefusedInEnsemble(NO_GROUPS), "A voter's weight in its group.";
    "oraclePath" [""] "" TEXT,
        RefusedInEnsemble("no oracle is asked, and of two servers neither goes on without the other; add a third"),
        "Oracle of a two-server ensemble.";
    "quorumListenOnAllIPs" [""] "false" Form::Flag(|d, v| d.listen_on_all_addresses = v), Honoured,
        "Whether peers may connect on every address.";
    "syncEnabled" [""] "true" FLAG,
        AcceptedWithoutEffect(Info, "an observer always keeps log and snapshots"),
        "Whether an observer writes log and snapshots.";
    "observerMasterPort" [""] "0" PORT, AcceptedWithoutEffect(Info, "observers follow the leader itself"),
        "Port on which followers serve observers; 0, none.";
    "multiAddress.enabled" [""] "false" FLAG, AcceptedWithoutEffect(Debug, ADDRESSES),
        "Whether a member may have several addresses.";
    "multiAddress.reachabilityCheckEnabled" [""] "true" FLAG, AcceptedWithoutEffect(Debug, ADDRESSES),
        "Whether addresses are pinged before one is chosen.";
    "multiAddress.reachabilityCheckTimeoutMs" ["ms"] "1000" COUNT, AcceptedWithoutEffect(Debug, ADDRESSES),
        "How long an address has to answer.";
    "rookeeper.linearizableReads" [""] "false" Form::Flag(|d, v| d.config.linearizable_reads = v), Honoured,
        "Whether every read of this server sees all that was committed before it, as after a sync; ZooKeeper has no such key.";

    // Security between peers.
    "sslQuorum" [""] "false" FLAG, RefusedInEnsemble(PEER_TLS), "TLS between peers.";
    "portUnification" [""] "false" FLAG, AcceptedWithoutEffect(Info, PEER_TLS_LATER),
        "Whether peers may connect with and without TLS.";
    "sslQuorumReloadCertFiles" [""] "false" FLAG, AcceptedWithoutEffect(Debug, PEER_TLS_LATER),
        "Whether changed certificates between peers are read again.";
    "quorum.auth.enableSasl" [""] "false" FLAG, RefusedInEnsemble(PEER_SASL), "SASL between peers.";
    "quorum.auth.learnerRequireSasl" [""] "false" FLAG, RefusedInEnsemble(PEER_SASL),
        "Whether a follower insists on SASL.";
    "quorum.auth.serverRequireSasl" [""] "false" FLAG, RefusedInEnsemble(PEER_SASL),
        "Whether a leader insists on SASL.";
    "quorum.auth.learner.saslLoginContext" [""] "QuorumLearner" TEXT, AcceptedWithoutEffect(Debug, SASL_LATER),
        "JAAS section of a follower.";
    "quorum.auth.server.saslLoginContext" [""] "QuorumServer" TEXT, AcceptedWithoutEffect(Debug, SASL_LATER),
        "JAAS section of a leader.";
    "quorum.auth.kerberos.servicePrincipal" [""] "zkquorum/localhost" TEXT,
        AcceptedWithoutEffect(Debug, SASL_LATER), "Kerberos name of a peer.";
    "quorum.cnxn.threads.size" [""] "20" COUNT, AcceptedWithoutEffect(Debug, TUNING),
        "Threads that set up connections between peers.";

    // Purging, metrics, the JVM.
    "autopurge.snapRetainCount" [""] "3" COUNT, AcceptedWithoutEffect(Debug, DISK),
        "Snapshots kept by the purge.";
    "autopurge.purgeInterval" ["hours"] "0" Form::Text(texts::interval), AcceptedWithoutEffect(Debug, DISK),
        "Time between purges; 0, never; also with the suffix ms, s, m, h or d.";
    "metricsProvider.className" [""] DEFAULT_PROVIDER
        Form::Class(&[DEFAULT_PROVIDER, NULL_PROVIDER], |d, v| d.config.metrics.enabled = v == PROMETHEUS),
        AcceptedWithoutEffect(Warn, METRICS_LATER), "The metrics provider.";
    "metricsProvider.httpHost" [""] "0.0.0.0" Form::Text(texts::metrics_host),
        AcceptedWithoutEffect(Warn, METRICS_LATER), "Address of the metrics endpoint.";
    "metricsProvider.httpPort" [""] "7000" Form::Int { min: 0, max: 65_535, set: |d, v| put(&mut d.config.metrics.port, v) },
        AcceptedWithoutEffect(Warn, METRICS_LATER), "Port of the metrics endpoint.";
    "metricsProvider.exportJvmInfo" [""] "true" FLAG, AcceptedWithoutEffect(Debug, TUNING),
        "Whether the JVM's own figures are exported.";
    "metricsProvider.numWorkerThreads" [""] "1" COUNT, AcceptedWithoutEffect(Debug, TUNING),
        "Threads that add up metrics.";
    "metricsProvider.maxQueueSize" [""] "1000000" COUNT, AcceptedWithoutEffect(Debug, TUNING),
        "Figures that may wait for them.";
    "metricsProvider.workerShutdownTimeoutMs" ["ms"] "1000" COUNT, AcceptedWithoutEffect(Debug, TUNING),
        "Time for them to stop.";
    "metricsProvider.*" [""] "" TEXT, AcceptedWithoutEffect(Warn, METRICS_LATER),
        "Other settings of the metrics provider, TLS among them.";
    "jvm.pause.monitor" [""] "false" FLAG, AcceptedWithoutEffect(Debug, TUNING),
        "Whether pauses of the JVM are logged.";
    "jvm.pause.warn-threshold.ms" ["ms"] "10000" COUNT, AcceptedWithoutEffect(Debug, TUNING),
        "A pause worth a warning.";
    "jvm.pause.info-threshold.ms" ["ms"] "1000" COUNT, AcceptedWithoutEffect(Debug, TUNING),
        "A pause worth a line.";
    "jvm.pause.sleep.time.ms" ["ms"] "500" COUNT, AcceptedWithoutEffect(Debug, TUNING),
        "Time between two looks at the JVM.";
}
Property {
    // Words and the AdminServer.
    "4lw.commands.whitelist" [""] "srvr" Form::Text(texts::whitelist), Honoured,
        "Four-letter words that are answered, separated by commas; * is all of them.";
    "admin.enableServer" [""] "false" Form::Flag(|d, v| d.config.admin.enabled = v),
        AcceptedWithoutEffect(Warn, ADMIN_LATER), "Whether the AdminServer runs (ZooKeeper 3.9: true).";
    "admin.serverAddress" [""] "0.0.0.0" Form::Text(texts::admin_address),
        AcceptedWithoutEffect(Warn, ADMIN_LATER), "Its address.";
    "admin.serverPort" [""] "8080" Form::Int { min: 0, max: 65_535, set: |d, v| put(&mut d.config.admin.port, v) },
        AcceptedWithoutEffect(Warn, ADMIN_LATER), "Its port.";
    "admin.commandURL" [""] "/commands" Form::Text(texts::admin_url),
        AcceptedWithoutEffect(Warn, ADMIN_LATER), "Path before its commands.";
    "admin.idleTimeout" ["ms"] "30000" COUNT, AcceptedWithoutEffect(Warn, ADMIN_LATER),
        "When it closes an idle connection.";
    "admin.portUnification" [""] "false" FLAG, AcceptedWithoutEffect(Warn, ADMIN_LATER),
        "Whether its port speaks TLS as well.";
    "admin.forceHttps" [""] "false" FLAG, AcceptedWithoutEffect(Warn, ADMIN_LATER),
        "Whether its port speaks only TLS.";
    "admin.needClientAuth" [""] "false" FLAG, AcceptedWithoutEffect(Warn, ADMIN_LATER),
        "Whether it wants a client's certificate.";
    "admin.httpVersion" [""] "11" COUNT, AcceptedWithoutEffect(Debug, ADMIN_LATER), "Its HTTP version.";
    "admin.snapshot.enabled" [""] "true" FLAG, AcceptedWithoutEffect(Warn, ADMIN_LATER),
        "Whether it hands out snapshots.";
    "admin.restore.enabled" [""] "true" FLAG, AcceptedWithoutEffect(Warn, ADMIN_LATER),
        "Whether it takes snapshots.";
    "admin.rateLimiterIntervalInMS" ["ms"] "300000" COUNT, AcceptedWithoutEffect(Warn, ADMIN_LATER),
        "Time between two of these.";

    // Disk.
    "snapCount" ["log entries"] "100000" Form::Int { min: 0, max: I32_MAX, set: |d, v| put(&mut d.config.snap_count, v.max(2)) },
        Honoured, "Writes after which a snapshot lets the log be purged; at least 2.";
    "snapSizeLimitInKb" ["KiB"] "4194304"
        Form::Int { min: -1, max: I64_MAX, set: |d, v| put_from(&mut d.config.snap_size_limit_kib, 1, v) },
        Honoured, "Log after which it does so too; 0 or less, any.";
    "fsync.warningthresholdms" ["ms"] "1000"
        Form::Int { min: 0, max: I64_MAX, set: |d, v| put(&mut d.config.fsync_warning_threshold_ms, v) },
        Honoured, "A sync of the log worth a warning.";
    "datadir.autocreate" [""] "true" Form::Flag(|d, v| d.config.data_dir_autocreate = v), Honoured,
        "Whether a missing data directory is created.";
    "forceSync" [""] "yes" TEXT,
        AcceptedWithoutEffect(Warn, "the log is always synced before a write is answered"),
        "Whether the log is synced.";
    "preAllocSize" ["KiB"] "65536" SIGNED, AcceptedWithoutEffect(Debug, DISK), "Step of growth of the log.";
    "txnLogSizeLimitInKb" ["KiB"] "-1" SIGNED, AcceptedWithoutEffect(Debug, DISK), "Size of one log file.";
    "snapshot.compression.method" [""] "" TEXT, AcceptedWithoutEffect(Debug, DISK),
        "How snapshots are compressed.";
    "snapshot.trust.empty" [""] "false" FLAG, AcceptedWithoutEffect(Info, DISK),
        "Whether a log without a snapshot is believed.";
    "snapshotSizeFactor" [""] "0.33" REAL, AcceptedWithoutEffect(Debug, CATCH_UP),
        "Share of a snapshot's size up to which a follower catches up from the log.";
    "serializeLastProcessedZxid.enabled" [""] "true" FLAG, AcceptedWithoutEffect(Debug, DISK),
        "Whether a snapshot ends with its zxid.";
    "closeSessionTxn.enabled" [""] "true" FLAG, AcceptedWithoutEffect(Debug, DISK),
        "Whether the log lists what a closed session takes along.";
    "digest.enabled" [""] "true" FLAG, AcceptedWithoutEffect(Debug, DISK),
        "Whether log and snapshots carry a digest of the tree.";
    "db.autocreate" [""] "true" FLAG,
        AcceptedWithoutEffect(Warn, "a server without data asks the others, and joins them under a name that never voted"),
        "Whether a server without data may vote.";
    "commitLogCount" [""] "500" COUNT, AcceptedWithoutEffect(Debug, CATCH_UP),
        "Writes kept in memory for followers.";
    "flushDelay" ["ms"] "0" SIGNED, AcceptedWithoutEffect(Debug, TUNING), "How long a sync waits for company.";
    "maxWriteQueuePollTime" ["ms"] "" SIGNED, AcceptedWithoutEffect(Debug, TUNING), "A third of it.";
    "maxBatchSize" [""] "1000" COUNT, AcceptedWithoutEffect(Debug, TUNING), "Writes of one sync.";

    // Limits and throttles.
    "globalOutstandingLimit" ["requests"] "1000"
        Form::Int { min: 1, max: I32_MAX, set: |d, v| put(&mut d.config.global_outstanding_limit, v) },
        Honoured, "Requests in the server above which it stops reading.";
    "maxCnxns" [""] "0" Form::Int { min: -1, max: I32_MAX, set: |d, v| put(&mut d.config.max_cnxns, v.max(0)) },
        Honoured, "Connections in all; 0, unlimited.";
    "nio.sessionlessCnxnTimeout" ["ms"] "10000"
        Form::Int { min: 1, max: I32_MAX, set: |d, v| put(&mut d.config.sessionless_timeout_ms, v) },
        Honoured, "How long a connection may stay without a session.";
    "clientTcpKeepAlive" [""] "false" Form::Flag(|d, v| d.config.client_tcp_keep_alive = v), Honoured,
        "Whether client sockets send keep-alives.";
    "largeRequestThreshold" ["bytes"] "-1"
        Form::Int { min: -1, max: I32_MAX, set: |d, v| put_from(&mut d.config.large_requests.threshold_bytes, 1, v) },
        Honoured, "A large request; 0 or less, none is.";
    "largeRequestMaxBytes" ["bytes"] "104857600"
        Form::Int { min: 1, max: I32_MAX, set: |d, v| put(&mut d.config.large_requests.bytes_max, v) },
        Honoured, "All large requests together.";
    "request_throttle_max_requests" ["requests"] "0"
        Form::Int { min: 0, max: I32_MAX, set: |d, v| put(&mut d.config.request_throttle.max_requests, v) },
        Honoured, "Requests under way at most, others wait for their turn; 0, any number.";
    "request_throttle_stall_time" ["ms"] "100"
        Form::Int { min: 1, max: I32_MAX, set: |d, v| put(&mut d.config.request_throttle.stall_time_ms, v) },
        Honoured, "Time between two looks at a request that waits.";
    "request_throttle_drop_stale" [""] "true" Form::Flag(|d, v| d.config.request_throttle.drop_stale = v),
        Honoured, "Whether a stale request is dropped.";
    "request_stale_connection_check" [""] "true"
        Form::Flag(|d, v| d.config.request_throttle.stale_connection_check = v),
        Honoured, "Whether a request of a closed connection is stale.";
    "request_stale_latency_check" [""] "false"
        Form::Flag(|d, v| d.config.request_throttle.stale_latency_check = v),
        Honoured, "Whether a request older than its session's time-out is stale.";
    "throttled_op_wait_time" ["ms"] "0"
        Form::Int { min: 0, max: I32_MAX, set: |d, v| put(&mut d.config.request_throttle.throttled_op_wait_time_ms, v) },
        Honoured, "Wait after which a request is answered ThrottledOp; 0, never.";
    "request_throttler.shutdownTimeout" ["ms"] "10000" COUNT, AcceptedWithoutEffect(Debug, TUNING),
        "Time for waiting requests at the end.";
    "connection_throttle_tokens" [""] "0"
        Form::Int { min: 0, max: I32_MAX, set: |d, v| put(&mut d.config.connection_throttle.tokens, v) },
        Honoured, "Handshakes that may come at once; 0, any number.";
    "connection_throttle_fill_time" ["ms"] "1"
        Form::Int { min: 1, max: I32_MAX, set: |d, v| put(&mut d.config.connection_throttle.fill_time_ms, v) },
        Honoured, "Time between two refills.";
    "connection_throttle_fill_count" [""] "1"
        Form::Int { min: 1, max: I32_MAX, set: |d, v| put(&mut d.config.connection_throttle.fill_count, v) },
        Honoured, "Tokens of one refill.";
    "connection_throttle_freeze_time" ["ms"] "-1"
        Form::Int { min: -1, max: I32_MAX, set: |d, v| put_from(&mut d.config.connection_throttle.freeze_time_ms, 0, v) },
        Honoured, "Time between two changes of the drop probability; -1, none are dropped at random.";
    "connection_throttle_drop_increase" [""] "0.02"
        Form::Real { min: 0.0, max: 1.0, set: |d, v| d.config.connection_throttle.drop_increase = v },
        Honoured, "Added to the drop probability when no token is left.";
    "connection_throttle_drop_decrease" [""] "0.002"
        Form::Real { min: 0.0, max: 1.0, set: |d, v| d.config.connection_throttle.drop_decrease = v },
        Honoured, "Taken from it when the bucket is full, or as full as the ratio asks.";
    "connection_throttle_decrease_ratio" [""] "0"
        Form::Real { min: 0.0, max: 1.0, set: |d, v| d.config.connection_throttle.decrease_ratio = v },
        Honoured, "Share of tokens that may be taken while it is lowered; 0, none.";
    "connection_throttle_weight_enabled" [""] "false"
        Form::Flag(|d, v| d.config.connection_throttle.weight_enabled = v),
        Honoured, "Whether a handshake takes as many tokens as its weight.";
    "connection_throttle_global_session_weight" [""] "3"
        Form::Int { min: 1, max: I32_MAX, set: |d, v| put(&mut d.config.connection_throttle.global_session_weight, v) },
        Honoured, "Weight of a new session.";
    "connection_throttle_renew_session_weight" [""] "2"
        Form::Int { min: 1, max: I32_MAX, set: |d, v| put(&mut d.config.connection_throttle.renew_session_weight, v) },
        Honoured, "Weight of a session that comes back.";
    "connection_throttle_local_session_weight" [""] "1"
        Form::Int { min: 1, max: I32_MAX, set: |_, _| Some(()) },
        AcceptedWithoutEffect(Debug, "there are no local sessions"), "Weight of a local session.";

    // What the tree allows.
    "skipACL" [""] "no" Form::Word { word: "yes", set: |d, v| d.config.skip_acl = v }, Honoured,
        "Whether ACLs are not checked; only yes does it.";
    "enforceQuota" [""] "false" Form::Flag(|d, v| d.config.enforce_quota = v), Honoured,
        "Whether hard quotas refuse writes.";
    "extendedTypesEnabled" [""] "false" Form::Flag(|d, v| d.config.extended_types_enabled = v), Honoured,
        "Whether TTL nodes exist.";
    "emulate353TTLNodes" [""] "false" FLAG,
        AcceptedWithoutEffect(Info, "it is about data that release 3.5.3 wrote, and none is read"),
        "Whether owners are read as release 3.5.3 wrote them.";
    "enableEagerACLCheck" [""] "false" FLAG,
        AcceptedWithoutEffect(Info, "ACLs are checked when a write is applied, with the same answer"),
        "Whether ACLs are also checked before a write is logged.";

    // Who a client is.
    "DigestAuthenticationProvider.superDigest" [""] "" Form::Text(texts::super_digest), Honoured,
        "The identity user:hash that passes every ACL.";
    "DigestAuthenticationProvider.enabled" [""] "true" Form::Flag(|d, v| d.config.digest_auth_enabled = v),
        Honoured, "Whether the scheme digest exists.";
    "DigestAuthenticationProvider.digestAlg" [""] "SHA1" Form::Text(texts::digest_algorithm), Honoured,
        "How the scheme digest hashes.";
    "enforce.auth.enabled" [""] "false" Form::Flag(|d, v| d.enforce_auth_enabled = v), Honoured,
        "Whether a client must show an identity before it is served.";
    "enforce.auth.schemes" [""] "" Form::Text(texts::enforced_schemes), Honoured,
        "The schemes of which one is enough, separated by commas.";
    "sessionRequireClientSASLAuth" [""] "false" FLAG,
        Refused("SASL comes with a later release, and every client would be served without it"),
        "Whether a client must log in with SASL.";
    "authProvider.*" [""] "" Form::Class(AUTH_PROVIDERS, |_, _| ()),
        AcceptedWithoutEffect(Warn, "digest and ip are built in, other schemes come with a later \
            release; until then nobody has their identities"),
        "A class that authenticates clients.";
    "IPAuthenticationProvider.usexforwardedfor" [""] "false" FLAG,
        AcceptedWithoutEffect(Debug, ADMIN_LATER), "Whether the AdminServer believes a proxy's header.";
    "X509AuthenticationProvider.superUser" [""] "" TEXT, AcceptedWithoutEffect(Warn, TLS_LATER),
        "The certificate's subject that passes every ACL.";
    "SASLAuthenticationProvider.superPassword" [""] "" TEXT, AcceptedWithoutEffect(Warn, SASL_LATER),
        "Password of the SASL user super.";
    "superUser" [""] "" TEXT, AcceptedWithoutEffect(Warn, SASL_LATER), "SASL user that passes every ACL.";
    "letAnySaslUserDoX" [""] "" TEXT, AcceptedWithoutEffect(Warn, SASL_LATER), "SASL users for all ACLs of sasl.";
    "allowSaslFailedClients" [""] "false" FLAG, AcceptedWithoutEffect(Info, SASL_LATER),
        "Whether a client whose log-in failed is served.";
    "ensembleAuthName" [""] "" TEXT,
        AcceptedWithoutEffect(Warn, "the scheme ensemble comes with a later release"),
        "Names under which a client may address the ensemble.";
    "sasl.*" [""] "" TEXT, AcceptedWithoutEffect(Debug, SASL_LATER), "Sections of the JAAS file, and clients' settings.";
    "kerberos.*" [""] "" TEXT, AcceptedWithoutEffect(Warn, SASL_LATER), "How Kerberos names become users.";
    "security.auth_to_local" [""] "" TEXT, AcceptedWithoutEffect(Warn, SASL_LATER), "Rules for them.";
    "requireKerberosConfig" [""] "false" FLAG, AcceptedWithoutEffect(Warn, SASL_LATER),
        "Whether those rules must exist.";
    "kinit" [""] "/usr/bin/kinit" TEXT, AcceptedWithoutEffect(Debug, SASL_LATER), "Path of kinit.";
    "fips-mode" [""] "true" FLAG, AcceptedWithoutEffect(Info, TLS_LATER), "Whether only FIPS algorithms are used.";
    "ssl.quorum.*" [""] "" TEXT, AcceptedWithoutEffect(Debug, PEER_TLS_LATER), "Keys and trust between peers.";
    "ssl.*" [""] "" TEXT, AcceptedWithoutEffect(Warn, TLS_LATER), "Keys and trust for clients.";
    "client.portUnification" [""] "false" FLAG, AcceptedWithoutEffect(Warn, TLS_LATER),
        "Whether the TLS port also speaks without.";
    "client.certReload" [""] "false" FLAG, AcceptedWithoutEffect(Info, TLS_LATER),
        "Whether changed certificates are read again.";
    "audit.enable" [""] "false" FLAG,
        AcceptedWithoutEffect(Warn, "the audit log comes with a later release; nothing is recorded"),
        "Whether writes and log-ins are recorded.";
    "audit.impl.class" [""] "org.apache.zookeeper.audit.Slf4jAuditLogger" TEXT,
        AcceptedWithoutEffect(Warn, "the audit log comes with a later release"), "Where they are recorded.";

    // The ensemble.
    "leaderServes" [""] "yes" TEXT,
        AcceptedWithoutEffect(Warn, "the leader serves clients as every server does"), "Whether the leader serves clients.";
    "electionPortBindRetry" [""] "3" COUNT, AcceptedWithoutEffect(Debug, ONE_PORT), "Tries to open the election port.";
    "cnxTimeout" ["ms"] "5000" COUNT, AcceptedWithoutEffect(Debug, ONE_PORT), "Time to connect for an election.";
    "quorumCnxnTimeoutMs" ["ms"] "-1" SIGNED, AcceptedWithoutEffect(Debug, ONE_PORT), "Silence on an election connection.";
    "tcpKeepAlive" [""] "false" FLAG, AcceptedWithoutEffect(Debug, "servers hear from one another all the time"),
        "Whether peers send keep-alives.";
    "fastleader.minNotificationInterval" ["ms"] "200" COUNT, AcceptedWithoutEffect(Debug, ZAB),
        "First pause between votes.";
    "fastleader.maxNotificationInterval" ["ms"] "60000" COUNT, AcceptedWithoutEffect(Debug, ZAB),
        "Longest pause between votes.";
    "leader.maxConcurrentSnapSyncs" [""] "10" COUNT, AcceptedWithoutEffect(Debug, ZAB),
        "Followers that get a snapshot at once.";
    "leader.maxConcurrentDiffSyncs" [""] "100" COUNT, AcceptedWithoutEffect(Debug, ZAB),
        "Followers that get a piece of log at once.";
    "leader.maxTimeToWaitForEpoch" ["ms"] "-1" SIGNED, AcceptedWithoutEffect(Debug, ZAB),
        "Time for followers to agree on an epoch.";
    "leader.ackLoggingFrequency" [""] "1000" COUNT, AcceptedWithoutEffect(Debug, ZAB),
        "One acknowledgement in so many is logged.";
    "leader.closeSocketAsync" [""] "false" FLAG, AcceptedWithoutEffect(Debug, ZAB), "How followers are let go.";
    "learner.closeSocketAsync" [""] "false" FLAG, AcceptedWithoutEffect(Debug, ZAB), "How the leader is let go.";
    "learner.asyncSending" [""] "false" FLAG, AcceptedWithoutEffect(Debug, ZAB), "How a follower sends.";
    "leaderConnectDelayDuringRetryMs" ["ms"] "100" COUNT, AcceptedWithoutEffect(Debug, ZAB),
        "Pause before the leader is tried again.";
    "observer.reconnectDelayMs" ["ms"] "0" COUNT, AcceptedWithoutEffect(Debug, ZAB),
        "Pause of an observer before it connects again.";
    "observer.election.DelayMs" ["ms"] "200" COUNT, AcceptedWithoutEffect(Debug, ZAB),
        "Pause of an observer before it asks for votes.";
    "observer.syncEnabled" [""] "true" FLAG,
        AcceptedWithoutEffect(Info, "an observer always keeps log and snapshots"),
        "Whether an observer writes log and snapshots.";
    "observerMaster.sizeLimit" ["bytes"] "33554432" COUNT, AcceptedWithoutEffect(Debug, ZAB),
        "Kept for observers that lag.";
    "forceSnapshotSync" [""] "false" FLAG, AcceptedWithoutEffect(Debug, CATCH_UP),
        "Whether followers always get a snapshot.";
    "follower.skipLearnerRequestToNextProcessor" [""] "false" FLAG, AcceptedWithoutEffect(Debug, ZAB),
        "A step of a follower's request line.";
    "forward_learner_requests_to_commit_processor_disabled" [""] "false" FLAG,
        AcceptedWithoutEffect(Debug, ZAB), "Another.";

    // The JVM and its tuning.
    "serverCnxnFactory" [""] "org.apache.zookeeper.server.NIOServerCnxnFactory"
        Form::Class(CNXN_FACTORIES, |_, _| ()),
        AcceptedWithoutEffect(Warn, "a Java class cannot be loaded; Rookeeper serves the port itself"),
        "The class that serves clients.";
    "maxResponseCacheSize" [""] "400" SIGNED, AcceptedWithoutEffect(Debug, TUNING), "Encoded data kept.";
    "maxGetChildrenResponseCacheSize" [""] "400" SIGNED, AcceptedWithoutEffect(Debug, TUNING), "Encoded lists kept.";
    "watchManagerName" [""] "org.apache.zookeeper.server.watch.WatchManager" TEXT,
        AcceptedWithoutEffect(Debug, TUNING), "The class that keeps watches.";
    "watcherClean*" [""] "" COUNT, AcceptedWithoutEffect(Debug, TUNING), "Its cleaning.";
    "maxInProcessingDeadWatchers" [""] "-1" SIGNED, AcceptedWithoutEffect(Debug, TUNING), "Its backlog.";
    "bitHashCacheSize" [""] "10" COUNT, AcceptedWithoutEffect(Debug, TUNING), "Its cache.";
    "nio.*" [""] "" TEXT, AcceptedWithoutEffect(Debug, TUNING), "Threads and buffers of the NIO server.";
    "netty.*" [""] "" TEXT, AcceptedWithoutEffect(Debug, TUNING), "Threads and buffers of the Netty server.";
    "commitProcessor.*" [""] "" SIGNED, AcceptedWithoutEffect(Debug, TUNING), "Threads and batches of commits.";
    "intBufferStartingSizeBytes" ["bytes"] "1024" COUNT, AcceptedWithoutEffect(Debug, TUNING), "A first buffer.";
    "jute.maxbuffer.extrasize" ["bytes"] "" COUNT,
        AcceptedWithoutEffect(Debug, "the frame's limit bounds every length inside it"),
        "Added to jute.maxbuffer for lengths inside a frame.";
    "pathStats.*" [""] "" TEXT, AcceptedWithoutEffect(Info, "there are no statistics by path"), "Statistics by path.";
    "messageTracker.*" [""] "" TEXT, AcceptedWithoutEffect(Debug, ZAB), "Last messages of a follower.";
    "log.dir" [""] "" TEXT, AcceptedWithoutEffect(Debug, LOGGING), "Directory of the server's messages.";
    "log.file" [""] "" TEXT, AcceptedWithoutEffect(Debug, LOGGING), "File of the server's messages.";
    "log.threshold" [""] "" TEXT, AcceptedWithoutEffect(Debug, LOGGING), "Least level of the file.";
    "root.logger" [""] "" TEXT, AcceptedWithoutEffect(Debug, LOGGING), "Where messages go.";
    "console.threshold" [""] "" TEXT, AcceptedWithoutEffect(Debug, LOGGING), "Least level of the console.";
    "jmx.log4j.*" [""] "" TEXT, AcceptedWithoutEffect(Debug, LOGGING), "Messages' levels by JMX.";
}
BareProperty {
    "jute.maxbuffer" ["bytes"] "1048575" Form::Int { min: 1_024, max: I32_MAX, set: |d, v| put(&mut d.config.jute_maxbuffer, v) },
        Honoured, "Largest frame of a client; a larger one closes the connection.";
    "readonlymode.enabled" [""] "false" Form::Flag(|d, v| d.config.read_only_mode = v), Honoured,
        "Whether a server without a quorum serves reads; also answers the word isro.";
    "znode.container.checkIntervalMs" ["ms"] "60000"
        Form::Int { min: 1, max: I64_MAX, set: |d, v| put(&mut d.config.container_check_interval_ms, v) },
        Honoured, "Time between two searches for empty containers and expired TTL nodes.";
    "znode.container.maxPerMinute" ["nodes"] "10000"
        Form::Int { min: 1, max: I32_MAX, set: |d, v| put(&mut d.config.container_max_per_minute, v) },
        Honoured, "Nodes they remove in a minute.";
    "znode.container.maxNeverUsedIntervalMs" ["ms"] "0"
        Form::Int { min: 0, max: I64_MAX, set: |d, v| put(&mut d.config.container_max_never_used_interval_ms, v) },
        Honoured, "Age at which a container that never had a child goes too; 0, never.";
    "leader.nodelay" [""] "true" FLAG,
        AcceptedWithoutEffect(Debug, "between servers nothing waits for more to send"), "TCP_NODELAY towards followers.";
    "follower.nodelay" [""] "true" FLAG,
        AcceptedWithoutEffect(Debug, "between servers nothing waits for more to send"), "TCP_NODELAY towards the leader.";
    "java.security.auth.login.config" [""] "" TEXT, AcceptedWithoutEffect(Warn, SASL_LATER), "The JAAS file.";
}
};
