//! Many who watch, those who read slowly, and those who never do: no call is delayed.

use std::{collections::HashMap, time::Duration};

use tonic::{Code, transport::Endpoint};
use tonic_types::StatusExt as _;
use undertone::{
    journal::EngineKind,
    server::proto::{
        self as pb, AlertState, AnalyzeConfig, EndReason, emotion_event::Outcome,
        supervision_service_client::SupervisionServiceClient, watch_alerts_response::Message,
    },
};

use super::{Client, Watcher, from};
use crate::{
    harness::{Closed, Harness, PATIENCE, connect, customer, voice, within},
    journal::timeline,
};

/// One who takes no more than a word at a time.
async fn narrow(harness: &Harness) -> Client {
    let endpoint = Endpoint::from_shared(format!("http://{}", harness.server.grpc())).unwrap();
    let channel = endpoint.initial_stream_window_size(256).connect().await.unwrap();
    SupervisionServiceClient::new(channel)
}

fn withdraw(call_id: &str) -> pb::WithdrawConsentRequest {
    let (actor, reason) = ("agent-3".to_owned(), "he asked".to_owned());
    pb::WithdrawConsentRequest { call_id: call_id.to_owned(), leg_id: None, actor, reason }
}

/// Every event of one is one of the other, in its place, and nothing was given up.
#[track_caller]
fn told_as_alone(alone: &Closed, closed: &Closed) {
    for closed in [alone, closed] {
        let summary = closed.summaries(EndReason::Completed)[0];
        assert_eq!((summary.dropped_events, summary.shed_windows, summary.dropped_samples), (0, 0, 0), "{summary:?}");
    }
    let (alone, events) = (alone.events(), closed.events());
    assert!(alone.len() >= 12, "{} events", alone.len());
    let place =
        |event: &&pb::EmotionEvent| (event.sequence, event.start_samples, event.end_samples, event.depends_on_samples);
    assert!(events.iter().map(place).eq(alone.iter().map(place)), "{events:?}\nare not\n{alone:?}");
    for (event, alone) in events.iter().zip(&alone) {
        match (&event.outcome, &alone.outcome) {
            (Some(Outcome::Emotion(heard)), Some(Outcome::Emotion(expected))) => {
                // Windows that shared a batch may differ in their last bits.
                let near = |(a, b): (&pb::Score, &pb::Score)| (a.probability - b.probability).abs() < 1e-5;
                assert!(heard.scores.iter().zip(&expected.scores).all(near), "{event:?} is not {alone:?}");
            }
            (outcome, expected) => assert_eq!(outcome, expected),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_watchers_and_one_that_never_reads_delay_no_call() {
    const WATCHERS: usize = 1000;
    const CALLS: usize = 3;
    let harness = Harness::alarmed().await;
    // What a call is told while nobody watches: what all others are held to.
    let alone = harness.alarming("alone", "sales").await.end().await;
    let mut never = narrow(&harness).await;
    let unread = never.watch_alerts(from(0)).await.unwrap().into_inner();
    let unread_calls = never.watch_calls(pb::WatchCallsRequest::default()).await.unwrap().into_inner();
    let mut watchers = Vec::new();
    for _ in 0..WATCHERS / 100 {
        let client = SupervisionServiceClient::new(connect(harness.server.grpc()).await);
        let opening = (0..100).map(|_| {
            let mut client = client.clone();
            async move { Watcher::of(&mut client, from(0)).await }
        });
        watchers.extend(futures_util::future::join_all(opening).await);
    }
    assert_eq!(harness.metric("undertone_alert_watchers "), (WATCHERS + 1).to_string());
    // None of them takes a word, and a call comes to its end: it waits for nobody.
    told_as_alone(&alone, &harness.alarming("unwatched", "sales").await.end().await);
    let watching: Vec<_> = watchers
        .into_iter()
        .map(|mut watcher| tokio::spawn(async move { (watcher.changes(2 * (CALLS + 2)).await, watcher) }))
        .collect();
    for call in 0..CALLS {
        let closed = harness.alarming(&call.to_string(), "sales").await.end().await;
        told_as_alone(&alone, &closed);
    }
    let (mut told, mut watchers) = (Vec::new(), Vec::new());
    for watcher in watching {
        let (changes, watcher) = within("a watcher", watcher).await.unwrap();
        told.push(changes);
        watchers.push(watcher);
    }
    let calls = ["alone", "unwatched"].map(str::to_owned).into_iter().chain((0..CALLS).map(|call| call.to_string()));
    let expected: Vec<_> =
        calls.flat_map(|call| [AlertState::Firing, AlertState::Resolved].map(|state| (call.clone(), state))).collect();
    assert!(told.iter().all(|changes| *changes == expected));
    assert_eq!(harness.metric("undertone_windows_total{model=\"tiny\",outcome=\"shed\"}"), "0");
    drop(watchers);
    eventually!(harness.metric("undertone_alert_watchers "), "1");
    // Nor does one who never reads hold the shutdown up.
    within("stopping", harness.server.stop()).await.unwrap();
    drop((unread, unread_calls));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_who_reads_late_gets_everything_from_the_journal() {
    let harness = Harness::alarmed().await;
    let mut late = narrow(&harness).await;
    let mut unread = late.watch_alerts(from(0)).await.unwrap().into_inner();
    for call in 0..3 {
        harness.alarming(&call.to_string(), "sales").await.end().await;
    }
    // More than anybody may be behind without reading it again.
    let journal = harness.server.sessions().journal().clone();
    for _ in 0..8 {
        journal.append((0..250).map(|_| timeline("other")).collect()).await.unwrap();
    }
    harness.alarming("last", "sales").await.end().await;
    let mut sequences = Vec::new();
    while sequences.len() < 8 {
        let told = within("a word", unread.message()).await.unwrap().unwrap();
        match told.message.unwrap() {
            Message::Alert(entry) => sequences.push(entry.sequence),
            Message::Heartbeat(_) => {}
            Message::Missed(missed) => panic!("{missed:?}"),
        }
    }
    assert!(sequences.is_sorted_by(|a, b| a < b), "{sequences:?}");
    drop((unread, late));
    harness.stop().await;
}

/// What was written before cannot be taken back; what waits can.
#[tokio::test(flavor = "multi_thread")]
async fn one_who_reads_late_gets_no_scores_that_were_purged_meanwhile() {
    let harness = Harness::alarmed().await;
    let mut late = narrow(&harness).await;
    let mut unread = late.watch_alerts(from(0)).await.unwrap().into_inner();
    for call_id in ["first", "second"] {
        harness.alarming(call_id, "sales").await.end().await;
    }
    let call = harness.alarming("c", "sales").await;
    let mut client = harness.supervisor().await;
    let get = || pb::GetCallRequest { call_id: "c".to_owned() };
    eventually!(client.get_call(get()).await.map_or(0, |told| told.into_inner().alerts.len()), 1);
    client.withdraw_consent(withdraw("c")).await.unwrap();
    call.end().await.summaries(EndReason::ConsentWithdrawn);
    let mut told = Vec::new();
    loop {
        let Some(Message::Alert(entry)) = within("a word", unread.message()).await.unwrap().unwrap().message else {
            continue;
        };
        let alert = entry.alert.unwrap();
        told.push((alert.call_id.clone(), alert.state()));
        if alert.call_id == "c" {
            let evidence = alert.evidence.clone().unwrap_or_default();
            assert!(evidence.scores.is_empty() && evidence.level == 0.0, "{alert:?}");
            break;
        }
    }
    let expected = [("first", false), ("first", true), ("second", false), ("second", true), ("c", true)];
    let state = |over| if over { AlertState::Resolved } else { AlertState::Firing };
    assert_eq!(told, expected.map(|(call_id, over)| (call_id.to_owned(), state(over))));
    drop((unread, late));
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_who_reads_calls_late_gets_them_as_they_are_by_then() {
    let harness = Harness::start().await;
    // Two messages' worth, of which the transport takes no more at once, and one call that is told in the third.
    let tags: HashMap<String, String> = (0..8).map(|tag| (tag.to_string(), "q".repeat(250))).collect();
    let mut calls = Vec::new();
    for call in 0..200 {
        let mut call = harness.call(AnalyzeConfig { tags: tags.clone(), ..customer(&call.to_string()) }).await;
        assert!(matches!(call.next().await, Some(Ok(_))));
        calls.push(call);
    }
    let heard = harness.acknowledged("heard").await;
    heard.speak(&voice(3.0)).await;
    let mut client = harness.supervisor().await;
    let get = || pb::GetCallRequest { call_id: "heard".to_owned() };
    let is_heard = |told: pb::GetCallResponse| told.live[0].legs[0].smoothed.is_some();
    eventually!(client.get_call(get()).await.is_ok_and(|told| is_heard(told.into_inner())), true);
    let mut late = narrow(&harness).await;
    let mut unread = late.watch_calls(pb::WatchCallsRequest::default()).await.unwrap().into_inner();
    // Somebody else has seen a round by then.
    let mut prompt = client.watch_calls(pb::WatchCallsRequest::default()).await.unwrap().into_inner();
    while !within("a round", prompt.message()).await.unwrap().unwrap().last_of_round {}
    drop(prompt);
    client.withdraw_consent(withdraw("heard")).await.unwrap();
    assert!(!is_heard(client.get_call(get()).await.unwrap().into_inner()));
    for _ in 0..2 {
        let told = within("a word", unread.message()).await.unwrap().unwrap();
        assert_eq!((told.calls.len(), told.last_of_round), (100, false));
    }
    let rest = within("a word", unread.message()).await.unwrap().unwrap();
    assert_eq!((rest.calls.len(), rest.last_of_round), (1, true));
    let leg = &rest.calls[0].legs[0];
    assert!(leg.consent_withdrawn && leg.smoothed.is_none(), "{leg:?}");
    drop((unread, late, calls, heard));
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_journal_one_who_reads_late_is_told_what_he_missed_and_goes_on() {
    let harness = Harness::with(|config| config.journal.engine = EngineKind::None).await.alarms();
    let mut late = narrow(&harness).await;
    let mut unread = late.watch_alerts(from(0)).await.unwrap().into_inner();
    for call in 0..3 {
        harness.alarming(&call.to_string(), "sales").await.end().await;
    }
    let journal = harness.server.sessions().journal().clone();
    eventually!(journal.last_sequence().await.unwrap() >= 3 * 4, true);
    journal.append((0..3000).map(|_| timeline("other")).collect()).await.unwrap();
    harness.alarming("last", "sales").await.end().await;
    let (mut missed, mut last) = (0, None);
    while last.as_ref() != Some(&("last".to_owned(), AlertState::Resolved)) {
        let told = within("a word", unread.message()).await.unwrap().unwrap();
        match told.message.unwrap() {
            Message::Alert(entry) => {
                let alert = entry.alert.unwrap();
                last = Some((alert.call_id.clone(), alert.state()));
            }
            Message::Missed(told) => missed += told.entries,
            Message::Heartbeat(_) => {}
        }
    }
    assert!(missed > 1000, "{missed}");
    assert_eq!(harness.metric("undertone_watchers_missed_total "), missed.to_string());
    drop((unread, late));
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_more_watch_than_may() {
    let harness = Harness::with(|config| config.session.max_watchers = 2).await;
    let mut client = harness.supervisor().await;
    let first = client.watch_alerts(from(0)).await.unwrap();
    let second = client.watch_calls(pb::WatchCallsRequest::default()).await.unwrap();
    let status = client.watch_alerts(from(0)).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted, "{status:?}");
    assert!(status.get_error_details().retry_info().is_some());
    assert_eq!(harness.metric("undertone_watchers_refused_total "), "1");
    drop(first);
    let began = std::time::Instant::now();
    while client.watch_alerts(from(0)).await.is_err() {
        assert!(began.elapsed() < PATIENCE, "the place is not free");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    drop(second);
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn alerts_of_a_client_that_vanished_are_counted_as_over() {
    let harness = Harness::alarmed().await;
    let call = harness.alarming("c", "sales").await;
    eventually!(harness.metric("undertone_alerts_total{state=\"FIRING\"}"), "1");
    drop(call);
    eventually!(harness.metric("undertone_alerts_total{state=\"RESOLVED\"}"), "1");
    harness.stop().await;
}
