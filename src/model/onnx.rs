//! A network in ONNX Runtime, on the [`Provider`] that is asked for; [`graph`] writes one.
//!
//! The library is loaded when [`Runtime::load`] asks for it, so the program builds and starts without one; a library that is
//! missing, too old or not ONNX Runtime at all is an error that says how to get it. A [`Session`] is only made of a network whose
//! hash and graph fit its manifest, and has run before it is handed out, at every size that it may be run at where those are few, so
//! that no call waits for what ONNX Runtime puts off until then.

use std::path::{Path, PathBuf};

use ort::{
    session::{Session as Graph, builder::SessionBuilder},
    value::{Outlet, TensorElementType, TensorRef, ValueType},
};

use self::{bucket::Buckets, graph::Size};
use super::{Classifier, Manifest, manifest};

mod bucket;
pub mod graph;
mod provider;
mod runtime;
#[cfg(test)]
mod tests;

pub use provider::Provider;
pub use runtime::Runtime;

/// How a session is to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Threads within one run. 1 unless told otherwise: workers run side by side, and a window is too small to share.
    pub intra_threads: usize,
    /// What it runs on.
    pub provider: Provider,
    /// Which GPU.
    pub device_id: i32,
    /// Sizes of batches that it is run at, ascending, all tried out beforehand; others are filled up or parted. Empty: any.
    pub buckets: Vec<usize>,
    /// Where TensorRT keeps the engines that it has built. `None`: nowhere, so that it builds them at every start.
    pub engine_cache: Option<PathBuf>,
    /// Whether a model runs on the CPU where the provider cannot be had.
    pub fallback_to_cpu: bool,
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
    /// The network runs on the CPU, but not on the provider that is asked for.
    #[error("model {model:?} {}", lacks(*provider, problem, remedy))]
    Provider {
        /// The model's name.
        model: String,
        /// The provider.
        provider: Provider,
        /// Why.
        problem: String,
        /// What to do.
        remedy: String,
    },
}

/// What is said of a provider that cannot be had.
fn lacks(provider: Provider, problem: &str, remedy: &str) -> String {
    format!("cannot run on {}: {}; {remedy}", provider.name(), problem.trim_end_matches(['.', ' ', '\n']))
}

impl Error {
    /// Why the provider cannot be had, where that is what is wrong; the model is not named.
    pub(super) fn provider_problem(&self) -> Option<String> {
        match self {
            Self::Provider { provider, problem, remedy, .. } => Some(lacks(*provider, problem, remedy)),
            _ => None,
        }
    }
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
    buckets: Buckets,
}

impl Default for Options {
    fn default() -> Self {
        Self::on(Provider::Cpu, Provider::Cpu.max_batch())
    }
}

impl Options {
    /// On this provider, with batches of so many windows at most; the first GPU.
    pub fn on(provider: Provider, max_batch: usize) -> Self {
        Self {
            intra_threads: 1,
            provider,
            device_id: 0,
            buckets: provider.buckets(max_batch),
            engine_cache: None,
            fallback_to_cpu: false,
        }
    }

    /// The same on the CPU.
    pub(super) fn on_cpu(&self) -> Self {
        Self { intra_threads: self.intra_threads, ..Self::default() }
    }
}

impl Session {
    /// The network beside the manifest in `dir`, once its hash and graph are found to fit.
    pub fn load(runtime: &Runtime, manifest: &Manifest, dir: &Path, options: &Options) -> Result<Self, Error> {
        Self::from_network(runtime, manifest, &manifest.read_network(dir)?, options)
    }

    /// A network whose bytes [`Manifest::read_network`] gave, once its graph is found to fit.
    ///
    /// # Errors
    /// [`Error::Provider`] where it runs on the CPU, but not on the provider asked for; what is wrong with the network itself is told as it
    /// is on the CPU.
    pub fn from_network(
        runtime: &Runtime,
        manifest: &Manifest,
        network: &[u8],
        options: &Options,
    ) -> Result<Self, Error> {
        let made = Self::make(runtime, manifest, network, options);
        let provider = options.provider;
        let problem =
            match made {
                Err(
                    Error::Graph { problem, .. } | Error::Mismatch { problem, .. } | Error::Provider { problem, .. },
                ) if provider != Provider::Cpu => problem,
                made => return made,
            };
        Self::make(runtime, manifest, network, &options.on_cpu())?;
        Err(Error::Provider { model: manifest.name.clone(), provider, problem, remedy: provider.remedy(runtime) })
    }

    fn make(runtime: &Runtime, manifest: &Manifest, network: &[u8], options: &Options) -> Result<Self, Error> {
        let unreadable = |problem: ort::Error| Error::Graph {
            model: manifest.name.clone(),
            opset: manifest.network.opset,
            problem: problem.to_string(),
        };
        let graph = builder(runtime, options)
            .and_then(|builder| options.provider.register(builder, manifest, options))
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
        let buckets = Buckets::new(options.buckets.clone());
        let mut session = Self { graph, input, output, values, flat, labels, buckets };
        for (batch, frames) in tried_out(manifest, options) {
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
        let mut buckets = std::mem::take(&mut self.buckets);
        let rows = buckets.run(windows, batch, |windows, batch| self.run_batch(windows, batch, frames));
        self.buckets = buckets;
        rows
    }

    /// Runs a batch as it is.
    fn run_batch(&mut self, windows: &[f32], batch: usize, frames: usize) -> Result<Vec<f32>, super::Error> {
        let failed = |problem: String| super::Error::Inference(problem);
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

/// The lengths, in frames, of the windows that the network is given, ascending.
fn lengths(manifest: &Manifest) -> Vec<usize> {
    let window = &manifest.window;
    let grown = window.grow_frames.into_iter().flat_map(|grow| (grow..window.frames).step_by(grow));
    grown.chain([window.frames]).collect()
}

/// Batches and lengths that a network is tried out with before it is handed out: where there are buckets all that it will be run at, else
/// what tells whether it takes any, since a graph may promise any batch or number of frames and hold a reshape to one.
fn tried_out(manifest: &Manifest, options: &Options) -> Vec<(usize, usize)> {
    let lengths = lengths(manifest);
    if options.buckets.is_empty() {
        return vec![(1, lengths[0]), (1, manifest.window.frames), (2, manifest.window.frames)];
    }
    lengths.into_iter().flat_map(|frames| options.buckets.iter().map(move |&batch| (batch, frames))).collect()
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
