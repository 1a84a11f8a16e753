//! The state of one call: its timeline, its decoder, and its legs. Without clock or I/O.
//!
//! Whoever drives it passes `now` in, and after each input takes [`Output`]s from [`Call::poll`] until there are none. Windows go
//! out as [`Output::Infer`]; what became of them comes back by [`Call::apply`], late or out of order as it may; events leave in
//! media order all the same. Time-outs expire through [`Call::tick`], at the latest at [`Call::deadline`].

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{
    audio::Encoding,
    decision::Judgement,
    features::NotScored,
    model::{Manifest, Outcome},
    policy::{Permit, Role},
};

/// What a call is.
#[derive(Debug)]
pub struct Options {
    /// How samples are written.
    pub encoding: Encoding,
    /// Samples a second and channel.
    pub sample_rate_hz: u32,
    /// One a channel, in order.
    pub legs: Vec<LegOptions>,
    /// The model that scores it.
    pub model: Arc<Manifest>,
    /// Time between decisions.
    pub stride: Duration,
    /// A call without any message for so long is ended. A hold suspends it up to `hold_timeout`.
    pub idle_timeout: Duration,
    /// A call on hold without any message for so long is ended.
    pub hold_timeout: Duration,
    /// Time between two statuses.
    pub status_interval: Duration,
    /// How long the end of a call waits for windows that are still out.
    pub close_timeout: Duration,
}

/// One party's audio.
#[derive(Debug)]
pub struct LegOptions {
    /// Names it in every output.
    pub leg_id: String,
    /// Who speaks.
    pub role: Role,
    /// Leave to analyse it, or why its audio is dropped.
    pub permit: Result<Permit, NotScored>,
}

/// Audio of all channels.
#[derive(Debug, Clone, Copy)]
pub struct Chunk<'a> {
    /// Interleaved samples; empty is a keepalive.
    pub data: &'a [u8],
    /// Position in the client's own count.
    pub sequence: Option<u64>,
    /// Position of the first sample.
    pub media_offset_samples: Option<u64>,
}

/// Names one window of one leg; never used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct WindowId {
    /// Index of the leg.
    pub leg: usize,
    /// Counts the leg's windows.
    pub number: u64,
}

/// What a client may say of a call beside sending audio.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Control {
    /// The party is on hold.
    Hold,
    /// The hold ends.
    Resume,
    /// Decide now.
    Flush,
    /// Stop the analysis and purge the leg.
    WithdrawConsent,
}

/// Why a call ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndReason {
    /// The client said so.
    Completed,
    /// No message came.
    Idle,
    /// The server drains.
    Draining,
    /// Consent was withdrawn.
    ConsentWithdrawn,
    /// The client sent something invalid, or vanished.
    Invalid,
    /// Inference failed for good.
    Failed,
}

/// What the driver has to do or pass on.
#[derive(Debug)]
pub enum Output {
    /// Run this window and come back with [`Call::apply`].
    Infer {
        /// To come back with.
        id: WindowId,
        /// `[frames, values]`.
        window: Vec<f32>,
    },
    /// One decision.
    Event(Event),
    /// How the legs stand, in channel order.
    Status(Vec<LegStatus>),
    /// The last of a leg.
    Summary(Summary),
    /// Nothing follows.
    Closed(EndReason),
}

/// One decision about one leg. Positions are samples at the client's rate.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// Index of the leg.
    pub leg: usize,
    /// Counts the leg's events from 1.
    pub sequence: u64,
    /// First sample looked at.
    pub start_samples: u64,
    /// One past the last.
    pub end_samples: u64,
    /// Samples that had to be received first.
    pub depends_on_samples: u64,
    /// What was heard, or why nothing was scored.
    pub outcome: Result<Judgement, NotScored>,
    /// Part of the stretch that was speech.
    pub speech_ratio: f32,
    /// From the arrival of the last sample it depends on until now.
    pub processing_latency: Duration,
    /// Samples received so far.
    pub received_samples: u64,
    /// Samples not analysed so far.
    pub dropped_samples: u64,
}

/// How a leg stands.
#[derive(Debug, Clone, PartialEq)]
pub struct LegStatus {
    /// Index of the leg.
    pub leg: usize,
    /// Samples received so far.
    pub received_samples: u64,
    /// Samples not analysed so far.
    pub dropped_samples: u64,
    /// Windows that are out.
    pub waiting_windows: usize,
    /// Windows given up.
    pub shed_windows: u64,
    /// Whether it is on hold.
    pub on_hold: bool,
    /// Why nothing was scored at the last stride; `None` when something was.
    pub not_scored: Option<NotScored>,
}

/// What was heard on a leg, in all.
#[derive(Debug, Clone, PartialEq)]
pub struct Summary {
    /// Index of the leg.
    pub leg: usize,
    /// Why it ended.
    pub end_reason: EndReason,
    /// Samples received.
    pub received_samples: u64,
    /// Samples not analysed.
    pub dropped_samples: u64,
    /// How much of it was speech.
    pub speech: Duration,
    /// Windows that were scored.
    pub scored_windows: u64,
    /// Strides at which nothing was scored, by reason.
    pub not_scored: Vec<(NotScored, u64)>,
    /// A row a label; empty when nothing was scored.
    pub shares: Vec<Share>,
    /// Windows given up.
    pub shed_windows: u64,
    /// What the client should know.
    pub warnings: Vec<String>,
}

/// How much of a leg a label took.
#[derive(Debug, Clone, PartialEq)]
pub struct Share {
    /// Mean probability over the scored windows.
    pub share: f32,
    /// Highest probability.
    pub peak: f32,
    /// End of the window in which it was highest.
    pub peak_end_samples: u64,
}

/// One call.
pub struct Call {}

impl Call {
    /// A call that begins now.
    pub fn new(_options: Options, _now: Instant) -> Result<Self, crate::audio::resample::Error> {
        todo!()
    }

    /// Takes audio in.
    pub fn push(&mut self, _chunk: Chunk<'_>, _now: Instant) {
        todo!()
    }

    /// Changes the state of one leg, or of all.
    pub fn control(&mut self, _control: Control, _leg: Option<usize>, _now: Instant) {
        todo!()
    }

    /// Takes in what became of a window. An unknown id is ignored.
    pub fn apply(&mut self, _id: WindowId, _outcome: Outcome, _now: Instant) {
        todo!()
    }

    /// Lets time-outs expire.
    pub fn tick(&mut self, _now: Instant) {
        todo!()
    }

    /// Ends the call: summaries follow when all windows are back, or at the close time-out. A second time has no effect.
    pub fn close(&mut self, _reason: EndReason, _now: Instant) {
        todo!()
    }

    /// The next output, until `None`.
    pub fn poll(&mut self) -> Option<Output> {
        todo!()
    }

    /// When [`Call::tick`] is due at the latest.
    pub fn deadline(&self) -> Option<Instant> {
        todo!()
    }
}
