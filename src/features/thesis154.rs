//! The thesis's front end: 154 values a frame, as librosa 0.11 computes them.
//!
//! A frame's values, in order: [`MFCC`] cepstral coefficients, [`CHROMA`] chroma, [`MEL`] mel bands in dB, the zero-crossing rate.
//! [`whole_clip`] is librosa's definition, which looks at the whole clip three times: for its peak, its loudest band and its
//! tuning. The streaming definition (`streaming = true`, what [`super::Pipeline`] serves) looks at the window instead, and fixes
//! the tuning at 0.

use serde::{Deserialize, Serialize};

use super::{
    Error, assemble,
    raw::RawSequence,
    spectrum::{self, Power},
    tuning,
};

mod extract;

pub(super) use extract::{Extractor, RAW_CHROMA_AT, RAW_CROSSINGS_AT, RAW_PEAK_AT, RAW_VALUES};

/// Samples a second.
pub const SAMPLE_RATE_HZ: u32 = 22_050;
/// Samples a frame: 93 ms.
pub const FRAME_SAMPLES: usize = 2_048;
/// Samples between frames: 23 ms.
pub const HOP_SAMPLES: usize = 512;
/// Mel bands, Slaney's scale and area norm, 0 to 11,025 Hz.
pub const MEL: usize = 128;
/// Cepstral coefficients of the mel bands.
pub const MFCC: usize = 13;
/// Pitch classes.
pub const CHROMA: usize = 12;
/// Values a frame.
pub const VALUES: usize = MFCC + CHROMA + MEL + 1;
/// Where a frame's chroma begins.
pub const CHROMA_AT: usize = MFCC;
/// Where a frame's mel bands begin.
pub const MEL_AT: usize = MFCC + CHROMA;
/// Where a frame's zero-crossing rate is.
pub const CROSSINGS_AT: usize = VALUES - 1;
/// Mel bands are clamped this far below the loudest of the window. dB.
pub const TOP_DB: f32 = 80.0;
/// The least mel power that is told from none.
pub const LEAST_POWER: f32 = 1e-10;
/// Added to a clip's peak before dividing by it, so that silence is not divided by 0.
pub const PEAK_OFFSET: f32 = 1e-7;

/// Bins of a frame's spectrum.
pub(super) const BINS: usize = FRAME_SAMPLES / 2 + 1;

/// Its parameters. All but the thesis's own values are refused: the manifest states them so that whoever reads it knows them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Options {
    /// 22,050 Hz.
    pub sample_rate_hz: u32,
    /// Samples a frame and its FFT: 2,048.
    pub fft_samples: usize,
    /// Samples between frames: 512.
    pub hop_samples: usize,
    /// Mel bands: 128.
    pub mel_bands: usize,
    /// Where the lowest mel band begins: 0 Hz.
    pub min_hz: f64,
    /// Where the highest mel band ends: 11,025 Hz.
    pub max_hz: f64,
    /// Cepstral coefficients: 13.
    pub mfcc: usize,
    /// Pitch classes: 12.
    pub chroma: usize,
    /// The least mel power that is told from none: 1e-10.
    pub least_power: f64,
    /// How far below the loudest band bands are clamped: 80 dB.
    pub top_db: f64,
    /// Whether level, clamp and tuning are those of the streaming definition: true, as a call's end cannot be heard in its midst.
    pub streaming: bool,
}

/// The features of a whole clip.
#[derive(Debug, Clone, PartialEq)]
pub struct Features {
    /// `[frames, VALUES]`.
    pub values: Vec<f32>,
    /// 1 + samples / 512.
    pub frames: usize,
    /// The tuning chroma was computed for, in parts of a semitone, -0.5 to 0.49.
    pub tuning: f64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            sample_rate_hz: SAMPLE_RATE_HZ,
            fft_samples: FRAME_SAMPLES,
            hop_samples: HOP_SAMPLES,
            mel_bands: MEL,
            min_hz: 0.0,
            max_hz: 11_025.0,
            mfcc: MFCC,
            chroma: CHROMA,
            least_power: 1e-10,
            top_db: 80.0,
            streaming: true,
        }
    }
}

impl Options {
    /// Checks that all parameters are supported.
    ///
    /// # Errors
    /// [`Error::Parameter`] names the first that is not, and the value that is.
    pub fn validate(&self) -> Result<(), Error> {
        fn check<T: PartialEq + ToString + Copy>(name: &'static str, actual: T, expected: T) -> Result<(), Error> {
            if actual == expected {
                return Ok(());
            }
            Err(Error::Parameter {
                front_end: "thesis154",
                name,
                expected: expected.to_string(),
                actual: actual.to_string(),
            })
        }
        let supported = Self::default();
        check("sample_rate_hz", self.sample_rate_hz, supported.sample_rate_hz)?;
        check("fft_samples", self.fft_samples, supported.fft_samples)?;
        check("hop_samples", self.hop_samples, supported.hop_samples)?;
        check("mel_bands", self.mel_bands, supported.mel_bands)?;
        check("min_hz", self.min_hz, supported.min_hz)?;
        check("max_hz", self.max_hz, supported.max_hz)?;
        check("mfcc", self.mfcc, supported.mfcc)?;
        check("chroma", self.chroma, supported.chroma)?;
        check("least_power", self.least_power, supported.least_power)?;
        check("top_db", self.top_db, supported.top_db)?;
        check("streaming", self.streaming, supported.streaming)
    }
}

/// Librosa's features of a whole clip at 22,050 Hz: divided by its peak, tuning estimated.
pub fn whole_clip(samples: &[f32]) -> Features {
    let normalised = divided_by_peak(samples);
    let tuning = tuning::estimate(&normalised);
    let raw = raw_frames(&normalised, spectrum::exact, tuning);
    let mut values = vec![0.0; raw.len() * VALUES];
    assemble::assemble_as_is(raw.iter(0..raw.len()), &mut values);
    Features { values, frames: raw.len(), tuning }
}

/// The streaming features of a whole clip at 22,050 Hz, as one window that holds it all sees it: tuning 0.
pub fn one_window(samples: &[f32]) -> Features {
    let raw = raw_frames(samples, spectrum::fast, 0.0);
    let mut values = vec![0.0; raw.len() * VALUES];
    assemble::assemble(raw.iter(0..raw.len()), &mut values);
    Features { values, frames: raw.len(), tuning: 0.0 }
}

fn raw_frames(samples: &[f32], spectrum: Power, tuning: f64) -> RawSequence {
    let mut extractor = Extractor::new(spectrum, tuning);
    let mut raw = RawSequence::new(RAW_VALUES);
    extractor.push(samples, |frame| raw.push(frame));
    extractor.finish(|frame| raw.push(frame));
    raw
}

fn divided_by_peak(samples: &[f32]) -> Vec<f32> {
    let peak = samples.iter().fold(0.0_f32, |peak, sample| peak.max(sample.abs()));
    let divisor = peak + PEAK_OFFSET;
    samples.iter().map(|sample| sample / divisor).collect()
}
