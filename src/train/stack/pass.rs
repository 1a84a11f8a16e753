//! Forwards and backwards through a stack.

use burn::tensor::{
    Device, Gradients, Tensor, TensorData,
    activation::{log_softmax, relu},
    module,
    ops::{ConvOptions, MaxPoolOptions},
};
use ndarray::{Array2, ArrayView1, ArrayView2};
use rand_chacha::ChaCha8Rng;

use super::{Layer, Stack, View};
use crate::{
    corpus::LABELS,
    train::{
        network::Batch,
        recurrent::{Cell, Trace, Weights},
        tensors::{NORM_EPSILON, dropout, follow, values},
    },
};

/// What is done to a batch in training alone.
struct Training<'a> {
    random: &'a mut ChaCha8Rng,
    /// The stack's values, of which the running statistics are moved.
    running: &'a mut [Vec<f32>],
}

/// The layers up to a recurrent one, as burn recorded them, and that layer.
struct Walked {
    /// What came in.
    input: Tensor<4>,
    /// What came out and was walked.
    output: Tensor<4>,
    /// The recurrent layer's first value.
    place: usize,
    weights: Shape,
    sequence: Array2<f32>,
    trace: Trace,
}

/// A recurrent layer.
#[derive(Clone, Copy)]
struct Shape {
    cell: Cell,
    from: usize,
    units: usize,
}

impl Stack {
    /// Logits `[window, label]`, without dropout and by the running statistics.
    pub(super) fn logits(&self, parameters: &[Vec<f32>], batch: &Batch, device: &Device) -> Vec<f32> {
        let leaves: Vec<Tensor<1>> = parameters[..self.len()].iter().map(|values| flat(values, device)).collect();
        let mut x = self.see(batch, device);
        let mut place = 0;
        for layer in &self.layers {
            x = if let Layer::Recurrent { cell, from, units } = *layer {
                let shape = Shape { cell, from, units };
                let (state, _) = cell.forward(shape.weights(&parameters[place..]), &sequence(x), batch.labels.len());
                states(state, device)
            } else {
                layer.forward(x, &leaves[place..], None)
            };
            place += layer.specs().len();
        }
        values(x)
    }

    /// The part `part` of the loss of one batch, and the logits; puts its gradients into `gradients`.
    pub(super) fn step(
        &self,
        parameters: &mut [Vec<f32>],
        gradients: &mut [Vec<f32>],
        batch: &Batch,
        part: f32,
        random: &mut ChaCha8Rng,
        device: &Device,
    ) -> (f64, Vec<f32>) {
        let device = device.clone().autodiff();
        let count = batch.labels.len();
        let leaves: Vec<Tensor<1>> = parameters.iter().map(|values| flat(values, &device).require_grad()).collect();
        let mut walks = Vec::new();
        let mut input = self.see(batch, &device);
        let mut x = input.clone();
        let mut place = 0;
        for layer in &self.layers {
            let next = place + layer.specs().len();
            if let Layer::Recurrent { cell, from, units } = *layer {
                let shape = Shape { cell, from, units };
                let sequence = sequence(x.clone());
                let (state, trace) = cell.forward(shape.weights(&parameters[place..]), &sequence, count);
                let state = states(state, &device).require_grad();
                let walked = Walked { input, output: x, place, weights: shape, sequence, trace };
                walks.push(walked);
                input = state.clone();
                x = state;
            } else {
                let training = Training { random, running: &mut parameters[place..next] };
                x = layer.forward(x, &leaves[place..next], Some(training));
            }
            place = next;
        }
        let logits = x.reshape([count, LABELS.len()]);
        let shown = values(logits.clone());
        // Keras divides by the number of windows, not by the sum of their weights.
        let targets: Vec<f32> = batch.targets.iter().map(|target| target / count as f32).collect();
        let targets = Tensor::<2>::from_data(TensorData::new(targets, [count, LABELS.len()]), &device);
        let loss = (log_softmax(logits, 1) * targets).sum().neg() * part;
        let value = f64::from(values(loss.clone())[0]);

        let mut back = loss.backward();
        take(&leaves, &mut back, gradients);
        for walked in walks.into_iter().rev() {
            let states = input.grad_remove(&mut back).expect("the loss depends on every state");
            let states = Array2::from_shape_vec((count, walked.weights.units), values(states)).expect("a row a window");
            let weights = walked.weights.weights(&parameters[walked.place..]);
            let found = walked.trace.backward(weights, &walked.sequence, &states);
            let by_sequence = found.sequence;
            let found = [rows(&found.input), rows(&found.recurrent), found.bias.to_vec()];
            gradients[walked.place..].iter_mut().zip(found).for_each(|(gradients, found)| *gradients = found);
            // Where the layer's values are the first, nothing before it learns.
            if walked.place > 0 {
                // The gradient of Σ output · g with respect to what the output depends on is g carried on backwards.
                let by = image(&by_sequence, walked.output.dims(), &device);
                back = (walked.output * by).sum().backward();
                take(&leaves, &mut back, gradients);
            }
            input = walked.input;
        }
        (value, shown)
    }

