//! [`Journal`]: what callers hold.

use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::{
    Draft, Engine, EngineKind, Entry, Error, Kind, Options, Page, Query, Record, Scope, Subscription, Wire,
    jetstream::Jetstream, nothing::Nothing, sqlite::Sqlite, tail::Tail, writable::Writable,
};
use crate::telemetry::metrics::JournalMetrics;

/// How often entries are looked at for their age: small beside any time to live.
const EXPIRE_EVERY: Duration = Duration::from_secs(10 * 60);

/// A server's journal. Cheap to clone.
#[derive(Clone)]
pub struct Journal {
    shared: Arc<Shared>,
}

struct Shared {
    node: String,
    engine: Box<dyn Engine>,
    tail: Tail,
    metrics: JournalMetrics,
    writable: Writable,
    time_to_live: super::TimeToLive,
}

impl Journal {
    /// Opens the journal, or makes it where there is none.
    pub async fn open(options: &Options, metrics: JournalMetrics) -> Result<Self, Error> {
        let (tail, writable) = (Tail::new(), Writable::new(metrics.clone()));
        let node = options.node_name();
        let engine: Box<dyn Engine> = match options.engine {
            EngineKind::None => Box::new(Nothing::new(node, tail.clone())),
            EngineKind::Sqlite => Box::new(Sqlite::open(options, node, tail.clone()).await?),
            EngineKind::Jetstream => Box::new(Jetstream::open(options, node, tail.clone(), writable.clone()).await?),
        };
        Ok(Self::of(engine, tail, writable, metrics, options))
    }

    pub(super) fn of(
        engine: Box<dyn Engine>,
        tail: Tail,
        writable: Writable,
        metrics: JournalMetrics,
        options: &Options,
    ) -> Self {
        let (node, time_to_live) = (options.node_name(), options.time_to_live.clone());
        Self { shared: Arc::new(Shared { node, engine, tail, metrics, writable, time_to_live }) }
    }

    /// Appends drafts in this order, and returns their sequences once they will survive the death of the process. Appending the same
    /// drafts again returns the same sequences. Waits while more is handed in than can be written.
    pub async fn append(&self, drafts: Vec<Draft>) -> Result<Vec<u64>, Error> {
        let kinds: Vec<Kind> = drafts.iter().map(Draft::kind).collect();
        let began = Instant::now();
        let appended = self.told(self.shared.engine.append(drafts).await)?;
        self.shared.metrics.append_seconds.record(began.elapsed().as_secs_f64());
        kinds.into_iter().for_each(|kind| self.shared.metrics.entries_total.increment(kind.as_str()));
        Ok(appended)
    }

    /// A page of entries.
    pub async fn read(&self, query: Query) -> Result<Page, Error> {
        self.shared.engine.read(query).await
    }

    /// Shows all entries that a query takes, in order, and holds no more than a page of them.
    pub async fn each(&self, mut query: Query, mut see: impl FnMut(Entry)) -> Result<(), Error> {
        loop {
            let page = self.read(query.clone()).await?;
            query.after = page.last;
            page.entries.into_iter().for_each(&mut see);
            if !page.more {
                return Ok(());
            }
        }
    }

    /// All entries that a query takes, for one that takes few, such as a call's; [`Journal::each`] is for the others.
    pub async fn read_all(&self, query: Query) -> Result<Vec<Entry>, Error> {
        let mut entries = Vec::new();
        self.each(query, |entry| entries.push(entry)).await?;
        Ok(entries)
    }

    /// All that is kept of a call, audit entries aside.
    pub async fn call(&self, call_id: &str) -> Result<Vec<Entry>, Error> {
        self.read_all(Query { call_id: Some(call_id.to_owned()), ..Query::default() }).await
    }

    /// The summaries of a subject's calls.
    pub async fn subject(&self, subject: &str) -> Result<Vec<Entry>, Error> {
        let query = Query { subject: Some(subject.to_owned()), kinds: vec![Kind::Subject], ..Query::default() };
        self.read_all(query).await
    }

