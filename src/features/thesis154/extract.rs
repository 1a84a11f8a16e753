//! Samples at 22,050 Hz → raw frames: mel bands in dB without any floor, chroma, changes of sign, peak; and corrections of its
//! changes of sign, mostly none.

use std::sync::{Arc, LazyLock};

use super::{BINS, CHROMA, MEL};
use crate::features::{
    bank::Bank,
    chroma::ChromaBank,
    frame::{Frame, Framer},
    mel,
    raw::RawFrame,
    spectrum::Spectrum,
};

/// Values a raw frame.
pub(in crate::features) const RAW_VALUES: usize = MEL + CHROMA + 2;
/// Where a raw frame's chroma begins.
pub(in crate::features) const RAW_CHROMA_AT: usize = MEL;
/// Where its changes of sign are counted.
pub(in crate::features) const RAW_CROSSINGS_AT: usize = MEL + CHROMA;
/// Where its peak is.
pub(in crate::features) const RAW_PEAK_AT: usize = MEL + CHROMA + 1;

/// The filters are the same for every leg.
static MEL_BANK: LazyLock<Bank> = LazyLock::new(mel::bank);
static UNTUNED: LazyLock<Arc<ChromaBank>> = LazyLock::new(|| Arc::new(ChromaBank::new(0.0)));

/// Makes raw frames of a stream without allocating.
pub(in crate::features) struct Extractor {
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

impl Extractor {
    /// Chroma is computed for `tuning`, in parts of a semitone.
    pub(in crate::features) fn new(tuning: f64) -> Self {
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
    pub(in crate::features) fn push(&mut self, samples: &[f32], mut tell: impl FnMut(RawFrame<'_>)) {
        let Self { framer, analysis } = self;
        framer.push(samples, |frame| tell(analysis.raw_frame(&frame)));
    }

    /// Ends the stream with silence: `1 + samples / 512` frames in all.
    pub(in crate::features) fn finish(&mut self, mut tell: impl FnMut(RawFrame<'_>)) {
        let Self { framer, analysis } = self;
        framer.finish(|frame| tell(analysis.raw_frame(&frame)));
    }
}

impl Analysis {
    fn raw_frame(&mut self, frame: &Frame<'_>) -> RawFrame<'_> {
        self.spectrum.power(frame.samples, &mut self.power);
        let (mel, rest) = self.raw.split_at_mut(RAW_CHROMA_AT);
        MEL_BANK.apply(&*self.power, mel);
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
