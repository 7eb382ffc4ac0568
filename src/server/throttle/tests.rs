//! Tests of the limits without a socket.

use bytes::BufMut as _;

use super::*;

impl Throttles {
    /// Takes every permit, for tests of what waits for one.
    pub(in crate::server) async fn shut_gate(&self) -> OwnedSemaphorePermit {
        let gate = Arc::clone(self.gate.as_ref().unwrap());
        gate.acquire_many_owned(self.requests.max_requests).await.unwrap()
    }
}

const HERE: Visit = Visit { now_ms: 0, timeout_ms: 1_000, is_lost: false };

fn throttles(settings: &str) -> Arc<Throttles> {
    let text = format!("dataDir=/nowhere\nclientPort=0\n{settings}");
    let (config, warnings) = Config::from_zoo_cfg(&text, &[], "zoo.cfg").unwrap();
    assert!(warnings.is_empty(), "{warnings:?}");
    Arc::new(Throttles::new(&config, 0))
}

fn frame(op: OpCode, body_bytes: usize) -> Bytes {
    let mut frame = Vec::new();
    frame.put_i32(1);
    frame.put_i32(op as i32);
    frame.resize(8 + body_bytes, 0);
    frame.into()
}

fn request(share: &mut Share, op: OpCode, now_ms: i64) -> Waiting {
    let frame = frame(op, 0);
    let bytes = frame.len() + 4;
    share.note_read(bytes, || now_ms);
    share.note_frame(frame, bytes)
}

fn open() -> Gate {
    Gate::Open { is_late: false, is_stale: false }
}

#[test]
fn each_connection_may_always_have_one_request() {
    let throttles = throttles("globalOutstandingLimit=2\n");
    let mut shares: Vec<_> = (0..4).map(|_| Share::new(Arc::clone(&throttles))).collect();

    for share in &mut shares {
        assert!(share.may_have_more());
        share.hand_in();
    }
    assert!(shares.iter().all(|share| !share.may_have_more()), "four are more than two");

    shares[0].settle(0, true);
    assert!(shares[0].may_have_more() && !shares[1].may_have_more());
    shares[1].settle(0, true);
    assert!(shares[2].may_have_more(), "two are not more than two");
    drop(shares);
    assert_eq!(throttles.unanswered.load(Relaxed), 0);
}

#[tokio::test]
async fn permits_go_round_in_the_order_in_which_they_were_asked_for() {
    let throttles = throttles("request_throttle_max_requests=1\n");
    let [mut a, mut b, mut c] = [(); 3].map(|()| Share::new(Arc::clone(&throttles)));
    let [ra, rb, rc] = [&mut a, &mut b, &mut c].map(|share| request(share, OpCode::SetData, 0));

    assert_eq!(a.try_gate(&ra, HERE), open());
    a.hand_in();
    assert_eq!(b.try_gate(&rb, HERE), Gate::Shut { is_new: true });
    assert!(futures_util::poll!(std::pin::pin!(b.turn())).is_pending());
    assert_eq!(b.try_gate(&rb, HERE), Gate::Shut { is_new: false });
    assert_eq!(c.try_gate(&rc, HERE), Gate::Shut { is_new: true });
    assert!(futures_util::poll!(std::pin::pin!(c.turn())).is_pending());

    a.settle(0, true);
    assert_eq!(a.try_gate(&ra, HERE), Gate::Shut { is_new: true }, "others came first");
    assert!(futures_util::poll!(std::pin::pin!(c.turn())).is_pending());
    b.turn().await;
    assert_eq!(b.try_gate(&rb, HERE), open());
    drop(b);
    c.turn().await;
    c.pass_turn_on();
    c.settle(0, false);
    a.turn().await;
    assert_eq!(a.try_gate(&ra, HERE), open());
}

#[test]
fn a_late_request_is_only_answered_unless_a_session_hangs_on_it() {
    let throttles = throttles("throttled_op_wait_time=50\n");
    let table = [
        (OpCode::GetData, 50, false),
        (OpCode::GetData, 51, true),
        (OpCode::Multi, 51, true),
        (OpCode::Ping, 500, false),
        (OpCode::CloseSession, 500, false),
        (OpCode::Auth, 500, false),
    ];
    for (op, waited_ms, is_late) in table {
        let mut share = Share::new(Arc::clone(&throttles));
        assert!(!share.has_no_gate());
        let request = request(&mut share, op, 7);

        let gate = share.try_gate(&request, Visit { now_ms: 7 + waited_ms, ..HERE });

        assert_eq!(gate, Gate::Open { is_late, is_stale: false }, "{op:?} after {waited_ms} ms");
    }
}

