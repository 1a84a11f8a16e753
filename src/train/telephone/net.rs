//! The telephone network: a strided stem over frames and bands, residual blocks over time, attentive pooling.

use rand_chacha::ChaCha8Rng;

use super::{
    block::Block,
    graph,
    kernels::{add_bias, product, product_of_rows, product_transposed, sum_rows},
    parameters::{self, DILATIONS, LABELS, PROJECT, channels},
    pool, stem,
};
use crate::train::network::{Batch, Network, Parameters, Spec, Step, count_right, cross_entropy};

/// Dropout before the last layer.
const DROPOUT: f32 = 0.4;

/// The network.
#[derive(Debug, Clone)]
pub(super) struct ConvNext {
    specs: Vec<Spec>,
    width: usize,
    dropout: f32,
}

impl ConvNext {
    /// A stem of `width` filters, blocks of eight times as many channels.
    pub(super) fn new(width: usize) -> Self {
        Self { specs: parameters::specs(width), width, dropout: DROPOUT }
    }
}

impl Network for ConvNext {
    fn specs(&self) -> &[Spec] {
        &self.specs
    }

    fn initial(&self, random: &mut ChaCha8Rng) -> Parameters {
        parameters::initial(&self.specs, random)
    }

    fn logits(&self, parameters: &Parameters, batch: &Batch) -> Vec<f32> {
        let frames = stem::frames_out(batch.frames);
        let channels = channels(self.width);
        let stem = stem::apply(parameters, &batch.windows, batch.frames);
        let weight = parameters.get(PROJECT);
        let mut values = product(&stem, weight, weight.len() / channels, channels);
        add_bias(&mut values, parameters.get(PROJECT + 1));
        for index in 0..DILATIONS.len() {
            values = Block::new(index, frames).apply(parameters, &values);
        }
        pool::apply(parameters, &values, frames)
    }

    fn step(&self, parameters: &mut Parameters, batch: &Batch, random: &mut ChaCha8Rng) -> Step {
        let frames = stem::frames_out(batch.frames);
        let channels = channels(self.width);
        let mut gradients = Parameters::zeros(&self.specs);

        let (stem_out, stem_trace) = stem::forward(parameters, &batch.windows, batch.frames);
        let weight = parameters.get(PROJECT);
        let inputs = weight.len() / channels;
        let mut values = product(&stem_out, weight, inputs, channels);
        add_bias(&mut values, parameters.get(PROJECT + 1));
        let mut traces = Vec::with_capacity(DILATIONS.len());
        for index in 0..DILATIONS.len() {
            let (out, trace) = Block::new(index, frames).forward(parameters, values);
            values = out;
            traces.push(trace);
        }
        let (logits, pool_trace) = pool::forward(parameters, values, frames, self.dropout, random);
        let loss = cross_entropy(&logits, &batch.targets, LABELS);
        let right = count_right(&logits, &batch.labels);

        let by_logits = slopes(&logits, &batch.targets);
        let mut gradient = pool::backward(parameters, pool_trace, &by_logits, frames, &mut gradients);
        for (index, trace) in traces.into_iter().enumerate().rev() {
            gradient = Block::new(index, frames).backward(parameters, trace, &gradient, &mut gradients);
        }
        gradients.0[PROJECT] = product_of_rows(&stem_out, &gradient, inputs, channels);
        gradients.0[PROJECT + 1] = sum_rows(&gradient, channels);
        let by_stem = product_transposed(&gradient, parameters.get(PROJECT), inputs, channels);
        stem::backward(parameters, &batch.windows, stem_trace, by_stem, &mut gradients);
        Step { loss, right, gradients }
    }

    fn penalty(&self, _parameters: &Parameters) -> f64 {
        0.0
    }

    fn export(&self, parameters: &Parameters, _frames: usize) -> Vec<u8> {
        graph::network(parameters, self.width)
    }
}

/// The gradient of the mean cross-entropy: softmax times the targets' sum, less the targets.
fn slopes(logits: &[f32], targets: &[f32]) -> Vec<f32> {
    let count = (logits.len() / LABELS) as f32;
    let row = |(row, targets): (&[f32], &[f32])| -> Vec<f32> {
        let largest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let powers: Vec<f32> = row.iter().map(|z| (z - largest).exp()).collect();
        let (sum, weight): (f32, f32) = (powers.iter().sum(), targets.iter().sum());
        powers.iter().zip(targets).map(|(power, target)| (power / sum * weight - target) / count).collect()
    };
    logits.chunks_exact(LABELS).zip(targets.chunks_exact(LABELS)).flat_map(row).collect()
}

