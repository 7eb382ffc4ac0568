//! Writes down what a server sent, in the language of the scripts.
//!
//! Every field is stated. What differs from run to run goes through [`Names`]; what the protocol
//! leaves unordered (children, ephemerals, identities) is sorted.

use std::fmt::Write as _;

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use jute::reply::{
    ClientInfo, Create2Reply, EventType, GetAclReply, GetChildren2Reply, GetDataReply, PathReply,
    PathsReply, ReplyHeader, WatcherEvent, WhoAmIReply,
};
use jute::request::{MultiHeader, Sasl};
use jute::{Acl, Decode, ErrorCode, OpCode, Stat, Text, decode_all};

use crate::names::Names;

/// Data and texts longer than this are given by their length and a checksum.
const DATA_BYTES_SHOWN: usize = 400;

/// Data longer than this that repeats one byte is written as a repetition.
const RUN_BYTES: usize = 40;

/// The state of every event, which is not written down.
const STATE_CONNECTED: i32 = 3;

/// The name of the error `number`, or the number.
pub fn error_name(number: i32) -> String {
    match ErrorCode::from_number(number) {
        Some(ErrorCode::Ok) => "ok".to_owned(),
        Some(code) => format!("{code:?}"),
        None => number.to_string(),
    }
}

/// Bytes as hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold("hex:".to_owned(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Text in quotes, escaped so that the language can read it.
fn quote(text: &str) -> String {
    let mut quoted = "\"".to_owned();
    for char in text.chars() {
        match char {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            ' '..='~' => quoted.push(char),
            _ => {
                let _ = write!(quoted, "\\u{{{:x}}}", u32::from(char));
            }
        }
    }
    quoted.push('"');
    quoted
}

/// A path or another short text.
pub fn text(names: &Names, text: &Text) -> String {
    let Some(text) = text else { return "null".to_owned() };
    if text.len() > DATA_BYTES_SHOWN {
        return summary(text.as_bytes());
    }
    let text = names.shorten(text);
    let is_plain = text.chars().all(|char| char.is_ascii_graphic() && !"\"\\,".contains(char));
    if is_plain && !text.is_empty() && text != "null" { text } else { quote(&text) }
}

/// Several short texts, separated by commas and sorted.
fn sorted_texts(names: &Names, texts: Option<&Vec<Text>>) -> String {
    let Some(texts) = texts else { return "null".to_owned() };
    let mut all: Vec<String> = texts.iter().map(|one| text(names, one)).collect();
    all.sort();
    format!("[{}]", all.join(","))
}

/// What stands for bytes that are too long to be shown.
fn summary(bytes: &[u8]) -> String {
    let sum =
        bytes.iter().fold(0_u32, |sum, byte| sum.wrapping_mul(31).wrapping_add(u32::from(*byte)));
    format!("({} bytes, sum {sum:08x})", bytes.len())
}

/// Node data.
pub fn data(names: &Names, data: Option<&Bytes>) -> String {
    let Some(data) = data else { return "null".to_owned() };
    if let Some(first) = data.first()
        && data.len() > RUN_BYTES
        && data.iter().all(|byte| byte == first)
        && first.is_ascii_graphic()
    {
        return format!("{}*{}", quote(&char::from(*first).to_string()), data.len());
    }
    if data.len() > DATA_BYTES_SHOWN {
        return summary(data);
    }
    match str::from_utf8(data) {
        Ok(text) if !text.chars().any(|char| char.is_control() && char != '\n') => {
            quote(&names.shorten(text))
        }
        _ => hex(data),
    }
}

/// A `Stat`, all of it.
fn stat(names: &mut Names, stat: &Stat) -> String {
    let ctime = names.time_name(stat.czxid.0, stat.ctime_ms);
    let mtime = names.time_name(stat.mzxid.0, stat.mtime_ms);
    format!(
        "czxid={} mzxid={} pzxid={} ctime={ctime} mtime={mtime} version={} cversion={} \
         aversion={} owner={} length={} children={}",
        names.zxid_name(stat.czxid.0),
        names.zxid_name(stat.mzxid.0),
        names.zxid_name(stat.pzxid.0),
        stat.version,
        stat.cversion,
        stat.aversion,
        names.session_name(stat.ephemeral_owner.0),
        stat.data_length,
        stat.num_children,
    )
}

/// An ACL, in its order.
fn acl(names: &Names, acl: Option<&Vec<Acl>>) -> String {
    let Some(acl) = acl else { return "null".to_owned() };
    let entries: Vec<String> = acl
        .iter()
        .map(|entry| {
            let (scheme, id) = (text(names, &entry.id.scheme), text(names, &entry.id.id));
            format!("{}:{scheme}:{id}", entry.perms.0)
        })
        .collect();
    format!("[{}]", entries.join(","))
}

