//! Frame of `thesis154` → power spectrum, under a periodic Hann window.
//!
//! Whole clips are transformed in f64, as librosa's are; calls in f32, which costs a third and shows in bands far below a frame's
//! loudest.

use std::{
    cell::RefCell,
    sync::{Arc, LazyLock},
};

use realfft::{RealFftPlanner, RealToComplex, num_complex::Complex64};

use super::thesis154::{BINS, FRAME_SAMPLES};
use crate::audio::power::{Buffers, PowerSpectrum};

/// Puts the power in each of a frame's 1,025 bins; what is behind them stays as it is.
pub(super) type Power = fn(frame: &[f32], power: &mut [f32]);

static FAST: LazyLock<PowerSpectrum> =
    LazyLock::new(|| PowerSpectrum::new(hann().into_iter().map(single).collect(), FRAME_SAMPLES));
static EXACT: LazyLock<Exact> =
    LazyLock::new(|| Exact { window: hann(), fft: RealFftPlanner::new().plan_fft_forward(FRAME_SAMPLES) });

thread_local! {
    static BUFFERS: RefCell<Buffers> = RefCell::default();
}

struct Exact {
    window: Vec<f64>,
    fft: Arc<dyn RealToComplex<f64>>,
}

/// In f32.
pub(super) fn fast(frame: &[f32], power: &mut [f32]) {
    BUFFERS.with_borrow_mut(|buffers| FAST.power(frame, buffers, power));
}

/// In f64.
#[expect(clippy::cast_possible_truncation, reason = "librosa keeps spectra in f32")]
pub(super) fn exact(frame: &[f32], power: &mut [f32]) {
    for (power, bin) in power.iter_mut().zip(EXACT.transform(frame)) {
        let (re, im) = (bin.re as f32, bin.im as f32);
        *power = re * re + im * im;
    }
}

/// In f64, rounded where librosa rounds: it squares the magnitude of an f32 spectrum. Tuning compares neighbouring bins, and
/// the last bit decides between equals.
#[expect(clippy::cast_possible_truncation, reason = "librosa keeps spectra in f32")]
pub(super) fn rounded(frame: &[f32], power: &mut [f32; BINS]) {
    for (power, bin) in power.iter_mut().zip(EXACT.transform(frame)) {
        let (re, im) = (f64::from(bin.re as f32), f64::from(bin.im as f32));
        let magnitude = (re * re + im * im).sqrt() as f32;
        *power = magnitude * magnitude;
    }
}

impl Exact {
    fn transform(&self, frame: &[f32]) -> Vec<Complex64> {
        let mut windowed: Vec<f64> = frame.iter().zip(&self.window).map(|(sample, w)| f64::from(*sample) * w).collect();
        let mut bins = self.fft.make_output_vec();
        self.fft.process(&mut windowed, &mut bins).expect("a frame is as long as the plan's");
        bins
    }
}

fn hann() -> Vec<f64> {
    let turn = std::f64::consts::TAU / FRAME_SAMPLES as f64;
    (0..FRAME_SAMPLES).map(|n| 0.5 - 0.5 * (turn * n as f64).cos()).collect()
}

#[expect(clippy::cast_possible_truncation, reason = "that is what it is for")]
fn single(value: f64) -> f32 {
    value as f32
}
