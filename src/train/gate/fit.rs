//! Fitting the gate's network: forward over whole scenes, its gradients, Adam.
//!
//! The network is small enough to be differentiated by hand; a test compares with finite differences, another with the walk block by
//! block that serves calls.

use ndarray::{Array2, ArrayView2, ArrayViewMut2, Axis, Slice};
use rayon::prelude::*;

use crate::audio::gate::{
    measure::VALUES,
    network::{CLASSES, DILATIONS, LAGS, OUTPUTS, PARAMETERS, Parts, TAPS, WIDTH},
};

/// Numbers that are no weights: mean and scale.
pub(super) const FIXED: usize = 2 * VALUES;
/// Of Adam.
const MOMENTA: (f32, f32) = (0.9, 0.999);
/// Part of each weight that a step takes away, times the rate.
const DECAY: f32 = 1e-3;

/// What was measured of a scene, and the truth.
#[derive(Debug, Clone)]
pub(super) struct Scene {
    /// `[block, VALUES]`, not standardised.
    pub(super) values: Vec<f32>,
    /// By block, of `CLASSES`.
    pub(super) labels: Vec<u8>,
}

/// A loss and how it changes with every number.
pub(super) struct Gradient {
    pub(super) loss: f64,
    pub(super) numbers: Vec<f32>,
}

/// Adam with decay of the weights.
pub(super) struct Adam {
    first: Vec<f32>,
    second: Vec<f32>,
    steps: i32,
}

/// What a layer was given and made of it.
struct Trace {
    hidden: Array2<f32>,
    mixed: Array2<f32>,
    raised: Array2<f32>,
}

impl Scene {
    pub(super) fn blocks(&self) -> usize {
        self.labels.len()
    }
}

/// Logits `[block, OUTPUTS]`.
pub(super) fn logits(parameters: &[f32], scene: &Scene) -> Array2<f32> {
    forward(&Parts::of(parameters), scene).2
}

/// The mean loss of scenes, weighted by class, and its gradients.
pub(super) fn gradient(parameters: &[f32], scenes: &[&Scene], weights: [f32; CLASSES]) -> Gradient {
    let parts: Vec<Gradient> = scenes.par_iter().map(|scene| of_scene(parameters, scene, weights)).collect();
    let mut sum = Gradient { loss: 0.0, numbers: vec![0.0; PARAMETERS] };
    // In order, so that the sum rounds alike whichever thread was first.
    for part in &parts {
        sum.loss += part.loss / scenes.len() as f64;
        for (sum, number) in sum.numbers.iter_mut().zip(&part.numbers) {
            *sum += number / scenes.len() as f32;
        }
    }
    sum
}

impl Adam {
    pub(super) fn new() -> Self {
        Self { first: vec![0.0; PARAMETERS], second: vec![0.0; PARAMETERS], steps: 0 }
    }

    pub(super) fn step(&mut self, parameters: &mut [f32], gradient: &[f32], rate: f32) {
        self.steps += 1;
        let (one, two) = MOMENTA;
        let (first_scale, second_scale) = (1.0 - one.powi(self.steps), 1.0 - two.powi(self.steps));
        for index in FIXED..PARAMETERS {
            let slope = gradient[index];
            self.first[index] += (1.0 - one) * (slope - self.first[index]);
            self.second[index] += (1.0 - two) * (slope * slope - self.second[index]);
            let way = self.first[index] / first_scale / ((self.second[index] / second_scale).sqrt() + 1e-8);
            parameters[index] -= rate * (way + DECAY * parameters[index]);
        }
    }
}

fn matrix(numbers: &[f32], columns: usize) -> ArrayView2<'_, f32> {
    ArrayView2::from_shape((numbers.len() / columns, columns), numbers).expect("whole rows")
}

fn forward(parts: &Parts<'_>, scene: &Scene) -> (Array2<f32>, Vec<Trace>, Array2<f32>) {
    let mut values = matrix(&scene.values, VALUES).to_owned();
    for mut row in values.rows_mut() {
        for ((value, mean), scale) in row.iter_mut().zip(parts.mean).zip(parts.scale) {
            *value = (*value - mean) * scale;
        }
    }
    let mut hidden = values.dot(&matrix(parts.dense, WIDTH)) + matrix(parts.bias, WIDTH);
    hidden.mapv_inplace(|value| value.max(0.0));
    let mut traces = Vec::new();
    for (layer, dilation) in parts.layers().zip(DILATIONS) {
        let mixed = mix(&hidden, &matrix(layer.taps, WIDTH), dilation);
        let mut raised = mixed.dot(&matrix(layer.dense, WIDTH)) + matrix(layer.bias, WIDTH);
        raised.mapv_inplace(|value| value.max(0.0));
        let next = &hidden + &raised;
        traces.push(Trace { hidden, mixed, raised });
        hidden = next;
    }
    let logits = hidden.dot(&matrix(parts.heads, OUTPUTS)) + matrix(parts.heads_bias, OUTPUTS);
    traces.push(Trace { hidden, mixed: Array2::zeros((0, 0)), raised: Array2::zeros((0, 0)) });
    (values, traces, logits)
}

