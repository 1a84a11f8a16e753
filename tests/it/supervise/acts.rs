//! What supervisors do: acknowledge, snooze, withdraw consent, delete.

use std::time::SystemTime;

use prost_types::Duration;
use tonic::Code;
use tonic_types::StatusExt as _;
use undertone::{
    decision::alert::State,
    journal::{Audit, Draft, Record},
    server::proto::{self as pb, AlertReason, AlertState, EndReason, Role},
};

use super::{Watcher, acknowledge};
use crate::harness::{Harness, customer, voice};

fn snooze(alert_id: &str, seconds: i64) -> pb::SnoozeAlertRequest {
    let (actor, reason) = ("supervisor-8".to_owned(), "known to us".to_owned());
    pb::SnoozeAlertRequest {
        alert_id: alert_id.to_owned(),
        snooze: Some(Duration { seconds, nanos: 0 }),
        actor,
        reason,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alert_is_acknowledged_and_snoozed_and_all_who_watch_see_by_whom() {
    let harness = Harness::alarmed().await;
    let mut client = harness.supervisor().await;
    let mut watcher = Watcher::of(&mut client, pb::WatchAlertsRequest::default()).await;
    let call = harness.alarming("c", "sales").await;
    let (_, fired) = watcher.alert().await;
    client.acknowledge_alert(acknowledge(&fired.alert_id)).await.unwrap();
    let (_, taken) = watcher.alert().await;
    assert_eq!((taken.state(), taken.reason()), (AlertState::Acknowledged, AlertReason::Acknowledged));
    assert_eq!((taken.actor.as_str(), taken.actor_reason.as_str()), ("supervisor-7", "I listen in"));
    client.snooze_alert(snooze(&fired.alert_id, 600)).await.unwrap();
    let (_, snoozed) = watcher.alert().await;
    assert_eq!((snoozed.state(), snoozed.alert_id.as_str()), (AlertState::Snoozed, fired.alert_id.as_str()));
    assert_eq!((snoozed.actor.as_str(), snoozed.actor_reason.as_str()), ("supervisor-8", "known to us"));
    let lasts = snoozed.snoozed_until.unwrap().seconds - snoozed.changed_at.unwrap().seconds;
    assert!((599..=601).contains(&lasts), "{lasts}");
    // The journal has who did what, and why.
    let kept = harness.server.sessions().journal().call("c").await.unwrap();
    let acts: Vec<_> = kept
        .iter()
        .filter_map(|entry| match &entry.draft.record {
            Record::Alert(alert) => {
                // Kept to the millisecond.
                let until =
                    alert.snoozed_until.map(|until| until.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs());
                Some((alert.state, alert.actor.as_deref()?, alert.actor_reason.as_deref()?, until))
            }
            _ => None,
        })
        .collect();
    assert_eq!(
        acts,
        [
            (State::Acknowledged, "supervisor-7", "I listen in", None),
            (State::Snoozed, "supervisor-8", "known to us", u64::try_from(snoozed.snoozed_until.unwrap().seconds).ok())
        ]
    );
    call.end().await;
    assert_eq!(watcher.alert().await.1.state(), AlertState::Resolved);
    let over = client.acknowledge_alert(acknowledge(&fired.alert_id)).await.unwrap_err();
    assert_eq!(over.code(), Code::FailedPrecondition, "{over:?}");
    assert!(over.get_error_details().precondition_failure().is_some());
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alert_that_there_is_not_is_not_found() {
    let harness = Harness::alarmed().await;
    let mut client = harness.supervisor().await;
    let call = harness.alarming("c", "sales").await;
    let live = harness.server.sessions().live_calls();
    let session_id = live[0].call.session_id;
    // None at all; one of a call that lives; one of a call that never was.
    let unknown = uuid::Uuid::nil();
    for alert_id in ["nothing".to_owned(), format!("{session_id}:0:99"), format!("{unknown}:0:1"), "é".repeat(40)] {
        let status = client.acknowledge_alert(acknowledge(&alert_id)).await.unwrap_err();
        assert_eq!(status.code(), Code::NotFound, "{status:?}");
        assert!(status.message().contains("ListAlerts"), "{status:?}");
        assert_eq!(client.snooze_alert(snooze(&alert_id, 60)).await.unwrap_err().code(), Code::NotFound);
    }
    call.end().await.summaries(EndReason::Completed);
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn values_out_of_range_name_their_field() {
    let harness = Harness::start().await;
    let mut client = harness.supervisor().await;
    let field = |status: tonic::Status| {
        assert_eq!(status.code(), Code::InvalidArgument, "{status:?}");
        status.get_error_details().bad_request().unwrap().field_violations[0].field.clone()
    };
    let nobody = pb::AcknowledgeAlertRequest { actor: String::new(), ..acknowledge("x") };
    assert_eq!(field(client.acknowledge_alert(nobody).await.unwrap_err()), "actor");
    let number = pb::AcknowledgeAlertRequest { actor: "+49 221 1234567".to_owned(), ..acknowledge("x") };
    assert_eq!(field(client.acknowledge_alert(number).await.unwrap_err()), "actor");
    let told = pb::AcknowledgeAlertRequest { reason: "+49 221 1234567".to_owned(), ..acknowledge("x") };
    assert_eq!(field(client.acknowledge_alert(told).await.unwrap_err()), "reason");
    assert_eq!(field(client.snooze_alert(snooze("x", 0)).await.unwrap_err()), "snooze");
    let mixed = Some(Duration { seconds: 10, nanos: -1 });
    let snoozed = pb::SnoozeAlertRequest { snooze: mixed, ..snooze("x", 1) };
    assert_eq!(field(client.snooze_alert(snoozed).await.unwrap_err()), "snooze");
    let unset = pb::SnoozeAlertRequest { snooze: None, ..snooze("x", 1) };
    assert_eq!(field(client.snooze_alert(unset).await.unwrap_err()), "snooze");
    let turned = pb::AcknowledgeAlertRequest { actor: "lead\u{202e}".to_owned(), ..acknowledge("x") };
    assert_eq!(field(client.acknowledge_alert(turned).await.unwrap_err()), "actor");
    let forged = pb::AcknowledgeAlertRequest { reason: "known\nit is over".to_owned(), ..acknowledge("x") };
    assert_eq!(field(client.acknowledge_alert(forged).await.unwrap_err()), "reason");
    let delete = pb::DeleteCallRequest { call_id: "c".to_owned(), actor: "officer".to_owned(), reason: String::new() };
    assert_eq!(field(client.delete_call(delete).await.unwrap_err()), "reason");
    let get = pb::GetCallRequest { call_id: String::new() };
    assert_eq!(field(client.get_call(get).await.unwrap_err()), "call_id");
    let get = pb::GetSubjectRequest { subject: String::new() };
    assert_eq!(field(client.get_subject(get).await.unwrap_err()), "subject");
    let interval = Some(Duration { seconds: 61, nanos: 0 });
    let watch = pb::WatchCallsRequest { interval, ..Default::default() };
    assert_eq!(field(client.watch_calls(watch).await.unwrap_err()), "interval");
    let watch = pb::WatchCallsRequest { interval: mixed, ..Default::default() };
    assert_eq!(field(client.watch_calls(watch).await.unwrap_err()), "interval");
    let heartbeat = Some(Duration { seconds: 0, nanos: 999_999_999 });
    let watch = pb::WatchAlertsRequest { heartbeat, ..Default::default() };
    assert_eq!(field(client.watch_alerts(watch).await.unwrap_err()), "heartbeat");
    let watch = pb::WatchAlertsRequest { heartbeat: mixed, ..Default::default() };
    assert_eq!(field(client.watch_alerts(watch).await.unwrap_err()), "heartbeat");
    let list = pb::ListAlertsRequest { page_size: Some(0), ..Default::default() };
    assert_eq!(field(client.list_alerts(list).await.unwrap_err()), "page_size");
    let list = pb::ListCallsRequest { page_token: "next".to_owned(), ..Default::default() };
    assert_eq!(field(client.list_calls(list).await.unwrap_err()), "page_token");
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deletion_that_is_read_late_stops_no_call_that_began_since() {
    let harness = Harness::start().await;
    let (journal, before) =
        (harness.server.sessions().journal(), SystemTime::now() - std::time::Duration::from_secs(1));
    let deleted = async |call_id: &str, at: SystemTime| {
        let (call_id, actor, reason) = (call_id.to_owned(), "officer".to_owned(), "he asked".to_owned());
        let of_call = Audit::CallDeleted { call_id, actor: actor.clone(), reason: reason.clone(), entries: 1 };
        let of_subject = Audit::SubjectDeleted { subject: "someone".to_owned(), actor, reason, entries: 1 };
        let drafts = [of_call, of_subject].map(|audit| Draft { at, ..Draft::new(at, Record::Audit(audit)) });
        journal.append(drafts.into()).await.unwrap();
    };
    let subject = |call_id: &str| {
        let mut config = crate::harness::customer(call_id);
        config.legs[0].subject = Some("someone".to_owned());
        config
    };
    let withdrawn = || {
        let mut calls: Vec<_> = harness.server.sessions().live_calls();
        calls.sort_by(|a, b| a.call.call_id.cmp(&b.call.call_id));
        calls.iter().map(|call| call.legs()[0].withdrawn).collect::<Vec<bool>>()
    };
    let calls = [harness.call(subject("a")).await, harness.call(subject("b")).await, harness.acknowledged("c").await];
    eventually!(withdrawn().len(), 3);
    deleted("c", before).await;
    // Entries are followed in their order: once these were, those were.
    let live = harness.server.sessions().live_calls();
    let began_at = live.iter().find(|live| live.call.call_id == "a").unwrap().began_at;
    deleted("a", began_at).await;
    eventually!(withdrawn()[0], true);
    assert!(!withdrawn()[2], "c goes on");
    deleted("c", SystemTime::now()).await;
    eventually!(withdrawn(), [true; 3]);
    for call in calls {
        call.end().await.summaries(EndReason::ConsentWithdrawn);
    }
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deletion_of_a_subject_that_is_read_stops_every_stream_of_his_call() {
    let harness = Harness::start().await;
    let leg = |leg_id: &str, subject: Option<&str>| {
        let mut config = customer("c");
        (config.legs[0].leg_id, config.legs[0].subject) = (Some(leg_id.to_owned()), subject.map(str::to_owned));
        config
    };
    let calls = [harness.call(leg("left", Some("someone"))).await, harness.call(leg("right", None)).await];
    eventually!(harness.live_legs(), 2);
    // His own stream is stopped already, so that nothing but the deletion stops the other.
    let (actor, reason) = ("officer".to_owned(), "he asked".to_owned());
    let (call_id, leg_id) = ("c".to_owned(), Some("left".to_owned()));
    let withdraw = pb::WithdrawConsentRequest { call_id, leg_id, actor: actor.clone(), reason: reason.clone() };
    harness.supervisor().await.withdraw_consent(withdraw).await.unwrap();
    let withdrawn = || {
        let live = harness.server.sessions().live_calls();
        live.iter().filter(|call| call.legs()[0].withdrawn).count()
    };
    assert_eq!(withdrawn(), 1);
    let audit = Audit::SubjectDeleted { subject: "someone".to_owned(), actor, reason, entries: 1 };
    let audit = Draft::new(SystemTime::now(), Record::Audit(audit));
    harness.server.sessions().journal().append(vec![audit]).await.unwrap();
    eventually!(withdrawn(), 2);
    for call in calls {
        call.end().await.summaries(EndReason::ConsentWithdrawn);
    }
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn consent_is_withdrawn_and_a_call_is_deleted() {
    let harness = Harness::start().await;
    let mut client = harness.supervisor().await;
    let call = harness.acknowledged("c").await;
    call.speak(&voice(3.0)).await;
    let (actor, reason) = ("agent-3".to_owned(), "he asked".to_owned());
    let (call_id, leg_id) = ("c".to_owned(), Some("customer".to_owned()));
    let withdraw = pb::WithdrawConsentRequest { call_id, leg_id, actor: actor.clone(), reason: reason.clone() };
    let answer = client.withdraw_consent(withdraw.clone()).await.unwrap().into_inner();
    assert_eq!(answer.live_legs, 1);
    let get = || pb::GetCallRequest { call_id: "c".to_owned() };
    let told = client.get_call(get()).await.unwrap().into_inner();
    assert!(told.live[0].legs[0].consent_withdrawn && told.live[0].legs[0].smoothed.is_none(), "{told:?}");
    call.end().await.summaries(EndReason::ConsentWithdrawn);
    eventually!(client.get_call(get()).await.map_or(0, |told| told.into_inner().legs.len()), 1);

    let delete = pb::DeleteCallRequest { call_id: "c".to_owned(), actor, reason };
    let answer = client.delete_call(delete.clone()).await.unwrap().into_inner();
    assert_eq!((answer.live_legs, answer.entries), (0, 1));
    assert_eq!(client.get_call(get()).await.unwrap_err().code(), Code::NotFound);
    assert_eq!(client.delete_call(delete).await.unwrap_err().code(), Code::NotFound);
    // It is remembered, though nothing is left of the call.
    let again = client.withdraw_consent(withdraw).await.unwrap().into_inner();
    assert_eq!((again.live_legs, again.entries), (0, 0));
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subject_is_read_over_time_and_deleted() {
    let harness = Harness::start().await;
    let mut client = harness.supervisor().await;
    for call_id in ["a", "b"] {
        let mut config = customer(call_id);
        config.legs[0].subject = Some("caller-7".to_owned());
        let call = harness.call(config).await;
        call.speak(&voice(6.0)).await;
        call.end().await.summaries(EndReason::Completed);
    }
    let get = || pb::GetSubjectRequest { subject: "caller-7".to_owned() };
    let calls = async |client: &mut super::Client| match client.get_subject(get()).await {
        Ok(told) => told.into_inner().calls,
        Err(status) => {
            assert_eq!(status.code(), Code::NotFound);
            Vec::new()
        }
    };
    eventually!(calls(&mut client).await.len(), 2);
    let told = calls(&mut client).await;
    assert_eq!((told[0].call_id.as_str(), told[1].call_id.as_str()), ("a", "b"));
    assert_eq!((told[0].role(), told[0].subject.as_deref()), (Role::Customer, Some("caller-7")));
    assert_eq!(told[0].summary.as_ref().unwrap().shares.len(), 6);
    let (actor, reason) = ("officer".to_owned(), "he asked".to_owned());
    let delete = pb::DeleteSubjectRequest { subject: "caller-7".to_owned(), actor, reason };
    eventually!(harness.live_legs(), 0);
    assert!(client.delete_subject(delete.clone()).await.unwrap().into_inner().entries >= 6);
    assert_eq!(calls(&mut client).await, []);
    assert_eq!(client.delete_subject(delete).await.unwrap_err().code(), Code::NotFound);
    harness.stop().await;
}
