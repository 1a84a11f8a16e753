//! What waits for the journal: drafts and purges, under tickets that tell which came first.

use std::{
    collections::{HashSet, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
};

use tokio::sync::{Notify, oneshot};

use super::elsewhere::Elsewhere;
use crate::journal::{Draft, Record, Scope};

/// Shared by those who record and the one who appends.
pub(super) struct Queue {
    waiting: Mutex<Waiting>,
    /// Told when a draft came, and when a purge came.
    drafted: Notify,
    asked: Notify,
    /// Drafts that may wait.
    room: usize,
}

#[derive(Default)]
pub(super) struct Waiting {
    next_ticket: u64,
    /// In the order of their tickets.
    pub(super) drafts: VecDeque<(u64, Draft)>,
    /// The next first.
    pub(super) purges: VecDeque<Purge>,
    /// Nobody appends any more.
    closed: bool,
}

/// What is to be deleted.
pub(super) struct Purge {
    /// Drafts with a lower one are purged too.
    pub(super) ticket: u64,
    pub(super) scope: Scope,
    pub(super) audit: Draft,
    /// Told how many kept entries it deleted.
    pub(super) answers: Vec<oneshot::Sender<u64>>,
    /// Where another server did it.
    pub(super) elsewhere: Option<Elsewhere>,
    /// Whether it is being done: what comes now is another one's.
    pub(super) begun: bool,
}

impl Queue {
    pub(super) fn new(room: usize) -> Self {
        Self { waiting: Mutex::default(), drafted: Notify::new(), asked: Notify::new(), room }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a draft in, where less than this part of the room is used; then, how many wait.
    pub(super) fn record(&self, draft: Draft, (of, parts): (usize, usize)) -> Option<usize> {
        let mut waiting = self.lock();
        if waiting.closed || waiting.drafts.len() >= self.room * of / parts {
            return None;
        }
        let ticket = waiting.take_ticket();
        waiting.drafts.push_back((ticket, draft));
        let now_waiting = waiting.drafts.len();
        drop(waiting);
        self.drafted.notify_one();
        Some(now_waiting)
    }

    /// Takes a purge in: there is one of a kind and scope at most that waits, however often it is asked for. Nobody is answered where
    /// nobody appends any more.
    pub(super) fn ask(&self, purge: impl FnOnce(u64) -> Purge) {
        let mut waiting = self.lock();
        if !waiting.closed {
            let purge = purge(waiting.take_ticket());
            match waiting.purges.iter_mut().find(|before| before.is_as(&purge)) {
                Some(before) => {
                    before.ticket = purge.ticket;
                    before.answers.extend(purge.answers);
                }
                None => waiting.purges.push_back(purge),
            }
            drop(waiting);
            self.asked.notify_one();
        }
    }

    /// The ticket of what comes next.
    pub(super) fn next_ticket(&self) -> u64 {
        self.lock().next_ticket
    }

    pub(super) fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }

    /// Waits for a draft; there may be none any more.
    pub(super) async fn drafted(&self) {
        self.drafted.notified().await;
    }

    /// Waits for a purge; it may be done already.
    pub(super) async fn asked(&self) {
        self.asked.notified().await;
    }

    /// Takes nothing in any more, if nothing waits; whether that is so.
    pub(super) fn close_if_empty(&self) -> bool {
        let mut waiting = self.lock();
        waiting.closed |= waiting.is_empty();
        waiting.closed
    }

    /// Takes nothing in any more, and gives out the purges that are not done.
    pub(super) fn close(&self) -> VecDeque<Purge> {
        let mut waiting = self.lock();
        waiting.closed = true;
        std::mem::take(&mut waiting.purges)
    }
}

impl Purge {
    /// Whether it does what the other one is to do, and can for both.
    fn is_as(&self, other: &Self) -> bool {
        let audit = |purge: &Self| match &purge.audit.record {
            Record::Audit(audit) => Some(std::mem::discriminant(audit)),
            _ => None,
        };
        !self.begun
            && self.elsewhere.is_none()
            && other.elsewhere.is_none()
            && self.scope == other.scope
            && audit(self) == audit(other)
    }
}

impl Waiting {
    fn take_ticket(&mut self) -> u64 {
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        ticket
    }

    fn is_empty(&self) -> bool {
        self.drafts.is_empty() && self.purges.is_empty()
    }

    /// The first drafts, so many at most, that come before any purge.
    pub(super) fn batch(&self, most: usize) -> Vec<Draft> {
        let before = self.purges.iter().map(|purge| purge.ticket).min().unwrap_or(u64::MAX);
        let first = self.drafts.iter().take(most).take_while(|(ticket, _)| *ticket < before);
        first.map(|(_, draft)| draft.clone()).collect()
    }

    /// Begins the next purge: drops the drafts that are of it, and gives what the journal is to do.
    pub(super) fn begin_purge(&mut self) -> Option<(Scope, Draft)> {
        let purge = self.purges.front_mut()?;
        purge.begun = true;
        let before = |ticket: &u64| *ticket < purge.ticket;
        // A subject's calls go with him.
        let held = self.drafts.iter().filter(|(ticket, draft)| before(ticket) && purge.scope.holds(draft));
        let of_subject = held.filter(|_| matches!(purge.scope, Scope::Subject(_)));
        let calls: HashSet<String> = of_subject.filter_map(|(_, draft)| draft.call_id.clone()).collect();
        let of_call = |draft: &Draft| draft.call_id.as_ref().is_some_and(|call_id| calls.contains(call_id));
        self.drafts.retain(|(ticket, draft)| !(before(ticket) && (purge.scope.holds(draft) || of_call(draft))));
        Some((purge.scope.clone(), purge.audit.clone()))
    }

    /// Ends it. One that is not done is the next again, or goes with the same one that was asked for meanwhile.
    pub(super) fn end_purge(&mut self, done: bool) -> Vec<oneshot::Sender<u64>> {
        let Some(mut purge) = self.purges.pop_front() else { return Vec::new() };
        if done {
            return purge.answers;
        }
        purge.begun = false;
        match self.purges.iter_mut().find(|other| other.is_as(&purge)) {
            Some(other) => {
                other.answers.append(&mut purge.answers);
                other.audit = purge.audit;
            }
            None => self.purges.push_front(purge),
        }
        Vec::new()
    }
}
