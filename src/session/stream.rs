//! One call's task.

use std::{
    pin::pin,
    time::{Duration, Instant, SystemTime},
};

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _};
use tokio::sync::mpsc;
use tracing::{Instrument as _, Span, field::display};

use super::{
    Acknowledgement, Message, Session, age, alarm::Alarm, board::Command, driver::Told, measure, resume::Rejoined,
};
use crate::{
    call::{Chunk, Control, EndReason},
    telemetry::metrics::Seconds,
};
use ending::ending;

mod ending;
mod obey;
mod rest;

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
    /// Another stream took over.
    TakenOver,
    /// The stream is as old as it may be; the call is kept, to go on by another.
    Aged,
}

/// What became of a message.
enum Took<E> {
    /// It is taken in; whether others are to be let by before there is more.
    More { over: bool },
    /// The call takes no more, and, if it was invalid, for this.
    Last(Option<E>),
    /// There is none: the client is gone.
    Gone,
}

/// How long a stream that is taken over has for its last words.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Who says what comes on the call's own stream.
const CLIENT: &str = "client";

impl Session {
    /// Runs the call to its end. What the client is told goes through `encode` into `sender`, whose bound should be small: what waits
    /// is kept here, where old events can be dropped. It runs in the span of [`crate::telemetry::trace::call`].
    pub async fn run<I, E, T>(mut self, inputs: I, sender: mpsc::Sender<T>, encode: impl Fn(Message) -> T) -> End<E>
    where
        I: Stream<Item = Result<Input, Fault<E>>>,
    {
        let sessions = self.sessions.clone();
        let Acknowledgement { session_id, model, resumption, .. } = &*self.acknowledgement;
        Span::current().record("session_id", display(session_id)).record("model", &*model.manifest.name);
        tracing::info!(resumed = resumption.is_some(), "call began");
        let (reason, end) = self.converse(inputs, sender, encode).await;
        match end {
            End::Stalled => self.wind_up(EndReason::Stalled).await,
            End::Vanished => {
                self.outlive().await;
                return end;
            }
            End::Aged => {
                sessions.metrics().streams_aged_total.increment(1);
                tracing::info!("the stream is as old as it may be");
                // The client is to hear of it now.
                sessions.spawn(self.outlive().in_current_span());
                return end;
            }
            _ => {}
        }
        self.told_ended(reason);
        end
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
        let sessions = self.sessions.clone();
        let limits = sessions.limits();
        let mut inputs = pin!(inputs);
        // All kept from turn to turn, because each would cost a lock to make anew; the token is the call's own, so that calls do not wait
        // for each other.
        let draining = sessions.draining().child_token();
        let mut draining = pin!(draining.cancelled());
        let mut gone = pin!(sender.closed());
        let mut alarm = Alarm::default();
        let mut age = Alarm::default();
        let session_id = self.acknowledgement.session_id;
        let oldest = limits.max_stream_age.map(|longest| Instant::now() + age::of(longest, session_id));
        let mut audio = sessions.metrics().audio_received();
        self.outbox.begin(Message::Acknowledgement(self.acknowledgement.clone()), Instant::now());
        // Whether messages are still taken.
        let mut open = true;
        let mut invalid = None;
        loop {
            self.deliver();
            if let Some(reason) = self.closed {
                open = false;
                if self.outbox.is_empty() {
                    return ending(if self.driver.has_failed() { EndReason::Failed } else { reason }, invalid);
                }
            }
            // Whoever takes over shall not wait for a client that has gone without a sign.
            let patience =
                if self.successors.is_empty() { limits.stall_timeout } else { limits.stall_timeout.min(LAST_WORDS) };
            let stall = self.outbox.waiting_since().map(|since| since + patience);
            let wake = self.driver.deadline().into_iter().chain(stall).min();
            tokio::select! {
                // What is ready seldom comes first: audio may be ready always.
                biased;
                () = &mut gone => {
                    self.hear_out(inputs.as_mut(), &mut audio).await;
                    return ("vanished", End::Vanished);
                }
                () = &mut draining, if open => {
                    open = false;
                    self.driver.close(EndReason::Draining);
                }
                Some(command) = self.commands.recv() => match command {
                    Command::Rejoin { request, answer } if request.takeover => {
                        open = false;
                        self.successors.push(answer);
                        self.driver.close(EndReason::TakenOver);
                    }
                    Command::Rejoin { answer, .. } => drop(answer.send(Rejoined::Live)),
                    command => self.obey(command),
                },
                () = self.driver.answer() => {}
                permit = sender.reserve(), if !self.outbox.is_empty() => match permit {
                    Ok(permit) => if let Some(message) = self.outbox.pop(Instant::now()) {
                        permit.send(encode(message));
                    },
                    Err(_) => {
                        self.hear_out(inputs.as_mut(), &mut audio).await;
                        return ("vanished", End::Vanished);
                    }
                },
                () = alarm.ring(wake) => {
                    if stall.is_some_and(|stall| stall <= Instant::now()) {
                        return ("stalled", End::Stalled);
                    }
                    self.driver.tick();
                }
                () = age.ring(oldest), if open => return ("aged", End::Aged),
                input = inputs.next(), if open && self.driver.windows_out() < limits.max_windows_out => {
                    match self.take(input, &mut audio) {
                        Took::More { over } => let_by(over).await,
                        Took::Last(fault) => (open, invalid) = (false, fault),
                        Took::Gone => return ("vanished", End::Vanished),
                    }
                }
            }
        }
    }
}

