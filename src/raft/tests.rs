//! Tests of an ensemble of one, without clients.

use jute::Xid;

use super::duties::QUIET_FLUSH_BYTES;
use super::*;
use crate::tree::{Admission, Origin, Write};

/// How long a flush may take to be seen.
const PATIENCE: Duration = Duration::from_mins(1);

async fn started(settings: &str) -> (Started, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let text = format!("dataDir={}\nclientPort=0\n{settings}", dir.path().display());
    let (config, _) = Config::from_zoo_cfg(&text, &[], "zoo.cfg").unwrap();
    let store = Store::open(&config.data_dir, None).unwrap();
    (Ensemble::start(&config, store, Clock::system()).await.unwrap(), dir)
}

/// Hands in a node with so much data.
async fn create(ensemble: &Ensemble, number: usize, data_bytes: usize) {
    let write = Write::Create {
        op: jute::OpCode::Create,
        path: format!("/n{number}"),
        data: Some(vec![b'x'; data_bytes].into()),
        acl: Some(vec![jute::Acl::anyone(jute::Perms::ALL)]),
        flags: 0,
        ttl_ms: -1,
    };
    let origin = Origin { xid: Xid(number as i32), ..Origin::default() };
    ensemble.submit(Submission { origin, admission: Admission::internal(), write }).await.unwrap();
}

/// Whether the log can be purged up to somewhere, after a while in which it should become so.
async fn is_flushed(ensemble: &Ensemble, patience: Duration) -> bool {
    let flushed = ensemble.shared.raft().unwrap().wait(Some(patience));
    flushed.metrics(|metrics| metrics.snapshot.is_some(), "the tree is flushed").await.is_ok()
}

#[tokio::test(flavor = "multi_thread")]
async fn snap_count_entries_let_the_log_be_purged() {
    let (Started { ensemble, .. }, _dir) = started("snapCount=20\nsnapSizeLimitInKb=-1\n").await;
    assert!(ensemble.log_position().is_some_and(|position| position < 15), "nothing is due yet");
    assert!(!is_flushed(&ensemble, Duration::from_millis(50)).await);

    for number in 0..40 {
        // One entry each: they would be batched otherwise.
        let before = ensemble.log_position();
        create(&ensemble, number, 1).await;
        let grown = ensemble.shared.raft().unwrap().wait(Some(PATIENCE));
        grown.metrics(|metrics| before < metrics.last_log_index, "it is logged").await.unwrap();
    }

    assert!(is_flushed(&ensemble, PATIENCE).await);
    ensemble.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn so_do_the_kibibytes_of_snap_size_limit() {
    let (Started { ensemble, .. }, _dir) = started("snapSizeLimitInKb=64\n").await;
    create(&ensemble, 0, 10).await;
    assert!(!is_flushed(&ensemble, Duration::from_millis(2_500)).await, "that is not enough");

    create(&ensemble, 1, 200 << 10).await;

    assert!(is_flushed(&ensemble, PATIENCE).await);
    ensemble.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn so_does_a_pause_after_much_was_written() {
    let (Started { ensemble, .. }, _dir) = started("").await;
    let much = QUIET_FLUSH_BYTES as usize / 2;
    create(&ensemble, 0, much).await;
    assert!(!is_flushed(&ensemble, Duration::from_secs(3)).await, "that is not enough");
    create(&ensemble, 1, much).await;
    // Well before a minute has passed.
    assert!(is_flushed(&ensemble, Duration::from_secs(30)).await);
    ensemble.stop().await;
}

#[tokio::test]
async fn a_sync_is_slow_above_the_threshold() {
    let (Started { ensemble, replica, .. }, _dir) = started("").await;
    let slow = || replica.stats().snapshot().count_of(Incident::SlowSync);
    // A day: no sync of this server's own is that slow.
    let observer = slow_syncs(24 * 60 * 60 * 1_000, &replica, Clock::system());

    observer(Duration::from_hours(24));
    assert_eq!(slow(), 0);
    observer(Duration::from_hours(24) + Duration::from_millis(1));
    assert_eq!(slow(), 1);
    ensemble.stop().await;
}
