//! What runs the models: refused where it cannot be had, told where another takes its place, and alike in its scores.
//!
//! The ONNX Runtime of `make setup` has the CPU alone, and with it these tests see that CUDA is refused. With one for GPUs
//! (docs/operating.md) on a machine with a GPU, what a GPU answers is compared with what the CPU answers:
//! `UNDERTONE_TEST_CUDA=1 ORT_DYLIB_PATH=… cargo test --test it providers -- --nocapture`, which fails where there is no GPU.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;
use undertone::{
    config::{Config, Flags, Source},
    model::{
        Classifier as _, Manifest, Model,
        onnx::{self, Options, Provider, Runtime},
    },
    server::{
        Server,
        proto::{GetModelRequest, ListModelsRequest, analyze_response::Message as Response},
    },
};

use crate::harness::{Harness, ask, config, customer, tiny, voice};

/// Set by who has a GPU, so that a test which does not find it fails.
const WANTED: &str = "UNDERTONE_TEST_CUDA";

/// Whether this library can be asked for CUDA; the tests of its absence say so and pass.
#[expect(clippy::print_stderr, reason = "who reads the tests' output is to know what was left out")]
fn has_cuda() -> bool {
    let there = Provider::Cuda.is_in(Runtime::load(None).unwrap());
    if there {
        eprintln!("skipped: this ONNX Runtime has CUDA");
    }
    there
}