    /// The entries that a query takes after its `after`, then each as it comes; the query's `until` and `limit` are not heeded. A
    /// sequence that was never given is [`Error::UnknownSequence`].
    pub async fn subscribe(&self, query: Query) -> Result<Subscription, Error> {
        let last = self.last_sequence().await?;
        if query.after > last {
            return Err(Error::UnknownSequence { asked: query.after, last });
        }
        Ok(Subscription::new(self.clone(), Query { until: None, limit: Query::default().limit, ..query }, last))
    }

    /// The last sequence given; 0 before the first.
    pub async fn last_sequence(&self) -> Result<u64, Error> {
        self.shared.engine.last_sequence().await
    }

    /// Deletes what is kept in the scope, audit entries aside, and appends `audit`, which says so. Returns how many entries. After an
    /// error it can be asked again. While calls live, ask [`super::Feed::forget`] instead, which knows what still waits.
    pub async fn purge(&self, scope: Scope, audit: Draft) -> Result<u64, Error> {
        debug_assert!(matches!(audit.record, Record::Audit(_)), "a purge is told by an audit entry");
        self.told(self.shared.engine.purge(scope, audit).await)
    }

    /// Deletes entries that are older at `now` than their kind's time to live. Returns how many.
    pub async fn expire(&self, now: SystemTime) -> Result<u64, Error> {
        let older = |time| now.checked_sub(time);
        let before = self.shared.time_to_live.by_kind();
        let before = before.into_iter().filter_map(|(kind, time)| Some((kind, older(time)?))).collect();
        let expired = match self.shared.engine.expire(before).await {
            // Nothing was written.
            Ok(0) => {
                self.shared.writable.expired_nothing();
                0
            }
            expired => self.told(expired)?,
        };
        self.shared.metrics.expired_total.increment(expired);
        Ok(expired)
    }

    /// Keeps how far somebody got who follows the journal. The name is of letters, digits and `-` alone.
    pub async fn mark(&self, name: &str, sequence: u64) -> Result<(), Error> {
        debug_assert!(name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-'), "{name:?}");
        self.shared.engine.mark(name.to_owned(), sequence).await
    }

    /// How far he got; `None` where he never said so, or nothing is kept.
    pub async fn marked(&self, name: &str) -> Result<Option<u64>, Error> {
        self.shared.engine.marked(name.to_owned()).await
    }

    /// The way to other servers of the same journal, where there may be any.
    pub fn wire(&self) -> Option<Wire> {
        self.shared.engine.wire()
    }

    /// This server's name in its entries.
    pub fn node(&self) -> &str {
        &self.shared.node
    }

    /// Whether entries can be written, as far as is known (`writable.rs` has the rule).
    pub fn writable(&self) -> watch::Receiver<bool> {
        self.shared.writable.subscribe()
    }

    /// Deletes what has become too old, now and then, until `closing`.
    pub async fn keep_expiring(self, closing: CancellationToken) {
        let mut ticks = tokio::time::interval(EXPIRE_EVERY);
        while closing.run_until_cancelled(ticks.tick()).await.is_some() {
            match closing.run_until_cancelled(self.expire(SystemTime::now())).await {
                Some(Ok(expired @ 1..)) => tracing::info!(expired, "entries of the journal have become too old"),
                Some(Err(error)) => tracing::warn!(%error, "the journal could not be rid of what is too old"),
                Some(Ok(0)) | None => {}
            }
        }
    }

    /// Whether what was appended can be read afterwards.
    pub fn keeps(&self) -> bool {
        self.shared.engine.keeps()
    }

    /// Finishes what was handed in, takes no more, and ends all subscriptions.
    pub async fn close(&self) {
        self.shared.engine.close().await;
        self.shared.tail.closed().cancel();
    }

    pub(super) fn tail(&self) -> &Tail {
        &self.shared.tail
    }

    pub(super) fn metrics(&self) -> &JournalMetrics {
        &self.shared.metrics
    }

    /// Counts a failure, and tells whether the journal can be written.
    fn told<T>(&self, written: Result<T, Error>) -> Result<T, Error> {
        match &written {
            Ok(_) => self.shared.writable.wrote(),
            Err(error) => {
                self.shared.metrics.failures_total.increment(error.name());
                self.shared.writable.failed(error);
            }
        }
        written
    }
}
