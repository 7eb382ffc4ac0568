//! Four-letter words: what an operator types into a bare connection, answered as upstream does.
//!
//! [`WORDS`] is the one list of them. A word is text for people that tools came to parse, so every
//! blank counts; where upstream ends without a newline, so do we.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};

use jute::{OpCode, SessionId};

use super::report::{Connection, Dump, Folder, Reporter, Server, Setup};
use super::{VERSION, java_text, monitor};
use crate::raft::Role;
use crate::server::{Word, Words};
use crate::watch::Summary;

/// What a word that needs a serving server answers without one.
const NOT_SERVING: &str = "This ZooKeeper instance is not currently serving requests\n";
/// What telnet sends when its user breaks off: interrupt process, do timing mark.
const TELNET_BREAK: [u8; 4] = [0xff, 0xf4, 0xff, 0xfd];
/// The trace mask of a new server; nothing but its number is kept, for nothing is traced by it.
///
/// Source: ZooKeeper, `ZooTrace`.
const TRACE_MASK: i64 = 306;

/// A row of [`WORDS`].
pub struct FourLetterWord {
    /// Its name, in the whitelist too.
    pub name: &'static str,
    /// How it comes.
    pub letters: [u8; 4],
    /// What it tells or does.
    pub tells: &'static str,
    /// What is answered by a server that does not serve; `None`: the same as ever.
    pub not_serving: Option<&'static str>,
    answer: fn(&FourLetterWords, &Word<'_>) -> String,
}

/// Every word, in the order of the alphabet.
///
/// Source: ZooKeeper, `FourLetterCommands`, package `server.command`.
pub static WORDS: &[FourLetterWord] = &[
    serving(*b"conf", "conf", "how the server is set up", |words, _| conf(&words.reporter.setup())),
    serving(*b"cons", "cons", "every connection with its session", |words, asked| {
        cons(&words.reporter.connections(asked.outbox))
    }),
    serving(*b"crst", "crst", "forgets what connections have counted", |words, _| {
        words.reporter.replica.connections().iter().for_each(|outbox| outbox.reset_traffic());
        "Connection stats reset.\n".to_owned()
    }),
    serving(*b"dirs", "dirs", "bytes of data and of log", |words, _| {
        let (data, log) = words.reporter.folders();
        dirs(&data, &log)
    }),
    serving(*b"dump", "dump", "sessions, ephemeral nodes, connections", |words, _| {
        dump(&words.reporter.dump())
    }),
    always(*b"envi", "envi", "process and machine", |words, _| envi(&words.reporter.environment())),
    always(*b"gtmk", "gtmk", "the trace mask", |words, _| {
        words.trace_mask.load(Relaxed).to_string()
    }),
    FourLetterWord {
        name: "hash",
        letters: *b"hash",
        tells: "digests of the tree after every 128th transaction; this server keeps none",
        not_serving: Some(NOT_SERVING.trim_ascii_end()),
        answer: |_, _| String::new(),
    },
    FourLetterWord {
        name: "isro",
        letters: *b"isro",
        tells: "whether writes are refused",
        not_serving: Some("null"),
        answer: |words, _| if words.reporter.is_read_only() { "ro" } else { "rw" }.to_owned(),
    },
    serving(*b"mntr", "mntr", "all measurements", |words, _| {
        monitor::mntr(VERSION, &words.reporter.monitor())
    }),
    always(*b"ruok", "ruok", "that the process answers", |_, _| "imok".to_owned()),
    serving(*b"srst", "srst", "forgets what the server has counted", |words, _| {
        words.reporter.replica.stats().reset();
        "Server stats reset.\n".to_owned()
    }),
    serving(*b"srvr", "srvr", "how the server is doing", |words, _| srvr(&words.reporter.server())),
    serving(*b"stat", "stat", "the same with every connection", |words, asked| {
        stat(&words.reporter.server(), &words.reporter.connections(asked.outbox))
    }),
    always(*b"stmk", "stmk", "sets the trace mask to the eight bytes behind it", |words, asked| {
        // Without all of them upstream's reading fails, and the connection ends without a byte.
        let mask = asked.rest.first_chunk().copied().map(i64::from_be_bytes);
        mask.map_or_else(String::new, |mask| {
            words.trace_mask.store(mask, Relaxed);
            mask.to_string()
        })
    }),
    always(TELNET_BREAK, "telnet close", "nothing: the user of telnet wants to leave", |_, _| {
        String::new()
    }),
    serving(*b"wchc", "wchc", "watches of nodes, by session", |words, _| {
        wchc(&words.reporter.watches_by_session())
    }),
    serving(*b"wchp", "wchp", "watches of nodes, by path", |words, _| {
        wchp(&words.reporter.watches_by_path())
    }),
    serving(*b"wchs", "wchs", "how many watches of nodes there are", |words, _| {
        wchs(words.reporter.watch_summary())
    }),
];

/// A word that needs a serving server.
const fn serving(
    letters: [u8; 4],
    name: &'static str,
    tells: &'static str,
    answer: fn(&FourLetterWords, &Word<'_>) -> String,
) -> FourLetterWord {
    FourLetterWord { name, letters, tells, not_serving: Some(NOT_SERVING), answer }
}

/// A word that any server answers.
const fn always(
    letters: [u8; 4],
    name: &'static str,
    tells: &'static str,
    answer: fn(&FourLetterWords, &Word<'_>) -> String,
) -> FourLetterWord {
    FourLetterWord { name, letters, tells, not_serving: None, answer }
}

/// Answers the words.
pub struct FourLetterWords {
    reporter: Reporter,
    trace_mask: AtomicI64,
}

impl FourLetterWords {
    /// Answers with what `reporter` knows.
    pub fn new(reporter: Reporter) -> FourLetterWords {
        FourLetterWords { reporter, trace_mask: AtomicI64::new(TRACE_MASK) }
    }

    fn text(&self, word: &FourLetterWord, asked: &Word<'_>) -> String {
        if !self.reporter.config.four_letter_whitelist.allows(word.name) {
            return refusal(word.name);
        }
        match word.not_serving {
            Some(text) if !self.reporter.is_serving() => text.to_owned(),
            Some(_) | None => (word.answer)(self, asked),
        }
    }
}

impl Words for FourLetterWords {
    /// The answer. A word is a packet that came in, and shows itself in what it tells.
    fn answer(&self, asked: &Word<'_>) -> Option<Vec<u8>> {
        let word = WORDS.iter().find(|word| word.letters == asked.letters)?;
        let stats = self.reporter.replica.stats();
        stats.count_received();
        asked.outbox.count_received();
        let text = self.text(word, asked);
        if !text.is_empty() {
            stats.count_sent(1);
        }
        Some(text.into_bytes())
    }
}

/// What is said instead of a word that is not in the whitelist; health checks look for it.
pub(super) fn refusal(name: &str) -> String {
    format!("{name} is not executed because it is not in the whitelist.\n")
}

pub(super) fn conf(setup: &Setup) -> String {
    let Setup { data, log, .. } = setup;
    let backlog = setup.listen_backlog.map_or(-1, i64::from);
    format!(
        "clientPort={}\nsecureClientPort=-1\ndataDir={}\ndataDirSize={}\ndataLogDir={}\n\
         dataLogSize={}\ntickTime={}\nmaxClientCnxns={}\nminSessionTimeout={}\n\
         maxSessionTimeout={}\nclientPortListenBacklog={backlog}\nserverId=0\n",
        setup.client_port,
        data.path.display(),
        data.bytes,
        log.path.display(),
        log.bytes,
        setup.tick_time_ms,
        setup.max_client_cnxns,
        setup.min_session_timeout_ms,
        setup.max_session_timeout_ms,
    )
}

pub(super) fn dirs(data: &Folder, log: &Folder) -> String {
    format!("datadir_size: {}\nlogdir_size: {}\n", data.bytes, log.bytes)
}

pub(super) fn envi(environment: &[(&'static str, String)]) -> String {
    let mut text = format!("Environment:\nzookeeper.version={VERSION}\n");
    for (key, value) in environment {
        put(&mut text, format_args!("{key}={value}\n"));
    }
    text
}

pub(super) fn srvr(server: &Server) -> String {
    let mut text = String::new();
    put_version(&mut text);
    put_server(&mut text, server);
    text
}

pub(super) fn stat(server: &Server, connections: &[Connection]) -> String {
    let mut text = String::new();
    put_version(&mut text);
    text.push_str("Clients:\n");
    for connection in connections {
        put_brief(&mut text, connection);
        text.push_str(")\n");
    }
    text.push('\n');
    put_server(&mut text, server);
    text
}

pub(super) fn cons(connections: &[Connection]) -> String {
    let mut text = String::new();
    for connection in connections {
        put_brief(&mut text, connection);
        put_session(&mut text, connection);
        text.push_str(")\n");
    }
    text.push('\n');
    text
}

fn put_version(text: &mut String) {
    put(text, format_args!("Zookeeper version: {VERSION}\n"));
}

fn put_server(text: &mut String, server: &Server) {
    let Server { mode, stats, connections, outstanding, zxid, nodes } = server;
    let (min, max) = (stats.latency_min_ms, stats.latency_max_ms);
    let mean = java_text::mean(stats.latency_avg_ms);
    if *mode == Role::ReadOnly {
        text.push_str("READ-ONLY mode; serving only read-only clients\n");
    }
    put(text, format_args!("Latency min/avg/max: {min}/{mean}/{max}\n"));
    put(text, format_args!("Received: {}\nSent: {}\n", stats.received, stats.sent));
    put(text, format_args!("Connections: {connections}\nOutstanding: {outstanding}\n"));
    put(text, format_args!("Zxid: {zxid}\nMode: {}\nNode count: {nodes}\n", mode.name()));
}

/// A connection as `stat` has it, without the bracket at its end.
///
/// The number in square brackets tells what upstream's selector waits for: 1 to read, 4 to write,
/// and nothing on a connection that is to end.
fn put_brief(text: &mut String, connection: &Connection) {
    let interest = match (connection.is_asking, connection.is_behind) {
        (true, _) => 0,
        (false, false) => 1,
        (false, true) => 5,
    };
    let Connection { peer, outstanding, traffic, .. } = connection;
    let (peer, received, sent) = (java_text::address(*peer), traffic.received, traffic.sent);
    put(
        text,
        format_args!(" {peer}[{interest}](queued={outstanding},recved={received},sent={sent}"),
    );
}

/// What `cons` tells of a connection's session.
fn put_session(text: &mut String, connection: &Connection) {
    let Connection { traffic, seat: Some(seat), .. } = connection else { return };
    let operation = traffic.last_op.map_or("NA", OpCode::short_name);
    let (est, to) = (seat.established_ms, seat.timeout_ms);
    put(text, format_args!(",sid={},lop={operation},est={est},to={to}", seat.session));
    if 0 <= traffic.last_xid.0 {
        put(text, format_args!(",lcxid=0x{:x}", traffic.last_xid.0));
    }
    let (zxid, response_ms) = (traffic.last_zxid, traffic.last_response_ms);
    let (latency_ms, max_ms) = (traffic.last_latency_ms, traffic.max_latency_ms);
    let answered = traffic.answered as i64;
    let (min_ms, mean_ms) = match answered {
        0 => (0, 0),
        _ => (traffic.min_latency_ms, traffic.total_latency_ms / answered),
    };
    put(text, format_args!(",lzxid={zxid},lresp={response_ms},llat={latency_ms}"));
    put(text, format_args!(",minlat={min_ms},avglat={mean_ms},maxlat={max_ms}"));
}

pub(super) fn dump(dump: &Dump) -> String {
    let mut text = "SessionTracker dump:\n".to_owned();
    let count: usize = dump.sessions.values().map(Vec::len).sum();
    put(&mut text, format_args!("Session Sets ({})/({count}):\n", dump.sessions.len()));
    for (due_ms, sessions) in &dump.sessions {
        put_due(&mut text, sessions.len(), *due_ms);
        for session in sessions {
            put(&mut text, format_args!("\t{session}\n"));
        }
    }
    text.push_str("ephemeral nodes dump:\n");
    put(&mut text, format_args!("Sessions with Ephemerals ({}):\n", dump.ephemerals.len()));
    for (session, paths) in &dump.ephemerals {
        put(&mut text, format_args!("{session}:\n"));
        for path in paths {
            put(&mut text, format_args!("\t{path}\n"));
        }
    }
    text.push_str("Connections dump:\n");
    let count: usize = dump.connections.values().map(Vec::len).sum();
    put(&mut text, format_args!("Connections Sets ({})/({count}):\n", dump.connections.len()));
    for (due_ms, connections) in &dump.connections {
        put_due(&mut text, connections.len(), *due_ms);
        for (peer, session) in connections {
            let (peer, session) = (java_text::address(*peer), session.unwrap_or(SessionId::NONE));
            put(&mut text, format_args!("\tip: {peer} sessionId: {session}\n"));
        }
    }
    text
}

fn put_due(text: &mut String, count: usize, due_ms: i64) {
    put(text, format_args!("{count} expire at {}:\n", java_text::date(due_ms)));
}

pub(super) fn wchs(summary: Summary) -> String {
    let Summary { connections, paths, watches } = summary;
    format!("{connections} connections watching {paths} paths\nTotal watches:{watches}\n")
}

pub(super) fn wchc(watches: &[(SessionId, Vec<String>)]) -> String {
    let mut text = String::new();
    for (session, paths) in watches {
        put(&mut text, format_args!("{session}\n"));
        for path in paths {
            put(&mut text, format_args!("\t{path}\n"));
        }
    }
    text.push('\n');
    text
}

pub(super) fn wchp(watches: &[(String, Vec<SessionId>)]) -> String {
    let mut text = String::new();
    for (path, sessions) in watches {
        put(&mut text, format_args!("{path}\n"));
        for session in sessions {
            put(&mut text, format_args!("\t{session}\n"));
        }
    }
    text.push('\n');
    text
}

fn put(text: &mut String, more: std::fmt::Arguments<'_>) {
    // Writing to a string cannot fail.
    let _ = text.write_fmt(more);
}
