//! What an alert is: a change of state under a rule, with its evidence.

use std::{sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};
use zeroize::{Zeroize as _, ZeroizeOnDrop};

use super::rules::Rule;

/// Where a rule stands on a leg.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum State {
    /// Nothing to tell.
    Inactive,
    /// The level is there, but not for long enough. Never told as an alert.
    Pending,
    /// Told, and nobody has answered.
    Firing,
    /// Somebody has taken it over.
    Acknowledged,
    /// Somebody wants to hear no more of it for a while.
    Snoozed,
    /// Over.
    Resolved,
}

/// How pressing an alert is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Severity {
    /// As it begins.
    Warning,
    /// It lasts.
    Critical,
}

/// Why an alert changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Reason {
    /// The level was high for long enough.
    Rose,
    /// It stayed high.
    Lasted,
    /// Somebody acknowledged it.
    Acknowledged,
    /// Somebody snoozed it.
    Snoozed,
    /// The snooze is over, and the alert is not.
    SnoozeEnded,
    /// The level was low for long enough.
    Calmed,
    /// The call ended.
    CallEnded,
    /// Consent was withdrawn.
    ConsentWithdrawn,
    /// The rule was removed, or looks at something else now.
    RuleChanged,
}

/// Who did something to an alert, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attribution {
    /// Who.
    pub actor: String,
    /// Why, in words.
    pub reason: String,
}

/// Leave to stay silent for a while.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snooze {
    /// How long it was asked for.
    pub duration: Duration,
    /// By whom.
    pub by: Attribution,
}

/// One change of an alert. Positions are counted from the leg's first sample.
#[derive(Debug, Clone, PartialEq)]
pub struct Alert {
    /// Counts the leg's alerts from 1; all changes of one alert share it.
    pub number: u64,
    /// Counts this alert's changes from 1, its first firing.
    pub revision: u32,
    /// The rule it fired under.
    pub rule: Arc<Rule>,
    /// Where it stands now.
    pub state: State,
    /// How pressing it is.
    pub severity: Severity,
    /// Why it changed.
    pub reason: Reason,
    /// Position at which it fired.
    pub fired_at: Duration,
    /// Position of this change.
    pub at: Duration,
    /// Who acknowledged or snoozed it, where that is the change.
    pub by: Option<Attribution>,
    /// How long it is snoozed from this change on, where that is the change.
    pub snoozed_for: Option<Duration>,
    /// What it rests on; after withdrawn consent without scores.
    pub evidence: Evidence,
}

/// What an alert rests on: all windows since its rule's level was first high. Its scores are wiped when it is dropped.
#[derive(Debug, Clone, PartialEq)]
pub struct Evidence {
    /// Where the first window begins.
    pub start: Duration,
    /// Where the last ends.
    pub end: Duration,
    /// Windows that were scored.
    pub windows: u32,
    /// Speech that they add to those before.
    pub speech: Duration,
    /// Part of a window that was speech, 0 to 1: the mean over the windows.
    pub speech_ratio: f32,
    /// The smoothed probability of the rule's emotions, summed, now.
    pub level: f32,
    /// The level from which the rule counts, where it fired: what is usual for the party; 0 for a rule that counts from none.
    pub usual: f32,
    /// The highest it was.
    pub peak: f32,
    /// End of the window at which it was highest.
    pub peak_at: Duration,
    /// The smoothed probability of every label, now; in the model's order.
    pub scores: Vec<f32>,
    /// Signal to noise, where it was measured: the mean over the windows. dB.
    pub snr_db: Option<f32>,
}

impl Evidence {
    /// Leaves nothing of what was heard.
    pub fn forget(&mut self) {
        self.scores.zeroize();
        (self.level, self.usual, self.peak, self.snr_db) = (0.0, 0.0, 0.0, None);
    }
}

impl ZeroizeOnDrop for Evidence {}

impl Drop for Evidence {
    fn drop(&mut self) {
        self.forget();
    }
}

impl State {
    /// As the API and score replays write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Inactive => "INACTIVE",
            Self::Pending => "PENDING",
            Self::Firing => "FIRING",
            Self::Acknowledged => "ACKNOWLEDGED",
            Self::Snoozed => "SNOOZED",
            Self::Resolved => "RESOLVED",
        }
    }
}

impl Reason {
    /// As the API and score replays write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Rose => "ROSE",
            Self::Lasted => "LASTED",
            Self::Acknowledged => "ACKNOWLEDGED",
            Self::Snoozed => "SNOOZED",
            Self::SnoozeEnded => "SNOOZE_ENDED",
            Self::Calmed => "CALMED",
            Self::CallEnded => "CALL_ENDED",
            Self::ConsentWithdrawn => "CONSENT_WITHDRAWN",
            Self::RuleChanged => "RULE_CHANGED",
        }
    }
}

impl Severity {
    /// As the API writes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Warning => "WARNING",
            Self::Critical => "CRITICAL",
        }
    }
}
