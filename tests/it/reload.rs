//! Models, configuration and rules read again while calls are live.

use std::{fs, path::Path};

use serde_json::Value;
use tempfile::TempDir;
use undertone::{
    config::{Flags, Source},
    model::Manifest,
    server::{
        Server,
        proto::{
            EmotionEvent, EndReason, GetModelRequest, ListModelsRequest, Model, analyze_response::Message as Response,
            emotion_event::Outcome,
        },
    },
};

use crate::harness::{Call, Closed, Harness, ask, config, customer, tiny, voice};

mod leak;
mod rules;

/// A folder with the tiny model, which can be given other versions.
struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        fs::copy(tiny().join("model.onnx"), folder.path().join("model.onnx")).unwrap();
        folder.version("1", 1.5);
        folder
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    /// Gives it another version, which is less sure of itself the higher its temperature is.
    fn version(&self, version: &str, temperature: f32) {
        let mut manifest = Manifest::load(&tiny()).unwrap();
        manifest.version = version.to_owned();
        manifest.calibration.temperature = temperature;
        manifest.save(self.path()).unwrap();
    }
}

/// A server of the folder's model.
async fn serve(folder: &Folder) -> Harness {
    Harness::with(|config| config.models = vec![folder.path().to_owned()]).await
}

/// Posts to /reload; the status, and the answer's JSON.
async fn reload(harness: &Harness) -> (u16, Value) {
    let admin = harness.server.admin();
    let asked = tokio::task::spawn_blocking(move || ask(admin, "POST", "/reload"));
    let (status, body) = asked.await.unwrap();
    (status, serde_json::from_str(&body).unwrap_or_else(|error| panic!("{error}: {body}")))
}

async fn acknowledged(harness: &Harness, call_id: &str) -> (Call, Model) {
    let mut call = harness.call(customer(call_id)).await;
    let Some(Ok(Response::Acknowledgement(told))) = call.next().await else { panic!("no acknowledgement") };
    (call, told.model.unwrap())
}

async fn current(harness: &Harness) -> Model {
    let mut client = harness.client.clone();
    let listed = client.list_models(ListModelsRequest {}).await.unwrap().into_inner().models;
    let got = client.get_model(GetModelRequest::default()).await.unwrap().into_inner().model.unwrap();
    assert_eq!(listed.first(), Some(&got));
    got
}

fn confidences(closed: &Closed) -> Vec<f32> {
    let confidence = |event: &&EmotionEvent| match &event.outcome {
        Some(Outcome::Emotion(emotion)) => Some(emotion.confidence),
        _ => None,
    };
    closed.events().iter().filter_map(confidence).collect()
}

fn running(harness: &Harness) -> String {
    harness.metric("undertone_models_running")
}

