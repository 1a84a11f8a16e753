//! Figures of merit of labelled probabilities. All are fractions.
//!
//! Unweighted average recall (UAR) is the mean of the recalls of the labels that occur. The interval around it comes from drawing
//! actors, not clips, with replacement: clips of one voice are not independent.

use std::collections::BTreeMap;

use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use serde::Serialize;

use super::curves::{self, Bin, Coverage};

/// Resamples behind the interval: enough for its ends to settle within about half a point.
const RESAMPLES: usize = 1000;
/// Resamples below and above the interval: it holds 95 %.
const TAIL: usize = RESAMPLES / 40;
/// Seed of the resamples, so that the same scores give the same interval.
const SEED: u64 = 0;

/// What a model thought of one clip or window.
#[derive(Debug, Clone, PartialEq)]
pub struct Scored {
    /// Who spoke.
    pub actor: String,
    /// What was to be heard, an index into `probabilities`.
    pub label: usize,
    /// Calibrated, one a label.
    pub probabilities: Vec<f32>,
}

/// How well one label is told.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct ClassScores {
    /// Of those called so, the part that is.
    pub precision: f64,
    /// Of those that are, the part called so.
    pub recall: f64,
    /// Harmonic mean of both.
    pub f1: f64,
    /// How many there are.
    pub support: u64,
}

/// All figures of one model under one condition.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Scores {
    /// Clips that were scored.
    pub clips: usize,
    /// Actors they are of.
    pub actors: usize,
    /// Unweighted average recall.
    pub uar: f64,
    /// Lower end of its 95 % interval over actors.
    pub uar_low: f64,
    /// Upper end.
    pub uar_high: f64,
    /// Part that is right.
    pub accuracy: f64,
    /// Mean F1 of the labels.
    pub macro_f1: f64,
    /// F1 of the labels, weighted by how often they occur.
    pub weighted_f1: f64,
    /// Expected calibration error in 15 bins.
    pub ece: f64,
    /// Mean squared distance of the probabilities from the truth, summed over labels: 0 to 2.
    pub brier: f64,
    /// Accuracy on the half that the model is surer of.
    pub accuracy_at_half_coverage: f64,
    /// The part of all answers that each label gets.
    pub answered: BTreeMap<String, f64>,
    /// By label.
    pub per_class: BTreeMap<String, ClassScores>,
    /// `[truth][answer]`, in the order of the model's labels.
    pub confusion: Vec<Vec<u64>>,
    /// How right it is at each confidence.
    pub reliability: Vec<Bin>,
    /// How right it stays the more it answers.
    pub coverage: Vec<Coverage>,
}

impl Scored {
    /// The most probable label; the first of equals.
    pub fn answer(&self) -> usize {
        let mut best = 0;
        for (label, probability) in self.probabilities.iter().enumerate() {
            if *probability > self.probabilities[best] {
                best = label;
            }
        }
        best
    }

    /// The probability of the answer.
    pub fn confidence(&self) -> f64 {
        f64::from(self.probabilities[self.answer()])
    }

    /// Whether the answer is what was to be heard.
    pub fn is_right(&self) -> bool {
        self.answer() == self.label
    }
}

