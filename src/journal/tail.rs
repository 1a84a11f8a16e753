//! Entries as they are appended, for whoever listens.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use tokio::sync::broadcast;
use tokio_util::sync::CancellationToken;

use super::Entry;

/// Entries that a listener may be behind. One further behind reads them from the engine instead, so nothing is lost.
const BEHIND: usize = 1024;

/// Tells entries, in the order of their sequence. Full-policy: a listener who is too far behind misses the oldest, and is told.
#[derive(Clone)]
pub(super) struct Tail {
    entries: broadcast::Sender<Arc<Entry>>,
    last: Arc<AtomicU64>,
    closed: CancellationToken,
}

impl Tail {
    pub(super) fn new() -> Self {
        Self { entries: broadcast::Sender::new(BEHIND), last: Arc::default(), closed: CancellationToken::new() }
    }

    /// Tells one entry. With nobody there it goes nowhere.
    pub(super) fn tell(&self, entry: Entry) {
        self.last.fetch_max(entry.sequence, Ordering::Relaxed);
        if self.entries.receiver_count() > 0 {
            // The last listener may have gone this moment.
            let _ = self.entries.send(Arc::new(entry));
        }
    }

    /// The last sequence told; 0 before the first.
    pub(super) fn last(&self) -> u64 {
        self.last.load(Ordering::Relaxed)
    }

    pub(super) fn listen(&self) -> broadcast::Receiver<Arc<Entry>> {
        self.entries.subscribe()
    }

    /// Cancelled once nothing more is told.
    pub(super) fn closed(&self) -> &CancellationToken {
        &self.closed
    }
}
