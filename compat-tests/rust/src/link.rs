//! A TCP connection that a test can cut and mend: the client dials the link, the link dials the server.
//!
//! While it is cut, connections are accepted and closed at once, as a dead route's would be.

use std::sync::{Arc, Mutex};

use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

pub struct Link {
    pub address: String,
    state: Arc<Mutex<State>>,
    acceptor: JoinHandle<()>,
}

#[derive(Default)]
struct State {
    is_cut: bool,
    connections: Vec<JoinHandle<()>>,
}

impl Link {
    pub async fn new(server: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let state = Arc::new(Mutex::new(State::default()));
        let acceptor = tokio::spawn(accept(listener, server, state.clone()));
        Self {
            address,
            state,
            acceptor,
        }
    }

    /// Ends every connection and lets none through.
    pub fn cut(&self) {
        let mut state = self.state.lock().unwrap();
        state.is_cut = true;
        for connection in state.connections.drain(..) {
            connection.abort();
        }
    }

    pub fn mend(&self) {
        self.state.lock().unwrap().is_cut = false;
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.acceptor.abort();
        self.cut();
    }
}

async fn accept(listener: TcpListener, server: String, state: Arc<Mutex<State>>) {
    while let Ok((client, _)) = listener.accept().await {
        let mut state = state.lock().unwrap();
        if !state.is_cut {
            state
                .connections
                .push(tokio::spawn(join(client, server.clone())));
        }
    }
}

async fn join(mut client: TcpStream, server: String) {
    if let Ok(mut server) = TcpStream::connect(server).await {
        // However it ends, both ends are closed with it.
        let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
    }
}
