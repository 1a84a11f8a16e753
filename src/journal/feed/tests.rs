use std::sync::atomic::AtomicBool;

use futures_util::{
    FutureExt as _,
    future::{BoxFuture, ready},
};

use tokio::sync::Notify;

use super::*;
use crate::{
    journal::{Engine, Options, Page, Query, record::tests::begun, tail::Tail},
    telemetry::metrics::{JournalMetrics, recorder},
};

/// A log in memory, which can be made to take no audit entries.
#[derive(Clone, Default)]
struct Log {
    drafts: Arc<Mutex<Vec<Draft>>>,
    refuses_audits: Arc<AtomicBool>,
    refused: Arc<AtomicU64>,
    asked: Arc<Notify>,
}

impl Engine for Log {
    fn append(&self, drafts: Vec<Draft>) -> BoxFuture<'_, Result<Vec<u64>, Error>> {
        self.asked.notify_one();
        let audits = drafts.iter().any(|draft| draft.kind() == Kind::Audit);
        if audits && self.refuses_audits.load(Ordering::Relaxed) {
            self.refused.fetch_add(1, Ordering::Relaxed);
            return ready(Err(Error::Full { problem: "no room".to_owned() })).boxed();
        }
        let mut log = self.drafts.lock().unwrap();
        log.extend(drafts);
        ready(Ok(vec![log.len() as u64])).boxed()
    }

    fn read(&self, _: Query) -> BoxFuture<'_, Result<Page, Error>> {
        ready(Ok(Page::default())).boxed()
    }

    fn purge(&self, _: Scope, audit: Draft) -> BoxFuture<'_, Result<u64, Error>> {
        self.drafts.lock().unwrap().push(audit);
        ready(Ok(0)).boxed()
    }

    fn expire(&self, _: Vec<(Kind, SystemTime)>) -> BoxFuture<'_, Result<u64, Error>> {
        ready(Ok(0)).boxed()
    }

    fn last_sequence(&self) -> BoxFuture<'_, Result<u64, Error>> {
        ready(Ok(0)).boxed()
    }

    fn mark(&self, _: String, _: u64) -> BoxFuture<'_, Result<(), Error>> {
        ready(Ok(())).boxed()
    }

    fn marked(&self, _: String) -> BoxFuture<'_, Result<Option<u64>, Error>> {
        ready(Ok(None)).boxed()
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        ready(()).boxed()
    }
}

impl Log {
    fn feed(&self, buffer: usize) -> (Feed, Feeder) {
        let (metrics, options) = (JournalMetrics::new(&recorder()), Options::default());
        Feed::pair(Journal::of(Box::new(self.clone()), "a".to_owned(), Tail::new(), metrics, &options), buffer)
    }

    fn audits(&self) -> Vec<Draft> {
        self.drafts.lock().unwrap().iter().filter(|draft| draft.kind() == Kind::Audit).cloned().collect()
    }
}

fn deleted(call_id: &str) -> Draft {
    let (call_id, actor, reason) = (call_id.to_owned(), "officer".to_owned(), "he asked".to_owned());
    Draft::new(SystemTime::now(), Record::Audit(Audit::CallDeleted { call_id, actor, reason, entries: 0 }))
}

#[tokio::test]
async fn what_was_lost_is_told_although_nothing_more_comes() {
    let log = Log::default();
    log.refuses_audits.store(true, Ordering::Relaxed);
    let (feed, feeder) = log.feed(1);
    feed.record(begun("kept", "tiny"));
    feed.record(begun("lost", "tiny"));
    let closing = CancellationToken::new();
    let feeding = tokio::spawn(feeder.run(closing.clone()));
    while log.refused.load(Ordering::Relaxed) < 2 {
        log.asked.notified().await;
    }
    log.refuses_audits.store(false, Ordering::Relaxed);
    while log.audits().is_empty() {
        log.asked.notified().await;
    }
    let [Draft { record: Record::Audit(Audit::EntriesLost { lost }), .. }] = &log.audits()[..] else { panic!() };
    assert_eq!(*lost, BTreeMap::from([(Kind::Call, 1)]));
    closing.cancel();
    feeding.await.unwrap();
    assert_eq!(log.drafts.lock().unwrap().len(), 2);
}

#[tokio::test]
async fn a_purge_that_found_no_room_is_done_before_the_feeder_ends() {
    let log = Log::default();
    let (feed, feeder) = log.feed(1);
    for n in 0..2 * PURGES {
        drop(feed.forget(Scope::Call(n.to_string()), deleted(&n.to_string())));
    }
    let closing = CancellationToken::new();
    closing.cancel();
    feeder.run(closing).await;
    assert_eq!(log.audits().len(), 2 * PURGES);
}

#[test]
fn drafts_wait_in_the_order_of_their_tickets() {
    let (feed, mut feeder) = Log::default().feed(40_000);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| (0..5000).for_each(|_| feed.record(begun("c", "tiny"))));
        }
    });
    let mut tickets = Vec::new();
    while let Ok((ticket, _)) = feeder.drafts.try_recv() {
        tickets.push(ticket);
    }
    assert_eq!(tickets, (0..20_000).collect::<Vec<u64>>());
}
