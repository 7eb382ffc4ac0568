//! Tests of whole connections: a server of its own on loopback, and clients that speak bytes.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use jute::reply::{ConnectResponse, ReplyHeader};
use jute::request::{ConnectRequest, Create, PathWatch, RequestHeader};
use jute::{
    Acl, Decode as _, Encode as _, ErrorCode, OpCode, Perms, SessionId, Xid, Zxid, begin_frame,
    decode_all, end_frame, split_frame,
};
use tokio::runtime::Handle;
use tokio::task::{JoinHandle, spawn_blocking};
use tokio_util::sync::CancellationToken;

use super::{Helpers, LogLines, Service, Throttles, Word, Words, serve};
use crate::clock::Clock;
use crate::config::Config;
use crate::net::{Limits, Listener};
use crate::raft::Ensemble;
use crate::replica::Incident;
use crate::session::{Credentials, SessionIds};
use crate::store::Store;

/// How long anything may take before a test fails.
const PATIENCE: Duration = Duration::from_mins(1);
/// How long to sleep between two looks.
const PAUSE: Duration = Duration::from_millis(2);

/// No word is answered.
struct NoWords;

impl Words for NoWords {
    fn answer(&self, _: &Word<'_>) -> Option<Vec<u8>> {
        None
    }
}

/// A server.
struct Rig {
    service: Arc<Service>,
    address: SocketAddr,
    stop: CancellationToken,
    serving: JoinHandle<()>,
    _dir: tempfile::TempDir,
}

impl Rig {
    async fn start(settings: &str) -> Rig {
        let helpers = Helpers { handle: Handle::current(), crowd_min: usize::MAX };
        Rig::start_with(settings, helpers).await
    }

    /// As [`Rig::start`], with a runtime that helps with a crowd.
    async fn start_with(settings: &str, helpers: Helpers) -> Rig {
        let dir = tempfile::tempdir().unwrap();
        let text = format!("dataDir={}\nclientPort=0\n{settings}", dir.path().display());
        let (config, _) = Config::from_zoo_cfg(&text, &[], "zoo.cfg").unwrap();
        let config = Arc::new(config);
        let clock = Clock::system();
        let limits = Limits { per_address_max: 0, total_max: 0 };
        let listener = Listener::reserve(Some("127.0.0.1"), 0, false, limits).await.unwrap();
        let store = Store::open(&config.data_dir, None).unwrap();
        let started = Ensemble::start(&config, store, clock).await.unwrap();
        let service = Arc::new(Service {
            credentials: Credentials {
                super_digest: None,
                digest_enabled: true,
                algorithm: "SHA1".parse().unwrap(),
            },
            session_ids: parking_lot::Mutex::new(SessionIds::new(1, clock.wall_ms()).unwrap()),
            replica: started.replica,
            ensemble: started.ensemble,
            words: Arc::new(NoWords),
            throttles: Arc::new(Throttles::new(&config, clock.monotonic_ms())),
            log_lines: LogLines::new(clock),
            clock,
            connections: AtomicU64::new(0),
            config,
        });
        let listener = listener.listen(None).unwrap();
        let address = listener.address().unwrap();
        let stop = CancellationToken::new();
        let serving = tokio::spawn(serve(Arc::clone(&service), listener, helpers, stop.clone()));
        Rig { service, address, stop, serving, _dir: dir }
    }

