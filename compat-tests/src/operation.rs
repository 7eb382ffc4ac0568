//! Operations as they are written in scripts, and the bytes that they become.
//!
//! The fields of every request are listed here a second time, apart from `jute::request`, so that
//! a mistake in the crate that the server reads with cannot hide behind the same mistake here.

use anyhow::{Context, Result, anyhow, bail, ensure};
use bytes::{BufMut, BytesMut};
use jute::{Encode, OPCODES};

use crate::names::Names;
use crate::tokens::{Token, Value};

/// A piece of a request; names in it are resolved when it is sent.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Atom {
    /// A 32-bit integer.
    I32(i32),
    /// A 64-bit integer.
    I64(i64),
    /// One byte, 0 or 1.
    Bool(bool),
    /// A string; `~` in it is the script's root node.
    Text(Option<String>),
    /// A buffer.
    Buffer(Option<Vec<u8>>),
    /// These bytes.
    Raw(Vec<u8>),
    /// A zxid by its name.
    Zxid(String),
}

impl Atom {
    /// Appends the atom to `out`.
    ///
    /// # Errors
    ///
    /// A name that stands for nothing yet.
    pub fn put(&self, names: &Names, out: &mut BytesMut) -> Result<()> {
        match self {
            Atom::I32(value) => value.encode(out),
            Atom::I64(value) => value.encode(out),
            Atom::Bool(value) => value.encode(out),
            Atom::Text(text) => text.as_deref().map(|text| names.path(text)).encode(out),
            Atom::Buffer(bytes) => bytes.as_deref().encode(out),
            Atom::Raw(bytes) => out.put_slice(bytes),
            Atom::Zxid(name) => names.zxid_value(name)?.encode(out),
        }
        Ok(())
    }
}

/// An operation: what it is called in the script, its number, and its body.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Operation {
    /// As written, which is upstream's name or `op` and a number.
    pub name: String,
    /// The number on the wire.
    pub number: i32,
    /// The record that follows the header.
    pub body: Vec<Atom>,
}

/// What follows an operation's name.
#[derive(Debug, Default)]
pub struct Args {
    tokens: Vec<Token>,
}

impl Args {
    /// The rest of a line.
    pub fn new(tokens: Vec<Token>) -> Args {
        Args { tokens }
    }

    /// Takes the next token without a key.
    pub fn value(&mut self) -> Option<Value> {
        let index = self.tokens.iter().position(|token| token.key.is_none())?;
        Some(self.tokens.remove(index).value)
    }

    /// Takes the next token without a key, if it is a bare word.
    pub fn word(&mut self) -> Option<String> {
        let is_bare = |token: &Token| token.key.is_none() && matches!(token.value, Value::Bare(_));
        let index = self.tokens.iter().position(is_bare)?;
        match self.tokens.remove(index).value {
            Value::Bare(word) => Some(word),
            Value::Null | Value::Quoted(_) | Value::Hex(_) => None,
        }
    }

    /// Takes the bare word `wanted`, if it is there.
    pub fn flag(&mut self, wanted: &str) -> bool {
        let is_wanted =
            |token: &Token| token.key.is_none() && token.value == Value::Bare(wanted.to_owned());
        match self.tokens.iter().position(is_wanted) {
            Some(index) => {
                self.tokens.remove(index);
                true
            }
            None => false,
        }
    }

    /// Takes the value named `key`.
    pub fn named(&mut self, key: &str) -> Option<Value> {
        let index = self.tokens.iter().position(|token| token.key.as_deref() == Some(key))?;
        Some(self.tokens.remove(index).value)
    }

    /// Takes the number named `key`.
    ///
    /// # Errors
    ///
    /// It is there and no number.
    pub fn number<T: std::str::FromStr>(&mut self, key: &str) -> Result<Option<T>> {
        let Some(value) = self.named(key) else { return Ok(None) };
        let Value::Bare(text) = value else { bail!("{key} is no number") };
        text.parse().map(Some).map_err(|_| anyhow!("{key} is no number: {text}"))
    }

    /// Takes all that is left, as pieces of a request.
    ///
    /// # Errors
    ///
    /// A piece of an unknown kind.
    pub fn atoms(&mut self) -> Result<Vec<Atom>> {
        self.tokens.drain(..).map(atom).collect()
    }

