//! What begins and ends by itself: sessions with their ephemeral nodes, containers, TTL nodes.

use jute::reply::Body;

use super::apply::{Context, Stamp};
use super::delete::remove;
use super::{
    Draft, Holder, Origin, Owner, Refusal, SYSTEM_NODES, Session, SessionChange, Submission, Write,
    quota,
};

/// Decides a write about a session, or returns `None` if it is about something else.
pub(super) fn session_write(
    draft: &mut Draft<'_>,
    stamp: Stamp,
    submission: &Submission,
) -> Option<Result<SessionChange, Refusal>> {
    let origin = &submission.origin;
    match submission.write {
        Write::OpenSession { timeout_ms, password } => {
            Some(open(draft, origin, Session { timeout_ms, password, holder: origin.holder }))
        }
        Write::AttachSession { timeout_ms } => Some(attach(draft, origin, timeout_ms)),
        Write::CloseSession { expired_holder } => Some(close(draft, stamp, origin, expired_holder)),
        Write::Create { .. }
        | Write::Delete { .. }
        | Write::SetData { .. }
        | Write::SetAcl { .. }
        | Write::Check { .. }
        | Write::Multi(_)
        | Write::Reap { .. }
        | Write::Refused(_) => None,
    }
}

/// Refuses a write whose connection does not hold its session any more.
pub(super) fn check_holder(draft: &Draft<'_>, origin: &Origin) -> Result<(), Refusal> {
    let session = origin.session;
    if session == jute::SessionId::NONE {
        return Ok(());
    }
    let record = draft.session(session).ok_or(Refusal::SessionExpired { session })?;
    if record.holder == origin.holder { Ok(()) } else { Err(Refusal::SessionMoved { session }) }
}

/// Opens a session. An id that is taken is refused; the server chooses another.
fn open(draft: &mut Draft<'_>, origin: &Origin, record: Session) -> Result<SessionChange, Refusal> {
    let session = origin.session;
    if draft.session(session).is_some() {
        return Err(Refusal::NodeExists { path: session.to_string() });
    }
    let change =
        SessionChange::Opened { session, holder: record.holder, timeout_ms: record.timeout_ms };
    draft.put_session(session, Some(record));
    Ok(change)
}

/// Moves a session to the connection that showed its password. The timeout negotiated now counts
/// from here on.
fn attach(
    draft: &mut Draft<'_>,
    origin: &Origin,
    timeout_ms: i32,
) -> Result<SessionChange, Refusal> {
    let session = origin.session;
    let record = draft.session(session).ok_or(Refusal::SessionExpired { session })?;
    let previous = record.holder;
    let record = Session { timeout_ms, holder: origin.holder, ..record.clone() };
    draft.put_session(session, Some(record));
    Ok(SessionChange::Attached { session, holder: origin.holder, previous, timeout_ms })
}

/// Ends a session and deletes its ephemeral nodes, all under one zxid.
fn close(
    draft: &mut Draft<'_>,
    stamp: Stamp,
    origin: &Origin,
    expired_holder: Option<Holder>,
) -> Result<SessionChange, Refusal> {
    let session = origin.session;
    let holder = draft.session(session).ok_or(Refusal::SessionExpired { session })?.holder;
    // A session that was continued after its deadline was found passed lives on.
    if expired_holder.unwrap_or(origin.holder) != holder {
        return Err(Refusal::SessionMoved { session });
    }

    for path in draft.ephemerals_of(session) {
        if let Some(node) = draft.find(path.as_str()) {
            draft.remove(&path, &node, stamp.zxid);
            quota::count_deleted(draft, &path, i64::from(node.data_length.unwrap_or(0)));
        }
    }
    draft.put_session(session, None);
    Ok(SessionChange::Closed { session, holder })
}

/// Deletes a container that lost its last child, or a TTL node that outlived its TTL.
///
/// The leader found it reapable a while ago; whether it still is, is decided here. Upstream checks
/// only the children again.
pub(super) fn reap(
    draft: &mut Draft<'_>,
    context: &Context<'_>,
    path: &str,
    never_used_ms_max: i64,
) -> Result<Body, Refusal> {
    if SYSTEM_NODES.contains(&path) {
        return Err(Refusal::SystemNode { path: path.to_owned() });
    }
    let node = draft.get(path)?;
    node.check_childless(path)?;
    let unchanged_ms = context.stamp.time_ms - node.mtime_ms;
    if !is_reapable(node.owner, node.children_created, unchanged_ms, never_used_ms_max) {
        return Err(Refusal::NotReapable { path: path.to_owned() });
    }

    remove(draft, context, path, &node)
}

/// Whether a childless node is to be deleted.
///
/// `never_used_ms_max` is after how long a container goes that never had a child; 0 is never.
///
/// Source: ZooKeeper, `ContainerManager.getCandidates`.
fn is_reapable(owner: Owner, created: i32, unchanged_ms: i64, never_used_ms_max: i64) -> bool {
    match owner {
        Owner::Container if created != 0 => true,
        Owner::Container => never_used_ms_max > 0 && unchanged_ms > never_used_ms_max,
        Owner::Ttl(ttl_ms) => unchanged_ms > ttl_ms,
        Owner::Persistent | Owner::Ephemeral(_) => false,
    }
}

impl super::Tree {
    /// Paths of the nodes that are to be reaped at `now_ms`.
    pub fn reapable_at(&self, now_ms: i64, never_used_ms_max: i64) -> Vec<super::Path> {
        let is_due = |path: &&super::Path| {
            self.find(path.as_str()).is_some_and(|node| {
                node.children_present() == 0
                    && is_reapable(
                        node.owner(),
                        node.children_created(),
                        now_ms - node.mtime_ms(),
                        never_used_ms_max,
                    )
            })
        };
        self.reapable().filter(is_due).cloned().collect()
    }
}
