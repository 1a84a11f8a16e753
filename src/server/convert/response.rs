//! From the domain's messages to the API's.

use std::time::{Duration, SystemTime};

use super::live;
use crate::{
    audio::Encoding,
    call::{self, EndReason},
    decision::{
        Judgement, Share,
        alert::{Evidence, Reason, Severity, State},
        position,
    },
    features::NotScored,
    model::{self, Manifest, manifest::Bandwidth},
    policy::Role,
    server::proto::{self, analyze_response, classify_response, emotion_event},
    session::{AcknowledgedLeg, Acknowledgement, Classification, Message},
};

/// One message to the client of the call that was acknowledged so.
pub(in crate::server) fn analyze_response(message: Message, call: &Acknowledgement) -> proto::AnalyzeResponse {
    use analyze_response::Message as Response;
    let message = match message {
        Message::Acknowledgement(_) => Response::Acknowledgement(acknowledgement(call)),
        Message::Event(told) => Response::Event(event(&told, call)),
        Message::Alert { alert: told, changed_at } => Response::Alert(alert(told, changed_at, call)),
        Message::Status { status, dropped_events } => {
            let legs = status.legs.iter().zip(dropped_events);
            let legs = legs.map(|(leg, dropped)| leg_status(leg, dropped, call)).collect();
            Response::Status(proto::StreamStatus { legs, warnings: status.warnings.iter().map(warning).collect() })
        }
        Message::Summary { summary: told, dropped_events } => Response::Summary(summary(told, dropped_events, call)),
    };
    proto::AnalyzeResponse { message: Some(message) }
}

/// What was heard in a recording.
pub(in crate::server) fn classify_response(told: Classification) -> proto::ClassifyResponse {
    let outcome = match &told.outcome {
        Ok(judgement) => classify_response::Outcome::Emotion(emotion(judgement, &told.model.manifest)),
        Err(reason) => classify_response::Outcome::NotScored(not_scored(*reason).into()),
    };
    proto::ClassifyResponse {
        model: Some(model(&told.model)),
        outcome: Some(outcome),
        windows: i32::try_from(told.windows).unwrap_or(i32::MAX),
        speech: Some(duration(told.speech)),
        warnings: told.warnings,
    }
}

/// A model in service.
pub(in crate::server) fn model(model: &model::Model) -> proto::Model {
    let manifest = &*model.manifest;
    let rate_hz = manifest.front_end.sample_rate_hz();
    let window_seconds = (manifest.window.frames * manifest.front_end.hop_samples()) as f64 / f64::from(rate_hz);
    let bandwidth = |bandwidth: &Bandwidth| match bandwidth {
        Bandwidth::Wide => "wide".to_owned(),
        Bandwidth::Telephone => "telephone".to_owned(),
    };
    proto::Model {
        name: manifest.name.clone(),
        version: manifest.version.clone(),
        sha256: model.sha256().to_owned(),
        labels: manifest.labels.clone(),
        front_end: manifest.front_end.name().to_owned(),
        sample_rate_hertz: i32::try_from(rate_hz).unwrap_or(i32::MAX),
        window: Some(duration(Duration::from_secs_f64(window_seconds))),
        min_window: Some(duration(Duration::from_secs_f32(manifest.window.min_seconds))),
        bandwidths: manifest.bandwidths.iter().map(bandwidth).collect(),
        temperature: manifest.calibration.temperature,
        uncertain_below: manifest.calibration.uncertain_below,
        provider: model.provider().name().to_owned(),
        provider_fallback_reason: model.fallback_reason().map(str::to_owned),
        metrics: manifest.metrics.clone().into_iter().collect(),
    }
}

fn acknowledgement(call: &Acknowledgement) -> proto::Acknowledgement {
    let leg = |leg: &AcknowledgedLeg| proto::AcknowledgedLeg {
        leg_id: leg.leg_id.clone(),
        role: role(leg.role).into(),
        analysed: leg.analysed,
    };
    proto::Acknowledgement {
        session_id: call.session_id.to_string(),
        model: Some(model(&call.model)),
        stride: Some(duration(call.stride)),
        first_decision_samples: (call.put_off_samples > 0).then(|| count(call.put_off_samples)),
        legs: call.legs.iter().map(leg).collect(),
        warnings: call.warnings.clone(),
        resumption: call.resumption.as_ref().map(|at| proto::Resumption {
            media_offset_samples: count(at.position_samples),
            sequence: at.next_sequence.map(count),
            event_sequences: at.next_events.iter().copied().map(count).collect(),
        }),
    }
}

