//! Reading pages: a consumer of the server's for each, gone afterwards. What it leaves out, or what gets lost on the way, another delivers again:
//! a page has all that it is of, or is an error.

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

/// So many consumers in a row may fail to deliver all that a page is of, before that is an error.
const CONSUMERS: u32 = 4;

/// After so long without a word from us the server forgets a consumer that we could not delete.
const FORGOTTEN: Duration = Duration::from_secs(30);

impl Link {
    /// The entries that a query takes.
    pub(super) async fn page(&self, query: &Query) -> Result<Page, Error> {
        let end = self.last_sequence().await?.min(query.until.unwrap_or(u64::MAX));
        let mut page = Page { entries: Vec::new(), last: query.after, more: false };
        if page.last >= end {
            return Ok(page);
        }
        for _ in 0..CONSUMERS {
            let from = match query.since {
                // Nothing is stored before it happens.
                Some(since) if page.last == 0 => DeliverPolicy::ByStartTime { start_time: since.into() },
                _ => DeliverPolicy::ByStartSequence { start_sequence: page.last + 1 },
            };
            let consumer = self.consumer(self.subjects.of_query(query), from).await?;
            let filled = self.fill(&mut page, &consumer, query, end).await;
            self.forget(&consumer).await;
            if filled? {
                page.more = page.last < end;
                return Ok(page);
            }
        }
        Err(unreachable(&self.url, "it did not deliver what it has".to_owned()))
    }

    /// Goes on with a page by what one consumer delivers, until it is full or nothing up to `end` is left. `false` where the consumer left
    /// something out: the page has then all before that.
    async fn fill(
        &self,
        page: &mut Page,
        consumer: &Consumer<pull::Config>,
        query: &Query,
        end: u64,
    ) -> Result<bool, Error> {
        let limit = query.limit.max(1);
        let (mut delivered, mut empty) = (0, 0);
        let mut is_counted = consumer.cached_info().num_pending > 0;
        while page.last < end && page.entries.len() < limit {
            // What was pending may have been purged since, and what is there may not be counted.
            if !is_counted && self.is_last(consumer, page.last, end).await? {
                page.last = end;
                break;
            }
            if empty > BATCHES_EMPTY {
                return Ok(false);
            }
            let wanted = limit - page.entries.len();
            let mut messages = self.told(consumer.fetch().max_messages(wanted).messages().await)?;
            let before = delivered;
            while let Ok(Some(message)) = tokio::time::timeout(BATCH_OVER, messages.next()).await {
                let message = message.map_err(|error| unreachable(&self.url, chain(&*error)))?;
                let info = message.info().map_err(|error| unreachable(&self.url, chain(&*error)))?;
                let sequence = info.stream_sequence;
                delivered += 1;
                if info.consumer_sequence != delivered {
                    // One came too late for the batch that it was of, or got lost.
                    return Ok(false);
                }
                if sequence > page.last + 1 && !self.is_last(consumer, page.last, end.min(sequence - 1)).await? {
                    // One was left out, though it was not purged.
                    return Ok(false);
                }
                page.last = sequence.min(end);
                if sequence <= end {
                    let entry = self.entry(&message, sequence);
                    page.entries.extend(entry.filter(|entry| query.takes(&entry.draft)));
                }
                // Nobody waits for the server to say that a batch is over, which it may never do where entries are appended meanwhile.
                if info.pending == 0 && self.is_last(consumer, page.last, end).await? {
                    page.last = end;
                }
                if page.last == end {
                    break;
                }
            }
            is_counted = delivered > before;
            empty = if is_counted { 0 } else { empty + 1 };
        }
        Ok(true)
    }

    /// Whether nothing that a consumer is to deliver lies after the one and up to the other.
    async fn is_last(&self, consumer: &Consumer<pull::Config>, last: u64, end: u64) -> Result<bool, Error> {
        Ok(last >= end || self.next(consumer, last).await?.is_none_or(|next| next > end))
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

    /// Before which sequence all that a filter lets through was stored before this time.
    pub(super) async fn first_since(&self, filter: &str, since: SystemTime) -> Result<u64, Error> {
        let end = self.last_sequence().await? + 1;
        if since > SystemTime::now() {
            return Ok(end);
        }
        let from = DeliverPolicy::ByStartTime { start_time: since.into() };
        let consumer = self.consumer(Some(filter.to_owned()), from).await?;
        let first = self.next(&consumer, 0).await;
        self.forget(&consumer).await;
        Ok(first?.unwrap_or(end))
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

    /// Has the server forget a consumer; otherwise it does so by itself.
    async fn forget(&self, consumer: &Consumer<pull::Config>) {
        let _ = self.stream.delete_consumer(&consumer.cached_info().name).await;
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
