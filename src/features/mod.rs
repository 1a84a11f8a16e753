//! From samples to what a network is given: frames, and a rolling window of them at every stride.
//!
//! One implementation serves calls, files and the trainer: a model's manifest names its [`FrontEnd`], [`WindowOptions`] and
//! [`Standardization`], and [`Pipeline`] is built from them.

use serde::{Deserialize, Serialize};

pub mod thesis154;

/// A front end and all of its parameters, as a manifest holds it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "lowercase", deny_unknown_fields)]
pub enum FrontEnd {
    /// MFCC, chroma, mel spectrogram and zero-crossing rate: 154 values a frame.
    Thesis154(thesis154::Options),
}

impl FrontEnd {
    /// "thesis154".
    pub fn name(&self) -> &'static str {
        match self {
            Self::Thesis154(_) => "thesis154",
        }
    }

    /// The rate it works at.
    pub fn sample_rate_hz(&self) -> u32 {
        todo!()
    }

    /// Values a frame.
    pub fn values(&self) -> usize {
        todo!()
    }

    /// Samples between frames, at its own rate.
    pub fn hop_samples(&self) -> usize {
        todo!()
    }
}

/// Which frames a network is given at once.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WindowOptions {
    /// Frames the network takes; a shorter window is padded with 0 behind.
    pub frames: usize,
    /// Least speech, from onset, before anything is scored. Seconds.
    pub min_seconds: f32,
    /// A window with a smaller part of speech is not scored.
    pub min_speech_ratio: f32,
    /// Non-speech after which the window is cleared. Seconds.
    pub clear_after_seconds: f32,
}

/// The mean and standard deviation of each value over the training frames, padding included.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Standardization {
    /// One a value.
    pub mean: Vec<f32>,
    /// One a value.
    pub deviation: Vec<f32>,
}

/// Why a stretch is not scored. The whole set, whoever finds it: the gate, the call or the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum NotScored {
    /// Nobody speaks.
    Silence,
    /// There is sound, but it is not speech.
    Noise,
    /// A signalling tone.
    Tone,
    /// Music.
    Music,
    /// The party is on hold.
    OnHold,
    /// Less speech so far than the shortest window.
    TooShort,
    /// Speech drowned in noise.
    LowSnr,
    /// Audio is missing.
    Gap,
    /// The policy does not permit it.
    NotPermitted,
    /// Consent was withdrawn.
    ConsentWithdrawn,
    /// The server had more to do than it could.
    Overloaded,
    /// Inference failed.
    Failed,
}

/// What one stride yields. Positions are samples at the source's rate.
#[derive(Debug, Clone, PartialEq)]
pub struct Stride {
    /// First sample looked at.
    pub start_samples: u64,
    /// One past the last.
    pub end_samples: u64,
    /// Samples that had to be pushed before this stride could be told.
    pub depends_on_samples: u64,
    /// Part of the stretch that was speech, 0 to 1.
    pub speech_ratio: f32,
    /// Speech since the last stride, in seconds.
    pub speech_seconds: f32,
    /// The window `[frames, values]`, standardised and padded, or why there is none.
    pub outcome: Result<Vec<f32>, NotScored>,
}

/// What a [`Pipeline`] is to do beyond what the model's manifest says.
#[derive(Debug, Clone, PartialEq)]
pub struct PipelineOptions {
    /// The rate of the samples that will be pushed: 8,000 to 48,000.
    pub source_hz: u32,
    /// Time between strides in seconds: 0.25 to 5.
    pub stride_seconds: f64,
    /// Whether the gate decides what is speech; without it all is.
    pub gate: bool,
}

/// Samples of one leg in; a window, or the reason for none, out at every stride: resampler, gate, extractor and window in one.
///
/// However the samples are split over pushes, the strides are the same.
pub struct Pipeline {}

impl Pipeline {
    /// A pipeline for one leg.
    pub fn new(
        _front_end: &FrontEnd,
        _window: &WindowOptions,
        _standardization: &Standardization,
        _options: &PipelineOptions,
    ) -> Result<Self, crate::audio::resample::Error> {
        todo!()
    }

    /// Takes samples in.
    pub fn push(&mut self, _samples: &[f32]) {
        todo!()
    }

    /// Decides now on what was heard since the last stride; nothing new, nothing decided.
    pub fn flush(&mut self) {
        todo!()
    }

    /// Ends the leg: decides on the rest, look-ahead included.
    pub fn finish(&mut self) {
        todo!()
    }

    /// Forgets the window, as after a hold or a gap; positions go on.
    pub fn clear(&mut self) {
        todo!()
    }

    /// The next stride, in order.
    pub fn poll(&mut self) -> Option<Stride> {
        todo!()
    }

    /// Samples pushed so far.
    pub fn position_samples(&self) -> u64 {
        todo!()
    }
}
