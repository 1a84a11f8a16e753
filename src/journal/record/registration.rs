//! What is known of a call before its audio comes.

use std::{collections::BTreeMap, time::SystemTime};

use serde::{Deserialize, Serialize};

use crate::{
    journal::written::{maybe_millis, millis},
    policy::{Consent, Role},
};

/// What was registered of a call.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Registration {
    /// The call, by the client's own id.
    pub call_id: String,
    /// What it is to be tagged with.
    #[serde(default)]
    pub tags: BTreeMap<String, String>,
    /// Its legs, in channel order.
    #[serde(default)]
    pub legs: Vec<RegisteredLeg>,
    /// That the people in it were told.
    #[serde(default)]
    pub notice: Option<Notice>,
    /// What the customer said to it; `None`: nothing was said.
    #[serde(default)]
    pub consent: Option<Consent>,
    /// When he said so.
    #[serde(default, with = "maybe_millis")]
    pub consent_at: Option<SystemTime>,
    /// Until when it is kept.
    #[serde(with = "millis")]
    pub expires_at: SystemTime,
}

/// A leg of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegisteredLeg {
    /// Its name.
    #[serde(default)]
    pub leg_id: Option<String>,
    /// Who speaks; unspecified says nothing.
    pub role: Role,
    /// The speaker, by the client's pseudonymous id.
    #[serde(default)]
    pub subject: Option<String>,
}

/// That people were told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notice {
    /// When.
    #[serde(with = "millis")]
    pub given_at: SystemTime,
    /// How.
    pub method: String,
}

impl Registration {
    /// Whether it names this speaker.
    pub fn names(&self, subject: &str) -> bool {
        self.legs.iter().any(|leg| leg.subject.as_deref() == Some(subject))
    }

    /// What is left of it once consent is withdrawn: that, and nothing of the person.
    #[must_use]
    pub fn withdrawn(&self) -> Self {
        Self {
            call_id: self.call_id.clone(),
            tags: BTreeMap::new(),
            legs: Vec::new(),
            notice: None,
            consent: Some(Consent::Refused),
            consent_at: None,
            expires_at: self.expires_at,
        }
    }
}
