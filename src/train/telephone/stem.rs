//! The stem: strided filters over frames and bands that leave a quarter of the frames and an eighth of the bands.
//!
//! Conv 5×5 / 2 → norm, ReLU → depthwise 3×3, bands / 2 → 1×1 → norm, ReLU → depthwise 3×3 / 2 → 1×1 → norm, ReLU. Activations are
//! `[window, frame, band, channel]`.

use rayon::prelude::*;

use super::{
    depthwise::{self, Layout},
    kernels::{product, product_of_rows, product_transposed, sum},
    norm::{self, Norm},
    parameters::{BANDS, KERNEL, STEM_FIRST, STEM_LATER, STEM_TAPS},
};
use crate::train::network::Parameters;

/// Windows whose gradients one thread sums.
const PART: usize = 8;

/// What the backward pass needs.
#[derive(Debug)]
pub(super) struct Trace {
    frames: usize,
    first: norm::Trace,
    later: [Later; 2],
}

#[derive(Debug)]
struct Later {
    shape: Shape,
    input: Vec<f32>,
    filtered: Vec<f32>,
    norm: norm::Trace,
}

/// A depthwise filter's input and output.
#[derive(Debug, Clone, Copy)]
struct Shape {
    frames: usize,
    bands: usize,
    channels: usize,
    /// Frames it goes on by; bands it always halves.
    stride: usize,
}

const FIRST_NORM: Norm = Norm { place: STEM_FIRST + 1, rectified: true };

const fn later_norm(index: usize) -> Norm {
    Norm { place: STEM_LATER[index] + 2, rectified: true }
}

/// Frames that the stem leaves.
pub(super) fn frames_out(frames: usize) -> usize {
    frames.div_ceil(2).div_ceil(2)
}

/// By the running statistics; `[window, frame, band × channel]`.
pub(super) fn apply(parameters: &Parameters, windows: &[f32], frames: usize) -> Vec<f32> {
    let mut values = convolve(parameters, windows, frames);
    FIRST_NORM.apply(parameters, &mut values);
    for (index, shape) in shapes(parameters, frames).into_iter().enumerate() {
        let place = STEM_LATER[index];
        let filtered = depthwise::forward(shape, &values, parameters.get(place));
        values = product(&filtered, parameters.get(place + 1), shape.channels, shape.columns(parameters, index));
        later_norm(index).apply(parameters, &mut values);
    }
    values
}

/// The same by the batch's statistics.
pub(super) fn forward(parameters: &mut Parameters, windows: &[f32], frames: usize) -> (Vec<f32>, Trace) {
    let convolved = convolve(parameters, windows, frames);
    let (mut values, first) = FIRST_NORM.forward(parameters, convolved);
    let later = shapes(parameters, frames).map(|shape| {
        let index = shape.stride - 1;
        let place = STEM_LATER[index];
        let filtered = depthwise::forward(shape, &values, parameters.get(place));
        let mixed = product(&filtered, parameters.get(place + 1), shape.channels, shape.columns(parameters, index));
        let (output, norm) = later_norm(index).forward(parameters, mixed);
        let input = std::mem::replace(&mut values, output);
        Later { shape, input, filtered, norm }
    });
    (values, Trace { frames, first, later })
}

/// Puts the gradients of the stem's values into `gradients`.
pub(super) fn backward(
    parameters: &Parameters,
    windows: &[f32],
    trace: Trace,
    output: Vec<f32>,
    gradients: &mut Parameters,
) {
    let Trace { frames, first, later } = trace;
    let mut gradient = output;
    for (index, Later { shape, input, filtered, norm }) in later.into_iter().enumerate().rev() {
        let place = STEM_LATER[index];
        let mixed = later_norm(index).backward(parameters, norm, gradient, gradients);
        let columns = shape.columns(parameters, index);
        gradients.0[place + 1] = product_of_rows(&filtered, &mixed, shape.channels, columns);
        let filtered = product_transposed(&mixed, parameters.get(place + 1), shape.channels, columns);
        let (input, filter) = depthwise::backward(shape, &input, &filtered, parameters.get(place));
        gradients.0[place] = filter;
        gradient = input;
    }
    let convolved = FIRST_NORM.backward(parameters, first, gradient, gradients);
    gradients.0[STEM_FIRST] = convolve_back(windows, &convolved, frames, parameters.get(STEM_FIRST + 1).len());
}

