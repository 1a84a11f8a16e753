//! The front end of networks that are given samples: nothing is computed of them, a window is so many in a row.
//!
//! A frame is `hop_samples` samples, and the next begins where it ends: the step by which a window grows and moves, and by which the gate
//! says what is speech. Samples lie in ±1. A window is brought to mean 0 and variance 1 where the network was trained so, as
//! wav2vec 2.0, HuBERT and WavLM mostly were; the silence behind a window that is shorter than the network's stays 0.

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::{Error, raw::RawFrame};
use crate::audio::resample::RATES_HZ;

/// Rates that have a common divisor of 25 Hz with every rate of a telephone, a browser or a recorder can be resampled without delay.
const RATE_STEP_HZ: u32 = 25;
/// Frames a second, at least and at most: what the gate tells apart, and what keeps a window's steps below the shortest stride.
const FRAMES_PER_SECOND: (u32, u32) = (20, 200);
/// Added to a window's variance, as the Transformers library does (`Wav2Vec2FeatureExtractor.zero_mean_unit_var_norm`).
const LEAST_VARIANCE: f64 = 1e-7;

/// Its parameters, which the manifest states.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Options {
    /// Samples a second that the network was trained on: a multiple of 25 from 8,000 to 48,000.
    pub sample_rate_hz: u32,
    /// Samples a frame, by which windows grow and move: 5 to 50 ms.
    pub hop_samples: usize,
    /// Whether each window is brought to mean 0 and variance 1.
    pub normalize: bool,
}

/// Cuts a stream into frames.
pub(super) struct Extractor {
    frame: Zeroizing<Vec<f32>>,
    filled: usize,
}

impl Options {
    /// Checks that all parameters are supported.
    ///
    /// # Errors
    /// [`Error::Parameter`] names the first that is not, and the values that are.
    pub fn validate(&self) -> Result<(), Error> {
        let wrong = |name, expected, actual| Err(Error::Parameter { front_end: "waveform", name, expected, actual });
        let rate_hz = self.sample_rate_hz;
        if !RATES_HZ.contains(&rate_hz) || !rate_hz.is_multiple_of(RATE_STEP_HZ) {
            let expected = format!("a multiple of {RATE_STEP_HZ} from {} to {}", RATES_HZ.start(), RATES_HZ.end());
            return wrong("sample_rate_hz", expected, rate_hz.to_string());
        }
        let (least, most) = ((rate_hz / FRAMES_PER_SECOND.1) as usize, (rate_hz / FRAMES_PER_SECOND.0) as usize);
        if !(least..=most).contains(&self.hop_samples) {
            let expected = format!("a number from {least} to {most}, which are 5 to 50 ms");
            return wrong("hop_samples", expected, self.hop_samples.to_string());
        }
        Ok(())
    }
}

impl Extractor {
    /// For valid options.
    pub(super) fn new(options: &Options) -> Self {
        Self { frame: Zeroizing::new(vec![0.0; options.hop_samples]), filled: 0 }
    }

    /// Bytes of its frame.
    pub(super) fn bytes(&self) -> usize {
        self.frame.capacity() * size_of::<f32>()
    }

