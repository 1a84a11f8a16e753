//! Streams that break, and calls that go on by another one.

use std::time::Duration;

use prost::Message as _;
use tokio::task::JoinHandle;
use tonic::{Code, Status};
use undertone::{
    decision::alert::Attribution,
    server::proto::{
        Acknowledgement, AnalyzeConfig, AudioChunk, EmotionEvent, EndReason, Role, Summary, analyze_request::Message,
        analyze_response::Message as Response, emotion_event::Outcome, emotion_service_client::EmotionServiceClient,
    },
};

use crate::harness::{CHUNK_BYTES, Call, Closed, Harness, connect, customer, leg, line, voice};

async fn keeping(grace: Duration) -> Harness {
    Harness::with(|config| {
        config.session.resume_grace = grace;
        // In a batch of another size the network rounds its last bit another way.
        config.inference.max_batch = Some(1);
    })
    .await
}

/// Longer than a test takes.
async fn patient() -> Harness {
    keeping(Duration::from_secs(30)).await
}

/// The line of a call to the server, which passes everything until it is aborted.
type Line = JoinHandle<()>;

/// A call on a line of its own.
async fn call(harness: &Harness, config: AnalyzeConfig) -> (Call, Line) {
    let (address, line) = line(harness.server.grpc()).await;
    let call = Call::open(EmotionServiceClient::new(connect(address).await)).await;
    call.send(Message::Config(config)).await;
    (call, line)
}

async fn refused(harness: &Harness, config: AnalyzeConfig, code: Code) -> Status {
    call(harness, config).await.0.closed().await.refused(code)
}

async fn acknowledged(harness: &Harness, config: AnalyzeConfig) -> ((Call, Line), Acknowledgement) {
    let (mut call, line) = call(harness, config).await;
    match call.next().await {
        Some(Ok(Response::Acknowledgement(acknowledgement))) => ((call, line), acknowledgement),
        other => panic!("{other:?}"),
    }
}

/// Sends the chunks from number `from` on, each with its number and place.
async fn speak(call: &Call, audio: &[u8], from: usize) {
    for (number, data) in audio.chunks(CHUNK_BYTES).enumerate().skip(from) {
        let chunk = AudioChunk {
            data: data.to_vec().into(),
            sequence: Some(number as i64),
            media_offset_samples: Some((number * CHUNK_BYTES) as i64),
        };
        call.send(Message::Audio(chunk)).await;
    }
}

/// Cuts the line, and waits until the server keeps the call, whose client holds it open.
async fn cut(harness: &Harness, (call, line): (Call, Line)) {
    line.abort();
    eventually!(harness.metric("undertone_legs_kept ") == "0", false);
    drop(call);
}

/// All of an event but the time it took, and what came of the call meanwhile.
fn bits(event: &EmotionEvent) -> Vec<u8> {
    EmotionEvent { processing_latency: None, received_samples: 0, ..event.clone() }.encode_to_vec()
}

