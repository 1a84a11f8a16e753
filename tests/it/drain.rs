//! The way out: every call gets its summary, then UNAVAILABLE.

use tonic::Code;
use tonic_types::StatusExt as _;
use undertone::server::proto::{EndReason, analyze_request::Message};

use crate::harness::{Harness, customer, voice, within};

#[tokio::test(flavor = "multi_thread")]
async fn a_shutdown_gives_every_call_its_summary() {
    let harness = Harness::start().await;
    let mut calls = Vec::new();
    for call_id in ["a", "b", "c"] {
        let mut call = harness.acknowledged(call_id).await;
        call.speak(&voice(2.0)).await;
        call.event().await;
        calls.push(call);
    }
    let Harness { server, client } = harness;
    drop(client);
    let stopping = tokio::spawn(server.stop());
    for call in calls {
        let closed = call.closed().await;
        let summaries = closed.summaries(EndReason::Draining);
        assert!(summaries.len() == 1 && summaries[0].received_samples > 0, "{summaries:?}");
        let status = closed.refused(Code::Unavailable);
        assert!(status.get_details_retry_info().expect("RetryInfo").retry_delay.is_some());
    }
    within("stopping", stopping).await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_draining_server_takes_nothing_new() {
    let harness = Harness::start().await;
    let waiting = harness.silent_call().await;
    harness.server.sessions().draining().cancel();
    let status = waiting.closed().await.refused(Code::Unavailable);
    assert!(status.get_details_retry_info().is_some());
    let call = harness.silent_call().await;
    call.send(Message::Config(customer("c"))).await;
    let status = call.closed().await.refused(Code::Unavailable);
    assert!(status.get_details_retry_info().is_some());
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
#[should_panic(expected = "a call's task broke")]
async fn a_panic_in_a_task_is_raised_again_at_the_end() {
    let harness = Harness::start().await;
    harness.server.sessions().spawn(async { panic!("a call's task broke") });
    eventually!(harness.metric("undertone_calls_ended_total{reason=\"panicked\"}"), "1");
    // The others are unharmed.
    assert!(harness.acknowledged("c").await.end().await.status.is_ok());
    harness.stop().await;
}
