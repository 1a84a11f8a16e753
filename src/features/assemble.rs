//! Raw frames → a window: what looks at all of a window's frames at once.
//!
//! Dividing samples by their peak adds a constant to every band in dB, so a window's level costs no new spectrum: add
//! `20 log10 g`, raise to the floor of 1e-10, clamp 80 dB below the loudest band, then take the cepstrum of what remains.

use std::sync::LazyLock;

use pulp::{Arch, Simd, WithSimd};

use super::{
    frame::CROSSING_THRESHOLD,
    raw::RawFrame,
    thesis154::{
        CHROMA_AT, CROSSINGS_AT, FRAME_SAMPLES, LEAST_POWER, MEL, MEL_AT, MFCC, PEAK_OFFSET, RAW_CHROMA_AT,
        RAW_CROSSINGS_AT, RAW_PEAK_AT, TOP_DB, VALUES,
    },
};
use crate::audio::lanes::largest;

/// Row length of the cosine matrix: a multiple of the vector width.
const LANES: usize = 16;

/// The orthonormal DCT-II, a row a band.
static COSINES: LazyLock<Vec<[f32; LANES]>> = LazyLock::new(cosines);

/// Bands summed before their sum is added: keeps rounding below that of 128 additions in a row.
const PARTIAL_BANDS: usize = 16;

/// A window's level: what its samples are divided by.
#[derive(Clone, Copy)]
enum Level {
    /// By the peak of the window.
    Peak,
    /// They were divided already.
    AsIs,
}

/// Raw frames to be made a window of.
struct Fill<'w, Frames> {
    frames: Frames,
    level: Level,
    window: &'w mut [f32],
}

/// Makes a window of raw frames: divided by their peak, not standardised. `window` is `[frames, VALUES]`, with room for all raw
/// frames; what is left of it behind is 0.
///
/// # Panics
/// If there are more raw frames than room in the window.
pub fn assemble<'a>(frames: impl Iterator<Item = RawFrame<'a>> + Clone, window: &mut [f32]) {
    Arch::new().dispatch(Fill { frames, level: Level::Peak, window });
}

/// The same for frames of samples that have their level already.
pub(super) fn assemble_as_is<'a>(frames: impl Iterator<Item = RawFrame<'a>> + Clone, window: &mut [f32]) {
    Arch::new().dispatch(Fill { frames, level: Level::AsIs, window });
}

impl<'a, Frames: Iterator<Item = RawFrame<'a>> + Clone> WithSimd for Fill<'_, Frames> {
    type Output = ();

    // No sum is reordered and nothing fused: the same to the bit with any instructions.
    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        fill(self.frames, self.level, self.window);
    }
}

#[inline(always)]
fn fill<'a>(frames: impl Iterator<Item = RawFrame<'a>> + Clone, level: Level, window: &mut [f32]) {
    let divisor = match level {
        Level::Peak => frames.clone().fold(0.0_f32, |peak, frame| peak.max(frame.values[RAW_PEAK_AT])) + PEAK_OFFSET,
        Level::AsIs => 1.0,
    };
    let gain_db = -20.0 * divisor.log10();
    let least_db = 10.0 * LEAST_POWER.log10();
    let loudest = frames.clone().fold(f32::MIN, |loudest, frame| {
        let (bands, _) = frame.values[..MEL].as_chunks();
        largest(bands.iter().copied(), loudest)
    });
    let floor = least_db.max(loudest + gain_db - TOP_DB);
    let mut left = &mut *window;
    for raw in frames {
        let (frame, rest) = left.split_at_mut(VALUES);
        left = rest;
        for (to, band) in frame[MEL_AT..CROSSINGS_AT].iter_mut().zip(raw.values) {
            *to = (band + gain_db).max(floor);
        }
        let cepstrum = cepstrum(&frame[MEL_AT..CROSSINGS_AT]);
        frame[..MFCC].copy_from_slice(&cepstrum[..MFCC]);
        frame[CHROMA_AT..MEL_AT].copy_from_slice(&raw.values[RAW_CHROMA_AT..RAW_CROSSINGS_AT]);
        let heard = raw.faint.iter().filter(|faint| faint.abs() / divisor > CROSSING_THRESHOLD);
        let crossings = raw.values[RAW_CROSSINGS_AT] + heard.map(|faint| faint.signum()).sum::<f32>();
        frame[CROSSINGS_AT] = crossings / FRAME_SAMPLES as f32;
    }
    left.fill(0.0);
}