fn summary(closed: &Closed) -> Summary {
    assert!(closed.status.is_ok(), "{closed:?}");
    closed.summaries(EndReason::Completed)[0].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_was_cut_goes_on_as_one_that_never_was() {
    let harness = patient().await;
    let audio = voice(6.0);
    let ((whole, _line), acknowledgement) = acknowledged(&harness, customer("whole")).await;
    assert_eq!(acknowledgement.resumption, None);
    speak(&whole, &audio, 0).await;
    let whole = whole.end().await;
    let expected = whole.events();
    // In the middle of a stride, at its end, and before anything was decided; with all events read, and with some on their way.
    for (round, (chunks, read)) in [(151, true), (100, true), (3, true), (151, false)].into_iter().enumerate() {
        let ((mut call, line), first) = acknowledged(&harness, customer(&format!("cut-{round}"))).await;
        speak(&call, &audio[..chunks * CHUNK_BYTES], 0).await;
        let sent = (chunks * CHUNK_BYTES) as i64;
        let due = expected.iter().filter(|event| event.depends_on_samples <= sent).count();
        let mut events = Vec::new();
        while events.len() < if read { due } else { 1 } {
            events.push(call.event().await);
        }
        cut(&harness, (call, line)).await;
        let ((call, _line), again) = acknowledged(&harness, customer(&format!("cut-{round}"))).await;
        eventually!(harness.metric("undertone_legs_kept "), "0");
        assert_eq!(again.session_id, first.session_id);
        let resumption = again.resumption.expect("a kept call goes on");
        let reached = events.last().map_or(0, |event| event.depends_on_samples);
        assert!((reached..=sent).contains(&resumption.media_offset_samples), "{resumption:?}");
        let next = resumption.media_offset_samples / CHUNK_BYTES as i64;
        assert_eq!(resumption.sequence, (next > 0).then_some(next));
        if read {
            assert_eq!(resumption.event_sequences, [due as i64 + 1]);
        }
        let from = usize::try_from(resumption.media_offset_samples).unwrap() / CHUNK_BYTES;
        speak(&call, &audio, from).await;
        let closed = call.end().await;
        let heard = summary(&closed);
        events.extend(closed.events().into_iter().cloned());
        let sequences: Vec<i64> = events.iter().map(|event| event.sequence).collect();
        assert!(sequences.is_sorted_by(|a, b| a < b), "an event came twice: {sequences:?}");
        if read {
            assert_eq!(events.len(), expected.len(), "round {round}: {sequences:?}");
        }
        for event in &events {
            let same = expected.iter().find(|expected| expected.sequence == event.sequence).unwrap();
            assert_eq!(bits(event), bits(same), "round {round}: {event:?} {same:?}");
        }
        assert_eq!(heard.encode_to_vec(), summary(&whole).encode_to_vec());
    }
    assert_eq!(harness.metric("undertone_calls_resumed_total"), "4");
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kept_call_goes_when_its_grace_is_over() {
    let harness = keeping(Duration::from_millis(200)).await;
    let ((call, line), _) = acknowledged(&harness, customer("c")).await;
    line.abort();
    eventually!(harness.live_legs(), 0);
    eventually!(harness.metric("undertone_calls_ended_total{reason=\"vanished\"}"), "1");
    eventually!(harness.metric("undertone_legs_kept "), "0");
    drop(call);
    let ((call, _line), acknowledgement) = acknowledged(&harness, customer("c")).await;
    assert_eq!(acknowledgement.resumption, None);
    assert!(call.end().await.status.is_ok());
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn takeover_ends_the_old_stream_with_its_summary() {
    let harness = patient().await;
    let ((old, _line), first) = acknowledged(&harness, customer("c")).await;
    speak(&old, &voice(2.0), 0).await;
    let told = refused(&harness, customer("c"), Code::AlreadyExists).await;
    assert!(told.message().contains("takeover"), "{told:?}");
    let takeover = AnalyzeConfig { takeover: Some(true), ..customer("c") };
    let ((new, _newer), second) = acknowledged(&harness, takeover).await;
    assert_ne!(first.session_id, second.session_id);
    let closed = old.closed().await;
    assert_eq!(closed.summaries(EndReason::TakenOver).len(), 1);
    closed.refused(Code::Aborted);
    assert_eq!(harness.metric("undertone_calls_ended_total{reason=\"taken_over\"}"), "1");
    assert!(new.end().await.status.is_ok());
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_configuration_does_not_go_on_with_a_kept_call() {
    let harness = patient().await;
    let (broken, first) = acknowledged(&harness, customer("c")).await;
    cut(&harness, broken).await;
    let stride = Some(prost_types::Duration { seconds: 1, nanos: 0 });
    let other = AnalyzeConfig { stride, ..customer("c") };
    let told = refused(&harness, other.clone(), Code::FailedPrecondition).await;
    assert!(told.message().contains("stride"), "{told:?}");
    let unnoticed = AnalyzeConfig { notice: None, ..customer("c") };
    refused(&harness, unnoticed, Code::FailedPrecondition).await;
    assert_eq!(harness.metric("undertone_legs_kept "), "1");
    let ((new, _newer), second) = acknowledged(&harness, AnalyzeConfig { takeover: Some(true), ..other }).await;
    assert!(second.resumption.is_none() && second.session_id != first.session_id);
    assert!(new.end().await.status.is_ok());
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kept_call_whose_consent_is_withdrawn_does_not_go_on() {
    let harness = patient().await;
    let ((mut broken, line), _) = acknowledged(&harness, customer("c")).await;
    speak(&broken, &voice(3.0), 0).await;
    while !matches!(broken.event().await.outcome, Some(Outcome::Emotion(_))) {}
    cut(&harness, (broken, line)).await;
    assert_eq!(harness.server.sessions().withdraw_consent("c", None, by()).await.unwrap().live_legs, 1);
    for takeover in [None, Some(true)] {
        let again = AnalyzeConfig { takeover, ..customer("c") };
        let told = refused(&harness, again, Code::FailedPrecondition).await;
        assert!(told.message().contains("was withdrawn"), "{told:?}");
    }
    let live = harness.server.sessions().view_now().await.calls[0].legs[0].clone();
    assert!(live.state.withdrawn && !live.analysed, "{live:?}");
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kept_call_of_which_one_leg_is_withdrawn_goes_on_with_the_other() {
    let harness = patient().await;
    let stereo = || {
        let mut config = AnalyzeConfig { legs: vec![leg(Role::Customer), leg(Role::Customer)], ..customer("c") };
        config.audio.as_mut().unwrap().channels = Some(2);
        for (leg, leg_id) in config.legs.iter_mut().zip(["left", "right"]) {
            leg.leg_id = Some(leg_id.to_owned());
        }
        config
    };
    let both = |audio: Vec<u8>| audio.into_iter().flat_map(|sample| [sample, sample]).collect::<Vec<u8>>();
    let ((mut broken, line), _) = acknowledged(&harness, stereo()).await;
    broken.speak(&both(voice(3.0))).await;
    while !matches!(broken.event().await.outcome, Some(Outcome::Emotion(_))) {}
    cut(&harness, (broken, line)).await;
    harness.server.sessions().withdraw_consent("c", Some("left"), by()).await.unwrap();
    let ((call, _line), again) = acknowledged(&harness, stereo()).await;
    assert!(again.resumption.is_some());
    let analysed: Vec<(&str, bool)> = again.legs.iter().map(|leg| (leg.leg_id.as_str(), leg.analysed)).collect();
    assert_eq!(analysed, [("left", false), ("right", true)]);
    let [warning] = &again.warnings[..] else { panic!("{:?}", again.warnings) };
    assert!(warning.contains("\"left\"") && warning.contains("withdrawn"), "{warning}");
    call.speak(&both(voice(3.0))).await;
    let closed = call.end().await;
    let scored = |leg_id: &str| {
        let is_scored = |event: &&&EmotionEvent| matches!(event.outcome, Some(Outcome::Emotion(_)));
        closed.events().iter().filter(|event| event.leg_id == leg_id).filter(is_scored).count()
    };
    assert!(scored("left") == 0 && scored("right") > 0, "{closed:?}");
    let reasons: Vec<EndReason> = closed.every_summary().iter().map(|summary| summary.end_reason()).collect();
    assert_eq!(reasons, [EndReason::ConsentWithdrawn, EndReason::Completed]);
    harness.stop().await;
}

fn by() -> Attribution {
    Attribution { actor: "p-1".to_owned(), reason: "asked".to_owned() }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_does_not_wait_for_a_kept_call() {
    let harness = patient().await;
    let (call, _) = acknowledged(&harness, customer("c")).await;
    cut(&harness, call).await;
    // Fails where a leg is cut off at the drain's deadline.
    harness.stop().await;
}
