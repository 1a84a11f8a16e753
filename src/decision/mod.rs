//! From logits to a judgement, and from judgements to alerts. Pure.
//!
//! | module | what it does |
//! |---|---|
//! | here | logits → calibrated probabilities → a label, or none |
//! | [`smooth`] | probabilities → their average over speech time |
//! | [`rules`] | when an alert is told: a file of rules, read and validated |
//! | [`alert`] | what an alert is, with its evidence |
//! | [`Decider`] | a leg's windows in order → smoothed emotion, alerts, [`Tally`] |
//! | [`scores`] | recorded scores, and what rules make of them |
//! | [`position`] | samples as time, and back |
//!
//! Logits are divided by the model's temperature, then go through the softmax; the most probable label is told unless its
//! probability is below the model's threshold, when the judgement is "uncertain" (`label: None`).

use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, ZeroizeOnDrop};

pub mod alert;
mod decider;
pub mod position;
pub mod rules;
pub mod scores;
pub mod smooth;
mod tally;
mod tracker;
mod trend;
mod words;

pub use alert::Alert;
pub use decider::{Decider, NotOpen, Observation, Options};
pub use rules::{LONGEST_STRIDE, Rule, Rules};
pub use tally::{Share, Tally};

/// How sure a model may be said to be.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Calibration {
    /// Logits are divided by it before the softmax. Positive.
    pub temperature: f32,
    /// Below this confidence the label is uncertain. At least 0, less than 1.
    pub uncertain_below: f32,
}

/// What is thought of one window, or of several. Wiped when dropped.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Judgement {
    /// Calibrated, one a label; they sum to 1.
    pub probabilities: Vec<f32>,
    /// The most probable label, or `None` where it is uncertain.
    pub label: Option<usize>,
    /// The probability of the most probable label.
    pub confidence: f32,
}

/// What is wrong with a calibration.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
pub enum Invalid {
    /// The softmax needs a positive temperature.
    #[error("calibration.temperature is {0}, expected a positive number; 1 leaves the logits as they are")]
    Temperature(f32),
    /// A threshold that no confidence, or every one, falls below.
    #[error("calibration.uncertain_below is {0}, expected at least 0 and less than 1; 0 never says uncertain")]
    UncertainBelow(f32),
}

impl Calibration {
    /// Whether it can be judged by.
    pub fn validate(&self) -> Result<(), Invalid> {
        if !(self.temperature.is_finite() && self.temperature > 0.0) {
            return Err(Invalid::Temperature(self.temperature));
        }
        if !(0.0..1.0).contains(&self.uncertain_below) {
            return Err(Invalid::UncertainBelow(self.uncertain_below));
        }
        Ok(())
    }

    /// The calibrated probabilities of one row of finite logits, and what to think of them.
    pub fn judge(&self, logits: &[f32]) -> Judgement {
        self.judge_probabilities(softmax(logits, self.temperature))
    }

    /// What to think of probabilities that are calibrated already. Of equal ones the first label wins.
    pub fn judge_probabilities(&self, probabilities: Vec<f32>) -> Judgement {
        let mut best = None;
        let mut confidence = 0.0;
        for (label, &probability) in probabilities.iter().enumerate() {
            if best.is_none() || probability > confidence {
                (best, confidence) = (Some(label), probability);
            }
        }
        // Written so that a confidence which is not a number counts as uncertain.
        let label = best.filter(|_| confidence >= self.uncertain_below);
        Judgement { probabilities, label, confidence }
    }
}

impl Zeroize for Judgement {
    fn zeroize(&mut self) {
        self.probabilities.zeroize();
        self.label = None;
        self.confidence.zeroize();
    }
}

impl Judgement {
    /// The probabilities alone, for whoever keeps them.
    pub fn into_probabilities(mut self) -> Vec<f32> {
        std::mem::take(&mut self.probabilities)
    }
}

impl ZeroizeOnDrop for Judgement {}

impl Drop for Judgement {
    fn drop(&mut self) {
        self.zeroize();
    }
}

