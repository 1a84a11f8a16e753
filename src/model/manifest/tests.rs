//! Manifests as files: what is written reads back, and what is wrong is told so that it can be mended.

use std::{fs, path::Path};

use proptest::prelude::*;
use tempfile::{TempDir, tempdir};

use super::*;
use crate::model::{onnx::graph::Size, tiny};

fn written() -> (TempDir, Manifest) {
    let folder = tempdir().unwrap();
    let manifest = tiny::write(folder.path(), &tiny::Shape::default(), |_| {});
    (folder, manifest)
}

/// The message of loading a manifest whose text was changed.
fn told_of(change: impl FnOnce(String) -> String) -> String {
    let (folder, _) = written();
    let path = folder.path().join(FILE_NAME);
    let before = fs::read_to_string(&path).unwrap();
    let after = change(before.clone());
    assert_ne!(before, after, "the change changed nothing");
    fs::write(&path, after).unwrap();
    Manifest::load(folder.path()).unwrap_err().to_string()
}

fn assert_tells(message: &str, parts: &[&str]) {
    assert!(parts.iter().all(|part| message.contains(part)), "{message:?} lacks one of {parts:?}");
    assert!(!message.contains('\n'), "{message:?} is more than a line");
}

#[test]
fn what_is_saved_is_loaded() {
    let (folder, manifest) = written();
    assert_eq!(Manifest::load(folder.path()).unwrap(), manifest);
    let network = manifest.read_network(folder.path()).unwrap();
    assert_eq!(sha256_hex(&network), manifest.network.sha256);
    let mut names: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["manifest.toml", "model.onnx"], "nothing else is left behind");
}

#[test]
fn the_telephone_front_end_and_windows_that_grow_are_saved_and_loaded() {
    let folder = tempdir().unwrap();
    let shape = tiny::Shape { frames: Size::Any("frames"), values: 96, ..tiny::Shape::default() };
    let manifest = tiny::write(folder.path(), &shape, |manifest| {
        manifest.front_end = FrontEnd::Logmel8k(crate::features::logmel8k::Options::default());
        manifest.standardization = Standardization::identity(96);
        manifest.window = WindowOptions { frames: 122, grow_frames: Some(8), ..manifest.window.clone() };
    });
    assert_eq!(Manifest::load(folder.path()).unwrap(), manifest);
    let text = fs::read_to_string(folder.path().join(FILE_NAME)).unwrap();
    for line in ["name = \"logmel8k\"", "frame_samples = 512", "baseline_seconds = 60.0", "grow_frames = 8"] {
        assert!(text.contains(line), "{line} in {text}");
    }
    let message = Manifest { window: WindowOptions { grow_frames: Some(123), ..manifest.window.clone() }, ..manifest };
    assert_tells(&message.validate().unwrap_err().to_string(), &["window.grow_frames = 123", "from 1 to 122"]);
}

#[test]
fn a_folder_is_made_where_there_is_none() {
    let (folder, manifest) = written();
    let deep = folder.path().join("models").join("fresh");
    manifest.save(&deep).unwrap();
    assert_eq!(Manifest::load(&deep).unwrap(), manifest);
}

