//! Reaching other servers: connections that greet, and questions with their answers.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use tokio::task::JoinHandle;

use super::wire::{Answer, Ask, Greeting, Purpose};
use crate::config::ServerSpec;
use crate::net::{PeerStream, admit_large_frames, connect_peer};

/// How long a server may take to greet.
const GREETING_MS: u64 = 2_000;
/// How long the network may take to accept a frame.
const SEND_MS: u64 = 5_000;

/// Connects to the server whose line this is, and greets it.
///
/// # Errors
///
/// It is not reached, or refuses; the text says why.
pub(super) async fn greet(line: &str, greeting: &Greeting) -> io::Result<PeerStream> {
    let spec: ServerSpec = line.parse().map_err(io::Error::other)?;
    let mut failed = io::Error::new(io::ErrorKind::NotFound, "its line has no address");
    for (host, port, _) in &spec.addresses {
        let limit = Duration::from_millis(GREETING_MS);
        match tokio::time::timeout(limit, greet_at(host, *port, greeting)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => failed = error,
            Err(_) => failed = io::ErrorKind::TimedOut.into(),
        }
    }
    Err(failed)
}

async fn greet_at(host: &str, port: u16, greeting: &Greeting) -> io::Result<PeerStream> {
    let mut stream = connect_peer(host, port).await?;
    stream.send(greeting.encode()).await?;
    match next_answer(&mut stream).await? {
        Answer::Done => {
            admit_large_frames(&mut stream);
            Ok(stream)
        }
        Answer::Refused(why) => Err(io::Error::new(io::ErrorKind::PermissionDenied, why)),
        other => Err(unexpected(&other)),
    }
}

/// The next answer of a server.
pub(super) async fn next_answer(stream: &mut PeerStream) -> io::Result<Answer> {
    let frame = stream.next().await.ok_or(io::ErrorKind::UnexpectedEof)??;
    Ok(Answer::decode(frame.freeze())?)
}

/// An answer to another question.
pub(super) fn unexpected(answer: &Answer) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("an answer out of place: {answer:?}"))
}

/// Asks one server, over a connection that is made when it is needed.
///
/// Any call may be dropped half-way: the connection is then given up, since its answer would be taken
/// for the next one's.
pub(super) struct Caller {
    line: Arc<str>,
    greeting: Greeting,
    link: Option<PeerStream>,
    /// Questions sent over the link and not answered.
    pub(super) unanswered: usize,
    /// Goes on when whoever waits for it gives up: a distant server takes longer than a heartbeat.
    connecting: Option<JoinHandle<io::Result<PeerStream>>>,
}

impl Caller {
    pub(super) fn new(line: &str, greeting: Greeting) -> Caller {
        let line = line.into();
        Caller { line, greeting, link: None, unanswered: 0, connecting: None }
    }

    /// The line of the server that is asked.
    pub(super) fn line(&self) -> &str {
        &self.line
    }

    /// How it is greeted.
    pub(super) fn greeting(&self) -> &Greeting {
        &self.greeting
    }

    /// Makes sure that there is a connection without unanswered questions.
    pub(super) async fn connect(&mut self) -> io::Result<()> {
        if self.unanswered > 0 {
            self.hang_up();
        }
        if self.link.is_some() {
            return Ok(());
        }
        let (line, greeting) = (&self.line, &self.greeting);
        let connecting = self.connecting.get_or_insert_with(|| {
            let (line, greeting) = (Arc::clone(line), greeting.clone());
            tokio::spawn(async move { greet(&line, &greeting).await })
        });
        let connected = connecting.await;
        self.connecting = None;
        self.link = Some(connected.map_err(io::Error::other)??);
        Ok(())
    }

    /// Gives the connection up.
    pub(super) fn hang_up(&mut self) {
        self.link = None;
        self.unanswered = 0;
    }

    /// Sends a question.
    pub(super) async fn send(&mut self, frame: bytes::Bytes) -> io::Result<()> {
        let link = self.link.as_mut().ok_or(io::ErrorKind::NotConnected)?;
        self.unanswered += 1;
        let limit = Duration::from_millis(SEND_MS);
        tokio::time::timeout(limit, link.send(frame)).await.map_err(|_| io::ErrorKind::TimedOut)?
    }

    /// Waits for the next answer. May be dropped and called again.
    pub(super) async fn answer(&mut self) -> io::Result<Answer> {
        let link = self.link.as_mut().ok_or(io::ErrorKind::NotConnected)?;
        let answer = next_answer(link).await?;
        self.unanswered = self.unanswered.saturating_sub(1);
        Ok(answer)
    }

    /// Asks, and waits for the answer so long.
    pub(super) async fn call(&mut self, ask: &Ask, limit: Duration) -> io::Result<Answer> {
        let called = tokio::time::timeout(limit, async {
            self.connect().await?;
            self.send(ask.encode()).await?;
            self.answer().await
        });
        let answer = called.await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
        if answer.is_err() {
            self.hang_up();
        }
        answer
    }
}

impl Drop for Caller {
    fn drop(&mut self) {
        if let Some(connecting) = &self.connecting {
            connecting.abort();
        }
    }
}

/// Greets another server as one without a name, to ask what it is.
pub(super) fn introduction() -> Greeting {
    Greeting { purpose: Purpose::Introduction, cluster: 0, from: 0, to: 0 }
}
