//! Recipe `forest`: the thesis's baseline, a Random Forest on mean and deviation over time of the 154 features of whole clips.

use std::collections::BTreeMap;

use rafor::{CompactTree, prelude::*, rf::Classifier};

use super::{
    Event, LICENCE, Lines, Sides, Trained, VERSION, Work,
    calibrate::{self, Wanted},
    clips::{Clips, Heard},
    record,
};
use crate::{
    corpus::{LABELS, Scene, line::Babble},
    decision::Calibration,
    evaluate::{self, Baseline, Subject, Window},
    model::{
        Forest,
        forest::{About, CLIP_VALUES, FORMAT, TREES_FILE, Trees, clip_values, logits},
    },
};

/// The thesis's.
const TREES: u32 = 100;

/// As the thesis's network: labels are noisy, and a mostly silent model serves nobody.
const WANTED: Wanted = Wanted { accuracy: 0.55, coverage: 0.7 };

/// Values of one clip, a row a condition, and what it is.
type Rows = Vec<f32>;

/// Grows the trees, calibrates them on the validation actors, and scores them there.
pub(super) fn train(work: &Work<'_>, tell: &(dyn Fn(Event<'_>) + Sync)) -> anyhow::Result<Trained> {
    let options = work.options;
    anyhow::ensure!(options.epochs.is_none(), "a forest grows at once and has no epochs: leave --epochs out");
    let what = format!("forest, {:?}", options.lines.conditions());
    let (clips, sides) = work.gather_kept(|_| what.clone(), |heard| rows(&heard, options.lines), tell)?;
    let (values, labels) = side(&clips, &work.split.train);
    tell(Event::Note(format!("growing {TREES} trees on {} rows of {CLIP_VALUES} values", labels.len())));
    anyhow::ensure!(!work.is_stopped(), "stopped before the trees grew: nothing was written");
    // One thread: with several the trees' order, and so the last bits of a mean over them, would be a matter of luck.
    let trees = Classifier::<CompactTree>::trainer()
        .with_trees(TREES as usize)
        .with_max_features(MaxFeaturesPolicy::SQRT)
        .with_weights(&balanced(&labels))
        .with_seed(options.seed)
        .train(&values, &labels.iter().map(|&label| label as i64).collect::<Vec<_>>());
    let mut forest = Forest::new(about(work, &sides), trees)?;
    let (values, labels) = side(&clips, &work.split.valid);
    let answers: Vec<f32> = forest.votes(&values).iter().flat_map(|votes| logits(votes)).collect();
    forest.about.calibration = calibrate::fit(&answers, &labels, WANTED);

    let wanted = evaluate::Options {
        conditions: options.lines.conditions().to_vec(),
        baselines: vec![Baseline::Cold],
        windows: vec![Window::Whole],
        gate: false,
    };
    let (scores, test_scores) = work.score(&Subject::Forest(Box::new(forest.clone())), &sides, &wanted, tell)?;
    for outcome in &scores {
        forest.about.metrics.extend(record::measured(outcome));
    }
    forest.save(&options.out)?;
    let About { training, calibration, .. } = forest.about;
    Ok(Trained { dir: options.out.clone(), training, calibration, scores, test_scores })
}

/// What a clip sounds like under each condition that the lines are made of.
fn rows(heard: &Heard, lines: Lines) -> anyhow::Result<Rows> {
    let babble = Babble::default();
    let scene = Scene { seed: 0, actor: "", clip: &heard.used.name, babble: &babble };
    let mut rows = Rows::new();
    for condition in lines.conditions() {
        let (samples, rate_hz) = condition.apply(heard.samples.clone(), heard.rate_hz, &scene)?;
        rows.extend(clip_values(&samples, rate_hz)?);
    }
    Ok(rows)
}

/// The rows of some actors' clips, and the label of each.
fn side(clips: &Clips<Rows>, actors: &[String]) -> (Vec<f32>, Vec<usize>) {
    let (mut values, mut labels) = (Vec::new(), Vec::new());
    for (used, rows) in clips.used.iter().zip(&clips.made) {
        if actors.contains(&clips.actors[used.actor]) {
            values.extend_from_slice(rows);
            labels.extend(std::iter::repeat_n(used.label, rows.len() / CLIP_VALUES));
        }
    }
    (values, labels)
}

/// A weight for each row, so that every label weighs alike and the mean is 1: scikit-learn's "balanced".
fn balanced(labels: &[usize]) -> Vec<f32> {
    let mut counts = BTreeMap::new();
    for label in labels {
        *counts.entry(label).or_insert(0_usize) += 1;
    }
    labels.iter().map(|label| labels.len() as f32 / (counts.len() * counts[label]) as f32).collect()
}

/// All about the forest but its trees.
fn about(work: &Work<'_>, sides: &Sides) -> About {
    About {
        format: FORMAT,
        name: "forest".to_owned(),
        version: VERSION.to_owned(),
        description:
            "Six acted emotions in English speech: a Random Forest on mean and deviation of MFCC, chroma and mel frames"
                .to_owned(),
        licence: LICENCE.to_owned(),
        labels: LABELS.map(str::to_owned).to_vec(),
        trees: Trees { count: TREES, values: CLIP_VALUES, file: TREES_FILE.to_owned(), sha256: String::new() },
        calibration: Calibration { temperature: 1.0, uncertain_below: 0.0 },
        training: work.training(sides, 0),
        metrics: BTreeMap::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn balanced_labels_weigh_alike() {
        let weights = balanced(&[0, 0, 0, 4]);
        // As scikit-learn's compute_sample_weight("balanced", [0, 0, 0, 4]).
        assert_eq!(weights, [4.0 / 6.0, 4.0 / 6.0, 4.0 / 6.0, 2.0]);
    }
}
