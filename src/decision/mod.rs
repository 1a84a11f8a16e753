//! From logits to a judgement. Pure.

use serde::{Deserialize, Serialize};

/// How sure a model may be said to be.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Calibration {
    /// Logits are divided by it before the softmax.
    pub temperature: f32,
    /// Below this confidence the label is uncertain.
    pub uncertain_below: f32,
}

/// What is thought of one window, or of several.
#[derive(Debug, Clone, PartialEq)]
pub struct Judgement {
    /// Calibrated, one a label; they sum to 1.
    pub probabilities: Vec<f32>,
    /// The most probable label, or `None` where it is uncertain.
    pub label: Option<usize>,
    /// The probability of the most probable label.
    pub confidence: f32,
}

impl Calibration {
    /// The calibrated probabilities of one row of logits, and what to think of them.
    pub fn judge(&self, _logits: &[f32]) -> Judgement {
        todo!()
    }

    /// What to think of probabilities that are calibrated already.
    pub fn judge_probabilities(&self, _probabilities: Vec<f32>) -> Judgement {
        todo!()
    }
}
