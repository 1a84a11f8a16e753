//! Whether the journal can be written, and who says so.
//!
//! Writes tell it; an engine that can look without writing ([`Writable::lost`], [`Writable::looked`]: JetStream) tells it between them. A
//! look proves less than a write: the storage may answer and still refuse an entry. So what is told depends on what was told before:
//!
//! | what comes | writable | lost | refused | full |
//! |---|---|---|---|---|
//! | a write is done: an append, a purge, an expiry that found something | writable | writable | writable | writable |
//! | a write finds no room | full | full | full | full |
//! | a write fails otherwise | refused | lost | refused, anew | full |
//! | the connection is lost, or a look fails | lost | lost | lost | full |
//! | a look is answered | writable | writable | refused for [`BELIEVED`] since the last write, then writable | full, until less is held than at the first look, or, [`BELIEVED`] since the last write that found none, until there is [`ROOM`] |
//! | an expiry finds nothing, and nobody looks | writable | – | as a look | writable |
//!
//! What fails when the server shuts down ([`Error::Closed`]) is a write that fails.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::sync::watch;

use super::Error;
use crate::telemetry::metrics::JournalMetrics;

/// For so long after a write that failed no look says otherwise. What waits is tried again sooner ([`super::feed`]: after 5 s at most, and the
/// answer may take 5 s more), and so says itself how it stands; later nothing waits that could.
const BELIEVED: Duration = Duration::from_secs(15);

/// Bytes that must be free before a storage counts as writable in which a write found no room that nobody tries again. What needs more says so
/// when it is written.
const ROOM: u64 = 16 << 10;

/// Tells whether the journal can be written. Cheap to clone.
#[derive(Clone)]
pub(super) struct Writable {
    shared: Arc<Shared>,
}

/// What a look saw, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) held: u64,
    /// What may be held; `None` where only the storage bounds it.
    pub(super) bound: Option<u64>,
}

struct Shared {
    state: Mutex<State>,
    /// Whether somebody looks.
    looked_at: AtomicBool,
    told: watch::Sender<bool>,
    metrics: JournalMetrics,
}

/// What was told last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Writable,
    /// The storage is out of reach.
    Lost,
    /// It took no write, last at this time.
    Refused(Instant),
    /// It had no room for a write, last at this time.
    Full {
        at: Instant,
        /// What it held when it was looked at first since, in bytes.
        held: Option<u64>,
    },
}

impl Writable {
    /// It can be, until somebody says otherwise. The metric of it follows.
    pub(super) fn new(metrics: JournalMetrics) -> Self {
        let shared = Shared {
            state: Mutex::new(State::Writable),
            looked_at: AtomicBool::new(false),
            told: watch::Sender::new(true),
            metrics,
        };
        Self { shared: Arc::new(shared) }
    }

    /// A write was done.
    pub(super) fn wrote(&self) {
        self.change(|_, _| State::Writable);
    }

    /// A write failed.
    pub(super) fn failed(&self, error: &Error) {
        self.change(|state, now| state.failed(error, now));
    }

    /// The storage is out of reach, as was found without a write. Whether that is news.
    pub(super) fn lost(&self) -> bool {
        self.change(|state, _| state.lost())
    }

    /// Somebody looks from now on, and tells [`Writable::lost`] and [`Writable::looked`].
    pub(super) fn is_looked_at(&self) {
        self.shared.looked_at.store(true, Ordering::Relaxed);
    }

    /// The storage answered who looked. Whether it can be written again by that.
    pub(super) fn looked(&self, seen: Seen) -> bool {
        self.change(|state, now| state.looked(seen, now))
    }

    /// An expiry found nothing. Where nobody looks, that is all there is.
    pub(super) fn expired_nothing(&self) {
        if !self.shared.looked_at.load(Ordering::Relaxed) {
            self.change(State::expired_nothing);
        }
    }

    pub(super) fn subscribe(&self) -> watch::Receiver<bool> {
        self.shared.told.subscribe()
    }

    /// Goes on to another state; whether what is told changes by it.
    fn change(&self, next: impl FnOnce(State, Instant) -> State) -> bool {
        // Held while it is told, so that what is told last is what came last.
        let mut state = self.shared.state.lock().unwrap_or_else(PoisonError::into_inner);
        *state = next(*state, Instant::now());
        let writable = *state == State::Writable;
        self.shared.metrics.writable.set(f64::from(u8::from(writable)));
        self.shared.told.send_if_modified(|told| std::mem::replace(told, writable) != writable)
    }
}

impl State {
    fn failed(self, error: &Error, now: Instant) -> Self {
        match (self, error) {
            (Self::Full { held, .. }, Error::Full { .. }) => Self::Full { at: now, held },
            (Self::Full { .. }, _) => self,
            (_, Error::Full { .. }) => Self::Full { at: now, held: None },
            (Self::Lost, _) => Self::Lost,
            (Self::Writable | Self::Refused(_), _) => Self::Refused(now),
        }
    }

