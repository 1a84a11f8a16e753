//! Every metric: its name, help, labels and buckets. A leaf: it knows nothing of what is measured.
//!
//! [`recorder`] makes a recorder that belongs to one server, and [`Metrics::new`] takes every handle from it at once, so that
//! nothing is looked up while calls run and two servers in one process do not mix. Label values are bound beforehand; a call's
//! or a client's name never is one. A value that was not bound is not counted, so tests go through them all.

use metrics::{Counter, Gauge, Histogram, Recorder};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusRecorder};

mod handles;
mod journal;
mod model;
pub mod process;
mod provider;
mod reload;
mod shadow;
mod supervision;
mod traces;
mod webhook;

pub use handles::{Amount, Counters, Live, Seconds};
use handles::{METADATA, Registration};
pub use journal::{ENTRY_KINDS, JOURNAL_FAILURES, JournalMetrics};
pub use model::{ModelMetrics, STAGES, Stages, UNCERTAIN};
pub use provider::{PROVIDERS, tell_provider};
pub use reload::{RELOAD_RESULTS, ReloadMetrics};
pub use shadow::{SHADOW_OUTCOMES, ShadowMetrics};
pub use supervision::SupervisionMetrics;
pub use traces::{SPAN_RESULTS, TraceMetrics};
pub use webhook::{POSTS_RESULTS, WebhookMetrics};

const LEGS_LIVE: &str = "undertone_legs_live";
const DRAINING: &str = "undertone_draining";
const LEGS_KEPT: &str = "undertone_legs_kept";
const CALLS_RESUMED: &str = "undertone_calls_resumed_total";
const STREAMS_AGED: &str = "undertone_streams_aged_total";
const MISLABELLED: &str = "undertone_mislabelled_calls_total";
const LEGS_BYTES: &str = "undertone_legs_bytes";
const LOAD: &str = "undertone_load_windows_per_second";
const LOAD_LIMIT: &str = "undertone_load_limit_windows_per_second";
const CALLS_ENDED: &str = "undertone_calls_ended_total";
const CALLS_REFUSED: &str = "undertone_calls_refused_total";
const NOT_SCORED: &str = "undertone_not_scored_total";
const EVENTS_DROPPED: &str = "undertone_events_dropped_total";
const AUDIO_RECEIVED: &str = "undertone_audio_received_seconds_total";
const PROCESSING_LATENCY: &str = "undertone_processing_latency_seconds";
const ALERTS: &str = "undertone_alerts_total";
const CLASSIFICATIONS: &str = "undertone_classifications_total";

/// Why a call ended.
pub const END_REASONS: [&str; 10] = [
    "completed",
    "idle",
    "draining",
    "consent_withdrawn",
    "invalid",
    "failed",
    "stalled",
    "vanished",
    "taken_over",
    "panicked",
];
/// Why a call never began.
pub const REFUSALS: [&str; 8] = ["invalid", "model", "policy", "live", "differs", "full", "draining", "failed"];
/// What the audio of a call looks like that is not written as the call says.
pub const ENCODINGS: [&str; 3] = ["linear16", "mulaw", "alaw"];
/// Why a stride was not scored.
pub const NOT_SCORED_REASONS: [&str; 12] = [
    "SILENCE",
    "NOISE",
    "TONE",
    "MUSIC",
    "ON_HOLD",
    "TOO_SHORT",
    "LOW_SNR",
    "GAP",
    "NOT_PERMITTED",
    "CONSENT_WITHDRAWN",
    "OVERLOADED",
    "FAILED",
];
/// What becomes of an alert.
pub const ALERT_STATES: [&str; 4] = ["FIRING", "ACKNOWLEDGED", "SNOOZED", "RESOLVED"];

/// Around the promise of an event within a fraction of a stride; beyond 5 s nobody waits.
const LATENCY_BUCKETS: [f64; 12] = [0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 3.0, 5.0];

