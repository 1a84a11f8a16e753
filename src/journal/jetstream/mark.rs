//! Marks: in a small stream of their own beside the journal's, which keeps the last message of each subject. It is made when the first
//! mark is asked for or kept.

use async_nats::jetstream::stream::{Config, RawMessageErrorKind, StorageType, Stream};

use super::{Link, stream::chain, unreachable};
use crate::journal::Error;

impl Link {
    pub(super) async fn mark(&self, name: &str, sequence: u64) -> Result<(), Error> {
        self.marks().await?;
        let published = self.context.publish(self.subjects.mark(name), sequence.to_string().into()).await;
        self.told(self.told(published)?.await).map(drop)
    }

    pub(super) async fn marked(&self, name: &str) -> Result<Option<u64>, Error> {
        match self.marks().await?.get_last_raw_message_by_subject(&self.subjects.mark(name)).await {
            Ok(message) => Ok(std::str::from_utf8(&message.payload).ok().and_then(|text| text.parse().ok())),
            Err(error) if error.kind() == RawMessageErrorKind::NoMessageFound => Ok(None),
            Err(error) => Err(unreachable(&self.url, chain(&error))),
        }
    }

    async fn marks(&self) -> Result<Stream, Error> {
        let config = Config {
            name: self.marks.clone(),
            description: Some("marks of Undertone's journal".to_owned()),
            subjects: vec![self.subjects.mark("*")],
            storage: StorageType::File,
            num_replicas: self.replicas,
            max_messages_per_subject: 1,
            ..Config::default()
        };
        self.told(self.context.get_or_create_stream(config).await)
    }
}
