//! Asks a four-letter word and writes down the answer.
//!
//! Numbers, addresses and versions differ from run to run and from machine to machine, so unless a
//! script says `exact` only the shape of the answer is kept: `#` stands for a number.

use std::time::Duration;

use anyhow::Result;
use bytes::BytesMut;

use crate::control::now;
use crate::engine::{Engine, Received};
use crate::names::Names;
use crate::script::Word;

/// How long the whole answer may take.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// Sends the word on a new connection and gives the answer's lines, each behind `| `.
///
/// # Errors
///
/// No connection.
pub fn ask(word: &Word, engine: &mut dyn Engine, names: &Names) -> Result<Vec<String>> {
    let mut wire = engine.dial()?;
    wire.send(&word.bytes);
    let mut answer = BytesMut::new();
    let deadline = now() + ANSWER_TIMEOUT;
    let is_closed = loop {
        let left = deadline.saturating_duration_since(now());
        match wire.receive(&mut answer, left) {
            Received::End => break true,
            Received::Nothing if now() >= deadline => break false,
            Received::Nothing | Received::Bytes => {}
        }
    };
    let mut lines = shape(word, &String::from_utf8_lossy(&answer), names);
    if answer.is_empty() {
        lines.push("| (nothing)".to_owned());
    }
    if !is_closed {
        lines.push("| (the connection stays open)".to_owned());
    }
    Ok(lines)
}

/// What is kept of `answer`.
fn shape(word: &Word, answer: &str, names: &Names) -> Vec<String> {
    let mut lines: Vec<String> = answer
        .lines()
        .map(|line| named(line, names))
        .filter(|line| match &word.only {
            None => true,
            Some(only) => only.iter().any(|wanted| wanted == key(line)),
        })
        .map(|line| {
            let line = if word.keys { key(&line).to_owned() } else { line };
            let line = if word.exact { line } else { masked(&line) };
            format!("| {}", line.replace('\t', "\\t")).trim_end().to_owned()
        })
        .collect();
    if word.sorted {
        lines.sort();
    }
    if word.only.is_none()
        && !answer.ends_with('\n')
        && let Some(last) = lines.last_mut()
    {
        last.push_str(" (no newline)");
    }
    lines
}

/// What stands before the first `=`, tab or colon, an indentation apart.
fn key(line: &str) -> &str {
    let line = line.trim_start_matches('\t');
    line.split(['=', '\t', ':']).next().unwrap_or(line)
}

/// `line` with names in place of sessions, zxids and the root node.
fn named(line: &str, names: &Names) -> String {
    let mut line = names.shorten(line);
    for session in names.sessions() {
        line = line.replace(&format!("0x{:x}", session.id), &format!("<{}>", session.name));
    }
    match line.strip_prefix("Zxid: 0x").map(|digits| i64::from_str_radix(digits, 16)) {
        Some(Ok(zxid)) => format!("Zxid: {}", names.zxid_name(zxid)),
        _ => line,
    }
}

/// `line` with `#` in place of every number that is not part of a word.
fn masked(line: &str) -> String {
    if let Some((name, _)) = line.split_once(':')
        && name.ends_with("version")
    {
        return format!("{name}: *");
    }
    let mut out = String::new();
    let mut rest = line;
    while let Some(first) = rest.chars().next() {
        let is_in_word = out.ends_with(|char: char| char.is_alphanumeric() || char == '_');
        let length = if is_in_word { 0 } else { number_length(rest) };
        if length > 0 {
            out.push('#');
            rest = rest.get(length..).unwrap_or_default();
        } else {
            out.push(first);
            rest = rest.get(first.len_utf8()..).unwrap_or_default();
        }
    }
    out
}

/// How long the number at the start of `text` is: hexadecimal, or decimal with fractions.
fn number_length(text: &str) -> usize {
    let run = |text: &str, is_part: fn(char) -> bool| {
        text.find(|char| !is_part(char)).unwrap_or(text.len())
    };
    if let Some(digits) = text.strip_prefix("0x") {
        return 2 + run(digits, |char| char.is_ascii_hexdigit());
    }
    if text.starts_with(|char: char| char.is_ascii_digit()) {
        let length = run(text, |char| char.is_ascii_digit() || char == '.');
        return text.get(..length).map_or(0, |number| number.trim_end_matches('.').len());
    }
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn word(only: Option<&str>, exact: bool) -> Word {
        Word {
            bytes: b"test".to_vec(),
            only: only.map(|only| vec![only.to_owned()]),
            exact,
            keys: false,
            sorted: false,
        }
    }

    #[test]
    fn the_shape_keeps_words_and_masks_numbers() {
        let names = Names::new("/r1", 0x10);
        let lines = shape(
            &word(None, false),
            "Latency min/avg/max: 0/0.5/12\nZookeeper version: 3.9.5-abc\nZxid: 0x12\nzk_p99 7\n",
            &names,
        );
        assert_eq!(
            lines,
            ["| Latency min/avg/max: #/#/#", "| Zookeeper version: *", "| Zxid: z2", "| zk_p99 #"]
        );
    }

    #[test]
    fn exact_lines_keep_their_numbers_and_a_missing_newline_is_told() {
        let names = Names::new("/r1", 0x10);
        assert_eq!(shape(&word(None, true), "imok", &names), ["| imok (no newline)"]);
        let mntr = "zk_version\t3\nzk_znode_count\t5\n";
        assert_eq!(
            shape(&word(Some("zk_znode_count"), true), mntr, &names),
            ["| zk_znode_count\\t5"]
        );
    }
}
