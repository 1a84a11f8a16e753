//! A model that is tried beside one in service: what is measured of it, and that no caller ever notices it.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde_json::Value;
use undertone::{
    config::{Config, Flags, Source},
    server::{
        Server,
        proto::{
            AnalyzeConfig, EmotionEvent, EndReason, Role, analyze_response::Message as Response, emotion_event::Outcome,
        },
    },
};

use crate::{
    gated::Gate,
    harness::{Call, Closed, Harness, ask, audio_chunk, config, customer, leg, tiny, voice},
};

fn shipped(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("models").join(name)
}

async fn with_shadow(model: &Path) -> Harness {
    Harness::with(|config| config.shadow.model = Some(model.to_owned())).await
}

/// Windows of the shadow with this outcome.
fn windows(harness: &Harness, outcome: &str) -> u64 {
    let (_, text) = harness.get("/metrics");
    let with = format!("outcome=\"{outcome}\"");
    let line = text.lines().find(|line| line.starts_with("undertone_shadow_windows_total") && line.contains(&with));
    line.and_then(|line| line.rsplit(' ').next()).unwrap_or_else(|| panic!("no {with} in\n{text}")).parse().unwrap()
}

/// The sum of all counters and counts whose lines begin so.
fn sum(harness: &Harness, start: &str) -> u64 {
    let (_, text) = harness.get("/metrics");
    let values = text.lines().filter(|line| line.starts_with(start)).filter_map(|line| line.rsplit(' ').next());
    values.map(|value| value.parse::<u64>().unwrap()).sum()
}

/// Answers of the shadow are taken in when audio comes, so a chunk is sent.
async fn nudge(call: &Call) {
    call.send(audio_chunk(&[])).await;
}