#[test]
fn the_hash_is_that_of_sha256sum() {
    // FIPS 180-2, appendix B.1.
    assert_eq!(sha256_hex(b"abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

#[test]
fn a_folder_without_a_manifest_is_told() {
    let folder = tempdir().unwrap();
    assert_tells(&Manifest::load(folder.path()).unwrap_err().to_string(), &["manifest.toml", "undertone train"]);
}

#[test]
fn a_folder_without_the_network_or_with_another_is_told() {
    let (folder, manifest) = written();
    let path = folder.path().join("model.onnx");
    fs::write(&path, "another").unwrap();
    let message = manifest.read_network(folder.path()).unwrap_err().to_string();
    assert_tells(&message, &["model.onnx", &manifest.network.sha256, &sha256_hex(b"another"), "copy"]);
    fs::remove_file(&path).unwrap();
    assert_tells(&manifest.read_network(folder.path()).unwrap_err().to_string(), &["no ", "model.onnx", "copy"]);
}

#[test]
fn a_field_that_is_unknown_missing_or_of_the_wrong_type_is_told_with_its_line() {
    let unknown = told_of(|text| text.replace("opset = 17", "opset = 17\nprovider = \"cuda\""));
    assert_tells(&unknown, &["manifest.toml:13: ", "unknown field", "provider"]);
    assert_tells(&told_of(|text| text.replace("opset = 17\n", "")), &["missing field", "opset"]);
    assert_tells(&told_of(|text| text.replace("opset = 17", "opset = \"x\"")), &["manifest.toml:12: ", "invalid type"]);
    assert_tells(&told_of(|text| text.replace("[network]", "[network")), &["manifest.toml:9: "]);
    assert_tells(&told_of(|text| text.replace("\"thesis154\"", "\"thesis155\"")), &["thesis155"]);
    assert_tells(&told_of(|text| text.replace("format = 1\n", "")), &["missing field", "format"]);
}

#[test]
fn another_format_is_told_before_its_fields() {
    let message = told_of(|text| text.replace("format = 1", "format = 2\nnew_in_2 = true"));
    assert_tells(&message, &["format 2", "expected 1"]);
}

#[test]
fn values_that_do_not_fit_are_told_by_field() {
    type Change = fn(&mut Manifest);
    let cases: &[(Change, &[&str])] = &[
        (|m| m.format = 3, &["format 3"]),
        (|m| m.name = "a model".into(), &["name", "a model"]),
        (|m| m.name = String::new(), &["name"]),
        (|m| m.name = "x".repeat(65), &["name", "64"]),
        (|m| m.version = String::new(), &["version"]),
        (|m| m.labels.clear(), &["labels", "has 0"]),
        (|m| m.labels[2] = " ".into(), &["labels", "empty"]),
        (|m| m.labels[2] = "angry".into(), &["labels", "\"angry\" twice"]),
        (|m| m.labels[2] = "Uncertain".into(), &["labels", "Uncertain", "rename"]),
        (|m| m.bandwidths.clear(), &["bandwidths", "telephone"]),
        (|m| m.network.file = "../model.onnx".into(), &["network.file", "beside the manifest"]),
        (|m| m.network.file = "/etc/model.onnx".into(), &["network.file"]),
        (|m| m.network.file = "sub/model.onnx".into(), &["network.file"]),
        (|m| m.network.file = "sub\\model.onnx".into(), &["network.file"]),
        (|m| m.network.file = "..".into(), &["network.file"]),
        (|m| m.network.file = "model.onnx/".into(), &["network.file"]),
        (|m| m.network.file = String::new(), &["network.file"]),
        (|m| m.network.sha256.truncate(63), &["network.sha256", "64"]),
        (|m| m.network.sha256 = m.network.sha256.to_uppercase(), &["network.sha256", "lower case"]),
        (|m| m.network.output = "windows".into(), &["network", "input and output"]),
        (|m| m.window.frames = 0, &["window.frames = 0"]),
        (|m| m.window.min_seconds = 7.0, &["window.min_seconds = 7", "6.96"]),
        (|m| m.window.min_seconds = f32::NAN, &["window.min_seconds"]),
        (|m| m.window.min_speech_ratio = 1.5, &["window.min_speech_ratio = 1.5"]),
        (|m| m.window.clear_after_seconds = -1.0, &["window.clear_after_seconds"]),
        (|m| m.calibration.temperature = 0.0, &["calibration.temperature", "is 0", "positive"]),
        (|m| m.calibration.uncertain_below = 1.0, &["calibration.uncertain_below"]),
        (|m| m.standardization.mean.truncate(153), &["standardization", "153 means", "154 of each"]),
        (|m| m.standardization.deviation.push(1.0), &["standardization", "155 deviations"]),
        (|m| m.standardization.mean[7] = f32::INFINITY, &["standardization", "finite"]),
        (|m| m.standardization.deviation[9] = 0.0, &["standardization", "above 0"]),
        (|m| m.metrics.extend([("validation_uar".into(), f64::NAN)]), &["metrics", "validation_uar"]),
    ];
    let valid = tiny::manifest(b"");
    valid.validate().unwrap();
    let folder = tempdir().unwrap();
    for (change, parts) in cases {
        let mut manifest = valid.clone();
        change(&mut manifest);
        assert_tells(&manifest.validate().unwrap_err().to_string(), parts);
        assert!(manifest.save(folder.path()).is_err());
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "an invalid manifest is not written");
}

#[test]
fn a_manifest_made_invalid_by_hand_is_not_loaded() {
    assert_tells(
        &told_of(|text| text.replace("temperature = 1.5", "temperature = -1.0")),
        &["calibration.temperature"],
    );
    assert_tells(
        &told_of(|text| text.replace("hop_samples = 512", "hop_samples = 256")),
        &["hop_samples = 256", "thesis154", "512"],
    );
    assert_tells(
        &told_of(|text| text.replace("sample_rate_hz = 22050", "sample_rate_hz = 0")),
        &["sample_rate_hz = 0", "22050"],
    );
    assert_tells(&told_of(|text| text.replace("file = \"model.onnx\"", "file = \"../x\"")), &["network.file", "../x"]);
}

#[test]
fn labels_have_names_and_no_label_is_uncertain() {
    let manifest = tiny::manifest(b"");
    assert_eq!((manifest.label_name(Some(5)), manifest.label_name(None)), ("sad", "uncertain"));
}

#[test]
fn what_cannot_be_written_is_told_with_its_path() {
    let (folder, manifest) = written();
    let file = folder.path().join("model.onnx");
    let message = manifest.save(&file).unwrap_err().to_string();
    assert_tells(&message, &["cannot write", &Path::new("model.onnx").join(FILE_NAME).display().to_string()]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn numbers_read_back_bit_for_bit(
        mean in prop::collection::vec(prop::num::f32::NORMAL | prop::num::f32::SUBNORMAL | prop::num::f32::ZERO, tiny::VALUES),
        deviation in prop::collection::vec(f32::MIN_POSITIVE..f32::MAX, tiny::VALUES),
        temperature in 0.01_f32..10.0,
        score in 0.0..1.0_f64,
        text in "\\PC*",
    ) {
        let folder = tempdir().unwrap();
        let mut manifest = tiny::manifest(b"");
        manifest.standardization = Standardization { mean, deviation };
        manifest.calibration.temperature = temperature;
        manifest.metrics.insert("[standardization]".into(), score);
        manifest.description = text;
        manifest.save(folder.path()).unwrap();
        let loaded = Manifest::load(folder.path()).unwrap();
        prop_assert_eq!(&loaded, &manifest);
        let bits = |row: &[f32]| row.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
        prop_assert_eq!(bits(&loaded.standardization.mean), bits(&manifest.standardization.mean));
    }
}
