use std::{collections::BTreeMap, time::Duration};

use super::*;
use crate::{
    call::EndReason,
    decision::alert::{Reason, Severity, State},
    features::NotScored,
    policy::{Policy, Role},
};

/// The begin of a customer's leg of this call, with a label.
pub(in crate::journal) fn begun(call_id: &str, tag: &str) -> Draft {
    let began = Began {
        session_id: Uuid::new_v4(),
        role: Role::Customer,
        analysed: true,
        tags: BTreeMap::from([("queue".to_owned(), tag.to_owned())]),
        sample_rate_hz: 8000,
        model: "tiny".to_owned(),
        sha256: "00".repeat(32),
    };
    Draft::new(SystemTime::now(), Record::Began(began)).of_leg(call_id, "customer", None)
}

pub(in crate::journal) fn of_all_kinds() -> Vec<Record> {
    let at = from_millis(1_700_000_000_123);
    let text = |text: &str| text.to_owned();
    let ended = Ended {
        session_id: Uuid::new_v4(),
        role: Role::Customer,
        began_at: at,
        reason: EndReason::Vanished,
        sample_rate_hz: 8000,
        received_samples: 100_000,
        dropped_samples: 160,
        filled_samples: 1600,
        speech_seconds: 3.25,
        scored_windows: 7,
        shed_windows: 1,
        not_scored: BTreeMap::from([(NotScored::TooShort, 2)]),
        shares: vec![EmotionShare { label: text("angry"), share: 0.123, peak: 0.9, peak_end_samples: 9, trend: None }],
        alerts: 1,
        model: text("tiny"),
        warnings: vec![text("an odd byte")],
        tags: [("queue".to_owned(), "sales".to_owned())].into(),
    };
    let point = TimelinePoint {
        start_samples: 0,
        end_samples: 40_000,
        speech_ratio: 0.7,
        scored_windows: 9,
        probabilities: vec![0.123, 0.877],
        not_scored: Some(NotScored::Silence),
    };
    let evidence = Evidence {
        start_samples: 8000,
        end_samples: 24_000,
        windows: 4,
        speech_seconds: 1.5,
        speech_ratio: 0.5,
        level: 0.61,
        usual: 0.125,
        peak: 0.7,
        peak_end_samples: 20_000,
        scores: vec![(text("angry"), 0.61), (text("sad"), 0.39)],
        snr_db: Some(21.5),
        model: text("tiny"),
        sha256: "00".repeat(32),
    };
    let alert = Alert {
        alert_id: text("s-0-1"),
        revision: 2,
        rule: text("anger"),
        rule_version: 1,
        role: Role::Customer,
        tags: BTreeMap::new(),
        state: State::Snoozed,
        severity: Severity::Warning,
        reason: Reason::Snoozed,
        sample_rate_hz: 8000,
        fired_samples: 24_000,
        changed_samples: 32_000,
        actor: Some(text("supervisor-7")),
        actor_reason: Some(text("known")),
        snoozed_until: Some(at),
        evidence,
    };
    let (alert_id, actor, reason) = (text("s-0-1"), text("supervisor-7"), text("because"));
    let timeline = Timeline { sample_rate_hz: 8000, labels: vec![text("angry"), text("sad")], points: vec![point] };
    vec![
        begun("c", "sales").record,
        Record::Ended(ended.clone()),
        Record::Timeline(timeline),
        Record::Alert(Box::new(alert)),
        Record::Action(Action::Acknowledge {
            alert_id: alert_id.clone(),
            actor: actor.clone(),
            reason: reason.clone(),
        }),
        Record::Action(Action::Snooze {
            alert_id,
            actor: actor.clone(),
            reason: reason.clone(),
            until: at,
            lasts: Some(Duration::from_secs(60)),
        }),
        Record::Action(Action::WithdrawConsent { call_id: text("c"), leg_id: None, actor, reason }),
        Record::Subject(ended),
        Record::Audit(Audit::EntriesLost { lost: BTreeMap::from([(Kind::Alert, 3)]) }),
        Record::Audit(Audit::Started { version: text("1.2.3"), policy: Policy::default(), rules: text("anger 4") }),
    ]
}

#[test]
fn every_record_comes_back_as_it_was_written() {
    let mut kinds: Vec<Kind> = Vec::new();
    for record in of_all_kinds() {
        kinds.push(record.kind());
        let draft = Draft::new(SystemTime::now(), record).of_leg("c", "customer", Some("someone"));
        let entry = Entry { sequence: 9, node: "n".to_owned(), draft };
        let written = serde_json::to_string(&entry).unwrap();
        assert_eq!(serde_json::from_str::<Entry>(&written).unwrap(), entry, "{written}");
    }
    assert!(Kind::ALL.iter().all(|kind| kinds.contains(kind)), "{kinds:?}");
}

#[test]
fn a_start_of_an_older_version_is_read_without_rules() {
    let written = serde_json::to_string(&Policy::default()).unwrap();
    let older = format!(r#"{{"type":"audit","event":"started","version":"0.1.0","policy":{written}}}"#);
    let started = Audit::Started { version: "0.1.0".to_owned(), policy: Policy::default(), rules: String::new() };
    assert_eq!(serde_json::from_str::<Record>(&older).unwrap(), Record::Audit(started));
}

#[test]
fn metrics_name_every_kind_and_failure() {
    use crate::telemetry::metrics::{ENTRY_KINDS, JOURNAL_FAILURES};
    assert_eq!(Kind::ALL.map(Kind::as_str), ENTRY_KINDS);
    let problem = String::new;
    let failures = [
        crate::journal::Error::Full { problem: problem() },
        crate::journal::Error::Unreachable { url: problem(), problem: problem() },
        crate::journal::Error::Closed,
        crate::journal::Error::UnknownSequence { asked: 1, last: 0 },
        crate::journal::Error::Storage { problem: problem() },
    ];
    assert_eq!(failures.map(|failure| failure.name()), JOURNAL_FAILURES);
}

#[test]
fn times_are_kept_to_the_millisecond() {
    let at = from_millis(1_700_000_000_123) + Duration::from_micros(456);
    assert_eq!(Draft::new(at, begun("c", "x").record).at, from_millis(1_700_000_000_123));
}
