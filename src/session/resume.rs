//! A call whose stream broke: it is kept for a while, and goes on when the same call comes again by another stream.
//!
//! | the call | the same call comes | then |
//! |---|---|---|
//! | lives | without `takeover` | [`Refusal::Live`], once it is clear that its stream did not just break |
//! | lives | with `takeover` | it ends with its summaries, the new one begins |
//! | is kept | with the configuration it has | it goes on by the new stream |
//! | is kept | with another, without `takeover` | [`Refusal::Differs`]; it is kept on |
//! | is kept | with another and `takeover` | it ends, the new one begins |
//! | is kept | after consent was withdrawn for all of it that was analysed | [`Refusal::Withdrawn`]; it is kept on |
//! | is kept | after consent was withdrawn for a part of it | it goes on, and is told that this part is not analysed |
//!
//! What is kept keeps its place among the live legs, which bounds it, and hears commands as any live call does.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use super::{Acknowledgement, Refusal, Request, Session, Sessions, alarm::Alarm, board::Command};
use crate::call::EndReason;

/// The end of a connection and what comes by the next one may be seen in either order; so long is the first waited for.
const NOTICE: Duration = Duration::from_millis(500);

/// The wait before a place that another has is asked for again.
const AGAIN: Duration = Duration::from_millis(20);

/// What is said to a call that comes while its legs have a session.
pub(super) enum Rejoined {
    /// The session has a client.
    Live,
    /// It is kept, and does not go on.
    Refused(Refusal),
    /// It was kept, and goes on.
    Continued(Box<Session>),
}

/// What became of a call that was kept.
pub(super) enum Kept {
    /// It goes on by another stream.
    HandedOver,
    /// It is to end, for this reason.
    Over(Box<Session>, EndReason),
}

impl Sessions {
    /// Admits a call, or goes on with it.
    pub(super) async fn join(&self, request: &Request) -> Result<Session, Refusal> {
        let patience = Instant::now() + NOTICE;
        loop {
            let live = match self.admit(request) {
                Err(Refusal::Live(live)) => live,
                other => return other,
            };
            // It is on the board but for the moments of its begin and end.
            if let Some(call) = self.shared.board.get(live.session_id) {
                let told = call.tell(|answer| Command::Rejoin { request: Box::new(request.clone()), answer }).await;
                match told {
                    Some(Rejoined::Continued(session)) => return Ok(*session),
                    Some(Rejoined::Refused(refusal)) => return Err(refusal),
                    // It ended meanwhile.
                    None => continue,
                    Some(Rejoined::Live) => {}
                }
            }
            if !request.takeover && Instant::now() >= patience {
                return Err(live.into());
            }
            tokio::time::sleep(AGAIN).await;
        }
    }
}

impl Session {
    /// Keeps the call, whose stream is gone, until it comes again, the grace is over, or it has to end.
    pub(super) async fn keep(mut self) -> Kept {
        let sessions = self.sessions.clone();
        let grace = sessions.limits().resume_grace;
        if grace.is_zero() || !self.driver.is_open() {
            return Kept::Over(Box::new(self), EndReason::Vanished);
        }
        let _counted = sessions.metrics().kept(self.acknowledgement.legs.len());
        tracing::info!(?grace, "the call is kept");
        self.driver.rejoin();
        let over = Instant::now() + grace;
        let mut alarm = Alarm::default();
        loop {
            self.deliver();
            if let Some(reason) = self.closed {
                return Kept::Over(Box::new(self), reason);
            }
            let wake = self.driver.deadline().map_or(over, |deadline| deadline.min(over));
            tokio::select! {
                biased;
                () = sessions.draining().cancelled() => return Kept::Over(Box::new(self), EndReason::Draining),
                Some(command) = self.commands.recv() => match command {
                    Command::Rejoin { answer, .. } if self.is_withdrawn() => {
                        let what = format!("call {:?}", self.request.call_id);
                        drop(answer.send(Rejoined::Refused(Refusal::Withdrawn { what })));
                    }
                    Command::Rejoin { request, answer } => match self.difference(&request) {
                        None => {
                            self.resume();
                            match answer.send(Rejoined::Continued(Box::new(self))) {
                                Err(Rejoined::Continued(session)) => self = *session,
                                _ => return Kept::HandedOver,
                            }
                        }
                        Some(_) if request.takeover => {
                            self.successors.push(answer);
                            return Kept::Over(Box::new(self), EndReason::TakenOver);
                        }
                        Some(what) => drop(answer.send(Rejoined::Refused(Refusal::Differs { what }))),
                    },
                    command => self.obey(command),
                },
                () = self.driver.answer() => {}
                () = alarm.ring(Some(wake)) => {
                    if Instant::now() >= over {
                        return Kept::Over(Box::new(self), EndReason::Vanished);
                    }
                    self.driver.tick();
                }
            }
        }
    }

    /// Makes it ready for another stream.
    fn resume(&mut self) {
        let mut acknowledgement = Acknowledgement::clone(&self.acknowledgement);
        acknowledgement.resumption = Some(self.driver.rejoin());
        for (leg, state) in acknowledgement.legs.iter_mut().zip(self.posted.live().legs()) {
            if state.withdrawn && leg.analysed {
                leg.analysed = false;
                let leg_id = &leg.leg_id;
                acknowledgement.warnings.push(format!(
                    "leg {leg_id:?} is analysed no further, because consent for it was withdrawn; its audio is dropped"
                ));
            }
        }
        self.acknowledgement = Arc::new(acknowledgement);
        self.sessions.metrics().calls_resumed_total.increment(1);
    }

    /// Whether there were legs that were analysed, and consent was withdrawn for each of them.
    fn is_withdrawn(&self) -> bool {
        let live = self.posted.live();
        let mut analysed = live.call.legs.iter().zip(live.legs()).filter(|(leg, _)| leg.analysed).peekable();
        analysed.peek().is_some() && analysed.all(|(_, state)| state.withdrawn)
    }

    /// What of a configuration is not as it was; what the policy says now counts as well.
    fn difference(&self, request: &Request) -> Option<&'static str> {
        let was = &self.request;
        let permits = self.sessions.terms().policy.judge_call(&request.circumstances());
        let analysed = permits.map(|permits| permits.iter().map(Result::is_ok).collect::<Vec<_>>());
        // As it began, whatever was withdrawn since.
        let began = self.posted.live().call.legs.iter().map(|leg| leg.analysed).collect::<Vec<_>>();
        let differences = [
            ("audio.encoding", was.encoding != request.encoding),
            ("audio.sample_rate_hertz", was.sample_rate_hz != request.sample_rate_hz),
            ("legs", was.legs != request.legs),
            ("tags", was.tags != request.tags),
            ("notice", was.notice_given != request.notice_given),
            ("consent", was.consent != request.consent),
            ("stride", was.stride != request.stride),
            ("model", was.model != request.model),
            ("what the policy permits", analysed.ok() != Some(began)),
        ];
        differences.into_iter().find_map(|(what, differs)| differs.then_some(what))
    }
}
