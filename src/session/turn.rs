//! How much audio a call takes in before it lets others by. Without clock or I/O.
//!
//! A second of one leg, decoded, resampled, heard and put into windows, takes up to 400 µs (docs/performance.md), and nothing may hold an
//! executor up for more than 500. So a call that always has more, its client gone or not, yields after [`TURN`] of audio, all legs together; a chunk longer than that is taken
//! where others do not wait for it. What one turn can come to at most is [`MOST_SECONDS`] of audio: 360 µs.

use std::time::Duration;

/// Audio of one leg after which others are let by, and the longest chunk that is taken on the executor itself.
const TURN: Duration = Duration::from_millis(250);

/// What a turn comes to at most: almost [`TURN`], then a chunk as long, and before it the silence of a gap that is filled (200 ms) on two legs.
#[cfg(test)]
const MOST_SECONDS: f64 = 0.9;

/// One call's turns.
#[derive(Debug)]
pub(super) struct Turn {
    turn_samples: u64,
    turn_bytes: usize,
    taken_samples: u64,
}

impl Turn {
    /// Of a call with so many samples a second and leg, of so many bytes each.
    pub(super) fn new(sample_rate_hz: u32, bytes_per_sample: usize) -> Self {
        let turn_samples = (f64::from(sample_rate_hz) * TURN.as_secs_f64()).max(1.0);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a part of a rate, which is 32 bits"
        )]
        let turn_samples = turn_samples as u64;
        let turn_bytes = usize::try_from(turn_samples).unwrap_or(usize::MAX).saturating_mul(bytes_per_sample);
        Self { turn_samples, turn_bytes, taken_samples: 0 }
    }

    /// Whether a chunk of all legs is too long to be taken where others wait.
    pub(super) fn is_long(&self, chunk_bytes: usize) -> bool {
        chunk_bytes > self.turn_bytes
    }

    /// The longest chunk that is not.
    pub(super) fn bytes(&self) -> usize {
        self.turn_bytes
    }

    /// Counts samples of all legs that were taken in; whether others are to be let by now.
    pub(super) fn is_over(&mut self, samples: u64) -> bool {
        self.taken_samples = self.taken_samples.saturating_add(samples);
        let over = self.taken_samples >= self.turn_samples;
        if over {
            self.taken_samples = 0;
        }
        over
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn no_turn_comes_to_more_than_was_promised(
            rate in 8000_u32..=48_000, width in 1_usize..=2, legs in 1_u64..=2,
            chunks in prop::collection::vec((0_usize..=256 * 1024, any::<bool>()), 1..200),
        ) {
            let mut turn = Turn::new(rate, width);
            let (mut here, mut yields) = (0, 0);
            for (bytes, gap) in chunks {
                let filled = if gap { u64::from(rate) / 5 * legs } else { 0 };
                let samples = (bytes / width) as u64;
                // What is long is taken elsewhere, and its gap with it.
                here += if turn.is_long(bytes) { 0 } else { samples + filled };
                prop_assert!(here as f64 <= MOST_SECONDS * f64::from(rate), "{here} samples at {rate} Hz in one turn");
                if turn.is_over(samples + filled) {
                    (here, yields) = (0, yields + 1);
                }
            }
            prop_assert!(here < turn.turn_samples, "{yields} yields and {here} samples after the last");
        }
    }

    #[test]
    fn telephone_packets_yield_four_times_a_second_and_seconds_go_elsewhere() {
        let mut turn = Turn::new(8000, 1);
        let yields = (0..50).filter(|_| turn.is_over(160)).count();
        assert_eq!(yields, 3, "13 packets of 20 ms are the first to come to 250 ms");
        assert!(!turn.is_long(2000) && turn.is_long(2001));
    }
}
