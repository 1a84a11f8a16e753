//! What a call is, and what may come in.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use crate::{audio::Encoding, decision::Rules, features::NotScored, model::Manifest, policy::Permit};

/// What a call is.
#[derive(Debug)]
pub struct Options {
    /// Begins the ids of its alerts, so that no other call has the same.
    pub session_id: String,
    /// How samples are written.
    pub encoding: Encoding,
    /// Samples a second and channel.
    pub sample_rate_hz: u32,
    /// One a channel, in order.
    pub legs: Vec<LegOptions>,
    /// What it is tagged with.
    pub tags: BTreeMap<String, String>,
    /// The model that scores it.
    pub model: Arc<Manifest>,
    /// When alerts are told.
    pub rules: Arc<Rules>,
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
    /// Leave to analyse it, which says who speaks, or why its audio is dropped.
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
