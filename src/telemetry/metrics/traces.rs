//! What is measured of the spans that a collector is told.

use metrics::Recorder;

use super::{Counters, Registration};

const SPANS: &str = "undertone_spans_total";

/// What became of a span: the collector took it, or did not; or it found the queue full.
pub const SPAN_RESULTS: [&str; 3] = ["exported", "failed", "dropped"];

/// What is measured of spans. Made once a server.
#[derive(Clone)]
pub struct TraceMetrics {
    spans_total: Counters,
}

impl TraceMetrics {
    /// All handles, from this recorder.
    pub fn new(recorder: &dyn Recorder) -> Self {
        let from = Registration { recorder, model: None };
        let help = "Spans for the collector, by what became of them.";
        Self { spans_total: from.counters(SPANS, help, "result", &SPAN_RESULTS) }
    }

    /// The collector took so many.
    pub fn exported(&self, spans: u64) {
        self.spans_total.add("exported", spans);
    }

    /// The collector did not take so many.
    pub fn failed(&self, spans: u64) {
        self.spans_total.add("failed", spans);
    }

    /// So many found the queue full.
    pub fn dropped(&self, spans: u64) {
        self.spans_total.add("dropped", spans);
    }
}
