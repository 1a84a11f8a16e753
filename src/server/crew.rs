//! The workers of all models, in service and on their way out, each on threads of its own until its model's last leg is gone.

use std::{
    any::Any,
    sync::{Arc, Mutex, PoisonError},
};

use tokio_util::task::TaskTracker;

use super::health::{Health, Readiness};
use crate::session::{EngineWorker, Sessions};

/// Runs workers. Cheap to clone.
#[derive(Clone)]
pub(super) struct Crew {
    sessions: Sessions,
    health: Health,
    running: TaskTracker,
    panic: Arc<Mutex<Option<Box<dyn Any + Send>>>>,
}

impl Crew {
    /// Nobody yet.
    pub(super) fn new(sessions: Sessions, health: Health) -> Self {
        Self { sessions, health, running: TaskTracker::new(), panic: Arc::default() }
    }

    /// Runs a worker. One that stops for good makes the server unready while its model is in service.
    pub(super) fn run(&self, worker: EngineWorker) {
        let EngineWorker { worker, engine, model } = worker;
        let crew = self.clone();
        let runs = self.sessions.metrics().reload.model_runs();
        self.running.spawn(async move {
            let _runs = runs;
            match tokio::task::spawn_blocking(move || worker.run()).await {
                Ok(Ok(())) => tracing::info!(model, "the model's workers have ended"),
                Ok(Err(_stopped)) => {
                    let in_service =
                        |engine| crew.sessions.engines().all().iter().any(|other| Arc::ptr_eq(other, engine));
                    if engine.upgrade().as_ref().is_some_and(in_service) {
                        crew.health.tell(Readiness::Failed).await;
                    }
                }
                Err(error) => {
                    let mut panic = crew.panic.lock().unwrap_or_else(PoisonError::into_inner);
                    // The first tells most.
                    panic.get_or_insert(error.into_panic());
                }
            }
        });
    }

    /// Says that the server can score again where a model that had failed was replaced and none in service has failed.
    pub(super) async fn look_after_failures(&self) {
        let failed = |engine: &Arc<crate::session::Engine>| engine.inference.failure().is_some();
        if !self.sessions.engines().all().iter().any(failed) {
            let writable = *self.sessions.journal().writable().borrow();
            self.health.tell_recovered(writable).await;
        }
    }

    /// Waits for all of them, which end once their engines are closed; gives back the first panic.
    pub(super) async fn ended(self) -> Option<Box<dyn Any + Send>> {
        self.running.close();
        self.running.wait().await;
        self.panic.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}
