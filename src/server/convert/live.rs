//! From the calls that live to the API's messages.

use super::response::{alert_severity, alert_state, count, not_scored, role, small};
use crate::{
    decision::Judgement,
    server::proto,
    session::{CallView, LegView},
};

/// A call that lives.
pub(in crate::server) fn live_call(call: &CallView) -> proto::LiveCall {
    proto::LiveCall {
        session_id: call.session_id.clone(),
        call_id: call.call_id.clone(),
        node: call.node.clone(),
        tags: call.tags.clone().into_iter().collect(),
        began_at: Some(call.began_at.into()),
        model: call.model.clone(),
        sample_rate_hertz: small(call.sample_rate_hz),
        legs: call.legs.iter().map(|leg| live_leg(leg, &call.labels)).collect(),
    }
}

fn live_leg(leg: &LegView, labels: &[String]) -> proto::LiveLeg {
    let state = &leg.state;
    let alerts = state.alerts.iter().map(|(alert_id, alert)| proto::OpenAlert {
        alert_id: alert_id.clone(),
        rule: alert.rule.clone(),
        state: alert_state(alert.state).into(),
        severity: alert_severity(alert.severity).into(),
    });
    proto::LiveLeg {
        leg_id: leg.leg_id.clone(),
        role: role(leg.role).into(),
        analysed: leg.analysed,
        subject: leg.subject.clone(),
        position_samples: count(state.position_samples),
        smoothed: state.smoothed.as_ref().map(|judgement| emotion(judgement, labels)),
        not_scored: state.not_scored.map(|reason| not_scored(reason).into()),
        speech_ratio: state.speech_ratio,
        alerts: alerts.collect(),
        consent_withdrawn: state.withdrawn,
    }
}

/// A judgement of a model with these labels.
pub(super) fn emotion(judgement: &Judgement, labels: &[String]) -> proto::Emotion {
    let score = |(label, &probability): (&String, &f32)| proto::Score { label: label.clone(), probability };
    // Another server's judgement may have been made by a model with more labels than it names.
    let label = judgement.label.and_then(|label| labels.get(label)).map_or("uncertain", String::as_str);
    proto::Emotion {
        label: label.to_owned(),
        confidence: judgement.confidence,
        scores: labels.iter().zip(&judgement.probabilities).map(score).collect(),
    }
}
