//! What was heard in all: the share of each label over speech time, its peak, and its trend.

use std::time::Duration;

use zeroize::{Zeroize, Zeroizing};

use super::trend::Trend;

/// How much of a leg a label took.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Share {
    /// Mean probability over speech time; over the labels they sum to 1.
    pub share: f32,
    /// Highest probability.
    pub peak: f32,
    /// Position of the end of the window in which it was highest, the first such.
    pub peak_at: Duration,
    /// Mean probability over the last quarter of speech time less that over the rest; `None` for less than 8 s of speech.
    pub trend: Option<f32>,
}

/// Adds windows up, in bounded memory. Wiped when dropped.
#[derive(Debug, Clone)]
pub struct Tally {
    windows: u64,
    sums: Zeroizing<Vec<f64>>,
    /// The same, each window weighed by the speech it adds.
    spoken_sums: Zeroizing<Vec<f64>>,
    spoken_seconds: f64,
    trend: Trend,
    peaks: Zeroizing<Vec<f32>>,
    peaks_at: Vec<Duration>,
}

impl Zeroize for Share {
    fn zeroize(&mut self) {
        self.share.zeroize();
        self.peak.zeroize();
        self.trend.zeroize();
    }
}

impl Tally {
    /// Of no window yet, for so many labels.
    pub fn new(labels: usize) -> Self {
        Self {
            windows: 0,
            sums: vec![0.0; labels].into(),
            spoken_sums: vec![0.0; labels].into(),
            spoken_seconds: 0.0,
            trend: Trend::new(labels),
            peaks: vec![0.0; labels].into(),
            peaks_at: vec![Duration::ZERO; labels],
        }
    }

    /// Adds a window that ends at `end` and adds `spoken_seconds` of speech to those before: one calibrated probability a label.
    ///
    /// # Panics
    /// When the number of probabilities is not that of the labels.
    pub fn add(&mut self, probabilities: &[f32], spoken_seconds: f64, end: Duration) {
        assert_eq!(probabilities.len(), self.sums.len(), "one probability a label");
        for (label, &probability) in probabilities.iter().enumerate() {
            self.sums[label] += f64::from(probability);
            self.spoken_sums[label] += f64::from(probability) * spoken_seconds;
            if self.windows == 0 || probability > self.peaks[label] {
                self.peaks[label] = probability;
                self.peaks_at[label] = end;
            }
        }
        self.windows += 1;
        self.spoken_seconds += spoken_seconds;
        self.trend.add(probabilities, spoken_seconds);
    }

    /// Windows added.
    pub fn windows(&self) -> u64 {
        self.windows
    }

    /// The mean probability of each label over the windows; `None` when no window was added.
    pub fn mean(&self) -> Option<Vec<f32>> {
        (self.windows > 0).then(|| self.sums.iter().map(|sum| (sum / self.windows as f64) as f32).collect())
    }

    /// A row a label; empty when no window was added.
    #[expect(clippy::cast_possible_truncation, reason = "told with the precision of a score")]
    pub fn shares(&self) -> Vec<Share> {
        let Some(mean) = self.mean() else { return Vec::new() };
        let trend = self.trend.changes();
        let rows = mean.into_iter().enumerate().map(|(label, mean)| Share {
            // Windows that added no speech are all that there is of a leg of a word or less.
            share: if self.spoken_seconds > 0.0 {
                (self.spoken_sums[label] / self.spoken_seconds) as f32
            } else {
                mean
            },
            peak: self.peaks[label],
            peak_at: self.peaks_at[label],
            trend: trend.as_ref().map(|trend| trend[label] as f32),
        });
        rows.collect()
    }

    /// Forgets all windows, and leaves no trace of them in memory.
    pub fn purge(&mut self) {
        *self = Self::new(self.sums.len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn is_empty_before_the_first_window() {
        let tally = Tally::new(2);
        assert_eq!((tally.windows(), tally.mean(), tally.shares()), (0, None, vec![]));
    }

    #[test]
    fn keeps_mean_peak_and_the_first_place_of_the_peak() {
        let mut tally = Tally::new(2);
        for (probabilities, end) in [([0.25, 0.75], 100), ([0.5, 0.5], 200), ([0.5, 0.5], 300), ([0.75, 0.25], 400)] {
            tally.add(&probabilities, 0.5, at(end));
        }
        assert_eq!(tally.windows(), 4);
        let angry = Share { share: 0.5, peak: 0.75, peak_at: at(400), trend: None };
        let sad = Share { share: 0.5, peak: 0.75, peak_at: at(100), trend: None };
        assert_eq!(tally.shares(), vec![angry, sad]);
    }

    #[test]
    fn a_label_that_is_never_heard_peaks_at_its_first_window() {
        let mut tally = Tally::new(1);
        tally.add(&[0.0], 0.0, at(160));
        assert_eq!(tally.shares(), vec![Share { share: 0.0, peak: 0.0, peak_at: at(160), trend: None }]);
    }

    #[test]
    fn a_window_weighs_by_the_speech_it_adds() {
        let mut tally = Tally::new(1);
        tally.add(&[1.0], 1.5, at(10));
        tally.add(&[0.0], 0.5, at(20));
        assert_eq!((tally.mean(), tally.shares()[0].share), (Some(vec![0.5]), 0.75));
    }

    #[test]
    fn a_long_call_does_not_drift() {
        let mut tally = Tally::new(1);
        for end in 0..1_000_000 {
            tally.add(&[0.1], 0.5, at(end));
        }
        assert_eq!((tally.mean(), tally.shares()[0].share), (Some(vec![0.1]), 0.1));
        assert!(tally.shares()[0].trend.unwrap().abs() < 1e-6);
    }

    #[test]
    fn forgets_when_purged() {
        let mut tally = Tally::new(3);
        tally.add(&[0.2, 0.3, 0.5], 9.0, at(10));
        tally.purge();
        assert_eq!((tally.windows(), tally.shares()), (0, vec![]));
        tally.add(&[0.5, 0.3, 0.2], 0.5, at(20));
        assert_eq!(tally.shares()[0], Share { share: 0.5, peak: 0.5, peak_at: at(20), trend: None });
    }
}
