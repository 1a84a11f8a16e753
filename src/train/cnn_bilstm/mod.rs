//! Recipe `cnn-bilstm`: the thesis's network on MFCC, chroma and mel frames.

mod graph;
mod net;
mod parameters;

use burn::tensor::Device;

use super::thesis::Plan;
use net::CnnBilstm;

/// The thesis's most epochs.
pub(super) const EPOCHS: u32 = 20;

/// What tells it from the other recipes on the same frames.
pub(super) fn plan(device: Device) -> Plan {
    Plan {
        network: Box::new(CnnBilstm(device)),
        altered: false,
        name: "cnn-bilstm",
        description: "Six acted emotions in English speech: MFCC, chroma and mel frames through a small CNN-BiLSTM",
        line: "Conv1D → BatchNorm → MaxPool → BiLSTM → Dense, 64 of its values are running statistics",
    }
}
