//! The telephone network's values: their places, shapes and beginnings.
//!
//! Activations are laid out channels last, so matrices are `[in, out]` and depthwise filters `[tap, channel]`. The beginnings are
//! PyTorch's: uniform within ±1 / √inputs.

use std::borrow::Cow;

use rand::RngExt as _;
use rand_chacha::ChaCha8Rng;

use crate::train::network::{Parameters, Spec};

/// Bands of a frame that the network takes.
pub(super) const BANDS: usize = 96;
/// Bands that the stem leaves: it halves them three times.
pub(super) const STEM_BANDS: usize = BANDS / 8;
/// Emotions told apart.
pub(super) const LABELS: usize = 6;
/// Taps of the first filter, each way.
pub(super) const KERNEL: usize = 5;
/// Taps of the stem's depthwise filters, each way.
pub(super) const STEM_TAPS: usize = 3;
/// Taps of a block's depthwise filter.
pub(super) const TAPS: usize = 7;
/// Frames of the stem's output between the taps of each block.
pub(super) const DILATIONS: [usize; 4] = [1, 1, 2, 2];
/// Units between frames and their attention.
pub(super) const ATTENTION: usize = 64;

/// The first filter; its normalisation follows.
pub(super) const STEM_FIRST: usize = 0;
/// The stem's depthwise filter, matrix and normalisation, twice.
pub(super) const STEM_LATER: [usize; 2] = [STEM_FIRST + 5, STEM_FIRST + 11];
/// Matrix and bias.
pub(super) const PROJECT: usize = 17;
/// Of a block: filter, normalisation, matrix and bias up, matrix and bias down.
const BLOCK_VALUES: usize = 9;
/// Attention's two matrices with their biases, normalisation, output matrix and bias.
pub(super) const POOL: usize = PROJECT + 2 + DILATIONS.len() * BLOCK_VALUES;

/// Where a block's values begin.
pub(super) const fn block(index: usize) -> usize {
    PROJECT + 2 + index * BLOCK_VALUES
}

/// Channels of the blocks for a stem of `width` filters.
pub(super) fn channels(width: usize) -> usize {
    8 * width
}

/// Every value of the network of `width` filters, in order.
pub(super) fn specs(width: usize) -> Vec<Spec> {
    let channels = channels(width);
    let mut specs = vec![spec("stem.0.weight", &[KERNEL * KERNEL, width], true)];
    norm(&mut specs, "stem.0", width);
    for (name, from) in [("stem.1", width), ("stem.2", 2 * width)] {
        specs.push(spec(format!("{name}.depth"), &[STEM_TAPS * STEM_TAPS, from], true));
        specs.push(spec(format!("{name}.weight"), &[from, 2 * width], true));
        norm(&mut specs, name, 2 * width);
    }
    specs.push(spec("project.weight", &[STEM_BANDS * 2 * width, channels], true));
    specs.push(spec("project.bias", &[channels], true));
    for index in 0..DILATIONS.len() {
        let name = |part| format!("block.{index}.{part}");
        specs.push(spec(name("depth"), &[TAPS, channels], true));
        norm(&mut specs, &format!("block.{index}"), channels);
        specs.push(spec(name("up.weight"), &[channels, 2 * channels], true));
        specs.push(spec(name("up.bias"), &[2 * channels], true));
        specs.push(spec(name("down.weight"), &[2 * channels, channels], true));
        specs.push(spec(name("down.bias"), &[channels], true));
    }
    specs.push(spec("attention.0.weight", &[channels, ATTENTION], true));
    specs.push(spec("attention.0.bias", &[ATTENTION], true));
    specs.push(spec("attention.1.weight", &[ATTENTION, channels], true));
    specs.push(spec("attention.1.bias", &[channels], true));
    norm(&mut specs, "pool", 2 * channels);
    specs.push(spec("output.weight", &[2 * channels, LABELS], true));
    specs.push(spec("output.bias", &[LABELS], true));
    specs
}

/// Where training begins.
pub(super) fn initial(specs: &[Spec], random: &mut ChaCha8Rng) -> Parameters {
    let mut all = Parameters::zeros(specs);
    let mut inputs = 1;
    for (spec, values) in specs.iter().zip(&mut all.0) {
        match spec.name.rsplit('.').next() {
            Some("scale" | "variance") => values.fill(1.0),
            Some("shift" | "mean") => {}
            last => {
                // A bias stands behind its matrix and begins within the same bounds; a depthwise filter sees its taps only.
                if last != Some("bias") {
                    inputs = spec.shape[0];
                }
                let limit = 1.0 / (inputs as f32).sqrt();
                values.fill_with(|| random.random_range(-limit..limit));
            }
        }
    }
    all
}

fn norm(specs: &mut Vec<Spec>, name: &str, channels: usize) {
    for (part, trainable) in [("scale", true), ("shift", true), ("mean", false), ("variance", false)] {
        specs.push(spec(format!("{name}.norm.{part}"), &[channels], trainable));
    }
}

fn spec(name: impl Into<Cow<'static, str>>, shape: &[usize], trainable: bool) -> Spec {
    Spec { name: name.into(), shape: Cow::Owned(shape.to_vec()), decays: false, trainable }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_where_the_names_say() {
        let specs = specs(24);
        let name = |place: usize| &*specs[place].name;
        assert_eq!([name(STEM_LATER[0]), name(STEM_LATER[1])], ["stem.1.depth", "stem.2.depth"]);
        assert_eq!(
            [name(PROJECT), name(block(3)), name(POOL)],
            ["project.weight", "block.3.depth", "attention.0.weight"]
        );
        assert_eq!(name(specs.len() - 1), "output.bias");
        let trainable: usize = specs.iter().filter(|spec| spec.trainable).map(Spec::len).sum();
        assert_eq!(trainable, 742_678);
    }
}
