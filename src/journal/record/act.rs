//! What people asked for, and what must stay known of what was done.

use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime},
};

use serde::{Deserialize, Serialize};

use super::{Kind, Registration};
use crate::{journal::written::millis, policy::Policy};

/// What somebody asked for. Every server applies it to the legs that live on it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "action", rename_all = "snake_case")]
pub enum Action {
    /// Takes an alert on.
    Acknowledge {
        /// The alert.
        alert_id: String,
        /// Who.
        actor: String,
        /// Why.
        reason: String,
    },
    /// Silences an alert's rule on its leg for a while.
    Snooze {
        /// The alert.
        alert_id: String,
        /// Who.
        actor: String,
        /// Why.
        reason: String,
        /// Until when, by the clock of the server that was asked.
        #[serde(with = "millis")]
        until: SystemTime,
        /// For how long, since clocks differ: from when the call's server reads it. Older entries lack it.
        #[serde(default)]
        lasts: Option<Duration>,
    },
    /// Withdraws consent for a call that may be live. The call stands within, because the entry must not go with the call's.
    WithdrawConsent {
        /// The call.
        call_id: String,
        /// The leg; all legs where there is none.
        #[serde(default)]
        leg_id: Option<String>,
        /// Who.
        actor: String,
        /// Why.
        reason: String,
    },
    /// Says what is known of a call before its audio comes.
    Register {
        /// What.
        registration: Registration,
    },
}

/// Who did what. The call or subject it is about stands within, because the entry outlives them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Audit {
    /// A server started, with this policy and these rules.
    Started {
        /// The program's version.
        version: String,
        /// What it permits, and on what ground.
        policy: Policy,
        /// Each alert rule with its version, and the hash of their file. Older entries lack it.
        #[serde(default)]
        rules: String,
    },
    /// The configuration, or a part of it such as the rules, was loaded anew.
    Reloaded {
        /// What: "rules".
        what: String,
        /// Its version; of rules and models with the hash of the file.
        version: String,
    },
    /// Consent was withdrawn, and what was kept of it deleted.
    ConsentWithdrawn {
        /// The call.
        call_id: String,
        /// The leg; all legs where there is none.
        leg_id: Option<String>,
        /// Who said so.
        actor: String,
        /// Why.
        reason: String,
        /// Entries deleted.
        entries: u64,
    },
    /// What was kept of a call was deleted.
    CallDeleted {
        /// The call.
        call_id: String,
        /// Who asked.
        actor: String,
        /// Why.
        reason: String,
        /// Entries deleted.
        entries: u64,
    },
    /// What was kept of a subject was deleted, with the calls in which he spoke.
    SubjectDeleted {
        /// The subject.
        subject: String,
        /// Who asked.
        actor: String,
        /// Why.
        reason: String,
        /// Entries deleted.
        entries: u64,
    },
    /// Entries could not be kept, because the journal could not be written for too long.
    EntriesLost {
        /// How many, by kind.
        lost: BTreeMap<Kind, u64>,
    },
}

impl Audit {
    /// Says how many entries were deleted, where that is what it tells.
    pub(in crate::journal) fn count(&mut self, deleted: u64) {
        match self {
            Self::ConsentWithdrawn { entries, .. }
            | Self::CallDeleted { entries, .. }
            | Self::SubjectDeleted { entries, .. } => {
                *entries = deleted;
            }
            Self::Started { .. } | Self::Reloaded { .. } | Self::EntriesLost { .. } => {}
        }
    }
}
