//! What is kept of a leg of a call. Positions are samples at the client's rate.

use std::{collections::BTreeMap, time::SystemTime};

use serde::{Deserialize, Serialize};
use uuid::Uuid;
use zeroize::{Zeroize as _, ZeroizeOnDrop};

use crate::{
    call::EndReason,
    features::NotScored,
    journal::written::{id, millis},
    policy::Role,
};

/// A leg of a call that was taken.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Began {
    /// Names the call's stream in logs.
    #[serde(with = "id")]
    pub session_id: Uuid,
    /// Who speaks.
    pub role: Role,
    /// Whether it is analysed.
    pub analysed: bool,
    /// The call's labels.
    #[serde(default)]
    pub tags: BTreeMap<String, String>,
    /// Samples a second and channel.
    pub sample_rate_hz: u32,
    /// The model that scores it.
    pub model: String,
    /// SHA-256 of that model's file.
    pub sha256: String,
}

/// A leg in all. Positions are samples at the client's rate.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Ended {
    /// Names the call's stream in logs.
    #[serde(with = "id")]
    pub session_id: Uuid,
    /// Who spoke.
    pub role: Role,
    /// When the leg began.
    #[serde(with = "millis")]
    pub began_at: SystemTime,
    /// Why it ended.
    pub reason: EndReason,
    /// Samples a second.
    pub sample_rate_hz: u32,
    /// Samples received, dropped ones included.
    pub received_samples: u64,
    /// Samples not analysed.
    pub dropped_samples: u64,
    /// Samples that never came and were heard as silence.
    #[serde(default)]
    pub filled_samples: u64,
    /// How much of it was speech.
    pub speech_seconds: f64,
    /// Windows that were scored.
    pub scored_windows: u64,
    /// Windows given up because the server had more to do than it could.
    pub shed_windows: u64,
    /// Strides at which nothing was scored, by reason.
    #[serde(default)]
    pub not_scored: BTreeMap<NotScored, u64>,
    /// What was heard, a row a label of the model; empty when nothing was scored.
    #[serde(default)]
    pub shares: Vec<EmotionShare>,
    /// Alerts that fired.
    #[serde(default)]
    pub alerts: u64,
    /// The model that scored it.
    pub model: String,
    /// What the client was told to know.
    #[serde(default)]
    pub warnings: Vec<String>,
    /// The call's labels.
    #[serde(default)]
    pub tags: BTreeMap<String, String>,
}

/// How much of a leg a label took. Wiped when dropped.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EmotionShare {
    /// One of the model's labels.
    pub label: String,
    /// Its mean probability over speech time.
    pub share: f32,
    /// Its highest probability.
    pub peak: f32,
    /// End of the window in which it was highest.
    pub peak_end_samples: u64,
    /// Its mean over the last quarter less that over the rest; nothing for too little speech.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trend: Option<f32>,
}

/// How a leg went over a while, a point a few seconds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Timeline {
    /// Samples a second, of the points' positions.
    pub sample_rate_hz: u32,
    /// The model's labels, in the order of every point's probabilities.
    pub labels: Vec<String>,
    /// The points, in order.
    pub points: Vec<TimelinePoint>,
}

/// A few seconds of a leg. Positions are samples from its begin. What was heard is wiped when it is dropped.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TimelinePoint {
    /// Where it begins.
    pub start_samples: u64,
    /// Where it ends.
    pub end_samples: u64,
    /// Part of it that was speech, 0 to 1.
    pub speech_ratio: f32,
    /// Windows that were scored.
    pub scored_windows: u32,
    /// Smoothed probability of each label at its end, to three decimals; empty before anything was scored.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub probabilities: Vec<f32>,
    /// Why nothing was scored, most often, where that is what happened most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_scored: Option<NotScored>,
}

impl ZeroizeOnDrop for EmotionShare {}

impl Drop for EmotionShare {
    fn drop(&mut self) {
        self.share.zeroize();
        self.peak.zeroize();
        self.trend.zeroize();
    }
}

impl ZeroizeOnDrop for TimelinePoint {}

impl Drop for TimelinePoint {
    fn drop(&mut self) {
        self.probabilities.zeroize();
    }
}
