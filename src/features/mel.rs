//! Power spectrum → mel bands: Slaney's scale and area norm (M. Slaney, Auditory Toolbox, 1998), as librosa's `filters.mel`.

use super::{
    bank::Bank,
    thesis154::{BINS, FRAME_SAMPLES, MEL, SAMPLE_RATE_HZ},
};

/// Below this the scale is linear. Hz.
const LINEAR_BELOW_HZ: f64 = 1_000.0;
/// Hz a mel in the linear part.
const HZ_PER_MEL: f64 = 200.0 / 3.0;

/// The filters: 2,018 weights of 131,200 are not 0.
pub(super) fn bank() -> Bank {
    let edges = edges_hz();
    Bank::new(MEL, BINS, |band, bin| weight(&edges[band..band + 3], bin))
}

/// The edges of all bands: band `b` rises from edge `b` to `b + 1` and falls to `b + 2`.
fn edges_hz() -> Vec<f64> {
    let highest = mel_of(f64::from(SAMPLE_RATE_HZ) / 2.0);
    (0..MEL + 2).map(|edge| hz_of(highest * edge as f64 / (MEL + 1) as f64)).collect()
}

/// Mels a unit of the natural logarithm of the frequency, above the linear part.
fn mels_per_log() -> f64 {
    27.0 / 6.4_f64.ln()
}

fn mel_of(hz: f64) -> f64 {
    if hz < LINEAR_BELOW_HZ {
        return hz / HZ_PER_MEL;
    }
    LINEAR_BELOW_HZ / HZ_PER_MEL + (hz / LINEAR_BELOW_HZ).ln() * mels_per_log()
}

fn hz_of(mel: f64) -> f64 {
    let linear_below = LINEAR_BELOW_HZ / HZ_PER_MEL;
    if mel < linear_below {
        return mel * HZ_PER_MEL;
    }
    LINEAR_BELOW_HZ * ((mel - linear_below) / mels_per_log()).exp()
}

/// A triangle of area 1 over Hz, rounded to f32 before and after the norm as librosa does.
#[expect(clippy::cast_possible_truncation, reason = "librosa keeps weights in f32")]
fn weight(edges: &[f64], bin: usize) -> f32 {
    let hz = bin as f64 * f64::from(SAMPLE_RATE_HZ) / FRAME_SAMPLES as f64;
    let rising = (hz - edges[0]) / (edges[1] - edges[0]);
    let falling = (edges[2] - hz) / (edges[2] - edges[1]);
    let triangle = rising.min(falling).max(0.0) as f32;
    (f64::from(triangle) * (2.0 / (edges[2] - edges[0]))) as f32
}
