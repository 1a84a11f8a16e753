//! Files of older layouts. Written here as they were, so that no later change of a migration changes them too.

use uuid::Uuid;

use super::*;
use crate::{
    journal::{Kind, Query},
    policy::Role,
};

/// The first layout, as it was released.
const LAYOUT_1: &str = "
    PRAGMA auto_vacuum = INCREMENTAL;
    PRAGMA journal_mode = WAL;
    BEGIN;
    CREATE TABLE entry (
        sequence INTEGER PRIMARY KEY AUTOINCREMENT,
        id BLOB NOT NULL UNIQUE,
        at_ms INTEGER NOT NULL,
        node TEXT NOT NULL,
        kind TEXT NOT NULL,
        call_id TEXT,
        leg_id TEXT,
        subject TEXT,
        record TEXT NOT NULL
    ) STRICT;
    CREATE INDEX entry_by_kind ON entry (kind);
    CREATE INDEX entry_by_age ON entry (kind, at_ms);
    CREATE INDEX entry_by_call ON entry (call_id) WHERE call_id IS NOT NULL;
    CREATE INDEX entry_by_subject ON entry (subject) WHERE subject IS NOT NULL;
    CREATE TRIGGER entries_do_not_change BEFORE UPDATE ON entry
        BEGIN SELECT RAISE(ABORT, 'entries are only added or deleted'); END;
    CREATE TRIGGER audit_is_append_only BEFORE DELETE ON entry WHEN OLD.kind = 'audit'
        BEGIN SELECT RAISE(ABORT, 'audit entries are only added'); END;
    PRAGMA application_id = 0x554e4454;
    PRAGMA user_version = 1;
    COMMIT;
";

/// What a server of that time kept, and one entry that was deleted since.
const KEPT: &str = r#"
    INSERT INTO entry (id, at_ms, node, kind, call_id, leg_id, subject, record) VALUES
        (x'00000000000040008000000000000001', 1700000000123, 'a', 'call', 'c', 'customer', 'caller-7',
         '{"type":"began","session_id":"00000000-0000-4000-8000-0000000000aa","role":"CUSTOMER","analysed":true,"tags":{"queue":"sales"},"sample_rate_hz":8000,"model":"telephone","sha256":"00"}'),
        (x'00000000000040008000000000000002', 1700000000200, 'a', 'timeline', 'c', 'customer', 'caller-7',
         '{"type":"timeline","sample_rate_hz":8000,"labels":["angry","sad"],"points":[{"start_samples":0,"end_samples":40000,"speech_ratio":0.7,"scored_windows":9,"probabilities":[0.123,0.877]}]}'),
        (x'00000000000040008000000000000003', 1700000000300, 'a', 'audit', NULL, NULL, NULL,
         '{"type":"audit","event":"call_deleted","call_id":"gone","actor":"officer","reason":"he asked","entries":3}'),
        (x'00000000000040008000000000000004', 1700000000400, 'a', 'call', 'gone', 'customer', NULL,
         '{"type":"began","session_id":"00000000-0000-4000-8000-0000000000bb","role":"CUSTOMER","analysed":true,"sample_rate_hz":8000,"model":"telephone","sha256":"00"}');
    DELETE FROM entry WHERE sequence = 4;
"#;

fn layout(path: &Path) -> (i64, Vec<String>) {
    let connection = Connection::open(path).unwrap();
    let version = connection.query_row("PRAGMA user_version", [], |row| row.get(0)).unwrap();
    let mut names =
        connection.prepare("SELECT name FROM sqlite_schema WHERE name NOT LIKE 'sqlite_%' ORDER BY name").unwrap();
    let names = names.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
    (version, names)
}

#[tokio::test]
async fn a_file_of_the_first_layout_is_brought_up_to_date_with_all_that_it_holds() {
    let folder = Folder::new();
    edit(&folder.path(), LAYOUT_1).unwrap();
    edit(&folder.path(), KEPT).unwrap();
    assert_eq!(layout(&folder.path()).0, 1);

    let journal = folder.open().await.unwrap();
    let kept = journal.read_all(Query::default()).await.unwrap();
    assert_eq!(kept.iter().map(|entry| entry.sequence).collect::<Vec<_>>(), [1, 2, 3]);
    let first = &kept[0];
    assert_eq!((first.node.as_str(), first.draft.subject.as_deref()), ("a", Some("caller-7")));
    assert_eq!(first.draft.at, SystemTime::UNIX_EPOCH + Duration::from_millis(1_700_000_000_123));
    assert!(
        matches!(&first.draft.record, Record::Began(began) if began.role == Role::Customer && began.tags["queue"] == "sales")
    );
    assert!(
        matches!(&kept[1].draft.record, Record::Timeline(timeline) if timeline.points[0].probabilities == [0.123, 0.877])
    );
    assert!(matches!(&kept[2].draft.record, Record::Audit(Audit::CallDeleted { entries: 3, .. })));
    assert_eq!(journal.subject("caller-7").await.unwrap(), [], "of no summary");

    // What the second layout has is there, and what the first promised still holds.
    journal.mark("webhook-1", 3).await.unwrap();
    assert_eq!(journal.marked("webhook-1").await, Ok(Some(3)));
    let again = Draft { id: Uuid::from_u128(0x4000_8000_0000_0000_0001), ..kept[0].draft.clone() };
    assert_eq!(journal.append(vec![again]).await.unwrap(), [1], "an entry that was there");
    assert_eq!(journal.append(vec![begun("d", "x")]).await.unwrap(), [5], "a sequence of before is not given again");
    assert_eq!(journal.purge(Scope::Call("c".to_owned()), deleted("c")).await, Ok(2));
    let audits = journal.read_all(Query { kinds: vec![Kind::Audit], ..Query::default() }).await.unwrap();
    assert_eq!(audits.iter().map(|entry| entry.sequence).collect::<Vec<_>>(), [3, 6]);
    journal.close().await;
    drop(journal);
    assert!(
        edit(&folder.path(), "DELETE FROM entry WHERE kind = 'audit'").unwrap_err().to_string().contains("only added")
    );

    // As a file that this version made.
    let new = Folder::new();
    new.open().await.unwrap().close().await;
    assert_eq!(layout(&folder.path()), layout(&new.path()));
    let journal = folder.open().await.unwrap();
    assert_eq!(journal.last_sequence().await, Ok(6), "opened once more, nothing changes");
}

#[tokio::test]
async fn a_journal_of_a_newer_layout_is_left_as_it_is() {
    let folder = Folder::new();
    edit(&folder.path(), LAYOUT_1).unwrap();
    edit(&folder.path(), "CREATE TABLE of_a_later_day (name TEXT) STRICT; PRAGMA user_version = 3").unwrap();
    let before = layout(&folder.path());
    let error = folder.open().await.err().unwrap();
    assert!(matches!(error, Error::Newer { actual: 3, newest: 2, .. }), "{error}");
    let told = error.to_string();
    for part in ["journal.db", "its layout is 3", "up to 2", "run the newer version"] {
        assert!(told.contains(part), "no {part} in {told}");
    }
    assert_eq!(layout(&folder.path()), before);
}
