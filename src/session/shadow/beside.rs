//! What a shadow hears of one call.
//!
//! Where both models are given the same windows the shadow takes a copy of each; else the call is heard a second time by the shadow's own
//! front end. Nothing of it ever comes out but what is measured: the call goes on as if it were not there, waits for none of its answers,
//! and takes them in when audio comes.
//!
//! | the queue of the model in service | a window of the shadow |
//! |---|---|
//! | holds less than a batch | is handed in |
//! | holds a full batch | is skipped, and copies that still wait are given up |
//! | is half full | is skipped; a front end of the shadow's own hears no more of this call |

use std::{future::Future, pin::Pin, sync::Arc, time::Instant};

use futures_util::{FutureExt as _, StreamExt as _, stream::FuturesUnordered};

use super::{
    Shadow,
    compare::Comparison,
    pairs::{Key, Pairs},
};
use crate::{
    call::{Call, Chunk, Control, Event, Output, WindowId},
    decision::Judgement,
    inference::Pressure,
    model::Outcome,
};

/// What a shadow hears of one call. Dropped, it gives up what is out.
pub(in crate::session) struct Beside {
    shadow: Arc<Shadow>,
    ear: Ear,
    /// The number by which inference knows the call's first leg.
    first_leg: u64,
    windows: FuturesUnordered<Answer>,
    pairs: Pairs,
}

/// Where its windows come from.
enum Ear {
    /// They are the call's own.
    Shared,
    /// The same audio, heard again by a front end of its own.
    Own(Box<Call>),
    /// It hears no more.
    Closed,
}

type Answer = Pin<Box<dyn Future<Output = (WindowId, Outcome)> + Send>>;

impl Beside {
    /// `own` is the call as the shadow's front end hears it, where that is another.
    pub(super) fn new(shadow: Arc<Shadow>, own: Option<Call>, first_leg: u64) -> Self {
        let ear = own.map_or(Ear::Shared, |call| Ear::Own(Box::new(call.lend(shadow.inference.buffers()))));
        Self { shadow, ear, first_leg, windows: FuturesUnordered::new(), pairs: Pairs::default() }
    }

    /// Whether it takes the time of a front end.
    pub(in crate::session) fn hears_for_itself(&self) -> bool {
        matches!(self.ear, Ear::Own(_))
    }

    /// Bytes that its frames take.
    pub(in crate::session) fn bytes(&self) -> usize {
        match &self.ear {
            Ear::Own(call) => call.bytes(),
            Ear::Shared | Ear::Closed => 0,
        }
    }

    /// Audio came.
    pub(in crate::session) fn push(&mut self, chunk: Chunk<'_>, now: Instant) {
        self.take_answers(now);
        if let Ear::Own(call) = &mut self.ear {
            call.push(chunk, now);
        }
        self.hand_in(now);
    }

    /// A leg's state changed.
    pub(in crate::session) fn control(&mut self, control: Control, leg: Option<usize>, now: Instant) {
        if control == Control::WithdrawConsent {
            self.windows.clear();
            self.pairs.clear();
        }
        if let Ear::Own(call) = &mut self.ear {
            call.control(control, leg, now);
        }
        self.hand_in(now);
    }

    /// The call's stream broke, or goes on.
    pub(in crate::session) fn rejoin(&mut self, now: Instant) {
        if let Ear::Own(call) = &mut self.ear {
            call.rejoin(now);
        }
    }

    /// The call hands a window in.
    pub(in crate::session) fn window(&mut self, id: WindowId, window: &[f32]) {
        if !matches!(self.ear, Ear::Shared) {
            return;
        }
        if self.shadow.pressure() != Pressure::Low {
            self.windows.clear();
            return self.shadow.metrics.outcome("skipped").increment(1);
        }
        let mut copy = self.shadow.inference.buffers().take(window.len());
        copy.copy_from_slice(window);
        self.infer(id, copy);
    }

