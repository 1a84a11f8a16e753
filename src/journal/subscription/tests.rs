use std::{
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::SystemTime,
};

use futures_util::{
    FutureExt as _,
    future::{BoxFuture, ready},
};
use tokio::sync::Semaphore;

use super::*;
use crate::{
    journal::{
        Audit, Draft, Engine, EngineKind, Kind, Options, Record, Scope, record::tests::begun, tail::Tail,
        writable::Writable,
    },
    telemetry::metrics::{JournalMetrics, recorder},
};

/// Entries in memory. A page is what was there when it was asked for, and comes once the gate lets it through.
struct Gated(Arc<Shared>);

struct Shared {
    tail: Tail,
    entries: Mutex<Vec<Entry>>,
    reads: AtomicUsize,
    gate: Semaphore,
}

fn gated(permits: usize) -> (Journal, Arc<Shared>) {
    let (tail, entries) = (Tail::new(), Mutex::default());
    let shared =
        Arc::new(Shared { tail: tail.clone(), entries, reads: AtomicUsize::new(0), gate: Semaphore::new(permits) });
    let engine = Box::new(Gated(Arc::clone(&shared)));
    let metrics = JournalMetrics::new(&recorder());
    let journal = Journal::of(engine, tail, Writable::new(metrics.clone()), metrics, &Options::default());
    (journal, shared)
}

impl Gated {
    fn add(&self, draft: Draft) -> u64 {
        let mut entries = self.0.entries.lock().unwrap();
        let sequence = entries.last().map_or(0, |last| last.sequence) + 1;
        let entry = Entry { sequence, node: "a".to_owned(), draft };
        entries.push(entry.clone());
        self.0.tail.tell(entry);
        sequence
    }
}

impl Engine for Gated {
    fn append(&self, drafts: Vec<Draft>) -> BoxFuture<'_, Result<Vec<u64>, Error>> {
        ready(Ok(drafts.into_iter().map(|draft| self.add(draft)).collect())).boxed()
    }

    fn read(&self, query: Query) -> BoxFuture<'_, Result<Page, Error>> {
        self.0.reads.fetch_add(1, Ordering::Relaxed);
        let entries = self.0.entries.lock().unwrap().clone();
        let last = entries.last().map_or(0, |last| last.sequence);
        let taken = |entry: &Entry| entry.sequence > query.after && query.takes(&entry.draft);
        let entries = entries.into_iter().filter(taken).collect();
        async move {
            let _through = self.0.gate.acquire().await.unwrap();
            Ok(Page { entries, last, more: false })
        }
        .boxed()
    }

    fn purge(&self, scope: Scope, audit: Draft) -> BoxFuture<'_, Result<u64, Error>> {
        self.0.entries.lock().unwrap().retain(|entry| !scope.holds(&entry.draft));
        self.add(audit);
        ready(Ok(0)).boxed()
    }

    fn expire(&self, _: Vec<(Kind, SystemTime)>) -> BoxFuture<'_, Result<u64, Error>> {
        ready(Ok(0)).boxed()
    }

    fn last_sequence(&self) -> BoxFuture<'_, Result<u64, Error>> {
        ready(Ok(self.0.entries.lock().unwrap().last().map_or(0, |last| last.sequence))).boxed()
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

fn legs(calls: &[&str]) -> Vec<Draft> {
    calls.iter().map(|call_id| begun(call_id, "tiny").of_leg(call_id, "customer", None)).collect()
}

fn of_calls() -> Query {
    Query { kinds: vec![Kind::Call], ..Query::default() }
}

async fn delete(journal: &Journal, call_id: &str) {
    let (of_call, actor, reason) = (call_id.to_owned(), "officer".to_owned(), "he asked".to_owned());
    let audit = Audit::CallDeleted { call_id: of_call.clone(), actor, reason, entries: 0 };
    journal.purge(Scope::Call(of_call), Draft::new(SystemTime::now(), Record::Audit(audit))).await.unwrap();
}

/// The calls of the entries that are told now.
async fn told(subscription: &mut Subscription, count: usize) -> Vec<String> {
    let mut calls = Vec::new();
    for _ in 0..count {
        match subscription.next().await {
            Some(Ok(Told::Entry(entry))) => calls.extend(entry.draft.call_id.clone()),
            other => panic!("{other:?}"),
        }
    }
    calls
}

