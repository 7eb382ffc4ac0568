//! The measurements of `mntr`.
//!
//! [`METRICS`] lists what upstream's standalone server prints, each row in the shape in which its
//! default metrics provider prints it: a counter is one number, a summary five, or nine with its
//! percentiles. The gauges are facts of ours; counters and summaries measure upstream's inner
//! stages, and one that has no measurement of ours reads like one that nothing was added to.
//!
//! Source: ZooKeeper, `DefaultMetricsProvider`, `ZooKeeperServer.registerMetrics`, `ServerMetrics`.

use std::fmt::Write as _;

use super::java_text;
use super::report::Monitor;
use crate::replica::Incident;

/// The value of a gauge.
pub(super) enum Number {
    Whole(i64),
    Real(f64),
}

/// In which shape a metric is printed.
pub(super) enum Shape {
    /// One number, told by the report.
    Gauge(fn(&Monitor) -> Number),
    /// One number that only grows, and is not measured here.
    Counter,
    /// One number that only grows.
    Counted(Incident),
    /// Mean, extremes, count and sum.
    Summary,
    /// These, and percentiles.
    Percentiles,
}

/// The measurements in which a summary is printed.
const SUMMARY_PARTS: &[&str] = &["avg", "min", "max", "cnt", "sum"];
/// What a summary with percentiles has besides.
const PERCENTILE_PARTS: &[&str] = &["p50", "p95", "p99", "p999"];

/// A metric.
pub(super) struct Metric {
    pub(super) name: &'static str,
    pub(super) shape: Shape,
}

/// Every metric that `mntr` prints after version and state.
#[rustfmt::skip] // One row, one line.
pub(super) const METRICS: &[Metric] = &[
    gauge("znode_count", |m| whole(m.server.nodes as u64)),
    gauge("ephemerals_count", |m| whole(m.ephemerals as u64)),
    gauge("approximate_data_size", |m| whole(m.data_bytes)),
    gauge("watch_count", |m| whole(m.watches as u64)),
    gauge("global_sessions", |m| whole(m.sessions as u64)),
    gauge("num_alive_connections", |m| whole(m.server.connections as u64)),
    gauge("outstanding_requests", |m| whole(m.server.outstanding as u64)),
    gauge("packets_received", |m| whole(m.server.stats.received)),
    gauge("packets_sent", |m| whole(m.server.stats.sent)),
    gauge("min_latency", |m| Number::Whole(m.server.stats.latency_min_ms)),
    gauge("avg_latency", |m| Number::Real(m.server.stats.latency_avg_ms)),
    gauge("max_latency", |m| Number::Whole(m.server.stats.latency_max_ms)),
    gauge("last_client_response_size", |m| Number::Whole(m.server.stats.response_bytes.0)),
    gauge("min_client_response_size", |m| Number::Whole(m.server.stats.response_bytes.1)),
    gauge("max_client_response_size", |m| Number::Whole(m.server.stats.response_bytes.2)),
    gauge("uptime", |m| Number::Whole(m.uptime_ms)),
    gauge("open_file_descriptor_count", |m| Number::Whole(m.files_open)),
    gauge("max_file_descriptor_count", |m| Number::Whole(m.files_max)),
    gauge("connection_drop_probability", |m| Number::Real(m.server.stats.drop_probability)),
    // This server has no local sessions and no TLS, whose failed handshakes are the only failures of
    // authentication that upstream counts.
    gauge("local_sessions", |_| Number::Whole(0)),
    gauge("auth_failed_count", |_| Number::Whole(0)),
    gauge("outstanding_tls_handshake", |_| Number::Whole(0)),
    gauge("non_mtls_local_conn_count", |_| Number::Whole(0)),
    gauge("non_mtls_remote_conn_count", |_| Number::Whole(0)),
    counter("add_dead_watcher_stall_time"),
    counter("bytes_received_count"),
    counter("cnxn_closed_without_zk_server_running"),
    counter("commit_count"),
    counter("connection_drop_count"),
    counted("connection_rejected", Incident::ConnectionRejected),
    counted("connection_request_count", Incident::ConnectionRequest),
    counter("connection_revalidate_count"),
    counter("dead_watchers_cleared"),
    counter("dead_watchers_queued"),
    counter("diff_count"),
    counter("digest_mismatches_count"),
    counter("ensemble_auth_fail"),
    counter("ensemble_auth_skip"),
    counter("ensemble_auth_success"),
    counter("insecure_admin_count"),
    counted("large_requests_rejected", Incident::LargeRequestRejected),
    counter("learner_commit_received_count"),
    counter("learner_proposal_received_count"),
    counter("looking_count"),
    counter("outstanding_changes_queued"),
    counter("outstanding_changes_removed"),
    counter("prep_processor_request_queued"),
    counter("proposal_count"),
    counter("quit_leading_due_to_disloyal_voter"),
    counter("request_commit_queued"),
    counted("request_throttle_wait_count", Incident::RequestThrottled),
    counter("requests_not_forwarded_to_commit_processor"),
    counter("response_bytes"),
    counter("response_packet_cache_hits"),
    counter("response_packet_cache_misses"),
    counter("response_packet_get_children_cache_hits"),
    counter("response_packet_get_children_cache_misses"),
    counter("restore_error_count"),
    counter("restore_rate_limited_count"),
    counter("revalidate_count"),
    counted("sessionless_connections_expired", Incident::SessionlessExpired),
    counter("skip_learner_request_to_next_processor_count"),
    counter("snap_count"),
    counter("snapshot_error_count"),
    counter("snapshot_rate_limited_count"),
    counter("stale_replies"),
    counted("stale_requests", Incident::StaleRequest),
    counted("stale_requests_dropped", Incident::StaleRequestDropped),
    counted("stale_sessions_expired", Incident::SessionExpired),
    counter("sync_processor_request_queued"),
    counted("throttled_ops", Incident::ThrottledOp),
    counter("tls_handshake_exceeded"),
    counter("unrecoverable_error_count"),
    counter("unsuccessful_handshake"),
    counter("watch_bytes"),
    summary("commit_commit_proc_req_queued"),
    summary("commit_process_time"),
    summary("concurrent_request_processing_in_commit_processor"),
    summary("connection_token_deficit"),
    summary("dbinittime"),
    summary("election_time"),
    summary("follower_sync_time"),
    summary("fsynctime"),
    summary("inflight_diff_count"),
    summary("inflight_snap_count"),
    summary("leader_unavailable_time"),
    summary("learner_request_processor_queue_size"),
    summary("netty_queued_buffer_capacity"),
    summary("node_changed_watch_count"),
    summary("node_children_watch_count"),
    summary("node_created_watch_count"),
    summary("node_deleted_watch_count"),
    summary("observer_sync_time"),
    summary("pending_session_queue_size"),
    summary("prep_process_time"),
    summary("prep_processor_queue_size"),
    summary("proposal_process_time"),
    summary("read_commit_proc_issued"),
    summary("read_commit_proc_req_queued"),
    summary("reads_after_write_in_session_queue"),
    summary("reads_issued_from_session_queue"),
    summary("requests_in_session_queue"),
    summary("restore_time"),
    summary("session_queues_drained"),
    summary("snapshottime"),
    summary("socket_closing_time"),
    summary("startup_snap_load_time"),
    summary("startup_txns_load_time"),
    summary("startup_txns_loaded"),
    summary("sync_process_time"),
    summary("sync_processor_batch_size"),
    summary("sync_processor_queue_size"),
    summary("time_waiting_empty_pool_in_commit_processor_read_ms"),
    summary("unavailable_time"),
    summary("write_batch_time_in_commit_processor"),
    summary("write_commit_proc_issued"),
    summary("write_commit_proc_req_queued"),
    percentiles("close_session_prep_time"),
    percentiles("commit_propagation_latency"),
    percentiles("dead_watchers_cleaner_latency"),
    percentiles("jvm_pause_time_ms"),
    percentiles("local_write_committed_time_ms"),
    percentiles("om_commit_process_time_ms"),
    percentiles("om_proposal_process_time_ms"),
    percentiles("prep_processor_queue_time_ms"),
    percentiles("propagation_latency"),
    percentiles("proposal_ack_creation_latency"),
    percentiles("proposal_latency"),
    percentiles("quorum_ack_latency"),
    percentiles("read_commitproc_time_ms"),
    percentiles("read_final_proc_time_ms"),
    percentiles("readlatency"),
    percentiles("request_throttle_queue_time_ms"),
    percentiles("server_write_committed_time_ms"),
    percentiles("sync_processor_queue_and_flush_time_ms"),
    percentiles("sync_processor_queue_flush_time_ms"),
    percentiles("sync_processor_queue_time_ms"),
    percentiles("updatelatency"),
    percentiles("write_commitproc_time_ms"),
    percentiles("write_final_proc_time_ms"),
];