    /// The call's model judged a window, or did not.
    pub(in crate::session) fn live_outcome(&mut self, id: WindowId, outcome: &Outcome) {
        if !matches!(self.ear, Ear::Shared) {
            return;
        }
        let key = (id.number, id.leg);
        match outcome {
            Outcome::Logits(logits) => self.live(key, self.shadow.of.manifest.calibration.judge(logits)),
            Outcome::Shed | Outcome::Failed(_) => self.pairs.unjudged(key),
        }
        self.count_unpaired();
    }

    /// The call tells an event.
    pub(in crate::session) fn live_event(&mut self, event: &Event) {
        if !matches!(self.ear, Ear::Own(_)) {
            return;
        }
        let key = (event.depends_on_samples, event.leg);
        match &event.outcome {
            Ok(judgement) => self.live(key, judgement.clone()),
            Err(_) => self.pairs.unjudged(key),
        }
        self.count_unpaired();
    }

    /// Takes in what of its windows is back. Waits for none.
    fn take_answers(&mut self, now: Instant) {
        while let Some(Some((id, outcome))) = self.windows.next().now_or_never() {
            match &outcome {
                Outcome::Logits(_) => {}
                Outcome::Shed => self.shadow.metrics.outcome("shed").increment(1),
                Outcome::Failed(_) => self.shadow.metrics.outcome("failed").increment(1),
            }
            match (&mut self.ear, outcome) {
                (Ear::Own(call), outcome) => call.apply(id, outcome, now),
                (Ear::Shared, Outcome::Logits(logits)) => {
                    let judgement = self.shadow.model.manifest.calibration.judge(&logits);
                    self.judged((id.number, id.leg), judgement);
                }
                _ => {}
            }
        }
        self.count_unpaired();
    }

    /// Hands in what its own front end has ready.
    fn hand_in(&mut self, now: Instant) {
        let mut call = match std::mem::replace(&mut self.ear, Ear::Closed) {
            Ear::Own(call) => call,
            other => return self.ear = other,
        };
        while let Some(output) = call.poll() {
            match output {
                Output::Infer { id, window } => match self.shadow.pressure() {
                    Pressure::Low => self.infer(id, window),
                    pressure => {
                        self.shadow.metrics.outcome("skipped").increment(1);
                        self.shadow.inference.buffers().give(window);
                        if pressure == Pressure::High {
                            self.windows.clear();
                            self.pairs.clear();
                            return;
                        }
                        call.apply(id, Outcome::Shed, now);
                    }
                },
                Output::Event(Event { depends_on_samples, leg, outcome: Ok(judgement), .. }) => {
                    self.judged((depends_on_samples, leg), judgement);
                }
                // What else a call tells is nobody's to hear.
                _ => {}
            }
        }
        self.ear = Ear::Own(call);
        self.count_unpaired();
    }

    fn infer(&mut self, id: WindowId, window: Vec<f32>) {
        let answer = self.shadow.inference.infer(self.first_leg + id.leg as u64, window);
        self.windows.push(Box::pin(async move { (id, answer.await) }));
    }

    fn live(&mut self, key: Key, judgement: Judgement) {
        let both = self.pairs.live(key, judgement);
        self.compare(both);
    }

    fn judged(&mut self, key: Key, judgement: Judgement) {
        let both = self.pairs.shadow(key, judgement);
        self.compare(both);
    }

    fn compare(&self, both: Option<(Judgement, Judgement)>) {
        let Some((live, shadow)) = both else { return };
        let Shadow { of, model, metrics, .. } = &*self.shadow;
        let comparison = Comparison::of((&of.manifest, &live), (&model.manifest, &shadow));
        metrics.outcome(if comparison.agrees() { "agreed" } else { "differed" }).increment(1);
        metrics.judged(comparison.live_label, comparison.shadow_label);
        metrics.divergence_bits.record(comparison.divergence_bits);
        metrics.confidence_ratio.record(f64::from(shadow.confidence));
    }

    fn count_unpaired(&mut self) {
        let unpaired = self.pairs.take_unpaired();
        self.shadow.metrics.outcome("unpaired").increment(unpaired);
    }
}
