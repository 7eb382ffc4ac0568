//! An ensemble of servers as processes, faults that strike it, clients at work and judges of what they
//! saw.
//!
//! [`Ensemble`] starts and stops servers and cuts their network; a [schedule](faults) does that by a
//! seed. Meanwhile [clients](client) follow a [workload](workload) and write down each request with
//! the time before and after it ([`history`]). [Checks](check) are pure functions of what was written
//! down. Nothing here knows which server is under test, except how it is started.

pub mod chance;
pub mod check;
pub mod client;
pub mod faults;
pub mod guard;
pub mod history;
pub mod net;
pub mod proxy;
pub mod trial;
pub mod walk;
pub mod workload;

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use crate::control::now;
use crate::script::Judge;
use crate::server::ROOKEEPER_BIN;
use guard::Guard;
use net::Net;

/// How long an ensemble may take until it serves, on a machine that has much else to do.
pub const START_TIMEOUT: Duration = Duration::from_mins(1);
/// How long a server may take to heed SIGTERM.
const STOP_TIMEOUT: Duration = Duration::from_secs(15);
/// How long to sleep between two looks.
const PAUSE: Duration = Duration::from_millis(50);
/// How long a four-letter word may take.
const WORD_TIMEOUT: Duration = Duration::from_secs(1);

/// Settings of every server. A tick is short, so that elections and expiry are quick to see.
const SETTINGS: &[(&str, &str)] = &[
    ("tickTime", "500"),
    ("initLimit", "20"),
    ("syncLimit", "5"),
    ("minSessionTimeout", "1000"),
    ("maxSessionTimeout", "30000"),
    ("maxClientCnxns", "0"),
    ("admin.enableServer", "false"),
    ("4lw.commands.whitelist", "*"),
];

/// What a server says of itself.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Status {
    /// `leader`, `follower`, …
    pub mode: String,
    /// Its last zxid.
    pub zxid: i64,
}

/// One server.
struct Member {
    number: usize,
    home: PathBuf,
    child: Option<Child>,
    is_paused: bool,
}

/// Servers that are ended when they are dropped.
pub struct Ensemble {
    judge: Judge,
    members: Vec<Member>,
    net: Net,
    dir: Option<tempfile::TempDir>,
    settings: Vec<(String, String)>,
    guard: Guard,
    /// How often a server ended by itself and was started again.
    pub falls: usize,
}

/// The jars of a real ZooKeeper, installed once.
fn jars() -> Result<&'static Path> {
    static JARS: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let install = || {
        let rig = crate::home().join("upstream/zookeeper");
        let output = Command::new(rig).arg("install").stdin(Stdio::null()).output();
        let output = output.map_err(|error| error.to_string())?;
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).into_owned());
        }
        Ok(PathBuf::from(String::from_utf8_lossy(&output.stdout).trim()))
    };
    let jars = JARS.get_or_init(install).as_ref();
    jars.map(PathBuf::as_path).map_err(|error| anyhow::anyhow!("installing ZooKeeper: {error}"))
}

/// Sends a signal to a process that is ours.
fn signal(name: &str, child: &Child) -> Result<()> {
    let status = Command::new("kill").arg(format!("-{name}")).arg(child.id().to_string()).status();
    ensure!(status?.success(), "kill -{name} {}", child.id());
    Ok(())
}

