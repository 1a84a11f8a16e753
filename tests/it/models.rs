//! Which models there are.

use std::fs;

use tonic::Code;
use tonic_types::StatusExt as _;
use undertone::server::proto::{GetModelRequest, ListModelsRequest, analyze_response::Message as Response};

use crate::harness::{Harness, customer, tiny};

fn named(name: &str) -> GetModelRequest {
    GetModelRequest { name: name.to_owned() }
}

#[tokio::test(flavor = "multi_thread")]
async fn models_are_listed_and_described() {
    let harness = Harness::start().await;
    let mut client = harness.client.clone();
    let listed = client.list_models(ListModelsRequest {}).await.unwrap().into_inner().models;
    let [tiny] = listed.as_slice() else { panic!("{listed:?}") };
    assert_eq!((tiny.name.as_str(), tiny.front_end.as_str(), tiny.provider.as_str()), ("tiny", "thesis154", "cpu"));
    assert_eq!(tiny.labels, ["angry", "disgust", "fear", "happy", "neutral", "sad"]);
    assert_eq!((tiny.sample_rate_hertz, tiny.sha256.len()), (22_050, 64));
    assert_eq!(tiny.bandwidths, ["wide", "telephone"]);
    // 300 frames of 512 samples at 22,050 Hz.
    let window = tiny.window.unwrap();
    assert_eq!((window.seconds, window.nanos / 1_000_000), (6, 965));
    assert_eq!(tiny.min_window.unwrap().seconds, 1);
    for name in ["tiny", ""] {
        let model = client.get_model(named(name)).await.unwrap().into_inner().model;
        assert_eq!(model.as_ref(), Some(tiny), "{name:?}");
    }
    let status = client.get_model(named("huge")).await.unwrap_err();
    assert_eq!(status.code(), Code::NotFound);
    assert!(status.message().contains("tiny"), "{status:?}");
    assert_eq!(status.get_details_resource_info().unwrap().resource_name, "huge");
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_outside_the_models_bandwidths_is_warned() {
    let dir = tempfile::tempdir().unwrap();
    let manifest = fs::read_to_string(tiny().join("manifest.toml")).unwrap();
    let both = "bandwidths = [\"wide\", \"telephone\"]";
    assert!(manifest.contains(both), "{manifest}");
    fs::write(dir.path().join("manifest.toml"), manifest.replace(both, "bandwidths = [\"wide\"]")).unwrap();
    fs::copy(tiny().join("model.onnx"), dir.path().join("model.onnx")).unwrap();
    let harness = Harness::with(|config| config.models = vec![dir.path().to_owned()]).await;
    for (rate, warnings) in [(8_000, 1), (16_000, 0)] {
        let mut config = customer("c");
        config.audio.as_mut().unwrap().sample_rate_hertz = rate;
        let mut call = harness.call(config).await;
        let Some(Ok(Response::Acknowledgement(told))) = call.next().await else { panic!("no acknowledgement") };
        assert_eq!(told.warnings.len(), warnings, "{told:?}");
        assert!(told.warnings.iter().all(|warning| warning.contains("telephone audio")), "{told:?}");
        assert!(call.end().await.status.is_ok());
    }
    harness.stop().await;
}
