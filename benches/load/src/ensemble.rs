//! An ensemble whose servers are ended and started while it is looked at.
//!
//! Nothing here is ended by this program: it calls the one that started the servers.

use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::args::Members;
use crate::clock::now;

/// How long a server may take to answer a four-letter word.
const WORD_PATIENCE: Duration = Duration::from_secs(2);
/// How long an ensemble may have no leader, and a server may take to serve.
const SERVING_PATIENCE: Duration = Duration::from_mins(5);
/// Between two looks.
const LOOK: Duration = Duration::from_millis(10);

/// What a server is in its ensemble.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Role {
    Leader,
    Follower,
}

impl Role {
    /// What the server calls it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Role::Leader => "leader",
            Role::Follower => "follower",
        }
    }
}

impl Members {
    /// How many servers there are.
    pub(crate) fn count(&self) -> usize {
        self.ensemble.addresses.len()
    }

    /// The server with this number, counted from 0.
    pub(crate) fn address(&self, server: usize) -> SocketAddr {
        self.ensemble.address_of(server)
    }

    /// What the server is, if it serves.
    pub(crate) async fn role(&self, server: usize) -> Option<Role> {
        let words = timeout(WORD_PATIENCE, word(self.address(server), "srvr")).await.ok()?.ok()?;
        role_in(&words)
    }

    /// Which server leads.
    pub(crate) async fn leader(&self) -> Result<usize> {
        let begun = now();
        while now() < begun + SERVING_PATIENCE {
            for server in 0..self.count() {
                if self.role(server).await == Some(Role::Leader) {
                    return Ok(server);
                }
            }
            tokio::time::sleep(LOOK).await;
        }
        anyhow::bail!("{} has no leader", self.ensemble.name)
    }

    /// Some server that does not lead.
    pub(crate) async fn follower(&self) -> Result<usize> {
        let leader = self.leader().await?;
        (0..self.count()).find(|server| *server != leader).context("there is only one server")
    }

    /// Waits until the server leads or follows.
    pub(crate) async fn until_serving(&self, server: usize) -> Result<()> {
        let begun = now();
        while self.role(server).await.is_none() {
            let name = &self.ensemble.name;
            ensure!(now() < begun + SERVING_PATIENCE, "server {} of {name} is away", server + 1);
            tokio::time::sleep(LOOK).await;
        }
        Ok(())
    }

    /// Has something done to the server: `kill`, `stop`, `wipe` or `start`.
    pub(crate) async fn control(&self, what: &'static str, server: usize) -> Result<()> {
        let mut command = Command::new(&self.control);
        command.arg(what).arg(&self.data).arg((server + 1).to_string());
        // Its standard output tells pids, which nobody here asks for.
        command.stdin(Stdio::null()).stdout(Stdio::null());
        let status = tokio::task::spawn_blocking(move || command.status());
        let status = timeout(SERVING_PATIENCE, status).await.context(what)???;
        ensure!(status.success(), "{what} of server {} failed", server + 1);
        Ok(())
    }
}

async fn word(address: SocketAddr, word: &str) -> Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(word.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}

fn role_in(words: &str) -> Option<Role> {
    match words.lines().find_map(|line| line.strip_prefix("Mode: "))?.trim() {
        "leader" => Some(Role::Leader),
        "follower" => Some(Role::Follower),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_who_leads_or_follows_serves() {
        assert_eq!(role_in("Zxid: 0x1\nMode: leader\nNode count: 5\n"), Some(Role::Leader));
        assert_eq!(role_in("Mode: follower\n"), Some(Role::Follower));
        let silent = "This ZooKeeper instance is not currently serving requests\n";
        assert_eq!((role_in("Mode: standalone\n"), role_in(silent)), (None, None));
    }
}
