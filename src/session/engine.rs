//! The models in service, each with what runs it.

use std::sync::Arc;

use metrics::Recorder;

use super::Refusal;
use crate::{
    inference::{self, Backend, Handle, Worker},
    model::{Model, Registry},
    telemetry::metrics::ModelMetrics,
};

/// One model in service.
pub struct Engine {
    /// All about it.
    pub model: Arc<Model>,
    /// Where its windows are handed in.
    pub inference: Handle,
    /// What is measured of it.
    pub metrics: ModelMetrics,
}

/// The models in service, each with what runs it. Never empty.
pub struct Engines {
    registry: Registry,
    engines: Vec<Arc<Engine>>,
}

impl Engines {
    /// Engines for these models, and the workers that have to be run for them; nothing runs yet. `backend` says what runs a model;
    /// `Arc::clone` takes the model itself.
    pub fn new<B: Backend>(
        registry: Registry,
        options: inference::Options,
        recorder: &dyn Recorder,
        backend: impl Fn(&Arc<Model>) -> B,
    ) -> Result<(Self, Vec<Worker>), inference::Invalid> {
        let mut workers = Vec::with_capacity(registry.models().len());
        let mut engines = Vec::with_capacity(registry.models().len());
        for model in registry.models() {
            let metrics = ModelMetrics::new(recorder, &model.manifest.name, &model.manifest.labels);
            let (inference, worker) = inference::pair(options, inference_metrics(&metrics), backend(model))?;
            workers.push(worker);
            engines.push(Arc::new(Engine { model: Arc::clone(model), inference, metrics }));
        }
        Ok((Self { registry, engines }, workers))
    }

    /// The models, the default first, then by name.
    pub fn models(&self) -> &[Arc<Model>] {
        self.registry.models()
    }

    /// The model of this name; the default when none, or an empty one, is given.
    pub fn model(&self, name: Option<&str>) -> Result<&Arc<Model>, Refusal> {
        Ok(self.registry.get(name)?)
    }

    /// Takes no more windows in, so that the workers end.
    pub fn close(&self) {
        for engine in &self.engines {
            engine.inference.close();
        }
    }

    pub(super) fn get(&self, name: Option<&str>) -> Result<&Arc<Engine>, Refusal> {
        let model = self.registry.get(name)?;
        let engine = self.engines.iter().find(|engine| engine.model.manifest.name == model.manifest.name);
        Ok(engine.expect("there is an engine for every model of the registry"))
    }
}

fn inference_metrics(metrics: &ModelMetrics) -> inference::Metrics {
    inference::Metrics {
        queue_windows: metrics.queue_windows.clone(),
        queue_wait_seconds: metrics.queue_wait_seconds.clone(),
        batch_windows: metrics.batch_windows.clone(),
        run_seconds: metrics.inference_seconds.clone(),
        scored_total: metrics.scored_total.clone(),
        shed_total: metrics.shed_total.clone(),
        cancelled_total: metrics.cancelled_total.clone(),
        failed_total: metrics.failed_total.clone(),
    }
}
