//! One short recording.

use tonic::Code;
use tonic_types::StatusExt as _;
use undertone::server::proto::{
    AudioFormat, ClassifyRequest, Encoding, EndReason, NotScoredReason, Role, classify_response::Outcome, emotion_event,
};

use crate::harness::{Harness, audio_chunk, notice, silence, telephone, voice};

fn recording(data: Vec<u8>) -> ClassifyRequest {
    ClassifyRequest {
        audio: Some(telephone()),
        data: data.into(),
        role: Role::Customer.into(),
        notice: Some(notice()),
        ..ClassifyRequest::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recording_is_classified_as_a_call_would_be() {
    let harness = Harness::start().await;
    let heard = harness.client.clone().classify(recording(voice(5.0))).await.unwrap().into_inner();
    let Some(Outcome::Emotion(emotion)) = heard.outcome else { panic!("{heard:?}") };

    let call = harness.acknowledged("c").await;
    call.send(audio_chunk(&voice(5.0))).await;
    let closed = call.end().await;
    let summary = closed.summaries(EndReason::Completed)[0];
    assert_eq!(i64::from(heard.windows), summary.scored_windows);
    assert_eq!(heard.speech, summary.speech);
    let scores: Vec<f32> = emotion.scores.iter().map(|score| score.probability).collect();
    let mut sums = vec![0.0; scores.len()];
    for event in closed.events() {
        if let Some(emotion_event::Outcome::Emotion(emotion)) = &event.outcome {
            sums.iter_mut().zip(&emotion.scores).for_each(|(sum, score)| *sum += f64::from(score.probability));
        }
    }
    let means: Vec<f32> = sums.iter().map(|sum| (sum / f64::from(heard.windows)) as f32).collect();
    // Windows that shared a batch may differ in their last bits.
    assert!(scores.iter().zip(&means).all(|(score, mean)| (score - mean).abs() < 1e-6), "{scores:?} {means:?}");
    let highest = scores.iter().copied().fold(0.0, f32::max);
    assert_eq!(emotion.confidence, highest);
    assert_eq!(heard.model.unwrap().name, "tiny");
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn where_nobody_speaks_long_enough_nothing_is_scored() {
    let harness = Harness::start().await;
    for (data, reason) in [
        (silence(4.0), NotScoredReason::Silence),
        (voice(0.3), NotScoredReason::TooShort),
        (Vec::new(), NotScoredReason::TooShort),
    ] {
        let bytes = data.len();
        let heard = harness.client.clone().classify(recording(data)).await.unwrap().into_inner();
        assert_eq!(heard.outcome, Some(Outcome::NotScored(reason.into())), "{bytes} bytes");
        assert_eq!(heard.windows, 0);
    }
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_policy_holds_for_recordings() {
    let harness = Harness::start().await;
    let cases = [
        (ClassifyRequest { role: Role::Agent.into(), ..recording(voice(2.0)) }, "role"),
        (ClassifyRequest { role: Role::Unspecified.into(), ..recording(voice(2.0)) }, "role"),
        (ClassifyRequest { notice: None, ..recording(voice(2.0)) }, "notice"),
    ];
    for (request, subject) in cases {
        let status = harness.client.clone().classify(request).await.unwrap_err();
        assert_eq!(status.code(), Code::FailedPrecondition);
        assert_eq!(status.get_details_precondition_failure().unwrap().violations[0].subject, subject);
    }
    let unknown = ClassifyRequest { model: Some("huge".to_owned()), ..recording(voice(2.0)) };
    assert_eq!(harness.client.clone().classify(unknown).await.unwrap_err().code(), Code::NotFound);
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn recordings_beyond_the_limit_are_refused_and_the_rest_classified() {
    let harness = Harness::with(|config| config.session.max_classifications = 1).await;
    let mut running = tokio::task::JoinSet::new();
    for _ in 0..12 {
        let mut client = harness.client.clone();
        running.spawn(async move { client.classify(recording(voice(60.0))).await });
    }
    let (mut classified, mut refused) = (0, 0);
    while let Some(answer) = running.join_next().await {
        match answer.unwrap() {
            Ok(heard) => {
                assert!(heard.into_inner().windows >= 115);
                classified += 1;
            }
            Err(status) => {
                assert_eq!(status.code(), Code::ResourceExhausted, "{status:?}");
                assert!(status.get_details_retry_info().is_some());
                refused += 1;
            }
        }
    }
    assert!(classified >= 1 && refused >= 1, "{classified} classified, {refused} refused");
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lying_label_is_told_and_counted() {
    let harness = Harness::start().await;
    let counted =
        |looks_like: &str| harness.metric(&format!("undertone_mislabelled_calls_total{{looks_like=\"{looks_like}\"}}"));
    let audio = Some(AudioFormat { encoding: Encoding::Alaw.into(), ..telephone() });
    let lies = ClassifyRequest { audio, ..recording(voice(4.0)) };
    let heard = harness.client.clone().classify(lies).await.unwrap().into_inner();
    assert!(heard.warnings.iter().any(|warning| warning.contains("looks like mulaw")), "{:?}", heard.warnings);
    assert_eq!(counted("mulaw"), "1");
    let heard = harness.client.clone().classify(recording(voice(4.0))).await.unwrap().into_inner();
    assert_eq!(
        (heard.warnings.as_slice(), counted("mulaw"), counted("alaw")),
        (&[][..], "1".to_owned(), "0".to_owned())
    );
    harness.stop().await;
}
