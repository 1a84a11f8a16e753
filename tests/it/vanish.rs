//! A client that is gone from one moment to the next.

use std::{cell::Cell, future::poll_fn, iter, net::SocketAddr, pin::pin, time::Duration};

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    sync::{mpsc, oneshot},
};
use undertone::{
    policy::Role,
    server::proto::emotion_service_client::EmotionServiceClient,
    session::{End, Fault, Input, LegRequest},
};

use crate::harness::{CHUNK_BYTES, Call, Harness, connect, customer, line, request, silence, voice, within};

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

/// Messages that a client had sent when it went.
const SENT: usize = 500;

/// Runs a call whose client is gone and had sent this so often; the most messages that it took in before others had their turn.
async fn most_heard_at_once(harness: &Harness, input: Input) -> usize {
    let request = request(vec![LegRequest { leg_id: "customer".to_owned(), role: Role::Customer, subject: None }]);
    let session = harness.server.sessions().open(&request).await.unwrap();
    let (sender, receiver) = mpsc::channel(1);
    drop(receiver);
    let (taken, mut most) = (Cell::new(0), 0);
    let sent = stream::iter(iter::repeat_n(input, SENT)).map(|input| {
        taken.set(taken.get() + 1);
        Ok::<_, Fault<()>>(input)
    });
    let mut call = pin!(session.run(sent.chain(stream::pending()), sender, |message| message));
    let end = poll_fn(|context| {
        let before = taken.get();
        let polled = call.as_mut().poll(context);
        most = most.max(taken.get() - before);
        polled
    });
    assert_eq!(within("hearing a call out", end).await, End::Vanished);
    assert_eq!(taken.get(), SENT, "all that was sent is heard");
    most
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_client_that_is_gone_had_sent_keeps_nobody_from_the_executor() {
    let harness = Harness::start().await;
    let of = |data| Input::Audio { data, sequence: None, media_offset_samples: None };
    let chunk = of(Bytes::from(silence(0.02)));
    // 250 ms (src/session/turn.rs) of chunks of 20 ms.
    assert_eq!(most_heard_at_once(&harness, chunk).await, 2000_usize.div_ceil(CHUNK_BYTES));
    // Messages without audio end a turn when tokio's budget is used up, which is 128.
    let keepalives = most_heard_at_once(&harness, of(Bytes::new())).await;
    assert!(keepalives <= 128, "{keepalives} at once");
    harness.stop().await;
}
