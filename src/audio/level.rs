//! How loud a line is, and whether it clips: blocks of half a second, so that neither depends on how the audio is cut into chunks.

use super::Encoding;

/// Blocks a second.
const BLOCKS_PER_SECOND: u32 = 2;

/// What digital silence is told as. dBFS; 16 bits end at -96.
pub const SILENCE_DBFS: f32 = -100.0;

/// Sums that are kept side by side, so that the compiler can use vector instructions.
const LANES: usize = 8;

/// One block.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Block {
    /// Root mean square against the largest sample, [`SILENCE_DBFS`] at least: a sine as large as can be is at -3.
    pub level_dbfs: f32,
    /// Samples in it.
    pub samples: u32,
    /// Those of them that are as large as the encoding can write.
    pub clipped: u32,
}

/// Measures one channel.
#[derive(Debug, Clone)]
pub struct Meter {
    block_samples: u32,
    full_scale: f32,
    samples: u32,
    clipped: u32,
    squares: f64,
}

impl Meter {
    /// For samples of this encoding, so many a second.
    pub fn new(encoding: Encoding, sample_rate_hz: u32) -> Self {
        let block_samples = (sample_rate_hz / BLOCKS_PER_SECOND).max(1);
        Self { block_samples, full_scale: encoding.full_scale(), samples: 0, clipped: 0, squares: 0.0 }
    }

    /// Takes samples in, ±1, and tells each block that they complete.
    pub fn push(&mut self, samples: &[f32], mut tell: impl FnMut(Block)) {
        let mut rest = samples;
        while !rest.is_empty() {
            let missing = (self.block_samples - self.samples) as usize;
            let (part, tail) = rest.split_at(rest.len().min(missing));
            rest = tail;
            self.add(part);
            if self.samples == self.block_samples {
                tell(self.block());
                (self.samples, self.clipped, self.squares) = (0, 0, 0.0);
            }
        }
    }

    fn add(&mut self, samples: &[f32]) {
        let (mut squares, mut clipped) = ([0.0_f32; LANES], [0_u32; LANES]);
        let (lanes, last) = samples.as_chunks::<LANES>();
        for lane in lanes {
            for ((squares, clipped), sample) in squares.iter_mut().zip(&mut clipped).zip(lane) {
                *squares += sample * sample;
                *clipped += u32::from(sample.abs() >= self.full_scale);
            }
        }
        for ((squares, clipped), sample) in squares.iter_mut().zip(&mut clipped).zip(last) {
            *squares += sample * sample;
            *clipped += u32::from(sample.abs() >= self.full_scale);
        }
        self.squares += squares.iter().copied().map(f64::from).sum::<f64>();
        self.clipped += clipped.iter().sum::<u32>();
        self.samples += u32::try_from(samples.len()).expect("no part is longer than a block");
    }

    #[expect(clippy::cast_possible_truncation, reason = "decibels")]
    fn block(&self) -> Block {
        let level_dbfs = 10.0 * (self.squares / f64::from(self.samples)).log10();
        Block { level_dbfs: (level_dbfs as f32).max(SILENCE_DBFS), samples: self.samples, clipped: self.clipped }
    }
}

#[cfg(test)]
mod tests {
    use std::f32::consts::PI;

    use proptest::prelude::*;

    use super::*;
    use crate::audio::codec;

    fn blocks(encoding: Encoding, samples: &[f32], cut: usize) -> Vec<Block> {
        let mut blocks = Vec::new();
        let mut meter = Meter::new(encoding, 8_000);
        samples.chunks(cut).for_each(|part| meter.push(part, |block| blocks.push(block)));
        blocks
    }

    fn sine(amplitude: f32) -> Vec<f32> {
        (0..8_000).map(|n| (amplitude * (2.0 * PI * n as f32 / 80.0).sin()).clamp(-1.0, 1.0)).collect()
    }

    /// What a line carries of it.
    fn sent(encoding: Encoding, samples: &[f32]) -> Vec<f32> {
        let mut bytes = Vec::new();
        codec::encode(encoding, samples, &mut bytes);
        let mut planes = [Vec::new()];
        codec::Decoder::new(encoding, 1).push(&bytes, &mut planes);
        let [plane] = planes;
        plane
    }

    #[test]
    fn a_sine_is_as_loud_as_it_is_and_does_not_clip() {
        for (amplitude, dbfs) in [(0.9, -3.93), (0.09, -23.93), (0.009, -43.93)] {
            let blocks = blocks(Encoding::Linear16, &sine(amplitude), 160);
            assert_eq!(blocks.len(), 2);
            for block in blocks {
                assert!((block.level_dbfs - dbfs).abs() < 0.02, "{block:?}, expected {dbfs}");
                assert_eq!((block.samples, block.clipped), (4_000, 0));
            }
        }
    }

    #[test]
    fn silence_has_a_floor() {
        assert_eq!(blocks(Encoding::Linear16, &[0.0; 4_000], 999)[0].level_dbfs, SILENCE_DBFS);
    }

    #[test]
    fn a_sine_that_is_too_loud_clips_in_every_encoding() {
        for encoding in [Encoding::Linear16, Encoding::Mulaw, Encoding::Alaw] {
            for block in blocks(encoding, &sent(encoding, &sine(2.0)), 160) {
                // Two thirds of it lie above half of its height.
                assert!((block.clipped as f32 / block.samples as f32 - 0.67).abs() < 0.03, "{encoding:?}: {block:?}");
                assert!(block.level_dbfs > -2.0, "{encoding:?}: {block:?}");
            }
            let quiet = sent(encoding, &sine(0.9));
            assert!(blocks(encoding, &quiet, 160).iter().all(|block| block.clipped == 0), "{encoding:?}");
        }
    }

    proptest! {
        #[test]
        fn chunks_do_not_matter(samples in prop::collection::vec(-1.0_f32..=1.0, 4_000..13_000), cut in 1_usize..5_000) {
            let (whole, parts) =
                (blocks(Encoding::Mulaw, &samples, samples.len()), blocks(Encoding::Mulaw, &samples, cut));
            prop_assert_eq!(whole.len(), samples.len() / 4_000);
            prop_assert_eq!(whole.len(), parts.len());
            for (whole, part) in whole.iter().zip(&parts) {
                prop_assert!((whole.level_dbfs - part.level_dbfs).abs() < 1e-3);
                prop_assert_eq!((whole.samples, whole.clipped), (part.samples, part.clipped));
            }
        }
    }
}
