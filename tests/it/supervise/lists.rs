//! What is kept: calls that ended, alerts, one call.

use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime},
};

use tonic::Code;
use undertone::{
    decision::alert::{Reason, Severity, State},
    journal::{Alert, Draft, Evidence, Record},
    policy,
    server::proto::{self as pb, AlertFilter, AlertState, CallFilter, CallState, EndReason},
};
use uuid::Uuid;

use super::{Client, Watcher, acknowledge, tagged, tags};
use crate::harness::{Harness, voice};

async fn ended(client: &mut Client, filter: CallFilter) -> Vec<pb::EndedLeg> {
    let (filter, state) = (Some(filter), CallState::Ended.into());
    let request = pb::ListCallsRequest { filter, state, ..Default::default() };
    client.list_calls(request).await.unwrap().into_inner().ended
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_that_ended_are_listed_with_their_summaries_by_the_page() {
    let harness = Harness::alarmed().await;
    let mut client = harness.supervisor().await;
    for (call_id, queue) in [("a", "sales"), ("b", "claims"), ("c", "sales")] {
        harness.alarming(call_id, queue).await.end().await;
        eventually!(harness.live_legs(), 0);
    }
    eventually!(ended(&mut client, CallFilter::default()).await.len(), 3);
    let of_sales = ended(&mut client, CallFilter { tags: tags("sales"), ..Default::default() }).await;
    assert_eq!(of_sales.iter().map(|leg| leg.call_id.as_str()).collect::<Vec<_>>(), ["a", "c"]);
    let leg = &of_sales[0];
    let summary = leg.summary.as_ref().unwrap();
    assert_eq!((summary.end_reason(), summary.received_samples, leg.alerts), (EndReason::Completed, 48_000, 1));
    assert_eq!((leg.tags["queue"].as_str(), leg.model.as_str(), summary.shares.len()), ("sales", "tiny", 6));
    assert!(leg.began_at.unwrap().seconds <= leg.ended_at.unwrap().seconds);
    let of_one = CallFilter { call_id: Some("b".to_owned()), alerting: true, ..Default::default() };
    assert_eq!(ended(&mut client, of_one).await.len(), 1);

    let (mut paged, mut page_token) = (Vec::new(), String::new());
    loop {
        let (state, page_size) = (CallState::Ended.into(), Some(2));
        let request = pb::ListCallsRequest { state, page_size, page_token, ..Default::default() };
        let page = client.list_calls(request).await.unwrap().into_inner();
        assert!(page.ended.len() <= 2 && page.live.is_empty());
        paged.extend(page.ended.into_iter().map(|leg| leg.call_id));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    assert_eq!(paged, ["a", "b", "c"]);
    let later = SystemTime::now() + Duration::from_secs(60);
    let (state, since) = (CallState::Ended.into(), Some(later.into()));
    let request = pb::ListCallsRequest { state, since, ..Default::default() };
    assert_eq!(client.list_calls(request).await.unwrap().into_inner().ended, []);
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_that_live_are_listed_by_the_page() {
    let harness = Harness::start().await;
    let mut client = harness.supervisor().await;
    let mut calls = Vec::new();
    for call_id in ["a", "b", "c", "d", "e"] {
        calls.push(harness.acknowledged(call_id).await);
    }
    let (mut paged, mut page_token) = (Vec::new(), String::new());
    loop {
        let request = pb::ListCallsRequest { page_size: Some(2), page_token, ..Default::default() };
        let page = client.list_calls(request).await.unwrap().into_inner();
        paged.extend(page.live.into_iter().map(|call| call.call_id));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    assert_eq!(paged, ["a", "b", "c", "d", "e"]);
    for call in calls {
        call.end().await;
    }
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alert_is_listed_once_as_it_stands_and_a_watcher_goes_on_from_there() {
    let harness = Harness::alarmed().await;
    let mut client = harness.supervisor().await;
    let list = async |client: &mut Client, states: &[AlertState]| {
        let states = states.iter().map(|state| (*state).into()).collect();
        let filter = Some(AlertFilter { states, ..Default::default() });
        let request = pb::ListAlertsRequest { filter, ..Default::default() };
        client.list_alerts(request).await.unwrap().into_inner()
    };
    harness.alarming("a", "sales").await.end().await;
    let call = harness.alarming("b", "sales").await;
    eventually!(list(&mut client, &[AlertState::Firing]).await.alerts.len(), 1);
    let open = list(&mut client, &[AlertState::Firing]).await;
    let firing = open.alerts[0].alert.clone().unwrap();
    assert_eq!((firing.call_id.as_str(), firing.revision), ("b", 1));
    client.acknowledge_alert(acknowledge(&firing.alert_id)).await.unwrap();
    let mut watcher = Watcher::of(&mut client, super::from(open.last_sequence)).await;
    let (_, taken) = watcher.alert().await;
    assert_eq!((taken.alert_id.as_str(), taken.revision), (firing.alert_id.as_str(), 2));
    assert_eq!(list(&mut client, &[AlertState::Firing]).await.alerts, []);
    let all = list(&mut client, &[]).await;
    let states: Vec<_> = all.alerts.iter().map(|entry| entry.alert.as_ref().unwrap().state()).collect();
    assert_eq!(states, [AlertState::Resolved, AlertState::Acknowledged]);

    let first = pb::ListAlertsRequest { page_size: Some(1), ..Default::default() };
    let page = client.list_alerts(first.clone()).await.unwrap().into_inner();
    assert_eq!(page.alerts, all.alerts[..1]);
    let second = pb::ListAlertsRequest { page_token: page.next_page_token, ..first };
    let page = client.list_alerts(second).await.unwrap().into_inner();
    assert_eq!((&page.alerts[..], page.next_page_token.as_str()), (&all.alerts[1..], ""));
    call.end().await;
    harness.stop().await;
}

/// A change of an alert of another server's call, which nobody hears of otherwise.
fn change(alert_id: &str, revision: u32, state: State) -> Draft {
    let evidence = Evidence {
        start_samples: 0,
        end_samples: 8000,
        windows: 1,
        speech_seconds: 1.0,
        speech_ratio: 1.0,
        level: 0.6,
        usual: 0.0,
        peak: 0.6,
        peak_end_samples: 8000,
        scores: Vec::new(),
        snr_db: None,
        model: "tiny".to_owned(),
        sha256: String::new(),
    };
    let alert = Alert {
        alert_id: alert_id.to_owned(),
        revision,
        rule: "anger".to_owned(),
        rule_version: 1,
        role: policy::Role::Customer,
        tags: BTreeMap::new(),
        state,
        severity: Severity::Warning,
        reason: Reason::Rose,
        sample_rate_hz: 8000,
        fired_samples: 8000,
        changed_samples: 8000,
        actor: None,
        actor_reason: None,
        snoozed_until: None,
        evidence,
    };
    Draft::new(SystemTime::now(), Record::Alert(Box::new(alert))).of_leg("elsewhere", "customer", None)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_that_was_stored_late_does_not_open_an_alert_again() {
    let harness = Harness::start().await;
    let mut client = harness.supervisor().await;
    let (over, open) = (format!("{}:0:1", Uuid::nil()), format!("{}:0:2", Uuid::nil()));
    let stored = [
        change(&over, 1, State::Firing),
        change(&over, 3, State::Resolved),
        change(&over, 2, State::Firing),
        change(&open, 2, State::Snoozed),
        change(&open, 1, State::Firing),
    ];
    let sequences = harness.server.sessions().journal().append(stored.to_vec()).await.unwrap();
    let listed = client.list_alerts(pb::ListAlertsRequest::default()).await.unwrap().into_inner().alerts;
    let standing = listed.iter().map(|entry| (entry.sequence, entry.alert.as_ref().unwrap().state()));
    let expected = [(sequences[1], AlertState::Resolved), (sequences[3], AlertState::Snoozed)];
    assert!(standing.eq(expected.map(|(sequence, state)| (i64::try_from(sequence).unwrap(), state))), "{listed:?}");
    let status = client.acknowledge_alert(acknowledge(&over)).await.unwrap_err();
    assert_eq!(status.code(), Code::FailedPrecondition, "{status:?}");
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_is_told_while_it_lives_and_afterwards() {
    let harness = Harness::alarmed().await;
    let mut client = harness.supervisor().await;
    let get = || pb::GetCallRequest { call_id: "c".to_owned() };
    assert_eq!(client.get_call(get()).await.unwrap_err().code(), Code::NotFound);
    let call = harness.call(tagged("c", "sales")).await;
    call.speak(&voice(12.0)).await;
    eventually!(client.get_call(get()).await.map_or(0, |told| told.into_inner().alerts.len()), 1);
    let told = client.get_call(get()).await.unwrap().into_inner();
    assert_eq!((told.live.len(), told.legs.len(), told.legs[0].ended_at), (1, 1, None));
    call.end().await.summaries(EndReason::Completed);
    eventually!(client.get_call(get()).await.unwrap().into_inner().live.len(), 0);
    eventually!(client.get_call(get()).await.unwrap().into_inner().legs[0].summary.is_some(), true);
    let told = client.get_call(get()).await.unwrap().into_inner();
    let leg = &told.legs[0];
    assert_eq!((leg.leg_id.as_str(), leg.analysed, leg.model_sha256.len()), ("customer", true, 64));
    assert_eq!(leg.summary.as_ref().unwrap().received_samples, 96_000);
    let timeline = leg.timeline.as_ref().unwrap();
    let points = &timeline.points;
    assert_eq!((timeline.labels.len(), points[0].start_samples, points.len()), (6, 0, 3));
    assert!(points.windows(2).all(|pair| pair[0].end_samples == pair[1].start_samples), "{points:?}");
    assert!(points.iter().all(|point| point.probabilities.len() == 6), "{points:?}");
    assert_eq!(told.alerts.len(), 2);
    harness.stop().await;
}
