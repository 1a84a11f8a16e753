//! From what the journal keeps to the API's messages.

use std::time::Duration;

use super::response::{
    alert_reason, alert_severity, alert_state, count, duration, end_reason, not_scored, role, small,
};
use crate::{
    call::EndReason,
    features::NotScored,
    journal::{
        Alert, Began, Draft, EmotionShare, Ended, Entry, Evidence, Record, RegisteredLeg, Registration, TimelinePoint,
    },
    policy::Consent,
    server::proto,
};

/// A change of an alert; `None` for an entry of another kind.
pub(in crate::server) fn alert_entry(entry: &Entry) -> Option<proto::AlertEntry> {
    let Record::Alert(told) = &entry.draft.record else { return None };
    Some(proto::AlertEntry {
        sequence: count(entry.sequence),
        node: entry.node.clone(),
        alert: Some(kept_alert(&entry.draft, told)),
    })
}

/// A change of an alert as its call's own stream told it, from what is kept of it.
pub(in crate::server) fn kept_alert(draft: &Draft, kept: &Alert) -> proto::Alert {
    let leg = |id: &Option<String>| id.clone().unwrap_or_default();
    proto::Alert {
        alert_id: kept.alert_id.clone(),
        revision: small(kept.revision),
        call_id: leg(&draft.call_id),
        leg_id: leg(&draft.leg_id),
        role: role(kept.role).into(),
        tags: kept.tags.clone().into_iter().collect(),
        rule: kept.rule.clone(),
        rule_version: small(kept.rule_version),
        state: alert_state(kept.state).into(),
        severity: alert_severity(kept.severity).into(),
        reason: alert_reason(kept.reason).into(),
        fired_samples: count(kept.fired_samples),
        changed_samples: count(kept.changed_samples),
        changed_at: Some(draft.at.into()),
        actor: kept.actor.clone().unwrap_or_default(),
        actor_reason: kept.actor_reason.clone().unwrap_or_default(),
        snoozed_until: kept.snoozed_until.map(Into::into),
        evidence: Some(evidence(&kept.evidence, kept.sample_rate_hz)),
    }
}

fn evidence(kept: &Evidence, sample_rate_hz: u32) -> proto::Evidence {
    let score = |(label, probability): &(String, f32)| proto::Score { label: label.clone(), probability: *probability };
    proto::Evidence {
        start_samples: count(kept.start_samples),
        end_samples: count(kept.end_samples),
        sample_rate_hertz: small(sample_rate_hz),
        windows: small(kept.windows),
        speech: Some(seconds(kept.speech_seconds)),
        speech_ratio: kept.speech_ratio,
        level: kept.level,
        usual_level: kept.usual,
        peak: kept.peak,
        peak_end_samples: count(kept.peak_end_samples),
        scores: kept.scores.iter().map(score).collect(),
        snr_db: kept.snr_db,
        model: kept.model.clone(),
        model_sha256: kept.sha256.clone(),
    }
}

/// A leg that has ended.
pub(in crate::server) fn ended_leg(entry: &Entry, ended: &Ended) -> proto::EndedLeg {
    proto::EndedLeg {
        call_id: entry.draft.call_id.clone().unwrap_or_default(),
        node: entry.node.clone(),
        session_id: ended.session_id.to_string(),
        role: role(ended.role).into(),
        subject: entry.draft.subject.clone(),
        began_at: Some(ended.began_at.into()),
        ended_at: Some(entry.draft.at.into()),
        sample_rate_hertz: small(ended.sample_rate_hz),
        model: ended.model.clone(),
        alerts: count(ended.alerts),
        summary: Some(summary(entry, ended)),
        tags: ended.tags.clone().into_iter().collect(),
    }
}

fn summary(entry: &Entry, ended: &Ended) -> proto::Summary {
    let counted = |(reason, strides): (&NotScored, &u64)| proto::NotScoredCount {
        reason: not_scored(*reason).into(),
        strides: count(*strides),
    };
    let share = |share: &EmotionShare| proto::EmotionShare {
        label: share.label.clone(),
        share: share.share,
        peak: share.peak,
        peak_end_samples: count(share.peak_end_samples),
        trend: share.trend,
    };
    // Whoever tells of a leg whose server died knows nothing of what it heard, nor is it known of who withdrew consent.
    let is_known = !matches!(ended.reason, EndReason::Lost | EndReason::ConsentWithdrawn);
    proto::Summary {
        leg_id: entry.draft.leg_id.clone().unwrap_or_default(),
        end_reason: end_reason(ended.reason).into(),
        received_samples: count(ended.received_samples),
        dropped_samples: count(ended.dropped_samples),
        filled_samples: count(ended.filled_samples),
        speech: is_known.then(|| seconds(ended.speech_seconds)),
        scored_windows: count(ended.scored_windows),
        not_scored: ended.not_scored.iter().map(counted).collect(),
        shares: ended.shares.iter().map(share).collect(),
        shed_windows: count(ended.shed_windows),
        warnings: ended.warnings.clone(),
        ..proto::Summary::default()
    }
}

