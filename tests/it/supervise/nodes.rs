//! Two servers on one NATS server: a supervisor of the one sees the other's calls and alerts, whichever dies.

use std::{
    collections::BTreeSet,
    fs,
    net::SocketAddr,
    time::{Duration, SystemTime},
};

use tonic::Code;
use undertone::{
    decision::alert::State,
    journal::{Action, Draft, EngineKind, Entry, Kind, Options, Query, Record},
    server::proto::{
        self as pb, AlertReason, AlertState, CallState, EndReason, analyze_request::Message as Request,
        emotion_service_client::EmotionServiceClient, supervision_service_client::SupervisionServiceClient,
        watch_alerts_response::Message,
    },
};

use super::{Client, Watcher, acknowledge, from, tagged, tags};
use crate::{
    harness::{ALWAYS, Call, Harness, connect, voice, within},
    nats::Nats,
    startup::Program,
};

/// A program on this NATS server.
struct Node {
    program: Option<Program>,
    grpc: SocketAddr,
}

impl Node {
    fn start(nats: &Nats, name: &str, rules: &str) -> Self {
        let url = nats.url();
        let variables = [
            ("UNDERTONE_JOURNAL__ENGINE", "jetstream"),
            ("UNDERTONE_JOURNAL__URL", url.as_str()),
            ("UNDERTONE_JOURNAL__NODE", name),
            ("UNDERTONE_ALERTS__RULES", rules),
        ];
        let (program, grpc, _) = Program::start_with(&variables);
        Self { program: Some(program), grpc }
    }

    /// SIGKILL.
    fn kill(&mut self) {
        drop(self.program.take());
    }

    async fn supervisor(&self) -> Client {
        SupervisionServiceClient::new(connect(self.grpc).await)
    }

    /// A call in which an alert fires.
    async fn alarming(&self, call_id: &str) -> Call {
        let call = Call::open(EmotionServiceClient::new(connect(self.grpc).await)).await;
        call.send(Request::Config(tagged(call_id, "sales"))).await;
        call.speak(&voice(6.0)).await;
        call
    }
}

/// The calls that live, each with its server, and the servers that are known.
async fn live(client: &mut Client) -> (Vec<String>, Vec<String>) {
    let told = client.list_calls(pb::ListCallsRequest::default()).await.unwrap().into_inner();
    (told.live.iter().map(|call| format!("{} on {}", call.call_id, call.node)).collect(), told.nodes)
}

