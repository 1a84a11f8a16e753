use super::*;

fn event(sequence: i64, end_samples: i64) -> AnalyzeResponse {
    let event = pb::EmotionEvent { leg_id: "customer".to_owned(), sequence, end_samples, ..Default::default() };
    AnalyzeResponse { message: Some(Response::Event(event)) }
}

fn acknowledgement(resumption: Option<pb::Resumption>) -> AnalyzeResponse {
    let acknowledgement = pb::Acknowledgement { resumption, ..Default::default() };
    AnalyzeResponse { message: Some(Response::Acknowledgement(acknowledgement)) }
}

fn summary(end_reason: pb::EndReason, received_samples: i64) -> AnalyzeResponse {
    let summary = pb::Summary { end_reason: end_reason.into(), received_samples, ..Default::default() };
    AnalyzeResponse { message: Some(Response::Summary(summary)) }
}

#[test]
fn what_was_told_is_not_told_again() {
    let mut progress = Progress::default();
    assert!(progress.is_news(&acknowledgement(None)));
    assert!(progress.is_news(&event(1, 4000)) && progress.is_news(&event(2, 8000)));
    assert!(!progress.is_news(&acknowledgement(Some(pb::Resumption::default()))), "the call is the same");
    assert!(!progress.is_news(&event(2, 8000)));
    assert!(progress.is_news(&event(3, 12_000)));
    assert!(progress.is_news(&summary(pb::EndReason::Draining, 13_000)));
    assert_eq!((progress.reached, progress.ended), (13_000, false));
    // Anew: numbers begin again.
    assert!(progress.is_news(&acknowledgement(None)));
    assert!(progress.is_news(&event(1, 17_000)));
    assert!(progress.is_news(&summary(pb::EndReason::Completed, 5000)));
    assert_eq!((progress.reached, progress.ended), (18_000, true));
}

#[test]
fn alerts_are_open_until_they_are_resolved_or_the_call_begins_anew() {
    let alert = |alert_id: &str, state: pb::AlertState| {
        let (alert_id, rule) = (alert_id.to_owned(), format!("rule-of-{alert_id}"));
        let alert = pb::Alert { alert_id, rule, state: state.into(), ..Default::default() };
        AnalyzeResponse { message: Some(Response::Alert(alert)) }
    };
    let mut progress = Progress::default();
    progress.is_news(&acknowledgement(None));
    progress.is_news(&alert("a", pb::AlertState::Firing));
    progress.is_news(&alert("b", pb::AlertState::Firing));
    progress.is_news(&alert("b", pb::AlertState::Snoozed));
    progress.is_news(&alert("a", pb::AlertState::Resolved));
    progress.is_news(&acknowledgement(Some(pb::Resumption::default())));
    assert_eq!(progress.open_alerts.keys().collect::<Vec<_>>(), ["b"]);
    assert_eq!(progress.open_alerts["b"].0, "rule-of-b");
    progress.is_news(&acknowledgement(None));
    assert!(progress.open_alerts.is_empty());
}

#[test]
fn a_call_that_is_live_is_told_with_what_the_command_line_can_do_about_it() {
    let told = refused(&Status::already_exists("set takeover"), "demo").to_string();
    assert!(told.contains("call demo is live") && told.contains("--call-id") && !told.contains("takeover"), "{told}");
}

#[test]
fn only_what_another_stream_may_mend_is_tried_again() {
    for (status, tries, expected) in [
        (Status::unavailable("draining"), 0, true),
        (Status::already_exists("live"), 0, false),
        (Status::already_exists("live"), 1, true),
        (Status::aborted("taken over"), 0, false),
        (Status::invalid_argument("stride"), 1, false),
        (Status::from_error(std::io::Error::other("the line broke").into()), 0, true),
    ] {
        assert_eq!(may_help(&status, tries), expected, "{status:?} after {tries}");
    }
}

#[test]
fn waits_double_to_a_bound_and_are_no_shorter_than_asked_for() {
    let plain = Status::unavailable("");
    let waits: Vec<Duration> = (0..TRIES).map(|tries| wait(tries, &plain, 1.0)).collect();
    assert_eq!(waits[..3], [Duration::ZERO, FIRST_WAIT, FIRST_WAIT * 2]);
    assert_eq!(waits.iter().max(), Some(&LONGEST_WAIT));
    assert!((30..45).contains(&waits.iter().sum::<Duration>().as_secs()), "{waits:?}");
    assert_eq!(wait(2, &plain, 0.0), FIRST_WAIT, "half of it is left to chance");
    let asked = tonic_types::ErrorDetails::with_retry_info(Some(Duration::from_secs(3)));
    let status = Status::with_error_details(Code::Unavailable, "", asked);
    assert_eq!(wait(0, &status, 0.5), Duration::from_secs(3));
}
