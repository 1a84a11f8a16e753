//! A client that reads too slowly, or never.

use std::{net::SocketAddr, time::Duration};

use tonic::transport::Endpoint;
use undertone::server::{
    Unfinished,
    proto::{
        AnalyzeConfig, EndReason, analyze_request::Message, analyze_response::Message as Response,
        emotion_service_client::EmotionServiceClient,
    },
};

use crate::harness::{Call, Harness, customer, voice, within};

/// A call whose connection takes no more than a few responses that were not read.
pub(crate) async fn narrow_call(server: SocketAddr) -> Call {
    let endpoint = Endpoint::from_shared(format!("http://{server}")).unwrap();
    let channel = endpoint.initial_stream_window_size(512).connect().await.unwrap();
    let call = Call::open(EmotionServiceClient::new(channel)).await;
    let stride = Some(prost_types::Duration { seconds: 0, nanos: 250_000_000 });
    call.send(Message::Config(AnalyzeConfig { stride, ..customer("c") })).await;
    call
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_never_reads_loses_its_place() {
    let harness = Harness::with(|config| {
        config.session.stall_timeout = Duration::from_secs(1);
        config.session.event_buffer = 4;
    })
    .await;
    let call = narrow_call(harness.server.grpc()).await;
    call.speak(&voice(20.0)).await;
    eventually!(harness.metric("undertone_calls_ended_total{reason=\"stalled\"}"), "1");
    eventually!(harness.live_legs(), 0);
    assert_ne!(harness.metric("undertone_events_dropped_total"), "0");
    drop(call);
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_client_loses_the_oldest_events_and_is_told_how_many() {
    let harness = Harness::with(|config| config.session.event_buffer = 4).await;
    let call = narrow_call(harness.server.grpc()).await;
    call.speak(&voice(20.0)).await;
    // Another call meanwhile loses nothing by it.
    let (mut beside, audio) = (harness.acknowledged("beside").await, voice(4.0));
    beside.speak(&audio[..4000]).await;
    for (stride, sequence) in audio[4000..].chunks(4000).zip(1..) {
        beside.speak(stride).await;
        assert_eq!(beside.event().await.sequence, sequence);
    }
    assert_eq!(beside.end().await.summaries(EndReason::Completed)[0].dropped_events, 0);
    // Not before the server has nothing more to add.
    eventually!(harness.metric("undertone_audio_received_seconds_total"), "24");
    eventually!(harness.metric("undertone_events_dropped_total") != "0", true);
    let closed = call.end().await;
    assert!(closed.status.is_ok(), "{closed:?}");
    assert!(matches!(closed.responses[0], Response::Acknowledgement(_)), "{closed:?}");
    let summary = closed.summaries(EndReason::Completed)[0].clone();
    let sequences: Vec<i64> = closed.events().iter().map(|event| event.sequence).collect();
    assert!(sequences.windows(2).all(|pair| pair[0] < pair[1]), "{sequences:?}");
    let last = *sequences.last().unwrap();
    assert!(summary.dropped_events > 0 && last >= 80, "{summary:?}");
    assert_eq!(summary.dropped_events, last - sequences.len() as i64, "{sequences:?}");
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_never_reads_holds_no_shutdown_up() {
    let harness = Harness::with(|config| {
        config.drain_deadline = Duration::from_millis(400);
        config.session.close_timeout = Duration::from_millis(200);
    })
    .await;
    let call = narrow_call(harness.server.grpc()).await;
    call.speak(&voice(20.0)).await;
    eventually!(harness.metric("undertone_audio_received_seconds_total"), "20");
    let Harness { server, client } = harness;
    drop(client);
    let stopped = within("stopping", server.stop()).await;
    assert!(matches!(stopped, Err(Unfinished::CutOff { legs: 1, .. })), "{stopped:?}");
    drop(call);
}
