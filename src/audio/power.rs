//! Samples → power spectrum in f32: a window, then a complex FFT of half as many points over pairs of samples, from which the real
//! signal's bins are told apart (W. Press et al., Numerical Recipes, "FFT of Single Real Function").
//!
//! What is left of a frame in the buffers is wiped before the next, so that nothing of a leg stays behind in its thread.
//!
//! It is what realfft does, but gives powers instead of bins and does the telling apart with vector instructions: that was a fifth
//! of what a second of call costs.

use std::{f64::consts::PI, sync::Arc};

use pulp::{Arch, Simd, WithSimd};
use rustfft::{Fft, FftPlanner, num_complex::Complex32};

/// Window and plan, to be shared.
pub(crate) struct PowerSpectrum {
    window: Vec<f32>,
    /// Of half the points.
    fft: Arc<dyn Fft<f32>>,
    /// `-i exp(-2 pi i k / points)` for `k` from 1 to a quarter of the points.
    twiddles: Planes,
}

/// What one spectrum is computed in, all 0 between two. A thread has one for all its legs: a thousand would drive each other out of the caches.
#[derive(Default)]
pub(crate) struct Buffers {
    packed: Vec<Complex32>,
    scratch: Vec<Complex32>,
    bins: Planes,
    high: Vec<f32>,
}

/// Complex numbers, the real parts apart from the imaginary.
#[derive(Default)]
struct Planes {
    re: Vec<f32>,
    im: Vec<f32>,
}

/// Samples into pairs under the window.
struct Pack<'a> {
    frame: &'a [f32],
    window: &'a [f32],
    packed: &'a mut [Complex32],
}

/// The bins of pairs into powers of bins.
struct TellApart<'a> {
    packed: &'a [Complex32],
    bins: &'a mut Planes,
    twiddles: &'a Planes,
    high: &'a mut [f32],
    power: &'a mut [f32],
}

impl PowerSpectrum {
    /// For frames as long as the window, with silence behind to an even number of points.
    #[expect(clippy::cast_possible_truncation, reason = "applied in f32")]
    pub(crate) fn new(window: Vec<f32>, points: usize) -> Self {
        let half = points / 2;
        let angle = |k: usize| -2.0 * PI * k as f64 / points as f64;
        let twiddles = Planes {
            re: (1..=half / 2).map(|k| angle(k).sin() as f32).collect(),
            im: (1..=half / 2).map(|k| -angle(k).cos() as f32).collect(),
        };
        Self { window, fft: FftPlanner::new().plan_fft_forward(half), twiddles }
    }

    /// The power in each of the frame's `points / 2 + 1` bins; what is behind them stays as it is.
    pub(crate) fn power(&self, frame: &[f32], buffers: &mut Buffers, power: &mut [f32]) {
        let half = self.fft.len();
        let Buffers { packed, scratch, bins, high } = buffers;
        // No cost while all frames of a thread are of one length.
        packed.resize(half, Complex32::ZERO);
        scratch.resize(self.fft.get_inplace_scratch_len(), Complex32::ZERO);
        bins.re.resize(half, 0.0);
        bins.im.resize(half, 0.0);
        high.resize(half / 2, 0.0);
        let arch = Arch::new();
        arch.dispatch(Pack { frame, window: &self.window, packed });
        self.fft.process_with_scratch(packed, scratch);
        arch.dispatch(TellApart { packed, bins, twiddles: &self.twiddles, high, power: &mut power[..=half] });
        buffers.wipe();
    }
}

impl Buffers {
    /// Stores to memory that outlives the call are not left out, and cost less than volatile ones.
    fn wipe(&mut self) {
        let Self { packed, scratch, bins, high } = self;
        packed.fill(Complex32::ZERO);
        scratch.fill(Complex32::ZERO);
        bins.re.fill(0.0);
        bins.im.fill(0.0);
        high.fill(0.0);
    }
}

impl WithSimd for Pack<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let Self { frame, window, packed } = self;
        let (frames, last) = frame.as_chunks::<2>();
        let (windows, last_window) = window.as_chunks::<2>();
        let (under, behind) = packed.split_at_mut(frames.len());
        for ((packed, sample), weight) in under.iter_mut().zip(frames).zip(windows) {
            *packed = Complex32::new(sample[0] * weight[0], sample[1] * weight[1]);
        }
        behind.fill(Complex32::ZERO);
        if let ([sample], [weight]) = (last, last_window) {
            behind[0].re = sample * weight;
        }
    }
}

