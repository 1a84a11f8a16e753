//! One call's task.

use std::{
    pin::{Pin, pin},
    time::{Duration, Instant, SystemTime},
};

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _};
use tokio::{
    sync::mpsc,
    time::{Sleep, sleep_until},
};
use tracing::Instrument as _;

use super::{
    Engine, Message, Session,
    board::{Command, Posted},
    chronicle::Chronicle,
    driver::{Driver, Told},
    outbox::Outbox,
};
use crate::{
    call::{Chunk, Control, EndReason, Event},
    features::NotScored,
    telemetry::{Metrics, metrics},
};

/// One message from the client.
#[derive(Debug, Clone)]
pub enum Input {
    /// Audio of all legs.
    Audio {
        /// Interleaved samples; empty is a keepalive.
        data: Bytes,
        /// Position in the client's own count.
        sequence: Option<u64>,
        /// Position of the first sample.
        media_offset_samples: Option<u64>,
    },
    /// A change of one leg's state, by its index, or of all legs'.
    Control(Control, Option<usize>),
    /// The call is over.
    End,
}

/// What keeps the next message from coming.
#[derive(Debug)]
pub enum Fault<E> {
    /// The client is gone.
    Gone,
    /// It sent something invalid.
    Invalid(E),
}

/// How a call ended, for the ingest to close by.
#[derive(Debug, PartialEq, Eq)]
pub enum End<E> {
    /// The client said so.
    Completed,
    /// No message came.
    Idle,
    /// The server drains.
    Draining,
    /// Inference failed for good.
    Failed,
    /// The client sent something invalid.
    Invalid(E),
    /// The client took nothing.
    Stalled,
    /// The client is gone.
    Vanished,
}

/// Who says what comes on the call's own stream.
const CLIENT: &str = "client";

impl Session {
    /// Runs the call to its end. What the client is told goes through `encode` into `sender`, whose bound should be small: what waits
    /// is kept here, where old events can be dropped.
    pub async fn run<I, E, T>(mut self, inputs: I, sender: mpsc::Sender<T>, encode: impl Fn(Message) -> T) -> End<E>
    where
        I: Stream<Item = Result<Input, Fault<E>>>,
    {
        let sessions = self.sessions.clone();
        let model = self.acknowledgement.model.manifest.name.clone();
        let span = tracing::info_span!("call", session_id = %self.acknowledgement.session_id, model);
        async {
            tracing::info!("call began");
            let (reason, end) = self.converse(inputs, sender, encode).await;
            match end {
                End::Stalled => self.wind_up(EndReason::Stalled).await,
                End::Vanished => self.wind_up(EndReason::Vanished).await,
                _ => {}
            }
            sessions.metrics().calls_ended_total.increment(reason);
            tracing::info!(reason, "call ended");
            end
        }
        .instrument(span)
        .await
    }

