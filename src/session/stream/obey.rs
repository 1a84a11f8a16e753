//! What a call does that people ask of it, by its own stream or from outside.

use std::time::SystemTime;

use crate::{
    call::Control,
    session::{
        Session,
        board::{Command, Purged},
    },
};

impl Session {
    /// Does what the call is told from outside. Who asked may have gone: it is done all the same.
    pub(in crate::session) fn obey(&mut self, command: Command) {
        match command {
            Command::Withdraw { leg, actor, reason, answer } => drop(answer.send(self.withdraw(leg, &actor, &reason))),
            Command::Acknowledge { alert_id, by, answer } => drop(answer.send(self.driver.acknowledge(&alert_id, &by))),
            Command::Snooze { alert_id, snooze, answer } => drop(answer.send(self.driver.snooze(&alert_id, &snooze))),
            Command::Rejoin { answer, .. } => self.successors.push(answer),
        }
    }

    /// Consent is withdrawn, of one leg or all: nothing more is heard, here or in a stream to come, and what was heard is forgotten.
    pub(super) fn withdraw(&mut self, leg: Option<usize>, actor: &str, reason: &str) -> Option<Purged> {
        self.driver.control(Control::WithdrawConsent, leg);
        self.posted.withdraw(leg);
        self.outbox.forget(leg);
        let leg_id = leg.map(|leg| self.acknowledgement.legs[leg].leg_id.as_str());
        self.sessions.remember_withdrawal(&self.acknowledgement.call_id, leg_id, SystemTime::now());
        self.chronicle.withdraw(leg, actor, reason)
    }
}
