//! How alike two models judge.

use std::collections::BTreeMap;

use crate::{decision::Judgement, model::Manifest};

/// What two models made of the same window.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Comparison<'a> {
    /// The label of the model in service, or [`crate::model::manifest::UNCERTAIN`].
    pub(super) live_label: &'a str,
    /// The label of its shadow.
    pub(super) shadow_label: &'a str,
    /// Jensen-Shannon divergence of their probabilities: 0 for the same, 1 for nothing in common.
    pub(super) divergence_bits: f64,
}

impl<'a> Comparison<'a> {
    /// By the names of the labels, which each model may have in an order of its own; one that a model does not know it holds for
    /// impossible.
    pub(super) fn of(live: (&'a Manifest, &Judgement), shadow: (&'a Manifest, &Judgement)) -> Self {
        let mut probabilities: BTreeMap<&str, [f64; 2]> = BTreeMap::new();
        for (side, (manifest, judgement)) in [live, shadow].into_iter().enumerate() {
            for (label, probability) in manifest.labels.iter().zip(&judgement.probabilities) {
                probabilities.entry(label).or_default()[side] = f64::from(*probability);
            }
        }
        let divergence: f64 = probabilities.into_values().map(part).sum();
        let [live_label, shadow_label] =
            [live, shadow].map(|(manifest, judgement)| manifest.label_name(judgement.label));
        Self { live_label, shadow_label, divergence_bits: divergence.clamp(0.0, 1.0) }
    }

    /// Whether both gave the same label, [`crate::model::manifest::UNCERTAIN`] included.
    pub(super) fn agrees(&self) -> bool {
        self.live_label == self.shadow_label
    }
}

/// One label's part of the divergence.
fn part([live, shadow]: [f64; 2]) -> f64 {
    let middle = f64::midpoint(live, shadow);
    let to_middle =
        |probability: f64| if probability > 0.0 { probability * (probability / middle).log2() } else { 0.0 };
    f64::midpoint(to_middle(live), to_middle(shadow))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{manifest::UNCERTAIN, tiny};

    fn judged(labels: &[&str], probabilities: &[f32], uncertain_below: f32) -> (Manifest, Judgement) {
        let mut manifest = tiny::manifest(b"");
        manifest.labels = labels.iter().map(|label| (*label).to_owned()).collect();
        manifest.calibration.uncertain_below = uncertain_below;
        let judgement = manifest.calibration.judge_probabilities(probabilities.to_vec());
        (manifest, judgement)
    }

    #[test]
    fn the_same_is_0_apart_whatever_the_order_of_the_labels() {
        let live = judged(&["angry", "sad"], &[0.7, 0.3], 0.0);
        let shadow = judged(&["sad", "angry"], &[0.3, 0.7], 0.0);
        let comparison = Comparison::of((&live.0, &live.1), (&shadow.0, &shadow.1));
        assert!(comparison.agrees() && comparison.divergence_bits < 1e-12, "{comparison:?}");
        assert_eq!(comparison.shadow_label, "angry");
    }

    #[test]
    fn nothing_in_common_is_1_apart() {
        let (live, shadow) = (judged(&["angry"], &[1.0], 0.0), judged(&["calm"], &[1.0], 0.0));
        let comparison = Comparison::of((&live.0, &live.1), (&shadow.0, &shadow.1));
        assert_eq!((comparison.agrees(), comparison.divergence_bits), (false, 1.0));
    }

    #[test]
    fn agrees_with_the_divergence_worked_by_hand() {
        let labels = ["a", "b"];
        let (live, shadow) = (judged(&labels, &[0.75, 0.25], 0.0), judged(&labels, &[0.25, 0.75], 0.8));
        let comparison = Comparison::of((&live.0, &live.1), (&shadow.0, &shadow.1));
        // 0.75·log2(0.75 / 0.5) + 0.25·log2(0.25 / 0.5), for either of them.
        assert!((comparison.divergence_bits - 0.188_721_875_5).abs() < 1e-9, "{comparison:?}");
        assert_eq!((comparison.live_label, comparison.shadow_label), ("a", UNCERTAIN));
        assert!(!comparison.agrees());
    }
}
