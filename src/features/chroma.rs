//! Power spectrum → chroma: how much of each of the twelve pitch classes is heard, the loudest being 1; as librosa's
//! `filters.chroma` and `chroma_stft`.

use super::{
    lanes::dot,
    thesis154::{BINS, CHROMA, FRAME_SAMPLES, SAMPLE_RATE_HZ},
};

/// Partial sums of a class: as many as registers hold.
const LANES: usize = 32;
/// Whole groups of lanes that hold all bins.
const PADDED_BINS: usize = BINS.next_multiple_of(LANES);
/// The octave that counts most, and how fast the others count less.
const CENTRE_OCTAVE: f64 = 5.0;
const OCTAVE_WIDTH: f64 = 2.0;
/// Filters begin at A; chroma begins at C.
const FROM_A_TO_C: usize = 3;

/// The filters, [`BINS`] weights a class, filled up with 0 to a whole group of lanes.
pub(super) struct ChromaBank {
    weights: Vec<f32>,
}

impl ChromaBank {
    /// Filters for a tuning in parts of a semitone.
    pub(super) fn new(tuning: f64) -> Self {
        let rate = f64::from(SAMPLE_RATE_HZ);
        let octave = |hz: f64| (hz / (440.0 * 2_f64.powf(tuning / CHROMA as f64) / 16.0)).log2();
        // In semitones above the lowest A. Bin 0 has no pitch: librosa puts it 1.5 octaves below bin 1.
        let mut pitches: Vec<f64> =
            (0..FRAME_SAMPLES).map(|bin| CHROMA as f64 * octave(bin as f64 * (rate / FRAME_SAMPLES as f64))).collect();
        pitches[0] = pitches[1] - 1.5 * CHROMA as f64;
        let mut weights = vec![0.0; CHROMA * PADDED_BINS];
        for bin in 0..BINS {
            let of_bin = row(pitches[bin], pitches[bin + 1] - pitches[bin]);
            (0..CHROMA).for_each(|class| weights[class * PADDED_BINS + bin] = of_bin[class]);
        }
        Self { weights }
    }

    /// Each class's part of the loudest, of a power spectrum with zeros behind its bins, [`PADDED_BINS`] in all at least.
    #[inline(always)]
    pub(super) fn apply(&self, power: &[f32], chroma: &mut [f32]) {
        for (sum, weights) in chroma.iter_mut().zip(self.weights.chunks_exact(PADDED_BINS)) {
            *sum = dot::<LANES>(weights, power);
        }
        let loudest = chroma.iter().fold(0.0_f32, |loudest, sum| loudest.max(*sum));
        // Below the least normal number librosa does not divide.
        let divisor = if loudest < f32::MIN_POSITIVE { 1.0 } else { loudest };
        chroma.iter_mut().for_each(|sum| *sum /= divisor);
    }
}

/// The weights of one bin: a Gaussian bump around its pitch, of norm 1 over the classes, then weighted by octave.
#[expect(clippy::cast_possible_truncation, reason = "librosa keeps weights in f32")]
fn row(pitch: f64, width: f64) -> [f32; CHROMA] {
    let (classes, width) = (CHROMA as f64, width.max(1.0));
    let bumps: [f64; CHROMA] = std::array::from_fn(|class| {
        let distance = (pitch - class as f64 + classes / 2.0 + 10.0 * classes).rem_euclid(classes) - classes / 2.0;
        (-0.5 * (2.0 * distance / width).powi(2)).exp()
    });
    let norm = bumps.iter().map(|bump| bump * bump).sum::<f64>().sqrt();
    let octave = (-0.5 * ((pitch / classes - CENTRE_OCTAVE) / OCTAVE_WIDTH).powi(2)).exp();
    std::array::from_fn(|class| (bumps[(class + FROM_A_TO_C) % CHROMA] / norm * octave) as f32)
}