fn event(event: &call::Event, call: &Acknowledgement) -> proto::EmotionEvent {
    let outcome = match &event.outcome {
        Ok(judgement) => emotion_event::Outcome::Emotion(emotion(judgement, &call.model.manifest)),
        Err(reason) => emotion_event::Outcome::NotScored(not_scored(*reason).into()),
    };
    proto::EmotionEvent {
        leg_id: leg_id(call, event.leg),
        sequence: count(event.sequence),
        start_samples: count(event.start_samples),
        end_samples: count(event.end_samples),
        depends_on_samples: count(event.depends_on_samples),
        outcome: Some(outcome),
        smoothed: event.smoothed.as_ref().map(|judgement| emotion(judgement, &call.model.manifest)),
        speech_ratio: event.speech_ratio,
        processing_latency: Some(duration(event.processing_latency)),
        received_samples: count(event.received_samples),
        dropped_samples: count(event.dropped_samples),
        filled_samples: count(event.filled_samples),
    }
}

fn leg_status(leg: &call::LegStatus, dropped_events: u64, call: &Acknowledgement) -> proto::LegStatus {
    proto::LegStatus {
        leg_id: leg_id(call, leg.leg),
        received_samples: count(leg.received_samples),
        dropped_samples: count(leg.dropped_samples),
        filled_samples: count(leg.filled_samples),
        waiting_windows: i32::try_from(leg.waiting_windows).unwrap_or(i32::MAX),
        shed_windows: count(leg.shed_windows),
        dropped_events: count(dropped_events),
        on_hold: leg.on_hold,
        not_scored: leg.not_scored.map(|reason| not_scored(reason).into()),
    }
}

fn warning(warning: &call::Warning) -> proto::Warning {
    let call::Warning::Mislabelled { looks_like, .. } = warning;
    proto::Warning {
        code: proto::WarningCode::AudioMislabelled.into(),
        text: warning.to_string(),
        looks_like: Some(encoding(*looks_like).into()),
    }
}

fn encoding(encoding: Encoding) -> proto::Encoding {
    match encoding {
        Encoding::Linear16 => proto::Encoding::Linear16,
        Encoding::Mulaw => proto::Encoding::Mulaw,
        Encoding::Alaw => proto::Encoding::Alaw,
    }
}

fn summary(mut summary: call::Summary, dropped_events: u64, call: &Acknowledgement) -> proto::Summary {
    let counted = |&(reason, strides): &(NotScored, u64)| proto::NotScoredCount {
        reason: not_scored(reason).into(),
        strides: count(strides),
    };
    let share = |(label, share): (&String, &Share)| proto::EmotionShare {
        label: label.clone(),
        share: share.share,
        peak: share.peak,
        peak_end_samples: samples(share.peak_at, call),
        trend: share.trend,
    };
    proto::Summary {
        leg_id: leg_id(call, summary.leg),
        end_reason: end_reason(summary.end_reason).into(),
        received_samples: count(summary.received_samples),
        dropped_samples: count(summary.dropped_samples),
        filled_samples: count(summary.filled_samples),
        // What was heard of who withdrew consent is not to be known any more; 0 would say that nobody spoke.
        speech: (summary.end_reason != EndReason::ConsentWithdrawn).then(|| duration(summary.speech)),
        scored_windows: count(summary.scored_windows),
        not_scored: summary.not_scored.iter().map(counted).collect(),
        shares: call.model.manifest.labels.iter().zip(&summary.shares).map(share).collect(),
        shed_windows: count(summary.shed_windows),
        dropped_events: count(dropped_events),
        warnings: std::mem::take(&mut summary.warnings),
    }
}

/// One change of an alert of the call that was acknowledged so.
pub(in crate::server) fn alert(told: call::Alert, changed_at: SystemTime, call: &Acknowledgement) -> proto::Alert {
    let call::Alert { leg, alert_id, change } = told;
    let (actor, actor_reason) = change.by.map(|by| (by.actor, by.reason)).unwrap_or_default();
    proto::Alert {
        alert_id,
        revision: small(change.revision),
        call_id: call.call_id.clone(),
        leg_id: leg_id(call, leg),
        role: role(call.legs[leg].role).into(),
        tags: call.tags.clone().into_iter().collect(),
        rule: change.rule.name.clone(),
        rule_version: small(change.rule.version),
        state: alert_state(change.state).into(),
        severity: alert_severity(change.severity).into(),
        reason: alert_reason(change.reason).into(),
        fired_samples: samples(change.fired_at, call),
        changed_samples: samples(change.at, call),
        changed_at: Some(changed_at.into()),
        actor,
        actor_reason,
        snoozed_until: change.snoozed_for.and_then(|lasts| changed_at.checked_add(lasts)).map(Into::into),
        evidence: Some(evidence(&change.evidence, call)),
    }
}

