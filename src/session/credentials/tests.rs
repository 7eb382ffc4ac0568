//! Identities by the example of upstream's: digests, addresses, and what shows nothing.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::*;

const ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 1, 2, 3));

fn credentials() -> Credentials {
    let algorithm = DigestAlgorithm::default();
    Credentials { super_digest: None, digest_enabled: true, algorithm }
}

fn digest(credentials: &Credentials, text: &[u8]) -> Result<Vec<Id>, AuthFailed> {
    credentials.authenticate(Some("digest"), Some(text), ADDRESS)
}

#[test]
fn digests_are_those_of_upstream() {
    let cases: [(&[u8], &str); 6] = [
        (b"u:p", "u:Jq7wMyA/w2Vd5WIDAKdu4OIIFEQ="),
        (b"user:pass", "user:smGaoVKd/cQkjm7b88GyorAUz20="),
        (b"foo", "foo:C+7Hteo/D9vJXQ3UfzxbwnXaijM="),
        (b"super:pw", "super:0bX78nEegDzJM3ju0iLBEJdWzjg="),
        (b"", ":2jmj7l5rSw0yVb/vlWAYkK/YBwk="),
        // Malformed text is replaced before it is digested.
        (b"\xff:p", "\u{fffd}:CF2aQmKhCpl6NRwvXg6ky6/tkEA="),
    ];
    for (text, identity) in cases {
        let found = digest(&credentials(), text);
        assert_eq!(found, Ok(vec![Id::new("digest", identity)]));
    }
}

#[test]
fn the_user_is_what_stands_before_the_first_colon() {
    let identities = digest(&credentials(), b"a:b:c").unwrap();
    let id = identities[0].id.as_deref().unwrap();
    assert!(id.starts_with("a:") && id.matches(':').count() == 1, "{id}");
    assert_ne!(identities, digest(&credentials(), b"a:b").unwrap());
}

#[test]
fn every_algorithm_makes_its_own_digest() {
    let cases = [
        ("SHA1", "smGaoVKd/cQkjm7b88GyorAUz20="),
        ("sha-1", "smGaoVKd/cQkjm7b88GyorAUz20="),
        ("SHA", "smGaoVKd/cQkjm7b88GyorAUz20="),
        ("SHA-224", "PkKzWnuMzJ0rpktz4O5hvSZFw/3yZFIfOizv2Q=="),
        ("SHA-256", "70yRTFkWmLJo2zxkFj6v2nIJpjDyNuvw7r8EVGDfcjo="),
        ("SHA-384", "HCMIuQnSVR4Ge6EqefZYDR5jDoZgKCFDqLIj+NFPNcMCWoRCnlIHxYGRib8lxoES"),
        (
            "SHA-512",
            "byB8hNs+LzOYofjeMGiIfR/jKrcms8i5ls17owJgMPc/97CxZ1nTVHmKawnszYHC8bu9VMh6GIu6\
             lFZ1BXBL3Q==",
        ),
        ("SHA-512/224", "L1glB9gK73x7aeL8CvbDYSbBR0KA0VVYa4N+Qg=="),
        ("SHA-512/256", "htaDe+W52JZuBc/SaAa/Dg0Gkh4PRC+urDUOsga/86s="),
        ("SHA3-224", "V0DUUIgATD5glpGlu3E/zUW5JQct3OS4WSPfcA=="),
        ("SHA3-256", "MKfo05p7nYw1Yb/bzA4GEyZLUt02iFpxN0ASiDBnsjw="),
        ("SHA3-384", "tJjZMH1SIBQQtXUh+Rc24S0RVOcCO9mLplyYFS9vdFluhH2azpF4eDdC1BnT7QVl"),
        (
            "SHA3-512",
            "FWUrHsnpIuI/wA7/wScJDJ8ZlRBU2B3y7nG9wKifhaEpJvvEuDgXE5mhpNHdcvZzjwkNue7X1em4\
             rs5s2IiDdw==",
        ),
    ];
    assert_eq!(cases.len(), ALGORITHMS.len());
    for (name, expected) in cases {
        let credentials = Credentials { algorithm: name.parse().unwrap(), ..credentials() };
        let expected = Id::new("digest", format!("user:{expected}"));
        assert_eq!(digest(&credentials, b"user:pass"), Ok(vec![expected]), "{name}");
    }
}