#[tokio::test]
async fn a_page_is_read_once_however_often_nobody_waits_for_it() {
    let (journal, engine) = gated(0);
    journal.append(legs(&["a"])).await.unwrap();
    let mut subscription = journal.subscribe(of_calls()).await.unwrap();
    for _ in 0..5 {
        // As a heartbeat does.
        assert_eq!(subscription.next().now_or_never(), None);
        tokio::task::yield_now().await;
    }
    engine.gate.add_permits(1);
    assert_eq!(told(&mut subscription, 1).await, ["a"]);
    assert_eq!(engine.reads.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn what_waits_to_be_told_is_not_told_once_it_is_purged() {
    let (journal, _) = gated(1);
    let mut live = journal.subscribe(of_calls()).await.unwrap();
    assert_eq!(live.next().now_or_never(), None);
    tokio::task::yield_now().await;
    assert_eq!(live.next().now_or_never(), None, "it listens");
    journal.append(legs(&["a", "b", "a", "c"])).await.unwrap();
    let mut page = journal.subscribe(of_calls()).await.unwrap();
    assert_eq!(told(&mut page, 1).await, ["a"]);
    assert_eq!(page.read.len(), 3);
    delete(&journal, "a").await;
    assert!(page.read.iter().filter(|held| held.entry().is_none()).count() == 1, "it stays in memory");
    journal.append(legs(&["a"])).await.unwrap();
    assert_eq!(told(&mut page, 3).await, ["b", "c", "a"]);
    assert_eq!(told(&mut live, 3).await, ["b", "c", "a"]);
    assert_eq!((live.next().now_or_never(), page.next().now_or_never()), (None, None));
}

#[tokio::test]
async fn a_page_that_a_purge_came_across_is_read_again() {
    let (journal, engine) = gated(0);
    journal.append(legs(&["a", "b"])).await.unwrap();
    let mut subscription = journal.subscribe(of_calls()).await.unwrap();
    assert_eq!(subscription.next().now_or_never(), None);
    tokio::task::yield_now().await;
    assert_eq!(engine.reads.load(Ordering::Relaxed), 1);
    delete(&journal, "a").await;
    engine.gate.add_permits(1);
    assert_eq!(told(&mut subscription, 1).await, ["b"]);
    assert_eq!(engine.reads.load(Ordering::Relaxed), 2);
    // One that it does not cover is not.
    let mut subscription = journal.subscribe(of_calls()).await.unwrap();
    assert_eq!(subscription.next().now_or_never(), None);
    delete(&journal, "other").await;
    assert_eq!(told(&mut subscription, 1).await, ["b"]);
    assert_eq!(engine.reads.load(Ordering::Relaxed), 3);
}

#[tokio::test]
async fn where_nothing_is_kept_what_was_purged_is_left_out() {
    let options = Options { engine: EngineKind::None, ..Options::default() };
    let journal = Journal::open(&options, JournalMetrics::new(&recorder())).await.unwrap();
    let mut subscription = journal.subscribe(of_calls()).await.unwrap();
    journal.append(legs(&["a", "b"])).await.unwrap();
    delete(&journal, "a").await;
    assert_eq!(told(&mut subscription, 1).await, ["b"]);
    assert_eq!(subscription.next().now_or_never(), None);
}

#[tokio::test]
async fn who_listens_to_a_journal_that_is_made_anew_is_told_and_begins_with_its_first() {
    let (journal, engine) = gated(1);
    journal.append(legs(&["a", "b", "c"])).await.unwrap();
    let mut subscription = journal.subscribe(of_calls()).await.unwrap();
    assert_eq!(told(&mut subscription, 2).await, ["a", "b"]);
    engine.entries.lock().unwrap().clear();
    engine.tail.begin_anew();
    journal.append(legs(&["new", "newer"])).await.unwrap();
    assert_eq!(subscription.next().await, Some(Err(Error::UnknownSequence { asked: 2, last: 2 })));
    assert_eq!(told(&mut subscription, 2).await, ["new", "newer"]);
    assert_eq!((subscription.next().now_or_never(), subscription.last()), (None, 2));
    // Also one who has heard all, and waits.
    engine.entries.lock().unwrap().clear();
    engine.tail.begin_anew();
    journal.append(legs(&["newest"])).await.unwrap();
    assert!(matches!(subscription.next().await, Some(Err(Error::UnknownSequence { asked: 2, .. }))));
    assert_eq!(told(&mut subscription, 1).await, ["newest"]);
}
