//! What every engine of the journal promises.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    process::{Command, Stdio},
    time::{Duration, SystemTime},
};

use undertone::{
    journal::{
        Audit, Began, Draft, EngineKind, Entry, Error, Feed, Journal, Kind, Options, Query, Record, Scope,
        Subscription, TimeToLive, Timeline, Told,
    },
    policy::Role,
    telemetry::metrics::{JournalMetrics, recorder},
};
use uuid::Uuid;

use crate::harness::within;

/// Holds what an engine needs to be there.
struct Sqlite {
    dir: tempfile::TempDir,
}

impl Sqlite {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    fn options(&self) -> Options {
        Options { path: Some(self.dir.path().join("journal.db")), node: Some("a".to_owned()), ..Options::default() }
    }
}

pub(crate) async fn open(options: &Options) -> Journal {
    within("opening the journal", Journal::open(options, JournalMetrics::new(&recorder()))).await.unwrap()
}

fn began(call_id: &str, leg_id: &str, subject: Option<&str>) -> Draft {
    let began = Began {
        session_id: Uuid::new_v4(),
        role: Role::Customer,
        analysed: true,
        tags: [("queue".to_owned(), "sales".to_owned())].into(),
        sample_rate_hz: 8000,
        model: "tiny".to_owned(),
        sha256: "00".repeat(32),
    };
    Draft::new(SystemTime::now(), Record::Began(began)).of_leg(call_id, leg_id, subject)
}

pub(crate) fn timeline(call_id: &str) -> Draft {
    let record =
        Record::Timeline(Timeline { sample_rate_hz: 8000, labels: vec!["angry".to_owned()], points: Vec::new() });
    Draft::new(SystemTime::now(), record).of_leg(call_id, "customer", None)
}

/// Fills a journal to the last byte with what was heard in a call, `fill`, and with a few entries that say nothing.
pub(crate) async fn fill_up(journal: &Journal) {
    while journal.append((0..20).map(|_| timeline("fill")).collect()).await.is_ok() {}
    let nothing = || {
        Draft::new(SystemTime::now(), Record::Audit(Audit::Reloaded { what: String::new(), version: String::new() }))
    };
    // The index of ids may have room for one and none for the next.
    let mut refused = 0;
    while refused < 100 {
        refused = if journal.append(vec![nothing()]).await.is_ok() { 0 } else { refused + 1 };
    }
}

fn call_deleted(call_id: &str) -> Draft {
    let audit = Audit::CallDeleted {
        call_id: call_id.to_owned(),
        actor: "officer".to_owned(),
        reason: "asked".to_owned(),
        entries: 0,
    };
    Draft::new(SystemTime::now(), Record::Audit(audit))
}

/// The next entry, whatever comes with it.
pub(crate) async fn next(subscription: &mut Subscription) -> Entry {
    match within("an entry", subscription.next()).await {
        Some(Ok(Told::Entry(entry))) => Entry::clone(&entry),
        other => panic!("{other:?}"),
    }
}

fn calls(entries: &[Entry]) -> Vec<&str> {
    entries.iter().filter_map(|entry| entry.draft.call_id.as_deref()).collect()
}

