//! Recipe `spectrogram-cnn`: a 2-D convolutional network on the mel spectrogram, as one looks at a picture.
//!
//! The picture is the mel part of the thesis's frames. The first convolution sees 7 by 7 values and goes on by 4 in both directions: at
//! full resolution it would cost more than all others together.

use burn::tensor::Device;

use super::{
    stack::{Layer, Stack, Stacks, View},
    thesis::Plan,
};
use crate::{
    corpus::LABELS,
    features::thesis154::{CROSSINGS_AT, MEL, MEL_AT, VALUES},
};

/// What was trained and measured with.
pub(super) const EPOCHS: u32 = 12;
/// Channels of the first convolution and those after it.
const CHANNELS: [usize; 4] = [16, 24, 32, 48];
/// What the stride and pooling twice leave of the bands.
const BANDS: usize = MEL / 16;
/// Units of the dense layer.
const DENSE: usize = 64;
/// As the thesis's networks.
const DROPOUT: f32 = 0.3;

/// What tells it from the other recipes on the same frames.
pub(super) fn plan(device: Device) -> Plan {
    Plan {
        network: Box::new(network(device)),
        altered: false,
        name: "spectrogram-cnn",
        description: "Six acted emotions in English speech: the mel spectrogram through a small 2-D convolutional network",
        line: "four times Conv2D → BatchNorm → ReLU, MaxPool after two of them, the largest over time → Dense",
    }
}

/// The network.
pub(super) fn network(device: Device) -> Stacks {
    let mut layers = vec![
        Layer::Conv { from: 1, to: CHANNELS[0], kernel: [7, 7], stride: [4, 4] },
        Layer::Norm(CHANNELS[0]),
        Layer::Relu,
    ];
    for (index, pool) in [(1, Some([2, 2])), (2, Some([2, 2])), (3, None)] {
        let (from, to) = (CHANNELS[index - 1], CHANNELS[index]);
        layers.extend([Layer::Conv { from, to, kernel: [3, 3], stride: [1, 1] }, Layer::Norm(to), Layer::Relu]);
        layers.extend(pool.map(Layer::Pool));
    }
    layers.extend([
        Layer::Loudest,
        Layer::Dropout(DROPOUT),
        Layer::Dense { from: CHANNELS[3] * BANDS, to: DENSE },
        Layer::Relu,
        Layer::Dropout(DROPOUT),
        Layer::Dense { from: DENSE, to: LABELS.len() },
    ]);
    let values = MEL_AT..CROSSINGS_AT;
    Stacks::new(device, "spectrogram-cnn", VALUES, vec![Stack { name: "cnn", values, view: View::Image, layers }])
}
