//! The training loop, plainly: epochs of batches, a validation, the schedule, a checkpoint. The same for every recipe.

use std::{
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
    time::Instant,
};

use anyhow::bail;
use serde::Serialize;

use super::{
    Event,
    checkpoint::Checkpoint,
    network::{Batch, Parameters, count_right, cross_entropy, generator},
    optimiser::{self, Optimiser},
    recipe::Course,
};
use crate::{
    corpus::LABELS,
    evaluate::metrics::{Scored, unweighted_average_recall},
};

/// Purposes of the generators beside the epochs, which have numbers from 1.
const INITIAL: u64 = u64::MAX;
/// Of the windows that the validation loss is taken over.
pub(super) const VALIDATION: u64 = u64::MAX - 1;

/// What one epoch did.
#[derive(Debug, Clone, Serialize)]
pub struct Epoch {
    /// Counted from 1.
    pub epoch: u32,
    /// Epochs at most.
    pub epochs: u32,
    /// Mean loss of the training windows, dropout and decay included.
    pub loss: f64,
    /// Part of them told right, with dropout.
    pub accuracy: f64,
    /// Loss of the validation windows, decay included.
    pub valid_loss: f64,
    /// Part of them told right.
    pub valid_accuracy: f64,
    /// Their unweighted average recall.
    pub valid_uar: f64,
    /// Of this epoch.
    pub learning_rate: f64,
    /// It took so long.
    pub seconds: f64,
    /// Whether its weights are the best so far: its validation loss is the lowest, and what is kept depends on that. Never where a fixed number
    /// of epochs is run and the last weights, or the average of all, are kept.
    pub best: bool,
}

/// What to fit, and to what.
pub(super) struct Task<'a> {
    /// The recipe with its data.
    pub(super) course: &'a dyn Course,
    /// Epochs at most.
    pub(super) epochs: u32,
    /// Of everything random.
    pub(super) seed: u64,
    /// What a checkpoint must say to be gone on with.
    pub(super) identity: String,
    /// Where it lies.
    pub(super) checkpoint: &'a Path,
    /// Whether to go on from it.
    pub(super) resume: bool,
}

/// The validation windows as a network sees them.
#[derive(Debug, Default)]
pub(super) struct Answers {
    /// `[window, label]`.
    pub(super) logits: Vec<f32>,
    /// One a window.
    pub(super) labels: Vec<usize>,
    targets: Vec<f32>,
}

/// Trains until the schedule or the number of epochs ends it; a checkpoint is written after every epoch.
///
/// # Errors
/// A checkpoint that does not fit or cannot be written, a loss that is not a number, and `stop`.
pub(super) fn fit(task: &Task<'_>, stop: &AtomicBool, tell: &(dyn Fn(Event<'_>) + Sync)) -> anyhow::Result<Checkpoint> {
    let (course, network) = (task.course, task.course.network());
    let (specs, regime) = (network.specs(), course.regime());
    let mut run =
        if task.resume { Checkpoint::load(task.checkpoint, &task.identity, specs, regime.rule)? } else { begin(task) };
    while run.epoch < task.epochs && !run.schedule.is_over() {
        let started = Instant::now();
        let epoch = run.epoch + 1;
        let mut random = generator(task.seed, u64::from(epoch));
        let batches = course.epoch(&mut random);
        let steps = batches.len();
        tell(Event::Epoch { epoch, epochs: task.epochs, batches: steps });
        let (mut loss, mut right, mut windows, mut pace) = (0.0, 0, 0, None);
        for batch in batches {
            if stop.load(Ordering::Relaxed) {
                bail!("stopped in epoch {epoch}: {}", kept(run.epoch));
            }
            let mut step = network.step(&mut run.parameters, &batch, &mut random);
            if !step.loss.is_finite() {
                bail!("the loss is {} in epoch {epoch}: check the data with `undertone dataset check`", step.loss);
            }
            if let Some(most) = regime.clip {
                optimiser::clip(&mut step.gradients, most);
            }
            let now = run.schedule.pace(run.optimiser.steps, u64::from(task.epochs) * steps as u64);
            run.optimiser.step(specs, &mut run.parameters, &step.gradients, now);
            if let Some(slowest) = regime.average {
                average(&mut run.kept, &run.parameters, slowest, run.optimiser.steps);
            }
            pace = Some(now);
            loss += step.loss * batch.labels.len() as f64;
            right += step.right;
            windows += batch.labels.len();
            tell(Event::Batch { loss: step.loss });
        }
        let judged = if regime.average.is_some() { &run.kept } else { &run.parameters };
        let Some(answers) = answers(course, judged, stop) else {
            bail!("stopped in the validation of epoch {epoch}: {}", kept(run.epoch));
        };
        let valid = Validation::of(&answers, network.penalty(judged));
        let verdict = run.schedule.after(epoch, valid.loss);
        run.epoch = epoch;
        if regime.average.is_none() && verdict.keep {
            run.kept.clone_from(&run.parameters);
        }
        run.save(task.checkpoint, specs)?;
        if regime.average.is_some() && epoch == task.epochs {
            tell(Event::Note(format!(
                "kept: the weights averaged over the steps of all {epoch} epochs, not those of the best one"
            )));
        }
        tell(Event::EpochDone(&Epoch {
            epoch,
            epochs: task.epochs,
            loss: loss / windows as f64,
            accuracy: right as f64 / windows as f64,
            valid_loss: valid.loss,
            valid_accuracy: valid.accuracy,
            valid_uar: valid.uar,
            learning_rate: pace.map_or(0.0, |pace| pace.learning_rate),
            seconds: started.elapsed().as_secs_f64(),
            best: verdict.best,
        }));
    }
    Ok(run)
}

