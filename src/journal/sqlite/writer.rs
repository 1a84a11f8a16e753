//! The thread that writes.

use std::time::Duration;

use rusqlite::{Connection, OptionalExtension as _, Transaction, params};
use tokio::sync::{mpsc, oneshot};

use super::{
    Draft, Error, Kind, Scope,
    file::BUSY,
    read::{first, signed},
    storage,
};
use crate::journal::{Entry, Record, tail::Tail, written::to_millis};

/// Entries of one transaction at most: enough to make the wait for the disk small beside them.
const BATCH: usize = 1024;

/// As long do readers have to finish before the write-ahead log is emptied: a page of entries takes them milliseconds.
const READERS: Duration = Duration::from_millis(100);

/// Pages given back to the disk after a deletion, 16 MiB, so that it takes milliseconds.
const VACUUM: &str = "PRAGMA incremental_vacuum(4096)";

/// What the writer is asked. It answers when the disk has it.
pub(super) enum Job {
    Append(Vec<Draft>, oneshot::Sender<Result<Vec<u64>, Error>>),
    Purge(Scope, Box<Draft>, oneshot::Sender<Result<u64, Error>>),
    /// Of this kind, what happened before this time in milliseconds, at most so many.
    Expire {
        kind: Kind,
        before: u64,
        limit: usize,
        answer: oneshot::Sender<Result<usize, Error>>,
    },
    Mark {
        name: String,
        sequence: u64,
        answer: oneshot::Sender<Result<(), Error>>,
    },
}

/// An append that is answered when its transaction is.
type Append = (Vec<Draft>, oneshot::Sender<Result<Vec<u64>, Error>>);

/// Writes until nobody hands in any more.
pub(super) fn run(mut connection: Connection, mut jobs: mpsc::Receiver<Job>, node: &str, tail: &Tail) {
    // Something that was deleted is still in the write-ahead log.
    let mut leftover = false;
    let mut next = None;
    while let Some(job) = next.take().or_else(|| jobs.blocking_recv()) {
        leftover = leftover && !forget(&connection);
        match job {
            Job::Append(drafts, answer) => {
                let mut appends = vec![(drafts, answer)];
                next = gather(&mut appends, &mut jobs);
                append_all(&mut connection, appends, node, tail);
            }
            Job::Purge(scope, audit, answer) => {
                let purged = purge(&mut connection, &scope, *audit, node, tail).map_err(storage);
                leftover |= purged.is_ok() && !forget(&connection);
                // Who asked may have gone; it was done all the same.
                let _ = answer.send(purged);
            }
            Job::Expire { kind, before, limit, answer } => {
                let expired = expire(&mut connection, kind, before, limit).map_err(storage);
                leftover |= expired.as_ref().is_ok_and(|deleted| *deleted > 0) && !forget(&connection);
                let _ = answer.send(expired);
            }
            Job::Mark { name, sequence, answer } => {
                let _ = answer.send(mark(&connection, &name, sequence).map_err(storage));
            }
        }
    }
    // Nothing must stand in the write-ahead log alone for longer than it has to; what cannot be copied now is at the next start.
    match checkpoint(&connection) {
        Ok(true) => {}
        Ok(false) => tracing::warn!("the journal's write-ahead log could not be emptied: somebody reads the file"),
        Err(error) => tracing::warn!(%error, "the journal's write-ahead log could not be emptied"),
    }
}

/// Takes the appends that wait along; gives back the first job that is none.
fn gather(appends: &mut Vec<Append>, jobs: &mut mpsc::Receiver<Job>) -> Option<Job> {
    let mut entries = appends[0].0.len();
    while entries < BATCH {
        match jobs.try_recv().ok()? {
            Job::Append(drafts, answer) => {
                entries += drafts.len();
                appends.push((drafts, answer));
            }
            other => return Some(other),
        }
    }
    None
}

fn append_all(connection: &mut Connection, appends: Vec<Append>, node: &str, tail: &Tail) {
    let (drafts, answers): (Vec<Vec<Draft>>, Vec<_>) = appends.into_iter().unzip();
    match append(connection, &drafts, node) {
        Ok(sequences) => {
            for ((drafts, answer), places) in drafts.into_iter().zip(answers).zip(sequences) {
                let _ = answer.send(Ok(places.iter().map(|place| place.sequence).collect()));
                for (draft, place) in drafts.into_iter().zip(places).filter(|(_, place)| place.new) {
                    tail.tell(Entry { sequence: place.sequence, node: node.to_owned(), draft });
                }
            }
        }
        Err(error) => {
            let error = storage(error);
            for answer in answers {
                let _ = answer.send(Err(error.clone()));
            }
        }
    }
}

