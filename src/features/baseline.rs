//! How a speaker usually sounds: the mean of each band over the speech heard so far, and its loudest band.
//!
//! | heard | then |
//! |---|---|
//! | speech | the loudest band rises to it at once, and is forgotten by so many dB a second of speech |
//! | a frame of speech leaves the window | it counts into the mean, clamped below the loudest band as of then |
//! | a window is assembled | its frames are clamped, and what is subtracted is the mean over all that left and the window itself |
//! | no speech, a hold | nothing changes |
//!
//! So a window at a call's beginning has its own mean subtracted. The mean is a plain one up to `baseline_seconds` of speech; from
//! then on each new frame counts as much as one of so many.

use pulp::{Arch, Simd, WithSimd};
use zeroize::Zeroize;

use super::logmel8k::Options;
use crate::audio::lanes::largest;

/// Nepers of power a dB.
const PER_DB: f32 = std::f32::consts::LN_10 / 10.0;

/// What is remembered of a speaker. Wiped when dropped.
#[derive(Debug, Clone, PartialEq)]
pub struct Baseline {
    /// Of each band over the frames that left the window.
    mean: Vec<f64>,
    /// Frames it is the mean of, no more than `most_frames`.
    frames: f64,
    most_frames: f64,
    /// The loudest band heard, in ln of power.
    loudest: f32,
    clamp: f32,
    forget_per_frame: f32,
}

/// A window to be clamped and to have the mean subtracted.
struct Subtract<'a, Also> {
    baseline: &'a Baseline,
    also: Also,
    window: &'a mut [f32],
}

impl Baseline {
    /// Nothing heard yet.
    pub fn new(options: &Options) -> Self {
        Self {
            mean: vec![0.0; options.mel_bands],
            frames: 0.0,
            most_frames: f64::from((options.baseline_seconds * options.frame_rate()).round()),
            loudest: f32::NEG_INFINITY,
            clamp: options.clamp_db * PER_DB,
            forget_per_frame: options.clamp_forget_db_per_second * PER_DB / options.frame_rate(),
        }
    }

    /// Bytes that it takes beside itself.
    pub(super) fn bytes(&self) -> usize {
        self.mean.capacity() * size_of::<f64>()
    }

    /// Takes note of a frame of speech that has come.
    pub(super) fn hear(&mut self, bands: &[f32]) {
        let (groups, rest) = bands.as_chunks();
        let loudest = largest(groups.iter().copied(), self.loudest - self.forget_per_frame);
        self.loudest = rest.iter().fold(loudest, |loudest, band| loudest.max(*band));
    }

    /// Takes a frame of speech into the mean, which will stand in no window any more.
    pub(super) fn take(&mut self, bands: &[f32]) {
        if self.most_frames < 1.0 {
            return;
        }
        let floor = self.floor();
        self.frames = (self.frames + 1.0).min(self.most_frames);
        let share = 1.0 / self.frames;
        for (mean, band) in self.mean.iter_mut().zip(bands) {
            *mean += (f64::from(band.max(floor)) - *mean) * share;
        }
    }

    /// Bands are raised to this.
    pub(super) fn floor(&self) -> f32 {
        self.loudest - self.clamp
    }

    /// Frames that the mean is of.
    pub fn frames(&self) -> f64 {
        self.frames
    }

    /// Forgets the loudest band and keeps the mean: what follows came over another line.
    pub fn forget_loudest(&mut self) {
        self.loudest = f32::NEG_INFINITY;
    }

    /// Clamps a window `[frames, bands]` and subtracts the mean over all that was taken in, `also` and the window itself.
    pub(super) fn apply<'a>(&self, also: impl Iterator<Item = &'a [f32]>, window: &mut [f32]) {
        Arch::new().dispatch(Subtract { baseline: self, also, window });
    }

    #[inline(always)]
    #[expect(clippy::cast_possible_truncation, reason = "values are f32")]
    fn subtract<'a>(&self, also: impl Iterator<Item = &'a [f32]>, window: &mut [f32]) {
        let bands = self.mean.len();
        let floor = self.floor();
        let mut sums: Vec<f64> = self.mean.iter().map(|mean| mean * self.frames).collect();
        let mut frames = self.frames;
        let mut count = |values: &[f32]| {
            for (sum, value) in sums.iter_mut().zip(values) {
                *sum += f64::from(*value);
            }
            frames += 1.0;
        };
        let mut clamped = vec![0.0; bands];
        for values in also {
            for (clamped, value) in clamped.iter_mut().zip(values) {
                *clamped = value.max(floor);
            }
            count(&clamped);
        }
        for frame in window.chunks_exact_mut(bands) {
            frame.iter_mut().for_each(|value| *value = if *value > floor { *value } else { floor });
            count(frame);
        }
        let mean: Vec<f32> = sums.iter().map(|sum| (sum / frames) as f32).collect();
        for frame in window.chunks_exact_mut(bands) {
            for (value, mean) in frame.iter_mut().zip(&mean) {
                *value -= mean;
            }
        }
    }
}

impl<'a, Also: Iterator<Item = &'a [f32]>> WithSimd for Subtract<'_, Also> {
    type Output = ();

    // No sum is reordered and nothing fused: the same to the bit with any instructions.
    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        self.baseline.subtract(self.also, self.window);
    }
}

