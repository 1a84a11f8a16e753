//! The head: attentive statistics pooling over time (Okabe et al., 2018), norm, dropout, six logits.
//!
//! Every channel has its own attention over the frames; what is pooled are the mean and the deviation under it.

use rand::RngExt as _;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use super::{
    kernels::{add, add_bias, product, product_of_rows, product_transposed, sum_rows, vectorised},
    norm::{self, Norm},
    parameters::{ATTENTION, LABELS, POOL},
};
use crate::train::network::Parameters;

/// Least variance, so that its root has a slope: the starting point's.
pub(super) const LEAST_VARIANCE: f32 = 1e-5;

/// What the backward pass needs.
#[derive(Debug)]
pub(super) struct Trace {
    input: Vec<f32>,
    squashed: Vec<f32>,
    attention: Vec<f32>,
    pooled: Vec<f32>,
    norm: norm::Trace,
    mask: Vec<f32>,
    dropped: Vec<f32>,
}

const NORM: Norm = Norm { place: POOL + 4, rectified: false };
const OUTPUT: usize = POOL + 8;

/// Logits by the running statistics.
pub(super) fn apply(parameters: &Parameters, input: &[f32], frames: usize) -> Vec<f32> {
    let (attention, _) = attend(parameters, input, frames);
    let mut pooled = pool(input, &attention, frames, channels(parameters));
    NORM.apply(parameters, &mut pooled);
    output(parameters, &pooled)
}

/// Logits by the batch's statistics, with dropout.
pub(super) fn forward(
    parameters: &mut Parameters,
    input: Vec<f32>,
    frames: usize,
    dropout: f32,
    random: &mut ChaCha8Rng,
) -> (Vec<f32>, Trace) {
    let (attention, squashed) = attend(parameters, &input, frames);
    let pooled = pool(&input, &attention, frames, channels(parameters));
    let (normed, norm) = NORM.forward(parameters, pooled.clone());
    let kept = 1.0 / (1.0 - dropout);
    let mask: Vec<f32> = normed.iter().map(|_| if random.random::<f32>() < dropout { 0.0 } else { kept }).collect();
    let dropped: Vec<f32> = normed.iter().zip(&mask).map(|(value, mask)| value * mask).collect();
    let logits = output(parameters, &dropped);
    (logits, Trace { input, squashed, attention, pooled, norm, mask, dropped })
}

/// The gradient of the input for that of the logits; those of the head's values go into `gradients`.
pub(super) fn backward(
    parameters: &Parameters,
    trace: Trace,
    logits: &[f32],
    frames: usize,
    gradients: &mut Parameters,
) -> Vec<f32> {
    let Trace { input, squashed, attention, pooled, norm, mask, dropped } = trace;
    let channels = channels(parameters);
    gradients.0[OUTPUT] = product_of_rows(&dropped, logits, 2 * channels, LABELS);
    gradients.0[OUTPUT + 1] = sum_rows(logits, LABELS);
    let mut normed = product_transposed(logits, parameters.get(OUTPUT), 2 * channels, LABELS);
    normed.iter_mut().zip(&mask).for_each(|(gradient, mask)| *gradient *= mask);
    let by_pooled = NORM.backward(parameters, norm, normed, gradients);

    let mut by_input = vec![0.0; input.len()];
    let mut by_scores = vec![0.0; input.len()];
    let window = frames * channels;
    let whole = by_input.par_chunks_mut(window).zip(by_scores.par_chunks_mut(window));
    let parts = input.par_chunks(window).zip(attention.par_chunks(window));
    let summed = pooled.par_chunks(2 * channels).zip(by_pooled.par_chunks(2 * channels));
    whole.zip(parts).zip(summed).for_each(|(((by_input, by_scores), (input, attention)), (pooled, by_pooled))| {
        pool_back(by_input, by_scores, input, attention, pooled, by_pooled);
    });

    gradients.0[POOL + 2] = product_of_rows(&squashed, &by_scores, ATTENTION, channels);
    gradients.0[POOL + 3] = sum_rows(&by_scores, channels);
    let mut hidden = product_transposed(&by_scores, parameters.get(POOL + 2), ATTENTION, channels);
    hidden.iter_mut().zip(&squashed).for_each(|(gradient, value)| *gradient *= 1.0 - value * value);
    gradients.0[POOL] = product_of_rows(&input, &hidden, channels, ATTENTION);
    gradients.0[POOL + 1] = sum_rows(&hidden, ATTENTION);
    add(&mut by_input, &product_transposed(&hidden, parameters.get(POOL), channels, ATTENTION));
    by_input
}