fn shapes(parameters: &Parameters, frames: usize) -> [Shape; 2] {
    let width = parameters.get(STEM_FIRST + 1).len();
    let frames = frames.div_ceil(2);
    [
        Shape { frames, bands: BANDS / 2, channels: width, stride: 1 },
        Shape { frames, bands: BANDS / 4, channels: 2 * width, stride: 2 },
    ]
}

/// `[window, frame / 2, band / 2, channel]`.
fn convolve(parameters: &Parameters, windows: &[f32], frames: usize) -> Vec<f32> {
    let width = parameters.get(STEM_FIRST + 1).len();
    let rows = frames.div_ceil(2) * BANDS / 2;
    let mut out = vec![0.0; windows.len() / (frames * BANDS) * rows * width];
    out.par_chunks_mut(rows * width).zip(windows.par_chunks(frames * BANDS)).for_each(|(out, window)| {
        let patches = patches(window, frames);
        out.copy_from_slice(&product(&patches, parameters.get(STEM_FIRST), KERNEL * KERNEL, width));
    });
    out
}

fn convolve_back(windows: &[f32], output: &[f32], frames: usize, width: usize) -> Vec<f32> {
    let rows = frames.div_ceil(2) * BANDS / 2;
    let parts = windows
        .par_chunks(PART * frames * BANDS)
        .zip(output.par_chunks(PART * rows * width))
        .map(|(windows, output)| {
            let of_windows = windows.chunks(frames * BANDS).zip(output.chunks(rows * width));
            let each = of_windows
                .map(|(window, output)| product_of_rows(&patches(window, frames), output, KERNEL * KERNEL, width));
            sum(each.collect())
        })
        .collect();
    sum(parts)
}

/// What the first filter sees at each place, `[frame / 2 × band / 2, tap]`, zeros around the window.
fn patches(window: &[f32], frames: usize) -> Vec<f32> {
    const MARGIN: usize = KERNEL / 2;
    const WIDE: usize = BANDS + 2 * MARGIN;
    let mut padded = vec![0.0; (frames + 2 * MARGIN) * WIDE];
    for (row, frame) in padded.chunks_exact_mut(WIDE).skip(MARGIN).zip(window.chunks_exact(BANDS)) {
        row[MARGIN..MARGIN + BANDS].copy_from_slice(frame);
    }
    let (frames, bands) = (frames.div_ceil(2), BANDS / 2);
    let mut patches = vec![0.0; frames * bands * KERNEL * KERNEL];
    for (place, patch) in patches.chunks_exact_mut(KERNEL * KERNEL).enumerate() {
        let corner = place / bands * 2 * WIDE + place % bands * 2;
        for (tap, row) in patch.chunks_exact_mut(KERNEL).enumerate() {
            row.copy_from_slice(&padded[corner + tap * WIDE..][..KERNEL]);
        }
    }
    patches
}

impl Shape {
    fn frames_out(self) -> usize {
        self.frames.div_ceil(self.stride)
    }

    fn bands_out(self) -> usize {
        self.bands / 2
    }

    /// Columns of the matrix behind the filter.
    fn columns(self, parameters: &Parameters, index: usize) -> usize {
        parameters.get(STEM_LATER[index] + 2).len()
    }
}

impl Layout for Shape {
    const TAPS: usize = STEM_TAPS * STEM_TAPS;

    fn sizes(self, channels: usize) -> (usize, usize) {
        (self.frames * self.bands * channels, self.frames_out() * self.bands_out() * channels)
    }

    #[inline(always)]
    fn walk(self, channels: usize, mut tap: impl FnMut(usize, usize, usize)) {
        for frame in 0..self.frames_out() {
            for band in 0..self.bands_out() {
                let out = (frame * self.bands_out() + band) * channels;
                for along in 0..STEM_TAPS {
                    let Some(from) = (frame * self.stride + along).checked_sub(1).filter(|&from| from < self.frames)
                    else {
                        continue;
                    };
                    for across in 0..STEM_TAPS {
                        // The last tap of the last band lies within: bands are even in number.
                        let Some(at) = (2 * band + across).checked_sub(1) else { continue };
                        let input = (from * self.bands + at) * channels;
                        tap(out, input, (along * STEM_TAPS + across) * channels);
                    }
                }
            }
        }
    }
}
