//! How calls come to their end, with their client or without.

use super::End;
use crate::{
    call::EndReason,
    session::{Session, alarm::Alarm, resume::Kept},
};

impl Session {
    /// Keeps the call, whose stream is gone, and brings it to its end where nobody comes for it.
    pub(super) async fn outlive(self) {
        let Kept::Over(mut session, over) = self.keep().await else { return };
        session.wind_up(over).await;
        // It may have been ended by the client that went.
        session.told_ended(ending::<()>(session.closed.unwrap_or(over), None).0);
    }

    /// Counts it and logs it.
    pub(super) fn told_ended(&self, reason: &'static str) {
        self.sessions.metrics().calls_ended_total.increment(reason);
        tracing::info!(reason, "call ended");
    }

    /// Brings a call to its end that nobody listens to any more, for the journal's sake.
    pub(super) async fn wind_up(&mut self, reason: EndReason) {
        let mut alarm = Alarm::default();
        self.driver.close(reason);
        loop {
            self.deliver();
            // Without a deadline it was closed before.
            let (None, Some(wake)) = (self.closed, self.driver.deadline()) else { return };
            tokio::select! {
                Some(command) = self.commands.recv() => self.obey(command),
                () = self.driver.answer() => {}
                () = alarm.ring(Some(wake)) => self.driver.tick(),
            }
        }
    }
}

/// What an end is counted as, and how the ingest closes by it.
pub(super) fn ending<E>(reason: EndReason, invalid: Option<E>) -> (&'static str, End<E>) {
    match (reason, invalid) {
        (EndReason::Invalid, Some(fault)) => ("invalid", End::Invalid(fault)),
        (EndReason::Invalid, None) => ("vanished", End::Vanished),
        (EndReason::Completed, _) => ("completed", End::Completed),
        // The client goes on until it ends a call whose consent was withdrawn.
        (EndReason::ConsentWithdrawn, _) => ("consent_withdrawn", End::Completed),
        (EndReason::Idle, _) => ("idle", End::Idle),
        (EndReason::Draining, _) => ("draining", End::Draining),
        (EndReason::Failed, _) => ("failed", End::Failed),
        (EndReason::Stalled, _) => ("stalled", End::Stalled),
        (EndReason::TakenOver, _) => ("taken_over", End::TakenOver),
        (EndReason::Vanished | EndReason::Lost, _) => ("vanished", End::Vanished),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        decision::alert::State,
        features::NotScored,
        session::measure,
        telemetry::metrics::{ALERT_STATES, END_REASONS, NOT_SCORED_REASONS},
    };

    #[test]
    fn every_ending_and_every_reason_is_counted() {
        let endings = [
            EndReason::Completed,
            EndReason::Idle,
            EndReason::Draining,
            EndReason::ConsentWithdrawn,
            EndReason::Invalid,
            EndReason::Failed,
            EndReason::Stalled,
            EndReason::Vanished,
            EndReason::Lost,
            EndReason::TakenOver,
        ];
        for reason in endings {
            for invalid in [None, Some(())] {
                assert!(END_REASONS.contains(&ending(reason, invalid).0), "{reason:?}");
            }
        }
        let reasons = [
            NotScored::Silence,
            NotScored::Noise,
            NotScored::Tone,
            NotScored::Music,
            NotScored::OnHold,
            NotScored::TooShort,
            NotScored::LowSnr,
            NotScored::Gap,
            NotScored::NotPermitted,
            NotScored::ConsentWithdrawn,
            NotScored::Overloaded,
            NotScored::Failed,
        ];
        assert_eq!(reasons.map(measure::not_scored), NOT_SCORED_REASONS);
        let states = [State::Firing, State::Acknowledged, State::Snoozed, State::Resolved];
        assert_eq!(states.map(State::name), ALERT_STATES);
    }
}
