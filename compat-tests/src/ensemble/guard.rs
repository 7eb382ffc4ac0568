//! Cleans up when we no longer can: a shell that outlives us for a moment.
//!
//! It is told on its input what there is: processes, network namespaces, links, a directory. When the
//! input ends without a farewell, because we were interrupted, killed or panicked, it ends and removes
//! all of that. It stands in a process group of its own, where Ctrl-C does not reach it.

use std::io::Write as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};

use anyhow::{Context, Result};

/// What the shell does. A process that has `gone` may have lent its number to somebody else since.
const SCRIPT: &str = r#"
pids= nets= links= dir=
without() { rest=; for one in $1; do [ "$one" = "$2" ] || rest="$rest $one"; done; }
while read -r verb what; do
  case $verb in
    pid) pids="$pids $what" ;;
    gone) without "$pids" "$what"; pids=$rest ;;
    net) nets="$nets $what" ;;
    link) links="$links $what" ;;
    dir) dir=$what ;;
    farewell) exit 0 ;;
  esac
done
for pid in $pids; do kill -KILL "$pid"; done
for net in $nets; do ip netns del "$net"; done
for link in $links; do ip link del "$link"; done
case $dir in */ensemble-*) sleep 0.2; rm -rf "$dir" ;; esac
"#;

/// The shell.
pub struct Guard {
    shell: Child,
    input: Option<ChildStdin>,
}

impl Guard {
    /// Starts it.
    ///
    /// # Errors
    ///
    /// There is no shell.
    pub fn new() -> Result<Guard> {
        let mut command = Command::new("sh");
        command.arg("-c").arg(SCRIPT).stdin(Stdio::piped());
        command.stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
        let mut shell = command.spawn().context("starting the guard's shell")?;
        let input = shell.stdin.take();
        Ok(Guard { shell, input })
    }

    fn tell(&mut self, verb: &str, what: &str) -> Result<()> {
        let input = self.input.as_mut().context("the guard was dismissed")?;
        input.write_all(format!("{verb} {what}\n").as_bytes()).context("telling the guard")
    }

    /// There is a process.
    ///
    /// # Errors
    ///
    /// The guard is gone.
    pub fn has_process(&mut self, pid: u32) -> Result<()> {
        self.tell("pid", &pid.to_string())
    }

    /// The process was waited for.
    ///
    /// # Errors
    ///
    /// The guard is gone.
    pub fn process_ended(&mut self, pid: u32) -> Result<()> {
        self.tell("gone", &pid.to_string())
    }

    /// There is a network namespace.
    ///
    /// # Errors
    ///
    /// The guard is gone.
    pub fn has_namespace(&mut self, name: &str) -> Result<()> {
        self.tell("net", name)
    }

    /// There is a network link.
    ///
    /// # Errors
    ///
    /// The guard is gone.
    pub fn has_link(&mut self, name: &str) -> Result<()> {
        self.tell("link", name)
    }

    /// There is a directory.
    ///
    /// # Errors
    ///
    /// The guard is gone.
    pub fn has_directory(&mut self, path: &Path) -> Result<()> {
        self.tell("dir", &path.display().to_string())
    }

    /// Everything was removed.
    pub fn dismiss(&mut self) {
        // A guard that is gone already has nothing left to do.
        let _ = self.tell("farewell", "");
        self.input = None;
        let _ = self.shell.wait();
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.input = None;
        let _ = self.shell.wait();
    }
}