/// What the server at `address` answers to a four-letter word.
///
/// # Errors
///
/// No answer.
pub fn word(address: SocketAddr, word: &str) -> Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, WORD_TIMEOUT)?;
    stream.set_read_timeout(Some(WORD_TIMEOUT))?;
    stream.write_all(word.as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

/// What the server at `address` says of itself; none if it does not serve.
pub fn status(address: SocketAddr) -> Option<Status> {
    let answer = word(address, "srvr").ok()?;
    let value = |key: &str| answer.lines().find_map(|line| line.strip_prefix(key));
    let zxid = value("Zxid: 0x").and_then(|zxid| i64::from_str_radix(zxid.trim(), 16).ok());
    Some(Status { mode: value("Mode: ")?.trim().to_owned(), zxid: zxid.unwrap_or_default() })
}

impl Ensemble {
    /// Servers that are not started: on loopback, or in namespaces, where they can be cut off.
    ///
    /// # Errors
    ///
    /// There is no place for them.
    pub fn new(judge: Judge, servers: usize, in_namespaces: bool) -> Result<Ensemble> {
        let dir = tempfile::Builder::new().prefix("ensemble-").tempdir()?;
        let mut guard = Guard::new()?;
        guard.has_directory(dir.path())?;
        let net = if in_namespaces {
            Net::namespaces(servers, &mut guard)?
        } else {
            Net::loopback(servers)?
        };
        let settings = SETTINGS.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        let settings = settings.collect();
        let member = |number: usize| {
            let home = dir.path().join(number.to_string());
            Member { number, home, child: None, is_paused: false }
        };
        let members = (1..=servers).map(member).collect();
        Ok(Ensemble { judge, members, net, dir: Some(dir), settings, guard, falls: 0 })
    }

    /// Another value of a setting, for servers that are started from now on.
    pub fn set(&mut self, key: &str, value: &str) {
        self.settings.retain(|(known, _)| known != key);
        self.settings.push((key.to_owned(), value.to_owned()));
    }

    /// Numbers of the servers, from 1.
    pub fn numbers(&self) -> Vec<usize> {
        self.members.iter().map(|member| member.number).collect()
    }

    /// Where clients reach the servers.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.numbers().into_iter().map(|number| self.net.client_address(number)).collect()
    }

    /// Where clients reach one server.
    pub fn address(&self, number: usize) -> SocketAddr {
        self.net.client_address(number)
    }

    /// Whether servers can be cut off from one another.
    pub fn net(&self) -> &Net {
        &self.net
    }

    fn member(&mut self, number: usize) -> Result<&mut Member> {
        self.members.get_mut(number.wrapping_sub(1)).with_context(|| format!("no server {number}"))
    }

    fn config(&self, home: &Path) -> String {
        let mut config = format!("dataDir={}\n", home.join("data").display());
        for (key, value) in &self.settings {
            config.extend([key, "=", value, "\n"]);
        }
        for number in self.numbers() {
            let line = self.net.server_line(number);
            config.extend(["server.", &number.to_string(), "=", &line, "\n"]);
        }
        config
    }

    fn command(&self, number: usize, config: &Path) -> Result<Command> {
        if self.judge == Judge::Rookeeper {
            let program = std::env::var_os(ROOKEEPER_BIN);
            let program = program.with_context(|| format!("{ROOKEEPER_BIN} names no program"))?;
            let program = std::path::absolute(program)?;
            let mut command = self.net.command(number, &program.display().to_string());
            command.arg("--config").arg(config);
            return Ok(command);
        }
        let mut command = self.net.command(number, "java");
        let logback = crate::home().join("upstream/logback.xml");
        // The disk is not what is judged here: processes end, the machine does not.
        command.args(["-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]);
        command.arg("-Dzookeeper.forceSync=no");
        command.arg(format!("-Dlogback.configurationFile={}", logback.display()));
        command.arg("-cp").arg(jars()?.join("lib/*"));
        command.arg("org.apache.zookeeper.server.quorum.QuorumPeerMain").arg(config);
        Ok(command)
    }

    /// Starts a server and waits for nothing.
    ///
    /// # Errors
    ///
    /// It runs already, or cannot be started.
    pub fn launch(&mut self, number: usize) -> Result<()> {
        let member = self.member(number)?;
        ensure!(member.child.is_none(), "server {number} runs already");
        let home = member.home.clone();
        std::fs::create_dir_all(home.join("data"))?;
        std::fs::write(home.join("data/myid"), format!("{number}\n"))?;
        std::fs::write(home.join("zoo.cfg"), self.config(&home))?;
        let log = File::options().create(true).append(true).open(home.join("log"))?;
        let mut command = self.command(number, &home.join("zoo.cfg"))?;
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        // Ctrl-C is for us; the guard ends the servers then.
        command.process_group(0).current_dir(&home);
        let child = command.spawn().with_context(|| format!("starting server {number}"))?;
        self.guard.has_process(child.id())?;
        self.member(number)?.child = Some(child);
        Ok(())
    }

    /// Starts every server and waits until all serve.
    ///
    /// # Errors
    ///
    /// They do not come up.
    pub fn start(&mut self) -> Result<()> {
        for number in self.numbers() {
            self.launch(number)?;
        }
        self.await_all(START_TIMEOUT)
    }

    /// Waits until every server that runs also serves, under one leader.
    ///
    /// # Errors
    ///
    /// One ended, or it takes too long.
    pub fn await_all(&mut self, limit: Duration) -> Result<()> {
        let deadline = now() + limit;
        loop {
            let running = self.running();
            for &number in &running {
                self.see_end(number)?;
            }
            let addresses = running.iter().map(|number| self.address(*number));
            let modes: Vec<_> = addresses.filter_map(status).map(|status| status.mode).collect();
            // A server without others has nobody to lead.
            let leads = |mode: &&String| ["leader", "standalone"].contains(&mode.as_str());
            let leaders = modes.iter().filter(leads).count();
            if modes.len() == running.len() && leaders == 1 {
                return Ok(());
            }
            ensure!(
                now() < deadline,
                "servers {running:?} do not all serve within {limit:?}: {modes:?}"
            );
            std::thread::sleep(PAUSE);
        }
    }

    /// Servers that run, paused or not.
    pub fn running(&self) -> Vec<usize> {
        let running = self.members.iter().filter(|member| member.child.is_some());
        running.map(|member| member.number).collect()
    }

    /// Servers that run and are not paused.
    pub fn awake(&self) -> Vec<usize> {
        let awake = self.members.iter().filter(|member| member.child.is_some());
        awake.filter(|member| !member.is_paused).map(|member| member.number).collect()
    }

    /// The server that says that it leads, the newest if several do.
    pub fn leader(&self) -> Option<usize> {
        let statuses = self.awake().into_iter().filter_map(|number| {
            status(self.address(number)).map(|status| (status.zxid, number, status.mode))
        });
        let leaders = statuses.filter(|(_, _, mode)| mode != "follower");
        leaders.max().map(|(_, number, _)| number)
    }

    /// Fails if a server that should run has ended by itself.
    ///
    /// A real ZooKeeper 3.9.5 does that: a follower that loses its leader while commits are under way
    /// may find them "cached out of order" and exit. Whoever runs it starts it again, and so do we.
    ///
    /// # Errors
    ///
    /// It has, and is not a real ZooKeeper.
    pub fn see_end(&mut self, number: usize) -> Result<()> {
        let is_real = self.judge == Judge::Zookeeper;
        let member = self.member(number)?;
        if let Some(child) = &mut member.child
            && let Some(status) = child.try_wait()?
        {
            if is_real {
                let pid = child.id();
                member.child = None;
                self.guard.process_ended(pid)?;
                self.falls += 1;
                return self.launch(number);
            }
            let log = std::fs::read_to_string(member.home.join("log")).unwrap_or_default();
            let lines: Vec<_> = log.lines().rev().take(20).collect();
            let tail: Vec<_> = lines.into_iter().rev().collect();
            bail!("server {number} ended by itself, {status}; it said:\n{}", tail.join("\n"));
        }
        Ok(())
    }

    /// Ends a server with SIGKILL.
    ///
    /// # Errors
    ///
    /// It had ended by itself.
    pub fn kill(&mut self, number: usize) -> Result<()> {
        self.see_end(number)?;
        let member = self.member(number)?;
        member.is_paused = false;
        let Some(mut child) = member.child.take() else { return Ok(()) };
        child.kill()?;
        child.wait()?;
        self.guard.process_ended(child.id())
    }

    /// Ends a server with SIGTERM.
    ///
    /// # Errors
    ///
    /// It does not heed it.
    pub fn terminate(&mut self, number: usize) -> Result<()> {
        self.see_end(number)?;
        self.resume(number)?;
        let Some(mut child) = self.member(number)?.child.take() else { return Ok(()) };
        signal("TERM", &child)?;
        let deadline = now() + STOP_TIMEOUT;
        while child.try_wait()?.is_none() {
            if now() >= deadline {
                child.kill()?;
                child.wait()?;
                self.guard.process_ended(child.id())?;
                bail!("server {number} did not heed SIGTERM within {STOP_TIMEOUT:?}");
            }
            std::thread::sleep(PAUSE);
        }
        self.guard.process_ended(child.id())
    }

    /// Lets a server stand still.
    ///
    /// # Errors
    ///
    /// It does not run.
    pub fn pause(&mut self, number: usize) -> Result<()> {
        let member = self.member(number)?;
        signal("STOP", member.child.as_ref().context("the server does not run")?)?;
        member.is_paused = true;
        Ok(())
    }

    /// Lets it go on.
    ///
    /// # Errors
    ///
    /// It cannot be told.
    pub fn resume(&mut self, number: usize) -> Result<()> {
        let member = self.member(number)?;
        if let Some(child) = &member.child
            && member.is_paused
        {
            signal("CONT", child)?;
            member.is_paused = false;
        }
        Ok(())
    }

    /// Removes the data of a server that is down; it keeps its number.
    ///
    /// # Errors
    ///
    /// It runs.
    pub fn wipe(&mut self, number: usize) -> Result<()> {
        let member = self.member(number)?;
        ensure!(member.child.is_none(), "server {number} runs");
        std::fs::remove_dir_all(member.home.join("data"))?;
        Ok(())
    }

    /// Undoes whatever was done to servers and network, and waits until all serve.
    ///
    /// # Errors
    ///
    /// They do not.
    pub fn heal(&mut self) -> Result<()> {
        self.mend_all()?;
        for number in self.numbers() {
            self.resume(number)?;
            if self.member(number)?.child.is_none() {
                self.launch(number)?;
            }
        }
        self.await_all(START_TIMEOUT)
    }

    /// Mends every way between servers.
    ///
    /// # Errors
    ///
    /// The system refuses.
    pub fn mend_all(&self) -> Result<()> {
        if !self.net.can_be_cut() {
            return Ok(());
        }
        for from in self.numbers() {
            self.net.throttle(from, 0)?;
            for to in self.numbers().into_iter().filter(|to| *to != from) {
                self.net.mend(from, to)?;
            }
        }
        Ok(())
    }

    /// Where everything lies; kept when this is dropped.
    pub fn keep(&mut self) -> PathBuf {
        self.dir.take().map(tempfile::TempDir::keep).unwrap_or_default()
    }
}

impl Drop for Ensemble {
    fn drop(&mut self) {
        // Nobody can be told here; what could not be ended here the guard ends.
        for member in &mut self.members {
            if let Some(mut child) = member.child.take() {
                let _ = child.kill();
                let _ = child.wait();
                let _ = self.guard.process_ended(child.id());
            }
        }
        self.net.remove();
        self.guard.dismiss();
    }
}
