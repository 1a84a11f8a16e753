//! From samples to what a network is given: frames, and a rolling window of them at every stride.
//!
//! One implementation serves calls, files and the trainer: a model's manifest names its [`FrontEnd`], [`WindowOptions`] and
//! [`Standardization`], and [`Pipeline`] is built from them. Inside it:
//!
//! | module | what it does |
//! |---|---|
//! | [`listen`] | samples of a leg → raw frames, each with whether it is speech |
//! | [`window`] | which raw frames a window holds at a stride |
//! | [`memory`] | the last raw frames, and what is remembered of the speaker → a window's values |
//! | [`buffers`] | the memory of windows, used again and again |
//! | [`offline`] | the same windows of recordings that are at hand |
//! | [`normalize`] | mean 0 and deviation 1 for each value |
//!
//! The front ends are [`thesis154`], with its exact whole-clip form and [`assemble`], which looks at a whole window at once,
//! [`logmel8k`], which hears each voice against its own [`baseline`], and [`waveform`], which gives a network the samples themselves.

use serde::{Deserialize, Serialize};

pub mod assemble;
mod bank;
pub mod baseline;
pub mod buffers;
mod chroma;
mod frame;
#[cfg(test)]
mod golden;
pub mod listen;
pub mod logmel8k;
mod mel;
pub mod memory;
pub mod normalize;
pub mod offline;
pub mod pipeline;
mod raw;
mod spectrum;
pub mod thesis154;
mod tuning;
pub mod waveform;
pub mod window;

pub use buffers::Buffers;
pub use memory::Memory;
pub use normalize::Standardization;
pub use pipeline::{Pipeline, PipelineOptions, Stride};
pub use window::WindowOptions;

/// A front end and all of its parameters, as a manifest holds it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "lowercase", deny_unknown_fields)]
pub enum FrontEnd {
    /// MFCC, chroma, mel spectrogram and zero-crossing rate: 154 values a frame.
    Thesis154(thesis154::Options),
    /// Logarithmic mel bands at 8,000 Hz, against the speaker's own baseline.
    Logmel8k(logmel8k::Options),
    /// The samples themselves, at a stated rate.
    Waveform(waveform::Options),
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

/// What no features can be made of.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The source's rate is not supported.
    #[error(transparent)]
    Rate(#[from] crate::audio::resample::Error),
    /// A front end's parameter has a value it does not support.
    #[error("{name} = {actual} is not supported by front end {front_end}: set it to {expected}")]
    Parameter {
        /// Which front end.
        front_end: &'static str,
        /// The parameter.
        name: &'static str,
        /// The value that is supported.
        expected: String,
        /// The value asked for.
        actual: String,
    },
    /// A window's parameter is out of range.
    #[error("window.{name} = {actual} is out of range: set it {expected}")]
    Window {
        /// The parameter.
        name: &'static str,
        /// What is in range.
        expected: String,
        /// The value asked for.
        actual: String,
    },
    /// Strides too close or too far apart.
    #[error("a stride of {actual} s is out of range: set it from 0.25 to 5 s")]
    Stride {
        /// The value asked for.
        actual: f64,
    },
    /// Not a mean and a deviation for each value.
    #[error(
        "standardization has {means} means and {deviations} deviations: for front end {front_end} give {expected} of each, finite, deviations \
         above 0"
    )]
    Standardization {
        /// The front end.
        front_end: &'static str,
        /// Values a frame that it standardises.
        expected: usize,
        /// Means there are.
        means: usize,
        /// Deviations there are.
        deviations: usize,
    },
}

impl FrontEnd {
    /// "thesis154", "logmel8k" or "waveform".
    pub fn name(&self) -> &'static str {
        match self {
            Self::Thesis154(_) => "thesis154",
            Self::Logmel8k(_) => "logmel8k",
            Self::Waveform(_) => "waveform",
        }
    }

    /// The rate it works at.
    pub fn sample_rate_hz(&self) -> u32 {
        match self {
            Self::Thesis154(options) => options.sample_rate_hz,
            Self::Logmel8k(options) => options.sample_rate_hz,
            Self::Waveform(options) => options.sample_rate_hz,
        }
    }

    /// Values a frame, as the network is given them.
    pub fn values(&self) -> usize {
        match self {
            Self::Thesis154(_) => thesis154::VALUES,
            Self::Logmel8k(options) => options.mel_bands,
            Self::Waveform(options) => options.hop_samples,
        }
    }

    /// Values a raw frame.
    pub fn raw_values(&self) -> usize {
        match self {
            Self::Thesis154(_) => thesis154::RAW_VALUES,
            Self::Logmel8k(options) => options.mel_bands,
            Self::Waveform(options) => options.hop_samples,
        }
    }

    /// Samples between frames, at its own rate.
    pub fn hop_samples(&self) -> usize {
        match self {
            Self::Thesis154(options) => options.hop_samples,
            Self::Logmel8k(options) => options.hop_samples,
            Self::Waveform(options) => options.hop_samples,
        }
    }

    /// Frames a second.
    pub fn frame_rate(&self) -> f64 {
        f64::from(self.sample_rate_hz()) / self.hop_samples() as f64
    }

    /// Whether a network is given a window's values in one row, `[batch, samples]`, instead of a row a frame. They are not standardised.
    pub fn is_flat(&self) -> bool {
        matches!(self, Self::Waveform(_))
    }

    /// Checks that all parameters are supported.
    ///
    /// # Errors
    /// [`Error::Parameter`] names the first that is not, and the value that is.
    pub fn validate(&self) -> Result<(), Error> {
        match self {
            Self::Thesis154(options) => options.validate(),
            Self::Logmel8k(options) => options.validate(),
            Self::Waveform(options) => options.validate(),
        }
    }

    /// Where its frames stand.
    fn layout(&self) -> raw::Layout {
        match self {
            Self::Thesis154(_) => raw::Layout {
                hop_samples: thesis154::HOP_SAMPLES as u64,
                frame_samples: thesis154::FRAME_SAMPLES as u64,
                lead_samples: thesis154::FRAME_SAMPLES as u64 / 2,
            },
            Self::Logmel8k(options) => raw::Layout {
                hop_samples: options.hop_samples as u64,
                frame_samples: options.frame_samples as u64,
                lead_samples: 0,
            },
            Self::Waveform(options) => raw::Layout {
                hop_samples: options.hop_samples as u64,
                frame_samples: options.hop_samples as u64,
                lead_samples: 0,
            },
        }
    }
}
