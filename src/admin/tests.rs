//! Hand-made facts, rendered and compared with what ZooKeeper 3.9.5 printed for the same.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use jute::{OpCode, SessionId, Xid, Zxid};

use crate::raft::Role;

use super::report::{Connection, Dump, Folder, Monitor, Server, Setup};
use super::{VERSION, WORDS, four_letter, monitor};
use crate::replica::{Seat, StatsSnapshot, Traffic};
use crate::watch::Summary;

const S1: SessionId = SessionId(0x0100_0024_2e02_0000);
const S2: SessionId = SessionId(0x0100_0024_2e02_0001);

/// The real server's text with its version in place of ours.
fn real(text: &str) -> String {
    const REAL: &str =
        "3.9.5-293c895a8d966a3ecb92872be4a1daf87d725da2, built on 2026-02-11 20:18 UTC";
    assert!(!text.contains("Zookeeper version") || text.contains(REAL), "{text}");
    text.replace(REAL, VERSION)
}

fn peer(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}

fn server() -> Server {
    Server {
        mode: Role::Standalone,
        stats: StatsSnapshot {
            received: 33,
            sent: 34,
            latency_min_ms: 0,
            latency_avg_ms: 104.0 / 12.0,
            latency_max_ms: 70,
            response_bytes: (119, 16, 119),
            ..StatsSnapshot::default()
        },
        connections: 4,
        outstanding: 0,
        zxid: Zxid(7),
        nodes: 10,
    }
}

/// A connection over which nothing has gone.
fn connection(from: &str) -> Connection {
    Connection {
        peer: peer(from),
        is_asking: false,
        is_behind: false,
        outstanding: 0,
        traffic: Traffic::default(),
        seat: None,
    }
}

/// Two clients, one connection without a word, and the one that asks.
fn connections() -> Vec<Connection> {
    let first = Connection {
        traffic: Traffic {
            received: 8,
            sent: 9,
            last_op: Some(OpCode::Multi),
            last_xid: Xid(7),
            last_zxid: Zxid(7),
            last_response_ms: 2_372_219,
            last_latency_ms: 6,
            min_latency_ms: 0,
            max_latency_ms: 70,
            total_latency_ms: 99,
            answered: 8,
        },
        seat: Some(Seat {
            session: S1,
            timeout_ms: 10_000,
            is_read_only: false,
            established_ms: 1_795_595_719_113,
        }),
        ..connection("127.0.0.1:60990")
    };
    let second = Connection {
        traffic: Traffic {
            received: 4,
            sent: 6,
            last_op: Some(OpCode::GetChildren2),
            last_xid: Xid(3),
            last_zxid: Zxid(6),
            last_response_ms: 2_372_212,
            last_latency_ms: 1,
            min_latency_ms: 0,
            max_latency_ms: 5,
            total_latency_ms: 6,
            answered: 4,
        },
        seat: Some(Seat {
            session: S2,
            timeout_ms: 20_000,
            is_read_only: false,
            established_ms: 1_795_595_719_148,
        }),
        ..connection("[::1]:46742")
    };
    let asking = Connection {
        is_asking: true,
        traffic: Traffic { received: 1, ..Traffic::default() },
        ..connection("127.0.0.1:32926")
    };
    vec![first, asking, connection("127.0.0.1:60994"), second]
}

#[test]
fn srvr_reads_as_upstreams() {
    let expected = "\
Zookeeper version: 3.9.5-293c895a8d966a3ecb92872be4a1daf87d725da2, built on 2026-02-11 20:18 UTC
Latency min/avg/max: 0/8.6667/70
Received: 33
Sent: 34
Connections: 4
Outstanding: 0
Zxid: 0x7
Mode: standalone
Node count: 10
";
    assert_eq!(four_letter::srvr(&server()), real(expected));
}

#[test]
fn stat_reads_as_upstreams() {
    let expected = "\
Zookeeper version: 3.9.5-293c895a8d966a3ecb92872be4a1daf87d725da2, built on 2026-02-11 20:18 UTC
Clients:
 /127.0.0.1:60990[1](queued=0,recved=8,sent=9)
 /127.0.0.1:32926[0](queued=0,recved=1,sent=0)
 /127.0.0.1:60994[1](queued=0,recved=0,sent=0)
 /[0:0:0:0:0:0:0:1]:46742[1](queued=0,recved=4,sent=6)

Latency min/avg/max: 0/8.6667/70
Received: 33
Sent: 34
Connections: 4
Outstanding: 0
Zxid: 0x7
Mode: standalone
Node count: 10
";
    assert_eq!(four_letter::stat(&server(), &connections()), real(expected));
}

