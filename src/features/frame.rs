//! Samples → overlapping frames of 2,048, one every 512, centred as librosa's: frame `f` is around sample `512 f`, with silence
//! before the first sample and after the last.
//!
//! Beside its samples a frame tells its peak and how often the signal changes sign in it. Both are kept for every 512 samples,
//! so that overlapping frames count nothing twice.

use super::thesis154::{FRAME_SAMPLES, HOP_SAMPLES};

/// Samples no further from 0 count as 0, which is positive (librosa's `zero_crossings`).
const CROSSING_THRESHOLD: f32 = 1e-10;

/// Hops a frame.
const HOPS: usize = FRAME_SAMPLES / HOP_SAMPLES;

/// One frame.
pub(super) struct Frame<'a> {
    /// Its samples.
    pub(super) samples: &'a [f32],
    /// The largest absolute value.
    pub(super) peak: f32,
    /// Changes of sign between two of its samples, silence around the signal left out.
    pub(super) crossings: u32,
}

/// Cuts a stream into frames.
pub(super) struct Framer {
    samples: Vec<f32>,
    filled: usize,
    /// Of each whole hop in `samples`, oldest first, and of the one under way.
    hops: [Hop; HOPS],
    current: Hop,
    /// Whether the sample before was negative; `None` before the first.
    negative: Option<bool>,
    received: u64,
    told: u64,
}

/// What a frame needs to know of 512 samples.
#[derive(Clone, Copy, Default)]
struct Hop {
    peak: f32,
    crossings: u32,
    /// Whether its first sample differs in sign from the one before, which lies outside a frame that begins here.
    crosses_at_first: bool,
}

impl Framer {
    pub(super) fn new() -> Self {
        Self {
            samples: vec![0.0; FRAME_SAMPLES],
            filled: FRAME_SAMPLES / 2,
            hops: [Hop::default(); HOPS],
            current: Hop::default(),
            negative: None,
            received: 0,
            told: 0,
        }
    }

    /// Takes samples in and tells each frame that they complete.
    pub(super) fn push(&mut self, mut input: &[f32], mut tell: impl FnMut(Frame<'_>)) {
        self.received += input.len() as u64;
        while !input.is_empty() {
            let room = HOP_SAMPLES - self.filled % HOP_SAMPLES;
            let (part, rest) = input.split_at(input.len().min(room));
            self.note(part);
            self.samples[self.filled..self.filled + part.len()].copy_from_slice(part);
            self.filled += part.len();
            input = rest;
            if self.filled.is_multiple_of(HOP_SAMPLES) {
                self.end_hop(&mut tell);
            }
        }
    }

    /// Ends the stream with silence: `1 + samples / 512` frames in all.
    pub(super) fn finish(&mut self, mut tell: impl FnMut(Frame<'_>)) {
        let total = 1 + self.received / HOP_SAMPLES as u64;
        while self.told < total {
            let end = (self.filled + 1).next_multiple_of(HOP_SAMPLES);
            self.samples[self.filled..end].fill(0.0);
            self.filled = end;
            self.end_hop(&mut tell);
        }
    }

    /// Adds to the hop under way.
    fn note(&mut self, samples: &[f32]) {
        let Some(&first) = samples.first() else { return };
        let is_negative = |sample: f32| sample < -CROSSING_THRESHOLD;
        let crosses = self.negative.is_some_and(|negative| negative != is_negative(first));
        if self.filled.is_multiple_of(HOP_SAMPLES) {
            self.current.crosses_at_first = crosses;
        }
        let within: u32 = samples.windows(2).map(|pair| u32::from(is_negative(pair[0]) != is_negative(pair[1]))).sum();
        self.current.crossings += u32::from(crosses) + within;
        self.current.peak = samples.iter().fold(self.current.peak, |peak, sample| peak.max(sample.abs()));
        self.negative = samples.last().map(|&last| is_negative(last));
    }

    /// A hop is full: so is a frame, but for the first hop of all.
    fn end_hop(&mut self, tell: &mut impl FnMut(Frame<'_>)) {
        self.hops.rotate_left(1);
        self.hops[HOPS - 1] = std::mem::take(&mut self.current);
        if self.filled < FRAME_SAMPLES {
            return;
        }
        tell(Frame {
            samples: &self.samples,
            peak: self.hops.iter().fold(0.0, |peak, hop| peak.max(hop.peak)),
            crossings: self.hops.iter().map(|hop| hop.crossings).sum::<u32>()
                - u32::from(self.hops[0].crosses_at_first),
        });
        self.told += 1;
        self.samples.copy_within(HOP_SAMPLES.., 0);
        self.filled -= HOP_SAMPLES;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The frames of a padded signal, cut and counted one by one.
    fn naive(signal: &[f32]) -> Vec<(Vec<f32>, f32, u32)> {
        (0..1 + signal.len() / HOP_SAMPLES)
            .map(|frame| {
                let at =
                    |n: usize| (frame * HOP_SAMPLES + n).checked_sub(FRAME_SAMPLES / 2).filter(|&n| n < signal.len());
                let samples: Vec<f32> = (0..FRAME_SAMPLES).map(|n| at(n).map_or(0.0, |n| signal[n])).collect();
                let real: Vec<f32> = (0..FRAME_SAMPLES).filter_map(at).map(|n| signal[n]).collect();
                let crossings = real.windows(2).filter(|pair| (pair[0] < -1e-10) != (pair[1] < -1e-10)).count();
                let peak = real.iter().fold(0.0_f32, |peak, sample| peak.max(sample.abs()));
                (samples, peak, u32::try_from(crossings).expect("few"))
            })
            .collect()
    }

    #[test]
    fn frames_are_those_of_the_whole_signal_however_it_is_cut() {
        for length in [0, 1, 511, 512, 513, 1_023, 1_024, 1_025, 2_048, 5_000] {
            let signal: Vec<f32> = (0..length).map(|n| ((n * n) as f32 * 0.01).sin() * n as f32).collect();
            for chunk in [1, 7, 512, 513, 4_000] {
                let mut frames = Vec::new();
                let mut framer = Framer::new();
                let mut keep = |frame: Frame<'_>| frames.push((frame.samples.to_vec(), frame.peak, frame.crossings));
                for part in signal.chunks(chunk) {
                    framer.push(part, &mut keep);
                }
                framer.finish(&mut keep);
                assert!(frames == naive(&signal), "{length} samples in chunks of {chunk}");
            }
        }
    }
}
