//! The tables, and how an older file is brought up to date.

use rusqlite::{Connection, ErrorCode};

use super::{Error, file::Place, storage};

/// Tells a journal of this program from other SQLite files: "UNDT".
const APPLICATION_ID: i64 = 0x554e_4454;

/// Each brings the layout one version on; the first begins with an empty file. Those that were released are never changed.
const MIGRATIONS: [&str; 2] = [
    "
    CREATE TABLE entry (
        -- AUTOINCREMENT: a sequence is never given twice, even when the last entry was deleted.
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
    -- Every index ends with the sequence.
    CREATE INDEX entry_by_kind ON entry (kind);
    CREATE INDEX entry_by_age ON entry (kind, at_ms);
    CREATE INDEX entry_by_call ON entry (call_id) WHERE call_id IS NOT NULL;
    CREATE INDEX entry_by_subject ON entry (subject) WHERE subject IS NOT NULL;
    CREATE TRIGGER entries_do_not_change BEFORE UPDATE ON entry
        BEGIN SELECT RAISE(ABORT, 'entries are only added or deleted'); END;
    CREATE TRIGGER audit_is_append_only BEFORE DELETE ON entry WHEN OLD.kind = 'audit'
        BEGIN SELECT RAISE(ABORT, 'audit entries are only added'); END;
",
    "
    -- How far those got who follow the journal.
    CREATE TABLE mark (name TEXT PRIMARY KEY, sequence INTEGER NOT NULL) STRICT, WITHOUT ROWID;
",
];

/// The layout that this program writes.
const NEWEST: i64 = MIGRATIONS.len() as i64;

/// SQLite's default page.
const PAGE_BYTES: u64 = 4096;

/// Checks the file, and makes it ready for writing.
pub(super) fn prepare(connection: &Connection, place: &Place, max_bytes: Option<u64>) -> Result<(), Error> {
    let path = || place.path().to_owned();
    let application_id = pragma(connection, "application_id").map_err(|error| match error.sqlite_error_code() {
        Some(ErrorCode::NotADatabase) => Error::Foreign { path: path(), problem: "no SQLite file".to_owned() },
        Some(ErrorCode::DatabaseCorrupt) => Error::Damaged { path: path(), problem: error.to_string() },
        _ => Error::Open { path: path(), problem: error.to_string() },
    })?;
    let tables: i64 = connection
        .query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))
        .map_err(|error| Error::Damaged { path: path(), problem: error.to_string() })?;
    if application_id != APPLICATION_ID && tables > 0 {
        return Err(Error::Foreign { path: path(), problem: "an SQLite file of another program".to_owned() });
    }
    let version = pragma(connection, "user_version").map_err(storage)?;
    if version > NEWEST {
        return Err(Error::Newer { place: place.path().display().to_string(), actual: version, newest: NEWEST });
    }
    check(connection, place)?;
    settle(connection, max_bytes).map_err(storage)?;
    migrate(connection, version).map_err(storage)
}

/// Whether the file is whole.
fn check(connection: &Connection, place: &Place) -> Result<(), Error> {
    let found: rusqlite::Result<String> = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0));
    let problem = match found {
        Ok(found) if found == "ok" => return Ok(()),
        Ok(found) => found,
        Err(error) => error.to_string(),
    };
    Err(Error::Damaged { path: place.path().to_owned(), problem })
}

fn settle(connection: &Connection, max_bytes: Option<u64>) -> rusqlite::Result<()> {
    // Only heeded before the first table: deleted entries give their room back to the disk.
    connection.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
    // Memory stays with its own mode.
    connection.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "secure_delete", true)?;
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    if let Some(max_bytes) = max_bytes {
        let pages = i64::try_from(max_bytes / PAGE_BYTES).unwrap_or(i64::MAX);
        connection.pragma_update_and_check(None, "max_page_count", pages, |_| Ok(()))?;
    }
    Ok(())
}

fn migrate(connection: &Connection, version: i64) -> rusqlite::Result<()> {
    let done = usize::try_from(version).unwrap_or_default();
    for (index, migration) in MIGRATIONS.iter().enumerate().skip(done) {
        let transaction = connection.unchecked_transaction()?;
        transaction.execute_batch(migration)?;
        transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
        transaction.pragma_update(None, "user_version", index as i64 + 1)?;
        transaction.commit()?;
    }
    Ok(())
}

fn pragma(connection: &Connection, name: &str) -> rusqlite::Result<i64> {
    connection.pragma_query_value(None, name, |row| row.get(0))
}
