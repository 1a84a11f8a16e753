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
//! | a look is answered | writable | writable | refused for [`BELIEVED`] since the last write, then writable | full, until less is held than at the first look |
//! | an expiry finds nothing | writable | writable | as a look | writable where nobody looks, else full |
//!
//! What fails when the server shuts down ([`Error::Closed`]) is a write that fails.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use tokio::sync::watch;

use super::Error;
use crate::telemetry::metrics::JournalMetrics;

/// For so long after a write that failed no look says otherwise. What waits is tried again sooner ([`super::feed`]: after 5 s at most, and the
/// answer may take 5 s more), and so says itself how it stands; later nothing waits that could.
const BELIEVED: Duration = Duration::from_secs(15);

/// Tells whether the journal can be written. Cheap to clone.
#[derive(Clone)]
pub(super) struct Writable {
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
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
    /// It has no room; what it held when it was looked at first since, in bytes.
    Full(Option<u64>),
}

impl Writable {
    /// It can be, until somebody says otherwise. The metric of it follows.
    pub(super) fn new(metrics: JournalMetrics) -> Self {
        let shared = Shared { state: Mutex::new(State::Writable), told: watch::Sender::new(true), metrics };
        Self { shared: Arc::new(shared) }
    }

    /// A write was done.
    pub(super) fn wrote(&self) {
        self.become_(|_, _| State::Writable);
    }

    /// A write failed.
    pub(super) fn failed(&self, error: &Error) {
        self.become_(|state, now| state.failed(error, now));
    }

    /// The storage is out of reach, as was found without a write. Whether that is news.
    pub(super) fn lost(&self) -> bool {
        self.become_(|state, _| state.lost())
    }

    /// The storage answered who looked, and said how much it holds, in bytes; `None`: an expiry found nothing. Whether it can be written again
    /// by that.
    pub(super) fn looked(&self, held: Option<u64>) -> bool {
        self.become_(|state, now| state.looked(held, now))
    }

    pub(super) fn subscribe(&self) -> watch::Receiver<bool> {
        self.shared.told.subscribe()
    }

    /// Goes on to another state; whether what is told changes by it.
    fn become_(&self, next: impl FnOnce(State, Instant) -> State) -> bool {
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
            (Self::Full(_), _) => self,
            (_, Error::Full { .. }) => Self::Full(None),
            (Self::Lost, _) => Self::Lost,
            (Self::Writable | Self::Refused(_), _) => Self::Refused(now),
        }
    }

    fn lost(self) -> Self {
        if matches!(self, Self::Full(_)) { self } else { Self::Lost }
    }

    fn looked(self, held: Option<u64>, now: Instant) -> Self {
        match (self, held) {
            (Self::Refused(at), _) if now.saturating_duration_since(at) < BELIEVED => self,
            (Self::Full(None), Some(_)) => Self::Full(held),
            (Self::Full(Some(_)), None) => self,
            (Self::Full(Some(first)), Some(held)) if held >= first => self,
            _ => Self::Writable,
        }
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

    #[test]
    fn a_stream_that_answers_is_full_until_it_holds_less() {
        let now = Instant::now();
        let mut state = State::Writable.failed(&full(), now);
        for held in [Some(900), Some(1000), None, Some(900)] {
            state = state.looked(held, now + 2 * BELIEVED);
            assert_eq!(state, State::Full(Some(900)));
        }
        // Nor does it matter how it was out of reach meanwhile.
        state = state.lost().failed(&away(), now).looked(Some(900), now);
        assert_eq!(state, State::Full(Some(900)));
        assert_eq!(state.looked(Some(899), now), State::Writable);
    }

    #[test]
    fn a_look_does_not_gainsay_a_write_that_failed_just_now() {
        let now = Instant::now();
        let state = State::Writable.failed(&away(), now);
        let second = Duration::from_secs(1);
        assert_eq!(state.looked(Some(1), now + BELIEVED - second), state);
        let again = state.failed(&away(), now + BELIEVED - second);
        assert_eq!(again.looked(Some(1), now + BELIEVED), again);
        assert_eq!(again.looked(Some(1), now + 2 * BELIEVED), State::Writable);
        // One that failed because the storage was out of reach says nothing once that is over.
        assert_eq!(state.lost().looked(Some(1), now), State::Writable);
        assert_eq!(State::Lost.failed(&away(), now).looked(Some(1), now), State::Writable);
    }

    #[test]
    fn where_nobody_looks_an_expiry_that_finds_nothing_is_all_there_is() {
        let now = Instant::now();
        assert_eq!(State::Writable.failed(&full(), now).looked(None, now), State::Writable);
    }

    #[test]
    fn what_changes_is_told_once() {
        let writable = Writable::new(JournalMetrics::new(&recorder()));
        let mut told = writable.subscribe();
        assert!(!writable.looked(Some(1)) && writable.lost() && !writable.lost());
        assert!(told.has_changed().unwrap() && !*told.borrow_and_update());
        writable.failed(&away());
        assert!(!told.has_changed().unwrap());
        assert!(writable.looked(Some(1)) && *told.borrow_and_update());
        writable.failed(&full());
        writable.wrote();
        assert!(*told.borrow_and_update());
    }
}
