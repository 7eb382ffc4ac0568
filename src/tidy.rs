//! What `cargo test` holds the house itself to: the arrows between rooms, one door per dependency,
//! rooms that stay pure, files that introduce themselves and stay short.
//!
//! It reads the source text, never the compiled program, and knows just enough of Rust to tell code
//! from comments and strings.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// A room: its name, and the rooms above it that it may use.
type Room = (&'static str, &'static [&'static str]);

/// Every room. An arrow may only point upwards in this list, and only to a room that is named.
const ROOMS: &[Room] = &[
    ("jute", &[]),
    ("clock", &[]),
    ("metrics", &[]),
    ("config", &["jute"]),
    ("tree", &["jute"]),
    ("watch", &["jute", "tree"]),
    ("session", &["jute", "tree"]),
    ("net", &["jute", "clock", "metrics", "config"]),
    ("store", &["jute", "clock", "metrics", "config", "tree"]),
    ("replica", &["jute", "clock", "metrics", "tree", "watch", "session"]),
    ("raft", ALL),
    ("server", ALL),
    ("admin", ALL),
    ("migrate", &["jute", "config", "tree", "store"]),
    ("cli", ALL),
    ("main", ALL),
];

/// Every room above.
const ALL: &[&str] = &["*"];

/// Paths outside this repository that only certain rooms may name.
const DOORS: &[Room] = &[
    ("nom", &["jute"]),
    ("std::time::Instant", &["clock"]),
    ("std::time::SystemTime", &["clock"]),
    ("metrics", &["metrics"]),
    ("metrics_exporter_prometheus", &["metrics"]),
    ("hashbrown", &["tree", "watch"]),
    ("tokio::net", &["net"]),
    ("rustix", &["net", "store"]),
    ("socket2", &["net"]),
    ("rustls", &["net"]),
    ("tokio_rustls", &["net"]),
    ("rocksdb", &["store"]),
    ("crc32c", &["store"]),
    // Locks: what connections share. The rooms of the heart have none.
    ("parking_lot", &["net", "replica", "raft", "server", "main"]),
    ("openraft", &["raft"]),
    ("openraft_macros", &["raft"]),
    ("openraft_rt", &["raft"]),
    ("openraft_rt_tokio", &["raft"]),
    ("axum", &["admin"]),
    ("clap", &["cli"]),
    ("tracing_subscriber", &["main"]),
];

/// Rooms that take values and return values.
const PURE: &[&str] = &["jute", "tree", "watch", "session"];

/// What no pure room may name: whatever waits, looks at the world or tells it something.
const IMPURE: &[&str] = &[
    "getrandom",
    "parking_lot",
    "rand",
    "std::env",
    "std::fs",
    "std::io",
    "std::process",
    "std::sync::Mutex",
    "std::sync::RwLock",
    "std::thread",
    "std::time",
    "tokio",
    "tracing",
];

/// A file that outgrows this is usually two.
const LINES_MAX: usize = 700;

/// A file of the source, without its comments and the insides of its strings.
struct Source {
    path: String,
    room: String,
    text: String,
    tokens: Vec<String>,
}

/// The clone that is tested; the one that was built from may be another, since clones share that.
fn root() -> PathBuf {
    let running = std::env::var_os("CARGO_MANIFEST_DIR");
    running.map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from)
}

fn sources() -> Vec<Source> {
    let root = root();
    let mut files = Vec::new();
    for top in ["src", "jute/src"] {
        collect(&root.join(top), &mut files);
    }
    files.sort();
    assert!(files.len() > 20, "only {} files were found", files.len());
    let read = |file: PathBuf| {
        let path = file.strip_prefix(&root).expect("it was found below").display().to_string();
        let text = fs::read_to_string(&file).expect("a source file can be read");
        let room = room_of(&path).to_owned();
        Source { path, room, tokens: tokens(&text), text }
    };
    files.into_iter().map(read).collect()
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder of the source can be read") {
        let path = entry.expect("its entries too").path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

/// The room a file lies in. `lib.rs` and this file stand where everything is in sight.
fn room_of(path: &str) -> &str {
    let mut parts = path.split('/');
    match (parts.next(), parts.next()) {
        (Some("jute"), _) => "jute",
        (_, Some("lib.rs" | "main.rs" | "tidy.rs")) => "main",
        (_, Some(room)) => room.strip_suffix(".rs").unwrap_or(room),
        (_, None) => "",
    }
}

/// Names and signs of the code, in order; `::` is one sign.
fn tokens(text: &str) -> Vec<String> {
    let mut tokens = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let length = skipped(rest);
        if length > 0 {
            rest = &rest[length..];
            continue;
        }
        let is_name = |character: char| character.is_alphanumeric() || character == '_';
        let length = if is_name(first) {
            rest.find(|character| !is_name(character)).unwrap_or(rest.len())
        } else if rest.starts_with("::") {
            2
        } else {
            first.len_utf8()
        };
        let (token, after) = rest.split_at(length);
        if !first.is_whitespace() {
            tokens.push(token.to_owned());
        }
        rest = after;
    }
    tokens
}

/// How many bytes of a comment, a string or a character begin here; 0 if it is something else.
fn skipped(rest: &str) -> usize {
    let through = |start: usize, end: &str| {
        rest[start..].find(end).map_or(rest.len(), |found| start + found + end.len())
    };
    if rest.starts_with("//") {
        return through(2, "\n");
    }
    if rest.starts_with("/*") {
        return through(2, "*/");
    }
    if let Some(raw) = rest.strip_prefix('r') {
        let hashes = raw.len() - raw.trim_start_matches('#').len();
        if raw[hashes..].starts_with('"') {
            return through(hashes + 2, &format!("\"{}", "#".repeat(hashes)));
        }
    }
    if rest.starts_with('"') {
        return quoted(rest, '"');
    }
    // A quote is a character if it is closed after one, and a lifetime otherwise.
    let mut characters = rest.chars().skip(1);
    match (rest.starts_with('\''), characters.next(), characters.next()) {
        (true, Some('\\'), _) | (true, Some(_), Some('\'')) => quoted(rest, '\''),
        _ => 0,
    }
}

/// The length of what begins and ends with `quote`, with escapes inside.
fn quoted(rest: &str, quote: char) -> usize {
    let mut is_escaped = false;
    for (position, character) in rest.char_indices().skip(1) {
        if character == quote && !is_escaped {
            return position + quote.len_utf8();
        }
        is_escaped = character == '\\' && !is_escaped;
    }
    rest.len()
}

/// Every path that the code names, groups of `use` spelled out: `a::{b, c::d}` is two.
fn paths(tokens: &[String]) -> BTreeSet<String> {
    let mut paths = BTreeSet::new();
    let mut position = 0;
    while position < tokens.len() {
        position = path(tokens, position, "", &mut paths);
    }
    paths
}

/// Reads the path that begins at `start`, after `prefix`, and returns where it ends.
fn path(tokens: &[String], start: usize, prefix: &str, paths: &mut BTreeSet<String>) -> usize {
    let mut position = start;
    let mut path = prefix.to_owned();
    while let Some(token) = tokens.get(position) {
        position += 1;
        if token == "{" && !path.is_empty() {
            while tokens.get(position).is_some_and(|token| token != "}") {
                position = self::path(tokens, position, &path, paths);
            }
            return position + 1;
        }
        if token.chars().all(|character| character.is_alphanumeric() || character == '_') {
            path.push_str(token);
        }
        if tokens.get(position).is_none_or(|next| next != "::") {
            break;
        }
        path.push_str("::");
        position += 1;
    }
    paths.insert(path);
    position
}

/// Asserts that there are no complaints, and shows them all otherwise.
fn assert_none(complaints: &[String]) {
    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
}

#[test]
fn every_file_lies_in_a_room_that_the_map_names() {
    let map = root().join("ARCHITECTURE.md");
    let map = fs::read_to_string(map).expect("ARCHITECTURE.md is the map of the house");
    let mut complaints = Vec::new();
    for Source { path, room, .. } in sources() {
        if !ROOMS.iter().any(|(name, _)| *name == room) {
            complaints.push(format!("{path}: {room:?} is no room"));
        } else if !map.contains(&format!("`{room}`")) && !map.contains(&format!("`{room}/`")) {
            complaints.push(format!("{path}: ARCHITECTURE.md does not name `{room}`"));
        }
    }
    assert_none(&complaints);
}

#[test]
fn arrows_between_rooms_point_upwards() {
    let mut complaints = Vec::new();
    for Source { path, room, tokens, .. } in sources() {
        let Some(place) = ROOMS.iter().position(|(name, _)| *name == room) else { continue };
        let (above, may_use) = (&ROOMS[..place], ROOMS[place].1);
        for named in paths(&tokens) {
            let target = match named.split_once("::") {
                Some(("crate", rest)) if room != "jute" => rest.split("::").next(),
                Some(("jute" | "rookeeper", _)) => Some("jute"),
                _ => None,
            };
            let Some(target) = target.filter(|target| *target != room) else { continue };
            // What is no room stands in `lib.rs`, in the open.
            let is_room = ROOMS.iter().any(|(name, _)| *name == target);
            let is_above = above.iter().any(|(name, _)| *name == target);
            let is_named = may_use == ALL || may_use.contains(&target);
            if is_room && !(is_above && is_named) {
                complaints.push(format!("{path}: {room} may not use {target}: {named}"));
            }
        }
    }
    assert_none(&complaints);
}

#[test]
fn a_dependency_is_used_through_its_own_door() {
    let mut complaints = Vec::new();
    for Source { path, room, tokens, .. } in sources() {
        let named = paths(&tokens);
        for (door, rooms) in DOORS {
            // `use crate::metrics` gives the room's name to the whole file.
            let is_hidden = named.contains(&format!("crate::{door}"));
            let through = named.iter().find(|path| is_below(path, door));
            if let Some(named) = through.filter(|_| !is_hidden && !rooms.contains(&&*room)) {
                complaints.push(format!("{path}: {door} is for {rooms:?} only: {named}"));
            }
        }
    }
    assert_none(&complaints);
}

/// Whether a path is the other one, or something in it.
fn is_below(path: &str, other: &str) -> bool {
    path.strip_prefix(other).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
        // A lone name without a path is a variable.
        && path.contains("::")
}

#[test]
fn pure_rooms_neither_wait_nor_look_at_the_world() {
    let mut complaints = Vec::new();
    for Source { path, room, tokens, .. } in sources() {
        if !PURE.contains(&&*room) {
            continue;
        }
        let named = paths(&tokens);
        for impure in IMPURE {
            if let Some(named) = named.iter().find(|path| is_below(path, impure)) {
                complaints.push(format!("{path}: a pure room may not use {named}"));
            }
        }
        for word in ["async", "await"] {
            if tokens.iter().any(|token| token == word) {
                complaints.push(format!("{path}: a pure room has nothing {word}"));
            }
        }
        // Their order differs from server to server.
        for word in ["HashMap", "HashSet"] {
            if room == "tree" && tokens.iter().any(|token| token == word) {
                complaints.push(format!("{path}: the tree iterates over ordered collections"));
            }
        }
    }
    assert_none(&complaints);
}

#[test]
fn every_file_introduces_itself_and_stays_short() {
    let mut complaints = Vec::new();
    for Source { path, text, .. } in sources() {
        if !text.starts_with("//! ") {
            complaints.push(format!("{path}: the first line says what the file is for: `//! …`"));
        }
        let lines = text.lines().count();
        if lines > LINES_MAX {
            complaints.push(format!("{path}: {lines} lines; above {LINES_MAX} it is two files"));
        }
    }
    assert_none(&complaints);
}

#[test]
fn nothing_is_left_for_later() {
    // In two parts each, so that this file does not hold them.
    let words = [("TO", "DO"), ("FIX", "ME"), ("#[ign", "ore"), ("unimplem", "ented!")];
    let mut complaints = Vec::new();
    for Source { path, text, .. } in sources() {
        for word in words.map(|(start, end)| format!("{start}{end}")) {
            // A test that another one starts as its child process does not run by itself.
            let is_left = |line: &str| {
                line.contains(&word) && !line.contains("the child process of another test")
            };
            for (number, _) in text.lines().enumerate().filter(|(_, line)| is_left(line)) {
                complaints.push(format!("{path}:{}: {word}", number + 1));
            }
        }
    }
    assert_none(&complaints);
}

#[test]
fn code_is_told_from_comments_strings_and_lifetimes() {
    let text = r##"
        // use crate::no;
        use crate::{config::limits, tree::{self, Path}}; /* crate::no::x */
        fn f<'a>(x: &'a str) -> char { let _ = ("crate::no", r#"crate::no "x"#, '"', '\''); tokio::net::x() }
        const E: [char; 2] = ['é', 'x']; "unclosed \" crate::no"
    "##;
    let found = paths(&tokens(text));
    let expected =
        ["crate::config::limits", "crate::tree::self", "crate::tree::Path", "tokio::net::x"];
    for path in expected {
        assert!(found.contains(path), "{path} is not among {found:?}");
    }
    assert!(!found.iter().any(|path| path.contains("no")), "{found:?}");
    assert!(is_below("std::time::Instant::now", "std::time") && !is_below("time", "time"));
    assert!(!is_below("std::timeout::x", "std::time"));
}