fn strings(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

/// What a supervisor has seen.
#[derive(Default)]
pub(super) struct Seen {
    last: i64,
    pub(super) changes: Vec<(String, AlertState)>,
    revisions: BTreeSet<(String, i32)>,
}

impl Seen {
    pub(super) async fn until(&mut self, watcher: &mut Watcher, call_id: &str, state: AlertState) -> pb::Alert {
        loop {
            let (sequence, alert) = watcher.alert().await;
            assert!(sequence > self.last, "{sequence} after {}", self.last);
            self.last = sequence;
            let key = (alert.alert_id.clone(), alert.revision);
            assert!(self.revisions.insert(key), "told twice: {alert:?}");
            self.changes.push((alert.call_id.clone(), alert.state()));
            if (alert.call_id.as_str(), alert.state()) == (call_id, state) {
                return alert;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_supervisor_sees_every_alert_once_whichever_server_is_killed() {
    let Some(nats) = Nats::start() else { return };
    let dir = tempfile::tempdir().unwrap();
    let rules = dir.path().join("rules.toml");
    fs::write(&rules, ALWAYS).unwrap();
    let rules = rules.to_str().unwrap();
    let (mut a, mut b) = (Node::start(&nats, "a", rules), Node::start(&nats, "b", rules));
    let (mut on_b, mut seen) = (b.supervisor().await, Seen::default());
    let mut watcher = Watcher::of(&mut on_b, from(0)).await;
    let first = a.alarming("first").await;
    let fired = seen.until(&mut watcher, "first", AlertState::Firing).await;
    eventually!(live(&mut on_b).await, (strings(&["first on a"]), strings(&["b", "a"])));
    on_b.acknowledge_alert(acknowledge(&fired.alert_id)).await.unwrap();
    let taken = seen.until(&mut watcher, "first", AlertState::Acknowledged).await;
    assert_eq!(taken.actor, "supervisor-7");

    // The supervisor's server dies, and alerts change meanwhile.
    b.kill();
    assert!(watcher.next().await.is_err());
    first.end().await.summaries(EndReason::Completed);
    let second = a.alarming("second").await;
    let mut on_a = a.supervisor().await;
    let firing = async |client: &mut Client| {
        let request = pb::ListAlertsRequest::default();
        let alerts = client.list_alerts(request).await.unwrap().into_inner().alerts;
        alerts.iter().filter(|entry| entry.alert.as_ref().unwrap().call_id == "second").count()
    };
    eventually!(firing(&mut on_a).await, 1);
    let b = Node::start(&nats, "b", rules);
    let mut on_b = b.supervisor().await;
    let mut watcher = Watcher::of(&mut on_b, from(seen.last)).await;
    seen.until(&mut watcher, "second", AlertState::Firing).await;
    eventually!(live(&mut on_b).await.0, strings(&["second on a"]));

    // The server of the calls dies: they are gone, and their alerts are over when it is back.
    a.kill();
    drop(second);
    eventually!(live(&mut on_b).await, (Vec::new(), strings(&["b"])));
    let a = Node::start(&nats, "a", rules);
    let over = seen.until(&mut watcher, "second", AlertState::Resolved).await;
    assert_eq!((over.reason(), over.revision), (AlertReason::CallEnded, 2));
    let third = a.alarming("third").await;
    third.end().await.summaries(EndReason::Completed);
    seen.until(&mut watcher, "third", AlertState::Resolved).await;
    use AlertState::{Acknowledged, Firing, Resolved};
    let expected = [
        ("first", Firing),
        ("first", Acknowledged),
        ("first", Resolved),
        ("second", Firing),
        ("second", Resolved),
        ("third", Firing),
        ("third", Resolved),
    ];
    let changes: Vec<_> = seen.changes.iter().map(|(call, state)| (call.as_str(), *state)).collect();
    assert_eq!(changes, expected);
    // Whoever comes later, to any server, sees the same.
    let mut all = Watcher::of(&mut a.supervisor().await, from(0)).await;
    assert_eq!(all.changes(expected.len()).await, seen.changes);
    let request = pb::ListCallsRequest { state: CallState::Ended.into(), ..Default::default() };
    let ended = on_b.list_calls(request).await.unwrap().into_inner().ended;
    let ended: Vec<_> =
        ended.iter().map(|leg| (leg.call_id.as_str(), leg.summary.as_ref().unwrap().end_reason())).collect();
    let (done, lost) = (EndReason::Completed, EndReason::Lost);
    assert_eq!(ended, [("first", done), ("second", lost), ("third", done)]);
}

/// Two others are left, and both say that its calls are over: their entries are one.
#[tokio::test(flavor = "multi_thread")]
async fn the_alerts_of_a_server_that_was_killed_are_resolved_by_the_others_once() {
    let Some(nats) = Nats::start() else { return };
    let dir = tempfile::tempdir().unwrap();
    let rules = dir.path().join("rules.toml");
    fs::write(&rules, ALWAYS).unwrap();
    let rules = rules.to_str().unwrap();
    let [mut a, b, c] = ["a", "b", "c"].map(|name| Node::start(&nats, name, rules));
    let (mut on_b, mut seen) = (b.supervisor().await, Seen::default());
    let mut watcher = Watcher::of(&mut on_b, from(0)).await;
    let (lost, on_c) = (a.alarming("lost").await, c.alarming("lives").await);
    let fired = seen.until(&mut watcher, "lost", AlertState::Firing).await;
    eventually!(live(&mut on_b).await.1, strings(&["b", "a", "c"]));
    a.kill();
    drop(lost);
    let over = seen.until(&mut watcher, "lost", AlertState::Resolved).await;
    assert_eq!((over.reason(), over.revision), (AlertReason::CallEnded, 2));
    assert_eq!(over.alert_id, fired.alert_id);
    let ended = async |client: &mut Client| {
        let request = pb::ListCallsRequest { state: CallState::Ended.into(), ..Default::default() };
        let ended = client.list_calls(request).await.unwrap().into_inner().ended;
        ended.iter().map(|leg| (leg.call_id.clone(), leg.summary.as_ref().unwrap().end_reason())).collect::<Vec<_>>()
    };
    eventually!(ended(&mut on_b).await, [("lost".to_owned(), EndReason::Lost)]);
    let status = on_b.acknowledge_alert(acknowledge(&fired.alert_id)).await.unwrap_err();
    assert_eq!(status.code(), Code::FailedPrecondition, "{status:?}");

    // It comes back, finds that all is said, and the others go on.
    let a = Node::start(&nats, "a", rules);
    a.alarming("again").await.end().await.summaries(EndReason::Completed);
    seen.until(&mut watcher, "again", AlertState::Resolved).await;
    on_c.end().await.summaries(EndReason::Completed);
    seen.until(&mut watcher, "lives", AlertState::Resolved).await;
    let of_lost: Vec<AlertState> =
        seen.changes.iter().filter(|(call, _)| call == "lost").map(|(_, state)| *state).collect();
    assert_eq!(of_lost, [AlertState::Firing, AlertState::Resolved]);
    let ends = ended(&mut on_b).await;
    assert_eq!(ends.iter().filter(|(call, _)| call == "lost").count(), 1, "{ends:?}");
    let everything = Watcher::of(&mut a.supervisor().await, from(0)).await.changes(seen.changes.len()).await;
    assert_eq!(everything, seen.changes, "whoever comes later sees the same");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_asked_of_one_server_is_done_on_the_other() {
    let Some(nats) = Nats::start() else { return };
    let on = async |node: &str| {
        let options = Options {
            engine: EngineKind::Jetstream,
            url: nats.url(),
            node: Some(node.to_owned()),
            ..Options::default()
        };
        Harness::with(|config| config.journal = options).await.alarms()
    };
    let (a, b) = (on("a").await, on("b").await);
    let (mut on_b, mut on_a) = (b.supervisor().await, a.supervisor().await);
    let interval = Some(prost_types::Duration { seconds: 0, nanos: 100_000_000 });
    let watch = pb::WatchCallsRequest { interval, ..Default::default() };
    let mut rounds = on_b.watch_calls(watch).await.unwrap().into_inner();
    // Registered on b, opened on a.
    let registration =
        pb::RegisterCallRequest { call_id: "c".to_owned(), tags: tags("sales"), ..pb::RegisterCallRequest::default() };
    on_b.register_call(registration).await.unwrap();
    eventually!(a.server.sessions().registration("c").is_some(), true);
    let call = a.call(crate::harness::customer("c")).await;
    call.speak(&voice(6.0)).await;
    let seen = loop {
        let told = within("a round", rounds.message()).await.unwrap().unwrap();
        if let Some(call) = told.calls.into_iter().find(|call| !call.legs[0].alerts.is_empty()) {
            break call;
        }
    };
    assert_eq!((seen.node.as_str(), seen.tags["queue"].as_str()), ("a", "sales"));
    let smoothed = seen.legs[0].smoothed.as_ref().unwrap();
    assert!((smoothed.scores.iter().map(|score| score.probability).sum::<f32>() - 1.0).abs() < 1e-3, "{smoothed:?}");
    let alert_id = seen.legs[0].alerts[0].alert_id.clone();
    let snooze = pb::SnoozeAlertRequest {
        alert_id: alert_id.clone(),
        snooze: Some(prost_types::Duration { seconds: 60, nanos: 0 }),
        actor: "supervisor-7".to_owned(),
        reason: "known to us".to_owned(),
    };
    on_b.snooze_alert(snooze).await.unwrap();
    // Who asked for it on b, and what a did, are in the journal of both.
    let of_kind = |kind| Query { kinds: vec![kind], ..Query::default() };
    let asked = a.server.sessions().journal().read_all(of_kind(Kind::Action)).await.unwrap();
    let is_snooze = |entry: &Entry| match &entry.draft.record {
        Record::Action(Action::Snooze { alert_id: of, actor, reason, .. }) => {
            (of, actor.as_str(), reason.as_str()) == (&alert_id, "supervisor-7", "known to us") && entry.node == "b"
        }
        _ => false,
    };
    assert_eq!(asked.iter().filter(|entry| is_snooze(entry)).count(), 1, "{asked:?}");
    let told = b.server.sessions().journal().read_all(of_kind(Kind::Alert)).await.unwrap();
    let is_snoozed = |entry: &Entry| match &entry.draft.record {
        Record::Alert(alert) => {
            (alert.state, alert.actor.as_deref(), alert.actor_reason.as_deref(), entry.node.as_str())
                == (State::Snoozed, Some("supervisor-7"), Some("known to us"), "a")
        }
        _ => false,
    };
    assert_eq!(told.iter().filter(|entry| is_snoozed(entry)).count(), 1, "{told:?}");
    // The clock of whoever was asked may be far behind: it is silent for as long all the same.
    let (alert, now) = (alert_id.clone(), SystemTime::now());
    let (actor, reason) = ("supervisor-9".to_owned(), "behind".to_owned());
    let until = now - Duration::from_secs(3600);
    let behind = Action::Snooze { alert_id: alert, actor, reason, until, lasts: Some(Duration::from_secs(600)) };
    b.server.sessions().journal().append(vec![Draft::new(now, Record::Action(behind))]).await.unwrap();
    let snoozed_until = async || {
        let told = a.server.sessions().journal().read_all(of_kind(Kind::Alert)).await.unwrap();
        told.iter().find_map(|entry| match &entry.draft.record {
            Record::Alert(alert) if alert.actor.as_deref() == Some("supervisor-9") => alert.snoozed_until,
            _ => None,
        })
    };
    eventually!(snoozed_until().await.is_some_and(|until| until >= now + Duration::from_secs(599)), true);
    let withdraw = pb::WithdrawConsentRequest {
        call_id: "c".to_owned(),
        leg_id: None,
        actor: "supervisor-7".to_owned(),
        reason: "he asked".to_owned(),
    };
    assert_eq!(on_b.withdraw_consent(withdraw).await.unwrap().into_inner().live_legs, 0, "none of b's own");
    loop {
        let told = within("a round", rounds.message()).await.unwrap().unwrap();
        if told.calls.iter().any(|call| call.legs[0].consent_withdrawn && call.legs[0].smoothed.is_none()) {
            break;
        }
    }
    call.end().await.summaries(EndReason::ConsentWithdrawn);
    loop {
        let told = within("a round", rounds.message()).await.unwrap().unwrap();
        if told.ended_session_ids.contains(&seen.session_id) {
            break;
        }
    }
    let over = on_b.acknowledge_alert(acknowledge(&alert_id)).await.unwrap_err();
    assert_eq!(over.code(), Code::FailedPrecondition, "{over:?}");
    // What is left of the registration says no, on both.
    eventually!(a.call(crate::harness::customer("c")).await.closed().await.status.is_err(), true);
    let refused = b.call(crate::harness::customer("c")).await.closed().await;
    refused.refused(Code::FailedPrecondition);
    let delete =
        pb::DeleteCallRequest { call_id: "c".to_owned(), actor: "officer".to_owned(), reason: "he asked".to_owned() };
    on_a.delete_call(delete).await.unwrap();
    eventually!(b.server.sessions().registration("c").is_some(), false);
    drop(rounds);
    b.stop().await;
    // One that goes says so.
    eventually!(live(&mut on_a).await.1, strings(&["a"]));
    a.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alert_of_another_servers_own_journal_is_not_found() {
    let (a, b) = (Harness::alarmed().await, Harness::alarmed().await);
    let mut watcher = Watcher::of(&mut a.supervisor().await, from(0)).await;
    let call = a.alarming("c", "sales").await;
    let (_, fired) = watcher.alert().await;
    let status = b.supervisor().await.acknowledge_alert(acknowledge(&fired.alert_id)).await.unwrap_err();
    assert_eq!(status.code(), Code::NotFound);
    call.end().await;
    let (_, over) = watcher.alert().await;
    assert_eq!((over.state(), over.actor.as_str()), (AlertState::Resolved, ""));
    assert!(matches!(watcher.next().await.unwrap().message, Some(Message::Heartbeat(_))));
    b.stop().await;
    a.stop().await;
}
