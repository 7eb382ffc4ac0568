//! Whether a server is standalone or a member of an ensemble, and of which one.
//!
//! The servers come from `server.N` lines or from the file that `dynamicConfigFile` names; which of
//! them this one is says `dataDir/myid`. A server alone is standalone unless `standaloneEnabled` is
//! false.
//!
//! Source: ZooKeeper, `QuorumPeerConfig.parse`, `parseDynamicConfig`, `setupMyId`, `setupPeerType` and
//! `checkValidity`; `QuorumPeer.start`.

use super::draft::Draft;
use super::ensemble::{EnsembleConfig, Role, SERVER_ID_MAX, ServerSpec};
use super::error::{ConfigError, Level, Place, Warning, printable};
use super::keys;
use super::limits::MYID_BYTES_MAX;
use super::server_list::{ServerList, is_grouping, server_id};
use super::settings::Setting;
use super::{read_file, zoo_cfg};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read as _;
use std::path::Path;
use std::sync::Arc;

impl Draft {
    /// Settles what this server is a member of, if of anything.
    ///
    /// # Errors
    ///
    /// Servers that are no ensemble, settings that an ensemble must have or must not have, and a `myid`
    /// that names none of its servers.
    pub(super) fn settle_ensemble(
        &mut self,
        warnings: &mut Vec<Warning>,
    ) -> Result<(), ConfigError> {
        let version = self.take_dynamic_config_file(warnings)?;
        self.check_shape()?;
        let servers: BTreeMap<u64, ServerSpec> =
            self.servers.iter().map(|(id, (_, spec))| (*id, spec.clone())).collect();
        let is_standalone = servers.len() < 2 && self.standalone_enabled;
        if !is_standalone {
            if let Some(refusal) = self.refused_in_ensemble.first() {
                return Err(refusal.clone());
            }
            let limit =
                |ticks: Option<u32>, key, remedy| ticks.ok_or_else(|| self.missing(key, remedy));
            self.config.ensemble = Some(EnsembleConfig {
                init_limit_ticks: limit(
                    self.init_limit_ticks,
                    "initLimit",
                    "write initLimit=10, the ticks that joining the others may take",
                )?,
                sync_limit_ticks: limit(
                    self.sync_limit_ticks,
                    "syncLimit",
                    "write syncLimit=5, the ticks that a server may be without the others",
                )?,
                my_id: self.my_id(&servers)?,
                servers,
                version,
                listen_on_all_addresses: self.listen_on_all_addresses,
                standalone_enabled: self.standalone_enabled,
            });
            self.remark_on_servers(warnings);
        }
        self.remark_on_role(warnings);
        Ok(())
    }

    /// The own `server.N` line, if there is one.
    pub(super) fn own_line(&self) -> Option<&(String, ServerSpec)> {
        match &self.config.ensemble {
            Some(ensemble) => self.servers.get(&ensemble.my_id),
            None => self.servers.values().next(),
        }
    }

    /// Takes the servers of the file that `dynamicConfigFile` names; gives the version that its name
    /// ends with.
    fn take_dynamic_config_file(
        &mut self,
        warnings: &mut Vec<Warning>,
    ) -> Result<u64, ConfigError> {
        let Some(path) = self.dynamic_config_file.take() else { return Ok(0) };
        if let Some((name, _)) = self.servers.values().next() {
            let problem = format!("{name} and dynamicConfigFile both list servers");
            return Err(self.conflict(name, problem, "move the line into that file"));
        }
        for setting in dynamic_settings(&path)? {
            self.take(&setting, warnings)?;
        }
        Ok(version_in_name(&path.to_string_lossy()))
    }

    /// Whether those who vote and those who do not are an ensemble together, or a standalone server.
    fn check_shape(&self) -> Result<(), ConfigError> {
        let servers = self.servers.iter().map(|(id, (_, spec))| (*id, spec.clone())).collect();
        let list = ServerList { servers, version: 0 };
        let Err(problem) = list.check_shape(self.standalone_enabled) else { return Ok(()) };
        let key = self.servers.values().next().map_or("standaloneEnabled", |(name, _)| name);
        let remedy = match list.voters_and_observers() {
            (0, 1..) => "an observer has nobody to follow; list the participants as well",
            (0, 0) => "list this server as server.N or remove standaloneEnabled=false",
            _ => "list more participants, or write standaloneEnabled=false for an ensemble of one",
        };
        Err(self.conflict(key, problem.to_string(), remedy))
    }

