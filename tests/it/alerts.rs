//! Alerts of a running server: those of a replay, under rules that may change while calls live.

use std::{fs, path::Path, process::Command};

use serde_json::Value;
use undertone::{
    audio::{Encoding, codec, file, resample},
    journal::{Audit, Entry, Kind, Query, Record},
    server::proto::{
        self as pb, Alert, AlertReason, AlertSeverity, AlertState, AnalyzeConfig, AudioFormat, EndReason,
        analyze_response::Message as Response,
    },
};

use crate::harness::{Harness, audio_chunk, customer, voice};

const RATE_HZ: u32 = 8_000;

/// A rule for every label, quick to fire and to calm, so that real clips make many alerts; every other one counts from what is usual.
const LABELS: [&str; 6] = ["angry", "disgust", "fear", "happy", "neutral", "sad"];

fn restless() -> String {
    let rule = |(at, label): (usize, &str)| {
        let counts = if at % 2 == 0 { "usual_half_life_seconds = 20.0\n" } else { "" };
        format!(
            "[[rule]]\nname = '{label}'\nversion = 3\nemotions = ['{label}']\nhalf_life_seconds = 1.0\nenter = 0.3\nleave = 0.25\n\
             min_windows = 2\nmin_speech_seconds = 0.5\nkeep_firing_seconds = 2.0\ncool_down_seconds = 3.0\n\
             critical_after_seconds = 4.0\ngrace_seconds = 2.0\n{counts}"
        )
    };
    LABELS.into_iter().enumerate().map(rule).collect()
}

/// A rule that any speech fires, whatever the model makes of it.
pub(crate) fn always() -> String {
    format!("[[rule]]\nname = 'speech'\nemotions = {LABELS:?}\nenter = 0.5\ngrace_seconds = 0.0\n")
}

/// Three quarters of a minute of real clips with pauses, at the telephone's rate.
fn conversation() -> Vec<f32> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/crema-d");
    let mut clips: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    clips.retain(|path| path.extension().is_some_and(|extension| extension == "flac"));
    clips.sort();
    let mut samples = vec![0.0; 4_000];
    for clip in &clips {
        let recording = file::read(clip).unwrap();
        let hz = recording.sample_rate_hz;
        samples.extend(resample::resample(&recording.into_mono(), hz, RATE_HZ).unwrap());
        samples.extend(vec![0.0; 6_000]);
    }
    assert!(samples.len() > 40 * RATE_HZ as usize);
    samples
}

/// An alert's change as both sides tell it: rule, state, reason, samples.
type Change = (String, String, String, i64);

fn change(alert: &Alert) -> Change {
    let strip = |name: &str, prefix: &str| name.strip_prefix(prefix).unwrap().to_owned();
    let state = strip(alert.state().as_str_name(), "ALERT_STATE_");
    let reason = strip(alert.reason().as_str_name(), "ALERT_REASON_");
    (alert.rule.clone(), state, reason, alert.changed_samples)
}

fn alerts(responses: &[Response]) -> Vec<&Alert> {
    let mut alerts = Vec::new();
    for response in responses {
        if let Response::Alert(alert) = response {
            alerts.push(alert);
        }
    }
    alerts
}

/// Puts a file in place at once: half of one must not be read.
pub(crate) fn put(path: &Path, text: &str) {
    let beside = path.with_extension("new");
    fs::write(&beside, text).unwrap();
    fs::rename(beside, path).unwrap();
}