impl Zeroize for Baseline {
    fn zeroize(&mut self) {
        self.mean.zeroize();
        self.frames.zeroize();
        self.loudest.zeroize();
    }
}

impl Drop for Baseline {
    fn drop(&mut self) {
        self.zeroize();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(baseline_seconds: f32) -> Options {
        Options {
            mel_bands: 8,
            clamp_db: 20.0,
            clamp_forget_db_per_second: 1.0,
            baseline_seconds,
            ..Options::default()
        }
    }

    fn hear(baseline: &mut Baseline, level: f32, frames: usize) {
        for _ in 0..frames {
            baseline.hear(&[level; 8]);
            baseline.take(&[level; 8]);
        }
    }

    fn applied(baseline: &Baseline, window: &[f32]) -> Vec<f32> {
        let mut window = window.to_vec();
        baseline.apply(std::iter::empty(), &mut window);
        window
    }

    #[test]
    fn a_window_at_the_beginning_has_its_own_mean_subtracted() {
        let mut baseline = Baseline::new(&options(60.0));
        baseline.hear(&[3.0; 8]);
        let window: Vec<f32> = [1.0, 2.0, 6.0].into_iter().flat_map(|level| [level; 8]).collect();
        let expected: Vec<f32> = [-2.0, -1.0, 3.0].into_iter().flat_map(|level| [level; 8]).collect();
        assert_eq!(applied(&baseline, &window), expected);
    }

    #[test]
    fn all_instructions_subtract_the_same() {
        let mut baseline = Baseline::new(&options(60.0));
        hear(&mut baseline, 2.7, 3);
        let window: Vec<f32> = (0..80_u16).map(|n| f32::from(n * 37 % 101) / 7.0 - 9.0).collect();
        let also = [[0.3; 8], [-40.0; 8]];
        let (mut vectors, mut scalar) = (window.clone(), window);
        baseline.apply(also.iter().map(<[f32; 8]>::as_slice), &mut vectors);
        Subtract { baseline: &baseline, also: also.iter().map(<[f32; 8]>::as_slice), window: &mut scalar }
            .with_simd(pulp::Scalar::new());
        assert_eq!(vectors, scalar);
    }

    #[test]
    fn what_was_heard_before_counts_by_its_frames() {
        let mut baseline = Baseline::new(&options(60.0));
        hear(&mut baseline, 2.0, 3);
        // (3 * 2 + 1 * 6 + 2 * 0) / 6 = 2, the two zeros being speech that stands in no window.
        let mut window = [6.0; 8];
        baseline.apply([&[0.0_f32; 8][..]; 2].into_iter(), &mut window);
        assert_eq!(window, [4.0; 8]);
    }

    #[test]
    fn beyond_its_seconds_what_is_older_counts_less() {
        // 62.5 frames a second: 0.8 s are 50 frames.
        let mut baseline = Baseline::new(&options(0.8));
        hear(&mut baseline, 0.0, 1_000);
        hear(&mut baseline, 1.0, 50);
        let expected = 1.0 - (1.0 - 1.0 / 50.0_f64).powi(50);
        assert!((baseline.mean[0] - expected).abs() < 1e-9 && baseline.frames() == 50.0, "{:?}", baseline.mean);
        let mut none = Baseline::new(&options(0.0));
        hear(&mut none, 5.0, 100);
        assert_eq!(applied(&none, &[7.0; 8]), [0.0; 8], "with no seconds the window's own mean");
    }

    #[test]
    fn bands_are_raised_to_a_floor_that_sinks_with_speech_alone() {
        let mut baseline = Baseline::new(&options(60.0));
        baseline.hear(&[10.0 * PER_DB, -90.0, -90.0, -90.0, -90.0, -90.0, -90.0, -90.0]);
        assert!((baseline.floor() - -10.0 * PER_DB).abs() < 1e-5);
        for _ in 0..125 {
            baseline.hear(&[-90.0; 8]);
        }
        assert!((baseline.floor() - -12.0 * PER_DB).abs() < 1e-4, "2 s of speech forget 2 dB");
        let mut window = [-90.0, -90.0, -90.0, -90.0, -90.0, -90.0, -90.0, 0.0].repeat(2);
        window[0] = 0.0;
        let window = applied(&baseline, &window);
        assert!((window[0] - 6.0 * PER_DB).abs() < 1e-4 && (window[8] + 6.0 * PER_DB).abs() < 1e-4, "{window:?}");
        baseline.forget_loudest();
        baseline.hear(&[-50.0; 8]);
        assert!((baseline.floor() - (-50.0 - 20.0 * PER_DB)).abs() < 1e-4);
    }

    #[test]
    fn nothing_is_left_of_one_that_is_wiped() {
        let mut baseline = Baseline::new(&options(60.0));
        hear(&mut baseline, 2.0, 100);
        assert!(baseline.mean.iter().all(|&mean| mean == 2.0) && baseline.frames == 100.0);
        baseline.zeroize();
        assert!(baseline.mean.is_empty() && baseline.frames == 0.0 && baseline.loudest == 0.0, "{baseline:?}");
    }
}
