//! Samples → what the gate's network is told of every block.
//!
//! A rate of 16 kHz or more is halved until it is less ([`super::halve`]), so that a wide line costs little more than a telephone's, and what lies above
//! its 4 kHz changes neither values nor level. A block is [`BLOCK_SECONDS`] long and is looked at twice: two frames of 64 ms,
//! 32 ms apart, Hann-windowed, each ending where a half of the block ends. Of a frame's spectrum the bins from 62 Hz to 3,562 Hz count: 15.6 Hz each,
//! whatever the rate, so that the harmonics of a voice stand apart. A frame's values:
//!
//! | values | what | why |
//! |---|---|---|
//! | 14 | mean log power of bands of 250 Hz against the mean of all | the sound's colour |
//! | 3 | level against the loudest and the quietest of late, and as it is | pauses, silence |
//! | 4 | how far peaks stand out of their band | noise has none |
//! | 9 | correlation of the spectrum's fine structure with that of 64, 128, 256 ms ago in three regions | a note stays where it is, the harmonics of a voice glide |
//! | 2 | rise and fall of the bands since the last frame | syllables, beats |
//! | 3 | share of the strongest peak, of the two strongest, and how far the strongest moved | signalling tones |

use std::{
    cell::RefCell,
    sync::{Arc, LazyLock, Mutex, PoisonError},
};

use pulp::{Arch, Simd, WithSimd};
use zeroize::Zeroizing;

use super::halve::Halver;
use crate::audio::power::{Buffers, PowerSpectrum};
use spectra::{Frame, Spectra};

mod spectra;

/// A block: 64 ms.
pub const BLOCK_SECONDS: f64 = 0.064;
/// The same.
const BLOCK_MILLISECONDS: u32 = 64;
/// Rates from here on are halved.
const HALVED_FROM_HZ: u32 = 16_000;
/// Frames a block.
const FRAMES: usize = 2;
/// The first bin that counts: 62 Hz, above a line's hum and offset.
const FIRST_BIN: usize = 4;
/// Bins a band.
const BAND_BINS: usize = 16;
/// Bands: 62 Hz to 3,562 Hz, what a telephone carries.
const BANDS: usize = 14;
/// Bins that count.
const BINS: usize = BANDS * BAND_BINS;
/// Bands of the regions that peaks are looked for in.
const PEAK_REGIONS: [(usize, usize); 4] = [(0, 2), (2, 6), (6, 10), (10, 14)];
/// Bands of the regions that are compared with earlier.
const STEADY_REGIONS: [(usize, usize); 3] = [(0, 4), (4, 9), (9, 14)];
/// Frames between what is compared: windows of two frames' distance share no sample.
const STEADY_LAGS: [usize; 3] = [2, 4, 8];
/// Values a frame.
const FRAME_VALUES: usize = BANDS + 3 + PEAK_REGIONS.len() + STEADY_REGIONS.len() * STEADY_LAGS.len() + 2 + 3;
/// Values a block.
pub const VALUES: usize = FRAMES * FRAME_VALUES;
/// Samples whose levels are summed side by side.
const ABREAST: usize = 16;

/// Measures blocks of a stream.
pub(super) struct Measure {
    /// One behind the other.
    halvers: Vec<Halver>,
    /// The half of a block under way, at the stream's rate.
    half: Zeroizing<Vec<f32>>,
    filled: usize,
    /// The last two halves of a block, 64 ms, at the halved rate.
    frame: Zeroizing<Vec<f32>>,
    spectrum: Arc<PowerSpectrum>,
    spectra: Spectra,
    /// Frames of the block under way that were measured.
    frames: usize,
    values: [[f32; FRAME_VALUES]; FRAMES],
    squares: f64,
    sum: f64,
}

/// Spectra's plans by samples a frame.
type Plans = Vec<(usize, Arc<PowerSpectrum>)>;

/// The same for all streams; rates are few.
static PLANS: LazyLock<Mutex<Plans>> = LazyLock::new(Mutex::default);

thread_local! {
    /// What one frame is analysed in, and its spectrum.
    static BUFFERS: RefCell<(Buffers, Vec<f32>)> = RefCell::default();
}

/// The sum of samples, and of their squares.
struct Level<'a>(&'a [f32]);

/// A block's values and its level.
pub(super) struct Block<'a> {
    pub(super) values: &'a [f32; VALUES],
    /// Below 4 kHz, and without its mean: a line's direct current is no sound.
    pub(super) power: f64,
}

impl Measure {
    /// For samples at `rate_hz`, at least 8,000.
    pub(super) fn new(rate_hz: u32) -> Self {
        let halvings = (rate_hz / HALVED_FROM_HZ).checked_ilog2().map_or(0, |halvings| halvings + 1);
        let half_samples = (rate_hz * BLOCK_MILLISECONDS / 2).div_ceil(1_000 << halvings).max(256) as usize;
        Self {
            halvers: (1..=halvings).rev().map(|halvings| Halver::new(half_samples << halvings)).collect(),
            half: Zeroizing::new(vec![0.0; half_samples << halvings]),
            filled: 0,
            frame: Zeroizing::new(vec![0.0; FRAMES * half_samples]),
            spectrum: plan(FRAMES * half_samples),
            spectra: Spectra::new(),
            frames: 0,
            values: [[0.0; FRAME_VALUES]; FRAMES],
            squares: 0.0,
            sum: 0.0,
        }
    }

