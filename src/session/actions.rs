//! What people do about calls and alerts of other servers that share this one's journal: an [`Action`] is appended, the server on which the
//! call lives follows the journal and does it ([`Sessions::follow_actions`]), and what came of it is an entry again.

use std::time::{Duration, SystemTime};

use tokio_util::sync::CancellationToken;

use super::{
    Sessions,
    lost::OF_LATE,
    supervise::{Denied, acknowledge, session_of, snooze_alert},
};
use crate::{
    decision::alert::{Attribution, Snooze, State},
    journal::{self, Action, Alert, Draft, Entry, Kind, Place, Query, Record, Subscription, Told},
};

/// How long another server may take to answer an action.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);

/// The wait before a journal that failed is followed again.
const AGAIN: Duration = Duration::from_millis(500);

/// A change of an alert, without what it rests on.
struct Change {
    place: Place,
    state: State,
    node: String,
    call_id: Option<String>,
}

impl Sessions {
    /// Does what the journal says, after this sequence, that people asked for on other servers, until `closing`.
    pub(crate) async fn follow_actions(self, mut after: u64, closing: CancellationToken) {
        while !closing.is_cancelled() {
            match self.follow(&mut after, &closing).await {
                // Another journal took the place of the one that was followed.
                Err(journal::Error::UnknownSequence { .. }) => after = 0,
                Err(error) => tracing::warn!(%error, "the journal cannot be followed"),
                Ok(()) => {}
            }
            closing.run_until_cancelled(tokio::time::sleep(AGAIN)).await;
        }
    }

    async fn follow(&self, after: &mut u64, closing: &CancellationToken) -> Result<(), journal::Error> {
        let query = Query { after: *after, kinds: vec![Kind::Action, Kind::Audit], ..Query::default() };
        let mut actions = self.journal().subscribe(query).await?;
        while let Some(Some(told)) = closing.run_until_cancelled(actions.next()).await {
            if let Told::Entry(entry) = told? {
                *after = entry.sequence;
                self.follow_registrations(&entry);
                self.follow_withdrawals(&entry).await;
                if let Record::Action(action) = &entry.draft.record {
                    self.apply(action.clone()).await;
                }
            }
        }
        Ok(())
    }

    /// Does an action where the call lives here. A registration is no call's yet, and withdrawals were followed.
    async fn apply(&self, action: Action) {
        match action {
            Action::Acknowledge { alert_id, actor, reason } => {
                if let Some(live) = self.live_with(&alert_id) {
                    acknowledge(&live, &alert_id, Attribution { actor, reason }).await;
                }
            }
            Action::Snooze { alert_id, actor, reason, until, lasts } => {
                // A server of an older version says until when alone, by its own clock.
                let left = lasts.or_else(|| until.duration_since(SystemTime::now()).ok());
                if let (Some(live), Some(duration)) = (self.live_with(&alert_id), left) {
                    snooze_alert(&live, &alert_id, Snooze { duration, by: Attribution { actor, reason } }).await;
                }
            }
            Action::WithdrawConsent { .. } | Action::Register { .. } => {}
        }
    }

    pub(super) async fn act(&self, action: Action) -> Result<(), journal::Error> {
        let draft = Draft::new(SystemTime::now(), Record::Action(action));
        self.journal().append(vec![draft]).await.map(drop)
    }

    /// Has another server do it, and waits for what comes of it.
    pub(super) async fn ask_others(&self, alert_id: &str, action: Action) -> Result<(), Denied> {
        // Before it is looked for, so that what comes of it is not missed.
        let after = self.journal().last_sequence().await?;
        let Some(last) = self.last_change(alert_id).await? else {
            return Err(Denied::NoAlert { alert_id: alert_id.to_owned() });
        };
        if last.state == State::Resolved {
            return Err(Denied::Over { alert_id: alert_id.to_owned() });
        }
        let query = Query { after, kinds: vec![Kind::Alert], call_id: last.call_id, ..Query::default() };
        let mut changes = self.journal().subscribe(query).await?;
        self.act(action).await?;
        match tokio::time::timeout(PATIENCE, next_change(&mut changes, alert_id)).await {
            Ok(Ok(Some(State::Resolved))) => Err(Denied::Over { alert_id: alert_id.to_owned() }),
            Ok(Ok(Some(_))) => Ok(()),
            Ok(Err(error)) => Err(error.into()),
            Ok(Ok(None)) | Err(_) => Err(Denied::NoAnswer { node: last.node }),
        }
    }

    /// The last change of an alert, by the calls that live, or, where it is of none of them, by those of late: that reads the alerts of a
    /// day, a page at a time, and holds none but this one's last change.
    async fn last_change(&self, alert_id: &str) -> Result<Option<Change>, journal::Error> {
        let Some(session_id) = session_of(alert_id) else { return Ok(None) };
        let (view, session_id) = (self.view_now().await, session_id.to_string());
        let call_id = view.calls.iter().find(|call| call.session_id == session_id).map(|call| call.call_id.clone());
        let since = if call_id.is_none() { SystemTime::now().checked_sub(OF_LATE) } else { None };
        let mut last: Option<Change> = None;
        let see = |entry: Entry| {
            if let Some(alert) = alert_of(&entry.draft.record, alert_id)
                && last.as_ref().is_none_or(|last| last.place < alert.place())
            {
                let (place, state) = (alert.place(), alert.state);
                last = Some(Change { place, state, node: entry.node.clone(), call_id: entry.draft.call_id.clone() });
            }
        };
        let query = Query { since, kinds: vec![Kind::Alert], call_id, ..Query::default() };
        self.journal().each(query, see).await?;
        Ok(last)
    }
}

/// The state after the next change of an alert that somebody made, or that ended it.
async fn next_change(changes: &mut Subscription, alert_id: &str) -> Result<Option<State>, journal::Error> {
    while let Some(told) = changes.next().await {
        if let Told::Entry(entry) = told?
            && let Some(alert) = alert_of(&entry.draft.record, alert_id)
            && (alert.actor.is_some() || alert.state == State::Resolved)
        {
            return Ok(Some(alert.state));
        }
    }
    Ok(None)
}

fn alert_of<'a>(record: &'a Record, alert_id: &str) -> Option<&'a Alert> {
    match record {
        Record::Alert(alert) if alert.alert_id == alert_id => Some(alert),
        _ => None,
    }
}
