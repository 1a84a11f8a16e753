//! The models in service, each with what runs it.

use std::{
    sync::{Arc, OnceLock, Weak},
    time::Duration,
};

use metrics::Recorder;

use super::{
    Refusal,
    calibrate::{self, Cost, Measured, Room},
    shadow::Shadow,
};
use crate::{
    config,
    inference::{self, Backend, Handle, Worker},
    model::{Model, Registry},
    telemetry::metrics::{ModelMetrics, tell_provider},
};

/// One model in service.
pub struct Engine {
    /// All about it.
    pub model: Arc<Model>,
    /// Where its windows are handed in.
    pub inference: Handle,
    /// What is measured of it.
    pub metrics: ModelMetrics,
    /// How it is run.
    options: inference::Options,
    /// What its calls weigh, once it was measured.
    cost: OnceLock<Cost>,
}

/// A worker that is to be run, and the engine that it is of; it ends when the engine is gone.
pub struct EngineWorker {
    /// It.
    pub worker: Worker,
    /// Its engine.
    pub engine: Weak<Engine>,
    /// The model's name.
    pub model: String,
}

/// The models in service, each with what runs it. Never empty.
pub struct Engines {
    registry: Registry,
    engines: Vec<Arc<Engine>>,
    /// Windows a second that this machine was measured to carry.
    measured: OnceLock<f64>,
    /// A model that is tried beside one of them.
    pub(super) shadow: Option<Arc<Shadow>>,
}

impl Engine {
    /// Whether it is known what its calls weigh.
    pub fn is_measured(&self) -> bool {
        self.cost.get().is_some()
    }

    /// The weight of a leg with this stride, in windows a second.
    pub fn windows_per_second(&self, stride: Duration) -> f64 {
        self.cost.get().copied().unwrap_or_default().of(stride)
    }
}

impl Engines {
    /// Engines for these models, and the workers that have to be run for them; nothing runs yet. `backend` says what runs a model;
    /// `Arc::clone` takes the model itself.
    pub fn new<B: Backend>(
        registry: Registry,
        options: &config::Inference,
        recorder: &dyn Recorder,
        backend: impl Fn(&Arc<Model>) -> B,
    ) -> Result<(Self, Vec<EngineWorker>), inference::Invalid> {
        let none = Self { registry: Registry::default(), engines: Vec::new(), measured: OnceLock::new(), shadow: None };
        none.renewed(registry, options, recorder, backend)
    }

    /// Engines for other models, without a shadow. Those of these that are the same, are to be run alike and did not fail are kept, with their
    /// workers; what was measured stays.
    pub fn renewed<B: Backend>(
        &self,
        registry: Registry,
        options: &config::Inference,
        recorder: &dyn Recorder,
        backend: impl Fn(&Arc<Model>) -> B,
    ) -> Result<(Self, Vec<EngineWorker>), inference::Invalid> {
        let mut workers = Vec::new();
        let mut engines = Vec::with_capacity(registry.models().len());
        for model in registry.models() {
            let options = options.options(model.provider());
            let fits = |engine: &&Arc<Engine>| {
                Arc::ptr_eq(&engine.model, model) && engine.options == options && engine.inference.failure().is_none()
            };
            if let Some(engine) = self.engines.iter().find(fits) {
                engines.push(Arc::clone(engine));
                continue;
            }
            let (name, provider) = (&*model.manifest.name, model.provider().name());
            let metrics = ModelMetrics::new(recorder, name, provider, &model.manifest.labels);
            let (inference, worker) = inference::pair(options, inference_metrics(&metrics), backend(model))?;
            let before = self.engines.iter().find(|engine| engine.model.manifest.name == model.manifest.name);
            let cost = before.map(|engine| engine.cost.clone()).unwrap_or_default();
            let engine = Arc::new(Engine { model: Arc::clone(model), inference, metrics, options, cost });
            let model = model.manifest.name.clone();
            workers.push(EngineWorker { worker, engine: Arc::downgrade(&engine), model });
            engines.push(engine);
        }
        Ok((Self { registry, engines, measured: self.measured.clone(), shadow: None }, workers))
    }

