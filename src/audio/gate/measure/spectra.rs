//! Power of a frame's bins → the frame's values, against the frames before.

use std::f32::consts::LOG2_E;

use pulp::{Simd, WithSimd};
use zeroize::Zeroize as _;

use super::{BAND_BINS, BANDS, BINS, FRAME_VALUES, PEAK_REGIONS, STEADY_LAGS, STEADY_REGIONS};
use crate::audio::lanes::{LANES, dot, largest, ln_in_place};

/// Power that is added to every bin, against full scale: white noise of -80 dBFS, below G.711's smallest step.
const LEAST_POWER: f32 = 1e-10;
/// What the loudest of late loses a frame, in powers of two: 2 dB a second.
const PEAK_DECAY: f32 = 0.021;
/// What the quietest of late gains a frame: 3 dB a second.
const FLOOR_RISE: f32 = 0.031;
/// Where peaks and dips of the fine structure are cut, in powers of two around the band's mean.
const FINE: (f32, f32) = (-2.0, 6.0);
/// Fine structures that are kept: the present one, and back to the longest lag.
const KEPT: usize = STEADY_LAGS[STEADY_LAGS.len() - 1] + 1;

/// Bands side by side, filled up to a whole vector.
const ACROSS: usize = 16;

/// How far each bin stands out of its band, by its place in there and the band, so that sums over bands' bins are vectors.
type Fine = [[f32; ACROSS]; BAND_BINS];

/// What frames are compared with. All levels are logarithms to the base 2 of power against full scale.
pub(super) struct Spectra {
    /// Fine structure of the last frames, a ring.
    fine: [Fine; KEPT],
    /// The square root of the fine structure's energy by region.
    norms: [[f32; STEADY_REGIONS.len()]; KEPT],
    at: usize,
    bands: [f32; ACROSS],
    loudest: f32,
    quietest: f32,
    strongest: usize,
    begun: bool,
}

/// One frame measured.
pub(super) struct Frame<'a> {
    pub(super) spectra: &'a mut Spectra,
    pub(super) power: &'a [f32; BINS],
    pub(super) values: &'a mut [f32; FRAME_VALUES],
}

impl WithSimd for Frame<'_> {
    type Output = ();

    // No sum is reordered and nothing fused: the same to the bit with any instructions.
    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        self.spectra.measure(self.power, self.values);
    }
}

impl Spectra {
    pub(super) fn new() -> Self {
        Self {
            fine: [[[0.0; ACROSS]; BAND_BINS]; KEPT],
            norms: [[0.0; STEADY_REGIONS.len()]; KEPT],
            at: 0,
            bands: [0.0; ACROSS],
            loudest: 0.0,
            quietest: 0.0,
            strongest: 0,
            begun: false,
        }
    }

    #[inline(always)]
    fn measure(&mut self, power: &[f32; BINS], values: &mut [f32; FRAME_VALUES]) {
        self.at = (self.at + 1) % KEPT;
        let mut out = values.iter_mut();
        let mut put = |value: f32| *out.next().expect("the values were counted") = value;

        let (bands, energies) = structure(power, &mut self.fine[self.at]);
        let mean = bands.iter().sum::<f32>() / BANDS as f32;
        bands[..BANDS].iter().for_each(|band| put(band - mean));

        let total = dot::<BAND_BINS>(power, &[1.0; BINS]) + LEAST_POWER;
        let level = log2(total);
        if !self.begun {
            (self.loudest, self.quietest, self.bands, self.begun) = (level, level, bands, true);
        }
        self.loudest = level.max(self.loudest - PEAK_DECAY);
        self.quietest = level.min(self.quietest + FLOOR_RISE);
        put(level - self.loudest);
        put(level - self.quietest);
        put(level);

        for (from, to) in PEAK_REGIONS {
            put((energies[from..to].iter().sum::<f32>() / ((to - from) * BAND_BINS) as f32).sqrt());
        }

        for (norm, (from, to)) in self.norms[self.at].iter_mut().zip(STEADY_REGIONS) {
            *norm = energies[from..to].iter().sum::<f32>().sqrt();
        }
        for lag in STEADY_LAGS {
            let then = (self.at + KEPT - lag) % KEPT;
            let products = products(&self.fine[self.at], &self.fine[then]);
            for (region, (from, to)) in STEADY_REGIONS.into_iter().enumerate() {
                let product = products[from..to].iter().sum::<f32>();
                // Where there is no structure at all there is nothing steady either.
                put(product / (self.norms[self.at][region] * self.norms[then][region]).max(1.0));
            }
        }

        let (mut rise, mut fall) = (0.0, 0.0);
        for (now, before) in bands.iter().zip(&self.bands) {
            rise += (now - before).max(0.0);
            fall += (before - now).max(0.0);
        }
        self.bands = bands;
        put(rise / BANDS as f32);
        put(fall / BANDS as f32);

        let first = strongest(power, None);
        let second = strongest(power, Some(first));
        let (first_power, second_power) = (around(power, first), around(power, second));
        put(first_power / total);
        put((first_power + second_power) / total);
        put(first.abs_diff(self.strongest).min(BAND_BINS) as f32 / BAND_BINS as f32);
        self.strongest = first;
    }

