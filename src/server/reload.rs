//! Reading the configuration, its models and its rules again while calls are live: by SIGHUP, by `POST /reload` on the admin port, and,
//! for the rules alone, when their file changes.
//!
//! | what was read | then |
//! |---|---|
//! | cannot be read, is invalid, names a model that cannot be loaded or rules that are wrong | nothing changes, and why is told |
//! | is as it was | nothing changes |
//! | anything else | all of it is taken at once: new calls get it; calls that live keep model, policy and limits, and take the rules with their next audio |
//!
//! Models whose folders hold the same bytes as before are kept, with their threads. Others are loaded and run once beforehand; those they
//! replace are freed when their last leg has ended. What cannot change while running is named, and stays as it was started. Reloads take
//! turns; one that its client does not wait for is done all the same.

use std::sync::Arc;

use arc_swap::ArcSwap;
use metrics_exporter_prometheus::PrometheusRecorder;
use serde::Serialize;

use super::{
    WorkerError,
    crew::Crew,
    rules::{self, Ruleset},
    webhook,
};
use crate::{
    config::{self, Changes, Config, Source},
    inference,
    journal::Audit,
    model::{
        self, Model, Registry,
        onnx::{self, Provider},
    },
    session::{
        EngineWorker, Engines, Refusal, Sessions, Terms,
        shadow::{self, Making},
    },
};

/// The key of the limit that calls are admitted by.
const LIMIT: &str = "session.max_windows_per_second";

/// What has a reload happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trigger {
    /// SIGHUP.
    Signal,
    /// The admin port.
    Admin,
    /// The file of rules has changed; nothing else is read.
    Rules,
}

/// What a reload did.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Reloaded {
    /// "taken" or "unchanged".
    pub result: &'static str,
    /// The models in service now, the default first.
    pub models: Vec<Loaded>,
    /// The model that is tried beside one of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shadow: Option<Loaded>,
    /// Models that new calls no longer get.
    pub models_removed: Vec<String>,
    /// Whether the rules are others now.
    pub rules_changed: bool,
    /// Keys of the configuration that changed and were taken.
    pub changed: Vec<String>,
    /// Keys of the configuration that changed, and that only a restart will take.
    pub needs_restart: Vec<String>,
    /// What else is to be known.
    pub warnings: Vec<String>,
}

/// A model in service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Loaded {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// SHA-256 of its network.
    pub sha256: String,
    /// What runs it.
    pub provider: Provider,
    /// Whether this reload loaded it; else it was kept.
    pub loaded: bool,
}