/// The largest exponent is 0, so that nothing overflows; double precision, so that the sum is 1 to the last bit of the result.
fn softmax(logits: &[f32], temperature: f32) -> Vec<f32> {
    let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let powers: Vec<f64> =
        logits.iter().map(|&logit| ((f64::from(logit) - f64::from(largest)) / f64::from(temperature)).exp()).collect();
    let sum: f64 = powers.iter().sum();
    powers.into_iter().map(|power| (power / sum) as f32).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PLAIN: Calibration = Calibration { temperature: 1.0, uncertain_below: 0.0 };

    #[test]
    fn agrees_with_the_softmax_worked_by_hand() {
        let judgement = PLAIN.judge(&[2.0_f32.ln(), 0.0, 1.0_f32.ln()]);
        for (actual, expected) in judgement.probabilities.iter().zip([0.5, 0.25, 0.25]) {
            assert!((actual - expected).abs() < 1e-7, "{actual} is not {expected}");
        }
        assert_eq!(judgement.label, Some(0));
        assert_eq!(judgement.confidence, judgement.probabilities[0]);
    }

    #[test]
    fn temperature_flattens_and_keeps_the_order() {
        let logits = [3.0, 1.0, 0.0];
        let cool = PLAIN.judge(&logits);
        let warm = Calibration { temperature: 2.0, ..PLAIN }.judge(&logits);
        assert!(warm.confidence < cool.confidence);
        assert_eq!(warm.label, cool.label);
        // exp(1.5), exp(0.5), exp(0) over their sum
        assert!((warm.confidence - 0.628_531_7).abs() < 1e-6, "{}", warm.confidence);
    }

    #[test]
    fn uncertain_strictly_below_the_threshold() {
        let calibration = Calibration { temperature: 1.0, uncertain_below: 0.5 };
        assert_eq!(calibration.judge_probabilities(vec![0.5, 0.3, 0.2]).label, Some(0));
        let judgement = calibration.judge_probabilities(vec![0.3, 0.49, 0.21]);
        assert_eq!((judgement.label, judgement.confidence), (None, 0.49));
        assert_eq!(calibration.judge_probabilities(vec![f32::NAN, f32::NAN]).label, None);
        assert_eq!(PLAIN.judge(&[]).label, None);
    }

    #[test]
    fn a_judgement_is_wiped() {
        let mut judgement = PLAIN.judge(&[1.0, 3.0]);
        judgement.zeroize();
        assert_eq!((judgement.probabilities.len(), judgement.label, judgement.confidence), (0, None, 0.0));
    }

    #[test]
    fn of_equal_probabilities_the_first_wins() {
        assert_eq!(PLAIN.judge(&[1.0, 1.0]).label, Some(0));
    }

    #[test]
    fn refuses_values_that_cannot_be_judged_by() {
        for temperature in [0.0, -1.0, f32::NAN, f32::INFINITY] {
            let invalid = Calibration { temperature, ..PLAIN }.validate().unwrap_err();
            assert!(matches!(invalid, Invalid::Temperature(_)), "{invalid}");
        }
        for uncertain_below in [-0.1, 1.0, f32::NAN] {
            let invalid = Calibration { uncertain_below, ..PLAIN }.validate().unwrap_err();
            assert!(matches!(invalid, Invalid::UncertainBelow(_)), "{invalid}");
        }
        assert_eq!(PLAIN.validate(), Ok(()));
    }

    proptest! {
        #[test]
        fn sums_to_one_for_any_finite_logits(
            logits in prop::collection::vec(-3e38_f32..3e38, 1..9), temperature in 0.01_f32..100.0
        ) {
            let judgement = Calibration { temperature, ..PLAIN }.judge(&logits);
            let sum: f32 = judgement.probabilities.iter().sum();
            prop_assert!((sum - 1.0).abs() < 1e-5, "the sum is {}", sum);
            let label = judgement.label.unwrap();
            prop_assert!(logits.iter().all(|&logit| logit <= logits[label]));
        }

        #[test]
        fn does_not_change_when_all_logits_rise(logits in prop::collection::vec(-20.0_f32..20.0, 6), rise in -100.0_f32..100.0) {
            let raised: Vec<f32> = logits.iter().map(|logit| logit + rise).collect();
            let (plain, raised) = (PLAIN.judge(&logits), PLAIN.judge(&raised));
            for (a, b) in plain.probabilities.iter().zip(&raised.probabilities) {
                prop_assert!((a - b).abs() < 1e-4);
            }
        }
    }
}
