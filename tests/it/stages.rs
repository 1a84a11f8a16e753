//! What is measured of every stage, of the model, and of the lines.

use undertone::{
    audio::{Encoding, codec},
    telemetry::metrics::STAGES,
};

use crate::harness::{Harness, silence, voice};

impl Harness {
    /// The value of a metric of the model, with these further labels.
    fn of_model(&self, name: &str, labels: &str) -> f64 {
        self.metric(&format!("undertone_{name}{{model=\"tiny\"{labels}}}")).parse().unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_stage_is_timed_and_every_event_has_a_confidence() {
    let harness = Harness::start().await;
    let call = harness.acknowledged("c").await;
    call.speak(&voice(4.0)).await;
    assert!(call.end().await.status.is_ok());
    eventually!(harness.metric("undertone_calls_ended_total{reason=\"completed\"}"), "1");
    let scored = harness.of_model("windows_total", ",outcome=\"scored\"");
    let batches = harness.of_model("batch_windows_count", "");
    assert!(scored >= 3.0 && batches >= 1.0);
    for stage in STAGES {
        let labels = format!(",stage=\"{stage}\",provider=\"cpu\"");
        let expected = match stage {
            // Once in half a second of audio.
            "decode" | "features" => 8.0,
            "queue" | "decision" => scored,
            _ => batches,
        };
        assert_eq!(harness.of_model("stage_seconds_count", &labels), expected, "{stage}");
        let seconds = harness.of_model("stage_seconds_sum", &labels);
        assert!(seconds > 0.0 && seconds < 30.0, "{stage}: {seconds} s");
    }
    assert_eq!(harness.of_model("event_confidence_ratio_count", ""), scored);
    let confidence = harness.of_model("event_confidence_ratio_sum", "") / scored;
    assert!((0.0..=1.0).contains(&confidence), "{confidence}");
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_that_clips_is_told_from_one_that_does_not_and_from_silence() {
    let harness = Harness::start().await;
    let call = harness.acknowledged("quiet").await;
    call.speak(&silence(1.0)).await;
    call.speak(&voice(1.0)).await;
    assert!(call.end().await.status.is_ok());
    assert_eq!(harness.of_model("input_samples_total", ""), 16_000.0);
    assert_eq!(harness.of_model("input_clipped_samples_total", ""), 0.0);
    assert_eq!(harness.of_model("input_level_dbfs_bucket", ",le=\"-99\""), 2.0);
    assert_eq!(harness.of_model("input_level_dbfs_bucket", ",le=\"-5\""), 4.0);

    let call = harness.acknowledged("loud").await;
    let samples: Vec<f32> = (0..8_000).map(|n| if n % 40 < 20 { 1.5 } else { -1.5 }).collect();
    let mut loud = Vec::new();
    codec::encode(Encoding::Mulaw, &samples, &mut loud);
    call.speak(&loud).await;
    assert!(call.end().await.status.is_ok());
    assert_eq!(harness.of_model("input_samples_total", ""), 24_000.0);
    assert_eq!(harness.of_model("input_clipped_samples_total", ""), 8_000.0);
    assert_eq!(harness.of_model("input_level_dbfs_bucket", ",le=\"-5\""), 4.0, "the loud ones lie above");
    assert_eq!(harness.of_model("input_level_dbfs_count", ""), 6.0);
    harness.stop().await;
}
