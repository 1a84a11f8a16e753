//! Reading pages: a consumer of the server's for each, gone afterwards.

use std::time::{Duration, SystemTime};

use async_nats::jetstream::{
    Message,
    consumer::{AckPolicy, Consumer, DeliverPolicy, pull},
    stream::RawMessageErrorKind,
};
use futures_util::StreamExt as _;

use super::{Link, Stored, stream::chain, unreachable};
use crate::journal::{Error, Page, Query};

/// After so long without a message a batch is taken to be over, and the rest asked for again.
const BATCH_OVER: Duration = Duration::from_secs(1);

/// So many batches in a row may be empty although there is something: asked again, a busy NATS server delivers it.
const BATCHES_EMPTY: u32 = 2;

/// After so long without a word from us the server forgets a consumer that we could not delete.
const FORGOTTEN: Duration = Duration::from_secs(30);

impl Link {
    /// The entries that a query takes.
    pub(super) async fn page(&self, query: &Query) -> Result<Page, Error> {
        let end = self.last_sequence().await?;
        let until = query.until.unwrap_or(u64::MAX);
        if query.after >= end.min(until) {
            return Ok(Page { entries: Vec::new(), last: query.after, more: false });
        }
        let from = match query.since {
            // Nothing is stored before it happens.
            Some(since) if query.after == 0 => DeliverPolicy::ByStartTime { start_time: since.into() },
            _ => DeliverPolicy::ByStartSequence { start_sequence: query.after + 1 },
        };
        let consumer = self.consumer(self.subjects.of_query(query), from).await?;
        let page = self.fetch(&consumer, query, end.min(until)).await;
        // Otherwise the server does it by itself.
        let _ = self.stream.delete_consumer(&consumer.cached_info().name).await;
        page
    }

    async fn fetch(&self, consumer: &Consumer<pull::Config>, query: &Query, end: u64) -> Result<Page, Error> {
        let limit = query.limit.max(1);
        let mut page = Page { entries: Vec::new(), last: query.after, more: true };
        let (mut pending, mut received, mut empty) = (consumer.cached_info().num_pending, 0, 0);
        while page.last < end && page.entries.len() < limit {
            // What was pending may have been purged since, and what is there may not be counted.
            if pending == 0 || empty > 0 {
                pending = u64::from(self.next(consumer, page.last).await?.is_some_and(|next| next <= end));
            }
            if pending == 0 {
                break;
            }
            if empty > BATCHES_EMPTY {
                return Err(unreachable(&self.url, "it did not deliver what it has".to_owned()));
            }
            let wanted = limit - page.entries.len();
            let mut messages = self.told(consumer.fetch().max_messages(wanted).messages().await)?;
            let before = received;
            // What is delivered says how much is left: nobody waits for the server to say that a batch is over, which it may never do
            // where entries are appended meanwhile.
            while pending > 0 {
                let Ok(Some(message)) = tokio::time::timeout(BATCH_OVER, messages.next()).await else { break };
                let message = message.map_err(|error| unreachable(&self.url, chain(&*error)))?;
                let info = message.info().map_err(|error| unreachable(&self.url, chain(&*error)))?;
                let sequence = info.stream_sequence;
                (pending, received) = (info.pending, info.consumer_sequence);
                if sequence > end {
                    pending = 0;
                    break;
                }
                page.last = sequence;
                let entry = self.entry(&message, sequence);
                page.entries.extend(entry.filter(|entry| query.takes(&entry.draft)));
            }
            empty = if received > before { 0 } else { empty + 1 };
        }
        if pending == 0 || page.last >= end {
            page.more = false;
            page.last = page.last.max(end);
        }
        Ok(page)
    }

    /// The first entry after this one that a consumer is to deliver. The stream is asked, since a consumer's own count was seen to be 0 on a busy
    /// NATS server (2.9.10) that had not delivered what was there.
    pub(super) async fn next(&self, consumer: &Consumer<pull::Config>, after: u64) -> Result<Option<u64>, Error> {
        let info = consumer.cached_info();
        let filter = if info.config.filter_subject.is_empty() { ">" } else { &info.config.filter_subject };
        // When it was made it said before which sequence nothing is its own.
        let from = after.max(info.delivered.stream_sequence) + 1;
        match self.stream.get_first_raw_message_by_subject(filter, from).await {
            Ok(message) => Ok(Some(message.sequence)),
            Err(error) if error.kind() == RawMessageErrorKind::NoMessageFound => Ok(None),
            Err(error) => Err(unreachable(&self.url, chain(&error))),
        }
    }

    /// Before which sequence all that a filter lets through was stored before this time; `None` where that cannot be told.
    pub(super) async fn first_since(&self, filter: &str, since: SystemTime) -> Result<Option<u64>, Error> {
        let end = self.last_sequence().await? + 1;
        if since > SystemTime::now() {
            return Ok(Some(end));
        }
        let from = DeliverPolicy::ByStartTime { start_time: since.into() };
        let consumer = self.consumer(Some(filter.to_owned()), from).await?;
        let mut first = Ok(Some(end));
        if self.next(&consumer, 0).await?.is_some() {
            let query = Query { limit: 1, ..Query::default() };
            let page = self.fetch(&consumer, &query, u64::MAX).await;
            first = page.map(|page| page.entries.first().map(|entry| entry.sequence));
        }
        let _ = self.stream.delete_consumer(&consumer.cached_info().name).await;
        first
    }

    /// A consumer of those messages, which the server forgets when we go.
    pub(super) async fn consumer(
        &self,
        filter: Option<String>,
        deliver_policy: DeliverPolicy,
    ) -> Result<Consumer<pull::Config>, Error> {
        let config = pull::Config {
            deliver_policy,
            ack_policy: AckPolicy::None,
            filter_subject: filter.unwrap_or_default(),
            inactive_threshold: FORGOTTEN,
            memory_storage: true,
            num_replicas: 1,
            ..pull::Config::default()
        };
        self.told(self.stream.create_consumer(config).await)
    }

    /// The entry in a message. One that a newer version wrote may not be understood: it is passed over.
    pub(super) fn entry(&self, message: &Message, sequence: u64) -> Option<crate::journal::Entry> {
        match serde_json::from_slice::<Stored>(&message.payload) {
            Ok(stored) => Some(stored.entry(sequence)),
            Err(error) => {
                tracing::warn!(sequence, %error, "an entry of the journal cannot be read, and is passed over");
                None
            }
        }
    }
}