    fn wipe(&mut self) {
        self.fine.as_flattened_mut().as_flattened_mut().zeroize();
        self.norms.as_flattened_mut().zeroize();
        self.bands.zeroize();
        (self.loudest, self.quietest, self.strongest) = (0.0, 0.0, 0);
    }
}

impl Drop for Spectra {
    fn drop(&mut self) {
        self.wipe();
    }
}

/// The level of each band; how far each bin stands out of it, cut, into `fine`; and the energy of that by band.
#[inline(always)]
fn structure(power: &[f32; BINS], fine: &mut Fine) -> ([f32; ACROSS], [f32; ACROSS]) {
    turn(power, fine);
    ln_in_place(fine.as_flattened_mut());
    let (mut bands, mut energies) = ([0.0; ACROSS], [0.0; ACROSS]);
    for bins in fine.iter() {
        for band in 0..ACROSS {
            bands[band] += bins[band];
        }
    }
    for band in &mut bands {
        *band *= LOG2_E / BAND_BINS as f32;
    }
    // Kept apart here and below, as in `lanes::dot`: LLVM would rather shape these vectors after what is made of single bands.
    let bands = std::hint::black_box(bands);
    for bins in fine.iter_mut() {
        for band in 0..ACROSS {
            bins[band] = (bins[band] * LOG2_E - bands[band]).max(FINE.0).min(FINE.1);
            energies[band] += bins[band] * bins[band];
        }
    }
    std::hint::black_box((bands, energies))
}

/// Puts each bin at its place. What belongs to no band is 1, so that its logarithm is 0. Apart from the rest, with which a compiler takes minutes.
#[inline(never)]
fn turn(power: &[f32; BINS], fine: &mut Fine) {
    for (bin, fine) in fine.iter_mut().enumerate() {
        fine[BANDS..].fill(1.0);
        for (fine, power) in fine[..BANDS].iter_mut().zip(power[bin..].iter().step_by(BAND_BINS)) {
            *fine = power + LEAST_POWER;
        }
    }
}

/// The products of two fine structures, added up by band.
#[inline(always)]
fn products(left: &Fine, right: &Fine) -> [f32; ACROSS] {
    let mut sums = [0.0; ACROSS];
    for (left, right) in left.iter().zip(right) {
        for band in 0..ACROSS {
            sums[band] += left[band] * right[band];
        }
    }
    std::hint::black_box(sums)
}

#[inline(always)]
fn log2(value: f32) -> f32 {
    let mut value = [value];
    ln_in_place(&mut value);
    value[0] * LOG2_E
}

/// The strongest bin, or the strongest that is not beside `other`; of equals the first.
#[inline(always)]
fn strongest(power: &[f32; BINS], other: Option<usize>) -> usize {
    let mut power = *power;
    if let Some(other) = other {
        power[other.saturating_sub(2)..(other + 3).min(BINS)].fill(-1.0);
    }
    let groups = power.as_chunks::<LANES>().0;
    let most = largest(groups.iter().copied(), -1.0);
    power.iter().position(|power| *power == most).unwrap_or(0)
}

/// The power of a peak: of its bin and of those beside it, which a Hann window spreads it over.
#[inline(always)]
fn around(power: &[f32; BINS], bin: usize) -> f32 {
    power[bin.saturating_sub(1)..(bin + 2).min(BINS)].iter().sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_strongest_bins_are_found_and_are_not_neighbours() {
        let mut power = [0.0; BINS];
        (power[7], power[8], power[9], power[100], power[223]) = (2.0, 3.0, 2.5, 1.0, 1.5);
        assert_eq!(strongest(&power, None), 8);
        assert_eq!(strongest(&power, Some(8)), 223);
        assert_eq!(strongest(&power, Some(223)), 8);
        assert_eq!(strongest(&[0.0; BINS], Some(0)), 3);
        assert_eq!(around(&power, 8), 7.5);
        assert_eq!(around(&power, 223), 1.5);
    }

    #[test]
    fn levels_do_not_jump_where_power_doubles() {
        let mut last = None;
        for n in 0..4_000 {
            let power = 1e-9 * 1.005_f32.powi(n);
            let (bands, _) = structure(&[power; BINS], &mut [[0.0; ACROSS]; BAND_BINS]);
            assert!((bands[3] - (power + LEAST_POWER).log2()).abs() < 1e-4, "{power}: {}", bands[3]);
            let rise = last.map_or(0.005, |last| bands[3] - last);
            assert!((0.003..0.009).contains(&rise), "{power}: {rise}");
            last = Some(bands[3]);
        }
    }

    #[test]
    fn nothing_stays_of_what_was_heard() {
        let mut spectra = Spectra::new();
        let power = std::array::from_fn(|bin| 0.01 / (bin + 1) as f32);
        Frame { spectra: &mut spectra, power: &power, values: &mut [0.0; FRAME_VALUES] }.with_simd(pulp::Scalar::new());
        assert!(spectra.fine[1].as_flattened().iter().any(|value| *value != 0.0) && spectra.bands[0] != 0.0);
        spectra.wipe();
        assert!(spectra.fine.as_flattened().as_flattened().iter().chain(&spectra.bands).all(|value| *value == 0.0));
        assert_eq!((spectra.norms, spectra.loudest, spectra.strongest), ([[0.0; 3]; KEPT], 0.0, 0));
    }
}
