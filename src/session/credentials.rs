//! Who a client is: from what it shows to the identities that ACLs know.
//!
//! Passwords end here. What leaves is an identity with a digest in it, and errors and
//! [`client_info`] carry neither password nor digest.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jute::Id;
use jute::reply::ClientInfo;
use sha1::Sha1;
use sha2::{Digest, Sha224, Sha256, Sha384, Sha512, Sha512_224, Sha512_256};
use sha3::{Sha3_224, Sha3_256, Sha3_384, Sha3_512};

/// Every algorithm that digests of passwords may be made with. The names are those of Java, in any
/// case, because upstream's `digestAlg` takes them; MD2 and MD5 are left out.
const ALGORITHMS: [(&str, Hash); 13] = [
    ("SHA1", hash::<Sha1>),
    ("SHA-1", hash::<Sha1>),
    ("SHA", hash::<Sha1>),
    ("SHA-224", hash::<Sha224>),
    ("SHA-256", hash::<Sha256>),
    ("SHA-384", hash::<Sha384>),
    ("SHA-512", hash::<Sha512>),
    ("SHA-512/224", hash::<Sha512_224>),
    ("SHA-512/256", hash::<Sha512_256>),
    ("SHA3-224", hash::<Sha3_224>),
    ("SHA3-256", hash::<Sha3_256>),
    ("SHA3-384", hash::<Sha3_384>),
    ("SHA3-512", hash::<Sha3_512>),
];

type Hash = fn(&[u8]) -> Vec<u8>;

fn hash<D: Digest>(text: &[u8]) -> Vec<u8> {
    D::digest(text).to_vec()
}

/// How digests of passwords are made: `DigestAuthenticationProvider.digestAlg`.
#[derive(Clone, Copy)]
pub struct DigestAlgorithm {
    name: &'static str,
    hash: Hash,
}

/// A name that is none of a digest algorithm; the server must not start.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{0:?} is no digest algorithm that is known here")]
pub struct UnknownAlgorithm(String);

impl FromStr for DigestAlgorithm {
    type Err = UnknownAlgorithm;

    fn from_str(text: &str) -> Result<DigestAlgorithm, UnknownAlgorithm> {
        let row = ALGORITHMS.iter().find(|(name, _)| name.eq_ignore_ascii_case(text));
        let (name, hash) = row.ok_or_else(|| UnknownAlgorithm(text.to_owned()))?;
        Ok(DigestAlgorithm { name, hash: *hash })
    }
}

impl Default for DigestAlgorithm {
    fn default() -> DigestAlgorithm {
        DigestAlgorithm { name: "SHA1", hash: hash::<Sha1> }
    }
}

impl fmt::Debug for DigestAlgorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

/// Why an `addauth` failed. The client gets `AuthFailed`, then its connection closes.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum AuthFailed {
    #[error("the scheme is null")]
    NullScheme,
    #[error("scheme {0:?} cannot be used with addauth here")]
    Scheme(String),
    #[error("the digest's user and password are null")]
    NullDigest,
}

/// What decides about credentials besides themselves.
#[derive(Clone)]
pub struct Credentials {
    /// `superDigest`: the digest identity, `user:hash`, that may do everything.
    pub super_digest: Option<String>,
    /// `DigestAuthenticationProvider.enabled`.
    pub digest_enabled: bool,
    /// With what digests are made.
    pub algorithm: DigestAlgorithm,
}

impl Credentials {
    /// The identities that an `addauth` of a client at `address` adds to those it has.
    ///
    /// Any user with any password is somebody: a digest only says who may use what the same digest
    /// was put on.
    ///
    /// # Errors
    ///
    /// [`AuthFailed`]: close the connection after the answer.
    ///
    /// Source: ZooKeeper, `DigestAuthenticationProvider`, `IPAuthenticationProvider`.
    pub fn authenticate(
        &self,
        scheme: Option<&str>,
        auth: Option<&[u8]>,
        address: IpAddr,
    ) -> Result<Vec<Id>, AuthFailed> {
        match scheme {
            Some("ip") => Ok(vec![ip_identity(address)]),
            Some("digest") if self.digest_enabled => {
                let auth = auth.ok_or(AuthFailed::NullDigest)?;
                Ok(self.digest_identities(&String::from_utf8_lossy(auth)))
            }
            Some(scheme) => Err(AuthFailed::Scheme(scheme.to_owned())),
            None => Err(AuthFailed::NullScheme),
        }
    }

    /// Who shows `user:password`. The digest is of the whole text; all of it is the user's name if
    /// there is no colon.
    fn digest_identities(&self, text: &str) -> Vec<Id> {
        let user = before_colon(text);
        let digest = STANDARD.encode((self.algorithm.hash)(text.as_bytes()));
        let identity = format!("{user}:{digest}");
        let is_super = self.super_digest.as_ref() == Some(&identity);
        let also_super = is_super.then(|| Id::new("super", ""));
        also_super.into_iter().chain([Id::new("digest", identity)]).collect()
    }
}

/// The identity that every connection has: its address, as Java writes it.
pub fn ip_identity(address: IpAddr) -> Id {
    let text = match address.to_canonical() {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => address.segments().map(|group| format!("{group:x}")).join(":"),
    };
    Id::new("ip", text)
}

/// What `whoAmI` tells of identities: no digests.
///
/// Source: ZooKeeper, `AuthUtil.getClientInfos`.
pub fn client_info(identities: &[Id]) -> Vec<ClientInfo> {
    let info = |identity: &Id| {
        let id = identity.id.as_deref().unwrap_or_default();
        let user = match identity.scheme.as_deref() {
            Some("digest") => before_colon(id),
            Some("ip" | "sasl" | "x509") => id,
            _ => "",
        };
        ClientInfo { auth_scheme: identity.scheme.clone(), user: Some(user.to_owned()) }
    };
    identities.iter().map(info).collect()
}

/// The text before the first colon, or all of it.
fn before_colon(text: &str) -> &str {
    text.split_once(':').map_or(text, |(before, _)| before)
}

#[cfg(test)]
mod tests;
