//! What becomes of a leg's alerts: they go out with ids, people answer them, rules change, the leg ends.

use std::{collections::VecDeque, sync::Arc, time::Instant};

use super::Leg;
use crate::{
    call::{Alert, Output},
    decision::{
        NotOpen, Rules,
        alert::{Attribution, Reason, Snooze},
    },
};

impl Leg {
    /// Goes on under other rules.
    pub(in crate::call) fn set_rules(&mut self, rules: &Arc<Rules>, out: &mut VecDeque<Output>) {
        self.decider.set_rules(rules);
        self.tell_alerts(out);
    }

    /// Somebody takes an alert of this leg over; `None` when it is none of this leg's.
    pub(in crate::call) fn acknowledge(
        &mut self,
        alert_id: &str,
        by: &Attribution,
        out: &mut VecDeque<Output>,
    ) -> Option<Result<(), NotOpen>> {
        let number = self.alert_number(alert_id)?;
        let done = self.decider.acknowledge(number, by.clone());
        self.tell_alerts(out);
        Some(done)
    }

    /// Somebody wants to hear no more of an alert of this leg for a while; `None` when it is none of this leg's.
    pub(in crate::call) fn snooze(
        &mut self,
        alert_id: &str,
        snooze: &Snooze,
        now: Instant,
        out: &mut VecDeque<Output>,
    ) -> Option<Result<(), NotOpen>> {
        let number = self.alert_number(alert_id)?;
        let done = self.decider.snooze(number, snooze.clone(), now);
        self.tell_alerts(out);
        Some(done)
    }

    /// Lets snoozes end.
    pub(in crate::call) fn tick(&mut self, now: Instant, out: &mut VecDeque<Output>) {
        self.decider.tick(now);
        self.tell_alerts(out);
    }

    /// When [`Leg::tick`] is due.
    pub(in crate::call) fn deadline(&self) -> Option<Instant> {
        self.decider.deadline()
    }

    /// Ends every alert that is open: nothing more is heard.
    pub(in crate::call) fn end(&mut self, out: &mut VecDeque<Output>) {
        self.decider.end(Reason::CallEnded);
        self.tell_alerts(out);
    }

    /// Sends out what the decider has to tell.
    pub(super) fn tell_alerts(&mut self, out: &mut VecDeque<Output>) {
        while let Some(change) = self.decider.poll_alert() {
            let alert_id = format!("{}{}", self.alert_prefix, change.number);
            out.push_back(Output::Alert(Alert { leg: self.index, alert_id, change }));
        }
    }

    /// The number of an alert of this leg, by its id.
    fn alert_number(&self, alert_id: &str) -> Option<u64> {
        alert_id.strip_prefix(&self.alert_prefix)?.parse().ok()
    }
}
