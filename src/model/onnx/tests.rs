//! Real networks in the real ONNX Runtime.

use std::{fs, path::PathBuf};

use super::*;
use crate::{
    features::{FrontEnd, Standardization, WindowOptions, logmel8k},
    model::tiny::{self, FRAMES, LABELS, Shape, VALUES},
};

fn committed() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/models/tiny")
}

fn runtime() -> &'static Runtime {
    Runtime::load(None).expect("`make setup` fetches it")
}

/// Loads a network of this shape with a manifest changed as wanted.
fn load(shape: &Shape, change: impl FnOnce(&mut Manifest)) -> Result<Session, Error> {
    let folder = tempfile::tempdir().unwrap();
    let manifest = tiny::write(folder.path(), shape, change);
    Session::load(runtime(), &manifest, folder.path(), &Options::default())
}

fn told_of(shape: &Shape, change: impl FnOnce(&mut Manifest)) -> String {
    load(shape, change).unwrap_err().to_string()
}

fn assert_tells(message: &str, parts: &[&str]) {
    assert!(parts.iter().all(|part| message.contains(part)), "{message:?} lacks one of {parts:?}");
}

/// A window whose every number differs.
fn window(seed: usize, frames: usize) -> Vec<f32> {
    (0..frames * VALUES).map(|index| ((index * 31 + seed * 101) % 997) as f32 / 10.0 - 50.0).collect()
}

/// The network worked by hand.
fn expected(window: &[f32]) -> Vec<f32> {
    let frames = window.len() / VALUES;
    let mean =
        |value: usize| (0..frames).map(|frame| f64::from(window[frame * VALUES + value])).sum::<f64>() / frames as f64;
    let logit =
        |label| (0..VALUES).map(|value| mean(value) * f64::from(tiny::weight(value, label))).sum::<f64>() as f32;
    (0..LABELS.len()).map(logit).collect()
}

fn assert_close(actual: &[f32], expected: &[f32]) {
    assert_eq!(actual.len(), expected.len());
    for (actual, expected) in actual.iter().zip(expected) {
        assert!((actual - expected).abs() < 1e-3, "{actual} is not {expected}");
    }
}

#[test]
fn the_committed_model_gives_the_logits_worked_by_hand() {
    let manifest = Manifest::load(&committed()).unwrap();
    let mut session = Session::load(runtime(), &manifest, &committed(), &Options::default()).unwrap();
    let windows = [window(1, FRAMES), window(2, FRAMES), window(3, FRAMES)];
    let rows: Vec<Vec<f32>> = windows.iter().map(|window| session.run(window, 1).unwrap()).collect();
    for (window, row) in windows.iter().zip(&rows) {
        assert_close(row, &expected(window));
    }
    assert_ne!(rows[0], rows[1]);
    let batch = session.run(&windows.concat(), 3).unwrap();
    assert_close(&batch, &rows.concat());
}

#[test]
fn a_dynamic_time_axis_takes_other_lengths_and_a_fixed_one_does_not() {
    let short = window(4, 40);
    let mut dynamic = load(&Shape { frames: Size::Any("frames"), ..Shape::default() }, |_| {}).unwrap();
    assert_close(&dynamic.run_frames(&short, 1, 40).unwrap(), &expected(&short));
    assert_close(&dynamic.run(&short, 1).unwrap(), &expected(&short));
    let mut fixed = load(&Shape::default(), |_| {}).unwrap();
    assert!(fixed.run_frames(&short, 1, 40).is_err());
    let whole = window(5, FRAMES);
    assert_close(&fixed.run(&whole, 1).unwrap(), &expected(&whole));
}

#[test]
fn buckets_change_no_logits() {
    let dir = tempfile::tempdir().unwrap();
    let manifest = tiny::write(dir.path(), &Shape::default(), |_| {});
    let options = Options { buckets: vec![1, 4], ..Options::default() };
    let mut bucketed = Session::load(runtime(), &manifest, dir.path(), &options).unwrap();
    let windows: Vec<f32> = (0..7).flat_map(|seed| window(seed, FRAMES)).collect();
    for batch in 1..=7 {
        let windows = &windows[..batch * FRAMES * VALUES];
        let expected: Vec<f32> = windows.chunks(FRAMES * VALUES).flat_map(expected).collect();
        assert_close(&bucketed.run(windows, batch).unwrap(), &expected);
    }
}

#[test]
fn every_length_and_bucket_is_tried_out() {
    let mut manifest = tiny::manifest(b"");
    let tried = |manifest: &Manifest, buckets: &[usize]| {
        tried_out(manifest, &Options { buckets: buckets.to_vec(), ..Options::default() })
    };
    assert_eq!(tried(&manifest, &[1, 8]), [(1, FRAMES), (8, FRAMES)]);
    of_any_length(&mut manifest);
    assert_eq!(tried(&manifest, &[]), [(1, 8), (1, 30), (2, 30)]);
    assert_eq!(lengths(&manifest), [8, 16, 24, 30]);
    assert_eq!(tried(&manifest, &[1, 8]).len(), 8);
}

