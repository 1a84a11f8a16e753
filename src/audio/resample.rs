//! Sample-rate conversion of a stream, by overlapping FFT blocks.
//!
//! The converter works on blocks of 20 ms (the least multiple of both rates' common period that is at least so long) with
//! a linear-phase low-pass filter as long as a block. Its delay, half a block, is taken out: output sample 0 belongs to input
//! sample 0 exactly. What remains is look-ahead: an output sample is told once the block it depends on is full, 10 to 30 ms of
//! input later; [`Resampler::input_needed`] says it to the sample. 20 ms is a telephone packet, and at 8 kHz a shorter filter
//! would cut speech above 3.4 kHz. Rates without a common divisor of 50 Hz have longer blocks, so a longer look-ahead: without one of
//! [`LEAST_DIVISOR_HZ`] it would be too long for a call, and only whole recordings are converted.
//!
//! Blocks are counted from the stream's beginning, so the output is the same to the bit however the input is cut.

mod blocks;

use blocks::Blocks;

/// Rates that are converted, both ends included: telephone to studio.
pub const RATES_HZ: std::ops::RangeInclusive<u32> = 8_000..=48_000;

/// Least common divisor of a stream's rates: blocks are no longer than 40 ms then.
pub const LEAST_DIVISOR_HZ: u32 = 25;

/// Blocks a second at most: 20 ms each.
const BLOCKS_PER_SECOND: u32 = 50;

/// What cannot be resampled.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A rate outside 8,000 to 48,000 Hz.
    #[error(
        "cannot resample from {from_hz} Hz to {to_hz} Hz: rates of 8000 to 48000 Hz are supported; resample it to one of them first, such as 16000 Hz"
    )]
    Rate {
        /// The source's rate.
        from_hz: u32,
        /// The target's rate.
        to_hz: u32,
    },
    /// A stream's rates whose blocks would be too long.
    #[error(
        "cannot resample a stream from {from_hz} Hz to {to_hz} Hz without hearing {block_ms} ms ahead: send a rate that is a multiple of \
         {LEAST_DIVISOR_HZ} Hz, such as 8000, 16000 or 44100"
    )]
    LookAhead {
        /// The source's rate.
        from_hz: u32,
        /// The target's rate.
        to_hz: u32,
        /// How long a block would be.
        block_ms: u32,
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

impl Resampler {
    /// A converter between two rates; equal rates pass through.
    ///
    /// # Errors
    /// [`Error::Rate`] when either rate is outside [`RATES_HZ`], [`Error::LookAhead`] when they have no common divisor of
    /// [`LEAST_DIVISOR_HZ`].
    pub fn new(from_hz: u32, to_hz: u32) -> Result<Self, Error> {
        let divisor = greatest_common_divisor(from_hz, to_hz);
        if divisor < LEAST_DIVISOR_HZ && RATES_HZ.contains(&from_hz) && RATES_HZ.contains(&to_hz) {
            return Err(Error::LookAhead { from_hz, to_hz, block_ms: 1_000 / divisor });
        }
        Self::of_any_rates(from_hz, to_hz)
    }

    /// The same, however long its blocks are.
    fn of_any_rates(from_hz: u32, to_hz: u32) -> Result<Self, Error> {
        if !RATES_HZ.contains(&from_hz) || !RATES_HZ.contains(&to_hz) {
            return Err(Error::Rate { from_hz, to_hz });
        }
        let blocks = (from_hz != to_hz).then(|| {
            let divisor = greatest_common_divisor(from_hz, to_hz);
            // As many of the rates' common periods as fill a block.
            let periods = from_hz.div_ceil(BLOCKS_PER_SECOND).div_ceil(from_hz / divisor);
            let block = |hz: u32| (hz / divisor * periods) as usize;
            Blocks::new(block(from_hz), block(to_hz))
        });
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

    /// Bytes that it takes beside itself; what streams share is not counted.
    pub fn bytes(&self) -> usize {
        self.blocks.as_ref().map_or(0, Blocks::bytes)
    }

    /// Input samples that must have been pushed before the first `output_samples` are out.
    pub fn input_needed(&self, output_samples: u64) -> u64 {
        match &self.blocks {
            None => output_samples,
            Some(_) if output_samples == 0 => 0,
            Some(blocks) => blocks.input_needed(output_samples),
        }
    }
}

/// Converts a whole recording, by the same code as a stream; between any two rates, since it waits for nothing.
///
/// # Errors
/// [`Error::Rate`] when either rate is outside [`RATES_HZ`].
pub fn resample(samples: &[f32], from_hz: u32, to_hz: u32) -> Result<Vec<f32>, Error> {
    let mut resampler = Resampler::of_any_rates(from_hz, to_hz)?;
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
            assert!(message.contains("8000 to 48000") && message.contains("resample it"), "{message}");
        }
    }

    #[test]
    fn a_stream_whose_blocks_would_last_too_long_is_refused() {
        for (from, to) in [(8_009, 22_050), (8_009, 8_000), (16_001, 22_050), (44_099, 8_000)] {
            let message = Resampler::new(from, to).err().expect("refused").to_string();
            assert!(message.contains(&from.to_string()) && message.contains("1000 ms"), "{message}");
            assert!(message.contains("multiple of 25 Hz"), "{message}");
        }
        for from in (8_000..=48_000).step_by(25) {
            for to in [8_000, 22_050] {
                let resampler = Resampler::new(from, to).expect("a multiple of 25 Hz");
                let ahead = f64::from(u32::try_from(resampler.input_needed(1)).expect("small")) / f64::from(from);
                assert!(ahead <= 0.0601, "{ahead} s from {from} to {to}");
            }
        }
    }

    #[test]
    fn recordings_at_rates_with_no_common_divisor_still_convert() {
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
