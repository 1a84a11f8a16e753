//! What a server says, in lines for people.

use undertone::server::proto::{
    Acknowledgement, Alert, EmotionEvent, EndReason, LegStatus, NotScoredReason, Role, Summary, Warning,
    emotion_event::Outcome,
};

/// Bars of shares are so wide.
const BAR_WIDTH: usize = 20;

/// What was agreed on, and the warnings.
pub(crate) fn acknowledgement(acknowledgement: &Acknowledgement) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(model) = &acknowledgement.model {
        let sha256 = model.sha256.get(..12).unwrap_or(&model.sha256);
        lines.push(format!(
            "model {} {} ({sha256}, {}) hears {}",
            model.name,
            model.version,
            model.front_end,
            model.labels.join(", ")
        ));
    }
    for leg in &acknowledgement.legs {
        let role = Role::try_from(leg.role).unwrap_or_default().as_str_name();
        let role = plain(role, "ROLE_");
        let fate = if leg.analysed { "analysed" } else { "not analysed: its audio is dropped" };
        lines.push(format!("leg {}: {role}, {fate}", leg.leg_id));
    }
    lines.extend(acknowledgement.warnings.iter().map(|warning| format!("warning: {warning}")));
    lines
}

/// One decision.
pub(crate) fn event(event: &EmotionEvent, rate_hz: u32) -> String {
    let place = format!("{:8.2} s  {}", seconds(event.end_samples, rate_hz), event.leg_id);
    format!("{place}  {}", outcome(event))
}

/// What a decision says, without where.
pub(crate) fn outcome(event: &EmotionEvent) -> String {
    match &event.outcome {
        Some(Outcome::Emotion(emotion)) => {
            let confidence = emotion.confidence;
            format!("{:<10} {confidence:.2}  {}", emotion.label, bar(confidence))
        }
        Some(Outcome::NotScored(reason)) => format!("({})", not_scored(*reason)),
        None => String::new(),
    }
}

/// A change of an alert, and what it rests on.
pub(crate) fn alert(alert: &Alert) -> Vec<String> {
    let evidence = alert.evidence.clone().unwrap_or_default();
    let rate_hz = u32::try_from(evidence.sample_rate_hertz).unwrap_or_default();
    let severity = plain(alert.severity().as_str_name(), "ALERT_SEVERITY_");
    let state = plain(alert.state().as_str_name(), "ALERT_STATE_");
    let reason = plain(alert.reason().as_str_name(), "ALERT_REASON_");
    let by =
        if alert.actor.is_empty() { String::new() } else { format!(" by {}: {}", alert.actor, alert.actor_reason) };
    let at = seconds(alert.changed_samples, rate_hz);
    let mut lines =
        vec![format!("{at:8.2} s  {}  ALERT {} {state} ({severity}, {reason}{by})", alert.leg_id, alert.rule)];
    if !evidence.scores.is_empty() {
        lines.push(format!(
            "            {:.1} s to {:.1} s, {} windows: level {:.2}{}, at most {:.2} at {:.1} s",
            seconds(evidence.start_samples, rate_hz),
            seconds(evidence.end_samples, rate_hz),
            evidence.windows,
            evidence.level,
            usually(evidence.usual_level),
            evidence.peak,
            seconds(evidence.peak_end_samples, rate_hz)
        ));
    }
    lines
}

/// The level that is usual for a party, where a rule counts from it.
pub(crate) fn usually(level: f32) -> String {
    if level > 0.0 { format!(" (usually {level:.2})") } else { String::new() }
}

/// How a leg stands.
pub(crate) fn status(leg: &LegStatus, rate_hz: u32) -> String {
    let hold = if leg.on_hold { ", on hold" } else { "" };
    format!(
        "status    {}: {:.1} s received, {:.1} s dropped{}, {} windows waiting, {} given up{hold}",
        leg.leg_id,
        seconds(leg.received_samples, rate_hz),
        seconds(leg.dropped_samples, rate_hz),
        filled(leg.filled_samples, rate_hz),
        leg.waiting_windows,
        leg.shed_windows
    )
}

/// What the client should know of its stream.
pub(crate) fn warning(warning: &Warning) -> String {
    format!("warning: {}", warning.text)
}