    /// Samples a block.
    pub(super) fn block_samples(&self) -> usize {
        FRAMES * self.half.len()
    }

    /// Bytes of its buffers.
    pub(super) fn bytes(&self) -> usize {
        let halvers: usize = self.halvers.iter().map(Halver::bytes).sum();
        halvers + (self.half.capacity() + self.frame.capacity()) * size_of::<f32>()
    }

    /// Takes samples in and tells each block that they complete.
    pub(super) fn push(&mut self, mut samples: &[f32], mut tell: impl FnMut(Block<'_>)) {
        while !samples.is_empty() {
            let (part, rest) = samples.split_at(samples.len().min(self.half.len() - self.filled));
            self.half[self.filled..self.filled + part.len()].copy_from_slice(part);
            self.filled += part.len();
            samples = rest;
            if self.filled == self.half.len() && self.half_done() {
                let count = self.frame.len() as f64;
                let mean = self.sum / count;
                let power = (self.squares / count - mean * mean).max(0.0);
                (self.sum, self.squares) = (0.0, 0.0);
                let values = self.values.as_flattened().first_chunk().expect("values of all frames");
                tell(Block { values, power });
            }
        }
    }

    /// Ends the stream in silence: the last block if it is under way.
    pub(super) fn finish(&mut self, tell: impl FnMut(Block<'_>)) {
        let missing = (FRAMES - self.frames) * self.half.len() - self.filled;
        if missing < self.block_samples() {
            self.push(&vec![0.0; missing], tell);
        }
    }

    /// Measures the frame that is full; whether it was the block's last.
    fn half_done(&mut self) -> bool {
        let Self { halvers, half, frame, spectrum, spectra, frames, values, .. } = self;
        self.filled = 0;
        let mut count = half.len();
        for halver in halvers {
            halver.halve(&mut half[..count]);
            count /= 2;
        }
        frame.copy_within(count.., 0);
        frame[count..].copy_from_slice(&half[..count]);
        let arch = Arch::new();
        // Summed a half at a time, so that it rounds alike however samples are cut.
        let (sum, squares) = arch.dispatch(Level(&half[..count]));
        self.sum += sum;
        self.squares += squares;
        BUFFERS.with_borrow_mut(|(buffers, power)| {
            // No cost while all legs of a thread are of one rate.
            power.resize(count + 1, 0.0);
            spectrum.power(frame, buffers, power);
            let counting = power[FIRST_BIN..].first_chunk().expect("a frame is of 512 samples at least");
            arch.dispatch(Frame { spectra, power: counting, values: &mut values[*frames] });
            power.fill(0.0);
        });
        *frames = (*frames + 1) % FRAMES;
        *frames == 0
    }
}

/// The plan for frames of so many samples under a periodic Hann window: the power of a sine of full scale is 1 in its bin.
fn plan(samples: usize) -> Arc<PowerSpectrum> {
    // A plan is pushed whole, so the list is good after a panic too.
    let mut plans = PLANS.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((_, plan)) = plans.iter().find(|(length, _)| *length == samples) {
        return Arc::clone(plan);
    }
    let turn = std::f64::consts::TAU / samples as f64;
    #[expect(clippy::cast_possible_truncation, reason = "a weight needs no more than f32")]
    let window = (0..samples).map(|n| ((0.5 - 0.5 * (turn * n as f64).cos()) * 4.0 / samples as f64) as f32).collect();
    let plan = Arc::new(PowerSpectrum::new(window, samples));
    plans.push((samples, Arc::clone(&plan)));
    plan
}

impl WithSimd for Level<'_> {
    type Output = (f64, f64);

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> (f64, f64) {
        let (mut sums, mut squares) = ([0.0_f64; ABREAST], [0.0_f64; ABREAST]);
        let (groups, rest) = self.0.as_chunks::<ABREAST>();
        for group in groups {
            for lane in 0..ABREAST {
                let sample = f64::from(group[lane]);
                sums[lane] += sample;
                squares[lane] += sample * sample;
            }
        }
        // Kept apart, as in `lanes::dot`.
        let (sums, squares) = std::hint::black_box((sums, squares));
        let rest = rest.iter().map(|sample| f64::from(*sample));
        let sum = sums.into_iter().chain(rest.clone()).sum();
        (sum, squares.into_iter().chain(rest.map(|sample| sample * sample)).sum())
    }
}

/// The values of all blocks of a recording, one block's after the other's: what the network learns from.
pub fn of(samples: &[f32], rate_hz: u32) -> Vec<f32> {
    let mut measure = Measure::new(rate_hz);
    let mut values = Vec::new();
    measure.push(samples, |block| values.extend_from_slice(block.values));
    values
}

#[cfg(test)]
mod tests;