/// Why nothing changed; the message says what to do.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// The configuration.
    #[error(transparent)]
    Config(#[from] config::Error),
    /// What is taken of it does not fit what stays until a restart.
    #[error("configuration, with what stays as it was until a restart ({}): {source}", stays.join(", "))]
    Mixed {
        /// Keys that changed and need a restart.
        stays: Vec<String>,
        /// What does not fit.
        source: config::Invalid,
    },
    /// ONNX Runtime.
    #[error(transparent)]
    OnnxRuntime(#[from] onnx::Error),
    /// A model.
    #[error(transparent)]
    Model(#[from] model::registry::Error),
    /// The model that is tried beside one of them.
    #[error(transparent)]
    Shadow(#[from] shadow::Error),
    /// How models are to be run.
    #[error(transparent)]
    Inference(#[from] inference::Invalid),
    /// A model that cannot be run.
    #[error(transparent)]
    Worker(#[from] WorkerError),
    /// The rules.
    #[error(transparent)]
    Rules(#[from] rules::Error),
    /// The server is on its way out.
    #[error(transparent)]
    Draining(#[from] Refusal),
}

/// Reads again. One a server.
pub(super) struct Reloader {
    source: Source,
    recorder: Arc<PrometheusRecorder>,
    sessions: Sessions,
    crew: Crew,
    running: ArcSwap<Config>,
    /// The rules that are on; held while one reload has its turn.
    rules: tokio::sync::Mutex<Ruleset>,
}

/// All that a reload takes, before anything of it is.
struct Prepared {
    changes: Changes,
    /// What keeps the next start from posting alerts, though nothing is wrong until then.
    at_next_start: Option<String>,
    /// `None` where the rules alone were read.
    engines: Option<(Engines, Vec<EngineWorker>)>,
    rules: Ruleset,
}

impl Reloader {
    /// For a server that runs by `running` and `rules`.
    pub(super) fn new(
        source: Source,
        recorder: Arc<PrometheusRecorder>,
        crew: Crew,
        sessions: Sessions,
        (running, rules): (Config, Ruleset),
    ) -> Arc<Self> {
        let (running, rules) = (ArcSwap::from_pointee(running), tokio::sync::Mutex::new(rules));
        Arc::new(Self { source, recorder, sessions, crew, running, rules })
    }

    /// Models that run on the CPU because what is configured cannot be had, one line each.
    pub(super) fn fallbacks(&self) -> Vec<String> {
        fallbacks(&self.sessions.engines()).collect()
    }

    /// What the server runs by now.
    pub(super) fn running(&self) -> Arc<Config> {
        self.running.load_full()
    }

    /// Reads all again and takes it, or nothing of it; logged and counted either way.
    pub(super) async fn reload(self: Arc<Self>, trigger: Trigger) -> Result<Reloaded, Refused> {
        // As a task of its own, because a client that goes away must not leave half of it undone.
        let reload = tokio::spawn(async move { self.reload_and_tell(trigger).await });
        reload.await.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))
    }

    async fn reload_and_tell(&self, trigger: Trigger) -> Result<Reloaded, Refused> {
        let mut rules = self.rules.lock().await;
        let outcome = match self.prepare(trigger).await {
            Ok(prepared) => self.take(prepared, &mut rules),
            Err(refused) => Err(refused),
        };
        let metrics = &self.sessions.metrics().reload;
        match &outcome {
            Ok(told) => {
                metrics.count(told.result);
                let models: Vec<&str> = told.models.iter().filter(|model| model.loaded).map(|m| &*m.name).collect();
                tracing::info!(
                    ?trigger,
                    result = told.result,
                    changed = told.changed.join(","),
                    models_loaded = models.join(","),
                    models_removed = told.models_removed.join(","),
                    rules_changed = told.rules_changed,
                    "read again"
                );
                if !told.needs_restart.is_empty() {
                    tracing::warn!(keys = told.needs_restart.join(","), "settings changed that need a restart");
                }
                told.warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
                self.crew.look_after_failures().await;
            }
            Err(refused) => {
                metrics.count("refused");
                tracing::error!(?trigger, error = %refused, "refused; everything stays as it was");
            }
        }
        outcome
    }

    /// Loads whatever has changed, while calls go on.
    async fn prepare(&self, trigger: Trigger) -> Result<Prepared, Refused> {
        let running = self.running();
        if trigger == Trigger::Rules {
            let rules = rules::read(&running.alerts, self.sessions.engines().registry()).await?;
            return Ok(Prepared { changes: running.changed_to(&running), at_next_start: None, engines: None, rules });
        }
        let (source, recorder, before) = (self.source.clone(), Arc::clone(&self.recorder), self.sessions.engines());
        let load = move || {
            let asked = source.read()?;
            let changes = running.changed_to(&asked);
            let mixed = |source| Refused::Mixed { stays: changes.needs_restart.clone(), source };
            changes.running.validate().map_err(mixed)?;
            let runtime = onnx::Runtime::load(running.onnxruntime.library.as_deref())?;
            let Config { models, inference, shadow, .. } = &changes.running;
            let registry = before.registry().renewed(runtime, models, &inference.session_options())?;
            let (engines, mut workers) = before.renewed(registry, inference, &*recorder, Arc::clone)?;
            let making = Making { runtime, inference, recorder: &*recorder };
            let (engines, of_shadow) = engines.with_shadow(Some(&before), shadow, &making)?;
            workers.extend(of_shadow);
            super::prepare(&mut workers)?;
            Ok((changes, asked.webhook, engines, workers))
        };
        let loaded: Result<_, Refused> = tokio::task::spawn_blocking(load)
            .await
            .unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()));
        let (changes, asked, engines, workers) = loaded?;
        let rules = rules::read(&changes.running.alerts, engines.registry()).await?;
        let at_next_start = webhook::refusal(&asked).await.map(|error| format!("the next start will fail: {error}"));
        Ok(Prepared { changes, at_next_start, engines: Some((engines, workers)), rules })
    }

    /// Takes all of it. Waits for nothing, so that nobody sees a half of it for long.
    fn take(&self, prepared: Prepared, rules: &mut Ruleset) -> Result<Reloaded, Refused> {
        let Prepared { changes, at_next_start, engines, rules: new } = prepared;
        let Changes { running, taken, needs_restart } = changes;
        let sessions = &self.sessions;
        let before = sessions.terms();
        let mut told = Reloaded {
            result: "unchanged",
            models: Vec::new(),
            shadow: None,
            models_removed: Vec::new(),
            rules_changed: rules.rules != new.rules,
            changed: taken,
            needs_restart,
            warnings: at_next_start.into_iter().collect(),
        };
        // A model that failed has a new worker, though nothing else of it is new.
        if let Some((engines, workers)) = engines.filter(|(_, w)| !(w.is_empty() && told.changed.is_empty())) {
            told.result = "taken";
            told.warnings.extend(unmeasured(&engines, &running.session, &told.changed));
            sessions.renew(Terms::new(running.session.clone(), running.policy.clone(), engines))?;
            workers.into_iter().for_each(|worker| self.crew.run(worker));
        }
        let now = sessions.terms();
        now.engines.tell_providers(Some(&before.engines), &*self.recorder);
        let is_in = |model: &&Arc<Model>, registry: &Registry| registry.models().iter().any(|m| Arc::ptr_eq(m, model));
        told.models = now
            .engines
            .models()
            .iter()
            .map(|model| Loaded::of(model, !is_in(&model, before.engines.registry())))
            .collect();
        told.shadow = now.engines.shadow().map(|shadow| {
            let before = before.engines.shadow().is_some_and(|before| Arc::ptr_eq(&before.model, &shadow.model));
            Loaded::of(&shadow.model, !before)
        });
        told.warnings.extend(fallbacks(&now.engines));
        let name = |model: &Arc<Model>| model.manifest.name.clone();
        let is_served = |model: &&Arc<Model>| told.models.iter().any(|loaded| loaded.name == model.manifest.name);
        told.models_removed = before.engines.models().iter().filter(|model| !is_served(model)).map(name).collect();
        if told.rules_changed {
            told.result = "taken";
            told.warnings.extend(rules::changed_under_one_version(&rules.rules, &new.rules));
            sessions.set_rules(new.rules.clone());
        }
        // The same rules may lie in another file now.
        *rules = new;
        told.warnings.extend(rules.warnings(&now.policy));
        self.audit(&told, &before, &now, rules);
        self.running.store(Arc::new(running));
        Ok(told)
    }

    /// Has the journal say what changed.
    fn audit(&self, told: &Reloaded, before: &Terms, now: &Terms, rules: &Ruleset) {
        let audit = |what: &str, version| self.sessions.audit(Audit::Reloaded { what: what.to_owned(), version });
        if told.rules_changed {
            audit("rules", rules.version());
        }
        if !told.changed.is_empty() {
            audit("configuration", told.changed.join(", "));
        }
        if before.policy != now.policy {
            // Whole, because an attestation is kept with every policy that it stands for.
            audit("policy", serde_json::to_string(&*now.policy).unwrap_or_default());
        }
        for Loaded { name, version, sha256, .. } in told.models.iter().filter(|model| model.loaded) {
            audit("model", format!("{name} {version}, SHA-256 {sha256}"));
        }
        if let Some(Loaded { name, version, sha256, .. }) = told.shadow.as_ref().filter(|shadow| shadow.loaded) {
            audit("shadow", format!("{name} {version}, SHA-256 {sha256}"));
        }
        told.models_removed.iter().for_each(|name| audit("model", format!("{name} removed")));
    }
}

/// What of the limit that calls are admitted by was not measured, or is not as configured: measuring while calls are live would find too
/// little.
fn unmeasured(engines: &Engines, limits: &config::Session, changed: &[String]) -> Vec<String> {
    let limit = engines.windows_per_second(limits);
    let mut warnings = Vec::new();
    match (engines.measured(), limits.max_windows_per_second) {
        (None, None) => warnings.push(format!(
            "this machine was not measured, since {LIMIT} was set when the server started: {limit:.0} windows a \
             second are assumed until a restart measures it"
        )),
        (Some(_), Some(_)) if limits.calibrate && changed.iter().any(|key| key == LIMIT) => {
            warnings.push(format!(
                "{LIMIT} has no effect beside session.calibrate: {limit:.0} windows a second were measured"
            ));
        }
        _ => {}
    }
    if engines.measured().is_some() {
        warnings.extend(engines.all().iter().filter(|engine| !engine.is_measured()).map(|engine| {
            let name = &engine.model.manifest.name;
            format!("model {name:?} was not measured: its windows weigh one each until a restart measures it")
        }));
    }
    warnings
}

fn fallbacks(engines: &Engines) -> impl Iterator<Item = String> {
    let told = |model: &Arc<Model>| {
        let reason = model.fallback_reason()?;
        Some(format!("model {:?} runs on the CPU instead of as configured: {reason}", model.manifest.name))
    };
    let shadow = engines.shadow().map(|shadow| &shadow.model);
    engines.models().iter().chain(shadow).filter_map(told)
}

impl Loaded {
    fn of(model: &Model, loaded: bool) -> Self {
        let manifest = &model.manifest;
        let (name, version, sha256) = (manifest.name.clone(), manifest.version.clone(), model.sha256().to_owned());
        Self { name, version, sha256, provider: model.provider(), loaded }
    }
}