fn evidence(evidence: &Evidence, call: &Acknowledgement) -> proto::Evidence {
    let score = |(label, &probability): (&String, &f32)| proto::Score { label: label.clone(), probability };
    proto::Evidence {
        start_samples: samples(evidence.start, call),
        end_samples: samples(evidence.end, call),
        sample_rate_hertz: small(call.sample_rate_hz),
        windows: small(evidence.windows),
        speech: Some(duration(evidence.speech)),
        speech_ratio: evidence.speech_ratio,
        level: evidence.level,
        usual_level: evidence.usual,
        peak: evidence.peak,
        peak_end_samples: samples(evidence.peak_at, call),
        scores: call.model.manifest.labels.iter().zip(&evidence.scores).map(score).collect(),
        snr_db: evidence.snr_db,
        model: call.model.manifest.name.clone(),
        model_sha256: call.model.sha256().to_owned(),
    }
}

fn emotion(judgement: &Judgement, manifest: &Manifest) -> proto::Emotion {
    live::emotion(judgement, &manifest.labels)
}

fn leg_id(call: &Acknowledgement, leg: usize) -> String {
    call.legs[leg].leg_id.clone()
}

fn samples(position: Duration, call: &Acknowledgement) -> i64 {
    count(position::to_samples(position, call.sample_rate_hz))
}

pub(super) fn small(count: u32) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX)
}

/// A count that outgrows i64 would need longer than the universe has been there.
pub(in crate::server) fn count(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

pub(super) fn duration(duration: Duration) -> prost_types::Duration {
    // Fails only beyond 10,000 years, which no clock of ours measures.
    prost_types::Duration::try_from(duration).unwrap_or_default()
}

pub(super) fn role(role: Role) -> proto::Role {
    match role {
        Role::Customer => proto::Role::Customer,
        Role::Agent => proto::Role::Agent,
        Role::Supervisor => proto::Role::Supervisor,
        Role::Bot => proto::Role::Bot,
        Role::Mixed => proto::Role::Mixed,
        Role::Unspecified => proto::Role::Unspecified,
    }
}

pub(super) fn end_reason(reason: EndReason) -> proto::EndReason {
    match reason {
        EndReason::Completed => proto::EndReason::Completed,
        EndReason::Idle => proto::EndReason::Idle,
        EndReason::Draining => proto::EndReason::Draining,
        EndReason::ConsentWithdrawn => proto::EndReason::ConsentWithdrawn,
        EndReason::Invalid => proto::EndReason::Invalid,
        EndReason::Failed => proto::EndReason::Failed,
        EndReason::Stalled => proto::EndReason::Stalled,
        EndReason::Vanished => proto::EndReason::Vanished,
        EndReason::Lost => proto::EndReason::Lost,
        EndReason::TakenOver => proto::EndReason::TakenOver,
    }
}

pub(super) fn alert_state(state: State) -> proto::AlertState {
    match state {
        // Never told.
        State::Inactive | State::Pending => proto::AlertState::Unspecified,
        State::Firing => proto::AlertState::Firing,
        State::Acknowledged => proto::AlertState::Acknowledged,
        State::Snoozed => proto::AlertState::Snoozed,
        State::Resolved => proto::AlertState::Resolved,
    }
}

pub(super) fn alert_severity(severity: Severity) -> proto::AlertSeverity {
    match severity {
        Severity::Warning => proto::AlertSeverity::Warning,
        Severity::Critical => proto::AlertSeverity::Critical,
    }
}

pub(super) fn alert_reason(reason: Reason) -> proto::AlertReason {
    match reason {
        Reason::Rose => proto::AlertReason::Rose,
        Reason::Lasted => proto::AlertReason::Lasted,
        Reason::Acknowledged => proto::AlertReason::Acknowledged,
        Reason::Snoozed => proto::AlertReason::Snoozed,
        Reason::SnoozeEnded => proto::AlertReason::SnoozeEnded,
        Reason::Calmed => proto::AlertReason::Calmed,
        Reason::CallEnded => proto::AlertReason::CallEnded,
        Reason::ConsentWithdrawn => proto::AlertReason::ConsentWithdrawn,
        Reason::RuleChanged => proto::AlertReason::RuleChanged,
    }
}

pub(super) fn not_scored(reason: NotScored) -> proto::NotScoredReason {
    match reason {
        NotScored::Silence => proto::NotScoredReason::Silence,
        NotScored::Noise => proto::NotScoredReason::Noise,
        NotScored::Tone => proto::NotScoredReason::Tone,
        NotScored::Music => proto::NotScoredReason::Music,
        NotScored::OnHold => proto::NotScoredReason::OnHold,
        NotScored::TooShort => proto::NotScoredReason::TooShort,
        NotScored::LowSnr => proto::NotScoredReason::LowSnr,
        NotScored::Gap => proto::NotScoredReason::Gap,
        NotScored::NotPermitted => proto::NotScoredReason::NotPermitted,
        NotScored::ConsentWithdrawn => proto::NotScoredReason::ConsentWithdrawn,
        NotScored::Overloaded => proto::NotScoredReason::Overloaded,
        NotScored::Failed => proto::NotScoredReason::Failed,
    }
}
