//! The way from calls to the journal: nobody who records waits for it.
//!
//! [`Feed::record`] takes a draft from a call's task and returns at once; the [`Feeder`], one task, appends what came in batches, and
//! tries again, slower and slower, while the journal cannot be written. What happens meanwhile:
//!
//! | state | a timeline | other drafts | a purge |
//! |---|---|---|---|
//! | up to three quarters of the buffer wait | waits | wait | tried at once, then until it is done |
//! | more wait | lost, counted | wait | as above |
//! | the buffer is full | lost, counted | lost, counted, logged | as above |
//! | writable again | in order | in order | in order; and an audit entry says what was lost |
//! | shut down before | lost, logged | lost, counted, logged | what it was of is logged, and the server says that it failed |

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use tokio::sync::oneshot;

pub use self::feeder::Feeder;
use self::{
    elsewhere::Elsewhere,
    queue::{Purge, Queue},
};
use super::{Draft, Journal, Kind, Query, Scope};

mod elsewhere;
mod feeder;
mod queue;

/// Takes drafts in. Cheap to clone.
#[derive(Clone)]
pub struct Feed {
    shared: Arc<Shared>,
    journal: Journal,
}

struct Shared {
    queue: Queue,
    /// Entries lost since the journal was last told, in the order of [`Kind::ALL`].
    lost: [AtomicU64; Kind::ALL.len()],
}

impl Feed {
    /// The way to this journal, on which so many drafts may wait. Nothing runs yet.
    pub fn pair(journal: Journal, buffer: usize) -> (Self, Feeder) {
        let shared = Arc::new(Shared { queue: Queue::new(buffer), lost: Default::default() });
        (Self { shared: Arc::clone(&shared), journal: journal.clone() }, Feeder::new(shared, journal))
    }

    /// Takes a draft in. Never waits: what finds no room is lost, counted, and told once the journal can be written again.
    pub fn record(&self, draft: Draft) {
        let kind = draft.kind();
        let part = if kind == Kind::Timeline { (3, 4) } else { (1, 1) };
        if let Some(waiting) = self.shared.queue.record(draft, part) {
            self.journal.metrics().waiting.set(waiting as f64);
        } else {
            self.shared.lost(kind, 1);
            self.journal.metrics().lost_total.increment(kind.as_str());
            if kind != Kind::Timeline {
                tracing::error!(
                    kind = kind.as_str(),
                    "an entry is lost: the journal cannot be written, and too many wait"
                );
            }
        }
    }

    /// Deletes what the scope holds, be it kept or still waiting, and has `audit` appended. It is tried until it is done, whether or not
    /// anybody waits for the answer, which is how many kept entries that were; there is none where the server ends before. Drafts recorded
    /// afterwards stay. Who asks for what is asked for already, and not begun, is answered with it; the audit entry names who asked first.
    pub fn forget(&self, scope: Scope, audit: Draft) -> oneshot::Receiver<u64> {
        self.hand_in(scope, audit, None)
    }

    /// What waits that a query takes, sequences aside. Who wants to know of all that there is looks here before he reads the journal: what is
    /// written meanwhile is then there.
    pub fn waiting(&self, query: &Query) -> Vec<Draft> {
        let waiting = self.shared.queue.lock();
        waiting.drafts.iter().filter(|(_, draft)| query.takes(draft)).map(|(_, draft)| draft.clone()).collect()
    }

    /// Whether this is to be deleted, and is not yet.
    pub fn is_purging(&self, scope: &Scope) -> bool {
        self.shared.queue.lock().purges.iter().any(|purge| purge.scope == *scope)
    }

    /// The journal itself.
    pub fn journal(&self) -> &Journal {
        &self.journal
    }

    fn hand_in(&self, scope: Scope, audit: Draft, elsewhere: Option<Elsewhere>) -> oneshot::Receiver<u64> {
        let (answer, answered) = oneshot::channel();
        self.shared.queue.ask(|ticket| Purge { ticket, scope, audit, answers: vec![answer], elsewhere, begun: false });
        answered
    }
}

impl Shared {
    fn lost(&self, kind: Kind, count: u64) {
        for (of_kind, lost) in Kind::ALL.into_iter().zip(&self.lost) {
            if of_kind == kind {
                lost.fetch_add(count, Ordering::Relaxed);
            }
        }
    }

    fn take_lost(&self) -> BTreeMap<Kind, u64> {
        let taken = Kind::ALL.into_iter().zip(&self.lost).map(|(kind, lost)| (kind, lost.swap(0, Ordering::Relaxed)));
        taken.filter(|(_, lost)| *lost > 0).collect()
    }
}

#[cfg(test)]
mod tests;