/// The identities of a connection.
fn who(names: &Names, infos: Option<&Vec<ClientInfo>>) -> String {
    let Some(infos) = infos else { return "null".to_owned() };
    let mut all: Vec<String> = infos
        .iter()
        .map(|info| format!("{}:{}", text(names, &info.auth_scheme), text(names, &info.user)))
        .collect();
    all.sort();
    format!("[{}]", all.join(","))
}

/// Takes a record off the front of `rest`.
fn take<T: Decode>(rest: &mut Bytes) -> Result<T> {
    let whole = rest.clone();
    match T::decode(&whole, &whole) {
        Ok((left, value)) => {
            *rest = whole.slice_ref(left);
            Ok(value)
        }
        Err(_) => Err(anyhow::anyhow!("cut short")),
    }
}

/// The body of the reply to operation `number`; takes it off the front of `rest`.
fn body(names: &mut Names, number: i32, sorted: bool, rest: &mut Bytes) -> Result<String> {
    let op = OpCode::from_number(number).context("of no operation")?;
    Ok(match op {
        OpCode::Create | OpCode::Sync => text(names, &take::<PathReply>(rest)?.path),
        OpCode::Create2 | OpCode::CreateContainer | OpCode::CreateTtl => {
            let reply: Create2Reply = take(rest)?;
            format!("{} {}", text(names, &reply.path), stat(names, &reply.stat))
        }
        OpCode::Exists | OpCode::SetData | OpCode::SetAcl => {
            let reply: Stat = take(rest)?;
            stat(names, &reply)
        }
        OpCode::GetData | OpCode::Reconfig => {
            let reply: GetDataReply = take(rest)?;
            format!("{} {}", data(names, reply.data.as_ref()), stat(names, &reply.stat))
        }
        OpCode::GetChildren | OpCode::GetEphemerals => {
            sorted_texts(names, take::<PathsReply>(rest)?.paths.as_ref())
        }
        OpCode::GetChildren2 => {
            let reply: GetChildren2Reply = take(rest)?;
            let children = sorted_texts(names, reply.children.as_ref());
            format!("{children} {}", stat(names, &reply.stat))
        }
        OpCode::GetAcl => {
            let mut reply: GetAclReply = take(rest)?;
            if sorted {
                reply.acl.iter_mut().for_each(|acl| acl.sort());
            }
            format!("{} {}", acl(names, reply.acl.as_ref()), stat(names, &reply.stat))
        }
        OpCode::GetAllChildrenNumber => take::<i32>(rest)?.to_string(),
        OpCode::AddWatch => format!("error={}", take::<i32>(rest)?),
        OpCode::WhoAmI => who(names, take::<WhoAmIReply>(rest)?.client_info.as_ref()),
        OpCode::Sasl => data(names, take::<Sasl>(rest)?.token.as_ref()),
        OpCode::Delete
        | OpCode::Ping
        | OpCode::Check
        | OpCode::CheckWatches
        | OpCode::RemoveWatches
        | OpCode::DeleteContainer
        | OpCode::Auth
        | OpCode::SetWatches
        | OpCode::SetWatches2
        | OpCode::CloseSession => String::new(),
        OpCode::Multi
        | OpCode::MultiRead
        | OpCode::CreateSession
        | OpCode::Error
        | OpCode::Notification => anyhow::bail!("not a single record"),
    })
}

/// The results of a multi, one a line.
fn multi(names: &mut Names, rest: &mut Bytes) -> Result<Vec<String>> {
    let mut lines = Vec::new();
    loop {
        let header: MultiHeader = take(rest)?;
        if header.done {
            ensure!(header == MultiHeader::END, "odd end of a multi: {header:?}");
            return Ok(lines);
        }
        if header.op == -1 {
            let code: i32 = take(rest)?;
            ensure!(code == header.error, "the result says {code}, its header {}", header.error);
            lines.push(format!("+ error {}", error_name(code)));
            continue;
        }
        let name = OpCode::from_number(header.op).map_or("?", OpCode::name);
        let body = body(names, header.op, false, rest)?;
        lines.push(format!("+ {name} {} {body}", error_name(header.error)).trim_end().to_owned());
    }
}

/// The request that a reply belongs to.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// What the script calls the operation.
    pub name: &'a str,
    /// What is put behind the name: an xid where it is not the one that was due.
    pub note: &'a str,
    /// The operation's number.
    pub number: i32,
    /// The order of ACL entries means nothing.
    pub sorted: bool,
}

