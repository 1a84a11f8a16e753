//! The network as ONNX: any number of windows of any number of frames. Normalisations are folded into the filter before them; the last
//! one into the matrix behind it.

use super::{
    norm::{EPSILON, Norm},
    parameters::{
        ATTENTION, BANDS, DILATIONS, KERNEL, LABELS, POOL, PROJECT, STEM_BANDS, STEM_FIRST, STEM_LATER, STEM_TAPS,
        TAPS, block, channels,
    },
    pool::LEAST_VARIANCE,
};
use crate::{
    model::onnx::graph::{Attribute, Graph, Size},
    train::{
        export::{INPUT, OUTPUT},
        network::Parameters,
    },
};

/// The bytes of an `.onnx` file.
pub(super) fn network(parameters: &Parameters, width: usize) -> Vec<u8> {
    let batch = Size::Any("batch");
    let graph = Graph::new(
        "telephone",
        (INPUT, &[batch, Size::Any("frames"), Size::Is(BANDS)]),
        (OUTPUT, &[batch, Size::Is(LABELS)]),
    );
    let mut writer = Writer { graph, parameters, channels: channels(width) };
    let stem = writer.stem(width);
    let mut values = writer.project(&stem, width);
    for index in 0..DILATIONS.len() {
        values = writer.block(index, &values);
    }
    writer.pool(&values);
    writer.graph.into_bytes()
}

struct Writer<'a> {
    graph: Graph,
    parameters: &'a Parameters,
    channels: usize,
}