impl WithSimd for TellApart<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let Self { packed, bins: Planes { re, im }, twiddles, high, power } = self;
        let (half, pairs) = (packed.len(), high.len());
        for ((re, im), bin) in re.iter_mut().zip(im.iter_mut()).zip(packed) {
            (*re, *im) = (bin.re, bin.im);
        }
        power[0] = (re[0] + im[0]) * (re[0] + im[0]);
        power[half] = (re[0] - im[0]) * (re[0] - im[0]);
        // Of one length all, so that nothing is checked within the loop. Bin k and bin half - k are each other's mirror.
        let (front_re, front_im) = (&re[1..][..pairs], &im[1..][..pairs]);
        let (back_re, back_im) = (&re[half - pairs..][..pairs], &im[half - pairs..][..pairs]);
        let (turn_re, turn_im) = (&twiddles.re[..pairs], &twiddles.im[..pairs]);
        let (low, high) = (&mut power[1..][..pairs], &mut high[..pairs]);
        for k in 0..pairs {
            let mirror = pairs - 1 - k;
            let (sum_re, sum_im) = (front_re[k] + back_re[mirror], front_im[k] - back_im[mirror]);
            let (rest_re, rest_im) = (front_re[k] - back_re[mirror], front_im[k] + back_im[mirror]);
            let turned_re = turn_re[k] * rest_re - turn_im[k] * rest_im;
            let turned_im = turn_re[k] * rest_im + turn_im[k] * rest_re;
            let (low_re, low_im) = (sum_re + turned_re, sum_im + turned_im);
            let (high_re, high_im) = (sum_re - turned_re, sum_im - turned_im);
            low[k] = 0.25 * (low_re * low_re + low_im * low_im);
            high[k] = 0.25 * (high_re * high_re + high_im * high_im);
        }
        for (power, high) in power[half - pairs..half].iter_mut().rev().zip(high) {
            *power = *high;
        }
    }
}

#[cfg(test)]
mod tests {
    use realfft::RealFftPlanner;

    use super::*;

    #[test]
    fn nothing_of_a_frame_stays_in_the_buffers() {
        let (mut buffers, mut power) = (Buffers::default(), vec![0.0; 257]);
        PowerSpectrum::new(vec![1.0; 512], 512).power(&[0.5; 512], &mut buffers, &mut power);
        assert!(power[0] > 0.0);
        let Buffers { packed, scratch, bins, high } = buffers;
        assert_eq!((packed.len(), bins.re.len(), bins.im.len(), high.len()), (256, 256, 256, 128));
        assert!([packed, scratch].concat().iter().all(|number| *number == Complex32::ZERO));
        assert!([bins.re, bins.im, high].concat().iter().all(|number| *number == 0.0));
    }

    #[test]
    fn powers_are_those_of_a_real_fft_in_f64() {
        for (samples, points) in [(2_048, 2_048), (512, 1_024), (400, 500), (399, 402), (64, 64), (3, 6)] {
            let frame: Vec<f32> = (0..samples).map(|n| (n * n % 977) as f32 / 500.0 - 0.9).collect();
            let window: Vec<f32> = (0..samples).map(|n| 0.3 + (n % 7) as f32 / 10.0).collect();
            let mut power = vec![7.0; points / 2 + 3];
            PowerSpectrum::new(window.clone(), points).power(&frame, &mut Buffers::default(), &mut power);
            assert_eq!(power[points / 2 + 1..], [7.0; 2]);
            let fft = RealFftPlanner::<f64>::new().plan_fft_forward(points);
            let (mut input, mut bins) = (fft.make_input_vec(), fft.make_output_vec());
            for ((input, sample), weight) in input.iter_mut().zip(&frame).zip(&window) {
                *input = f64::from(*sample) * f64::from(*weight);
            }
            fft.process(&mut input, &mut bins).expect("the plan made the buffers");
            let loudest = bins.iter().map(|bin| bin.norm_sqr()).fold(0.0, f64::max);
            for (bin, (actual, expected)) in power.iter().zip(&bins).enumerate() {
                let (actual, expected) = (f64::from(*actual).sqrt(), expected.norm());
                assert!(
                    (actual - expected).abs() < 1e-6 * loudest.sqrt(),
                    "{points} points, bin {bin}: {actual} and {expected}"
                );
            }
        }
    }
}
