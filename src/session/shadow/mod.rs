//! A model that is tried beside one in service: it hears the same calls, and is only measured.
//!
//! It is another engine with a queue and a thread of its own, which weighs nothing in admission and takes what is left: its windows are
//! handed in only while the model in service keeps up, and given up first ([`beside`] has the rules). What it thinks reaches
//! [`ShadowMetrics`] and nothing else: no event, decision, alert or entry of the journal. A leg that the policy does not permit reaches it no
//! more than the model in service.

use std::{
    sync::{Arc, Weak},
    time::Instant,
};

use metrics::Recorder;
use uuid::Uuid;

use super::{Engine, EngineWorker, Engines};
use crate::{
    call::{Call, Options},
    config, features,
    inference::{self, Handle, Pressure},
    model::{
        Model, Registry,
        onnx::Runtime,
        registry::{self, NotFound},
    },
    telemetry::metrics::ShadowMetrics,
};

mod beside;
mod compare;
mod pairs;

pub(super) use beside::Beside;

/// Windows of a shadow that may wait, of all calls together: 25 ms of one thread for a model that takes 0.39 ms a window, as the default one. What
/// waits when the server gets busy is all that it still takes of it.
const CAPACITY: usize = 64;

/// A model beside one in service.
pub struct Shadow {
    /// It.
    pub model: Arc<Model>,
    /// The model that it is compared with.
    pub of: Arc<Model>,
    registry: Registry,
    inference: Handle,
    options: inference::Options,
    /// The queue of the model in service.
    live: Handle,
    share: f64,
    metrics: ShadowMetrics,
}

/// What a shadow is made with.
pub struct Making<'a> {
    /// ONNX Runtime.
    pub runtime: &'static Runtime,
    /// How models are run.
    pub inference: &'a config::Inference,
    /// Where what is measured is kept.
    pub recorder: &'a dyn Recorder,
}

/// Why a shadow cannot be made; the message says what to do.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Its model.
    #[error("shadow.model: {0}")]
    Model(#[from] registry::Error),
    /// What it is to be compared with.
    #[error("shadow.of: {0}")]
    Of(#[from] NotFound),
    /// How it is to be run.
    #[error("shadow.model: {0}")]
    Inference(#[from] inference::Invalid),
}

impl Engines {
    /// These with the shadow that is wanted, and the worker that has to be run for it. That of `before` is kept, with its worker, where its
    /// model and how it is run are the same and it did not fail.
    pub fn with_shadow(
        mut self,
        before: Option<&Self>,
        wanted: &config::Shadow,
        making: &Making<'_>,
    ) -> Result<(Self, Option<EngineWorker>), Error> {
        self.shadow = None;
        let Some(dir) = &wanted.model else { return Ok((self, None)) };
        let of = Arc::clone(self.registry().get(wanted.of.as_deref())?);
        let live = self.all().iter().find(|engine| Arc::ptr_eq(&engine.model, &of));
        let live = live.expect("there is an engine for every model of the registry").inference.clone();
        let before = before.and_then(|engines| engines.shadow.as_deref());
        let (none, dirs) = (Registry::default(), std::slice::from_ref(dir));
        let registry = before.map_or(&none, |shadow| &shadow.registry).renewed(
            making.runtime,
            dirs,
            &making.inference.session_options(),
        )?;
        let model = Arc::clone(registry.default_model());
        let mut options = making.inference.options(model.provider());
        (options.threads, options.queue.capacity) = (1, CAPACITY.max(options.queue.max_batch));
        let manifest = &model.manifest;
        let name = format!("{} {}", manifest.name, manifest.version);
        let labels = (&*of.manifest.name, &*of.manifest.labels);
        let metrics = ShadowMetrics::new(making.recorder, labels, (&name, &manifest.labels));
        let kept = before.filter(|before| {
            Arc::ptr_eq(&before.model, &model) && before.options == options && before.inference.failure().is_none()
        });
        let (inference, worker) = match kept {
            Some(before) => (before.inference.clone(), None),
            None => {
                let of_inference =
                    inference::Metrics { cancelled_total: metrics.outcome("cancelled").clone(), ..Default::default() };
                let (inference, worker) = inference::pair(options, of_inference, Arc::clone(&model))?;
                // Nothing is unready where it fails.
                (inference, Some(EngineWorker { worker, engine: Weak::new(), model: format!("{name}, a shadow") }))
            }
        };
        let shadow = Shadow { model, of, registry, inference, options, live, share: wanted.share, metrics };
        self.shadow = Some(Arc::new(shadow));
        Ok((self, worker))
    }

    /// The model that is tried, if there is one.
    pub fn shadow(&self) -> Option<&Arc<Shadow>> {
        self.shadow.as_ref()
    }

    /// The shadow that hears this call of this model, if one does.
    pub(super) fn shadow_beside(&self, engine: &Engine, session_id: Uuid) -> Option<&Arc<Shadow>> {
        let shadow = self.shadow.as_ref().filter(|shadow| Arc::ptr_eq(&shadow.of, &engine.model))?;
        (chooses(shadow.share, session_id) && shadow.inference.failure().is_none()).then_some(shadow)
    }
}

impl Shadow {
    /// Takes no more windows in, so that its worker ends.
    pub(super) fn close(&self) {
        self.inference.close();
    }

    /// What it hears of a call. `options` are the call's, for this model: they are only asked for where its windows are not the call's own.
    pub(super) fn hear(
        self: &Arc<Self>,
        first_leg: u64,
        put_off_samples: u64,
        options: impl FnOnce() -> Options,
    ) -> Result<Beside, features::Error> {
        let own = if self.shares_windows() {
            None
        } else {
            Some(Call::new(options(), Instant::now())?.put_off_by(put_off_samples))
        };
        Ok(Beside::new(Arc::clone(self), own, first_leg))
    }

    /// Whether both models are given the same windows.
    fn shares_windows(&self) -> bool {
        let (of, model) = (&self.of.manifest, &self.model.manifest);
        of.front_end == model.front_end && of.window == model.window && of.standardization == model.standardization
    }

    /// How much the model in service has to do.
    fn pressure(&self) -> Pressure {
        self.live.pressure()
    }
}

/// Whether a call is heard: as many of all as the share, whichever they are.
#[expect(clippy::cast_possible_truncation, reason = "an id's last bits are random")]
fn chooses(share: f64, session_id: Uuid) -> bool {
    f64::from(session_id.as_u128() as u32) / 2_f64.powi(32) < share
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_of_the_calls_is_heard() {
        // Ids whose last bits are spread evenly.
        let heard = |share| (0..1_000_u128).filter(|n| chooses(share, Uuid::from_u128(n * 4_294_967))).count();
        assert_eq!((heard(1.0), heard(0.25), heard(1e-9)), (1_000, 251, 1));
        assert!(chooses(1.0, Uuid::max()));
    }
}
