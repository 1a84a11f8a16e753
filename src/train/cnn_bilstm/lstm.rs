//! One direction of an LSTM, fused over its gates, with its own backward pass.
//!
//! Gates stand in ONNX's order: input, output, forget, cell. With `z = x W' + h R' + b`:
//! `c = σ(f) c₋ + σ(i) tanh(g)`, `h = σ(o) tanh(c)`. The framework's differentiation would record some twenty operations a step and
//! give each step's slice a gradient as large as the whole sequence; here a step is one product each way.

use ndarray::{Array1, Array2, ArrayView1, ArrayView2, Axis, Slice, concatenate, linalg::general_mat_mul};

use super::parameters::{GATES, UNITS};

/// One direction's weights.
#[derive(Debug, Clone, Copy)]
pub(super) struct Weights<'a> {
    /// `[gate × unit, in]`.
    pub(super) input: ArrayView2<'a, f32>,
    /// `[gate × unit, unit]`.
    pub(super) recurrent: ArrayView2<'a, f32>,
    /// `[gate × unit]`.
    pub(super) bias: ArrayView1<'a, f32>,
}

/// What the backward pass needs of the forward pass. Rows are step × batch, steps in the order they were walked.
#[derive(Debug)]
pub(super) struct Trace {
    /// Activated gates `[step × batch, gate × unit]`.
    gates: Array2<f32>,
    /// tanh of the cells `[step × batch, unit]`.
    squashed: Array2<f32>,
    /// Cells before each step.
    cells: Array2<f32>,
    /// Hidden states before each step.
    hidden: Array2<f32>,
}

/// Gradients of one direction, laid out as its weights.
#[derive(Debug)]
pub(super) struct Gradients {
    /// Of the input kernel.
    pub(super) input: Array2<f32>,
    /// Of the recurrent kernel.
    pub(super) recurrent: Array2<f32>,
    /// Of the bias.
    pub(super) bias: Array1<f32>,
    /// Of the sequence `[step × batch, in]`.
    pub(super) sequence: Array2<f32>,
}

/// Walks `sequence` `[step × batch, in]` from its first step; returns the last hidden state `[batch, unit]`.
pub(super) fn forward(weights: Weights<'_>, sequence: &Array2<f32>, batch: usize) -> (Array2<f32>, Trace) {
    let rows = sequence.nrows();
    // Row-major transposes: the products of every step run over contiguous memory.
    let recurrent = weights.recurrent.t().as_standard_layout().into_owned();
    let mut gates = Array2::zeros((rows, GATES * UNITS));
    gates += &weights.bias;
    general_mat_mul(1.0, sequence, &weights.input.t(), 1.0, &mut gates);
    let mut squashed = Array2::zeros((rows, UNITS));
    let (mut cells, mut hidden) = (Array2::zeros((rows, UNITS)), Array2::zeros((rows, UNITS)));
    let (mut cell, mut state) = (Array2::<f32>::zeros((batch, UNITS)), Array2::<f32>::zeros((batch, UNITS)));
    for start in (0..rows).step_by(batch) {
        let step = Slice::from(start..start + batch);
        cells.slice_axis_mut(Axis(0), step).assign(&cell);
        hidden.slice_axis_mut(Axis(0), step).assign(&state);
        let mut gates = gates.slice_axis_mut(Axis(0), step);
        general_mat_mul(1.0, &state, &recurrent, 1.0, &mut gates);
        let mut squashed = squashed.slice_axis_mut(Axis(0), step);
        for row in 0..batch {
            let (mut gates, mut squashed) = (gates.row_mut(row), squashed.row_mut(row));
            let (gates, squashed) = (slice_mut(&mut gates), slice_mut(&mut squashed));
            let (mut cell, mut state) = (cell.row_mut(row), state.row_mut(row));
            let (cell, state) = (slice_mut(&mut cell), slice_mut(&mut state));
            let (sigmoids, candidate) = gates.split_at_mut(3 * UNITS);
            sigmoids.iter_mut().for_each(|z| *z = sigmoid(*z));
            candidate.iter_mut().for_each(|z| *z = z.tanh());
            for unit in 0..UNITS {
                let (input, output, forget) = (sigmoids[unit], sigmoids[UNITS + unit], sigmoids[2 * UNITS + unit]);
                cell[unit] = forget * cell[unit] + input * candidate[unit];
                squashed[unit] = cell[unit].tanh();
                state[unit] = output * squashed[unit];
            }
        }
    }
    (state, Trace { gates, squashed, cells, hidden })
}

