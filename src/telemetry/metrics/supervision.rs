//! What is measured of those who watch.

use metrics::{Counter, Gauge, Recorder};

use super::{Live, Registration};

const ALERT_WATCHERS: &str = "undertone_alert_watchers";
const CALL_WATCHERS: &str = "undertone_call_watchers";
const MISSED: &str = "undertone_watchers_missed_total";
const REFUSED: &str = "undertone_watchers_refused_total";

/// What is measured of a server's watchers. Made once a server.
pub struct SupervisionMetrics {
    alert_watchers: Gauge,
    call_watchers: Gauge,
    /// Entries that came and went while a watcher did not read. Only without a journal.
    pub missed_total: Counter,
    /// Watchers beyond the limit.
    pub refused_total: Counter,
}

impl SupervisionMetrics {
    /// All handles, from this recorder.
    pub fn new(recorder: &dyn Recorder) -> Self {
        let from = Registration { recorder, model: None };
        Self {
            alert_watchers: from.gauge(ALERT_WATCHERS, "Streams of WatchAlerts that stand."),
            call_watchers: from.gauge(CALL_WATCHERS, "Streams of WatchCalls that stand."),
            missed_total: from.counter(MISSED, "Entries that slow watchers missed, where no journal keeps them."),
            refused_total: from.counter(REFUSED, "Watchers refused because too many watch."),
        }
    }

    /// Counts a watcher of alerts while the guard is held.
    pub fn watches_alerts(&self) -> Live {
        Live::of(vec![(self.alert_watchers.clone(), 1.0)])
    }

    /// Counts a watcher of calls while the guard is held.
    pub fn watches_calls(&self) -> Live {
        Live::of(vec![(self.call_watchers.clone(), 1.0)])
    }
}