/// What is measured of calls. Made once a server.
pub struct Metrics {
    /// 1 while calls are ended and none is taken.
    pub draining: Gauge,
    legs_live: Gauge,
    legs_kept: Gauge,
    /// Calls that went on after a break.
    pub calls_resumed_total: Counter,
    /// Streams that ended because they were as old as they may be.
    pub streams_aged_total: Counter,
    /// Calls and recordings whose audio is not written as they say, by what it looks like: [`ENCODINGS`].
    pub mislabelled_calls_total: Counters,
    load: Gauge,
    legs_bytes: Gauge,
    /// Windows a second beyond which no call is admitted.
    pub load_limit: Gauge,
    /// Calls that ended, by [`END_REASONS`].
    pub calls_ended_total: Counters,
    /// Calls that never began and recordings that were not classified, by [`REFUSALS`].
    pub calls_refused_total: Counters,
    /// Strides without a score, by [`NOT_SCORED_REASONS`].
    pub not_scored_total: Counters,
    /// Events dropped because a client read too slowly.
    pub events_dropped_total: Counter,
    /// Whole seconds of audio, all legs together; [`Seconds`] keeps the rest.
    pub audio_received_seconds_total: Counter,
    /// From the arrival of the last sample that an event depends on to its handing over.
    pub processing_latency_seconds: Histogram,
    /// Recordings classified.
    pub classifications_total: Counter,
    /// What is measured of the journal.
    pub journal: JournalMetrics,
    /// What is measured of the posts of alerts.
    pub webhook: WebhookMetrics,
    /// Changes of alerts, by [`ALERT_STATES`].
    pub alerts_total: Counters,
    /// What is measured of configurations that are read again.
    pub reload: ReloadMetrics,
    /// What is measured of those who watch.
    pub supervision: SupervisionMetrics,
    /// What is measured of spans.
    pub traces: TraceMetrics,
}

/// A recorder of its own for one server, with the buckets of every histogram.
pub fn recorder() -> PrometheusRecorder {
    let buckets: [(&str, &[f64]); 8] = [
        (PROCESSING_LATENCY, &LATENCY_BUCKETS),
        (model::STAGE, &model::STAGE_BUCKETS),
        (model::BATCH, &model::BATCH_BUCKETS),
        (model::CONFIDENCE, &model::CONFIDENCE_BUCKETS),
        (model::INPUT_LEVEL, &model::INPUT_LEVEL_BUCKETS),
        (journal::APPEND, &journal::APPEND_BUCKETS),
        (shadow::DIVERGENCE, &shadow::DIVERGENCE_BUCKETS),
        (shadow::CONFIDENCE, &model::CONFIDENCE_BUCKETS),
    ];
    let mut builder = PrometheusBuilder::new();
    for (name, buckets) in buckets {
        builder = builder
            .set_buckets_for_metric(Matcher::Full(name.to_owned()), buckets)
            .expect("no list of buckets is empty");
    }
    builder.build_recorder()
}

impl Metrics {
    /// All handles, from this recorder.
    pub fn new(recorder: &dyn Recorder) -> Self {
        let from = Registration { recorder, model: None };
        Self {
            draining: from.gauge(DRAINING, "1 while calls are ended and none is taken."),
            legs_live: from.gauge(LEGS_LIVE, "Legs of calls that are live."),
            legs_kept: from.gauge(LEGS_KEPT, "Live legs whose stream broke, kept to go on."),
            calls_resumed_total: from.counter(CALLS_RESUMED, "Calls that went on after a break."),
            streams_aged_total: from.counter(
                STREAMS_AGED,
                "Streams that ended because they were as old as they may be; their calls go on.",
            ),
            mislabelled_calls_total: from.counters(
                MISLABELLED,
                "Calls and recordings whose audio is not written as they say, by what it looks like.",
                "looks_like",
                &ENCODINGS,
            ),
            legs_bytes: from
                .gauge(LEGS_BYTES, "Memory that live legs keep of what they heard and that waits for slow readers; windows are counted apart."),
            load: from.gauge(LOAD, "Windows a second that live legs need, as they were admitted."),
            load_limit: from.gauge(LOAD_LIMIT, "Windows a second beyond which no call is admitted."),
            calls_ended_total: from.counters(CALLS_ENDED, "Calls that ended.", "reason", &END_REASONS),
            calls_refused_total: from.counters(
                CALLS_REFUSED,
                "Calls that never began and recordings that were not classified.",
                "reason",
                &REFUSALS,
            ),
            not_scored_total: from.counters(NOT_SCORED, "Strides without a score.", "reason", &NOT_SCORED_REASONS),
            events_dropped_total: from.counter(EVENTS_DROPPED, "Events dropped because a client read too slowly."),
            audio_received_seconds_total: from.counter(AUDIO_RECEIVED, "Seconds of audio received, all legs together."),
            processing_latency_seconds: from.histogram(
                PROCESSING_LATENCY,
                "From the arrival of the last sample that an event depends on to its handing over.",
            ),
            classifications_total: from.counter(CLASSIFICATIONS, "Recordings classified."),
            journal: JournalMetrics::new(recorder),
            webhook: WebhookMetrics::new(recorder),
            alerts_total: from.counters(ALERTS, "Changes of alerts, by the state they led to.", "state", &ALERT_STATES),
            reload: ReloadMetrics::new(recorder),
            supervision: SupervisionMetrics::new(recorder),
            traces: TraceMetrics::new(recorder),
        }
    }

