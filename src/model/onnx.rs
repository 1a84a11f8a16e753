//! A network in ONNX Runtime, on the CPU; [`graph`] writes one.
//!
//! The library is loaded when [`Runtime::load`] asks for it, so the program builds and starts without one; a library that is
//! missing, too old or not ONNX Runtime at all is an error that says how to get it. A [`Session`] is only made of a network whose
//! hash and graph fit its manifest, and has run once before it is handed out, so that the first call does not wait for what ONNX
//! Runtime puts off until then.

use std::path::{Path, PathBuf};

use ort::{
    session::{Session as Graph, builder::SessionBuilder},
    value::{Outlet, TensorElementType, TensorRef, ValueType},
};

use self::graph::Size;
use super::{Classifier, Manifest, manifest};

pub mod graph;
mod runtime;
#[cfg(test)]
mod tests;

pub use runtime::Runtime;

/// What runs the networks, as the API names it.
pub const PROVIDER: &str = "cpu";

/// How a session is to run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// Threads within one run. 1 unless told otherwise: workers run side by side, and a window is too small to share.
    pub intra_threads: usize,
}

/// What can be wrong with ONNX Runtime or a network; the message says what to do.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The library is nowhere.
    #[error(
        "ONNX Runtime was not found; run `make setup`, which fetches it, or set ORT_DYLIB_PATH or `onnxruntime.library` in the \
         configuration to the path of {}; looked for {}",
        runtime::library_name(),
        list(looked_for)
    )]
    NoLibrary {
        /// Where.
        looked_for: Vec<PathBuf>,
    },
    /// The library is there, or should be, but cannot be used.
    #[error(
        "ONNX Runtime cannot be used: {problem}; run `make setup`, which fetches a library that fits, and set ORT_DYLIB_PATH or \
         `onnxruntime.library` in the configuration to its path, or neither"
    )]
    Library {
        /// Which and why.
        problem: String,
    },
    /// Another library is in use already; a process takes one.
    #[error("ONNX Runtime is loaded from {} already, and a process loads it once; restart to load {}", loaded.display(), asked.display())]
    OtherLibrary {
        /// In use.
        loaded: PathBuf,
        /// Asked for.
        asked: PathBuf,
    },
    /// The manifest, or the network's file.
    #[error(transparent)]
    Manifest(#[from] manifest::Error),
    /// ONNX Runtime refused the network.
    #[error("ONNX Runtime cannot read the network of model {model:?}: {problem}; export it again, opset {opset}")]
    Graph {
        /// The model's name.
        model: String,
        /// Its operator set, by the manifest.
        opset: u32,
        /// Why.
        problem: String,
    },
    /// The graph is not the one that the manifest describes.
    #[error(
        "the network of model {model:?} does not fit its manifest: {problem}; take both from the same training run"
    )]
    Mismatch {
        /// The model's name.
        model: String,
        /// What differs, with expected and actual.
        problem: String,
    },
}

/// One network, ready to run. One a worker thread.
#[derive(Debug)]
pub struct Session {
    graph: Graph,
    input: String,
    output: String,
    values: usize,
    /// Whether a window is one row: [`crate::features::FrontEnd::is_flat`].
    flat: bool,
    labels: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self { intra_threads: 1 }
    }
}

impl Session {
    /// The network beside the manifest in `dir`, once its hash and graph are found to fit.
    pub fn load(runtime: &Runtime, manifest: &Manifest, dir: &Path, options: &Options) -> Result<Self, Error> {
        Self::from_network(runtime, manifest, &manifest.read_network(dir)?, options)
    }

    /// A network whose bytes [`Manifest::read_network`] gave, once its graph is found to fit.
    pub fn from_network(
        runtime: &Runtime,
        manifest: &Manifest,
        network: &[u8],
        options: &Options,
    ) -> Result<Self, Error> {
        let unreadable = |problem: ort::Error| Error::Graph {
            model: manifest.name.clone(),
            opset: manifest.network.opset,
            problem: problem.to_string(),
        };
        let graph = builder(runtime, options)
            .and_then(|mut builder| builder.commit_from_memory(network))
            .map_err(unreadable)?;
        let mismatch = |problem| Error::Mismatch { model: manifest.name.clone(), problem };
        let (window, values, labels) = (&manifest.window, manifest.front_end.values(), manifest.labels.len());
        let (flat, grows) = (manifest.front_end.is_flat(), window.grow_frames.is_some());
        let sizes = match (flat, grows) {
            (true, true) => vec![Size::Any("batch"), Size::Any("samples")],
            (true, false) => vec![Size::Any("batch"), Size::Is(window.frames * values)],
            (false, true) => vec![Size::Any("batch"), Size::Any("frames"), Size::Is(values)],
            (false, false) => vec![Size::Any("batch"), Size::Is(window.frames), Size::Is(values)],
        };
        check("input", graph.inputs(), &manifest.network.input, &sizes).map_err(mismatch)?;
        let sizes = [Size::Any("batch"), Size::Is(labels)];
        check("output", graph.outputs(), &manifest.network.output, &sizes).map_err(mismatch)?;
        let (input, output) = (manifest.network.input.clone(), manifest.network.output.clone());
        let mut session = Self { graph, input, output, values, flat, labels };
        // A graph may promise any batch, or any number of frames, and hold a reshape to one.
        let shortest = window.network_frames(window.grow_frames.unwrap_or(window.frames));
        for (batch, frames) in [(1, shortest), (1, window.frames), (2, window.frames)] {
            let windows = vec![0.0; batch * frames * values];
            session.run(&windows, batch).map_err(|error| {
                mismatch(format!("a batch of {batch} windows of {frames} frames of zeros: {error}"))
            })?;
        }
        Ok(session)
    }

