//! The gate's network: a block's values → what the block is, and what earlier blocks were, now that more was heard.
//!
//! Dense [`VALUES`] → [`WIDTH`], ReLU; then [`DILATIONS`]`.len()` layers, each adding to what it was given
//! ReLU(dense(depthwise causal convolution of [`TAPS`] blocks, so many blocks apart)); then one dense head for each of [`LAGS`]: head `l`
//! tells what the block `l` blocks ago was. It has heard the last 3 s.

use pulp::Arch;

use super::measure::VALUES;

/// Units of every layer.
pub const WIDTH: usize = 32;
/// Blocks that a layer's convolution looks at.
pub const TAPS: usize = 4;
/// How far apart they are, layer by layer.
pub const DILATIONS: [usize; 4] = [1, 2, 4, 8];
/// How many blocks back each head looks: 0, 192, 384 and 768 ms.
pub const LAGS: [usize; 4] = [0, 3, 6, 12];
/// What is told apart, in the order of a head's logits.
pub const CLASSES: usize = 4;
/// A network's numbers.
pub const PARAMETERS: usize =
    2 * VALUES + VALUES * WIDTH + WIDTH + DILATIONS.len() * LAYER + WIDTH * LAGS.len() * CLASSES + LAGS.len() * CLASSES;
/// A layer's.
const LAYER: usize = TAPS * WIDTH + WIDTH * WIDTH + WIDTH;
/// Logits of all heads.
pub const OUTPUTS: usize = LAGS.len() * CLASSES;

/// The parts of a network's numbers, in the order in which they are kept.
#[derive(Debug, Clone, Copy)]
pub struct Parts<'a> {
    /// `[VALUES]`: subtracted from the values.
    pub mean: &'a [f32],
    /// `[VALUES]`: then multiplied.
    pub scale: &'a [f32],
    /// `[VALUES, WIDTH]`.
    pub dense: &'a [f32],
    /// `[WIDTH]`.
    pub bias: &'a [f32],
    /// Layers behind one another, each taps `[TAPS, WIDTH]` (the oldest block first), dense `[WIDTH, WIDTH]`, bias `[WIDTH]`.
    pub layers: &'a [f32],
    /// `[WIDTH, OUTPUTS]`: heads side by side.
    pub heads: &'a [f32],
    /// `[OUTPUTS]`.
    pub heads_bias: &'a [f32],
}

/// The parts of one layer.
#[derive(Debug, Clone, Copy)]
pub struct Layer<'a> {
    /// `[TAPS, WIDTH]`, the oldest block first.
    pub taps: &'a [f32],
    /// `[WIDTH, WIDTH]`.
    pub dense: &'a [f32],
    /// `[WIDTH]`.
    pub bias: &'a [f32],
}

/// A network that is walked block by block.
pub struct Walker {
    parameters: &'static [f32],
    /// What each layer was given, a ring of the blocks that its convolution reaches.
    given: Vec<Vec<[f32; WIDTH]>>,
    blocks: usize,
}

impl<'a> Parts<'a> {
    /// Of [`PARAMETERS`] numbers.
    pub fn of(parameters: &'a [f32]) -> Self {
        assert_eq!(parameters.len(), PARAMETERS, "a gate's network has so many numbers");
        let mut rest = parameters;
        let mut take = |count: usize| {
            let (part, tail) = rest.split_at(count);
            rest = tail;
            part
        };
        Self {
            mean: take(VALUES),
            scale: take(VALUES),
            dense: take(VALUES * WIDTH),
            bias: take(WIDTH),
            layers: take(DILATIONS.len() * LAYER),
            heads: take(WIDTH * OUTPUTS),
            heads_bias: take(OUTPUTS),
        }
    }

    /// The layers in order.
    pub fn layers(self) -> impl Iterator<Item = Layer<'a>> {
        self.layers.chunks_exact(LAYER).map(|layer| {
            let (taps, rest) = layer.split_at(TAPS * WIDTH);
            let (dense, bias) = rest.split_at(WIDTH * WIDTH);
            Layer { taps, dense, bias }
        })
    }
}

impl Walker {
    /// Before the first block, of [`PARAMETERS`] numbers.
    pub fn new(parameters: &'static [f32]) -> Self {
        let given = DILATIONS.iter().map(|dilation| vec![[0.0; WIDTH]; (TAPS - 1) * dilation + 1]).collect();
        Self { parameters, given, blocks: 0 }
    }

    /// Goes on by a block; the logits of all heads.
    pub fn step(&mut self, values: &[f32; VALUES]) -> [f32; OUTPUTS] {
        // No sum is reordered and nothing fused: the same to the bit with any instructions.
        Arch::new().dispatch(
            #[inline(always)]
            || self.walk(values),
        )
    }

    #[inline(always)]
    fn walk(&mut self, values: &[f32; VALUES]) -> [f32; OUTPUTS] {
        let parts = Parts::of(self.parameters);
        let mut hidden = *parts.bias.first_chunk::<WIDTH>().expect("a bias a unit");
        let standardised =
            values.iter().zip(parts.mean).zip(parts.scale).map(|((value, mean), scale)| (value - mean) * scale);
        for (value, row) in standardised.zip(parts.dense.as_chunks().0) {
            add(&mut hidden, value, row);
        }
        rectify(&mut hidden);
        for ((layer, given), dilation) in parts.layers().zip(&mut self.given).zip(DILATIONS) {
            let length = given.len();
            let at = self.blocks % length;
            given[at] = hidden;
            let mut mixed = [0.0; WIDTH];
            for (tap, weights) in layer.taps.as_chunks::<WIDTH>().0.iter().enumerate() {
                let then = &given[(at + length - (TAPS - 1 - tap) * dilation) % length];
                for ((mixed, then), weight) in mixed.iter_mut().zip(then).zip(weights) {
                    *mixed += then * weight;
                }
            }
            let mut more = *layer.bias.first_chunk::<WIDTH>().expect("a bias a unit");
            for (value, row) in mixed.into_iter().zip(layer.dense.as_chunks().0) {
                add(&mut more, value, row);
            }
            rectify(&mut more);
            for (hidden, more) in hidden.iter_mut().zip(more) {
                *hidden += more;
            }
        }
        self.blocks += 1;
        let mut logits = *parts.heads_bias.first_chunk::<OUTPUTS>().expect("a bias a logit");
        for (value, row) in hidden.into_iter().zip(parts.heads.as_chunks().0) {
            add(&mut logits, value, row);
        }
        logits
    }
}

#[inline(always)]
fn add<const N: usize>(sums: &mut [f32; N], value: f32, row: &[f32; N]) {
    for (sum, weight) in sums.iter_mut().zip(row) {
        *sum += value * weight;
    }
}

#[inline(always)]
fn rectify(values: &mut [f32; WIDTH]) {
    for value in values {
        *value = value.max(0.0);
    }
}
