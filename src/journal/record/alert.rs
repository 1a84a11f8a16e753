//! What is kept of an alert.

use std::{collections::BTreeMap, time::SystemTime};

use serde::{Deserialize, Serialize};
use zeroize::{Zeroize as _, ZeroizeOnDrop};

use crate::{
    decision::alert::{Reason, Severity, State},
    journal::written::maybe_millis,
    policy::Role,
};

/// Where a change stands among those of its alert, the later the greater, in whatever order they were stored: one that could not be stored
/// may be stored behind what came after it. Nothing comes after the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    over: bool,
    revision: u32,
}

/// One change of an alert's state. Positions are samples at the client's rate.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Alert {
    /// The alert, the same over all its changes.
    pub alert_id: String,
    /// Counts its changes from 1.
    pub revision: u32,
    /// The rule's name.
    pub rule: String,
    /// The rule's version.
    pub rule_version: u32,
    /// Who speaks on the leg.
    pub role: Role,
    /// The call's labels.
    #[serde(default)]
    pub tags: BTreeMap<String, String>,
    /// How it stands now.
    pub state: State,
    /// How pressing it is.
    pub severity: Severity,
    /// Why it changed.
    pub reason: Reason,
    /// Samples a second, of all positions.
    pub sample_rate_hz: u32,
    /// Where it fired.
    pub fired_samples: u64,
    /// Where it changed.
    pub changed_samples: u64,
    /// Who changed it, where somebody did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub actor: Option<String>,
    /// Why, in that person's words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub actor_reason: Option<String>,
    /// Until when it is snoozed, where that is the change.
    #[serde(default, with = "maybe_millis", skip_serializing_if = "Option::is_none")]
    pub snoozed_until: Option<SystemTime>,
    /// What it rests on.
    pub evidence: Evidence,
}

impl Alert {
    /// The place of this change among those of the same alert.
    pub fn place(&self) -> Place {
        Place { over: self.state == State::Resolved, revision: self.revision }
    }
}

/// What an alert rests on: all windows since its rule's level was first high. Without scores once consent is withdrawn.
/// What was heard is wiped when it is dropped.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Evidence {
    /// First sample of the first window.
    pub start_samples: u64,
    /// One past the last sample of the last.
    pub end_samples: u64,
    /// Windows that were scored.
    pub windows: u32,
    /// Speech that they add to what was heard before.
    pub speech_seconds: f64,
    /// Part of a window that was speech, 0 to 1: the mean over the windows.
    pub speech_ratio: f32,
    /// The smoothed probability of the rule's emotions, summed, now.
    pub level: f32,
    /// The level from which the rule counts: what is usual for the party. 0 for a rule that counts from none.
    #[serde(default)]
    pub usual: f32,
    /// The highest it was.
    pub peak: f32,
    /// End of the window at which it was highest.
    pub peak_end_samples: u64,
    /// The smoothed probability of each label, in the model's order.
    pub scores: Vec<(String, f32)>,
    /// Speech over noise, where it was measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snr_db: Option<f32>,
    /// The model that scored it.
    pub model: String,
    /// SHA-256 of that model's file.
    pub sha256: String,
}

impl ZeroizeOnDrop for Evidence {}

impl Drop for Evidence {
    fn drop(&mut self) {
        self.scores.iter_mut().for_each(|(_, score)| score.zeroize());
        self.level.zeroize();
        self.usual.zeroize();
        self.peak.zeroize();
    }
}
