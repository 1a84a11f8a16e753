//! Small networks for tests, and the writer of `tests/data/models/tiny`: the mean over the frames, then one matrix, then logits.
//!
//! `UNDERTONE_WRITE_FIXTURES=1 cargo test --lib model::tiny` writes the folder anew.

use std::{collections::BTreeMap, fs, path::Path};

use super::{
    Manifest,
    manifest::{Bandwidth, FORMAT, Network, Training, sha256_hex},
    onnx::graph::{Attribute, Graph, OPSET, Size},
};
use crate::{
    decision::Calibration,
    features::{FrontEnd, Standardization, WindowOptions, thesis154},
};

/// The thesis's labels, in its order.
pub(crate) const LABELS: [&str; 6] = ["angry", "disgust", "fear", "happy", "neutral", "sad"];
/// Its window.
pub(crate) const FRAMES: usize = 300;
/// Values of its front end.
pub(crate) const VALUES: usize = 154;

/// What a network is like; the default fits the thesis's manifest.
pub(crate) struct Shape {
    pub(crate) batch: Size,
    pub(crate) frames: Size,
    pub(crate) values: usize,
    pub(crate) labels: usize,
    pub(crate) bias: f32,
}

impl Default for Shape {
    fn default() -> Self {
        Self { batch: Size::Any("batch"), frames: Size::Is(FRAMES), values: VALUES, labels: LABELS.len(), bias: 0.0 }
    }
}

/// The weight from a value to a label: exact in binary, small enough that decibels make sums of a few units, different for all labels.
pub(crate) fn weight(value: usize, label: usize) -> f32 {
    ((value * 7 + label * 13 + value * label) % 17) as f32 / 1024.0 - 8.0 / 1024.0
}

/// Its bytes.
pub(crate) fn network(shape: &Shape) -> Vec<u8> {
    let &Shape { batch, frames, values, labels, bias } = shape;
    let mut graph =
        Graph::new("tiny", ("windows", &[batch, frames, Size::Is(values)]), ("logits", &[batch, Size::Is(labels)]));
    let matrix: Vec<f32> = (0..values).flat_map(|value| (0..labels).map(move |label| weight(value, label))).collect();
    graph.constant("matrix", &[values, labels], &matrix);
    graph.constant("bias", &[labels], &vec![bias; labels]);
    let over_frames = vec![Attribute::ints("axes", &[1]), Attribute::int("keepdims", 0)];
    graph.node("ReduceMean", &["windows"], &["mean"], over_frames);
    graph.node("MatMul", &["mean", "matrix"], &["sums"], vec![]);
    graph.node("Add", &["sums", "bias"], &["logits"], vec![]);
    graph.into_bytes()
}

/// A manifest that fits such a network.
pub(crate) fn manifest(network: &[u8]) -> Manifest {
    Manifest {
        format: FORMAT,
        name: "tiny".into(),
        version: "1".into(),
        description: "Mean over the frames and one matrix: untrained, for tests of all that surrounds a model".into(),
        licence: "MIT OR Apache-2.0".into(),
        labels: LABELS.map(String::from).to_vec(),
        bandwidths: vec![Bandwidth::Wide, Bandwidth::Telephone],
        network: Network {
            file: "model.onnx".into(),
            sha256: sha256_hex(network),
            opset: OPSET,
            parameters: ((VALUES + 1) * LABELS.len()) as u64,
            input: "windows".into(),
            output: "logits".into(),
        },
        front_end: FrontEnd::Thesis154(thesis154::Options::default()),
        window: WindowOptions {
            frames: FRAMES,
            grow_frames: None,
            min_seconds: 1.0,
            min_speech_ratio: 0.5,
            clear_after_seconds: 2.0,
        },
        calibration: Calibration { temperature: 1.5, uncertain_below: 0.2 },
        training: Training {
            command: "UNDERTONE_WRITE_FIXTURES=1 cargo test --lib model::tiny".into(),
            recipe: "none".into(),
            data: "none".into(),
            data_sha256: sha256_hex(b""),
            train_actors: vec![],
            valid_actors: vec![],
            seed: 0,
            epochs: 0,
            teachers: vec![],
            votes: None,
            gpu: None,
        },
        metrics: BTreeMap::new(),
        standardization: Standardization { mean: vec![0.0; VALUES], deviation: vec![1.0; VALUES] },
    }
}

/// Writes a model of this shape into a folder, with a manifest changed as wanted.
pub(crate) fn write(dir: &Path, shape: &Shape, change: impl FnOnce(&mut Manifest)) -> Manifest {
    let network = network(shape);
    let mut manifest = manifest(&network);
    change(&mut manifest);
    manifest.save(dir).unwrap();
    fs::write(dir.join("model.onnx"), network).unwrap();
    manifest
}

#[test]
fn the_committed_model_is_what_this_writes() {
    let committed = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/models/tiny");
    if std::env::var_os("UNDERTONE_WRITE_FIXTURES").is_some() {
        write(&committed, &Shape::default(), |_| {});
    }
    let fresh = tempfile::tempdir().unwrap();
    write(fresh.path(), &Shape::default(), |_| {});
    for name in ["model.onnx", "manifest.toml"] {
        let (committed, fresh) = (fs::read(committed.join(name)).unwrap(), fs::read(fresh.path().join(name)).unwrap());
        assert!(committed == fresh, "{name} differs; write it anew as the head of this file says");
    }
}
