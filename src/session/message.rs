//! What a client is told of its call.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, SystemTime},
};

use uuid::Uuid;

use crate::{
    call::{self, Alert, Event, Resumption, Summary},
    model::Model,
    policy::Role,
};

/// One message to the client. Legs are named by their index in the acknowledgement.
#[derive(Debug, Clone)]
pub enum Message {
    /// The first.
    Acknowledgement(Arc<Acknowledgement>),
    /// One decision.
    Event(Event),
    /// An alert rose, changed or ended.
    Alert {
        /// The change.
        alert: Alert,
        /// When it was made.
        changed_at: SystemTime,
    },
    /// How the call stands.
    Status {
        /// It.
        status: call::Status,
        /// Events dropped so far because the client read too slowly, one count a leg.
        dropped_events: Vec<u64>,
    },
    /// The last of a leg.
    Summary {
        /// It.
        summary: Summary,
        /// Events dropped because the client read too slowly.
        dropped_events: u64,
    },
}

/// The call as negotiated.
#[derive(Debug, Clone)]
pub struct Acknowledgement {
    /// Names the session in logs.
    pub session_id: Uuid,
    /// The call, by the client's own id.
    pub call_id: String,
    /// What it is tagged with.
    pub tags: BTreeMap<String, String>,
    /// Samples a second and channel.
    pub sample_rate_hz: u32,
    /// What scores it.
    pub model: Arc<Model>,
    /// Time between two decisions.
    pub stride: Duration,
    /// Where the first falls, below a stride; 0 for after a whole one.
    pub put_off_samples: u64,
    /// In channel order.
    pub legs: Vec<AcknowledgedLeg>,
    /// What the client should know.
    pub warnings: Vec<String>,
    /// Where it goes on, after a break.
    pub resumption: Option<Resumption>,
}

/// A leg as negotiated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AcknowledgedLeg {
    /// Names it.
    pub leg_id: String,
    /// Who speaks.
    pub role: Role,
    /// The speaker, by the client's pseudonymous id.
    pub subject: Option<String>,
    /// Whether it is analysed; else its audio is dropped before any feature.
    pub analysed: bool,
}
