//! Raw frames → a window: what looks at all of a window's frames at once.
//!
//! Dividing samples by their peak adds a constant to every band in dB, so a window's level costs no new spectrum: add
//! `20 log10 g`, raise to the floor of 1e-10, clamp 80 dB below the loudest band, then take the cepstrum of what remains.

use std::sync::LazyLock;

use super::{
    raw::{RAW_CHROMA_AT, RAW_CROSSINGS_AT, RAW_PEAK_AT, RAW_VALUES},
    thesis154::{CHROMA_AT, CROSSINGS_AT, LEAST_POWER, MEL, MEL_AT, MFCC, PEAK_OFFSET, TOP_DB, VALUES},
};

/// Row length of the cosine matrix: a multiple of the vector width.
const LANES: usize = 16;

/// The orthonormal DCT-II, a row a band.
static COSINES: LazyLock<Vec<[f32; LANES]>> = LazyLock::new(cosines);

/// Makes a window of raw frames, `[n, RAW_VALUES]`: divided by their peak, not standardised. `window` is `[frames, VALUES]` with
/// `frames` at least `n`; what is left of it behind is 0.
pub fn assemble(raw: &[f32], window: &mut [f32]) {
    assemble_parts(raw, &[], window);
}

/// The same for raw frames in two parts, as a ring holds them.
pub(super) fn assemble_parts(first: &[f32], second: &[f32], window: &mut [f32]) {
    let rows = || first.chunks_exact(RAW_VALUES).chain(second.chunks_exact(RAW_VALUES));
    let peak = rows().fold(0.0_f32, |peak, row| peak.max(row[RAW_PEAK_AT]));
    fill(rows, -20.0 * (peak + PEAK_OFFSET).log10(), window);
}

/// The same for frames of samples that already have their level.
pub(super) fn assemble_as_is(raw: &[f32], window: &mut [f32]) {
    fill(|| raw.chunks_exact(RAW_VALUES), 0.0, window);
}

fn fill<'a, Rows: Iterator<Item = &'a [f32]>>(rows: impl Fn() -> Rows, gain_db: f32, window: &mut [f32]) {
    let least_db = 10.0 * LEAST_POWER.log10();
    let loudest = rows().flat_map(|row| &row[..MEL]).fold(f32::MIN, |loudest, band| loudest.max(*band));
    let floor = least_db.max((loudest + gain_db).max(least_db) - TOP_DB);
    let mut left = &mut *window;
    for row in rows() {
        let (frame, rest) = left.split_at_mut(VALUES);
        left = rest;
        for (to, band) in frame[MEL_AT..CROSSINGS_AT].iter_mut().zip(row) {
            *to = (band + gain_db).max(floor);
        }
        let cepstrum = cepstrum(&frame[MEL_AT..CROSSINGS_AT]);
        frame[..MFCC].copy_from_slice(&cepstrum[..MFCC]);
        frame[CHROMA_AT..MEL_AT].copy_from_slice(&row[RAW_CHROMA_AT..RAW_CROSSINGS_AT]);
        frame[CROSSINGS_AT] = row[RAW_CROSSINGS_AT];
    }
    left.fill(0.0);
}

fn cepstrum(mel: &[f32]) -> [f32; LANES] {
    let mut sums = [0.0; LANES];
    for (band, cosines) in mel.iter().zip(COSINES.iter()) {
        for (sum, cosine) in sums.iter_mut().zip(cosines) {
            *sum += cosine * band;
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
