//! The task of one receiver.

use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use futures_util::{
    FutureExt as _, StreamExt as _,
    stream::{self, FuturesUnordered},
};
use tokio::time::{self, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use super::{
    Choice, Lag,
    answer::Answer,
    post::Post,
    schedule::{Due, Schedule, Settled},
};
use crate::journal::{Entry, Error, Journal, Kind, Page, Query, Told};

/// How often its mark is kept and its lag told. What was posted since may be posted again after a crash.
const KEPT_EVERY: Duration = Duration::from_secs(1);

/// The wait before a journal that failed is asked again.
const AGAIN: Duration = Duration::from_millis(500);

/// What is older may have been purged meanwhile: the journal is asked before it is posted.
const FRESH: Duration = Duration::from_secs(5);

/// How long a server that ends waits for what can be posted at once.
const LAST_WORDS: Duration = Duration::from_secs(3);

/// One receiver, and how far it got.
pub(super) struct Receiver {
    pub(super) index: usize,
    /// The name of its mark.
    pub(super) mark: String,
    /// All up to and with this sequence was posted, or is not to be.
    pub(super) position: u64,
    pub(super) choice: Choice,
    pub(super) post: Post,
    pub(super) journal: Journal,
    pub(super) lag: Lag,
}

/// A receiver at work.
struct Working {
    receiver: Arc<Receiver>,
    schedule: Schedule,
    posts: FuturesUnordered<futures_util::future::BoxFuture<'static, (u64, Answer)>>,
    marked: u64,
}

impl Receiver {
    /// Posts until `closing`, then for a moment what is still there.
    pub(super) async fn run(self, closing: CancellationToken) {
        let schedule = Schedule::new(&self.choice.options, self.position);
        let (marked, receiver) = (self.position, Arc::new(self));
        let mut working = Working { receiver, schedule, posts: FuturesUnordered::new(), marked };
        while !closing.is_cancelled() {
            working.follow(&closing).await;
            closing.run_until_cancelled(time::sleep(AGAIN)).await;
        }
        let _ = time::timeout(LAST_WORDS, working.finish()).await;
        working.keep_mark().await;
    }

    /// Alerts after a sequence.
    fn alerts(&self, after: u64, limit: usize) -> Query {
        Query { after, limit, kinds: vec![Kind::Alert], ..Query::default() }
    }

    /// Posts one change.
    async fn attempt(&self, due: Due) -> Answer {
        let Due { entry, again } = due;
        let age = entry.draft.at.elapsed().unwrap_or_default();
        if again || age > FRESH {
            let query = Query { until: Some(entry.sequence), ..self.alerts(entry.sequence - 1, 1) };
            match self.journal.read(query).await {
                Ok(Page { entries, .. }) if entries.is_empty() => return Answer::Purged,
                Ok(_) => {}
                Err(error) => return Answer::Failed { problem: error.to_string(), retry_after: None },
            }
        }
        let Some(alert) = self.choice.alert(&entry) else { return Answer::Purged };
        self.post.make(&entry, alert).await.unwrap_or_else(|error| {
            tracing::error!(%error, "an alert cannot be written as JSON");
            Answer::Purged
        })
    }
}

impl Working {
    /// Posts what the journal tells, until `closing` or until the journal fails.
    async fn follow(&mut self, closing: &CancellationToken) {
        let query = self.receiver.alerts(self.schedule.last(), Query::default().limit);
        let subscription = match self.receiver.journal.subscribe(query).await {
            Ok(subscription) => subscription,
            Err(error) => return self.cannot_follow(&error),
        };
        let told = stream::unfold(subscription, |mut subscription| async {
            subscription.next().await.map(|told| (told, subscription))
        });
        let mut told = std::pin::pin!(told);
        let mut ticks = time::interval(KEPT_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            self.begin_posts();
            let wake = self.schedule.wake();
            tokio::select! {
                () = closing.cancelled() => {
                    // What came before is posted, even where it could not be read again.
                    while let Some(Some(Ok(Told::Entry(entry)))) = told.next().now_or_never() {
                        self.take(&entry);
                    }
                    return;
                }
                told = told.next(), if self.schedule.has_room() => match told {
                    Some(Ok(Told::Entry(entry))) => self.take(&entry),
                    Some(Ok(Told::Missed(missed))) => {
                        tracing::error!(missed, "entries came and went while a receiver was slow: the journal keeps nothing");
                        self.receiver.lag.metrics.posts_total.increment("missed");
                    }
                    Some(Err(error)) => return self.cannot_follow(&error),
                    None => return closing.cancelled().await,
                },
                Some((sequence, answer)) = self.posts.next(), if !self.posts.is_empty() => self.settle(sequence, &answer),
                () = time::sleep_until(wake.unwrap_or_else(Instant::now).into()), if wake.is_some() => {}
                _ = ticks.tick() => self.keep_mark().await,
            }
        }
    }

    /// Where another journal took the place of the one that was followed, all of it is unknown to the receiver.
    fn cannot_follow(&mut self, error: &Error) {
        if matches!(error, Error::UnknownSequence { .. }) {
            self.posts.clear();
            self.schedule = Schedule::new(&self.receiver.choice.options, 0);
        }
        tracing::warn!(%error, "the journal cannot be followed, and alerts are posted late");
    }

    /// Posts what is left, unless it fails.
    async fn finish(&mut self) {
        let mut more = true;
        loop {
            while more && self.schedule.has_room() {
                let query = self.receiver.alerts(self.schedule.last(), 16);
                let Ok(page) = self.receiver.journal.read(query).await else { return };
                more = page.more;
                page.entries.into_iter().for_each(|entry| self.take(&Arc::new(entry)));
                self.schedule.pass(page.last);
            }
            self.begin_posts();
            let Some((sequence, answer)) = self.posts.next().await else { return };
            self.settle(sequence, &answer);
            if self.schedule.is_ill() && self.posts.is_empty() {
                return;
            }
        }
    }

    fn take(&mut self, entry: &Arc<Entry>) {
        match self.receiver.choice.alert(entry) {
            Some(alert) => self.schedule.take(&alert.alert_id, Arc::clone(entry), Instant::now()),
            None => self.schedule.pass(entry.sequence),
        }
    }

    fn begin_posts(&mut self) {
        while let Some(due) = self.schedule.next(Instant::now()) {
            let (receiver, sequence) = (Arc::clone(&self.receiver), due.entry.sequence);
            self.posts.push(async move { (sequence, receiver.attempt(due).await) }.boxed());
        }
    }

    fn settle(&mut self, sequence: u64, answer: &Answer) {
        let was_ill = self.schedule.is_ill();
        let times = (Instant::now(), SystemTime::now());
        let settled = self.schedule.settle(sequence, answer, rand::random(), times);
        let (receiver, metrics) = (self.receiver.post.receiver(), &self.receiver.lag.metrics);
        match (answer, settled) {
            (Answer::Delivered, _) => metrics.posts_total.increment("delivered"),
            (Answer::Purged, _) => metrics.posts_total.increment("purged"),
            (Answer::Refused(status), _) => {
                metrics.posts_total.increment("refused");
                let status = status.as_u16();
                tracing::error!(receiver, status, sequence, "a receiver refused an alert, which is not posted again");
            }
            (Answer::Failed { problem, .. }, Settled::GivenUp) => {
                metrics.posts_total.increment("given_up");
                tracing::error!(
                    receiver,
                    problem,
                    sequence,
                    "an alert could not be posted for too long, and is given up"
                );
            }
            (Answer::Failed { problem, .. }, _) => {
                metrics.retries_total.increment(1);
                if !was_ill {
                    tracing::warn!(receiver, problem, "an alert could not be posted, and is tried again");
                }
            }
        }
        if was_ill && !self.schedule.is_ill() {
            tracing::info!(receiver, "a receiver takes alerts again");
        }
        self.receiver.lag.tell(self.receiver.index, self.schedule.oldest());
    }

    async fn keep_mark(&mut self) {
        self.receiver.lag.tell(self.receiver.index, self.schedule.oldest());
        let mark = self.schedule.mark();
        if mark == self.marked {
            return;
        }
        match self.receiver.journal.mark(&self.receiver.mark, mark).await {
            Ok(()) => self.marked = mark,
            Err(error) => tracing::debug!(%error, "how far a receiver got could not be kept"),
        }
    }
}
