//! A client that is gone from one moment to the next.

use undertone::server::proto::emotion_service_client::EmotionServiceClient;

use crate::harness::{Call, Harness, connect, customer, voice};

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_vanishes_leaves_its_place() {
    let harness = Harness::with(|config| config.session.max_legs = 1).await;
    for round in 1..=2 {
        let client = EmotionServiceClient::new(connect(harness.server.grpc()).await);
        let mut call = Call::open(client).await;
        call.send(undertone::server::proto::analyze_request::Message::Config(customer("c"))).await;
        call.speak(&voice(2.0)).await;
        call.event().await;
        assert_eq!(harness.live_legs(), 1);
        // Stream and connection at once.
        drop(call);
        eventually!(harness.live_legs(), 0);
        eventually!(harness.metric("undertone_calls_ended_total{reason=\"vanished\"}"), round.to_string());
    }
    eventually!(harness.metric("undertone_legs_live"), "0");
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_cancels_its_stream_leaves_its_place() {
    let harness = Harness::with(|config| config.session.max_legs = 1).await;
    let call = harness.acknowledged("c").await;
    drop(call);
    eventually!(harness.live_legs(), 0);
    // The connection goes on.
    assert!(harness.acknowledged("c").await.end().await.status.is_ok());
    harness.stop().await;
}