/// The next events, so many strides of them; how many of them scored something.
async fn scored(call: &mut Call, strides: usize) -> u64 {
    let mut scored = 0;
    for _ in 0..strides {
        scored += u64::from(matches!(call.event().await.outcome, Some(Outcome::Emotion(_))));
    }
    scored
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shadow_that_is_the_model_itself_agrees_always() {
    let harness = with_shadow(&tiny()).await;
    let mut call = harness.acknowledged("c").await;
    call.speak(&voice(4.0)).await;
    let scored = scored(&mut call, 8).await;
    assert!(scored >= 5, "{scored} windows were scored");
    eventually!(
        {
            nudge(&call).await;
            windows(&harness, "agreed")
        },
        scored
    );
    for outcome in ["differed", "unpaired", "skipped", "shed", "failed"] {
        assert_eq!(windows(&harness, outcome), 0, "{outcome}");
    }
    let close = "undertone_shadow_divergence_bits_bucket{model=\"tiny\",shadow=\"tiny 1\",le=\"0.001\"}";
    assert_eq!(harness.metric(close), scored.to_string());
    assert_eq!(sum(&harness, "undertone_shadow_confidence_ratio_count"), scored);
    assert_eq!(sum(&harness, "undertone_shadow_labels_total"), scored);
    assert!(call.end().await.status.is_ok());
    harness.stop().await;
}

/// What a caller is told of four seconds of voice.
async fn told(harness: &Harness) -> Closed {
    let call = harness.acknowledged("c").await;
    call.speak(&voice(4.0)).await;
    call.end().await
}

fn probabilities(event: &EmotionEvent) -> Vec<f32> {
    match &event.outcome {
        Some(Outcome::Emotion(emotion)) => emotion.scores.iter().map(|score| score.probability).collect(),
        _ => Vec::new(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_shadow_differs_and_callers_are_told_the_same() {
    let alone = Harness::start().await;
    let expected = told(&alone).await;
    alone.stop().await;
    for name in ["telephone", "cnn-bilstm"] {
        let harness = with_shadow(&shipped(name)).await;
        let mut call = harness.acknowledged("measured").await;
        call.speak(&voice(4.0)).await;
        scored(&mut call, 8).await;
        let judged = || windows(&harness, "agreed") + windows(&harness, "differed");
        eventually!(
            {
                nudge(&call).await;
                judged() >= 5
            },
            true
        );
        eventually!(sum(&harness, "undertone_shadow_labels_total") == judged(), true);
        assert!(windows(&harness, "differed") > 0, "{name}");
        assert!(call.end().await.status.is_ok());

        let beside = told(&harness).await;
        assert_eq!(beside.responses.len(), expected.responses.len(), "{beside:?}");
        for (one, other) in beside.events().iter().zip(expected.events()) {
            let (one_p, other_p) = (probabilities(one), probabilities(other));
            assert_eq!(
                (one.sequence, one.end_samples, one_p.len()),
                (other.sequence, other.end_samples, other_p.len())
            );
            assert!(one_p.iter().zip(&other_p).all(|(a, b)| (a - b).abs() < 1e-5), "{one:?} is not {other:?}");
        }
        let (one, other) = (beside.summaries(EndReason::Completed), expected.summaries(EndReason::Completed));
        assert_eq!((one[0].scored_windows, one[0].shares.len()), (other[0].scored_windows, other[0].shares.len()));
        harness.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leg_that_may_not_be_analysed_reaches_no_shadow() {
    let harness = with_shadow(&tiny()).await;
    let mut config = AnalyzeConfig { legs: vec![leg(Role::Customer), leg(Role::Agent)], ..customer("c") };
    config.audio.as_mut().unwrap().channels = Some(2);
    let call = harness.call(config).await;
    let both: Vec<u8> = voice(4.0).into_iter().flat_map(|byte| [byte, byte]).collect();
    call.speak(&both).await;
    eventually!(
        {
            nudge(&call).await;
            sum(&harness, "undertone_windows_total{model=\"tiny\",outcome=\"scored\"}") == windows(&harness, "agreed")
                && windows(&harness, "agreed") >= 5
        },
        true
    );
    let closed = call.end().await;
    let agent = closed.summaries(EndReason::Completed)[1];
    assert_eq!((agent.leg_id.as_str(), agent.scored_windows), ("agent", 0));
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn under_load_the_shadow_gives_way_and_the_model_loses_nothing() {
    for shadow in [tiny(), shipped("telephone")] {
        let mut config: Config = config();
        config.shadow.model = Some(shadow);
        (config.inference.threads, config.inference.max_batch) = (Some(1), Some(2));
        config.inference.queue_capacity = Some(16);
        let gate = Gate::default();
        let harness = gate.serve(&config).await;
        let call = harness.acknowledged("c").await;
        // About 13 windows; at most two of them are under way.
        call.speak(&voice(7.0)).await;
        eventually!(harness.metric("undertone_queue_windows{model=\"tiny\"}").parse::<u64>().unwrap() >= 8, true);
        eventually!(windows(&harness, "skipped") > 0, true);
        gate.open();
        let closed = call.end().await;
        assert!(closed.status.is_ok(), "{closed:?}");
        assert!(closed.summaries(EndReason::Completed)[0].scored_windows >= 10, "{closed:?}");
        assert_eq!(harness.metric("undertone_windows_total{model=\"tiny\",outcome=\"shed\"}"), "0");
        harness.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shadow_that_cannot_be_had_is_refused_at_start() {
    let refused = |change: fn(&mut Config)| async move {
        let mut config = config();
        change(&mut config);
        Server::launch(&config).await.err().expect("no server").to_string()
    };
    let missing = refused(|config| config.shadow.model = Some("no/such/model".into())).await;
    assert!(missing.contains("shadow.model") && missing.contains("no/such/model"), "{missing}");
    let unknown = refused(|config| {
        config.shadow.model = Some(tiny());
        config.shadow.of = Some("huge".to_owned());
    })
    .await;
    assert!(unknown.contains("shadow.of") && unknown.contains("\"huge\"") && unknown.contains("tiny"), "{unknown}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shadow_comes_and_goes_by_a_reload_and_a_bad_one_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("undertone.toml");
    fs::write(&file, "").unwrap();
    let of_test = config();
    let flags = Flags { listen: Some(of_test.listen), admin: Some(of_test.admin), ..Flags::default() };
    let source = Source::new(Some(file.clone()), flags, vec![tiny()]);
    let harness = Harness::of(Server::launch_from(&source.read().unwrap(), source).await.unwrap()).await;
    let reload = |text: &str| {
        fs::write(&file, text).unwrap();
        let (status, body) = ask(harness.server.admin(), "POST", "/reload");
        (status, serde_json::from_str::<Value>(&body).unwrap())
    };
    let with = |model: &Path, more: &str| format!("[shadow]\nmodel = '{}'\n{more}", model.display());
    let running = || harness.metric("undertone_models_running");

    let (status, told) = reload(&with(&tiny(), ""));
    assert_eq!((status, &told["shadow"]["loaded"], &told["changed"][0]), (200, &true.into(), &"shadow.model".into()));
    assert_eq!(running(), "2");
    let (status, told) = reload(&with(&tiny(), "share = 0.5"));
    assert_eq!((status, &told["shadow"]["loaded"], running().as_str()), (200, &false.into(), "2"), "{told}");

    for (text, part) in [
        (with(&dir.path().join("nowhere"), ""), "nowhere"),
        (with(&tiny(), "of = 'huge'"), "huge"),
        (with(&tiny(), "share = 2.0"), "shadow.share"),
    ] {
        let (status, told) = reload(&text);
        assert!(status == 422 && told["error"].as_str().unwrap().contains(part), "{told}");
    }
    assert_eq!(running(), "2");
    assert_eq!(reload(&with(&tiny(), "")).0, 200);
    let mut call = harness.acknowledged("c").await;
    call.speak(&voice(2.0)).await;
    eventually!(
        {
            nudge(&call).await;
            windows(&harness, "agreed") > 0
        },
        true
    );
    call.event().await;
    let (status, told) = reload("");
    assert!(status == 200 && told.get("shadow").is_none(), "{told}");
    assert!(call.end().await.status.is_ok());
    // The last call that it heard is over.
    eventually!(running(), "1");
    let before = windows(&harness, "agreed");
    let mut unheard = harness.acknowledged("d").await;
    unheard.speak(&voice(2.0)).await;
    assert!(matches!(unheard.next().await, Some(Ok(Response::Event(_)))));
    assert_eq!(windows(&harness, "agreed"), before);
    harness.stop().await;
}
