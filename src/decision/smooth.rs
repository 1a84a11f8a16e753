//! An exponential average over speech time.
//!
//! A window weighs by the speech that it adds, whatever time passed: outside speech the average stands still. It is the average of what
//! was heard and nothing else, so after one window it is that window.

use zeroize::{Zeroize as _, Zeroizing};

/// The average of rows of probabilities. Wiped when dropped.
#[derive(Debug, Clone)]
pub struct Average {
    half_life_seconds: f64,
    /// One a label, weighted.
    sums: Zeroizing<Vec<f64>>,
    weight: f64,
}

impl Average {
    /// Of nothing yet, for so many labels. After `half_life_seconds` of speech a window counts half.
    pub fn new(labels: usize, half_life_seconds: f64) -> Self {
        Self { half_life_seconds, sums: vec![0.0; labels].into(), weight: 0.0 }
    }

    /// Goes on with another half-life; what was averaged stays.
    pub fn set_half_life(&mut self, half_life_seconds: f64) {
        self.half_life_seconds = half_life_seconds;
    }

    /// Takes a window in that adds `spoken_seconds` of speech. One that adds none changes nothing.
    ///
    /// # Panics
    /// When the number of probabilities is not that of the labels.
    pub fn add(&mut self, probabilities: &[f32], spoken_seconds: f64) {
        assert_eq!(probabilities.len(), self.sums.len(), "one probability a label");
        let kept = (-spoken_seconds / self.half_life_seconds).exp2();
        for (sum, &probability) in self.sums.iter_mut().zip(probabilities) {
            *sum = kept * *sum + (1.0 - kept) * f64::from(probability);
        }
        self.weight = kept * self.weight + (1.0 - kept);
    }

    /// The average, one a label; `None` before the first window that added speech.
    pub fn values(&self) -> Option<impl Iterator<Item = f64>> {
        (self.weight > 0.0).then(|| self.sums.iter().map(|sum| sum / self.weight))
    }

    /// The average over a set of labels, summed; 0 before the first window that added speech.
    pub fn sum_of(&self, labels: &[usize]) -> f64 {
        if self.weight > 0.0 { labels.iter().map(|&label| self.sums[label]).sum::<f64>() / self.weight } else { 0.0 }
    }

    /// Forgets all windows, and leaves no trace of them in memory.
    pub fn purge(&mut self) {
        self.sums.as_mut_slice().zeroize();
        self.weight.zeroize();
    }
}

/// How much speech each scored window adds, its own stride's and that of strides before it that could not be scored by themselves.
#[derive(Debug, Clone, Default)]
pub(super) struct Spoken {
    waiting_seconds: f64,
}

impl Spoken {
    /// Takes in a stride that was not scored, although its speech will be looked at by the next window.
    pub(super) fn wait(&mut self, speech_seconds: f64) {
        self.waiting_seconds += speech_seconds;
    }

    /// What a window adds that looks at `window_seconds`, of which `speech_seconds` are speech since the last stride.
    pub(super) fn take(&mut self, speech_seconds: f64, window_seconds: f64) -> f64 {
        let spoken = std::mem::take(&mut self.waiting_seconds) + speech_seconds;
        spoken.min(window_seconds)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn value(average: &Average) -> Vec<f64> {
        average.values().expect("something was averaged").collect()
    }

    #[test]
    fn a_window_counts_half_after_the_half_life_of_speech() {
        let mut average = Average::new(2, 4.0);
        assert!(average.values().is_none());
        average.add(&[1.0, 0.0], 0.5);
        assert_eq!(value(&average), [1.0, 0.0], "the first window is the average");
        // So long that the first does not matter any more.
        average.add(&[1.0, 0.0], 1e6);
        average.add(&[0.0, 1.0], 4.0);
        assert!((average.sum_of(&[0]) - 0.5).abs() < 1e-12);
        assert!((average.sum_of(&[0, 1]) - 1.0).abs() < 1e-12);
    }

    #[test]
    fn outside_speech_it_stands_still() {
        let mut average = Average::new(2, 4.0);
        average.add(&[0.25, 0.75], 0.0);
        assert!(average.values().is_none());
        average.add(&[0.25, 0.75], 1.0);
        average.add(&[1.0, 0.0], 0.0);
        assert_eq!(value(&average), [0.25, 0.75]);
    }

    #[test]
    fn speech_that_no_window_was_scored_for_counts_with_the_next_but_no_more_than_it_sees() {
        let mut spoken = Spoken::default();
        spoken.wait(0.5);
        assert_eq!(spoken.take(0.5, 2.0), 1.0);
        assert_eq!(spoken.take(0.5, 2.0), 0.5);
        spoken.wait(30.0);
        assert_eq!(spoken.take(0.5, 2.0), 2.0);
    }

    #[test]
    fn forgets_when_purged() {
        let mut average = Average::new(1, 4.0);
        average.add(&[0.75], 1.0);
        average.purge();
        assert!(average.values().is_none());
        assert_eq!(average.sum_of(&[0]), 0.0);
    }

    proptest! {
        /// Against the definition: every window weighs by the part of the decay that its speech covers.
        #[test]
        fn agrees_with_the_sum_over_all_windows(
            windows in prop::collection::vec((0.0_f32..=1.0, 0.0_f64..2.0), 1..60), half_life in 0.5_f64..20.0
        ) {
            let mut average = Average::new(1, half_life);
            for (probability, spoken) in &windows {
                average.add(&[*probability], *spoken);
            }
            let (mut sum, mut weight, mut behind) = (0.0, 0.0, 0.0);
            for (probability, spoken) in windows.iter().rev() {
                let own = (-behind / half_life).exp2() - (-(behind + spoken) / half_life).exp2();
                sum += own * f64::from(*probability);
                weight += own;
                behind += spoken;
            }
            if weight > 1e-9 {
                prop_assert!((average.sum_of(&[0]) - sum / weight).abs() < 1e-9);
            }
        }
    }
}
