//! The network as ONNX, checked in ONNX Runtime every time.
//!
//! Standardisation is not in the graph: the service applies it from the manifest where it assembles the window.

use anyhow::{Context as _, bail};

use super::{
    net::{self, Batch, NORM_EPSILON},
    parameters::{DENSE, FILTERS, GATES, KERNEL, LABELS, Name, Parameters, SPECS, UNITS, VALUES},
};
use crate::model::{
    Classifier as _, Manifest,
    onnx::{
        Options, Runtime, Session,
        graph::{Attribute, Graph, Size},
    },
};

/// The graph's input.
pub(super) const INPUT: &str = "windows";
/// The graph's output.
pub(super) const OUTPUT: &str = "logits";
/// How far a logit in ONNX Runtime may be from the trainer's own.
const TOLERANCE: f32 = 1e-4;

/// The network for windows of `frames` frames, as the bytes of an `.onnx` file.
pub(super) fn network(parameters: &Parameters, frames: usize) -> Vec<u8> {
    let batch = Size::Any("batch");
    let mut graph = Graph::new(
        "cnn-bilstm",
        (INPUT, &[batch, Size::Is(frames), Size::Is(VALUES)]),
        (OUTPUT, &[batch, Size::Is(LABELS)]),
    );
    for (spec, values) in SPECS.iter().zip(&parameters.0) {
        if spec.value != Name::LstmBias {
            graph.constant(spec.name, spec.shape, values);
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

/// Runs `windows` through the exported network, all at once and one by one, and compares with the trainer's forward pass.
/// Returns the largest difference of a logit.
///
/// # Errors
/// ONNX Runtime is not there or refuses the network, or a logit differs by more than 1e-4, or depends on the batch.
pub(super) fn check(
    manifest: &Manifest,
    network: &[u8],
    parameters: &Parameters,
    windows: &Batch,
) -> anyhow::Result<f32> {
    let runtime = Runtime::load(None).context("the exported network cannot be checked")?;
    let mut session = Session::from_network(runtime, manifest, network, &Options::default())?;
    let count = windows.labels.len();
    let together = session.run(&windows.windows, count)?;
    let own = net::logits(parameters, windows);
    let mut widest = widest(&own, &together);
    let window = windows.frames * VALUES;
    for (index, row) in together.chunks_exact(LABELS).enumerate() {
        let alone = session.run(&windows.windows[index * window..][..window], 1)?;
        let difference = self::widest(&alone, row);
        if difference > TOLERANCE {
            bail!(
                "the exported network answers differently alone and in a batch of {count}: by {difference}, window {index}"
            );
        }
        widest = widest.max(self::widest(&alone, &own[index * LABELS..][..LABELS]));
    }
    if widest.is_nan() || widest > TOLERANCE {
        bail!("the exported network differs from the trained one by {widest}, expected at most {TOLERANCE}");
    }
    Ok(widest)
}

/// The largest difference; NaN where there is one.
fn widest(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, |widest, d| if d > widest || d.is_nan() { d } else { widest })
}
