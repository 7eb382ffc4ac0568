//! What is done with a handshake and with each request.
//!
//! Source of the order of checks: ZooKeeper, `ZooKeeperServer.processConnectRequest` and
//! `processPacket`; semantics that clients can see are the same.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use jute::reply::{Body, ConnectResponse, put_connect_response};
use jute::request::{ConnectRequest, PathWatch, Reconfig, Request, RequestHeader};
use jute::{Decode as _, ErrorCode, Id, OpCode, OpKind, Perms, SessionId, Xid, Zxid};

use super::admission::{self, Intent};
use super::connection::{Connection, End, Phase};
use crate::config::limits::{CONNECTION_IDENTITIES_MAX, MULTI_READ_BYTES_MAX};
use crate::raft::Reconfiguration;
use crate::replica::{Arrival, Asker, Closing, Incident, Pending, Seat};
use crate::session::{Facts, Handshake, decide};
use crate::tree::{CONFIG_NODE, Origin, Refusal, Submission, Write, permits};

/// Milliseconds between two reports that a session is alive: a client that sends a thousand
/// requests in that time is reported once.
const TOUCH_INTERVAL_MS: i64 = 10;
/// How often another session id is tried when one is taken.
const SESSION_ID_TRIES: u32 = 8;
/// Milliseconds a client that has seen more than this server waits for it to catch up, and how often it
/// is looked for that.
const CATCH_UP_MS: u64 = 1_000;
const CATCH_UP_LOOK_MS: u64 = 5;
/// Milliseconds that it may take to find out whether an unknown session lives.
const BARRIER_MS: u64 = 2_000;

/// What follows a frame.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Step {
    /// The next frame.
    Next,
    /// Nothing, until something was pushed into the outbox.
    Wait,
}

/// A handshake that is being decided.
pub(super) struct Handshaking {
    response: ConnectResponse,
    is_new: bool,
    tries_left: u32,
}

/// What a read waits for.
enum Awaited {
    /// All that was answered anywhere before.
    Latest,
    /// A change of the ensemble.
    Configuration(Reconfiguration),
    /// It is being fetched.
    Asked,
}

/// A request that waits until no write is unanswered.
pub(super) struct Stalled {
    pending: Pending,
    identities: Arc<[Id]>,
    /// What has to be here before.
    awaited: Option<Awaited>,
    then: Then,
}

/// What a request that waits comes to.
enum Then {
    Read(Request),
    Reply(Zxid, Result<Body, ErrorCode>, Option<Closing>),
    /// The current zxid, and a code.
    Fail(ErrorCode),
}

impl Connection {
    /// Decides about a handshake.
    pub(super) async fn begin_handshake(&mut self, frame: &Bytes) -> Result<Step, End> {
        let request: ConnectRequest =
            jute::decode_all(frame).map_err(|error| End::Violation(error.to_string()))?;
        self.outbox.count_received();
        self.service.replica.stats().count_received();
        self.throttle_handshake(request.session_id)?;
        self.catch_up(&request).await?;
        let handshake = {
            let tree = self.service.replica.tree();
            let config = &self.service.config;
            let facts = Facts {
                last_zxid: tree.zxid(),
                timeout_ms_min: config.min_session_timeout_ms as i32,
                timeout_ms_max: config.max_session_timeout_ms as i32,
                read_only_server: self.service.ensemble.is_read_only(),
                session: tree.session(request.session_id),
            };
            decide(&request, &facts)
        };
        let is_read_only = self.service.ensemble.is_read_only();
        let read_only = request.read_only.map(|_| is_read_only);
        let mut response = ConnectResponse { read_only, ..ConnectResponse::default() };
        match handshake {
            Handshake::Open { timeout_ms } => {
                response.timeout_ms = timeout_ms;
                getrandom::fill(&mut response.password).map_err(no_randomness)?;
                if is_read_only {
                    response.session_id = self.service.session_ids.lock().next_id();
                    self.be_seated(&response, true);
                    return Ok(Step::Next);
                }
                self.open_session(Handshaking {
                    response,
                    is_new: true,
                    tries_left: SESSION_ID_TRIES,
                })
                .await
            }
            Handshake::Attach { timeout_ms } => {
                response.timeout_ms = timeout_ms;
                response.session_id = request.session_id;
                if let Some(password) = request.password.as_deref().and_then(<[u8]>::first_chunk) {
                    response.password = *password;
                }
                let write = Write::AttachSession { timeout_ms };
                self.submit(Xid(0), request.session_id, Arc::from([]), write).await?;
                let handshaking = Handshaking { response, is_new: false, tries_left: 0 };
                self.phase = Phase::Opening(handshaking);
                Ok(Step::Next)
            }
            Handshake::Refuse => {
                self.refuse_handshake(read_only);
                Ok(Step::Wait)
            }
            Handshake::TryElsewhere => Err(End::Violation(format!(
                "its client has seen zxid {} and this server is at {}",
                request.last_zxid_seen,
                self.service.replica.zxid()
            ))),
        }
    }

