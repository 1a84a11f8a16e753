//! Calls that lived on a server when it died, and their alerts: the server says how they ended when it is back.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    time::SystemTime,
};

use tokio_util::sync::CancellationToken;

use super::{Sessions, supervise::LONGEST_CALL};
use crate::{
    call::EndReason,
    decision::alert::{Reason, State},
    journal::{Alert, Draft, Ended, Entry, Kind, Query, Record},
};

impl Sessions {
    /// Says in the journal how the calls, and their alerts, ended that lived on this server, `node`, when it died. `started` is where the journal says that
    /// it starts.
    pub(crate) async fn tell_lost_calls(self, node: String, started: u64, closing: CancellationToken) {
        let since = SystemTime::now().checked_sub(LONGEST_CALL);
        let query = Query { until: Some(started), since, kinds: vec![Kind::Call, Kind::Alert], ..Query::default() };
        let Some(kept) = closing.run_until_cancelled(self.journal().read_all(query)).await else { return };
        let kept = match kept {
            Ok(kept) => kept.into_iter().filter(|entry| entry.node == node).collect::<Vec<_>>(),
            Err(error) => return tracing::warn!(%error, "it is not known which calls were lost when this server died"),
        };
        for entry in live(&kept) {
            if let Some(ended) = lost(entry) {
                self.shared.feed.record(ended);
            }
        }
        for resolved in open_alerts(&kept).into_iter().filter_map(resolved) {
            self.metrics().alerts_total.increment(State::Resolved.name());
            self.shared.feed.record(resolved);
        }
    }
}

/// The last changes of alerts that are not over.
fn open_alerts(kept: &[Entry]) -> Vec<&Entry> {
    let mut latest = HashMap::new();
    for entry in kept {
        if let Record::Alert(alert) = &entry.draft.record {
            latest.insert(alert.alert_id.as_str(), (alert.state, entry));
        }
    }
    let mut open: Vec<&Entry> =
        latest.into_values().filter(|(state, _)| *state != State::Resolved).map(|(_, entry)| entry).collect();
    open.sort_unstable_by_key(|entry| entry.sequence);
    open
}

/// The end of an alert whose call was lost.
fn resolved(entry: &Entry) -> Option<Draft> {
    let Record::Alert(last) = &entry.draft.record else { return None };
    let alert = Alert {
        revision: last.revision + 1,
        state: State::Resolved,
        reason: Reason::CallEnded,
        actor: None,
        actor_reason: None,
        snoozed_until: None,
        ..Alert::clone(last)
    };
    let Draft { call_id, leg_id, subject, .. } = entry.draft.clone();
    Some(Draft { call_id, leg_id, subject, ..Draft::new(SystemTime::now(), Record::Alert(Box::new(alert))) })
}

/// The begins of legs that have not ended.
pub(super) fn live(kept: &[Entry]) -> Vec<&Entry> {
    let mut live = Vec::new();
    let ended: HashSet<_> = kept
        .iter()
        .filter_map(|entry| match &entry.draft.record {
            Record::Ended(ended) => Some((ended.session_id, entry.draft.leg_id.as_deref())),
            _ => None,
        })
        .collect();
    for entry in kept {
        if let Record::Began(began) = &entry.draft.record
            && !ended.contains(&(began.session_id, entry.draft.leg_id.as_deref()))
        {
            live.push(entry);
        }
    }
    live
}

/// The end of a leg whose server died.
fn lost(entry: &Entry) -> Option<Draft> {
    let Record::Began(began) = &entry.draft.record else { return None };
    let ended = Ended {
        session_id: began.session_id,
        role: began.role,
        began_at: entry.draft.at,
        reason: EndReason::Lost,
        sample_rate_hz: began.sample_rate_hz,
        received_samples: 0,
        dropped_samples: 0,
        speech_seconds: 0.0,
        scored_windows: 0,
        shed_windows: 0,
        not_scored: BTreeMap::new(),
        shares: Vec::new(),
        alerts: 0,
        model: began.model.clone(),
        warnings: Vec::new(),
        tags: began.tags.clone(),
    };
    let Draft { call_id, leg_id, subject, .. } = entry.draft.clone();
    Some(Draft { call_id, leg_id, subject, ..Draft::new(SystemTime::now(), Record::Ended(ended)) })
}
