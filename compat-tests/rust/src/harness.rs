//! What the tests share: connections, waits with a bound, and short forms of the client's calls.

use std::env;
use std::future::Future;
use std::time::Duration;

use futures::FutureExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::process::Command;
use zookeeper_client as zk;

/// Bounds every wait for something that must happen.
pub const PATIENCE: Duration = Duration::from_secs(20);
/// How long a test listens for something that must not happen.
pub const SILENCE: Duration = Duration::from_millis(300);
/// A session time-out that no test outlives.
pub const CALM: Duration = Duration::from_secs(30);
/// A session time-out for tests that let one expire.
pub const BRIEF: Duration = Duration::from_millis(2500);

pub const OPEN: zk::CreateOptions<'static> =
    zk::CreateMode::Persistent.with_acls(zk::Acls::anyone_all());
pub const EPHEMERAL: zk::CreateOptions<'static> =
    zk::CreateMode::Ephemeral.with_acls(zk::Acls::anyone_all());
pub const SEQUENTIAL: zk::CreateOptions<'static> =
    zk::CreateMode::PersistentSequential.with_acls(zk::Acls::anyone_all());

pub fn server() -> String {
    format!(
        "127.0.0.1:{}",
        env::var("COMPAT_PORT").expect("`run` sets COMPAT_PORT")
    )
}

pub fn connector() -> zk::Connector {
    zk::Client::connector().with_session_timeout(CALM)
}

pub async fn connect() -> zk::Client {
    within("a session", connector().connect(&server()))
        .await
        .unwrap()
}

/// Stops or starts the server.
pub async fn control(what: &str) {
    let output = Command::new(env::var("COMPAT_CONTROL").unwrap())
        .arg(what)
        .arg(env::var("COMPAT_DIR").unwrap())
        .output()
        .await
        .unwrap();
    assert!(
        output.status.success(),
        "the server did not {what}: {output:?}"
    );
}

/// Answer of the server to a four-letter word.
pub async fn word(word: &str) -> String {
    let mut answer = String::new();
    within(word, async {
        let mut stream = TcpStream::connect(server()).await.unwrap();
        stream.write_all(word.as_bytes()).await.unwrap();
        stream.read_to_string(&mut answer).await.unwrap();
    })
    .await;
    answer
}

pub async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, future).await {
        Ok(value) => value,
        Err(_) => panic!("waited {PATIENCE:?} in vain for {what}"),
    }
}

/// Waits until the session has reached the state.
pub async fn state(client: &zk::Client, expected: zk::SessionState) {
    let mut watcher = client.state_watcher();
    within(&format!("session state {expected}"), async {
        let mut state = watcher.state();
        while state != expected {
            assert!(!state.is_terminated(), "the session is {state}");
            state = watcher.changed().await;
        }
    })
    .await;
}

/// Makes a node for a test to work under and returns its path.
pub async fn home(client: &zk::Client, name: &str) -> String {
    let path = format!("/{name}");
    create(client, &path, "").await;
    path
}

pub async fn create(client: &zk::Client, path: &str, data: &str) -> zk::Stat {
    client
        .create(path, data.as_bytes(), &OPEN)
        .await
        .unwrap_or_else(|e| panic!("create {path}: {e}"))
        .0
}

pub async fn set(client: &zk::Client, path: &str, data: &str) -> zk::Stat {
    client
        .set_data(path, data.as_bytes(), None)
        .await
        .unwrap_or_else(|e| panic!("set {path}: {e}"))
}

pub async fn get(client: &zk::Client, path: &str) -> (String, zk::Stat) {
    let (data, stat) = client
        .get_data(path)
        .await
        .unwrap_or_else(|e| panic!("get {path}: {e}"));
    (String::from_utf8(data).unwrap(), stat)
}

pub async fn stat(client: &zk::Client, path: &str) -> Option<zk::Stat> {
    client
        .check_stat(path)
        .await
        .unwrap_or_else(|e| panic!("stat {path}: {e}"))
}

pub async fn delete(client: &zk::Client, path: &str) {
    client
        .delete(path, None)
        .await
        .unwrap_or_else(|e| panic!("delete {path}: {e}"));
}

pub async fn children(client: &zk::Client, path: &str) -> Vec<String> {
    let mut names = client
        .list_children(path)
        .await
        .unwrap_or_else(|e| panic!("children of {path}: {e}"));
    names.sort();
    names
}

pub async fn watch_data(client: &zk::Client, path: &str) -> zk::OneshotWatcher {
    client.get_and_watch_data(path).await.unwrap().2
}

pub async fn watch_children(client: &zk::Client, path: &str) -> zk::OneshotWatcher {
    client.get_and_watch_children(path).await.unwrap().2
}

pub async fn watch_existence(client: &zk::Client, path: &str) -> zk::OneshotWatcher {
    client.check_and_watch_stat(path).await.unwrap().1
}

fn check(event: &zk::WatchedEvent, kind: zk::EventType, path: &str) {
    assert_eq!(
        (event.event_type, event.path.as_str()),
        (kind, path),
        "{event:?}"
    );
}

/// Waits for the watch to fire as said; returns the zxid that the event carries.
pub async fn fires(watcher: zk::OneshotWatcher, kind: zk::EventType, path: &str) -> i64 {
    let event = within(&format!("{kind} of {path}"), watcher.changed()).await;
    check(&event, kind, path);
    event.zxid
}

/// As [`fires`], for an event that has already arrived.
pub fn has_fired(watcher: zk::OneshotWatcher, kind: zk::EventType, path: &str) -> i64 {
    let event = watcher
        .changed()
        .now_or_never()
        .unwrap_or_else(|| panic!("no {kind} of {path} yet"));
    check(&event, kind, path);
    event.zxid
}

/// Expects these events, in this order, and then none.
pub async fn reports(watcher: &mut zk::PersistentWatcher, expected: &[(zk::EventType, &str)]) {
    for (kind, path) in expected {
        check(
            &within(&format!("{kind} of {path}"), watcher.changed()).await,
            *kind,
            path,
        );
    }
    let more = tokio::time::timeout(SILENCE, watcher.changed()).await;
    assert!(more.is_err(), "unexpected {more:?}");
}
