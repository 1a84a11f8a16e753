//! What a model is, and what runs it.

pub mod manifest;

pub use manifest::Manifest;

/// Runs windows through a network. One a worker thread.
pub trait Classifier: Send {
    /// Runs `batch` windows of `frames` × `values` each, laid out one after another; returns as many rows of logits, one a label.
    fn run(&mut self, windows: &[f32], batch: usize) -> Result<Vec<f32>, Error>;
}

/// What can be wrong with a model or its running.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The network failed on these windows.
    #[error("inference failed: {0}")]
    Inference(String),
}

/// What became of a window.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// One logit a label.
    Logits(Vec<f32>),
    /// Given up for a fresher one: there was more to do than could be done.
    Shed,
    /// The network failed on it, or the worker has stopped for good.
    Failed(String),
}
