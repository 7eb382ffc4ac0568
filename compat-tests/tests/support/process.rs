//! The built server as a process in a directory of its own.
//!
//! It takes any free port, which it names in its log; so a port can neither be taken by somebody
//! else between two starts nor be forgotten. Only processes that were started here are ended.

use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use bytes::BytesMut;
use compat_tests::control::now;
use compat_tests::engine::{Engine as _, Received, Tcp};
use compat_tests::server::ROOKEEPER_BIN;

/// How long a start may take, on a machine that has much else to do.
pub(crate) const START_TIMEOUT: Duration = Duration::from_mins(1);
/// How long an end may take.
pub(crate) const END_TIMEOUT: Duration = Duration::from_secs(20);
/// How long to sleep between two looks.
pub(crate) const PAUSE: Duration = Duration::from_millis(5);
/// What the server says before the address it listens on.
const ANNOUNCEMENT: &str = "serves ZooKeeper clients on ";

/// A server, running or not.
pub(crate) struct Rookeeper {
    home: tempfile::TempDir,
    settings: Vec<(String, String)>,
    child: Option<Child>,
    starts: usize,
    port: u16,
}

/// How a process ended.
#[derive(Debug)]
pub(crate) struct Ended {
    /// Its status.
    pub(crate) status: ExitStatus,
    /// What it said, on both outputs.
    pub(crate) said: String,
}

impl Ended {
    /// The one line that says why the server does not run.
    ///
    /// # Errors
    ///
    /// It ended with another code, or said it in less or more than one line.
    pub(crate) fn complaint(&self, code: i32) -> Result<&str> {
        let is_complaint = |line: &&str| line.starts_with("rookeeper: ");
        let complaints: Vec<&str> = self.said.lines().filter(is_complaint).collect();
        let others = self.said.lines().filter(|line| !is_complaint(line) && !is_log(line));
        ensure!(others.count() == 0, "lines that are neither log nor complaint: {}", self.said);
        ensure!(self.status.code() == Some(code), "{}, not {code}: {}", self.status, self.said);
        match complaints.as_slice() {
            [one] => Ok(one),
            _ => bail!("{} complaints: {}", complaints.len(), self.said),
        }
    }
}

/// Whether a line is of the log: a time, a level and a message.
fn is_log(line: &str) -> bool {
    let mut words = line.split_whitespace();
    words.next().is_some_and(|time| time.ends_with('Z'))
        && words.next().is_some_and(|level| ["INFO", "WARN", "ERROR"].contains(&level))
}

/// The program.
///
/// # Errors
///
/// `ROOKEEPER_BIN` is not set.
pub(crate) fn program() -> Result<PathBuf> {
    let program = std::env::var_os(ROOKEEPER_BIN);
    program.map(PathBuf::from).with_context(|| format!("{ROOKEEPER_BIN} names no program"))
}

/// Sends a signal to a process that was started here.
///
/// # Errors
///
/// There is no such process.
pub(crate) fn signal(name: &str, child: &Child) -> Result<()> {
    let status = Command::new("kill").arg(format!("-{name}")).arg(child.id().to_string()).status();
    ensure!(status?.success(), "kill -{name} {}", child.id());
    Ok(())
}

/// Waits for a process to end, and ends it if it does not.
///
/// # Errors
///
/// It did not end by itself.
pub(crate) fn wait(child: &mut Child, limit: Duration) -> Result<ExitStatus> {
    let deadline = now() + limit;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        if now() >= deadline {
            child.kill()?;
            child.wait()?;
            bail!("the server did not end within {limit:?}");
        }
        std::thread::sleep(PAUSE);
    }
}

impl Rookeeper {
    /// A server with these settings, which is not started.
    ///
    /// # Errors
    ///
    /// There is no place for its directory.
    pub(crate) fn new(settings: &[(&str, &str)]) -> Result<Rookeeper> {
        let home = tempfile::Builder::new().prefix("rookeeper-test-").tempdir()?;
        let own = [("clientPortAddress", "127.0.0.1"), ("4lw.commands.whitelist", "*")];
        let settings = own.iter().chain(settings);
        let settings = settings.map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        let settings = settings.collect();
        Ok(Rookeeper { home, settings, child: None, starts: 0, port: 0 })
    }