#[test]
fn an_unknown_algorithm_is_an_error_that_names_it() {
    for name in ["MD5", "SHA2-256", ""] {
        let error = name.parse::<DigestAlgorithm>().unwrap_err();
        assert!(error.to_string().contains(&format!("{name:?}")), "{error}");
    }
    assert_eq!(format!("{:?}", DigestAlgorithm::default()), "SHA1");
}

#[test]
fn the_super_digest_makes_super_and_keeps_the_digest() {
    let super_digest = Some("super:0bX78nEegDzJM3ju0iLBEJdWzjg=".to_owned());
    let credentials = Credentials { super_digest: super_digest.clone(), ..credentials() };
    let digest_identity = Id { scheme: Some("digest".to_owned()), id: super_digest };
    let expected = vec![Id::new("super", ""), digest_identity];
    assert_eq!(digest(&credentials, b"super:pw"), Ok(expected));
    let others = digest(&credentials, b"super:other").unwrap();
    assert!(!crate::tree::is_super(&others));
}

#[test]
fn ip_adds_the_address_again_whatever_is_shown() {
    for auth in [None, Some(&b"1.2.3.4"[..])] {
        let found = credentials().authenticate(Some("ip"), auth, ADDRESS);
        assert_eq!(found, Ok(vec![Id::new("ip", "10.1.2.3")]));
    }
}

#[test]
fn other_schemes_and_null_fail() {
    for scheme in ["world", "auth", "sasl", "super", "x509", "DIGEST", "", "other"] {
        let failed = credentials().authenticate(Some(scheme), Some(b"u:p"), ADDRESS);
        assert_eq!(failed, Err(AuthFailed::Scheme(scheme.to_owned())));
    }
    let failed = credentials().authenticate(None, Some(b"u:p"), ADDRESS);
    assert_eq!(failed, Err(AuthFailed::NullScheme));
    let failed = credentials().authenticate(Some("digest"), None, ADDRESS);
    assert_eq!(failed, Err(AuthFailed::NullDigest));
    let disabled = Credentials { digest_enabled: false, ..credentials() };
    assert_eq!(digest(&disabled, b"u:p"), Err(AuthFailed::Scheme("digest".to_owned())));
}

#[test]
fn addresses_are_written_as_java_does() {
    let cases = [
        ("127.0.0.1", "127.0.0.1"),
        ("::1", "0:0:0:0:0:0:0:1"),
        ("2001:DB8::00a0", "2001:db8:0:0:0:0:0:a0"),
        ("::ffff:10.0.0.1", "10.0.0.1"),
    ];
    for (address, text) in cases {
        assert_eq!(ip_identity(address.parse().unwrap()), Id::new("ip", text));
    }
}

#[test]
fn who_am_i_tells_users_and_no_digests() {
    let identities = [
        ip_identity(IpAddr::V6(Ipv6Addr::LOCALHOST)),
        Id::new("digest", "user:hash"),
        Id::new("digest", ":hash"),
        Id::new("x509", "CN=a,O=b:c"),
        Id::new("sasl", "user/host@REALM"),
        Id::new("super", "CN=root"),
    ];
    let told: Vec<_> = client_info(&identities)
        .into_iter()
        .map(|info| (info.auth_scheme.unwrap(), info.user.unwrap()))
        .collect();
    let expected = [
        ("ip", "0:0:0:0:0:0:0:1"),
        ("digest", "user"),
        ("digest", ""),
        ("x509", "CN=a,O=b:c"),
        ("sasl", "user/host@REALM"),
        ("super", ""),
    ];
    assert_eq!(told, expected.map(|(scheme, user)| (scheme.to_owned(), user.to_owned())));
}
