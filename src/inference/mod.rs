//! Windows of all calls, in batches, through one model, on threads of its own.

use std::future::Future;

use crate::model::Outcome;

/// Where windows are handed in. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Handle {}

impl Handle {
    /// Queues a window of a leg at once; the answer comes with the future. Dropping the future cancels the window.
    pub fn infer(&self, _leg: u64, _window: Vec<f32>) -> impl Future<Output = Outcome> + Send + 'static {
        std::future::pending()
    }

    /// Windows that wait.
    pub fn depth(&self) -> usize {
        todo!()
    }

    /// The error that stopped the worker, if one did.
    pub fn failure(&self) -> Option<String> {
        todo!()
    }
}
