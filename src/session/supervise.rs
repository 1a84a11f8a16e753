//! What people do about calls and alerts, wherever the call lives.
//!
//! A call of this server is told directly, a call of another one by the journal that both share ([`super::actions`]).

use std::{sync::Arc, time::SystemTime};

use uuid::Uuid;

use super::{
    Sessions,
    board::{Command, LiveCall},
};
use crate::{
    decision::{
        NotOpen,
        alert::{Attribution, Snooze},
    },
    journal::{self, Action, Audit, Draft, Journal, Record},
    policy::Mode,
};

/// Why an action was not done; the message says what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// There is no such alert.
    #[error("there is no alert {alert_id:?}; take an id that WatchAlerts or ListAlerts gave")]
    NoAlert {
        /// What was asked for.
        alert_id: String,
    },
    /// The alert is over.
    #[error("alert {alert_id:?} is over: it can be acknowledged or snoozed only until it is resolved")]
    Over {
        /// What was asked for.
        alert_id: String,
    },
    /// Nothing is known of such a call or leg.
    #[error("nothing is known of {what} {id:?}")]
    Unknown {
        /// "call", "leg" or "subject".
        what: &'static str,
        /// What was asked for.
        id: String,
    },
    /// More than are kept.
    #[error(
        "{limit} calls are registered, and there is no room for more; try again later, or raise session.max_registrations"
    )]
    TooManyRegistrations {
        /// How many are kept.
        limit: usize,
    },
    /// The analysis has stopped, and what is kept is not deleted yet.
    #[error(
        "the analysis has stopped, but what is kept is not deleted yet, because the journal cannot be written at present; it is tried until it is \
         done: ask again to hear that it is, and see this server's logs"
    )]
    NotDeletedYet,
    /// As that, and other servers hear of it by the same journal.
    #[error(
        "this server analyses it no further, but what is kept is not deleted yet, and other servers of its journal may not have heard of it, because \
         the journal cannot be written at present; it is tried until it is done: ask again to hear that it is, and see this server's logs"
    )]
    NotToldYet,
    /// The server on which the call lives did not answer.
    #[error("the server {node:?}, on which the call lives, did not answer; try again, and look whether it still runs")]
    NoAnswer {
        /// Its name.
        node: String,
    },
    /// The journal.
    #[error(transparent)]
    Journal(#[from] journal::Error),
}

impl Sessions {
    /// The journal.
    pub fn journal(&self) -> &Journal {
        self.shared.feed.journal()
    }

    /// Has the journal say what was done.
    pub(crate) fn audit(&self, audit: Audit) {
        self.shared.feed.record(Draft::new(SystemTime::now(), Record::Audit(audit)));
    }

    /// Has the journal say that this server starts; the sequence of that. A full one is rid of what is too old first. Where that makes no room it is
    /// told once there is some, but that a mode needs its attestation kept: so that a server with a full disk takes calls, and deletions.
    pub(crate) async fn tell_started(&self, started: Draft) -> Result<u64, journal::Error> {
        let journal = self.journal();
        let append = async || {
            journal.append(vec![started.clone()]).await.map(|given| given.first().copied().unwrap_or_default())
        };
        match append().await {
            Err(journal::Error::Full { .. }) => {}
            other => return other,
        }
        journal.expire(SystemTime::now()).await?;
        match append().await {
            Err(error @ journal::Error::Full { .. }) if self.terms().policy.mode == Mode::CustomerOnly => {
                tracing::error!(%error, "the server starts, and its journal cannot be written");
                self.shared.feed.record(started);
                journal.last_sequence().await
            }
            other => other,
        }
    }

    /// The calls that live on this server, the oldest first.
    pub fn live_calls(&self) -> Vec<Arc<LiveCall>> {
        let mut calls = self.shared.board.calls();
        calls.sort_by_key(|call| call.began_at);
        calls
    }

    /// Takes an alert on.
    pub async fn acknowledge(&self, alert_id: &str, by: Attribution) -> Result<(), Denied> {
        let action =
            Action::Acknowledge { alert_id: alert_id.to_owned(), actor: by.actor.clone(), reason: by.reason.clone() };
        match self.live_with(alert_id) {
            Some(live) => answered(acknowledge(&live, alert_id, by).await, alert_id),
            None => self.ask_others(alert_id, action).await,
        }
    }

    /// Silences an alert, and its rule on its leg, for a while.
    pub async fn snooze(&self, alert_id: &str, snooze: Snooze) -> Result<(), Denied> {
        let Snooze { duration, by } = snooze.clone();
        let until = SystemTime::now() + duration;
        let Attribution { actor, reason } = by;
        let action = Action::Snooze { alert_id: alert_id.to_owned(), actor, reason, until, lasts: Some(duration) };
        match self.live_with(alert_id) {
            Some(live) => answered(snooze_alert(&live, alert_id, snooze).await, alert_id),
            None => self.ask_others(alert_id, action).await,
        }
    }

    /// The call of this server that an alert's id is of.
    pub(super) fn live_with(&self, alert_id: &str) -> Option<Arc<LiveCall>> {
        self.shared.board.get(session_of(alert_id)?)
    }
}

/// The session that an alert's id names.
pub(super) fn session_of(alert_id: &str) -> Option<Uuid> {
    Uuid::parse_str(alert_id.get(..36)?).ok()
}

pub(super) async fn acknowledge(live: &LiveCall, alert_id: &str, by: Attribution) -> Option<Result<(), NotOpen>> {
    live.tell(|answer| Command::Acknowledge { alert_id: alert_id.to_owned(), by, answer }).await
}

pub(super) async fn snooze_alert(live: &LiveCall, alert_id: &str, snooze: Snooze) -> Option<Result<(), NotOpen>> {
    live.tell(|answer| Command::Snooze { alert_id: alert_id.to_owned(), snooze, answer }).await
}

fn answered(answer: Option<Result<(), NotOpen>>, alert_id: &str) -> Result<(), Denied> {
    let alert_id = || alert_id.to_owned();
    match answer {
        Some(Ok(())) => Ok(()),
        Some(Err(NotOpen::Unknown)) => Err(Denied::NoAlert { alert_id: alert_id() }),
        // The call ended at this moment, and its alerts with it.
        Some(Err(NotOpen::Resolved)) | None => Err(Denied::Over { alert_id: alert_id() }),
    }
}
