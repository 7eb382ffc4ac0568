//! Deciding a proposal: the one way in which anything changes.
//!
//! Never looks at anything but the draft, the proposal and the code: the same log gives the same
//! tree, outcomes and events on every server, however it is cut into batches.

use jute::Zxid;
use jute::reply::Body;

use super::{
    Admission, Draft, Event, Progress, Proposal, Refusal, SessionChange, Write, create, delete,
    lane, lifecycle, multi, update,
};

/// Under which zxid and time a write is carried out.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stamp {
    /// Zxid of the transaction.
    pub(super) zxid: Zxid,
    /// The leader's wall clock, in milliseconds since 1970.
    pub(super) time_ms: i64,
}

/// What came of a proposal.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Applied {
    /// The zxid of its transaction; the last one's if it consumed none.
    pub zxid: Zxid,
    /// The reply's body, or why there is none.
    pub outcome: Result<Body, Refusal>,
    /// What watchers are owed, in this order.
    pub events: Vec<Event>,
    /// What happened to a session.
    pub session: Option<SessionChange>,
}

/// Decides a proposal on the draft.
pub fn apply(draft: &mut Draft<'_>, proposal: &Proposal<'_>) -> Applied {
    let submission = proposal.submission;
    let progress = draft.progress();
    if let Err(refusal) = lane::take_turn(draft, &submission.origin) {
        let (zxid, events) = (progress.zxid, Vec::new());
        return Applied { zxid, outcome: Err(refusal), events, session: None };
    }
    // An attach is no transaction: upstream has none for it, and clients see every zxid.
    let is_attach = matches!(submission.write, Write::AttachSession { .. });
    let zxid = if is_attach { progress.zxid } else { progress.next_zxid() };
    draft.set_progress(Progress { zxid, ..progress });
    let stamp = Stamp { zxid, time_ms: proposal.time_ms };

    let mut session = None;
    let outcome = draft.attempt(|draft| {
        if let Some(decided) = lifecycle::session_write(draft, stamp, submission) {
            session = Some(decided?);
            return Ok(Body::Empty);
        }
        lifecycle::check_holder(draft, &submission.origin)?;
        let context =
            Context { stamp, origin: submission.origin, admission: &submission.admission };
        if let Write::Multi(writes) = &submission.write {
            multi::multi(draft, &context, writes)
        } else {
            single(draft, &context, &submission.write)
        }
    });
    Applied { zxid, outcome, events: draft.take_events(), session }
}

/// What a single write needs to know besides itself.
pub(super) struct Context<'a> {
    /// Zxid and time.
    pub(super) stamp: Stamp,
    /// Who asks.
    pub(super) origin: super::Origin,
    /// On which terms.
    pub(super) admission: &'a Admission,
}

/// Decides a write that is no multi and not about a session.
pub(super) fn single(
    draft: &mut Draft<'_>,
    context: &Context<'_>,
    write: &Write,
) -> Result<Body, Refusal> {
    match write {
        Write::Create { .. } => create::create(draft, context, write),
        Write::Delete { path, version } => delete::delete(draft, context, path, *version),
        Write::SetData { path, data, version } => {
            update::set_data(draft, context, path, data.clone(), *version)
        }
        Write::SetAcl { path, acl, version } => {
            update::set_acl(draft, context, path, acl.as_deref(), *version)
        }
        Write::Check { path, version } => update::check(draft, context, path, *version),
        Write::Reap { path, never_used_ms_max } => {
            lifecycle::reap(draft, context, path, *never_used_ms_max)
        }
        Write::Refused(code) => Err(Refusal::AtTheDoor { code: *code }),
        // A multi inside a multi cannot be sent, and sessions are decided before.
        Write::Multi(_)
        | Write::OpenSession { .. }
        | Write::AttachSession { .. }
        | Write::CloseSession { .. } => Err(Refusal::Malformed),
    }
}

impl Draft<'_> {
    /// Begins an entry of the log, of the Raft term `term`.
    ///
    /// With `raises_epoch`, the first entry of a new term begins a new epoch, so that no two leaders
    /// of an ensemble ever give out the same zxid. A standalone server has no other leader and stays
    /// in its epoch, as upstream's does.
    pub fn enter_term(&mut self, term: u64, raises_epoch: bool) {
        let mut progress = self.progress();
        assert!(
            progress.term <= term,
            "terms in the log never fall: {term} after {}",
            progress.term
        );
        if progress.term < term && raises_epoch {
            progress.zxid = Zxid::new(progress.zxid.epoch() + 1, 0);
        }
        progress.term = term;
        self.set_progress(progress);
    }
}

impl Admission {
    /// Refuses unless the client has any of the permissions on `node`.
    pub(super) fn require(
        &self,
        wanted: jute::Perms,
        path: &str,
        node: &super::Znode,
    ) -> Result<(), Refusal> {
        if self.skip_acl || super::permits(&node.acl, wanted, &self.identities) {
            Ok(())
        } else {
            Err(Refusal::NoAuth { path: path.to_owned() })
        }
    }
}

#[cfg(test)]
mod tests;