impl Writer<'_> {
    /// `[window, channel, frame, band]`.
    fn stem(&mut self, width: usize) -> String {
        self.graph.indices("axis.channel", &[1]);
        self.graph.node("Unsqueeze", &[INPUT, "axis.channel"], &["image"], vec![]);
        let taps = KERNEL * KERNEL;
        let (scale, shift) = self.folded(STEM_FIRST + 1);
        let weight = scaled(&transposed(self.parameters.get(STEM_FIRST), taps, width), &scale);
        self.graph.constant("stem.0.weight", &[width, 1, KERNEL, KERNEL], &weight);
        self.graph.constant("stem.0.bias", &[width], &shift);
        let margin = (KERNEL / 2) as i64;
        self.conv(["image", "stem.0.weight", "stem.0.bias"], "stem.0", &[2, 2], &[margin; 4], 1, &[]);
        self.graph.node("Relu", &["stem.0"], &["stem.0.relu"], vec![]);
        let mut input = "stem.0.relu".to_owned();
        for (index, place) in STEM_LATER.into_iter().enumerate() {
            let name = format!("stem.{}", index + 1);
            let from = self.parameters.get(place).len() / (STEM_TAPS * STEM_TAPS);
            let (depth, weight, bias) = (format!("{name}.depth"), format!("{name}.weight"), format!("{name}.bias"));
            let filter = transposed(self.parameters.get(place), STEM_TAPS * STEM_TAPS, from);
            self.graph.constant(&depth, &[from, 1, STEM_TAPS, STEM_TAPS], &filter);
            let (filtered, mixed, out) = (format!("{name}.filtered"), format!("{name}.mixed"), format!("{name}.relu"));
            self.conv([&input, &depth, ""], &filtered, &[index as i64 + 1, 2], &[1; 4], from as i64, &[]);
            let (scale, shift) = self.folded(place + 2);
            let matrix = scaled(&transposed(self.parameters.get(place + 1), from, 2 * width), &scale);
            self.graph.constant(&weight, &[2 * width, from, 1, 1], &matrix);
            self.graph.constant(&bias, &[2 * width], &shift);
            self.conv([&filtered, &weight, &bias], &mixed, &[1, 1], &[0; 4], 1, &[]);
            self.graph.node("Relu", &[&mixed], &[&out], vec![]);
            input = out;
        }
        input
    }

    /// `[window, channel, frame]`.
    fn project(&mut self, input: &str, width: usize) -> String {
        // The matrix is [band × channel, out], the image [channel, band].
        let from = 2 * width;
        let matrix = self.parameters.get(PROJECT);
        let mut weight = Vec::with_capacity(matrix.len());
        for out in 0..self.channels {
            for channel in 0..from {
                weight.extend((0..STEM_BANDS).map(|band| matrix[(band * from + channel) * self.channels + out]));
            }
        }
        self.graph.constant("project.weight", &[self.channels, from * STEM_BANDS, 1], &weight);
        self.graph.constant("project.bias", &[self.channels], self.parameters.get(PROJECT + 1));
        self.graph.node("Transpose", &[input], &["bands"], vec![Attribute::ints("perm", &[0, 1, 3, 2])]);
        self.graph.indices("flat", &[0, (from * STEM_BANDS) as i64, -1]);
        self.graph.node("Reshape", &["bands", "flat"], &["sequence"], vec![]);
        self.conv(["sequence", "project.weight", "project.bias"], "project", &[1], &[0, 0], 1, &[]);
        "project".to_owned()
    }

    fn block(&mut self, index: usize, input: &str) -> String {
        let (place, channels) = (block(index), self.channels);
        let name = |part: &str| format!("block.{index}.{part}");
        let (scale, shift) = self.folded(place + 1);
        let filter = scaled(&transposed(self.parameters.get(place), TAPS, channels), &scale);
        self.graph.constant(&name("depth"), &[channels, 1, TAPS], &filter);
        self.graph.constant(&name("depth.bias"), &[channels], &shift);
        let dilation = DILATIONS[index] as i64;
        let margin = (TAPS / 2) as i64 * dilation;
        self.conv(
            [input, &name("depth"), &name("depth.bias")],
            &name("filtered"),
            &[1],
            &[margin; 2],
            channels as i64,
            &[dilation],
        );
        let up = transposed(self.parameters.get(place + 5), channels, 2 * channels);
        self.graph.constant(&name("up.weight"), &[2 * channels, channels, 1], &up);
        self.graph.constant(&name("up.bias"), &[2 * channels], self.parameters.get(place + 6));
        self.conv([&name("filtered"), &name("up.weight"), &name("up.bias")], &name("up"), &[1], &[0, 0], 1, &[]);
        self.gelu(&name("up"), &name("bent"));
        let down = transposed(self.parameters.get(place + 7), 2 * channels, channels);
        self.graph.constant(&name("down.weight"), &[channels, 2 * channels, 1], &down);
        self.graph.constant(&name("down.bias"), &[channels], self.parameters.get(place + 8));
        self.conv([&name("bent"), &name("down.weight"), &name("down.bias")], &name("down"), &[1], &[0, 0], 1, &[]);
        self.graph.node("Add", &[input, &name("down")], &[&name("out")], vec![]);
        name("out")
    }

    /// `0.5 · x · (1 + erf(x / √2))`, in the order in which ONNX Runtime knows it again and fuses it.
    fn gelu(&mut self, input: &str, out: &str) {
        for (name, value) in [("root.2", std::f32::consts::SQRT_2), ("one", 1.0), ("half", 0.5)] {
            let full = format!("{out}.{name}");
            self.graph.constant(&full, &[], &[value]);
        }
        let name = |part: &str| format!("{out}.{part}");
        self.graph.node("Div", &[input, &name("root.2")], &[&name("scaled")], vec![]);
        self.graph.node("Erf", &[&name("scaled")], &[&name("erf")], vec![]);
        self.graph.node("Add", &[&name("erf"), &name("one")], &[&name("raised")], vec![]);
        self.graph.node("Mul", &[input, &name("raised")], &[&name("twice")], vec![]);
        self.graph.node("Mul", &[&name("twice"), &name("half")], &[out], vec![]);
    }

    fn pool(&mut self, input: &str) {
        let channels = self.channels;
        for (index, (from, to)) in [(channels, ATTENTION), (ATTENTION, channels)].into_iter().enumerate() {
            let (weight, bias) = (format!("attention.{index}.weight"), format!("attention.{index}.bias"));
            let matrix = transposed(self.parameters.get(POOL + 2 * index), from, to);
            self.graph.constant(&weight, &[to, from, 1], &matrix);
            self.graph.constant(&bias, &[to], self.parameters.get(POOL + 2 * index + 1));
        }
        self.conv([input, "attention.0.weight", "attention.0.bias"], "attention.0", &[1], &[0, 0], 1, &[]);
        self.graph.node("Tanh", &["attention.0"], &["attention.0.tanh"], vec![]);
        self.conv(["attention.0.tanh", "attention.1.weight", "attention.1.bias"], "attention.1", &[1], &[0, 0], 1, &[]);
        self.graph.node("Softmax", &["attention.1"], &["attention"], vec![Attribute::int("axis", 2)]);
        self.graph.indices("axis.frame", &[2]);
        self.graph.constant("least", &[], &[LEAST_VARIANCE]);
        let sum = || vec![Attribute::int("keepdims", 0)];
        self.graph.node("Mul", &["attention", input], &["weighted"], vec![]);
        self.graph.node("ReduceSum", &["weighted", "axis.frame"], &["mean"], sum());
        self.graph.node("Mul", &["weighted", input], &["weighted.square"], vec![]);
        self.graph.node("ReduceSum", &["weighted.square", "axis.frame"], &["square"], sum());
        self.graph.node("Mul", &["mean", "mean"], &["mean.square"], vec![]);
        self.graph.node("Sub", &["square", "mean.square"], &["variance"], vec![]);
        self.graph.node("Max", &["variance", "least"], &["variance.least"], vec![]);
        self.graph.node("Sqrt", &["variance.least"], &["deviation"], vec![]);
        self.graph.node("Concat", &["mean", "deviation"], &["pooled"], vec![Attribute::int("axis", 1)]);
        let (scale, shift) = self.folded(POOL + 4);
        let matrix = self.parameters.get(POOL + 8);
        let weight: Vec<f32> =
            matrix.chunks_exact(LABELS).zip(&scale).flat_map(|(row, by)| row.iter().map(move |w| w * by)).collect();
        let mut bias = self.parameters.get(POOL + 9).to_vec();
        for (row, shift) in matrix.chunks_exact(LABELS).zip(&shift) {
            bias.iter_mut().zip(row).for_each(|(bias, weight)| *bias += weight * shift);
        }
        self.graph.constant("output.weight", &[2 * channels, LABELS], &weight);
        self.graph.constant("output.bias", &[LABELS], &bias);
        self.graph.node("Gemm", &["pooled", "output.weight", "output.bias"], &[OUTPUT], vec![]);
    }

    /// What the normalisation at `place` multiplies each channel by, and what it adds.
    fn folded(&self, place: usize) -> (Vec<f32>, Vec<f32>) {
        let (mean, variance) = (self.parameters.get(place + 2), self.parameters.get(place + 3));
        let inverse: Vec<f32> = variance.iter().map(|variance| 1.0 / (variance + EPSILON).sqrt()).collect();
        Norm { place, rectified: false }.affine(self.parameters, mean, &inverse)
    }

    fn conv(&mut self, input: [&str; 3], out: &str, strides: &[i64], pads: &[i64], group: i64, dilations: &[i64]) {
        let mut attributes =
            vec![Attribute::ints("strides", strides), Attribute::ints("pads", pads), Attribute::int("group", group)];
        if !dilations.is_empty() {
            attributes.push(Attribute::ints("dilations", dilations));
        }
        let input: Vec<&str> = input.into_iter().filter(|name| !name.is_empty()).collect();
        self.graph.node("Conv", &input, &[out], attributes);
    }
}

/// `[rows, columns]` as `[columns, rows]`.
fn transposed(matrix: &[f32], rows: usize, columns: usize) -> Vec<f32> {
    (0..columns).flat_map(|column| (0..rows).map(move |row| matrix[row * columns + column])).collect()
}

/// Rows of `matrix` multiplied by one number each.
fn scaled(matrix: &[f32], by: &[f32]) -> Vec<f32> {
    let columns = matrix.len() / by.len();
    matrix.chunks_exact(columns).zip(by).flat_map(|(row, by)| row.iter().map(move |value| value * by)).collect()
}
