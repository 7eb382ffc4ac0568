//! File descriptors: as many as the system grants, and enough kept back for the databases.
//!
//! A client costs one. A server that spends its last one on a client cannot open the file that a flush
//! needs, and a flush that fails stops it.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Descriptors kept back for the databases' files, where there are enough.
const RESERVED: u64 = 640;

/// Raises the soft limit to the hard one, as Java does, and returns what is in force; `None` is no
/// limit.
pub fn raise_descriptor_limit() -> Option<u64> {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    match setrlimit(Resource::Nofile, raised) {
        Ok(()) => limit.maximum,
        // Then it stays as it is.
        Err(_) => limit.current,
    }
}

/// How many connections there may be in all: what the configuration allows (0: any number), and never
/// so many that no descriptor is left for the databases.
pub fn connections_max(configured: u32, descriptors: Option<u64>) -> u32 {
    let Some(descriptors) = descriptors else { return configured };
    let spare = descriptors - RESERVED.min(descriptors / 2);
    let affordable = u32::try_from(spare).unwrap_or(u32::MAX).max(1);
    if configured == 0 { affordable } else { configured.min(affordable) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptors_are_kept_back_for_the_databases() {
        assert_eq!(connections_max(0, None), 0);
        assert_eq!(connections_max(7, None), 7);
        assert_eq!(connections_max(0, Some(1_024 * 1_024)), 1_024 * 1_024 - 640);
        assert_eq!(connections_max(50, Some(4_096)), 50);
        assert_eq!(connections_max(0, Some(80)), 40);
        assert_eq!(connections_max(0, Some(1)), 1);
    }
}
