//! What the network computes with: products of matrices, filters of one channel each, and loops compiled for the widest vectors
//! that this processor has.
//!
//! The framework's general convolutions and its record of every operation cost several times as much on a processor; each layer here has
//! its own backward pass instead. Work is divided into parts of a fixed size, so that sums are the same whatever the number of threads.

use ndarray::{ArrayView2, ArrayViewMut2, linalg::general_mat_mul};
use rayon::prelude::*;

/// Rows of a product that one thread takes at a time.
const ROWS: usize = 1_024;
/// Parts that a sum over all rows is made of.
const PARTS: usize = 8;

/// Runs `work` compiled for the widest vectors there are.
#[inline(always)]
pub(super) fn vectorised<R>(work: impl FnOnce() -> R) -> R {
    pulp::Arch::new().dispatch(work)
}

/// `out [rows, n] = a [rows, k] · b [k, n]`.
pub(super) fn product(a: &[f32], b: &[f32], k: usize, n: usize) -> Vec<f32> {
    multiply(a, &view(b, k, n), k, n)
}

/// `out [rows, k] = a [rows, n] · bᵀ` for `b [k, n]`.
pub(super) fn product_transposed(a: &[f32], b: &[f32], k: usize, n: usize) -> Vec<f32> {
    multiply(a, &view(b, k, n).reversed_axes(), n, k)
}

fn multiply(a: &[f32], b: &ArrayView2<'_, f32>, inner: usize, columns: usize) -> Vec<f32> {
    let mut out = vec![0.0; a.len() / inner * columns];
    out.par_chunks_mut(ROWS * columns).zip(a.par_chunks(ROWS * inner)).for_each(|(out, a)| {
        let rows = a.len() / inner;
        general_mat_mul(1.0, &view(a, rows, inner), b, 0.0, &mut view_mut(out, rows, columns));
    });
    out
}

/// `out [k, n] = aᵀ · b` for `a [rows, k]`, `b [rows, n]`: the gradient of a matrix.
pub(super) fn product_of_rows(a: &[f32], b: &[f32], k: usize, n: usize) -> Vec<f32> {
    let rows = a.len() / k;
    let part = rows.div_ceil(PARTS).max(1);
    let parts: Vec<Vec<f32>> = a
        .par_chunks(part * k)
        .zip(b.par_chunks(part * n))
        .map(|(a, b)| {
            let rows = a.len() / k;
            let mut out = vec![0.0; k * n];
            general_mat_mul(
                1.0,
                &view(a, rows, k).reversed_axes(),
                &view(b, rows, n),
                0.0,
                &mut view_mut(&mut out, k, n),
            );
            out
        })
        .collect();
    sum(parts)
}

/// Adds `bias` to every row.
pub(super) fn add_bias(rows: &mut [f32], bias: &[f32]) {
    rows.par_chunks_mut(ROWS * bias.len()).for_each(|rows| {
        vectorised(|| {
            for row in rows.chunks_exact_mut(bias.len()) {
                row.iter_mut().zip(bias).for_each(|(value, bias)| *value += bias);
            }
        });
    });
}

/// The sum of all rows: the gradient of a bias.
pub(super) fn sum_rows(rows: &[f32], columns: usize) -> Vec<f32> {
    let part = (rows.len() / columns).div_ceil(PARTS).max(1) * columns;
    let parts: Vec<Vec<f32>> = rows
        .par_chunks(part)
        .map(|rows| {
            let mut sums = vec![0.0; columns];
            vectorised(|| {
                for row in rows.chunks_exact(columns) {
                    sums.iter_mut().zip(row).for_each(|(sum, value)| *sum += value);
                }
            });
            sums
        })
        .collect();
    sum(parts)
}

/// Adds `other` to `values`.
pub(super) fn add(values: &mut [f32], other: &[f32]) {
    vectorised(|| values.iter_mut().zip(other).for_each(|(value, other)| *value += other));
}

/// The sum of parts of equal length, in their order.
pub(super) fn sum(parts: Vec<Vec<f32>>) -> Vec<f32> {
    let mut parts = parts.into_iter();
    let mut total = parts.next().unwrap_or_default();
    parts.for_each(|part| add(&mut total, &part));
    total
}

fn view(values: &[f32], rows: usize, columns: usize) -> ArrayView2<'_, f32> {
    ArrayView2::from_shape((rows, columns), values).expect("the slice is of this shape")
}

fn view_mut(values: &mut [f32], rows: usize, columns: usize) -> ArrayViewMut2<'_, f32> {
    ArrayViewMut2::from_shape((rows, columns), values).expect("the slice is of this shape")
}
