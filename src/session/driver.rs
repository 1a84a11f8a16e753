//! Drives one [`Call`]: hands its windows to inference and brings the answers back.

use std::{future::Future, pin::Pin, sync::Arc, time::Instant};

use arc_swap::ArcSwap;
use futures_util::{StreamExt as _, stream::FuturesUnordered};

use super::{Engine, shadow::Beside, turn::Turn};
use crate::{
    call::{
        Alert, Call, Chunk, Control, EndReason, Event, Output, Resumption, Status, Summary, Warning, WindowId, Worked,
    },
    decision::{
        NotOpen, Rules,
        alert::{Attribution, Snooze},
    },
    model::Outcome,
    telemetry::{metrics::Amount, trace},
};

/// A call and the windows of it that are out. Dropped, it cancels them.
pub(super) struct Driver {
    call: Call,
    /// The rules that are on now.
    rules: Arc<ArcSwap<Rules>>,
    engine: Arc<Engine>,
    /// The number by which inference knows the call's first leg.
    first_leg: u64,
    windows: FuturesUnordered<Answer>,
    turn: Turn,
    /// A model that is tried on the same audio.
    shadow: Option<Beside>,
    /// What its legs keep and what waits for its client, told anew with every half second of audio, where that is counted.
    bytes: Option<Amount>,
    /// What waits for its client.
    waiting_bytes: usize,
    failed: bool,
    /// The stream that it comes by, or the recording that it is, where that is traced.
    trace: Option<trace::Request>,
    /// Of a call that is traced, the work on the chunk that windows may come of.
    chunk: Option<trace::Chunk>,
}

/// What becomes of a window that is out, and its trace.
type Answer = Pin<Box<dyn Future<Output = (WindowId, Option<trace::Window>, Outcome)> + Send>>;

/// What comes out of a call but windows.
#[derive(Debug)]
pub(super) enum Told {
    Event(Event),
    Alert(Alert),
    Warning(Warning),
    Status(Status),
    Summary(Summary),
    Closed(EndReason),
}

impl Driver {
    pub(super) fn new(call: Call, rules: Arc<ArcSwap<Rules>>, engine: Arc<Engine>, first_leg: u64, turn: Turn) -> Self {
        Self {
            call,
            rules,
            engine,
            first_leg,
            windows: FuturesUnordered::new(),
            turn,
            shadow: None,
            bytes: None,
            waiting_bytes: 0,
            failed: false,
            trace: None,
            chunk: None,
        }
    }

    /// The same, with a model that is tried on the same audio.
    pub(super) fn beside(self, shadow: Option<Beside>) -> Self {
        Self { shadow, ..self }
    }

    /// The same, with what its legs keep counted there.
    pub(super) fn weighed_by(self, bytes: Amount) -> Self {
        let mut weighed = Self { bytes: Some(bytes), ..self };
        weighed.weigh();
        weighed
    }

    /// Tells what its legs keep now.
    fn weigh(&mut self) {
        if let Some(bytes) = &mut self.bytes {
            let heard = self.call.bytes() + self.shadow.as_ref().map_or(0, Beside::bytes);
            bytes.set((heard + self.waiting_bytes) as f64);
        }
    }

    /// So many bytes wait for its client.
    pub(super) fn waits(&mut self, bytes: usize) {
        self.waiting_bytes = bytes;
    }

    /// Goes on by a stream that is traced, or by one that is not.
    pub(super) fn trace(&mut self, stream: Option<trace::Request>) {
        self.trace = stream;
    }

    /// Takes audio in; whether others are to be let by before there is more.
    pub(super) fn push(&mut self, chunk: Chunk<'_>) -> bool {
        let now = Instant::now();
        self.call.set_rules(&self.rules.load());
        let (call, shadow) = (&mut self.call, &mut self.shadow);
        // A shadow with a front end of its own takes as long again.
        let times = 1 + usize::from(shadow.as_ref().is_some_and(Beside::hears_for_itself));
        let mut push = || {
            let samples = call.push(chunk, now);
            if let Some(shadow) = shadow {
                shadow.push(chunk, now);
            }
            samples
        };
        let samples =
            if self.turn.is_long(times * chunk.data.len()) { tokio::task::block_in_place(push) } else { push() };
        if self.trace.is_some() {
            let worked = self.call.take_worked();
            self.chunk = worked.map(|Worked { began, decoded, heard }| trace::Chunk { began, decoded, heard });
        }
        self.turn.is_over(times as u64 * samples)
    }

