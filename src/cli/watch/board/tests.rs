use undertone::server::proto::{Emotion, Evidence, Missed, OpenAlert, Role, Score};

use super::*;

/// When it all happens.
pub(in crate::cli::watch) const NOW: SystemTime = SystemTime::UNIX_EPOCH;

/// A change of this alert, as its so manieth entry.
pub(in crate::cli::watch) fn alert(alert_id: &str, sequence: i64, state: AlertState) -> Update {
    let scores = vec![Score { label: "angry".to_owned(), probability: 0.62 }];
    let evidence = Evidence {
        start_samples: 80_000,
        end_samples: 160_000,
        sample_rate_hertz: 8000,
        windows: 12,
        speech_ratio: 0.9,
        level: 0.62,
        peak: 0.7,
        peak_end_samples: 152_000,
        scores,
        snr_db: Some(18.4),
        model: "telephone".to_owned(),
        ..Evidence::default()
    };
    let alert = Alert {
        alert_id: alert_id.to_owned(),
        revision: i32::try_from(sequence).unwrap(),
        call_id: format!("call-of-{alert_id}"),
        leg_id: "customer".to_owned(),
        rule: "anger".to_owned(),
        rule_version: 2,
        state: state.into(),
        severity: AlertSeverity::Warning.into(),
        changed_samples: 160_000,
        changed_at: Some(NOW.into()),
        evidence: Some(evidence),
        ..Alert::default()
    };
    let entry = AlertEntry { sequence, node: "a".to_owned(), alert: Some(alert) };
    Update::Alerts(Box::new(WatchAlertsResponse { sequence, message: Some(Message::Alert(entry)) }))
}

/// As [`alert`], by this supervisor.
pub(in crate::cli::watch) fn answered(alert_id: &str, sequence: i64, state: AlertState, reason: &str) -> Update {
    let mut update = alert(alert_id, sequence, state);
    let Update::Alerts(told) = &mut update else { unreachable!("an alert is told") };
    let Some(Message::Alert(entry)) = &mut told.message else { unreachable!("an alert is told") };
    let alert = entry.alert.as_mut().unwrap();
    (alert.actor, alert.actor_reason) = ("ann".to_owned(), reason.to_owned());
    update
}

/// A board on which these things happened.
pub(in crate::cli::watch) fn board_of(updates: impl IntoIterator<Item = Update>) -> Board {
    let mut board = Board::default();
    updates.into_iter().for_each(|update| board.apply(update, NOW));
    board
}

/// A call of one customer, who is angry with this probability.
pub(in crate::cli::watch) fn call(session_id: &str, angry: f32) -> LiveCall {
    let score = |label: &str, probability| Score { label: label.to_owned(), probability };
    let scores = vec![score("angry", angry), score("neutral", 1.0 - angry)];
    let (label, confidence) = if angry > 0.5 { ("angry", angry) } else { ("neutral", 1.0 - angry) };
    let leg = LiveLeg {
        leg_id: "customer".to_owned(),
        role: Role::Customer.into(),
        analysed: true,
        position_samples: 80_000,
        smoothed: Some(Emotion { label: label.to_owned(), confidence, scores }),
        speech_ratio: 0.75,
        ..LiveLeg::default()
    };
    LiveCall {
        session_id: session_id.to_owned(),
        call_id: format!("call-{session_id}"),
        node: "a".to_owned(),
        began_at: Some(NOW.into()),
        sample_rate_hertz: 8000,
        legs: vec![leg],
        ..LiveCall::default()
    }
}

/// A whole round.
pub(in crate::cli::watch) fn round(calls: impl IntoIterator<Item = LiveCall>, ended: &[&str]) -> Update {
    Update::Calls(WatchCallsResponse {
        calls: calls.into_iter().collect(),
        ended_session_ids: ended.iter().map(|&id| id.to_owned()).collect(),
        last_of_round: true,
        nodes: vec!["a".to_owned()],
    })
}

fn shown(board: &Board) -> Vec<&str> {
    board.rows(NOW).iter().map(|row| row.call.session_id.as_str()).collect()
}

#[test]
fn calls_come_change_and_go() {
    let mut board = board_of([Update::Connected, round([call("1", 0.2), call("2", 0.2)], &[])]);
    assert_eq!(shown(&board), ["1", "2"]);
    let mut pressing = call("2", 0.8);
    pressing.legs[0].alerts = vec![OpenAlert { state: AlertState::Firing.into(), ..OpenAlert::default() }];
    board.apply(round([pressing], &[]), NOW);
    assert_eq!(shown(&board), ["2", "1"], "those with alerts come first");
    board.apply(round([], &["2"]), NOW);
    assert_eq!((shown(&board), board.live()), (vec!["1"], 1));
}

