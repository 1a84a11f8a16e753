//! Writes a network as an `.onnx` file: the part of `onnx.proto` that one needs, as prost structs.
//!
//! Field numbers are those of the ONNX project's schema, which is proto2: what stands there as optional is `Option` here, so that a
//! zero is written as well. Tensors are of f32, axes and shapes of i64. The same network has the same bytes in every version of this program.

use prost::Message;

/// Operators as of this set; ONNX Runtime reads it since 1.12.
pub const OPSET: u32 = 17;
/// The file format's version that came with it.
const IR_VERSION: i64 = 8;
/// `TensorProto.DataType.FLOAT`.
const FLOAT: i32 = 1;
/// `TensorProto.DataType.INT64`.
const INT64: i32 = 7;

/// How long a tensor is in one dimension.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Size {
    /// So many.
    Is(usize),
    /// Any, decided at every run; dimensions of one name are equally long.
    Any(&'static str),
}

/// `ModelProto`.
#[derive(Clone, PartialEq, Message)]
struct Model {
    #[prost(int64, optional, tag = "1")]
    ir_version: Option<i64>,
    #[prost(string, optional, tag = "2")]
    producer_name: Option<String>,
    #[prost(message, optional, tag = "7")]
    graph: Option<Graph>,
    #[prost(message, repeated, tag = "8")]
    opset_import: Vec<OperatorSet>,
}

/// `OperatorSetIdProto`.
#[derive(Clone, PartialEq, Message)]
struct OperatorSet {
    #[prost(string, optional, tag = "1")]
    domain: Option<String>,
    #[prost(int64, optional, tag = "2")]
    version: Option<i64>,
}

/// `GraphProto`.
#[derive(Clone, PartialEq, Message)]
pub struct Graph {
    #[prost(message, repeated, tag = "1")]
    node: Vec<Node>,
    #[prost(string, optional, tag = "2")]
    name: Option<String>,
    #[prost(message, repeated, tag = "5")]
    initializer: Vec<Tensor>,
    #[prost(message, repeated, tag = "11")]
    input: Vec<ValueInfo>,
    #[prost(message, repeated, tag = "12")]
    output: Vec<ValueInfo>,
}

/// `NodeProto`.
#[derive(Clone, PartialEq, Message)]
struct Node {
    #[prost(string, repeated, tag = "1")]
    input: Vec<String>,
    #[prost(string, repeated, tag = "2")]
    output: Vec<String>,
    #[prost(string, optional, tag = "3")]
    name: Option<String>,
    #[prost(string, optional, tag = "4")]
    op_type: Option<String>,
    #[prost(message, repeated, tag = "5")]
    attribute: Vec<Attribute>,
}

/// `AttributeProto`.
#[derive(Clone, PartialEq, Message)]
pub struct Attribute {
    #[prost(string, optional, tag = "1")]
    name: Option<String>,
    #[prost(float, optional, tag = "2")]
    f: Option<f32>,
    #[prost(int64, optional, tag = "3")]
    i: Option<i64>,
    #[prost(bytes = "vec", optional, tag = "4")]
    s: Option<Vec<u8>>,
    #[prost(int64, repeated, packed = "false", tag = "8")]
    ints: Vec<i64>,
    #[prost(int32, optional, tag = "20")]
    kind: Option<i32>,
}

/// `TensorProto`.
#[derive(Clone, PartialEq, Message)]
struct Tensor {
    #[prost(int64, repeated, packed = "false", tag = "1")]
    dims: Vec<i64>,
    #[prost(int32, optional, tag = "2")]
    data_type: Option<i32>,
    #[prost(string, optional, tag = "8")]
    name: Option<String>,
    #[prost(bytes = "vec", optional, tag = "9")]
    raw_data: Option<Vec<u8>>,
}

/// `ValueInfoProto`.
#[derive(Clone, PartialEq, Message)]
struct ValueInfo {
    #[prost(string, optional, tag = "1")]
    name: Option<String>,
    #[prost(message, optional, tag = "2")]
    r#type: Option<Type>,
}

/// `TypeProto`, of tensors.
#[derive(Clone, PartialEq, Message)]
struct Type {
    #[prost(message, optional, tag = "1")]
    tensor_type: Option<TensorType>,
}

