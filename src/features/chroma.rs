//! Power spectrum → chroma: how much of each of the twelve pitch classes is heard, the loudest being 1; as librosa's
//! `filters.chroma` and `chroma_stft`.

use super::thesis154::{BINS, CHROMA, FRAME_SAMPLES, SAMPLE_RATE_HZ};

/// Row length: a multiple of the vector width, so that a bin is added to all classes at once.
const LANES: usize = 16;
/// The octave that counts most, and how fast the others count less.
const CENTRE_OCTAVE: f64 = 5.0;
const OCTAVE_WIDTH: f64 = 2.0;
/// Filters begin at A; chroma begins at C.
const FROM_A_TO_C: usize = 3;

/// The filters, a row a bin.
pub(super) struct ChromaBank {
    rows: Vec<[f32; LANES]>,
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
        Self { rows: (0..BINS).map(|bin| row(pitches[bin], pitches[bin + 1] - pitches[bin])).collect() }
    }

    /// Each class's part of the loudest.
    pub(super) fn apply(&self, power: &[f32; BINS], chroma: &mut [f32]) {
        let mut sums = [0.0_f32; LANES];
        for (row, power) in self.rows.iter().zip(power) {
            for (sum, weight) in sums.iter_mut().zip(row) {
                *sum += weight * power;
            }
        }
        let loudest = sums.iter().fold(0.0_f32, |loudest, sum| loudest.max(*sum));
        // Below the least normal number librosa does not divide.
        let divisor = if loudest < f32::MIN_POSITIVE { 1.0 } else { loudest };
        for (chroma, sum) in chroma.iter_mut().zip(sums) {
            *chroma = sum / divisor;
        }
    }
}

/// The weights of one bin: a Gaussian bump around its pitch, of norm 1 over the classes, then weighted by octave.
#[expect(clippy::cast_possible_truncation, reason = "librosa keeps weights in f32")]
fn row(pitch: f64, width: f64) -> [f32; LANES] {
    let (classes, width) = (CHROMA as f64, width.max(1.0));
    let bumps: [f64; CHROMA] = std::array::from_fn(|class| {
        let distance = (pitch - class as f64 + classes / 2.0 + 10.0 * classes).rem_euclid(classes) - classes / 2.0;
        (-0.5 * (2.0 * distance / width).powi(2)).exp()
    });
    let norm = bumps.iter().map(|bump| bump * bump).sum::<f64>().sqrt();
    let octave = (-0.5 * ((pitch / classes - CENTRE_OCTAVE) / OCTAVE_WIDTH).powi(2)).exp();
    let mut row = [0.0; LANES];
    for (class, weight) in row.iter_mut().enumerate().take(CHROMA) {
        *weight = (bumps[(class + FROM_A_TO_C) % CHROMA] / norm * octave) as f32;
    }
    row
}
