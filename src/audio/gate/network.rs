//! The gate's network: a block's values → what the block is, and what earlier blocks were, now that more was heard.
//!
//! Dense [`VALUES`] → [`WIDTH`], ReLU; then [`DILATIONS`]`.len()` layers, each adding to what it was given
//! ReLU(dense(depthwise causal convolution of [`TAPS`] blocks, so many blocks apart)); then one dense head for each of [`LAGS`]: head `l`
//! tells what the block `l` blocks ago was. It has heard the last 3 s.

use pulp::{Arch, Simd, WithSimd};
use zeroize::Zeroizing;

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
    /// What each layer was given, a ring of a power of two blocks of which its convolution reaches nearly all.
    given: [Zeroizing<Vec<[f32; WIDTH]>>; DILATIONS.len()],
    blocks: usize,
}

/// One step of the walk.
struct Step<'a> {
    walker: &'a mut Walker,
    values: &'a [f32; VALUES],
}

impl WithSimd for Step<'_> {
    type Output = [f32; OUTPUTS];

    // No sum is reordered and nothing fused: the same to the bit with any instructions.
    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> [f32; OUTPUTS] {
        self.walker.walk(self.values)
    }
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
        let given = DILATIONS.map(|dilation| Zeroizing::new(vec![[0.0; WIDTH]; TAPS * dilation]));
        Self { parameters, given, blocks: 0 }
    }

    /// Bytes of what its layers were given.
    pub(super) fn bytes(&self) -> usize {
        self.given.iter().map(|given| given.capacity() * size_of::<[f32; WIDTH]>()).sum()
    }

    /// Goes on by a block; the logits of all heads.
    pub fn step(&mut self, values: &[f32; VALUES]) -> [f32; OUTPUTS] {
        Arch::new().dispatch(Step { walker: self, values })
    }

    #[inline(always)]
    fn walk(&mut self, values: &[f32; VALUES]) -> [f32; OUTPUTS] {
        let parts = Parts::of(self.parameters);
        let mut standardised = *values;
        for ((value, mean), scale) in standardised.iter_mut().zip(parts.mean).zip(parts.scale) {
            *value = (*value - mean) * scale;
        }
        let mut hidden = dense::<WIDTH>(&standardised, parts.dense, parts.bias);
        rectify(&mut hidden);
        for ((layer, given), dilation) in parts.layers().zip(&mut self.given).zip(DILATIONS) {
            let length = TAPS * dilation;
            given[self.blocks % length] = hidden;
            let mut mixed = [0.0; WIDTH];
            for (tap, weights) in layer.taps.as_chunks::<WIDTH>().0.iter().enumerate() {
                // The oldest block's place is the one behind the newest.
                let then = &given[(self.blocks + (tap + 1) * dilation) % length];
                for ((mixed, then), weight) in mixed.iter_mut().zip(then).zip(weights) {
                    *mixed += then * weight;
                }
            }
            let mut more = dense::<WIDTH>(&mixed, layer.dense, layer.bias);
            rectify(&mut more);
            for (hidden, more) in hidden.iter_mut().zip(more) {
                *hidden += more;
            }
        }
        self.blocks += 1;
        dense::<OUTPUTS>(&hidden, parts.heads, parts.heads_bias)
    }
}

/// What a layer of `N` units makes of an even number of values, before its nonlinearity. Two sums a unit: one alone would wait for each addition.
#[inline(always)]
fn dense<const N: usize>(values: &[f32], weights: &[f32], bias: &[f32]) -> [f32; N] {
    let (mut sums, mut others) = (*bias.first_chunk::<N>().expect("a bias a unit"), [0.0; N]);
    let rows = weights.as_chunks::<N>().0.as_chunks::<2>().0;
    for (value, row) in values.as_chunks::<2>().0.iter().zip(rows) {
        for unit in 0..N {
            sums[unit] += value[0] * row[0][unit];
            others[unit] += value[1] * row[1][unit];
        }
    }
    for (sum, other) in sums.iter_mut().zip(others) {
        *sum += other;
    }
    sums
}

#[inline(always)]
fn rectify(values: &mut [f32; WIDTH]) {
    for value in values {
        *value = value.max(0.0);
    }
}
