//! Batch normalisation over rows `[row, channel]`, with the rectifier that follows it where one does.

use rayon::prelude::*;

use super::kernels::{sum, vectorised};
use crate::train::network::Parameters;

/// PyTorch's epsilon.
pub(super) const EPSILON: f32 = 1e-5;
/// Part of the running statistics that a batch replaces: PyTorch's momentum.
const MOMENTUM: f32 = 0.1;
/// Rows of one part of a sum.
const ROWS: usize = 512;

/// One normalisation of a network.
#[derive(Debug, Clone, Copy)]
pub(super) struct Norm {
    /// Where its scale, shift, mean and variance stand, one after another.
    pub(super) place: usize,
    /// Whether what is negative becomes 0 behind it.
    pub(super) rectified: bool,
}

/// What the backward pass needs.
#[derive(Debug)]
pub(super) struct Trace {
    input: Vec<f32>,
    mean: Vec<f32>,
    inverse: Vec<f32>,
}

impl Norm {
    /// By the running statistics.
    pub(super) fn apply(self, parameters: &Parameters, input: &mut [f32]) {
        let (mean, variance) = (parameters.get(self.place + 2), parameters.get(self.place + 3));
        let inverse: Vec<f32> = variance.iter().map(|variance| 1.0 / (variance + EPSILON).sqrt()).collect();
        let (scale, shift) = self.affine(parameters, mean, &inverse);
        self.scale(input, &scale, &shift);
    }

    /// By the batch's own statistics, which move the running ones.
    pub(super) fn forward(self, parameters: &mut Parameters, input: Vec<f32>) -> (Vec<f32>, Trace) {
        let channels = parameters.get(self.place).len();
        let rows = input.len() / channels;
        let mean = mean(&input, channels, rows, |value, _| value, &[]);
        let variance = self::mean(&input, channels, rows, |value, mean| (value - mean) * (value - mean), &mean);
        let inverse: Vec<f32> = variance.iter().map(|variance| 1.0 / (variance + EPSILON).sqrt()).collect();
        let (scale, shift) = self.affine(parameters, &mean, &inverse);
        let mut output = input.clone();
        self.scale(&mut output, &scale, &shift);
        // The running variance is that of the population, as PyTorch's.
        let unbiased = rows as f32 / (rows.max(2) - 1) as f32;
        let follow = |running: &mut [f32], batch: &mut dyn Iterator<Item = f32>| {
            running.iter_mut().zip(batch).for_each(|(running, batch)| *running += MOMENTUM * (batch - *running));
        };
        follow(parameters.get_mut(self.place + 2), &mut mean.iter().copied());
        follow(parameters.get_mut(self.place + 3), &mut variance.iter().map(|variance| variance * unbiased));
        (output, Trace { input, mean, inverse })
    }

    /// The gradient of the input for that of the output; those of scale and shift go into `gradients`.
    pub(super) fn backward(
        self,
        parameters: &Parameters,
        trace: Trace,
        mut output: Vec<f32>,
        gradients: &mut Parameters,
    ) -> Vec<f32> {
        let Trace { input, mean, inverse } = trace;
        let channels = mean.len();
        let rows = input.len() / channels;
        let (scale, shift) = self.affine(parameters, &mean, &inverse);
        // Sums of g and of g · x̂, g being 0 where the rectifier was shut.
        let parts: Vec<Vec<f32>> = output
            .par_chunks_mut(ROWS * channels)
            .zip(input.par_chunks(ROWS * channels))
            .map(|(output, input)| {
                let mut sums = vec![0.0; 2 * channels];
                let (plain, weighted) = sums.split_at_mut(channels);
                vectorised(|| {
                    for (output, input) in output.chunks_exact_mut(channels).zip(input.chunks_exact(channels)) {
                        for channel in 0..channels {
                            let open = !self.rectified || input[channel] * scale[channel] + shift[channel] > 0.0;
                            let gradient = if open { output[channel] } else { 0.0 };
                            output[channel] = gradient;
                            plain[channel] += gradient;
                            weighted[channel] += gradient * (input[channel] - mean[channel]) * inverse[channel];
                        }
                    }
                });
                sums
            })
            .collect();
        let sums = sum(parts);
        let (plain, weighted) = sums.split_at(channels);
        gradients.get_mut(self.place).copy_from_slice(weighted);
        gradients.get_mut(self.place + 1).copy_from_slice(plain);
        let count = rows as f32;
        output.par_chunks_mut(ROWS * channels).zip(input.par_chunks(ROWS * channels)).for_each(|(output, input)| {
            vectorised(|| {
                for (output, input) in output.chunks_exact_mut(channels).zip(input.chunks_exact(channels)) {
                    for channel in 0..channels {
                        let normed = (input[channel] - mean[channel]) * inverse[channel];
                        let centred = output[channel] - (plain[channel] + normed * weighted[channel]) / count;
                        output[channel] = scale[channel] * centred;
                    }
                }
            });
        });
        output
    }

    /// What a channel is multiplied by and what is added then.
    pub(super) fn affine(self, parameters: &Parameters, mean: &[f32], inverse: &[f32]) -> (Vec<f32>, Vec<f32>) {
        let scale: Vec<f32> = parameters.get(self.place).iter().zip(inverse).map(|(scale, by)| scale * by).collect();
        let shift =
            parameters.get(self.place + 1).iter().zip(mean).zip(&scale).map(|((shift, mean), by)| shift - mean * by);
        let shift = shift.collect();
        (scale, shift)
    }

    fn scale(self, values: &mut [f32], scale: &[f32], shift: &[f32]) {
        let channels = scale.len();
        let least = if self.rectified { 0.0 } else { f32::NEG_INFINITY };
        values.par_chunks_mut(ROWS * channels).for_each(|values| {
            vectorised(|| {
                for row in values.chunks_exact_mut(channels) {
                    for ((value, scale), shift) in row.iter_mut().zip(scale).zip(shift) {
                        *value = (*value * scale + shift).max(least);
                    }
                }
            });
        });
    }
}

/// The mean of `term` over all rows, with `around` given to it channel by channel.
fn mean(
    values: &[f32],
    channels: usize,
    rows: usize,
    term: impl Fn(f32, f32) -> f32 + Sync,
    around: &[f32],
) -> Vec<f32> {
    let zeros = vec![0.0; channels];
    let around = if around.is_empty() { &zeros } else { around };
    let parts: Vec<Vec<f32>> = values
        .par_chunks(ROWS * channels)
        .map(|values| {
            let mut sums = vec![0.0; channels];
            vectorised(|| {
                for row in values.chunks_exact(channels) {
                    for ((sum, value), around) in sums.iter_mut().zip(row).zip(around) {
                        *sum += term(*value, *around);
                    }
                }
            });
            sums
        })
        .collect();
    let mut total = sum(parts);
    total.iter_mut().for_each(|value| *value /= rows as f32);
    total
}
