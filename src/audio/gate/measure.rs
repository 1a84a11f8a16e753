//! Samples → what the gate's network is told of every block.
//!
//! A block is [`BLOCK_SECONDS`] long and is looked at twice: two frames of 64 ms, 32 ms apart, Hann-windowed, each ending where a half of
//! the block ends. Of a frame's spectrum the 256 bins below 4 kHz count, whatever the rate: 15.6 Hz each, so that the harmonics of a
//! voice stand apart and a line's rate changes nothing. A frame's values:
//!
//! | values | what | why |
//! |---|---|---|
//! | 14 | mean log power of bands of 250 Hz against the mean of all | the sound's colour |
//! | 3 | level against the loudest and the quietest of late, and as it is | pauses, silence |
//! | 4 | how far peaks stand out of their band | noise has none |
//! | 9 | correlation of the spectrum's fine structure with that of 64, 128, 256 ms ago in three regions | a note stays where it is, the harmonics of a voice glide |
//! | 2 | rise and fall of the bands since the last frame | syllables, beats |
//! | 3 | share of the strongest peak, of the two strongest, and how far the strongest moved | signalling tones |

use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use pulp::Arch;
use realfft::{RealFftPlanner, RealToComplex, num_complex::Complex32};
use zeroize::Zeroizing;

/// A block: 64 ms.
pub const BLOCK_SECONDS: f64 = 0.064;
/// The same.
const BLOCK_MILLISECONDS: u32 = 64;
/// Frames a block.
const FRAMES: usize = 2;
/// The first bin that counts: 62 Hz, above a line's hum and offset.
const FIRST_BIN: usize = 4;
/// Bins a band.
const BAND_BINS: usize = 16;
/// Bands: 62 Hz to 3,560 Hz, what a telephone carries.
const BANDS: usize = 14;
/// Bins that count.
const BINS: usize = BANDS * BAND_BINS;
/// Bands of the regions that peaks are looked for in.
const PEAK_REGIONS: [(usize, usize); 4] = [(0, 2), (2, 6), (6, 10), (10, 14)];
/// Bands of the regions that are compared with earlier.
const STEADY_REGIONS: [(usize, usize); 3] = [(0, 4), (4, 9), (9, 14)];
/// Frames between what is compared: windows of two frames' distance share no sample.
const STEADY_LAGS: [usize; 3] = [2, 4, 8];
/// Earlier fine structures that are kept.
const KEPT: usize = 8;
/// Values a frame.
const FRAME_VALUES: usize = BANDS + 3 + PEAK_REGIONS.len() + STEADY_REGIONS.len() * STEADY_LAGS.len() + 2 + 3;
/// Values a block.
pub const VALUES: usize = FRAMES * FRAME_VALUES;
/// Power that is added to every bin, against full scale: white noise of -80 dBFS, below G.711's smallest step.
const LEAST_POWER: f32 = 1e-10;
/// What the loudest of late loses a frame, in powers of two: 2 dB a second.
const PEAK_DECAY: f32 = 0.021;
/// What the quietest of late gains a frame: 3 dB a second.
const FLOOR_RISE: f32 = 0.031;
/// Where peaks and dips of the fine structure are cut, in powers of two around the band's mean.
const FINE: (f32, f32) = (-2.0, 6.0);

/// Measures blocks of a stream.
pub(super) struct Measure {
    half_samples: usize,
    plan: Arc<Plan>,
    /// The last two halves of a block, 64 ms: the frame under way is filled from the middle on.
    frame: Zeroizing<Vec<f32>>,
    filled: usize,
    windowed: Zeroizing<Vec<f32>>,
    bins: Vec<Complex32>,
    scratch: Vec<Complex32>,
    power: [f32; BINS],
    spectra: Spectra,
    /// Frames of the block under way that were measured.
    frames: usize,
    values: [f32; VALUES],
    squares: f64,
    sum: f64,
}

/// What all streams of one rate share.
struct Plan {
    fft: Arc<dyn RealToComplex<f32>>,
    window: Vec<f32>,
    /// Makes the power of a sine of full scale 1 in its bin.
    scale: f32,
}

/// The plans by samples a frame; rates are few.
static PLANS: LazyLock<Mutex<Vec<Arc<Plan>>>> = LazyLock::new(Mutex::default);

/// What frames are compared with.
struct Spectra {
    /// Fine structure of the last frames, a ring.
    fine: [[f32; BINS]; KEPT + 1],
    /// The square root of the fine structure's energy by region.
    norms: [[f32; STEADY_REGIONS.len()]; KEPT + 1],
    at: usize,
    bands: [f32; BANDS],
    loudest: f32,
    quietest: f32,
    strongest: usize,
    begun: bool,
}

/// A block's values and its level.
pub(super) struct Block<'a> {
    pub(super) values: &'a [f32; VALUES],
    /// Without its mean: a line's direct current is no sound.
    pub(super) power: f64,
}

