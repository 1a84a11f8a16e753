//! The thesis's CNN-BiLSTM: what it computes, its loss, and the loss's gradients.
//!
//! Conv1D(32, kernel 3, valid, ReLU) → BatchNorm → MaxPool 2 → Dropout 0.3 → BiLSTM(32, last states side by side) → Dense 32, ReLU →
//! Dropout 0.3 → Dense 6. The convolution's part and the dense part are differentiated by burn, the LSTM between them by
//! [`lstm`]. Every random number is drawn here, from the generator that is passed in.

use burn::tensor::{
    Device, Tensor, TensorData,
    activation::{log_softmax, relu},
    module,
    ops::{ConvOptions, MaxPoolOptions},
};
use ndarray::{Array2, ArrayView1, ArrayView2};
use rand_chacha::ChaCha8Rng;

use super::{
    graph,
    parameters::{self, DENSE, FILTERS, KERNEL, LABELS, Name, SPECS, UNITS, VALUES},
};
use crate::train::{
    network::{Batch, Network, Parameters, Spec, Step, count_right},
    recurrent::{
        Weights,
        lstm::{self, GATES},
        reversed,
    },
    tensors::{NORM_EPSILON, dropout, follow, values},
};

/// The thesis's dropout.
const DROPOUT: f32 = 0.3;
/// The thesis's decay of the kernels it names.
const DECAY: f32 = 1e-5;
/// Frames that pooling joins.
const POOL: usize = 2;

/// The thesis's network, on a device.
#[derive(Debug, Clone)]
pub(super) struct CnnBilstm(pub(super) Device);

impl Network for CnnBilstm {
    fn specs(&self) -> &[Spec] {
        &SPECS
    }

    fn initial(&self, random: &mut ChaCha8Rng) -> Parameters {
        parameters::initial(random)
    }

    fn logits(&self, parameters: &Parameters, batch: &Batch) -> Vec<f32> {
        logits(parameters, batch, &self.0)
    }

    fn step(&self, parameters: &mut Parameters, batch: &Batch, random: &mut ChaCha8Rng) -> Step {
        step(parameters, batch, random, &self.0)
    }

    fn penalty(&self, parameters: &Parameters) -> f64 {
        decay(parameters)
    }

    fn export(&self, parameters: &Parameters, frames: usize) -> Vec<u8> {
        graph::network(parameters, frames)
    }
}

/// Steps of the LSTM for windows of so many frames.
fn steps(frames: usize) -> usize {
    (frames + 1 - KERNEL) / POOL
}

/// Logits `[window, label]`, without dropout and by the running statistics.
fn logits(parameters: &Parameters, batch: &Batch, device: &Device) -> Vec<f32> {
    let count = batch.labels.len();
    let hidden = relu(convolution(parameters, batch, device, false).0);
    let tensor = |name| flat(parameters, name, device);
    let normed = module::batch_norm(
        hidden,
        tensor(Name::NormScale),
        tensor(Name::NormShift),
        tensor(Name::NormMean),
        tensor(Name::NormVariance),
        f64::from(NORM_EPSILON),
    );
    let pooled = sequence(&values(module::max_pool1d(normed, MaxPoolOptions::new([POOL]))), count, steps(batch.frames));
    let (states, _) = both_ways(parameters, &pooled, count);
    let states =
        Tensor::<2>::from_data(TensorData::new(states.into_raw_vec_and_offset().0, [count, 2 * UNITS]), device);
    let weights = Dense::new(parameters, device, false);
    values(weights.output(relu(weights.hidden(states))))
}

/// What decay adds to the loss.
fn decay(parameters: &Parameters) -> f64 {
    let squares = |values: &Vec<f32>| values.iter().map(|&w| f64::from(w) * f64::from(w)).sum::<f64>();
    let sum: f64 = SPECS.iter().zip(&parameters.0).filter(|(spec, _)| spec.decays).map(|(_, v)| squares(v)).sum();
    f64::from(DECAY) * sum
}

