//! How fast to learn and when to stop.
//!
//! [`Plateau`] looks at the validation loss of each epoch, as the thesis's callbacks do (Keras):
//!
//! | the loss | learning rate | stopping |
//! |---|---|---|
//! | is the lowest so far | waits anew, if lower by [`LEAST_GAIN`] | waits anew; these weights are the best |
//! | is not | is halved after [`RATE_PATIENCE`] such epochs | stops after [`STOP_PATIENCE`] such epochs |
//!
//! [`OneCycle`] looks at nothing but the step: the rate rises, then falls to nearly nothing at the last one (Smith and Topin, 2019), as
//! PyTorch's `OneCycleLR` does it, momentum against it.

use serde::{Deserialize, Serialize};

use super::optimiser::Pace;

/// The thesis's learning rate.
pub(super) const LEARNING_RATE: f64 = 5e-4;
/// Epochs without gain before the rate is halved: the thesis's.
pub(super) const RATE_PATIENCE: u32 = 3;
/// Epochs without gain before training stops: the thesis's.
pub(super) const STOP_PATIENCE: u32 = 5;
/// Keras's `min_delta` of ReduceLROnPlateau.
const LEAST_GAIN: f64 = 1e-4;
/// PyTorch's: the cycle begins at this part of its highest rate.
const BEGIN: f64 = 1.0 / 25.0;
/// PyTorch's: and ends at this part of its first.
const END: f64 = 1e-4;
/// PyTorch's momentum at the lowest and at the highest rate.
const MOMENTA: (f64, f64) = (0.95, 0.85);

/// Where a schedule stands.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Schedule {
    /// By the validation loss.
    Plateau(Plateau),
    /// By the step.
    OneCycle(OneCycle),
}

/// Halves the rate and stops where the validation loss no longer falls.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(super) struct Plateau {
    /// For the next epoch.
    learning_rate: f64,
    /// The lowest loss so far and its epoch, counted from 1.
    best: Option<(f64, u32)>,
    rate_best: Option<f64>,
    rate_wait: u32,
    stop_wait: u32,
}

/// Up and down once over all steps.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(super) struct OneCycle {
    /// The highest rate.
    pub(super) highest: f64,
    /// Part of the steps that it rises for.
    pub(super) rising: f64,
    /// Epochs done.
    pub(super) epoch: u32,
}

/// What an epoch's loss means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Verdict {
    /// The weights are to be kept as they are now.
    pub(super) keep: bool,
    /// Its loss is the lowest so far, and that is why they are kept.
    pub(super) best: bool,
    /// Enough.
    pub(super) stop: bool,
}

impl Schedule {
    /// By the validation loss, from the thesis's rate.
    pub(super) fn plateau() -> Self {
        Self::Plateau(Plateau::new())
    }

    /// How far step `step`, counted from 0, of `steps` in all goes.
    pub(super) fn pace(&self, step: u64, steps: u64) -> Pace {
        match self {
            Self::Plateau(plateau) => Pace::at(plateau.learning_rate),
            Self::OneCycle(cycle) => cycle.pace(step, steps),
        }
    }

    /// Takes in the validation loss of `epoch`, counted from 1.
    pub(super) fn after(&mut self, epoch: u32, loss: f64) -> Verdict {
        match self {
            Self::Plateau(plateau) => plateau.after(epoch, loss),
            Self::OneCycle(cycle) => {
                cycle.epoch = epoch;
                Verdict { keep: true, best: false, stop: false }
            }
        }
    }

    /// Whether it has stopped before its last epoch.
    pub(super) fn is_over(&self) -> bool {
        matches!(self, Self::Plateau(plateau) if plateau.is_over())
    }

    /// The epoch whose weights are kept, counted from 1: the best, or the last where the loss decides nothing.
    pub(super) fn kept_epoch(&self) -> u32 {
        match self {
            Self::Plateau(plateau) => plateau.best.map_or(0, |(_, epoch)| epoch),
            Self::OneCycle(cycle) => cycle.epoch,
        }
    }
}

