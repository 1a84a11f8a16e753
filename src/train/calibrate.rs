//! How sure the model may be said to be: a temperature and a threshold, both from the validation actors' windows.

use crate::{
    decision::Calibration,
    evaluate::metrics::{Scored, Scores},
};

/// Temperatures searched between: beyond them a model is no better than a coin or an oracle.
const TEMPERATURES: (f64, f64) = (0.05, 20.0);
/// Steps of the golden-section search: the interval shrinks to a 10⁻⁸th.
const STEPS: usize = 40;
/// Threshold's steps.
const STEP: f32 = 0.01;

/// When a label is to be given.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Wanted {
    /// Part of the windows with a label that shall be right. The labels themselves are noisy: people tell 44.6 % of CREMA-D's clips.
    pub(super) accuracy: f64,
    /// Part of the windows that keeps a label in any case: a service that is mostly silent serves nobody.
    pub(super) coverage: f64,
}

/// Fits both on logits `[window, label]`.
pub(super) fn fit(logits: &[f32], labels: &[usize], wanted: Wanted) -> Calibration {
    let rows = logits.len() / labels.len();
    let temperature = temperature(logits, labels, rows);
    let calibration = Calibration { temperature, uncertain_below: 0.0 };
    let judged: Vec<(f32, bool)> = logits
        .chunks_exact(rows)
        .zip(labels)
        .map(|(row, &label)| {
            let judgement = calibration.judge(row);
            (judgement.confidence, judgement.label == Some(label))
        })
        .collect();
    Calibration { temperature, uncertain_below: threshold(&judged, wanted) }
}

/// The figures of logits `[window, label]`, calibrated.
pub(super) fn scores(calibration: Calibration, logits: &[f32], labels: &[usize], names: &[String]) -> Option<Scores> {
    let scored: Vec<Scored> = logits
        .chunks_exact(names.len())
        .zip(labels)
        .map(|(row, &label)| Scored {
            actor: String::new(),
            label,
            probabilities: calibration.judge(row).into_probabilities(),
        })
        .collect();
    Scores::of(&scored, names)
}

/// The temperature with the least cross-entropy (Guo et al., 2017), by golden section over its logarithm: it has one minimum.
#[expect(clippy::cast_possible_truncation, reason = "a temperature needs no more than single precision")]
fn temperature(logits: &[f32], labels: &[usize], rows: usize) -> f32 {
    let loss = |log: f64| -> f64 {
        let scale = (-log).exp();
        let row_loss = |(row, &label): (&[f32], &usize)| {
            let scaled = || row.iter().map(|&z| f64::from(z) * scale);
            let largest = scaled().fold(f64::NEG_INFINITY, f64::max);
            largest + scaled().map(|z| (z - largest).exp()).sum::<f64>().ln() - f64::from(row[label]) * scale
        };
        logits.chunks_exact(rows).zip(labels).map(row_loss).sum()
    };
    let ratio = (5.0_f64.sqrt() - 1.0) / 2.0;
    let (mut low, mut high) = (TEMPERATURES.0.ln(), TEMPERATURES.1.ln());
    for _ in 0..STEPS {
        let (left, right) = (high - ratio * (high - low), low + ratio * (high - low));
        if loss(left) < loss(right) { high = right } else { low = left }
    }
    f64::midpoint(low, high).exp() as f32
}

/// The lowest threshold above which enough is right, or the highest that leaves enough windows a label.
fn threshold(judged: &[(f32, bool)], wanted: Wanted) -> f32 {
    let mut chosen = 0.0;
    for step in 0..100_u8 {
        let threshold = f32::from(step) * STEP;
        let kept = judged.iter().filter(|(confidence, _)| *confidence >= threshold);
        let (count, right) = kept.fold((0, 0), |(count, right), (_, ok)| (count + 1, right + usize::from(*ok)));
        if (count as f64) < wanted.coverage * judged.len() as f64 {
            break;
        }
        chosen = threshold;
        if right as f64 >= wanted.accuracy * count as f64 {
            break;
        }
    }
    chosen
}

#[cfg(test)]
mod tests {
    use super::*;

    const WANTED: Wanted = Wanted { accuracy: 0.55, coverage: 0.7 };

    #[test]
    fn the_temperature_undoes_what_logits_were_multiplied_by() {
        // Of a thousand windows with odds 3 : 1 three quarters are right: that is calibrated at temperature 1.
        let odds = 3.0_f32.ln();
        for scale in [0.5, 1.0, 4.0] {
            let logits: Vec<f32> = (0..1000).flat_map(|_| [odds * scale, 0.0]).collect();
            let labels: Vec<usize> = (0..1000).map(|index| usize::from(index % 4 == 0)).collect();
            let calibration = fit(&logits, &labels, WANTED);
            assert!((calibration.temperature - scale).abs() < 1e-3 * scale, "{scale}: {}", calibration.temperature);
        }
    }

    #[test]
    fn the_threshold_stops_where_enough_is_right_or_too_little_is_left() {
        let windows =
            |low_right: usize| -> Vec<(f32, bool)> {
                (0..100)
                    .map(|index| {
                        if index < 80 { (0.905, index % 2 == 0 || index < 40) } else { (0.305, index < 80 + low_right) }
                    })
                    .collect()
            };
        // The surer 80 are right in 60: leaving the other 20 out is enough.
        assert!((threshold(&windows(0), WANTED) - 0.0).abs() < 1e-6, "60 of 100 suffice without any threshold");
        let poor: Vec<(f32, bool)> =
            (0..100).map(|index| (if index < 80 { 0.905 } else { 0.305 }, index % 16 < 9 && index < 80)).collect();
        assert!((threshold(&poor, WANTED) - 0.31).abs() < 1e-6, "{}", threshold(&poor, WANTED));
        let hopeless: Vec<(f32, bool)> = (0..100).map(|index| (0.01 * index as f32 + 0.005, false)).collect();
        assert!((threshold(&hopeless, WANTED) - 0.3).abs() < 1e-6, "{}", threshold(&hopeless, WANTED));
    }
}
