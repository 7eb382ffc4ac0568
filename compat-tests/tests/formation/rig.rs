//! Servers that are started, stopped and configured one by one, each with its own idea of the ensemble.
//!
//! What was started here is ended here, also if a test fails or is interrupted.

use std::collections::BTreeMap;
use std::fs::File;
use std::net::SocketAddr;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use compat_tests::control::now;
use compat_tests::ensemble::guard::Guard;
use compat_tests::ensemble::net::Net;
use compat_tests::ensemble::{status, word};

use crate::support::client::{Client, Session};
use crate::support::process::program;

/// How long an ensemble may take to come about, on a machine that has much else to do.
pub(crate) const FORMATION_TIMEOUT: Duration = Duration::from_secs(30);
/// How long to sleep between two looks.
pub(crate) const PAUSE: Duration = Duration::from_millis(30);
/// How long a server may take to end.
const END_TIMEOUT: Duration = Duration::from_secs(15);

/// Settings of every server.
const SETTINGS: &[(&str, &str)] = &[
    ("tickTime", "500"),
    ("initLimit", "20"),
    ("syncLimit", "4"),
    ("maxSessionTimeout", "60000"),
    ("admin.enableServer", "false"),
    ("4lw.commands.whitelist", "*"),
];

struct Server {
    home: PathBuf,
    /// What its configuration says beyond [`SETTINGS`].
    settings: BTreeMap<String, String>,
    child: Option<Child>,
    starts: usize,
    /// What the process is started through: `unshare`, a shell.
    wrapper: Option<String>,
}

/// The servers.
pub(crate) struct Rig {
    net: Net,
    servers: BTreeMap<usize, Server>,
    guard: Guard,
    dir: tempfile::TempDir,
}

impl Rig {
    /// So many servers with the same list of servers, none of them started.
    pub(crate) fn new(servers: usize) -> Result<Rig> {
        Rig::with(servers, false)
    }

    /// As [`Rig::new`], each in a network of its own.
    pub(crate) fn cuttable(servers: usize) -> Result<Rig> {
        Rig::with(servers, true)
    }

    fn with(servers: usize, is_cuttable: bool) -> Result<Rig> {
        let dir = tempfile::Builder::new().prefix("ensemble-").tempdir()?;
        let mut guard = Guard::new()?;
        guard.has_directory(dir.path())?;
        let net = if is_cuttable {
            Net::namespaces(servers, &mut guard)?
        } else {
            Net::loopback(servers)?
        };
        let mut rig = Rig { net, servers: BTreeMap::new(), guard, dir };
        for number in 1..=servers {
            let home = rig.dir.path().join(number.to_string());
            std::fs::create_dir_all(home.join("data"))?;
            let settings = SETTINGS.iter().map(|(key, value)| ((*key).into(), (*value).into()));
            let server = Server {
                home,
                settings: settings.collect(),
                child: None,
                starts: 0,
                wrapper: None,
            };
            rig.servers.insert(number, server);
            for other in 1..=servers {
                let line = rig.line(other);
                rig.set(number, &format!("server.{other}"), &line)?;
            }
        }
        Ok(rig)
    }

    fn server(&mut self, number: usize) -> Result<&mut Server> {
        self.servers.get_mut(&number).with_context(|| format!("no server {number}"))
    }

    /// The network of the servers.
    pub(crate) fn net(&self) -> &Net {
        &self.net
    }

    /// Numbers of all servers.
    pub(crate) fn all(&self) -> Vec<usize> {
        self.servers.keys().copied().collect()
    }

    /// The value of `server.N` in every list, unless a test says otherwise.
    pub(crate) fn line(&self, number: usize) -> String {
        self.net.server_line(number)
    }

    /// What a server's configuration says about a key, from its next start on.
    pub(crate) fn set(&mut self, number: usize, key: &str, value: &str) -> Result<()> {
        self.server(number)?.settings.insert(key.to_owned(), value.to_owned());
        Ok(())
    }

    /// What every server's configuration says.
    pub(crate) fn set_all(&mut self, key: &str, value: &str) -> Result<()> {
        self.all().into_iter().try_for_each(|number| self.set(number, key, value))
    }

    /// What a server's configuration says about a key.
    pub(crate) fn setting(&mut self, number: usize, key: &str) -> Result<String> {
        self.server(number)?.settings.get(key).cloned().with_context(|| format!("no {key}"))
    }

