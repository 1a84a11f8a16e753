//! Stacks as ONNX.
//!
//! Standardisation is not in the graph: the service applies it from the manifest where it assembles the window.

use super::{LEAST_PROBABILITY, Layer, Stack, Stacks, View};
use crate::{
    corpus::LABELS,
    model::onnx::graph::{Attribute, Graph, Size},
    train::{
        export::{INPUT, OUTPUT},
        network::Parameters,
        recurrent::Cell,
        tensors::NORM_EPSILON,
    },
};

/// The network for windows of `frames` frames, as the bytes of an `.onnx` file.
pub(super) fn network(stacks: &Stacks, parameters: &Parameters, frames: usize) -> Vec<u8> {
    let batch = Size::Any("batch");
    let mut graph = Graph::new(
        stacks.name,
        (INPUT, &[batch, Size::Is(frames), Size::Is(stacks.values)]),
        (OUTPUT, &[batch, Size::Is(LABELS.len())]),
    );
    graph.indices("axis.value", &[2]);
    if let [(stack, _)] = stacks.stacks.as_slice() {
        stack.write(&mut graph, &parameters.0, OUTPUT);
        return graph.into_bytes();
    }
    let mut chances = Vec::new();
    for (stack, place) in &stacks.stacks {
        let [logits, chance] = ["logits", "probabilities"].map(|what| format!("{}.{what}", stack.name));
        stack.write(&mut graph, &parameters.0[*place..], &logits);
        graph.node("Softmax", &[&logits], &[&chance], vec![Attribute::int("axis", 1)]);
        chances.push(chance);
    }
    let chances: Vec<&str> = chances.iter().map(String::as_str).collect();
    graph.constant("least", &[], &[LEAST_PROBABILITY]);
    graph.node("Mean", &chances, &["mean"], vec![]);
    graph.node("Max", &["mean", "least"], &["probabilities"], vec![]);
    graph.node("Log", &["probabilities"], &[OUTPUT], vec![]);
    graph.into_bytes()
}

impl Stack {
    /// From the input to `out`.
    fn write(&self, graph: &mut Graph, values: &[Vec<f32>], out: &str) {
        for (spec, values) in self.specs().iter().zip(values) {
            graph.constant(&spec.name, &spec.shape, values);
        }
        let mut x = self.write_view(graph);
        for (index, layer) in self.layers.iter().enumerate() {
            let place = format!("{}.{index}", self.name);
            let result = if index + 1 == self.layers.len() { out.to_owned() } else { place.clone() };
            if layer.write(graph, &place, &x, &result) {
                x = result;
            }
        }
    }

    /// What it looks at of the input.
    fn write_view(&self, graph: &mut Graph) -> String {
        let name = |part: &str| format!("{}.{part}", self.name);
        let [begin, end, seen, turned, image, axis] = ["begin", "end", "seen", "turned", "image", "axis"].map(name);
        graph.indices(&begin, &[whole(self.values.start)]);
        graph.indices(&end, &[whole(self.values.end)]);
        graph.node("Slice", &[INPUT, &begin, &end, "axis.value"], &[&seen], vec![]);
        match self.view {
            View::Image => {
                graph.indices(&axis, &[1]);
                graph.node("Unsqueeze", &[&seen, &axis], &[&image], vec![]);
            }
            View::Channels => {
                graph.node("Transpose", &[&seen], &[&turned], vec![Attribute::ints("perm", &[0, 2, 1])]);
                graph.indices(&axis, &[3]);
                graph.node("Unsqueeze", &[&turned, &axis], &[&image], vec![]);
            }
        }
        image
    }
}

impl Layer {
    /// Writes its node; whether there is one.
    fn write(&self, graph: &mut Graph, place: &str, x: &str, out: &str) -> bool {
        let value = |name: &str| format!("{place}.{name}");
        match *self {
            Self::Conv { kernel, stride, .. } => {
                let pads = [kernel[0] / 2, kernel[1] / 2, kernel[0] / 2, kernel[1] / 2].map(whole);
                let attributes = vec![
                    Attribute::ints("kernel_shape", &kernel.map(whole)),
                    Attribute::ints("strides", &stride.map(whole)),
                    Attribute::ints("pads", &pads),
                ];
                graph.node("Conv", &[x, &value("weight"), &value("bias")], &[out], attributes);
            }
            Self::Norm(_) => {
                let [scale, shift, mean, variance] = ["scale", "shift", "mean", "variance"].map(value);
                let epsilon = vec![Attribute::float("epsilon", NORM_EPSILON)];
                graph.node("BatchNormalization", &[x, &scale, &shift, &mean, &variance], &[out], epsilon);
            }
            Self::Relu => graph.node("Relu", &[x], &[out], vec![]),
            Self::Pool(size) => {
                let size = size.map(whole);
                let attributes = vec![Attribute::ints("kernel_shape", &size), Attribute::ints("strides", &size)];
                graph.node("MaxPool", &[x], &[out], attributes);
            }
            Self::Dropout(_) => return false,
            Self::Loudest => graph.node("ReduceMax", &[x], &[out], vec![Attribute::ints("axes", &[2])]),
            Self::Recurrent { cell, units, .. } => {
                let [axis, narrow, steps, both, state] = ["axis", "narrow", "steps", "both", "state"].map(value);
                graph.indices(&axis, &[3]);
                graph.node("Squeeze", &[x, &axis], &[&narrow], vec![]);
                graph.node("Transpose", &[&narrow], &[&steps], vec![Attribute::ints("perm", &[2, 0, 1])]);
                let (operator, mut attributes) = match cell {
                    Cell::Lstm => ("LSTM", Vec::new()),
                    Cell::Gru => ("GRU", vec![Attribute::int("linear_before_reset", 1)]),
                };
                attributes.push(Attribute::string("direction", "reverse"));
                attributes.push(Attribute::int("hidden_size", whole(units)));
                // ONNX adds a second bias to the recurrent product; Keras's LSTM has one, and so has the unit here.
                let zeros = value("zeros");
                graph.constant(&zeros, &[1, cell.gates() * units], &vec![0.0; cell.gates() * units]);
                let bias = value("bias");
                graph.node("Concat", &[&bias, &zeros], &[&both], vec![Attribute::int("axis", 1)]);
                let [input, recurrent] = ["input", "recurrent"].map(value);
                graph.node(operator, &[&steps, &input, &recurrent, &both], &["", &state], attributes);
                graph.node("Transpose", &[&state], &[out], vec![Attribute::ints("perm", &[1, 2, 0])]);
            }
            Self::Dense { .. } => {
                let rows = value("rows");
                graph.node("Flatten", &[x], &[&rows], vec![Attribute::int("axis", 1)]);
                let transposed = vec![Attribute::int("transB", 1)];
                graph.node("Gemm", &[&rows, &value("weight"), &value("bias")], &[out], transposed);
            }
        }
        true
    }
}

fn whole(size: usize) -> i64 {
    i64::try_from(size).expect("no size of a network comes near 2^63")
}
