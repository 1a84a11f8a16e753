//! What is read, and what is purged.

use std::{fmt, time::SystemTime};

use super::{Audit, Draft, Entry, Kind, Record};

/// Entries in a page unless asked otherwise.
const PAGE: usize = 256;

/// Which entries. The default is all, from the first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query {
    /// Only entries after this sequence.
    pub after: u64,
    /// Only entries up to and with this sequence.
    pub until: Option<u64>,
    /// Only entries that happened at this time or later.
    pub since: Option<SystemTime>,
    /// Only these kinds; empty: all.
    pub kinds: Vec<Kind>,
    /// Only this call.
    pub call_id: Option<String>,
    /// Only this leg.
    pub leg_id: Option<String>,
    /// Only this subject.
    pub subject: Option<String>,
    /// At most so many.
    pub limit: usize,
}

/// Some entries, in order.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Page {
    /// They.
    pub entries: Vec<Entry>,
    /// The last sequence that was looked at: where the next page begins. Entries up to it that are not here do not match.
    pub last: u64,
    /// Whether there may be more.
    pub more: bool,
}

/// What is to be forgotten.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// A call.
    Call(String),
    /// One leg of a call.
    Leg(String, String),
    /// A subject, and the calls in which he spoke.
    Subject(String),
}

impl Default for Query {
    fn default() -> Self {
        Self {
            after: 0,
            until: None,
            since: None,
            kinds: Vec::new(),
            call_id: None,
            leg_id: None,
            subject: None,
            limit: PAGE,
        }
    }
}

impl Query {
    /// Whether it asks for this entry, its sequence aside.
    pub fn takes(&self, draft: &Draft) -> bool {
        let is = |asked: &Option<String>, actual: &Option<String>| asked.is_none() || asked == actual;
        (self.kinds.is_empty() || self.kinds.contains(&draft.kind()))
            && is(&self.call_id, &draft.call_id)
            && is(&self.leg_id, &draft.leg_id)
            && is(&self.subject, &draft.subject)
            && self.since.is_none_or(|since| since <= draft.at)
    }
}

impl Scope {
    /// A call, or one leg of it.
    pub fn of_call(call_id: &str, leg_id: Option<&str>) -> Self {
        match leg_id {
            Some(leg_id) => Self::Leg(call_id.to_owned(), leg_id.to_owned()),
            None => Self::Call(call_id.to_owned()),
        }
    }

    /// All that is kept in it, as far as entries themselves tell.
    pub fn query(&self) -> Query {
        let (call_id, leg_id, subject) = match self.clone() {
            Self::Call(call_id) => (Some(call_id), None, None),
            Self::Leg(call_id, leg_id) => (Some(call_id), Some(leg_id), None),
            Self::Subject(subject) => (None, None, Some(subject)),
        };
        Query { call_id, leg_id, subject, ..Query::default() }
    }

    /// What was deleted, where that is what an entry tells.
    pub(super) fn purged_by(record: &Record) -> Option<Self> {
        let Record::Audit(audit) = record else { return None };
        match audit.clone() {
            Audit::ConsentWithdrawn { call_id, leg_id: Some(leg_id), .. } => Some(Self::Leg(call_id, leg_id)),
            Audit::ConsentWithdrawn { call_id, .. } | Audit::CallDeleted { call_id, .. } => Some(Self::Call(call_id)),
            Audit::SubjectDeleted { subject, .. } => Some(Self::Subject(subject)),
            Audit::Started { .. } | Audit::Reloaded { .. } | Audit::EntriesLost { .. } => None,
        }
    }

    /// Whether it may hold this draft: of a subject's calls the draft does not tell whether he spoke in them.
    pub(super) fn may_hold(&self, draft: &Draft) -> bool {
        let of_a_call = draft.kind() != Kind::Audit && draft.call_id.is_some();
        self.holds(draft) || (of_a_call && matches!(self, Self::Subject(_)))
    }

    /// Whether it holds this draft, as far as the draft itself tells.
    pub(super) fn holds(&self, draft: &Draft) -> bool {
        let is = |asked: &str, actual: &Option<String>| actual.as_deref() == Some(asked);
        draft.kind() != Kind::Audit
            && match self {
                Self::Call(call_id) => is(call_id, &draft.call_id),
                Self::Leg(call_id, leg_id) => is(call_id, &draft.call_id) && is(leg_id, &draft.leg_id),
                Self::Subject(subject) => is(subject, &draft.subject),
            }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Call(call_id) => write!(f, "call {call_id:?}"),
            Self::Leg(call_id, leg_id) => write!(f, "leg {leg_id:?} of call {call_id:?}"),
            Self::Subject(subject) => write!(f, "subject {subject:?}"),
        }
    }
}