    /// Runs what a client does, which waits for answers as a program would.
    async fn client<T: Send + 'static>(
        &self,
        act: impl FnOnce(SocketAddr) -> T + Send + 'static,
    ) -> T {
        let address = self.address;
        spawn_blocking(move || act(address)).await.unwrap()
    }

    fn count_of(&self, incident: Incident) -> u64 {
        self.service.replica.stats().snapshot().count_of(incident)
    }

    /// Waits until that happened so often.
    async fn until(&self, incident: Incident, count: u64) {
        let seen = async {
            while self.count_of(incident) < count {
                tokio::time::sleep(PAUSE).await;
            }
        };
        tokio::time::timeout(PATIENCE, seen).await.expect("it never happened");
    }

    /// Waits until the server has read what was sent to it, and the end of a connection that a client
    /// has ended. On a runtime of one thread: what is in the socket is seen whenever that thread has
    /// nothing to do, and read before it has nothing to do again.
    async fn has_read_all(&self) {
        for _ in 0..3 {
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn stop(self) {
        self.stop.cancel();
        self.serving.await.unwrap();
        self.service.ensemble.stop().await;
    }
}

/// A client.
struct Client {
    stream: TcpStream,
    buffer: BytesMut,
    xid: i32,
}

impl Client {
    /// A connection.
    fn dial(address: SocketAddr) -> Client {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Client { stream, buffer: BytesMut::new(), xid: 0 }
    }

    /// A connection with a session; `None` if it was closed without a byte.
    fn try_open(address: SocketAddr) -> Option<Client> {
        let mut client = Client::dial(address);
        let mut out = BytesMut::new();
        let start = begin_frame(&mut out);
        let password = Some(Bytes::from_static(&[0; 16]));
        ConnectRequest { timeout_ms: 30_000, password, ..ConnectRequest::default() }
            .encode(&mut out);
        end_frame(&mut out, start);
        client.stream.write_all(&out).unwrap();
        let response: ConnectResponse = decode_all(&client.frame()?).unwrap();
        assert_ne!(response.session_id, SessionId::NONE);
        Some(client)
    }

    fn open(address: SocketAddr) -> Client {
        Client::try_open(address).expect("the handshake is refused")
    }

    /// The next frame; `None` at the end of the connection.
    fn frame(&mut self) -> Option<Bytes> {
        loop {
            if let Some(frame) = split_frame(&mut self.buffer, 1 << 24).unwrap() {
                return Some(frame);
            }
            let mut bytes = [0; 4_096];
            match self.stream.read(&mut bytes) {
                Ok(0) => return None,
                Ok(count) => self.buffer.extend_from_slice(&bytes[..count]),
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => return None,
                Err(error) => panic!("no answer: {error}"),
            }
        }
    }

    /// Sends a request.
    fn send(&mut self, op: OpCode, put_record: impl FnOnce(&mut BytesMut)) {
        self.xid += 1;
        let mut out = BytesMut::new();
        let start = begin_frame(&mut out);
        RequestHeader { xid: Xid(self.xid), op: op as i32 }.encode(&mut out);
        put_record(&mut out);
        end_frame(&mut out, start);
        // A server that has closed the connection shows when it is read.
        let _ = self.stream.write_all(&out);
    }

    fn send_create(&mut self, path: &str, data_bytes: usize) {
        let create = Create {
            path: Some(path.to_owned()),
            data: Some(vec![b'x'; data_bytes].into()),
            acl: Some(vec![Acl::anyone(Perms::ALL)]),
            flags: 0,
        };
        self.send(OpCode::Create, |out| create.encode(out));
    }

    fn send_exists(&mut self, path: &str) {
        self.send_look(path, false);
    }

    fn send_watch(&mut self, path: &str) {
        self.send_look(path, true);
    }

    fn send_look(&mut self, path: &str, watch: bool) {
        let exists = PathWatch { path: Some(path.to_owned()), watch };
        self.send(OpCode::Exists, |out| exists.encode(out));
    }

    /// Reads a reply.
    fn reply(&mut self) -> (i32, Zxid, i32) {
        let frame = self.frame().expect("the connection was closed");
        let (_, header) = ReplyHeader::decode(&frame, &frame).unwrap();
        (header.xid.0, header.zxid, header.error)
    }
}

/// Every request of many clients that pipeline is answered, in order, under these settings.
async fn many_pipelining_clients_are_served_under(settings: &str) {
    const CLIENTS: usize = 8;
    const REQUESTS: i32 = 60;
    let rig = Rig::start(settings).await;
    let act = |number: usize| {
        move |address| {
            let mut client = Client::open(address);
            for request in 1..=REQUESTS {
                match request % 3 {
                    0 => client.send_exists("/zookeeper"),
                    _ => client.send_create(&format!("/c{number}-{request}"), 100),
                }
            }
            let replies: Vec<_> = (0..REQUESTS).map(|_| client.reply()).collect();
            let xids: Vec<_> = replies.iter().map(|reply| reply.0).collect();
            assert!(xids.iter().copied().eq(1..=REQUESTS), "{xids:?}");
            assert!(replies.iter().all(|reply| reply.2 == 0), "{replies:?}");
        }
    };
    let clients = (0..CLIENTS).map(|number| rig.client(act(number)));
    let all = futures_util::future::join_all(clients);
    tokio::time::timeout(PATIENCE, all).await.expect("somebody waits for ever");
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_outstanding_request_in_all_does_not_stop_anybody() {
    many_pipelining_clients_are_served_under("globalOutstandingLimit=1\n").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_permit_for_all_requests_does_not_stop_anybody() {
    let settings = "request_throttle_max_requests=1\nthrottled_op_wait_time=3600000\n";
    many_pipelining_clients_are_served_under(settings).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn all_limits_together_do_not_stop_anybody() {
    let settings = "globalOutstandingLimit=1\nrequest_throttle_max_requests=2\n\
                    largeRequestThreshold=10\nrequest_throttle_stall_time=1\n";
    many_pipelining_clients_are_served_under(settings).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn large_replies_all_come_without_another_request() {
    const READS: i32 = 300;
    let rig = Rig::start("").await;
    for round in 0..5_u64 {
        let all = rig.client(move |address| {
            let mut client = Client::open(address);
            client.send_create(&format!("/large{round}"), 150_000);
            assert_eq!(client.reply().2, 0);
            let get = PathWatch { path: Some(format!("/large{round}")), watch: false };
            for read in 0..READS {
                client.send(OpCode::GetData, |out| get.encode(out));
                if read == READS / 2 {
                    // The socket is full by now, and is emptied from here on.
                    std::thread::sleep(Duration::from_millis(20 * round));
                }
            }
            (0..READS).all(|_| client.reply().2 == 0)
        });
        assert!(tokio::time::timeout(PATIENCE, all).await.expect("replies are left behind"));
    }
    rig.stop().await;
}

#[test]
fn a_crowd_is_served_by_two_runtimes_as_a_few_are_by_one() {
    const CLIENTS: usize = 100;
    let build =
        || tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let (here, helpers) = (build().unwrap(), build().unwrap());
    here.block_on(async {
        let half = Helpers { handle: helpers.handle().clone(), crowd_min: CLIENTS / 4 };
        let rig = Rig::start_with("", half).await;
        let all = rig.client(|address| {
            let mut clients: Vec<_> = (0..CLIENTS).map(|_| Client::open(address)).collect();
            for client in &mut clients {
                client.send_watch("/crowd");
                assert_eq!(client.reply().2, ErrorCode::NoNode as i32);
            }
            clients[0].send_create("/crowd", 10);
            for (number, client) in clients.iter_mut().enumerate() {
                assert_eq!(client.reply().0, Xid::NOTIFICATION.0, "client {number}");
            }
            assert_eq!(clients[0].reply().2, 0);
            clients
        });
        let clients = tokio::time::timeout(PATIENCE, all).await.expect("somebody waits for ever");
        assert!(helpers.metrics().num_alive_tasks() >= CLIENTS / 2 - 1, "it helps");
        // Those who are served elsewhere are let go of, too.
        let ended = rig.client(|_| clients.into_iter().all(|mut client| client.frame().is_none()));
        rig.stop.cancel();
        assert!(tokio::time::timeout(PATIENCE, ended).await.expect("somebody is kept"));
        rig.stop().await;
    });
    here.shutdown_background();
    helpers.shutdown_background();
}

#[tokio::test]
async fn a_request_that_waited_too_long_is_answered_in_its_turn_and_not_executed() {
    let rig = Rig::start("request_throttle_max_requests=1\nthrottled_op_wait_time=20\n").await;
    let mut client = rig.client(Client::open).await;
    let opened = rig.service.replica.zxid();
    let permit = rig.service.throttles.shut_gate().await;
    client.send_create("/late", 0);
    client.send_exists("/late");
    client.send(OpCode::Ping, |_| ());
    client.send(OpCode::CloseSession, |_| ());
    rig.until(Incident::RequestThrottled, 1).await;
    rig.has_read_all().await;
    tokio::time::sleep(Duration::from_millis(25)).await;
    drop(permit);

    let replies = rig.client(move |_| [(); 4].map(|()| client.reply())).await;

    let throttled = ErrorCode::ThrottledOp as i32;
    let closed = Zxid(opened.0 + 1);
    assert_eq!(
        replies,
        [(1, opened, throttled), (2, opened, throttled), (-2, opened, 0), (4, closed, 0)]
    );
    assert_eq!(rig.count_of(Incident::ThrottledOp), 2);
    rig.stop().await;
}

/// Whether a create that waited at the gate was executed although its client had gone.
async fn is_executed_after_its_client_has_gone(rig: Rig) -> bool {
    let mut client = rig.client(Client::open).await;
    let permit = rig.service.throttles.shut_gate().await;
    client.send_create("/gone", 0);
    rig.until(Incident::RequestThrottled, 1).await;
    client.stream.shutdown(Shutdown::Write).unwrap();
    rig.has_read_all().await;
    drop(permit);

    // The connection ends by itself.
    rig.client(move |_| while client.frame().is_some() {}).await;
    let exists = rig
        .client(|address| {
            let mut other = Client::open(address);
            other.send_exists("/gone");
            other.reply().2 == 0
        })
        .await;
    let dropped = rig.count_of(Incident::StaleRequestDropped);
    let stale = rig.count_of(Incident::StaleRequest);
    assert_eq!((dropped, stale), if exists { (0, 1) } else { (1, 0) });
    rig.stop().await;
    exists
}

#[tokio::test]
async fn a_stale_request_is_dropped_with_its_connection() {
    let rig = Rig::start("request_throttle_max_requests=1\n").await;
    assert!(!is_executed_after_its_client_has_gone(rig).await);
}

#[tokio::test]
async fn a_stale_request_is_executed_if_it_is_not_to_be_dropped() {
    let settings = "request_throttle_max_requests=1\nrequest_throttle_drop_stale=false\n";
    assert!(is_executed_after_its_client_has_gone(Rig::start(settings).await).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_request_over_the_budget_closes_its_connection() {
    let rig = Rig::start("largeRequestThreshold=1000\nlargeRequestMaxBytes=5000\n").await;
    let outcomes = rig
        .client(|address| {
            let mut client = Client::open(address);
            // Each fits the budget alone; two do only because the first is answered.
            let errors = ["/a", "/b"].map(|path| {
                client.send_create(path, 3_000);
                client.reply().2
            });
            client.send_create("/c", 6_000);
            (errors, client.frame())
        })
        .await;

    assert_eq!(outcomes, ([0, 0], None));
    assert_eq!(rig.count_of(Incident::LargeRequestRejected), 1);
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handshake_without_a_token_is_closed_without_a_byte() {
    let settings = "connection_throttle_tokens=5\nconnection_throttle_weight_enabled=true\n\
                    connection_throttle_fill_time=3600000\n";
    let rig = Rig::start(settings).await;
    let admitted =
        rig.client(|address| [(); 2].map(|()| Client::try_open(address).is_some())).await;

    assert_eq!(admitted, [true, false], "a new session weighs 3");
    assert_eq!(rig.count_of(Incident::ConnectionRejected), 1);
    assert_eq!(rig.count_of(Incident::ConnectionRequest), 1);
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_without_a_session_ends_and_one_with_a_session_stays() {
    let rig = Rig::start("nio.sessionlessCnxnTimeout=150\n").await;
    let mut client = rig.client(Client::open).await;
    let silent = rig.client(|address| Client::dial(address).frame()).await;

    assert_eq!(silent, None);
    rig.until(Incident::SessionlessExpired, 1).await;
    let reply = rig
        .client(move |_| {
            client.send_exists("/");
            client.reply().2
        })
        .await;
    assert_eq!(reply, 0);
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_sync_is_slow_for_a_threshold_of_nothing() {
    let rig = Rig::start("fsync.warningthresholdms=0\n").await;
    rig.client(Client::open).await;

    rig.until(Incident::SlowSync, 1).await;
    rig.stop().await;
}