    pub(super) fn control(&mut self, control: Control, leg: Option<usize>) {
        self.chunk = None;
        let now = Instant::now();
        self.call.control(control, leg, now);
        if let Some(shadow) = &mut self.shadow {
            shadow.control(control, leg, now);
        }
    }

    pub(super) fn acknowledge(&mut self, alert_id: &str, by: &Attribution) -> Result<(), NotOpen> {
        self.call.acknowledge(alert_id, by)
    }

    pub(super) fn snooze(&mut self, alert_id: &str, snooze: &Snooze) -> Result<(), NotOpen> {
        self.call.snooze(alert_id, snooze, Instant::now())
    }

    /// Whether the call takes more in.
    pub(super) fn is_open(&self) -> bool {
        self.call.is_open()
    }

    /// As [`Call::rejoin`].
    pub(super) fn rejoin(&mut self) -> Resumption {
        let now = Instant::now();
        if let Some(shadow) = &mut self.shadow {
            shadow.rejoin(now);
        }
        self.call.rejoin(now)
    }

    pub(super) fn tick(&mut self) {
        self.call.tick(Instant::now());
    }

    pub(super) fn close(&mut self, reason: EndReason) {
        self.chunk = None;
        self.call.close(reason, Instant::now());
    }

    /// When [`Driver::tick`] is due at the latest.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.call.deadline()
    }

    /// Windows that are out.
    pub(super) fn windows_out(&self) -> usize {
        self.windows.len()
    }

    /// Whether inference failed for good while a window was out.
    pub(super) fn has_failed(&self) -> bool {
        self.failed
    }

    /// Hands windows in, and gives what else comes out of the call, until there is nothing.
    pub(super) fn poll(&mut self) -> Option<Told> {
        loop {
            return Some(match self.call.poll()? {
                Output::Infer { id, window } => {
                    if let Some(shadow) = &mut self.shadow {
                        shadow.window(id, &window);
                    }
                    let trace = self.trace.as_mut().and_then(|stream| stream.window(self.chunk));
                    let leg = self.first_leg + id.leg as u64;
                    let answer = self.engine.inference.infer_traced(leg, window, trace.clone());
                    self.windows.push(Box::pin(async move { (id, trace, answer.await) }));
                    continue;
                }
                Output::Level(block) => {
                    let metrics = &self.engine.metrics;
                    metrics.input_level_dbfs.record(block.level_dbfs);
                    metrics.input_samples_total.increment(u64::from(block.samples));
                    metrics.input_clipped_total.increment(u64::from(block.clipped));
                    continue;
                }
                Output::Spent(spent) => {
                    self.engine.metrics.stages.decode.record(spent.decode);
                    self.engine.metrics.stages.features.record(spent.features);
                    self.weigh();
                    continue;
                }
                Output::Event(event) => {
                    if let Some(shadow) = &mut self.shadow {
                        shadow.live_event(&event);
                    }
                    Told::Event(event)
                }
                Output::Alert(alert) => Told::Alert(alert),
                Output::Warning(warning) => Told::Warning(warning),
                Output::Status(status) => Told::Status(status),
                Output::Summary(summary) => Told::Summary(summary),
                Output::Closed(reason) => Told::Closed(reason),
            });
        }
    }

    /// Waits for one window and brings its answer back. Inference that failed for good closes the call. Never ready while no window is
    /// out; nothing is lost when the future is dropped.
    pub(super) async fn answer(&mut self) {
        let Some((id, trace, outcome)) = self.windows.next().await else { return std::future::pending().await };
        self.failed |= matches!(outcome, Outcome::Failed(_)) && self.engine.inference.failure().is_some();
        if let Some(shadow) = &mut self.shadow {
            shadow.live_outcome(id, &outcome);
        }
        let what = match &outcome {
            Outcome::Logits(_) => "scored",
            Outcome::Shed => "shed",
            Outcome::Failed(_) => "failed",
        };
        let now = Instant::now();
        self.call.apply(id, outcome, now);
        self.engine.metrics.stages.decision.record(now.elapsed());
        if let Some(trace) = trace {
            trace.decided(now, what);
        }
        if self.failed {
            self.call.close(EndReason::Failed, Instant::now());
        }
    }
}