/// What a network says of the validation windows; nothing after `stop`.
pub(super) fn answers(course: &dyn Course, parameters: &Parameters, stop: &AtomicBool) -> Option<Answers> {
    let mut answers = Answers::default();
    for Batch { windows, labels, targets, frames } in course.validation() {
        if stop.load(Ordering::Relaxed) {
            return None;
        }
        let batch = Batch { windows, labels, targets, frames };
        answers.logits.extend(course.network().logits(parameters, &batch));
        answers.labels.extend(batch.labels);
        answers.targets.extend(batch.targets);
    }
    Some(answers)
}

struct Validation {
    loss: f64,
    accuracy: f64,
    uar: f64,
}

impl Validation {
    fn of(answers: &Answers, penalty: f64) -> Self {
        let Answers { logits, labels, targets } = answers;
        // Only the order of the values matters to a recall, so logits do.
        let scored: Vec<Scored> = logits
            .chunks_exact(LABELS.len())
            .zip(labels)
            .map(|(row, &label)| Scored { actor: String::new(), label, probabilities: row.to_vec() })
            .collect();
        Self {
            loss: cross_entropy(logits, targets, LABELS.len()) + penalty,
            accuracy: count_right(logits, labels) as f64 / labels.len() as f64,
            uar: unweighted_average_recall(&scored, LABELS.len()),
        }
    }
}

fn begin(task: &Task<'_>) -> Checkpoint {
    let regime = task.course.regime();
    let parameters = task.course.network().initial(&mut generator(task.seed, INITIAL));
    Checkpoint {
        identity: task.identity.clone(),
        epoch: 0,
        kept: parameters.clone(),
        parameters,
        optimiser: Optimiser::new(regime.rule, task.course.network().specs()),
        schedule: regime.schedule,
    }
}

/// Moves the running average towards `parameters`: slowly at last, faster in the first steps, which it must forget.
fn average(running: &mut Parameters, parameters: &Parameters, slowest: f64, steps: u64) {
    let before = (steps - 1) as f64;
    let kept = slowest.min((1.0 + before) / (10.0 + before)) as f32;
    for (running, now) in running.0.iter_mut().flatten().zip(parameters.0.iter().flatten()) {
        *running += (1.0 - kept) * (now - *running);
    }
}

/// What is left of a run that was stopped after so many epochs.
pub(super) fn kept(epoch: u32) -> String {
    match epoch {
        0 => "no epoch was finished, so there is nothing to resume".to_owned(),
        epoch => format!("epoch {epoch} is saved; go on with --resume"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_average_follows_faster_at_first() {
        let now = Parameters(vec![vec![1.0]]);
        let mut running = Parameters(vec![vec![0.0]]);
        average(&mut running, &now, 0.998, 1);
        assert!((running.0[0][0] - 0.9).abs() < 1e-6);
        let mut running = Parameters(vec![vec![0.0]]);
        average(&mut running, &now, 0.998, 1_000_000);
        assert!((running.0[0][0] - 0.002).abs() < 1e-6);
    }
}
