//! Where a training is, for the bar: the epoch, the loss so far, and how long the rest of the run takes.

use std::time::{Duration, Instant};

use indicatif::HumanDuration;

/// An epoch that is going on, and what is known from those before it.
#[derive(Debug)]
pub(super) struct Learning {
    began: Instant,
    epoch: u32,
    epochs: u32,
    steps: usize,
    done: usize,
    /// Sum of the losses of the steps that are done.
    loss: f64,
    /// Epochs that are behind it in this process, and how long they took.
    finished: u32,
    took: Duration,
}

impl Learning {
    /// Nothing yet.
    pub(super) fn new(now: Instant) -> Self {
        Self { began: now, epoch: 0, epochs: 0, steps: 0, done: 0, loss: 0.0, finished: 0, took: Duration::ZERO }
    }

    /// Epoch `epoch`, counted from 1, of `epochs` begins; it takes so many steps.
    pub(super) fn begin(&mut self, epoch: u32, epochs: u32, steps: usize, now: Instant) {
        *self = Self { began: now, epoch, epochs, steps, done: 0, loss: 0.0, ..*self };
    }

    /// A step of this loss was done.
    pub(super) fn step(&mut self, loss: f64) {
        self.done += 1;
        self.loss += loss;
    }

    /// The epoch is over, its validation included.
    pub(super) fn end(&mut self, now: Instant) {
        self.finished += 1;
        self.took += now - self.began;
    }

    /// "epoch  3/40  loss 1.2345".
    pub(super) fn place(&self) -> String {
        let place = format!("epoch {:2}/{}", self.epoch, self.epochs);
        if self.done == 0 { place } else { format!("{place}  loss {:.4}", self.loss / self.done as f64) }
    }

    /// How long all epochs that are left take, this one's rest included, if the others take as long as those so far; `None` before the
    /// first step. A run that stops where it no longer gains takes less.
    pub(super) fn left(&self, now: Instant) -> Option<Duration> {
        if self.finished == 0 && self.done == 0 {
            return None;
        }
        let part = self.done as f64 / self.steps.max(1) as f64;
        let behind = f64::from(self.finished) + part;
        let ahead = f64::from(self.epochs - self.epoch) + 1.0 - part;
        Some((self.took + (now - self.began)).mul_f64(ahead / behind))
    }

    /// The same in words.
    pub(super) fn time_left(&self, now: Instant) -> String {
        self.left(now).map_or_else(String::new, |left| format!("{} left in all epochs", HumanDuration(left)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rest_of_the_run_takes_as_long_as_what_is_behind() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut learning = Learning::new(start);
        learning.begin(1, 4, 10, at(100));
        assert_eq!((learning.place().as_str(), learning.time_left(at(100)).as_str()), ("epoch  1/4", ""));
        (0..5).for_each(|step| learning.step(f64::from(step)));
        assert_eq!(learning.place(), "epoch  1/4  loss 2.0000");
        // Half an epoch took 10 s, so the other half and three more take 70.
        assert_eq!(learning.left(at(110)), Some(Duration::from_secs(70)));
        assert_eq!(learning.time_left(at(110)), "70 seconds left in all epochs");
        (0..5).for_each(|_| learning.step(1.0));
        learning.end(at(130));
        // With its validation the epoch took 30 s.
        learning.begin(2, 4, 10, at(130));
        assert_eq!(learning.left(at(130)), Some(Duration::from_secs(90)));
        assert_eq!(learning.place(), "epoch  2/4", "the loss is this epoch's");
    }

    #[test]
    fn a_run_that_is_gone_on_with_counts_from_where_it_stands() {
        let start = Instant::now();
        let mut learning = Learning::new(start);
        learning.begin(39, 40, 4, start);
        learning.step(1.0);
        assert_eq!(learning.left(start + Duration::from_secs(1)), Some(Duration::from_secs(7)));
        learning.end(start + Duration::from_secs(4));
        learning.begin(40, 40, 4, start + Duration::from_secs(4));
        (0..4).for_each(|_| learning.step(1.0));
        assert_eq!(learning.left(start + Duration::from_secs(8)), Some(Duration::ZERO));
    }
}
