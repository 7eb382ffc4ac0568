//! Names for new sessions.
//!
//! Every server hands them out itself. An id is laid out as upstream's: the server's id in the top
//! byte, then 40 bits of the time at which the server started, then 16 bits for a count, which may
//! carry into the time. Ids of two starts are therefore only probably different: opening a session
//! whose id is taken is refused, and the next one tried.
//!
//! Invariant: an id is never 0 (no session), and its top byte never 0xff (which marks TTL nodes
//! where the owner of a node is stored).
//!
//! Source: ZooKeeper, `SessionTrackerImpl.initializeNextSessionId`, `EphemeralType`.

use jute::SessionId;

/// The largest server id whose sessions cannot be mistaken for TTLs.
const SERVER_ID_MAX: u64 = 254;
/// The bits of an id below the server's.
const LOW_BITS: u64 = (1 << 56) - 1;

/// The server's id would make session ids look like the TTLs of nodes.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("server id {0} is above 254, so its sessions' ids would be taken for TTLs")]
pub struct ServerIdTooLarge(pub u64);

/// Hands out session ids.
#[derive(Debug)]
pub struct SessionIds {
    server_id: u64,
    next_low: u64,
}

impl SessionIds {
    /// Ids for server `server_id`, which started at `start_ms` (milliseconds since 1970).
    ///
    /// Upstream takes a clock that begins anew with the machine; wall time makes it less probable
    /// that a restarted server hands out an id again.
    ///
    /// # Errors
    ///
    /// [`ServerIdTooLarge`]; the server must not start.
    pub fn new(server_id: u64, start_ms: i64) -> Result<SessionIds, ServerIdTooLarge> {
        if server_id > SERVER_ID_MAX {
            return Err(ServerIdTooLarge(server_id));
        }
        let next_low = ((start_ms as u64) << 24) >> 8;
        Ok(SessionIds { server_id, next_low: next_low.max(1) })
    }

    /// The next id.
    pub fn next_id(&mut self) -> SessionId {
        let id = self.server_id << 56 | self.next_low;
        // Wraps below the server's byte, so that it stays this server's.
        self.next_low = ((self.next_low + 1) & LOW_BITS).max(1);
        SessionId(id as i64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_holds_the_server_the_time_and_a_count() {
        // The time of upstream's id 0x100001207a10000, and above it bits that do not fit.
        let mut ids = SessionIds::new(1, 0x12_07a1 | 0x77 << 40).unwrap();
        assert_eq!(ids.next_id(), SessionId(0x0100_0012_07a1_0000));
        assert_eq!(ids.next_id(), SessionId(0x0100_0012_07a1_0001));
    }

    #[test]
    fn a_count_carries_into_the_time_and_never_into_the_server() {
        let mut ids = SessionIds { server_id: 254, next_low: 0xffff };
        assert_eq!(ids.next_id().0 as u64, 0xfe00_0000_0000_ffff);
        assert_eq!(ids.next_id().0 as u64, 0xfe00_0000_0001_0000);

        let mut ids = SessionIds { server_id: 254, next_low: LOW_BITS };
        assert_eq!(ids.next_id().0 as u64, 0xfeff_ffff_ffff_ffff);
        assert_eq!(ids.next_id().0 as u64, 0xfe00_0000_0000_0001);
    }

    #[test]
    fn no_id_is_zero_or_marks_a_container() {
        assert_eq!(SessionIds::new(0, 0).unwrap().next_id(), SessionId(1));
        assert_eq!(SessionIds::new(128, 1 << 40).unwrap().next_id(), SessionId(i64::MIN + 1));
        let mut last = SessionIds { server_id: 0, next_low: LOW_BITS };
        last.next_id();
        assert_eq!(last.next_id(), SessionId(1));
    }

    #[test]
    fn a_server_id_that_does_not_fit_is_refused() {
        assert!(SessionIds::new(254, 1).is_ok());
        assert_eq!(SessionIds::new(255, 1).unwrap_err(), ServerIdTooLarge(255));
    }
}