#[cfg(test)]
mod tests {
    use rand::{RngExt as _, SeedableRng as _};

    use super::*;
    use crate::train::{
        network::smoothed,
        optimiser::{Optimiser, Pace, Rule},
        telephone::parameters::BANDS,
    };

    /// Windows of noise whose colour tells the label.
    fn batch(count: usize, frames: usize, seed: u64) -> Batch {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let labels: Vec<usize> = (0..count).map(|index| index % LABELS).collect();
        let mut windows = Vec::new();
        for label in &labels {
            for place in 0..frames * BANDS {
                let tilt = (place % BANDS) as f32 / BANDS as f32 * *label as f32;
                windows.push(random.random_range(-1.0..1.0) + tilt - 1.0);
            }
        }
        let targets = labels.iter().flat_map(|&label| smoothed(label, LABELS, 0.1)).collect();
        Batch { windows, labels, targets, frames }
    }

    #[test]
    fn gradients_are_the_slopes_of_the_loss() {
        let net = ConvNext::new(4);
        let mut random = ChaCha8Rng::seed_from_u64(5);
        let mut parameters = net.initial(&mut random);
        let batch = batch(6, 23, 1);
        // The same generator every time, so the same dropout.
        let loss = |parameters: &Parameters| net.step(&mut parameters.clone(), &batch, &mut random.clone());
        // A step or two away from the beginning, where scales are all 1.
        parameters.0.iter_mut().flatten().enumerate().for_each(|(index, value)| *value += 0.02 * (index as f32).sin());
        let gradients = loss(&parameters).gradients;
        for (place, spec) in net.specs().iter().enumerate().filter(|(_, spec)| spec.trainable) {
            // Along the gradient itself the slope is its length.
            let gradient = &gradients.0[place];
            let length = gradient.iter().map(|g| f64::from(*g) * f64::from(*g)).sum::<f64>().sqrt();
            // What is added to a channel's attention at every frame changes nothing.
            assert!(length > 1e-5 || spec.name == "attention.1.bias", "{}: {length}", spec.name);
            if length < 1e-5 {
                continue;
            }
            let slope = |reach: f64| {
                let at = |way: f64| {
                    let mut moved = parameters.clone();
                    for (value, gradient) in moved.0[place].iter_mut().zip(gradient) {
                        *value += (way * reach * f64::from(*gradient) / length) as f32;
                    }
                    loss(&moved).loss
                };
                (at(1.0) - at(-1.0)) / (2.0 * reach)
            };
            // The shortest reach drowns in rounding, the longest meets the rectifiers' kinks; the steeper, the nearer.
            let slopes = [1e-3, 3e-3, 1e-2, 3e-2].map(|reach| slope(reach / (1.0 + length)));
            let near = |slope: &f64| (slope - length).abs() < 0.03 * length + 2e-4;
            assert!(slopes.iter().any(near), "{}: {slopes:?} {length}", spec.name);
        }
    }

    #[test]
    fn a_few_steps_learn_a_few_windows() {
        let net = ConvNext::new(4);
        let mut random = ChaCha8Rng::seed_from_u64(5);
        let mut parameters = net.initial(&mut random);
        let mut optimiser = Optimiser::new(Rule::AdamW { decay: 0.02 }, net.specs());
        let batch = batch(12, 24, 2);
        let losses: Vec<f64> = (0..40)
            .map(|_| {
                let step = net.step(&mut parameters, &batch, &mut random);
                optimiser.step(net.specs(), &mut parameters, &step.gradients, Pace::at(5e-3));
                step.loss
            })
            .collect();
        assert!(losses[39] < 0.7 * losses[0], "{losses:?}");
    }

    #[test]
    fn windows_do_not_depend_on_their_neighbours_and_may_have_any_length() {
        let net = ConvNext::new(4);
        let parameters = net.initial(&mut ChaCha8Rng::seed_from_u64(5));
        for frames in [62, 63, 125] {
            let all = batch(3, frames, 4);
            let together = net.logits(&parameters, &all);
            let mut one = all.clone();
            one.truncate(1);
            let alone = net.logits(&parameters, &one);
            assert!(alone.iter().zip(&together).all(|(a, b)| (a - b).abs() < 1e-5), "{frames}");
        }
    }
}
