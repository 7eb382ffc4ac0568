//! A configuration in the making: each setting by itself first, then what they mean together.
//!
//! [`Draft::take`] follows the verdict of a key's row; [`Draft::finish`] settles what depends on
//! several keys, in whatever order they came.

use super::ensemble::ServerSpec;
use super::error::{ConfigError, Level, Place, Warning, printable};
use super::form::{Complaint, Form};
use super::keys::{Key, SINGLE, Verdict};
use super::settings::Setting;
use super::{
    Admin, AuthScheme, Config, ConnectionThrottle, DigestAlgorithm, FourLetterWhitelist,
    LargeRequests, Metrics, RequestThrottle,
};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

/// Ticks of the shortest session time-out unless `minSessionTimeout` says otherwise.
pub(super) const TICKS_MIN: u32 = 2;

/// Ticks of the longest session time-out unless `maxSessionTimeout` says otherwise.
pub(super) const TICKS_MAX: u32 = 20;

/// The settings taken so far.
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own in the file")]
pub(super) struct Draft {
    /// What is settled already.
    pub(super) config: Config,
    /// `dataDir`.
    pub(super) data_dir: Option<PathBuf>,
    /// `dataLogDir`.
    pub(super) data_log_dir: Option<PathBuf>,
    /// `clientPort`.
    pub(super) client_port: Option<u16>,
    /// `minSessionTimeout`.
    pub(super) min_session_timeout_ms: Option<u32>,
    /// `maxSessionTimeout`.
    pub(super) max_session_timeout_ms: Option<u32>,
    /// `enforce.auth.enabled`.
    pub(super) enforce_auth_enabled: bool,
    /// `enforce.auth.schemes`.
    pub(super) enforce_auth_schemes: Vec<String>,
    /// The `server.N` lines with their whole keys, by `N`.
    pub(super) servers: BTreeMap<u64, (String, ServerSpec)>,
    /// `dynamicConfigFile`.
    pub(super) dynamic_config_file: Option<PathBuf>,
    /// `standaloneEnabled`.
    pub(super) standalone_enabled: bool,
    /// `peerType` is `observer`.
    pub(super) wants_to_observe: bool,
    /// `initLimit`.
    pub(super) init_limit_ticks: Option<u32>,
    /// `syncLimit`.
    pub(super) sync_limit_ticks: Option<u32>,
    /// `quorumListenOnAllIPs`.
    pub(super) listen_on_all_addresses: bool,
    /// What would be refused if the server were a member of an ensemble.
    pub(super) refused_in_ensemble: Vec<ConfigError>,
    origin: String,
    places: BTreeMap<String, Place>,
}

/// Every default of the table, with no data directory and no port yet.
pub(super) fn defaults() -> Config {
    let tick_time_ms = 3_000;
    Config {
        data_dir: PathBuf::new(),
        data_log_dir: PathBuf::new(),
        data_dir_autocreate: true,
        client_address: None,
        client_port: 0,
        listen_backlog: None,
        tick_time_ms,
        min_session_timeout_ms: tick_time_ms * TICKS_MIN,
        max_session_timeout_ms: tick_time_ms * TICKS_MAX,
        max_client_cnxns: 60,
        max_cnxns: 0,
        jute_maxbuffer: 0xf_ffff,
        global_outstanding_limit: 1_000,
        sessionless_timeout_ms: 10_000,
        client_tcp_keep_alive: false,
        four_letter_whitelist: FourLetterWhitelist::Only(BTreeSet::from(["srvr".to_owned()])),
        skip_acl: false,
        enforce_quota: false,
        extended_types_enabled: false,
        reconfig_enabled: false,
        read_only_mode: false,
        digest_auth_enabled: true,
        digest_algorithm: DigestAlgorithm::Sha1,
        super_digest: None,
        enforce_auth_schemes: Vec::new(),
        container_check_interval_ms: 60_000,
        container_max_per_minute: 10_000,
        container_max_never_used_interval_ms: 0,
        snap_count: 100_000,
        snap_size_limit_kib: Some(4_194_304),
        fsync_warning_threshold_ms: 1_000,
        connection_throttle: connection_throttle(),
        request_throttle: request_throttle(),
        large_requests: LargeRequests { threshold_bytes: None, bytes_max: 104_857_600 },
        admin: admin(),
        metrics: Metrics { enabled: false, host: "0.0.0.0".to_owned(), port: 7_000 },
        ensemble: None,
        linearizable_reads: false,
        text: String::new(),
    }
}

