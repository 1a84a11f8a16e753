//! Alerts and calls as they come.

use tonic::Code;
use tonic_types::StatusExt as _;
use undertone::server::proto::{
    self as pb, AlertFilter, AlertSeverity, AlertState, CallFilter, Role, watch_alerts_response::Message,
};

use super::{Watcher, from, tagged, tags};
use crate::harness::{Harness, customer, leg, voice, within};

#[tokio::test(flavor = "multi_thread")]
async fn a_watcher_sees_each_change_once_and_goes_on_where_he_was() {
    let harness = Harness::alarmed().await;
    let mut client = harness.supervisor().await;
    let mut watcher = Watcher::of(&mut client, pb::WatchAlertsRequest::default()).await;
    let call = harness.alarming("a", "sales").await;
    let (fired_at, fired) = watcher.alert().await;
    assert_eq!((fired.call_id.as_str(), fired.state(), fired.revision), ("a", AlertState::Firing, 1));
    assert_eq!((fired.tags["queue"].as_str(), fired.role()), ("sales", Role::Customer));
    assert!(fired.evidence.unwrap().level > 0.9);
    call.end().await;
    let (resolved_at, resolved) = watcher.alert().await;
    assert_eq!((resolved.alert_id.clone(), resolved.state()), (fired.alert_id, AlertState::Resolved));
    drop(watcher);

    // While nobody watches.
    harness.alarming("b", "sales").await.end().await;
    let mut again = Watcher::of(&mut client, from(fired_at)).await;
    let came = again.changes(3).await;
    let told = |call: &str, state| (call.to_owned(), state);
    let (firing, over) = (AlertState::Firing, AlertState::Resolved);
    assert_eq!(came, [told("a", over), told("b", firing), told("b", over)]);
    let mut all = Watcher::of(&mut client, from(0)).await;
    assert_eq!(all.changes(4).await.len(), 4);
    let mut rest = Watcher::of(&mut client, from(resolved_at)).await;
    assert_eq!(rest.changes(2).await, came[1..]);
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sequence_that_was_never_given_is_out_of_range() {
    let harness = Harness::start().await;
    let mut client = harness.supervisor().await;
    let status = client.watch_alerts(from(1_000_000)).await.unwrap_err();
    assert_eq!(status.code(), Code::OutOfRange, "{status:?}");
    assert!(status.message().contains("1000000") && status.message().contains("resume"), "{status:?}");
    let status = client.watch_alerts(from(-1)).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    let violations = status.get_error_details().bad_request().unwrap().field_violations.clone();
    assert_eq!(violations[0].field, "after_sequence");
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn alerts_are_filtered_by_each_field() {
    let harness = Harness::alarmed().await;
    let mut client = harness.supervisor().await;
    harness.alarming("a", "sales").await.end().await;
    harness.alarming("b", "claims").await.end().await;
    let all = AlertFilter::default;
    let cases = [
        (AlertFilter { states: vec![AlertState::Resolved.into()], ..all() }, vec!["a 4", "b 4"]),
        (AlertFilter { severities: vec![AlertSeverity::Critical.into()], ..all() }, vec![]),
        (AlertFilter { rules: vec!["other".to_owned()], ..all() }, vec![]),
        (
            AlertFilter { rules: vec!["other".to_owned(), "always".to_owned()], ..all() },
            vec!["a 1", "a 4", "b 1", "b 4"],
        ),
        (AlertFilter { roles: vec![Role::Agent.into()], ..all() }, vec![]),
        (AlertFilter { roles: vec![Role::Customer.into()], tags: tags("claims"), ..all() }, vec!["b 1", "b 4"]),
        (AlertFilter { call_id: Some("a".to_owned()), ..all() }, vec!["a 1", "a 4"]),
        (AlertFilter { tags: [("absent".to_owned(), String::new())].into(), ..all() }, vec![]),
    ];
    // The last of all tells that there is nothing more.
    harness.alarming("end", "end").await.end().await;
    let mut last = Watcher::of(&mut client, from(0)).await;
    let mut end = 0;
    for _ in 0..6 {
        end = last.alert().await.0;
    }
    let heartbeat = Some(prost_types::Duration { seconds: 1, nanos: 0 });
    for (filter, expected) in cases {
        let request = pb::WatchAlertsRequest { filter: Some(filter.clone()), heartbeat, ..from(0) };
        let mut watcher = client.watch_alerts(request).await.unwrap().into_inner();
        let mut came = Vec::new();
        loop {
            let told = within("a word", watcher.message()).await.unwrap().unwrap();
            match told.message.unwrap() {
                Message::Alert(entry) => {
                    let alert = entry.alert.unwrap();
                    if alert.call_id != "end" {
                        came.push(format!("{} {}", alert.call_id, alert.state));
                    }
                }
                // The first comes before anything is read.
                Message::Heartbeat(_) if told.sequence >= end => break,
                Message::Heartbeat(_) => {}
                Message::Missed(missed) => panic!("{missed:?}"),
            }
            if came.len() == expected.len() && !expected.is_empty() {
                break;
            }
        }
        assert_eq!(came, expected, "{filter:?}");
    }
    let unspecified = AlertFilter { states: vec![0], ..all() };
    let request = pb::WatchAlertsRequest { filter: Some(unspecified), ..from(0) };
    assert_eq!(client.watch_alerts(request).await.unwrap_err().code(), Code::InvalidArgument);
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_heartbeat_breaks_every_silence_and_the_end_is_told() {
    let harness = Harness::start().await;
    let mut client = harness.supervisor().await;
    let heartbeat = Some(prost_types::Duration { seconds: 1, nanos: 0 });
    let request = pb::WatchAlertsRequest { heartbeat, ..Default::default() };
    let mut watcher = Watcher::of(&mut client, request).await;
    let told = watcher.next().await.unwrap();
    let Some(Message::Heartbeat(heartbeat)) = told.message else { panic!("{told:?}") };
    assert!(heartbeat.last_sequence >= 1 && told.sequence == heartbeat.last_sequence, "{told:?} {heartbeat:?}");
    let mut calls = client.watch_calls(pb::WatchCallsRequest::default()).await.unwrap().into_inner();
    assert!(calls.message().await.unwrap().unwrap().last_of_round);
    assert_eq!(harness.metric("undertone_alert_watchers "), "1");
    assert_eq!(harness.metric("undertone_call_watchers "), "1");
    let stopping = tokio::spawn(harness.stop());
    assert_eq!(watcher.next().await.unwrap_err().code(), Code::Unavailable);
    let ended = loop {
        match within("the end", calls.message()).await {
            Ok(told) => assert!(told.is_some(), "ended without a status"),
            Err(status) => break status,
        }
    };
    assert_eq!(ended.code(), Code::Unavailable);
    assert!(ended.get_error_details().retry_info().is_some());
    drop(client);
    within("stopping", stopping).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watcher_of_calls_sees_them_come_change_and_go() {
    let harness = Harness::alarmed().await;
    let mut client = harness.supervisor().await;
    let interval = Some(prost_types::Duration { seconds: 0, nanos: 100_000_000 });
    let filter = Some(CallFilter { tags: tags("sales"), ..Default::default() });
    let request = pb::WatchCallsRequest { filter, interval };
    let mut rounds = client.watch_calls(request).await.unwrap().into_inner();
    let mut round = async || within("a round", rounds.message()).await.unwrap().unwrap();
    let first = round().await;
    assert!(first.calls.is_empty() && first.last_of_round && first.nodes.len() == 1, "{first:?}");
    let other = harness.alarming("other", "claims").await;
    let call = harness.call(tagged("c", "sales")).await;
    call.speak(&voice(6.0)).await;
    let alarmed = loop {
        let told = round().await;
        if let Some(call) = told.calls.into_iter().find(|call| !call.legs[0].alerts.is_empty()) {
            break call;
        }
    };
    assert_eq!((alarmed.call_id.as_str(), alarmed.model.as_str(), alarmed.sample_rate_hertz), ("c", "tiny", 8000));
    let leg = &alarmed.legs[0];
    assert_eq!((leg.role(), leg.analysed, leg.alerts[0].state()), (Role::Customer, true, AlertState::Firing));
    assert_eq!(leg.smoothed.as_ref().unwrap().scores.len(), 6);
    assert!(leg.position_samples > 0);
    call.end().await;
    loop {
        let told = round().await;
        if !told.ended_session_ids.is_empty() {
            assert_eq!(told.ended_session_ids, [alarmed.session_id]);
            break;
        }
    }
    // Nothing changes any more.
    assert!(round().await.calls.is_empty());
    other.end().await;
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_are_filtered_by_each_field() {
    let harness = Harness::alarmed().await;
    let mut client = harness.supervisor().await;
    let alarming = harness.alarming("a", "sales").await;
    let quiet = harness.acknowledged("b").await;
    let mut two = customer("c");
    two.audio.as_mut().unwrap().channels = Some(2);
    two.legs.push(leg(Role::Agent));
    let two = harness.call(two).await;
    let mut listed = async |filter: CallFilter| {
        let request = pb::ListCallsRequest { filter: Some(filter), ..Default::default() };
        let live = client.list_calls(request).await.unwrap().into_inner().live;
        live.into_iter().map(|call| call.call_id).collect::<Vec<_>>().join(" ")
    };
    eventually!(listed(CallFilter::default()).await, "a b c");
    let all = CallFilter::default;
    eventually!(listed(CallFilter { alerting: true, ..all() }).await, "a");
    assert_eq!(listed(CallFilter { tags: tags("sales"), ..all() }).await, "a");
    assert_eq!(listed(CallFilter { roles: vec![Role::Agent.into()], ..all() }).await, "c");
    assert_eq!(listed(CallFilter { call_id: Some("b".to_owned()), ..all() }).await, "b");
    for call in [alarming, quiet, two] {
        call.end().await;
    }
    harness.stop().await;
}