/// What was heard on a leg, in all.
pub(crate) fn summary(summary: &Summary, rate_hz: u32) -> Vec<String> {
    let reason = EndReason::try_from(summary.end_reason).unwrap_or_default().as_str_name();
    let heard = match &summary.speech {
        Some(speech) => {
            let seconds = speech.seconds as f64 + f64::from(speech.nanos) * 1e-9;
            format!("{seconds:.1} s of it speech, {} windows scored", summary.scored_windows)
        }
        None => "what was heard is not known".to_owned(),
    };
    let mut lines = vec![format!(
        "summary of {} ({}): {:.1} s received{}, {heard}",
        summary.leg_id,
        plain(reason, "END_REASON_"),
        seconds(summary.received_samples, rate_hz),
        filled(summary.filled_samples, rate_hz),
    )];
    lines.extend(summary.shares.iter().map(|share| {
        format!(
            "  {:<10} {:>3.0} %  {:<BAR_WIDTH$}  at most {:.2}, at {:.1} s{}",
            share.label,
            share.share * 100.0,
            bar(share.share),
            share.peak,
            seconds(share.peak_end_samples, rate_hz),
            share.trend.map(|trend| format!("; last quarter {:+.0} %", trend * 100.0)).unwrap_or_default()
        )
    }));
    lines.extend(
        summary.not_scored.iter().map(|row| format!("  not scored {}: {}", times(row.strides), not_scored(row.reason))),
    );
    lines.extend(summary.warnings.iter().map(|warning| format!("  warning: {warning}")));
    lines
}

/// The audio that never came and was heard as silence, where there was any.
fn filled(samples: i64, rate_hz: u32) -> String {
    if samples == 0 {
        String::new()
    } else {
        format!(", {:.2} s missing and filled with silence", seconds(samples, rate_hz))
    }
}

/// A name on one line, whatever is in it.
pub(crate) fn name(name: &str) -> String {
    let shown =
        |letter: char| if letter.is_control() { letter.escape_default().to_string() } else { letter.to_string() };
    name.chars().map(shown).collect()
}

/// The name of an enum's variant as words: "too short" of "TooShort".
pub(crate) fn words(variant: &str) -> String {
    let mut words = String::new();
    for letter in variant.chars() {
        if letter.is_uppercase() && !words.is_empty() {
            words.push(' ');
        }
        words.extend(letter.to_lowercase());
    }
    words
}

/// A reason for no score in plain words; one that is not known here by its number.
pub(crate) fn not_scored(reason: i32) -> String {
    match NotScoredReason::try_from(reason) {
        Ok(reason) => plain(reason.as_str_name(), "NOT_SCORED_REASON_"),
        Err(_) => format!("reason {reason}"),
    }
}

/// An enum's value in small letters, without what all values of it begin with.
pub(crate) fn plain(name: &str, prefix: &str) -> String {
    name.strip_prefix(prefix).unwrap_or(name).to_lowercase().replace('_', " ")
}

fn times(count: i64) -> String {
    if count == 1 { "once".to_owned() } else { format!("{count} times") }
}

pub(crate) fn seconds(samples: i64, rate_hz: u32) -> f64 {
    samples as f64 / f64::from(rate_hz)
}

fn bar(share: f32) -> String {
    bar_of(share, BAR_WIDTH)
}

/// A bar of this width when it is full.
pub(crate) fn bar_of(share: f32, width: usize) -> String {
    let filled = (0..width).filter(|&at| (at as f32 + 0.5) / width as f32 <= share).count();
    "█".repeat(filled)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_that_was_filled_in_is_shown_where_there_was_any() {
        let of = |filled_samples| {
            let speech = Some(prost_types::Duration::default());
            let summary =
                Summary { leg_id: "c".into(), received_samples: 16_000, filled_samples, speech, ..Summary::default() };
            let leg =
                LegStatus { leg_id: "c".into(), received_samples: 16_000, filled_samples, ..LegStatus::default() };
            (super::summary(&summary, 8000).remove(0), status(&leg, 8000))
        };
        let ((summary, status), (plain_summary, plain_status)) = (of(960), of(0));
        assert!(summary.contains("2.0 s received, 0.12 s missing and filled with silence, 0.0 s of it"), "{summary}");
        assert!(status.contains("0.0 s dropped, 0.12 s missing and filled with silence, 0 windows"), "{status}");
        assert!(plain_summary.contains("2.0 s received, 0.0 s of it speech"), "{plain_summary}");
        assert!(plain_status.contains("0.0 s dropped, 0 windows"), "{plain_status}");
    }

    #[test]
    fn speech_that_is_not_known_is_not_told_as_none() {
        let end_reason = EndReason::ConsentWithdrawn.into();
        let summary = Summary { leg_id: "c".into(), end_reason, received_samples: 16_000, ..Summary::default() };
        let told = super::summary(&summary, 8000).remove(0);
        assert_eq!(told, "summary of c (consent withdrawn): 2.0 s received, what was heard is not known");
    }
}
