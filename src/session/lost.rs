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
    supervise::LONGEST_CALL,
};
use crate::{
    call::EndReason,
    decision::alert::{Reason, State},
    journal::{self, Alert, Draft, Ended, Entry, Kind, Query, Record},
};

impl Sessions {
    /// Says in the journal how the calls, and their alerts, ended that lived on this server, `node`, when it died. `started` is where the journal says that
    /// it starts.
    pub(crate) async fn tell_lost_calls(self, node: String, started: u64, closing: CancellationToken) {
        let Some(kept) = closing.run_until_cancelled(self.of_late(Some(started))).await else { return };
        match kept {
            Ok(kept) => self.tell_ends(&kept, |writer| writer == node),
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
        let kept = match self.of_late(None).await {
            Ok(kept) => kept,
            Err(error) => {
                tracing::warn!(%error, "it is not known which calls were lost with a server that died");
                return false;
            }
        };
        // One that wrote of late may only not have been heard yet.
        let lease = BEAT * LEASE_BEATS;
        let young = |entry: &&Entry| entry.draft.at.elapsed().unwrap_or(Duration::ZERO) < lease;
        let wrote: HashSet<&str> = kept.iter().filter(young).map(|entry| entry.node.as_str()).collect();
        let own = self.journal().node();
        let silent = |node: &str| node != own && self.shared.peers.is_silent(node);
        self.tell_ends(&kept, |node| silent(node) && !wrote.contains(node));
        !wrote.into_iter().any(silent)
    }

    /// What the journal says of calls and alerts that may not be over.
    async fn of_late(&self, until: Option<u64>) -> Result<Vec<Entry>, journal::Error> {
        let since = SystemTime::now().checked_sub(LONGEST_CALL);
        let query = Query { until, since, kinds: vec![Kind::Call, Kind::Alert], ..Query::default() };
        self.journal().read_all(query).await
    }

    /// Tells how what servers that died had begun has ended.
    fn tell_ends(&self, kept: &[Entry], died: impl Fn(&str) -> bool) {
        let lost: Vec<Draft> = live(kept).into_iter().filter(|began| died(&began.node)).filter_map(lost).collect();
        let resolved: Vec<Draft> = open_alerts(kept, died).into_iter().filter_map(resolved).collect();
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

/// The last changes of alerts that are not over, of those that fired on servers which died.
fn open_alerts(kept: &[Entry], died: impl Fn(&str) -> bool) -> Vec<&Entry> {
    let mut latest: HashMap<&str, (&str, State, &Entry)> = HashMap::new();
    for entry in kept {
        if let Record::Alert(alert) = &entry.draft.record {
            let fired_on = latest.get(alert.alert_id.as_str()).map_or(entry.node.as_str(), |known| known.0);
            latest.insert(&alert.alert_id, (fired_on, alert.state, entry));
        }
    }
    let is_open = |(fired_on, state, _): &(&str, State, &Entry)| *state != State::Resolved && died(fired_on);
    let mut open: Vec<&Entry> = latest.into_values().filter(is_open).map(|(.., entry)| entry).collect();
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
    let id = id_of(&["resolved", &last.alert_id]);
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
    let id = id_of(&["lost", &began.session_id.to_string(), leg_id.as_deref().unwrap_or_default()]);
    Some(Draft { id, call_id, leg_id, subject, ..Draft::new(SystemTime::now(), Record::Ended(ended)) })
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
mod tests {
    use super::*;
    use crate::{
        decision::alert::Severity,
        journal::{Began, Evidence},
        policy::Role,
    };

    fn entry(sequence: u64, node: &str, record: Record) -> Entry {
        let draft = Draft::new(SystemTime::now(), record).of_leg("c", "customer", None);
        Entry { sequence, node: node.to_owned(), draft }
    }

    fn alert(alert_id: &str, revision: u32, state: State) -> Record {
        let evidence = Evidence {
            start_samples: 0,
            end_samples: 8000,
            windows: 1,
            speech_seconds: 1.0,
            speech_ratio: 1.0,
            level: 0.6,
            usual: 0.0,
            peak: 0.6,
            peak_end_samples: 8000,
            scores: Vec::new(),
            snr_db: None,
            model: "tiny".to_owned(),
            sha256: String::new(),
        };
        Record::Alert(Box::new(Alert {
            alert_id: alert_id.to_owned(),
            revision,
            rule: "anger".to_owned(),
            rule_version: 1,
            role: Role::Customer,
            tags: BTreeMap::new(),
            state,
            severity: Severity::Warning,
            reason: Reason::Rose,
            sample_rate_hz: 8000,
            fired_samples: 8000,
            changed_samples: 8000,
            actor: None,
            actor_reason: None,
            snoozed_until: None,
            evidence,
        }))
    }

    fn began(session_id: Uuid) -> Record {
        Record::Began(Began {
            session_id,
            role: Role::Customer,
            analysed: true,
            tags: BTreeMap::new(),
            sample_rate_hz: 8000,
            model: "tiny".to_owned(),
            sha256: String::new(),
        })
    }

    #[test]
    fn an_alert_is_the_servers_on_which_it_fired_whoever_wrote_of_it_last() {
        let kept = [
            entry(1, "a", alert("1", 1, State::Firing)),
            entry(2, "a", alert("2", 1, State::Firing)),
            entry(3, "b", alert("3", 1, State::Firing)),
            entry(4, "b", alert("1", 2, State::Resolved)),
            entry(5, "a", alert("2", 2, State::Acknowledged)),
        ];
        let open =
            |died: &str| open_alerts(&kept, |node| node == died).iter().map(|entry| entry.sequence).collect::<Vec<_>>();
        assert_eq!((open("a"), open("b"), open("c")), (vec![5], vec![3], vec![]));
    }

    #[test]
    fn whoever_tells_of_an_end_tells_it_under_the_same_id() {
        let (one, other) = (Uuid::new_v4(), Uuid::new_v4());
        let id = |record: Record, tell: fn(&Entry) -> Option<Draft>| tell(&entry(1, "a", record)).unwrap().id;
        assert_eq!(id(began(one), lost), id(began(one), lost));
        assert_ne!(id(began(one), lost), id(began(other), lost));
        assert_eq!(id(alert("x", 1, State::Firing), resolved), id(alert("x", 3, State::Snoozed), resolved));
        assert_ne!(id(alert("x", 1, State::Firing), resolved), id(alert("y", 1, State::Firing), resolved));
        let told = resolved(&entry(1, "a", alert("x", 3, State::Snoozed))).unwrap();
        let Record::Alert(told) = told.record else { panic!("{told:?}") };
        assert_eq!((told.revision, told.state, told.reason), (4, State::Resolved, Reason::CallEnded));
    }
}