    /// Counts so many legs, which need so many windows a second, as live while the guard is held.
    pub fn live(&self, legs: usize, windows_per_second: f64) -> Live {
        Live::of(vec![(self.legs_live.clone(), legs as f64), (self.load.clone(), windows_per_second)])
    }

    /// What the legs of one call keep of what they heard, in bytes.
    pub fn legs_bytes(&self) -> Amount {
        Amount::of(self.legs_bytes.clone())
    }

    /// Counts so many legs as kept after a break while the guard is held.
    pub fn kept(&self, legs: usize) -> Live {
        Live::of(vec![(self.legs_kept.clone(), legs as f64)])
    }

    /// Takes durations of received audio.
    pub fn audio_received(&self) -> Seconds {
        Seconds::of(self.audio_received_seconds_total.clone())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn line<'a>(text: &'a str, start: &str) -> &'a str {
        text.lines().find(|line| line.starts_with(start)).unwrap_or_else(|| panic!("no {start} in\n{text}"))
    }

    #[test]
    fn two_recorders_do_not_mix() {
        let (a, b) = (recorder(), recorder());
        let (of_a, _of_b) = (Metrics::new(&a), Metrics::new(&b));
        of_a.calls_ended_total.increment("idle");
        let (two, mut bytes_of_two) = (of_a.live(2, 4.0), of_a.legs_bytes());
        let (_three, mut bytes_of_three) = (of_a.live(3, 6.5), of_a.legs_bytes());
        bytes_of_two.set(1000.0);
        bytes_of_three.set(2000.0);
        bytes_of_three.set(3000.0);
        drop((two, bytes_of_two));
        let text = a.handle().render();
        assert_eq!(line(&text, "undertone_legs_live "), "undertone_legs_live 3");
        assert_eq!(line(&text, LOAD), "undertone_load_windows_per_second 6.5");
        assert_eq!(line(&text, LEGS_BYTES), "undertone_legs_bytes 3000");
        assert_eq!(
            line(&text, "undertone_calls_ended_total{reason=\"idle\"}"),
            "undertone_calls_ended_total{reason=\"idle\"} 1"
        );
        let text = b.handle().render();
        assert_eq!(line(&text, "undertone_legs_live "), "undertone_legs_live 0");
        assert_eq!(
            line(&text, "undertone_calls_ended_total{reason=\"idle\"}"),
            "undertone_calls_ended_total{reason=\"idle\"} 0"
        );
    }

    #[test]
    fn seconds_lose_nothing() {
        let recorder = recorder();
        let mut seconds = Metrics::new(&recorder).audio_received();
        for _ in 0..155 {
            seconds.add(Duration::from_millis(20));
        }
        seconds.add(Duration::from_secs(5));
        let text = recorder.handle().render();
        assert_eq!(line(&text, AUDIO_RECEIVED), "undertone_audio_received_seconds_total 8");
    }

    #[test]
    fn histograms_have_buckets_and_models_a_label() {
        let recorder = recorder();
        let model = ModelMetrics::new(&recorder, "m", "cpu", &["angry".to_owned()]);
        model.stages.inference.record(0.0003);
        model.confidence_ratio.record(0.45);
        model.input_level_dbfs.record(-27.5);
        model.events_total.increment(UNCERTAIN);
        let text = recorder.handle().render();
        let stage = "undertone_stage_seconds_bucket{model=\"m\",stage=\"inference\",provider=\"cpu\",le";
        assert!(line(&text, &format!("{stage}=\"0.0002\"}}")).ends_with(" 0"));
        assert!(line(&text, &format!("{stage}=\"0.0005\"}}")).ends_with(" 1"));
        assert!(line(&text, "undertone_event_confidence_ratio_bucket{model=\"m\",le=\"0.5\"}").ends_with(" 1"));
        assert!(line(&text, "undertone_input_level_dbfs_bucket{model=\"m\",le=\"-25\"}").ends_with(" 1"));
        assert!(line(&text, "undertone_events_total{model=\"m\",label=\"uncertain\"}").ends_with(" 1"));
        assert!(line(&text, "undertone_events_total{model=\"m\",label=\"angry\"}").ends_with(" 0"));
    }
}