fn undertone(args: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_undertone")).args(args).output().unwrap();
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_of_recorded_scores_tells_what_the_service_told() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let (wav, scores, rules) = (path("call.wav"), path("scores.jsonl"), path("rules.toml"));
    let mut bytes = Vec::new();
    codec::encode(Encoding::Linear16, &conversation(), &mut bytes);
    let spec = hound::WavSpec {
        channels: 1,
        sample_rate: RATE_HZ,
        bits_per_sample: 16,
        sample_format: hound::SampleFormat::Int,
    };
    let mut writer = hound::WavWriter::create(&wav, spec).unwrap();
    for sample in bytes.chunks_exact(2) {
        writer.write_sample(i16::from_le_bytes([sample[0], sample[1]])).unwrap();
    }
    writer.finalize().unwrap();
    fs::write(&rules, restless()).unwrap();
    let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/cnn-bilstm");

    undertone(&["classify", &wav, "--scores", &scores, "--model", model.to_str().unwrap()]);
    let (replayed, usual): (Vec<Change>, Vec<f64>) = undertone(&["replay", &rules, &scores, "--json"])
        .lines()
        .map(|line| {
            let told: Value = serde_json::from_str(line).unwrap();
            assert_eq!(told["file"], Value::from(wav.as_str()));
            let text = |key: &str| told[key].as_str().unwrap().to_owned();
            let samples = (told["at_seconds"].as_f64().unwrap() * f64::from(RATE_HZ)).round() as i64;
            ((text("rule"), text("state"), text("reason"), samples), told["usual"].as_f64().unwrap())
        })
        .unzip();

    let harness = Harness::with(|config| {
        config.models = vec![model];
        config.alerts.rules = Some(rules.clone().into());
    })
    .await;
    let audio =
        AudioFormat { encoding: pb::Encoding::Linear16.into(), sample_rate_hertz: RATE_HZ as i32, channels: None };
    let tags = [("queue".to_owned(), "complaints".to_owned())].into();
    let call = harness.call(AnalyzeConfig { audio: Some(audio), tags, ..customer("c") }).await;
    // Chunks that end anywhere, in the middle of samples too.
    let mut rest = &bytes[..];
    for size in [1, 321, 4_097, 20_000, 777].into_iter().cycle() {
        let (chunk, behind) = rest.split_at(size.min(rest.len()));
        call.send(audio_chunk(chunk)).await;
        rest = behind;
        if rest.is_empty() {
            break;
        }
    }
    let closed = call.end().await;
    closed.summaries(EndReason::Completed);
    let told = alerts(&closed.responses);
    assert_eq!(told.iter().map(|alert| change(alert)).collect::<Vec<_>>(), replayed);

    assert!(usual.iter().any(|&usual| usual > 0.0), "{replayed:?}");
    for (alert, usual) in told.iter().zip(usual) {
        let live = f64::from(alert.evidence.as_ref().unwrap().usual_level);
        assert!((live - usual).abs() < 1e-4, "{live} in the call, {usual} in the replay: {alert:?}");
    }

    for (state, reason) in [("FIRING", "ROSE"), ("RESOLVED", "CALMED"), ("RESOLVED", "CALL_ENDED")] {
        let found = replayed.iter().filter(|change| change.1 == state && change.2 == reason).count();
        assert!(found >= 1, "no {state} {reason} in {replayed:?}");
    }
    let first = told[0];
    assert_eq!((first.call_id.as_str(), first.leg_id.as_str(), first.rule_version), ("c", "customer", 3));
    assert_eq!((first.role(), &first.tags["queue"][..]), (pb::Role::Customer, "complaints"));
    assert_eq!((first.state(), first.severity(), first.revision), (AlertState::Firing, AlertSeverity::Warning, 1));
    let evidence = first.evidence.as_ref().unwrap();
    assert!(0 <= evidence.start_samples && evidence.start_samples < evidence.end_samples, "{evidence:?}");
    assert!(evidence.level >= 0.3 && evidence.windows >= 2 && evidence.speech_ratio > 0.0, "{evidence:?}");
    assert_eq!((evidence.scores.len(), evidence.model.as_str(), evidence.model_sha256.len()), (6, "cnn-bilstm", 64));
    harness.stop().await;
}

/// What the journal says was loaded anew.
async fn reloaded(harness: &Harness) -> Vec<String> {
    let query = Query { kinds: vec![Kind::Audit], ..Query::default() };
    let audits = harness.server.sessions().journal().read_all(query).await.unwrap();
    let what = |entry: Entry| match entry.draft.record {
        Record::Audit(Audit::Reloaded { what, version }) => (!version.is_empty()).then_some(what),
        _ => None,
    };
    audits.into_iter().filter_map(what).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_live_call_takes_rules_that_changed_and_keeps_those_before_a_wrong_file() {
    let dir = tempfile::tempdir().unwrap();
    let rules = dir.path().join("rules.toml");
    fs::write(&rules, "").unwrap();
    let harness = Harness::with(|config| {
        config.alerts.rules = Some(rules.clone());
        config.alerts.reload_interval = std::time::Duration::from_millis(10);
    })
    .await;
    let mut call = harness.acknowledged("c").await;
    call.speak(&voice(3.0)).await;
    while call.event().await.smoothed.is_none() {}
    put(&rules, &always());
    eventually!(harness.metric("undertone_reloads_total{result=\"taken\"}"), "1");
    call.speak(&voice(4.0)).await;
    let alert = loop {
        match call.next().await {
            Some(Ok(Response::Alert(alert))) => break alert,
            Some(Ok(_)) => {}
            closed => panic!("no alert, but {closed:?}"),
        }
    };
    assert_eq!((alert.rule.as_str(), alert.reason()), ("speech", AlertReason::Rose));
    eventually!(reloaded(&harness).await, ["rules"]);

    put(&rules, &always().replace("enter", "entre"));
    eventually!(harness.metric("undertone_reloads_total{result=\"refused\"}"), "1");
    call.speak(&voice(2.0)).await;
    let closed = call.end().await;
    let told: Vec<_> = alerts(&closed.responses).into_iter().map(|alert| (alert.state(), alert.reason())).collect();
    assert_eq!(told, [(AlertState::Resolved, AlertReason::CallEnded)]);
    assert_eq!(harness.metric("undertone_alerts_total{state=\"FIRING\"}"), "1");
    assert_eq!(reloaded(&harness).await, ["rules"], "not the wrong file's");
    harness.stop().await;
}
