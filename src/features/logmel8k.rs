//! The telephone front end: the logarithm of mel bands at 8,000 Hz, each voice heard against its own baseline.
//!
//! Frames of 64 ms resolve a voice's harmonics. Frame `f` begins at sample `f * hop_samples` and looks at no sample beyond its own;
//! what does not fill a frame at a stream's end is left out. A band is `ln(power + least_power)`, power being that of samples in ±1
//! under a symmetric Hann window, weighted by a triangle over the mel scale `2595 log10(1 + hz / 700)`.
//!
//! What looks further than one frame is done when a window is assembled ([`super::memory`]): bands are clamped below the loudest heard,
//! and the [`super::baseline`] is subtracted.

use std::{
    cell::RefCell,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use pulp::{Arch, Simd, WithSimd};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::{Error, bank::Bank, raw::RawFrame};
use crate::audio::{
    lanes::ln_in_place,
    power::{Buffers, PowerSpectrum},
};

#[cfg(test)]
mod tests;

/// Samples a second.
pub const SAMPLE_RATE_HZ: u32 = 8_000;

/// Its parameters, which the manifest states.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Options {
    /// 8,000 Hz.
    pub sample_rate_hz: u32,
    /// Samples a frame: 64 to 4,096.
    pub frame_samples: usize,
    /// Points of its FFT, silence behind the frame: even, from `frame_samples` to 8,192.
    pub fft_samples: usize,
    /// Samples between frames: 16 to `frame_samples`.
    pub hop_samples: usize,
    /// Mel bands: 8 to 256.
    pub mel_bands: usize,
    /// Where the lowest band begins. Hz.
    pub min_hz: f64,
    /// Where the highest band ends, above `min_hz` and up to 4,000 Hz.
    pub max_hz: f64,
    /// Added to a band's power before its logarithm is taken: 1e-12 to 1.
    pub least_power: f32,
    /// Bands are raised to so far below the loudest that was heard of the leg's speech: 10 to 200 dB. What lies deeper tells how
    /// clean a line is, and not how a voice sounds.
    pub clamp_db: f32,
    /// How fast the loudest band is forgotten, in dB for every second of speech: 0 to 60.
    pub clamp_forget_db_per_second: f32,
    /// Speech that the baseline is the mean of; of more, what is older counts ever less. 0 to 3,600 s; with 0 it is the window's own mean.
    pub baseline_seconds: f32,
}

/// Makes raw frames of a stream without allocating.
pub(super) struct Extractor {
    plan: Arc<Plan>,
    /// The samples of the frame under way.
    samples: Zeroizing<Vec<f32>>,
    filled: usize,
    bands: Vec<f32>,
}

thread_local! {
    /// What one frame is analysed in, and its spectrum.
    static BUFFERS: RefCell<(Buffers, Vec<f32>)> = RefCell::default();
}

/// What becomes of a spectrum.
struct Bands<'a> {
    power: &'a [f32],
    bank: &'a Bank,
    least_power: f32,
    bands: &'a mut [f32],
}

/// What the legs of one model share.
struct Plan {
    options: Options,
    spectrum: PowerSpectrum,
    bank: Bank,
}

/// The plans in use.
static PLANS: Mutex<Vec<Weak<Plan>>> = Mutex::new(Vec::new());

impl Default for Options {
    fn default() -> Self {
        Self {
            sample_rate_hz: SAMPLE_RATE_HZ,
            frame_samples: 512,
            fft_samples: 1_024,
            hop_samples: 128,
            mel_bands: 96,
            min_hz: 60.0,
            max_hz: 4_000.0,
            least_power: 1e-6,
            clamp_db: 50.0,
            clamp_forget_db_per_second: 0.5,
            baseline_seconds: 60.0,
        }
    }
}

impl Options {
    /// Checks that all parameters are supported.
    ///
    /// # Errors
    /// [`Error::Parameter`] names the first that is not, and the values that are.
    pub fn validate(&self) -> Result<(), Error> {
        fn check<T: PartialOrd + ToString + Copy>(name: &'static str, actual: T, from: T, to: T) -> Result<(), Error> {
            if from <= actual && actual <= to {
                return Ok(());
            }
            let expected = if from == to {
                from.to_string()
            } else {
                format!("a number from {} to {}", from.to_string(), to.to_string())
            };
            Err(Error::Parameter { front_end: "logmel8k", name, expected, actual: actual.to_string() })
        }
        check("sample_rate_hz", self.sample_rate_hz, SAMPLE_RATE_HZ, SAMPLE_RATE_HZ)?;
        check("frame_samples", self.frame_samples, 64, 4_096)?;
        check("fft_samples", self.fft_samples, self.frame_samples, 8_192)?;
        if !self.fft_samples.is_multiple_of(2) {
            let (expected, actual) = ("an even number".to_owned(), self.fft_samples.to_string());
            return Err(Error::Parameter { front_end: "logmel8k", name: "fft_samples", expected, actual });
        }
        check("hop_samples", self.hop_samples, 16, self.frame_samples)?;
        check("mel_bands", self.mel_bands, 8, 256)?;
        check("max_hz", self.max_hz, 100.0, f64::from(SAMPLE_RATE_HZ) / 2.0)?;
        check("min_hz", self.min_hz, 0.0, self.max_hz - 100.0)?;
        check("least_power", self.least_power, 1e-12, 1.0)?;
        check("clamp_db", self.clamp_db, 10.0, 200.0)?;
        check("clamp_forget_db_per_second", self.clamp_forget_db_per_second, 0.0, 60.0)?;
        check("baseline_seconds", self.baseline_seconds, 0.0, 3_600.0)
    }

