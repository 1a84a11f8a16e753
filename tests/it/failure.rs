//! Inference that fails for good.

use std::{
    fs,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use tonic::Code;
use undertone::{
    model::{Classifier, Error, Model},
    server::{
        Trigger,
        proto::{AnalyzeConfig, ClassifyRequest, EndReason, NotScoredReason, Role, emotion_event::Outcome},
    },
};

use crate::harness::{Harness, config, customer, notice, telephone, tiny, voice, within};

/// Fails in a way that no other classifier could mend.
struct Broken;

impl Classifier for Broken {
    fn run(&mut self, _windows: &[f32], _batch: usize) -> Result<Vec<f32>, Error> {
        panic!("the accelerator at 0xdeadbeef fell off the bus")
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_that_fails_ends_its_calls_and_harms_no_other() {
    // The same network under another name.
    let dir = tempfile::tempdir().unwrap();
    let manifest = fs::read_to_string(tiny().join("manifest.toml")).unwrap();
    fs::write(dir.path().join("manifest.toml"), manifest.replace("name = \"tiny\"", "name = \"broken\"")).unwrap();
    fs::copy(tiny().join("model.onnx"), dir.path().join("model.onnx")).unwrap();
    let mut config = config();
    config.models.push(dir.path().to_owned());
    // The second that is made is the first one's successor.
    config.inference.threads = Some(1);
    let made = Arc::new(AtomicUsize::new(0));
    let harness = Harness::with_backend(&config, |model: &Arc<Model>| {
        let (model, made) = (Arc::clone(model), Arc::clone(&made));
        move || -> Result<Box<dyn Classifier>, Error> {
            if model.manifest.name == "tiny" {
                return Ok(Box::new(model.session()?));
            }
            match made.fetch_add(1, Ordering::Relaxed) {
                0 => Ok(Box::new(Broken)),
                _ => Err(Error::Inference("no accelerator at 0xdeadbeef".to_owned())),
            }
        }
    })
    .await;

    let good = harness.acknowledged("good").await;
    let of_broken = |call_id| AnalyzeConfig { model: Some("broken".to_owned()), ..customer(call_id) };
    let bad = harness.call(of_broken("bad")).await;
    bad.speak(&voice(3.0)).await;
    let closed = bad.closed().await;
    assert_eq!(closed.summaries(EndReason::Failed)[0].scored_windows, 0);
    let failed = Some(Outcome::NotScored(NotScoredReason::Failed.into()));
    assert!(closed.events().iter().any(|event| event.outcome == failed), "{closed:?}");
    let status = closed.refused(Code::Internal);
    assert!(!status.message().contains("deadbeef") && status.message().contains("another model"), "{status:?}");

    harness.call(of_broken("late")).await.closed().await.refused(Code::Internal);
    eventually!(harness.get("/readyz").0, 503);

    good.speak(&voice(3.0)).await;
    let closed = good.end().await;
    assert!(closed.status.is_ok(), "{closed:?}");
    assert!(closed.summaries(EndReason::Completed)[0].scored_windows >= 3);

    // The accelerator is back: reading the models again makes the failed one anew.
    harness.server.reload(Trigger::Admin).await.unwrap();
    eventually!(harness.get("/readyz").0, 200);
    let mended = harness.call(of_broken("mended")).await;
    mended.speak(&voice(3.0)).await;
    assert!(mended.end().await.summaries(EndReason::Completed)[0].scored_windows >= 3);
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recording_whose_model_fails_is_refused_even_while_its_windows_wait() {
    let mut config = config();
    // So that the last window is back before the recording is all in.
    config.session.max_windows_out = 1;
    let made = Arc::new(AtomicUsize::new(0));
    let harness = Harness::with_backend(&config, |_: &Arc<Model>| {
        let made = Arc::clone(&made);
        move || -> Result<Box<dyn Classifier>, Error> {
            match made.fetch_add(1, Ordering::Relaxed) {
                0 => Ok(Box::new(Broken)),
                _ => Err(Error::Inference("no accelerator".to_owned())),
            }
        }
    })
    .await;
    let recording = ClassifyRequest {
        audio: Some(telephone()),
        data: voice(5.0).into(),
        role: Role::Customer.into(),
        notice: Some(notice()),
        ..ClassifyRequest::default()
    };
    let status = within("an answer", harness.client.clone().classify(recording)).await.unwrap_err();
    assert_eq!(status.code(), Code::Internal, "{status:?}");
    assert!(status.message().contains("another model"), "{status:?}");
    assert_eq!(harness.metric("undertone_calls_refused_total{reason=\"failed\"}"), "1");
}
