//! What an entry holds. Written as JSON: a field may be added, and what is added has a default, so that older entries stay readable.

use std::time::SystemTime;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::written::{from_millis, id, millis, to_millis};

mod act;
mod alert;
mod call;
mod registration;
#[cfg(test)]
pub(in crate::journal) mod tests;

pub use act::{Action, Audit};
pub use alert::{Alert, Evidence, Place};
pub use call::{Began, EmotionShare, Ended, Timeline, TimelinePoint};
pub use registration::{Notice, RegisteredLeg, Registration};

/// One entry, as it is kept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// Its place. Only rises, and is never given twice.
    pub sequence: u64,
    /// The server that wrote it.
    pub node: String,
    /// What was written.
    #[serde(flatten)]
    pub draft: Draft,
}

/// What is to be appended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Draft {
    /// The writer's own name for it.
    #[serde(with = "id")]
    pub id: Uuid,
    /// When it happened, to the millisecond.
    #[serde(with = "millis")]
    pub at: SystemTime,
    /// The call it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub call_id: Option<String>,
    /// The leg of that call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leg_id: Option<String>,
    /// The pseudonymous speaker on that leg.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// What happened.
    pub record: Record,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Record {
    /// A leg began.
    Began(Began),
    /// A leg ended.
    Ended(Ended),
    /// How a leg went over a while.
    Timeline(Timeline),
    /// An alert changed its state.
    Alert(Box<Alert>),
    /// Somebody acted on an alert.
    Action(Action),
    /// The summary of a leg, kept for its subject.
    Subject(Ended),
    /// Somebody did what must stay known.
    Audit(Audit),
}

/// What a time to live is set for, and what readers choose by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// [`Record::Began`] and [`Record::Ended`].
    Call,
    /// [`Record::Timeline`].
    Timeline,
    /// [`Record::Alert`].
    Alert,
    /// [`Record::Action`].
    Action,
    /// [`Record::Subject`].
    Subject,
    /// [`Record::Audit`].
    Audit,
}

impl Draft {
    /// What happened now, with an id of its own.
    pub fn new(at: SystemTime, record: Record) -> Self {
        Self { id: Uuid::new_v4(), at: from_millis(to_millis(at)), call_id: None, leg_id: None, subject: None, record }
    }

    /// The same, of this leg of this call.
    #[must_use]
    pub fn of_leg(mut self, call_id: &str, leg_id: &str, subject: Option<&str>) -> Self {
        self.call_id = Some(call_id.to_owned());
        self.leg_id = Some(leg_id.to_owned());
        self.subject = subject.map(str::to_owned);
        self
    }

    /// Its kind.
    pub fn kind(&self) -> Kind {
        self.record.kind()
    }
}

impl Record {
    /// Whether it holds what was heard of a person.
    pub fn tells_what_was_heard(&self) -> bool {
        match self {
            Self::Timeline(_) | Self::Subject(_) => true,
            Self::Alert(alert) => !alert.evidence.scores.is_empty(),
            Self::Ended(ended) => !ended.shares.is_empty(),
            Self::Began(_) | Self::Action(_) | Self::Audit(_) => false,
        }
    }

    /// Its kind.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Began(_) | Self::Ended(_) => Kind::Call,
            Self::Timeline(_) => Kind::Timeline,
            Self::Alert(_) => Kind::Alert,
            Self::Action(_) => Kind::Action,
            Self::Subject(_) => Kind::Subject,
            Self::Audit(_) => Kind::Audit,
        }
    }
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 6] = [Self::Call, Self::Timeline, Self::Alert, Self::Action, Self::Subject, Self::Audit];

    /// As metrics, the storage and the configuration name it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Call => "call",
            Self::Timeline => "timeline",
            Self::Alert => "alert",
            Self::Action => "action",
            Self::Subject => "subject",
            Self::Audit => "audit",
        }
    }
}
