//! Reads a script: its header, its steps, and what each step expects.
//!
//! Nothing is sent from here; `scripts/README.md` explains the language.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use crate::operation::{Args, Atom, Operation};
use crate::tokens::{Token, Value, tokenize};

/// The points of the checklist that scripts refer to.
pub const CHECKLIST: RangeInclusive<u32> = 1..=90;

/// Stands for what is to be recorded.
const UNRECORDED: &str = "?";

/// Stands for whatever is told in the step.
pub const WHATEVER: &str = "*";

/// What an expected line is indented with.
pub const INDENT: &str = "    ";

/// Whose expectations apply.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Judge {
    /// The real server.
    Zookeeper,
    /// Ours.
    Rookeeper,
}

impl Judge {
    /// Both.
    pub const ALL: [Judge; 2] = [Judge::Zookeeper, Judge::Rookeeper];

    /// The name in scripts and on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Judge::Zookeeper => "zookeeper",
            Judge::Rookeeper => "rookeeper",
        }
    }
}

/// What a script needs of its server.
#[derive(Clone, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub struct Needs {
    /// Lines of `zoo.cfg`.
    pub settings: BTreeMap<String, String>,
    /// A server that nobody used before.
    pub fresh: bool,
    /// The script stops and starts its server, so it gets one to itself.
    pub restarts: bool,
}

/// A client's handshake.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Connect {
    /// `version=`.
    pub protocol_version: i32,
    /// `lastZxid=`, a zxid by name.
    pub last_zxid: String,
    /// `timeout=`.
    pub timeout_ms: i32,
    /// `session=`: a client's name, or a number.
    pub session: Option<String>,
    /// `password=`: a client's name, or bytes; by default that of `session`.
    pub password: Option<Value>,
    /// `readOnly=`: `true`, `false`, or `none` for a client that does not send the flag.
    pub read_only: Option<bool>,
    /// `extra=`: bytes after the record.
    pub extra: Vec<u8>,
}

/// A request's frame.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Send {
    /// What is asked.
    pub operation: Operation,
    /// `xid=`, or the client's next one.
    pub xid: Option<i32>,
    /// `cut=`: so many bytes are missing at the end.
    pub cut_bytes: usize,
    /// `extra=`: bytes after the record.
    pub extra: Vec<u8>,
    /// `size=`: the payload is filled up with zeros to this many bytes.
    pub size_bytes: Option<usize>,
    /// `getACL … sorted`: the order of the entries means nothing.
    pub sorted: bool,
}

/// How the server goes down before it comes up again.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Down {
    /// SIGTERM.
    Stopped,
    /// SIGKILL.
    Killed,
}

/// How much of a four-letter word's answer is looked at.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Word {
    /// The word, and what is sent behind it.
    pub bytes: Vec<u8>,
    /// Only lines with these keys.
    pub only: Option<Vec<String>>,
    /// Numbers count.
    pub exact: bool,
    /// Only the keys of the lines are looked at.
    pub keys: bool,
    /// The order of the lines means nothing.
    pub sorted: bool,
}

/// What a client does.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum ClientAction {
    /// Opens a TCP connection and sends a handshake.
    Connect(Connect),
    /// Opens a TCP connection and sends nothing.
    Tcp,
    /// Sends a request.
    Send(Send),
    /// Sends bytes as a frame; nothing is waited for.
    Frame(Vec<Atom>),
    /// Sends bytes that need not be a frame; nothing is waited for.
    Bytes(Vec<Atom>),
    /// Closes its end of the TCP connection.
    Hangup,
    /// From now on sends only what the script says, so that its session may expire.
    Quiet,
    /// From now on is asked at the end of each step whether there is more to read.
    Awake,
    /// Waits for so many frames, or for the end of the connection if that is `None`.
    Await {
        /// How many.
        frames: Option<u32>,
        /// For how long at most.
        within: Duration,
    },
    /// The order of what it is told in this step means nothing.
    Unordered,
}

/// One line of a step.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Action {
    /// A client does something.
    Client(String, ClientAction),
    /// Time passes.
    Wait(Duration),
    /// A four-letter word on a connection of its own.
    Word(Word),
    /// The server is stopped and started.
    Restart(Down),
}

