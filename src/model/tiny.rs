//! Small networks for tests, and the writer of `tests/data/models/tiny`: the mean over the frames, then one matrix, then logits.
//!
//! `UNDERTONE_WRITE_FIXTURES=1 cargo test --lib model::tiny` writes the folder anew.

use std::{collections::BTreeMap, fs, path::Path};

use prost::Message;

use super::{
    Manifest,
    manifest::{Bandwidth, FORMAT, Network, Training, sha256_hex},
};
use crate::{
    decision::Calibration,
    features::{FrontEnd, Standardization, WindowOptions, thesis154},
};

/// The thesis's labels, in its order.
pub(super) const LABELS: [&str; 6] = ["angry", "disgust", "fear", "happy", "neutral", "sad"];
/// Its window.
pub(super) const FRAMES: usize = 300;
/// Values of its front end.
pub(super) const VALUES: usize = 154;

/// Operator set in which ReduceMean's axes are an attribute still.
const OPSET: u32 = 17;

// What is needed of https://github.com/onnx/onnx/blob/main/onnx/onnx.proto, by its field numbers.

#[derive(Clone, PartialEq, Message)]
struct ModelProto {
    #[prost(int64, optional, tag = "1")]
    ir_version: Option<i64>,
    #[prost(message, optional, tag = "7")]
    graph: Option<GraphProto>,
    #[prost(message, repeated, tag = "8")]
    opset_import: Vec<OperatorSetIdProto>,
}

#[derive(Clone, PartialEq, Message)]
struct OperatorSetIdProto {
    #[prost(string, optional, tag = "1")]
    domain: Option<String>,
    #[prost(int64, optional, tag = "2")]
    version: Option<i64>,
}

#[derive(Clone, PartialEq, Message)]
struct GraphProto {
    #[prost(message, repeated, tag = "1")]
    node: Vec<NodeProto>,
    #[prost(string, optional, tag = "2")]
    name: Option<String>,
    #[prost(message, repeated, tag = "5")]
    initializer: Vec<TensorProto>,
    #[prost(message, repeated, tag = "11")]
    input: Vec<ValueInfoProto>,
    #[prost(message, repeated, tag = "12")]
    output: Vec<ValueInfoProto>,
}

#[derive(Clone, PartialEq, Message)]
struct NodeProto {
    #[prost(string, repeated, tag = "1")]
    input: Vec<String>,
    #[prost(string, repeated, tag = "2")]
    output: Vec<String>,
    #[prost(string, optional, tag = "4")]
    op_type: Option<String>,
    #[prost(message, repeated, tag = "5")]
    attribute: Vec<AttributeProto>,
}

#[derive(Clone, PartialEq, Message)]
struct AttributeProto {
    #[prost(string, optional, tag = "1")]
    name: Option<String>,
    #[prost(int64, optional, tag = "3")]
    i: Option<i64>,
    #[prost(int64, repeated, packed = "false", tag = "8")]
    ints: Vec<i64>,
    #[prost(int32, optional, tag = "20")]
    r#type: Option<i32>,
}

#[derive(Clone, PartialEq, Message)]
struct TensorProto {
    #[prost(int64, repeated, packed = "false", tag = "1")]
    dims: Vec<i64>,
    #[prost(int32, optional, tag = "2")]
    data_type: Option<i32>,
    #[prost(string, optional, tag = "8")]
    name: Option<String>,
    #[prost(bytes = "vec", optional, tag = "9")]
    raw_data: Option<Vec<u8>>,
}

#[derive(Clone, PartialEq, Message)]
struct ValueInfoProto {
    #[prost(string, optional, tag = "1")]
    name: Option<String>,
    #[prost(message, optional, tag = "2")]
    r#type: Option<TypeProto>,
}

#[derive(Clone, PartialEq, Message)]
struct TypeProto {
    #[prost(message, optional, tag = "1")]
    tensor_type: Option<TensorTypeProto>,
}

#[derive(Clone, PartialEq, Message)]
struct TensorTypeProto {
    #[prost(int32, optional, tag = "1")]
    elem_type: Option<i32>,
    #[prost(message, optional, tag = "2")]
    shape: Option<TensorShapeProto>,
}

#[derive(Clone, PartialEq, Message)]
struct TensorShapeProto {
    #[prost(message, repeated, tag = "1")]
    dim: Vec<DimensionProto>,
}

