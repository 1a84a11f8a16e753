//! The network as ONNX.
//!
//! Standardisation is not in the graph: the service applies it from the manifest where it assembles the window.

use super::parameters::{DENSE, FILTERS, KERNEL, LABELS, Name, SPECS, UNITS, VALUES};
use crate::{
    model::onnx::graph::{Attribute, Graph, Size},
    train::{
        export::{INPUT, OUTPUT},
        network::Parameters,
        recurrent::lstm::GATES,
        tensors::NORM_EPSILON,
    },
};

/// The network for windows of `frames` frames, as the bytes of an `.onnx` file.
pub(super) fn network(parameters: &Parameters, frames: usize) -> Vec<u8> {
    let batch = Size::Any("batch");
    let mut graph = Graph::new(
        "cnn-bilstm",
        (INPUT, &[batch, Size::Is(frames), Size::Is(VALUES)]),
        (OUTPUT, &[batch, Size::Is(LABELS)]),
    );
    for (place, (spec, values)) in SPECS.iter().zip(&parameters.0).enumerate() {
        if place != Name::LstmBias as usize {
            graph.constant(&spec.name, &spec.shape, values);
        }
    }
    // ONNX adds a second bias to the recurrent product; Keras has one.
    let gates = GATES * UNITS;
    let zeros = vec![0.0; gates];
    let bias: Vec<f32> =
        parameters.get(Name::LstmBias).chunks_exact(gates).flat_map(|one| [one, &zeros]).flatten().copied().collect();
    graph.constant("lstm.bias", &[2, 2 * gates], &bias);

    let transpose = |order: &[i64]| vec![Attribute::ints("perm", order)];
    graph.node("Transpose", &[INPUT], &["values_first"], transpose(&[0, 2, 1]));
    let kernel = [KERNEL as i64];
    graph.node(
        "Conv",
        &["values_first", "conv.weight", "conv.bias"],
        &["convolved"],
        vec![Attribute::ints("kernel_shape", &kernel)],
    );
    graph.node("Relu", &["convolved"], &["filtered"], vec![]);
    let statistics = ["filtered", "norm.scale", "norm.shift", "norm.mean", "norm.variance"];
    graph.node("BatchNormalization", &statistics, &["normed"], vec![Attribute::float("epsilon", NORM_EPSILON)]);
    let pool = vec![Attribute::ints("kernel_shape", &[2]), Attribute::ints("strides", &[2])];
    graph.node("MaxPool", &["normed"], &["pooled"], pool);
    graph.node("Transpose", &["pooled"], &["steps_first"], transpose(&[2, 0, 1]));
    let both = vec![Attribute::string("direction", "bidirectional"), Attribute::int("hidden_size", UNITS as i64)];
    graph.node("LSTM", &["steps_first", "lstm.input", "lstm.recurrent", "lstm.bias"], &["", "last_states"], both);
    graph.node("Transpose", &["last_states"], &["states"], transpose(&[1, 0, 2]));
    graph.node("Flatten", &["states"], &["state"], vec![Attribute::int("axis", 1)]);
    let dense = || vec![Attribute::int("transB", 1)];
    graph.node("Gemm", &["state", "dense.weight", "dense.bias"], &["dense"], dense());
    graph.node("Relu", &["dense"], &["hidden"], vec![]);
    graph.node("Gemm", &["hidden", "output.weight", "output.bias"], &[OUTPUT], dense());
    debug_assert_eq!((FILTERS, DENSE), (32, 32));
    graph.into_bytes()
}