    /// Makes sure that nothing is left.
    ///
    /// # Errors
    ///
    /// What is left.
    pub fn finish(&self) -> Result<()> {
        match self.tokens.first() {
            None => Ok(()),
            Some(token) => bail!(
                "'{}' {:?} means nothing here",
                token.key.as_deref().unwrap_or(""),
                token.value
            ),
        }
    }
}

/// A piece of a raw request: `i32=5`, `i64=5`, `bool=1`, `str=~/a`, `buf="x"`, `zxid=z1`, `hex:00`.
fn atom(token: Token) -> Result<Atom> {
    let Some(key) = token.key else {
        return match token.value {
            Value::Hex(bytes) | Value::Quoted(bytes) => Ok(Atom::Raw(bytes)),
            Value::Null | Value::Bare(_) => bail!("what is {:?}?", token.value),
        };
    };
    let number = || bare(&token.value)?.parse::<i64>().with_context(|| key.clone());
    Ok(match key.as_str() {
        "i32" => Atom::I32(i32::try_from(number()?)?),
        "i64" => Atom::I64(number()?),
        "bool" => Atom::Bool(number()? != 0),
        "str" => text(Some(token.value))?,
        "buf" => buffer(token.value)?,
        "zxid" => Atom::Zxid(bare(&token.value)?.to_owned()),
        _ => bail!("unknown kind of field: {key}"),
    })
}

/// The text of a bare word.
fn bare(value: &Value) -> Result<&str> {
    match value {
        Value::Bare(text) => Ok(text),
        Value::Null | Value::Quoted(_) | Value::Hex(_) => bail!("{value:?} is no bare word"),
    }
}

/// A string field; bytes that are no text are sent as they are.
fn text(value: Option<Value>) -> Result<Atom> {
    Ok(match value.context("a path or a text is missing")? {
        Value::Null => Atom::Text(None),
        Value::Bare(text) => Atom::Text(Some(text)),
        Value::Quoted(bytes) => Atom::Text(Some(String::from_utf8(bytes)?)),
        Value::Hex(bytes) => Atom::Buffer(Some(bytes)),
    })
}

/// A buffer field.
fn buffer(value: Value) -> Result<Atom> {
    Ok(match value {
        Value::Null => Atom::Buffer(None),
        Value::Quoted(bytes) | Value::Hex(bytes) => Atom::Buffer(Some(bytes)),
        Value::Bare(word) => bail!("data stands in quotes: {word}"),
    })
}

/// The parts of a list: `null`, `count=-5` (no element, that count), or values between commas.
fn list(value: Option<Value>) -> Result<(i32, Vec<String>)> {
    match value {
        None => Ok((0, Vec::new())),
        Some(Value::Null) => Ok((-1, Vec::new())),
        Some(Value::Bare(text)) => match text.strip_prefix("count=") {
            Some(count) => Ok((count.parse()?, Vec::new())),
            None if text == "[]" => Ok((0, Vec::new())),
            None => {
                let parts: Vec<String> = text.split(',').map(str::to_owned).collect();
                Ok((parts.len() as i32, parts))
            }
        },
        Some(Value::Quoted(bytes)) => {
            let text = String::from_utf8(bytes)?;
            let parts: Vec<String> = text.split(',').map(str::to_owned).collect();
            Ok((parts.len() as i32, parts))
        }
        Some(Value::Hex(_)) => bail!("a list is no hex"),
    }
}

/// `null`, or the text.
fn nullable(text: &str) -> Atom {
    Atom::Text((text != "null").then(|| text.to_owned()))
}

/// A list of strings.
fn texts(value: Option<Value>) -> Result<Vec<Atom>> {
    let (count, parts) = list(value)?;
    let mut atoms = vec![Atom::I32(count)];
    atoms.extend(parts.iter().map(|part| nullable(part)));
    Ok(atoms)
}

/// A list of ACL entries, each `perms:scheme:id` with perms a number or some of `rwcda`.
fn acl(value: Option<Value>) -> Result<Vec<Atom>> {
    let value = value.unwrap_or_else(|| Value::Bare("rwcda:world:anyone".into()));
    let (count, entries) = list(Some(value))?;
    let mut atoms = vec![Atom::I32(count)];
    for entry in &entries {
        let mut parts = entry.splitn(3, ':');
        let (Some(perms), Some(scheme), Some(id)) = (parts.next(), parts.next(), parts.next())
        else {
            bail!("an ACL entry is perms:scheme:id, not {entry}");
        };
        atoms.extend([Atom::I32(permissions(perms)?), nullable(scheme), nullable(id)]);
    }
    Ok(atoms)
}