/// Lines that belong together: all is sent, then all that is owed is read.
#[derive(Debug)]
pub struct Step {
    /// Line number of the first action.
    pub line: usize,
    /// What is done, in this order.
    pub actions: Vec<Action>,
    /// What is expected; without a judge it holds for both.
    pub expected: Vec<(Option<Judge>, String)>,
    /// Why the judges differ here, if they do.
    pub differs: Option<String>,
}

impl Step {
    /// What `judge` is expected to answer.
    pub fn expected_of(&self, judge: Judge) -> Vec<&str> {
        self.expected
            .iter()
            .filter(|(only, _)| only.is_none_or(|only| only == judge))
            .map(|(_, line)| line.as_str())
            .collect()
    }
}

/// A line of the file.
#[derive(Debug)]
enum Line {
    /// A comment or a blank line.
    Kept(String),
    /// Something that is done in the step of this number.
    Action(String, usize),
    /// What is expected; a recording writes it anew.
    Expected,
}

/// A whole script.
#[derive(Debug)]
pub struct Script {
    /// The file's name without its ending.
    pub name: String,
    /// The first comment.
    pub title: String,
    /// Points of the checklist that it covers.
    pub checklist: BTreeSet<u32>,
    /// Points that it names as out of reach, and why.
    pub out_of_reach: BTreeMap<u32, String>,
    /// What it needs.
    pub needs: Needs,
    /// Its steps.
    pub steps: Vec<Step>,
    lines: Vec<Line>,
}

impl Script {
    /// Reads the script at `path`.
    ///
    /// # Errors
    ///
    /// The file or a line of it cannot be read.
    pub fn load(path: &Path) -> Result<Script> {
        let name = path.file_stem().and_then(|stem| stem.to_str()).context("no file name")?;
        let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
        Script::parse(name, &text).with_context(|| format!("script {name}"))
    }

    /// Reads a script from its text.
    ///
    /// # Errors
    ///
    /// What cannot be read, with its line number.
    pub fn parse(name: &str, text: &str) -> Result<Script> {
        let mut script = Script {
            name: name.to_owned(),
            title: String::new(),
            checklist: BTreeSet::new(),
            out_of_reach: BTreeMap::new(),
            needs: Needs::default(),
            steps: Vec::new(),
            lines: Vec::new(),
        };
        let mut open = Open::default();
        for (index, line) in text.lines().enumerate() {
            script
                .take_line(&mut open, index + 1, line)
                .with_context(|| format!("line {}: {line}", index + 1))?;
        }
        script.end_step(&mut open)?;
        ensure!(!script.title.is_empty(), "the first line is a comment that says what holds");
        ensure!(!script.steps.is_empty(), "no step");
        Ok(script)
    }

    fn take_line(&mut self, open: &mut Open, number: usize, line: &str) -> Result<()> {
        if let Some(expected) = line.strip_prefix(INDENT) {
            ensure!(!open.pending.is_empty(), "an expectation without a request");
            open.expected.push(expectation(expected));
            self.lines.push(Line::Expected);
            return Ok(());
        }
        if line.trim().is_empty() {
            self.end_step(open)?;
        } else if let Some(comment) = line.strip_prefix('#') {
            self.end_step(open)?;
            self.comment(open, comment.trim())?;
        } else {
            if !open.expected.is_empty() {
                self.end_step(open)?;
            }
            if open.pending.is_empty() {
                open.line = number;
            }
            let tokens = tokenize(line)?;
            if let Some(sub) = line.strip_prefix("+ ") {
                let last = open.pending.last_mut().context("a part without a multi")?;
                last.1.push(operation(Args::new(tokenize(sub)?), &[])?);
            } else {
                open.pending.push((tokens, Vec::new()));
            }
            self.lines.push(Line::Action(line.to_owned(), self.steps.len()));
            return Ok(());
        }
        self.lines.push(Line::Kept(line.to_owned()));
        Ok(())
    }

