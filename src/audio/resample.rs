//! Sample-rate conversion of a stream, by overlapping FFT blocks (rubato's `Fft`).
//!
//! The converter works on blocks of 20 ms (the least multiple of both rates' common period that is at least so long and even) with
//! a linear-phase low-pass filter as long as a block. Its delay, half a block, is taken out: output sample 0 belongs to input
//! sample 0 exactly. What remains is look-ahead: an output sample is told once the block it depends on is full, 10 to 30 ms of
//! input later; [`Resampler::input_needed`] says it to the sample. 20 ms is a telephone packet, and at 8 kHz a shorter filter
//! would cut speech above 3.4 kHz. Rates without a common divisor of 50 Hz or more have longer blocks, so a longer look-ahead.
//!
//! Blocks are counted from the stream's beginning, so the output is the same to the bit however the input is cut.

use rubato::{Fft, FixedSync, Resampler as _, audioadapter_buffers::direct::InterleavedSlice};

/// Rates that are converted, both ends included: telephone to studio.
pub const RATES_HZ: std::ops::RangeInclusive<u32> = 8_000..=48_000;

/// Blocks a second at most: 20 ms each.
const BLOCKS_PER_SECOND: u32 = 50;

/// What cannot be resampled.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A rate outside 8,000 to 48,000 Hz.
    #[error("cannot resample from {from_hz} Hz to {to_hz} Hz: rates of 8000 to 48000 Hz are supported")]
    Rate {
        /// The source's rate.
        from_hz: u32,
        /// The target's rate.
        to_hz: u32,
    },
}

/// Converts a stream from one rate to another; its delay is already taken out: output sample 0 belongs to input sample 0.
pub struct Resampler {
    from_hz: u64,
    to_hz: u64,
    received: u64,
    told: u64,
    /// `None` where the rates are equal.
    blocks: Option<Blocks>,
}

/// The block converter and what waits to fill its next block.
struct Blocks {
    fft: Fft<f32>,
    input: Vec<f32>,
    filled: usize,
    output: Vec<f32>,
    /// The first block's output, which comes before output sample 0, is still to be dropped.
    first: bool,
}

impl Resampler {
    /// A converter between two rates; equal rates pass through.
    ///
    /// # Errors
    /// [`Error::Rate`] when either rate is outside [`RATES_HZ`].
    pub fn new(from_hz: u32, to_hz: u32) -> Result<Self, Error> {
        if !RATES_HZ.contains(&from_hz) || !RATES_HZ.contains(&to_hz) {
            return Err(Error::Rate { from_hz, to_hz });
        }
        let blocks = if from_hz == to_hz { None } else { Some(Blocks::new(from_hz, to_hz)?) };
        Ok(Self { from_hz: from_hz.into(), to_hz: to_hz.into(), received: 0, told: 0, blocks })
    }

    /// Takes `input` in and appends what can be told so far to `out`.
    pub fn push(&mut self, input: &[f32], out: &mut Vec<f32>) {
        let before = out.len();
        self.received += input.len() as u64;
        match &mut self.blocks {
            None => out.extend_from_slice(input),
            Some(blocks) => blocks.push(input, out),
        }
        self.told += (out.len() - before) as u64;
    }

    /// Ends the stream: appends the rest, so that all output is `ceil(input * to / from)` samples. Nothing may be pushed after.
    pub fn finish(&mut self, out: &mut Vec<f32>) {
        let Some(blocks) = &mut self.blocks else { return };
        let total = (self.received * self.to_hz).div_ceil(self.from_hz);
        while self.told < total {
            let before = out.len();
            blocks.fill_with_silence(out);
            let new = (out.len() - before) as u64;
            let keep = new.min(total - self.told);
            out.truncate(out.len() - usize::try_from(new - keep).expect("no more than was appended"));
            self.told += keep;
        }
    }

    /// Input samples that must have been pushed before the first `output_samples` are out.
    pub fn input_needed(&self, output_samples: u64) -> u64 {
        match &self.blocks {
            None => output_samples,
            Some(_) if output_samples == 0 => 0,
            Some(blocks) => {
                let (block_in, block_out) = (blocks.input.len() as u64, blocks.output.len() as u64);
                (output_samples.div_ceil(block_out) + 1) * block_in - block_in / 2
            }
        }
    }
}

