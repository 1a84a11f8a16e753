//! Models that run nothing while a gate is shut.

use std::sync::{Arc, Condvar, Mutex};

use undertone::{
    config::Config,
    model::{Classifier, Error, Model},
};

use crate::harness::Harness;

/// Shut until it is opened.
#[derive(Clone, Default)]
pub(crate) struct Gate(Arc<(Mutex<bool>, Condvar)>);

struct Gated {
    session: Box<dyn Classifier>,
    gate: Gate,
}

impl Gate {
    /// A server whose models run when the gate is open.
    pub(crate) async fn serve(&self, config: &Config) -> Harness {
        Harness::with_backend(config, |model: &Arc<Model>| {
            let (model, gate) = (Arc::clone(model), self.clone());
            move || -> Result<Box<dyn Classifier>, Error> {
                Ok(Box::new(Gated { session: Box::new(model.session()?), gate: gate.clone() }))
            }
        })
        .await
    }

    pub(crate) fn open(&self) {
        let (open, opened) = &*self.0;
        *open.lock().unwrap() = true;
        opened.notify_all();
    }

    fn wait(&self) {
        let (open, opened) = &*self.0;
        drop(opened.wait_while(open.lock().unwrap(), |open| !*open).unwrap());
    }
}

impl Classifier for Gated {
    fn run(&mut self, windows: &[f32], batch: usize) -> Result<Vec<f32>, Error> {
        self.gate.wait();
        self.session.run(windows, batch)
    }
}
