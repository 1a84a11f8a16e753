//! Recipe `cldnn`: convolutions, an LSTM and dense layers in a row (Sainath et al., 2015) on MFCCs, with augmentation.

use burn::tensor::Device;

use super::{
    recurrent::Cell,
    stack::{Layer, Stack, Stacks, View},
    thesis::Plan,
};
use crate::{
    corpus::LABELS,
    features::thesis154::{MFCC, VALUES},
};

/// What was trained and measured with.
pub(super) const EPOCHS: u32 = 14;
/// Channels of both convolutions, units of the LSTM and of the dense layer.
const WIDTH: usize = 64;
/// As the thesis's networks.
const DROPOUT: f32 = 0.3;

/// What tells it from the other recipes on the same frames.
pub(super) fn plan(device: Device) -> Plan {
    Plan {
        network: Box::new(network(device)),
        altered: true,
        name: "cldnn",
        description: "Six acted emotions in English speech: MFCCs through convolutions, an LSTM and dense layers",
        line: "twice Conv1D → BatchNorm → ReLU → MaxPool, LSTM from the window's end → Dense",
    }
}

/// The network.
pub(super) fn network(device: Device) -> Stacks {
    let mut layers = Vec::new();
    for (from, frames) in [(MFCC, 5), (WIDTH, 3)] {
        layers.extend([
            Layer::Conv { from, to: WIDTH, kernel: [frames, 1], stride: [1, 1] },
            Layer::Norm(WIDTH),
            Layer::Relu,
            Layer::Pool([2, 1]),
        ]);
    }
    layers.extend([
        Layer::Dropout(DROPOUT),
        Layer::Recurrent { cell: Cell::Lstm, from: WIDTH, units: WIDTH },
        Layer::Dropout(DROPOUT),
        Layer::Dense { from: WIDTH, to: WIDTH },
        Layer::Relu,
        Layer::Dropout(DROPOUT),
        Layer::Dense { from: WIDTH, to: LABELS.len() },
    ]);
    Stacks::new(device, "cldnn", VALUES, vec![Stack { name: "cldnn", values: 0..MFCC, view: View::Channels, layers }])
}
