//! Who may do what: the judgement of ACLs, and their checking before they are stored.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use jute::{Acl, Id, Perms};

use super::{Admission, Refusal};

/// Entries of an ACL that is stored. A frame of the default size holds no more, but each `auth` in it
/// stands for all identities of the sender.
const ENTRIES_MAX: usize = 65_536;

/// Whether `identities` hold any of the permissions `wanted` on a node with this ACL.
///
/// Source: ZooKeeper, `ZooKeeperServer.checkACL`.
pub fn permits(acl: &[Acl], wanted: Perms, identities: &[Id]) -> bool {
    if acl.is_empty() || is_super(identities) {
        return true;
    }
    acl.iter().filter(|entry| entry.perms.intersects(wanted)).any(|entry| {
        is_anyone(&entry.id) || identities.iter().any(|identity| matches(identity, &entry.id))
    })
}

/// Whether the super user is among `identities`.
pub fn is_super(identities: &[Id]) -> bool {
    identities.iter().any(|identity| identity.scheme.as_deref() == Some("super"))
}

/// Whether the entry is for everybody.
fn is_anyone(id: &Id) -> bool {
    id.scheme.as_deref() == Some("world") && id.id.as_deref() == Some("anyone")
}

/// Whether an identity is meant by an entry of its own scheme.
fn matches(identity: &Id, entry: &Id) -> bool {
    if identity.scheme != entry.scheme {
        return false;
    }
    match (identity.scheme.as_deref(), &identity.id, &entry.id) {
        (Some("ip"), Some(address), Some(network)) => ip_matches(address, network),
        (_, Some(name), Some(meant)) => name == meant,
        _ => false,
    }
}

/// Whether an address lies in `network`, written `address` or `address/bits`.
fn ip_matches(address: &str, network: &str) -> bool {
    let (Ok(address), Some((network, bits))) = (address.parse(), parse_network(network)) else {
        return false;
    };
    match (address, network) {
        (IpAddr::V4(address), IpAddr::V4(network)) => {
            let shift = 32 - bits;
            u64::from(address.to_bits()) >> shift == u64::from(network.to_bits()) >> shift
        }
        (IpAddr::V6(address), IpAddr::V6(network)) => {
            let shift = 128 - bits;
            address.to_bits().checked_shr(shift) == network.to_bits().checked_shr(shift)
        }
        _ => false,
    }
}

/// Reads `address` or `address/bits`; IPv6 without scope and without embedded IPv4.
///
/// Source: ZooKeeper, `IPAuthenticationProvider`.
fn parse_network(text: &str) -> Option<(IpAddr, u32)> {
    let (address, bits) = match text.split_once('/') {
        Some((address, bits)) => (address, Some(bits.parse::<u32>().ok()?)),
        None => (text, None),
    };
    let (address, bits_max) = if address.contains('.') {
        (IpAddr::V4(parse_quad(address)?), 32)
    } else {
        (IpAddr::V6(address.parse::<Ipv6Addr>().ok()?), 128)
    };
    let bits = bits.unwrap_or(bits_max);
    (bits <= bits_max).then_some((address, bits))
}

/// Reads four decimal numbers, also with leading zeros: upstream never takes them for octal.
fn parse_quad(text: &str) -> Option<Ipv4Addr> {
    let octets: Option<Vec<u8>> = text.split('.').map(|octet| octet.parse().ok()).collect();
    let octets: [u8; 4] = octets?.try_into().ok()?;
    Some(Ipv4Addr::from(octets))
}

/// The ACL to be stored for the one that was sent: without duplicates, with `auth` replaced by the
/// sender's own identities.
///
/// # Errors
///
/// [`Refusal::InvalidAcl`]: nothing is left, or far too much, or an entry is one that nobody could
/// match.
///
/// Source: ZooKeeper, `PrepRequestProcessor.fixupACL`.
pub(super) fn fixed_up(acl: Option<&[Acl]>, admission: &Admission) -> Result<Arc<[Acl]>, Refusal> {
    let sent = acl.unwrap_or_default();
    let mut known = BTreeSet::new();
    let mut stored: Vec<Acl> = Vec::with_capacity(sent.len());
    for entry in sent {
        if sent.len() > 1 && !known.insert(entry) {
            continue;
        }
        match entry.id.scheme.as_deref().ok_or(Refusal::InvalidAcl)? {
            "auth" => {
                let before = stored.len();
                stored.extend(own_entries(entry.perms, &admission.identities));
                if stored.len() == before || stored.len() > ENTRIES_MAX {
                    return Err(Refusal::InvalidAcl);
                }
            }
            scheme => {
                check_entry(scheme, entry.id.id.as_deref(), admission)?;
                stored.push(entry.clone());
            }
        }
    }
    if stored.is_empty() { Err(Refusal::InvalidAcl) } else { Ok(stored.into()) }
}

/// One entry for each identity that proves who the sender is.
fn own_entries(perms: Perms, identities: &[Id]) -> impl Iterator<Item = Acl> {
    let proven = |id: &&Id| matches!(id.scheme.as_deref(), Some("digest" | "sasl" | "x509"));
    identities.iter().filter(proven).map(move |id| Acl { perms, id: id.clone() })
}

/// Refuses an entry that could match nobody; without a name it is malformed to the schemes there are.
fn check_entry(scheme: &str, name: Option<&str>, admission: &Admission) -> Result<(), Refusal> {
    let is_valid: fn(&str) -> bool = match scheme {
        "world" => |name| name == "anyone",
        "ip" => |name| parse_network(name).is_some(),
        "digest" if admission.digest_enabled => is_valid_digest,
        _ => return Err(Refusal::InvalidAcl),
    };
    if is_valid(name.ok_or(Refusal::Malformed)?) { Ok(()) } else { Err(Refusal::InvalidAcl) }
}

