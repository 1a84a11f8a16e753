//! A client that never sends, or no longer.

use std::time::Duration;

use tonic::Code;
use undertone::server::proto::{ControlAction, EndReason};

use crate::harness::{Harness, customer, voice};

#[tokio::test(flavor = "multi_thread")]
async fn a_call_without_messages_ends_after_its_summary() {
    let harness = Harness::with(|config| config.session.idle_timeout = Duration::from_millis(100)).await;
    let call = harness.call(customer("c")).await;
    call.send(crate::harness::audio_chunk(&voice(2.0))).await;
    let closed = call.closed().await;
    let summary = closed.summaries(EndReason::Idle)[0].clone();
    assert_eq!(summary.received_samples, 16_000);
    assert!(summary.scored_windows > 0, "{summary:?}");
    let status = closed.refused(Code::DeadlineExceeded);
    assert!(status.message().contains("empty audio chunk"), "{status:?}");
    eventually!(harness.live_legs(), 0);
    eventually!(harness.metric("undertone_calls_ended_total{reason=\"idle\"}"), "1");
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_without_a_configuration_ends() {
    let harness = Harness::with(|config| config.session.idle_timeout = Duration::from_millis(100)).await;
    let closed = harness.silent_call().await.closed().await;
    assert!(closed.responses.is_empty());
    let status = closed.refused(Code::DeadlineExceeded);
    assert!(status.message().contains("config"), "{status:?}");
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hold_may_last_longer_but_not_for_ever() {
    let harness = Harness::with(|config| {
        config.session.idle_timeout = Duration::from_millis(100);
        config.session.hold_timeout = Duration::from_millis(700);
    })
    .await;
    let call = harness.call(customer("c")).await;
    let began = std::time::Instant::now();
    call.control(ControlAction::Hold).await;
    let closed = call.closed().await;
    assert!(began.elapsed() >= Duration::from_millis(700), "it ended after {:?}", began.elapsed());
    assert_eq!(closed.summaries(EndReason::Idle).len(), 1);
    closed.refused(Code::DeadlineExceeded);
    harness.stop().await;
}
