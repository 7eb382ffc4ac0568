//! Starts and stops a server of our own on loopback: a real ZooKeeper or Rookeeper.
//!
//! It never touches a process that it did not start, and never waits without a limit.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use bytes::BytesMut;

use crate::control::now;
use crate::engine::{Engine, Received, Tcp, Wire};
use crate::script::{Down, Judge};

/// How long Rookeeper may take until it serves.
const START_TIMEOUT: Duration = Duration::from_mins(1);

/// How long it may take to heed SIGTERM.
const STOP_TIMEOUT: Duration = Duration::from_secs(15);

/// How long to sleep between two looks.
const PAUSE: Duration = Duration::from_millis(20);

/// The program to run as Rookeeper.
pub const ROOKEEPER_BIN: &str = "ROOKEEPER_BIN";

/// Settings of every server, unless a script names its own.
const SETTINGS: &[(&str, &str)] = &[
    ("tickTime", "2000"),
    ("clientPortAddress", "127.0.0.1"),
    ("admin.enableServer", "false"),
    ("4lw.commands.whitelist", "*"),
];

/// A server that runs in a directory of its own and is stopped when it is dropped.
pub struct Server {
    judge: Judge,
    dir: tempfile::TempDir,
    port: u16,
    settings: BTreeMap<String, String>,
    rookeeper: Option<Child>,
    tcp: Tcp,
}

/// A port that nobody listens on.
fn free_port() -> Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

/// The script that runs a real ZooKeeper.
fn rig() -> PathBuf {
    crate::home().join("upstream/zookeeper")
}

/// Runs `command` and gives what it printed.
fn output(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("{command:?}"))?;
    ensure!(
        output.status.success(),
        "{command:?}: {} {}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(String::from_utf8(output.stdout)?)
}

impl Server {
    /// Starts a server with `settings` on top of the usual ones.
    ///
    /// # Errors
    ///
    /// It does not come up.
    pub fn start(judge: Judge, settings: &BTreeMap<String, String>) -> Result<Server> {
        let mut all: BTreeMap<String, String> = BTreeMap::new();
        all.extend(SETTINGS.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())));
        for (key, value) in settings {
            let mut value = value.clone();
            while value.contains("{port}") {
                value = value.replacen("{port}", &free_port()?.to_string(), 1);
            }
            all.insert(key.clone(), value);
        }
        let port = free_port()?;
        let dir = tempfile::Builder::new().prefix("compat-").tempdir()?;
        std::fs::create_dir(dir.path().join("data"))?;
        if all.keys().any(|key| key.starts_with("server.")) {
            std::fs::write(dir.path().join("data/myid"), "1\n")?;
        }
        let tcp = Tcp::new(SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
        let mut server = Server { judge, dir, port, settings: all, rookeeper: None, tcp };
        server.up()?;
        Ok(server)
    }

    fn up(&mut self) -> Result<()> {
        match self.judge {
            Judge::Zookeeper => self.up_zookeeper(),
            Judge::Rookeeper => self.up_rookeeper(),
        }
    }

    fn up_zookeeper(&mut self) -> Result<()> {
        // The disk is not what is judged here.
        let mut command = Command::new(rig());
        command.arg("start").arg(self.dir.path()).arg(self.port.to_string()).arg("forceSync=no");
        command.args(self.settings.iter().map(|(key, value)| format!("{key}={value}")));
        command.stdin(Stdio::null());
        output(&mut command).map(drop)
    }

    fn up_rookeeper(&mut self) -> Result<()> {
        let program = std::env::var_os(ROOKEEPER_BIN)
            .with_context(|| format!("{ROOKEEPER_BIN} names no program"))?;
        let path = self.dir.path();
        let mut config =
            format!("dataDir={}\nclientPort={}\n", path.join("data").display(), self.port);
        for (key, value) in &self.settings {
            writeln!(config, "{key}={value}")?;
        }
        std::fs::write(path.join("zoo.cfg"), config)?;
        let log = File::options().create(true).append(true).open(path.join("log"))?;
        let child = Command::new(&program)
            .arg("--config")
            .arg(path.join("zoo.cfg"))
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("starting {}", program.display()))?;
        let child = self.rookeeper.insert(child);
        let deadline = now() + START_TIMEOUT;
        while !serves(&mut self.tcp) {
            if let Some(status) = child.try_wait()? {
                let log = std::fs::read_to_string(path.join("log")).unwrap_or_default();
                bail!("the server ended, {status}; it said:\n{log}");
            }
            ensure!(now() < deadline, "the server does not serve within {START_TIMEOUT:?}");
            std::thread::sleep(PAUSE);
        }
        Ok(())
    }

    fn down(&mut self, down: Down) -> Result<()> {
        match self.judge {
            Judge::Zookeeper => self.down_zookeeper(down),
            Judge::Rookeeper => self.down_rookeeper(down),
        }
    }

    fn down_zookeeper(&mut self, down: Down) -> Result<()> {
        if down == Down::Killed {
            let pid = std::fs::read_to_string(self.dir.path().join("pid"))?;
            signal("KILL", pid.trim())?;
        }
        output(Command::new(rig()).arg("stop").arg(self.dir.path()).stdin(Stdio::null())).map(drop)
    }

    fn down_rookeeper(&mut self, down: Down) -> Result<()> {
        let Some(mut child) = self.rookeeper.take() else { return Ok(()) };
        if down == Down::Killed {
            child.kill()?;
            child.wait()?;
            return Ok(());
        }
        if child.try_wait()?.is_none() {
            signal("TERM", &child.id().to_string())?;
        }
        let deadline = now() + STOP_TIMEOUT;
        while child.try_wait()?.is_none() {
            if now() >= deadline {
                child.kill()?;
                child.wait()?;
                bail!("the server did not heed SIGTERM within {STOP_TIMEOUT:?}");
            }
            std::thread::sleep(PAUSE);
        }
        Ok(())
    }
}

/// Sends a signal to a process that is ours.
fn signal(name: &str, pid: &str) -> Result<()> {
    output(Command::new("kill").arg(format!("-{name}")).arg(pid)).map(drop)
}

/// Whether `srvr` is answered as by a server that serves.
fn serves(tcp: &mut Tcp) -> bool {
    let Ok(mut wire) = tcp.dial() else { return false };
    wire.send(b"srvr");
    let mut answer = BytesMut::new();
    while wire.receive(&mut answer, Duration::from_secs(2)) == Received::Bytes {}
    String::from_utf8_lossy(&answer).contains("Mode: ")
}

impl Engine for Server {
    fn dial(&mut self) -> Result<Box<dyn Wire>> {
        self.tcp.dial()
    }

    fn restart(&mut self, down: Down) -> Result<()> {
        self.down(down)?;
        self.up()
    }

    fn wait(&mut self, time: Duration) {
        self.tcp.wait(time);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Nobody can be told here; the directory goes, and a process that stays is seen in `ps`.
        let _ = self.down(Down::Stopped);
    }
}