fn on_cuda(fallback_to_cpu: bool) -> Config {
    let mut config = config();
    config.inference.provider = Provider::Cuda;
    config.inference.fallback_to_cpu = fallback_to_cpu;
    config
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_is_not_there_is_refused_at_start() {
    if has_cuda() {
        return;
    }
    let refused = Server::launch(&on_cuda(false)).await.err().expect("no server").to_string();
    for part in [
        "\"tiny\"",
        "cuda",
        "onnxruntime-gpu",
        "ORT_DYLIB_PATH",
        "; or choose the provider cpu, or set inference.fallback_to_cpu",
    ] {
        assert_eq!(refused.matches(part).count(), 1, "{part} in {refused}");
    }
    assert!(!refused.contains(".;"), "{refused}");
}

#[test]
fn every_command_that_runs_models_takes_a_provider_and_says_what_is_missing() {
    if has_cuda() {
        return;
    }
    let clip = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data/crema-d/1015_IWW_ANG_XX.flac");
    let (model, clip) = (tiny().display().to_string(), clip.display().to_string());
    let data = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data/crema-d").display().to_string();
    let served = ["serve", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--model", &model];
    let of_server = "set inference.fallback_to_cpu = true";
    let of_command = "leave out --provider";
    for (command, way_out, other) in [
        (&served[..], of_server, of_command),
        (&["classify", &clip, "--model", &model], of_command, of_server),
        (&["evaluate", "--model", &model, "--data", &data], of_command, of_server),
        (&["bench", "--calls", "1", "--seconds", "1"], of_server, of_command),
    ] {
        let output =
            Command::new(env!("CARGO_BIN_EXE_undertone")).args(command).args(["--provider", "cuda"]).output().unwrap();
        let err = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{command:?}: {err}");
        assert!(err.contains("onnxruntime-gpu") && err.contains("cuda") && !err.contains(".;"), "{command:?}: {err}");
        assert!(err.contains(way_out) && !err.contains(other), "{command:?}: {err}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fallback_is_told_wherever_one_looks_and_scores_as_the_cpu_does() {
    if has_cuda() {
        return;
    }
    let harness = Harness::of(Server::launch(&on_cuda(true)).await.unwrap()).await;
    let mut client = harness.client.clone();
    let listed = client.list_models(ListModelsRequest {}).await.unwrap().into_inner().models;
    let got = client.get_model(GetModelRequest::default()).await.unwrap().into_inner().model.unwrap();
    for model in [&listed[0], &got] {
        assert_eq!(model.provider, "cpu");
        let reason = model.provider_fallback_reason();
        assert!(reason.starts_with("cannot run on cuda: ") && reason.contains("onnxruntime-gpu"), "{reason}");
        assert!(!reason.contains("fallback_to_cpu") && !reason.contains(".;"), "it is set already: {reason}");
    }
    assert_eq!(harness.metric("undertone_model_fell_back{model=\"tiny\"}"), "1");
    assert_eq!(harness.metric("undertone_model_provider{model=\"tiny\",provider=\"cpu\"}"), "1");
    assert_eq!(harness.metric("undertone_model_provider{model=\"tiny\",provider=\"cuda\"}"), "0");
    let (status, body) = harness.get("/readyz");
    assert!(status == 200 && body.contains("model \"tiny\" runs on the CPU"), "{body}");
    assert_eq!(body.matches("\"tiny\"").count(), 1, "{body}");
    let call = harness.acknowledged("c").await;
    call.speak(&voice(3.0)).await;
    let closed = call.end().await;
    assert!(closed.events().iter().any(|event| event.smoothed.is_some()), "{closed:?}");
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn models_that_run_as_configured_tell_no_fallback() {
    let harness = Harness::start().await;
    let got = harness.client.clone().get_model(GetModelRequest::default()).await.unwrap().into_inner().model.unwrap();
    assert_eq!((got.provider.as_str(), got.provider_fallback_reason), ("cpu", None));
    assert_eq!(harness.metric("undertone_model_fell_back{model=\"tiny\"}"), "0");
    assert_eq!(harness.get("/readyz"), (200, "ready\n".to_owned()));
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_refuses_a_provider_that_is_not_there_and_everything_stays() {
    if has_cuda() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("undertone.toml");
    fs::write(&file, "").unwrap();
    let (of_test, models) = (config(), vec![tiny()]);
    let flags = Flags { listen: Some(of_test.listen), admin: Some(of_test.admin), ..Flags::default() };
    let source = Source::new(Some(file.clone()), flags, models);
    let harness = Harness::of(Server::launch_from(&source.read().unwrap(), source).await.unwrap()).await;
    let reload = || {
        let (status, body) = ask(harness.server.admin(), "POST", "/reload");
        (status, serde_json::from_str::<Value>(&body).unwrap())
    };
    let live = harness.acknowledged("live").await;
    fs::write(&file, "[inference]\nprovider = 'cuda'\n").unwrap();
    let (status, told) = reload();
    assert!(status == 422 && told["error"].as_str().unwrap().contains("onnxruntime-gpu"), "{told}");
    fs::write(&file, "[inference]\nprovider = 'gpu'\n").unwrap();
    let (status, told) = reload();
    assert!(status == 422 && told["error"].as_str().unwrap().contains("cuda"), "{told}");
    assert_eq!(harness.metric("undertone_model_fell_back{model=\"tiny\"}"), "0");
    let mut other = harness.call(customer("other")).await;
    assert!(matches!(other.next().await, Some(Ok(Response::Acknowledgement(_)))));

    fs::write(&file, "[inference]\nprovider = 'cuda'\nfallback_to_cpu = true\n").unwrap();
    let (status, told) = reload();
    assert_eq!((status, &told["models"][0]["provider"]), (200, &Value::from("cpu")), "{told}");
    assert!(told["warnings"][0].as_str().unwrap().contains("runs on the CPU"), "{told}");
    assert_eq!(harness.metric("undertone_model_fell_back{model=\"tiny\"}"), "1");
    live.speak(&voice(2.0)).await;
    assert!(!live.end().await.events().is_empty());
    drop(other);
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_that_a_reload_takes_out_is_told_to_run_on_nothing() {
    if has_cuda() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let other = dir.path().join("other");
    fs::create_dir(&other).unwrap();
    fs::copy(tiny().join("model.onnx"), other.join("model.onnx")).unwrap();
    let mut manifest = Manifest::load(&tiny()).unwrap();
    manifest.name = "other".to_owned();
    manifest.save(&other).unwrap();
    let file = dir.path().join("undertone.toml");
    let write = |model: &Path, rest: &str| fs::write(&file, format!("models = [{model:?}]\n{rest}")).unwrap();
    let fallback = "[inference]\nprovider = 'cuda'\nfallback_to_cpu = true\n";
    write(&tiny(), fallback);
    let of_test = config();
    let flags = Flags { listen: Some(of_test.listen), admin: Some(of_test.admin), ..Flags::default() };
    let source = Source::new(Some(file.clone()), flags, vec![]);
    let harness = Harness::of(Server::launch_from(&source.read().unwrap(), source).await.unwrap()).await;
    let told = |model: &str| {
        let on_cpu = format!("undertone_model_provider{{model=\"{model}\",provider=\"cpu\"}}");
        let fell_back = format!("undertone_model_fell_back{{model=\"{model}\"}}");
        [on_cpu, fell_back].map(|line| harness.metric(&line))
    };
    let reload = || ask(harness.server.admin(), "POST", "/reload").0;
    assert_eq!(told("tiny"), ["1", "1"]);
    write(&other, "");
    assert_eq!(reload(), 200);
    // The shipped alert looks for the highest of all.
    assert_eq!((told("tiny"), told("other")), (["0", "0"].map(str::to_owned), ["1", "0"].map(str::to_owned)));
    // What is refused is told of nowhere.
    write(&tiny(), &format!("{fallback}[alerts]\nrules = '/no/such/rules.toml'\n"));
    assert_eq!(reload(), 422);
    assert_eq!((told("tiny"), told("other")), (["0", "0"].map(str::to_owned), ["1", "0"].map(str::to_owned)));
    write(&tiny(), fallback);
    assert_eq!(reload(), 200);
    assert_eq!((told("tiny"), told("other")), (["1", "1"].map(str::to_owned), ["0", "0"].map(str::to_owned)));
    harness.stop().await;
}

#[test]
fn a_gpu_scores_as_the_cpu_does_at_every_length_and_batch() {
    let runtime = Runtime::load(None).unwrap();
    let options = Options::on(Provider::Cuda, Provider::Cuda.max_batch());
    for name in ["telephone", "cnn-bilstm"] {
        let dir = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("models").join(name);
        let on_gpu = match Model::load(runtime, &dir, options.clone()) {
            Ok(model) => model,
            Err(error @ onnx::Error::Provider { .. }) if std::env::var_os(WANTED).is_none() => {
                eprintln!("skipped, nothing was compared: {error}");
                return;
            }
            Err(error) => panic!("{error}"),
        };
        let on_cpu = Model::load(runtime, &dir, Options::default()).unwrap();
        let (mut gpu, mut cpu) = (on_gpu.session().unwrap(), on_cpu.session().unwrap());
        let manifest = &on_cpu.manifest;
        let lengths = match manifest.window.grow_frames {
            Some(grow) => (grow..manifest.window.frames).step_by(grow).chain([manifest.window.frames]).collect(),
            None => vec![manifest.window.frames],
        };
        // Between the buckets as well, and beyond the largest.
        for (frames, batch) in
            lengths.iter().flat_map(|&frames| [1, 2, 8, 13, 16, 32, 64, 70].map(|batch| (frames, batch)))
        {
            let values = batch * frames * manifest.front_end.values();
            let windows: Vec<f32> = (0..values).map(|n| ((n * 31 + n / 97 * 7) % 199) as f32 / 66.0 - 1.5).collect();
            let (gpu, cpu) = (gpu.run(&windows, batch).unwrap(), cpu.run(&windows, batch).unwrap());
            let labels = manifest.labels.len();
            for (gpu, cpu) in gpu.chunks(labels).zip(cpu.chunks(labels)) {
                let [gpu, cpu] = [gpu, cpu].map(|row| manifest.calibration.judge(row));
                let apart =
                    gpu.probabilities.iter().zip(&cpu.probabilities).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
                assert!(apart < 1e-3, "{name}, {batch} windows of {frames} frames: {gpu:?} is not {cpu:?}");
            }
        }
        eprintln!("{name}: CUDA and CPU agree within 0.001");
    }
}
