//! When to learn more slowly and when to stop, by the validation loss of each epoch, as the thesis's callbacks do (Keras).
//!
//! | the loss | learning rate | stopping |
//! |---|---|---|
//! | is the lowest so far | waits anew, if lower by [`LEAST_GAIN`] | waits anew; these weights are the best |
//! | is not | is halved after [`RATE_PATIENCE`] such epochs | stops after [`STOP_PATIENCE`] such epochs |

use serde::{Deserialize, Serialize};

/// The thesis's learning rate.
pub(super) const LEARNING_RATE: f64 = 5e-4;
/// Epochs without gain before the rate is halved: the thesis's.
pub(super) const RATE_PATIENCE: u32 = 3;
/// Epochs without gain before training stops: the thesis's.
pub(super) const STOP_PATIENCE: u32 = 5;
/// Keras's `min_delta` of ReduceLROnPlateau.
const LEAST_GAIN: f64 = 1e-4;

/// Where the schedule stands.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(super) struct Schedule {
    /// For the next epoch.
    pub(super) learning_rate: f64,
    /// The lowest loss so far and its epoch, counted from 1.
    pub(super) best: Option<(f64, u32)>,
    rate_best: Option<f64>,
    rate_wait: u32,
    stop_wait: u32,
}

/// What an epoch's loss means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Verdict {
    /// These are the best weights so far.
    pub(super) best: bool,
    /// Enough.
    pub(super) stop: bool,
}

impl Schedule {
    /// Before the first epoch.
    pub(super) fn new() -> Self {
        Self { learning_rate: LEARNING_RATE, best: None, rate_best: None, rate_wait: 0, stop_wait: 0 }
    }

    /// Takes in the validation loss of `epoch`, counted from 1.
    pub(super) fn after(&mut self, epoch: u32, loss: f64) -> Verdict {
        if self.rate_best.is_none_or(|best| loss < best - LEAST_GAIN) {
            self.rate_best = Some(loss);
            self.rate_wait = 0;
        } else {
            self.rate_wait += 1;
            if self.rate_wait >= RATE_PATIENCE {
                self.learning_rate *= 0.5;
                self.rate_wait = 0;
            }
        }
        let best = self.best.is_none_or(|(best, _)| loss < best);
        if best {
            self.best = Some((loss, epoch));
            self.stop_wait = 0;
        } else {
            self.stop_wait += 1;
        }
        Verdict { best, stop: self.is_over() }
    }

    /// Whether it has stopped.
    pub(super) fn is_over(&self) -> bool {
        self.stop_wait >= STOP_PATIENCE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_halves_after_three_and_training_stops_after_five_epochs_without_gain() {
        let mut schedule = Schedule::new();
        let losses = [1.0, 0.9, 0.95, 0.94, 0.93, 0.92, 0.91];
        let seen: Vec<_> = losses
            .iter()
            .enumerate()
            .map(|(index, &loss)| {
                let verdict = schedule.after(index as u32 + 1, loss);
                (verdict.best, schedule.learning_rate, verdict.stop)
            })
            .collect();
        let (full, half) = (LEARNING_RATE, LEARNING_RATE / 2.0);
        let expected = [
            (true, full, false),
            (true, full, false),
            (false, full, false),
            (false, full, false),
            (false, half, false),
            (false, half, false),
            (false, half, true),
        ];
        assert_eq!(seen, expected);
        assert_eq!(schedule.best, Some((0.9, 2)));
    }

    #[test]
    fn a_gain_too_small_for_the_rate_still_counts_as_best() {
        let mut schedule = Schedule::new();
        for epoch in 1..=4 {
            assert!(schedule.after(epoch, 1.0 - 1e-5 * f64::from(epoch)).best);
        }
        assert_eq!(schedule.learning_rate, LEARNING_RATE / 2.0);
        assert!(!schedule.is_over());
    }
}
