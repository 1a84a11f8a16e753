//! Calls that lived on a server when it died, and their alerts: somebody says how they ended. The server itself, when it is back; where
//! others share its journal, each of those that have heard nothing of it for its lease.
//!
//! Whoever says so gives the same entries the same ids, so that the journal takes each of them once.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    time::{Duration, SystemTime},
};

use sha2::{Digest as _, Sha256};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use uuid::{Builder, Uuid};

use super::{
    Sessions,
    peers::{BEAT, LEASE_BEATS},
};
use crate::{
    call::EndReason,
    decision::alert::{Reason, State},
    journal::{self, Alert, Draft, Ended, Entry, Kind, Place, Query, Record},
};

/// How far back it is looked for calls and alerts that may not be over. A call that began earlier is not looked for.
pub(super) const OF_LATE: Duration = Duration::from_secs(24 * 3600);

/// What is not over, of all that was seen of the journal; no more is held than that, and 16 bytes for each that is.
#[derive(Default)]
struct Open {
    /// Begins of legs, by the ids that their ends would have.
    legs: HashMap<Uuid, Entry>,
    /// In the same way.
    alerts: HashMap<Uuid, OpenAlert>,
    over: HashSet<Uuid>,
    /// When each server wrote last.
    wrote: HashMap<String, SystemTime>,
}

struct OpenAlert {
    fired_on: String,
    last: Entry,
}

impl Sessions {
    /// Says in the journal how the calls, and their alerts, ended that lived on this server, `node`, when it died. `started` is where the journal says that
    /// it starts.
    pub(crate) async fn tell_lost_calls(self, node: String, started: u64, closing: CancellationToken) {
        let Some(open) = closing.run_until_cancelled(self.open_of_late(Some(started))).await else { return };
        match open {
            Ok(open) => self.tell_ends(open, |writer| writer == node),
            Err(error) => tracing::warn!(%error, "it is not known which calls were lost when this server died"),
        }
    }

    /// Does the same for other servers of the journal that have fallen silent, until `closing`.
    pub(crate) async fn speak_for_the_dead(self, closing: CancellationToken) {
        if self.journal().wire().is_none() {
            return;
        }
        let mut ticks = interval(BEAT);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut due = false;
        while closing.run_until_cancelled(ticks.tick()).await.is_some() {
            due |= self.shared.peers.somebody_fell_silent();
            if due && let Some(told) = closing.run_until_cancelled(self.tell_of_the_dead()).await {
                due = !told;
            }
        }
    }

    /// Whether nothing is left to be told of servers that are silent now.
    async fn tell_of_the_dead(&self) -> bool {
        let open = match self.open_of_late(None).await {
            Ok(open) => open,
            Err(error) => {
                tracing::warn!(%error, "it is not known which calls were lost with a server that died");
                return false;
            }
        };
        // One that wrote of late may only not have been heard yet.
        let lease = BEAT * LEASE_BEATS;
        let lately = open.wrote.iter().filter(|(_, at)| at.elapsed().unwrap_or(Duration::ZERO) < lease);
        let lately: HashSet<String> = lately.map(|(node, _)| node.clone()).collect();
        let own = self.journal().node();
        let silent = |node: &str| node != own && self.shared.peers.is_silent(node);
        self.tell_ends(open, |node| silent(node) && !lately.contains(node));
        !lately.iter().any(|node| silent(node))
    }

    /// What the journal says of calls and alerts that may not be over.
    async fn open_of_late(&self, until: Option<u64>) -> Result<Open, journal::Error> {
        let since = SystemTime::now().checked_sub(OF_LATE);
        let query = Query { until, since, kinds: vec![Kind::Call, Kind::Alert], ..Query::default() };
        let mut open = Open::default();
        self.journal().each(query, |entry| open.see(entry)).await?;
        Ok(open)
    }