    /// What it looks at of a batch.
    fn see(&self, batch: &Batch, device: &Device) -> Tensor<4> {
        let (count, frames, seen) = (batch.labels.len(), batch.frames, self.values.len());
        let width = batch.windows.len() / (count * frames);
        let of_frame = |frame: &[f32]| frame[self.values.clone()].to_vec();
        let kept: Vec<f32> = batch.windows.chunks_exact(width).flat_map(of_frame).collect();
        let windows = Tensor::<4>::from_data(TensorData::new(kept, [count, 1, frames, seen]), device);
        match self.view {
            View::Image => windows,
            View::Channels => windows.swap_dims(1, 3),
        }
    }
}

impl Layer {
    /// What burn differentiates; a recurrent layer is walked by its own code.
    fn forward(self, x: Tensor<4>, leaves: &[Tensor<1>], training: Option<Training<'_>>) -> Tensor<4> {
        let dims = x.dims();
        match self {
            Self::Conv { from, to, kernel, stride } => {
                let weight = leaves[0].clone().reshape([to, from, kernel[0], kernel[1]]);
                let options = ConvOptions::new(stride, kernel.map(|size| size / 2), [1, 1], 1);
                module::conv2d(x, weight, Some(leaves[1].clone()), options)
            }
            Self::Norm(_) => {
                let [scale, shift] = [leaves[0].clone(), leaves[1].clone()];
                let epsilon = f64::from(NORM_EPSILON);
                let Some(Training { running, .. }) = training else {
                    return module::batch_norm(x, scale, shift, leaves[2].clone(), leaves[3].clone(), epsilon);
                };
                let normed = module::batch_norm_train(x, scale, shift, epsilon);
                follow(&mut running[2], &values(normed.mean));
                follow(&mut running[3], &values(normed.variance));
                normed.output
            }
            Self::Relu => relu(x),
            Self::Pool(size) => module::max_pool2d(x, MaxPoolOptions::new(size)),
            Self::Dropout(part) => match training {
                Some(Training { random, .. }) => {
                    let mask = dropout(dims.iter().product(), part, random);
                    let mask = Tensor::<4>::from_data(TensorData::new(mask, dims), &x.device());
                    x * mask
                }
                None => x,
            },
            Self::Loudest => x.max_dim(2),
            Self::Dense { from, to } => {
                let weight = leaves[0].clone().reshape([to, from]);
                let rows = x.reshape([dims[0], from]).matmul(weight.transpose());
                (rows + leaves[1].clone().unsqueeze()).reshape([dims[0], to, 1, 1])
            }
            Self::Recurrent { .. } => unreachable!("a recurrent layer is walked, not recorded"),
        }
    }
}

impl Shape {
    /// The layer's weights, of its values in the order of its specs.
    fn weights(self, values: &[Vec<f32>]) -> Weights<'_> {
        let Self { cell, from, units } = self;
        let (rows, shaped) = (cell.gates() * units, "the shapes of the specs are these");
        Weights {
            input: ArrayView2::from_shape((rows, from), &values[0]).expect(shaped),
            recurrent: ArrayView2::from_shape((rows, units), &values[1]).expect(shaped),
            bias: ArrayView1::from(&values[2]),
        }
    }
}

/// `[window, channel, frame, 1]` as `[step × window, channel]`, the last frame first.
fn sequence(x: Tensor<4>) -> Array2<f32> {
    let [count, channels, frames, _] = x.dims();
    let x = values(x);
    Array2::from_shape_fn((frames * count, channels), |(row, channel)| {
        x[((row % count) * channels + channel) * frames + frames - 1 - row / count]
    })
}

/// The reverse.
fn image(sequence: &Array2<f32>, dims: [usize; 4], device: &Device) -> Tensor<4> {
    let [count, channels, frames, _] = dims;
    let mut x = vec![0.0; sequence.len()];
    for (row, values) in sequence.rows().into_iter().enumerate() {
        for (channel, value) in values.iter().enumerate() {
            x[((row % count) * channels + channel) * frames + frames - 1 - row / count] = *value;
        }
    }
    Tensor::from_data(TensorData::new(x, dims), device)
}

/// A matrix row by row, however it lies in memory.
fn rows(matrix: &Array2<f32>) -> Vec<f32> {
    matrix.iter().copied().collect()
}

/// States `[window, unit]` as a layer's output.
fn states(states: Array2<f32>, device: &Device) -> Tensor<4> {
    let (count, units) = states.dim();
    Tensor::from_data(TensorData::new(states.into_raw_vec_and_offset().0, [count, units, 1, 1]), device)
}

fn take(leaves: &[Tensor<1>], back: &mut Gradients, gradients: &mut [Vec<f32>]) {
    for (leaf, gradients) in leaves.iter().zip(gradients) {
        if let Some(found) = leaf.grad_remove(back) {
            *gradients = values(found);
        }
    }
}

fn flat(values: &[f32], device: &Device) -> Tensor<1> {
    Tensor::from_data(TensorData::new(values.to_vec(), [values.len()]), device)
}