#[test]
fn stale_requests_are_dropped_at_the_gate_as_configured() {
    const GATE: &str = "request_throttle_max_requests=9\n";
    const AGE: &str = "request_stale_latency_check=true\n";
    const KEEP: &str = "request_throttle_drop_stale=false\n";
    const LOSE: &str = "request_stale_connection_check=false\n";
    let stale = Gate::Open { is_late: false, is_stale: true };
    let table: [(&[&str], OpCode, bool, i64, Gate); 9] = [
        (&[GATE], OpCode::Create, true, 0, Gate::Stale),
        (&[GATE], OpCode::CloseSession, true, 0, open()),
        (&[GATE, KEEP], OpCode::Create, true, 0, stale),
        (&[GATE, LOSE], OpCode::Create, true, 0, open()),
        (&[], OpCode::Create, true, 0, open()),
        (&[GATE], OpCode::Create, false, 1_001, open()),
        (&[GATE, AGE], OpCode::Create, false, 1_000, open()),
        (&[GATE, AGE], OpCode::Create, false, 1_001, Gate::Stale),
        (&[GATE, AGE, KEEP], OpCode::Create, false, 1_001, stale),
    ];
    for (row, (settings, op, is_lost, waited_ms, expected)) in table.into_iter().enumerate() {
        let mut share = Share::new(throttles(&settings.concat()));
        let request = request(&mut share, op, 3);

        let gate = share.try_gate(&request, Visit { now_ms: 3 + waited_ms, is_lost, ..HERE });

        assert_eq!(gate, expected, "row {row}");
    }
}

#[test]
fn large_requests_share_a_budget_until_they_are_answered() {
    let throttles = throttles("largeRequestThreshold=100\nlargeRequestMaxBytes=500\n");
    let [mut a, mut b] = [(); 2].map(|()| Share::new(Arc::clone(&throttles)));
    let large = |share: &mut Share, op, bytes: usize| {
        share.check_size(&(bytes as u32).to_be_bytes())?;
        let request = share.note_frame(frame(op, bytes - 8), bytes + 4);
        share.take_budget(&request)
    };

    assert_eq!(large(&mut a, OpCode::SetData, 300), Ok(()));
    a.hand_in();
    assert_eq!(large(&mut b, OpCode::SetData, 100), Ok(()), "that is not large");
    assert_eq!(large(&mut b, OpCode::SetData, 201), Err(OverBudget));
    assert_eq!(b.check_size(&[0, 0, 1]), Ok(()), "the length is not there yet");
    let request = b.note_frame(frame(OpCode::SetData, 193), 205);
    assert_eq!(b.take_budget(&request), Err(OverBudget), "the length was read in time");
    assert_eq!(large(&mut b, OpCode::Auth, 150), Ok(()));
    assert_eq!(large(&mut b, OpCode::GetData, 200), Ok(()));
    b.settle(0, false);
    assert_eq!(large(&mut a, OpCode::GetData, 101), Err(OverBudget), "the read waits");
    b.settle(0, true);
    assert_eq!(large(&mut b, OpCode::SetData, 200), Ok(()));
    b.hand_in();

    a.hand_in();
    a.settle(1, true);
    assert_eq!(throttles.large_bytes.load(Relaxed), 200, "the first of two was answered");
    drop(b);
    assert_eq!(throttles.large_bytes.load(Relaxed), 0);
}

#[test]
fn a_request_arrives_with_its_last_byte() {
    let mut arrivals = Arrivals { counts: true, ..Arrivals::default() };
    // Reads of so many bytes at such a time.
    for (bytes, now_ms) in [(10, 1), (10, 1), (5, 2), (10, 9)] {
        arrivals.note_read(bytes, now_ms);
    }
    let arrived: Vec<_> = [8, 12, 1, 5, 9].into_iter().map(|b| arrivals.note_taken(b)).collect();
    assert_eq!(arrived, [1, 1, 2, 9, 9]);
    assert!(arrivals.marks.len() <= 1);
}

#[test]
fn handshakes_are_throttled_only_when_asked_for() {
    assert_eq!(throttles("").handshake(SessionId::NONE, 0), Ok(None));
    let throttles = throttles("connection_throttle_tokens=1\nconnection_throttle_fill_time=50\n");
    let goes_on = |now_ms| throttles.handshake(SessionId::NONE, now_ms).unwrap().unwrap().0;

    assert_eq!([1, 1, 52].map(goes_on), [true, false, true]);
}
