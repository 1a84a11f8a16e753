//! From what supervisors ask for to the domain's types, every field checked against the range that its comment promises.

use std::{
    collections::BTreeMap,
    ops::RangeInclusive,
    time::{Duration, SystemTime},
};

use super::request::{
    MAX_CALL_ID, MAX_LEG_ID, MAX_SUBJECT, consent, duration, identifier, length, notice, position, pseudonymous, role,
    subject_of_another, tags, timestamp,
};
use crate::{
    decision::alert::{Attribution, Severity, Snooze, State},
    journal::{Alert, Ended, Entry, Notice, RegisteredLeg, Registration},
    policy::{Consent, Role},
    server::{proto, status::Problem},
    session::CallView,
};

const HEARTBEATS: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(60);
const DEFAULT_HEARTBEAT: Duration = Duration::from_secs(10);
const INTERVALS: RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(60);
const DEFAULT_INTERVAL: Duration = Duration::from_secs(1);
const SNOOZES: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(24 * 3600);
const TIMES_TO_LIVE: RangeInclusive<Duration> = Duration::from_secs(60)..=Duration::from_secs(24 * 3600);
const DEFAULT_TIME_TO_LIVE: Duration = Duration::from_secs(3600);
const PAGES: RangeInclusive<i32> = 1..=1000;
const DEFAULT_PAGE: usize = 100;
/// What is listed unless more is asked for; no call, and so no open alert, is older.
const DAY: Duration = Duration::from_secs(24 * 3600);
const MAX_ACTOR: usize = 128;
const MAX_REASON: usize = 256;
const MAX_ALERT_ID: usize = 128;
const MAX_REGISTERED_LEGS: usize = 2;

/// Which alerts.
#[derive(Debug, Default)]
pub(in crate::server) struct AlertFilter {
    states: Vec<State>,
    severities: Vec<Severity>,
    rules: Vec<String>,
    roles: Vec<Role>,
    tags: BTreeMap<String, String>,
    /// One call.
    pub(in crate::server) call_id: Option<String>,
}

/// Which calls.
#[derive(Debug, Default)]
pub(in crate::server) struct CallFilter {
    roles: Vec<Role>,
    tags: BTreeMap<String, String>,
    alerting: bool,
    call_id: Option<String>,
}

/// What a watcher asks for.
#[derive(Debug)]
pub(in crate::server) struct Watch<F> {
    /// Which.
    pub(in crate::server) filter: F,
    /// Alerts: only those after it.
    pub(in crate::server) after: Option<u64>,
    /// Alerts: the longest silence; calls: time between two rounds.
    pub(in crate::server) interval: Duration,
}

/// A page that is asked for.
#[derive(Debug)]
pub(in crate::server) struct Listing<F> {
    /// Which.
    pub(in crate::server) filter: F,
    /// Only what happened then or later.
    pub(in crate::server) since: SystemTime,
    /// At most so many.
    pub(in crate::server) size: usize,
    /// Where the page before ended: a sequence, or the place of a call.
    pub(in crate::server) after: u64,
    /// Calls that have ended, rather than those that live.
    pub(in crate::server) ended: bool,
}

/// A watcher of alerts.
pub(in crate::server) fn watch_alerts(request: proto::WatchAlertsRequest) -> Result<Watch<AlertFilter>, Problem> {
    Ok(Watch {
        filter: alert_filter(request.filter)?,
        after: position("after_sequence", request.after_sequence)?,
        interval: duration("heartbeat", request.heartbeat, &HEARTBEATS)?.unwrap_or(DEFAULT_HEARTBEAT),
    })
}

/// A watcher of calls.
pub(in crate::server) fn watch_calls(request: proto::WatchCallsRequest) -> Result<Watch<CallFilter>, Problem> {
    Ok(Watch {
        filter: call_filter(request.filter)?,
        after: None,
        interval: duration("interval", request.interval, &INTERVALS)?.unwrap_or(DEFAULT_INTERVAL),
    })
}