    /// Frames a second.
    pub(super) fn frame_rate(&self) -> f32 {
        self.sample_rate_hz as f32 / self.hop_samples as f32
    }
}

impl Extractor {
    /// For valid options.
    pub(super) fn new(options: &Options) -> Self {
        let plan = Plan::shared(options);
        Self {
            samples: Zeroizing::new(vec![0.0; options.frame_samples]),
            filled: 0,
            bands: vec![0.0; options.mel_bands],
            plan,
        }
    }

    /// Takes samples in and tells each raw frame that they complete.
    pub(super) fn push(&mut self, mut input: &[f32], mut tell: impl FnMut(RawFrame<'_>)) {
        while !input.is_empty() {
            let (part, rest) = input.split_at(input.len().min(self.samples.len() - self.filled));
            self.samples[self.filled..self.filled + part.len()].copy_from_slice(part);
            self.filled += part.len();
            input = rest;
            if self.filled == self.samples.len() {
                self.analyse();
                tell(RawFrame { values: &self.bands, faint: &[], fresh: 0 });
                let hop = self.plan.options.hop_samples;
                self.samples.copy_within(hop.., 0);
                self.filled -= hop;
            }
        }
    }

    /// Bytes of its frame and its bands.
    pub(super) fn bytes(&self) -> usize {
        (self.samples.capacity() + self.bands.capacity()) * size_of::<f32>()
    }

    /// The frame's bands.
    fn analyse(&mut self) {
        let Self { plan, samples, bands, .. } = self;
        let Plan { options, spectrum, bank } = &**plan;
        BUFFERS.with_borrow_mut(|(buffers, power)| {
            // No cost while all legs of a thread are of one model.
            if power.len() != bank.spectrum_len() {
                *power = bank.spectrum();
            }
            spectrum.power(samples, buffers, power);
            Arch::new().dispatch(Bands { power, bank, least_power: options.least_power, bands });
        });
    }
}

impl WithSimd for Bands<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let Self { power, bank, least_power, bands } = self;
        bank.apply(power, bands);
        bands.iter_mut().for_each(|band| *band += least_power);
        ln_in_place(bands);
    }
}

impl Plan {
    /// The plan for these options, made if no leg has one.
    fn shared(options: &Options) -> Arc<Self> {
        // A plan is pushed whole, so the list is good after a panic too.
        let mut plans = PLANS.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(plan) = plans.iter().filter_map(Weak::upgrade).find(|plan| plan.options == *options) {
            return plan;
        }
        let plan = Arc::new(Self::new(options));
        plans.retain(|plan| plan.strong_count() > 0);
        plans.push(Arc::downgrade(&plan));
        plan
    }

    fn new(options: &Options) -> Self {
        Self {
            options: options.clone(),
            spectrum: PowerSpectrum::new(hann(options.frame_samples), options.fft_samples),
            bank: bank(options),
        }
    }
}

/// A symmetric Hann window.
#[expect(clippy::cast_possible_truncation, reason = "it is applied in f32")]
fn hann(samples: usize) -> Vec<f32> {
    let turn = std::f64::consts::TAU / (samples - 1) as f64;
    (0..samples).map(|n| (0.5 - 0.5 * (turn * n as f64).cos()) as f32).collect()
}

/// Triangles of height 1; a band so narrow that it holds no bin has the one nearest its middle.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "applied in f32; a bin is positive and small"
)]
fn bank(options: &Options) -> Bank {
    let &Options { fft_samples, mel_bands, .. } = options;
    let bins = fft_samples / 2 + 1;
    let hz_per_bin = f64::from(options.sample_rate_hz) / fft_samples as f64;
    let (lowest, highest) = (mel_of(options.min_hz), mel_of(options.max_hz));
    let edge = |edge: usize| hz_of(lowest + (highest - lowest) * edge as f64 / (mel_bands + 1) as f64);
    let edges: Vec<f64> = (0..mel_bands + 2).map(edge).collect();
    let triangle = |band: usize, bin: usize| {
        let hz = bin as f64 * hz_per_bin;
        let rising = (hz - edges[band]) / (edges[band + 1] - edges[band]);
        let falling = (edges[band + 2] - hz) / (edges[band + 2] - edges[band + 1]);
        rising.min(falling).max(0.0) as f32
    };
    let nearest = |band: usize| ((edges[band + 1] / hz_per_bin).round_ties_even() as usize).min(bins - 1);
    let empty: Vec<bool> = (0..mel_bands).map(|band| (0..bins).all(|bin| triangle(band, bin) == 0.0)).collect();
    Bank::new(mel_bands, bins, |band, bin| {
        if empty[band] { f32::from(u8::from(bin == nearest(band))) } else { triangle(band, bin) }
    })
}

fn mel_of(hz: f64) -> f64 {
    2_595.0 * (1.0 + hz / 700.0).log10()
}

fn hz_of(mel: f64) -> f64 {
    700.0 * (10_f64.powf(mel / 2_595.0) - 1.0)
}
