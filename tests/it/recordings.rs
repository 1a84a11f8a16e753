//! Recordings beside live calls: they take what room calls leave, and no call hears of them.

use std::fs;

use tokio::task::JoinSet;
use tonic::{Code, Response, Status};
use tonic_types::StatusExt as _;
use undertone::{
    config::{Flags, Source},
    server::{
        Server, Trigger,
        proto::{
            AnalyzeConfig, ClassifyRequest, ClassifyResponse, EndReason, Role, analyze_response::Message as Answer,
        },
    },
};

use crate::{
    gated::Gate,
    harness::{Call, Harness, config, customer, notice, telephone, tiny, voice},
};

fn recording(seconds: f32) -> ClassifyRequest {
    ClassifyRequest {
        audio: Some(telephone()),
        data: voice(seconds).into(),
        role: Role::Customer.into(),
        notice: Some(notice()),
        ..ClassifyRequest::default()
    }
}

async fn classify(harness: &Harness, seconds: f32) -> Result<Response<ClassifyResponse>, Status> {
    harness.client.clone().classify(recording(seconds)).await
}

fn flood(harness: &Harness, recordings: usize, seconds: f32) -> JoinSet<Result<Response<ClassifyResponse>, Status>> {
    let mut flood = JoinSet::new();
    for _ in 0..recordings {
        let mut client = harness.client.clone();
        flood.spawn(async move { client.classify(recording(seconds)).await });
    }
    flood
}

fn windows(harness: &Harness, outcome: &str) -> u64 {
    harness.metric(&format!("undertone_windows_total{{model=\"tiny\",outcome=\"{outcome}\"}}")).parse().unwrap()
}

fn waiting(harness: &Harness) -> u64 {
    harness.metric("undertone_queue_windows{model=\"tiny\"}").parse().unwrap()
}

async fn admitted(harness: &Harness, config: AnalyzeConfig) -> Call {
    let mut call = harness.call(config).await;
    let first = call.next().await;
    assert!(matches!(first, Some(Ok(Answer::Acknowledgement(_)))), "{first:?}");
    call
}

fn refused(status: &Status, says: &str) {
    assert_eq!(status.code(), Code::ResourceExhausted, "{status:?}");
    assert!(status.message().contains(says), "{status:?}");
    assert!(!status.message().contains("stride"), "a recording's cannot be chosen: {status:?}");
    assert!(status.get_details_retry_info().is_some_and(|retry| retry.retry_delay.is_some()), "{status:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_recordings_sheds_and_delays_no_window_of_a_call() {
    let mut config = config();
    (config.inference.threads, config.inference.max_batch) = (Some(1), Some(8));
    // Less than two of the recordings have.
    config.inference.queue_capacity = Some(48);
    let gate = Gate::default();
    let harness = gate.serve(&config).await;
    let mut flood = flood(&harness, 24, 20.0);
    // What is beyond the four places is refused, so that all the others are in work.
    for _ in 0..20 {
        refused(&flood.join_next().await.unwrap().unwrap().unwrap_err(), "4 classifications");
    }
    eventually!(waiting(&harness) >= 4, true);
    let call = harness.acknowledged("live").await;
    call.speak(&voice(7.0)).await;
    // All of the call's, twelve, whatever the recordings hand in meanwhile: a batch at most, and of each the one beyond it.
    eventually!(waiting(&harness) >= 12, true);
    assert!(waiting(&harness) <= 12 + 8 + 4, "{} wait", waiting(&harness));
    gate.open();
    let closed = call.end().await;
    let summary = closed.summaries(EndReason::Completed)[0];
    assert!(summary.shed_windows == 0 && summary.scored_windows >= 11, "{summary:?}");
    while let Some(heard) = flood.join_next().await {
        assert!(heard.unwrap().unwrap().into_inner().windows >= 35);
    }
    assert_eq!(windows(&harness, "shed"), 0);
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn recordings_take_the_room_that_calls_leave() {
    let mut config = config();
    config.session.max_windows_per_second = Some(5);
    let gate = Gate::default();
    let harness = gate.serve(&config).await;
    let mut first = flood(&harness, 1, 20.0);
    eventually!(waiting(&harness) >= 1, true);
    // One weighs as a call of two windows a second; it takes none of them from a call.
    let second = admitted(&harness, customer("two")).await;
    let third = admitted(&harness, customer("other-two")).await;
    refused(&classify(&harness, 1.0).await.unwrap_err(), "5 windows a second");
    harness.call(customer("a-fifth")).await.closed().await.refused(Code::ResourceExhausted);
    assert_eq!(harness.metric("undertone_load_windows_per_second"), "4", "recordings are no load of calls");
    first.abort_all();
    assert!(first.join_next().await.unwrap().unwrap_err().is_cancelled());
    gate.open();
    for call in [second, third] {
        assert!(call.end().await.status.is_ok());
    }
    // A recording whose client is gone has given its place back.
    eventually!(classify(&harness, 1.0).await.is_ok(), true);
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_makes_no_second_places() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("undertone.toml");
    // So slow that the first is in work all the time.
    let told = |more: &str| format!("[session]\nmax_classifications = 1\nmax_windows_per_second = 5\n{more}");
    fs::write(&file, told("")).unwrap();
    let of_test = config();
    let flags = Flags { listen: Some(of_test.listen), admin: Some(of_test.admin), ..Flags::default() };
    let source = Source::new(Some(file.clone()), flags, vec![tiny()]);
    let harness = Harness::of(Server::launch_from(&source.read().unwrap(), source).await.unwrap()).await;
    let mut first = flood(&harness, 1, 60.0);
    eventually!(windows(&harness, "scored") >= 1, true);
    refused(&classify(&harness, 0.1).await.unwrap_err(), "1 classifications");
    fs::write(&file, told("max_legs = 9\n")).unwrap();
    harness.server.reload(Trigger::Admin).await.unwrap();
    refused(&classify(&harness, 0.1).await.unwrap_err(), "1 classifications");
    first.abort_all();
    assert!(first.join_next().await.unwrap().unwrap_err().is_cancelled());
    eventually!(classify(&harness, 0.1).await.is_ok(), true);
    harness.stop().await;
}