/// A page of alerts.
pub(in crate::server) fn alert_listing(request: proto::ListAlertsRequest) -> Result<Listing<AlertFilter>, Problem> {
    Ok(Listing {
        filter: alert_filter(request.filter)?,
        since: since(request.since)?,
        size: page_size(request.page_size)?,
        after: page_token(&request.page_token)?,
        ended: false,
    })
}

/// A page of calls.
pub(in crate::server) fn call_listing(request: proto::ListCallsRequest) -> Result<Listing<CallFilter>, Problem> {
    let ended = match proto::CallState::try_from(request.state) {
        Ok(proto::CallState::Unspecified | proto::CallState::Live) => false,
        Ok(proto::CallState::Ended) => true,
        Err(_) => return Err(Problem::invalid("state", "one of LIVE, ENDED")),
    };
    Ok(Listing {
        filter: call_filter(request.filter)?,
        since: since(request.since)?,
        size: page_size(request.page_size)?,
        after: page_token(&request.page_token)?,
        ended,
    })
}

/// An alert's id.
pub(in crate::server) fn alert_id(alert_id: &str) -> Result<(), Problem> {
    length("alert_id", alert_id, 1..=MAX_ALERT_ID)
}

/// A call's id.
pub(in crate::server) fn call_id(call_id: &str) -> Result<(), Problem> {
    identifier("call_id", call_id, MAX_CALL_ID)
}

/// A leg whose consent is withdrawn.
pub(in crate::server) fn withdrawn_leg(leg_id: Option<&str>) -> Result<(), Problem> {
    leg_id.map_or(Ok(()), |leg_id| identifier("leg_id", leg_id, MAX_LEG_ID))
}

/// A subject.
pub(in crate::server) fn subject(subject: &str) -> Result<(), Problem> {
    length("subject", subject, 1..=MAX_SUBJECT)
}

/// Who does something about an alert, and why.
pub(in crate::server) fn by(actor: String, reason: String) -> Result<Attribution, Problem> {
    attribution(actor, reason, 0..=MAX_REASON)
}

/// Who has something deleted, and why.
pub(in crate::server) fn by_with_reason(actor: String, reason: String) -> Result<Attribution, Problem> {
    attribution(actor, reason, 1..=MAX_REASON)
}

/// A snooze.
pub(in crate::server) fn snooze(request: proto::SnoozeAlertRequest) -> Result<(String, Snooze), Problem> {
    alert_id(&request.alert_id)?;
    let by = by(request.actor, request.reason)?;
    let duration = duration("snooze", request.snooze, &SNOOZES)?;
    let duration = duration.ok_or_else(|| Problem::invalid("snooze", "must be set: 1 s to 86400 s"))?;
    Ok((request.alert_id, Snooze { duration, by }))
}

/// What is known of a call.
pub(in crate::server) fn registration(request: proto::RegisterCallRequest) -> Result<Registration, Problem> {
    pseudonymous("call_id", &request.call_id)?;
    call_id(&request.call_id)?;
    tags("tags", &request.tags)?;
    if request.legs.len() > MAX_REGISTERED_LEGS {
        let range = format!("{}; a call has at most {MAX_REGISTERED_LEGS} legs", request.legs.len());
        return Err(Problem::invalid("legs", range));
    }
    let mut legs: Vec<RegisteredLeg> = Vec::with_capacity(request.legs.len());
    for (index, leg) in request.legs.into_iter().enumerate() {
        let leg = registered_leg(index, leg)?;
        if legs.iter().any(|other| other.leg_id.is_some() && other.leg_id == leg.leg_id) {
            return Err(Problem::invalid(format!("legs[{index}].leg_id"), "the legs of a call must differ"));
        }
        legs.push(leg);
    }
    notice("notice", request.notice.as_ref())?;
    let said = consent("consent", request.consent.as_ref())?;
    let time = |time: prost_types::Timestamp| SystemTime::try_from(time).ok();
    let time_to_live = duration("time_to_live", request.time_to_live, &TIMES_TO_LIVE)?.unwrap_or(DEFAULT_TIME_TO_LIVE);
    Ok(Registration {
        call_id: request.call_id,
        tags: request.tags.into_iter().collect(),
        legs,
        notice: request
            .notice
            .and_then(|notice| Some(Notice { given_at: time(notice.given_at?)?, method: notice.method })),
        consent: Some(said).filter(|said| *said != Consent::Unknown),
        consent_at: request.consent.and_then(|consent| consent.recorded_at).and_then(time),
        expires_at: SystemTime::now() + time_to_live,
    })
}