impl Scores {
    /// The figures of `scored`, whose labels are `labels`; `None` of nothing.
    pub fn of(scored: &[Scored], labels: &[String]) -> Option<Self> {
        if scored.is_empty() {
            return None;
        }
        let confusion = confusion(scored, labels.len());
        let classes: Vec<ClassScores> = (0..labels.len()).map(|label| class(&confusion, label)).collect();
        let total: u64 = classes.iter().map(|class| class.support).sum();
        // As scikit-learn: a label that neither occurs nor is answered has no say in the mean.
        let told: Vec<&ClassScores> = (0..labels.len())
            .filter(|&label| classes[label].support > 0 || confusion.iter().any(|row| row[label] > 0))
            .map(|label| &classes[label])
            .collect();
        let (uar_low, uar_high) = interval(scored, labels.len());
        let right = scored.iter().filter(|one| one.is_right()).count();
        let reliability = curves::reliability(scored);
        let answered = (0..labels.len()).map(|label| {
            let answers: u64 = confusion.iter().map(|row| row[label]).sum();
            answers as f64 / scored.len() as f64
        });
        Some(Self {
            clips: scored.len(),
            actors: by_actor(scored, labels.len()).len(),
            uar: uar(&confusion),
            uar_low,
            uar_high,
            accuracy: ratio(right, scored.len()),
            macro_f1: told.iter().map(|class| class.f1).sum::<f64>() / told.len() as f64,
            weighted_f1: classes.iter().map(|class| class.f1 * class.support as f64).sum::<f64>() / total as f64,
            ece: curves::expected_calibration_error(&reliability),
            brier: brier(scored),
            accuracy_at_half_coverage: curves::accuracy_at_half_coverage(scored),
            answered: labels.iter().cloned().zip(answered).collect(),
            per_class: labels.iter().cloned().zip(classes).collect(),
            confusion,
            reliability,
            coverage: curves::coverage(scored),
        })
    }
}

/// Unweighted average recall of `scored`; 0 of nothing.
pub fn unweighted_average_recall(scored: &[Scored], labels: usize) -> f64 {
    uar(&confusion(scored, labels))
}

fn confusion(scored: &[Scored], labels: usize) -> Vec<Vec<u64>> {
    let mut confusion = vec![vec![0; labels]; labels];
    for one in scored {
        confusion[one.label][one.answer()] += 1;
    }
    confusion
}

fn uar(confusion: &[Vec<u64>]) -> f64 {
    let recalls: Vec<f64> = confusion
        .iter()
        .enumerate()
        .filter(|(_, row)| row.iter().sum::<u64>() > 0)
        .map(|(label, row)| row[label] as f64 / row.iter().sum::<u64>() as f64)
        .collect();
    if recalls.is_empty() { 0.0 } else { recalls.iter().sum::<f64>() / recalls.len() as f64 }
}

fn class(confusion: &[Vec<u64>], label: usize) -> ClassScores {
    let right = confusion[label][label] as f64;
    let support: u64 = confusion[label].iter().sum();
    let answered: u64 = confusion.iter().map(|row| row[label]).sum();
    let part = |of: u64| if of == 0 { 0.0 } else { right / of as f64 };
    let (precision, recall) = (part(answered), part(support));
    let f1 = if right == 0.0 { 0.0 } else { 2.0 * precision * recall / (precision + recall) };
    ClassScores { precision, recall, f1, support }
}

/// Confusion matrices by actor.
fn by_actor(scored: &[Scored], labels: usize) -> BTreeMap<&str, Vec<Vec<u64>>> {
    let mut actors: BTreeMap<&str, Vec<Vec<u64>>> = BTreeMap::new();
    for one in scored {
        let matrix = actors.entry(&one.actor).or_insert_with(|| vec![vec![0; labels]; labels]);
        matrix[one.label][one.answer()] += 1;
    }
    actors
}

fn interval(scored: &[Scored], labels: usize) -> (f64, f64) {
    let actors: Vec<Vec<Vec<u64>>> = by_actor(scored, labels).into_values().collect();
    let mut random = ChaCha8Rng::seed_from_u64(SEED);
    let mut uars: Vec<f64> = (0..RESAMPLES)
        .map(|_| {
            let mut sum = vec![vec![0; labels]; labels];
            for _ in 0..actors.len() {
                let actor = &actors[random.random_range(0..actors.len())];
                for (row, add) in sum.iter_mut().flatten().zip(actor.iter().flatten()) {
                    *row += add;
                }
            }
            uar(&sum)
        })
        .collect();
    uars.sort_by(f64::total_cmp);
    (uars[TAIL], uars[RESAMPLES - 1 - TAIL])
}

fn brier(scored: &[Scored]) -> f64 {
    let distance = |one: &Scored| -> f64 {
        let truth = |label| if label == one.label { 1.0 } else { 0.0 };
        one.probabilities.iter().enumerate().map(|(label, &p)| (f64::from(p) - truth(label)).powi(2)).sum()
    };
    scored.iter().map(distance).sum::<f64>() / scored.len() as f64
}

