//! Alert rules, as a TOML file writes them.
//!
//! ```toml
//! half_life_seconds = 4.0        # of the smoothed emotion in events
//!
//! [[rule]]
//! name = "anger"
//! emotions = ["angry"]
//! enter = 0.4
//! ```
//!
//! A key that is not known, or a value out of range, is refused with its line ([`Invalid`]). Everything else that a rule may say has a
//! default, written at its field.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use serde::{Deserialize, Deserializer};

use crate::policy::Role;

mod file;

pub use file::Invalid;

/// The rules that are on when nothing else is configured: `deploy/rules.toml`.
const SHIPPED: &str = include_str!("../../deploy/rules.toml");

/// The longest stride that a call may ask for.
pub const LONGEST_STRIDE: Duration = Duration::from_secs(5);

/// A file of rules.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rules {
    /// The half-life of the smoothed emotion that events carry, in seconds of speech. Default: 4.
    #[serde(default = "defaults::half_life_seconds")]
    pub half_life_seconds: f64,
    /// The rules, each with a name of its own.
    #[serde(rename = "rule", default, deserialize_with = "shared")]
    pub rules: Vec<Arc<Rule>>,
}

/// When an alert is told, and when it ends. Levels are smoothed probabilities; "speech" is time in which the party speaks, other
/// durations are media time, which a hold freezes.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// Names it in every alert.
    pub name: String,
    /// Told in every alert; to be raised with every change. Default: 1.
    #[serde(default = "defaults::version")]
    pub version: u32,
    /// The emotions whose probabilities are summed to the rule's level, by the model's labels.
    pub emotions: Vec<String>,
    /// Whose legs it applies to; not BOT, which is never analysed. Default: CUSTOMER.
    #[serde(default = "defaults::roles")]
    pub roles: Vec<Role>,
    /// It applies to calls that carry all of these tags. Default: to all calls.
    #[serde(default)]
    pub tags: BTreeMap<String, String>,
    /// Speech after which a window counts half in the level. Default: 4.
    #[serde(default = "defaults::half_life_seconds")]
    pub half_life_seconds: f64,
    /// Counts `enter` and `leave` from what is usual for the party: the level, averaged with this half-life of speech from 0 on, and
    /// not while an alert is open, cooling down or snoozed. At least five times `half_life_seconds`. Left out: they are counted from 0.
    #[serde(default)]
    pub usual_half_life_seconds: Option<f64>,
    /// From this level on it may fire; with `min_excess_seconds`, from this probability of a window on it adds up.
    pub enter: f64,
    /// Below this level it calms down; at most [`Rule::most_leave`]. Default: 0.6 of `enter`.
    #[serde(default)]
    pub leave: Option<f64>,
    /// Speech for which the level must stay at `enter` or above before it fires: at most 3,600, an hour. Default: 1.
    #[serde(default = "defaults::min_speech_seconds")]
    pub min_speech_seconds: f64,
    /// Adds up instead of waiting for a level that stays: each window's probability above `enter`, times its speech, less what others lack; and fires
    /// when that comes to so many seconds (certainty for two seconds, at `enter` 0.2, is 1.6), with `min_speech_seconds` and
    /// `min_windows` since it began. Left out: the level must stay at `enter` or above.
    #[serde(default)]
    pub min_excess_seconds: Option<f64>,
    /// Media time after which what was added up counts half: 5 at least. Default: 20.
    #[serde(default)]
    pub excess_half_life_seconds: Option<f64>,
    /// Windows for which it must: 1 to 7,200, an hour at the default stride. Default: 3.
    #[serde(default = "defaults::min_windows")]
    pub min_windows: u32,
    /// How long the level must stay below `leave` before the alert is resolved. Default: 10.
    #[serde(default = "defaults::keep_firing_seconds")]
    pub keep_firing_seconds: f64,
    /// How long after an alert no other is told. Default: 60.
    #[serde(default = "defaults::cool_down_seconds")]
    pub cool_down_seconds: f64,
    /// An alert that nobody acknowledged is critical when the level is still at `enter`, and at `leave`, so long after it fired. Default: 30.
    #[serde(default = "defaults::critical_after_seconds")]
    pub critical_after_seconds: f64,
    /// How long after the leg's first sample nothing is told; an hour at most. Default: 5.
    #[serde(default = "defaults::grace_seconds")]
    pub grace_seconds: f64,
}

