//! From what the journal keeps to the API's messages.

use std::time::Duration;

use super::response::{alert_reason, alert_severity, alert_state, count, duration, role, small};
use crate::{
    journal::{Alert, Draft, Evidence},
    server::proto,
};

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
        speech: Some(duration(Duration::try_from_secs_f64(kept.speech_seconds).unwrap_or_default())),
        speech_ratio: kept.speech_ratio,
        level: kept.level,
        peak: kept.peak,
        peak_end_samples: count(kept.peak_end_samples),
        scores: kept.scores.iter().map(score).collect(),
        snr_db: kept.snr_db,
        model: kept.model.clone(),
        model_sha256: kept.sha256.clone(),
    }
}
