//! What is known of calls and alerts. Without clock or I/O.

use std::{
    collections::{BTreeMap, HashSet, VecDeque},
    time::{Duration, SystemTime},
};

use undertone::server::proto::{
    Alert, AlertEntry, AlertSeverity, AlertState, LiveCall, LiveLeg, WatchAlertsResponse, WatchCallsResponse,
    watch_alerts_response::Message,
};

use super::feed::Update;

/// A trend compares with what was thought so long ago.
const TREND_OVER: Duration = Duration::from_secs(10);
/// A smaller change is none: calibrated probabilities waver by about as much from window to window.
const TREND_FROM: f32 = 0.1;
/// Alerts that are over and still shown.
const RESOLVED_SHOWN: usize = 50;

/// What is known.
#[derive(Debug, Default)]
pub(super) struct Board {
    calls: BTreeMap<String, Call>,
    /// Calls that were told since the streams stand, until the first round is over.
    first_round: Option<HashSet<String>>,
    alerts: BTreeMap<String, AlertEntry>,
    /// By alert: a later change tells no more who answered it.
    answers: BTreeMap<String, Answer>,
    selected: Option<String>,
    nodes: Vec<String>,
    link: Link,
    sequence: i64,
    missed: i64,
}

/// How the connection stands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) enum Link {
    /// It never stood.
    #[default]
    Connecting,
    /// It stands.
    Connected,
    /// It does not, since then.
    Disconnected { problem: String, since: SystemTime },
}

/// Who answered an alert last, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Answer {
    /// What it became by that: acknowledged or snoozed.
    pub(super) state: AlertState,
    pub(super) actor: String,
    /// May be empty.
    pub(super) reason: String,
}

#[derive(Debug)]
struct Call {
    call: LiveCall,
    /// By leg, what was thought of it lately.
    lately: BTreeMap<String, VecDeque<(SystemTime, Vec<f32>)>>,
}

/// A leg as it is shown.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Row<'a> {
    pub(super) call: &'a LiveCall,
    pub(super) leg: &'a LiveLeg,
    pub(super) trend: Trend,
}

/// Where the strongest emotion is going.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trend {
    /// Too little is known.
    Unknown,
    /// Up.
    Rising,
    /// Nowhere.
    Steady,
    /// Down.
    Falling,
}

impl Board {
    /// Takes in what happened at this time.
    pub(super) fn apply(&mut self, update: Update, now: SystemTime) {
        match update {
            Update::Connected => (self.link, self.first_round) = (Link::Connected, Some(HashSet::new())),
            Update::Disconnected { problem, .. } => {
                let since = match &self.link {
                    Link::Disconnected { since, .. } => *since,
                    Link::Connecting | Link::Connected => now,
                };
                self.link = Link::Disconnected { problem, since };
            }
            Update::Anew => {
                self.alerts.clear();
                self.answers.clear();
                self.selected = None;
                self.sequence = 0;
            }
            Update::Alerts(told) => self.apply_alerts(*told),
            Update::Calls(told) => self.apply_calls(told, now),
        }
    }

    fn apply_alerts(&mut self, told: WatchAlertsResponse) {
        self.sequence = self.sequence.max(told.sequence);
        match told.message {
            Some(Message::Alert(entry)) => {
                let Some(alert) = &entry.alert else { return };
                let known = self.alerts.get(&alert.alert_id).and_then(|known| known.alert.as_ref());
                if known.is_none_or(|known| known.revision < alert.revision) {
                    if !alert.actor.is_empty() {
                        let (actor, reason) = (alert.actor.clone(), alert.actor_reason.clone());
                        let answer = Answer { state: alert.state(), actor, reason };
                        self.answers.insert(alert.alert_id.clone(), answer);
                    }
                    self.alerts.insert(alert.alert_id.clone(), entry);
                }
                self.forget_old();
            }
            Some(Message::Missed(missed)) => self.missed += missed.entries,
            Some(Message::Heartbeat(_)) | None => {}
        }
        self.keep_selection();
    }

    fn apply_calls(&mut self, told: WatchCallsResponse, now: SystemTime) {
        for call in told.calls {
            if let Some(seen) = &mut self.first_round {
                seen.insert(call.session_id.clone());
            }
            let known = self.calls.entry(call.session_id.clone());
            let known = known.or_insert_with(|| Call { call: LiveCall::default(), lately: BTreeMap::new() });
            for leg in &call.legs {
                if let Some(smoothed) = &leg.smoothed {
                    let lately = known.lately.entry(leg.leg_id.clone()).or_default();
                    lately.push_back((now, smoothed.scores.iter().map(|score| score.probability).collect()));
                    let old = |at: &SystemTime| now.duration_since(*at).is_ok_and(|age| age > TREND_OVER);
                    // The youngest of those that are old is what the trend compares with.
                    while lately.get(1).is_some_and(|(at, _)| old(at)) {
                        lately.pop_front();
                    }
                }
            }
            known.call = call;
        }
        for session_id in &told.ended_session_ids {
            self.calls.remove(session_id);
        }
        if told.last_of_round {
            self.nodes = told.nodes;
            if let Some(seen) = self.first_round.take() {
                self.calls.retain(|session_id, _| seen.contains(session_id));
            }
        }
    }