impl OneCycle {
    fn pace(&self, step: u64, steps: u64) -> Pace {
        // PyTorch's phases end at these steps, which need not be whole.
        let top = self.rising * steps as f64 - 1.0;
        let last = steps as f64 - 1.0;
        let step = step as f64;
        let between =
            |from: f64, to: f64, part: f64| to + (from - to) / 2.0 * (1.0 + (std::f64::consts::PI * part).cos());
        let first = self.highest * BEGIN;
        if step <= top {
            let part = step / top;
            return Pace {
                learning_rate: between(first, self.highest, part),
                momentum: between(MOMENTA.0, MOMENTA.1, part),
            };
        }
        let part = ((step - top) / (last - top)).clamp(0.0, 1.0);
        Pace { learning_rate: between(self.highest, first * END, part), momentum: between(MOMENTA.1, MOMENTA.0, part) }
    }
}

impl Plateau {
    fn new() -> Self {
        Self { learning_rate: LEARNING_RATE, best: None, rate_best: None, rate_wait: 0, stop_wait: 0 }
    }

    fn after(&mut self, epoch: u32, loss: f64) -> Verdict {
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
        Verdict { keep: best, best, stop: self.is_over() }
    }

    fn is_over(&self) -> bool {
        self.stop_wait >= STOP_PATIENCE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_halves_after_three_and_training_stops_after_five_epochs_without_gain() {
        let mut schedule = Plateau::new();
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
        let mut schedule = Plateau::new();
        for epoch in 1..=4 {
            assert!(schedule.after(epoch, 1.0 - 1e-5 * f64::from(epoch)).best);
        }
        assert_eq!(schedule.learning_rate, LEARNING_RATE / 2.0);
        assert!(!schedule.is_over());
    }

    #[test]
    fn where_the_loss_decides_nothing_the_last_weights_are_kept_and_none_are_the_best() {
        let mut schedule = Schedule::OneCycle(OneCycle { highest: 2e-3, rising: 0.15, epoch: 0 });
        for (epoch, loss) in [(1, 1.0), (2, 0.5), (3, 2.0)] {
            assert_eq!(schedule.after(epoch, loss), Verdict { keep: true, best: false, stop: false });
        }
        assert_eq!(schedule.kept_epoch(), 3);
        let mut schedule = Schedule::plateau();
        let told = [1.0, 0.5, 2.0].map(|loss| schedule.after(1, loss));
        assert_eq!(told.map(|verdict| (verdict.keep, verdict.best)), [(true, true), (true, true), (false, false)]);
    }

    #[test]
    fn the_cycle_is_pytorch_s() {
        let cycle = OneCycle { highest: 2e-3, rising: 0.15, epoch: 0 };
        // torch.optim.lr_scheduler.OneCycleLR(AdamW, 2e-3, total_steps=100, pct_start=.15): the rate begins at a 25th, is at its
        // highest at step 14 with a momentum of .85, half way down at step 56.5, and ends at 8e-9.
        let at = |step| cycle.pace(step, 100);
        assert!((at(0).learning_rate - 8e-5).abs() < 1e-12 && (at(0).momentum - 0.95).abs() < 1e-12);
        assert!((at(7).learning_rate - 1.04e-3).abs() < 1e-12, "{:?}", at(7));
        assert!((at(14).learning_rate - 2e-3).abs() < 1e-12 && (at(14).momentum - 0.85).abs() < 1e-12);
        assert!(at(56).learning_rate > 1e-3 && at(57).learning_rate < 1e-3);
        assert!((at(99).learning_rate - 8e-9).abs() < 1e-12 && (at(99).momentum - 0.95).abs() < 1e-12);
        assert!(cycle.pace(0, 1).learning_rate.is_finite());
    }
}