/// Appending, again too, and reading by everything that can be asked for.
pub(crate) async fn is_a_log(options: &Options) {
    let journal = open(options).await;
    let first = journal.last_sequence().await.unwrap();
    let drafts = vec![began("c:1.2", "customer", Some("s 1/*.>")), began("d", "customer", None), timeline("c:1.2")];
    let sequences = journal.append(drafts.clone()).await.unwrap();
    assert!(sequences[0] > first && sequences.is_sorted_by(|a, b| a < b), "{sequences:?}");
    assert_eq!(journal.append(drafts.clone()).await.unwrap(), sequences, "appended again");
    assert_eq!(journal.last_sequence().await.unwrap(), sequences[2]);

    let all = journal.read_all(Query { after: first, ..Query::default() }).await.unwrap();
    let read: Vec<&Draft> = all.iter().map(|entry| &entry.draft).collect();
    assert_eq!(read, drafts.iter().collect::<Vec<_>>());
    assert_eq!(all.iter().map(|entry| entry.sequence).collect::<Vec<_>>(), sequences);
    assert!(all.iter().all(|entry| entry.node == "a"));

    let read = |query: Query| {
        let journal = journal.clone();
        async move { journal.read_all(query).await.unwrap().into_iter().map(|entry| entry.sequence).collect::<Vec<_>>() }
    };
    let query = || Query { after: first, ..Query::default() };
    assert_eq!(read(Query { kinds: vec![Kind::Timeline], ..query() }).await, [sequences[2]]);
    assert_eq!(read(Query { kinds: vec![Kind::Call, Kind::Timeline], limit: 1, ..query() }).await, sequences);
    assert_eq!(read(Query { call_id: Some("c:1.2".to_owned()), ..query() }).await, [sequences[0], sequences[2]]);
    assert_eq!(read(Query { subject: Some("s 1/*.>".to_owned()), ..query() }).await, [sequences[0]]);
    assert_eq!(read(Query { after: sequences[1], ..query() }).await, [sequences[2]]);
    assert_eq!(read(Query { until: Some(sequences[0]), ..query() }).await, [sequences[0]]);
    let later = SystemTime::now() + Duration::from_secs(60);
    assert_eq!(read(Query { since: Some(later), ..query() }).await, [0; 0]);
    assert_eq!(journal.call("c:1.2").await.unwrap().len(), 2);
    journal.close().await;
    assert_eq!(journal.append(vec![timeline("e")]).await, Err(Error::Closed));
}

/// Marks are kept by their name, the last of each, over a restart too, and are no entries.
pub(crate) async fn keeps_marks(options: &Options) {
    let journal = open(options).await;
    let last = journal.last_sequence().await.unwrap();
    assert_eq!(journal.marked("a-1").await, Ok(None));
    for (name, sequence) in [("a-1", 7), ("b", 1), ("a-1", u64::from(u32::MAX) + 9)] {
        journal.mark(name, sequence).await.unwrap();
    }
    assert_eq!(journal.last_sequence().await.unwrap(), last);
    journal.close().await;
    assert_eq!(journal.mark("a-1", 1).await, Err(Error::Closed));
    drop(journal);
    let journal = open(options).await;
    assert_eq!(journal.marked("a-1").await, Ok(Some(u64::from(u32::MAX) + 9)));
    assert_eq!((journal.marked("b").await, journal.marked("c").await), (Ok(Some(1)), Ok(None)));
    journal.close().await;
}

/// Those that are there, then each as it comes; one who is far behind too; none twice.
pub(crate) async fn tells_subscribers(options: &Options) {
    let journal = open(options).await;
    let before = journal.append((0..300).map(|n| timeline(&format!("before-{n}"))).collect()).await.unwrap();
    let query = || Query { after: before[0] - 1, ..Query::default() };
    let mut prompt = journal.subscribe(query()).await.unwrap();
    let mut slow = journal.subscribe(query()).await.unwrap();
    let mut of_calls = journal.subscribe(Query { kinds: vec![Kind::Call], ..query() }).await.unwrap();
    for expected in &before[..150] {
        assert_eq!(next(&mut prompt).await.sequence, *expected);
    }
    // More than a listener may be behind, from several writers at once.
    let writers = (0..4).map(|writer| {
        let journal = journal.clone();
        tokio::spawn(async move {
            for batch in 0..10 {
                let drafts = (0..40).map(|n| timeline(&format!("live-{writer}-{batch}-{n}"))).collect();
                journal.append(drafts).await.unwrap();
            }
        })
    });
    let writers: Vec<_> = writers.collect();
    for subscription in [&mut prompt, &mut slow] {
        let mut last = next(subscription).await.sequence;
        let expected = if last == before[0] { 1899 } else { 1749 };
        for _ in 0..expected {
            let entry = next(subscription).await;
            assert!(entry.sequence > last, "{} after {last}", entry.sequence);
            last = entry.sequence;
        }
        assert_eq!(last, journal.last_sequence().await.unwrap());
    }
    for writer in writers {
        writer.await.unwrap();
    }
    let sequences = journal.append(vec![timeline("x"), began("the call", "customer", None)]).await.unwrap();
    assert_eq!(next(&mut of_calls).await.sequence, sequences[1]);
    assert_eq!(next(&mut slow).await.sequence, sequences[0]);

    let last = journal.last_sequence().await.unwrap();
    let unknown = journal.subscribe(Query { after: last + 1, ..Query::default() }).await.err();
    assert_eq!(unknown, Some(Error::UnknownSequence { asked: last + 1, last }));
    journal.close().await;
    assert_eq!(next(&mut slow).await.sequence, sequences[1]);
    assert!(within("the end", slow.next()).await.is_none());
}

