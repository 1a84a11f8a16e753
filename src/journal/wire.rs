//! What servers of the same journal tell each other and nobody keeps: over the same NATS server, but not in the stream.

use async_nats::connection::State;
use bytes::Bytes;
use futures_util::{StreamExt as _, stream::BoxStream};

/// The way to the other servers. What is told while NATS is away is lost.
#[derive(Clone)]
pub struct Wire {
    client: async_nats::Client,
    subject: String,
}

impl Wire {
    pub(super) fn new(client: async_nats::Client, subject: String) -> Self {
        Self { client, subject }
    }

    /// Tells all others, and ourselves. Whether it went out.
    pub async fn tell(&self, message: Bytes) -> bool {
        self.client.connection_state() == State::Connected
            && self.client.publish(self.subject.clone(), message).await.is_ok()
    }

    /// What is told from now on, for as long as the connection can be made again; `None` when it cannot any more.
    pub async fn hear(&self) -> Option<BoxStream<'static, Bytes>> {
        let heard = self.client.subscribe(self.subject.clone()).await.ok()?;
        Some(heard.map(|message| message.payload).boxed())
    }
}
