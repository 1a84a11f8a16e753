//! A way to a server that a test can cut, block and mend, and on which NATS's counts can be falsified.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinHandle,
};

/// Before the subject that tells where a message of JetStream's is, and last how many come after it.
const PLACE: &[u8] = b"$JS.ACK.";

/// Passes everything on while it is open.
pub(crate) struct Relay {
    address: SocketAddr,
    shared: Arc<Shared>,
    listening: JoinHandle<()>,
}

struct Shared {
    way: watch::Sender<Way>,
    /// What the client is to say, and how much it is told from then on.
    holds_up: Mutex<Option<(&'static str, usize)>>,
    counts_nothing: AtomicBool,
}

/// How it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    Open,
    /// What the client says comes through, and so many bytes of what it is told; the rest waits.
    Told(usize),
    /// Nothing comes through, and no connection ends; what waits comes once it is open again.
    Blocked,
    /// Nobody gets through, and who had was cut off.
    Cut,
}

impl Relay {
    pub(crate) async fn to(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            way: watch::Sender::new(Way::Open),
            holds_up: Mutex::new(None),
            counts_nothing: AtomicBool::new(false),
        });
        let is = shared.clone();
        let listening = tokio::spawn(async move {
            loop {
                let (client, _) = listener.accept().await.unwrap();
                if *is.way.borrow() != Way::Cut {
                    let is = is.clone();
                    tokio::spawn(async move { is.pass(client, server).await });
                }
            }
        });
        Self { address, shared, listening }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn becomes(&self, way: Way) {
        self.shared.way.send_replace(way);
    }

    pub(crate) fn way(&self) -> Way {
        *self.shared.way.borrow()
    }

    /// Once the client says this, only so many bytes of what it is told come through, until the way is open again.
    pub(crate) fn holds_up(&self, said: &'static str, bytes: usize) {
        *self.shared.holds_up.lock().unwrap() = Some((said, bytes));
    }

    /// From now on each message of JetStream's says that none comes after it.
    pub(crate) fn counts_nothing(&self) {
        self.shared.counts_nothing.store(true, Ordering::Relaxed);
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.listening.abort();
        self.becomes(Way::Cut);
    }
}

impl Shared {
    async fn pass(&self, mut client: TcpStream, server: SocketAddr) {
        let Ok(mut server) = TcpStream::connect(server).await else { return };
        let ((from_client, to_client), (from_server, to_server)) = (client.split(), server.split());
        let mut way = self.way.subscribe();
        tokio::select! {
            () = self.tell_server(from_client, to_server) => {}
            () = self.tell_client(from_server, to_client) => {}
            _ = way.wait_for(|way| *way == Way::Cut) => {}
        }
    }

    /// Passes on what the client says, until either side ends.
    async fn tell_server(&self, mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin) {
        let (mut buffer, mut way) = (vec![0; 1 << 16], self.way.subscribe());
        while let Ok(read @ 1..) = from.read(&mut buffer).await {
            let is_said = |(said, _): &mut (&str, usize)| find(&buffer[..read], said.as_bytes()).is_some();
            if let Some((_, bytes)) = self.holds_up.lock().unwrap().take_if(is_said) {
                self.way.send_replace(Way::Told(bytes));
            }
            let passes = |way: &Way| matches!(way, Way::Open | Way::Told(_));
            if way.wait_for(passes).await.is_err() || to.write_all(&buffer[..read]).await.is_err() {
                return;
            }
        }
    }

    /// Passes on what the server says.
    async fn tell_client(&self, mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin) {
        let (mut buffer, mut way) = (vec![0; 1 << 16], self.way.subscribe());
        while let Ok(read @ 1..) = from.read(&mut buffer).await {
            if self.counts_nothing.load(Ordering::Relaxed) {
                count_nothing(&mut buffer[..read]);
            }
            let mut rest = &buffer[..read];
            while !rest.is_empty() {
                let passes = |way: &Way| matches!(way, Way::Open | Way::Told(1..));
                let Ok(now) = way.wait_for(passes).await.map(|way| *way) else { return };
                let bytes = if let Way::Told(left) = now { left.min(rest.len()) } else { rest.len() };
                if to.write_all(&rest[..bytes]).await.is_err() {
                    return;
                }
                rest = &rest[bytes..];
                self.way.send_if_modified(|way| {
                    let Way::Told(left) = way else { return false };
                    *left = left.saturating_sub(bytes);
                    true
                });
            }
        }
    }
}

fn find(bytes: &[u8], part: &[u8]) -> Option<usize> {
    bytes.windows(part.len()).position(|window| window == part)
}

/// Puts zeros for the last number of each message's place.
fn count_nothing(mut bytes: &mut [u8]) {
    while let Some(start) = find(bytes, PLACE) {
        bytes = &mut bytes[start + PLACE.len()..];
        let Some(end) = bytes.iter().position(|byte| *byte == b' ') else { return };
        bytes[..end].iter_mut().rev().take_while(|byte| byte.is_ascii_digit()).for_each(|byte| *byte = b'0');
    }
}