impl AlertFilter {
    /// Whether a change passes it.
    pub(in crate::server) fn takes(&self, entry: &Entry, alert: &Alert) -> bool {
        any(&self.states, &alert.state)
            && any(&self.severities, &alert.severity)
            && any(&self.rules, &alert.rule)
            && any(&self.roles, &alert.role)
            && tagged(&self.tags, &alert.tags)
            && (self.call_id.is_none() || self.call_id == entry.draft.call_id)
    }
}

impl CallFilter {
    /// Whether a call that lives passes it.
    pub(in crate::server) fn takes(&self, call: &CallView) -> bool {
        (self.roles.is_empty() || call.legs.iter().any(|leg| self.roles.contains(&leg.role)))
            && tagged(&self.tags, &call.tags)
            && (!self.alerting || call.legs.iter().any(|leg| !leg.state.alerts.is_empty()))
            && self.call_id.as_ref().is_none_or(|call_id| *call_id == call.call_id)
    }

    /// Whether a leg that has ended passes it.
    pub(in crate::server) fn takes_ended(&self, entry: &Entry, ended: &Ended) -> bool {
        any(&self.roles, &ended.role)
            && tagged(&self.tags, &ended.tags)
            && (!self.alerting || ended.alerts > 0)
            && (self.call_id.is_none() || self.call_id == entry.draft.call_id)
    }
}

fn any<T: PartialEq>(asked: &[T], actual: &T) -> bool {
    asked.is_empty() || asked.contains(actual)
}

fn tagged(asked: &BTreeMap<String, String>, actual: &BTreeMap<String, String>) -> bool {
    asked.iter().all(|(key, value)| actual.get(key) == Some(value))
}

fn alert_filter(filter: Option<proto::AlertFilter>) -> Result<AlertFilter, Problem> {
    let filter = filter.unwrap_or_default();
    tags("filter.tags", &filter.tags)?;
    filter.call_id.as_deref().map_or(Ok(()), |call_id| identifier("filter.call_id", call_id, MAX_CALL_ID))?;
    let state = |asked: i32| match proto::AlertState::try_from(asked) {
        Ok(proto::AlertState::Firing) => Ok(State::Firing),
        Ok(proto::AlertState::Acknowledged) => Ok(State::Acknowledged),
        Ok(proto::AlertState::Snoozed) => Ok(State::Snoozed),
        Ok(proto::AlertState::Resolved) => Ok(State::Resolved),
        Ok(proto::AlertState::Unspecified) | Err(_) => {
            Err(Problem::invalid("filter.states", "each one of FIRING, ACKNOWLEDGED, SNOOZED, RESOLVED"))
        }
    };
    let severity = |asked: i32| match proto::AlertSeverity::try_from(asked) {
        Ok(proto::AlertSeverity::Warning) => Ok(Severity::Warning),
        Ok(proto::AlertSeverity::Critical) => Ok(Severity::Critical),
        Ok(proto::AlertSeverity::Unspecified) | Err(_) => {
            Err(Problem::invalid("filter.severities", "each one of WARNING, CRITICAL"))
        }
    };
    Ok(AlertFilter {
        states: filter.states.iter().map(|asked| state(*asked)).collect::<Result<_, _>>()?,
        severities: filter.severities.iter().map(|asked| severity(*asked)).collect::<Result<_, _>>()?,
        roles: roles(&filter.roles)?,
        rules: filter.rules,
        tags: filter.tags.into_iter().collect(),
        call_id: filter.call_id,
    })
}