#[test]
fn a_provider_that_the_library_lacks_is_told_with_what_to_do() {
    for provider in [Provider::Cuda, Provider::Tensorrt] {
        if provider.is_in(runtime()) {
            eprintln!("skipped: this ONNX Runtime has {}", provider.name());
            continue;
        }
        let options = Options::on(provider, provider.max_batch());
        let manifest = Manifest::load(&committed()).unwrap();
        let error = Session::load(runtime(), &manifest, &committed(), &options).unwrap_err();
        assert_tells(&error.to_string(), &["\"tiny\"", provider.name(), "onnxruntime-gpu", "ORT_DYLIB_PATH"]);
        // What is wrong with the network is not laid to the provider.
        let dir = tempfile::tempdir().unwrap();
        let manifest = tiny::write(dir.path(), &Shape { labels: 7, ..Shape::default() }, |_| {});
        let error = Session::load(runtime(), &manifest, dir.path(), &options).unwrap_err();
        assert!(matches!(error, Error::Mismatch { .. }), "{error}");
    }
}

/// The manifest of a network that takes windows of 8, 16, 24 or 30 frames of `logmel8k`.
fn of_any_length(manifest: &mut Manifest) {
    manifest.front_end = FrontEnd::Logmel8k(logmel8k::Options::default());
    manifest.standardization = Standardization::identity(96);
    manifest.window = WindowOptions { frames: 30, grow_frames: Some(8), min_seconds: 0.3, ..manifest.window.clone() };
}

#[test]
fn windows_that_grow_need_a_dynamic_time_axis() {
    let shape = || Shape { frames: Size::Any("frames"), values: 96, ..Shape::default() };
    let mut session = load(&shape(), of_any_length).unwrap();
    for frames in [8, 24, 30] {
        assert_eq!(session.run(&vec![1.0; 2 * frames * 96], 2).unwrap().len(), 2 * LABELS.len());
    }
    let message = told_of(&Shape { frames: Size::Is(30), ..shape() }, of_any_length);
    assert_tells(&message, &["windows", "30", "expected [batch, frames, 96]"]);
}

#[test]
fn windows_of_another_size_are_an_error_with_both_sizes() {
    let mut session = load(&Shape::default(), |_| {}).unwrap();
    for (length, batch) in [(VALUES * FRAMES - 1, 1), (0, 0), (0, 1), (VALUES * FRAMES, 0), (1, 2)] {
        let message = session.run(&vec![0.0; length], batch).unwrap_err().to_string();
        assert_tells(&message, &[&format!("{length} numbers"), "expected"]);
    }
    let message = session.run_frames(&[0.0; VALUES], 1, FRAMES).unwrap_err().to_string();
    assert_tells(&message, &["154 numbers", "300 frames", "46200"]);
}

#[test]
fn logits_that_are_no_numbers_are_an_error() {
    let mut session = load(&Shape::default(), |_| {}).unwrap();
    let mut windows = window(6, FRAMES);
    windows[5] = f32::NAN;
    assert_tells(&session.run(&windows, 1).unwrap_err().to_string(), &["NaN", "expected a finite number"]);
    assert_tells(&told_of(&Shape { bias: f32::INFINITY, ..Shape::default() }, |_| {}), &["does not fit", "inf"]);
}

#[test]
fn a_graph_that_does_not_fit_its_manifest_is_told() {
    let shape = Shape::default;
    let cases = [
        (told_of(&shape(), |m| m.network.input = "audio".into()), vec!["input is windows", "expected audio"]),
        (told_of(&shape(), |m| m.network.output = "scores".into()), vec!["output is logits", "expected scores"]),
        (told_of(&shape(), |m| drop(m.labels.pop())), vec!["logits", "6", "expected [batch, 5]"]),
        (told_of(&Shape { labels: 7, ..shape() }, |_| {}), vec!["logits", "7", "expected [batch, 6]"]),
        (told_of(&Shape { values: 40, ..shape() }, |_| {}), vec!["windows", "40", "expected [batch, 300, 154]"]),
        (told_of(&shape(), |m| m.window.frames = 200), vec!["windows", "300", "expected [batch, 200, 154]"]),
        (told_of(&Shape { batch: Size::Is(1), ..shape() }, |_| {}), vec!["windows", "1", "expected [batch, 300, 154]"]),
    ];
    for (message, parts) in cases {
        assert_tells(&message, &parts);
        assert_tells(&message, &["\"tiny\"", "does not fit its manifest", "same training run"]);
    }
}

#[test]
fn what_is_not_a_network_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let mut manifest = tiny::manifest(b"not a network");
    fs::write(folder.path().join("model.onnx"), "not a network").unwrap();
    let error = Session::load(runtime(), &manifest, folder.path(), &Options::default()).unwrap_err();
    assert_tells(&error.to_string(), &["cannot read the network", "\"tiny\"", "opset 17"]);
    manifest.network.sha256 = "0".repeat(64);
    let error = Session::load(runtime(), &manifest, folder.path(), &Options::default()).unwrap_err();
    assert!(matches!(error, Error::Manifest(manifest::Error::Hash { .. })), "{error}");
}