    /// A server that serves.
    ///
    /// # Errors
    ///
    /// It does not come up.
    pub(crate) fn started(settings: &[(&str, &str)]) -> Result<Rookeeper> {
        let mut server = Rookeeper::new(settings)?;
        server.start()?;
        Ok(server)
    }

    /// Its `dataDir`.
    pub(crate) fn data(&self) -> PathBuf {
        self.home.path().join("data")
    }

    /// Where its log of writes is.
    pub(crate) fn raft(&self) -> PathBuf {
        self.data().join("rookeeper/raft")
    }

    /// Where its image of the tree is.
    pub(crate) fn tree(&self) -> PathBuf {
        self.data().join("rookeeper/tree")
    }

    /// The directory of everything.
    pub(crate) fn home(&self) -> &Path {
        self.home.path()
    }

    /// The port it serves on.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Its process id.
    ///
    /// # Errors
    ///
    /// It does not run.
    pub(crate) fn pid(&self) -> Result<u32> {
        Ok(self.child.as_ref().context("the server does not run")?.id())
    }

    fn log_path(&self) -> PathBuf {
        self.home.path().join(format!("log-{}", self.starts))
    }

    /// What it has said since its last start.
    pub(crate) fn said(&self) -> String {
        std::fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    /// Starts the process and waits for nothing.
    ///
    /// # Errors
    ///
    /// It cannot be started.
    pub(crate) fn launch(&mut self) -> Result<()> {
        self.starts += 1;
        let mut config = format!("dataDir={}\nclientPort=0\n", self.data().display());
        for (key, value) in &self.settings {
            config.extend([key, "=", value, "\n"]);
        }
        let path = self.home.path().join("zoo.cfg");
        std::fs::write(&path, config)?;
        let log = File::create(self.log_path())?;
        let mut command = Command::new(program()?);
        command.arg(path).stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        self.child = Some(command.spawn()?);
        Ok(())
    }

    /// Starts and waits until it serves.
    ///
    /// # Errors
    ///
    /// It ended instead, or takes too long.
    pub(crate) fn start(&mut self) -> Result<()> {
        self.launch()?;
        let deadline = now() + START_TIMEOUT;
        loop {
            let said = self.said();
            if let Some(port) = announced_port(&said) {
                self.port = port;
                return Ok(());
            }
            let child = self.child.as_mut().context("just started")?;
            if let Some(status) = child.try_wait()? {
                bail!("the server ended, {status}; it said:\n{}", self.said());
            }
            ensure!(
                now() < deadline,
                "the server does not serve within {START_TIMEOUT:?}:\n{said}"
            );
            std::thread::sleep(PAUSE);
        }
    }

    /// Starts, and expects it to end by itself.
    ///
    /// # Errors
    ///
    /// It does not.
    pub(crate) fn start_in_vain(&mut self) -> Result<Ended> {
        self.launch()?;
        self.await_end(END_TIMEOUT)
    }

    /// Waits for its end.
    ///
    /// # Errors
    ///
    /// It does not end.
    pub(crate) fn await_end(&mut self, limit: Duration) -> Result<Ended> {
        let mut child = self.child.take().context("the server does not run")?;
        let status = wait(&mut child, limit).with_context(|| self.said())?;
        Ok(Ended { status, said: self.said() })
    }

    /// Ends it with SIGKILL.
    ///
    /// # Errors
    ///
    /// It had ended by itself.
    pub(crate) fn kill(&mut self) -> Result<()> {
        let mut child = self.child.take().context("the server does not run")?;
        if let Some(status) = child.try_wait()? {
            bail!("the server ended by itself, {status}; it said:\n{}", self.said());
        }
        child.kill()?;
        child.wait()?;
        Ok(())
    }

    /// Lets it stand still for a while, with everything that it has to do.
    ///
    /// # Errors
    ///
    /// It does not run.
    pub(crate) fn pause(&self, time: Duration) -> Result<()> {
        let child = self.child.as_ref().context("the server does not run")?;
        signal("STOP", child)?;
        std::thread::sleep(time);
        signal("CONT", child)
    }

    /// Ends it with the signal `name`, on which it must end with code 0.
    ///
    /// # Errors
    ///
    /// It does not.
    pub(crate) fn stop(&mut self, name: &str, limit: Duration) -> Result<()> {
        signal(name, self.child.as_ref().context("the server does not run")?)?;
        let ended = self.await_end(limit)?;
        ensure!(ended.status.code() == Some(0), "on SIG{name}: {}: {}", ended.status, ended.said);
        Ok(())
    }

    /// Whether it still runs.
    ///
    /// # Errors
    ///
    /// The system does not tell.
    pub(crate) fn runs(&mut self) -> Result<bool> {
        let child = self.child.as_mut().context("the server does not run")?;
        Ok(child.try_wait()?.is_none())
    }

    /// The answer to a four-letter word.
    ///
    /// # Errors
    ///
    /// There is none.
    pub(crate) fn word(&self, word: &str) -> Result<String> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, self.port));
        let mut wire = Tcp::new(address).dial()?;
        wire.send(word.as_bytes());
        let mut answer = BytesMut::new();
        let deadline = now() + END_TIMEOUT;
        while wire.receive(&mut answer, Duration::from_secs(1)) != Received::End {
            ensure!(now() < deadline, "{word} is not answered");
        }
        Ok(String::from_utf8_lossy(&answer).into_owned())
    }

    /// A number that `mntr` tells.
    ///
    /// # Errors
    ///
    /// It tells no such number.
    pub(crate) fn monitored(&self, name: &str) -> Result<i64> {
        let answer = self.word("mntr")?;
        let value = answer.lines().find_map(|line| {
            let (key, value) = line.split_once('\t')?;
            (key == format!("zk_{name}")).then(|| value.trim().parse::<f64>().ok()).flatten()
        });
        value.map(|value| value as i64).with_context(|| format!("mntr tells no {name}: {answer}"))
    }

    /// Bytes of memory that it occupies.
    ///
    /// # Errors
    ///
    /// It does not run.
    pub(crate) fn resident_bytes(&self) -> Result<u64> {
        self.status_bytes("VmRSS:")
    }

    /// The most bytes of memory that it ever occupied.
    ///
    /// # Errors
    ///
    /// It does not run.
    pub(crate) fn peak_bytes(&self) -> Result<u64> {
        self.status_bytes("VmHWM:")
    }

    fn status_bytes(&self, name: &str) -> Result<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid()?))?;
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        let kib = line.and_then(|line| line.split_whitespace().next());
        Ok(kib.with_context(|| format!("no {name} of the server"))?.parse::<u64>()? << 10)
    }

    /// Sockets that it has open, and other files.
    ///
    /// # Errors
    ///
    /// It does not run.
    pub(crate) fn open_files(&self) -> Result<(usize, usize)> {
        let mut open = (0, 0);
        for entry in std::fs::read_dir(format!("/proc/{}/fd", self.pid()?))? {
            // It may be closed while they are listed.
            let Ok(target) = std::fs::read_link(entry?.path()) else { continue };
            let is_socket = target.to_string_lossy().starts_with("socket:");
            *if is_socket { &mut open.0 } else { &mut open.1 } += 1;
        }
        Ok(open)
    }
}

impl Drop for Rookeeper {
    fn drop(&mut self) {
        // A test that failed leaves it running; nobody can be told here.
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// The port in the line that says where the server listens.
pub(crate) fn announced_port(said: &str) -> Option<u16> {
    let (_, rest) = said.split_once(ANNOUNCEMENT)?;
    let (address, _) = rest.split_once(',')?;
    address.parse::<SocketAddr>().ok().map(|address| address.port())
}

/// Bytes of all files in a directory.
///
/// # Errors
///
/// It cannot be listed.
pub(crate) fn directory_bytes(path: &Path) -> Result<u64> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(path)? {
        // A file may go while they are listed.
        bytes += entry?.metadata().map_or(0, |metadata| metadata.len());
    }
    Ok(bytes)
}