/// Loss and gradients of one batch; moves the running statistics.
fn step(parameters: &mut Parameters, batch: &Batch, random: &mut ChaCha8Rng, device: &Device) -> Step {
    let device = device.clone().autodiff();
    let (count, steps) = (batch.labels.len(), steps(batch.frames));
    let mut gradients = Parameters::zeros(&SPECS);

    let (convolved, conv_weight, conv_bias) = convolution(parameters, batch, &device, true);
    let scale = flat(parameters, Name::NormScale, &device).require_grad();
    let shift = flat(parameters, Name::NormShift, &device).require_grad();
    let normed = module::batch_norm_train(relu(convolved), scale.clone(), shift.clone(), f64::from(NORM_EPSILON));
    follow(parameters.get_mut(Name::NormMean), &values(normed.mean));
    follow(parameters.get_mut(Name::NormVariance), &values(normed.variance));
    let pooled = module::max_pool1d(normed.output, MaxPoolOptions::new([POOL]));
    let mask = Tensor::<3>::from_data(
        TensorData::new(dropout(count * FILTERS * steps, DROPOUT, random), [count, FILTERS, steps]),
        &device,
    );
    let front = pooled * mask;

    let walked = sequence(&values(front.clone()), count, steps);
    let (states, traces) = both_ways(parameters, &walked, count);

    let shown = states.into_raw_vec_and_offset().0;
    let states = Tensor::<2>::from_data(TensorData::new(shown, [count, 2 * UNITS]), &device).require_grad();
    let dense = Dense::new(parameters, &device, true);
    let mask =
        Tensor::<2>::from_data(TensorData::new(dropout(count * DENSE, DROPOUT, random), [count, DENSE]), &device);
    let logits = dense.output(relu(dense.hidden(states.clone())) * mask);
    let right = count_right(&values(logits.clone()), &batch.labels);
    // Keras divides by the number of windows, not by the sum of their weights.
    let targets = batch.targets.iter().map(|target| target / count as f32).collect::<Vec<_>>();
    let targets = Tensor::<2>::from_data(TensorData::new(targets, [count, LABELS]), &device);
    let loss = (log_softmax(logits, 1) * targets).sum().neg();
    let value = f64::from(values(loss.clone())[0]) + decay(parameters);

    let mut back = loss.backward();
    dense.take(&mut back, &mut gradients);
    let states = states.grad_remove(&mut back).expect("the loss depends on the LSTM's states");
    let by_sequence = both_ways_back(parameters, &walked, &traces, &values(states), &mut gradients);
    let by_sequence = Tensor::<3>::from_data(TensorData::new(by_sequence, [count, FILTERS, steps]), &device);
    // The gradient of Σ front · g with respect to what front depends on is g carried on backwards.
    let mut back = (front * by_sequence).sum().backward();
    let mut take = |name: Name, gradient: Option<Vec<f32>>| {
        gradients.0[name as usize] = gradient.expect("the loss depends on every weight");
    };
    take(Name::ConvWeight, conv_weight.grad_remove(&mut back).map(values));
    take(Name::ConvBias, conv_bias.grad_remove(&mut back).map(values));
    take(Name::NormScale, scale.grad_remove(&mut back).map(values));
    take(Name::NormShift, shift.grad_remove(&mut back).map(values));

    for ((spec, weights), gradients) in SPECS.iter().zip(&parameters.0).zip(&mut gradients.0) {
        if spec.decays {
            gradients.iter_mut().zip(weights).for_each(|(gradient, weight)| *gradient += 2.0 * DECAY * weight);
        }
    }
    Step { loss: value, right, gradients }
}

/// The layers after the LSTM.
struct Dense {
    weight: Tensor<2>,
    bias: Tensor<1>,
    output_weight: Tensor<2>,
    output_bias: Tensor<1>,
}

impl Dense {
    fn new(parameters: &Parameters, device: &Device, learn: bool) -> Self {
        let matrix = |name: Name, shape| {
            Tensor::<2>::from_data(TensorData::new(parameters.get(name).to_vec(), shape), device)
                .set_require_grad(learn)
        };
        Self {
            weight: matrix(Name::DenseWeight, [DENSE, 2 * UNITS]),
            bias: flat(parameters, Name::DenseBias, device).set_require_grad(learn),
            output_weight: matrix(Name::OutputWeight, [LABELS, DENSE]),
            output_bias: flat(parameters, Name::OutputBias, device).set_require_grad(learn),
        }
    }

