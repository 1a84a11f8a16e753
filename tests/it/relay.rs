//! A way to a server that a test can cut, block and mend.

use std::net::SocketAddr;

use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinHandle,
};

/// Passes everything on while it is open.
pub(crate) struct Relay {
    address: SocketAddr,
    way: watch::Sender<Way>,
    listening: JoinHandle<()>,
}

/// How it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    Open,
    /// Nothing comes through, and no connection ends; what waits comes once it is open again.
    Blocked,
    /// Nobody gets through, and who had was cut off.
    Cut,
}

impl Relay {
    pub(crate) async fn to(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (way, is) = watch::channel(Way::Open);
        let listening = tokio::spawn(async move {
            loop {
                let (client, _) = listener.accept().await.unwrap();
                if *is.borrow() != Way::Cut {
                    tokio::spawn(pass(client, server, is.clone()));
                }
            }
        });
        Self { address, way, listening }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn becomes(&self, way: Way) {
        self.way.send_replace(way);
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

async fn pass(mut client: TcpStream, server: SocketAddr, mut way: watch::Receiver<Way>) {
    let Ok(mut server) = TcpStream::connect(server).await else { return };
    let (up, down) = (way.clone(), way.clone());
    let ((from_client, to_client), (from_server, to_server)) = (client.split(), server.split());
    tokio::select! {
        () = copy(from_client, to_server, up) => {}
        () = copy(from_server, to_client, down) => {}
        _ = way.wait_for(|way| *way == Way::Cut) => {}
    }
}

/// Passes one direction on while the way is open, until either side ends.
async fn copy(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin, mut way: watch::Receiver<Way>) {
    let mut buffer = vec![0; 1 << 16];
    while let Ok(read @ 1..) = from.read(&mut buffer).await {
        if way.wait_for(|way| *way == Way::Open).await.is_err() || to.write_all(&buffer[..read]).await.is_err() {
            return;
        }
    }
}
