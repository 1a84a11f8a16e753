//! What outlives the process: alerts, what people did about them, summaries and timelines of calls, and who did what (audit).
//!
//! A [`Journal`] is a log of [`Entry`]s under one `sequence` that only rises and is never used again. What is appended is a
//! [`Draft`]: its id is the writer's own, so that appending it again changes nothing. Two engines keep the log, one behind each value
//! of [`Options`]' `engine`:
//!
//! | engine | where | who reads it |
//! |---|---|---|
//! | `sqlite` | one file, written by one thread | this server |
//! | `jetstream` | a stream of a NATS server or cluster | every server with the same stream |
//! | `none` | nowhere | who listens at the time |
//!
//! | operation | what it promises |
//! |---|---|
//! | [`Journal::append`] | what it returned a sequence for survives the death of the process |
//! | [`Journal::read`] | entries in the order of their sequence, a page at a time |
//! | [`Journal::subscribe`] | every entry after a sequence, those there first, then each as it comes, none twice |
//! | [`Journal::purge`] | the entries of a call, a leg or a subject are gone, and an audit entry says so |
//! | [`Journal::expire`] | entries older than their kind's time to live are gone |
//! | [`Journal::mark`] | who follows the journal finds where he was, after a restart too |
//!
//! Audit entries are only ever added. No entry holds audio, features or a telephone number.

mod feed;
mod handle;
mod jetstream;
mod nothing;
mod options;
mod query;
mod record;
mod sqlite;
mod subscription;
mod tail;
mod wire;
mod writable;
mod written;

use std::{path::PathBuf, time::SystemTime};

use futures_util::future::BoxFuture;

pub use feed::{Feed, Feeder};
pub use handle::Journal;
pub use options::{Engine as EngineKind, Invalid, Options, TimeToLive, machine_name};
pub use query::{Page, Query, Scope};
pub use record::{
    Action, Alert, Audit, Began, Draft, EmotionShare, Ended, Entry, Evidence, Kind, Notice, Place, Record,
    RegisteredLeg, Registration, Timeline, TimelinePoint,
};
pub use subscription::{Subscription, Told};
pub use wire::Wire;

/// Why the journal did not do what was asked; the message says what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The file cannot be opened or made.
    #[error("cannot open the journal {}: {problem}; set journal.path to a file in a folder that this server may write", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// Why.
        problem: String,
    },
    /// Another process holds it.
    #[error("the journal {} is in use by another server; set journal.path to a file of this one's own", path.display())]
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// The file is something else.
    #[error("{} is no journal of Undertone ({problem}); set journal.path to another file, or move this one away", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
        /// What it is.
        problem: String,
    },
    /// A newer program wrote it.
    #[error(
        "the journal {place} was written by a newer version of this program: its layout is {actual}, and this one knows up to {newest}; \
         run the newer version, or give this one another journal"
    )]
    Newer {
        /// The file or the stream.
        place: String,
        /// The layout found.
        actual: i64,
        /// The newest layout known.
        newest: i64,
    },
    /// The file is damaged.
    #[error(
        "the journal {} is damaged ({problem}); restore it from a backup, or move it away to begin a new one",
        path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What was found.
        problem: String,
    },
    /// There is no room for more.
    #[error(
        "the journal has no room left ({problem}); free disk space, raise journal.max_bytes, or shorten journal.time_to_live"
    )]
    Full {
        /// What the storage said.
        problem: String,
    },
    /// The server that keeps it is not reached.
    #[error(
        "the journal's NATS server at {url} cannot be used: {problem}; check journal.url and that JetStream is enabled there"
    )]
    Unreachable {
        /// Its address.
        url: String,
        /// Why.
        problem: String,
    },
    /// A sequence that has not been given yet.
    #[error(
        "sequence {asked} is not in the journal, whose last is {last}; resume from a sequence that this journal gave, or from 0"
    )]
    UnknownSequence {
        /// What was asked for.
        asked: u64,
        /// The last one given.
        last: u64,
    },
    /// The storage failed.
    #[error("the journal failed: {problem}; see this server's logs")]
    Storage {
        /// What it said.
        problem: String,
    },
    /// The server is on its way out.
    #[error("the journal is closed, because the server is shutting down")]
    Closed,
}

impl Error {
    /// As metrics name it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Full { .. } => "full",
            Self::Unreachable { .. } => "unreachable",
            Self::Closed => "closed",
            Self::UnknownSequence { .. } => "unknown_sequence",
            Self::Open { .. }
            | Self::InUse { .. }
            | Self::Foreign { .. }
            | Self::Newer { .. }
            | Self::Damaged { .. }
            | Self::Storage { .. } => "storage",
        }
    }
}

/// What keeps a journal. [`Journal`] is what callers hold.
pub trait Engine: Send + Sync + 'static {
    /// Appends in this order, and returns the sequences, when all of it will survive. A draft whose id is there already is not
    /// appended again: its sequence is the old one's. All, or on an error perhaps some: appending again is safe.
    fn append(&self, drafts: Vec<Draft>) -> BoxFuture<'_, Result<Vec<u64>, Error>>;

    /// A page of entries, in order.
    fn read(&self, query: Query) -> BoxFuture<'_, Result<Page, Error>>;

    /// Deletes what the scope holds, audit entries aside, then appends `audit` with the count, which is returned. On an error perhaps
    /// half of it: purging again is safe.
    fn purge(&self, scope: Scope, audit: Draft) -> BoxFuture<'_, Result<u64, Error>>;

    /// Deletes entries of each kind that are older than its time. Returns how many.
    fn expire(&self, before: Vec<(Kind, SystemTime)>) -> BoxFuture<'_, Result<u64, Error>>;

    /// The last sequence given; 0 before the first.
    fn last_sequence(&self) -> BoxFuture<'_, Result<u64, Error>>;

    /// Keeps a mark: how far somebody got who follows the journal. A later one of the same name takes its place.
    fn mark(&self, name: String, sequence: u64) -> BoxFuture<'_, Result<(), Error>>;

    /// The mark of this name, where there is one.
    fn marked(&self, name: String) -> BoxFuture<'_, Result<Option<u64>, Error>>;

    /// Whether what was appended can be read afterwards.
    fn keeps(&self) -> bool {
        true
    }

    /// The way to other servers of the same journal, where there may be any.
    fn wire(&self) -> Option<Wire> {
        None
    }

    /// Finishes what was handed in, and takes no more.
    fn close(&self) -> BoxFuture<'_, ()>;
}
