//! What becomes of a client's first frame.
//!
//! Nothing happens to a session or to another connection before the password was found right:
//! upstream closes the session's other connection first, so that whoever knows an id can kick its
//! client.

use jute::request::ConnectRequest;
use jute::{SessionId, Zxid};
use subtle::ConstantTimeEq;

use crate::tree::Session;

/// What the server knows when a client knocks.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// The last zxid this server has applied.
    pub last_zxid: Zxid,
    /// `minSessionTimeout`.
    pub timeout_ms_min: i32,
    /// `maxSessionTimeout`.
    pub timeout_ms_max: i32,
    /// Whether this server only reads for now, without an ensemble.
    pub read_only_server: bool,
    /// The session the client names. `None` is believed, so it must not come from a server that
    /// lags behind the ensemble.
    pub session: Option<&'a Session>,
}

/// What is to be done with the client.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Handshake {
    /// Open a session with this timeout.
    Open { timeout_ms: i32 },
    /// Continue the session it names, with this timeout; its former connection ends.
    Attach { timeout_ms: i32 },
    /// Answer that the session is gone, then close. A wrong password gets the same answer.
    Refuse,
    /// Close without a byte: the client will try another server.
    TryElsewhere,
}

/// Decides what becomes of a client.
///
/// Whoever saw a later state than this server is turned away before anything else is looked at, so
/// that no client goes back in time.
///
/// Source: ZooKeeper, `ZooKeeperServer.processConnectRequest`; the password is checked earlier here.
pub fn decide(request: &ConnectRequest, facts: &Facts<'_>) -> Handshake {
    let accepts_read_only = request.read_only.unwrap_or(false);
    if facts.read_only_server && !accepts_read_only {
        return Handshake::TryElsewhere;
    }
    if request.last_zxid_seen > facts.last_zxid {
        return Handshake::TryElsewhere;
    }
    let timeout_ms = request.timeout_ms.min(facts.timeout_ms_max).max(facts.timeout_ms_min);
    if request.session_id == SessionId::NONE {
        return Handshake::Open { timeout_ms };
    }
    // Without the ensemble nobody can say whether a session lives. (Upstream answers that one it
    // never heard of is gone, although the ensemble may have opened it since.)
    if facts.read_only_server {
        return Handshake::TryElsewhere;
    }
    match facts.session {
        Some(session) if is_password(&session.password, request.password.as_deref()) => {
            Handshake::Attach { timeout_ms }
        }
        Some(_) | None => Handshake::Refuse,
    }
}

/// Whether a client showed the password. How long this takes does not tell how much of it is right.
fn is_password(password: &[u8; 16], shown: Option<&[u8]>) -> bool {
    shown.is_some_and(|shown| password[..].ct_eq(shown).into())
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::tree::Holder;

    const PASSWORD: [u8; 16] = [7; 16];
    const SESSION: Session = Session {
        timeout_ms: 9_000,
        password: PASSWORD,
        holder: Holder { server: 1, boot: 1, connection: 1 },
    };
    const FACTS: Facts<'_> = Facts {
        last_zxid: Zxid(100),
        timeout_ms_min: 4_000,
        timeout_ms_max: 40_000,
        read_only_server: false,
        session: Some(&SESSION),
    };

    fn new_session(timeout_ms: i32) -> ConnectRequest {
        ConnectRequest { timeout_ms, ..ConnectRequest::default() }
    }

    fn reconnect(password: Option<&[u8]>) -> ConnectRequest {
        ConnectRequest {
            timeout_ms: 10_000,
            session_id: SessionId(5),
            password: password.map(Bytes::copy_from_slice),
            ..ConnectRequest::default()
        }
    }

    #[test]
    fn a_timeout_is_moved_to_the_nearer_end() {
        let cases = [
            (0, 4_000),
            (-5, 4_000),
            (1, 4_000),
            (3_999, 4_000),
            (4_000, 4_000),
            (12_345, 12_345),
            (40_001, 40_000),
            (i32::MAX, 40_000),
            (i32::MIN, 4_000),
        ];
        for (asked, timeout_ms) in cases {
            assert_eq!(decide(&new_session(asked), &FACTS), Handshake::Open { timeout_ms });
        }
    }

    #[test]
    fn a_new_session_needs_no_password_and_ignores_any() {
        for password in [None, Some(&b""[..]), Some(b"abc"), Some(&PASSWORD)] {
            let request = ConnectRequest { session_id: SessionId::NONE, ..reconnect(password) };
            let facts = Facts { session: None, ..FACTS };
            assert_eq!(decide(&request, &facts), Handshake::Open { timeout_ms: 10_000 });
        }
    }

    #[test]
    fn a_session_is_continued_with_the_timeout_asked_for_now() {
        let decided = decide(&reconnect(Some(&PASSWORD)), &FACTS);
        assert_eq!(decided, Handshake::Attach { timeout_ms: 10_000 });
    }

    #[test]
    fn a_wrong_password_is_answered_like_a_session_that_is_gone() {
        let wrong = [8; 16];
        let seventeen = [7; 17];
        for password in
            [None, Some(&b""[..]), Some(&PASSWORD[..15]), Some(&seventeen), Some(&wrong)]
        {
            assert_eq!(decide(&reconnect(password), &FACTS), Handshake::Refuse, "{password:?}");
        }
        let facts = Facts { session: None, ..FACTS };
        assert_eq!(decide(&reconnect(Some(&PASSWORD)), &facts), Handshake::Refuse);
    }

    #[test]
    fn whoever_saw_more_than_this_server_is_sent_elsewhere_even_with_a_wrong_password() {
        let seen = |request, zxid| ConnectRequest { last_zxid_seen: Zxid(zxid), ..request };
        let open = Handshake::Open { timeout_ms: 4_000 };
        assert_eq!(decide(&seen(new_session(0), 101), &FACTS), Handshake::TryElsewhere);
        assert_eq!(decide(&seen(new_session(0), 100), &FACTS), open);
        assert_eq!(decide(&seen(new_session(0), -1), &FACTS), open);
        assert_eq!(decide(&seen(reconnect(None), 101), &FACTS), Handshake::TryElsewhere);
    }

    #[test]
    fn a_read_only_server_takes_only_new_sessions_of_clients_that_agree() {
        let facts = Facts { read_only_server: true, ..FACTS };
        let with = |request, read_only| ConnectRequest { read_only, ..request };
        let unwilling = [None, Some(false)];
        for flag in unwilling {
            assert_eq!(decide(&with(new_session(0), flag), &facts), Handshake::TryElsewhere);
        }
        let willing = decide(&with(new_session(0), Some(true)), &facts);
        assert_eq!(willing, Handshake::Open { timeout_ms: 4_000 });
        for session in [Some(&SESSION), None] {
            let request = with(reconnect(Some(&PASSWORD)), Some(true));
            let facts = Facts { session, ..facts };
            assert_eq!(decide(&request, &facts), Handshake::TryElsewhere);
        }
    }
}
