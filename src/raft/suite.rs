//! openraft's own tests of storage, on our log and our applier.
//!
//! The one that hands a snapshot from one state machine to another is left out: ours travel as files,
//! which the tests of the store and of ensembles see to.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use openraft::testing::log::{StoreBuilder, Suite};
use tokio::sync::mpsc;

use super::applier::Applier;
use super::log_store::RaftLog;
use super::shared::Shared;
use super::types::TypeConfig;
use super::{Fault, Sessions, load};
use crate::clock::Clock;
use crate::config::EnsembleConfig;
use crate::replica::Replica;
use crate::store::Store;
use crate::tree::Holder;

/// Builds an empty log and an applier, each time in a directory of its own.
struct Fresh;

type Storage = (tempfile::TempDir, RaftLog, Applier);

impl Fresh {
    fn storage() -> io::Result<Storage> {
        let (dir, shared) = shared(None)?;
        let (log, replica) = (shared.log.clone(), Arc::clone(&shared.replica));
        let log = RaftLog::new(log, replica, shared.fault.clone(), false);
        Ok((dir, log, Applier::new(Arc::new(shared))?))
    }
}

/// What all tasks of a server know that has only just started, with no data.
pub(super) fn shared(config: Option<EnsembleConfig>) -> io::Result<(tempfile::TempDir, Shared)> {
    let dir = tempfile::tempdir()?;
    let store = Store::open(dir.path(), None)?;
    let tree = load(&store.tree).map_err(io::Error::other)?;
    let (clock, fault) = (Clock::system(), Fault::default());
    let sessions = Arc::new(Sessions::new(&tree, 1_000, clock));
    let replica = Arc::new(Replica::new(tree, Holder::default(), false, clock));
    let shared = Shared::new(
        (config, false),
        Duration::from_secs(1),
        clock,
        fault,
        replica,
        sessions,
        (store.log, store.tree),
        mpsc::channel(1).0,
    );
    Ok((dir, shared))
}

impl StoreBuilder<TypeConfig, RaftLog, Applier, tempfile::TempDir> for Fresh {
    async fn build(&self) -> Result<Storage, openraft::StorageError<TypeConfig>> {
        Ok(Fresh::storage().expect("a store in an empty directory"))
    }
}

type Ours = Suite<TypeConfig, RaftLog, Applier, Fresh, tempfile::TempDir>;

/// Runs every test that is named, each on fresh storage.
macro_rules! suite {
    ($($name:ident,)*) => {
        [$((stringify!($name), {
            let (dir, log, applier) = Fresh::storage().expect("a store in an empty directory");
            let ended = Ours::$name(log, applier).await;
            drop(dir);
            ended.map_err(|error| error.to_string())
        }),)*]
    };
}

#[tokio::test(flavor = "multi_thread")]
async fn our_storage_is_what_openraft_expects() {
    let outcomes = suite![
        last_membership_in_log_initial,
        last_membership_in_log,
        last_membership_in_log_multi_step,
        get_membership_initial,
        get_membership_from_log_and_empty_sm,
        get_membership_from_empty_log_and_sm,
        get_membership_from_log_le_sm_last_applied,
        get_membership_from_log_gt_sm_last_applied_1,
        get_membership_from_log_gt_sm_last_applied_2,
        get_initial_state_without_init,
        get_initial_state_membership_from_empty_log_and_sm,
        get_initial_state_membership_from_sm_inlog_is_smaller,
        get_initial_state_membership_from_log_insm_is_smaller,
        get_initial_state_with_state,
        get_initial_state_last_log_gt_sm,
        get_initial_state_last_log_lt_sm,
        get_initial_state_inverted_log_order,
        get_initial_state_conflict_at_same_index,
        get_initial_state_log_ids,
        get_initial_state_re_apply_committed,
        save_vote,
        get_log_entries,
        limited_get_log_entries,
        leader_bounded_stream,
        entries_stream,
        try_get_log_entry,
        log_reader_reads_new_entries,
        initial_logs,
        get_log_state,
        get_log_id,
        last_id_in_log,
        last_applied_state,
        purge_logs_upto_0,
        purge_logs_upto_5,
        purge_logs_upto_20,
        delete_logs_after_11,
        delete_logs_after_5,
        delete_logs_after_0,
        delete_logs_after_none,
        append_to_log,
        snapshot_meta,
        snapshot_meta_optional,
        apply_single,
        apply_multiple,
    ];
    let failed: Vec<_> = outcomes.iter().filter(|(_, outcome)| outcome.is_err()).collect();
    assert!(failed.is_empty(), "{failed:?}");
}
