//! A way to a server that a test can cut and mend.

use std::net::SocketAddr;

use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinHandle,
};

/// Passes everything on while it stands. While it is cut nobody gets through, and who had was cut off.
pub(crate) struct Relay {
    address: SocketAddr,
    stands: watch::Sender<bool>,
    listening: JoinHandle<()>,
}

impl Relay {
    pub(crate) async fn to(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stands, is_standing) = watch::channel(true);
        let listening = tokio::spawn(async move {
            loop {
                let (client, _) = listener.accept().await.unwrap();
                if *is_standing.borrow() {
                    tokio::spawn(pass(client, server, is_standing.clone()));
                }
            }
        });
        Self { address, stands, listening }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn cut(&self) {
        self.stands.send_replace(false);
    }

    pub(crate) fn mend(&self) {
        self.stands.send_replace(true);
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

async fn pass(mut client: TcpStream, server: SocketAddr, mut stands: watch::Receiver<bool>) {
    let Ok(mut server) = TcpStream::connect(server).await else { return };
    tokio::select! {
        // A connection that breaks is no error of the relay's.
        _ = copy_bidirectional(&mut client, &mut server) => {}
        _ = stands.wait_for(|stands| !stands) => {}
    }
}