#[test]
fn after_a_break_only_calls_that_are_told_again_live_on() {
    let mut board = board_of([Update::Connected, round([call("1", 0.2), call("2", 0.2)], &[])]);
    board.apply(Update::Disconnected { problem: "gone".to_owned(), again_in: Duration::ZERO }, NOW);
    let later = NOW + Duration::from_secs(9);
    board.apply(Update::Disconnected { problem: "still".to_owned(), again_in: Duration::ZERO }, later);
    assert_eq!(board.link(), &Link::Disconnected { problem: "still".to_owned(), since: NOW });
    assert_eq!(shown(&board), ["1", "2"], "what was known last stays to be seen");
    board.apply(Update::Connected, later);
    board.apply(round([call("2", 0.2), call("3", 0.2)], &[]), later);
    assert_eq!(shown(&board), ["2", "3"]);
}

#[test]
fn a_change_that_comes_again_or_late_changes_nothing() {
    let mut board = board_of([
        alert("a", 3, AlertState::Resolved),
        alert("a", 2, AlertState::Firing),
        alert("b", 4, AlertState::Firing),
        alert("b", 4, AlertState::Firing),
    ]);
    let states: Vec<_> = board.alerts().iter().map(|entry| (alert_id(entry), state(entry))).collect();
    assert_eq!(states, [("b", AlertState::Firing), ("a", AlertState::Resolved)]);
    assert_eq!((board.firing(), board.sequence()), (1, 4));
    board.apply(Update::Anew, NOW);
    assert!(board.alerts().is_empty() && board.selected().is_none());
    // Another journal counts from the beginning.
    board.apply(alert("c", 2, AlertState::Firing), NOW);
    assert_eq!(board.sequence(), 2);
}

#[test]
fn who_answered_an_alert_stays_known_when_it_changes() {
    let mut board = board_of([alert("a", 1, AlertState::Firing)]);
    assert_eq!(board.answer(), None);
    board.apply(answered("a", 2, AlertState::Snoozed, "known"), NOW);
    board.apply(alert("a", 3, AlertState::Firing), NOW);
    board.apply(alert("a", 4, AlertState::Resolved), NOW);
    let answer = Answer { state: AlertState::Snoozed, actor: "ann".to_owned(), reason: "known".to_owned() };
    assert_eq!(board.answer(), Some(&answer));
    board.apply(Update::Anew, NOW);
    board.apply(alert("a", 1, AlertState::Firing), NOW);
    assert_eq!(board.answer(), None);
}

#[test]
fn a_selection_stays_with_its_alert() {
    let mut board = board_of([alert("a", 1, AlertState::Firing)]);
    assert_eq!(board.selected().unwrap().alert_id, "a");
    board.apply(alert("b", 2, AlertState::Firing), NOW);
    assert_eq!((board.selected().unwrap().alert_id.as_str(), board.selected_index()), ("a", Some(1)));
    board.select(-7);
    assert_eq!(board.selected_index(), Some(0));
    board.select(9);
    assert_eq!(board.selected().unwrap().alert_id, "a");
    Board::default().select(1);
}

#[test]
fn alerts_that_are_over_do_not_pile_up() {
    let mut board = board_of((1..=200).map(|at| alert(&at.to_string(), at, AlertState::Resolved)));
    assert_eq!((board.alerts().len(), alert_id(board.alerts()[0])), (RESOLVED_SHOWN, "200"));
    board.apply(
        Update::Alerts(Box::new(WatchAlertsResponse {
            sequence: 300,
            message: Some(Message::Missed(Missed { entries: 7 })),
        })),
        NOW,
    );
    assert_eq!((board.missed(), board.sequence()), (7, 300));
}

#[test]
fn a_trend_compares_with_ten_seconds_before() {
    let mut board = board_of([Update::Connected]);
    let mut told = Vec::new();
    let angry = [0.55, 0.55, 0.56, 0.6, 0.7, 0.8, 0.8, 0.8, 0.8, 0.8, 0.8, 0.8, 0.8];
    for (angry, second) in angry.into_iter().zip((0..).step_by(2)) {
        let now = NOW + Duration::from_secs(second);
        board.apply(round([call("1", angry)], &[]), now);
        told.push(board.rows(now)[0].trend);
    }
    assert_eq!(told[..3], [Trend::Unknown; 3]);
    assert_eq!(told[5], Trend::Rising);
    assert_eq!(told[12], Trend::Steady);
    let now = NOW + Duration::from_secs(26);
    board.apply(round([call("1", 0.55)], &[]), now);
    assert_eq!(board.rows(now)[0].trend, Trend::Falling);
}
