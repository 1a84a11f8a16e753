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

use zeroize::Zeroize;

use super::logmel8k::Options;

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

    /// Takes note of a frame of speech that has come.
    pub(super) fn hear(&mut self, bands: &[f32]) {
        let loudest = bands.iter().fold(f32::NEG_INFINITY, |loudest, band| loudest.max(*band));
        self.loudest = loudest.max(self.loudest - self.forget_per_frame);
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
    #[expect(clippy::cast_possible_truncation, reason = "values are f32")]
    pub(super) fn apply<'a>(&self, also: impl Iterator<Item = &'a [f32]>, window: &mut [f32]) {
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
            frame.iter_mut().for_each(|value| *value = value.max(floor));
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
