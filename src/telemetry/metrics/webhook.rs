//! What is measured of the posts of alerts.

use metrics::{Counter, Gauge, Recorder};

use super::{Counters, Registration};

const POSTS: &str = "undertone_webhook_posts_total";
const RETRIES: &str = "undertone_webhook_retries_total";
const LAG: &str = "undertone_webhook_lag_seconds";

/// What became of a change of an alert that was to be posted: the receiver took it; it answered that it never will; it could not be
/// reached for too long; it was deleted from the journal meanwhile. "missed": some came and went while nothing keeps them, how many is
/// not known.
pub const POSTS_RESULTS: [&str; 5] = ["delivered", "refused", "given_up", "purged", "missed"];

/// What is measured of a server's posts, all receivers together. Made once a server.
#[derive(Clone)]
pub struct WebhookMetrics {
    /// Changes of alerts, once a receiver, by [`POSTS_RESULTS`].
    pub posts_total: Counters,
    /// Posts that failed and are made again.
    pub retries_total: Counter,
    /// Age of the oldest change that waits to be posted.
    pub lag_seconds: Gauge,
}

impl WebhookMetrics {
    /// All handles, from this recorder.
    pub fn new(recorder: &dyn Recorder) -> Self {
        let from = Registration { recorder, model: None };
        Self {
            posts_total: from.counters(
                POSTS,
                "Changes of alerts, by what became of their posts.",
                "result",
                &POSTS_RESULTS,
            ),
            retries_total: from.counter(RETRIES, "Posts of alerts that failed and are made again."),
            lag_seconds: from.gauge(LAG, "Age of the oldest change of an alert that waits to be posted."),
        }
    }
}
