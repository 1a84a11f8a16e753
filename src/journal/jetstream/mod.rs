//! The journal in a stream of a NATS server or cluster (JetStream), which many servers share.
//!
//! An entry is one message: published with its id as `Nats-Msg-Id`, so that publishing it again within the duplicate window changes
//! nothing, and acknowledged when the stream has it. The message's place in the stream is the entry's sequence. Its subject holds
//! kind, call, leg and speaker, so that a call is purged by subject (see [`subject`]). Audit entries are copied by the server into a
//! stream that cannot be purged.
//!
//! The connection is made again by itself for as long as it takes; what is asked meanwhile fails after [`PATIENCE`] and can be asked
//! again. That it is lost, or that nobody answers, is noticed without being asked for anything (see [`watch`]).

mod follow;
mod mark;
mod read;
mod stream;
mod subject;
mod watch;

use std::{
    sync::Mutex,
    sync::PoisonError,
    time::{Duration, SystemTime},
};

use async_nats::jetstream::{self, context::ContextBuilder, message::PublishMessage};
use futures_util::{FutureExt as _, TryStreamExt as _, future::BoxFuture};
use serde::{Deserialize, Serialize};
use tokio::{sync::watch::channel, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use super::{
    Draft, Engine, Entry, Error, Kind, Options, Page, Query, Record, Scope, Wire, tail::Tail, writable::Writable,
};
use stream::Failure;
use subject::Subjects;

/// How long the server may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// Messages that are published before the first of them has to be acknowledged.
const AT_ONCE: usize = 256;

/// The engine.
pub(super) struct Jetstream {
    client: async_nats::Client,
    link: Link,
    node: String,
    closing: CancellationToken,
    /// What follows the stream, and what watches whether it is there.
    tasks: Mutex<Vec<JoinHandle<()>>>,
}

/// The stream and the way to it. Cheap to clone.
#[derive(Clone)]
struct Link {
    context: jetstream::Context,
    stream: jetstream::stream::Stream<()>,
    subjects: Subjects,
    /// The stream of marks, and the copies that a cluster keeps of it.
    marks: String,
    replicas: usize,
    /// The server's address without what must stay secret.
    url: String,
}

/// How far a stream has come.
#[derive(Debug, Clone, Copy)]
struct Reached {
    /// In nanoseconds since 1970: another stream of the same name has another.
    made_at: i128,
    sequence: u64,
}

/// What a message holds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Stored {
    node: String,
    #[serde(flatten)]
    draft: Draft,
}

impl Jetstream {
    /// Connects, and makes the stream where there is none.
    pub(super) async fn open(options: &Options, node: String, tail: Tail, writable: Writable) -> Result<Self, Error> {
        let url = stream::without_secrets(&options.url);
        let (connected, is_connected) = channel(true);
        let client = stream::connect(options, &node, connected).await.map_err(|problem| unreachable(&url, problem))?;
        let context = ContextBuilder::new()
            .timeout(PATIENCE)
            .ack_timeout(PATIENCE)
            .max_ack_inflight(4 * AT_ONCE)
            .backpressure_on_inflight(true)
            .build(client.clone());
        let subjects = Subjects::of_stream(&options.stream);
        let stream = stream::find_or_make(&context, options, &subjects, &url).await?;
        stream::keep_audits(&context, options, &subjects, &url).await?;
        let (marks, replicas) = (format!("{}_MARKS", options.stream), options.replicas);
        let link = Link { context, stream, subjects, marks, replicas, url };
        let closing = CancellationToken::new();
        let reached = link.reached().await?;
        writable.is_looked_at();
        let following = tokio::spawn(follow::follow(link.clone(), reached, tail, closing.clone()));
        let watching = tokio::spawn(watch::watch(link.clone(), is_connected, writable, closing.clone()));
        Ok(Self { client, link, node, closing, tasks: Mutex::new(vec![following, watching]) })
    }

    fn link(&self) -> Result<&Link, Error> {
        if self.closing.is_cancelled() { Err(Error::Closed) } else { Ok(&self.link) }
    }

    async fn publish(&self, drafts: Vec<Draft>) -> Result<Vec<u64>, Error> {
        let link = self.link()?;
        let mut sequences = Vec::with_capacity(drafts.len());
        let mut drafts = drafts.into_iter().peekable();
        while drafts.peek().is_some() {
            let mut acknowledgements = Vec::new();
            for draft in drafts.by_ref().take(AT_ONCE) {
                let (subject, id) = (link.subjects.of(&draft), draft.id.to_string());
                let stored = Stored { node: self.node.clone(), draft };
                let payload =
                    serde_json::to_vec(&stored).map_err(|error| Error::Storage { problem: error.to_string() })?;
                let message = PublishMessage::build().payload(payload.into()).message_id(id);
                acknowledgements.push(link.told(link.context.send_publish(subject, message).await)?);
            }
            for acknowledgement in acknowledgements {
                sequences.push(link.told(acknowledgement.await)?.sequence);
            }
        }
        Ok(sequences)
    }