const fn gauge(name: &'static str, value: fn(&Monitor) -> Number) -> Metric {
    Metric { name, shape: Shape::Gauge(value) }
}

const fn counter(name: &'static str) -> Metric {
    Metric { name, shape: Shape::Counter }
}

const fn counted(name: &'static str, incident: Incident) -> Metric {
    Metric { name, shape: Shape::Counted(incident) }
}

const fn summary(name: &'static str) -> Metric {
    Metric { name, shape: Shape::Summary }
}

const fn percentiles(name: &'static str) -> Metric {
    Metric { name, shape: Shape::Percentiles }
}

const fn whole(value: u64) -> Number {
    Number::Whole(value as i64)
}

/// `mntr`.
pub(super) fn mntr(version: &str, monitor: &Monitor) -> String {
    let mut text = format!("zk_version\t{version}\n");
    line(&mut text, "server_state", monitor.server.mode.name());
    for metric in METRICS {
        match metric.shape {
            Shape::Gauge(value) => match value(monitor) {
                Number::Whole(value) => line(&mut text, metric.name, value),
                Number::Real(value) => line(&mut text, metric.name, java_text::mean(value)),
            },
            Shape::Counter => line(&mut text, metric.name, 0),
            Shape::Counted(incident) => {
                line(&mut text, metric.name, monitor.server.stats.count_of(incident));
            }
            Shape::Summary => untouched(&mut text, metric.name, SUMMARY_PARTS),
            Shape::Percentiles => {
                untouched(&mut text, metric.name, SUMMARY_PARTS);
                untouched(&mut text, metric.name, PERCENTILE_PARTS);
            }
        }
    }
    text
}

fn line(text: &mut String, name: &str, value: impl std::fmt::Display) {
    // Writing to a string cannot fail.
    let _ = writeln!(text, "zk_{name}\t{value}");
}

/// The parts of a summary that nothing was added to; its mean is a number with decimals.
fn untouched(text: &mut String, name: &str, parts: &[&str]) {
    for part in parts {
        let value = if *part == "avg" { "0.0" } else { "0" };
        line(text, &format!("{part}_{name}"), value);
    }
}
