//! Samples → overlapping frames of 2,048, one every 512, centred as librosa's: frame `f` is around sample `512 f`, with silence
//! before the first sample and after the last.
//!
//! Beside its samples a frame tells its peak and how often the signal changes sign in it. Both are kept for every 512 samples,
//! so that overlapping frames count nothing twice.
//!
//! A sample counts as positive down to -1e-10 *of the window's peak* (librosa's `zero_crossings` after normalisation), which is not
//! known yet. So crossings are counted as for a peak of 4, and what a lower peak changes is told as [`Frame::faint`]. Such samples
//! are rare: the last ringing of a resampler after digital silence.

use zeroize::Zeroizing;

use super::thesis154::{FRAME_SAMPLES, HOP_SAMPLES};
use crate::audio::lanes::{LANES, largest};

/// Samples no further from 0 than this part of the peak count as 0, which is positive.
pub(super) const CROSSING_THRESHOLD: f32 = 1e-10;

/// The threshold of the highest peak there is: 1, and what a resampler overshoots by.
const COUNTING_THRESHOLD: f32 = 4.0 * CROSSING_THRESHOLD;

/// The threshold of the lowest peak there is, [`super::thesis154::PEAK_OFFSET`]; what is no further from 0 is positive whatever the peak. A
/// little less, for its rounding.
const LEAST_THRESHOLD: f32 = 0.99e-7 * CROSSING_THRESHOLD;

/// Hops a frame.
const HOPS: usize = FRAME_SAMPLES / HOP_SAMPLES;

/// Corrections kept for 512 samples, to bound what a leg of nothing but faint samples takes: one a sample. What 16 bits can say is
/// never faint, so they come from a resampler's ringing alone; where digital silence begins or ends there are some 500 a frame.
/// [`super::Memory`] bounds what is kept of all frames together.
const MOST_FAINT: usize = HOP_SAMPLES;

/// One frame.
pub(super) struct Frame<'a> {
    /// Its samples.
    pub(super) samples: &'a [f32],
    /// The largest absolute value.
    pub(super) peak: f32,
    /// Changes of sign between two of its samples, silence around the signal left out.
    pub(super) crossings: u32,
    hops: &'a [Hop; HOPS],
    /// Whether no frame was told before.
    is_first: bool,
}

/// Cuts a stream into frames.
pub(super) struct Framer {
    samples: Zeroizing<Vec<f32>>,
    filled: usize,
    /// Of each whole hop in `samples`, oldest first, and of the one under way.
    hops: [Hop; HOPS],
    current: Hop,
    /// The sample before; `None` before the first.
    previous: Option<f32>,
    received: u64,
    told: u64,
}

/// What a frame needs to know of 512 samples.
#[derive(Default)]
struct Hop {
    peak: f32,
    crossings: u32,
    /// Whether its first sample differs in sign from the one before, which lies outside a frame that begins here.
    crosses_at_first: bool,
    /// Corrections of `crossings`, and how many at the beginning are those of the first sample.
    faint: Vec<f32>,
    faint_at_first: usize,
}

impl Frame<'_> {
    /// Corrections of `crossings`: each is a magnitude; where the threshold is below it, a crossing more (positive) or less
    /// (negative) is counted.
    pub(super) fn faint(&self) -> impl Iterator<Item = f32> {
        let (first, rest) = self.hops.split_first().expect("a frame has hops");
        first.faint[first.faint_at_first..].iter().chain(rest.iter().flat_map(|hop| &hop.faint)).copied()
    }

    /// How many of the corrections, at their end, the frame before has not: those of the last hop, and all of the first frame's.
    pub(super) fn fresh(&self) -> usize {
        if self.is_first { self.faint().count() } else { self.hops[HOPS - 1].faint.len() }
    }
}

impl Framer {
    pub(super) fn new() -> Self {
        Self {
            samples: Zeroizing::new(vec![0.0; FRAME_SAMPLES]),
            filled: FRAME_SAMPLES / 2,
            hops: Default::default(),
            current: Hop::default(),
            previous: None,
            received: 0,
            told: 0,
        }
    }