fn counted(harness: &Harness, result: &str) -> String {
    harness.metric(&format!("undertone_reloads_total{{result=\"{result}\"}}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leg_finishes_on_its_model_while_new_ones_get_the_new() {
    let folder = Folder::new();
    let harness = serve(&folder).await;
    let undisturbed = {
        let call = harness.acknowledged("undisturbed").await;
        call.speak(&voice(6.0)).await;
        confidences(&call.end().await)
    };
    let (call, model) = acknowledged(&harness, "old").await;
    assert_eq!(model.version, "1");
    call.speak(&voice(6.0)[..3 * 8000]).await;
    folder.version("2", 4.0);
    let (status, told) = reload(&harness).await;
    assert_eq!((status, &told["result"]), (200, &Value::from("taken")), "{told}");
    assert_eq!((&told["models"][0]["version"], &told["models"][0]["loaded"]), (&"2".into(), &true.into()));
    let now = current(&harness).await;
    assert_eq!((now.version.as_str(), now.temperature), ("2", 4.0));
    let (other, model) = acknowledged(&harness, "new").await;
    assert_eq!(model.version, "2");
    assert_eq!(running(&harness), "2");
    call.speak(&voice(6.0)[3 * 8000..]).await;
    other.speak(&voice(6.0)).await;
    let (old, new) = (call.end().await, other.end().await);
    old.summaries(EndReason::Completed);
    let (old, new) = (confidences(&old), confidences(&new));
    // A window in another batch differs by its last digit.
    let alike = old.iter().zip(&undisturbed).all(|(a, b)| (a - b).abs() < 1e-5);
    assert!(old.len() == undisturbed.len() && alike, "as if nothing had happened: {old:?}, {undisturbed:?}");
    assert!(new.len() == old.len() && new.last() < old.last(), "the hotter model is less sure: {new:?}, {old:?}");
    eventually!(running(&harness), "1");
    assert_eq!((counted(&harness, "taken"), counted(&harness, "refused")), ("1".to_owned(), "0".to_owned()));
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_model_is_refused_and_the_old_one_stays() {
    let folder = Folder::new();
    let harness = serve(&folder).await;
    let (call, _) = acknowledged(&harness, "live").await;
    call.speak(&voice(2.0)).await;
    let network = folder.path().join("model.onnx");
    let whole = fs::read(&network).unwrap();
    folder.version("2", 1.0);
    fs::write(&network, &whole[..whole.len() / 2]).unwrap();
    let (status, told) = reload(&harness).await;
    let error = told["error"].as_str().unwrap();
    assert_eq!((status, &told["result"]), (422, &Value::from("refused")));
    assert!(error.contains(&*folder.path().to_string_lossy()) && error.contains("SHA-256"), "{error}");
    assert_eq!((current(&harness).await.version.as_str(), running(&harness).as_str()), ("1", "1"));
    assert_eq!(harness.metric("undertone_last_reload_successful"), "0");
    assert_eq!(harness.get("/readyz").0, 200);
    let (new, model) = acknowledged(&harness, "new").await;
    assert_eq!(model.version, "1");
    for call in [call, new] {
        call.speak(&voice(2.0)).await;
        assert!(!call.end().await.events().is_empty());
    }
    fs::write(&network, &whole).unwrap();
    assert_eq!(reload(&harness).await.0, 200);
    assert_eq!(current(&harness).await.version, "2");
    assert_eq!(harness.metric("undertone_last_reload_successful"), "1");
    harness.stop().await;
}

/// A server by a file of configuration.
async fn serve_by(file: &Path, folder: &Folder) -> Harness {
    let config = config();
    let flags = Flags { listen: Some(config.listen), admin: Some(config.admin), ..Flags::default() };
    let source = Source::new(Some(file.to_owned()), flags, vec![folder.path().to_owned()]);
    Harness::of(Server::launch_from(&source.read().unwrap(), source).await.unwrap()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_configuration_is_taken_whole_or_refused_and_what_needs_a_restart_is_named() {
    let folder = Folder::new();
    let file = folder.path().join("undertone.toml");
    fs::write(&file, "[session]\nmax_legs = 2\n").unwrap();
    let harness = serve_by(&file, &folder).await;
    assert_eq!(reload(&harness).await.1["result"], "unchanged");

    for (text, part) in [("[session]\nmax_leg = 1\n", "max_leg"), ("[session]\nmax_legs = 0\n", "session.max_legs")] {
        fs::write(&file, text).unwrap();
        let (status, told) = reload(&harness).await;
        assert!(status == 422 && told["error"].as_str().unwrap().contains(part), "{told}");
    }
    // Good but for the rules: nothing of it is taken.
    fs::write(&file, "[session]\nmax_legs = 1\n[alerts]\nrules = '/no/such/rules.toml'\n").unwrap();
    let (status, told) = reload(&harness).await;
    assert!(status == 422 && told["error"].as_str().unwrap().contains("/no/such/rules.toml"), "{told}");
    let both = [acknowledged(&harness, "a").await.0, acknowledged(&harness, "b").await.0];

    fs::write(&file, "[session]\nmax_legs = 3\n[policy]\nrequire_notice = false\n[journal]\nbuffer = 99\n").unwrap();
    let (status, told) = reload(&harness).await;
    assert_eq!(status, 200, "{told}");
    assert_eq!(told["changed"], serde_json::json!(["policy.require_notice", "session.max_legs"]));
    assert_eq!(told["needs_restart"], serde_json::json!(["journal.buffer"]));
    assert_eq!((&told["models"][0]["loaded"], running(&harness).as_str()), (&false.into(), "1"));
    let mut unannounced = customer("c");
    unannounced.notice = None;
    let mut call = harness.call(unannounced).await;
    assert!(matches!(call.next().await, Some(Ok(Response::Acknowledgement(_)))), "a third leg, without notice");
    drop((call, both));
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_that_the_next_start_would_miss_is_warned_of() {
    let folder = Folder::new();
    let file = folder.path().join("undertone.toml");
    fs::write(&file, "").unwrap();
    let harness = serve_by(&file, &folder).await;
    let secret = folder.path().join("secret");
    fs::write(&file, format!("[webhook]\nurls = ['http://127.0.0.1:9/x']\nsecret_file = {secret:?}\n")).unwrap();
    let (status, told) = reload(&harness).await;
    assert_eq!((status, &told["needs_restart"]), (200, &serde_json::json!(["webhook.secret_file", "webhook.urls"])));
    let warning = told["warnings"][0].as_str().unwrap();
    let named = format!("cannot read webhook.secret_file {}", secret.display());
    assert!(warning.starts_with("the next start will fail: ") && warning.contains(&named), "{warning}");
    fs::write(&secret, "").unwrap();
    assert!(reload(&harness).await.1["warnings"][0].as_str().unwrap().contains("webhook.secret_file"));
    fs::write(&secret, "0123456789abcdef0123456789abcdef").unwrap();
    assert_eq!(reload(&harness).await.1["warnings"], serde_json::json!([]));
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn reloads_at_the_same_time_take_turns() {
    let folder = Folder::new();
    let harness = serve(&folder).await;
    let (call, _) = acknowledged(&harness, "live").await;
    call.speak(&voice(2.0)).await;
    folder.version("2", 2.0);
    let reloads = futures_util::future::join_all((0..8).map(|_| reload(&harness))).await;
    let results: Vec<&Value> = reloads.iter().map(|(_, told)| &told["result"]).collect();
    assert_eq!(results.iter().filter(|result| **result == "taken").count(), 1, "{results:?}");
    assert_eq!(results.iter().filter(|result| **result == "unchanged").count(), 7, "{results:?}");
    assert!(reloads.iter().all(|(status, told)| *status == 200 && told["models"][0]["version"] == "2"));
    assert_eq!(running(&harness), "2");
    assert!(call.end().await.status.is_ok());
    eventually!(running(&harness), "1");
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_after_a_reload_ends_the_legs_of_both_models() {
    let folder = Folder::new();
    let harness = serve(&folder).await;
    let (old, _) = acknowledged(&harness, "old").await;
    folder.version("2", 2.0);
    assert_eq!(reload(&harness).await.0, 200);
    let (new, _) = acknowledged(&harness, "new").await;
    old.speak(&voice(2.0)).await;
    new.speak(&voice(2.0)).await;
    let ended = tokio::spawn(async { (old.closed().await, new.closed().await) });
    harness.stop().await;
    let (old, new) = ended.await.unwrap();
    old.summaries(EndReason::Draining);
    new.summaries(EndReason::Draining);
}
