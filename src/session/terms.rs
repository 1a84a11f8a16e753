//! What new calls are taken by: the models, the limits and the policy. All of it is exchanged at once; a call keeps what it began with.

use std::sync::{Arc, PoisonError};

use super::{Engine, Engines, Refusal, Sessions};
use crate::{config, policy::Policy};

/// What new calls are taken by.
pub struct Terms {
    /// What a call may take.
    pub limits: Arc<config::Session>,
    /// Who may be analysed.
    pub policy: Arc<Policy>,
    /// The models and what runs them.
    pub engines: Arc<Engines>,
}

impl Terms {
    /// These.
    pub fn new(limits: config::Session, policy: Policy, engines: Engines) -> Self {
        Self { limits: Arc::new(limits), policy: Arc::new(policy), engines: Arc::new(engines) }
    }

    /// Windows a second that calls may need.
    pub fn windows_per_second(&self) -> f64 {
        self.engines.windows_per_second(&self.limits)
    }
}

impl Sessions {
    /// What new calls are taken by now.
    pub fn terms(&self) -> Arc<Terms> {
        self.shared.terms.load_full()
    }

    /// Under what policy new calls are taken.
    pub fn policy(&self) -> Arc<Policy> {
        Arc::clone(&self.shared.terms.load().policy)
    }

    /// The models in service for new calls, and what runs them.
    pub fn engines(&self) -> Arc<Engines> {
        Arc::clone(&self.shared.terms.load().engines)
    }

    /// What a new call may take.
    pub fn limits(&self) -> Arc<config::Session> {
        Arc::clone(&self.shared.terms.load().limits)
    }

    /// Takes new calls by other terms, all at once; calls that live go on with what they began with. What nobody uses any more is freed
    /// when its last call has ended.
    ///
    /// # Errors
    /// [`Refusal::Draining`] when nothing new is taken any more.
    pub fn renew(&self, terms: Terms) -> Result<(), Refusal> {
        let mut retired = self.shared.retired.lock().unwrap_or_else(PoisonError::into_inner);
        // Under the lock, so that whoever closes the engines after the drain has begun closes these too.
        if self.shared.draining.is_cancelled() {
            return Err(Refusal::Draining);
        }
        let windows_per_second = terms.windows_per_second();
        self.shared.registry.set_limits(terms.limits.max_legs, windows_per_second);
        self.shared.metrics.load_limit.set(windows_per_second);
        let before = self.shared.terms.swap(Arc::new(terms));
        retired.retain(|engine| engine.strong_count() > 0);
        retired.extend(before.engines.all().iter().map(Arc::downgrade));
        Ok(())
    }

    /// Takes no more windows in, for any model, in service or on its way out, so that all workers end. To be done after the drain.
    pub fn close_engines(&self) {
        let retired = self.shared.retired.lock().unwrap_or_else(PoisonError::into_inner);
        self.engines().close();
        retired.iter().filter_map(std::sync::Weak::upgrade).for_each(|engine| engine.inference.close());
    }

    /// What the terms and the server's state say before anything is taken.
    pub(super) fn engine_for(&self, terms: &Terms, model: Option<&str>) -> Result<Arc<Engine>, Refusal> {
        if self.shared.draining.is_cancelled() {
            return Err(Refusal::Draining);
        }
        let engine = terms.engines.get(model)?;
        if engine.inference.failure().is_some() {
            return Err(Refusal::Failed);
        }
        Ok(Arc::clone(engine))
    }
}
