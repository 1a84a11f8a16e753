//! What is to be posted to one receiver, and when. Without clock or I/O.
//!
//! | what happens | to the change | to the receiver |
//! |---|---|---|
//! | a change is taken in | waits | |
//! | its turn: nothing earlier of its alert waits | is under way | |
//! | delivered, refused, purged | is gone | is well: up to `max_in_flight` at once |
//! | failed | waits, twice as long each time | is ill: rests, twice as long each time, then one at a time |
//! | failed, and older than `give_up_after` | is gone | is ill |
//!
//! A receiver that has changes waiting for it holds at most [`HELD`] of them here; the others are in the journal.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use super::answer::Answer;
use crate::{config::Webhook, journal::Entry};

/// Changes held at once.
const HELD: usize = 64;

/// The changes that are to be posted.
#[derive(Debug)]
pub(super) struct Schedule {
    first_wait: Duration,
    longest_wait: Duration,
    give_up_after: Duration,
    max_in_flight: usize,
    changes: BTreeMap<u64, Change>,
    /// The last sequence that was taken in or passed over.
    last: u64,
    /// When the receiver fell ill, or was found to be ill still, and how often; `None`: it is well.
    ill: Option<Ill>,
}

#[derive(Debug, Clone, Copy)]
struct Ill {
    since: Instant,
    failures: u32,
    rests_until: Instant,
}

#[derive(Debug)]
struct Change {
    alert_id: String,
    entry: Arc<Entry>,
    failures: u32,
    due: Instant,
    /// When its post began that is under way.
    began: Option<Instant>,
}

/// A change whose turn it is.
#[derive(Debug, Clone)]
pub(super) struct Due {
    pub(super) entry: Arc<Entry>,
    /// It was tried before.
    pub(super) again: bool,
}

/// What became of a change after a post.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Settled {
    /// It is gone.
    Done,
    /// It waits for another try.
    Again,
    /// It is gone, because it is too old to be tried again.
    GivenUp,
}

impl Schedule {
    /// Nothing is to be posted up to and with this sequence.
    pub(super) fn new(options: &Webhook, last: u64) -> Self {
        Self {
            first_wait: options.first_wait,
            longest_wait: options.longest_wait,
            give_up_after: options.give_up_after,
            max_in_flight: options.max_in_flight,
            changes: BTreeMap::new(),
            last,
            ill: None,
        }
    }

    /// Whether another change may be taken in.
    pub(super) fn has_room(&self) -> bool {
        self.changes.len() < HELD
    }

    /// Whether the receiver failed last.
    pub(super) fn is_ill(&self) -> bool {
        self.ill.is_some()
    }

    /// The last sequence that was looked at.
    pub(super) fn last(&self) -> u64 {
        self.last
    }

    /// Takes a change in. One that was looked at already is left out.
    pub(super) fn take(&mut self, alert_id: &str, entry: Arc<Entry>, now: Instant) {
        if entry.sequence > self.last {
            self.last = entry.sequence;
            let change = Change { alert_id: alert_id.to_owned(), entry, failures: 0, due: now, began: None };
            self.changes.insert(self.last, change);
        }
    }

    /// Passes over an entry that this receiver is not to know.
    pub(super) fn pass(&mut self, sequence: u64) {
        self.last = self.last.max(sequence);
    }

    /// The next change whose turn it is; it is under way from now on.
    pub(super) fn next(&mut self, now: Instant) -> Option<Due> {
        if self.ill.is_some_and(|ill| now < ill.rests_until) || self.in_flight() >= self.limit() {
            return None;
        }
        // Those that failed less first: one that the receiver cannot take holds up no other.
        let due = self.eligible().filter(|(_, change)| change.due <= now);
        let (sequence, _) = due.min_by_key(|(sequence, change)| (change.failures, **sequence))?;
        let change = self.changes.get_mut(&{ *sequence })?;
        change.began = Some(now);
        Some(Due { entry: Arc::clone(&change.entry), again: change.failures > 0 })
    }

    /// When [`Schedule::next`] may have something, if nothing else happens before.
    pub(super) fn wake(&self) -> Option<Instant> {
        if self.in_flight() >= self.limit() {
            return None;
        }
        let due = self.eligible().map(|(_, change)| change.due).min()?;
        Some(self.ill.map_or(due, |ill| due.max(ill.rests_until)))
    }

    /// What came of a post. `jitter`, 0 to 1, keeps many servers from coming back at the same moment.
    pub(super) fn settle(
        &mut self,
        sequence: u64,
        answer: &Answer,
        jitter: f64,
        (now, clock): (Instant, SystemTime),
    ) -> Settled {
        let Answer::Failed { retry_after, .. } = answer else {
            self.changes.remove(&sequence);
            if *answer != Answer::Purged {
                self.ill = None;
            }
            return Settled::Done;
        };
        let Some(change) = self.changes.get_mut(&sequence) else { return Settled::Done };
        change.failures += 1;
        let began = change.began.take().unwrap_or(now);
        let asked = retry_after.unwrap_or_default().min(self.give_up_after);
        let wait = |failures: u32| {
            let doubled = self.first_wait.saturating_mul(2_u32.saturating_pow(failures.saturating_sub(1)));
            let jittered = doubled.min(self.longest_wait).mul_f64(1.0 - jitter.clamp(0.0, 1.0) / 2.0);
            jittered.max(asked)
        };
        change.due = now + wait(change.failures);
        let age = clock.duration_since(change.entry.draft.at).unwrap_or_default();
        // Posts that were under way together fail together: that is one failure.
        let before = self.ill.filter(|ill| began <= ill.since);
        self.ill = Some(match before {
            Some(ill) => Ill { rests_until: ill.rests_until.max(now + asked), ..ill },
            None => {
                let failures = self.ill.map_or(0, |ill| ill.failures) + 1;
                Ill { since: now, failures, rests_until: now + wait(failures) }
            }
        });
        if age >= self.give_up_after {
            self.changes.remove(&sequence);
            return Settled::GivenUp;
        }
        Settled::Again
    }

    /// All entries up to and with this sequence are done with.
    pub(super) fn mark(&self) -> u64 {
        self.changes.first_key_value().map_or(self.last, |(sequence, _)| sequence - 1)
    }

    /// When the oldest change happened that is not done with.
    pub(super) fn oldest(&self) -> Option<SystemTime> {
        self.changes.values().map(|change| change.entry.draft.at).min()
    }

    fn in_flight(&self) -> usize {
        self.changes.values().filter(|change| change.began.is_some()).count()
    }

    fn limit(&self) -> usize {
        if self.ill.is_some() { 1 } else { self.max_in_flight }
    }

    /// Those that are not under way, and before which nothing of their alert is to be posted.
    fn eligible(&self) -> impl Iterator<Item = (&u64, &Change)> {
        let earlier = |sequence: u64, alert_id: &str| {
            self.changes.range(..sequence).any(|(_, earlier)| earlier.alert_id == alert_id)
        };
        self.changes
            .iter()
            .filter(move |(sequence, change)| change.began.is_none() && !earlier(**sequence, &change.alert_id))
    }
}

#[cfg(test)]
mod tests;
