//! Which stretches are speech: an energy gate over blocks of 20 ms, at the source's rate.
//!
//! A block is speech when its level stands [`MARGIN_DB`] above the noise floor and above [`QUIETEST_SPEECH_DBFS`], and for
//! [`HANGOVER_BLOCKS`] after, since words end softly. The floor is the lowest level of the last 3 s (minimum statistics, Martin
//! 2001, on unsmoothed blocks): speech pauses often enough for its minimum to be the background. While less than
//! [`LEARNING_BLOCKS`] were heard it is taken to be no higher than [`INITIAL_FLOOR_DBFS`], so that speech in the very first block
//! is heard at once. Energy cannot tell noise from speech honestly, so the gate tells speech from silence only.
//!
//! It looks at no later block, and blocks are counted from the stream's beginning: however samples are cut, the same is told.

use std::collections::VecDeque;

/// Blocks a second: 20 ms, a telephone packet.
pub const BLOCKS_PER_SECOND: u32 = 50;

/// How far above the noise floor speech is, in dB: on CREMA-D it keeps 97 % of speech (docs/features.md).
const MARGIN_DB: f32 = 6.0;

/// Nothing quieter is speech: the level of G.711's lowest step is about -72 dBFS.
const QUIETEST_SPEECH_DBFS: f32 = -65.0;

/// What the noise of a line nothing was heard of yet is taken to be at most.
const INITIAL_FLOOR_DBFS: f32 = -60.0;

/// Blocks until the floor is believed: half a second of speech holds a dip.
const LEARNING_BLOCKS: u64 = 25;

/// Blocks that stay speech after the last loud one: 240 ms, a pause within a word group.
const HANGOVER_BLOCKS: u32 = 12;

/// The floor's memory: ten sub-windows of 15 blocks, 3 s.
const SUB_WINDOWS: usize = 10;
const SUB_WINDOW_BLOCKS: u64 = 15;

/// A block of digital silence, in dBFS.
const SILENCE_DBFS: f32 = -120.0;

/// What is heard in one block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activity {
    /// Somebody speaks.
    Speech,
    /// Nobody does.
    Silence,
}

/// Tells speech from silence, block by block.
#[derive(Debug)]
pub struct Gate {
    block_samples: usize,
    /// Of the block under way.
    filled: usize,
    sum: f64,
    squares: f64,
    blocks: u64,
    hangover: u32,
    /// Lowest level of the current sub-window, and of the ones before.
    lowest: f32,
    earlier: VecDeque<f32>,
}

impl Gate {
    /// A gate for samples at `rate_hz`.
    pub fn new(rate_hz: u32) -> Self {
        Self {
            block_samples: (rate_hz / BLOCKS_PER_SECOND).max(1) as usize,
            filled: 0,
            sum: 0.0,
            squares: 0.0,
            blocks: 0,
            hangover: 0,
            lowest: f32::INFINITY,
            earlier: VecDeque::with_capacity(SUB_WINDOWS),
        }
    }

    /// Samples a block: block `n` holds samples from `n * block_samples()` on.
    pub fn block_samples(&self) -> usize {
        self.block_samples
    }

    /// Takes samples in and tells each block that they complete, in order.
    pub fn push(&mut self, mut samples: &[f32], mut tell: impl FnMut(Activity)) {
        while !samples.is_empty() {
            let (part, rest) = samples.split_at(samples.len().min(self.block_samples - self.filled));
            // Sums of single samples in order, so that they round alike however the block is cut.
            for &sample in part {
                let sample = f64::from(sample);
                self.sum += sample;
                self.squares += sample * sample;
            }
            self.filled += part.len();
            samples = rest;
            if self.filled == self.block_samples {
                tell(self.decide());
            }
        }
    }

    /// Ends the stream: tells the last block if it is under way.
    pub fn finish(&mut self) -> Option<Activity> {
        (self.filled > 0).then(|| self.decide())
    }

