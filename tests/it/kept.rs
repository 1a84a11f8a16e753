//! What a server's journal holds of its calls, and what it holds no more.

use std::collections::HashMap;

use tonic::Code;
use undertone::{
    call::EndReason,
    config::Config,
    decision::{
        Rules,
        alert::{Attribution, Reason, State},
    },
    journal::{Alert, Audit, Ended, Entry, Kind, Options, Query, Record},
    model::manifest::sha256_hex,
    policy::{Mode, Policy},
    server::proto::{
        self, AnalyzeConfig, ControlAction, analyze_request::Message, analyze_response::Message as Response,
        emotion_service_client::EmotionServiceClient,
    },
    session::{Denied, Forgotten},
};

use crate::{
    harness::{ALWAYS, Call, Closed, Harness, connect, customer, get, line, voice, within},
    journal::{fill_up, next},
    nats::Nats,
    startup::Program,
};

fn of_subject(call_id: &str, subject: &str) -> AnalyzeConfig {
    let mut config = customer(call_id);
    config.tags = HashMap::from([("queue".to_owned(), "sales".to_owned())]);
    config.legs[0].subject = Some(subject.to_owned());
    config
}

fn by() -> Attribution {
    Attribution { actor: "officer".to_owned(), reason: "he asked".to_owned() }
}

impl Harness {
    pub(crate) async fn kept(&self, call_id: &str) -> Vec<Entry> {
        self.server.sessions().journal().call(call_id).await.unwrap()
    }

    pub(crate) async fn audits(&self) -> Vec<Audit> {
        let query = Query { kinds: vec![Kind::Audit], ..Query::default() };
        let entries = self.server.sessions().journal().read_all(query).await.unwrap();
        let audit = |entry: Entry| match entry.draft.record {
            Record::Audit(audit) => audit,
            other => panic!("{other:?}"),
        };
        entries.into_iter().map(audit).collect()
    }

    /// A call of this configuration that speaks for so long.
    pub(crate) async fn spoken(&self, config: AnalyzeConfig, seconds: f32) -> Closed {
        let call = self.call(config).await;
        call.speak(&voice(seconds)).await;
        call.end().await
    }

    /// How a leg ended, once the journal says so.
    pub(crate) async fn ended(&self, call_id: &str) -> Ended {
        eventually!(self.kept(call_id).await.iter().any(|entry| matches!(entry.draft.record, Record::Ended(_))), true);
        let ended = |entry: Entry| match entry.draft.record {
            Record::Ended(ended) => Some(ended),
            _ => None,
        };
        self.kept(call_id).await.into_iter().find_map(ended).unwrap()
    }
}

fn names(entries: &[Entry]) -> Vec<&'static str> {
    let name = |entry: &Entry| match entry.draft.record {
        Record::Began(_) => "began",
        Record::Ended(_) => "ended",
        Record::Timeline(_) => "timeline",
        Record::Alert(_) => "alert",
        Record::Action(_) => "action",
        Record::Subject(_) => "subject",
        Record::Audit(_) => "audit",
    };
    entries.iter().map(name).collect()
}

