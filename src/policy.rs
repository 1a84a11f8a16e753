//! Who may be analysed at all: roles, notice, consent. Pure.
//!
//! A leg of a call can only be built from a [`Permit`], and only [`Policy::judge`] makes one.

use serde::{Deserialize, Serialize};

use crate::features::NotScored;

/// Who speaks on a leg.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Role {
    /// The caller or called customer.
    Customer,
    /// A person at work.
    Agent,
    /// A person at work who listens in or joins.
    Supervisor,
    /// A machine voice.
    Bot,
    /// Several parties in one channel.
    Mixed,
    /// Not told.
    Unspecified,
}

/// What the customer said to the analysis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Consent {
    /// Nobody asked, or nobody told us.
    Unknown,
    /// Yes.
    Given,
    /// No.
    Refused,
}

/// What is known of a leg.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Circumstances {
    /// Who speaks.
    pub role: Role,
    /// Whether the people in the call were told.
    pub notice_given: bool,
    /// What the customer said to it.
    pub consent: Consent,
}

/// Leave to analyse one leg.
#[derive(Debug)]
pub struct Permit {
    role: Role,
}

impl Permit {
    /// Whose voice it is for.
    pub fn role(&self) -> Role {
        self.role
    }
}

/// What the policy says of a leg.
#[derive(Debug)]
pub enum Verdict {
    /// Analyse it.
    Analyse(Permit),
    /// Take the call, but drop this leg's audio before any feature.
    Drop(NotScored),
    /// Refuse the call.
    Refuse(Refusal),
}

/// Why a call is refused; the message says what to set.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {}

/// The policy, as configured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Policy {
    /// Refuse calls without `notice`.
    pub require_notice: bool,
    /// Refuse calls without consent given.
    pub require_consent: bool,
}

impl Default for Policy {
    fn default() -> Self {
        Self { require_notice: true, require_consent: false }
    }
}

impl Policy {
    /// What is to become of a leg.
    pub fn judge(&self, _leg: &Circumstances) -> Verdict {
        todo!()
    }
}