fn ratio(part: usize, whole: usize) -> f64 {
    part as f64 / whole as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(actor: &str, label: usize, probabilities: [f32; 3]) -> Scored {
        Scored { actor: actor.into(), label, probabilities: probabilities.into() }
    }

    fn labels() -> Vec<String> {
        ["a", "b", "c"].map(str::to_owned).into()
    }

    /// Five clips: truth a a a b b; answers a a b b c.
    fn five() -> Vec<Scored> {
        vec![
            one("1", 0, [0.9, 0.1, 0.0]),
            one("1", 0, [0.6, 0.3, 0.1]),
            one("1", 0, [0.3, 0.5, 0.2]),
            one("2", 1, [0.1, 0.8, 0.1]),
            one("2", 1, [0.2, 0.1, 0.7]),
        ]
    }

    fn near(a: f64, b: f64) {
        assert!((a - b).abs() < 1e-6, "{a} is not {b}");
    }

    #[test]
    fn figures_of_a_hand_computed_example() {
        let scores = Scores::of(&five(), &labels()).unwrap();
        assert_eq!(scores.confusion, [[2, 1, 0], [0, 1, 1], [0, 0, 0]]);
        assert_eq!((scores.clips, scores.actors), (5, 2));
        near(scores.accuracy, 0.6);
        // Recalls 2/3 and 1/2; c does not occur.
        near(scores.uar, (2.0 / 3.0 + 0.5) / 2.0);
        // a: p 1, r 2/3, f1 0.8. b: p 1/2, r 1/2, f1 0.5. c was answered though it does not occur: f1 0 counts in the mean.
        near(scores.macro_f1, 1.3 / 3.0);
        near(scores.weighted_f1, (3.0 * 0.8 + 2.0 * 0.5) / 5.0);
        let b = scores.per_class["b"];
        assert_eq!(b, ClassScores { precision: 0.5, recall: 0.5, f1: 0.5, support: 2 });
        near(scores.answered["b"], 0.4);
        // The three surest: .9 right, .8 right, .7 wrong.
        near(scores.accuracy_at_half_coverage, 2.0 / 3.0);
    }

    #[test]
    fn calibration_figures_of_a_hand_computed_example() {
        let scores = Scores::of(&five(), &labels()).unwrap();
        // Confidences .9 .6 .5 .8 .7 fall into five bins: gaps .1 .4 .5 .2 .7.
        near(scores.ece, (0.1 + 0.4 + 0.5 + 0.2 + 0.7) / 5.0);
        let clips = [0.01 + 0.01, 0.16 + 0.09 + 0.01, 0.49 + 0.25 + 0.04, 0.01 + 0.04 + 0.01, 0.04 + 0.81 + 0.49];
        near(scores.brier, clips.iter().sum::<f64>() / 5.0);
    }

    #[test]
    fn the_interval_draws_actors_and_is_the_same_every_time() {
        let scores = Scores::of(&five(), &labels()).unwrap();
        // Of two actors only three draws are possible: 1 twice, 2 twice, both.
        near(scores.uar_low, 0.5);
        near(scores.uar_high, 2.0 / 3.0);
        assert_eq!(scores, Scores::of(&five(), &labels()).unwrap());
    }

    #[test]
    fn a_perfect_model_is_perfect_and_nothing_has_no_scores() {
        let all = [one("1", 0, [1.0, 0.0, 0.0]), one("2", 1, [0.0, 1.0, 0.0]), one("3", 2, [0.0, 0.0, 1.0])];
        let scores = Scores::of(&all, &labels()).unwrap();
        for figure in
            [scores.uar, scores.accuracy, scores.macro_f1, scores.weighted_f1, scores.accuracy_at_half_coverage]
        {
            near(figure, 1.0);
        }
        near(scores.ece + scores.brier, 0.0);
        assert!(Scores::of(&[], &labels()).is_none());
    }
}
