//! One direction of an LSTM, fused over its gates, with its own backward pass.
//!
//! Gates stand in ONNX's order: input, output, forget, cell. With `z = x W' + h R' + b`:
//! `c = σ(f) c₋ + σ(i) tanh(g)`, `h = σ(o) tanh(c)`. The framework's differentiation would record some twenty operations a step and
//! give each step's slice a gradient as large as the whole sequence; here a step is one product each way.

use ndarray::{Array2, Axis, Slice, linalg::general_mat_mul};

use super::{Gradients, Weights, sigmoid, slice, slice_mut};

/// Input, output, forget, cell.
pub(in crate::train) const GATES: usize = 4;
/// Place of the forget gate.
pub(in crate::train) const FORGET: usize = 2;

/// What the backward pass needs of the forward pass. Rows are step × batch, steps in the order they were walked.
#[derive(Debug)]
pub(in crate::train) struct Trace {
    /// Activated gates `[step × batch, gate × unit]`.
    gates: Array2<f32>,
    /// tanh of the cells `[step × batch, unit]`.
    squashed: Array2<f32>,
    /// Cells before each step.
    cells: Array2<f32>,
    /// Hidden states before each step.
    hidden: Array2<f32>,
}

/// Walks `sequence` `[step × batch, in]` from its first step; returns the last hidden state `[batch, unit]`.
pub(in crate::train) fn forward(weights: Weights<'_>, sequence: &Array2<f32>, batch: usize) -> (Array2<f32>, Trace) {
    let (rows, units) = (sequence.nrows(), weights.recurrent.ncols());
    // Row-major transposes: the products of every step run over contiguous memory.
    let recurrent = weights.recurrent.t().as_standard_layout().into_owned();
    let mut gates = Array2::zeros((rows, GATES * units));
    gates += &weights.bias;
    general_mat_mul(1.0, sequence, &weights.input.t(), 1.0, &mut gates);
    let mut squashed = Array2::zeros((rows, units));
    let (mut cells, mut hidden) = (Array2::zeros((rows, units)), Array2::zeros((rows, units)));
    let (mut cell, mut state) = (Array2::<f32>::zeros((batch, units)), Array2::<f32>::zeros((batch, units)));
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
            let (sigmoids, candidate) = gates.split_at_mut(3 * units);
            sigmoids.iter_mut().for_each(|z| *z = sigmoid(*z));
            candidate.iter_mut().for_each(|z| *z = z.tanh());
            for unit in 0..units {
                let (input, output, forget) = (sigmoids[unit], sigmoids[units + unit], sigmoids[2 * units + unit]);
                cell[unit] = forget * cell[unit] + input * candidate[unit];
                squashed[unit] = cell[unit].tanh();
                state[unit] = output * squashed[unit];
            }
        }
    }
    (state, Trace { gates, squashed, cells, hidden })
}

/// The gradients, given that of the last hidden state `[batch, unit]`.
pub(in crate::train) fn backward(
    weights: Weights<'_>,
    sequence: &Array2<f32>,
    trace: &Trace,
    last: &Array2<f32>,
) -> Gradients {
    let (rows, batch, units) = (sequence.nrows(), last.nrows(), last.ncols());
    let mut gates = Array2::<f32>::zeros((rows, GATES * units));
    let (mut state, mut cell) = (last.clone(), Array2::<f32>::zeros((batch, units)));
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
            for unit in 0..units {
                let (input, output) = (activated[unit], activated[units + unit]);
                let (forget, candidate) = (activated[2 * units + unit], activated[3 * units + unit]);
                let through = cell[unit] + state[unit] * output * (1.0 - squashed[unit] * squashed[unit]);
                gates[unit] = through * candidate * input * (1.0 - input);
                gates[units + unit] = state[unit] * squashed[unit] * output * (1.0 - output);
                gates[2 * units + unit] = through * cells[unit] * forget * (1.0 - forget);
                gates[3 * units + unit] = through * input * (1.0 - candidate * candidate);
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