    fn comment(&mut self, open: &mut Open, comment: &str) -> Result<()> {
        if let Some(points) = comment.strip_prefix("checklist:") {
            self.checklist.extend(self::points(points)?);
        } else if let Some(rest) = comment.strip_prefix("out of reach:") {
            let (points, reason) = rest.split_once(';').context("points; reason")?;
            let reason = reason.trim().to_owned();
            self.out_of_reach
                .extend(self::points(points)?.into_iter().map(|point| (point, reason.clone())));
        } else if let Some(reason) = comment.strip_prefix("differs:") {
            open.differs = Some(reason.trim().to_owned());
        } else if let Some(settings) = comment.strip_prefix("server:") {
            ensure!(self.steps.is_empty(), "what the server needs stands at the top");
            for setting in settings.split_whitespace() {
                match setting.split_once('=') {
                    None if setting == "fresh" => self.needs.fresh = true,
                    None => bail!("{setting} is no setting"),
                    Some((key, value)) => {
                        self.needs.settings.insert(key.to_owned(), value.to_owned());
                    }
                }
            }
        } else if self.title.is_empty() {
            comment.clone_into(&mut self.title);
        }
        Ok(())
    }

    fn end_step(&mut self, open: &mut Open) -> Result<()> {
        if open.pending.is_empty() {
            return Ok(());
        }
        let open = std::mem::take(open);
        let mut actions = Vec::new();
        for (tokens, subs) in open.pending {
            let action = action(tokens, &subs)
                .with_context(|| format!("in the step at line {}", open.line))?;
            self.needs.restarts |= matches!(action, Action::Restart(_));
            actions.push(action);
        }
        let is_split = open.expected.iter().any(|(judge, _)| judge.is_some());
        let is_recorded = !open.expected.iter().all(|(_, line)| line == UNRECORDED);
        ensure!(
            !is_recorded || is_split == open.differs.is_some(),
            "line {}: judges may differ where `# differs:` says why, and only there",
            open.line
        );
        let (line, expected, differs) = (open.line, open.expected, open.differs);
        self.steps.push(Step { line, actions, expected, differs });
        Ok(())
    }

    /// The script with `transcripts`, one a step, as the expectations of `judge`.
    pub fn rewrite(&self, judge: Judge, transcripts: &[Vec<String>]) -> String {
        let mut text = String::new();
        for (index, line) in self.lines.iter().enumerate() {
            let (line, step) = match line {
                Line::Expected => continue,
                Line::Kept(line) => (line, None),
                Line::Action(line, step) => (line, Some(*step)),
            };
            text.push_str(line);
            text.push('\n');
            let following = self.lines.get(index + 1);
            let is_last = !matches!((step, following),
                (Some(step), Some(Line::Action(_, next))) if step == *next);
            if let Some(step) = step.filter(|_| is_last) {
                self.push_expectations(&mut text, step, judge, transcripts);
                // Without a line in between, the next action would belong to this step.
                let is_bare = text.ends_with(&format!("{line}\n"));
                if is_bare
                    && matches!(
                        self.lines
                            .iter()
                            .skip(index + 1)
                            .find(|line| !matches!(line, Line::Expected)),
                        Some(Line::Action(..))
                    )
                {
                    text.push('\n');
                }
            }
        }
        text
    }

    fn push_expectations(
        &self,
        text: &mut String,
        step: usize,
        judge: Judge,
        transcripts: &[Vec<String>],
    ) {
        let (Some(step), Some(transcript)) = (self.steps.get(step), transcripts.get(step)) else {
            return;
        };
        let mut push = |prefix: &str, line: &str| {
            text.push_str(format!("{INDENT}{prefix}{line}").trim_end());
            text.push('\n');
        };
        if step.differs.is_none() {
            for line in transcript {
                push("", line);
            }
            return;
        }
        for other in Judge::ALL {
            let prefix = format!("{}| ", other.name());
            let expected = step.expected_of(other);
            let lines = if other == judge && expected != [WHATEVER] {
                transcript.iter().map(String::as_str).collect()
            } else {
                expected
            };
            for line in lines {
                push(&prefix, line);
            }
        }
    }
}

/// A step that is being read.
#[derive(Default)]
struct Open {
    line: usize,
    pending: Vec<(Vec<Token>, Vec<Operation>)>,
    expected: Vec<(Option<Judge>, String)>,
    differs: Option<String>,
}

/// Points of the checklist, separated by commas; `3-5` are three.
fn points(text: &str) -> Result<Vec<u32>> {
    let mut all = Vec::new();
    for part in text.split(',').map(str::trim) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let range: RangeInclusive<u32> =
            first.parse().context(part.to_owned())?..=last.parse().context(part.to_owned())?;
        ensure!(
            CHECKLIST.contains(range.start()) && CHECKLIST.contains(range.end()),
            "the checklist has no point {part}"
        );
        all.extend(range);
    }
    Ok(all)
}