    /// Bytes of its samples and corrections.
    pub(super) fn bytes(&self) -> usize {
        let faint: usize = self.hops.iter().chain([&self.current]).map(|hop| hop.faint.capacity()).sum();
        (self.samples.capacity() + faint) * size_of::<f32>()
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
        let (Some(&first), Some(&last)) = (samples.first(), samples.last()) else { return };
        let hop = &mut self.current;
        let (groups, rest) = samples.as_chunks::<LANES>();
        let peak = largest(groups.iter().map(|group| group.map(f32::abs)), hop.peak);
        hop.peak = rest.iter().fold(peak, |peak, sample| peak.max(sample.abs()));
        let crosses = self.previous.is_some_and(|previous| is_negative(previous) != is_negative(first));
        let within: u32 = samples.windows(2).map(|pair| u32::from(is_negative(pair[0]) != is_negative(pair[1]))).sum();
        hop.crossings += u32::from(crosses) + within;
        let any_faint =
            self.previous.is_some_and(is_faint) | samples.iter().fold(false, |any, &sample| any | is_faint(sample));
        if any_faint && let Some(previous) = self.previous {
            hop.correct(previous, first);
        }
        if self.filled.is_multiple_of(HOP_SAMPLES) {
            hop.crosses_at_first = crosses;
            hop.faint_at_first = hop.faint.len();
        }
        if any_faint {
            samples.windows(2).for_each(|pair| hop.correct(pair[0], pair[1]));
        }
        self.previous = Some(last);
    }

    /// A hop is full: so is a frame, but for the first hop of all.
    fn end_hop(&mut self, tell: &mut impl FnMut(Frame<'_>)) {
        self.hops.rotate_left(1);
        std::mem::swap(&mut self.hops[HOPS - 1], &mut self.current);
        self.current.clear();
        if self.filled < FRAME_SAMPLES {
            return;
        }
        tell(Frame {
            samples: &self.samples,
            peak: self.hops.iter().fold(0.0, |peak, hop| peak.max(hop.peak)),
            crossings: self.hops.iter().map(|hop| hop.crossings).sum::<u32>()
                - u32::from(self.hops[0].crosses_at_first),
            hops: &self.hops,
            is_first: self.told == 0,
        });
        self.told += 1;
        self.samples.copy_within(HOP_SAMPLES.., 0);
        self.filled -= HOP_SAMPLES;
    }
}

impl Hop {
    /// Notes what a lower threshold changes between two samples, of which the faint were taken for positive.
    fn correct(&mut self, left: f32, right: f32) {
        for (sample, other) in [(left, right), (right, left)] {
            if !is_faint(sample) || self.faint.len() == MOST_FAINT {
                continue;
            }
            // Of two faint ones the louder turns negative first and crosses; then the other does and no longer does.
            let joins = is_negative(other) || (is_faint(other) && other < sample);
            if !(is_faint(other) && other == sample) {
                self.faint.push(if joins { sample } else { -sample });
            }
        }
    }

    /// Begins anew, with the same memory.
    fn clear(&mut self) {
        self.faint.clear();
        (self.peak, self.crossings, self.crosses_at_first, self.faint_at_first) = (0.0, 0, false, 0);
    }
}

fn is_negative(sample: f32) -> bool {
    sample < -COUNTING_THRESHOLD
}

/// Negative, but taken for positive.
fn is_faint(sample: f32) -> bool {
    (-COUNTING_THRESHOLD..-LEAST_THRESHOLD).contains(&sample)
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
                let crossings = real.windows(2).filter(|pair| (pair[0] < -4e-10) != (pair[1] < -4e-10)).count();
                let peak = real.iter().fold(0.0_f32, |peak, sample| peak.max(sample.abs()));
                (samples, peak, u32::try_from(crossings).expect("few"))
            })
            .collect()
    }

    #[test]
    fn faint_samples_are_counted_by_any_threshold() {
        // 0 to 15 steps of a faint value below 0, and a few louder samples of both signs between.
        let signal: Vec<f32> = (0..3_000_u32)
            .map(|n| match n.wrapping_mul(2_654_435_761) >> 24 {
                level @ 0..60 => -6e-12 * (level % 16) as f32,
                60..160 => 0.1,
                _ => -0.1,
            })
            .collect();
        let mut framer = Framer::new();
        let mut frame_start = -1_024_i64;
        let mut corrected = 0;
        let mut check = |frame: Frame<'_>| {
            let first = usize::try_from(frame_start).unwrap_or_default();
            let end = usize::try_from(frame_start + 2_048).expect("positive").min(signal.len());
            for threshold in [0.0, 1e-11, 3e-11, 5e-11, 1e-10, 4e-10] {
                let faint: f32 = frame.faint().filter(|faint| faint.abs() > threshold).map(f32::signum).sum();
                let pairs = signal[first..end].windows(2);
                let expected = pairs.filter(|pair| (pair[0] < -threshold) != (pair[1] < -threshold)).count();
                assert_eq!(frame.crossings as f32 + faint, expected as f32, "frame from {frame_start} at {threshold}");
                corrected += usize::from(faint != 0.0);
            }
            frame_start += 512;
        };
        for part in signal.chunks(100) {
            framer.push(part, &mut check);
        }
        framer.finish(&mut check);
        assert!(corrected > 0, "the signal has faint samples");
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