    /// Waits a short while for what the client has seen elsewhere.
    async fn catch_up(&mut self, request: &ConnectRequest) -> Result<(), End> {
        let (ensemble, replica) = (&self.service.ensemble, &self.service.replica);
        if ensemble.is_read_only() {
            return Ok(());
        }
        if !ensemble.is_serving() {
            return Err(End::Limit("this server does not know of a leader"));
        }
        if !ensemble.has_others() {
            return Ok(());
        }
        for _ in 0..CATCH_UP_MS / CATCH_UP_LOOK_MS {
            if request.last_zxid_seen <= replica.zxid() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(CATCH_UP_LOOK_MS)).await;
        }
        let is_missing = request.session_id != SessionId::NONE
            && replica.tree().session(request.session_id).is_none();
        if is_missing {
            // It may have been opened elsewhere a moment ago.
            let limit = Duration::from_millis(BARRIER_MS);
            let caught_up = tokio::time::timeout(limit, ensemble.barrier()).await;
            if !matches!(caught_up, Ok(Ok(()))) {
                return Err(End::Limit("the leader does not say whether the session lives"));
            }
        }
        Ok(())
    }

    /// Ends the connection if too many handshakes come.
    fn throttle_handshake(&self, session: SessionId) -> Result<(), End> {
        let stats = self.service.replica.stats();
        let now_ms = self.service.clock.monotonic_ms();
        let decided = self.service.throttles.handshake(session, now_ms).map_err(no_randomness)?;
        if let Some((goes_on, drop_probability)) = decided {
            stats.note_drop_probability(drop_probability);
            if !goes_on {
                stats.count_incident(Incident::ConnectionRejected);
                return Err(End::Limit("more handshakes than connection_throttle_* allow"));
            }
        }
        stats.count_incident(Incident::ConnectionRequest);
        Ok(())
    }

    async fn open_session(&mut self, mut handshaking: Handshaking) -> Result<Step, End> {
        let session = self.service.session_ids.lock().next_id();
        handshaking.response.session_id = session;
        let response = &handshaking.response;
        let write =
            Write::OpenSession { timeout_ms: response.timeout_ms, password: response.password };
        self.submit(Xid(0), session, Arc::from([]), write).await?;
        self.phase = Phase::Opening(handshaking);
        Ok(Step::Next)
    }

    /// The answer for a session that is gone, or whose password is another.
    fn refuse_handshake(&mut self, read_only: Option<bool>) {
        let response = ConnectResponse { read_only, ..ConnectResponse::default() };
        self.outbox.push_raw(|out| put_connect_response(out, &response));
        self.outbox.close(Closing::AfterFlush);
        self.phase = Phase::Ending;
    }

    /// Goes on after the opening or attaching was decided.
    pub(super) async fn finish_handshake(&mut self) -> Result<Step, End> {
        let Some(outcome) = self.outbox.take_handshake() else { return Ok(Step::Wait) };
        let Phase::Opening(handshaking) = std::mem::replace(&mut self.phase, Phase::Ending) else {
            return Ok(Step::Wait);
        };
        let response = &handshaking.response;
        match outcome {
            Ok(()) => {
                let verb = if handshaking.is_new { "opened" } else { "continued" };
                tracing::debug!("session {} {verb} by {}", response.session_id, self.peer);
                self.be_seated(response, false);
                Ok(Step::Next)
            }
            Err(Refusal::NodeExists { .. }) if handshaking.tries_left > 0 => {
                let tries_left = handshaking.tries_left - 1;
                self.open_session(Handshaking { tries_left, ..handshaking }).await
            }
            Err(_) => {
                self.refuse_handshake(response.read_only);
                Ok(Step::Wait)
            }
        }
    }

    /// Tells the client of its session.
    fn be_seated(&mut self, response: &ConnectResponse, is_read_only: bool) {
        let seat = Seat {
            session: response.session_id,
            timeout_ms: response.timeout_ms,
            is_read_only,
            established_ms: self.service.clock.wall_ms(),
        };
        self.outbox.take_seat(seat);
        self.outbox.push_raw(|out| put_connect_response(out, response));
        self.service.replica.stats().count_sent(1);
        self.phase = Phase::Open(seat);
    }

    /// What a request comes to in a session that only reads, unless it reads.
    fn without_writing(&self, op: OpCode) -> Option<Then> {
        if op == OpCode::CloseSession {
            let done = Ok(Body::Empty);
            return Some(Then::Reply(self.service.replica.zxid(), done, Some(Closing::AfterFlush)));
        }
        let is_refused = op.kind() == OpKind::Write || op == OpCode::Sync;
        is_refused.then_some(Then::Fail(ErrorCode::NotReadOnly))
    }

    /// Handles one request; one that comes up too late is only answered.
    pub(super) async fn handle_request(
        &mut self,
        frame: &Bytes,
        seat: Seat,
        is_late: bool,
    ) -> Result<Step, End> {
        let (rest, header) = RequestHeader::decode(frame, frame).map_err(|_| {
            End::Violation(format!("a frame of {} bytes has no header", frame.len()))
        })?;
        let body = frame.slice_ref(rest);
        let op = OpCode::from_number(header.op).filter(|op| op.kind() != OpKind::Internal);
        self.outbox.count_received();
        self.service.replica.stats().count_received();
        let identities = self.outbox.identities();
        if let Some(op @ (OpCode::Auth | OpCode::Sasl)) = op {
            return self.handle_immediate(op, header.xid, &body);
        }
        let pending = Pending {
            xid: header.xid,
            op: op.unwrap_or(OpCode::Error),
            since_us: self.service.replica.now_us(),
        };
        let now_ms = self.touch(seat.session);
        if !seat.is_read_only && !self.service.ensemble.is_in_touch(now_ms) {
            return Err(End::Limit("no leader was heard of for syncLimit"));
        }
        if !self.is_authenticated(&identities) {
            let refused = Err(ErrorCode::SessionClosedRequireAuth);
            let then = Then::Reply(Zxid::ZERO, refused, Some(Closing::AfterFlush));
            return Ok(self.in_order(pending, identities, then));
        }
        let Some(op) = op else {
            let refused = Err(ErrorCode::Unimplemented);
            let then = Then::Reply(Zxid::NONE, refused, Some(Closing::AfterFlush));
            return Ok(self.in_order(pending, identities, then));
        };
        if is_late {
            self.service.replica.stats().count_incident(Incident::ThrottledOp);
            return Ok(self.in_order(pending, identities, Then::Fail(ErrorCode::ThrottledOp)));
        }
        if seat.is_read_only
            && let Some(then) = self.without_writing(op)
        {
            return Ok(self.in_order(pending, identities, then));
        }
        let intent = match Request::decode(op, &body) {
            Ok(request) => admission::intent(request, &self.service.config),
            Err(_) => admission::undecodable(op),
        };
        match intent {
            Intent::Write(write) => {
                self.outbox.await_reply(pending);
                let submitted = self.submit(header.xid, seat.session, identities, write).await;
                submitted.inspect_err(|_| self.outbox.forget_latest())?;
                Ok(Step::Next)
            }
            Intent::Read(request) => {
                let (awaited, request) = if let Request::Reconfig(wish) = request {
                    let (wish, shown) = self.reconfiguration(wish, &identities);
                    (Some(Awaited::Configuration(wish)), shown)
                } else {
                    (self.must_be_latest(&request).then_some(Awaited::Latest), request)
                };
                let then = Then::Read(request);
                self.stalled = Some(Stalled { pending, identities, awaited, then });
                Ok(self.resume())
            }
            Intent::Undecodable => {
                Ok(self.in_order(pending, identities, Then::Fail(ErrorCode::MarshallingError)))
            }
        }
    }

    /// Whether a read must see everything that was answered anywhere before it.
    #[allow(clippy::wildcard_enum_match_arm, reason = "every other request reads")]
    fn must_be_latest(&self, request: &Request) -> bool {
        let is_latest_wanted = match request {
            Request::Sync(_) => true,
            Request::Ping | Request::WhoAmI => false,
            _ => self.service.config.linearizable_reads,
        };
        is_latest_wanted && self.service.ensemble.has_others()
    }

    /// Looks whether what a request waits for is here, and has it fetched first.
    fn arrival(&self, what: Awaited) -> Option<Arrival> {
        let (ensemble, outbox) = (Arc::clone(&self.service.ensemble), Arc::clone(&self.outbox));
        match what {
            Awaited::Asked => return self.outbox.take_arrival(),
            Awaited::Latest => tokio::spawn(async move {
                let passed = ensemble.barrier().await;
                outbox.note_arrival(passed.map_or(Arrival::Lost, |()| Arrival::Here));
            }),
            Awaited::Configuration(wish) => tokio::spawn(async move {
                outbox.note_arrival(match ensemble.reconfigure(&wish).await {
                    Ok(Ok(())) => Arrival::Here,
                    Ok(Err(code)) => Arrival::Refused(code),
                    Err(_) => Arrival::Lost,
                });
            }),
        };
        None
    }

    /// What becomes of the wish to change the ensemble: the answer shows its configuration.
    fn reconfiguration(&self, wish: Reconfig, identities: &[Id]) -> (Reconfiguration, Request) {
        let is_permitted = self.service.config.skip_acl || {
            let tree = self.service.replica.tree();
            let node = tree.find(CONFIG_NODE);
            node.is_some_and(|node| permits(node.acl(), Perms::WRITE, identities))
        };
        let wish = Reconfiguration {
            joining: wish.joining_servers,
            leaving: wish.leaving_servers,
            members: wish.new_members,
            from_version: wish.current_config_id,
            is_permitted,
        };
        let path = Some(CONFIG_NODE.to_owned());
        (wish, Request::GetData(PathWatch { path, watch: false }))
    }

    /// Reports the session alive, but not for each of a thousand requests; tells the time.
    fn touch(&mut self, session: SessionId) -> i64 {
        let now_ms = self.service.clock.monotonic_ms();
        if now_ms >= self.touched_ms.saturating_add(TOUCH_INTERVAL_MS) {
            self.touched_ms = now_ms;
            self.service.ensemble.touch(session);
        }
        now_ms
    }

    /// Whether the client has proved who it is, where that is demanded.
    fn is_authenticated(&self, identities: &[Id]) -> bool {
        let schemes = &self.service.config.enforce_auth_schemes;
        let holds = |scheme: &str| identities.iter().any(|id| id.scheme.as_deref() == Some(scheme));
        schemes.is_empty() || schemes.iter().any(|scheme| holds(scheme.name()))
    }

    /// Answers now if no write is unanswered, else when that is so.
    fn in_order(&mut self, pending: Pending, identities: Arc<[Id]>, then: Then) -> Step {
        self.stalled = Some(Stalled { pending, identities, awaited: None, then });
        self.resume()
    }

    /// Answers the request that waits, unless it has to wait longer.
    pub(super) fn resume(&mut self) -> Step {
        if self.outbox.pending() > 0 {
            return Step::Wait;
        }
        let Some(Stalled { pending, identities, awaited, mut then }) = self.stalled.take() else {
            return Step::Next;
        };
        if let Some(awaited) = awaited {
            match self.arrival(awaited) {
                Some(Arrival::Here) => {}
                Some(Arrival::Refused(code)) => then = Then::Fail(code),
                Some(Arrival::Lost) => {
                    self.outbox.close(Closing::AtOnce);
                    return Step::Wait;
                }
                None => {
                    let awaited = Some(Awaited::Asked);
                    self.stalled = Some(Stalled { pending, identities, awaited, then });
                    return Step::Wait;
                }
            }
        }
        let replica = &self.service.replica;
        match then {
            Then::Read(request) => {
                let session = self.outbox.seat().map_or(SessionId::NONE, |seat| seat.session);
                let asker = Asker {
                    outbox: &self.outbox,
                    identities: &identities,
                    session,
                    multi_read_bytes_max: MULTI_READ_BYTES_MAX,
                };
                replica.read(&asker, pending, &request);
            }
            Then::Fail(code) => self.push(pending.xid, replica.zxid(), &Err(code)),
            Then::Reply(zxid, outcome, closing) => {
                self.push(pending.xid, zxid, &outcome);
                if let Some(closing) = closing {
                    self.outbox.close(closing);
                    return Step::Wait;
                }
            }
        }
        Step::Next
    }

    /// Answers with what belongs to no state of the tree.
    fn push(&self, xid: Xid, zxid: Zxid, outcome: &Result<Body, ErrorCode>) {
        self.outbox.push(xid, zxid, outcome);
        self.service.replica.stats().count_sent(1);
    }

    /// Handles what does not wait for its turn: credentials.
    fn handle_immediate(&mut self, op: OpCode, xid: Xid, body: &Bytes) -> Result<Step, End> {
        let request =
            Request::decode(op, body).map_err(|error| End::Violation(error.to_string()))?;
        if let Request::Auth(auth) = request {
            let proved = self.service.credentials.authenticate(
                auth.scheme.as_deref(),
                auth.auth.as_deref(),
                self.peer.ip(),
            );
            match proved {
                Ok(identities) => {
                    if !self.outbox.add_identities(identities, CONNECTION_IDENTITIES_MAX) {
                        tracing::warn!("{} proves too many identities", self.peer);
                        return Ok(self.refuse_authentication(xid));
                    }
                    self.push(xid, Zxid::ZERO, &Ok(Body::Empty));
                }
                Err(refused) => {
                    if let Some(left_out) = self.service.log_lines.refusals.pass() {
                        let peer = self.peer;
                        tracing::warn!("authentication of {peer} failed: {refused}{left_out}");
                    }
                    return Ok(self.refuse_authentication(xid));
                }
            }
        } else if let Request::Sasl(sasl) = request {
            if sasl.token.is_none() {
                return Err(End::Violation("a SASL request carries no token".to_owned()));
            }
            // A server without SASL: the client goes on unauthenticated.
            self.push(xid, Zxid::ZERO, &Ok(Body::Token(None)));
        }
        Ok(Step::Next)
    }

    /// Says that credentials do not count, and closes.
    fn refuse_authentication(&self, xid: Xid) -> Step {
        self.push(xid, Zxid::ZERO, &Err(ErrorCode::AuthFailed));
        self.outbox.close(Closing::AfterFlush);
        Step::Wait
    }

    /// Hands a write in.
    async fn submit(
        &mut self,
        xid: Xid,
        session: SessionId,
        identities: Arc<[Id]>,
        write: Write,
    ) -> Result<(), End> {
        let holder = self.service.replica.holder(self.outbox.id());
        let origin = Origin { holder, session, xid, sequence: 0 };
        let admission = admission::terms(&self.service.config, identities);
        let submission = Submission { origin, admission, write };
        self.share.hand_in();
        self.service.ensemble.submit(submission).await.map_err(|_| End::Over)
    }
}

/// The system gives no random numbers.
fn no_randomness(error: getrandom::Error) -> End {
    End::Socket(std::io::Error::other(error.to_string()))
}
