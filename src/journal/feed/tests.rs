use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use futures_util::{
    FutureExt as _,
    future::{BoxFuture, ready},
};

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::{
    journal::{
        Audit, Engine, Entry, Error, Options, Page, Record, Timeline,
        record::tests::{begun, of_all_kinds},
        tail::Tail,
        writable::Writable,
    },
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

    fn read(&self, query: Query) -> BoxFuture<'_, Result<Page, Error>> {
        let log = self.drafts.lock().unwrap();
        let entry = |(draft, sequence): (&Draft, u64)| Entry { sequence, node: "a".to_owned(), draft: draft.clone() };
        let entries = log.iter().zip(1..).filter(|(draft, _)| query.takes(draft)).map(entry).collect();
        ready(Ok(Page { entries, last: log.len() as u64, more: false })).boxed()
    }

    fn purge(&self, scope: Scope, audit: Draft) -> BoxFuture<'_, Result<u64, Error>> {
        let mut log = self.drafts.lock().unwrap();
        let before = log.len();
        log.retain(|draft| !scope.holds(draft));
        let deleted = (before - log.len()) as u64;
        // Room for the audit entry.
        if deleted == 0 && self.refuses_audits.load(Ordering::Relaxed) {
            return ready(Err(Error::Full { problem: "no room".to_owned() })).boxed();
        }
        self.refuses_audits.store(false, Ordering::Relaxed);
        log.push(audit);
        ready(Ok(deleted)).boxed()
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
        let (metrics, options) =
            (JournalMetrics::new(&recorder()), Options { node: Some("a".to_owned()), ..Options::default() });
        let writable = Writable::new(metrics.clone());
        Feed::pair(Journal::of(Box::new(self.clone()), Tail::new(), writable, metrics, &options), buffer)
    }

    fn audits(&self) -> Vec<Draft> {
        self.drafts.lock().unwrap().iter().filter(|draft| draft.kind() == Kind::Audit).cloned().collect()
    }
}

fn deleted(call_id: &str) -> Draft {
    let (call_id, actor, reason) = (call_id.to_owned(), "officer".to_owned(), "he asked".to_owned());
    Draft::new(SystemTime::now(), Record::Audit(Audit::CallDeleted { call_id, actor, reason, entries: 0 }))
}

fn heard(call_id: &str) -> Draft {
    let timeline = Timeline { sample_rate_hz: 8000, labels: Vec::new(), points: Vec::new() };
    Draft::new(SystemTime::now(), Record::Timeline(timeline)).of_leg(call_id, "customer", None)
}

fn of_subject(draft: Draft) -> Draft {
    Draft { subject: Some("caller-7".to_owned()), ..draft }
}

impl Log {
    /// What there is when all that was fed is written.
    async fn written_by(&self, feeder: Feeder) -> Vec<String> {
        let closing = CancellationToken::new();
        closing.cancel();
        assert_eq!(feeder.run(closing).await, 0);
        self.words()
    }

    /// A word an entry: the call, and whether it tells what was heard.
    fn words(&self) -> Vec<String> {
        let word = |draft: &Draft| match (&draft.record, &draft.call_id) {
            (Record::Audit(Audit::CallDeleted { call_id, .. }), _) => format!("{call_id} deleted"),
            (record, Some(call_id)) if record.tells_what_was_heard() => format!("{call_id} heard"),
            (_, Some(call_id)) => call_id.clone(),
            (_, None) => panic!("{draft:?}"),
        };
        self.drafts.lock().unwrap().iter().map(word).collect()
    }
}

/// So long after a deletion a call that begins is another one.
const APART: Duration = Duration::from_secs(5);

#[tokio::test]
async fn what_waits_of_a_call_that_another_server_deleted_is_dropped_and_the_rest_written() {
    let log = Log::default();
    let (feed, feeder) = log.feed(16);
    for draft in [begun("gone", "tiny"), heard("gone"), begun("kept", "tiny"), heard("kept")] {
        feed.record(draft);
    }
    let ticket = feed.ticket();
    // Of a call that is stopped: what it heard goes, that it ended stays.
    feed.record(heard("gone"));
    feed.record(begun("gone", "stopped"));
    feed.follow_deletion(&deleted("gone"), ticket, SystemTime::now() + APART);
    feed.record(heard("kept"));
    assert_eq!(log.written_by(feeder).await, ["kept", "kept heard", "gone", "kept heard"]);
}

#[tokio::test]
async fn that_an_alert_is_over_is_told_of_a_call_that_another_server_deleted() {
    let log = Log::default();
    let (feed, feeder) = log.feed(16);
    let told = of_all_kinds().into_iter().find(|record| matches!(record, Record::Alert(_))).unwrap();
    let Record::Alert(mut over) = told.clone() else { panic!("{told:?}") };
    over.evidence.scores.clear();
    for record in [told, Record::Alert(over)] {
        feed.record(Draft::new(SystemTime::now(), record).of_leg("gone", "customer", None));
    }
    feed.record(begun("gone", "tiny"));
    feed.follow_deletion(&deleted("gone"), feed.ticket(), SystemTime::now() + APART);
    assert_eq!(log.written_by(feeder).await, ["gone"]);
    assert!(matches!(log.drafts.lock().unwrap()[0].record, Record::Alert(_)));
}

#[tokio::test]
async fn what_was_written_of_a_call_that_another_server_deleted_is_deleted_once() {
    let log = Log::default();
    let (feed, feeder) = log.feed(16);
    feed.journal().append(vec![begun("gone", "tiny"), heard("gone"), heard("kept")]).await.unwrap();
    for _ in 0..2 {
        feed.follow_deletion(&deleted("gone"), feed.ticket(), SystemTime::now() + APART);
    }
    assert_eq!(log.written_by(feeder).await, ["kept heard", "gone deleted"]);
}

