//! Every bound of the server that is not a key of `zoo.cfg`, with its unit and its reason.
//!
//! A queue, a loop over input, a batch or a retry takes its bound from here, so that "how much can
//! this take?" has one place to look. Bounds an operator may move are keys: see
//! [`keys`](super::keys). Nothing here depends on anything else.

/// Bytes in one mebibyte, for the constants below.
const MIB: usize = 1 << 20;

/// Bytes in one kibibyte, for the constants below.
const KIB: usize = 1 << 10;

/// Bytes that may wait to be written to one client. One reply always fits, however large; beyond
/// that the connection is closed and counted, because a client that does not read must not fill
/// our memory.
pub const OUTBOX_BYTES_MAX: usize = 16 * MIB;

/// Bytes of data and names in the reply to one multiRead; a request for more is refused. A frame has
/// room for 60,000 reads of the largest node, which no memory holds.
pub const MULTI_READ_BYTES_MAX: usize = 16 * MIB;

/// Submissions that may wait in one lane to the leader. A full lane pushes back to
/// `globalOutstandingLimit`, and from there to the clients' sockets.
pub const LANE_SUBMISSIONS_MAX: usize = 4_096;

/// Bytes of large submissions that may wait in one lane; small ones are bounded by their number.
pub const LANE_BYTES_MAX: usize = 32 * MIB;

/// Bytes from which on a submission is a large one.
pub const LARGE_SUBMISSION_BYTES: usize = 4 * KIB;

/// Submissions proposed in one log entry. Batches form from what is queued; nobody waits for one
/// to fill.
pub const PROPOSAL_SUBMISSIONS_MAX: usize = 256;

/// Bytes of submissions proposed in one log entry; a larger single submission goes alone.
pub const PROPOSAL_BYTES_MAX: usize = 256 * KIB;

/// Log entries proposed and not yet committed, above which the proposer lets its queue grow into
/// larger batches.
pub const PROPOSALS_IN_FLIGHT_MAX: usize = 4;

/// Log entries applied in one batch of the store. Readers are let in between batches.
pub const APPLY_BATCH_ENTRIES_MAX: usize = 256;

/// Bytes of log entries after which the tree's image is flushed and they are purged: it bounds what a
/// restart replays and what the log takes on disk. Less than the log keeps in memory before it writes
/// a file, so that entries never reach one.
pub const LOG_FLUSH_BYTES: u64 = 16 * MIB as u64;

/// Milliseconds after which the tree's image is flushed although it is small.
pub const TREE_FLUSH_INTERVAL_MS: u64 = 60_000;

/// Connections from which on a second set of threads serves as many as the first.
pub const CROWD_MIN: usize = 2_000;

/// Requests read from one connection before the others get their turn.
pub const CONNECTION_REQUESTS_PER_TURN_MAX: usize = 256;

/// Identities one connection may collect with `addauth`: each is compared with each entry of an
/// ACL on every request, so the list must not grow without end.
pub const CONNECTION_IDENTITIES_MAX: usize = 1_024;

/// Lines of one kind that are logged in [`LOG_LINES_INTERVAL_MS`], where clients can cause any number;
/// the others are counted in the next one.
pub const LOG_LINES_PER_INTERVAL_MAX: u64 = 10;

/// Milliseconds of that interval.
pub const LOG_LINES_INTERVAL_MS: i64 = 10_000;

/// Milliseconds a stopping server waits for its connections to take their last replies. Together
/// with the last flush it stays under the second that start and stop scripts allow.
pub const SHUTDOWN_DRAIN_MS: u64 = 500;

/// Bytes of a configuration file. A larger file is not one: the path points elsewhere.
pub const ZOO_CFG_BYTES_MAX: u64 = 1 << 20;

/// Bytes of `myid` that are read: a number and the end of its line.
pub const MYID_BYTES_MAX: u64 = 64;

/// Characters of a value that a message repeats.
pub const MESSAGE_VALUE_CHARS_MAX: usize = 120;

/// Characters of an unknown key that are compared with the known ones.
pub const SUGGESTION_CHARS_MAX: usize = 64;

/// Bytes of the first frame from another server, before it is known to be one.
pub const PEER_GREETING_BYTES_MAX: usize = 64 * KIB;

/// Bytes of a frame between servers. Entries travel many at a time, and one can be as large as the
/// largest request.
pub const PEER_FRAME_BYTES_MAX: usize = 1 << 30;

/// Bytes of submissions in one frame to the leader; a larger single one goes alone.
pub const LANE_FRAME_BYTES_MAX: usize = 64 * KIB;

/// Requests to append entries that may be unanswered by a follower.
pub const APPENDS_IN_FLIGHT_MAX: usize = 64;

/// Bytes of a snapshot that travel in one frame.
pub const SNAPSHOT_CHUNK_BYTES: usize = MIB;

/// Bytes of the log's end that the servers of an ensemble keep although they are flushed, for one that
/// was away for a moment; one that needs more gets a snapshot.
pub const LOG_KEPT_BYTES: u64 = 32 * MIB as u64;
