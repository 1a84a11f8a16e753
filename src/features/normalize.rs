//! Standardisation: each value's mean over the training frames becomes 0, its deviation 1.
//!
//! Frames of padding behind a short window count in training and are standardised in service alike, as in the thesis.

use pulp::{Arch, Simd, WithSimd};
use serde::{Deserialize, Serialize};

use super::{Error, FrontEnd};

/// A deviation below this is that of a constant, which is left at 0 instead of being blown up.
const LEAST_DEVIATION: f64 = 1e-8;

/// The mean and standard deviation of each value over the training frames, padding included. The default, without any, is that of front
/// ends whose values are not standardised.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Standardization {
    /// One a value.
    pub mean: Vec<f32>,
    /// One a value.
    pub deviation: Vec<f32>,
}

/// Gathers a [`Standardization`] from windows.
#[derive(Debug, Clone)]
pub struct Fit {
    frames: u64,
    sums: Vec<f64>,
    squares: Vec<f64>,
}

/// A window to be standardised.
struct Standardize<'a> {
    by: &'a Standardization,
    window: &'a mut [f32],
}

impl Standardization {
    /// Bytes that it takes beside itself.
    pub(super) fn bytes(&self) -> usize {
        (self.mean.capacity() + self.deviation.capacity()) * size_of::<f32>()
    }

    /// One that changes nothing.
    pub fn identity(values: usize) -> Self {
        Self { mean: vec![0.0; values], deviation: vec![1.0; values] }
    }

    /// Whether nothing is standardised.
    pub fn is_empty(&self) -> bool {
        self.mean.is_empty() && self.deviation.is_empty()
    }

    /// Checks that there is a mean and a deviation for each of `values`.
    ///
    /// # Errors
    /// [`Error::Standardization`] if there is not.
    pub fn validate(&self, front_end: &FrontEnd) -> Result<(), Error> {
        let values = if front_end.is_flat() { 0 } else { front_end.values() };
        let (means, deviations) = (self.mean.len(), self.deviation.len());
        let usable = self.mean.iter().all(|mean| mean.is_finite())
            && self.deviation.iter().all(|deviation| deviation.is_finite() && *deviation > 0.0);
        if (means, deviations) == (values, values) && usable {
            return Ok(());
        }
        Err(Error::Standardization { front_end: front_end.name(), expected: values, means, deviations })
    }

    /// Standardises a window `[frames, values]` in place, its padding too.
    pub fn apply(&self, window: &mut [f32]) {
        if self.is_empty() {
            return;
        }
        Arch::new().dispatch(Standardize { by: self, window });
    }
}

impl WithSimd for Standardize<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let Self { by: Standardization { mean, deviation }, window } = self;
        for frame in window.chunks_exact_mut(mean.len()) {
            for ((value, mean), deviation) in frame.iter_mut().zip(mean).zip(deviation) {
                *value = (*value - mean) / deviation;
            }
        }
    }
}

impl Fit {
    /// Nothing seen yet.
    pub fn new(values: usize) -> Self {
        Self { frames: 0, sums: vec![0.0; values], squares: vec![0.0; values] }
    }

    /// Takes in a window `[frames, values]`, its padding too.
    pub fn push(&mut self, window: &[f32]) {
        for frame in window.chunks_exact(self.sums.len()) {
            self.frames += 1;
            for ((value, sum), square) in frame.iter().zip(&mut self.sums).zip(&mut self.squares) {
                let value = f64::from(*value);
                *sum += value;
                *square += value * value;
            }
        }
    }

    /// The mean and deviation of all frames seen. A value that never changed gets deviation 1; so does everything if there were none.
    #[expect(clippy::cast_possible_truncation, reason = "values are applied in f32")]
    pub fn finish(self) -> Standardization {
        let frames = self.frames.max(1) as f64;
        let mean = |sum: &f64| sum / frames;
        let deviation = |(sum, square): (&f64, &f64)| {
            let deviation = (square / frames - mean(sum).powi(2)).max(0.0).sqrt();
            if deviation < LEAST_DEVIATION { 1.0 } else { deviation }
        };
        Standardization {
            mean: self.sums.iter().map(|sum| mean(sum) as f32).collect(),
            deviation: self.sums.iter().zip(&self.squares).map(|pair| deviation(pair) as f32).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::features::{thesis154, waveform};

    #[test]
    fn what_was_fitted_comes_out_with_mean_0_and_deviation_1() {
        let mut window = vec![1.0, -50.0, 7.0, 3.0, -60.0, 7.0, 5.0, -10.0, 7.0];
        let mut fit = Fit::new(3);
        fit.push(&window);
        let fitted = fit.finish();
        assert_eq!((fitted.mean[0], fitted.mean[1], fitted.mean[2]), (3.0, -40.0, 7.0));
        fitted.apply(&mut window);
        let mut again = Fit::new(3);
        again.push(&window);
        let again = again.finish();
        for value in 0..2 {
            assert!(again.mean[value].abs() < 1e-6 && (again.deviation[value] - 1.0).abs() < 1e-6);
        }
        assert_eq!([window[2], window[5], window[8]], [0.0; 3], "a constant becomes 0");
    }

    #[test]
    fn all_instructions_standardise_the_same() {
        let by = Standardization {
            mean: (0..154).map(|value| value as f32 / 3.0).collect(),
            deviation: (1..155).map(|value| value as f32 / 7.0).collect(),
        };
        let mut vectors: Vec<f32> = (0..4 * 154).map(|n| (n * n % 977) as f32 / 11.0).collect();
        let mut scalar = vectors.clone();
        by.apply(&mut vectors);
        Standardize { by: &by, window: &mut scalar }.with_simd(pulp::Scalar::new());
        assert_eq!(vectors, scalar);
        assert_eq!(vectors[155], (577.0 / 11.0 - 1.0 / 3.0) / (2.0 / 7.0));
    }

    fn front_end() -> FrontEnd {
        FrontEnd::Thesis154(thesis154::Options::default())
    }

    #[test]
    fn one_that_does_not_fit_the_front_end_is_refused() {
        assert!(Standardization::identity(154).validate(&front_end()).is_ok());
        let short = Standardization::identity(153).validate(&front_end()).expect_err("refused").to_string();
        assert!(short.contains("153") && short.contains("154"), "{short}");
        let mut zero = Standardization::identity(154);
        zero.deviation[1] = 0.0;
        assert!(zero.validate(&front_end()).is_err());
        let waveform =
            FrontEnd::Waveform(waveform::Options { sample_rate_hz: 8_000, hop_samples: 80, normalize: false });
        Standardization::default().validate(&waveform).expect("samples are not standardised");
        let message = Standardization::identity(80).validate(&waveform).expect_err("refused").to_string();
        assert!(message.contains("waveform") && message.contains("give 0 of each"), "{message}");
    }
}
