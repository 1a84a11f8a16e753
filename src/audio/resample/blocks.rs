//! Blocks of samples from one rate to another by overlapping FFTs: a block's spectrum is filtered, cut or continued with 0, and
//! transformed back at the other rate; what rings beyond the block is added to the next.
//!
//! It is what rubato's `Fft` does, with its filter: a sinc under a squared Blackman-Harris window as long as a block. rubato gives every stream
//! FFT plans and buffers of its own, some 40 kB that no cache holds for a thousand calls. Here plan and filter are the same for all streams of two rates, a
//! thread has one set of buffers, and a stream keeps the samples of its next block and the overlap.

use std::{
    cell::RefCell,
    f64::consts::{PI, TAU},
    sync::{Arc, Mutex, PoisonError, Weak},
};

use realfft::{ComplexToReal, RealFftPlanner, RealToComplex, num_complex::Complex32};
use zeroize::Zeroizing;

/// Blackman and Harris's minimum four-term window (F. J. Harris, Proc. IEEE 66, 1978).
const BLACKMAN_HARRIS: [f64; 4] = [0.35875, 0.48829, 0.14128, 0.01168];

/// Where the filter begins to fall, for so many points: 1 / (1 + a/n + b/n² + c/n³) of the lower rate's limit, rubato's fit for this window.
const CUTOFF: [f64; 3] = [13.745_202_940_783_823, 121.735_325_863_749_34, 5_964.163_279_612_051];

/// One stream's converter and what waits to fill its next block.
pub(super) struct Blocks {
    plan: Arc<Plan>,
    input: Zeroizing<Vec<f32>>,
    filled: usize,
    overlap: Zeroizing<Vec<f32>>,
    /// The first block's output, which comes before output sample 0, is still to be dropped.
    first: bool,
}

/// What streams of two rates share.
struct Plan {
    block_in: usize,
    block_out: usize,
    forward: Arc<dyn RealToComplex<f32>>,
    inverse: Arc<dyn ComplexToReal<f32>>,
    /// Of the bins that both rates have.
    filter: Vec<Complex32>,
}

/// The plans in use.
static PLANS: Mutex<Vec<Weak<Plan>>> = Mutex::new(Vec::new());

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

/// Buffers of one conversion, as long as the largest plan needs them. All 0 between two, so that nothing of a stream stays behind in its thread.
#[derive(Default)]
struct Scratch {
    samples: Vec<f32>,
    bins: Vec<Complex32>,
    work: Vec<Complex32>,
}

impl Blocks {
    /// For blocks of `block_in` samples that become `block_out`.
    pub(super) fn new(block_in: usize, block_out: usize) -> Self {
        Self {
            plan: Plan::shared(block_in, block_out),
            input: Zeroizing::new(vec![0.0; block_in]),
            // Half a block of silence ahead of the stream and the filter's own half make a delay of one block, which is dropped.
            filled: block_in - block_in / 2,
            overlap: Zeroizing::new(vec![0.0; block_out]),
            first: true,
        }
    }

    /// Input samples that must have been pushed before the first `output_samples`, of which there are some, are out.
    pub(super) fn input_needed(&self, output_samples: u64) -> u64 {
        let (block_in, block_out) = (self.plan.block_in as u64, self.plan.block_out as u64);
        output_samples.div_ceil(block_out) * block_in + block_in / 2
    }

    /// Bytes of its buffers.
    pub(super) fn bytes(&self) -> usize {
        (self.input.capacity() + self.overlap.capacity()) * size_of::<f32>()
    }

