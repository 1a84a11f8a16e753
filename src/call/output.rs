//! What comes out of a call.

use std::{fmt, time::Duration};

use serde::{Deserialize, Serialize};
use zeroize::{Zeroize as _, ZeroizeOnDrop};

use super::Spent;
use crate::{
    audio::{Encoding, level::Block},
    decision::{self, Judgement, Share},
    features::NotScored,
};

/// Names one window of one leg; never used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct WindowId {
    /// Index of the leg.
    pub leg: usize,
    /// Counts the leg's windows.
    pub number: u64,
}

/// Why a call ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum EndReason {
    /// The client said so.
    Completed,
    /// No message came.
    Idle,
    /// The server drains.
    Draining,
    /// Consent was withdrawn.
    ConsentWithdrawn,
    /// The client sent something invalid.
    Invalid,
    /// Inference failed for good.
    Failed,
    /// The client took nothing.
    Stalled,
    /// The client was gone.
    Vanished,
    /// The server died meanwhile; it said so when it was back.
    Lost,
    /// Another stream took the call over.
    TakenOver,
}

/// Where a call goes on whose stream broke.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resumption {
    /// First sample that has not come.
    pub position_samples: u64,
    /// The least sequence that the next chunk may have; `None` where chunks had none.
    pub next_sequence: Option<u64>,
    /// The sequence of each leg's next event.
    pub next_events: Vec<u64>,
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
    /// How loud half a second of one leg was that is listened to.
    Level(Block),
    /// What half a second of audio took; only of a call that is timed.
    Spent(Spent),
    /// One decision.
    Event(Event),
    /// An alert rose, changed or ended.
    Alert(Alert),
    /// Something was found that the client should know; a status that holds it follows.
    Warning(Warning),
    /// How the call stands.
    Status(Status),
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
    /// What is thought of the party now: the average over speech time; `None` before anything was scored.
    pub smoothed: Option<Judgement>,
    /// Part of the stretch that was speech.
    pub speech_ratio: f32,
    /// From the arrival of the last sample it depends on until now.
    pub processing_latency: Duration,
    /// Samples received so far.
    pub received_samples: u64,
    /// Samples not analysed so far.
    pub dropped_samples: u64,
    /// Samples that never came and were heard as silence so far.
    pub filled_samples: u64,
}

/// One change of an alert of one leg.
#[derive(Debug, Clone, PartialEq)]
pub struct Alert {
    /// Index of the leg.
    pub leg: usize,
    /// Names the alert in all of its changes; no other alert of any call has it.
    pub alert_id: String,
    /// What changed.
    pub change: decision::Alert,
}

/// What a client should know of its stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Warning {
    /// The audio is not written as the configuration says.
    Mislabelled {
        /// What it says.
        label: Encoding,
        /// What the bytes look like.
        looks_like: Encoding,
    },
}

/// How a call stands.
#[derive(Debug, Clone, PartialEq)]
pub struct Status {
    /// Its legs, in channel order.
    pub legs: Vec<LegStatus>,
    /// What was found so far.
    pub warnings: Vec<Warning>,
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
    /// Samples that never came and were heard as silence so far.
    pub filled_samples: u64,
    /// Windows that are out.
    pub waiting_windows: usize,
    /// Windows given up.
    pub shed_windows: u64,
    /// Whether it is on hold.
    pub on_hold: bool,
    /// Why nothing was scored at the last stride; `None` when something was.
    pub not_scored: Option<NotScored>,
}

/// What was heard on a leg, in all. Wiped when dropped.
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
    /// Samples that never came and were heard as silence.
    pub filled_samples: u64,
    /// How much of it was speech.
    pub speech: Duration,
    /// Windows that were scored.
    pub scored_windows: u64,
    /// Strides at which nothing was scored, by reason.
    pub not_scored: Vec<(NotScored, u64)>,
    /// The mean probability of each label over the scored windows; `None` when nothing was scored.
    pub mean: Option<Vec<f32>>,
    /// A row a label; empty when nothing was scored.
    pub shares: Vec<Share>,
    /// Windows given up.
    pub shed_windows: u64,
    /// What the client should know.
    pub warnings: Vec<String>,
}

impl Summary {
    /// Leaves nothing of what was heard, and says that consent was withdrawn.
    pub fn forget(&mut self) {
        self.mean.zeroize();
        self.shares.zeroize();
        (self.speech, self.scored_windows) = (Duration::ZERO, 0);
        self.end_reason = EndReason::ConsentWithdrawn;
    }
}

impl ZeroizeOnDrop for Summary {}

impl Drop for Summary {
    fn drop(&mut self) {
        self.forget();
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self::Mislabelled { label, looks_like } = self;
        let (label, looks_like) = (label.as_str(), looks_like.as_str());
        write!(
            f,
            "the audio is labelled {label} and looks like {looks_like}: it is read as labelled, and what is heard then means nothing; set \
             audio.encoding to what is sent"
        )
    }
}