    async fn purge(&self, scope: Scope, mut audit: Draft) -> Result<u64, Error> {
        let link = self.link()?;
        let filters = match &scope {
            Scope::Call(call_id) => vec![link.subjects.filter(None, Some(call_id), None, None)],
            Scope::Leg(call_id, leg_id) => vec![link.subjects.filter(None, Some(call_id), Some(leg_id), None)],
            Scope::Subject(subject) => {
                let of_subject = link.subjects.filter(None, None, None, Some(subject));
                let found = link.told(link.stream.info_with_subjects(&of_subject).await)?;
                let found: Vec<(String, usize)> = link.told(found.try_collect().await)?;
                let mut calls: Vec<_> =
                    found.iter().filter_map(|(subject, _)| link.subjects.call_of(subject)).collect();
                calls.sort_unstable();
                calls.dedup();
                // Those last: by them the calls are found, should this have to be done again.
                calls.push(of_subject);
                calls
            }
        };
        let mut deleted = 0;
        for filter in filters {
            deleted += link.told(link.stream.purge().filter(filter).await)?.purged;
        }
        if let Record::Audit(audit) = &mut audit.record {
            audit.count(deleted);
        }
        self.publish(vec![audit]).await?;
        Ok(deleted)
    }

    async fn expire(&self, before: Vec<(Kind, SystemTime)>) -> Result<u64, Error> {
        let link = self.link()?;
        let mut deleted = 0;
        for (kind, before) in before {
            let filter = link.subjects.filter(Some(kind), None, None, None);
            // Nothing lies before sequence 1, and the server takes 0 and 1 for all of them.
            let first_kept = link.first_since(&filter, before).await?;
            if first_kept <= 1 {
                continue;
            }
            deleted += link.told(link.stream.purge().filter(filter).sequence(first_kept).await)?.purged;
        }
        Ok(deleted)
    }
}

impl Engine for Jetstream {
    fn append(&self, drafts: Vec<Draft>) -> BoxFuture<'_, Result<Vec<u64>, Error>> {
        self.publish(drafts).boxed()
    }

    fn read(&self, query: Query) -> BoxFuture<'_, Result<Page, Error>> {
        async move { self.link()?.page(&query).await }.boxed()
    }

    fn purge(&self, scope: Scope, audit: Draft) -> BoxFuture<'_, Result<u64, Error>> {
        self.purge(scope, audit).boxed()
    }

    fn expire(&self, before: Vec<(Kind, SystemTime)>) -> BoxFuture<'_, Result<u64, Error>> {
        self.expire(before).boxed()
    }

    fn last_sequence(&self) -> BoxFuture<'_, Result<u64, Error>> {
        async move { self.link()?.last_sequence().await }.boxed()
    }

    fn mark(&self, name: String, sequence: u64) -> BoxFuture<'_, Result<(), Error>> {
        async move { self.link()?.mark(&name, sequence).await }.boxed()
    }

    fn marked(&self, name: String) -> BoxFuture<'_, Result<Option<u64>, Error>> {
        async move { self.link()?.marked(&name).await }.boxed()
    }

    fn wire(&self) -> Option<Wire> {
        Some(Wire::new(self.client.clone(), self.link.subjects.wire()))
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        async {
            self.closing.cancel();
            let tasks = std::mem::take(&mut *self.tasks.lock().unwrap_or_else(PoisonError::into_inner));
            for task in tasks {
                if let Err(error) = task.await
                    && let Ok(panic) = error.try_into_panic()
                {
                    std::panic::resume_unwind(panic);
                }
            }
        }
        .boxed()
    }
}

impl Drop for Jetstream {
    /// One that was never closed must not go on following.
    fn drop(&mut self) {
        self.closing.cancel();
    }
}

impl Link {
    async fn last_sequence(&self) -> Result<u64, Error> {
        Ok(self.reached().await?.sequence)
    }

    async fn reached(&self) -> Result<Reached, Error> {
        let info = self.told(self.stream.get_info().await)?;
        Ok(Reached { made_at: info.created.unix_timestamp_nanos(), sequence: info.state.last_sequence })
    }

    /// What a failure of the server means.
    fn told<T, E: Failure>(&self, result: Result<T, E>) -> Result<T, Error> {
        result.map_err(|failure| {
            let problem = stream::chain(&failure);
            if failure.is_full() { Error::Full { problem } } else { unreachable(&self.url, problem) }
        })
    }
}

impl Stored {
    fn entry(self, sequence: u64) -> Entry {
        Entry { sequence, node: self.node, draft: self.draft }
    }
}

fn unreachable(url: &str, problem: String) -> Error {
    Error::Unreachable { url: url.to_owned(), problem }
}