    /// Takes a key out of a server's configuration.
    pub(crate) fn unset(&mut self, number: usize, key: &str) -> Result<()> {
        self.server(number)?.settings.remove(key);
        Ok(())
    }

    /// Makes a server standalone; it keeps its `clientPort` and address.
    pub(crate) fn make_standalone(&mut self, number: usize) -> Result<()> {
        for other in self.all() {
            self.unset(number, &format!("server.{other}"))?;
        }
        let address = self.address(number);
        self.set(number, "clientPort", &address.port().to_string())?;
        self.set(number, "clientPortAddress", &address.ip().to_string())
    }

    /// Makes it a member again.
    pub(crate) fn make_member(&mut self, number: usize) -> Result<()> {
        self.unset(number, "clientPort")?;
        self.unset(number, "clientPortAddress")?;
        for other in self.all() {
            let line = self.line(other);
            self.set(number, &format!("server.{other}"), &line)?;
        }
        Ok(())
    }

    /// A shell command through which the server is started from now on: `$0` and what follows is it.
    pub(crate) fn wrap(&mut self, number: usize, script: Option<&str>) -> Result<()> {
        self.server(number)?.wrapper = script.map(str::to_owned);
        Ok(())
    }

    /// Its home.
    pub(crate) fn home(&mut self, number: usize) -> Result<PathBuf> {
        Ok(self.server(number)?.home.clone())
    }

    /// Its `dataDir`.
    pub(crate) fn data(&mut self, number: usize) -> Result<PathBuf> {
        Ok(self.home(number)?.join("data"))
    }

    /// Where its clients reach it.
    pub(crate) fn address(&self, number: usize) -> SocketAddr {
        self.net.client_address(number)
    }

    /// Starts a server and waits for nothing.
    pub(crate) fn start(&mut self, number: usize) -> Result<()> {
        let server = self.server(number)?;
        ensure!(server.child.is_none(), "server {number} runs already");
        server.starts += 1;
        let home = server.home.clone();
        let data = home.join("data");
        std::fs::create_dir_all(&data)?;
        std::fs::write(data.join("myid"), format!("{number}\n"))?;
        let mut config = format!("dataDir={}\n", data.display());
        for (key, value) in &server.settings {
            config.extend([key, "=", value, "\n"]);
        }
        let path = home.join("zoo.cfg");
        std::fs::write(&path, config)?;
        let log = File::create(home.join(format!("log-{}", server.starts)))?;
        let program = program()?.display().to_string();
        let wrapper = server.wrapper.clone();
        let mut command = match wrapper {
            None => self.net.command(number, &program),
            Some(script) => {
                let mut command = Command::new("unshare");
                command.args(["--mount", "sh", "-ec", &script, &program]);
                command
            }
        };
        command.arg("--config").arg(path).current_dir(home).process_group(0);
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let child = command.spawn().with_context(|| format!("starting server {number}"))?;
        self.guard.has_process(child.id())?;
        self.server(number)?.child = Some(child);
        Ok(())
    }