    async fn converse<I, E, T>(
        &mut self,
        inputs: I,
        sender: mpsc::Sender<T>,
        encode: impl Fn(Message) -> T,
    ) -> (&'static str, End<E>)
    where
        I: Stream<Item = Result<Input, Fault<E>>>,
    {
        let metrics = self.sessions.metrics();
        let limits = self.sessions.limits();
        let driver = &mut self.driver;
        let mut inputs = pin!(inputs);
        // All kept from turn to turn, because each would cost a lock to make anew; the token is the call's own, so that calls do not wait
        // for each other.
        let draining = self.sessions.draining().child_token();
        let mut draining = pin!(draining.cancelled());
        let mut gone = pin!(sender.closed());
        let mut alarm = Alarm::default();
        let mut outbox =
            Outbox::new(self.acknowledgement.legs.len(), limits.event_buffer, metrics.events_dropped_total.clone());
        let mut audio = metrics.audio_received();
        outbox.push(Message::Acknowledgement(self.acknowledgement.clone()), Instant::now());
        // Whether messages are still taken; and, once the call is closed, why.
        let (mut open, mut closed) = (true, None);
        let mut invalid = None;
        loop {
            while let Some(told) = driver.poll() {
                let now = Instant::now();
                match told {
                    Told::Event(event) => {
                        measure(&event, &self.engine, metrics);
                        self.chronicle.event(&event);
                        self.posted.event(&event);
                        outbox.push(Message::Event(event), now);
                    }
                    Told::Alert(alert) => {
                        metrics.alerts_total.increment(alert.change.state.name());
                        let changed_at = SystemTime::now();
                        self.chronicle.alert(&alert, changed_at);
                        self.posted.alert(&alert);
                        outbox.push(Message::Alert { alert, changed_at }, now);
                    }
                    Told::Status(legs) => outbox.push(Message::Status { legs, dropped_events: Vec::new() }, now),
                    Told::Summary(summary) => {
                        self.chronicle.summary(&summary);
                        outbox.push(Message::Summary { summary, dropped_events: 0 }, now);
                    }
                    Told::Closed(reason) => closed = Some(reason),
                }
            }
            if let Some(reason) = closed {
                open = false;
                if outbox.is_empty() {
                    return ending(if driver.has_failed() { EndReason::Failed } else { reason }, invalid);
                }
            }
            let stall = outbox.waiting_since().map(|since| since + limits.stall_timeout);
            let wake = driver.deadline().into_iter().chain(stall).min();
            tokio::select! {
                // What is ready seldom comes first: audio may be ready always.
                biased;
                () = &mut gone => return ("vanished", End::Vanished),
                () = &mut draining, if open => {
                    open = false;
                    driver.close(EndReason::Draining);
                }
                Some(command) = self.commands.recv() => obey(command, driver, &self.posted, &mut self.chronicle),
                () = driver.answer() => {}
                permit = sender.reserve(), if !outbox.is_empty() => match permit {
                    Ok(permit) => if let Some(message) = outbox.pop(Instant::now()) {
                        permit.send(encode(message));
                    },
                    Err(_) => return ("vanished", End::Vanished),
                },
                () = alarm.ring(wake) => {
                    if stall.is_some_and(|stall| stall <= Instant::now()) {
                        return ("stalled", End::Stalled);
                    }
                    driver.tick();
                }
                input = inputs.next(), if open && driver.windows_out() < limits.max_windows_out => match input {
                    Some(Ok(Input::Audio { data, sequence, media_offset_samples })) => {
                        audio.add(Duration::from_secs_f64(
                            data.len() as f64 * self.acknowledgement.legs.len() as f64 / self.bytes_per_second as f64,
                        ));
                        driver.push(Chunk { data: &data, sequence, media_offset_samples });
                        // A client that always has more must not keep others from the executor.
                        tokio::task::coop::consume_budget().await;
                    }
                    Some(Ok(Input::Control(control, leg))) => {
                        driver.control(control, leg);
                        if control == Control::WithdrawConsent {
                            self.posted.withdraw(leg);
                            self.chronicle.withdraw(leg, CLIENT, "told on the call's own stream");
                        }
                    }
                    Some(Ok(Input::End)) | None => {
                        open = false;
                        driver.close(EndReason::Completed);
                    }
                    Some(Err(Fault::Invalid(fault))) => {
                        (open, invalid) = (false, Some(fault));
                        driver.close(EndReason::Invalid);
                    }
                    Some(Err(Fault::Gone)) => return ("vanished", End::Vanished),
                },
            }
        }
    }
}

impl Session {
    /// Brings a call to its end that nobody listens to any more, for the journal's sake.
    async fn wind_up(&mut self, reason: EndReason) {
        let mut alarm = Alarm::default();
        self.driver.close(reason);
        loop {
            while let Some(told) = self.driver.poll() {
                match told {
                    Told::Event(event) => self.chronicle.event(&event),
                    Told::Alert(alert) => {
                        self.sessions.metrics().alerts_total.increment(alert.change.state.name());
                        self.chronicle.alert(&alert, SystemTime::now());
                    }
                    Told::Summary(summary) => self.chronicle.summary(&summary),
                    Told::Status(_) => {}
                    Told::Closed(_) => return,
                }
            }
            // Without a deadline it was closed before.
            let Some(wake) = self.driver.deadline() else { return };
            tokio::select! {
                () = self.driver.answer() => {}
                () = alarm.ring(Some(wake)) => self.driver.tick(),
            }
        }
    }
}

/// Does what the call is told from outside. Who asked may have gone: it is done all the same.
fn obey(command: Command, driver: &mut Driver, posted: &Posted, chronicle: &mut Chronicle) {
    match command {
        Command::Withdraw { leg, actor, reason, answer } => {
            driver.control(Control::WithdrawConsent, leg);
            posted.withdraw(leg);
            let _ = answer.send(chronicle.withdraw(leg, &actor, &reason));
        }
        Command::Acknowledge { alert_id, by, answer } => drop(answer.send(driver.acknowledge(&alert_id, &by))),
        Command::Snooze { alert_id, snooze, answer } => drop(answer.send(driver.snooze(&alert_id, &snooze))),
    }
}

fn ending<E>(reason: EndReason, invalid: Option<E>) -> (&'static str, End<E>) {
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
        (EndReason::Vanished | EndReason::Lost, _) => ("vanished", End::Vanished),
    }
}

