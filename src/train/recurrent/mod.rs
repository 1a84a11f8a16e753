//! What walks a sequence step by step: one direction of an LSTM or a GRU, fused over its gates.

use ndarray::{Array1, Array2, ArrayView1, ArrayView2, Axis, concatenate};

pub(super) mod gru;
pub(super) mod lstm;

/// Which kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cell {
    /// [`lstm`].
    Lstm,
    /// [`gru`].
    Gru,
}

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

/// What the backward pass needs of the forward pass.
#[derive(Debug)]
pub(super) enum Trace {
    Lstm(lstm::Trace),
    Gru(gru::Trace),
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

impl Cell {
    /// How many gates it has.
    pub(super) fn gates(self) -> usize {
        match self {
            Self::Lstm => lstm::GATES,
            Self::Gru => gru::GATES,
        }
    }

    /// Walks `sequence` `[step × batch, in]` from its first step; returns the last hidden state `[batch, unit]`.
    pub(super) fn forward(self, weights: Weights<'_>, sequence: &Array2<f32>, batch: usize) -> (Array2<f32>, Trace) {
        match self {
            Self::Lstm => {
                let (state, trace) = lstm::forward(weights, sequence, batch);
                (state, Trace::Lstm(trace))
            }
            Self::Gru => {
                let (state, trace) = gru::forward(weights, sequence, batch);
                (state, Trace::Gru(trace))
            }
        }
    }
}

impl Trace {
    /// The gradients, given that of the last hidden state `[batch, unit]`.
    pub(super) fn backward(&self, weights: Weights<'_>, sequence: &Array2<f32>, last: &Array2<f32>) -> Gradients {
        match self {
            Self::Lstm(trace) => lstm::backward(weights, sequence, trace, last),
            Self::Gru(trace) => gru::backward(weights, sequence, trace, last),
        }
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

    const UNITS: usize = 5;
    const STEPS: usize = 4;
    const BATCH: usize = 2;
    const INPUTS: usize = 3;

    fn random(shape: (usize, usize), random: &mut ChaCha8Rng) -> Array2<f32> {
        Array2::from_shape_simple_fn(shape, || random.random_range(-1.0..1.0))
    }

    /// The sum of the last state, weighted so that every element's gradient differs.
    fn loss(cell: Cell, weights: Weights<'_>, sequence: &Array2<f32>, last: &Array2<f32>) -> f64 {
        let (state, _) = cell.forward(weights, sequence, BATCH);
        state.iter().zip(last).map(|(a, b)| f64::from(a * b)).sum()
    }

    #[test]
    fn gradients_are_the_slopes_of_the_loss() {
        slopes_of(Cell::Lstm);
        slopes_of(Cell::Gru);
    }

    fn slopes_of(cell: Cell) {
        let gates = cell.gates();
        let mut chance = ChaCha8Rng::seed_from_u64(7);
        let mut input = random((gates * UNITS, INPUTS), &mut chance);
        let mut recurrent = random((gates * UNITS, UNITS), &mut chance) * 0.3;
        let mut bias = random((1, gates * UNITS), &mut chance).remove_axis(Axis(0));
        let mut sequence = random((STEPS * BATCH, INPUTS), &mut chance);
        let last = random((BATCH, UNITS), &mut chance);
        let gradients = {
            let weights = Weights { input: input.view(), recurrent: recurrent.view(), bias: bias.view() };
            let (_, trace) = cell.forward(weights, &sequence, BATCH);
            trace.backward(weights, &sequence, &last)
        };
        let step = 1e-2_f32;
        macro_rules! slopes {
            ($array:ident, $gradient:expr) => {
                for index in (0..$array.len()).step_by(3) {
                    let mut at = |delta: f32| {
                        let value = $array.iter_mut().nth(index).unwrap();
                        let before = *value;
                        *value += delta;
                        let weights = Weights { input: input.view(), recurrent: recurrent.view(), bias: bias.view() };
                        let loss = loss(cell, weights, &sequence, &last);
                        *$array.iter_mut().nth(index).unwrap() = before;
                        loss
                    };
                    let slope = (at(step) - at(-step)) / (2.0 * f64::from(step));
                    let gradient = f64::from(*$gradient.iter().nth(index).unwrap());
                    assert!(
                        (slope - gradient).abs() < 2e-3,
                        "{cell:?} {} {index}: {slope} {gradient}",
                        stringify!($array)
                    );
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
