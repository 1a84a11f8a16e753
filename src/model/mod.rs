//! What a model is, and what runs it.
//!
//! A model is a folder: [`manifest`] says all about the network beside it, [`onnx`] runs it, [`registry`] keeps those in service.
//! [`checkout`] says where both may lie unnamed. [`forest`] is the one model that is no network: it is scored, and serves no call.

pub mod checkout;
pub mod forest;
pub mod manifest;
pub mod onnx;
pub mod registry;

#[cfg(test)]
pub(crate) mod tiny;

use zeroize::Zeroizing;

pub use forest::Forest;
pub use manifest::Manifest;
pub use registry::{Model, Registry};

/// Runs windows through a network. One a worker thread.
pub trait Classifier: Send {
    /// Runs `batch` windows of `frames` × `values` each, all of the same length and laid out one after another; returns as many
    /// rows of logits, one a label, all of them finite.
    fn run(&mut self, windows: &[f32], batch: usize) -> Result<Vec<f32>, Error>;
}

/// What can be wrong with a model or its running.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The network failed on these windows.
    #[error("inference failed: {0}")]
    Inference(String),
    /// The network could not be made ready to run.
    #[error(transparent)]
    Load(#[from] onnx::Error),
}

/// What became of a window.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// One logit a label. Wiped when dropped: it is what was heard.
    Logits(Zeroizing<Vec<f32>>),
    /// Given up for a fresher one: there was more to do than could be done.
    Shed,
    /// The network failed on it, or the worker has stopped for good.
    Failed(String),
}