fn measure(event: &Event, engine: &Engine, metrics: &Metrics) {
    match &event.outcome {
        Ok(judgement) => {
            let label = judgement.label.map_or(metrics::UNCERTAIN, |label| &engine.model.manifest.labels[label]);
            engine.metrics.events_total.increment(label);
            metrics.processing_latency_seconds.record(event.processing_latency.as_secs_f64());
        }
        Err(reason) => metrics.not_scored_total.increment(not_scored(*reason)),
    }
}

/// As metrics name it.
fn not_scored(reason: NotScored) -> &'static str {
    match reason {
        NotScored::Silence => "SILENCE",
        NotScored::Noise => "NOISE",
        NotScored::Tone => "TONE",
        NotScored::Music => "MUSIC",
        NotScored::OnHold => "ON_HOLD",
        NotScored::TooShort => "TOO_SHORT",
        NotScored::LowSnr => "LOW_SNR",
        NotScored::Gap => "GAP",
        NotScored::NotPermitted => "NOT_PERMITTED",
        NotScored::ConsentWithdrawn => "CONSENT_WITHDRAWN",
        NotScored::Overloaded => "OVERLOADED",
        NotScored::Failed => "FAILED",
    }
}

/// Rings at a moment or before. It is set anew only for an earlier one: a call's deadlines move with every message, and almost never pass.
#[derive(Default)]
struct Alarm {
    sleep: Option<Pin<Box<Sleep>>>,
    set: Option<Instant>,
}

impl Alarm {
    /// Nothing is lost when the future is dropped.
    async fn ring(&mut self, at: Option<Instant>) {
        let Some(at) = at else { return std::future::pending().await };
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(sleep_until(at.into())));
        if self.set.is_none_or(|set| at < set) {
            sleep.as_mut().reset(at.into());
            self.set = Some(at);
        }
        sleep.as_mut().await;
        self.set = None;
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;
    use crate::{
        decision::alert::State,
        telemetry::metrics::{ALERT_STATES, END_REASONS, NOT_SCORED_REASONS},
    };

    #[tokio::test]
    async fn an_alarm_rings_for_the_earliest_moment_it_was_told() {
        let (now, hour) = (Instant::now(), Duration::from_secs(3600));
        let mut alarm = Alarm::default();
        assert!(alarm.ring(None).now_or_never().is_none());
        assert!(alarm.ring(Some(now + hour)).now_or_never().is_none());
        alarm.ring(Some(now)).await;
        assert!(alarm.ring(Some(now + hour)).now_or_never().is_none(), "one that rang is set anew");
        assert!(alarm.ring(Some(now + 2 * hour)).now_or_never().is_none());
        assert_eq!(alarm.set, Some(now + hour), "a later moment sets nothing anew");
    }

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
        assert_eq!(reasons.map(not_scored), NOT_SCORED_REASONS);
        let states = [State::Firing, State::Acknowledged, State::Snoozed, State::Resolved];
        assert_eq!(states.map(State::name), ALERT_STATES);
    }
}
