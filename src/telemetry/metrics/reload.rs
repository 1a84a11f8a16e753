//! What is measured of configurations that are read again, and of the models that come and go with them.

use metrics::{Gauge, Recorder};

use super::{Counters, Live, Registration};

const RELOADS: &str = "undertone_reloads_total";
const LAST_RELOAD: &str = "undertone_last_reload_successful";
const MODELS_RUNNING: &str = "undertone_models_running";

/// What becomes of a configuration, its models and its rules when they are read again.
pub const RELOAD_RESULTS: [&str; 3] = ["taken", "unchanged", "refused"];

/// What is measured of reloads. Made once a server.
pub struct ReloadMetrics {
    /// Configurations that were read again, by [`RELOAD_RESULTS`].
    pub reloads_total: Counters,
    last_successful: Gauge,
    models_running: Gauge,
}

impl ReloadMetrics {
    /// All handles, from this recorder.
    pub fn new(recorder: &dyn Recorder) -> Self {
        let from = Registration { recorder, model: None };
        let reloads = "Configurations that were read again, with their models and rules.";
        let metrics = Self {
            reloads_total: from.counters(RELOADS, reloads, "result", &RELOAD_RESULTS),
            last_successful: from.gauge(LAST_RELOAD, "1 unless the configuration read last was refused."),
            models_running: from
                .gauge(MODELS_RUNNING, "Models whose threads run, in service or until their last leg has ended."),
        };
        metrics.last_successful.set(1.0);
        metrics
    }

    /// Counts one with this result.
    pub fn count(&self, result: &str) {
        self.reloads_total.increment(result);
        self.last_successful.set(if result == "refused" { 0.0 } else { 1.0 });
    }

    /// Counts a model as running while the guard is held.
    pub fn model_runs(&self) -> Live {
        Live::of(vec![(self.models_running.clone(), 1.0)])
    }
}
