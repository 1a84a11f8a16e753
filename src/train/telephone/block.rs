//! A residual block over time: depthwise filter → norm → twice as many channels → GELU → back, added to what came in (ConvNeXt; Liu et
//! al., 2022). Activations are `[window, frame, channel]`.

use rayon::prelude::*;

use super::{
    depthwise::{self, Layout},
    kernels::{add, add_bias, product, product_of_rows, product_transposed, sum_rows, vectorised},
    norm::{self, Norm},
    parameters::{DILATIONS, TAPS, block},
};
use crate::train::network::Parameters;

/// Values that one thread takes at a time.
const VALUES: usize = 16_384;

/// One block of a network.
#[derive(Debug, Clone, Copy)]
pub(super) struct Block {
    index: usize,
    frames: usize,
}

/// What the backward pass needs.
#[derive(Debug)]
pub(super) struct Trace {
    input: Vec<f32>,
    norm: norm::Trace,
    normed: Vec<f32>,
    widened: Vec<f32>,
    bent: Vec<f32>,
}

impl Block {
    /// Block `index` for windows of so many frames.
    pub(super) fn new(index: usize, frames: usize) -> Self {
        Self { index, frames }
    }

    fn place(self) -> usize {
        block(self.index)
    }

    fn norm(self) -> Norm {
        Norm { place: self.place() + 1, rectified: false }
    }

    /// By the running statistics.
    pub(super) fn apply(self, parameters: &Parameters, input: &[f32]) -> Vec<f32> {
        let mut values = depthwise::forward(self, input, parameters.get(self.place()));
        self.norm().apply(parameters, &mut values);
        let (mut out, _, _) = self.mix(parameters, &values);
        add(&mut out, input);
        out
    }

    /// By the batch's statistics.
    pub(super) fn forward(self, parameters: &mut Parameters, input: Vec<f32>) -> (Vec<f32>, Trace) {
        let filtered = depthwise::forward(self, &input, parameters.get(self.place()));
        let (normed, norm) = self.norm().forward(parameters, filtered);
        let (mut out, widened, bent) = self.mix(parameters, &normed);
        add(&mut out, &input);
        (out, Trace { input, norm, normed, widened, bent })
    }

    /// The gradient of the input for that of the output; those of the block's values go into `gradients`.
    pub(super) fn backward(
        self,
        parameters: &Parameters,
        trace: Trace,
        output: &[f32],
        gradients: &mut Parameters,
    ) -> Vec<f32> {
        let Trace { input, norm, normed, widened, bent } = trace;
        let channels = parameters.get(self.place() + 1).len();
        let matrix = self.place() + 5;
        gradients.0[matrix + 2] = product_of_rows(&bent, output, 2 * channels, channels);
        gradients.0[matrix + 3] = sum_rows(output, channels);
        let mut wide = product_transposed(output, parameters.get(matrix + 2), 2 * channels, channels);
        wide.par_chunks_mut(VALUES).zip(widened.par_chunks(VALUES)).for_each(|(gradient, value)| {
            vectorised(|| gradient.iter_mut().zip(value).for_each(|(gradient, &value)| *gradient *= slope(value)));
        });
        gradients.0[matrix] = product_of_rows(&normed, &wide, channels, 2 * channels);
        gradients.0[matrix + 1] = sum_rows(&wide, 2 * channels);
        let by_norm = product_transposed(&wide, parameters.get(matrix), channels, 2 * channels);
        let filtered = self.norm().backward(parameters, norm, by_norm, gradients);
        let (mut by_input, filter) = depthwise::backward(self, &input, &filtered, parameters.get(self.place()));
        gradients.0[self.place()] = filter;
        add(&mut by_input, output);
        by_input
    }

    /// Output, and what stands before and behind the GELU.
    fn mix(self, parameters: &Parameters, normed: &[f32]) -> (Vec<f32>, Vec<f32>, Vec<f32>) {
        let channels = parameters.get(self.place() + 1).len();
        let matrix = self.place() + 5;
        let mut widened = product(normed, parameters.get(matrix), channels, 2 * channels);
        add_bias(&mut widened, parameters.get(matrix + 1));
        let mut bent = vec![0.0; widened.len()];
        bent.par_chunks_mut(VALUES).zip(widened.par_chunks(VALUES)).for_each(|(bent, value)| {
            vectorised(|| bent.iter_mut().zip(value).for_each(|(bent, &value)| *bent = value * normal(value).0));
        });
        let mut out = product(&bent, parameters.get(matrix + 2), 2 * channels, channels);
        add_bias(&mut out, parameters.get(matrix + 3));
        (out, widened, bent)
    }
}

impl Layout for Block {
    const TAPS: usize = TAPS;

    fn sizes(self, channels: usize) -> (usize, usize) {
        let values = self.frames * channels;
        (values, values)
    }

    #[inline(always)]
    fn walk(self, channels: usize, mut tap: impl FnMut(usize, usize, usize)) {
        let dilation = DILATIONS[self.index];
        let margin = TAPS / 2 * dilation;
        for frame in 0..self.frames {
            for along in 0..TAPS {
                let from = (frame + along * dilation).checked_sub(margin).filter(|&from| from < self.frames);
                if let Some(from) = from {
                    tap(frame * channels, from * channels, along * channels);
                }
            }
        }
    }
}

/// The slope of the GELU, `x · Φ(x)`.
#[inline(always)]
fn slope(x: f32) -> f32 {
    let (below, density) = normal(x);
    below + x * density
}

/// The normal distribution at `x`, and its density: Φ within 1e-7 by Abramowitz and Stegun's 7.1.26, whose exponential is the density's.
#[inline(always)]
fn normal(x: f32) -> (f32, f32) {
    const P: f32 = 0.327_591_1 * std::f32::consts::FRAC_1_SQRT_2;
    const A: [f32; 5] = [0.254_829_6, -0.284_496_74, 1.421_413_7, -1.453_152, 1.061_405_4];
    /// 1 / √(2π).
    const SCALE: f32 = 0.398_942_3;
    let t = 1.0 / (1.0 + P * x.abs());
    let e = exponential(-0.5 * x * x);
    let series = t * (A[0] + t * (A[1] + t * (A[2] + t * (A[3] + t * A[4]))));
    let tail = 0.5 * series * e;
    (if x < 0.0 { tail } else { 1.0 - tail }, SCALE * e)
}

/// e^x for x ≤ 0, without a branch, so that it vectorises: 2^n · 2^r by Taylor's series for r within ±½.
#[inline(always)]
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the exponent lies within -126 and 0")]
fn exponential(x: f32) -> f32 {
    const TERMS: [f32; 6] =
        [std::f32::consts::LN_2, 0.240_226_5, 0.055_504_11, 0.009_618_129, 0.001_333_356, 0.000_154_035];
    let x = (x * std::f32::consts::LOG2_E).max(-126.0);
    let whole = (x - 0.5) as i32;
    let r = x - whole as f32;
    let series = TERMS.iter().rev().fold(0.0, |sum, term| (sum + term) * r);
    f32::from_bits(((whole + 127) as u32) << 23) * (1.0 + series)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_normal_distribution_is_as_tabulated() {
        for (x, expected) in [(0.0, 0.5), (1.0, 0.841_344_7), (-1.0, 0.158_655_3), (2.5, 0.993_790_3), (-30.0, 0.0)] {
            assert!((normal(x).0 - expected).abs() < 3e-7, "{x}: {}", normal(x).0);
        }
        for step in 0..400 {
            let x = -0.2 * step as f32;
            assert!((exponential(x) - x.exp()).abs() < 2e-7, "{x}");
        }
    }
}
