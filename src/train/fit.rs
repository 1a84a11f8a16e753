//! The training loop, plainly: epochs of batches, a validation, the schedule, a checkpoint.

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
    nadam::Nadam,
    net,
    parameters::{LABELS, Parameters},
    schedule::Schedule,
    windows::{Cut, Cutter, generator},
};
use crate::{
    evaluate::metrics::{Scored, unweighted_average_recall},
    features::Standardization,
};

/// Windows a step learns from: the thesis's.
const BATCH: usize = 32;
/// Windows scored at a time.
const VALID_BATCH: usize = 64;
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
    /// Whether its validation loss is the lowest so far.
    pub best: bool,
}

/// What to fit, and to what.
pub(super) struct Task<'a> {
    /// Of the training actors.
    pub(super) train: &'a Cutter<'a>,
    /// Of the validation actors.
    pub(super) valid: &'a Cutter<'a>,
    /// The windows that the validation loss is taken over.
    pub(super) valid_cuts: &'a [Cut],
    /// Over the training actors' windows.
    pub(super) standardization: &'a Standardization,
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

/// Trains until the schedule or the number of epochs ends it; a checkpoint is written after every epoch.
///
/// # Errors
/// A label without training clips, a checkpoint that does not fit or cannot be written, a loss that is not a number, and `stop`.
pub(super) fn fit(task: &Task<'_>, stop: &AtomicBool, tell: &(dyn Fn(Event<'_>) + Sync)) -> anyhow::Result<Checkpoint> {
    let class_weights = class_weights(&task.train.counts(LABELS))?;
    let mut run = if task.resume { Checkpoint::load(task.checkpoint, &task.identity)? } else { begin(task) };
    while run.epoch < task.epochs && !run.schedule.is_over() {
        let started = Instant::now();
        let epoch = run.epoch + 1;
        let mut random = generator(task.seed, u64::from(epoch));
        let cuts = task.train.shuffled(&mut random);
        tell(Event::Epoch { epoch, batches: cuts.len().div_ceil(BATCH) });
        let (mut loss, mut right) = (0.0, 0);
        for cuts in cuts.chunks(BATCH) {
            if stop.load(Ordering::Relaxed) {
                bail!("stopped in epoch {epoch}: {}", kept(run.epoch));
            }
            let batch = task.train.batch(cuts, task.standardization);
            let step = net::step(&mut run.parameters, &batch, &class_weights, &mut random);
            if !step.loss.is_finite() {
                bail!("the loss is {} in epoch {epoch}: check the data with `undertone dataset check`", step.loss);
            }
            run.nadam.step(&mut run.parameters, &step.gradients, run.schedule.learning_rate);
            loss += step.loss * cuts.len() as f64;
            right += step.right;
            tell(Event::Batch { loss: step.loss });
        }
        let learning_rate = run.schedule.learning_rate;
        let logits = logits(task.valid, task.valid_cuts, task.standardization, &run.parameters);
        let valid = Validation::of(&logits, task.valid_cuts, &run.parameters);
        let verdict = run.schedule.after(epoch, valid.loss);
        run.epoch = epoch;
        if verdict.best {
            run.best.clone_from(&run.parameters);
        }
        run.save(task.checkpoint)?;
        tell(Event::EpochDone(&Epoch {
            epoch,
            epochs: task.epochs,
            loss: loss / cuts.len() as f64,
            accuracy: right as f64 / cuts.len() as f64,
            valid_loss: valid.loss,
            valid_accuracy: valid.accuracy,
            valid_uar: valid.uar,
            learning_rate,
            seconds: started.elapsed().as_secs_f64(),
            best: verdict.best,
        }));
    }
    Ok(run)
}

/// Logits `[window, label]` of `cuts`.
pub(super) fn logits(
    cutter: &Cutter<'_>,
    cuts: &[Cut],
    standardization: &Standardization,
    parameters: &Parameters,
) -> Vec<f32> {
    cuts.chunks(VALID_BATCH).flat_map(|cuts| net::logits(parameters, &cutter.batch(cuts, standardization))).collect()
}

struct Validation {
    loss: f64,
    accuracy: f64,
    uar: f64,
}

impl Validation {
    fn of(logits: &[f32], cuts: &[Cut], parameters: &Parameters) -> Self {
        let labels: Vec<usize> = cuts.iter().map(|cut| cut.label).collect();
        let rows = || logits.chunks_exact(LABELS).zip(&labels);
        let count = labels.len() as f64;
        let loss = rows().map(|(row, &label)| net::cross_entropy(row, label)).sum::<f64>() / count;
        // Only the order of the values matters to a recall, so logits do.
        let scored: Vec<Scored> =
            rows().map(|(row, &label)| Scored { actor: String::new(), label, probabilities: row.to_vec() }).collect();
        Self {
            loss: loss + net::decay(parameters),
            accuracy: net::count_right(logits, &labels) as f64 / count,
            uar: unweighted_average_recall(&scored, LABELS),
        }
    }
}

fn begin(task: &Task<'_>) -> Checkpoint {
    let parameters = Parameters::initial(&mut generator(task.seed, INITIAL));
    Checkpoint {
        identity: task.identity.clone(),
        epoch: 0,
        best: parameters.clone(),
        parameters,
        nadam: Nadam::new(),
        schedule: Schedule::new(),
    }
}

/// Each label's weight, so that all labels together weigh the same: windows / (labels × windows of the label).
fn class_weights(counts: &[usize]) -> anyhow::Result<Vec<f32>> {
    if let Some(label) = counts.iter().position(|&count| count == 0) {
        bail!("no clip of the training actors is {}: every label needs some", crate::corpus::LABELS[label]);
    }
    let total: usize = counts.iter().sum();
    Ok(counts.iter().map(|&count| total as f32 / (counts.len() * count) as f32).collect())
}

fn kept(epoch: u32) -> String {
    match epoch {
        0 => "no epoch was finished, so there is nothing to resume".to_owned(),
        epoch => format!("epoch {epoch} is saved; go on with --resume"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn class_weights_balance_the_labels() {
        let weights = class_weights(&[10, 10, 10, 10, 5, 15]).unwrap();
        assert_eq!(weights, [1.0, 1.0, 1.0, 1.0, 2.0, 60.0 / 90.0]);
        let error = class_weights(&[1, 1, 1, 0, 1, 1]).unwrap_err().to_string();
        assert!(error.contains("happy"), "{error}");
    }
}
