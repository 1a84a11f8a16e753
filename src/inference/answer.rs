//! Who waits for a window.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use tokio::sync::oneshot;

use super::Shared;
use crate::model::Outcome;

/// The answer to come of a window. Dropped before it came, it takes the window out of the queue.
pub(super) struct Answer {
    shared: Arc<Shared>,
    leg: u64,
    id: u64,
    outcome: oneshot::Receiver<Outcome>,
    has_come: bool,
}

impl Answer {
    pub(super) fn new(shared: Arc<Shared>, leg: u64, id: u64, outcome: oneshot::Receiver<Outcome>) -> Self {
        Self { shared, leg, id, outcome, has_come: false }
    }
}

impl Future for Answer {
    /// What becomes of the window.
    type Output = Outcome;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Outcome> {
        let outcome = std::task::ready!(Pin::new(&mut self.outcome).poll(context));
        self.has_come = true;
        Poll::Ready(outcome.unwrap_or_else(|_| Outcome::Failed("the inference worker is gone".to_owned())))
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        if !self.has_come {
            self.shared.cancel(self.leg, self.id);
        }
    }
}
