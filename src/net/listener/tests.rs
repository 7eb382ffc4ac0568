//! Tests of who is let in.

use std::io::{Read as _, Write as _};
use std::net::TcpStream as Client;

use super::*;

async fn listener(keep_alive: bool, limits: Limits) -> (Listener, SocketAddr) {
    let reserved = Listener::reserve(Some("127.0.0.1"), 0, keep_alive, limits).await.unwrap();
    let address = reserved.address().unwrap();
    (reserved.listen(None).unwrap(), address)
}

/// What a client reads until the server ends the connection.
fn rest(mut client: Client) -> Vec<u8> {
    let mut bytes = Vec::new();
    client.set_read_timeout(Some(std::time::Duration::from_secs(10))).unwrap();
    // A reset is an end without a byte as well.
    let _ = client.read_to_end(&mut bytes);
    bytes
}

#[tokio::test]
async fn a_port_that_is_taken_between_the_two_steps_is_named() {
    let limits = Limits { per_address_max: 0, total_max: 0 };
    let reserved = Listener::reserve(Some("127.0.0.1"), 0, false, limits).await.unwrap();
    let address = reserved.address().unwrap();
    let _faster = std::net::TcpListener::bind(address).unwrap();

    let Err(error) = reserved.listen(None) else { panic!("both listen") };

    let text = error.to_string();
    let port = format!("clientPort={}", address.port());
    assert!(text.contains(&port) && text.contains("choose another clientPort"), "{text}");
}

#[tokio::test]
async fn surplus_connections_are_closed_without_a_byte_and_places_come_back() {
    let (listener, address) = listener(false, Limits { per_address_max: 2, total_max: 0 }).await;
    let connect = || Client::connect(address).unwrap();

    let _first = connect();
    let first = listener.accept().await.unwrap();
    let second = (connect(), listener.accept().await.unwrap());
    let mut surplus = connect();
    surplus.write_all(b"ruok").unwrap();
    let accepting = tokio::spawn(async move { listener.accept().await.map(|next| next.peer) });
    let left = tokio::task::spawn_blocking(move || rest(surplus)).await.unwrap();
    assert!(left.is_empty(), "{left:?}");
    assert!(!accepting.is_finished(), "two connections take both places");

    drop(first);
    let next = connect();
    assert_eq!(accepting.await.unwrap().unwrap(), next.local_addr().unwrap());
    drop(second);
}

#[tokio::test]
async fn client_tcp_keep_alive_is_passed_to_the_accepted_sockets() {
    for keep_alive in [false, true] {
        let limits = Limits { per_address_max: 0, total_max: 0 };
        let (listener, address) = listener(keep_alive, limits).await;
        let _client = Client::connect(address).unwrap();

        let accepted = listener.accept().await.unwrap();

        let socket = socket2::SockRef::from(&accepted.stream);
        assert_eq!(socket.keepalive().unwrap(), keep_alive);
    }
}