    /// The legs of all calls: those with the most pressing alerts first, then the oldest.
    pub(super) fn rows(&self, now: SystemTime) -> Vec<Row<'_>> {
        let mut rows: Vec<Row<'_>> = self
            .calls
            .values()
            .flat_map(|call| {
                call.call.legs.iter().map(move |leg| Row { call: &call.call, leg, trend: call.trend(leg, now) })
            })
            .collect();
        let began = |row: &Row<'_>| row.call.began_at.map_or((0, 0), |at| (at.seconds, at.nanos));
        rows.sort_by_key(|row| (std::cmp::Reverse(row.urgency()), began(row), row.call.session_id.clone()));
        rows
    }

    /// Alerts: those that are open first, the most pressing and then the latest first.
    pub(super) fn alerts(&self) -> Vec<&AlertEntry> {
        let mut alerts: Vec<&AlertEntry> = self.alerts.values().collect();
        alerts.sort_by_key(|entry| std::cmp::Reverse((rank(entry), entry.sequence)));
        alerts
    }

    /// Alerts that nobody has answered.
    pub(super) fn firing(&self) -> usize {
        let firing = |entry: &&AlertEntry| state(entry) == AlertState::Firing;
        self.alerts.values().filter(firing).count()
    }

    /// The alert that is selected.
    pub(super) fn selected(&self) -> Option<&Alert> {
        self.selected.as_ref().and_then(|id| self.alerts.get(id)).and_then(|entry| entry.alert.as_ref())
    }

    /// Who answered it last, since the board looks.
    pub(super) fn answer(&self) -> Option<&Answer> {
        self.selected.as_ref().and_then(|id| self.answers.get(id))
    }

    /// Its place in [`Board::alerts`].
    pub(super) fn selected_index(&self) -> Option<usize> {
        self.alerts().iter().position(|entry| Some(alert_id(entry)) == self.selected.as_deref())
    }

    /// Selects the alert so many places further down.
    pub(super) fn select(&mut self, by: isize) {
        let alerts = self.alerts();
        let Some(last) = alerts.len().checked_sub(1) else { return };
        let index = self.selected_index().map_or(0, |index| index.saturating_add_signed(by).min(last));
        self.selected = Some(alert_id(alerts[index]).to_owned());
    }

    /// How the connection stands.
    pub(super) fn link(&self) -> &Link {
        &self.link
    }

    /// Calls that live.
    pub(super) fn live(&self) -> usize {
        self.calls.len()
    }

    /// Servers whose calls are known.
    pub(super) fn nodes(&self) -> &[String] {
        &self.nodes
    }

    /// Entries that were missed.
    pub(super) fn missed(&self) -> i64 {
        self.missed
    }

    /// The last sequence that was told.
    pub(super) fn sequence(&self) -> i64 {
        self.sequence
    }

    /// Something is selected as long as there is anything.
    fn keep_selection(&mut self) {
        if self.selected().is_none() {
            self.selected = self.alerts().first().map(|entry| alert_id(entry).to_owned());
        }
    }

    fn forget_old(&mut self) {
        let mut resolved: Vec<(i64, String)> = self
            .alerts
            .values()
            .filter(|entry| state(entry) == AlertState::Resolved)
            .map(|entry| (entry.sequence, alert_id(entry).to_owned()))
            .collect();
        resolved.sort_unstable();
        let surplus = resolved.len().saturating_sub(RESOLVED_SHOWN);
        for (_, alert_id) in resolved.into_iter().take(surplus) {
            self.alerts.remove(&alert_id);
            self.answers.remove(&alert_id);
        }
    }
}

impl Call {
    fn trend(&self, leg: &LiveLeg, now: SystemTime) -> Trend {
        let (Some(smoothed), Some(lately)) = (&leg.smoothed, self.lately.get(&leg.leg_id)) else {
            return Trend::Unknown;
        };
        let strongest = smoothed.scores.iter().map(|score| score.probability).enumerate();
        let Some((index, probability)) = strongest.max_by(|a, b| a.1.total_cmp(&b.1)) else { return Trend::Unknown };
        let half = |at: &SystemTime| now.duration_since(*at).is_ok_and(|age| age >= TREND_OVER / 2);
        let before = lately.front().filter(|(at, _)| half(at)).and_then(|(_, scores)| scores.get(index));
        match before.map(|before| probability - before) {
            None => Trend::Unknown,
            Some(change) if change >= TREND_FROM => Trend::Rising,
            Some(change) if change <= -TREND_FROM => Trend::Falling,
            Some(_) => Trend::Steady,
        }
    }
}

impl Row<'_> {
    /// How pressing its alerts are.
    fn urgency(&self) -> i32 {
        let of = |alert: &undertone::server::proto::OpenAlert| match alert.state() {
            AlertState::Firing => 2 + i32::from(alert.severity() == AlertSeverity::Critical),
            _ => 1,
        };
        self.leg.alerts.iter().map(of).max().unwrap_or(0)
    }
}

fn rank(entry: &AlertEntry) -> i32 {
    let critical = entry.alert.as_ref().is_some_and(|alert| alert.severity() == AlertSeverity::Critical);
    match state(entry) {
        AlertState::Firing => 3 + i32::from(critical),
        AlertState::Acknowledged => 2,
        AlertState::Snoozed => 1,
        AlertState::Resolved | AlertState::Unspecified => 0,
    }
}

fn state(entry: &AlertEntry) -> AlertState {
    entry.alert.as_ref().map(Alert::state).unwrap_or_default()
}

fn alert_id(entry: &AlertEntry) -> &str {
    entry.alert.as_ref().map_or("", |alert| &alert.alert_id)
}

#[cfg(test)]
pub(super) mod tests;
