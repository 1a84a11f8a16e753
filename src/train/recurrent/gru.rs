//! One direction of a gated recurrent unit, fused over its gates, with its own backward pass.
//!
//! Gates stand in ONNX's order: update, reset, candidate. With `x W' + b` and `h R'` side by side and `q` the candidate's part of the
//! latter: `n = tanh(xₙ + σ(r) q)`, `h = (1 - σ(z)) n + σ(z) h₋`. That is ONNX's `linear_before_reset`: a step is one product each way.

use ndarray::{Array2, Axis, Slice, linalg::general_mat_mul};

use super::{Gradients, Weights, sigmoid, slice, slice_mut};

/// Update, reset, candidate.
pub(in crate::train) const GATES: usize = 3;

/// What the backward pass needs of the forward pass. Rows are step × batch, steps in the order they were walked.
#[derive(Debug)]
pub(in crate::train) struct Trace {
    /// Activated gates `[step × batch, gate × unit]`.
    gates: Array2<f32>,
    /// What the hidden states gave each candidate before its reset `[step × batch, unit]`.
    offered: Array2<f32>,
    /// Hidden states before each step.
    hidden: Array2<f32>,
}

/// Walks `sequence` `[step × batch, in]` from its first step; returns the last hidden state `[batch, unit]`.
pub(in crate::train) fn forward(weights: Weights<'_>, sequence: &Array2<f32>, batch: usize) -> (Array2<f32>, Trace) {
    let (rows, units) = (sequence.nrows(), weights.recurrent.ncols());
    let recurrent = weights.recurrent.t().as_standard_layout().into_owned();
    let mut gates = Array2::zeros((rows, GATES * units));
    gates += &weights.bias;
    general_mat_mul(1.0, sequence, &weights.input.t(), 1.0, &mut gates);
    let (mut offered, mut hidden) = (Array2::zeros((rows, units)), Array2::zeros((rows, units)));
    let (mut state, mut back) = (Array2::<f32>::zeros((batch, units)), Array2::zeros((batch, GATES * units)));
    for start in (0..rows).step_by(batch) {
        hidden.slice_axis_mut(Axis(0), Slice::from(start..start + batch)).assign(&state);
        general_mat_mul(1.0, &state, &recurrent, 0.0, &mut back);
        for row in 0..batch {
            let (mut gates, mut offered) = (gates.row_mut(start + row), offered.row_mut(start + row));
            let (gates, offered) = (slice_mut(&mut gates), slice_mut(&mut offered));
            let (back, mut state) = (back.row(row), state.row_mut(row));
            let (back, state) = (slice(&back), slice_mut(&mut state));
            offered.copy_from_slice(&back[2 * units..]);
            for unit in 0..units {
                let update = sigmoid(gates[unit] + back[unit]);
                let reset = sigmoid(gates[units + unit] + back[units + unit]);
                let candidate = (gates[2 * units + unit] + reset * offered[unit]).tanh();
                state[unit] = (1.0 - update) * candidate + update * state[unit];
                (gates[unit], gates[units + unit], gates[2 * units + unit]) = (update, reset, candidate);
            }
        }
    }
    (state, Trace { gates, offered, hidden })
}

/// The gradients, given that of the last hidden state `[batch, unit]`.
pub(in crate::train) fn backward(
    weights: Weights<'_>,
    sequence: &Array2<f32>,
    trace: &Trace,
    last: &Array2<f32>,
) -> Gradients {
    let (rows, batch, units) = (sequence.nrows(), last.nrows(), last.ncols());
    // By what came of the sequence, and by what came of the hidden states: the candidate's differ by its reset.
    let (mut gates, mut back) =
        (Array2::<f32>::zeros((rows, GATES * units)), Array2::<f32>::zeros((rows, GATES * units)));
    let mut state = last.clone();
    for start in (0..rows).step_by(batch).rev() {
        for row in 0..batch {
            let at = start + row;
            let (activated, offered, hidden) = (trace.gates.row(at), trace.offered.row(at), trace.hidden.row(at));
            let (activated, offered, hidden) = (slice(&activated), slice(&offered), slice(&hidden));
            let (mut gates, mut back, mut state) = (gates.row_mut(at), back.row_mut(at), state.row_mut(row));
            let (gates, back, state) = (slice_mut(&mut gates), slice_mut(&mut back), slice_mut(&mut state));
            for unit in 0..units {
                let (update, reset, candidate) =
                    (activated[unit], activated[units + unit], activated[2 * units + unit]);
                let inner = state[unit] * (1.0 - update) * (1.0 - candidate * candidate);
                gates[unit] = state[unit] * (hidden[unit] - candidate) * update * (1.0 - update);
                gates[units + unit] = inner * offered[unit] * reset * (1.0 - reset);
                gates[2 * units + unit] = inner;
                (back[unit], back[units + unit], back[2 * units + unit]) =
                    (gates[unit], gates[units + unit], inner * reset);
                state[unit] *= update;
            }
        }
        let back = back.slice_axis(Axis(0), Slice::from(start..start + batch));
        general_mat_mul(1.0, &back, &weights.recurrent, 1.0, &mut state);
    }
    Gradients {
        input: gates.t().dot(sequence),
        recurrent: back.t().dot(&trace.hidden),
        bias: gates.sum_axis(Axis(0)),
        sequence: gates.dot(&weights.input),
    }
}