/// A reply to the request `asked`.
pub fn reply(names: &mut Names, asked: &Asked<'_>, frame: &Bytes) -> Vec<String> {
    let Asked { name, note, number, sorted } = *asked;
    let mut rest = frame.clone();
    let Ok(header) = take::<ReplyHeader>(&mut rest) else {
        return vec![format!("{name} half a header {}", hex(frame))];
    };
    names.saw_zxid(header.zxid.0);
    let zxid = names.zxid_name(header.zxid.0);
    let head = format!("{name}{note} {} {zxid}", error_name(header.error));
    let is_multi = matches!(OpCode::from_number(number), Some(OpCode::Multi | OpCode::MultiRead));
    let body_start = rest.clone();
    let decoded = if header.error != 0 {
        Ok(vec![String::new()])
    } else if is_multi {
        multi(names, &mut rest).map(|mut lines| {
            lines.insert(0, String::new());
            lines
        })
    } else {
        body(names, number, sorted, &mut rest).map(|body| vec![body])
    };
    let mut lines = match decoded {
        Ok(lines) => lines,
        Err(error) => {
            rest = Bytes::new();
            vec![format!("body is {error}: {}", hex(&body_start))]
        }
    };
    if let Some(first) = lines.first_mut() {
        let line = format!("{head} {first}");
        line.trim_end().clone_into(first);
        if !rest.is_empty() {
            let _ = write!(first, " and {}", hex(&rest));
        }
    }
    lines
}

/// A reply that no request of the script is known to wait for.
pub fn unasked(names: &mut Names, frame: &Bytes) -> String {
    let mut rest = frame.clone();
    let Ok(header) = take::<ReplyHeader>(&mut rest) else {
        return format!("half a header {}", hex(frame));
    };
    names.saw_zxid(header.zxid.0);
    let (error, zxid) = (error_name(header.error), names.zxid_name(header.zxid.0));
    format!("reply xid={} {error} {zxid} {}", header.xid.0, hex(&rest))
}

/// A notification, or whatever came with its xid.
pub fn event(names: &Names, frame: &Bytes) -> String {
    let mut rest = frame.clone();
    let decoded = take::<ReplyHeader>(&mut rest)
        .and_then(|header| Ok((header, take::<WatcherEvent>(&mut rest)?)));
    let Ok((header, event)) = decoded else {
        return format!("event that is none: {}", hex(frame));
    };
    let kind = EventType::from_number(event.kind)
        .map_or_else(|| event.kind.to_string(), |kind| format!("{kind:?}"));
    let zxid = names.zxid_name(header.zxid.0);
    let mut line = format!("event {kind} {} {zxid}", text(names, &event.path));
    if event.state != STATE_CONNECTED {
        let _ = write!(line, " state={}", event.state);
    }
    if header.error != 0 {
        let _ = write!(line, " error={}", header.error);
    }
    if !rest.is_empty() {
        let _ = write!(line, " and {}", hex(&rest));
    }
    line
}

/// The answer to `client`'s handshake.
///
/// It is read by hand, since its lengths are part of what is promised.
pub fn connect_response(names: &mut Names, client: &str, frame: &Bytes) -> String {
    let mut rest = frame.clone();
    let decoded = (|| -> Result<(i32, i32, i64, Option<Bytes>)> {
        Ok((take(&mut rest)?, take(&mut rest)?, take(&mut rest)?, take(&mut rest)?))
    })();
    let Ok((version, timeout_ms, id, password)) = decoded else {
        return format!("connect answered by {}", hex(frame));
    };
    let password = password.unwrap_or_default();
    let is_new = id != 0 && names.saw_session(client, id, &password);
    let session = if is_new { "new".to_owned() } else { names.session_name(id) };
    let known = names.sessions().iter().find(|session| session.id == id);
    let password_name = match known {
        _ if password.iter().all(|byte| *byte == 0) => format!("{}-zeros", password.len()),
        Some(_) if is_new => format!("{}-bytes", password.len()),
        Some(session) if session.password == password => "same".to_owned(),
        _ => hex(&password),
    };
    let mut line =
        format!("connect ok timeout={timeout_ms} session={session} password={password_name}");
    if version != 0 {
        let _ = write!(line, " version={version}");
    }
    match rest.split_first() {
        None => line.push_str(" readOnly=none"),
        Some((flag, extra)) => {
            let _ = write!(line, " readOnly={flag}");
            if !extra.is_empty() {
                let _ = write!(line, " and {}", hex(extra));
            }
        }
    }
    line
}

/// The header in front of a reply.
pub fn header(frame: &Bytes) -> Option<ReplyHeader> {
    decode_all(frame).ok()
}
