//! How far a clip's pitches lie from A 440, as librosa's `estimate_tuning` over `piptrack`: the commonest deviation of the
//! louder half of all spectral peaks.
//!
//! It is rounded step by step as NumPy and Numba round it, since near ties the last bit decides.

use super::{
    frame::Framer,
    spectrum,
    thesis154::{BINS, CHROMA, FRAME_SAMPLES, SAMPLE_RATE_HZ},
};

/// Where pitches are looked for. Hz.
const LOWEST_HZ: f64 = 150.0;
const HIGHEST_HZ: f64 = 4_000.0;
/// A peak is above this part of its frame's loudest bin.
const LEAST_PEAK: f32 = 0.1;
/// Steps of the histogram of deviations: a hundredth of a semitone each.
const STEPS: usize = 100;

/// A spectral peak.
#[derive(Clone, Copy)]
struct Peak {
    hz: f32,
    magnitude: f32,
}

/// The tuning in parts of a semitone, -0.5 to 0.49; 0 where no pitch is heard.
pub(super) fn estimate(samples: &[f32]) -> f64 {
    let mut peaks = Vec::new();
    let mut power = [0.0; BINS];
    let mut framer = Framer::new();
    let mut take = |frame: super::frame::Frame<'_>| {
        spectrum::rounded(frame.samples, &mut power);
        find_peaks(&power, &mut peaks);
    };
    framer.push(samples, &mut take);
    framer.finish(&mut take);
    commonest_deviation(&peaks)
}

/// Local maxima of the spectrum, their place and height refined by a parabola through the neighbours.
#[expect(clippy::cast_possible_truncation, reason = "librosa keeps pitches in f32")]
fn find_peaks(power: &[f32; BINS], peaks: &mut Vec<Peak>) {
    let floor = LEAST_PEAK * power.iter().fold(0.0_f32, |loudest, power| loudest.max(*power));
    let heard = |bin: usize| if power[bin] > floor { power[bin] } else { 0.0 };
    let hz_per_bin = f64::from(SAMPLE_RATE_HZ) / FRAME_SAMPLES as f64;
    for bin in 1..BINS - 1 {
        let hz = bin as f64 * hz_per_bin;
        if !(LOWEST_HZ..HIGHEST_HZ).contains(&hz) || heard(bin) <= heard(bin - 1) || heard(bin) < heard(bin + 1) {
            continue;
        }
        let (below, at, above) = (power[bin - 1], power[bin], power[bin + 1]);
        let curvature = f64::from(above + below) - 2.0 * f64::from(at);
        let slope = f64::from(above - below) / 2.0;
        let shift = if slope.abs() >= curvature.abs() { 0.0 } else { (-slope / curvature) as f32 };
        let hz = (bin as f64 + f64::from(shift)) * f64::from(SAMPLE_RATE_HZ) / FRAME_SAMPLES as f64;
        let magnitude = at + 0.5 * ((above - below) / 2.0) * shift;
        peaks.push(Peak { hz: hz as f32, magnitude });
    }
}

/// The beginning of the fullest step among peaks no quieter than the median; the first of equals.
fn commonest_deviation(peaks: &[Peak]) -> f64 {
    let mut pitched: Vec<Peak> = peaks.iter().copied().filter(|peak| peak.hz > 0.0).collect();
    if pitched.is_empty() {
        return 0.0;
    }
    pitched.sort_by(|a, b| a.magnitude.total_cmp(&b.magnitude));
    let middle = pitched.len() / 2;
    let median = if pitched.len() % 2 == 1 {
        pitched[middle].magnitude
    } else {
        (pitched[middle - 1].magnitude + pitched[middle].magnitude) / 2.0
    };
    let mut counts = [0_u32; STEPS];
    for peak in pitched.iter().filter(|peak| peak.magnitude >= median) {
        counts[step_of(deviation(peak.hz))] += 1;
    }
    let fullest = (0..STEPS).rev().max_by_key(|&step| counts[step]).expect("there are steps");
    edge(fullest)
}

/// From the nearest semitone, -0.5 to 0.5.
#[expect(clippy::cast_possible_truncation, reason = "NumPy's logarithm of an f32 is an f32")]
fn deviation(hz: f32) -> f32 {
    let octaves = f64::from(hz / 27.5).log2() as f32;
    let deviation = (CHROMA as f32 * octaves).rem_euclid(1.0);
    if deviation >= 0.5 { deviation - 1.0 } else { deviation }
}

/// Where a step begins, as `numpy.linspace` rounds it.
fn edge(step: usize) -> f64 {
    -0.5 + step as f64 * 0.01
}

/// The last step that begins at or below a deviation.
fn step_of(deviation: f32) -> usize {
    let deviation = f64::from(deviation);
    (0..STEPS).rev().find(|&step| edge(step) <= deviation).unwrap_or_default()
}