/// All blocks but the last few.
fn before(blocks: &Array2<f32>, few: usize) -> ArrayView2<'_, f32> {
    blocks.slice_axis(Axis(0), Slice::from(..blocks.nrows() - few))
}

fn before_mut(blocks: &mut Array2<f32>, few: usize) -> ArrayViewMut2<'_, f32> {
    let end = blocks.nrows() - few;
    blocks.slice_axis_mut(Axis(0), Slice::from(..end))
}

/// All blocks but the first few.
fn behind(blocks: &Array2<f32>, few: usize) -> ArrayView2<'_, f32> {
    blocks.slice_axis(Axis(0), Slice::from(few..))
}

fn behind_mut(blocks: &mut Array2<f32>, few: usize) -> ArrayViewMut2<'_, f32> {
    blocks.slice_axis_mut(Axis(0), Slice::from(few..))
}

/// The depthwise causal convolution.
fn mix(hidden: &Array2<f32>, taps: &ArrayView2<'_, f32>, dilation: usize) -> Array2<f32> {
    let blocks = hidden.nrows();
    let mut mixed = Array2::zeros(hidden.raw_dim());
    for (tap, weights) in taps.rows().into_iter().enumerate() {
        let back = ((TAPS - 1 - tap) * dilation).min(blocks);
        let mut to = behind_mut(&mut mixed, back);
        to += &(&before(hidden, back) * &weights);
    }
    mixed
}

fn of_scene(parameters: &[f32], scene: &Scene, weights: [f32; CLASSES]) -> Gradient {
    let parts = Parts::of(parameters);
    let (values, mut traces, logits) = forward(&parts, scene);
    let (loss, slopes) = loss(&logits, &scene.labels, weights);
    let last = traces.pop().expect("the last layer's output was kept");
    let heads = last.hidden.t().dot(&slopes);
    let heads_bias = slopes.sum_axis(Axis(0));
    let mut back = slopes.dot(&matrix(parts.heads, OUTPUTS).t());
    let blocks = scene.blocks();
    // Layers come last first, and are put in order behind.
    let mut layers: Vec<Vec<f32>> = Vec::new();
    let of_layers: Vec<_> = parts.layers().collect();
    for ((trace, layer), dilation) in traces.iter().zip(&of_layers).zip(DILATIONS).rev() {
        let mut through = back.clone();
        through.zip_mut_with(&trace.raised, |slope, raised| *slope = if *raised > 0.0 { *slope } else { 0.0 });
        let dense = trace.mixed.t().dot(&through);
        let bias = through.sum_axis(Axis(0));
        let mixed = through.dot(&matrix(layer.dense, WIDTH).t());
        let mut taps = Vec::with_capacity(TAPS * WIDTH);
        for (tap, weights) in matrix(layer.taps, WIDTH).rows().into_iter().enumerate() {
            let far = ((TAPS - 1 - tap) * dilation).min(blocks);
            let now = behind(&mixed, far);
            taps.extend((&before(&trace.hidden, far) * &now).sum_axis(Axis(0)));
            let mut to = before_mut(&mut back, far);
            to += &(&now * &weights);
        }
        layers.push(taps.into_iter().chain(dense).chain(bias).collect());
    }
    let first = traces.first().expect("there are layers");
    back.zip_mut_with(&first.hidden, |slope, hidden| *slope = if *hidden > 0.0 { *slope } else { 0.0 });
    let dense = values.t().dot(&back);
    let numbers = std::iter::repeat_n(0.0, FIXED)
        .chain(dense)
        .chain(back.sum_axis(Axis(0)))
        .chain(layers.into_iter().rev().flatten())
        .chain(heads)
        .chain(heads_bias)
        .collect();
    Gradient { loss, numbers }
}

/// Cross-entropy of all heads, each with the label of the block that it looks at, and its slopes.
fn loss(logits: &Array2<f32>, labels: &[u8], weights: [f32; CLASSES]) -> (f64, Array2<f32>) {
    let mut slopes = Array2::zeros(logits.raw_dim());
    let mut total = 0.0;
    let each = 1.0 / (labels.len() * LAGS.len()) as f32;
    for (head, lag) in LAGS.into_iter().enumerate() {
        for block in lag..labels.len() {
            let label = usize::from(labels[block - lag]);
            let of = |class: usize| logits[[block, head * CLASSES + class]];
            let largest = (0..CLASSES).map(of).fold(f32::NEG_INFINITY, f32::max);
            let sum: f32 = (0..CLASSES).map(|class| (of(class) - largest).exp()).sum();
            let weight = each * weights[label];
            total += f64::from(weight * (sum.ln() + largest - of(label)));
            for class in 0..CLASSES {
                let probability = (of(class) - largest).exp() / sum;
                let target = if class == label { 1.0 } else { 0.0 };
                slopes[[block, head * CLASSES + class]] = weight * (probability - target);
            }
        }
    }
    (total, slopes)
}