fn connection_throttle() -> ConnectionThrottle {
    ConnectionThrottle {
        tokens: 0,
        fill_time_ms: 1,
        fill_count: 1,
        freeze_time_ms: None,
        drop_increase: 0.02,
        drop_decrease: 0.002,
        decrease_ratio: 0.0,
        weight_enabled: false,
        global_session_weight: 3,
        renew_session_weight: 2,
    }
}

fn request_throttle() -> RequestThrottle {
    RequestThrottle {
        max_requests: 0,
        stall_time_ms: 100,
        drop_stale: true,
        stale_connection_check: true,
        stale_latency_check: false,
        throttled_op_wait_time_ms: 0,
    }
}

fn admin() -> Admin {
    Admin {
        enabled: false,
        address: "0.0.0.0".to_owned(),
        port: 8_080,
        command_url: "/commands".to_owned(),
    }
}

impl Draft {
    /// A draft of the file `origin` with that `text`, before its first setting.
    pub(super) fn new(text: &str, origin: &str) -> Self {
        Self {
            config: Config { text: text.to_owned(), ..defaults() },
            data_dir: None,
            data_log_dir: None,
            client_port: None,
            min_session_timeout_ms: None,
            max_session_timeout_ms: None,
            enforce_auth_enabled: false,
            enforce_auth_schemes: Vec::new(),
            servers: BTreeMap::new(),
            dynamic_config_file: None,
            standalone_enabled: true,
            wants_to_observe: false,
            init_limit_ticks: None,
            sync_limit_ticks: None,
            listen_on_all_addresses: false,
            refused_in_ensemble: Vec::new(),
            origin: origin.to_owned(),
            places: BTreeMap::new(),
        }
    }

    /// Takes one setting as its row in the table says.
    ///
    /// A refused key may still be written with its default, which asks for nothing.
    ///
    /// # Errors
    ///
    /// [`ConfigError::BadValue`] and [`ConfigError::Refused`].
    pub(super) fn take(
        &mut self,
        setting: &Setting,
        warnings: &mut Vec<Warning>,
    ) -> Result<(), ConfigError> {
        let Setting { key, name, place, .. } = setting;
        let asks = !asks_for_nothing(key, &setting.value);
        let remark = key.form.read(self, setting).map_err(|complaint| bad(setting, complaint))?;
        if let Some(remark) = remark {
            let text = format!("{name}={} {remark}", shown(setting));
            warnings.push(Warning::at(Level::Warn, place, text));
        }
        match key.verdict {
            Verdict::Refused(reason) if asks => return Err(refused(setting, reason)),
            Verdict::AcceptedWithoutEffect(level, reason) if asks => {
                let text = format!("{name} has no effect: {reason}");
                warnings.push(Warning::at(level, place, text));
            }
            Verdict::RefusedInEnsemble(reason) if asks => {
                self.refused_in_ensemble.push(refused(setting, reason));
                let text = format!("{name} has no effect: {SINGLE}");
                warnings.push(Warning::at(Level::Info, place, text));
            }
            Verdict::Honoured
            | Verdict::Refused(_)
            | Verdict::RefusedInEnsemble(_)
            | Verdict::AcceptedWithoutEffect(..) => {}
        }
        self.places.insert(name.clone(), place.clone());
        Ok(())
    }