    /// Runs `batch` windows of `frames` frames each, laid out one after another.
    ///
    /// A network with a fixed number of frames takes that of its manifest only; one with a dynamic time axis takes any that it was
    /// built for.
    pub fn run_frames(&mut self, windows: &[f32], batch: usize, frames: usize) -> Result<Vec<f32>, super::Error> {
        let failed = |problem: String| super::Error::Inference(problem);
        let expected = batch * frames * self.values;
        if windows.len() != expected || expected == 0 {
            let (actual, values) = (windows.len(), self.values);
            return Err(failed(format!(
                "{actual} numbers were given for {batch} windows of {frames} frames of {values} values, expected {expected}"
            )));
        }
        let (flat, rows) = ([batch, frames * self.values], [batch, frames, self.values]);
        let shape: &[usize] = if self.flat { &flat } else { &rows };
        let input = TensorRef::from_array_view((shape.to_vec(), windows)).map_err(|error| failed(error.to_string()))?;
        let inputs = ort::inputs![self.input.as_str() => input];
        let outputs = self.graph.run(inputs).map_err(|error| failed(error.to_string()))?;
        // The name was found among the graph's outputs when the session was made.
        let (shape, logits) =
            outputs[self.output.as_str()].try_extract_tensor::<f32>().map_err(|error| failed(error.to_string()))?;
        if shape.iter().copied().ne([batch, self.labels].map(|size| i64::try_from(size).unwrap_or(i64::MAX))) {
            let labels = self.labels;
            return Err(failed(format!("the network answered with shape {shape}, expected [{batch}, {labels}]")));
        }
        if let Some(index) = logits.iter().position(|logit| !logit.is_finite()) {
            return Err(failed(format!(
                "logit {index} of {} is {}, expected a finite number",
                logits.len(),
                logits[index]
            )));
        }
        Ok(logits.to_vec())
    }
}

impl Classifier for Session {
    fn run(&mut self, windows: &[f32], batch: usize) -> Result<Vec<f32>, super::Error> {
        let frames = windows.len().checked_div(batch * self.values).unwrap_or(0);
        self.run_frames(windows, batch, frames)
    }
}

fn builder(runtime: &Runtime, options: &Options) -> ort::Result<SessionBuilder> {
    let builder = Graph::builder(runtime.environment())?
        .with_intra_threads(options.intra_threads)?
        .with_inter_threads(1)?
        // Spinning threads would take the core from other workers while there is nothing to do.
        .with_intra_op_spinning(false)?;
    Ok(builder)
}

/// Whether the graph has this one input or output, of f32 and these sizes. What may be any must be dynamic; a size may be.
fn check(what: &str, outlets: &[Outlet], name: &str, sizes: &[Size]) -> Result<(), String> {
    let names = || outlets.iter().map(Outlet::name).collect::<Vec<_>>().join(", ");
    let Some(outlet) = outlets.iter().find(|outlet| outlet.name() == name) else {
        return Err(format!("its {what} is {}, expected {name}", names()));
    };
    if what == "input" && outlets.len() > 1 {
        return Err(format!("it has inputs {}, expected {name} alone", names()));
    }
    let expected = || {
        let sizes = sizes.iter().map(|size| match size {
            Size::Any(name) => (*name).to_owned(),
            Size::Is(size) => size.to_string(),
        });
        sizes.collect::<Vec<_>>().join(", ")
    };
    let ValueType::Tensor { ty: TensorElementType::Float32, shape, .. } = outlet.dtype() else {
        return Err(format!("its {what} {name} is {}, expected f32 [{}]", outlet.dtype(), expected()));
    };
    let fits = |(actual, expected): (&i64, &Size)| match expected {
        Size::Any(_) => *actual == -1,
        Size::Is(expected) => *actual == -1 || usize::try_from(*actual) == Ok(*expected),
    };
    if shape.len() != sizes.len() || !shape.iter().zip(sizes).all(fits) {
        return Err(format!("its {what} {name} has shape {shape}, where -1 is any size, expected [{}]", expected()));
    }
    Ok(())
}

fn list(paths: &[PathBuf]) -> String {
    paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
}
