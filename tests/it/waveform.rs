//! A network that was made elsewhere and is given samples, in service by the manifest that docs/models.md shows.

use std::{fs, path::Path, process::Command};

use undertone::{
    model::{
        Manifest,
        manifest::sha256_hex,
        onnx::graph::{Attribute, Graph, Size},
    },
    server::proto::{EndReason, analyze_response::Message as Response, emotion_event::Outcome},
};

use crate::harness::{Harness, customer, voice};

const LABELS: [&str; 4] = ["neu", "hap", "ang", "sad"];
const FILTERS: usize = 4;
const TAPS: usize = 64;

/// A strided filter bank over the samples, the mean of its rectified answers, and one matrix.
fn network() -> Vec<u8> {
    let batch = Size::Any("batch");
    let (input, output) = ([batch, Size::Any("samples")], [batch, Size::Is(LABELS.len())]);
    let mut graph = Graph::new("waveform", ("input_values", &input), ("logits", &output));
    let tap = |index: usize| ((index % TAPS) as f32 * 0.15 * (1 + index / TAPS) as f32).sin() / TAPS as f32;
    graph.constant("taps", &[FILTERS, 1, TAPS], &(0..FILTERS * TAPS).map(tap).collect::<Vec<_>>());
    let weight = |index: usize| (index * 7 % 11) as f32 - 5.0;
    graph.constant("matrix", &[FILTERS, LABELS.len()], &(0..FILTERS * LABELS.len()).map(weight).collect::<Vec<_>>());
    graph.constant("bias", &[LABELS.len()], &[0.0; LABELS.len()]);
    graph.indices("channel", &[1]);
    graph.node("Unsqueeze", &["input_values", "channel"], &["mono"], vec![]);
    let strides = vec![Attribute::ints("strides", &[32]), Attribute::ints("kernel_shape", &[TAPS as i64])];
    graph.node("Conv", &["mono", "taps"], &["filtered"], strides);
    graph.node("Relu", &["filtered"], &["rectified"], vec![]);
    graph.node("GlobalAveragePool", &["rectified"], &["pooled"], vec![]);
    graph.node("Flatten", &["pooled"], &["means"], vec![Attribute::int("axis", 1)]);
    graph.node("Gemm", &["means", "matrix", "bias"], &["logits"], vec![]);
    graph.into_bytes()
}

/// A folder with that network and the manifest of docs/models.md, but for the hash.
fn write(dir: &Path) -> Manifest {
    let docs = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/models.md")).unwrap();
    let (_, rest) = docs.split_once("```toml\nformat = 1\n").expect("docs/models.md shows a manifest");
    let (shown, _) = rest.split_once("```").unwrap();
    let network = network();
    let own = format!("sha256 = \"{}\"", sha256_hex(&network));
    let with_hash = |line: &str| if line.starts_with("sha256 = ") { own.clone() } else { line.to_owned() };
    let lines: Vec<String> = shown.lines().map(with_hash).collect();
    fs::write(dir.join("manifest.toml"), format!("format = 1\n{}\n", lines.join("\n"))).unwrap();
    fs::write(dir.join("model.onnx"), network).unwrap();
    Manifest::load(dir).unwrap()
}

#[test]
fn the_shown_manifest_is_saved_as_it_is_loaded() {
    let dir = tempfile::tempdir().unwrap();
    let manifest = write(dir.path());
    assert_eq!(
        (manifest.labels.as_slice(), manifest.front_end.name()),
        (LABELS.map(String::from).as_slice(), "waveform")
    );
    manifest.save(dir.path()).unwrap();
    assert_eq!(Manifest::load(dir.path()).unwrap(), manifest);
}

#[test]
fn a_recording_is_classified_with_labels_of_its_own() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path());
    let clip = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/crema-d/1015_IWW_ANG_XX.flac");
    let mut command = Command::new(env!("CARGO_BIN_EXE_undertone"));
    let output = command.arg("classify").arg(clip).arg("--json").arg("--model").arg(dir.path()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let told: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(told["windows"].as_u64().unwrap() >= 1, "{told}");
    let probabilities = told["probabilities"].as_object().unwrap();
    assert!(LABELS.iter().all(|label| probabilities.contains_key(*label)) && probabilities.len() == 4, "{told}");
    let sum: f64 = probabilities.values().map(|p| p.as_f64().unwrap()).sum();
    assert!((sum - 1.0).abs() < 1e-5 && probabilities.values().any(|p| (p.as_f64().unwrap() - 0.25).abs() > 1e-3));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_is_served_whatever_its_chunks() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path());
    let harness = Harness::with(|config| config.models = vec![dir.path().to_owned()]).await;
    let mut scores = Vec::new();
    for chunk in [160, 1_601] {
        let mut call = harness.call(customer("c")).await;
        let Some(Ok(Response::Acknowledgement(told))) = call.next().await else { panic!("no acknowledgement") };
        let model = told.model.unwrap();
        assert_eq!((model.front_end.as_str(), model.sample_rate_hertz), ("waveform", 16_000));
        for part in voice(5.0).chunks(chunk) {
            call.send(crate::harness::audio_chunk(part)).await;
        }
        let closed = call.end().await;
        assert!(closed.summaries(EndReason::Completed)[0].scored_windows >= 5);
        let emotion = |event: &&undertone::server::proto::EmotionEvent| match &event.outcome {
            Some(Outcome::Emotion(emotion)) => Some(emotion.scores.clone()),
            _ => None,
        };
        scores.push(closed.events().iter().filter_map(emotion).collect::<Vec<_>>());
    }
    assert_eq!(scores[0].len(), scores[1].len());
    // A window in another batch differs by its last digit.
    for (one, other) in scores[0].iter().flatten().zip(scores[1].iter().flatten()) {
        assert!(one.label == other.label && (one.probability - other.probability).abs() < 1e-5, "{one:?}, {other:?}");
    }
    harness.stop().await;
}