    /// Settles what depends on several keys.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Missing`], [`ConfigError::Conflict`], and [`ConfigError::Refused`] for what
    /// only several keys together ask for.
    pub(super) fn finish(mut self, warnings: &mut Vec<Warning>) -> Result<Config, ConfigError> {
        let data_dir = self.data_dir.take().ok_or_else(|| {
            self.missing("dataDir", "write dataDir=<directory for the data> or start with --data")
        })?;
        self.config.data_log_dir = self.data_log_dir.take().unwrap_or_else(|| data_dir.clone());
        self.config.data_dir = data_dir;
        self.settle_ensemble(warnings)?;
        self.settle_client_port()?;
        self.settle_session_timeouts()?;
        self.settle_enforced_schemes()?;
        self.settle_read_only(warnings);
        Ok(self.config)
    }

    /// Takes the client's port from `clientPort` or from the own `server.N` line.
    ///
    /// Where both are there they must agree, unless the command line has the last word.
    ///
    /// Source: ZooKeeper, `QuorumPeerConfig.setupClientPort`.
    fn settle_client_port(&mut self) -> Result<(), ConfigError> {
        let fixed = (self.config.client_address.take(), self.client_port);
        let line = self.own_line().cloned();
        let client = match (fixed, line.and_then(|(name, line)| Some((name, line.client?)))) {
            ((Some(_), None), _) => {
                return Err(self.conflict(
                    "clientPortAddress",
                    "clientPortAddress is set and clientPort is not".to_owned(),
                    "write clientPort=<port> as well",
                ));
            }
            ((None, None), None) => {
                let remedy = "write clientPort=2181 or start with --port";
                return Err(self.missing("clientPort", remedy));
            }
            ((host, Some(port)), None) => (host, port),
            ((host, None), Some((_, line))) => (host.or(line.0), line.1),
            ((host, Some(port)), Some((name, line))) => {
                let forced = self.place("clientPort") == Place::CommandLine;
                if !forced && disagree(host.as_deref(), port, &line) {
                    let problem = format!(
                        "{name} and clientPort name different client addresses, {} and {}",
                        show_address(line.0.as_deref(), line.1),
                        show_address(host.as_deref(), port),
                    );
                    return Err(self.conflict(&name, problem, "keep one of the two"));
                }
                let narrow = host.filter(|host| !is_every_address(host));
                (narrow.or(line.0), port)
            }
        };
        (self.config.client_address, self.config.client_port) = client;
        Ok(())
    }

    fn settle_session_timeouts(&mut self) -> Result<(), ConfigError> {
        let tick = self.config.tick_time_ms;
        let min = self.min_session_timeout_ms.unwrap_or(tick.saturating_mul(TICKS_MIN));
        let max = self.max_session_timeout_ms.unwrap_or(tick.saturating_mul(TICKS_MAX));
        if max < min {
            let key = if self.max_session_timeout_ms.is_some() {
                "maxSessionTimeout"
            } else {
                "minSessionTimeout"
            };
            return Err(self.conflict(
                key,
                format!("minSessionTimeout is {min} ms and maxSessionTimeout only {max} ms"),
                "raise maxSessionTimeout or lower minSessionTimeout; unset they are 2 and 20 ticks",
            ));
        }
        self.config.min_session_timeout_ms = min;
        self.config.max_session_timeout_ms = max;
        Ok(())
    }

    /// Source: ZooKeeper, `AuthenticationHelper`.
    fn settle_enforced_schemes(&mut self) -> Result<(), ConfigError> {
        const KEY: &str = "enforce.auth.schemes";
        if !self.enforce_auth_enabled {
            return Ok(());
        }
        if self.enforce_auth_schemes.is_empty() {
            return Err(self.conflict(
                "enforce.auth.enabled",
                format!("enforce.auth.enabled is true and {KEY} names none"),
                "write enforce.auth.schemes=digest",
            ));
        }
        for scheme in &self.enforce_auth_schemes {
            let known = match scheme.as_str() {
                "digest" if self.config.digest_auth_enabled => AuthScheme::Digest,
                "ip" => AuthScheme::Ip,
                other => {
                    return Err(self.conflict(
                        KEY,
                        format!("{KEY} names {}, which this server lacks", printable(other)),
                        "name digest or ip; the other schemes come with a later release",
                    ));
                }
            };
            self.config.enforce_auth_schemes.push(known);
        }
        Ok(())
    }