#[test]
fn cons_reads_as_upstreams() {
    let expected = "\u{20}/127.0.0.1:60990[1](queued=0,recved=8,sent=9,sid=0x10000242e020000,lop=MULT,\
        est=1795595719113,to=10000,lcxid=0x7,lzxid=0x7,lresp=2372219,llat=6,minlat=0,avglat=12,\
        maxlat=70)\n \
        /127.0.0.1:32926[0](queued=0,recved=1,sent=0)\n \
        /127.0.0.1:60994[1](queued=0,recved=0,sent=0)\n \
        /[0:0:0:0:0:0:0:1]:46742[1](queued=0,recved=4,sent=6,sid=0x10000242e020001,lop=GETC,\
        est=1795595719148,to=20000,lcxid=0x3,lzxid=0x6,lresp=2372212,llat=1,minlat=0,avglat=1,\
        maxlat=5)\n\n";
    assert_eq!(four_letter::cons(&connections()), expected);
}

#[test]
fn a_session_whose_counts_were_reset_reads_as_upstreams() {
    let mut connections = connections();
    connections.truncate(1);
    connections[0].traffic = Traffic::default();
    let expected = "\u{20}/127.0.0.1:60990[1](queued=0,recved=0,sent=0,sid=0x10000242e020000,lop=NA,\
        est=1795595719113,to=10000,lzxid=0xffffffffffffffff,lresp=0,llat=0,minlat=0,avglat=0,\
        maxlat=0)\n\n";
    assert_eq!(four_letter::cons(&connections), expected);
}

#[test]
fn a_client_that_does_not_read_shows_by_its_interest() {
    let behind = Connection { is_behind: true, outstanding: 3, ..connection("127.0.0.1:1") };
    assert_eq!(four_letter::cons(&[behind]), " /127.0.0.1:1[5](queued=3,recved=0,sent=0)\n\n");
}

#[test]
fn dump_reads_as_upstreams() {
    let (first, second) = (1_795_595_731_000, 1_795_595_741_000);
    let dump = Dump {
        sessions: BTreeMap::from([(first, vec![S1]), (second, vec![S2])]),
        ephemerals: vec![(S1, vec!["/a/e".into(), "/a/f".into()]), (S2, vec!["/b".into()])],
        connections: BTreeMap::from([
            (
                first + 6_000,
                vec![
                    (peer("127.0.0.1:60990"), Some(S1)),
                    (peer("127.0.0.1:60994"), None),
                    (peer("127.0.0.1:32952"), None),
                ],
            ),
            (second + 6_000, vec![(peer("[::1]:46742"), Some(S2))]),
        ]),
    };
    let expected = "\
SessionTracker dump:
Session Sets (2)/(2):
1 expire at Wed Nov 25 08:35:31 UTC 2026:
\t0x10000242e020000
1 expire at Wed Nov 25 08:35:41 UTC 2026:
\t0x10000242e020001
ephemeral nodes dump:
Sessions with Ephemerals (2):
0x10000242e020000:
\t/a/e
\t/a/f
0x10000242e020001:
\t/b
Connections dump:
Connections Sets (2)/(4):
3 expire at Wed Nov 25 08:35:37 UTC 2026:
\tip: /127.0.0.1:60990 sessionId: 0x10000242e020000
\tip: /127.0.0.1:60994 sessionId: 0x0
\tip: /127.0.0.1:32952 sessionId: 0x0
1 expire at Wed Nov 25 08:35:47 UTC 2026:
\tip: /[0:0:0:0:0:0:0:1]:46742 sessionId: 0x10000242e020001
";
    assert_eq!(four_letter::dump(&dump), expected);
}

#[test]
fn conf_and_dirs_read_as_upstreams() {
    let setup = Setup {
        client_port: 17_923,
        data: Folder { path: "/var/lib/zk/data/version-2".into(), bytes: 478 },
        log: Folder { path: "/var/lib/zk/logs/version-2".into(), bytes: 0 },
        tick_time_ms: 2_000,
        max_client_cnxns: 60,
        min_session_timeout_ms: 4_000,
        max_session_timeout_ms: 50_000,
        listen_backlog: Some(77),
    };
    let expected = "\
clientPort=17923
secureClientPort=-1
dataDir=/var/lib/zk/data/version-2
dataDirSize=478
dataLogDir=/var/lib/zk/logs/version-2
dataLogSize=0
tickTime=2000
maxClientCnxns=60
minSessionTimeout=4000
maxSessionTimeout=50000
clientPortListenBacklog=77
serverId=0
";
    assert_eq!(four_letter::conf(&setup), expected);
    let unset = Setup { listen_backlog: None, ..setup.clone() };
    assert!(four_letter::conf(&unset).contains("\nclientPortListenBacklog=-1\n"));
    assert_eq!(four_letter::dirs(&setup.data, &setup.log), "datadir_size: 478\nlogdir_size: 0\n");
}

