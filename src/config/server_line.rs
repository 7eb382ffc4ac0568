//! One `server.N` line: a member of the ensemble and where its clients connect.
//!
//! `<host>:<quorumPort>:<electionPort>[:<role>][|…][;[<host>:]<clientPort>][;[<host>:]<securePort>]`
//!
//! The line is checked in full, as ZooKeeper checks it, and never resolved: hosts stay text.
//!
//! Source: ZooKeeper, `QuorumPeer.QuorumServer`.

use super::ensemble::{Role, ServerSpec, is_same_host};
use super::keys::TLS_LATER;

const SHAPE: &str = "host:quorumPort:electionPort[:participant|:observer][;[address:]clientPort]";

/// Host, quorum port and election port.
type Address = (String, u16, u16);

/// Reads the value of a `server.N` line.
///
/// A role that one of several addresses names is that of all. An address that is written twice counts
/// once, also if it is spelled in two ways, and a part after a semicolon may be empty.
///
/// # Errors
///
/// What is wrong, and the expected shape.
pub(super) fn parse(value: &str) -> Result<ServerSpec, (String, String)> {
    let mut parts = value.split(';').map(str::trim);
    let members = parts.next().unwrap_or_default();
    let client = parts.next().filter(|client| !client.is_empty());
    let client = client.map(client_address).transpose().map_err(with_shape)?;
    if parts.next().is_some_and(|secure| !secure.is_empty()) {
        return Err(with_shape(format!("has a part for clients with TLS: {TLS_LATER}")));
    }
    if parts.next().is_some() {
        return Err(with_shape("has more than three parts between semicolons".to_owned()));
    }

    let mut addresses: Vec<Address> = Vec::new();
    let mut role = None;
    for member in members.split('|') {
        let (address, named) = member_address(member).map_err(with_shape)?;
        if !addresses.iter().any(|held| is_same_address(held, &address)) {
            addresses.push(address);
        }
        if role.is_some() && named.is_some() && role != named {
            return Err(with_shape("gives its addresses different roles".to_owned()));
        }
        role = role.or(named);
    }
    Ok(ServerSpec { addresses, role: role.unwrap_or(Role::Participant), client })
}

fn is_same_address(one: &Address, other: &Address) -> bool {
    (one.1, one.2) == (other.1, other.2) && is_same_host(&one.0, &other.0)
}

fn with_shape(problem: String) -> (String, String) {
    (problem, SHAPE.to_owned())
}

/// Reads `host:quorumPort:electionPort[:role]`.
fn member_address(text: &str) -> Result<(Address, Option<Role>), String> {
    let (host, rest) = split_host(text.trim())?;
    if host.is_empty() {
        return Err("has no host".to_owned());
    }
    let fields: Vec<&str> = rest.split(':').collect();
    let (quorum, election, role) = match fields.as_slice() {
        [quorum, election] => (quorum, election, None),
        [quorum, election, role] => (quorum, election, Some(parse_role(role)?)),
        [_] => return Err("has no election port".to_owned()),
        _ => return Err("has too many colons".to_owned()),
    };
    let (quorum, election) = (port(quorum, "quorum")?, port(election, "election")?);
    if quorum == election {
        return Err(format!("uses port {quorum} for both quorum and election"));
    }
    Ok(((host.to_owned(), quorum, election), role))
}

fn parse_role(text: &str) -> Result<Role, String> {
    Role::named(text.trim()).ok_or_else(|| format!("has the unknown role {:?}", text.trim()))
}

/// Reads `[host:]port`.
fn client_address(text: &str) -> Result<(Option<String>, u16), String> {
    if !text.contains(':') {
        return Ok((None, port(text, "client")?));
    }
    let (host, rest) = split_host(text)?;
    if host.is_empty() {
        return Err("has no host before the client port".to_owned());
    }
    Ok((Some(host.to_owned()), port(rest, "client")?))
}

/// Splits `host:rest`, where the host may be an IPv6 address in brackets (which it loses).
fn split_host(text: &str) -> Result<(&str, &str), String> {
    let (host, rest) = match text.strip_prefix('[') {
        Some(bracketed) => bracketed
            .split_once("]:")
            .ok_or_else(|| "has a bracket that is not closed before a colon".to_owned())?,
        None => text.split_once(':').ok_or_else(|| "has no ports".to_owned())?,
    };
    Ok((host.trim(), rest.trim()))
}

/// Reads a port; `purpose` names it in the complaint.
fn port(text: &str, purpose: &str) -> Result<u16, String> {
    match text.trim().parse() {
        Ok(port) if port != 0 => Ok(port),
        Ok(_) | Err(_) => Err(format!("has the {purpose} port {text:?}, not 1 to 65535")),
    }
}
