//! Frame → power spectrum: periodic Hann window and a real FFT.
//!
//! The FFT is in f64 as librosa's is: bands 80 dB below a frame's loudest are heard, where an f32 FFT's rounding shows.

use std::sync::{Arc, LazyLock};

use realfft::{RealFftPlanner, RealToComplex, num_complex::Complex64};

use super::thesis154::{BINS, FRAME_SAMPLES};

/// Window and plan are the same for every leg.
static SHARED: LazyLock<Shared> = LazyLock::new(|| Shared {
    window: (0..FRAME_SAMPLES)
        .map(|n| 0.5 - 0.5 * (std::f64::consts::TAU * n as f64 / FRAME_SAMPLES as f64).cos())
        .collect(),
    fft: RealFftPlanner::new().plan_fft_forward(FRAME_SAMPLES),
});

struct Shared {
    window: Vec<f64>,
    fft: Arc<dyn RealToComplex<f64>>,
}

/// Computes spectra without allocating.
pub(super) struct Spectrum {
    windowed: Vec<f64>,
    bins: Vec<Complex64>,
    scratch: Vec<Complex64>,
}

impl Spectrum {
    pub(super) fn new() -> Self {
        let fft = &SHARED.fft;
        Self { windowed: fft.make_input_vec(), bins: fft.make_output_vec(), scratch: fft.make_scratch_vec() }
    }

    /// The power in each of the frame's 1,025 bins.
    #[expect(clippy::cast_possible_truncation, reason = "librosa keeps spectra in f32")]
    pub(super) fn power(&mut self, frame: &[f32], power: &mut [f32; BINS]) {
        self.transform(frame);
        for (power, bin) in power.iter_mut().zip(&self.bins) {
            let (re, im) = (bin.re as f32, bin.im as f32);
            *power = re * re + im * im;
        }
    }

    /// The same, rounded where librosa rounds: it squares the magnitude of an f32 spectrum. Tuning compares neighbouring bins, and
    /// the last bit decides between equals.
    #[expect(clippy::cast_possible_truncation, reason = "librosa keeps spectra in f32")]
    pub(super) fn rounded_power(&mut self, frame: &[f32], power: &mut [f32; BINS]) {
        self.transform(frame);
        for (power, bin) in power.iter_mut().zip(&self.bins) {
            let (re, im) = (f64::from(bin.re as f32), f64::from(bin.im as f32));
            let magnitude = (re * re + im * im).sqrt() as f32;
            *power = magnitude * magnitude;
        }
    }

    fn transform(&mut self, frame: &[f32]) {
        for ((windowed, sample), weight) in self.windowed.iter_mut().zip(frame).zip(&SHARED.window) {
            *windowed = f64::from(*sample) * weight;
        }
        SHARED
            .fft
            .process_with_scratch(&mut self.windowed, &mut self.bins, &mut self.scratch)
            .expect("the plan made the buffers");
    }
}