fn channels(parameters: &Parameters) -> usize {
    parameters.get(POOL + 3).len()
}

fn output(parameters: &Parameters, pooled: &[f32]) -> Vec<f32> {
    let mut logits = product(pooled, parameters.get(OUTPUT), 2 * channels(parameters), LABELS);
    add_bias(&mut logits, parameters.get(OUTPUT + 1));
    logits
}

/// Each channel's attention over the frames `[window, frame, channel]`, and what the hidden units said.
fn attend(parameters: &Parameters, input: &[f32], frames: usize) -> (Vec<f32>, Vec<f32>) {
    let channels = channels(parameters);
    let mut squashed = product(input, parameters.get(POOL), channels, ATTENTION);
    add_bias(&mut squashed, parameters.get(POOL + 1));
    squashed.par_iter_mut().for_each(|value| *value = value.tanh());
    let mut scores = product(&squashed, parameters.get(POOL + 2), ATTENTION, channels);
    add_bias(&mut scores, parameters.get(POOL + 3));
    scores.par_chunks_mut(frames * channels).for_each(|window| {
        let mut largest = vec![f32::NEG_INFINITY; channels];
        let mut sums = vec![0.0; channels];
        for row in window.chunks_exact(channels) {
            largest.iter_mut().zip(row).for_each(|(largest, score)| *largest = largest.max(*score));
        }
        for row in window.chunks_exact_mut(channels) {
            for ((score, largest), sum) in row.iter_mut().zip(&largest).zip(&mut sums) {
                *score = (*score - largest).exp();
                *sum += *score;
            }
        }
        for row in window.chunks_exact_mut(channels) {
            row.iter_mut().zip(&sums).for_each(|(score, sum)| *score /= sum);
        }
    });
    (scores, squashed)
}

/// Mean and deviation of each channel, `[window, 2 × channel]`.
fn pool(input: &[f32], attention: &[f32], frames: usize, channels: usize) -> Vec<f32> {
    let window = frames * channels;
    let mut pooled = vec![0.0; input.len() / frames * 2];
    let windows = input.par_chunks(window).zip(attention.par_chunks(window));
    pooled.par_chunks_mut(2 * channels).zip(windows).for_each(|(pooled, (input, attention))| {
        vectorised(|| {
            let (means, squares) = pooled.split_at_mut(channels);
            for (values, weights) in input.chunks_exact(channels).zip(attention.chunks_exact(channels)) {
                for channel in 0..channels {
                    let weighted = weights[channel] * values[channel];
                    means[channel] += weighted;
                    squares[channel] += weighted * values[channel];
                }
            }
            for (mean, square) in means.iter().zip(squares) {
                *square = (*square - mean * mean).max(LEAST_VARIANCE).sqrt();
            }
        });
    });
    pooled
}

/// One window of [`pool`] and of the attention's softmax, backwards.
fn pool_back(
    by_input: &mut [f32],
    by_scores: &mut [f32],
    input: &[f32],
    attention: &[f32],
    pooled: &[f32],
    by_pooled: &[f32],
) {
    let channels = pooled.len() / 2;
    let (mean, deviation) = pooled.split_at(channels);
    let mut by_mean = by_pooled[..channels].to_vec();
    let mut by_variance = by_pooled[channels..].to_vec();
    for channel in 0..channels {
        let variance = deviation[channel] * deviation[channel];
        by_variance[channel] =
            if variance > LEAST_VARIANCE * 1.000_001 { by_variance[channel] / (2.0 * deviation[channel]) } else { 0.0 };
        by_mean[channel] -= 2.0 * mean[channel] * by_variance[channel];
    }
    let mut through = vec![0.0; channels];
    vectorised(|| {
        let rows = by_input.chunks_exact_mut(channels).zip(by_scores.chunks_exact_mut(channels));
        let known = input.chunks_exact(channels).zip(attention.chunks_exact(channels));
        for ((by_input, by_scores), (input, attention)) in rows.zip(known) {
            for channel in 0..channels {
                let value = input[channel];
                let by_value = by_mean[channel] + 2.0 * value * by_variance[channel];
                by_input[channel] = attention[channel] * by_value;
                by_scores[channel] = value * (by_mean[channel] + value * by_variance[channel]);
                through[channel] += attention[channel] * by_scores[channel];
            }
        }
        for (by_scores, attention) in by_scores.chunks_exact_mut(channels).zip(attention.chunks_exact(channels)) {
            for channel in 0..channels {
                by_scores[channel] = attention[channel] * (by_scores[channel] - through[channel]);
            }
        }
    });
}
