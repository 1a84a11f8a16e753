//! How many watch.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use crate::{server::status::Problem, session::Sessions, telemetry::metrics};

/// The streams of those who watch. Cheap to clone.
#[derive(Clone, Default)]
pub(in crate::server) struct Watchers {
    standing: Arc<AtomicUsize>,
}

/// One of them, while it is held.
pub(super) struct Place {
    standing: Arc<AtomicUsize>,
    _live: metrics::Live,
}

impl Watchers {
    /// How many watch now.
    pub(in crate::server) fn standing(&self) -> usize {
        self.standing.load(Ordering::Relaxed)
    }

    /// A place for a watcher of alerts.
    pub(super) fn of_alerts(&self, sessions: &Sessions) -> Result<Place, Problem> {
        self.place(sessions, || sessions.metrics().supervision.watches_alerts())
    }

    /// A place for a watcher of calls.
    pub(super) fn of_calls(&self, sessions: &Sessions) -> Result<Place, Problem> {
        self.place(sessions, || sessions.metrics().supervision.watches_calls())
    }

    fn place(&self, sessions: &Sessions, live: impl FnOnce() -> metrics::Live) -> Result<Place, Problem> {
        let limit = sessions.limits().max_watchers;
        let fits = |standing| (standing < limit).then_some(standing + 1);
        if self.standing.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits).is_err() {
            sessions.metrics().supervision.refused_total.increment(1);
            return Err(Problem::TooManyWatchers(limit));
        }
        Ok(Place { standing: Arc::clone(&self.standing), _live: live() })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.standing.fetch_sub(1, Ordering::Relaxed);
    }
}