/// Permissions as a number or as letters.
fn permissions(text: &str) -> Result<i32> {
    if let Ok(number) = text.parse() {
        return Ok(number);
    }
    text.chars().try_fold(0, |perms, letter| {
        let bit = "rwcda".find(letter).with_context(|| format!("no permission '{letter}'"))?;
        Ok(perms | 1 << bit)
    })
}

/// The create modes by name.
const MODES: &[(&str, i32)] = &[
    ("persistent", 0),
    ("ephemeral", 1),
    ("sequential", 2),
    ("ephemeral-sequential", 3),
    ("container", 4),
    ("with-ttl", 5),
    ("sequential-with-ttl", 6),
];

/// The create mode: a word of [`MODES`] or `flags=`.
fn mode(args: &mut Args, default: i32) -> Result<Atom> {
    let named = MODES.iter().find(|(name, _)| args.flag(name)).map(|(_, flags)| *flags);
    Ok(Atom::I32(args.number("flags")?.or(named).unwrap_or(default)))
}

/// One of `choices` by its place, or the number named `key`.
fn choice(args: &mut Args, choices: &[(&str, i32)], key: &str) -> Result<Atom> {
    let named = choices.iter().find(|(name, _)| args.flag(name)).map(|(_, number)| *number);
    Ok(Atom::I32(args.number(key)?.or(named).with_context(|| format!("{key} is missing"))?))
}

const WATCH_MODES: &[(&str, i32)] = &[("persistent", 0), ("recursive", 1)];

const WATCH_TYPES: &[(&str, i32)] =
    &[("children", 1), ("data", 2), ("any", 3), ("persistent", 4), ("recursive", 5)];

/// The number of the operation called `name` in scripts.
fn number_of(name: &str) -> Result<i32> {
    let upstream_name = match name {
        "addauth" => "auth",
        "close" => "closeSession",
        other => other,
    };
    OPCODES
        .iter()
        .find(|(_, opcode_name, _, _)| *opcode_name == upstream_name)
        .map(|(code, _, _, _)| *code as i32)
        .with_context(|| format!("no operation is called '{name}'"))
}

impl Operation {
    /// Reads an operation from its name and what follows; `subs` are the operations of a multi.
    ///
    /// # Errors
    ///
    /// An unknown name, or fields that are missing or unknown.
    pub fn parse(name: &str, args: &mut Args, subs: &[Operation]) -> Result<Operation> {
        ensure!(subs.is_empty() || name.starts_with("multi"), "{name} has no operations inside");
        if name == "op" {
            let number: i32 = args.word().context("the operation's number is missing")?.parse()?;
            return Ok(Operation { name: format!("op{number}"), number, body: args.atoms()? });
        }
        let number = number_of(name)?;
        let body = body(name, args, subs)?;
        args.finish()?;
        Ok(Operation { name: name.to_owned(), number, body })
    }
}

/// The fields of the operation called `name`.
fn body(name: &str, args: &mut Args, subs: &[Operation]) -> Result<Vec<Atom>> {
    let version = |args: &mut Args| Ok::<_, anyhow::Error>(args.number("version")?.unwrap_or(-1));
    Ok(match name {
        "create" | "create2" | "createContainer" | "createTTL" => create(name, args)?,
        "delete" | "check" => vec![text(args.value())?, Atom::I32(version(args)?)],
        "exists" | "getData" | "getChildren" | "getChildren2" => {
            vec![text(args.value())?, Atom::Bool(args.flag("watch"))]
        }
        "setData" => {
            let path = text(args.value())?;
            let data = buffer(args.value().context("data is missing")?)?;
            vec![path, data, Atom::I32(version(args)?)]
        }
        "setACL" => {
            let mut body = vec![text(args.value())?];
            body.extend(acl(args.named("acl"))?);
            body.push(Atom::I32(version(args)?));
            body
        }
        "getACL" | "sync" | "getEphemerals" | "getAllChildrenNumber" => vec![text(args.value())?],
        "addWatch" => vec![text(args.value())?, choice(args, WATCH_MODES, "mode")?],
        "checkWatches" | "removeWatches" => {
            vec![text(args.value())?, choice(args, WATCH_TYPES, "type")?]
        }
        "setWatches" => set_watches(args, &["data", "exist", "child"])?,
        "setWatches2" => set_watches(args, &["data", "exist", "child", "persistent", "recursive"])?,
        "addauth" => {
            let scheme = text(args.value())?;
            vec![Atom::I32(0), scheme, buffer(args.value().context("credentials are missing")?)?]
        }
        "sasl" => vec![buffer(args.value().context("the token is missing")?)?],
        "reconfig" => reconfig(args)?,
        "multi" | "multiRead" => multi(subs),
        "ping" | "close" | "closeSession" | "whoAmI" => Vec::new(),
        _ => bail!("write {name} as `op` with its number"),
    })
}