fn alerts(entries: &[Entry]) -> Vec<&Alert> {
    entries
        .iter()
        .filter_map(|entry| match &entry.draft.record {
            Record::Alert(alert) => Some(&**alert),
            _ => None,
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_is_kept_from_begin_to_end() {
    let harness = Harness::start().await;
    let closed = harness.spoken(of_subject("c", "caller-7"), 12.0).await;
    assert_eq!(closed.status.map_err(|status| status.to_string()), Ok(()));
    let ended = harness.ended("c").await;
    assert_eq!((ended.reason, ended.received_samples), (EndReason::Completed, 96_000));
    assert!(ended.scored_windows > 5 && ended.shares.len() == 6, "{ended:?}");
    let kept = harness.kept("c").await;
    assert_eq!(names(&kept), ["began", "timeline", "subject", "ended"]);
    assert!(kept.iter().all(|entry| entry.draft.subject.as_deref() == Some("caller-7")));
    let Record::Began(began) = &kept[0].draft.record else { panic!("{:?}", kept[0]) };
    assert_eq!((began.tags["queue"].as_str(), began.model.as_str(), began.analysed), ("sales", "tiny", true));
    let Record::Timeline(timeline) = &kept[1].draft.record else { panic!("{:?}", kept[1]) };
    assert!((2..=3).contains(&timeline.points.len()), "{timeline:?}");
    for point in &timeline.points {
        assert!(point.end_samples > point.start_samples && point.end_samples <= 96_000, "{point:?}");
        let sum: f32 = point.probabilities.iter().sum();
        assert!(point.probabilities.is_empty() || (sum - 1.0).abs() < 0.01, "{point:?}");
    }
    assert_eq!(names(&harness.server.sessions().journal().subject("caller-7").await.unwrap()), ["subject"]);
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_vanishes_leaves_a_summary() {
    let harness = Harness::start().await;
    let (address, cut) = line(harness.server.grpc()).await;
    let mut call = Call::open(EmotionServiceClient::new(connect(address).await)).await;
    call.send(Message::Config(customer("c"))).await;
    call.speak(&voice(6.0)).await;
    call.event().await;
    cut.abort();
    let ended = harness.ended("c").await;
    assert_eq!(ended.reason, EndReason::Vanished);
    assert!(ended.received_samples > 0);
    eventually!(harness.live_legs(), 0);
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_audio_and_no_telephone_number_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("journal.db");
    let harness = Harness::with(|config| config.journal.path = Some(path)).await;
    let number = "+4930123456";
    let mut tagged = customer("c");
    tagged.tags = HashMap::from([("ani".to_owned(), number.to_owned())]);
    let mut of_leg = customer("c");
    of_leg.legs[0].leg_id = Some("tel:5550100".to_owned());
    let by_subject = [of_subject("c", number), of_subject("c", &format!("tel:{number}"))];
    for refused in by_subject.into_iter().chain([tagged, of_leg, customer(number)]) {
        let status = harness.spoken(refused, 0.1).await.refused(Code::InvalidArgument);
        assert!(status.message().contains("telephone number"), "{status:?}");
    }
    harness.server.sessions().set_rules(Rules::parse(ALWAYS).unwrap());
    let audio = voice(12.0);
    let call = harness.call(of_subject("c", "caller-7")).await;
    call.speak(&audio).await;
    call.end().await;
    harness.ended("c").await;
    harness.stop().await;
    let files = std::fs::read_dir(dir.path()).unwrap();
    let bytes: Vec<u8> = files.flat_map(|file| std::fs::read(file.unwrap().path()).unwrap()).collect();
    let holds = |part: &[u8]| bytes.windows(part.len()).any(|window| window == part);
    assert!(holds(b"caller-7") && holds(b"always"), "the files are not read right");
    assert!(!holds(number.as_bytes()) && !holds(&number.as_bytes()[1..]));
    for part in audio.chunks_exact(24).step_by(97) {
        assert!(!holds(part), "audio is kept");
        let as_numbers: Vec<String> = part.iter().map(u8::to_string).collect();
        assert!(!holds(as_numbers[..8].join(",").as_bytes()), "audio is kept as numbers");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn withdrawn_consent_leaves_nothing_that_was_heard() {
    let harness = Harness::start().await;
    harness.server.sessions().set_rules(Rules::parse(ALWAYS).unwrap());
    let mut call = harness.call(of_subject("c", "caller-7")).await;
    call.speak(&voice(8.0)).await;
    loop {
        match call.next().await {
            Some(Ok(Response::Alert(_))) => break,
            Some(Ok(_)) => {}
            closed => panic!("no alert, but {closed:?}"),
        }
    }
    eventually!(names(&harness.kept("c").await).contains(&"alert"), true);
    call.control(ControlAction::WithdrawConsent).await;
    call.speak(&voice(2.0)).await;
    call.end().await.summaries(proto::EndReason::ConsentWithdrawn);
    let ended = harness.ended("c").await;
    assert_eq!((ended.reason, ended.shares.len(), ended.scored_windows), (EndReason::ConsentWithdrawn, 0, 0));
    let kept = harness.kept("c").await;
    assert_eq!(names(&kept), ["alert", "ended"], "{kept:?}");
    let [alert] = alerts(&kept).try_into().unwrap();
    assert_eq!((alert.state, alert.reason), (State::Resolved, Reason::ConsentWithdrawn));
    assert!(alert.evidence.scores.is_empty() && alert.evidence.level == 0.0, "{alert:?}");
    let told = harness.audits().await.into_iter().find_map(|audit| match audit {
        Audit::ConsentWithdrawn { call_id, actor, entries, .. } => Some((call_id, actor, entries)),
        _ => None,
    });
    let (call_id, actor, entries) = told.unwrap();
    assert_eq!((call_id.as_str(), actor.as_str()), ("c", "client"));
    assert!(entries >= 2, "{entries}");
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn consent_can_be_withdrawn_from_outside_while_the_call_lives_and_after() {
    let harness = Harness::start().await;
    let sessions = harness.server.sessions();
    let mut call = harness.call(of_subject("c", "caller-7")).await;
    call.speak(&voice(4.0)).await;
    call.event().await;
    let unknown = sessions.withdraw_consent("c", Some("agent"), by()).await;
    assert_eq!(unknown, Err(Denied::Unknown { what: "leg", id: "c/agent".to_owned() }));
    eventually!(harness.kept("c").await.is_empty(), false);
    let forgotten = within("the withdrawal", sessions.withdraw_consent("c", None, by())).await.unwrap();
    assert_eq!(forgotten, Forgotten { live_legs: 1, entries: 1 });
    call.speak(&voice(1.0)).await;
    let closed = call.end().await;
    let summaries = closed.summaries(proto::EndReason::ConsentWithdrawn);
    assert!(summaries[0].shares.is_empty());
    harness.ended("c").await;
    assert_eq!(names(&harness.kept("c").await), ["ended"]);
    // After its end: what is kept goes, and there is nothing to stop.
    let forgotten = sessions.withdraw_consent("c", None, by()).await.unwrap();
    assert_eq!(forgotten, Forgotten { live_legs: 0, entries: 1 });
    assert_eq!(harness.kept("c").await, []);
    let unknown = sessions.withdraw_consent("never", None, by()).await;
    assert_eq!(unknown, Err(Denied::Unknown { what: "call", id: "never".to_owned() }));
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_and_a_subject_can_be_deleted() {
    let harness = Harness::start().await;
    let sessions = harness.server.sessions();
    for (call_id, subject) in [("a", "caller-7"), ("b", "caller-7"), ("c", "caller-8")] {
        harness.spoken(of_subject(call_id, subject), 6.0).await;
        harness.ended(call_id).await;
    }
    assert_eq!(sessions.journal().subject("caller-7").await.unwrap().len(), 2);
    assert_eq!(sessions.delete_call("a", by()).await.unwrap().entries, 4);
    assert_eq!(sessions.journal().subject("caller-7").await.unwrap().len(), 1);
    assert_eq!(sessions.delete_subject("caller-7", by()).await.unwrap().entries, 4);
    assert_eq!(harness.kept("b").await, []);
    assert_eq!(harness.kept("c").await.len(), 4);
    let unknown = sessions.delete_subject("caller-7", by()).await;
    assert_eq!(unknown, Err(Denied::Unknown { what: "subject", id: "caller-7".to_owned() }));
    let told: Vec<_> =
        harness.audits().await.into_iter().filter(|audit| !matches!(audit, Audit::Started { .. })).collect();
    assert!(
        matches!(&told[..], [Audit::CallDeleted { entries: 4, .. }, Audit::SubjectDeleted { entries: 4, .. }]),
        "{told:?}"
    );
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn alerts_are_kept_and_answered() {
    let harness = Harness::start().await;
    let sessions = harness.server.sessions();
    sessions.set_rules(Rules::parse(ALWAYS).unwrap());
    let call = harness.call(customer("c")).await;
    call.speak(&voice(6.0)).await;
    eventually!(alerts(&harness.kept("c").await).len(), 1);
    let alert_id = alerts(&harness.kept("c").await)[0].alert_id.clone();
    let live = sessions.live_calls();
    assert_eq!(live.len(), 1);
    assert_eq!(live[0].legs()[0].alerts.keys().collect::<Vec<_>>(), [&alert_id]);
    sessions.acknowledge(&alert_id, by()).await.unwrap();
    let foreign = sessions.acknowledge("no such alert", by()).await;
    assert_eq!(foreign, Err(Denied::NoAlert { alert_id: "no such alert".to_owned() }));
    call.end().await;
    harness.ended("c").await;
    let kept = harness.kept("c").await;
    let states: Vec<_> = alerts(&kept).iter().map(|alert| (alert.state, alert.actor.as_deref())).collect();
    assert_eq!(states, [(State::Firing, None), (State::Acknowledged, Some("officer")), (State::Resolved, None)]);
    assert!(alerts(&kept)[0].evidence.level > 0.9 && alerts(&kept)[0].evidence.scores.len() == 6);
    assert_eq!(sessions.acknowledge(&alert_id, by()).await, Err(Denied::Over { alert_id }));
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_start_is_kept_with_its_policy_attestation_and_rules() {
    let policy =
        Policy { mode: Mode::AgentTraining, attestation: "works council, 2026-03-01".to_owned(), ..Policy::default() };
    let of_start = policy.clone();
    let harness = Harness::with(|config| config.policy = of_start).await;
    let audits = harness.audits().await;
    let [anger] = &Rules::shipped().rules[..] else { panic!("more rules are shipped than this test knows") };
    let hash = sha256_hex(Rules::shipped_text().as_bytes());
    let rules = format!("{} {}, SHA-256 {hash}", anger.name, anger.version);
    assert_eq!(audits, [Audit::Started { version: env!("CARGO_PKG_VERSION").to_owned(), policy, rules }]);
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_go_on_while_the_journal_is_full() {
    let harness = Harness::with(|config| config.journal.max_bytes = Some(64 * 4096)).await;
    let journal = harness.server.sessions().journal().clone();
    let closed = harness.spoken(customer("before"), 2.0).await;
    assert!(closed.status.is_ok());
    harness.ended("before").await;
    assert_eq!(harness.get("/readyz").0, 200);
    fill_up(&journal).await;
    eventually!(harness.get("/readyz").0, 503);
    assert_eq!(harness.metric("undertone_journal_writable "), "0");
    let closed = harness.spoken(customer("meanwhile"), 6.0).await;
    assert!(closed.status.is_ok() && !closed.events().is_empty());
    // A deletion makes room, and what waited is written.
    harness.server.sessions().delete_call("fill", by()).await.unwrap();
    assert_eq!(harness.ended("meanwhile").await.reason, EndReason::Completed);
    eventually!(harness.get("/readyz").0, 200);
    harness.stop().await;
}

/// Two servers on one NATS server: a supervisor of the one sees and answers what happens on the other.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_sees_and_answers_what_happens_on_another() {
    let Some(nats) = Nats::start() else { return };
    let on = |node: &'static str| {
        let options = nats.options();
        move |config: &mut Config| config.journal = Options { node: Some(node.to_owned()), ..options }
    };
    let (a, b) = (Harness::with(on("a")).await, Harness::with(on("b")).await);
    a.server.sessions().set_rules(Rules::parse(ALWAYS).unwrap());
    let query = Query { kinds: vec![Kind::Alert], ..Query::default() };
    let mut watching = b.server.sessions().journal().subscribe(query).await.unwrap();
    let call = a.call(customer("c")).await;
    call.speak(&voice(6.0)).await;
    let fired = next(&mut watching).await;
    let Record::Alert(alert) = &fired.draft.record else { panic!("{fired:?}") };
    assert_eq!((fired.node.as_str(), alert.state), ("a", State::Firing));
    let answered = b.server.sessions().acknowledge(&alert.alert_id, by());
    within("the answer", answered).await.unwrap();
    // Before the withdrawal takes it away.
    let taken = next(&mut watching).await;
    let forgotten = within("the withdrawal", b.server.sessions().withdraw_consent("c", None, by())).await.unwrap();
    assert_eq!(forgotten.live_legs, 0, "none of b's");
    eventually!(a.server.sessions().live_calls()[0].legs()[0].withdrawn, true);
    let resolved = next(&mut watching).await;
    let states: Vec<State> = alerts(&[taken, resolved]).iter().map(|alert| alert.state).collect();
    assert_eq!(states, [State::Acknowledged, State::Resolved]);
    call.end().await.summaries(proto::EndReason::ConsentWithdrawn);
    b.stop().await;
    a.stop().await;
}

/// A server that is killed says at its next start what became of its calls.
#[tokio::test(flavor = "multi_thread")]
async fn calls_of_a_server_that_was_killed_are_told_as_lost() {
    let dir = tempfile::tempdir().unwrap();
    let options =
        Options { path: Some(dir.path().join("journal.db")), node: Some("a".to_owned()), ..Options::default() };
    let path = options.path.as_ref().unwrap().to_str().unwrap();
    let variables = [("UNDERTONE_JOURNAL__PATH", path), ("UNDERTONE_JOURNAL__NODE", "a")];
    let (program, grpc, admin) = Program::start_with(&variables);
    let mut call = Call::open(EmotionServiceClient::new(connect(grpc).await)).await;
    call.send(Message::Config(customer("c"))).await;
    call.speak(&voice(4.0)).await;
    call.event().await;
    eventually!(get(admin, "/metrics").1.contains("undertone_journal_entries_total{kind=\"call\"} 1"), true);
    // Kills it.
    drop(program);
    let harness = Harness::with(|config| config.journal = options).await;
    assert_eq!(harness.ended("c").await.reason, EndReason::Lost);
    // What was heard is unknown, and not told to be nothing.
    let get = proto::GetCallRequest { call_id: "c".to_owned() };
    let told = harness.supervisor().await.get_call(get).await.unwrap().into_inner();
    let summary = told.legs[0].summary.as_ref().unwrap();
    assert_eq!((summary.end_reason(), summary.speech), (proto::EndReason::Lost, None), "{summary:?}");
    assert!(told.legs[0].ended_at.is_some());
    harness.stop().await;
}