    /// Reads `myid`: the first line is the number of one of the servers.
    fn my_id(&self, servers: &BTreeMap<u64, ServerSpec>) -> Result<u64, ConfigError> {
        let path = self.config.data_dir.join("myid");
        let wrong = |problem: String| {
            let numbers: Vec<String> = servers.keys().map(u64::to_string).collect();
            ConfigError::MyId {
                path: path.clone(),
                problem: problem.into(),
                remedy: format!(
                    "write this server's number alone into the file, one of {}",
                    numbers.join(", ")
                )
                .into(),
            }
        };
        let mut bytes = Vec::new();
        File::open(&path)
            .and_then(|file| file.take(MYID_BYTES_MAX).read_to_end(&mut bytes))
            .map_err(|error| wrong(format!("cannot read which server this is: {error}")))?;
        let text = zoo_cfg::decode(&bytes);
        let line = text.split(['\n', '\r']).next().unwrap_or_default();
        let id = server_id(line.trim()).map_err(|_| {
            wrong(format!("{:?} is no number from 0 to {SERVER_ID_MAX}", printable(line)))
        })?;
        if servers.contains_key(&id) {
            return Ok(id);
        }
        Err(wrong(format!("this server is number {id} and there is no server.{id}")))
    }

    /// Tells what an ensemble of these servers will not do.
    fn remark_on_servers(&self, warnings: &mut Vec<Warning>) {
        let servers: Vec<&(String, ServerSpec)> = self.servers.values().collect();
        let voters: Vec<&str> = servers
            .iter()
            .filter(|(_, spec)| spec.role == Role::Participant)
            .map(|(name, _)| name.as_str())
            .collect();
        let last = self.place(voters.last().copied().unwrap_or_default());
        let text = match voters.len() {
            1 | 2 => {
                "the ensemble stops with the first server that fails; it takes three that vote \
                      to outlive one"
            }
            many if many % 2 == 0 => {
                "an even number of servers that vote outlives no more failures than one server less"
            }
            _ => "",
        };
        if !text.is_empty() {
            warnings.push(Warning::at(Level::Warn, &last, text));
        }
        for (position, (name, spec)) in servers.iter().enumerate() {
            for (other, earlier) in servers.iter().take(position) {
                if let Some(address) = spec.shared_peer_address(earlier) {
                    let text = format!(
                        "{name} has {address}, as {other} has: only one of them can be reached"
                    );
                    warnings.push(Warning::at(Level::Warn, &self.place(name), text));
                }
            }
        }
    }

    /// Tells that this server votes although `peerType` says that it observes.
    ///
    /// ZooKeeper also tells an observer that it has no `peerType`; the line says enough.
    fn remark_on_role(&self, warnings: &mut Vec<Warning>) {
        let own = self.own_line();
        let votes = own.is_none_or(|(_, spec)| spec.role == Role::Participant);
        if !self.wants_to_observe || !votes {
            return;
        }
        let text = match own {
            Some((name, _)) => format!("peerType is observer, and {name} votes: the line counts"),
            None => "peerType is observer, and a single server always votes".to_owned(),
        };
        warnings.push(Warning::at(Level::Warn, &self.place("peerType"), text));
    }
}

/// Reads the file of servers; the last of a key counts.
fn dynamic_settings(path: &Path) -> Result<Vec<Setting>, ConfigError> {
    let origin: Arc<str> = path.display().to_string().into();
    let place = |line| Place::Line { origin: Arc::clone(&origin), line };
    let entries = zoo_cfg::parse(&read_file(path)?).map_err(|error| ConfigError::Syntax {
        place: place(error.line),
        problem: error.problem,
        remedy: "a list of servers needs no backslash",
    })?;
    let mut settings = BTreeMap::new();
    for zoo_cfg::Entry { line, key: name, value } in entries {
        let key = keys::find(&name).filter(|_| name.starts_with("server.") || is_grouping(&name));
        let Some(key) = key else {
            let remedy = if name == "version" {
                "the version is what the file's name ends with, such as .100000000"
            } else {
                "it may have server.N=… only; move the line to the configuration that names the file"
            };
            let problem = format!("{} has no place in a dynamicConfigFile", printable(&name));
            return Err(ConfigError::Conflict {
                place: place(line),
                problem: problem.into(),
                remedy,
            });
        };
        settings.insert(name.clone(), Setting { key, name, value, place: place(line) });
    }
    let mut settings: Vec<Setting> = settings.into_values().collect();
    settings.sort_by(|left, right| left.place.cmp(&right.place));
    Ok(settings)
}

/// The version that the name of a file of servers ends with, in hexadecimal after a dot.
///
/// Source: ZooKeeper, `QuorumPeerConfig.getVersionFromFilename`.
fn version_in_name(path: &str) -> u64 {
    let suffix = path.rsplit_once('.').map(|(_, suffix)| suffix);
    let version = suffix.and_then(|suffix| i64::from_str_radix(suffix, 16).ok());
    version.and_then(|version| u64::try_from(version).ok()).unwrap_or(0)
}