/// `TypeProto.Tensor`.
#[derive(Clone, PartialEq, Message)]
struct TensorType {
    #[prost(int32, optional, tag = "1")]
    elem_type: Option<i32>,
    #[prost(message, optional, tag = "2")]
    shape: Option<Shape>,
}

/// `TensorShapeProto`.
#[derive(Clone, PartialEq, Message)]
struct Shape {
    #[prost(message, repeated, tag = "1")]
    dim: Vec<Dimension>,
}

/// `TensorShapeProto.Dimension`.
#[derive(Clone, PartialEq, Message)]
struct Dimension {
    #[prost(int64, optional, tag = "1")]
    dim_value: Option<i64>,
    #[prost(string, optional, tag = "2")]
    dim_param: Option<String>,
}

impl Attribute {
    /// A whole number.
    pub fn int(name: &str, value: i64) -> Self {
        Self { name: Some(name.to_owned()), i: Some(value), kind: Some(2), ..Self::default() }
    }

    /// A number.
    pub fn float(name: &str, value: f32) -> Self {
        Self { name: Some(name.to_owned()), f: Some(value), kind: Some(1), ..Self::default() }
    }

    /// A word.
    pub fn string(name: &str, value: &str) -> Self {
        Self { name: Some(name.to_owned()), s: Some(value.into()), kind: Some(3), ..Self::default() }
    }

    /// Whole numbers.
    pub fn ints(name: &str, values: &[i64]) -> Self {
        Self { name: Some(name.to_owned()), ints: values.to_vec(), kind: Some(7), ..Self::default() }
    }
}

impl Graph {
    /// Without nodes; its one input and its one output by name and shape.
    pub fn new(name: &str, input: (&str, &[Size]), output: (&str, &[Size])) -> Self {
        Self { name: Some(name.to_owned()), input: vec![value(input)], output: vec![value(output)], ..Self::default() }
    }

    /// Adds a node, named after its one output. An empty name is an input left out; the first output may be one, too.
    pub fn node(&mut self, operator: &str, input: &[&str], output: &[&str], attribute: Vec<Attribute>) {
        let owned = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
        self.node.push(Node {
            input: owned(input),
            output: owned(output),
            name: output.last().map(|&name| name.to_owned()),
            op_type: Some(operator.to_owned()),
            attribute,
        });
    }

    /// Adds a constant.
    pub fn constant(&mut self, name: &str, shape: &[usize], values: &[f32]) {
        self.initializer.push(Tensor {
            dims: shape.iter().map(|&size| dimension(size)).collect(),
            data_type: Some(FLOAT),
            name: Some(name.to_owned()),
            raw_data: Some(values.iter().flat_map(|value| value.to_le_bytes()).collect()),
        });
    }

    /// Adds a constant of whole numbers in a row: axes and shapes.
    pub fn indices(&mut self, name: &str, values: &[i64]) {
        self.initializer.push(Tensor {
            dims: vec![dimension(values.len())],
            data_type: Some(INT64),
            name: Some(name.to_owned()),
            raw_data: Some(values.iter().flat_map(|value| value.to_le_bytes()).collect()),
        });
    }

    /// The bytes of an `.onnx` file.
    pub fn into_bytes(self) -> Vec<u8> {
        let set = OperatorSet { domain: Some(String::new()), version: Some(i64::from(OPSET)) };
        Model {
            ir_version: Some(IR_VERSION),
            producer_name: Some(env!("CARGO_PKG_NAME").to_owned()),
            graph: Some(self),
            opset_import: vec![set],
        }
        .encode_to_vec()
    }
}

fn value((name, shape): (&str, &[Size])) -> ValueInfo {
    let dim = shape.iter().map(|&size| match size {
        Size::Is(size) => Dimension { dim_value: Some(dimension(size)), dim_param: None },
        Size::Any(name) => Dimension { dim_value: None, dim_param: Some(name.to_owned()) },
    });
    let tensor_type = TensorType { elem_type: Some(FLOAT), shape: Some(Shape { dim: dim.collect() }) };
    ValueInfo { name: Some(name.to_owned()), r#type: Some(Type { tensor_type: Some(tensor_type) }) }
}

fn dimension(size: usize) -> i64 {
    i64::try_from(size).expect("no dimension of a network comes near 2^63")
}