impl Blocks {
    fn new(from_hz: u32, to_hz: u32) -> Result<Self, Error> {
        let period = from_hz / greatest_common_divisor(from_hz, to_hz);
        let mut block = from_hz.div_ceil(BLOCKS_PER_SECOND).next_multiple_of(period);
        // The filter's delay is half a block, to be taken out in whole samples.
        if !block.is_multiple_of(2) {
            block = if period.is_multiple_of(2) { block + period } else { block.next_multiple_of(2 * period) };
        }
        let (from, to) = (from_hz as usize, to_hz as usize);
        let fft =
            Fft::new_custom(from, to, block as usize, 1, 1, rubato::WindowFunction::BlackmanHarris2, FixedSync::Both)
                .map_err(|_| Error::Rate { from_hz, to_hz })?;
        let (block_in, block_out) = (fft.fft_size_in(), fft.fft_size_out());
        // Half a block of silence ahead of the stream and the filter's own half make a delay of one block, which is dropped.
        Ok(Self { fft, input: vec![0.0; block_in], filled: block_in / 2, output: vec![0.0; block_out], first: true })
    }

    fn push(&mut self, mut input: &[f32], out: &mut Vec<f32>) {
        while !input.is_empty() {
            let (part, rest) = input.split_at(input.len().min(self.input.len() - self.filled));
            self.input[self.filled..self.filled + part.len()].copy_from_slice(part);
            self.filled += part.len();
            input = rest;
            if self.filled == self.input.len() {
                self.convert(out);
            }
        }
    }

    fn fill_with_silence(&mut self, out: &mut Vec<f32>) {
        self.input[self.filled..].fill(0.0);
        self.convert(out);
    }

    fn convert(&mut self, out: &mut Vec<f32>) {
        self.filled = 0;
        let (block_in, block_out) = (self.input.len(), self.output.len());
        let input = InterleavedSlice::new(&self.input, 1, block_in).expect("a block is as long as its slice");
        let mut output =
            InterleavedSlice::new_mut(&mut self.output, 1, block_out).expect("a block is as long as its slice");
        self.fft.process_into_buffer(&input, &mut output, None).expect("blocks have the converter's own sizes");
        if self.first {
            self.first = false;
        } else {
            out.extend_from_slice(&self.output);
        }
    }
}

/// Converts a whole recording, by the same code as a stream.
///
/// # Errors
/// [`Error::Rate`] when either rate is outside [`RATES_HZ`].
pub fn resample(samples: &[f32], from_hz: u32, to_hz: u32) -> Result<Vec<f32>, Error> {
    let mut resampler = Resampler::new(from_hz, to_hz)?;
    let expected = (samples.len() as u64 * u64::from(to_hz)).div_ceil(from_hz.into());
    // A block more: finishing fills the last one before it cuts it.
    let mut out = Vec::with_capacity(usize::try_from(expected).unwrap_or_default() + to_hz as usize / 10);
    resampler.push(samples, &mut out);
    resampler.finish(&mut out);
    Ok(out)
}

fn greatest_common_divisor(mut a: u32, mut b: u32) -> u32 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

#[cfg(test)]
mod tests {
    use std::f32::consts::TAU;

    use proptest::prelude::*;

    use super::*;

    const PAIRS: [(u32, u32); 12] = [
        (8_000, 22_050),
        (16_000, 22_050),
        (48_000, 22_050),
        (44_100, 22_050),
        (11_025, 22_050),
        (12_000, 22_050),
        (24_000, 22_050),
        (32_000, 22_050),
        (16_000, 8_000),
        (44_100, 8_000),
        (22_050, 22_050),
        (8_000, 8_000),
    ];

    fn tone(hz: f32, rate_hz: u32, samples: usize) -> Vec<f32> {
        (0..samples).map(|n| 0.5 * (TAU * hz * n as f32 / rate_hz as f32).sin()).collect()
    }