#[inline(always)]
fn cepstrum(mel: &[f32]) -> [f32; LANES] {
    let mut sums = [0.0; LANES];
    for (mel, cosines) in mel.chunks(PARTIAL_BANDS).zip(COSINES.chunks(PARTIAL_BANDS)) {
        let mut partial = [0.0; LANES];
        for (band, cosines) in mel.iter().zip(cosines) {
            for (sum, cosine) in partial.iter_mut().zip(cosines) {
                *sum += cosine * band;
            }
        }
        for (sum, partial) in sums.iter_mut().zip(partial) {
            *sum += partial;
        }
    }
    sums
}

#[expect(clippy::cast_possible_truncation, reason = "the weights are applied in f32")]
fn cosines() -> Vec<[f32; LANES]> {
    let bands = MEL as f64;
    let weight = |band: usize, coefficient: usize| {
        let scale = if coefficient == 0 { 1.0 } else { 2.0 };
        let angle = std::f64::consts::PI * coefficient as f64 * (2.0 * band as f64 + 1.0) / (2.0 * bands);
        ((scale / bands).sqrt() * angle.cos()) as f32
    };
    (0..MEL)
        .map(|band| std::array::from_fn(|coefficient| if coefficient < MFCC { weight(band, coefficient) } else { 0.0 }))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::features::thesis154::RAW_VALUES;

    #[test]
    fn the_cepstrum_is_the_plain_sum_of_cosines() {
        let mel: Vec<f32> = (0..MEL).map(|band| -60.0 + (band * band % 37) as f32).collect();
        let cepstrum = cepstrum(&mel);
        for (k, actual) in cepstrum.iter().enumerate().take(MFCC) {
            let angle = |band: usize| std::f64::consts::PI * k as f64 * (band as f64 + 0.5) / MEL as f64;
            let sum: f64 = mel.iter().enumerate().map(|(band, db)| f64::from(*db) * angle(band).cos()).sum();
            let expected = sum * (if k == 0 { 1.0 } else { 2.0 } / MEL as f64).sqrt();
            assert!((f64::from(*actual) - expected).abs() < 2e-4, "coefficient {k}: {actual} and {expected}");
        }
    }

    #[test]
    fn all_instructions_make_the_same_window() {
        let values: Vec<f32> = (0..3 * RAW_VALUES).map(|n| (n * n % 977) as f32 / -11.0).collect();
        let frames = values.chunks(RAW_VALUES).map(|values| RawFrame { values, faint: &[1e-11, -0.2], fresh: 2 });
        let (mut vectors, mut scalar) = (vec![1.0; 4 * VALUES], vec![2.0; 4 * VALUES]);
        assemble_as_is(frames.clone(), &mut vectors);
        Fill { frames, level: Level::AsIs, window: &mut scalar }.with_simd(pulp::Scalar::new());
        assert_eq!(vectors, scalar);
    }

    #[test]
    fn level_floor_and_clamp_are_those_of_the_window() {
        let mut values = vec![-90.0; 2 * RAW_VALUES];
        values[RAW_VALUES - 1] = 0.01;
        values[2 * RAW_VALUES - 1] = 0.1;
        values[5] = -30.0;
        let frames = values.chunks(RAW_VALUES).map(|values| RawFrame { values, faint: &[], fresh: 0 });
        let mut window = vec![1.0; 3 * VALUES];
        assemble(frames, &mut window);
        // Divided by the peak of 0.1 everything is 20 dB louder: the loudest band at -10 dB, the clamp at -90 dB.
        assert!((window[MEL_AT + 5] + 10.0).abs() < 1e-4);
        assert!((window[MEL_AT + 6] + 70.0).abs() < 1e-4);
        values[6] = -200.0;
        let frames = values.chunks(RAW_VALUES).map(|values| RawFrame { values, faint: &[], fresh: 0 });
        assemble(frames, &mut window);
        assert!((window[MEL_AT + 6] + 90.0).abs() < 1e-4);
        assert!(window[2 * VALUES..].iter().all(|&value| value == 0.0), "padding");
    }
}