    pub(super) fn push(&mut self, mut input: &[f32], out: &mut Vec<f32>) {
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

    pub(super) fn fill_with_silence(&mut self, out: &mut Vec<f32>) {
        self.input[self.filled..].fill(0.0);
        self.convert(out);
    }

    fn convert(&mut self, out: &mut Vec<f32>) {
        self.filled = 0;
        let Self { plan, input, overlap, first, .. } = self;
        SCRATCH.with_borrow_mut(|scratch| {
            let converted = plan.convert(input, scratch);
            let (block, ringing) = converted.split_at(plan.block_out);
            if !std::mem::replace(first, false) {
                out.extend(block.iter().zip(overlap.iter()).map(|(sample, overlap)| sample + overlap));
            }
            overlap.copy_from_slice(ringing);
            scratch.wipe();
        });
    }
}

impl Scratch {
    /// Stores to memory that outlives the call are not left out, and cost less than volatile ones.
    fn wipe(&mut self) {
        self.samples.fill(0.0);
        self.bins.fill(Complex32::ZERO);
        self.work.fill(Complex32::ZERO);
    }
}

impl Plan {
    /// The plan for these blocks, made if no stream has one.
    fn shared(block_in: usize, block_out: usize) -> Arc<Self> {
        // A plan is pushed whole, so the list is good after a panic too.
        let mut plans = PLANS.lock().unwrap_or_else(PoisonError::into_inner);
        let fits = |plan: &Arc<Self>| (plan.block_in, plan.block_out) == (block_in, block_out);
        if let Some(plan) = plans.iter().filter_map(Weak::upgrade).find(fits) {
            return plan;
        }
        let plan = Arc::new(Self::new(block_in, block_out));
        plans.retain(|plan| plan.strong_count() > 0);
        plans.push(Arc::downgrade(&plan));
        plan
    }

    fn new(block_in: usize, block_out: usize) -> Self {
        let mut planner = RealFftPlanner::new();
        let (forward, inverse) = (planner.plan_fft_forward(2 * block_in), planner.plan_fft_inverse(2 * block_out));
        let mut impulse = forward.make_input_vec();
        impulse[..block_in].copy_from_slice(&low_pass(block_in, block_out));
        let mut filter = forward.make_output_vec();
        forward.process(&mut impulse, &mut filter).expect("the plan made the buffers");
        // The highest bin that both have: where the rate rises the source's own limit, where it falls one below the target's.
        filter.truncate(if block_in < block_out { block_in + 1 } else { block_out });
        Self { block_in, block_out, forward, inverse, filter }
    }

    /// The block at the other rate, and behind it what rings into the next.
    fn convert<'a>(&self, input: &[f32], scratch: &'a mut Scratch) -> &'a [f32] {
        let (samples_in, samples_out) = (2 * self.block_in, 2 * self.block_out);
        let (bins_in, bins_out) = (self.block_in + 1, self.block_out + 1);
        let Scratch { samples, bins, work } = scratch;
        grow(samples, samples_in.max(samples_out), 0.0);
        grow(bins, bins_in.max(bins_out), Complex32::ZERO);
        grow(work, self.forward.get_scratch_len().max(self.inverse.get_scratch_len()), Complex32::ZERO);
        let (block, behind) = samples[..samples_in].split_at_mut(self.block_in);
        block.copy_from_slice(input);
        behind.fill(0.0);
        self.forward
            .process_with_scratch(&mut samples[..samples_in], &mut bins[..bins_in], work)
            .expect("the buffers are as long as the plan says");
        let (heard, rest) = bins[..bins_out].split_at_mut(self.filter.len());
        heard.iter_mut().zip(&self.filter).for_each(|(bin, weight)| *bin *= weight);
        rest.fill(Complex32::ZERO);
        // A real signal's first and last bin are real, which rounding may have missed.
        bins[0].im = 0.0;
        bins[bins_out - 1].im = 0.0;
        self.inverse
            .process_with_scratch(&mut bins[..bins_out], &mut samples[..samples_out], work)
            .expect("the buffers are as long as the plan says");
        &samples[..samples_out]
    }
}