    #[test]
    fn the_output_is_as_long_as_the_input_lasts() {
        for (from, to) in PAIRS {
            for samples in [0, 1, 2, 159, 160, 161, 5_000] {
                let out = resample(&tone(440.0, from, samples), from, to).expect("supported");
                assert_eq!(
                    out.len(),
                    (samples * to as usize).div_ceil(from as usize),
                    "{samples} samples, {from} to {to}"
                );
            }
        }
    }

    #[test]
    fn a_tone_comes_out_in_phase() {
        for (from, to) in PAIRS {
            let out = resample(&tone(440.0, from, from as usize / 2), from, to).expect("supported");
            let expected = tone(440.0, to, out.len());
            // Where the tone begins and ends abruptly the low-pass rings.
            let edge = to as usize / 25;
            for n in edge..out.len() - edge {
                assert!((out[n] - expected[n]).abs() < 2e-3, "{from} to {to}: {} and {} at {n}", out[n], expected[n]);
            }
        }
    }

    #[test]
    fn what_the_target_cannot_hold_is_removed() {
        let out = resample(&tone(5_500.0, 16_000, 16_000), 16_000, 8_000).expect("supported");
        assert!(out[800..7_200].iter().all(|sample| sample.abs() < 1e-3));
    }

    #[test]
    fn it_says_to_the_sample_what_input_an_output_needs() {
        for (from, to) in PAIRS {
            let mut resampler = Resampler::new(from, to).expect("supported");
            let mut out = Vec::new();
            for pushed in 1..=4_000_u64 {
                let before = out.len() as u64;
                resampler.push(&[0.1], &mut out);
                for output in before + 1..=out.len() as u64 {
                    assert_eq!(resampler.input_needed(output), pushed, "output {output}, {from} to {to}");
                }
                assert!(resampler.input_needed(out.len() as u64 + 1) > pushed, "{from} to {to}");
            }
        }
    }

    #[test]
    fn it_never_looks_more_than_40_ms_ahead() {
        for (from, to) in PAIRS {
            let resampler = Resampler::new(from, to).expect("supported");
            for output in 1..u64::from(to) {
                let ahead = resampler.input_needed(output) as f64 / f64::from(from) - output as f64 / f64::from(to);
                assert!(ahead < 0.040, "{ahead} s from {from} to {to}");
            }
        }
    }

    #[test]
    fn rates_no_telephone_has_are_refused() {
        for (from, to) in [(7_999, 22_050), (48_001, 22_050), (0, 8_000), (8_000, 96_000)] {
            let message = resample(&[0.0], from, to).expect_err("refused").to_string();
            assert!(message.contains("8000 to 48000"), "{message}");
        }
    }

    #[test]
    fn rates_with_no_common_divisor_still_convert() {
        let out = resample(&tone(440.0, 8_011, 16_022), 8_011, 22_050).expect("supported");
        assert_eq!(out.len(), 44_100);
        let expected = tone(440.0, 22_050, out.len());
        assert!((12_000..32_000).all(|n| (out[n] - expected[n]).abs() < 2e-3));
    }

    proptest! {
        #[test]
        fn however_it_is_cut_the_output_is_the_same(
            pair in 0..PAIRS.len(), cuts in prop::collection::vec(0_usize..700, 1..40), seed in any::<u32>(),
        ) {
            let (from, to) = PAIRS[pair];
            let samples: Vec<f32> = (0..6_000_u32)
                .map(|n| n.wrapping_mul(2_654_435_761).wrapping_add(seed).rotate_left(7) as f32 / u32::MAX as f32 - 0.5)
                .collect();
            let whole = resample(&samples, from, to).expect("supported");
            let mut resampler = Resampler::new(from, to).expect("supported");
            let mut out = Vec::new();
            let mut rest = samples.as_slice();
            for cut in cuts {
                let (chunk, tail) = rest.split_at(cut.min(rest.len()));
                resampler.push(chunk, &mut out);
                rest = tail;
            }
            resampler.push(rest, &mut out);
            resampler.finish(&mut out);
            prop_assert_eq!(out, whole);
        }
    }
}
