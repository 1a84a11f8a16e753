//! What is measured of one model: its windows' way, what it says, and what it is given to hear.

use metrics::{Counter, Gauge, Histogram, Label, Recorder};

use super::{Counters, Registration};

const EVENTS: &str = "undertone_events_total";
const WINDOWS: &str = "undertone_windows_total";
const QUEUE: &str = "undertone_queue_windows";
const BUFFERS: &str = "undertone_window_buffers_bytes";
const INPUT_SAMPLES: &str = "undertone_input_samples_total";
const INPUT_CLIPPED: &str = "undertone_input_clipped_samples_total";
pub(super) const BATCH: &str = "undertone_batch_windows";
pub(super) const STAGE: &str = "undertone_stage_seconds";
pub(super) const CONFIDENCE: &str = "undertone_event_confidence_ratio";
pub(super) const INPUT_LEVEL: &str = "undertone_input_level_dbfs";

/// The label of an emotion event whose confidence is too low for any of the model's.
pub const UNCERTAIN: &str = "uncertain";
/// What became of a window.
const WINDOW_OUTCOMES: [&str; 4] = ["scored", "shed", "cancelled", "failed"];
/// A window's way, in order.
pub const STAGES: [&str; 6] = ["decode", "features", "queue", "batch", "inference", "decision"];

/// Powers of two, as batches are commonly set.
pub(super) const BATCH_BUCKETS: [f64; 7] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0];
/// From a few µs, which half a second takes to decode, to waits that overload makes. A window of the thesis's network takes 0.15 ms, a
/// full batch about 1.4 ms (ONNX Runtime, one core); what waits for others does so for 20 ms at most.
pub(super) const STAGE_BUCKETS: [f64; 14] =
    [5e-6, 2e-5, 5e-5, 0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.2, 1.0];
/// Tenths; a model of six labels is never below a sixth.
pub(super) const CONFIDENCE_BUCKETS: [f64; 9] = [0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0];
/// Speech on telephone lines lies about -19 to -35 dBFS (ITU-T P.56 levels of -26 dBov are nominal); below -60 it is silence.
pub(super) const INPUT_LEVEL_BUCKETS: [f64; 13] =
    [-99.0, -70.0, -60.0, -50.0, -45.0, -40.0, -35.0, -30.0, -25.0, -20.0, -15.0, -10.0, -5.0];

/// What is measured of one model. Made once a model in service, and anew where one of its name is to take its place, or might have.
pub struct ModelMetrics {
    /// Emotion events by the model's labels and [`UNCERTAIN`].
    pub events_total: Counters,
    /// The probability of the most probable label, once an emotion event.
    pub confidence_ratio: Histogram,
    /// What each of [`STAGES`] takes.
    pub stages: Stages,
    /// Level of half a second of a leg. dBFS.
    pub input_level_dbfs: Histogram,
    /// Samples whose level was measured.
    pub input_samples_total: Counter,
    /// Those of them that are as large as the encoding can write.
    pub input_clipped_total: Counter,
    /// Windows that wait.
    pub queue_windows: Gauge,
    /// Memory of windows: of those that wait and are run, and kept for those to come.
    pub buffer_bytes: Gauge,
    /// Windows in a batch.
    pub batch_windows: Histogram,
    /// Windows answered with logits.
    pub scored_total: Counter,
    /// Windows given up for fresher ones.
    pub shed_total: Counter,
    /// Windows whose call had gone before they were run.
    pub cancelled_total: Counter,
    /// Windows answered with a failure.
    pub failed_total: Counter,
}

/// What each of [`STAGES`] takes, in seconds.
pub struct Stages {
    /// Half a second of a call, from bytes to samples.
    pub decode: Histogram,
    /// Half a second of a call, from samples to windows.
    pub features: Histogram,
    /// From the handing in of a window until it is taken into a batch.
    pub queue: Histogram,
    /// Gathering the windows of a batch into one tensor.
    pub batch: Histogram,
    /// A batch's run.
    pub inference: Histogram,
    /// From a window's logits to what is told of it.
    pub decision: Histogram,
}

impl ModelMetrics {
    /// All handles for the model of this name that runs on this provider, one of [`super::PROVIDERS`], with these labels.
    pub fn new(recorder: &dyn Recorder, name: &str, provider: &'static str, labels: &[String]) -> Self {
        let from = Registration { recorder, model: Some(name) };
        let labels: Vec<&str> = labels.iter().map(String::as_str).chain([UNCERTAIN]).collect();
        let window = |outcome| from.labelled_counter(WINDOWS, &[Label::new("outcome", outcome)]);
        from.recorder.describe_counter(WINDOWS.into(), None, "Windows, by what became of them.".into());
        let [scored_total, shed_total, cancelled_total, failed_total] = WINDOW_OUTCOMES.map(window);
        let stages = STAGES.map(|stage| [Label::new("stage", stage), Label::new("provider", provider)]);
        let [decode, features, queue, batch, inference, decision] =
            from.histograms(STAGE, "Time that a stage of a window's way takes.", stages);
        Self {
            events_total: from.counters(EVENTS, "Emotion events.", "label", &labels),
            confidence_ratio: from.histogram(CONFIDENCE, "The probability of an emotion event's most probable label."),
            stages: Stages { decode, features, queue, batch, inference, decision },
            input_level_dbfs: from.histogram(INPUT_LEVEL, "Level of half a second of a leg that is listened to."),
            input_samples_total: from.counter(INPUT_SAMPLES, "Samples whose level was measured."),
            input_clipped_total: from
                .counter(INPUT_CLIPPED, "Samples as large as their encoding can write: the line clips."),
            queue_windows: from.shared_gauge(QUEUE, "Windows that wait for the model."),
            buffer_bytes: from
                .shared_gauge(BUFFERS, "Memory of windows that wait and are run, and kept for those to come."),
            batch_windows: from.histogram(BATCH, "Windows in a batch."),
            scored_total,
            shed_total,
            cancelled_total,
            failed_total,
        }
    }
}
