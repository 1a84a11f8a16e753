//! The commands around data and models, as scripts call them: the fields of their contract, and how they end.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use ndarray::Array2;
use serde_json::Value;
use undertone::{
    audio::{file, resample::resample},
    features::thesis154,
};

fn data(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name)
}

fn undertone(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_undertone"));
    command.args(args).stdin(Stdio::null()).env_remove("RUST_LOG");
    command
}

/// The one JSON object on standard output, and standard error, of a command that ended with this status.
fn told(status: i32, output: &Output) -> (Value, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(status), "{out}\n{err}");
    (serde_json::from_str(&out).unwrap(), err)
}

#[track_caller]
fn assert_has(object: &Value, names: &[&str]) {
    for name in names {
        assert!(object.get(name).is_some(), "no {name} in {object}");
    }
}

#[test]
fn features_are_written_as_numpy_and_are_those_of_the_library() {
    let dir = tempfile::tempdir().unwrap();
    let wav = data("golden/1012_TSI_NEU_XX.wav");
    let recording = file::read(&wav).unwrap();
    let samples = resample(&recording.into_mono(), 16_000, thesis154::SAMPLE_RATE_HZ).unwrap();
    for (flags, expected) in
        [(vec![], thesis154::whole_clip(&samples)), (vec!["--streaming"], thesis154::one_window(&samples))]
    {
        let out = dir.path().join("features.npy");
        let mut command = undertone(&["features", "--front-end", "thesis154"]);
        let (report, err) = told(0, &command.args(flags).arg(&wav).arg("--out").arg(&out).output().unwrap());
        assert_eq!(err, "");
        assert_eq!(report["frames"], expected.frames);
        assert_eq!(report["values"], thesis154::VALUES);
        assert!((report["tuning"].as_f64().unwrap() - expected.tuning).abs() < 1e-9, "{report}");
        let written: Array2<f32> = ndarray_npy::read_npy(&out).unwrap();
        assert_eq!(written.dim(), (expected.frames, thesis154::VALUES));
        assert!(written.iter().zip(&expected.values).all(|(a, b)| a.to_bits() == b.to_bits()));
    }
    let out = dir.path().join("features.npy");
    let mut command = undertone(&["features", "--front-end", "logmel8k"]);
    let (report, _) = told(0, &command.arg(&wav).arg("--out").arg(&out).output().unwrap());
    assert_has(&report, &["frames", "values", "tuning"]);
    assert!(report["tuning"].is_null(), "it has none: {report}");
    let nowhere = dir.path().join("absent/features.npy");
    let output =
        undertone(&["features", "--front-end", "thesis154"]).arg(&wav).arg("--out").arg(nowhere).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(output.stdout.is_empty() && String::from_utf8(output.stderr).unwrap().contains("cannot write"));
}

#[test]
fn dataset_check_fails_where_training_would_be_wrong() {
    let check = |dir: &Path| undertone(&["dataset", "check", "--json"]).arg(dir).output().unwrap();
    let (report, err) = told(0, &check(&data("crema-d")));
    assert_eq!((err.as_str(), &report["ok"]), ("", &Value::Bool(true)));
    assert_has(&report, &["clips", "actors", "missing", "corrupt", "duplicated"]);
    assert_eq!(report["too_little"][0], "3 actors, expected at least 20");
    let table = undertone(&["dataset", "check"]).arg(data("crema-d")).output().unwrap();
    let table = String::from_utf8(table.stdout).unwrap();
    assert!(table.contains("too little to train on") && !table.contains("fit to train on"), "{table}");

    let dir = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(data("crema-d")).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, dir.path().join(path.file_name().unwrap())).unwrap();
    }
    fs::write(dir.path().join("1002_DFA_DIS_XX.flac"), "version https://git-lfs").unwrap();
    let (report, err) = told(1, &check(dir.path()));
    assert!(report["corrupt"][0].to_string().contains("1002_DFA_DIS_XX"), "{report}");
    assert!(err.contains("must not be trained on") && err.lines().count() == 1, "{err}");
}