    fn hidden(&self, states: Tensor<2>) -> Tensor<2> {
        states.matmul(self.weight.clone().transpose()) + self.bias.clone().unsqueeze()
    }

    fn output(&self, hidden: Tensor<2>) -> Tensor<2> {
        hidden.matmul(self.output_weight.clone().transpose()) + self.output_bias.clone().unsqueeze()
    }

    fn take(&self, back: &mut burn::tensor::Gradients, gradients: &mut Parameters) {
        let mut put = |name: Name, gradient: Option<Vec<f32>>| {
            gradients.0[name as usize] = gradient.expect("the loss depends on every weight");
        };
        put(Name::DenseWeight, self.weight.grad_remove(back).map(values));
        put(Name::DenseBias, self.bias.grad_remove(back).map(values));
        put(Name::OutputWeight, self.output_weight.grad_remove(back).map(values));
        put(Name::OutputBias, self.output_bias.grad_remove(back).map(values));
    }
}

fn convolution(
    parameters: &Parameters,
    batch: &Batch,
    device: &Device,
    learn: bool,
) -> (Tensor<3>, Tensor<3>, Tensor<1>) {
    let weight = TensorData::new(parameters.get(Name::ConvWeight).to_vec(), [FILTERS, VALUES, KERNEL]);
    let weight = Tensor::<3>::from_data(weight, device).set_require_grad(learn);
    let bias = flat(parameters, Name::ConvBias, device).set_require_grad(learn);
    let windows = TensorData::new(batch.windows.clone(), [batch.labels.len(), batch.frames, VALUES]);
    let windows = Tensor::<3>::from_data(windows, device).swap_dims(1, 2);
    let options = ConvOptions::new([1], [0], [1], 1);
    (module::conv1d(windows, weight.clone(), Some(bias.clone()), options), weight, bias)
}

/// The last states of both directions side by side `[window, 2 × unit]`.
fn both_ways(parameters: &Parameters, sequence: &Array2<f32>, batch: usize) -> (Array2<f32>, [lstm::Trace; 2]) {
    let backwards = reversed(sequence, batch);
    let ((ahead, trace), (behind, trace_back)) = rayon::join(
        || lstm::forward(direction(parameters, 0), sequence, batch),
        || lstm::forward(direction(parameters, 1), &backwards, batch),
    );
    let states = ndarray::concatenate(ndarray::Axis(1), &[ahead.view(), behind.view()])
        .expect("both directions have a state for every window");
    (states.as_standard_layout().into_owned(), [trace, trace_back])
}

/// Puts the LSTM's gradients into `gradients` and returns that of the sequence as `[window, filter, step]`.
fn both_ways_back(
    parameters: &Parameters,
    sequence: &Array2<f32>,
    traces: &[lstm::Trace; 2],
    states: &[f32],
    gradients: &mut Parameters,
) -> Vec<f32> {
    let batch = states.len() / (2 * UNITS);
    let states = ArrayView2::from_shape((batch, 2 * UNITS), states).expect("a row of states a window");
    let (ahead, behind) = states.split_at(ndarray::Axis(1), UNITS);
    let (ahead, behind) = (ahead.as_standard_layout().into_owned(), behind.as_standard_layout().into_owned());
    let backwards = reversed(sequence, batch);
    let (mut first, second) = rayon::join(
        || lstm::backward(direction(parameters, 0), sequence, &traces[0], &ahead),
        || lstm::backward(direction(parameters, 1), &backwards, &traces[1], &behind),
    );
    first.sequence += &reversed(&second.sequence, batch);
    for (index, way) in [&first, &second].into_iter().enumerate() {
        let mut put = |name: Name, values: &mut dyn Iterator<Item = &f32>| {
            let half = SPECS[name as usize].len() / 2;
            let target = &mut gradients.get_mut(name)[index * half..][..half];
            target.iter_mut().zip(values).for_each(|(target, value)| *target = *value);
        };
        put(Name::LstmInput, &mut way.input.iter());
        put(Name::LstmRecurrent, &mut way.recurrent.iter());
        put(Name::LstmBias, &mut way.bias.iter());
    }
    let steps = sequence.nrows() / batch;
    let mut out = vec![0.0; batch * FILTERS * steps];
    for (row, values) in first.sequence.rows().into_iter().enumerate() {
        let (step, window) = (row / batch, row % batch);
        for (filter, value) in values.iter().enumerate() {
            out[(window * FILTERS + filter) * steps + step] = *value;
        }
    }
    out
}