/// Where a draft stands.
struct Appended {
    sequence: u64,
    /// Whether it was not there already.
    new: bool,
}

fn append(connection: &mut Connection, drafts: &[Vec<Draft>], node: &str) -> rusqlite::Result<Vec<Vec<Appended>>> {
    let transaction = connection.transaction()?;
    let insert_all = |drafts: &Vec<Draft>| drafts.iter().map(|draft| insert(&transaction, draft, node)).collect();
    let appended = drafts.iter().map(insert_all).collect::<rusqlite::Result<_>>()?;
    transaction.commit()?;
    Ok(appended)
}

fn insert(transaction: &Transaction<'_>, draft: &Draft, node: &str) -> rusqlite::Result<Appended> {
    let record = serde_json::to_string(&draft.record)
        .map_err(|error| rusqlite::Error::ToSqlConversionFailure(Box::new(error)))?;
    let id = draft.id.as_bytes();
    // Looked for first: an insertion that meets its like would use up a sequence.
    let mut there = transaction.prepare_cached("SELECT sequence FROM entry WHERE id = ?")?;
    if let Some(sequence) = there.query_row([id], first).optional()? {
        return Ok(Appended { sequence, new: false });
    }
    let mut insert = transaction.prepare_cached(
        "INSERT INTO entry (id, at_ms, node, kind, call_id, leg_id, subject, record) VALUES (?, ?, ?, ?, ?, ?, ?, ?)
         RETURNING sequence",
    )?;
    let kind = draft.kind().as_str();
    let values =
        params![id, signed(to_millis(draft.at)), node, kind, draft.call_id, draft.leg_id, draft.subject, record];
    Ok(Appended { sequence: insert.query_row(values, first)?, new: true })
}

fn purge(
    connection: &mut Connection,
    scope: &Scope,
    mut audit: Draft,
    node: &str,
    tail: &Tail,
) -> rusqlite::Result<u64> {
    let transaction = connection.transaction()?;
    let deleted = match scope {
        Scope::Call(call_id) => {
            transaction.execute("DELETE FROM entry WHERE call_id = ? AND kind <> 'audit'", [call_id])?
        }
        Scope::Leg(call_id, leg_id) => transaction
            .execute("DELETE FROM entry WHERE call_id = ? AND leg_id = ? AND kind <> 'audit'", [call_id, leg_id])?,
        Scope::Subject(subject) => transaction.execute(
            "DELETE FROM entry WHERE kind <> 'audit' AND
                 (subject = ?1 OR call_id IN (SELECT call_id FROM entry WHERE subject = ?1))",
            [subject],
        )?,
    } as u64;
    if let Record::Audit(audit) = &mut audit.record {
        audit.count(deleted);
    }
    let appended = insert(&transaction, &audit, node)?;
    transaction.commit()?;
    if appended.new {
        tail.tell(Entry { sequence: appended.sequence, node: node.to_owned(), draft: audit });
    }
    Ok(deleted)
}

fn expire(connection: &mut Connection, kind: Kind, before: u64, limit: usize) -> rusqlite::Result<usize> {
    connection.execute(
        "DELETE FROM entry WHERE sequence IN (SELECT sequence FROM entry WHERE kind = ? AND at_ms < ? LIMIT ?)",
        params![kind.as_str(), signed(before), limit as i64],
    )
}

fn mark(connection: &Connection, name: &str, sequence: u64) -> rusqlite::Result<()> {
    let mut put = connection.prepare_cached(
        "INSERT INTO mark (name, sequence) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET sequence = excluded.sequence",
    )?;
    put.execute(params![name, signed(sequence)]).map(drop)
}

/// Gives room back, and sees that what was deleted does not stay in the write-ahead log; whether it is gone from there. It is deleted
/// already: who reads the file just then, a backup, say, only puts this off to the next job.
fn forget(connection: &Connection) -> bool {
    let vacuumed = connection.prepare(VACUUM).and_then(|mut vacuum| vacuum.query([])?.next().map(drop));
    vacuumed.and_then(|()| checkpoint(connection)).unwrap_or_else(|error| {
        tracing::debug!(%error, "the journal's write-ahead log could not be emptied");
        false
    })
}

/// Copies the write-ahead log into the file and empties it; whether nobody was in the way.
fn checkpoint(connection: &Connection) -> rusqlite::Result<bool> {
    // Calls wait for no reader, however long he reads.
    connection.busy_timeout(READERS)?;
    let emptied = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| Ok(row.get::<_, i64>(0)? == 0));
    connection.busy_timeout(BUSY)?;
    emptied
}