    fn decide(&mut self) -> Activity {
        let level = self.level_dbfs();
        (self.filled, self.sum, self.squares) = (0, 0.0, 0.0);
        let floor = self.floor_dbfs(level);
        if level > (floor + MARGIN_DB).max(QUIETEST_SPEECH_DBFS) {
            self.hangover = HANGOVER_BLOCKS + 1;
        }
        if self.hangover == 0 {
            return Activity::Silence;
        }
        self.hangover -= 1;
        Activity::Speech
    }

    /// The block's level without its mean: a line's direct current is no sound.
    fn level_dbfs(&self) -> f32 {
        let count = self.filled as f64;
        let mean = self.sum / count;
        let power = (self.squares / count - mean * mean).max(0.0);
        #[expect(clippy::cast_possible_truncation, reason = "a level needs no more than f32")]
        let level = (10.0 * power.log10()) as f32;
        level.max(SILENCE_DBFS)
    }

    /// The lowest level within memory, that of the block at hand included.
    fn floor_dbfs(&mut self, level: f32) -> f32 {
        if self.blocks > 0 && self.blocks.is_multiple_of(SUB_WINDOW_BLOCKS) {
            if self.earlier.len() == SUB_WINDOWS - 1 {
                self.earlier.pop_front();
            }
            self.earlier.push_back(self.lowest);
            self.lowest = f32::INFINITY;
        }
        self.blocks += 1;
        self.lowest = self.lowest.min(level);
        let floor = self.earlier.iter().fold(self.lowest, |floor, &level| floor.min(level));
        if self.blocks < LEARNING_BLOCKS { floor.min(INITIAL_FLOOR_DBFS) } else { floor }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noise(level_dbfs: f32, samples: usize) -> Vec<f32> {
        let amplitude = 10_f32.powf(level_dbfs / 20.0) * 3_f32.sqrt();
        let mut state = 1_u32;
        (0..samples)
            .map(|_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                amplitude * ((state >> 8) as f32 / 8_388_608.0 - 1.0)
            })
            .collect()
    }

    fn hear(samples: &[f32]) -> Vec<bool> {
        let mut gate = Gate::new(8_000);
        let mut heard = Vec::new();
        gate.push(samples, |activity| heard.push(activity == Activity::Speech));
        heard.extend(gate.finish().map(|activity| activity == Activity::Speech));
        heard
    }

    #[test]
    fn speech_in_the_first_block_is_heard_at_once() {
        assert!(hear(&noise(-45.0, 800)).iter().all(|&speech| speech));
    }

    #[test]
    fn silence_is_not_speech_however_quiet_or_offset() {
        assert!(hear(&[0.0; 8_000]).iter().all(|&speech| !speech));
        assert!(hear(&[0.25; 8_000]).iter().all(|&speech| !speech), "direct current");
        assert!(hear(&noise(-75.0, 40_000)).iter().all(|&speech| !speech));
    }

    #[test]
    fn steady_noise_is_learnt_within_a_second() {
        let heard = hear(&noise(-40.0, 24_000));
        assert!(heard[50..].iter().all(|&speech| !speech));
    }

    #[test]
    fn speech_over_learnt_noise_is_heard_and_hangs_over() {
        let mut samples = noise(-50.0, 16_000);
        samples.extend(noise(-30.0, 1_600));
        samples.extend(noise(-50.0, 8_000));
        let heard = hear(&samples);
        let spoken: Vec<usize> = (50..heard.len()).filter(|&block| heard[block]).collect();
        assert_eq!(spoken, (100..110 + HANGOVER_BLOCKS as usize).collect::<Vec<_>>());
    }

    #[test]
    fn however_samples_are_cut_the_same_is_told() {
        let mut samples = noise(-50.0, 9_000);
        samples.extend(noise(-25.0, 3_003));
        samples.extend(noise(-55.0, 9_000));
        let whole = hear(&samples);
        for size in [1, 7, 159, 160, 161, 1_000] {
            let mut gate = Gate::new(8_000);
            let mut heard = Vec::new();
            for chunk in samples.chunks(size) {
                gate.push(chunk, |activity| heard.push(activity == Activity::Speech));
            }
            heard.extend(gate.finish().map(|activity| activity == Activity::Speech));
            assert_eq!(heard, whole, "chunks of {size}");
        }
    }
}