impl Measure {
    /// For samples at `rate_hz`, at least 8,000.
    pub(super) fn new(rate_hz: u32) -> Self {
        let half_samples = (rate_hz * BLOCK_MILLISECONDS / 2).div_ceil(1_000).max(256) as usize;
        let samples = FRAMES * half_samples;
        let plan = Plan::of(samples);
        Self {
            half_samples,
            windowed: Zeroizing::new(plan.fft.make_input_vec()),
            bins: plan.fft.make_output_vec(),
            scratch: plan.fft.make_scratch_vec(),
            plan,
            frame: Zeroizing::new(vec![0.0; samples]),
            filled: 0,
            power: [0.0; BINS],
            spectra: Spectra::new(),
            frames: 0,
            values: [0.0; VALUES],
            squares: 0.0,
            sum: 0.0,
        }
    }

    /// Samples a block.
    pub(super) fn block_samples(&self) -> usize {
        FRAMES * self.half_samples
    }

    /// Takes samples in and tells each block that they complete.
    pub(super) fn push(&mut self, mut samples: &[f32], mut tell: impl FnMut(Block<'_>)) {
        while !samples.is_empty() {
            let (part, rest) = samples.split_at(samples.len().min(self.half_samples - self.filled));
            let at = self.half_samples + self.filled;
            self.frame[at..at + part.len()].copy_from_slice(part);
            self.filled += part.len();
            samples = rest;
            if self.filled == self.half_samples && self.half_done() {
                let count = self.block_samples() as f64;
                let mean = self.sum / count;
                let power = (self.squares / count - mean * mean).max(0.0);
                (self.sum, self.squares) = (0.0, 0.0);
                tell(Block { values: &self.values, power });
            }
        }
    }

    /// Ends the stream in silence: the last block if it is under way.
    pub(super) fn finish(&mut self, tell: impl FnMut(Block<'_>)) {
        let missing = (FRAMES - self.frames) * self.half_samples - self.filled;
        if missing < self.block_samples() {
            self.push(&vec![0.0; missing], tell);
        }
    }

    /// Measures the frame that is full; whether it was the block's last.
    fn half_done(&mut self) -> bool {
        self.filled = 0;
        // Summed a half at a time, so that it rounds alike however samples are cut.
        for &sample in &self.frame[self.half_samples..] {
            self.sum += f64::from(sample);
            self.squares += f64::from(sample) * f64::from(sample);
        }
        for ((windowed, sample), weight) in self.windowed.iter_mut().zip(self.frame.iter()).zip(&self.plan.window) {
            *windowed = sample * weight;
        }
        self.frame.copy_within(self.half_samples.., 0);
        self.plan
            .fft
            .process_with_scratch(&mut self.windowed, &mut self.bins, &mut self.scratch)
            .expect("the plan made the buffers");
        for (power, bin) in self.power.iter_mut().zip(&self.bins[FIRST_BIN..]) {
            *power = (bin.re * bin.re + bin.im * bin.im) * self.plan.scale;
        }
        let values = &mut self.values[self.frames * FRAME_VALUES..][..FRAME_VALUES];
        let (spectra, power) = (&mut self.spectra, &self.power);
        // No sum is reordered and nothing fused: the same to the bit with any instructions.
        Arch::new().dispatch(
            #[inline(always)]
            || spectra.measure(power, values),
        );
        self.frames = (self.frames + 1) % FRAMES;
        self.frames == 0
    }
}

impl Plan {
    fn of(samples: usize) -> Arc<Self> {
        let mut plans = PLANS.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(plan) = plans.iter().find(|plan| plan.window.len() == samples) {
            return Arc::clone(plan);
        }
        let turn = |n: usize| std::f64::consts::TAU * n as f64 / samples as f64;
        #[expect(clippy::cast_possible_truncation, reason = "a weight needs no more than f32")]
        let plan = Arc::new(Self {
            fft: RealFftPlanner::new().plan_fft_forward(samples),
            window: (0..samples).map(|n| (0.5 - 0.5 * turn(n).cos()) as f32).collect(),
            scale: (4.0 / samples as f32).powi(2),
        });
        plans.push(Arc::clone(&plan));
        plan
    }
}

impl Spectra {
    fn new() -> Self {
        Self {
            fine: [[0.0; BINS]; KEPT + 1],
            norms: [[0.0; STEADY_REGIONS.len()]; KEPT + 1],
            at: 0,
            bands: [0.0; BANDS],
            loudest: 0.0,
            quietest: 0.0,
            strongest: 0,
            begun: false,
        }
    }

    #[inline(always)]
    fn measure(&mut self, power: &[f32; BINS], values: &mut [f32]) {
        self.at = (self.at + 1) % (KEPT + 1);
        let mut out = values.iter_mut();
        let mut put = |value: f32| *out.next().expect("the values were counted") = value;

        let fine = &mut self.fine[self.at];
        for (fine, power) in fine.iter_mut().zip(power) {
            *fine = log(power + LEAST_POWER);
        }
        let mut bands = [0.0; BANDS];
        let mut peaks = [0.0; BANDS];
        for ((band, peak), fine) in bands.iter_mut().zip(&mut peaks).zip(fine.chunks_exact_mut(BAND_BINS)) {
            *band = sum(fine) / BAND_BINS as f32;
            for value in fine.iter_mut() {
                *value = (*value - *band).max(FINE.0).min(FINE.1);
            }
            *peak = dot(fine, fine);
        }
        let mean = bands.iter().sum::<f32>() / BANDS as f32;
        bands.iter().for_each(|band| put(band - mean));

        let level = log(sum(power) + LEAST_POWER);
        if !self.begun {
            (self.loudest, self.quietest, self.bands, self.begun) = (level, level, bands, true);
        }
        self.loudest = level.max(self.loudest - PEAK_DECAY);
        self.quietest = level.min(self.quietest + FLOOR_RISE);
        put(level - self.loudest);
        put(level - self.quietest);
        put(level);

        for (from, to) in PEAK_REGIONS {
            put((peaks[from..to].iter().sum::<f32>() / ((to - from) * BAND_BINS) as f32).sqrt());
        }

        for (norm, (from, to)) in self.norms[self.at].iter_mut().zip(STEADY_REGIONS) {
            *norm = peaks[from..to].iter().sum::<f32>().sqrt();
        }
        for lag in STEADY_LAGS {
            let then = (self.at + KEPT + 1 - lag) % (KEPT + 1);
            for (region, (from, to)) in STEADY_REGIONS.into_iter().enumerate() {
                let bins = from * BAND_BINS..to * BAND_BINS;
                let product = dot(&self.fine[self.at][bins.clone()], &self.fine[then][bins]);
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

        let total = sum(power) + LEAST_POWER;
        let first = strongest(power, None);
        let second = strongest(power, Some(first));
        let (first_power, second_power) = (around(power, first), around(power, second));
        put(first_power / total);
        put((first_power + second_power) / total);
        put(first.abs_diff(self.strongest).min(BAND_BINS) as f32 / BAND_BINS as f32);
        self.strongest = first;
    }
}

/// The values of all blocks of a recording, one block's after the other's: what the network learns from.
pub fn of(samples: &[f32], rate_hz: u32) -> Vec<f32> {
    let mut measure = Measure::new(rate_hz);
    let mut values = Vec::new();
    measure.push(samples, |block| values.extend_from_slice(block.values));
    values
}

/// The strongest bin, or the strongest that is not beside `other`.
#[inline(always)]
fn strongest(power: &[f32; BINS], other: Option<usize>) -> usize {
    let (below, above) = other.map_or((BINS, BINS), |other| (other.saturating_sub(2), (other + 3).min(BINS)));
    let (low, high) = (largest(&power[..below]), largest(&power[above..]));
    if high > low {
        above + power[above..].iter().position(|&power| power == high).unwrap_or(0)
    } else {
        power[..below].iter().position(|&power| power == low).unwrap_or(0)
    }
}

/// The largest of numbers that are not negative, eight at a time.
#[inline(always)]
fn largest(values: &[f32]) -> f32 {
    let (parts, rest) = values.as_chunks::<8>();
    let mut most = [-1.0_f32; 8];
    for part in parts {
        for (most, value) in most.iter_mut().zip(part) {
            *most = if *value > *most { *value } else { *most };
        }
    }
    most.iter().chain(rest).fold(-1.0, |most, &value| if value > most { value } else { most })
}

/// The power of a peak: of its bin and of those beside it, which a Hann window spreads it over.
#[inline(always)]
fn around(power: &[f32; BINS], bin: usize) -> f32 {
    power[bin.saturating_sub(1)..(bin + 2).min(BINS)].iter().sum()
}

/// Eight sums side by side, which vectorises; the values are a multiple of eight.
#[inline(always)]
fn sum(values: &[f32]) -> f32 {
    let mut sums = [0.0; 8];
    for part in values.as_chunks::<8>().0 {
        for (sum, value) in sums.iter_mut().zip(part) {
            *sum += value;
        }
    }
    sums.iter().sum()
}

#[inline(always)]
fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0.0; 8];
    for (a, b) in a.as_chunks::<8>().0.iter().zip(b.as_chunks::<8>().0) {
        for ((sum, a), b) in sums.iter_mut().zip(a).zip(b) {
            *sum += a * b;
        }
    }
    sums.iter().sum()
}

/// A logarithm of a normal number above 0 that vectorises where a library's does not: its exponent to the base 2 and, within 1e-3, the
/// natural logarithm of its mantissa. So it rises everywhere, with a step of 0.3 at powers of 2. The network learnt with it: who changes it
/// trains anew.
#[inline(always)]
fn log(value: f32) -> f32 {
    let bits = value.to_bits();
    let exponent = (bits >> 23).cast_signed() as f32 - 127.0;
    let m = f32::from_bits(bits & 0x007F_FFFF | 0x3F80_0000);
    exponent + (((-0.056_570_85 * m + 0.447_179_55) * m - 1.469_956_8) * m + 2.821_202_6) * m - 1.741_793_9
}

#[cfg(test)]
mod tests;
