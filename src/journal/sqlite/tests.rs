use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use super::*;
use crate::{
    journal::{Audit, Began, Error, Journal, Record, TimeToLive, record::tests::begun},
    telemetry::metrics::{JournalMetrics, recorder},
};

mod layouts;

/// A folder of its own, and the file in it.
struct Folder {
    dir: tempfile::TempDir,
}

impl Folder {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("journal.db")
    }

    fn options(&self) -> Options {
        Options { path: Some(self.path()), ..Options::default() }
    }

    async fn open(&self) -> Result<Journal, Error> {
        Journal::open(&self.options(), JournalMetrics::new(&recorder())).await
    }

    /// Every byte of every file.
    fn bytes(&self) -> Vec<u8> {
        let files = fs::read_dir(self.dir.path()).unwrap();
        files.flat_map(|file| fs::read(file.unwrap().path()).unwrap()).collect()
    }
}

fn edit(path: &Path, sql: &str) -> rusqlite::Result<()> {
    Connection::open(path).unwrap().execute_batch(sql)
}

fn deleted(call_id: &str) -> Draft {
    let (call_id, actor, reason) = (call_id.to_owned(), "a".to_owned(), "b".to_owned());
    Draft::new(SystemTime::now(), Record::Audit(Audit::CallDeleted { call_id, actor, reason, entries: 0 }))
}

fn holds(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

#[tokio::test]
async fn a_file_that_is_no_journal_is_left_alone() {
    let folder = Folder::new();
    fs::write(folder.path(), "these are notes, and by no means a journal: ".repeat(100)).unwrap();
    let before = fs::read(folder.path()).unwrap();
    let error = folder.open().await.err().unwrap();
    assert!(matches!(error, Error::Foreign { .. }), "{error}");
    assert!(error.to_string().contains("journal.db"), "{error}");
    assert_eq!(fs::read(folder.path()).unwrap(), before);

    let folder = Folder::new();
    edit(&folder.path(), "CREATE TABLE recipes (name TEXT)").unwrap();
    let error = folder.open().await.err().unwrap();
    assert!(matches!(error, Error::Foreign { .. }), "{error}");
}

#[tokio::test]
async fn a_journal_of_a_newer_version_is_refused() {
    let folder = Folder::new();
    folder.open().await.unwrap().close().await;
    edit(&folder.path(), "PRAGMA user_version = 99").unwrap();
    let error = folder.open().await.err().unwrap();
    assert!(matches!(error, Error::Newer { actual: 99, .. }), "{error}");
    assert!(error.to_string().contains("run the newer version"), "{error}");
}

#[tokio::test]
async fn a_damaged_journal_is_refused() {
    let folder = Folder::new();
    let journal = folder.open().await.unwrap();
    journal.append((0..200).map(|_| begun("c", "x")).collect()).await.unwrap();
    journal.close().await;
    drop(journal);
    let mut bytes = fs::read(folder.path()).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle..middle + 4096].fill(0xa5);
    fs::write(folder.path(), bytes).unwrap();
    let error = folder.open().await.err().unwrap();
    assert!(matches!(error, Error::Damaged { .. }), "{error}");
}

#[tokio::test]
async fn a_second_server_is_refused() {
    let folder = Folder::new();
    let journal = folder.open().await.unwrap();
    let error = folder.open().await.err().unwrap();
    assert!(matches!(error, Error::InUse { .. }), "{error}");
    journal.append(vec![begun("c", "x")]).await.unwrap();
    journal.close().await;
    drop(journal);
    folder.open().await.unwrap();
}

#[tokio::test]
async fn a_folder_that_is_not_there_is_told() {
    let options = Options { path: Some("no/such/folder/journal.db".into()), ..Options::default() };
    let error = Journal::open(&options, JournalMetrics::new(&recorder())).await.err().unwrap();
    assert!(matches!(error, Error::Open { .. }) && error.to_string().contains("journal.path"), "{error}");
}

#[cfg(unix)]
#[tokio::test]
async fn only_the_owner_may_read_it() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = Folder::new();
    let journal = folder.open().await.unwrap();
    journal.append(vec![begun("c", "x")]).await.unwrap();
    for file in fs::read_dir(folder.dir.path()).unwrap() {
        let file = file.unwrap();
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o077, 0, "{:?}", file.path());
    }
}

#[tokio::test]
async fn what_is_purged_is_nowhere_in_the_files() {
    let folder = Folder::new();
    let journal = folder.open().await.unwrap();
    let drafts = (0..50).map(|n| {
        begun(if n % 2 == 0 { "kept" } else { "gone" }, if n % 2 == 0 { "tag-of-kept" } else { "tag-of-gone" })
    });
    journal.append(drafts.collect()).await.unwrap();
    assert!(holds(&folder.bytes(), "tag-of-gone"));
    assert_eq!(journal.purge(Scope::Call("gone".to_owned()), deleted("gone")).await, Ok(25));
    assert!(!holds(&folder.bytes(), "tag-of-gone"));
    assert!(holds(&folder.bytes(), "tag-of-kept"));
    assert_eq!(journal.call("kept").await.unwrap().len(), 25);
}

