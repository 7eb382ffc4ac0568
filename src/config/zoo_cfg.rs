//! The text of `zoo.cfg`: a `java.util.Properties` file, read as ZooKeeper reads it.
//!
//! This module knows lines, separators and escapes; it never knows a key. The bytes of the file
//! are ISO-8859-1 ([`decode`]); characters beyond it are written `\uXXXX`.
//!
//! Source: the format described at `java.util.Properties.load`, and ZooKeeper's
//! `QuorumPeerConfig.parseProperties`, which trims keys and values.

/// One `key=value`, unescaped and trimmed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Entry {
    /// The line it starts on, counted from 1.
    pub line: usize,
    /// The key; may be empty, as in a line `=x`.
    pub key: String,
    /// The value; may be empty.
    pub value: String,
}

/// An escape that stands for no character.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct BadEscape {
    /// The line the entry starts on, counted from 1.
    pub line: usize,
    /// What is wrong with it.
    pub problem: &'static str,
}

const BAD_HEX: &str = "\\u is not followed by four hexadecimal digits";
const LONE_SURROGATE: &str = "\\u names one half of a surrogate pair";

/// Decodes ISO-8859-1, in which every byte is the character of the same number.
pub fn decode(bytes: &[u8]) -> String {
    bytes.iter().copied().map(char::from).collect()
}

/// Reads all entries in the order of the file; a key may come more than once.
///
/// # Errors
///
/// [`BadEscape`]: a `\u` without four hexadecimal digits (ZooKeeper refuses the file as well), or
/// one half of a surrogate pair alone, which is no character.
pub fn parse(text: &str) -> Result<Vec<Entry>, BadEscape> {
    logical_lines(text).into_iter().map(|logical| entry(&logical)).collect()
}

/// A line with its continuations joined; comments and blank lines have none.
struct Logical {
    line: usize,
    text: Vec<char>,
}

/// Joins continued lines and drops comments and blank lines.
///
/// A backslash continues a line when the number of backslashes before its end is odd. Blanks at
/// the start of a line are dropped, continued or not. A comment is never continued, but a line that
/// follows a continuation is not a comment even if it begins with `#`.
fn logical_lines(text: &str) -> Vec<Logical> {
    let mut found = Vec::new();
    let mut pending: Option<Logical> = None;
    for (index, natural) in natural_lines(text).enumerate() {
        let body = natural.trim_start_matches(is_blank);
        let fresh = pending.as_ref().is_none_or(|logical| logical.text.is_empty());
        if fresh && body.starts_with(['#', '!']) {
            continue;
        }
        if pending.is_none() && body.is_empty() {
            continue;
        }
        let backslashes = body.chars().rev().take_while(|c| *c == '\\').count();
        let continued = backslashes % 2 == 1;
        let kept = if continued { body.strip_suffix('\\').unwrap_or(body) } else { body };

        let logical = pending.get_or_insert(Logical { line: index + 1, text: Vec::new() });
        if logical.text.is_empty() {
            logical.line = index + 1;
        }
        logical.text.extend(kept.chars());
        if !continued {
            found.extend(pending.take());
        }
    }
    found.extend(pending); // A backslash at the end of the file continues into nothing.
    found.retain(|logical| !logical.text.is_empty());
    found
}

/// Splits at `\n`, `\r` and `\r\n`.
fn natural_lines(text: &str) -> impl Iterator<Item = &str> {
    text.split('\n').flat_map(|line| line.strip_suffix('\r').unwrap_or(line).split('\r'))
}

/// Blanks inside a line, as `java.util.Properties` sees them.
fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\u{c}')
}

/// Splits a logical line at the first separator that is not escaped.
///
/// The separator is blanks with at most one `=` or `:` among them.
fn entry(logical: &Logical) -> Result<Entry, BadEscape> {
    let mut escaped = false;
    let key_chars = logical
        .text
        .iter()
        .take_while(|c| {
            let ends_key = !escaped && (matches!(**c, '=' | ':') || is_blank(**c));
            escaped = **c == '\\' && !escaped;
            !ends_key
        })
        .count();
    let (key, rest) = logical.text.split_at_checked(key_chars).unwrap_or((&logical.text, &[]));
    let mut separated = false;
    let separator_chars = rest
        .iter()
        .take_while(|c| {
            let first_sign = !separated && matches!(**c, '=' | ':');
            separated |= first_sign;
            first_sign || is_blank(**c)
        })
        .count();
    let value = rest.get(separator_chars..).unwrap_or_default();

    let line = logical.line;
    Ok(Entry { line, key: unescape(key, line)?, value: unescape(value, line)? })
}