/// A call, a leg, a subject with his calls; audit entries stay and say so.
pub(crate) async fn forgets(options: &Options) {
    let journal = open(options).await;
    let first = journal.last_sequence().await.unwrap();
    let drafts = vec![
        began("a", "customer", Some("s")),
        began("a", "agent", None),
        began("b", "customer", Some("s")),
        began("a.b", "customer", None),
        began("c", "customer", None),
        began("c", "agent", None),
        timeline("b"),
    ];
    journal.append(drafts).await.unwrap();
    let left = || async {
        let entries = journal.read_all(Query { after: first, ..Query::default() }).await.unwrap();
        let names = entries.iter().filter_map(|entry| {
            Some(format!("{}/{}", entry.draft.call_id.as_deref()?, entry.draft.leg_id.as_deref()?))
        });
        names.collect::<Vec<_>>()
    };
    let purge = |scope| journal.purge(scope, call_deleted("c"));
    assert_eq!(purge(Scope::Leg("c".to_owned(), "customer".to_owned())).await, Ok(1));
    assert_eq!(left().await, ["a/customer", "a/agent", "b/customer", "a.b/customer", "c/agent", "b/customer"]);
    assert_eq!(purge(Scope::Call("c".to_owned())).await, Ok(1));
    assert_eq!(purge(Scope::Call("c".to_owned())).await, Ok(0), "again");
    assert_eq!(purge(Scope::Subject("s".to_owned())).await, Ok(4));
    assert_eq!(left().await, ["a.b/customer"]);
    let audits = journal.read_all(Query { after: first, kinds: vec![Kind::Audit], ..Query::default() }).await.unwrap();
    let counts: Vec<u64> = audits
        .iter()
        .map(|entry| match &entry.draft.record {
            Record::Audit(Audit::CallDeleted { entries, .. }) => *entries,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(counts, [1, 1, 0, 4]);
    journal.close().await;
}

/// What is too old for its kind goes.
pub(crate) async fn expires(options: &Options) {
    let hour = Duration::from_secs(3600);
    let time_to_live = TimeToLive { call: 2 * hour, timeline: hour, ..TimeToLive::default() };
    let journal = open(&Options { time_to_live, ..options.clone() }).await;
    let first = journal.last_sequence().await.unwrap();
    let mut drafts = vec![began("old", "customer", None), timeline("old"), timeline("old")];
    drafts.push(call_deleted("old"));
    journal.append(drafts).await.unwrap();
    let kinds = || async {
        let entries = journal.read_all(Query { after: first, ..Query::default() }).await.unwrap();
        entries.iter().map(|entry| entry.draft.kind()).collect::<Vec<_>>()
    };
    let now = SystemTime::now();
    assert_eq!(journal.expire(now).await, Ok(0));
    assert_eq!(journal.expire(now + hour + hour / 2).await, Ok(2));
    assert_eq!(kinds().await, [Kind::Call, Kind::Audit]);
    assert_eq!(journal.expire(now + 24 * hour).await, Ok(1));
    assert_eq!(kinds().await, [Kind::Audit]);
    let sequence = journal.append(vec![timeline("new")]).await.unwrap()[0];
    assert!(sequence > first + 4);
    journal.close().await;
}

/// What waits goes with a purge; what comes after it stays.
pub(crate) async fn feeds(options: &Options) {
    let journal = open(options).await;
    let first = journal.last_sequence().await.unwrap();
    let (feed, feeder) = Feed::pair(journal.clone(), 1024);
    for n in 0..100 {
        feed.record(began(if n % 2 == 0 { "stays" } else { "goes" }, "customer", None));
    }
    drop(feed.forget(Scope::Call("goes".to_owned()), call_deleted("goes")));
    feed.record(began("goes", "afterwards", None));
    let closing = tokio_util::sync::CancellationToken::new();
    let feeding = tokio::spawn(feeder.run(closing.clone()));
    within("the purge", feed.forget(Scope::Call("other".to_owned()), call_deleted("other"))).await.unwrap();
    closing.cancel();
    within("the feeder", feeding).await.unwrap();
    let entries = journal.read_all(Query { after: first, ..Query::default() }).await.unwrap();
    let calls = calls(&entries);
    assert_eq!(calls.len(), 51, "{calls:?}");
    let goes: Vec<&Entry> = entries.iter().filter(|entry| entry.draft.call_id.as_deref() == Some("goes")).collect();
    assert!(goes.len() == 1 && goes[0].draft.leg_id.as_deref() == Some("afterwards"), "{goes:?}");
    journal.close().await;
}

/// The variable that makes [`append_until_killed`] do its work: options as JSON.
const TO_APPEND_BY: &str = "UNDERTONE_TEST_APPEND_BY";

/// Not a test by itself: the child of [`survives_a_kill`].
#[tokio::test(flavor = "multi_thread")]
async fn append_until_killed() {
    let Ok(options) = std::env::var(TO_APPEND_BY) else { return };
    let journal = open(&serde_json::from_str(&options).unwrap()).await;
    let writers = (0..4).map(|_| async {
        loop {
            let drafts: Vec<Draft> = (0..3).map(|_| timeline("killed")).collect();
            let ids: Vec<Uuid> = drafts.iter().map(|draft| draft.id).collect();
            for (sequence, id) in journal.append(drafts).await.unwrap().into_iter().zip(ids) {
                let mut out = std::io::stdout().lock();
                writeln!(out, "appended {sequence} {id}").unwrap();
                out.flush().unwrap();
            }
        }
    });
    futures_util::future::join_all(writers).await;
}

/// A process that dies loses nothing that it was told is kept.
pub(crate) async fn survives_a_kill(options: &Options) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "journal::append_until_killed", "--nocapture"])
        .env(TO_APPEND_BY, serde_json::to_string(options).unwrap())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let killed = tokio::task::spawn_blocking(move || {
        let mut told = Vec::new();
        for line in lines.map_while(Result::ok) {
            // The runner may print before the first on the same line.
            let Some((_, entry)) = line.split_once("appended ") else { continue };
            let Some((sequence, id)) = entry.split_once(' ') else { continue };
            let (Ok(sequence), Ok(id)) = (sequence.parse::<u64>(), id.parse::<Uuid>()) else { continue };
            told.push((sequence, id));
            if told.len() == 300 {
                // SIGKILL, in the midst of its work. What it had said before is still read.
                child.kill().unwrap();
            }
        }
        child.wait().unwrap();
        told
    });
    let told = within("the child", killed).await.unwrap();
    assert!(told.len() >= 300, "{}", told.len());
    let journal = open(options).await;
    let entries = journal.call("killed").await.unwrap();
    for (sequence, id) in &told {
        let found = entries.iter().filter(|entry| entry.draft.id == *id).map(|entry| entry.sequence);
        assert_eq!(found.collect::<Vec<_>>(), [*sequence], "{id}");
    }
    let mut ids: Vec<Uuid> = entries.iter().map(|entry| entry.draft.id).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), entries.len(), "an entry is there twice");
    journal.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sqlite_is_a_log() {
    is_a_log(&Sqlite::new().options()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sqlite_keeps_marks() {
    keeps_marks(&Sqlite::new().options()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sqlite_tells_subscribers() {
    tells_subscribers(&Sqlite::new().options()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sqlite_forgets() {
    forgets(&Sqlite::new().options()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sqlite_expires() {
    expires(&Sqlite::new().options()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sqlite_is_fed() {
    feeds(&Sqlite::new().options()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sqlite_survives_a_kill() {
    survives_a_kill(&Sqlite::new().options()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_journal_listeners_are_told_what_they_missed() {
    let journal = open(&Options { engine: EngineKind::None, ..Options::default() }).await;
    let mut subscription = journal.subscribe(Query::default()).await.unwrap();
    assert_eq!(journal.append(vec![timeline("a"), timeline("b")]).await.unwrap(), [1, 2]);
    assert_eq!(next(&mut subscription).await.sequence, 1);
    assert_eq!(next(&mut subscription).await.sequence, 2);
    assert_eq!(journal.call("a").await.unwrap(), []);
    journal.append((0..5000).map(|_| timeline("c")).collect()).await.unwrap();
    let Some(Ok(Told::Missed(missed))) = within("a word", subscription.next()).await else { panic!("not told") };
    let mut came = 0;
    while next(&mut subscription).await.sequence < 5002 {
        came += 1;
    }
    assert_eq!(missed + came + 1, 5000);
}