    /// Makes a stopped server's data an ensemble of its own.
    pub(crate) fn recover(&mut self, number: usize) -> Result<()> {
        let config = self.home(number)?.join("zoo.cfg");
        let mut command = Command::new(program()?);
        command.args(["--recover", "--others-are-lost", "--config"]).arg(config);
        let output = command.stdin(Stdio::null()).output()?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "server {number} cannot be recovered: {said}");
        Ok(())
    }

    /// Starts servers at once.
    pub(crate) fn start_all(&mut self, numbers: &[usize]) -> Result<()> {
        numbers.iter().try_for_each(|number| self.start(*number))
    }

    /// What a server has said since its last start.
    pub(crate) fn said(&mut self, number: usize) -> Result<String> {
        let server = self.server(number)?;
        let path = server.home.join(format!("log-{}", server.starts));
        Ok(std::fs::read_to_string(path).unwrap_or_default())
    }

    /// Waits until a server has said this since its last start.
    pub(crate) fn await_words(
        &mut self,
        number: usize,
        words: &str,
        limit: Duration,
    ) -> Result<()> {
        let deadline = now() + limit;
        loop {
            let said = self.said(number)?;
            if said.contains(words) {
                return Ok(());
            }
            ensure!(now() < deadline, "server {number} does not say {words:?}:\n{}", tail(&said));
            std::thread::sleep(PAUSE);
        }
    }

    /// How a server ended by itself, if it has.
    pub(crate) fn ended(&mut self, number: usize) -> Result<Option<ExitStatus>> {
        let server = self.server(number)?;
        let Some(child) = &mut server.child else { return Ok(None) };
        let (status, pid) = (child.try_wait()?, child.id());
        if status.is_some() {
            server.child = None;
            self.guard.process_ended(pid)?;
        }
        Ok(status)
    }

    /// Waits until a server ends by itself; what it said.
    pub(crate) fn await_end(&mut self, number: usize) -> Result<(ExitStatus, String)> {
        let deadline = now() + END_TIMEOUT;
        loop {
            if let Some(status) = self.ended(number)? {
                return Ok((status, self.said(number)?));
            }
            let said = self.said(number)?;
            ensure!(now() < deadline, "server {number} does not end; it said:\n{}", tail(&said));
            std::thread::sleep(PAUSE);
        }
    }

    /// Servers that run.
    pub(crate) fn running(&self) -> Vec<usize> {
        let running = self.servers.iter().filter(|(_, server)| server.child.is_some());
        running.map(|(number, _)| *number).collect()
    }

    /// Sends a signal to a server.
    pub(crate) fn signal(&mut self, number: usize, name: &str) -> Result<()> {
        let child = self.server(number)?.child.as_ref().context("the server does not run")?;
        let pid = child.id().to_string();
        let sent = Command::new("kill").arg(format!("-{name}")).arg(pid).status()?;
        ensure!(sent.success(), "kill -{name} of server {number}");
        Ok(())
    }

    /// Gives more room to a server whose `dataDir` is a disk in memory.
    pub(crate) fn enlarge_disk(&mut self, number: usize) -> Result<()> {
        let data = self.data(number)?;
        let child = self.server(number)?.child.as_ref().context("the server does not run")?;
        let mut command = Command::new("nsenter");
        command.args(["--mount", "--target", &child.id().to_string()]);
        command.args(["mount", "-o", "remount,size=1g"]).arg(data);
        ensure!(command.status()?.success(), "the disk of server {number} stays as it is");
        Ok(())
    }

    /// Ends a server with SIGKILL.
    pub(crate) fn kill(&mut self, number: usize) -> Result<()> {
        if let Some(status) = self.ended(number)? {
            bail!("server {number} ended by itself, {status}; it said:\n{}", self.said(number)?);
        }
        let mut child = self.server(number)?.child.take().context("the server does not run")?;
        child.kill()?;
        child.wait()?;
        self.guard.process_ended(child.id())
    }

    /// Ends servers with SIGKILL.
    pub(crate) fn kill_all(&mut self) -> Result<()> {
        self.running().into_iter().try_for_each(|number| self.kill(number))
    }

    /// Ends a server with SIGTERM.
    pub(crate) fn stop(&mut self, number: usize) -> Result<()> {
        self.signal(number, "TERM")?;
        let (status, said) = self.await_end(number)?;
        ensure!(status.success(), "server {number} stopped with {status}; it said:\n{said}");
        Ok(())
    }

    /// Removes a server's data.
    pub(crate) fn wipe(&mut self, number: usize) -> Result<()> {
        let server = self.server(number)?;
        ensure!(server.child.is_none(), "server {number} runs");
        std::fs::remove_dir_all(server.home.join("data"))?;
        Ok(())
    }

    /// What a server is at the moment: `leader`, `follower`, …; none if it does not serve.
    pub(crate) fn mode(&self, number: usize) -> Option<String> {
        status(self.address(number)).map(|status| status.mode)
    }

    /// Who leads, if anybody.
    pub(crate) fn leader(&self) -> Option<usize> {
        let mut running = self.running().into_iter();
        running.find(|number| self.mode(*number).is_some_and(|mode| mode == "leader"))
    }

    /// Waits until somebody leads.
    pub(crate) fn await_leader(&self) -> Result<usize> {
        let deadline = now() + FORMATION_TIMEOUT;
        loop {
            if let Some(leader) = self.leader() {
                return Ok(leader);
            }
            ensure!(now() < deadline, "nobody leads");
            std::thread::sleep(PAUSE);
        }
    }

    /// What a server answers to a four-letter word.
    pub(crate) fn word(&self, number: usize, what: &str) -> Result<String> {
        word(self.address(number), what)
    }

    /// Waits until all that run serve, under one leader.
    pub(crate) fn await_one(&mut self) -> Result<usize> {
        self.await_one_within(FORMATION_TIMEOUT)
    }

    /// As [`Rig::await_one`], for so long.
    pub(crate) fn await_one_within(&mut self, limit: Duration) -> Result<usize> {
        let deadline = now() + limit;
        loop {
            let running = self.running();
            let mut modes = BTreeMap::new();
            for number in &running {
                if let Some(status) = self.ended(*number)? {
                    let said = self.said(*number)?;
                    bail!("server {number} ended by itself, {status}; it said:\n{said}");
                }
                modes.insert(*number, self.mode(*number));
            }
            let leads = |mode: &&Option<String>| mode.as_deref() == Some("leader");
            if modes.values().filter(leads).count() == 1 && modes.values().all(Option::is_some) {
                let mut leader = modes.iter().filter(|(_, mode)| leads(mode));
                return leader.next().map(|(number, _)| *number).context("there is one");
            }
            if now() >= deadline {
                let said = running.iter().map(|number| {
                    let said = self.said(*number).unwrap_or_default();
                    format!("--- server {number}\n{}", tail(&said))
                });
                let said: Vec<String> = said.collect();
                let said = said.join("\n");
                bail!("servers {running:?} do not serve as one after {limit:?}: {modes:?}\n{said}");
            }
            std::thread::sleep(PAUSE);
        }
    }

    /// A new session at a server.
    pub(crate) fn client(&self, number: usize) -> Result<Client> {
        Client::open_at(self.address(number), SESSION_MS)
            .with_context(|| format!("a session at server {number}"))
    }

    /// Has a new session at a server do something. A busy machine may make servers lose their leader for a
    /// moment; they close connections then, as they should, and what was asked is asked again.
    pub(crate) fn ask<T>(
        &self,
        number: usize,
        what: impl Fn(&mut Client) -> Result<T>,
    ) -> Result<T> {
        let deadline = now() + ASK_TIMEOUT;
        loop {
            let asked = self.client(number).and_then(|mut client| {
                let answer = what(&mut client)?;
                client.close()?;
                Ok(answer)
            });
            match asked {
                Err(error) if is_lost(&error) && now() < deadline => std::thread::sleep(PAUSE),
                asked => return asked,
            }
        }
    }

    /// A session that goes on at another server.
    pub(crate) fn moved(&self, number: usize, session: &Session) -> Result<Option<Client>> {
        Client::attach_at(self.address(number), session)
    }
}