#[tokio::test]
async fn a_call_that_began_after_another_server_deleted_one_of_its_name_stays() {
    let log = Log::default();
    let (feed, feeder) = log.feed(16);
    feed.record(begun("again", "tiny"));
    feed.record(heard("again"));
    feed.follow_deletion(&deleted("again"), feed.ticket(), SystemTime::now() - APART);
    assert_eq!(log.written_by(feeder).await, ["again", "again heard"]);
}

#[tokio::test]
async fn of_a_subject_whom_another_server_deleted_the_calls_before_go_and_those_since_stay() {
    let log = Log::default();
    let (feed, feeder) = log.feed(16);
    let earlier = |draft: Draft| Draft { at: draft.at - 3 * APART, ..draft };
    let written = [of_subject(earlier(begun("written", "tiny"))), of_subject(earlier(heard("written")))];
    feed.journal().append(written.into()).await.unwrap();
    // An agent's, who is no subject, goes with the call.
    for draft in [of_subject(earlier(begun("waits", "tiny"))), earlier(heard("waits"))] {
        feed.record(draft);
    }
    for draft in [begun("since", "tiny"), heard("since")] {
        feed.record(of_subject(draft));
    }
    let (subject, actor, reason) = ("caller-7".to_owned(), "officer".to_owned(), "he asked".to_owned());
    let deletion = Audit::SubjectDeleted { subject, actor, reason, entries: 0 };
    let deletion = Draft::new(SystemTime::now(), Record::Audit(deletion));
    feed.follow_deletion(&deletion, feed.ticket(), SystemTime::now() - APART);
    assert_eq!(log.written_by(feeder).await, ["since", "since heard", "written deleted"]);
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
async fn purges_are_done_before_the_feeder_ends_and_none_is_taken_in_afterwards() {
    let log = Log::default();
    let (feed, feeder) = log.feed(1);
    for n in 0..128 {
        drop(feed.forget(Scope::Call(n.to_string()), deleted(&n.to_string())));
    }
    log.written_by(feeder).await;
    assert_eq!(log.audits().len(), 128);
    feed.record(begun("late", "tiny"));
    assert!(feed.forget(Scope::Call("late".to_owned()), deleted("late")).await.is_err());
    assert_eq!((log.drafts.lock().unwrap().len(), feed.shared.take_lost()), (128, BTreeMap::from([(Kind::Call, 1)])));
}

#[tokio::test]
async fn a_purge_that_finds_no_room_does_not_keep_another_from_making_some() {
    let log = Log::default();
    let (feed, feeder) = log.feed(16);
    feed.journal().append(vec![heard("kept")]).await.unwrap();
    log.refuses_audits.store(true, Ordering::Relaxed);
    let purges =
        ["nothing", "none", "kept"].map(|call_id| feed.forget(Scope::Call(call_id.to_owned()), deleted(call_id)));
    feed.record(heard("none"));
    let closing = CancellationToken::new();
    let feeding = tokio::spawn(feeder.run(closing.clone()));
    for purged in purges {
        purged.await.unwrap();
    }
    closing.cancel();
    assert_eq!(feeding.await.unwrap(), 0);
    assert_eq!(log.words(), ["kept deleted", "nothing deleted", "none deleted", "none heard"]);
}

#[tokio::test]
async fn what_is_asked_for_twice_is_done_once_for_both() {
    let log = Log::default();
    let (feed, feeder) = log.feed(16);
    let scope = || Scope::Call("a".to_owned());
    let first = feed.forget(scope(), deleted("a"));
    // Recorded between the two: the second is of it too.
    feed.record(heard("a"));
    assert!(feed.is_purging(&scope()) && !feed.is_purging(&Scope::Call("b".to_owned())));
    let second = feed.forget(scope(), deleted("a"));
    // Of another kind.
    let withdrawn = Audit::ConsentWithdrawn {
        call_id: "a".to_owned(),
        leg_id: None,
        actor: "officer".to_owned(),
        reason: "he asked".to_owned(),
        entries: 0,
    };
    drop(feed.forget(scope(), Draft::new(SystemTime::now(), Record::Audit(withdrawn))));
    let closing = CancellationToken::new();
    closing.cancel();
    assert_eq!(feeder.run(closing).await, 0);
    // It was written before, for whoever listens.
    assert_eq!((first.await, second.await, log.drafts.lock().unwrap().len()), (Ok(1), Ok(1), 2));
    assert!(!feed.is_purging(&scope()));
}

#[tokio::test]
async fn what_waits_is_found_until_it_is_written_and_then_purged_with_what_is_kept() {
    let log = Log::default();
    let (feed, feeder) = log.feed(16);
    let query = |call_id: &str| Query { call_id: Some(call_id.to_owned()), ..Query::default() };
    for draft in [begun("a", "tiny"), heard("b"), heard("a")] {
        feed.record(draft);
    }
    assert_eq!((feed.waiting(&query("a")).len(), feed.waiting(&query("c")).len()), (2, 0));
    drop(feed.forget(Scope::Call("a".to_owned()), deleted("a")));
    feed.record(heard("a"));
    assert_eq!(log.written_by(feeder).await, ["b heard", "a deleted", "a heard"]);
    assert_eq!(feed.waiting(&query("a")), []);
}

#[test]
fn drafts_wait_in_the_order_of_their_tickets() {
    let (feed, _feeder) = Log::default().feed(40_000);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| (0..5000).for_each(|_| feed.record(begun("c", "tiny"))));
        }
    });
    let tickets: Vec<u64> = feed.shared.queue.lock().drafts.iter().map(|(ticket, _)| *ticket).collect();
    assert_eq!(tickets, (0..20_000).collect::<Vec<u64>>());
}
