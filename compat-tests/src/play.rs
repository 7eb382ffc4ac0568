//! Plays a script against an engine and writes down what happens, step by step.
//!
//! What is written depends on the script's requests and on the server, never on what is expected,
//! so that playing and recording are the same thing.
//!
//! A step ends when every request has its reply and every client that is not quiet has answered a
//! ping of the runner: whatever a server owes a client because of the step comes before that.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use bytes::{BufMut, Bytes, BytesMut};
use jute::reply::ReplyHeader;
use jute::request::{ConnectRequest, RequestHeader};
use jute::{Encode, ErrorCode, OpCode, SessionId, Xid, Zxid, begin_frame, end_frame, split_frame};

use crate::control::{Control, FRAME_BYTES_MAX, now};
use crate::engine::{Engine, Received, Wire};
use crate::names::Names;
use crate::operation::Atom;
use crate::script::{Action, ClientAction, Connect, Down, Script, Send, Step};
use crate::tokens::Value;
use crate::{render, word};

/// How long a server may take to answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a server may take to close a connection after the last it has to say.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// What came of a script.
#[derive(Debug)]
pub struct Played {
    /// What was written down, a list for each step.
    pub transcripts: Vec<Vec<String>>,
    /// Whether the server can be used by the next script.
    pub is_clean: bool,
}

/// A reply that a client waits for.
struct Owed {
    xid: i32,
    /// The script chose the xid, so it is written down.
    is_chosen: bool,
    name: String,
    number: i32,
    sorted: bool,
}

/// What a connection has come to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Stage {
    /// Nothing came yet; `true` if a handshake was sent.
    Fresh(bool),
    Open,
    /// The server has said what it says before it closes a connection.
    Ending,
}

/// A client that is connected.
struct Client {
    wire: Box<dyn Wire>,
    buffer: BytesMut,
    stage: Stage,
    owed: VecDeque<Owed>,
    is_quiet: bool,
    next_xid: i32,
}

/// What the next read of a client brought.
enum Next {
    Frame(Bytes),
    End,
    Nothing,
}

impl Client {
    fn new(wire: Box<dyn Wire>, handshake_sent: bool) -> Client {
        Client {
            wire,
            buffer: BytesMut::new(),
            stage: Stage::Fresh(handshake_sent),
            owed: VecDeque::new(),
            is_quiet: false,
            next_xid: 1,
        }
    }

    fn is_owed(&self) -> bool {
        self.stage == Stage::Fresh(true) || !self.owed.is_empty()
    }

    fn next(&mut self, deadline: Instant) -> Result<Next> {
        loop {
            if let Some(frame) = split_frame(&mut self.buffer, FRAME_BYTES_MAX)? {
                return Ok(Next::Frame(frame));
            }
            let left = deadline.saturating_duration_since(now());
            match self.wire.receive(&mut self.buffer, left) {
                Received::End => return Ok(Next::End),
                Received::Nothing if now() >= deadline => return Ok(Next::Nothing),
                Received::Bytes | Received::Nothing => {}
            }
        }
    }

    fn send_frame(&mut self, payload: &[u8]) {
        let mut out = BytesMut::with_capacity(payload.len() + 4);
        let start = begin_frame(&mut out);
        out.put_slice(payload);
        end_frame(&mut out, start);
        self.wire.send(&out);
    }
}

/// A script under way.
struct Play<'a> {
    engine: &'a mut dyn Engine,
    names: Names,
    clients: BTreeMap<String, Client>,
    /// What the clients were told in this step.
    told: BTreeMap<String, Vec<String>>,
    /// What four-letter words answered in this step.
    words: Vec<String>,
    unordered: BTreeSet<String>,
}

/// Plays `script` below the node `root`, which must not exist.
///
/// # Errors
///
/// The script cannot be played: no server, or a step that makes no sense.
pub fn play(script: &Script, engine: &mut dyn Engine, root: &str) -> Result<Played> {
    let base = prepare(engine, root).context("preparing the script's root node")?;
    let mut play = Play {
        engine,
        names: Names::new(root, base),
        clients: BTreeMap::new(),
        told: BTreeMap::new(),
        words: Vec::new(),
        unordered: BTreeSet::new(),
    };
    let mut transcripts = Vec::new();
    for step in &script.steps {
        let transcript = play.step(step).with_context(|| format!("step at line {}", step.line))?;
        transcripts.push(transcript);
    }
    let is_clean = play.clean_up().is_ok();
    Ok(Played { transcripts, is_clean })
}

