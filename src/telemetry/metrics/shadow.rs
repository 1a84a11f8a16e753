//! What is measured of a model that is tried beside one in service.

use metrics::{Counter, Histogram, KeyName, Label, Recorder};

use super::{METADATA, Registration, UNCERTAIN};

const WINDOWS: &str = "undertone_shadow_windows_total";
const LABELS: &str = "undertone_shadow_labels_total";
pub(super) const DIVERGENCE: &str = "undertone_shadow_divergence_bits";
pub(super) const CONFIDENCE: &str = "undertone_shadow_confidence_ratio";

/// What becomes of a shadow's windows.
pub const SHADOW_OUTCOMES: [&str; 7] = ["agreed", "differed", "unpaired", "skipped", "shed", "failed", "cancelled"];

/// 0 is the same, 1 is nothing in common.
pub(super) const DIVERGENCE_BUCKETS: [f64; 10] = [1e-6, 0.001, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0];

/// What is measured of one shadow.
#[derive(Clone)]
pub struct ShadowMetrics {
    outcomes: Vec<Counter>,
    /// The most probable labels of both.
    pairs: Vec<(String, Vec<(String, Counter)>)>,
    /// Jensen-Shannon divergence of both models' probabilities, in bits.
    pub divergence_bits: Histogram,
    /// The shadow's confidence.
    pub confidence_ratio: Histogram,
}

impl ShadowMetrics {
    /// All handles, for the model of this name in service and the shadow of this, each with its labels.
    pub fn new(
        recorder: &dyn Recorder,
        (model, labels): (&str, &[String]),
        (shadow, shadow_labels): (&str, &[String]),
    ) -> Self {
        let from = Registration { recorder, model: Some(model) };
        let named = || Label::new("shadow", shadow.to_owned());
        let counter = |name, labels: &[Label]| from.labelled_counter(name, labels);
        let histogram = |name: &'static str, help: &'static str| {
            recorder.describe_histogram(KeyName::from(name), None, help.into());
            recorder.register_histogram(&from.key(name, &[named()]), &METADATA)
        };
        recorder.describe_counter(KeyName::from(WINDOWS), None, "Windows of a shadow, by what became of them.".into());
        let both = "Windows that a model and its shadow judged, by the labels they gave.";
        recorder.describe_counter(KeyName::from(LABELS), None, both.into());
        let with_uncertain = |labels: &[String]| labels.iter().cloned().chain([UNCERTAIN.to_owned()]).collect();
        let (live, beside): (Vec<String>, Vec<String>) = (with_uncertain(labels), with_uncertain(shadow_labels));
        let pair = |live: &String, beside: &String| {
            let labels = [named(), Label::new("live_label", live.clone()), Label::new("shadow_label", beside.clone())];
            (beside.clone(), counter(LABELS, &labels))
        };
        Self {
            outcomes: SHADOW_OUTCOMES
                .map(|outcome| counter(WINDOWS, &[named(), Label::new("outcome", outcome)]))
                .into(),
            pairs: live.iter().map(|live| (live.clone(), beside.iter().map(|one| pair(live, one)).collect())).collect(),
            divergence_bits: histogram(DIVERGENCE, "How far a shadow's probabilities are from the model's."),
            confidence_ratio: histogram(CONFIDENCE, "The probability of a shadow's most probable label."),
        }
    }

    /// The counter of one of [`SHADOW_OUTCOMES`].
    ///
    /// # Panics
    /// When it is none of them.
    pub fn outcome(&self, outcome: &str) -> &Counter {
        let index = SHADOW_OUTCOMES.iter().position(|bound| *bound == outcome);
        &self.outcomes[index.expect("callers name one of the outcomes")]
    }

    /// Counts a window that both judged, by the names of the labels they gave.
    pub fn judged(&self, live: &str, shadow: &str) {
        let of_live = self.pairs.iter().find(|(label, _)| label == live);
        if let Some((_, counter)) = of_live.and_then(|(_, pairs)| pairs.iter().find(|(label, _)| label == shadow)) {
            counter.increment(1);
        }
    }
}