fn call_filter(filter: Option<proto::CallFilter>) -> Result<CallFilter, Problem> {
    let filter = filter.unwrap_or_default();
    tags("filter.tags", &filter.tags)?;
    filter.call_id.as_deref().map_or(Ok(()), |call_id| identifier("filter.call_id", call_id, MAX_CALL_ID))?;
    Ok(CallFilter {
        roles: roles(&filter.roles)?,
        tags: filter.tags.into_iter().collect(),
        alerting: filter.alerting,
        call_id: filter.call_id,
    })
}

fn roles(roles: &[i32]) -> Result<Vec<Role>, Problem> {
    roles.iter().map(|asked| role("filter.roles", *asked)).collect()
}

fn registered_leg(index: usize, leg: proto::Leg) -> Result<RegisteredLeg, Problem> {
    let field = |name| format!("legs[{index}].{name}");
    let of_role = role(&field("role"), leg.role)?;
    if let Some(leg_id) = &leg.leg_id {
        pseudonymous(&field("leg_id"), leg_id)?;
        identifier(&field("leg_id"), leg_id, MAX_LEG_ID)?;
    }
    let subject = leg.subject.filter(|subject| !subject.is_empty());
    if let Some(subject) = &subject {
        length(&field("subject"), subject, 1..=MAX_SUBJECT)?;
        pseudonymous(&field("subject"), subject)?;
        // One that is unset may turn out to be the customer's.
        if !matches!(of_role, Role::Customer | Role::Unspecified) {
            return Err(subject_of_another(field("subject"), of_role));
        }
    }
    Ok(RegisteredLeg { leg_id: leg.leg_id, role: of_role, subject })
}

fn attribution(actor: String, reason: String, reasons: RangeInclusive<usize>) -> Result<Attribution, Problem> {
    length("actor", &actor, 1..=MAX_ACTOR)?;
    pseudonymous("actor", &actor)?;
    length("reason", &reason, reasons)?;
    pseudonymous("reason", &reason)?;
    printable("actor", &actor)?;
    printable("reason", &reason)?;
    Ok(Attribution { actor, reason })
}

/// Refuses what changes how a terminal shows the text around it.
fn printable(field: &str, text: &str) -> Result<(), Problem> {
    let turns = |c: char| matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    match text.chars().find(|&c| c.is_control() || turns(c)) {
        Some(c) => {
            Err(Problem::invalid(field, format!("holds U+{:04X}; control characters are not taken", u32::from(c))))
        }
        None => Ok(()),
    }
}

fn since(since: Option<prost_types::Timestamp>) -> Result<SystemTime, Problem> {
    let Some(since) = since else {
        return Ok(SystemTime::now().checked_sub(DAY).unwrap_or(SystemTime::UNIX_EPOCH));
    };
    timestamp("since", &since)?;
    SystemTime::try_from(since).map_err(|_| Problem::invalid("since", "a time that this machine can tell"))
}

fn page_size(size: Option<i32>) -> Result<usize, Problem> {
    let Some(size) = size else { return Ok(DEFAULT_PAGE) };
    let taken = usize::try_from(size).ok().filter(|_| PAGES.contains(&size));
    taken.ok_or_else(|| {
        Problem::invalid("page_size", format!("{size}; a page has {} to {}", PAGES.start(), PAGES.end()))
    })
}

fn page_token(token: &str) -> Result<u64, Problem> {
    if token.is_empty() {
        return Ok(0);
    }
    token.parse().map_err(|_| Problem::invalid("page_token", "the next_page_token of an answer, or empty"))
}
