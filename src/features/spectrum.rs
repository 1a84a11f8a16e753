//! Frame → power spectrum: periodic Hann window and a real FFT.
//!
//! Whole clips are transformed in f64, as librosa's are; calls in f32, which costs half and shows in bands far below a frame's loudest
//! (docs/features.md).

use std::{
    cell::RefCell,
    sync::{Arc, LazyLock},
};

use realfft::{FftNum, RealFftPlanner, RealToComplex, num_complex::Complex};

use super::thesis154::{BINS, FRAME_SAMPLES};

/// Window and plan of a precision, which are the same for every leg.
pub(super) struct Shared<T: FftNum> {
    window: Vec<T>,
    fft: Arc<dyn RealToComplex<T>>,
}

static SINGLE: LazyLock<Shared<f32>> = LazyLock::new(|| Shared::new(f32::narrowed));
static DOUBLE: LazyLock<Shared<f64>> = LazyLock::new(|| Shared::new(f64::narrowed));

thread_local! {
    static SINGLE_BUFFERS: RefCell<Buffers<f32>> = RefCell::new(Buffers::new());
    static DOUBLE_BUFFERS: RefCell<Buffers<f64>> = RefCell::new(Buffers::new());
}

/// What spectra are computed in.
pub(super) trait Precision: FftNum {
    fn shared() -> &'static Shared<Self>;
    /// Lends the thread's own.
    fn with_buffers<R>(work: impl FnOnce(&mut Buffers<Self>) -> R) -> R;
    fn narrowed(value: f64) -> Self;
    fn of(sample: f32) -> Self;
    fn single(self) -> f32;
}

/// What one transform works in. A thread has one, for all its legs: a thousand would drive each other out of the caches.
pub(super) struct Buffers<T: Precision> {
    windowed: Vec<T>,
    bins: Vec<Complex<T>>,
    scratch: Vec<Complex<T>>,
}

impl Precision for f32 {
    fn shared() -> &'static Shared<Self> {
        &SINGLE
    }

    fn with_buffers<R>(work: impl FnOnce(&mut Buffers<Self>) -> R) -> R {
        SINGLE_BUFFERS.with_borrow_mut(work)
    }

    #[expect(clippy::cast_possible_truncation, reason = "that is what it is for")]
    fn narrowed(value: f64) -> Self {
        value as Self
    }

    #[inline(always)]
    fn of(sample: f32) -> Self {
        sample
    }

    #[inline(always)]
    fn single(self) -> f32 {
        self
    }
}

impl Precision for f64 {
    fn shared() -> &'static Shared<Self> {
        &DOUBLE
    }

    fn with_buffers<R>(work: impl FnOnce(&mut Buffers<Self>) -> R) -> R {
        DOUBLE_BUFFERS.with_borrow_mut(work)
    }

    fn narrowed(value: f64) -> Self {
        value
    }

    #[inline(always)]
    fn of(sample: f32) -> Self {
        sample.into()
    }

    #[inline(always)]
    #[expect(clippy::cast_possible_truncation, reason = "librosa keeps spectra in f32")]
    fn single(self) -> f32 {
        self as f32
    }
}

impl<T: Precision> Shared<T> {
    fn new(narrowed: impl Fn(f64) -> T) -> Self {
        let turn = std::f64::consts::TAU / FRAME_SAMPLES as f64;
        Self {
            window: (0..FRAME_SAMPLES).map(|n| narrowed(0.5 - 0.5 * (turn * n as f64).cos())).collect(),
            fft: RealFftPlanner::new().plan_fft_forward(FRAME_SAMPLES),
        }
    }
}

impl<T: Precision> Buffers<T> {
    fn new() -> Self {
        let fft = &T::shared().fft;
        Self { windowed: fft.make_input_vec(), bins: fft.make_output_vec(), scratch: fft.make_scratch_vec() }
    }

    fn transform(&mut self, frame: &[f32]) -> &[Complex<T>] {
        let Shared { window, fft } = T::shared();
        for ((windowed, sample), weight) in self.windowed.iter_mut().zip(frame).zip(window) {
            *windowed = T::of(*sample) * *weight;
        }
        fft.process_with_scratch(&mut self.windowed, &mut self.bins, &mut self.scratch)
            .expect("the plan made the buffers");
        &self.bins
    }
}

/// The power in each of the frame's 1,025 bins; what is beyond them stays as it is.
pub(super) fn power<T: Precision>(frame: &[f32], power: &mut [f32]) {
    T::with_buffers(|buffers| {
        for (power, bin) in power.iter_mut().zip(buffers.transform(frame)) {
            let (re, im) = (bin.re.single(), bin.im.single());
            *power = re * re + im * im;
        }
    });
}

/// The same in f64, rounded where librosa rounds: it squares the magnitude of an f32 spectrum. Tuning compares neighbouring bins, and
/// the last bit decides between equals.
#[expect(clippy::cast_possible_truncation, reason = "librosa keeps spectra in f32")]
pub(super) fn rounded_power(frame: &[f32], power: &mut [f32; BINS]) {
    f64::with_buffers(|buffers| {
        for (power, bin) in power.iter_mut().zip(buffers.transform(frame)) {
            let (re, im) = (f64::from(bin.re as f32), f64::from(bin.im as f32));
            let magnitude = (re * re + im * im).sqrt() as f32;
            *power = magnitude * magnitude;
        }
    });
}