/// The gradients, given that of the last hidden state `[batch, unit]`.
pub(super) fn backward(weights: Weights<'_>, sequence: &Array2<f32>, trace: &Trace, last: &Array2<f32>) -> Gradients {
    let (rows, batch) = (sequence.nrows(), last.nrows());
    let mut gates = Array2::<f32>::zeros((rows, GATES * UNITS));
    let (mut state, mut cell) = (last.clone(), Array2::<f32>::zeros((batch, UNITS)));
    for start in (0..rows).step_by(batch).rev() {
        for row in 0..batch {
            let at = start + row;
            let (activated, squashed) = (trace.gates.row(at), trace.squashed.row(at));
            let (activated, squashed) = (slice(&activated), slice(&squashed));
            let cells = trace.cells.row(at);
            let cells = slice(&cells);
            let (mut gates, mut cell) = (gates.row_mut(at), cell.row_mut(row));
            let (gates, cell) = (slice_mut(&mut gates), slice_mut(&mut cell));
            let state = state.row(row);
            let state = slice(&state);
            for unit in 0..UNITS {
                let (input, output) = (activated[unit], activated[UNITS + unit]);
                let (forget, candidate) = (activated[2 * UNITS + unit], activated[3 * UNITS + unit]);
                let through = cell[unit] + state[unit] * output * (1.0 - squashed[unit] * squashed[unit]);
                gates[unit] = through * candidate * input * (1.0 - input);
                gates[UNITS + unit] = state[unit] * squashed[unit] * output * (1.0 - output);
                gates[2 * UNITS + unit] = through * cells[unit] * forget * (1.0 - forget);
                gates[3 * UNITS + unit] = through * input * (1.0 - candidate * candidate);
                cell[unit] = through * forget;
            }
        }
        let gates = gates.slice_axis(Axis(0), Slice::from(start..start + batch));
        general_mat_mul(1.0, &gates, &weights.recurrent, 0.0, &mut state);
    }
    Gradients {
        input: gates.t().dot(sequence),
        recurrent: gates.t().dot(&trace.hidden),
        bias: gates.sum_axis(Axis(0)),
        sequence: gates.dot(&weights.input),
    }
}

/// The steps of `sequence` `[step × batch, in]` in reverse order, the batch's order kept.
pub(super) fn reversed(sequence: &Array2<f32>, batch: usize) -> Array2<f32> {
    let steps: Vec<_> = sequence.axis_chunks_iter(Axis(0), batch).rev().collect();
    concatenate(Axis(0), &steps).expect("chunks of one array have one width")
}

fn sigmoid(z: f32) -> f32 {
    1.0 / (1.0 + (-z).exp())
}

fn slice<'a>(row: &'a ArrayView1<'_, f32>) -> &'a [f32] {
    row.as_slice().expect("rows of owned row-major arrays are contiguous")
}

fn slice_mut<'a>(row: &'a mut ndarray::ArrayViewMut1<'_, f32>) -> &'a mut [f32] {
    row.as_slice_mut().expect("rows of owned row-major arrays are contiguous")
}

#[cfg(test)]
mod tests {
    use rand::{RngExt as _, SeedableRng as _};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    const STEPS: usize = 4;
    const BATCH: usize = 2;
    const INPUTS: usize = 3;

    fn random(shape: (usize, usize), random: &mut ChaCha8Rng) -> Array2<f32> {
        Array2::from_shape_simple_fn(shape, || random.random_range(-1.0..1.0))
    }

    /// The sum of the last state, weighted so that every element's gradient differs.
    fn loss(weights: Weights<'_>, sequence: &Array2<f32>, last: &Array2<f32>) -> f64 {
        let (state, _) = forward(weights, sequence, BATCH);
        state.iter().zip(last).map(|(a, b)| f64::from(a * b)).sum()
    }

    #[test]
    fn gradients_are_the_slopes_of_the_loss() {
        let mut chance = ChaCha8Rng::seed_from_u64(7);
        let mut input = random((GATES * UNITS, INPUTS), &mut chance);
        let mut recurrent = random((GATES * UNITS, UNITS), &mut chance) * 0.3;
        let mut bias = random((1, GATES * UNITS), &mut chance).remove_axis(Axis(0));
        let mut sequence = random((STEPS * BATCH, INPUTS), &mut chance);
        let last = random((BATCH, UNITS), &mut chance);
        let gradients = {
            let weights = Weights { input: input.view(), recurrent: recurrent.view(), bias: bias.view() };
            let (_, trace) = forward(weights, &sequence, BATCH);
            backward(weights, &sequence, &trace, &last)
        };
        let step = 1e-2_f32;
        macro_rules! slopes {
            ($array:ident, $gradient:expr) => {
                for index in (0..$array.len()).step_by(37) {
                    let mut at = |delta: f32| {
                        let value = $array.iter_mut().nth(index).unwrap();
                        let before = *value;
                        *value += delta;
                        let weights = Weights { input: input.view(), recurrent: recurrent.view(), bias: bias.view() };
                        let loss = loss(weights, &sequence, &last);
                        *$array.iter_mut().nth(index).unwrap() = before;
                        loss
                    };
                    let slope = (at(step) - at(-step)) / (2.0 * f64::from(step));
                    let gradient = f64::from(*$gradient.iter().nth(index).unwrap());
                    assert!((slope - gradient).abs() < 2e-3, "{} {index}: {slope} {gradient}", stringify!($array));
                }
            };
        }
        slopes!(input, gradients.input);
        slopes!(recurrent, gradients.recurrent);
        slopes!(bias, gradients.bias);
        slopes!(sequence, gradients.sequence);
    }

    #[test]
    fn reversing_twice_changes_nothing() {
        let sequence = random((STEPS * BATCH, INPUTS), &mut ChaCha8Rng::seed_from_u64(3));
        let once = reversed(&sequence, BATCH);
        assert_eq!(once.row(1), sequence.row((STEPS - 1) * BATCH + 1));
        assert_eq!(reversed(&once, BATCH), sequence);
    }
}
