//! What was heard in all: the mean and the peak of each label over the windows that were scored.

use zeroize::Zeroize;

/// How much of a leg a label took.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Share {
    /// Mean probability over the scored windows; over the labels they sum to 1.
    pub share: f32,
    /// Highest probability.
    pub peak: f32,
    /// End of the window in which it was highest, the first such. Samples.
    pub peak_end_samples: u64,
}

/// Adds windows up, in constant memory.
#[derive(Debug, Clone)]
pub struct Tally {
    windows: u64,
    sums: Vec<f64>,
    peaks: Vec<f32>,
    peak_ends_samples: Vec<u64>,
}

impl Tally {
    /// Of no window yet, for so many labels.
    pub fn new(labels: usize) -> Self {
        Self { windows: 0, sums: vec![0.0; labels], peaks: vec![0.0; labels], peak_ends_samples: vec![0; labels] }
    }

    /// Adds a window that ends at `end_samples`: one calibrated probability a label.
    ///
    /// # Panics
    /// When the number of probabilities is not that of the labels.
    pub fn add(&mut self, probabilities: &[f32], end_samples: u64) {
        assert_eq!(probabilities.len(), self.sums.len(), "one probability a label");
        for (label, &probability) in probabilities.iter().enumerate() {
            self.sums[label] += f64::from(probability);
            if self.windows == 0 || probability > self.peaks[label] {
                self.peaks[label] = probability;
                self.peak_ends_samples[label] = end_samples;
            }
        }
        self.windows += 1;
    }

    /// Windows added.
    pub fn windows(&self) -> u64 {
        self.windows
    }

    /// The mean probability of each label; `None` when no window was added.
    pub fn mean(&self) -> Option<Vec<f32>> {
        (self.windows > 0).then(|| self.sums.iter().map(|sum| (sum / self.windows as f64) as f32).collect())
    }

    /// A row a label; empty when no window was added.
    pub fn shares(&self) -> Vec<Share> {
        let peaks = self.peaks.iter().zip(&self.peak_ends_samples);
        let rows = self.mean().unwrap_or_default().into_iter().zip(peaks);
        rows.map(|(share, (&peak, &peak_end_samples))| Share { share, peak, peak_end_samples }).collect()
    }

    /// Forgets all windows, and leaves no trace of them in memory.
    pub fn purge(&mut self) {
        let labels = self.sums.len();
        self.sums.zeroize();
        self.peaks.zeroize();
        self.peak_ends_samples.zeroize();
        *self = Self::new(labels);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_empty_before_the_first_window() {
        let tally = Tally::new(2);
        assert_eq!((tally.windows(), tally.mean(), tally.shares()), (0, None, vec![]));
    }

    #[test]
    fn keeps_mean_peak_and_the_first_place_of_the_peak() {
        let mut tally = Tally::new(2);
        for (probabilities, end_samples) in
            [([0.25, 0.75], 100), ([0.5, 0.5], 200), ([0.5, 0.5], 300), ([0.75, 0.25], 400)]
        {
            tally.add(&probabilities, end_samples);
        }
        assert_eq!(tally.windows(), 4);
        let angry = Share { share: 0.5, peak: 0.75, peak_end_samples: 400 };
        let sad = Share { share: 0.5, peak: 0.75, peak_end_samples: 100 };
        assert_eq!(tally.shares(), vec![angry, sad]);
    }

    #[test]
    fn a_label_that_is_never_heard_peaks_at_its_first_window() {
        let mut tally = Tally::new(1);
        tally.add(&[0.0], 160);
        assert_eq!(tally.shares(), vec![Share { share: 0.0, peak: 0.0, peak_end_samples: 160 }]);
    }

    #[test]
    fn a_long_call_does_not_drift() {
        let mut tally = Tally::new(1);
        for end_samples in 0..1_000_000 {
            tally.add(&[0.1], end_samples);
        }
        assert_eq!(tally.mean(), Some(vec![0.1]));
    }

    #[test]
    fn forgets_when_purged() {
        let mut tally = Tally::new(3);
        tally.add(&[0.2, 0.3, 0.5], 10);
        tally.purge();
        assert_eq!((tally.windows(), tally.shares()), (0, vec![]));
        tally.add(&[0.5, 0.3, 0.2], 20);
        assert_eq!(tally.shares()[0], Share { share: 0.5, peak: 0.5, peak_end_samples: 20 });
    }
}