#[tokio::test]
async fn what_is_purged_while_somebody_reads_is_gone_with_the_next_write() {
    let folder = Folder::new();
    let journal = folder.open().await.unwrap();
    journal.append(vec![begun("gone", "tag-of-gone")]).await.unwrap();
    let reader = Connection::open(folder.path()).unwrap();
    reader.execute_batch("BEGIN; SELECT count(*) FROM entry").unwrap();
    assert_eq!(journal.purge(Scope::Call("gone".to_owned()), deleted("gone")).await, Ok(1));
    journal.append(vec![begun("kept", "while-he-reads")]).await.unwrap();
    assert!(holds(&folder.bytes(), "tag-of-gone"), "the reader still sees it");
    drop(reader);
    journal.append(vec![begun("kept", "afterwards")]).await.unwrap();
    assert!(!holds(&folder.bytes(), "tag-of-gone"));
    assert_eq!(journal.call("kept").await.unwrap().len(), 2);
}

#[tokio::test]
async fn a_sequence_is_never_given_twice_and_audit_entries_stay() {
    let folder = Folder::new();
    let journal = folder.open().await.unwrap();
    let sequences = journal.append(vec![begun("a", "x"), begun("b", "x"), begun("b", "x")]).await.unwrap();
    assert_eq!(sequences, [1, 2, 3]);
    journal.purge(Scope::Call("b".to_owned()), deleted("b")).await.unwrap();
    journal.close().await;
    drop(journal);
    for sql in ["DELETE FROM entry", "UPDATE entry SET at_ms = 0"] {
        let refused = edit(&folder.path(), sql).unwrap_err().to_string();
        assert!(refused.contains("only added"), "{refused}");
    }
    let journal = folder.open().await.unwrap();
    assert_eq!(journal.append(vec![begun("c", "x")]).await.unwrap(), [5]);
    let kept: Vec<u64> = journal.read_all(Query::default()).await.unwrap().iter().map(|entry| entry.sequence).collect();
    assert_eq!(kept, [1, 4, 5]);
}

/// A record of about this many bytes.
fn large(call_id: &str, bytes: usize) -> Draft {
    let mut draft = begun(call_id, "x");
    if let Record::Began(Began { tags, .. }) = &mut draft.record {
        tags.insert("fill".to_owned(), "f".repeat(bytes));
    }
    draft
}

#[tokio::test]
async fn a_full_disk_is_told_and_survived() {
    let folder = Folder::new();
    let recorder = recorder();
    let options = Options {
        max_bytes: Some(100 * 4096),
        time_to_live: TimeToLive { call: Duration::from_secs(60), ..TimeToLive::default() },
        ..folder.options()
    };
    let journal = Journal::open(&options, JournalMetrics::new(&recorder)).await.unwrap();
    let mut appended = Vec::new();
    let error = loop {
        match journal.append(vec![large("c", 4000)]).await {
            Ok(sequences) => appended.extend(sequences),
            Err(error) => break error,
        }
        assert!(appended.len() < 200, "never full");
    };
    assert!(matches!(error, Error::Full { .. }), "{error}");
    assert!(error.to_string().contains("journal.max_bytes"), "{error}");
    let told = recorder.handle().render();
    assert!(told.contains("undertone_journal_writable 0"), "{told}");
    assert!(told.contains("undertone_journal_failures_total{reason=\"full\"} 1"), "{told}");
    // What was appended is there and can be read all the while.
    let there: Vec<u64> = journal.call("c").await.unwrap().iter().map(|entry| entry.sequence).collect();
    assert_eq!(there, appended);
    // Room again: what is too old goes.
    let expired = journal.expire(SystemTime::now() + Duration::from_secs(120)).await.unwrap();
    assert_eq!(expired, appended.len() as u64);
    journal.append(vec![large("d", 4000)]).await.unwrap();
    assert!(recorder.handle().render().contains("undertone_journal_writable 1"));
}

#[tokio::test]
async fn memory_is_a_journal_for_as_long_as_it_lives() {
    let options = Options { path: Some(":memory:".into()), ..Options::default() };
    let journal = Journal::open(&options, JournalMetrics::new(&recorder())).await.unwrap();
    let other = Journal::open(&options, JournalMetrics::new(&recorder())).await.unwrap();
    journal.append(vec![begun("c", "x")]).await.unwrap();
    assert_eq!(journal.call("c").await.unwrap().len(), 1);
    assert_eq!(other.call("c").await.unwrap().len(), 0);
}