/// What is sound for most emotions and models; `deploy/rules.toml` has what was tuned for anger and the shipped model.
mod defaults {
    use crate::policy::Role;

    pub(super) fn half_life_seconds() -> f64 {
        4.0
    }
    pub(super) fn version() -> u32 {
        1
    }
    pub(super) fn roles() -> Vec<Role> {
        vec![Role::Customer]
    }
    pub(super) fn min_speech_seconds() -> f64 {
        1.0
    }
    pub(super) fn min_windows() -> u32 {
        3
    }
    pub(super) fn keep_firing_seconds() -> f64 {
        10.0
    }
    pub(super) fn cool_down_seconds() -> f64 {
        60.0
    }
    pub(super) fn critical_after_seconds() -> f64 {
        30.0
    }
    pub(super) fn grace_seconds() -> f64 {
        5.0
    }
}

impl Rules {
    /// Reads a file's text.
    ///
    /// # Errors
    /// [`Invalid`] names the line, the key, what is wrong and what is expected.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        file::parse(text)
    }

    /// No rules: nothing is ever told.
    pub fn none() -> Self {
        Self { half_life_seconds: defaults::half_life_seconds(), rules: Vec::new() }
    }

    /// The text of the rules that are on when nothing else is configured.
    pub fn shipped_text() -> &'static str {
        SHIPPED
    }

    /// The rules that are on when nothing else is configured.
    pub fn shipped() -> Self {
        Self::parse(SHIPPED).expect("the shipped rules are valid: a test reads them")
    }

    /// Checks that every emotion is a label of one model at least, given the labels of all.
    ///
    /// # Errors
    /// The first emotion that no model knows, with the rule and the labels there are.
    pub fn check_emotions<'a>(&self, labels: impl Iterator<Item = &'a str>) -> Result<(), UnknownEmotion> {
        let mut known: Vec<&str> = labels.collect();
        known.sort_unstable();
        known.dedup();
        for rule in &self.rules {
            if let Some(emotion) = rule.emotions.iter().find(|emotion| !known.contains(&emotion.as_str())) {
                let (rule, emotion) = (rule.name.clone(), emotion.clone());
                return Err(UnknownEmotion { rule, emotion, known: known.join(", ") });
            }
        }
        Ok(())
    }
}

/// Rules as every leg holds them.
fn shared<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Arc<Rule>>, D::Error> {
    Ok(Vec::<Rule>::deserialize(deserializer)?.into_iter().map(Arc::new).collect())
}

/// A rule names what no model hears.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("rule {rule:?} names the emotion {emotion:?}, which no model in service knows; they know {known}")]
pub struct UnknownEmotion {
    /// The rule.
    pub rule: String,
    /// The emotion.
    pub emotion: String,
    /// What the models know.
    pub known: String,
}

impl Rule {
    /// The level below which it calms down.
    pub fn leave(&self) -> f64 {
        // The ratio that the starting values were measured with.
        self.leave.unwrap_or(0.6 * self.enter)
    }

    /// The highest that `leave` may be: what fires by a level that stays must not calm by the same level, and fire again. Without `min_excess_seconds`
    /// that is `enter`; with it, the lowest level that adds up to enough if it stays: above `enter` by what fades in [`LONGEST_STRIDE`] of what is
    /// needed, a second of it. In shorter strides more fades, so that it takes more to fire.
    pub fn most_leave(&self) -> f64 {
        let stride_seconds = LONGEST_STRIDE.as_secs_f64();
        let faded = 1.0 - (-stride_seconds / self.excess_half_life_seconds()).exp2();
        self.enter + self.min_excess_seconds.unwrap_or_default() * faded / stride_seconds
    }

    /// Media time after which what was added up counts half.
    pub fn excess_half_life_seconds(&self) -> f64 {
        self.excess_half_life_seconds.unwrap_or(20.0)
    }

    /// Whether it applies to a leg of this role in a call with these tags.
    pub fn applies_to(&self, role: Role, tags: &BTreeMap<String, String>) -> bool {
        self.roles.contains(&role) && self.tags.iter().all(|(key, value)| tags.get(key) == Some(value))
    }
}