    /// Has the metrics say what runs each model, and that those of `before` that are not among these are run by nothing. To be called once these
    /// are taken: what is only prepared may still be refused.
    pub fn tell_providers(&self, before: Option<&Self>, recorder: &dyn Recorder) {
        let name = |model: &Arc<Model>| model.manifest.name.clone();
        let gone = before.into_iter().flat_map(|before| before.models()).map(name);
        for gone in gone.filter(|gone| self.models().iter().all(|model| model.manifest.name != *gone)) {
            tell_provider(recorder, &gone, None, false);
        }
        for model in self.models() {
            let provider = model.provider().name();
            tell_provider(recorder, &model.manifest.name, Some(provider), model.fallback_reason().is_some());
        }
    }

    /// Logs each model, where it was loaded from, and what runs it.
    pub fn log(&self) {
        for model in self.models() {
            let manifest = &model.manifest;
            tracing::info!(
                model = manifest.name,
                version = manifest.version,
                sha256 = model.sha256(),
                folder = %model.dir.display(),
                provider = model.provider().name(),
                library = %model.library().display(),
                "model in service"
            );
        }
    }

    /// Measures what this machine carries of calls with so many messages a second, and what each model's calls weigh. Takes about a second a
    /// model, and is to be done before calls are taken.
    ///
    /// # Errors
    /// [`calibrate::Error`] when a model cannot be run.
    pub fn calibrate(&self, messages: u32) -> Result<(), calibrate::Error> {
        let mut default: Option<(Measured, Room)> = None;
        for engine in &self.engines {
            let measured = calibrate::measure(&engine.model, engine.options.queue.max_batch, messages)?;
            let room = Room { cores: calibrate::cores(), threads: engine.options.threads };
            let cost = measured.cost(default.get_or_insert((measured, room)).0);
            let model = &*engine.model.manifest.name;
            tracing::debug!(model, ?measured.second, ?measured.assembly, ?measured.network, "measured");
            // What was measured before stays: calls were admitted by it.
            let _ = engine.cost.set(cost);
        }
        if let Some((default, room)) = default {
            let _ = self.measured.set(default.windows_per_second(room));
        }
        Ok(())
    }

    /// Windows a second that calls may need: as configured, else as measured; the other way round where it was told to measure. Where there
    /// is neither, as [`calibrate::WINDOWS_PER_CORE`] says.
    pub fn windows_per_second(&self, limits: &config::Session) -> f64 {
        let (configured, measured) = (limits.max_windows_per_second.map(f64::from), self.measured());
        let told = if limits.calibrate { measured.or(configured) } else { configured.or(measured) };
        told.unwrap_or_else(|| calibrate::cores() as f64 * calibrate::WINDOWS_PER_CORE)
    }

    /// Windows a second that this machine was measured to carry.
    pub fn measured(&self) -> Option<f64> {
        self.measured.get().copied()
    }

    /// The models, the default first, then by name.
    pub fn models(&self) -> &[Arc<Model>] {
        self.registry.models()
    }

    /// The models as a registry, which the next is made of.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// The engines, in the same order.
    pub fn all(&self) -> &[Arc<Engine>] {
        &self.engines
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
        if let Some(shadow) = &self.shadow {
            shadow.close();
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
        buffer_bytes: metrics.buffer_bytes.clone(),
        queue_wait_seconds: metrics.stages.queue.clone(),
        gather_seconds: metrics.stages.batch.clone(),
        batch_windows: metrics.batch_windows.clone(),
        run_seconds: metrics.stages.inference.clone(),
        scored_total: metrics.scored_total.clone(),
        shed_total: metrics.shed_total.clone(),
        cancelled_total: metrics.cancelled_total.clone(),
        failed_total: metrics.failed_total.clone(),
    }
}