/// Resolves backslashes, then trims as `java.lang.String.trim` does: all characters up to U+0020.
fn unescape(text: &[char], line: usize) -> Result<String, BadEscape> {
    let mut units = Vec::with_capacity(text.len());
    let mut rest = text.iter().copied();
    while let Some(c) = rest.next() {
        let unescaped = if c == '\\' { rest.next() } else { Some(c) };
        let escaped = c == '\\';
        match unescaped {
            Some('u') if escaped => {
                units.push(hex_unit(&mut rest).ok_or(BadEscape { line, problem: BAD_HEX })?);
            }
            Some(letter) if escaped => push(&mut units, control(letter)),
            Some(plain) => push(&mut units, plain),
            None => {}
        }
    }
    let text =
        String::from_utf16(&units).map_err(|_| BadEscape { line, problem: LONE_SURROGATE })?;
    Ok(text.trim_matches(|c: char| c <= ' ').to_owned())
}

/// What a backslash and `letter` stand for; most letters stand for themselves.
const fn control(letter: char) -> char {
    match letter {
        't' => '\t',
        'n' => '\n',
        'r' => '\r',
        'f' => '\u{c}',
        other => other,
    }
}

/// Appends `c` in UTF-16, the alphabet of `\u`.
fn push(units: &mut Vec<u16>, c: char) {
    units.extend_from_slice(c.encode_utf16(&mut [0; 2]));
}

/// Reads the four digits after `\u`.
fn hex_unit(rest: &mut impl Iterator<Item = char>) -> Option<u16> {
    let mut unit = 0;
    for _ in 0..4 {
        let digit = rest.next()?.to_digit(16)?;
        unit = unit << 4 | u16::try_from(digit).ok()?;
    }
    Some(unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(text: &str) -> Vec<(String, String)> {
        let entries = parse(text).unwrap_or_else(|error| panic!("{text:?} gave {error:?}"));
        entries.into_iter().map(|entry| (entry.key, entry.value)).collect()
    }

    /// Each result was taken from `java.util.Properties`.
    #[test]
    fn lines_are_split_joined_and_unescaped_as_java_does_it() {
        let cases: &[(&str, &[(&str, &str)])] = &[
            ("tickTime=2000\n", &[("tickTime", "2000")]),
            ("tickTime:2000", &[("tickTime", "2000")]),
            ("tickTime 2000", &[("tickTime", "2000")]),
            ("  a \t=\x0c b c \n", &[("a", "b c")]),
            ("a==b", &[("a", "=b")]),
            ("a : = b", &[("a", "= b")]),
            ("a", &[("a", "")]),
            ("=x", &[("", "x")]),
            ("a=2000 # no comment", &[("a", "2000 # no comment")]),
            ("# c\n ! c\\\na=1\n\n   \n", &[("a", "1")]),
            ("a=1\r\nb=2\rc=3\n", &[("a", "1"), ("b", "2"), ("c", "3")]),
            ("a=1,\\\n    2,\\\r\n\t3\nb=4", &[("a", "1,2,3"), ("b", "4")]),
            ("a=1\\\n#2\n", &[("a", "1#2")]),
            ("\\\n# c\na=1", &[("a", "1")]),
            ("a=1\\\n\nb=2", &[("a", "1"), ("b", "2")]),
            ("a=C:\\\\data\\\\zk", &[("a", "C:\\data\\zk")]),
            ("a=C:\\data", &[("a", "C:data")]),
            ("a=1\\\\\nb=2", &[("a", "1\\"), ("b", "2")]),
            ("a\\=b\\:c\\ d=e", &[("a=b:c d", "e")]),
            ("a=x\\ty\\nz\\u0041\\u00e4", &[("a", "x\ty\nzA\u{e4}")]),
            ("a=\\ud83d\\ude00", &[("a", "\u{1f600}")]),
            ("a=\\ x\\t", &[("a", "x")]),
            ("a=1\\", &[("a", "1")]),
            ("a=1\na=2", &[("a", "1"), ("a", "2")]),
            ("", &[]),
        ];
        for (text, expected) in cases {
            let expected: Vec<(String, String)> =
                expected.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
            assert_eq!(pairs(text), expected, "{text:?}");
        }
    }

    #[test]
    fn an_entry_knows_the_line_it_starts_on() {
        let entries = parse("# one\r\n\r\na=1\\\r\n  2\r\n\\\nb=3").unwrap();

        let lines: Vec<(usize, &str)> = entries.iter().map(|e| (e.line, e.key.as_str())).collect();
        assert_eq!(lines, [(3, "a"), (6, "b")]);
    }

    #[test]
    fn an_escape_that_is_no_character_is_refused_with_its_line() {
        let cases = [
            ("x=1\na=\\u12g4", 2, BAD_HEX),
            ("a=\\u12", 1, BAD_HEX),
            ("a\\u=1", 1, BAD_HEX),
            ("a=C:\\users", 1, BAD_HEX),
            ("a=\\ud83d", 1, LONE_SURROGATE),
        ];
        for (text, line, problem) in cases {
            assert_eq!(parse(text), Err(BadEscape { line, problem }), "{text:?}");
        }
    }

    #[test]
    fn every_byte_is_a_character() {
        let all: Vec<u8> = (0..=255).collect();

        let text = decode(&all);

        assert!(text.chars().map(u32::from).eq(0..=255));
    }
}
