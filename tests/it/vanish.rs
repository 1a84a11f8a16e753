//! A client that is gone from one moment to the next.

use std::{net::SocketAddr, time::Duration};

use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    sync::oneshot,
};
use undertone::server::proto::emotion_service_client::EmotionServiceClient;

use crate::harness::{Call, Harness, connect, customer, line, voice};

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_vanishes_leaves_its_place() {
    let harness = Harness::with(|config| config.session.max_legs = 1).await;
    for round in 1..=2 {
        let (address, cut) = line(harness.server.grpc()).await;
        let mut call = Call::open(EmotionServiceClient::new(connect(address).await)).await;
        call.send(undertone::server::proto::analyze_request::Message::Config(customer("c"))).await;
        call.speak(&voice(2.0)).await;
        call.event().await;
        assert_eq!(harness.live_legs(), 1);
        // Stream and connection at once: a client that could say more would half-close.
        cut.abort();
        eventually!(harness.live_legs(), 0);
        eventually!(harness.metric("undertone_calls_ended_total{reason=\"vanished\"}"), round.to_string());
        drop(call);
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

/// A line to the server that goes dead when told, with both ends left open, as when a router between fails.
async fn dying_line(server: SocketAddr) -> (SocketAddr, oneshot::Sender<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (die, dead) = oneshot::channel();
    tokio::spawn(async move {
        let (mut client, _) = listener.accept().await.unwrap();
        let mut server = TcpStream::connect(server).await.unwrap();
        tokio::select! {
            _ = copy_bidirectional(&mut client, &mut server) => {}
            // Nothing passes any more; the streams are held until the test is over.
            _ = dead => std::future::pending::<()>().await,
        }
    });
    (address, die)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_behind_a_dead_line_leaves_its_place() {
    let harness = Harness::with(|config| {
        config.http2.keepalive_interval = Duration::from_millis(100);
        config.http2.keepalive_timeout = Duration::from_millis(200);
    })
    .await;
    let (line, die) = dying_line(harness.server.grpc()).await;
    let mut call = Call::open(EmotionServiceClient::new(connect(line).await)).await;
    call.send(undertone::server::proto::analyze_request::Message::Config(customer("c"))).await;
    call.speak(&voice(2.0)).await;
    call.event().await;
    assert_eq!(harness.live_legs(), 1);
    die.send(()).unwrap();
    eventually!(harness.live_legs(), 0);
    eventually!(harness.metric("undertone_calls_ended_total{reason=\"vanished\"}"), "1");
    drop(call);
    harness.stop().await;
}