/// The legs among a call's entries, in the order in which they began.
pub(in crate::server) fn kept_legs(entries: &[Entry]) -> Vec<proto::KeptLeg> {
    let mut legs: Vec<proto::KeptLeg> = Vec::new();
    for entry in entries {
        let leg_id = entry.draft.leg_id.as_deref().unwrap_or_default();
        match &entry.draft.record {
            Record::Began(began) => legs.push(leg_that_began(entry, began)),
            Record::Ended(ended) => {
                let session_id = ended.session_id.to_string();
                let known = legs.iter().position(|leg| leg.session_id == session_id && leg.leg_id == leg_id);
                let known = known.unwrap_or_else(|| {
                    legs.push(leg_without_begin(entry, ended));
                    legs.len() - 1
                });
                legs[known].ended_at = Some(entry.draft.at.into());
                legs[known].summary = Some(summary(entry, ended));
            }
            Record::Timeline(timeline) => {
                // A leg that comes again goes on where it ended: the last of that name is meant.
                let Some(leg) = legs.iter_mut().rfind(|leg| leg.leg_id == leg_id) else { continue };
                let kept = leg.timeline.get_or_insert_default();
                kept.labels.clone_from(&timeline.labels);
                kept.points.extend(timeline.points.iter().map(point));
            }
            Record::Alert(_) | Record::Action(_) | Record::Subject(_) | Record::Audit(_) => {}
        }
    }
    legs
}

fn leg_that_began(entry: &Entry, began: &Began) -> proto::KeptLeg {
    proto::KeptLeg {
        leg_id: entry.draft.leg_id.clone().unwrap_or_default(),
        session_id: began.session_id.to_string(),
        node: entry.node.clone(),
        role: role(began.role).into(),
        analysed: began.analysed,
        subject: entry.draft.subject.clone(),
        tags: began.tags.clone().into_iter().collect(),
        began_at: Some(entry.draft.at.into()),
        sample_rate_hertz: small(began.sample_rate_hz),
        model: began.model.clone(),
        model_sha256: began.sha256.clone(),
        ..proto::KeptLeg::default()
    }
}

/// A leg whose begin is not kept any more.
fn leg_without_begin(entry: &Entry, ended: &Ended) -> proto::KeptLeg {
    proto::KeptLeg {
        leg_id: entry.draft.leg_id.clone().unwrap_or_default(),
        session_id: ended.session_id.to_string(),
        node: entry.node.clone(),
        role: role(ended.role).into(),
        analysed: ended.scored_windows > 0,
        subject: entry.draft.subject.clone(),
        tags: ended.tags.clone().into_iter().collect(),
        began_at: Some(ended.began_at.into()),
        sample_rate_hertz: small(ended.sample_rate_hz),
        model: ended.model.clone(),
        ..proto::KeptLeg::default()
    }
}

fn point(point: &TimelinePoint) -> proto::TimelinePoint {
    proto::TimelinePoint {
        start_samples: count(point.start_samples),
        end_samples: count(point.end_samples),
        speech_ratio: point.speech_ratio,
        scored_windows: small(point.scored_windows),
        probabilities: point.probabilities.clone(),
        not_scored: point.not_scored.map(|reason| not_scored(reason).into()),
    }
}

/// What was registered of a call.
pub(in crate::server) fn registration(known: &Registration) -> proto::Registration {
    proto::Registration {
        tags: known.tags.clone().into_iter().collect(),
        legs: known.legs.iter().map(registered_leg).collect(),
        notice: notice(known),
        consent: consent(known),
        expires_at: Some(known.expires_at.into()),
    }
}

/// Puts into a configuration what it leaves out and was registered.
pub(in crate::server) fn complete(config: &mut proto::AnalyzeConfig, known: &Registration) {
    for (key, value) in &known.tags {
        config.tags.entry(key.clone()).or_insert_with(|| value.clone());
    }
    if config.notice.is_none() {
        config.notice = notice(known);
    }
    // Nobody's yes outweighs a no.
    if config.consent.is_none() || known.consent == Some(Consent::Refused) {
        config.consent = consent(known).or(config.consent);
    }
    if config.legs.is_empty() {
        // Of whom it is the subject shows below.
        config.legs = known.legs.iter().map(|leg| proto::Leg { subject: None, ..registered_leg(leg) }).collect();
    }
    for (leg, known) in config.legs.iter_mut().zip(&known.legs) {
        if leg.role() == proto::Role::Unspecified {
            leg.role = role(known.role).into();
        }
        if leg.leg_id.is_none() {
            leg.leg_id.clone_from(&known.leg_id);
        }
        let is_customer = leg.role() == proto::Role::Customer;
        if is_customer && leg.subject.as_deref().is_none_or(str::is_empty) {
            leg.subject.clone_from(&known.subject);
        }
    }
}

fn registered_leg(leg: &RegisteredLeg) -> proto::Leg {
    proto::Leg { leg_id: leg.leg_id.clone(), role: role(leg.role).into(), subject: leg.subject.clone() }
}

fn notice(known: &Registration) -> Option<proto::Notice> {
    let notice = known.notice.as_ref()?;
    Some(proto::Notice { given_at: Some(notice.given_at.into()), method: notice.method.clone() })
}

fn consent(known: &Registration) -> Option<proto::Consent> {
    let status = match known.consent? {
        Consent::Given => proto::ConsentStatus::Given,
        Consent::Refused => proto::ConsentStatus::Refused,
        Consent::Unknown => return None,
    };
    Some(proto::Consent { status: status.into(), recorded_at: known.consent_at.map(Into::into) })
}

/// What is kept was written by us; a number that makes no time is none.
fn seconds(seconds: f64) -> prost_types::Duration {
    duration(Duration::try_from_secs_f64(seconds).unwrap_or_default())
}
