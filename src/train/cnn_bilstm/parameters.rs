//! The CNN-BiLSTM's values: their names, shapes and beginnings.
//!
//! The layouts are ONNX's own: convolution `[out, in, kernel]`, LSTM `[direction, gate × unit, in]` with the gates input, output,
//! forget, cell, dense layers `[out, in]`. The beginnings are Keras's: Glorot uniform kernels, orthogonal recurrent kernels, a
//! forget gate that is open at first, zero biases.

use std::borrow::Cow;

use rand_chacha::ChaCha8Rng;

use crate::train::{
    network::{Parameters, Spec},
    recurrent::lstm::GATES,
    tensors::{glorot, orthogonal},
};

/// Values a frame of front end `thesis154`.
pub(super) const VALUES: usize = 154;
/// Filters of the convolution.
pub(super) const FILTERS: usize = 32;
/// Frames a filter sees.
pub(super) const KERNEL: usize = 3;
/// Units of the LSTM, each way.
pub(super) const UNITS: usize = 32;
/// Units of the dense layer.
pub(super) const DENSE: usize = 32;
/// Emotions told apart.
pub(super) const LABELS: usize = 6;
#[cfg(test)]
/// All values, running statistics included: the thesis's own count.
pub(super) const COUNT: usize = 33_862;

/// Which value; its number is its place in [`SPECS`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Name {
    ConvWeight,
    ConvBias,
    NormScale,
    NormShift,
    NormMean,
    NormVariance,
    LstmInput,
    LstmRecurrent,
    LstmBias,
    DenseWeight,
    DenseBias,
    OutputWeight,
    OutputBias,
}

/// Every value in the order of [`Name`].
pub(super) static SPECS: [Spec; 13] = [
    spec("conv.weight", &[FILTERS, VALUES, KERNEL], true, true),
    spec("conv.bias", &[FILTERS], false, true),
    spec("norm.scale", &[FILTERS], false, true),
    spec("norm.shift", &[FILTERS], false, true),
    spec("norm.mean", &[FILTERS], false, false),
    spec("norm.variance", &[FILTERS], false, false),
    spec("lstm.input", &[2, GATES * UNITS, FILTERS], true, true),
    spec("lstm.recurrent", &[2, GATES * UNITS, UNITS], false, true),
    spec("lstm.bias", &[2, GATES * UNITS], false, true),
    spec("dense.weight", &[DENSE, 2 * UNITS], false, true),
    spec("dense.bias", &[DENSE], false, true),
    spec("output.weight", &[LABELS, DENSE], false, true),
    spec("output.bias", &[LABELS], false, true),
];

impl From<Name> for usize {
    fn from(name: Name) -> Self {
        name as Self
    }
}

/// As Keras begins.
pub(super) fn initial(random: &mut ChaCha8Rng) -> Parameters {
    let mut all = Parameters::zeros(&SPECS);
    glorot(all.get_mut(Name::ConvWeight), VALUES * KERNEL, FILTERS * KERNEL, random);
    all.get_mut(Name::NormScale).fill(1.0);
    all.get_mut(Name::NormVariance).fill(1.0);
    for direction in 0..2 {
        let gates = GATES * UNITS;
        let input = gates * FILTERS;
        glorot(&mut all.get_mut(Name::LstmInput)[direction * input..][..input], FILTERS, gates, random);
        let recurrent = gates * UNITS;
        orthogonal(&mut all.get_mut(Name::LstmRecurrent)[direction * recurrent..][..recurrent], gates, UNITS, random);
        // Gates stand in the order input, output, forget, cell.
        all.get_mut(Name::LstmBias)[direction * gates + 2 * UNITS..][..UNITS].fill(1.0);
    }
    glorot(all.get_mut(Name::DenseWeight), 2 * UNITS, DENSE, random);
    glorot(all.get_mut(Name::OutputWeight), DENSE, LABELS, random);
    all
}

const fn spec(name: &'static str, shape: &'static [usize], decays: bool, trainable: bool) -> Spec {
    Spec { name: Cow::Borrowed(name), shape: Cow::Borrowed(shape), decays, trainable }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng as _;

    use super::*;

    #[test]
    fn the_network_has_as_many_values_as_the_thesis_says() {
        assert_eq!(SPECS.iter().map(Spec::len).sum::<usize>(), COUNT);
        assert_eq!(SPECS[Name::OutputBias as usize].name, "output.bias");
    }

    #[test]
    fn recurrent_kernels_begin_orthogonal_and_forget_gates_open() {
        let all = initial(&mut ChaCha8Rng::seed_from_u64(1));
        for recurrent in all.get(Name::LstmRecurrent).chunks_exact(GATES * UNITS * UNITS) {
            let column = |index: usize| recurrent.iter().skip(index).step_by(UNITS);
            for a in 0..UNITS {
                for b in 0..UNITS {
                    let product: f32 = column(a).zip(column(b)).map(|(x, y)| x * y).sum();
                    assert!((product - if a == b { 1.0 } else { 0.0 }).abs() < 1e-5);
                }
            }
        }
        assert_eq!(all.get(Name::LstmBias)[63..66], [0.0, 1.0, 1.0]);
        assert_eq!(all.get(Name::LstmBias)[95..97], [1.0, 0.0]);
        let limit = (6.0_f32 / (462.0 + 96.0)).sqrt();
        let widest = all.get(Name::ConvWeight).iter().fold(0.0_f32, |widest, weight| widest.max(weight.abs()));
        assert!(widest < limit && widest > 0.95 * limit);
    }
}
