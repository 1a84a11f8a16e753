//! What a client is told of its call.

use std::{sync::Arc, time::Duration};

use uuid::Uuid;

use crate::{
    call::{Event, LegStatus, Summary},
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
    /// How the legs stand.
    Status {
        /// In channel order.
        legs: Vec<LegStatus>,
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
    /// What scores it.
    pub model: Arc<Model>,
    /// Time between two decisions.
    pub stride: Duration,
    /// In channel order.
    pub legs: Vec<AcknowledgedLeg>,
    /// What the client should know.
    pub warnings: Vec<String>,
}

/// A leg as negotiated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AcknowledgedLeg {
    /// Names it.
    pub leg_id: String,
    /// Who speaks.
    pub role: Role,
    /// Whether it is analysed; else its audio is dropped before any feature.
    pub analysed: bool,
}