    /// Takes samples in and tells each frame that they complete.
    pub(super) fn push(&mut self, mut input: &[f32], mut tell: impl FnMut(RawFrame<'_>)) {
        while !input.is_empty() {
            let (part, rest) = input.split_at(input.len().min(self.frame.len() - self.filled));
            self.frame[self.filled..self.filled + part.len()].copy_from_slice(part);
            self.filled += part.len();
            input = rest;
            if self.filled == self.frame.len() {
                tell(RawFrame { values: &self.frame, faint: &[], fresh: 0 });
                self.filled = 0;
            }
        }
    }
}

/// Brings a window's samples to mean 0 and variance 1.
#[expect(clippy::cast_possible_truncation, reason = "the network takes f32")]
pub(super) fn normalize(samples: &mut [f32]) {
    let count = samples.len().max(1) as f64;
    let mean = samples.iter().map(|sample| f64::from(*sample)).sum::<f64>() / count;
    let variance = samples.iter().map(|sample| (f64::from(*sample) - mean).powi(2)).sum::<f64>() / count;
    let deviation = (variance + LEAST_VARIANCE).sqrt();
    samples.iter_mut().for_each(|sample| *sample = ((f64::from(*sample) - mean) / deviation) as f32);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::features::{
        FrontEnd, Pipeline, PipelineOptions, Standardization, Stride, WindowOptions, listen::RawFrames, offline,
    };

    const HOP: usize = 320;

    fn front_end(normalize: bool) -> FrontEnd {
        FrontEnd::Waveform(Options { sample_rate_hz: 16_000, hop_samples: HOP, normalize })
    }

    fn window(grow_frames: Option<usize>) -> WindowOptions {
        WindowOptions { frames: 100, grow_frames, min_seconds: 0.5, min_speech_ratio: 0.0, clear_after_seconds: 2.0 }
    }

    fn strides(normalize: bool, grow: Option<usize>, source_hz: u32, chunks: &[&[f32]]) -> Vec<Stride> {
        let options = PipelineOptions { source_hz, stride_seconds: 0.5, gate: false };
        let mut pipeline =
            Pipeline::new(&front_end(normalize), &window(grow), &Standardization::default(), &options).unwrap();
        chunks.iter().for_each(|chunk| pipeline.push(chunk));
        pipeline.finish();
        std::iter::from_fn(|| pipeline.poll()).collect()
    }

    /// Something with a mean of its own.
    fn signal(samples: usize) -> Vec<f32> {
        (0..samples).map(|n| 0.1 + 0.3 * (n as f32 * 0.05).sin() * (n as f32 * 0.000_3).cos()).collect()
    }

    #[test]
    fn a_window_is_the_last_samples_of_whole_frames() {
        let signal = signal(48_000);
        let told = strides(false, None, 16_000, &[&signal]);
        assert_eq!(told.len(), 6);
        // At 0.5 s 25 frames are there, and silence behind them.
        let first = told[0].outcome.as_ref().unwrap();
        assert_eq!((&first[..8_000], first.len()), (&signal[..8_000], 32_000));
        assert!(first[8_000..].iter().all(|sample| *sample == 0.0));
        let last = told[5].outcome.as_ref().unwrap();
        assert_eq!(last, &signal[16_000..]);
        assert_eq!((told[5].start_samples, told[5].end_samples), (16_000, 48_000));
    }

    #[test]
    fn a_normalised_window_has_mean_0_and_variance_1_and_silence_behind_it_stays() {
        let signal = signal(48_000);
        for (stride, samples) in [(0, 8_000), (5, 32_000)] {
            let told = strides(true, None, 16_000, &[&signal]);
            let window = told[stride].outcome.as_ref().unwrap();
            let (heard, behind) = window.split_at(samples);
            let mean = heard.iter().map(|sample| f64::from(*sample)).sum::<f64>() / samples as f64;
            let power = heard.iter().map(|sample| f64::from(*sample).powi(2)).sum::<f64>() / samples as f64;
            assert!(mean.abs() < 1e-6 && (power - 1.0).abs() < 1e-4, "{mean}, {power}");
            assert!(behind.iter().all(|sample| *sample == 0.0));
        }
        let grown = strides(true, Some(25), 16_000, &[&signal]);
        let lengths: Vec<usize> = grown.iter().map(|stride| stride.outcome.as_ref().unwrap().len()).collect();
        assert_eq!(lengths, [8_000, 16_000, 24_000, 32_000, 32_000, 32_000]);
        let mut silence = vec![0.25; 100];
        normalize(&mut silence);
        assert!(silence.iter().all(|sample| *sample == 0.0), "a constant is not blown up");
    }

    #[test]
    fn a_recording_gives_the_windows_of_a_call() {
        let signal = signal(30_000);
        let (front_end, window, standardization) = (front_end(true), window(Some(10)), Standardization::default());
        let raw = RawFrames::of(&signal, 8_000, &front_end, false).unwrap();
        let mut leg = offline::Leg::new(&front_end, &window, &standardization).unwrap();
        let offline = leg.serve(&raw, &window, 0.5).unwrap();
        let live = strides(true, Some(10), 8_000, &[&signal]);
        assert_eq!(offline.len(), live.len());
        for (offline, live) in offline.iter().zip(&live) {
            assert!(offline.outcome == live.outcome);
        }
    }

    #[test]
    fn parameters_out_of_range_are_told_with_what_is_in_it() {
        let told = |sample_rate_hz, hop_samples| {
            Options { sample_rate_hz, hop_samples, normalize: true }.validate().unwrap_err().to_string()
        };
        assert!(told(4_000, 80).contains("sample_rate_hz = 4000") && told(16_001, 320).contains("multiple of 25"));
        let hop = told(16_000, 16);
        assert!(hop.contains("hop_samples = 16") && hop.contains("80 to 800") && hop.contains("waveform"), "{hop}");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        #[test]
        fn however_the_audio_is_split_windows_are_the_same(
            cuts in prop::collection::vec(0_usize..20_000, 0..12), normalize: bool, grow: bool, wide: bool
        ) {
            let signal = signal(20_000);
            let (grow, source_hz) = (grow.then_some(5), if wide { 16_000 } else { 8_000 });
            let mut cuts = cuts;
            cuts.extend([0, signal.len()]);
            cuts.sort_unstable();
            let chunks: Vec<&[f32]> = cuts.windows(2).map(|cut| &signal[cut[0]..cut[1]]).collect();
            let whole = strides(normalize, grow, source_hz, &[&signal]);
            prop_assert!(whole.iter().any(|stride| stride.outcome.is_ok()));
            prop_assert!(strides(normalize, grow, source_hz, &chunks) == whole);
        }
    }
}
