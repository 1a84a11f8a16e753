//! Audio that never came.

use undertone::server::proto::{
    AudioChunk, EndReason, GetCallRequest, analyze_request::Message, analyze_response::Message as Response,
    supervision_service_client::SupervisionServiceClient,
};

use crate::harness::{CHUNK_BYTES, Call, Harness, connect, voice, within};

/// Sends these chunks of the audio, each with its number and place.
async fn speak(call: &Call, audio: &[u8], numbers: std::ops::Range<usize>) {
    for number in numbers {
        let at = number * CHUNK_BYTES;
        let chunk = AudioChunk {
            data: audio[at..at + CHUNK_BYTES].to_vec().into(),
            sequence: Some(number as i64),
            media_offset_samples: Some(at as i64),
        };
        call.send(Message::Audio(chunk)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn silence_that_is_filled_in_is_told_in_events_statuses_and_summaries() {
    let harness = Harness::with(|config| config.session.status_interval = std::time::Duration::from_millis(50)).await;
    let audio = voice(4.0);
    let mut call = harness.acknowledged("c").await;
    speak(&call, &audio, 0..50).await;
    let whole = call.event().await;
    assert_eq!(whole.filled_samples, 0, "{whole:?}");
    // 100 ms are missing, then 200, then 220, which is too much to fill.
    for numbers in [55..100, 110..150, 161..200] {
        speak(&call, &audio, numbers).await;
    }
    let filled = (15 * CHUNK_BYTES) as i64;
    let told = async {
        loop {
            match call.next().await {
                Some(Ok(Response::Status(status))) if status.legs[0].filled_samples == filled => return,
                Some(Ok(Response::Status(_) | Response::Event(_))) => {}
                other => panic!("no status that tells {filled} samples, but {other:?}"),
            }
        }
    };
    within("a status that tells what was filled", told).await;
    let closed = call.end().await;
    assert!(closed.status.is_ok(), "{closed:?}");
    let summary = closed.summaries(EndReason::Completed)[0];
    assert_eq!((summary.filled_samples, summary.dropped_samples), (filled, 0), "{summary:?}");
    assert_eq!(summary.received_samples, (174 * CHUNK_BYTES) as i64);

    // So says what is kept of it.
    let mut supervision = SupervisionServiceClient::new(connect(harness.server.grpc()).await);
    harness.ended("c").await;
    let request = GetCallRequest { call_id: "c".to_owned() };
    let kept = within("a kept call", supervision.get_call(request)).await.unwrap().into_inner();
    let kept = kept.legs[0].summary.as_ref().unwrap();
    assert_eq!(kept.filled_samples, filled, "{kept:?}");
    harness.stop().await;
}
