//! Streams that are reset while their connection goes on, as proxies, deadlines and cancelled calls do.

use bytes::{BufMut as _, Bytes, BytesMut};
use h2::{Ping, PingPong, Reason, SendStream, client::SendRequest};
use prost::Message as _;
use tokio::net::TcpStream;
use tonic::codegen::http;
use undertone::server::proto::{
    AnalyzeRequest, AudioChunk, EndReason, analyze_request::Message, analyze_response::Message as Response,
};

use crate::harness::{CHUNK_BYTES, Harness, customer, voice, within};

/// How streams are reset: by a client's cancel or deadline, by a proxy that has had enough, by one that failed.
const REASONS: [Reason; 5] =
    [Reason::CANCEL, Reason::NO_ERROR, Reason::INTERNAL_ERROR, Reason::PROTOCOL_ERROR, Reason::REFUSED_STREAM];

/// Chunks that are sent before the reset.
const CHUNKS: usize = 100;

async fn keeping() -> Harness {
    // Longer than a test takes.
    Harness::with(|config| config.session.resume_grace = std::time::Duration::from_secs(30)).await
}

/// A connection on which HTTP/2 itself is spoken, since gRPC's clients do not say how a stream is to end.
async fn connection(harness: &Harness) -> (SendRequest<Bytes>, PingPong) {
    let stream = TcpStream::connect(harness.server.grpc()).await.unwrap();
    let (client, mut connection) = within("a handshake", h2::client::handshake(stream)).await.unwrap();
    let pings = connection.ping_pong().unwrap();
    // It ends with the client.
    tokio::spawn(connection);
    (client, pings)
}

/// A call that has been acknowledged, and has sent so many chunks of voice.
async fn call(client: &SendRequest<Bytes>, id: &str, audio: &[u8]) -> (SendStream<Bytes>, h2::RecvStream) {
    let request = http::Request::post("http://127.0.0.1/undertone.v1.EmotionService/Analyze")
        .header("content-type", "application/grpc")
        .header("te", "trailers");
    let mut client = within("a stream", client.clone().ready()).await.unwrap();
    let (response, mut stream) = client.send_request(request.body(()).unwrap(), false).unwrap();
    send(&mut stream, Message::Config(customer(id)));
    let mut responses = within("a response", response).await.unwrap().into_body();
    assert!(within("the acknowledgement", responses.data()).await.unwrap().is_ok());
    for (number, data) in audio.chunks(CHUNK_BYTES).enumerate() {
        let chunk = AudioChunk {
            data: data.to_vec().into(),
            sequence: Some(number as i64),
            media_offset_samples: Some((number * CHUNK_BYTES) as i64),
        };
        send(&mut stream, Message::Audio(chunk));
    }
    (stream, responses)
}

/// One message in gRPC's frame: not compressed, its length, itself.
fn send(stream: &mut SendStream<Bytes>, message: Message) {
    let message = AnalyzeRequest { message: Some(message) }.encode_to_vec();
    let mut framed = BytesMut::with_capacity(5 + message.len());
    framed.put_u8(0);
    framed.put_u32(u32::try_from(message.len()).unwrap());
    framed.put_slice(&message);
    stream.send_data(framed.freeze(), false).unwrap();
}