/// Whether `frame` answers a ping.
fn is_ping_reply(frame: &Bytes) -> bool {
    render::header(frame).is_some_and(|header| header.xid == Xid::PING)
}

/// Whether a server closes the connection behind a reply with `header` to operation `number`.
///
/// What it still sends before it does so is a matter of chance, so it is better not to ask.
fn ends_connection(header: &ReplyHeader, number: Option<i32>) -> bool {
    match ErrorCode::from_number(header.error) {
        Some(ErrorCode::AuthFailed | ErrorCode::SessionClosedRequireAuth) => true,
        Some(ErrorCode::Unimplemented) => header.zxid == Zxid::NONE,
        Some(ErrorCode::Ok) => number == Some(OpCode::CloseSession as i32),
        _ => false,
    }
}

/// Creates the root node; gives the zxid after which the script begins.
fn prepare(engine: &mut dyn Engine, root: &str) -> Result<i64> {
    let mut control = Control::connect(engine, None)?.context("no session")?;
    control.create(root)?;
    control.close()
}

impl Play<'_> {
    /// Does what the step says, reads all that is owed, and gives what was told.
    fn step(&mut self, step: &Step) -> Result<Vec<String>> {
        for action in &step.actions {
            match action {
                Action::Client(name, action) => self.act(name, action)?,
                Action::Wait(time) => self.engine.wait(*time),
                Action::Word(word) => {
                    let lines = word::ask(word, self.engine, &self.names)?;
                    self.words.extend(lines);
                }
                Action::Restart(down) => self.restart(*down)?,
            }
        }
        self.read_owed()?;
        self.ask_for_more()?;
        self.see_ends()?;
        let mut lines = std::mem::take(&mut self.words);
        for (name, mut told) in std::mem::take(&mut self.told) {
            if self.unordered.contains(&name) {
                told.sort();
            }
            lines.extend(
                told.into_iter().map(|line| {
                    if line.starts_with("+ ") { line } else { format!("{name} {line}") }
                }),
            );
        }
        self.unordered.clear();
        Ok(lines)
    }

    fn client(&mut self, name: &str) -> Result<&mut Client> {
        self.clients.get_mut(name).with_context(|| format!("{name} is not connected"))
    }

    fn act(&mut self, name: &str, action: &ClientAction) -> Result<()> {
        let dials = matches!(action, ClientAction::Connect(_) | ClientAction::Tcp);
        if dials == self.clients.contains_key(name) {
            self.tell(name, if dials { "is connected already" } else { "is not connected" });
            return Ok(());
        }
        match action {
            ClientAction::Connect(connect) => match self.handshake(connect) {
                Ok(payload) => {
                    self.dial(name, true)?;
                    self.client(name)?.send_frame(&payload);
                }
                Err(error) => self.tell(name, format!("cannot connect: {error}")),
            },
            ClientAction::Tcp => self.dial(name, false)?,
            ClientAction::Send(send) => self.send(name, send)?,
            ClientAction::Frame(atoms) => {
                let payload = self.bytes(atoms)?;
                self.client(name)?.send_frame(&payload);
            }
            ClientAction::Bytes(atoms) => {
                let bytes = self.bytes(atoms)?;
                self.client(name)?.wire.send(&bytes);
            }
            ClientAction::Hangup => drop(self.clients.remove(name)),
            ClientAction::Quiet => self.client(name)?.is_quiet = true,
            ClientAction::Awake => self.client(name)?.is_quiet = false,
            ClientAction::Await { frames, within } => self.wait_for(name, *frames, *within)?,
            ClientAction::Unordered => {
                self.unordered.insert(name.to_owned());
            }
        }
        Ok(())
    }

    fn dial(&mut self, name: &str, handshake_sent: bool) -> Result<()> {
        let wire = self.engine.dial()?;
        self.clients.insert(name.to_owned(), Client::new(wire, handshake_sent));
        Ok(())
    }

    fn bytes(&self, atoms: &[Atom]) -> Result<BytesMut> {
        let mut out = BytesMut::new();
        for atom in atoms {
            atom.put(&self.names, &mut out)?;
        }
        Ok(out)
    }

    fn handshake(&self, connect: &Connect) -> Result<BytesMut> {
        let (id, known) = match &connect.session {
            None => (0, vec![0; 16]),
            Some(name) => {
                if let Ok(id) = name.parse() {
                    (id, vec![0; 16])
                } else {
                    let session = self.names.session(name)?;
                    (session.id, session.password.clone())
                }
            }
        };
        let password = match &connect.password {
            None => Some(known),
            Some(Value::Null) => None,
            Some(Value::Quoted(bytes) | Value::Hex(bytes)) => Some(bytes.clone()),
            Some(Value::Bare(name)) => Some(self.password(name, known)?),
        };
        let request = ConnectRequest {
            protocol_version: connect.protocol_version,
            last_zxid_seen: Zxid(self.names.zxid_value(&connect.last_zxid)?),
            timeout_ms: connect.timeout_ms,
            session_id: SessionId(id),
            password: password.map(Bytes::from),
            read_only: connect.read_only,
        };
        let mut out = BytesMut::new();
        request.encode(&mut out);
        out.put_slice(&connect.extra);
        Ok(out)
    }

    /// The password called `name`: a session's, or `wrong`, `long` or `short` instead of `right`.
    fn password(&self, name: &str, mut right: Vec<u8>) -> Result<Vec<u8>> {
        match name {
            "wrong" => {
                if let Some(last) = right.last_mut() {
                    *last ^= 1;
                }
            }
            "long" => right.push(0),
            "short" => {
                right.pop();
            }
            session => right.clone_from(&self.names.session(session)?.password),
        }
        Ok(right)
    }

    fn send(&mut self, name: &str, send: &Send) -> Result<()> {
        let body = self.bytes(&send.operation.body)?;
        let client = self.client(name)?;
        let op = OpCode::from_number(send.operation.number);
        let xid = send.xid.unwrap_or_else(|| match op {
            Some(OpCode::Ping) => Xid::PING.0,
            Some(OpCode::Auth) => Xid::AUTH.0,
            Some(OpCode::SetWatches | OpCode::SetWatches2) => Xid::SET_WATCHES.0,
            _ => {
                client.next_xid += 1;
                client.next_xid - 1
            }
        });
        let mut payload = BytesMut::new();
        RequestHeader { xid: Xid(xid), op: send.operation.number }.encode(&mut payload);
        payload.put_slice(&body);
        payload.put_slice(&send.extra);
        let kept = payload.len().checked_sub(send.cut_bytes).context("cut is too long")?;
        payload.truncate(kept);
        if let Some(size) = send.size_bytes {
            ensure!(payload.len() <= size, "the request has {} bytes already", payload.len());
            payload.resize(size, 0);
        }
        client.send_frame(&payload);
        client.owed.push_back(Owed {
            // A ping is answered with the xid of pings, whatever it came with.
            xid: if op == Some(OpCode::Ping) { Xid::PING.0 } else { xid },
            is_chosen: send.xid.is_some(),
            name: send.operation.name.clone(),
            number: send.operation.number,
            sorted: send.sorted,
        });
        Ok(())
    }

    fn tell(&mut self, name: &str, line: impl Into<String>) {
        self.told.entry(name.to_owned()).or_default().push(line.into());
    }

    /// Writes down a frame that `name` was sent.
    fn hear(&mut self, name: &str, frame: &Bytes) -> Result<()> {
        let client = self.clients.get_mut(name).with_context(|| format!("{name} is gone"))?;
        if let Stage::Fresh(_) = client.stage {
            let line = render::connect_response(&mut self.names, name, frame);
            let is_refused = line.contains(" session=0 ");
            client.stage = if is_refused { Stage::Ending } else { Stage::Open };
            self.tell(name, line);
            return Ok(());
        }
        let header = render::header(frame);
        let xid = header.as_ref().map(|header| header.xid.0);
        let index = client.owed.iter().position(|owed| Some(owed.xid) == xid);
        let number = index.and_then(|index| client.owed.get(index)).map(|owed| owed.number);
        if header.is_some_and(|header| ends_connection(&header, number)) {
            client.stage = Stage::Ending;
        }
        if xid == Some(Xid::NOTIFICATION.0) && index.is_none() {
            let line = render::event(&self.names, frame);
            self.tell(name, line);
            return Ok(());
        }
        let Some(owed) = index.and_then(|index| client.owed.remove(index)) else {
            let line = render::unasked(&mut self.names, frame);
            self.tell(name, line);
            return Ok(());
        };
        let is_unordered = self.unordered.contains(name);
        let note = match xid {
            Some(xid) if owed.is_chosen || (index != Some(0) && !is_unordered) => {
                format!(" xid={xid}")
            }
            _ => String::new(),
        };
        let asked = render::Asked {
            name: &owed.name,
            note: &note,
            number: owed.number,
            sorted: owed.sorted,
        };
        let lines = render::reply(&mut self.names, &asked, frame);
        self.told.entry(name.to_owned()).or_default().extend(lines);
        Ok(())
    }

    /// Reads the next frame of `name` and writes it down; what it was otherwise is given back.
    fn read_one(&mut self, name: &str, deadline: Instant) -> Result<Next> {
        let next = self.client(name)?.next(deadline)?;
        match &next {
            Next::Frame(frame) => self.hear(name, frame)?,
            Next::End => self.end(name),
            Next::Nothing => {}
        }
        Ok(next)
    }

    /// The server closed the connection of `name`.
    fn end(&mut self, name: &str) {
        if let Some(client) = self.clients.remove(name)
            && !client.buffer.is_empty()
        {
            self.tell(name, format!("half a frame: {}", render::hex(&client.buffer)));
        }
        self.tell(name, "closed");
    }

    fn wait_for(&mut self, name: &str, frames: Option<u32>, within: Duration) -> Result<()> {
        let deadline = now() + within;
        let mut left = frames.unwrap_or(u32::MAX);
        while left > 0 {
            left -= 1;
            match self.read_one(name, deadline)? {
                Next::Frame(_) => {}
                Next::End => return Ok(()),
                Next::Nothing => {
                    self.tell(name, "hears no more");
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// Reads until no client waits for a reply.
    fn read_owed(&mut self) -> Result<()> {
        let names: Vec<String> = self.clients.keys().cloned().collect();
        for name in names {
            let deadline = now() + ANSWER_TIMEOUT;
            while let Some(client) = self.clients.get_mut(&name)
                && client.is_owed()
            {
                let missing = client.owed.len();
                if let Next::Nothing = self.read_one(&name, deadline)? {
                    self.tell(&name, format!("gets no answer, {missing} missing"));
                    self.client(&name)?.owed.clear();
                    break;
                }
            }
        }
        Ok(())
    }

    /// Reads to the end what is about to end.
    fn see_ends(&mut self) -> Result<()> {
        let is_ending = |(_, client): &(&String, &Client)| client.stage == Stage::Ending;
        let names: Vec<String> =
            self.clients.iter().filter(is_ending).map(|(name, _)| name.clone()).collect();
        for name in names {
            let deadline = now() + CLOSE_TIMEOUT;
            while let Some(client) = self.clients.get_mut(&name)
                && client.stage == Stage::Ending
            {
                match client.next(deadline)? {
                    Next::Frame(frame) if is_ping_reply(&frame) => {}
                    Next::Frame(frame) => self.hear(&name, &frame)?,
                    Next::End => self.end(&name),
                    Next::Nothing => {
                        client.stage = Stage::Open;
                        self.tell(&name, "stays open");
                    }
                }
            }
        }
        Ok(())
    }

    /// Pings for every client that is not quiet and reads up to the answer.
    fn ask_for_more(&mut self) -> Result<()> {
        let mut asked = Vec::new();
        for (name, client) in &mut self.clients {
            if client.stage == Stage::Open && !client.is_quiet {
                let mut ping = BytesMut::new();
                RequestHeader { xid: Xid::PING, op: OpCode::Ping as i32 }.encode(&mut ping);
                client.send_frame(&ping);
                asked.push(name.clone());
            }
        }
        for name in asked {
            let deadline = now() + ANSWER_TIMEOUT;
            loop {
                match self.client(&name)?.next(deadline)? {
                    Next::Frame(frame) if is_ping_reply(&frame) => break,
                    Next::Frame(frame) => self.hear(&name, &frame)?,
                    Next::End => {
                        self.end(&name);
                        break;
                    }
                    Next::Nothing => {
                        self.tell(&name, "is not answered a ping");
                        break;
                    }
                }
            }
        }
        Ok(())
    }

    /// Restarts the server; every client sees its connection end.
    fn restart(&mut self, down: Down) -> Result<()> {
        self.engine.restart(down)?;
        let names: Vec<String> = self.clients.keys().cloned().collect();
        for name in names {
            self.wait_for(&name, None, CLOSE_TIMEOUT)?;
        }
        let control = Control::connect(self.engine, None)?.context("no session")?;
        let base = control.close()?;
        self.names.restarted(base);
        Ok(())
    }

    /// Closes what sessions are left and deletes what nodes are left, so that nothing happens on
    /// the server by itself when the next script runs.
    fn clean_up(&mut self) -> Result<()> {
        self.clients.clear();
        for session in self.names.sessions() {
            if let Some(control) = Control::connect(self.engine, Some(session))? {
                control.close()?;
            }
        }
        let mut control = Control::connect(self.engine, None)?.context("no session")?;
        control.delete_tree(&format!("/zookeeper/quota{}", self.names.root()))?;
        control.delete_tree(self.names.root())?;
        control.close().map(drop)
    }
}

#[cfg(test)]
mod tests;