#[derive(Clone, PartialEq, Message)]
struct DimensionProto {
    #[prost(int64, optional, tag = "1")]
    dim_value: Option<i64>,
    #[prost(string, optional, tag = "2")]
    dim_param: Option<String>,
}

/// `TensorProto.DataType.FLOAT`.
const FLOAT: i32 = 1;
/// `AttributeProto.AttributeType.INT` and `INTS`.
const INT: i32 = 2;
const INTS: i32 = 7;

/// What a network is like; the default fits the thesis's manifest.
pub(super) struct Shape {
    pub(super) batch: Option<i64>,
    pub(super) frames: Option<i64>,
    pub(super) values: usize,
    pub(super) labels: usize,
    pub(super) bias: f32,
}

impl Default for Shape {
    fn default() -> Self {
        Self { batch: None, frames: Some(FRAMES as i64), values: VALUES, labels: LABELS.len(), bias: 0.0 }
    }
}

/// The weight from a value to a label: exact in binary, small enough that decibels make sums of a few units, different for all labels.
pub(super) fn weight(value: usize, label: usize) -> f32 {
    ((value * 7 + label * 13 + value * label) % 17) as f32 / 1024.0 - 8.0 / 1024.0
}

/// Its bytes.
pub(super) fn network(shape: &Shape) -> Vec<u8> {
    let tensor = |name: &str, dims: &[usize], data: Vec<f32>| TensorProto {
        dims: dims.iter().map(|size| *size as i64).collect(),
        data_type: Some(FLOAT),
        name: Some(name.into()),
        raw_data: Some(data.into_iter().flat_map(f32::to_le_bytes).collect()),
    };
    let outlet = |name: &str, sizes: &[(Option<i64>, &str)]| ValueInfoProto {
        name: Some(name.into()),
        r#type: Some(TypeProto {
            tensor_type: Some(TensorTypeProto {
                elem_type: Some(FLOAT),
                shape: Some(TensorShapeProto {
                    dim: sizes.iter().map(|&(size, symbol)| dimension(size, symbol)).collect(),
                }),
            }),
        }),
    };
    let node = |op_type: &str, input: [&str; 2], output: &str, attribute: Vec<AttributeProto>| NodeProto {
        input: input.into_iter().filter(|name| !name.is_empty()).map(String::from).collect(),
        output: vec![output.into()],
        op_type: Some(op_type.into()),
        attribute,
    };
    let axes = AttributeProto { name: Some("axes".into()), i: None, ints: vec![1], r#type: Some(INTS) };
    let keep = AttributeProto { name: Some("keepdims".into()), i: Some(0), ints: vec![], r#type: Some(INT) };
    let &Shape { batch, frames, values, labels, bias } = shape;
    let matrix = (0..values).flat_map(|value| (0..labels).map(move |label| weight(value, label))).collect();
    let graph = GraphProto {
        name: Some("tiny".into()),
        node: vec![
            node("ReduceMean", ["windows", ""], "mean", vec![axes, keep]),
            node("MatMul", ["mean", "matrix"], "sums", vec![]),
            node("Add", ["sums", "bias"], "logits", vec![]),
        ],
        initializer: vec![tensor("matrix", &[values, labels], matrix), tensor("bias", &[labels], vec![bias; labels])],
        input: vec![outlet("windows", &[(batch, "batch"), (frames, "frames"), (Some(values as i64), "")])],
        output: vec![outlet("logits", &[(batch, "batch"), (Some(labels as i64), "")])],
    };
    let opset = OperatorSetIdProto { domain: Some(String::new()), version: Some(OPSET.into()) };
    ModelProto { ir_version: Some(8), graph: Some(graph), opset_import: vec![opset] }.encode_to_vec()
}

fn dimension(size: Option<i64>, symbol: &str) -> DimensionProto {
    let dim_param = size.is_none().then(|| symbol.to_owned());
    DimensionProto { dim_value: size, dim_param }
}

/// A manifest that fits such a network.
pub(super) fn manifest(network: &[u8]) -> Manifest {
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
        window: WindowOptions { frames: FRAMES, min_seconds: 1.0, min_speech_ratio: 0.5, clear_after_seconds: 2.0 },
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
        },
        metrics: BTreeMap::new(),
        standardization: Standardization { mean: vec![0.0; VALUES], deviation: vec![1.0; VALUES] },
    }
}

/// Writes a model of this shape into a folder, with a manifest changed as wanted.
pub(super) fn write(dir: &Path, shape: &Shape, change: impl FnOnce(&mut Manifest)) -> Manifest {
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