    /// Tells how what servers that died had begun has ended.
    fn tell_ends(&self, open: Open, died: impl Fn(&str) -> bool) {
        let (lost, resolved) = open.ends(died);
        if !lost.is_empty() || !resolved.is_empty() {
            let (legs, alerts) = (lost.len(), resolved.len());
            tracing::warn!(
                legs,
                alerts,
                "calls were lost with the server on which they lived, and are told to be over"
            );
        }
        for _ in &resolved {
            self.metrics().alerts_total.increment(State::Resolved.name());
        }
        lost.into_iter().chain(resolved).for_each(|draft| self.shared.feed.record(draft));
    }
}

impl Open {
    /// Takes the next entry into account.
    fn see(&mut self, entry: Entry) {
        let wrote = self.wrote.entry(entry.node.clone()).or_insert(entry.draft.at);
        *wrote = entry.draft.at.max(*wrote);
        match &entry.draft.record {
            Record::Began(began) => {
                let id = id_of_end(began.session_id, &entry.draft);
                if !self.over.contains(&id) {
                    self.legs.insert(id, entry);
                }
            }
            Record::Ended(ended) => {
                let id = id_of_end(ended.session_id, &entry.draft);
                self.legs.remove(&id);
                self.over.insert(id);
            }
            Record::Alert(alert) => {
                let id = id_of_resolution(alert);
                if alert.state == State::Resolved {
                    self.alerts.remove(&id);
                    self.over.insert(id);
                } else if let Some(known) = self.alerts.get_mut(&id) {
                    if Some(alert.place()) > known.place() {
                        known.last = entry;
                    }
                } else if !self.over.contains(&id) {
                    self.alerts.insert(id, OpenAlert { fired_on: entry.node.clone(), last: entry });
                }
            }
            _ => {}
        }
    }

    /// The ends of legs, and those of alerts, that lived on servers which died, in the order of what they end.
    fn ends(self, died: impl Fn(&str) -> bool) -> (Vec<Draft>, Vec<Draft>) {
        let legs = self.legs.into_values().filter(|began| died(&began.node));
        let alerts = self.alerts.into_values().filter(|alert| died(&alert.fired_on)).map(|alert| alert.last);
        let [mut legs, mut alerts]: [Vec<Entry>; 2] = [legs.collect(), alerts.collect()];
        legs.sort_unstable_by_key(|entry| entry.sequence);
        alerts.sort_unstable_by_key(|entry| entry.sequence);
        (legs.iter().filter_map(lost).collect(), alerts.iter().filter_map(resolved).collect())
    }
}

impl OpenAlert {
    fn place(&self) -> Option<Place> {
        match &self.last.draft.record {
            Record::Alert(alert) => Some(alert.place()),
            _ => None,
        }
    }
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
    let id = id_of_resolution(last);
    let Draft { call_id, leg_id, subject, .. } = entry.draft.clone();
    Some(Draft { id, call_id, leg_id, subject, ..Draft::new(SystemTime::now(), Record::Alert(Box::new(alert))) })
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

/// The end of a leg whose server died. The reason says that what was heard is unknown: all that is counted is 0, and none of it is told.
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
        filled_samples: 0,
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
    let id = id_of_end(began.session_id, &entry.draft);
    let Draft { call_id, leg_id, subject, .. } = entry.draft.clone();
    Some(Draft { id, call_id, leg_id, subject, ..Draft::new(SystemTime::now(), Record::Ended(ended)) })
}

/// The id of the end of a leg that was lost.
fn id_of_end(session_id: Uuid, draft: &Draft) -> Uuid {
    id_of(&["lost", &session_id.to_string(), draft.leg_id.as_deref().unwrap_or_default()])
}

/// The id of the end of an alert that was lost.
fn id_of_resolution(alert: &Alert) -> Uuid {
    id_of(&["resolved", &alert.alert_id])
}

/// The same id for the same parts, and no other's.
fn id_of(parts: &[&str]) -> Uuid {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part);
        hash.update([0]);
    }
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&hash.finalize()[..16]);
    Builder::from_custom_bytes(bytes).into_uuid()
}

#[cfg(test)]
mod tests;
