//! Reading, on a connection that never writes.

use rusqlite::{Connection, OptionalExtension as _, Row, ToSql, types::Type};
use uuid::Uuid;

use crate::journal::{
    Draft, Entry, Page, Query,
    written::{from_millis, to_millis},
};

/// The entries that a query takes.
pub(super) fn page(connection: &Connection, query: &Query) -> rusqlite::Result<Page> {
    // One view for the entries and for the end of them.
    let view = connection.unchecked_transaction()?;
    let mut sql = String::from(
        "SELECT sequence, node, id, at_ms, call_id, leg_id, subject, record FROM entry WHERE sequence > ? AND sequence <= ?",
    );
    let until = query.until.unwrap_or(u64::MAX);
    let mut values: Vec<Box<dyn ToSql>> = vec![Box::new(signed(query.after)), Box::new(signed(until))];
    if let Some(since) = query.since {
        sql.push_str(" AND at_ms >= ?");
        values.push(Box::new(signed(to_millis(since))));
    }
    for (column, value) in [("call_id", &query.call_id), ("leg_id", &query.leg_id), ("subject", &query.subject)] {
        if let Some(value) = value {
            sql.push_str(&format!(" AND {column} = ?"));
            values.push(Box::new(value.clone()));
        }
    }
    if !query.kinds.is_empty() {
        let kinds: Vec<&str> = query.kinds.iter().map(|kind| kind.as_str()).collect();
        sql.push_str(&format!(" AND kind IN ('{}')", kinds.join("', '")));
    }
    sql.push_str(" ORDER BY sequence LIMIT ?");
    values.push(Box::new(query.limit.max(1) as i64));
    let mut statement = view.prepare_cached(&sql)?;
    let rows = statement.query_map(rusqlite::params_from_iter(values.iter()), entry)?;
    let entries = rows.collect::<rusqlite::Result<Vec<Entry>>>()?;
    let more = entries.len() >= query.limit.max(1);
    let last = match entries.last().filter(|_| more) {
        Some(entry) => entry.sequence,
        None => last_sequence(&view)?.min(until).max(query.after),
    };
    Ok(Page { entries, last, more })
}

/// The last sequence given, whether or not its entry is still there.
pub(super) fn last_sequence(connection: &Connection) -> rusqlite::Result<u64> {
    let mut last = connection.prepare_cached("SELECT seq FROM sqlite_sequence WHERE name = 'entry'")?;
    Ok(last.query_row([], first).optional()?.unwrap_or(0))
}

/// The mark of this name.
pub(super) fn marked(connection: &Connection, name: &str) -> rusqlite::Result<Option<u64>> {
    connection.prepare_cached("SELECT sequence FROM mark WHERE name = ?")?.query_row([name], first).optional()
}

fn entry(row: &Row<'_>) -> rusqlite::Result<Entry> {
    let record: String = row.get(7)?;
    let record = serde_json::from_str(&record)
        .map_err(|error| rusqlite::Error::FromSqlConversionFailure(7, Type::Text, Box::new(error)))?;
    let id: [u8; 16] = row.get(2)?;
    Ok(Entry {
        sequence: first(row)?,
        node: row.get(1)?,
        draft: Draft {
            id: Uuid::from_bytes(id),
            at: from_millis(unsigned(row.get(3)?)),
            call_id: row.get(4)?,
            leg_id: row.get(5)?,
            subject: row.get(6)?,
            record,
        },
    })
}

/// A number in the first column, of those that are never negative.
pub(super) fn first(row: &Row<'_>) -> rusqlite::Result<u64> {
    row.get(0).map(unsigned)
}

fn unsigned(value: i64) -> u64 {
    u64::try_from(value).unwrap_or_default()
}

/// As SQLite counts; what is larger is the largest.
pub(super) fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
