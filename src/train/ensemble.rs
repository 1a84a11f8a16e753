//! Recipe `ensemble`: a 1-D convolutional network, an LSTM and a GRU on the same frames, each trained on its own loss over the same
//! windows, with augmentation; their probabilities are averaged.

use burn::tensor::Device;

use super::{
    recurrent::Cell,
    stack::{Layer, Stack, Stacks, View},
    thesis::Plan,
};
use crate::{corpus::LABELS, features::thesis154::VALUES};

/// What was trained and measured with.
pub(super) const EPOCHS: u32 = 12;
/// Channels of the convolutions, units of the recurrent and of the dense layers.
const WIDTH: usize = 64;
/// Frames that the recurrent members take as one: 93 ms, about half a syllable.
const JOINED: usize = 4;
/// As the thesis's networks.
const DROPOUT: f32 = 0.3;

/// What tells it from the other recipes on the same frames.
pub(super) fn plan(device: Device) -> Plan {
    Plan {
        network: Box::new(network(device)),
        altered: true,
        name: "ensemble",
        description: "Six acted emotions in English speech: MFCC, chroma and mel frames through a 1-D CNN, an LSTM and a GRU, averaged",
        line: "the mean probability of Conv1D → BatchNorm → ReLU → MaxPool twice and the largest over time, of an LSTM and of a GRU over \
               joined frames, each with a dense layer behind",
    }
}

/// The network.
pub(super) fn network(device: Device) -> Stacks {
    let mut layers = Vec::new();
    for (from, stride) in [(VALUES, 2), (WIDTH, 1)] {
        layers.extend([
            Layer::Conv { from, to: WIDTH, kernel: [3, 1], stride: [stride, 1] },
            Layer::Norm(WIDTH),
            Layer::Relu,
            Layer::Pool([2, 1]),
        ]);
    }
    layers.push(Layer::Loudest);
    let member = |name, layers: Vec<Layer>| {
        let behind = [
            Layer::Dropout(DROPOUT),
            Layer::Dense { from: WIDTH, to: WIDTH },
            Layer::Relu,
            Layer::Dropout(DROPOUT),
            Layer::Dense { from: WIDTH, to: LABELS.len() },
        ];
        Stack { name, values: 0..VALUES, view: View::Channels, layers: layers.into_iter().chain(behind).collect() }
    };
    let recurrent = |cell| vec![Layer::Pool([JOINED, 1]), Layer::Recurrent { cell, from: VALUES, units: WIDTH }];
    let members =
        vec![member("cnn", layers), member("lstm", recurrent(Cell::Lstm)), member("gru", recurrent(Cell::Gru))];
    Stacks::new(device, "ensemble", VALUES, members)
}
