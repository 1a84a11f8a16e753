//! Power spectrum → chroma: how much of each of the twelve pitch classes is heard, the loudest being 1; as librosa's
//! `filters.chroma` and `chroma_stft`.

use std::ops::Range;

use super::thesis154::{BINS, CHROMA, FRAME_SAMPLES, SAMPLE_RATE_HZ};

/// Classes of a run: a vector register.
const LANES: usize = 8;
/// Bins summed side by side, since each addition waits for the one before.
const ABREAST: usize = 4;
/// A part of a bin's loudest class that nobody hears: f32 rounds off as much.
const NOTHING: f32 = 1e-7;
/// The octave that counts most, and how fast the others count less.
const CENTRE_OCTAVE: f64 = 5.0;
const OCTAVE_WIDTH: f64 = 2.0;
/// Filters begin at A; chroma begins at C.
const FROM_A_TO_C: usize = 3;

/// The filters. A bin is heard in the classes near its pitch alone, but for the lowest; so bins in a row that are heard in the same [`LANES`]
/// classes stand together, and the lowest stand in two such runs.
pub(super) struct ChromaBank {
    runs: Vec<Run>,
}

/// Bins in a row and their weights for the classes from `first_class` on; beyond the last class begins the first.
struct Run {
    first_class: usize,
    first_bin: usize,
    weights: Vec<[f32; LANES]>,
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
        let rows: Vec<_> = (0..BINS).map(|bin| row(pitches[bin], pitches[bin + 1] - pitches[bin])).collect();
        let mut runs = Vec::new();
        let mut bin = 0;
        while bin < BINS {
            let reach = |class: usize| rows[bin..].iter().take_while(|row| is_within(row, class)).count();
            let (first_class, length) =
                (0..CHROMA).map(|class| (class, reach(class))).max_by_key(|(_, length)| *length).expect("classes");
            if length > 0 {
                runs.push(Run::of(&rows, bin..bin + length, first_class, LANES));
            } else {
                runs.push(Run::of(&rows, bin..bin + 1, 0, LANES));
                runs.push(Run::of(&rows, bin..bin + 1, LANES, CHROMA - LANES));
            }
            bin += length.max(1);
        }
        Self { runs }
    }

    /// Each class's part of the loudest, of a power spectrum.
    #[inline(always)]
    pub(super) fn apply(&self, power: &[f32], chroma: &mut [f32]) {
        let mut all = [0.0_f32; CHROMA + LANES];
        for run in &self.runs {
            let mut sums = [[0.0_f32; LANES]; ABREAST];
            let power = &power[run.first_bin..][..run.weights.len()];
            let (weights, last_weights) = run.weights.as_chunks::<ABREAST>();
            let (power, last_power) = power.as_chunks::<ABREAST>();
            for (weights, power) in weights.iter().zip(power) {
                for bin in 0..ABREAST {
                    for lane in 0..LANES {
                        sums[bin][lane] += weights[bin][lane] * power[bin];
                    }
                }
            }
            for (weights, power) in last_weights.iter().zip(last_power) {
                for lane in 0..LANES {
                    sums[0][lane] += weights[lane] * power;
                }
            }
            // Kept apart, as in `lanes::dot`.
            let [one, two, three, four] = std::hint::black_box(sums);
            let of_run =
                all[run.first_class..].first_chunk_mut::<LANES>().expect("a run ends within twice the classes");
            for lane in 0..LANES {
                of_run[lane] += (one[lane] + three[lane]) + (two[lane] + four[lane]);
            }
        }
        let (sums, wrapped) = all.split_at_mut(CHROMA);
        sums.iter_mut().zip(wrapped).for_each(|(sum, wrapped)| *sum += *wrapped);
        let loudest = sums.iter().fold(0.0_f32, |loudest, sum| loudest.max(*sum));
        // Below the least normal number librosa does not divide.
        let divisor = if loudest < f32::MIN_POSITIVE { 1.0 } else { loudest };
        chroma.iter_mut().zip(sums).for_each(|(chroma, sum)| *chroma = *sum / divisor);
    }
}

impl Run {
    fn of(rows: &[[f32; CHROMA]], bins: Range<usize>, first_class: usize, classes: usize) -> Self {
        let weight = |row: &[f32; CHROMA], lane: usize| {
            if lane < classes { row[(first_class + lane) % CHROMA] } else { 0.0 }
        };
        let first_bin = bins.start;
        let weights = rows[bins].iter().map(|row| std::array::from_fn(|lane| weight(row, lane))).collect();
        Self { first_class, first_bin, weights }
    }
}

/// Whether a bin is heard in no class but [`LANES`] from this one on.
fn is_within(row: &[f32; CHROMA], first_class: usize) -> bool {
    let loudest = row.iter().fold(0.0_f32, |loudest, weight| loudest.max(*weight));
    (LANES..CHROMA).all(|class| row[(first_class + class) % CHROMA] <= NOTHING * loudest)
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