fn create(name: &str, args: &mut Args) -> Result<Vec<Atom>> {
    let path = text(args.value())?;
    let default = match name {
        "createContainer" => 4,
        "createTTL" => 5,
        _ => 0,
    };
    let flags = mode(args, default)?;
    let data = args.value().map_or(Ok(Atom::Buffer(Some(Vec::new()))), buffer)?;
    let mut body = vec![path, data];
    body.extend(acl(args.named("acl"))?);
    body.push(flags);
    if name == "createTTL" {
        body.push(Atom::I64(args.number("ttl")?.context("ttl is missing")?));
    }
    Ok(body)
}

fn set_watches(args: &mut Args, lists: &[&str]) -> Result<Vec<Atom>> {
    let relative = args.named("relative").context("relative is missing")?;
    let Value::Bare(relative) = relative else { bail!("relative is no zxid") };
    let mut body = vec![Atom::Zxid(relative)];
    for list in lists {
        body.extend(texts(args.named(list))?);
    }
    Ok(body)
}

fn reconfig(args: &mut Args) -> Result<Vec<Atom>> {
    let mut body = Vec::new();
    for key in ["joining", "leaving", "members"] {
        body.push(text(Some(args.named(key).unwrap_or(Value::Null)))?);
    }
    body.push(match args.named("config") {
        None => Atom::I64(-1),
        Some(Value::Bare(zxid)) => Atom::Zxid(zxid),
        Some(_) => bail!("config is no zxid"),
    });
    Ok(body)
}

/// Each operation behind a header, and the header that ends them.
fn multi(subs: &[Operation]) -> Vec<Atom> {
    let mut body = Vec::new();
    for sub in subs {
        body.extend([Atom::I32(sub.number), Atom::Bool(false), Atom::I32(-1)]);
        body.extend(sub.body.iter().cloned());
    }
    body.extend([Atom::I32(-1), Atom::Bool(true), Atom::I32(-1)]);
    body
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tokens::tokenize;

    fn bytes(line: &str) -> Vec<u8> {
        let (name, rest) = line.split_once(' ').unwrap_or((line, ""));
        let mut args = Args::new(tokenize(rest).unwrap());
        let operation = Operation::parse(name, &mut args, &[]).unwrap();
        let names = Names::new("/base", 0x100);
        let mut out = BytesMut::new();
        for atom in &operation.body {
            atom.put(&names, &mut out).unwrap();
        }
        out.to_vec()
    }

    #[test]
    fn a_create_has_upstreams_bytes() {
        let expected = crate::tokens::hex(
            "000000022f610000000178000000010000001f00000005776f726c6400000006616e796f6e6500000000",
        );
        assert_eq!(bytes(r#"create /a "x""#), expected.unwrap());
    }

    #[test]
    fn the_tilde_is_the_root_and_a_zxid_has_a_name() {
        assert_eq!(bytes("getACL ~/a"), bytes("getACL /base/a"));
        assert_eq!(bytes("op 9 zxid=z2 str=null"), [0, 0, 0, 0, 0, 0, 1, 2, 255, 255, 255, 255]);
    }

    #[test]
    fn lists_may_be_null_or_lie_about_their_count() {
        let with = |acl| bytes(&format!("setACL / acl={acl}"));
        assert_eq!(with("null")[5..9], [255; 4]);
        assert_eq!(with("[]")[5..9], [0; 4]);
        assert_eq!(with("count=-5")[5..9], [255, 255, 255, 251]);
        assert_eq!(with("rw:ip:1")[5..13], [0, 0, 0, 1, 0, 0, 0, 3]);
    }

    #[test]
    fn a_field_that_the_operation_does_not_have_is_refused() {
        for line in ["getData ~/a version=1", "setData ~/a", "addWatch ~/a", "nonsense", "ping 1"] {
            let (name, rest) = line.split_once(' ').unwrap_or((line, ""));
            let mut args = Args::new(tokenize(rest).unwrap());
            assert!(Operation::parse(name, &mut args, &[]).is_err(), "{line}");
        }
    }
}