/// An expected line, perhaps of one judge only.
fn expectation(line: &str) -> (Option<Judge>, String) {
    for judge in Judge::ALL {
        if let Some(rest) = line.strip_prefix(judge.name())
            && let Some(rest) = rest.strip_prefix('|')
        {
            return (Some(judge), rest.strip_prefix(' ').unwrap_or(rest).to_owned());
        }
    }
    (None, line.to_owned())
}

/// A line that does something.
fn action(tokens: Vec<Token>, subs: &[Operation]) -> Result<Action> {
    let mut args = Args::new(tokens);
    let subject = args.word().context("a line starts with a client's name")?;
    let action = match subject.as_str() {
        "wait" => Action::Wait(millis(&mut args)?),
        "word" => Action::Word(word(&mut args)?),
        "server" => match args.word().as_deref() {
            Some("restart") => Action::Restart(Down::Stopped),
            Some("crash") => Action::Restart(Down::Killed),
            other => bail!("the server can restart or crash, not {other:?}"),
        },
        name if name.starts_with('s')
            && name.len() > 1
            && name.bytes().skip(1).all(|byte| byte.is_ascii_digit()) =>
        {
            return Ok(Action::Client(subject.clone(), client_action(args, subs)?));
        }
        name => bail!("'{name}' is no client; they are called s1, s2, …"),
    };
    ensure!(subs.is_empty(), "only a multi has parts");
    args.finish()?;
    Ok(action)
}

/// A number of milliseconds.
fn millis(args: &mut Args) -> Result<Duration> {
    let ms: u64 = args.word().context("how many milliseconds?")?.parse()?;
    Ok(Duration::from_millis(ms))
}

fn word(args: &mut Args) -> Result<Word> {
    let mut bytes = args.word().context("which word?")?.into_bytes();
    if let Some(Value::Hex(extra)) = args.named("extra") {
        bytes.extend(extra);
    }
    let only = match args.named("only") {
        Some(Value::Bare(text)) => Some(text.split(',').map(str::to_owned).collect()),
        Some(Value::Quoted(text)) => {
            Some(String::from_utf8(text)?.split(',').map(str::to_owned).collect())
        }
        _ => None,
    };
    Ok(Word {
        bytes,
        only,
        exact: args.flag("exact"),
        keys: args.flag("keys"),
        sorted: args.flag("sorted"),
    })
}

fn client_action(mut args: Args, subs: &[Operation]) -> Result<ClientAction> {
    let verb = args.word().context("what does the client do?")?;
    let action = match verb.as_str() {
        "connect" => ClientAction::Connect(connect(&mut args)?),
        "tcp" => ClientAction::Tcp,
        "frame" => ClientAction::Frame(args.atoms()?),
        "bytes" => ClientAction::Bytes(args.atoms()?),
        "hangup" => ClientAction::Hangup,
        "quiet" => ClientAction::Quiet,
        "awake" => ClientAction::Awake,
        "unordered" => ClientAction::Unordered,
        "await" => {
            let frames = if args.flag("close") {
                None
            } else {
                Some(args.word().map_or(Ok(1), |word| word.parse())?)
            };
            let within = Duration::from_millis(args.number("within")?.unwrap_or(5000));
            ClientAction::Await { frames, within }
        }
        _ => {
            let xid = args.number("xid")?;
            let cut_bytes = args.number("cut")?.unwrap_or(0);
            let size_bytes = args.number("size")?;
            let extra = extra(&mut args)?;
            let sorted = verb == "getACL" && args.flag("sorted");
            let operation = named_operation(&verb, args, subs)?;
            return Ok(ClientAction::Send(Send {
                operation,
                xid,
                cut_bytes,
                extra,
                size_bytes,
                sorted,
            }));
        }
    };
    ensure!(subs.is_empty(), "only a multi has parts");
    args.finish()?;
    Ok(action)
}

fn extra(args: &mut Args) -> Result<Vec<u8>> {
    match args.named("extra") {
        None => Ok(Vec::new()),
        Some(Value::Hex(bytes)) => Ok(bytes),
        Some(_) => bail!("extra is hex:…"),
    }
}

