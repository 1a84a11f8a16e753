//! Entries as they are appended, for whoever listens.
//!
//! What waits for a slow listener holds scores. So whatever waits is emptied when a purge is told that covers it: neither is it told
//! afterwards, nor does it stay in memory for as long as somebody does not read.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicU64, Ordering},
    },
};

use tokio::sync::broadcast;
use tokio_util::sync::CancellationToken;

use super::{Entry, Scope};

/// Entries that a listener may be behind. One further behind reads them from the engine instead, so nothing is lost.
const BEHIND: usize = 1024;

/// Purges by which it is known whether a page has to be read again; one that was read over more of them is.
const PURGES: usize = 64;

/// Tells entries, in the order of their sequence. Full-policy: a listener who is too far behind misses the oldest, and is told.
#[derive(Clone)]
pub(super) struct Tail {
    entries: broadcast::Sender<Arc<Held>>,
    last: Arc<AtomicU64>,
    /// Counts journals: one that is made anew gives sequences from the first again.
    era: Arc<AtomicU64>,
    holdings: Arc<Mutex<Holdings>>,
    closed: CancellationToken,
}

/// An entry that waits for somebody. Empty once it was purged.
pub(super) struct Held {
    pub(super) sequence: u64,
    entry: Mutex<Option<Arc<Entry>>>,
}

/// All that waits, and what was purged.
#[derive(Default)]
struct Holdings {
    all: Vec<Weak<Held>>,
    /// At so many those that are gone are left out.
    sweep_at: usize,
    /// The last purges, the latest first, and how many there were.
    purges: VecDeque<Scope>,
    purged: u64,
}

impl Tail {
    pub(super) fn new() -> Self {
        Self {
            entries: broadcast::Sender::new(BEHIND),
            last: Arc::default(),
            era: Arc::default(),
            holdings: Arc::default(),
            closed: CancellationToken::new(),
        }
    }

    /// Tells one entry. With nobody there it goes nowhere.
    pub(super) fn tell(&self, entry: Entry) {
        self.last.fetch_max(entry.sequence, Ordering::Relaxed);
        if let Some(scope) = Scope::purged_by(&entry.draft.record) {
            self.holdings().purge(scope);
        }
        if self.entries.receiver_count() > 0 {
            let held = Arc::new(Held::new(entry));
            self.holdings().keep(&held);
            // The last listener may have gone this moment.
            let _ = self.entries.send(held);
        }
    }

    /// The last sequence told; 0 before the first.
    pub(super) fn last(&self) -> u64 {
        self.last.load(Ordering::Relaxed)
    }

    /// Says that the journal was made anew: its sequences begin again, and who listens does so too.
    pub(super) fn begin_anew(&self) {
        self.last.store(0, Ordering::Relaxed);
        self.era.fetch_add(1, Ordering::Release);
    }

    /// Which journal it is, of those that took the place of one another.
    pub(super) fn era(&self) -> u64 {
        self.era.load(Ordering::Acquire)
    }

    pub(super) fn listen(&self) -> broadcast::Receiver<Arc<Held>> {
        self.entries.subscribe()
    }

    /// How many purges were told.
    pub(super) fn purged(&self) -> u64 {
        self.holdings().purged
    }

    /// Keeps entries that were read since so many purges had been told; `None` where one of those told meanwhile covers any of them.
    pub(super) fn hold(&self, purged: u64, entries: Vec<Entry>) -> Option<VecDeque<Arc<Held>>> {
        let mut holdings = self.holdings();
        let since = usize::try_from(holdings.purged - purged).unwrap_or(usize::MAX);
        let covered = |entry: &Entry| holdings.purges.iter().take(since).any(|scope| scope.may_hold(&entry.draft));
        if since > PURGES || since > 0 && entries.iter().any(covered) {
            return None;
        }
        let held: VecDeque<Arc<Held>> = entries.into_iter().map(|entry| Arc::new(Held::new(entry))).collect();
        held.iter().for_each(|held| holdings.keep(held));
        Some(held)
    }

    /// Cancelled once nothing more is told.
    pub(super) fn closed(&self) -> &CancellationToken {
        &self.closed
    }

    fn holdings(&self) -> MutexGuard<'_, Holdings> {
        self.holdings.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Held {
    fn new(entry: Entry) -> Self {
        Self { sequence: entry.sequence, entry: Mutex::new(Some(Arc::new(entry))) }
    }

    /// What it holds; `None` once it was purged.
    pub(super) fn entry(&self) -> Option<Arc<Entry>> {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Option<Arc<Entry>>> {
        self.entry.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Holdings {
    fn keep(&mut self, held: &Arc<Held>) {
        if self.all.len() >= self.sweep_at {
            self.all.retain(|held| held.strong_count() > 0);
            self.sweep_at = (2 * self.all.len()).max(BEHIND);
        }
        self.all.push(Arc::downgrade(held));
    }

    fn purge(&mut self, scope: Scope) {
        for held in self.all.iter().filter_map(Weak::upgrade) {
            let mut entry = held.lock();
            if entry.as_ref().is_some_and(|entry| scope.may_hold(&entry.draft)) {
                *entry = None;
            }
        }
        self.purges.truncate(PURGES - 1);
        self.purges.push_front(scope);
        self.purged += 1;
    }
}
