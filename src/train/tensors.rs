//! What networks share: where their values begin, dropout, running statistics.

use burn::tensor::Tensor;
use rand::RngExt as _;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution as _, StandardNormal};

/// Keras's epsilon of BatchNormalization.
pub(super) const NORM_EPSILON: f32 = 1e-3;
/// Part of the running statistics that a batch leaves as it was: Keras's momentum.
const NORM_MOMENTUM: f32 = 0.99;

/// Uniform within ±√(6 / (in + out)) (Glorot and Bengio, 2010).
pub(super) fn glorot(weights: &mut [f32], fan_in: usize, fan_out: usize, random: &mut ChaCha8Rng) {
    let limit = (6.0 / (fan_in + fan_out) as f32).sqrt();
    weights.fill_with(|| random.random_range(-limit..limit));
}

/// `rows` × `columns` with orthonormal columns, by Gram and Schmidt from normal numbers (Saxe et al., 2014).
pub(super) fn orthogonal(weights: &mut [f32], rows: usize, columns: usize, random: &mut ChaCha8Rng) {
    let mut basis: Vec<Vec<f64>> = Vec::with_capacity(columns);
    while basis.len() < columns {
        let mut column: Vec<f64> = (0..rows).map(|_| StandardNormal.sample(random)).collect();
        // Twice, because once leaves the rounding of nearly parallel vectors behind.
        for _ in 0..2 {
            for other in &basis {
                let along: f64 = column.iter().zip(other).map(|(a, b)| a * b).sum();
                column.iter_mut().zip(other).for_each(|(a, b)| *a -= along * b);
            }
        }
        let norm = column.iter().map(|a| a * a).sum::<f64>().sqrt();
        column.iter_mut().for_each(|a| *a /= norm);
        basis.push(column);
    }
    for (row, weights) in weights.chunks_exact_mut(columns).enumerate() {
        for (weight, column) in weights.iter_mut().zip(&basis) {
            *weight = column[row] as f32;
        }
    }
}

/// What values are multiplied by so that the part `dropped` of them is not there and their mean stays.
pub(super) fn dropout(len: usize, dropped: f32, random: &mut ChaCha8Rng) -> Vec<f32> {
    let kept = 1.0 / (1.0 - dropped);
    (0..len).map(|_| if random.random::<f32>() < dropped { 0.0 } else { kept }).collect()
}

/// Moves running statistics towards those of a batch.
pub(super) fn follow(running: &mut [f32], batch: &[f32]) {
    for (running, batch) in running.iter_mut().zip(batch) {
        *running = NORM_MOMENTUM * *running + (1.0 - NORM_MOMENTUM) * batch;
    }
}

/// A tensor's values, row by row.
pub(super) fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().try_into_vec().expect("every tensor here is of f32")
}