fn direction(parameters: &Parameters, way: usize) -> Weights<'_> {
    const ROWS: usize = GATES * UNITS;
    let part = |name: Name, len: usize| &parameters.get(name)[way * len..][..len];
    let shaped = "the shapes of SPECS are these";
    Weights {
        input: ArrayView2::from_shape((ROWS, FILTERS), part(Name::LstmInput, ROWS * FILTERS)).expect(shaped),
        recurrent: ArrayView2::from_shape((ROWS, UNITS), part(Name::LstmRecurrent, ROWS * UNITS)).expect(shaped),
        bias: ArrayView1::from(part(Name::LstmBias, ROWS)),
    }
}

/// `[window, filter, step]` as `[step × window, filter]`.
fn sequence(values: &[f32], batch: usize, steps: usize) -> Array2<f32> {
    Array2::from_shape_fn((steps * batch, FILTERS), |(row, filter)| {
        values[((row % batch) * FILTERS + filter) * steps + row / batch]
    })
}

fn flat(parameters: &Parameters, name: Name, device: &Device) -> Tensor<1> {
    let values = parameters.get(name);
    Tensor::from_data(TensorData::new(values.to_vec(), [values.len()]), device)
}

#[cfg(test)]
mod tests {
    use rand::{RngExt as _, SeedableRng as _};

    use super::*;
    use crate::train::{
        network::smoothed,
        optimiser::{Optimiser, Pace, Rule},
    };

    /// Short windows of noise whose loudness tells the label.
    pub(super) fn batch(count: usize, seed: u64) -> Batch {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let (frames, mut windows, mut labels) = (11, Vec::new(), Vec::new());
        for index in 0..count {
            let label = index % LABELS;
            windows.extend((0..frames * VALUES).map(|_| random.random_range(-1.0..1.0) * (1.0 + label as f32)));
            labels.push(label);
        }
        let weights = [0.8, 0.9, 1.0, 1.1, 1.2, 1.3];
        let target = |&label: &usize| smoothed(label, LABELS, 0.1).map(move |target| target * weights[label]);
        let targets = labels.iter().flat_map(target).collect();
        Batch { windows, labels, targets, frames }
    }

    #[test]
    fn gradients_are_the_slopes_of_the_loss() {
        let mut random = ChaCha8Rng::seed_from_u64(5);
        let parameters = parameters::initial(&mut random);
        let batch = batch(6, 1);
        // The same generator every time, so the same dropout.
        let loss =
            |parameters: &Parameters| step(&mut parameters.clone(), &batch, &mut random.clone(), &Device::flex());
        let gradients = loss(&parameters).gradients;
        for (place, (spec, gradients)) in
            SPECS.iter().zip(&gradients.0).enumerate().filter(|(_, (spec, _))| spec.trainable)
        {
            // The steepest one: its slope stands out of the rounding.
            let (index, gradient) =
                gradients.iter().enumerate().max_by(|a, b| a.1.abs().total_cmp(&b.1.abs())).unwrap();
            let at = |delta: f32| {
                let mut moved = parameters.clone();
                moved.0[place][index] += delta;
                loss(&moved).loss
            };
            let slope = (at(2e-3) - at(-2e-3)) / 4e-3;
            let gradient = f64::from(*gradient);
            assert!((slope - gradient).abs() < 0.03 * gradient.abs() + 1e-3, "{}: {slope} {gradient}", spec.name);
        }
    }

    #[test]
    fn a_few_steps_learn_a_few_windows() {
        let mut random = ChaCha8Rng::seed_from_u64(5);
        let mut parameters = parameters::initial(&mut random);
        let mut nadam = Optimiser::new(Rule::Nadam, &SPECS);
        let batch = batch(12, 2);
        let losses: Vec<f64> = (0..40)
            .map(|_| {
                let step = step(&mut parameters, &batch, &mut random, &Device::flex());
                nadam.step(&SPECS, &mut parameters, &step.gradients, Pace::at(5e-3));
                step.loss
            })
            .collect();
        assert!(losses[39] < 0.7 * losses[0], "{losses:?}");
    }
}