#[test]
fn watches_read_as_upstreams() {
    let summary = Summary { connections: 1, paths: 1, watches: 1 };
    assert_eq!(four_letter::wchs(summary), "1 connections watching 1 paths\nTotal watches:1\n");
    assert_eq!(four_letter::wchc(&[]), "\n");
    assert_eq!(four_letter::wchp(&[]), "\n");
    let by_session = [(S1, vec!["/".to_owned(), "/nope".to_owned()]), (S2, vec!["/".to_owned()])];
    assert_eq!(
        four_letter::wchc(&by_session),
        "0x10000242e020000\n\t/\n\t/nope\n0x10000242e020001\n\t/\n\n"
    );
    let by_path = [("/".to_owned(), vec![S1, S2]), ("/nope".to_owned(), vec![S1])];
    assert_eq!(
        four_letter::wchp(&by_path),
        "/\n\t0x10000242e020000\n\t0x10000242e020001\n/nope\n\t0x10000242e020000\n\n"
    );
}

#[test]
fn envi_has_upstreams_keys_in_upstreams_order() {
    let text = four_letter::envi(&super::system::environment());
    let mut lines = text.lines();
    assert_eq!(lines.next(), Some("Environment:"));
    let keys: Vec<_> = lines.map(|line| line.split_once('=').expect("key and value").0).collect();
    let expected = "zookeeper.version host.name java.version java.vendor java.home java.class.path \
        java.library.path java.io.tmpdir java.compiler os.name os.arch os.version user.name \
        user.home user.dir os.memory.free os.memory.max os.memory.total";
    assert_eq!(keys, expected.split_whitespace().collect::<Vec<_>>());
}

/// What a value of `mntr` is.
fn kind(value: &str) -> &'static str {
    match value.parse::<i64>() {
        Ok(_) => "whole",
        Err(_) if value.parse::<f64>().is_ok() => "real",
        Err(_) => "text",
    }
}

#[test]
fn mntr_has_upstreams_keys_with_upstreams_kinds_of_values() {
    let monitor = Monitor {
        server: server(),
        ephemerals: 3,
        sessions: 2,
        watches: 5,
        data_bytes: 64,
        uptime_ms: 1_314,
        files_open: 57,
        files_max: 20_000,
    };

    let text = monitor::mntr(VERSION, &monitor);

    assert!(text.starts_with(&format!("zk_version\t{VERSION}\nzk_server_state\tstandalone\n")));
    let rows: Vec<_> = text.lines().map(|l| l.split_once('\t').expect("key and value")).collect();
    let kinds: BTreeSet<_> = rows.iter().map(|(k, v)| format!("{k}\t{}", kind(v))).collect();
    let upstream: BTreeSet<_> = include_str!("tests/mntr.txt").lines().map(str::to_owned).collect();
    assert_eq!(kinds.len(), rows.len(), "no key comes twice");
    assert_eq!(kinds, upstream);
    let gauges = "zk_ephemerals_count\t3 zk_num_alive_connections\t4 zk_avg_latency\t8.6667 \
        zk_outstanding_requests\t0 zk_znode_count\t10 zk_global_sessions\t2 \
        zk_last_client_response_size\t119 zk_min_client_response_size\t16 \
        zk_max_client_response_size\t119 zk_packets_sent\t34 zk_packets_received\t33 \
        zk_watch_count\t5 zk_min_latency\t0 zk_max_latency\t70 zk_approximate_data_size\t64 \
        zk_open_file_descriptor_count\t57 zk_max_file_descriptor_count\t20000 zk_uptime\t1314";
    for gauge in gauges.split(' ').filter(|gauge| !gauge.is_empty()) {
        assert!(text.contains(&format!("\n{gauge}\n")), "{gauge}");
    }
}

#[test]
fn tools_find_the_version_they_look_for() {
    let numbers = VERSION.split_once('-').expect("a release and ours").0;
    assert_eq!(numbers, "3.9.5");
    let (_, built) = VERSION.split_once(", built on ").expect("a date");
    assert_eq!(built.len(), "2026-02-11 20:18 UTC".len());
}

#[test]
fn the_table_has_every_word_once_in_order() {
    let names: Vec<_> = WORDS.iter().map(|word| word.name).collect();
    let expected = "conf cons crst dirs dump envi gtmk hash isro mntr ruok srst srvr stat stmk \
        telnet-close wchc wchp wchs";
    let expected: Vec<_> = expected.split(' ').map(|name| name.replace('-', " ")).collect();
    assert_eq!(names, expected);
    for word in WORDS.iter().filter(|word| word.name.len() == 4) {
        assert_eq!(word.name.as_bytes(), word.letters);
    }
}

#[test]
fn without_a_quorum_words_answer_as_upstreams() {
    let not_serving = "This ZooKeeper instance is not currently serving requests";
    for word in WORDS {
        let expected = match word.name {
            "envi" | "gtmk" | "ruok" | "stmk" | "telnet close" => None,
            "hash" => Some(not_serving.to_owned()),
            "isro" => Some("null".to_owned()),
            _ => Some(format!("{not_serving}\n")),
        };
        assert_eq!(word.not_serving, expected.as_deref(), "{}", word.name);
    }
}

#[test]
fn a_word_that_is_not_in_the_whitelist_is_refused_in_upstreams_words() {
    let expected = "mntr is not executed because it is not in the whitelist.\n";
    assert_eq!(four_letter::refusal("mntr"), expected);
}
