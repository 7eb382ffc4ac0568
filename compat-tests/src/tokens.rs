//! Cuts a line into values: bare words, quoted text, `hex:…`, `null`, and `key=value` of these.

use anyhow::{Result, bail, ensure};

/// One value, as written.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Value {
    /// `null`.
    Null,
    /// A word without quotes.
    Bare(String),
    /// Text in quotes, its escapes resolved; `"x"*3` is `"xxx"`.
    Quoted(Vec<u8>),
    /// `hex:00ff`.
    Hex(Vec<u8>),
}

/// One token: a value, perhaps with a name in front.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Token {
    /// What stands before `=`.
    pub key: Option<String>,
    /// The value.
    pub value: Value,
}

/// Cuts `line` into tokens.
///
/// # Errors
///
/// An unclosed quote, an unknown escape or odd hexadecimal digits.
pub fn tokenize(line: &str) -> Result<Vec<Token>> {
    let mut tokens = Vec::new();
    let mut rest = line.trim_start();
    while !rest.is_empty() {
        let key_bytes = rest.bytes().take_while(u8::is_ascii_alphanumeric).count();
        let mut key = None;
        if let Some((name, after)) = rest.split_at_checked(key_bytes)
            && !name.is_empty()
            && let Some(after) = after.strip_prefix('=')
        {
            key = Some(name.to_owned());
            rest = after;
        }
        let (value, after) = value(rest)?;
        ensure!(
            after.is_empty() || after.starts_with(char::is_whitespace),
            "no space before '{after}'"
        );
        tokens.push(Token { key, value });
        rest = after.trim_start();
    }
    Ok(tokens)
}

/// Reads one value off the front of `rest`; gives what follows, too.
fn value(rest: &str) -> Result<(Value, &str)> {
    if let Some(inside) = rest.strip_prefix('"') {
        let (bytes, after) = quoted(inside)?;
        let Some(after) = after.strip_prefix('*') else {
            return Ok((Value::Quoted(bytes), after));
        };
        let end = after.find(char::is_whitespace).unwrap_or(after.len());
        let (times, after) = after.split_at(end);
        return Ok((Value::Quoted(bytes.repeat(times.parse()?)), after));
    }
    let end = rest.find(char::is_whitespace).unwrap_or(rest.len());
    let (word, after) = rest.split_at(end);
    let value = match word.strip_prefix("hex:") {
        Some(digits) => Value::Hex(hex(digits)?),
        None if word == "null" => Value::Null,
        None => Value::Bare(word.to_owned()),
    };
    Ok((value, after))
}

/// Reads the inside of a quoted text up to its closing quote; gives what follows, too.
fn quoted(inside: &str) -> Result<(Vec<u8>, &str)> {
    let mut bytes = Vec::new();
    let mut rest = inside;
    while let Some(next) = rest.chars().next() {
        rest = rest.strip_prefix(next).unwrap_or_default();
        match next {
            '"' => return Ok((bytes, rest)),
            '\\' => rest = escape(rest, &mut bytes)?,
            _ => bytes.extend(next.to_string().bytes()),
        }
    }
    bail!("the quote is never closed: \"{inside}")
}

/// Resolves the escape that `rest` starts with.
fn escape<'a>(rest: &'a str, bytes: &mut Vec<u8>) -> Result<&'a str> {
    if let Some(rest) = rest.strip_prefix("u{") {
        let Some((digits, rest)) = rest.split_once('}') else { bail!("unclosed \\u{{") };
        let Some(char) = char::from_u32(u32::from_str_radix(digits, 16)?) else {
            bail!("\\u{{{digits}}} is no character")
        };
        bytes.extend(char.to_string().bytes());
        return Ok(rest);
    }
    let (byte, rest) = match rest.split_at_checked(1) {
        Some(("n", rest)) => (b'\n', rest),
        Some(("t", rest)) => (b'\t', rest),
        Some(("0", rest)) => (0, rest),
        Some(("\"", rest)) => (b'"', rest),
        Some(("\\", rest)) => (b'\\', rest),
        _ => bail!("unknown escape: \\{rest}"),
    };
    bytes.push(byte);
    Ok(rest)
}

/// Reads hexadecimal digits, two a byte.
///
/// # Errors
///
/// Anything else.
pub fn hex(digits: &str) -> Result<Vec<u8>> {
    ensure!(digits.len().is_multiple_of(2), "odd number of hexadecimal digits: {digits}");
    digits
        .as_bytes()
        .chunks(2)
        .map(|pair| Ok(u8::from_str_radix(str::from_utf8(pair)?, 16)?))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_cut_at_spaces_outside_quotes() {
        let tokens =
            tokenize(r#"create ~/a "x \"y\"\u{e9}" acl=31:world:anyone data=null"#).unwrap();

        let values: Vec<Value> = tokens.iter().map(|token| token.value.clone()).collect();
        assert_eq!(values[0], Value::Bare("create".into()));
        assert_eq!(values[2], Value::Quoted("x \"y\"é".into()));
        assert_eq!(values[3], Value::Bare("31:world:anyone".into()));
        assert_eq!(tokens[3].key.as_deref(), Some("acl"));
        assert_eq!(values[4], Value::Null);
    }

    #[test]
    fn a_base64_tail_is_no_key() {
        let tokens = tokenize("~/a=b digest:u:abc=").unwrap();
        assert_eq!(tokens[0].key, None);
        assert_eq!(tokens[1].value, Value::Bare("digest:u:abc=".into()));
    }

    #[test]
    fn text_is_repeated_and_bytes_are_hexadecimal() {
        assert_eq!(tokenize(r#""ab"*3"#).unwrap()[0].value, Value::Quoted("ababab".into()));
        assert_eq!(tokenize("hex:00fF").unwrap()[0].value, Value::Hex(vec![0, 255]));
    }

    #[test]
    fn what_cannot_be_read_is_refused() {
        for line in [r#""open"#, r#""\q""#, "hex:0", "hex:0g", r#""a"b"#, r#""\u{d800}""#] {
            assert!(tokenize(line).is_err(), "{line}");
        }
    }
}
