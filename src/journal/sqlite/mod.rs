//! The journal in one SQLite file.
//!
//! One thread, `journal`, writes: it takes what was handed in meanwhile into one transaction, so that the disk is waited for once
//! (group commit). The log runs ahead of the tables (WAL), so that readers, on connections of their own, never wait for the
//! writer. A commit is on the disk when it returns (`synchronous = FULL`). What is deleted is overwritten (`secure_delete`).

mod file;
mod read;
mod schema;
#[cfg(test)]
mod tests;
mod writer;

use std::{
    sync::{Arc, Mutex, PoisonError},
    thread::JoinHandle,
    time::SystemTime,
};

use futures_util::{FutureExt as _, future::BoxFuture};
use rusqlite::{Connection, ErrorCode};
use tokio::sync::{Semaphore, mpsc, oneshot};

use super::{Draft, Engine, Error, Kind, Options, Page, Query, Scope, tail::Tail, written::to_millis};
use file::Place;
use writer::Job;

/// Jobs that may wait for the writer; at more, who hands in waits.
const JOBS: usize = 256;

/// Pages that are read at once. More would only take turns at the disk.
const READERS: usize = 4;

/// Entries deleted in one transaction, so that appends are not kept waiting: a few milliseconds.
const EXPIRED_AT_ONCE: usize = 5000;

/// The engine.
pub(super) struct Sqlite {
    place: Arc<Place>,
    jobs: Mutex<Option<mpsc::Sender<Job>>>,
    writer: Mutex<Option<JoinHandle<()>>>,
    readers: Arc<Mutex<Vec<Connection>>>,
    reading: Arc<Semaphore>,
}

impl Sqlite {
    /// Opens the file, or makes it; checks it, and brings an older one up to date.
    pub(super) async fn open(options: &Options, node: String, tail: Tail) -> Result<Self, Error> {
        let place = Place::new(options.path.as_deref());
        let max_bytes = options.max_bytes;
        let opened = tokio::task::spawn_blocking(move || {
            let place = place.lock()?;
            let connection = place.open()?;
            schema::prepare(&connection, &place, max_bytes)?;
            Ok((place, connection))
        });
        let (place, connection) = opened.await.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))?;
        let (jobs, to_do) = mpsc::channel(JOBS);
        let writer = std::thread::Builder::new()
            .name("journal".to_owned())
            .spawn(move || writer::run(connection, to_do, &node, &tail))
            .map_err(|error| Error::Storage { problem: error.to_string() })?;
        Ok(Self {
            place: Arc::new(place),
            jobs: Mutex::new(Some(jobs)),
            writer: Mutex::new(Some(writer)),
            readers: Arc::default(),
            reading: Arc::new(Semaphore::new(READERS)),
        })
    }

    /// Hands a job to the writer and waits for its answer.
    async fn ask<T>(&self, job: impl FnOnce(oneshot::Sender<Result<T, Error>>) -> Job) -> Result<T, Error> {
        let (answer, answered) = oneshot::channel();
        let jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner).clone().ok_or(Error::Closed)?;
        jobs.send(job(answer)).await.map_err(|_| Error::Closed)?;
        answered.await.map_err(|_| Error::Closed)?
    }

    /// Runs a reading job on a connection of its own.
    async fn with_reader<T: Send + 'static>(
        &self,
        job: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, Error> {
        let turn = Arc::clone(&self.reading).acquire_owned().await.map_err(|_| Error::Closed)?;
        let (readers, place) = (Arc::clone(&self.readers), Arc::clone(&self.place));
        let read = tokio::task::spawn_blocking(move || {
            // Whether or not anybody waits for it still.
            let _turn = turn;
            let idle = readers.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let connection = idle.map_or_else(|| place.open_to_read(), Ok)?;
            let result = job(&connection).map_err(storage);
            readers.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
            result
        });
        read.await.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))
    }
}

impl Engine for Sqlite {
    fn append(&self, drafts: Vec<Draft>) -> BoxFuture<'_, Result<Vec<u64>, Error>> {
        self.ask(|answer| Job::Append(drafts, answer)).boxed()
    }

    fn read(&self, query: Query) -> BoxFuture<'_, Result<Page, Error>> {
        self.with_reader(move |connection| read::page(connection, &query)).boxed()
    }

    fn purge(&self, scope: Scope, audit: Draft) -> BoxFuture<'_, Result<u64, Error>> {
        self.ask(|answer| Job::Purge(scope, Box::new(audit), answer)).boxed()
    }

    fn expire(&self, before: Vec<(Kind, SystemTime)>) -> BoxFuture<'_, Result<u64, Error>> {
        async move {
            let mut deleted = 0;
            for (kind, before) in before {
                loop {
                    let limit = EXPIRED_AT_ONCE;
                    let gone =
                        self.ask(|answer| Job::Expire { kind, before: to_millis(before), limit, answer }).await?;
                    deleted += gone as u64;
                    if gone < limit {
                        break;
                    }
                }
            }
            Ok(deleted)
        }
        .boxed()
    }

    fn last_sequence(&self) -> BoxFuture<'_, Result<u64, Error>> {
        self.with_reader(read::last_sequence).boxed()
    }

    fn mark(&self, name: String, sequence: u64) -> BoxFuture<'_, Result<(), Error>> {
        self.ask(move |answer| Job::Mark { name, sequence, answer }).boxed()
    }

    fn marked(&self, name: String) -> BoxFuture<'_, Result<Option<u64>, Error>> {
        self.with_reader(move |connection| read::marked(connection, &name)).boxed()
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        async {
            drop(self.jobs.lock().unwrap_or_else(PoisonError::into_inner).take());
            self.reading.close();
            let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
            if let Some(writer) = writer {
                let joined = tokio::task::spawn_blocking(move || writer.join()).await;
                if let Ok(Err(panic)) = joined {
                    std::panic::resume_unwind(panic);
                }
            }
            self.readers.lock().unwrap_or_else(PoisonError::into_inner).clear();
        }
        .boxed()
    }
}

/// What SQLite's failure means.
#[expect(clippy::needless_pass_by_value, reason = "handed to `map_err`, which gives the value")]
fn storage(error: rusqlite::Error) -> Error {
    match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => Error::Full { problem: error.to_string() },
        _ => Error::Storage { problem: error.to_string() },
    }
}
