//! What people do about calls and alerts, wherever the call lives.
//!
//! A call of this server is told directly, a call of another one by the journal that both share ([`super::actions`]).

use std::{sync::Arc, time::SystemTime};

use uuid::Uuid;

use super::{
    Sessions,
    actions::{PATIENCE, withdrawn},
    board::{Command, LiveCall},
    lost::live,
};
use crate::{
    decision::{
        NotOpen,
        alert::{Attribution, Snooze},
    },
    journal::{self, Action, Audit, Draft, Journal, Kind, Query, Record, Scope},
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

/// What a withdrawal or a deletion came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Forgotten {
    /// Live legs of this server whose analysis stopped.
    pub live_legs: usize,
    /// Entries of the journal that were deleted.
    pub entries: u64,
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
        let action = Action::Snooze { alert_id: alert_id.to_owned(), actor: by.actor, reason: by.reason, until };
        match self.live_with(alert_id) {
            Some(live) => answered(snooze_alert(&live, alert_id, snooze).await, alert_id),
            None => self.ask_others(alert_id, action).await,
        }
    }

    /// Withdraws consent for a call, or one leg of it: its analysis stops, wherever it lives, and what is kept of it is deleted.
    pub async fn withdraw_consent(
        &self,
        call_id: &str,
        leg_id: Option<&str>,
        by: Attribution,
    ) -> Result<Forgotten, Denied> {
        let (of_call, all) = (call_id.to_owned(), leg_id.is_none());
        let (mut forgotten, was_live) = self.withdraw(call_id, leg_id, &by).await?;
        // Where it lives it was deleted; what was told of its end since stays.
        if !was_live {
            let (call_id, leg_id) = (call_id.to_owned(), leg_id.map(str::to_owned));
            let scope = match leg_id.clone() {
                Some(leg_id) => Scope::Leg(call_id.clone(), leg_id),
                None => Scope::Call(call_id.clone()),
            };
            let Attribution { actor, reason } = by;
            let audit = Audit::ConsentWithdrawn { call_id, leg_id, actor, reason, entries: 0 };
            forgotten.entries = self.purge(scope, audit).await?;
        }
        if all {
            self.refuse_registered(&of_call).await?;
        }
        Ok(forgotten)
    }

    /// Deletes what is kept of a call. One that still lives is analysed no further, as if consent were withdrawn; what is told of it
    /// afterwards holds no scores.
    pub async fn delete_call(&self, call_id: &str, by: Attribution) -> Result<Forgotten, Denied> {
        let (Forgotten { live_legs, entries }, _) = self.withdraw(call_id, None, &by).await?;
        let (call_id, Attribution { actor, reason }) = (call_id.to_owned(), by);
        let audit = Audit::CallDeleted { call_id: call_id.clone(), actor, reason, entries: 0 };
        let purged = self.purge(Scope::Call(call_id.clone()), audit).await?;
        self.shared.registrations.forget_call(&call_id);
        Ok(Forgotten { live_legs, entries: entries + purged })
    }

    /// Deletes what is kept of a subject and of the calls in which he spoke, as [`Sessions::delete_call`] does.
    pub async fn delete_subject(&self, subject: &str, by: Attribution) -> Result<Forgotten, Denied> {
        let kept = self.journal().read_all(Query { subject: Some(subject.to_owned()), ..Query::default() }).await?;
        let of_subject =
            |live: &Arc<LiveCall>| live.call.legs.iter().any(|leg| leg.subject.as_deref() == Some(subject));
        let mut calls: Vec<String> = kept.iter().filter_map(|entry| entry.draft.call_id.clone()).collect();
        calls.extend(self.live_calls().iter().filter(|live| of_subject(live)).map(|live| live.call.call_id.clone()));
        calls.extend(self.registered_calls_of(subject));
        calls.sort_unstable();
        calls.dedup();
        if calls.is_empty() {
            return Err(Denied::Unknown { what: "subject", id: subject.to_owned() });
        }
        let mut all = Forgotten { live_legs: 0, entries: 0 };
        for call_id in calls {
            let (Forgotten { live_legs, entries }, _) = self.withdraw(&call_id, None, &by).await?;
            (all.live_legs, all.entries) = (all.live_legs + live_legs, all.entries + entries);
        }
        let Attribution { actor, reason } = by;
        let audit = Audit::SubjectDeleted { subject: subject.to_owned(), actor, reason, entries: 0 };
        all.entries += self.purge(Scope::Subject(subject.to_owned()), audit).await?;
        self.shared.registrations.forget_subject(subject);
        Ok(all)
    }

    /// Stops the analysis of a call, or one leg of it, and has what was kept of it deleted, where it lives. Whether it lives at all.
    async fn withdraw(
        &self,
        call_id: &str,
        leg_id: Option<&str>,
        by: &Attribution,
    ) -> Result<(Forgotten, bool), Denied> {
        let mut forgotten = self.withdraw_live(call_id, leg_id, by).await?;
        if forgotten.live_legs > 0 {
            return Ok((forgotten, true));
        }
        let (call, leg) = (call_id.to_owned(), leg_id.map(str::to_owned));
        let query = Query { call_id: Some(call.clone()), leg_id: leg.clone(), ..Query::default() };
        let kept = self.journal().read_all(query).await?;
        if kept.is_empty() && (leg.is_some() || self.registration(call_id).is_none()) {
            return Err(match leg {
                Some(leg) => Denied::Unknown { what: "leg", id: format!("{call}/{leg}") },
                None => Denied::Unknown { what: "call", id: call },
            });
        }
        if live(&kept).is_empty() {
            return Ok((forgotten, false));
        }
        let last = self.journal().last_sequence().await?;
        let query = Query { after: last, kinds: vec![Kind::Audit], ..Query::default() };
        let mut audits = self.journal().subscribe(query).await?;
        let Attribution { actor, reason } = by.clone();
        let asked = self.act(Action::WithdrawConsent { call_id: call, leg_id: leg, actor, reason }).await;
        if let Err(error) = asked {
            // What is kept is deleted all the same.
            tracing::error!(%error, "a call that may live on another server could not be reached");
            return Ok((forgotten, false));
        }
        // A server that has died says nothing, and there is nothing to stop.
        let told = tokio::time::timeout(PATIENCE, withdrawn(&mut audits, call_id)).await.ok().flatten();
        forgotten.entries = told.unwrap_or(0);
        Ok((forgotten, told.is_some()))
    }

    /// Stops the analysis of this server's legs of a call.
    pub(super) async fn withdraw_live(
        &self,
        call_id: &str,
        leg_id: Option<&str>,
        by: &Attribution,
    ) -> Result<Forgotten, journal::Error> {
        let mut forgotten = Forgotten { live_legs: 0, entries: 0 };
        for live in self.live_calls().into_iter().filter(|live| live.call.call_id == call_id) {
            let leg = leg_id.map(|leg_id| live.leg(leg_id));
            // This session has other legs of the call.
            if leg == Some(None) {
                continue;
            }
            let leg = leg.flatten();
            let Attribution { actor, reason } = by.clone();
            let Some(purged) = live.tell(|answer| Command::Withdraw { leg, actor, reason, answer }).await else {
                continue;
            };
            forgotten.live_legs += leg.map_or(live.call.legs.len(), |_| 1);
            if let Some(purged) = purged {
                forgotten.entries += purged.await.unwrap_or(Err(journal::Error::Closed))?;
            }
        }
        Ok(forgotten)
    }

    async fn purge(&self, scope: Scope, audit: Audit) -> Result<u64, journal::Error> {
        self.shared.feed.purge(scope, Draft::new(SystemTime::now(), Record::Audit(audit))).await
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
