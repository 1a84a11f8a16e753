//! What is counted of what a call tells.

use super::Engine;
use crate::{
    call::{Event, Warning},
    features::NotScored,
    telemetry::{Metrics, metrics},
};

/// Counts a decision.
pub(super) fn event(event: &Event, engine: &Engine, metrics: &Metrics) {
    match &event.outcome {
        Ok(judgement) => {
            let label = judgement.label.map_or(metrics::UNCERTAIN, |label| &engine.model.manifest.labels[label]);
            engine.metrics.events_total.increment(label);
            engine.metrics.confidence_ratio.record(judgement.confidence);
            metrics.processing_latency_seconds.record(event.processing_latency.as_secs_f64());
        }
        Err(reason) => metrics.not_scored_total.increment(not_scored(*reason)),
    }
}

/// Counts a warning, and logs it.
pub(super) fn warning(warning: Warning, metrics: &Metrics) {
    let Warning::Mislabelled { label, looks_like } = warning;
    metrics.mislabelled_calls_total.increment(looks_like.as_str());
    let (label, looks_like) = (label.as_str(), looks_like.as_str());
    tracing::warn!(label, looks_like, "the audio is not written as its call says");
}

/// As metrics name it.
pub(super) fn not_scored(reason: NotScored) -> &'static str {
    match reason {
        NotScored::Silence => "SILENCE",
        NotScored::Noise => "NOISE",
        NotScored::Tone => "TONE",
        NotScored::Music => "MUSIC",
        NotScored::OnHold => "ON_HOLD",
        NotScored::TooShort => "TOO_SHORT",
        NotScored::LowSnr => "LOW_SNR",
        NotScored::Gap => "GAP",
        NotScored::NotPermitted => "NOT_PERMITTED",
        NotScored::ConsentWithdrawn => "CONSENT_WITHDRAWN",
        NotScored::Overloaded => "OVERLOADED",
        NotScored::Failed => "FAILED",
    }
}