/// How long a server may have no leader, in the middle of an ensemble that is well.
const ASK_TIMEOUT: Duration = Duration::from_secs(10);

/// Whether all that went wrong is that the server closed the connection.
fn is_lost(error: &anyhow::Error) -> bool {
    let text = error.root_cause().to_string();
    ["the server closed the connection", "the handshake is not answered"].contains(&text.as_str())
}

/// Timeout of sessions: longer than any test takes.
const SESSION_MS: i32 = 60_000;
/// Lines of a log that are shown.
const TAIL_LINES: usize = 25;

/// The last lines.
fn tail(said: &str) -> String {
    // What the tests themselves ask is no news.
    let news = said.lines().filter(|line| !line.contains("Processing "));
    let lines: Vec<&str> = news.rev().take(TAIL_LINES).collect();
    lines.into_iter().rev().collect::<Vec<_>>().join("\n")
}

/// Copies a directory.
pub(crate) fn copy_directory(from: &Path, to: &Path) -> Result<()> {
    let copied = Command::new("cp").arg("-a").arg(from).arg(to).status()?;
    ensure!(copied.success(), "copying {}", from.display());
    Ok(())
}

impl Drop for Rig {
    fn drop(&mut self) {
        // Nobody can be told here; what could not be ended here the guard ends.
        for server in self.servers.values_mut() {
            if let Some(mut child) = server.child.take() {
                let _ = child.kill();
                let _ = child.wait();
                let _ = self.guard.process_ended(child.id());
            }
        }
        if let Ok(keep) = std::env::var("FORMATION_KEEP") {
            let _ = copy_directory(self.dir.path(), Path::new(&keep));
        }
        self.net.remove();
        self.guard.dismiss();
    }
}
