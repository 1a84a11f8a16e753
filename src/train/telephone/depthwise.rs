//! Filters of one channel each: every place of the output is a weighted sum of places of the input, channel by channel.
//!
//! Which places, a [`Layout`] tells: frames of a block, or frames and bands of the stem. Forward and backward are the same for both.

use rayon::prelude::*;

use super::kernels::{sum, vectorised};

/// Windows whose share of the filter's gradient one thread sums.
const PART: usize = 8;

/// Where a filter's taps meet input and output.
pub(super) trait Layout: Copy + Sync {
    /// Taps of a channel.
    const TAPS: usize;

    /// Values of a window, in the input and in the output.
    fn sizes(self, channels: usize) -> (usize, usize);

    /// Calls `tap` with the places of output, input and tap, for every tap that lies within the window.
    fn walk(self, channels: usize, tap: impl FnMut(usize, usize, usize));
}

/// The output.
pub(super) fn forward<L: Layout>(layout: L, input: &[f32], filter: &[f32]) -> Vec<f32> {
    let channels = filter.len() / L::TAPS;
    let (window_in, window_out) = layout.sizes(channels);
    let mut out = vec![0.0; input.len() / window_in * window_out];
    out.par_chunks_mut(window_out).zip(input.par_chunks(window_in)).for_each(|(out, input)| {
        vectorised(|| {
            layout.walk(channels, |to, from, tap| {
                let values = input[from..from + channels].iter().zip(&filter[tap..tap + channels]);
                for (out, (value, weight)) in out[to..to + channels].iter_mut().zip(values) {
                    *out += value * weight;
                }
            });
        });
    });
    out
}

/// The gradients of input and filter.
pub(super) fn backward<L: Layout>(layout: L, input: &[f32], output: &[f32], filter: &[f32]) -> (Vec<f32>, Vec<f32>) {
    let channels = filter.len() / L::TAPS;
    let (window_in, window_out) = layout.sizes(channels);
    let mut by_input = vec![0.0; input.len()];
    let parts = by_input
        .par_chunks_mut(PART * window_in)
        .zip(input.par_chunks(PART * window_in))
        .zip(output.par_chunks(PART * window_out))
        .map(|((by_input, input), output)| {
            let mut by_filter = vec![0.0; filter.len()];
            let inputs = by_input.chunks_exact_mut(window_in).zip(input.chunks_exact(window_in));
            for ((by_input, input), output) in inputs.zip(output.chunks_exact(window_out)) {
                vectorised(|| {
                    layout.walk(channels, |to, from, tap| {
                        let output = &output[to..to + channels];
                        let by_input = &mut by_input[from..from + channels];
                        for ((by_input, output), weight) in
                            by_input.iter_mut().zip(output).zip(&filter[tap..tap + channels])
                        {
                            *by_input += output * weight;
                        }
                        let by_filter = &mut by_filter[tap..tap + channels];
                        for ((by_filter, output), input) in
                            by_filter.iter_mut().zip(output).zip(&input[from..from + channels])
                        {
                            *by_filter += output * input;
                        }
                    });
                });
            }
            by_filter
        })
        .collect();
    (by_input, sum(parts))
}
