//! The codes a reply can carry: the table [`ERROR_CODES`] is the only place that lists them.

macro_rules! error_codes {
    ($($(#[$doc:meta])* $name:ident = $number:literal;)*) => {
        /// The outcome of a request, by its number on the wire.
        #[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
        #[repr(i32)]
        pub enum ErrorCode { $($(#[$doc])* $name = $number,)* }

        /// Every code a server sends, with its name.
        pub const ERROR_CODES: &[(ErrorCode, &str)] =
            &[$((ErrorCode::$name, stringify!($name)),)*];

        impl ErrorCode {
            /// The code with this number, if a server sends it.
            pub const fn from_number(number: i32) -> Option<ErrorCode> {
                match number { $($number => Some(ErrorCode::$name),)* _ => None }
            }
        }
    };
}

error_codes! {
    /// The request was carried out.
    Ok = 0;
    /// An operation of a failed multi that came after the one that failed.
    RuntimeInconsistency = -2;
    /// The request's body cannot be decoded.
    MarshallingError = -5;
    /// The operation is not known or not enabled.
    Unimplemented = -6;
    /// A path, flag or TTL that no node can have.
    BadArguments = -8;
    /// No quorum of the new configuration is connected and in sync.
    NewConfigNoQuorum = -13;
    /// Another reconfiguration is under way.
    ReconfigInProgress = -14;
    /// The node (or the parent, on create and delete) does not exist.
    NoNode = -101;
    /// The ACL refuses.
    NoAuth = -102;
    /// The expected version is not the current one.
    BadVersion = -103;
    /// Ephemeral nodes have no children.
    NoChildrenForEphemerals = -108;
    /// The node exists already.
    NodeExists = -110;
    /// The node has children.
    NotEmpty = -111;
    /// The session is closed or expired.
    SessionExpired = -112;
    /// The ACL is empty or holds an entry that no identity could match.
    InvalidAcl = -114;
    /// The credentials were refused; the connection closes.
    AuthFailed = -115;
    /// The session lives on another server now.
    SessionMoved = -118;
    /// A write on a server that only reads.
    NotReadOnly = -119;
    /// An ephemeral node on a local session.
    EphemeralOnLocalSession = -120;
    /// No such watch is registered.
    NoWatcher = -121;
    /// `reconfigEnabled` is false.
    ReconfigDisabled = -123;
    /// The server requires credentials that the connection has not given; it closes.
    SessionClosedRequireAuth = -124;
    /// A hard quota refuses.
    QuotaExceeded = -125;
    /// The request waited too long and was not carried out.
    ThrottledOp = -127;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_codes_name_each_other() {
        for &(code, name) in ERROR_CODES {
            assert_eq!(ErrorCode::from_number(code as i32), Some(code), "{name}");
        }
        assert_eq!(ErrorCode::from_number(-4), None, "ConnectionLoss is the client's own");
    }
}