    /// With read-only mode the word `isro` is answered, since clients search with it.
    fn settle_read_only(&mut self, warnings: &mut Vec<Warning>) {
        if !self.config.read_only_mode {
            return;
        }
        if self.config.ensemble.is_none() {
            let text = "readonlymode.enabled: a single server is never without its quorum, so it is \
                        never read-only";
            let place = self.place("readonlymode.enabled");
            warnings.push(Warning::at(Level::Info, &place, text));
        }
        if let FourLetterWhitelist::Only(words) = &mut self.config.four_letter_whitelist {
            words.insert("isro".to_owned());
        }
    }

    pub(super) fn place(&self, key: &str) -> Place {
        self.places.get(key).cloned().unwrap_or(Place::CommandLine)
    }

    pub(super) fn missing(&self, key: &'static str, remedy: &'static str) -> ConfigError {
        ConfigError::Missing { origin: self.origin.as_str().into(), key, remedy }
    }

    pub(super) fn conflict(&self, key: &str, problem: String, remedy: &'static str) -> ConfigError {
        ConfigError::Conflict { place: self.place(key), problem: problem.into(), remedy }
    }
}

/// Whether the client's address in a `server.N` line contradicts the fixed one.
///
/// A fixed address that is every address only fixes the port.
fn disagree(host: Option<&str>, port: u16, line: &(Option<String>, u16)) -> bool {
    let other_host = match (host.filter(|host| !is_every_address(host)), line.0.as_deref()) {
        (None, _) => false,
        (Some(fixed), Some(other)) => !fixed.eq_ignore_ascii_case(other),
        (Some(_), None) => true,
    };
    port != line.1 || other_host
}

fn is_every_address(host: &str) -> bool {
    matches!(host, "0.0.0.0" | "::" | "[::]")
}

fn show_address(host: Option<&str>, port: u16) -> String {
    format!("{}:{port}", host.unwrap_or("*"))
}

/// Whether writing `value` is the same as not writing the key, or is what Rookeeper does anyway.
fn asks_for_nothing(key: &Key, value: &str) -> bool {
    let is_default = !key.default.is_empty() && value.eq_ignore_ascii_case(key.default);
    let is_known_class = match &key.form {
        Form::Class(known, _) => known.contains(&value),
        Form::Int { .. }
        | Form::Real { .. }
        | Form::Flag(_)
        | Form::Word { .. }
        | Form::Text(_) => false,
    };
    is_default || is_known_class
}

/// The value as a message may show it.
fn shown(setting: &Setting) -> String {
    if setting.key.is_secret() { "***".to_owned() } else { printable(&setting.value) }
}

fn bad(setting: &Setting, Complaint { problem, expected }: Complaint) -> ConfigError {
    let Key { unit, default, .. } = setting.key;
    let unit = if unit.is_empty() { String::new() } else { format!(" ({unit})") };
    let default = if default.is_empty() {
        String::new()
    } else {
        format!(", or remove it for the default {default}")
    };
    ConfigError::BadValue {
        place: setting.place.clone(),
        key: printable(&setting.name).into(),
        value: shown(setting).into(),
        problem: printable(&problem).into(),
        expected: format!("{expected}{unit}{default}").into(),
    }
}

fn refused(setting: &Setting, reason: &str) -> ConfigError {
    ConfigError::Refused {
        place: setting.place.clone(),
        key: printable(&setting.name).into(),
        value: shown(setting).into(),
        reason: reason.into(),
    }
}