fn operation(mut args: Args, subs: &[Operation]) -> Result<Operation> {
    let name = args.word().context("which operation?")?;
    named_operation(&name, args, subs)
}

fn named_operation(name: &str, mut args: Args, subs: &[Operation]) -> Result<Operation> {
    Operation::parse(name, &mut args, subs)
}

fn connect(args: &mut Args) -> Result<Connect> {
    let mut bare = |key: &str| match args.named(key) {
        None => Ok(None),
        Some(Value::Bare(text)) => Ok(Some(text)),
        Some(other) => bail!("{key} cannot be {other:?}"),
    };
    let last_zxid = bare("lastZxid")?.unwrap_or_else(|| "0".to_owned());
    let session = bare("session")?;
    let read_only = match bare("readOnly")?.as_deref() {
        None | Some("false") => Some(false),
        Some("true") => Some(true),
        Some("none") => None,
        Some(other) => bail!("readOnly cannot be {other}"),
    };
    Ok(Connect {
        protocol_version: args.number("version")?.unwrap_or(0),
        last_zxid,
        timeout_ms: args.number("timeout")?.unwrap_or(10_000),
        session,
        password: args.named("password"),
        read_only,
        extra: extra(args)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
# A sentence.
# checklist: 3, 5-7
# out of reach: 64; needs two servers
# server: tickTime=200 fresh

s1 connect
    s1 connect ok

# differs: a reason
s1 multi
+ create ~/a
+ delete ~/a
s2 ping
    zookeeper| s1 multi ok
    rookeeper| s1 closed
wait 20

# The end.
";

    #[test]
    fn a_script_has_a_header_and_steps() {
        let script = Script::parse("name", TEXT).unwrap();

        assert_eq!(script.title, "A sentence.");
        assert_eq!(Vec::from_iter(script.checklist.clone()), [3, 5, 6, 7]);
        assert_eq!(script.out_of_reach[&64], "needs two servers");
        assert!(script.needs.fresh);
        assert_eq!(script.needs.settings["tickTime"], "200");
        assert_eq!(script.steps.len(), 3);
        assert_eq!(script.steps[1].line, 10);
        assert_eq!(script.steps[1].actions.len(), 2);
        assert_eq!(script.steps[1].expected_of(Judge::Rookeeper), ["s1 closed"]);
        assert_eq!(script.steps[2].actions, [Action::Wait(Duration::from_millis(20))]);
    }

    #[test]
    fn recording_replaces_the_expectations_of_one_judge_and_keeps_all_else() {
        let script = Script::parse("name", TEXT).unwrap();
        let line = |text: &str| vec![text.to_owned()];
        let transcripts = [line("s1 connect ok"), line("s1 multi ok"), Vec::new()];

        assert_eq!(script.rewrite(Judge::Zookeeper, &transcripts), TEXT);

        let transcripts = [line("s1 new"), line("s1 multi changed"), line("s2 more")];
        let rewritten = script.rewrite(Judge::Zookeeper, &transcripts);
        let expected = TEXT
            .replace("s1 connect ok", "s1 new")
            .replace("s1 multi ok", "s1 multi changed")
            .replace("wait 20\n", "wait 20\n    s2 more\n");
        assert_eq!(rewritten, expected);
    }

    #[test]
    fn judges_differ_only_with_a_reason() {
        let split = "# T.\ns1 ping\n    zookeeper| s1 ping ok\n";
        assert!(Script::parse("name", split).is_err());
        let reason_only = "# T.\n# differs: why\ns1 ping\n    s1 ping ok\n";
        assert!(Script::parse("name", reason_only).is_err());
    }

    #[test]
    fn what_means_nothing_is_refused() {
        for text in [
            "",
            "s1 ping\n",
            "# T.\n",
            "# T.\nx1 ping\n",
            "# T.\n# checklist: 91\ns1 ping\n",
            "# T.\ns1 ping\n# server: tickTime=1\n",
            "# T.\n    s1 ping ok\n",
            "# T.\ns1 ping\n+ create ~/a\n",
            "# T.\nserver sleep\n",
        ] {
            assert!(Script::parse("name", text).is_err(), "{text}");
        }
    }
}
