//! The exchange in `Analyze`'s comment, step by step.

use undertone::server::proto::{
    ControlAction, EndReason, NotScoredReason, Role, analyze_response::Message as Response, emotion_event::Outcome,
};

use crate::harness::{CHUNK_BYTES, Harness, customer, voice};

#[tokio::test(flavor = "multi_thread")]
async fn the_exchange_of_the_comment_happens() {
    let harness = Harness::with(|config| config.session.status_interval = std::time::Duration::from_millis(50)).await;
    let mut call = harness.call(customer("c-1")).await;

    let Some(Ok(Response::Acknowledgement(acknowledgement))) = call.next().await else { panic!("no acknowledgement") };
    assert_eq!(acknowledgement.session_id.len(), 36);
    assert_eq!(acknowledgement.stride.unwrap(), prost_types::Duration { seconds: 0, nanos: 500_000_000 });
    let [leg] = acknowledgement.legs.as_slice() else { panic!("{:?}", acknowledgement.legs) };
    assert_eq!((leg.leg_id.as_str(), leg.role(), leg.analysed), ("customer", Role::Customer, true));
    assert_eq!(acknowledgement.warnings, [""; 0]);
    let model = acknowledgement.model.unwrap();
    assert_eq!((model.name.as_str(), model.labels.len(), model.sha256.len()), ("tiny", 6, 64));

    let speech = voice(4.0);
    call.speak(&speech).await;
    let first = call.event().await;
    assert_eq!((first.leg_id.as_str(), first.sequence), ("customer", 1));
    assert_eq!(first.outcome, Some(Outcome::NotScored(NotScoredReason::TooShort.into())));
    let mut last = first;
    let emotion = loop {
        let event = call.event().await;
        assert_eq!(event.sequence, last.sequence + 1);
        assert!(event.end_samples > last.end_samples && event.depends_on_samples >= event.end_samples, "{event:?}");
        last = event.clone();
        if let Some(Outcome::Emotion(emotion)) = event.outcome {
            break emotion;
        }
    };
    assert!(last.end_samples <= 12_000, "the first emotion came only at {} samples", last.end_samples);
    assert!(last.processing_latency.is_some() && last.received_samples >= last.depends_on_samples);
    let labels: Vec<&String> = emotion.scores.iter().map(|score| &score.label).collect();
    assert_eq!(labels, model.labels.iter().collect::<Vec<_>>());
    let sum: f32 = emotion.scores.iter().map(|score| score.probability).sum();
    assert!((sum - 1.0).abs() < 1e-5, "scores sum to {sum}");
    assert!(emotion.label == "uncertain" || model.labels.contains(&emotion.label), "{}", emotion.label);

    call.control(ControlAction::Hold).await;
    call.speak(&speech[..8000]).await;
    let on_hold = loop {
        if let Some(Ok(Response::Status(status))) = call.next().await {
            let [leg] = status.legs.as_slice() else { panic!("{status:?}") };
            if leg.on_hold && leg.received_samples == 40_000 {
                break leg.clone();
            }
        }
    };
    assert_eq!((on_hold.leg_id.as_str(), on_hold.dropped_samples), ("customer", 8000));
    call.control(ControlAction::Resume).await;
    call.speak(&speech[..CHUNK_BYTES]).await;
    call.control(ControlAction::End).await;

    let closed = call.closed().await;
    assert!(closed.status.is_ok(), "{closed:?}");
    let summaries = closed.summaries(EndReason::Completed);
    let [summary] = summaries.as_slice() else { panic!("{summaries:?}") };
    assert_eq!(summary.leg_id, "customer");
    assert_eq!(summary.received_samples, 40_000 + CHUNK_BYTES as i64);
    assert!(summary.scored_windows >= 5, "{summary:?}");
    assert_eq!(summary.shares.len(), model.labels.len());
    let sum: f32 = summary.shares.iter().map(|share| share.share).sum();
    assert!((sum - 1.0).abs() < 1e-4, "shares sum to {sum}");
    assert_eq!(summary.dropped_events, 0);
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_half_close_ends_a_call_as_end_does() {
    let harness = Harness::start().await;
    let call = harness.acknowledged("c").await;
    call.speak(&voice(2.0)).await;
    let closed = call.end().await;
    assert!(closed.status.is_ok(), "{closed:?}");
    assert_eq!(closed.summaries(EndReason::Completed).len(), 1);
    assert!(!closed.events().is_empty());
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recording_sent_at_once_loses_no_window() {
    let harness = Harness::start().await;
    let call = harness.acknowledged("c").await;
    // The largest chunk there may be, and the rest: a minute of speech in three messages.
    for chunk in voice(60.0).chunks(256 * 1024) {
        call.send(crate::harness::audio_chunk(chunk)).await;
    }
    let closed = call.end().await;
    let summary = closed.summaries(EndReason::Completed)[0].clone();
    assert_eq!(summary.received_samples, 480_000);
    assert_eq!((summary.shed_windows, summary.dropped_events), (0, 0));
    assert!(summary.scored_windows >= 115, "{summary:?}");
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn withdrawn_consent_leaves_no_scores() {
    let harness = Harness::start().await;
    let mut call = harness.acknowledged("c").await;
    call.speak(&voice(3.0)).await;
    while !matches!(call.event().await.outcome, Some(Outcome::Emotion(_))) {}
    call.control(ControlAction::WithdrawConsent).await;
    call.speak(&voice(1.0)).await;
    let closed = call.end().await;
    assert!(closed.status.is_ok(), "{closed:?}");
    let summary = closed.summaries(EndReason::ConsentWithdrawn)[0];
    assert!(summary.shares.is_empty() && summary.scored_windows == 0 && summary.speech.is_none(), "{summary:?}");
    harness.stop().await;
}