async fn resets_are_breaks() {
    let harness = keeping().await;
    let (client, _pings) = connection(&harness).await;
    let audio = voice(3.0);
    for (round, reason) in REASONS.into_iter().enumerate() {
        let id = format!("reset-{round}");
        let (mut stream, responses) = call(&client, &id, &audio[..CHUNKS * CHUNK_BYTES]).await;
        assert_eq!(harness.live_legs(), 1, "{reason:?}");
        stream.send_reset(reason);
        eventually!(harness.metric("undertone_legs_kept "), "1");
        drop(responses);

        let mut again = harness.call(customer(&id)).await;
        let Some(Ok(Response::Acknowledgement(told))) = again.next().await else { panic!("{reason:?}: no answer") };
        let resumption = told.resumption.unwrap_or_else(|| panic!("{reason:?}: the call began anew"));
        let at = usize::try_from(resumption.media_offset_samples).unwrap();
        assert!(at <= CHUNKS * CHUNK_BYTES && at % CHUNK_BYTES == 0, "{reason:?}: {resumption:?}");
        for (number, data) in audio.chunks(CHUNK_BYTES).enumerate().skip(at / CHUNK_BYTES) {
            let chunk = AudioChunk {
                data: data.to_vec().into(),
                sequence: Some(number as i64),
                media_offset_samples: Some((number * CHUNK_BYTES) as i64),
            };
            again.send(Message::Audio(chunk)).await;
        }
        let closed = again.end().await;
        assert!(closed.status.is_ok(), "{reason:?}: {closed:?}");
        let summary = closed.summaries(EndReason::Completed)[0];
        assert_eq!(summary.received_samples, audio.len() as i64, "{reason:?}");
        assert!(summary.scored_windows >= 3, "{reason:?}: {summary:?}");
        eventually!(harness.live_legs(), 0);
    }
    let count = REASONS.len().to_string();
    assert_eq!(harness.metric("undertone_calls_resumed_total"), count);
    assert_eq!(harness.metric("undertone_calls_ended_total{reason=\"completed\"}"), count);
    for reason in ["vanished", "invalid"] {
        assert_eq!(harness.metric(&format!("undertone_calls_ended_total{{reason=\"{reason}\"}}")), "0");
    }
    drop(client);
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_was_reset_is_kept_and_goes_on() {
    resets_are_breaks().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_stream_that_was_reset_is_kept_by_a_server_of_one_thread_too() {
    resets_are_breaks().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_half_close_ends_the_call_even_if_the_client_goes_at_once() {
    let harness = keeping().await;
    let (client, mut pings) = connection(&harness).await;
    let audio = voice(2.0);
    for (round, reset) in [false, true].into_iter().enumerate() {
        let (mut stream, responses) = call(&client, &format!("ended-{round}"), &audio).await;
        stream.send_data(Bytes::new(), true).unwrap();
        if reset {
            // What gRPC's clients do when a call is dropped: RST_STREAM follows END_STREAM. An end that has not left yet would be taken
            // back, and whatever was to be sent has left when a second ping does.
            for _ in 0..2 {
                within("a pong", pings.ping(Ping::opaque())).await.unwrap();
            }
            drop(responses);
            drop(stream);
        }
        eventually!(harness.live_legs(), 0);
        let ended = harness.metric("undertone_calls_ended_total{reason=\"completed\"}");
        assert_eq!(ended, (round + 1).to_string(), "reset: {reset}");
    }
    assert_eq!(harness.metric("undertone_calls_ended_total{reason=\"vanished\"}"), "0");
    drop(client);
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_goes_before_its_configuration_is_no_refusal() {
    let harness = keeping().await;
    let (client, _pings) = connection(&harness).await;
    let request = http::Request::post("http://127.0.0.1/undertone.v1.EmotionService/Analyze")
        .header("content-type", "application/grpc")
        .header("te", "trailers");
    let mut ready = within("a stream", client.clone().ready()).await.unwrap();
    let (response, mut stream) = ready.send_request(request.body(()).unwrap(), false).unwrap();
    // The server answers at once, so it has begun to wait for the configuration.
    let _responses = within("headers", response).await.unwrap().into_body();
    stream.send_reset(Reason::CANCEL);
    // Streams of one connection are taken in their order.
    let (mut stream, mut responses) = call(&client, "after", &[]).await;
    stream.send_data(Bytes::new(), true).unwrap();
    while within("the rest", responses.data()).await.is_some_and(|data| data.is_ok()) {}
    assert_eq!(harness.metric("undertone_calls_refused_total{reason=\"invalid\"}"), "0");
    drop((client, ready));
    harness.stop().await;
}
