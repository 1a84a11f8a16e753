//! Samples at 22,050 Hz → raw frames: all of a frame's values that do not depend on the window it will stand in.
//!
//! A raw frame is [`RAW_VALUES`] numbers: mel bands in dB without any floor, chroma, changes of sign, peak; and corrections of
//! its changes of sign, mostly none.

use std::{
    ops::Range,
    sync::{Arc, LazyLock},
};

use super::{
    chroma::ChromaBank,
    frame::{Frame, Framer},
    mel::MelBank,
    spectrum::Spectrum,
    thesis154::{BINS, CHROMA, MEL},
};

/// Values a raw frame.
pub const RAW_VALUES: usize = MEL + CHROMA + 2;
/// Where a raw frame's chroma begins.
pub(super) const RAW_CHROMA_AT: usize = MEL;
/// Where its changes of sign are counted.
pub(super) const RAW_CROSSINGS_AT: usize = MEL + CHROMA;
/// Where its peak is.
pub(super) const RAW_PEAK_AT: usize = MEL + CHROMA + 1;

/// One raw frame.
#[derive(Debug, Clone, Copy)]
pub struct RawFrame<'a> {
    /// `[RAW_VALUES]`.
    pub(super) values: &'a [f32],
    /// Magnitudes of samples between 0 and the least that counts as negative at full level: in a window of a lower level each
    /// larger than the threshold counts as a change of sign more, or, below 0, less.
    pub(super) faint: &'a [f32],
}

/// Raw frames in a row, in plain vectors that can be kept on disk.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct RawSequence {
    /// `[frames, RAW_VALUES]`.
    pub values: Vec<f32>,
    /// Corrections of all frames, one frame's after the other's.
    pub faint: Vec<f32>,
    /// Where each frame's corrections end.
    pub faint_ends: Vec<u32>,
}

/// The filters are the same for every leg.
static MEL_BANK: LazyLock<MelBank> = LazyLock::new(MelBank::new);
static UNTUNED: LazyLock<Arc<ChromaBank>> = LazyLock::new(|| Arc::new(ChromaBank::new(0.0)));

/// Makes raw frames of a stream without allocating.
pub(super) struct Extractor {
    framer: Framer,
    analysis: Analysis,
}

struct Analysis {
    spectrum: Spectrum,
    chroma: Arc<ChromaBank>,
    power: Box<[f32; BINS]>,
    raw: [f32; RAW_VALUES],
    faint: Vec<f32>,
}

impl RawSequence {
    /// Frames there are.
    pub fn len(&self) -> usize {
        self.faint_ends.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.faint_ends.is_empty()
    }

    /// Adds a frame behind.
    pub(super) fn push(&mut self, frame: RawFrame<'_>) {
        self.values.extend_from_slice(frame.values);
        self.faint.extend_from_slice(frame.faint);
        self.faint_ends.push(u32::try_from(self.faint.len()).expect("fewer than 2^32 corrections in a recording"));
    }

    /// A range of frames.
    pub(super) fn iter(&self, frames: Range<usize>) -> impl Iterator<Item = RawFrame<'_>> + Clone {
        let end_of = |frame: usize| self.faint_ends[frame] as usize;
        frames.map(move |frame| RawFrame {
            values: &self.values[frame * RAW_VALUES..(frame + 1) * RAW_VALUES],
            faint: &self.faint[frame.checked_sub(1).map_or(0, end_of)..end_of(frame)],
        })
    }
}

impl Extractor {
    /// Chroma is computed for `tuning`, in parts of a semitone.
    pub(super) fn new(tuning: f64) -> Self {
        let chroma = if tuning == 0.0 { Arc::clone(&UNTUNED) } else { Arc::new(ChromaBank::new(tuning)) };
        let analysis = Analysis {
            spectrum: Spectrum::new(),
            chroma,
            power: Box::new([0.0; BINS]),
            raw: [0.0; RAW_VALUES],
            faint: Vec::new(),
        };
        Self { framer: Framer::new(), analysis }
    }

    /// Takes samples in and tells each raw frame that they complete.
    pub(super) fn push(&mut self, samples: &[f32], mut tell: impl FnMut(RawFrame<'_>)) {
        let Self { framer, analysis } = self;
        framer.push(samples, |frame| tell(analysis.raw_frame(&frame)));
    }

    /// Ends the stream with silence: `1 + samples / 512` frames in all.
    pub(super) fn finish(&mut self, mut tell: impl FnMut(RawFrame<'_>)) {
        let Self { framer, analysis } = self;
        framer.finish(|frame| tell(analysis.raw_frame(&frame)));
    }
}

impl Analysis {
    fn raw_frame(&mut self, frame: &Frame<'_>) -> RawFrame<'_> {
        self.spectrum.power(frame.samples, &mut self.power);
        let (mel, rest) = self.raw.split_at_mut(RAW_CHROMA_AT);
        MEL_BANK.apply(&self.power, mel);
        for band in mel.iter_mut() {
            // The least normal number keeps silence finite; no window's level lifts it to the floor of 1e-10.
            *band = 10.0 * band.max(f32::MIN_POSITIVE).log10();
        }
        self.chroma.apply(&self.power, &mut rest[..CHROMA]);
        self.raw[RAW_CROSSINGS_AT] = frame.crossings as f32;
        self.raw[RAW_PEAK_AT] = frame.peak;
        self.faint.clear();
        self.faint.extend(frame.faint());
        RawFrame { values: &self.raw, faint: &self.faint }
    }
}
