//! Audio that is not written as its call says.

use undertone::server::proto::{
    AnalyzeConfig, AudioFormat, Encoding, EndReason, StreamStatus, WarningCode, analyze_request::Message,
    analyze_response::Message as Response,
};

use crate::harness::{Call, Harness, customer, voice};

async fn labelled(harness: &Harness, call_id: &str, encoding: Encoding) -> Call {
    let audio = AudioFormat { encoding: encoding.into(), sample_rate_hertz: 8000, channels: None };
    let call = harness.silent_call().await;
    call.send(Message::Config(AnalyzeConfig { audio: Some(audio), ..customer(call_id) })).await;
    call
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lying_label_is_told_at_once_and_in_the_summary_and_changes_nothing() {
    let harness = Harness::start().await;
    for (label, call_id) in [(Encoding::Linear16, "a"), (Encoding::Alaw, "b")] {
        let mut call = labelled(&harness, call_id, label).await;
        call.speak(&voice(4.0)).await;
        // Long before a status is due.
        let status: StreamStatus = loop {
            match call.next().await {
                Some(Ok(Response::Status(status))) => break status,
                Some(Ok(_)) => {}
                closed => panic!("no status, but {closed:?}"),
            }
        };
        let [warning] = status.warnings.as_slice() else { panic!("{status:?}") };
        assert_eq!((warning.code(), warning.looks_like()), (WarningCode::AudioMislabelled, Encoding::Mulaw));
        let closed = call.end().await;
        assert!(closed.status.is_ok(), "{closed:?}");
        let summary = closed.summaries(EndReason::Completed)[0];
        assert_eq!(summary.warnings, [warning.text.as_str()]);
        assert_eq!(summary.received_samples, if label == Encoding::Alaw { 32_000 } else { 16_000 });
    }
    assert_eq!(harness.metric("undertone_mislabelled_calls_total{looks_like=\"mulaw\"}"), "2");
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_true_label_nothing_is_said() {
    let harness = Harness::start().await;
    let call = labelled(&harness, "c", Encoding::Mulaw).await;
    call.speak(&voice(4.0)).await;
    let closed = call.end().await;
    assert_eq!(closed.summaries(EndReason::Completed)[0].warnings, [""; 0]);
    for looks_like in ["linear16", "mulaw", "alaw"] {
        let counted = harness.metric(&format!("undertone_mislabelled_calls_total{{looks_like=\"{looks_like}\"}}"));
        assert_eq!(counted, "0");
    }
    harness.stop().await;
}