impl Session {
    /// Takes a message in, or what came instead of one.
    fn take<E>(&mut self, input: Option<Result<Input, Fault<E>>>, audio: &mut Seconds) -> Took<E> {
        match input {
            Some(Ok(Input::Audio { data, sequence, media_offset_samples })) => {
                audio.add(Duration::from_secs_f64(
                    data.len() as f64 * self.acknowledgement.legs.len() as f64 / self.bytes_per_second as f64,
                ));
                Took::More { over: self.driver.push(Chunk { data: &data, sequence, media_offset_samples }) }
            }
            Some(Ok(Input::Control(control, leg))) => {
                if control == Control::WithdrawConsent {
                    self.withdraw(leg, CLIENT, "told on the call's own stream");
                } else {
                    self.driver.control(control, leg);
                }
                Took::More { over: false }
            }
            Some(Ok(Input::End)) | None => {
                self.driver.close(EndReason::Completed);
                Took::Last(None)
            }
            Some(Err(Fault::Invalid(fault))) => {
                self.driver.close(EndReason::Invalid);
                Took::Last(Some(fault))
            }
            Some(Err(Fault::Gone)) => Took::Gone,
        }
    }

    /// Hands windows in, and what else the call tells to all who are to know.
    pub(super) fn deliver(&mut self) {
        let metrics = self.sessions.metrics();
        while let Some(told) = self.driver.poll() {
            let now = Instant::now();
            match told {
                Told::Event(event) => {
                    measure::event(&event, &self.engine, metrics);
                    self.chronicle.event(&event);
                    self.posted.event(&event);
                    self.outbox.push(Message::Event(event), now);
                }
                Told::Alert(alert) => {
                    metrics.alerts_total.increment(alert.change.state.name());
                    let changed_at = SystemTime::now();
                    self.chronicle.alert(&alert, changed_at);
                    self.posted.alert(&alert);
                    self.outbox.push(Message::Alert { alert, changed_at }, now);
                }
                Told::Warning(warning) => measure::warning(warning, metrics),
                Told::Status(status) => self.outbox.push(Message::Status { status, dropped_events: Vec::new() }, now),
                Told::Summary(summary) => {
                    self.chronicle.summary(&summary);
                    self.outbox.push(Message::Summary { summary, dropped_events: 0 }, now);
                }
                Told::Closed(reason) => self.closed = Some(reason),
            }
        }
        self.driver.waits(self.outbox.bytes());
    }
}

/// After a message, lets others by if it is time to: a client that always has more must not keep them from the executor.
async fn let_by(over: bool) {
    if over {
        tokio::task::yield_now().await;
    } else {
        tokio::task::coop::consume_budget().await;
    }
}