/// The filter's impulse response, around the middle of a block; of gain 1 once both FFTs have scaled it.
#[expect(clippy::cast_possible_truncation, reason = "applied in f32")]
fn low_pass(block_in: usize, block_out: usize) -> Vec<f32> {
    let shorter = block_in.min(block_out) as f64;
    let falls = CUTOFF.iter().rev().fold(0.0, |sum, weight| (sum + weight) / shorter);
    let cutoff = shorter / block_in as f64 / (1.0 + falls);
    let response: Vec<f64> = (0..block_in)
        .map(|n| {
            let from_middle = n as f64 - (block_in / 2) as f64;
            let turn = TAU * from_middle / block_in as f64;
            let window: f64 = (0..).zip(BLACKMAN_HARRIS).map(|(k, weight)| weight * (f64::from(k) * turn).cos()).sum();
            let angle = PI * from_middle * cutoff;
            window * window * if angle == 0.0 { 1.0 } else { angle.sin() / angle }
        })
        .collect();
    let scale = response.iter().sum::<f64>() * 2.0 * block_in as f64;
    response.iter().map(|value| (value / scale) as f32).collect()
}

fn grow<T: Clone>(buffer: &mut Vec<T>, length: usize, zero: T) {
    if buffer.len() < length {
        buffer.resize(length, zero);
    }
}

#[cfg(test)]
mod tests {
    use rubato::{Fft, FixedSync, Resampler as _, WindowFunction, audioadapter_buffers::direct::InterleavedSlice};

    use super::*;

    #[test]
    fn blocks_are_those_of_rubato() {
        for (block_in, block_out) in [(160, 441), (320, 160), (882, 160), (220, 440)] {
            let mut fft =
                Fft::new_custom(block_in, block_out, block_in, 1, 1, WindowFunction::BlackmanHarris2, FixedSync::Both)
                    .expect("supported");
            let mut blocks = Blocks::new(block_in, block_out);
            assert_eq!((fft.input_frames_next(), blocks.filled), (block_in, block_in / 2));
            let noise = |n: usize| (n as u32).wrapping_mul(2_654_435_761) as f32 / u32::MAX as f32 - 0.5;
            let samples: Vec<f32> = (0..10 * block_in).map(noise).collect();
            let mut actual = Vec::new();
            blocks.push(&samples, &mut actual);
            let padded = [vec![0.0; block_in / 2], samples].concat();
            let (mut expected, mut block) = (Vec::new(), vec![0.0; block_out]);
            for input in padded.chunks_exact(block_in) {
                let input = InterleavedSlice::new(input, 1, block_in).expect("as long");
                let mut output = InterleavedSlice::new_mut(&mut block, 1, block_out).expect("as long");
                fft.process_into_buffer(&input, &mut output, None).expect("whole blocks");
                expected.extend_from_slice(&block);
            }
            let expected = &expected[block_out..];
            assert_eq!(actual.len(), expected.len());
            for (actual, expected) in actual.iter().zip(expected) {
                assert!((actual - expected).abs() < 1e-5, "{block_in} to {block_out}: {actual} and {expected}");
            }
        }
    }

    #[test]
    fn nothing_of_a_block_stays_in_the_buffers() {
        let mut blocks = Blocks::new(160, 441);
        let mut out = Vec::new();
        blocks.push(&[0.5; 400], &mut out);
        assert!(out.iter().any(|sample| *sample != 0.0));
        SCRATCH.with_borrow(|scratch| {
            assert!(scratch.samples.len() >= 882 && scratch.samples.iter().all(|sample| *sample == 0.0));
            assert!(scratch.bins.iter().chain(&scratch.work).all(|number| *number == Complex32::ZERO));
        });
    }

    #[test]
    fn streams_of_the_same_rates_share_a_plan() {
        let (one, other) = (Blocks::new(150, 90), Blocks::new(150, 90));
        assert!(Arc::ptr_eq(&one.plan, &other.plan) && !Arc::ptr_eq(&one.plan, &Blocks::new(90, 150).plan));
    }
}
