//! Values that are neither numbers nor switches, and how each is read.
//!
//! Each function is the [`Form::Text`](super::form::Form::Text) of one key in the table.

use super::draft::Draft;
use super::form::Complaint;
use super::settings::Setting;
use super::{DigestAlgorithm, FourLetterWhitelist, Role, SERVER_ID_MAX, server_line, server_list};
use std::collections::BTreeSet;

/// What became of a value.
type Read = Result<(), Complaint>;

/// `dataDir`.
pub(super) fn data_dir(draft: &mut Draft, setting: &Setting) -> Read {
    draft.data_dir = Some(non_empty(setting)?.into());
    Ok(())
}

/// `dataLogDir`.
pub(super) fn data_log_dir(draft: &mut Draft, setting: &Setting) -> Read {
    draft.data_log_dir = Some(non_empty(setting)?.into());
    Ok(())
}

/// `clientPortAddress`; an IPv6 address loses its brackets.
pub(super) fn client_address(draft: &mut Draft, setting: &Setting) -> Read {
    let host = non_empty(setting)?;
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    draft.config.client_address = Some(bare.to_owned());
    Ok(())
}

/// `server.N`.
pub(super) fn server(draft: &mut Draft, setting: &Setting) -> Read {
    let id = setting.name.strip_prefix("server.").unwrap_or_default();
    let Ok(id) = server_list::server_id(id) else {
        let problem = format!("has no number from 0 to {SERVER_ID_MAX} after server.");
        return Err(Complaint::new(problem, "server.1=…, as in dataDir/myid"));
    };
    let line = server_line::parse(&setting.value)?;
    match draft.servers.insert(id, (setting.name.clone(), line)) {
        None => Ok(()),
        Some((other, _)) => {
            let problem = format!("is the same server as {other}");
            Err(Complaint::new(problem, "one line for each server"))
        }
    }
}

/// `dynamicConfigFile`.
pub(super) fn dynamic_config_file(draft: &mut Draft, setting: &Setting) -> Read {
    draft.dynamic_config_file = Some(non_empty(setting)?.into());
    Ok(())
}

/// `peerType`.
pub(super) fn peer_type(draft: &mut Draft, setting: &Setting) -> Read {
    let complaint = || Complaint::new("is no type of peer", "participant or observer");
    let role = Role::named(&setting.value).ok_or_else(complaint)?;
    draft.wants_to_observe = role == Role::Observer;
    Ok(())
}

/// `autopurge.purgeInterval`: hours, or with a suffix as in 3.10.
pub(super) fn interval(_: &mut Draft, setting: &Setting) -> Read {
    let value = setting.value.as_str();
    let suffix = ["ms", "s", "m", "h", "d"].iter().find_map(|suffix| value.strip_suffix(suffix));
    match suffix.unwrap_or(value).parse::<u32>() {
        Ok(_) => Ok(()),
        Err(_) => {
            Err(Complaint::new("is no interval", "a whole number, or one with ms, s, m, h or d"))
        }
    }
}

/// `metricsProvider.httpHost`.
pub(super) fn metrics_host(draft: &mut Draft, setting: &Setting) -> Read {
    non_empty(setting)?.clone_into(&mut draft.config.metrics.host);
    Ok(())
}

/// `admin.serverAddress`.
pub(super) fn admin_address(draft: &mut Draft, setting: &Setting) -> Read {
    non_empty(setting)?.clone_into(&mut draft.config.admin.address);
    Ok(())
}

/// `admin.commandURL`.
pub(super) fn admin_url(draft: &mut Draft, setting: &Setting) -> Read {
    if !setting.value.starts_with('/') {
        return Err(Complaint::new("is no path", "one that begins with a slash"));
    }
    setting.value.clone_into(&mut draft.config.admin.command_url);
    Ok(())
}

/// `4lw.commands.whitelist`.
pub(super) fn whitelist(draft: &mut Draft, setting: &Setting) -> Read {
    let words = setting.value.split(',').map(str::trim).filter(|word| !word.is_empty());
    let mut words: BTreeSet<String> = words.map(str::to_owned).collect();
    if words.iter().any(|word| word.contains(' ')) {
        return Err(Complaint::new("has a blank between words", "words with commas between them"));
    }
    draft.config.four_letter_whitelist = if words.contains("*") {
        FourLetterWhitelist::All
    } else {
        words.insert("srvr".to_owned());
        FourLetterWhitelist::Only(words)
    };
    Ok(())
}

/// `DigestAuthenticationProvider.superDigest`.
pub(super) fn super_digest(draft: &mut Draft, setting: &Setting) -> Read {
    match setting.value.split_once(':') {
        Some((user, hash)) if !user.is_empty() && !hash.is_empty() => {
            draft.config.super_digest = Some(setting.value.clone());
            Ok(())
        }
        Some(_) | None => {
            Err(Complaint::new("is no identity", "user:base64(hash of user:password)"))
        }
    }
}

/// `DigestAuthenticationProvider.digestAlg`, by the names that Java has.
pub(super) fn digest_algorithm(draft: &mut Draft, setting: &Setting) -> Read {
    draft.config.digest_algorithm = match setting.value.to_ascii_uppercase().as_str() {
        "SHA1" | "SHA-1" | "SHA" => DigestAlgorithm::Sha1,
        "SHA-256" => DigestAlgorithm::Sha256,
        "SHA-384" => DigestAlgorithm::Sha384,
        "SHA-512" => DigestAlgorithm::Sha512,
        "SHA3-256" => DigestAlgorithm::Sha3_256,
        "SHA3-384" => DigestAlgorithm::Sha3_384,
        "SHA3-512" => DigestAlgorithm::Sha3_512,
        _ => {
            let expected = "SHA1, SHA-256, SHA-384, SHA-512, SHA3-256, SHA3-384 or SHA3-512";
            return Err(Complaint::new("is no algorithm known here", expected));
        }
    };
    Ok(())
}

/// `enforce.auth.schemes`; which of them exist is settled at the end.
#[expect(clippy::unnecessary_wraps, reason = "the signature is that of `Form::Text`")]
pub(super) fn enforced_schemes(draft: &mut Draft, setting: &Setting) -> Read {
    let schemes = setting.value.split(',').map(str::trim).filter(|scheme| !scheme.is_empty());
    draft.enforce_auth_schemes = schemes.map(str::to_owned).collect();
    Ok(())
}

/// The value, unless there is none.
fn non_empty(setting: &Setting) -> Result<&str, Complaint> {
    match setting.value.as_str() {
        "" => Err(Complaint::new("is empty", "a value")),
        value => Ok(value),
    }
}