/// Whether the text is `user:hash`, with exactly two parts and a hash.
///
/// Source: ZooKeeper, `DigestAuthenticationProvider.isValid`.
fn is_valid_digest(id: &str) -> bool {
    // Java's `split` drops empty parts at the end, so "u:h::" has two.
    let trimmed = id.trim_end_matches(':');
    trimmed.split(':').count() == 2
}

/// The ACL as it is shown to somebody who may not administer the node: digests are masked.
///
/// Source: ZooKeeper, `FinalRequestProcessor`, `OpCode.getACL`.
pub(super) fn masked(acl: &[Acl]) -> Vec<Acl> {
    let mask = |entry: &Acl| match (entry.id.scheme.as_deref(), entry.id.id.as_deref()) {
        (Some("digest"), Some(id)) => {
            let user = id.split_once(':').map_or(id, |(user, _)| user);
            Acl { perms: entry.perms, id: Id::new("digest", format!("{user}:x")) }
        }
        _ => entry.clone(),
    };
    acl.iter().map(mask).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(scheme: &str, id: &str) -> Acl {
        Acl { perms: Perms::READ, id: Id::new(scheme, id) }
    }

    #[test]
    fn an_address_matches_its_network_and_no_other() {
        let cases = [
            ("127.0.0.1", "127.0.0.1", true),
            ("127.0.0.1", "127.0.0.0/8", true),
            ("128.0.0.1", "127.0.0.0/8", false),
            ("10.1.2.3", "0.0.0.0/0", true),
            ("10.1.2.3", "10.1.2.2/31", true),
            ("10.1.2.3", "10.1.2.4/31", false),
            ("0:0:0:0:0:0:0:1", "::1", true),
            ("2001:db8::5", "2001:db8::/32", true),
            ("2001:db9::5", "2001:db8::/32", false),
            ("2001:db9::5", "::/0", true),
            ("127.0.0.1", "::/0", false),
        ];
        for (address, network, expected) in cases {
            let acl = [entry("ip", network)];
            let found = permits(&acl, Perms::READ, &[Id::new("ip", address)]);
            assert_eq!(found, expected, "{address} in {network}");
        }
    }

    #[test]
    fn any_wanted_bit_is_enough_and_super_needs_none() {
        let acl = [entry("digest", "u:h")];
        let user = [Id::new("digest", "u:h")];
        assert!(permits(&acl, Perms::READ.union(Perms::ADMIN), &user));
        assert!(!permits(&acl, Perms::WRITE, &user));
        assert!(!permits(&acl, Perms::READ, &[Id::new("digest", "u:other")]));
        assert!(permits(&acl, Perms::WRITE, &[Id::new("super", "")]));
    }

    #[test]
    fn digests_have_two_parts_and_a_hash() {
        for (id, valid) in
            [("u:h", true), (":h", true), ("u:", false), ("a:b:c", false), ("u", false)]
        {
            assert_eq!(is_valid_digest(id), valid, "{id}");
        }
    }

    #[test]
    fn an_entry_without_a_name_is_malformed_only_if_its_scheme_would_read_the_name() {
        let judged = |scheme: Option<&str>| {
            let id = Id { scheme: scheme.map(str::to_owned), id: None };
            fixed_up(Some(&[Acl { perms: Perms::ALL, id }]), &Admission::internal())
        };
        for scheme in ["world", "ip", "digest"] {
            assert_eq!(judged(Some(scheme)), Err(Refusal::Malformed), "{scheme}");
        }
        for scheme in [Some("super"), Some("unheard-of"), None] {
            assert_eq!(judged(scheme), Err(Refusal::InvalidAcl), "{scheme:?}");
        }
    }

    #[test]
    fn duplicates_go_and_the_order_stays() {
        let sent = [entry("ip", "::1"), entry("digest", "u:h"), entry("ip", "::1")];
        let stored = fixed_up(Some(&sent), &Admission::internal()).unwrap();
        assert_eq!(*stored, sent[..2]);
    }

    #[test]
    fn few_entries_cannot_become_very_many() {
        let identities = (0..1_000).map(|number| Id::new("digest", format!("{number}:h")));
        let admission = Admission { identities: identities.collect(), ..Admission::internal() };
        let own = |perms| Acl { perms: Perms(perms), id: Id::new("auth", "") };
        let few: Vec<Acl> = (0..60).map(own).collect();
        let many: Vec<Acl> = (0..10_000).map(own).collect();

        assert_eq!(fixed_up(Some(&few), &admission).unwrap().len(), 60_000);
        assert_eq!(fixed_up(Some(&many), &admission), Err(Refusal::InvalidAcl));
    }

    #[test]
    fn networks_are_checked_before_they_are_stored() {
        for (text, valid) in [
            ("1.2.3.4", true),
            ("1.2.3.4/33", false),
            ("1.2.3", false),
            ("1.2.3.4.5", false),
            ("01.02.003.+4", true),
            ("1.2.3.256", false),
            ("1.2.3.4/+08", true),
            ("0x1.2.3.4", false),
            ("::1/128", true),
            ("::1/129", false),
            ("::ffff:1.2.3.4", false),
            ("fe80::1%eth0", false),
        ] {
            assert_eq!(parse_network(text).is_some(), valid, "{text}");
        }
    }
}
