//! What a watcher of alerts is told by each filter, against all that was told: what passes comes, and nothing else.

use tonic_types::StatusExt as _;
use undertone::{
    decision::Rules,
    policy::{Mode, Policy},
    server::proto::{self as pb, Alert, AlertFilter, AlertSeverity, AlertState, Role, watch_alerts_response::Message},
};

use super::{Client, Watcher, acknowledge, from, tagged, tags};
use crate::harness::{Harness, leg, voice, within};

/// Two rules, one of them for one queue; alerts that last become critical.
const RULES: &str = "
    [[rule]]
    name = 'any'
    emotions = ['angry', 'disgust', 'fear', 'happy', 'neutral', 'sad']
    roles = ['CUSTOMER', 'AGENT']
    enter = 0.9
    min_speech_seconds = 0.0
    min_windows = 1
    grace_seconds = 0.0
    critical_after_seconds = 2.0

    [[rule]]
    name = 'of-sales'
    emotions = ['angry', 'disgust', 'fear', 'happy', 'neutral', 'sad']
    tags = { queue = 'sales' }
    enter = 0.9
    min_speech_seconds = 0.0
    min_windows = 1
    grace_seconds = 0.0
    critical_after_seconds = 1000.0
";

/// The sequence and the alert of all changes up to this sequence that a filter lets through.
async fn told(mut client: Client, filter: AlertFilter, end: i64) -> Vec<(i64, Alert)> {
    let heartbeat = Some(prost_types::Duration { seconds: 1, nanos: 0 });
    let request = pb::WatchAlertsRequest { filter: Some(filter), heartbeat, ..from(0) };
    let mut watcher = client.watch_alerts(request).await.unwrap().into_inner();
    let mut told = Vec::new();
    loop {
        let word = within("a word", watcher.message()).await.unwrap().unwrap();
        match word.message.unwrap() {
            Message::Alert(entry) => told.push((entry.sequence, entry.alert.unwrap())),
            Message::Heartbeat(_) if word.sequence >= end => return told,
            Message::Heartbeat(_) => {}
            Message::Missed(missed) => panic!("{missed:?}"),
        }
    }
}

/// A filter and what it means.
type Case = (&'static str, AlertFilter, fn(&Alert) -> bool);

fn cases() -> Vec<Case> {
    let all = AlertFilter::default;
    let state = |state: AlertState| AlertFilter { states: vec![state.into()], ..all() };
    let severity = |severity: AlertSeverity| AlertFilter { severities: vec![severity.into()], ..all() };
    let role = |role: Role| AlertFilter { roles: vec![role.into()], ..all() };
    let rules = |rules: &[&str]| AlertFilter { rules: rules.iter().map(|&rule| rule.to_owned()).collect(), ..all() };
    vec![
        ("firing", state(AlertState::Firing), |alert| alert.state() == AlertState::Firing),
        ("acknowledged", state(AlertState::Acknowledged), |alert| alert.state() == AlertState::Acknowledged),
        ("snoozed", state(AlertState::Snoozed), |alert| alert.state() == AlertState::Snoozed),
        ("resolved", state(AlertState::Resolved), |alert| alert.state() == AlertState::Resolved),
        ("warning", severity(AlertSeverity::Warning), |alert| alert.severity() == AlertSeverity::Warning),
        ("critical", severity(AlertSeverity::Critical), |alert| alert.severity() == AlertSeverity::Critical),
        ("customer", role(Role::Customer), |alert| alert.role() == Role::Customer),
        ("agent", role(Role::Agent), |alert| alert.role() == Role::Agent),
        ("rule", rules(&["of-sales"]), |alert| alert.rule == "of-sales"),
        ("rules", rules(&["of-sales", "of-nobody"]), |alert| alert.rule == "of-sales"),
        ("tag", AlertFilter { tags: tags("claims"), ..all() }, |alert| alert.tags["queue"] == "claims"),
        ("call", AlertFilter { call_id: Some("a".to_owned()), ..all() }, |alert| alert.call_id == "a"),
        ("several fields", AlertFilter { tags: tags("sales"), ..severity(AlertSeverity::Critical) }, |alert| {
            alert.tags["queue"] == "sales" && alert.severity() == AlertSeverity::Critical
        }),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn each_filter_lets_through_what_it_names_and_nothing_else() {
    let policy = Policy { mode: Mode::AgentTraining, attestation: "works council".to_owned(), ..Policy::default() };
    let harness = Harness::with(|config| config.policy = policy).await;
    harness.server.sessions().set_rules(Rules::parse(RULES).unwrap());
    let mut client = harness.supervisor().await;
    let mut watcher = Watcher::of(&mut client, pb::WatchAlertsRequest::default()).await;
    // A customer of sales, whose alerts last; an agent of claims; a customer of claims, who is answered.
    let lasting = harness.call(tagged("a", "sales")).await;
    lasting.speak(&voice(10.0)).await;
    lasting.end().await;
    let mut agent = tagged("b", "claims");
    agent.legs = vec![leg(Role::Agent)];
    let agent = harness.call(agent).await;
    agent.speak(&voice(3.0)).await;
    agent.end().await;
    let answered = harness.call(tagged("c", "claims")).await;
    answered.speak(&voice(3.0)).await;
    let alert_id = loop {
        let (_, alert) = watcher.alert().await;
        if alert.call_id == "c" {
            break alert.alert_id;
        }
    };
    client.acknowledge_alert(acknowledge(&alert_id)).await.unwrap();
    let snooze = Some(prost_types::Duration { seconds: 600, nanos: 0 });
    let (actor, reason) = ("supervisor-7".to_owned(), "known".to_owned());
    client.snooze_alert(pb::SnoozeAlertRequest { alert_id, snooze, actor, reason }).await.unwrap();
    answered.end().await;
    let end = loop {
        let (sequence, alert) = watcher.alert().await;
        if (alert.call_id.as_str(), alert.state()) == ("c", AlertState::Resolved) {
            break sequence;
        }
    };

    let all = told(client.clone(), AlertFilter::default(), end).await;
    let watching = cases().into_iter().map(|(name, filter, passes)| {
        let client = client.clone();
        async move { (name, passes, told(client, filter, end).await) }
    });
    for (name, passes, came) in futures_util::future::join_all(watching).await {
        let expected: Vec<_> = all.iter().filter(|(_, alert)| passes(alert)).cloned().collect();
        assert!(!expected.is_empty() && expected.len() < all.len(), "{name} tells nothing apart in {all:?}");
        assert_eq!(came, expected, "{name}");
    }
    let nothing = AlertFilter { rules: vec!["of-nobody".to_owned()], ..AlertFilter::default() };
    assert_eq!(told(client.clone(), nothing, end).await, []);
    let unspecified = AlertFilter { severities: vec![0], ..AlertFilter::default() };
    let request = pb::WatchAlertsRequest { filter: Some(unspecified), ..from(0) };
    let status = client.watch_alerts(request).await.unwrap_err();
    let violations = status.get_error_details().bad_request().unwrap().field_violations.clone();
    assert!(violations[0].field.contains("severities"), "{violations:?}");
    harness.stop().await;
}
