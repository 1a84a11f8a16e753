//! Samples at 22,050 Hz → raw frames: mel bands in dB without any floor, chroma, changes of sign, peak; and corrections of its
//! changes of sign, mostly none.

use std::{
    cell::RefCell,
    sync::{Arc, LazyLock},
};

use pulp::{Arch, Simd, WithSimd};

use super::{CHROMA, MEL};
use crate::{
    audio::lanes::ln_in_place,
    features::{
        bank::Bank,
        chroma::ChromaBank,
        frame::{Frame, Framer},
        mel,
        raw::RawFrame,
        spectrum::Power,
    },
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

thread_local! {
    /// The spectrum at hand.
    static POWER: RefCell<Vec<f32>> = RefCell::new(MEL_BANK.spectrum());
    /// The corrections at hand.
    static FAINT: RefCell<Vec<f32>> = RefCell::default();
}

/// Makes raw frames of a stream; in f32 without allocating.
pub(in crate::features) struct Extractor {
    framer: Framer,
    analysis: Analysis,
}

struct Analysis {
    spectrum: Power,
    chroma: Arc<ChromaBank>,
    raw: [f32; RAW_VALUES],
}

/// What becomes of a power spectrum.
struct Bands<'a> {
    power: &'a [f32],
    chroma_bank: &'a ChromaBank,
    raw: &'a mut [f32; RAW_VALUES],
}

impl Extractor {
    /// Spectra are computed by `spectrum`, chroma for `tuning`, in parts of a semitone.
    pub(in crate::features) fn new(spectrum: Power, tuning: f64) -> Self {
        let chroma = if tuning == 0.0 { Arc::clone(&UNTUNED) } else { Arc::new(ChromaBank::new(tuning)) };
        let analysis = Analysis { spectrum, chroma, raw: [0.0; RAW_VALUES] };
        Self { framer: Framer::new(), analysis }
    }

    /// Takes samples in and tells each raw frame that they complete.
    pub(in crate::features) fn push(&mut self, samples: &[f32], mut tell: impl FnMut(RawFrame<'_>)) {
        let Self { framer, analysis } = self;
        framer.push(samples, |frame| analysis.tell(&frame, &mut tell));
    }

    /// Ends the stream with silence: `1 + samples / 512` frames in all.
    pub(in crate::features) fn finish(&mut self, mut tell: impl FnMut(RawFrame<'_>)) {
        let Self { framer, analysis } = self;
        framer.finish(|frame| analysis.tell(&frame, &mut tell));
    }

    /// Bytes of what waits to be a frame.
    pub(in crate::features) fn bytes(&self) -> usize {
        self.framer.bytes()
    }
}

impl Analysis {
    fn tell(&mut self, frame: &Frame<'_>, tell: &mut impl FnMut(RawFrame<'_>)) {
        POWER.with_borrow_mut(|power| {
            (self.spectrum)(frame.samples, power);
            Arch::new().dispatch(Bands { power, chroma_bank: &self.chroma, raw: &mut self.raw });
        });
        self.raw[RAW_CROSSINGS_AT] = frame.crossings as f32;
        self.raw[RAW_PEAK_AT] = frame.peak;
        FAINT.with_borrow_mut(|faint| {
            faint.clear();
            faint.extend(frame.faint());
            tell(RawFrame { values: &self.raw, faint, fresh: frame.fresh() });
        });
    }
}

impl WithSimd for Bands<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let Self { power, chroma_bank, raw } = self;
        let (mel, rest) = raw.split_at_mut(RAW_CHROMA_AT);
        MEL_BANK.apply(power, mel);
        // The least normal number keeps silence finite; no window's level lifts it to the floor of 1e-10.
        mel.iter_mut().for_each(|band| *band = band.max(f32::MIN_POSITIVE));
        ln_in_place(mel);
        mel.iter_mut().for_each(|band| *band *= 10.0 / std::f32::consts::LN_10);
        chroma_bank.apply(power, &mut rest[..CHROMA]);
    }
}