    fn lost(self) -> Self {
        if matches!(self, Self::Full { .. }) { self } else { Self::Lost }
    }

    fn looked(self, seen: Seen, now: Instant) -> Self {
        let is_over = |at| now.saturating_duration_since(at) >= BELIEVED;
        match self {
            Self::Refused(at) if !is_over(at) => self,
            Self::Full { at, held } => {
                let first = held.unwrap_or(seen.held);
                let is_writable = seen.held < first || (is_over(at) && seen.has_room());
                if is_writable { Self::Writable } else { Self::Full { at, held: Some(first) } }
            }
            _ => Self::Writable,
        }
    }

    fn expired_nothing(self, now: Instant) -> Self {
        match self {
            Self::Refused(at) if now.saturating_duration_since(at) < BELIEVED => self,
            _ => Self::Writable,
        }
    }
}

impl Seen {
    fn has_room(self) -> bool {
        self.bound.is_none_or(|bound| bound.saturating_sub(self.held) >= ROOM)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::metrics::recorder;

    fn full() -> Error {
        Error::Full { problem: "maximum bytes exceeded".to_owned() }
    }

    fn away() -> Error {
        Error::Unreachable { url: "nats://a:1".to_owned(), problem: "timed out".to_owned() }
    }

    /// A look at a stream that may hold 1000 bytes, and so never has room for more.
    fn seen(held: u64) -> Seen {
        Seen { held, bound: Some(1000) }
    }

    #[test]
    fn a_stream_that_answers_is_full_until_it_holds_less() {
        let now = Instant::now();
        let mut state = State::Writable.failed(&full(), now);
        for held in [900, 1000, 900] {
            state = state.looked(seen(held), now + 2 * BELIEVED);
            assert_eq!(state, State::Full { at: now, held: Some(900) });
        }
        // Nor does it matter how it was out of reach meanwhile.
        state = state.lost().failed(&away(), now).looked(seen(900), now);
        assert_eq!(state, State::Full { at: now, held: Some(900) });
        assert_eq!(state.looked(seen(899), now), State::Writable);
    }

    #[test]
    fn a_stream_has_room_again_where_its_bound_says_so_and_no_write_denied_it_just_now() {
        let now = Instant::now();
        let second = Duration::from_secs(1);
        let raised = Seen { held: 900, bound: Some(900 + ROOM) };
        for room in [raised, Seen { bound: None, ..raised }] {
            let state = State::Writable.failed(&full(), now).looked(room, now);
            assert_eq!(state.looked(room, now + BELIEVED - second), State::Full { at: now, held: Some(900) });
            let again = state.failed(&full(), now + BELIEVED - second);
            assert_eq!(again.looked(room, now + BELIEVED), again);
            assert_eq!(state.looked(room, now + BELIEVED), State::Writable);
        }
        let state = State::Writable.failed(&full(), now).looked(raised, now);
        assert_eq!(state.looked(Seen { held: 901, ..raised }, now + BELIEVED), state);
    }

    #[test]
    fn a_look_does_not_gainsay_a_write_that_failed_just_now() {
        let now = Instant::now();
        let state = State::Writable.failed(&away(), now);
        let second = Duration::from_secs(1);
        assert_eq!(state.looked(seen(1), now + BELIEVED - second), state);
        let again = state.failed(&away(), now + BELIEVED - second);
        assert_eq!(again.looked(seen(1), now + BELIEVED), again);
        assert_eq!(again.looked(seen(1), now + 2 * BELIEVED), State::Writable);
        // One that failed because the storage was out of reach says nothing once that is over.
        assert_eq!(state.lost().looked(seen(1), now), State::Writable);
        assert_eq!(State::Lost.failed(&away(), now).looked(seen(1), now), State::Writable);
    }

    #[test]
    fn an_expiry_that_finds_nothing_tells_only_where_nobody_looks() {
        for looked_at in [false, true] {
            let writable = Writable::new(JournalMetrics::new(&recorder()));
            if looked_at {
                writable.is_looked_at();
            }
            writable.failed(&full());
            writable.expired_nothing();
            assert_eq!(*writable.subscribe().borrow(), !looked_at);
            writable.failed(&away());
            writable.expired_nothing();
            assert!(!*writable.subscribe().borrow());
        }
    }

    #[test]
    fn what_changes_is_told_once() {
        let writable = Writable::new(JournalMetrics::new(&recorder()));
        let mut told = writable.subscribe();
        assert!(!writable.looked(seen(1)) && writable.lost() && !writable.lost());
        assert!(told.has_changed().unwrap() && !*told.borrow_and_update());
        writable.failed(&away());
        assert!(!told.has_changed().unwrap());
        assert!(writable.looked(seen(1)) && *told.borrow_and_update());
        writable.failed(&full());
        writable.wrote();
        assert!(*told.borrow_and_update());
    }
}
