//! `undertone evaluate` as it is typed: the fields of its contract, its page, and what it refuses.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use serde_json::Value;

use crate::harness::tiny;

/// Characters that a line of the terminal's tables has at most.
const LINE_CHARACTERS: usize = 100;

fn evaluate(model: &Path, data: &Path, arguments: &[&str]) -> Output {
    evaluate_all(&[model], data, arguments)
}

fn evaluate_all(models: &[&Path], data: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_undertone"));
    command.args(["evaluate", "--model"]).args(models).arg("--data").arg(data).args(arguments);
    command.stdin(Stdio::null()).env_remove("RUST_LOG").output().unwrap()
}

/// Standard output and standard error of a command that ended with this status.
fn ended(status: i32, output: &Output) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(status), "{out}\n{err}");
    (out, err)
}

fn clips() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data/crema-d")
}

fn keys(value: &Value) -> BTreeSet<&str> {
    value.as_object().unwrap().keys().map(String::as_str).collect()
}

#[test]
fn every_field_of_the_contract_is_there_for_every_setting() {
    let asked = ["--condition", "mulaw", "flat", "--window", "whole", "1", "--baseline", "cold", "warm", "neutral"];
    let output = evaluate(&tiny(), &clips(), &[&asked[..], &["--gate", "--json", "-"]].concat());
    let (out, _) = ended(0, &output);
    let report: Value = serde_json::from_str(&out).unwrap();
    let [model] = report["models"].as_array().unwrap().as_slice() else { panic!("{report}") };
    assert_eq!((&model["name"], &model["has_baseline"]), (&"tiny".into(), &false.into()));
    assert_eq!(model["sha256"].as_str().unwrap().len(), 64);
    let results = model["results"].as_array().unwrap();
    let settings: Vec<(&str, &str, Option<f64>)> = results
        .iter()
        .map(|one| {
            (one["condition"].as_str().unwrap(), one["baseline"].as_str().unwrap(), one["window_seconds"].as_f64())
        })
        .collect();
    assert_eq!(settings.len(), 12);
    assert_eq!(settings[..3], [("mulaw", "cold", None), ("mulaw", "cold", Some(1.0)), ("mulaw", "warm", None)]);
    assert_eq!(settings[11], ("flat", "neutral", Some(1.0)));
    for result in results {
        assert_eq!((&result["clips"], &result["actors"]), (&18.into(), &3.into()));
        for figure in
            ["uar", "uar_low", "uar_high", "accuracy", "macro_f1", "weighted_f1", "ece", "accuracy_at_half_coverage"]
        {
            let value = result[figure].as_f64().unwrap_or_else(|| panic!("{figure} of {result}"));
            assert!((0.0..=1.0).contains(&value), "{figure} is {value}");
        }
        assert!(
            result["uar_low"].as_f64() <= result["uar"].as_f64()
                && result["uar"].as_f64() <= result["uar_high"].as_f64()
        );
        assert!((0.0..=2.0).contains(&result["brier"].as_f64().unwrap()));
        let confusion = result["confusion"].as_array().unwrap();
        assert!(confusion.len() == 6 && confusion.iter().all(|row| row.as_array().unwrap().len() == 6));
        for (label, class) in result["per_class"].as_object().unwrap() {
            assert_eq!(keys(class), BTreeSet::from(["f1", "precision", "recall", "support"]), "{label}");
        }
        assert_eq!(keys(&result["groups"]), BTreeSet::from(["age", "level", "race", "sex"]));
        for group in result["groups"].as_object().unwrap().values().flat_map(|kind| kind.as_object().unwrap().values())
        {
            assert_eq!(keys(group), BTreeSet::from(["actors", "clips", "uar"]));
            assert!(group["actors"].as_u64().unwrap() >= 3);
        }
        assert!(result["unscored_windows"].is_u64() && result["listeners"]["clips"] == 18);
    }
}

#[test]
fn the_page_shows_all_of_it_and_needs_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let model = dir.path().join("model");
    fs::create_dir(&model).unwrap();
    for file in ["model.onnx", "manifest.toml"] {
        fs::copy(tiny().join(file), model.join(file)).unwrap();
    }
    fs::write(
        model.join("history.jsonl"),
        "{\"epoch\": 1, \"loss\": 1.9, \"valid_loss\": 1.8, \"valid_uar\": 0.2}\n{\"epoch\": 2, \"loss\": 1.5, \"valid_loss\": 1.6, \"valid_uar\": 0.4}\n",
    )
    .unwrap();
    let path = dir.path().join("page.html");
    let arguments = ["--actors", "1015,1066", "--html", path.to_str().unwrap(), "--json", "-"];
    let (out, _) = ended(0, &evaluate(&model, &clips(), &arguments));
    let report: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(
        report["models"][0]["results"].as_array().unwrap().len(),
        1,
        "the page's own settings stay out of the JSON"
    );
    let page = fs::read_to_string(&path).unwrap();
    // Confusion of the model and of people, reliability, coverage, by line, by window, by what was heard, and two of the training.
    assert_eq!(page.matches("<svg ").count(), 9);
    assert!(!page.contains("history.jsonl"), "the curve is there");
    for text in
        ["flat", "noise10", "loss5", "1 s", "2 s", "3 s", "validation loss", "angry", "keeps nothing of a speaker"]
    {
        assert!(page.contains(text), "{text}");
    }
    for outside in ["http:", "https:", "src=", "href=", "url(", "@import", "<script", "<link"] {
        assert!(!page.contains(outside), "{outside}");
    }
    for (open, close) in
        [("<section>", "</section>"), ("<figure>", "</figure>"), ("<svg ", "</svg>"), ("<table", "</table>")]
    {
        assert_eq!(page.matches(open).count(), page.matches(close).count(), "{open}");
    }
}

#[test]
fn another_corpus_is_scored_once_its_labels_are_understood() {
    let dir = tempfile::tempdir().unwrap();
    let flac = |name: &str| clips().join(name).display().to_string();
    let rows = [
        format!("{},ann,anger", flac("1002_IEO_ANG_LO.flac")),
        format!("{},ann,calm", flac("1002_IOM_NEU_XX.flac")),
        format!("{},bob,sad", flac("1015_ITH_SAD_XX.flac")),
        format!("{},bob,bored", flac("1015_TAI_NEU_XX.flac")),
        "gone.wav,bob,happy".to_owned(),
    ];
    fs::write(dir.path().join("list.csv"), format!("file,actor,label\n{}\n", rows.join("\n"))).unwrap();
    let (_, err) = ended(1, &evaluate(&tiny(), dir.path(), &[]));
    assert!(err.contains("line 3") && err.contains("\"calm\"") && err.contains("--map calm=neutral"), "{err}");
    let (out, err) = ended(0, &evaluate(&tiny(), dir.path(), &["--map", "calm=neutral", "bored=-", "--json", "-"]));
    let report: Value = serde_json::from_str(&out).unwrap();
    let (model, result) = (&report["models"][0], &report["models"][0]["results"][0]);
    assert_eq!((&result["clips"], &result["actors"]), (&3.into(), &2.into()));
    assert!(result["groups"]["sex"].as_object().unwrap().is_empty(), "nobody knows these actors");
    let left_out = model["left_out"].as_array().unwrap();
    assert!(left_out.len() == 1 && left_out[0].as_str().unwrap().contains("gone.wav"), "{left_out:?}");
    assert!(err.contains("gone.wav") && err.contains("as --map says: 1"), "{err}");
}

#[test]
fn what_cannot_be_scored_is_said_in_a_line() {
    for (arguments, words) in [
        (vec!["--actors", "1002,4711,4712"], vec!["4711, 4712"]),
        (vec!["--window", "8"], vec!["8 s", "6.97 s", "tiny"]),
    ] {
        let (out, err) = ended(1, &evaluate(&tiny(), &clips(), &arguments));
        assert!(out.is_empty() && err.lines().count() == 1, "{out}{err}");
        assert!(words.iter().all(|word| err.contains(word)), "{err}");
    }
    ended(2, &evaluate(&tiny(), &clips(), &["--condition", "underwater"]));
    let (_, err) = ended(1, &evaluate(&clips(), &clips(), &[]));
    assert!(err.contains("manifest.toml"), "{err}");
}

#[test]
fn the_page_says_whose_training_is_not_known() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("page.html");
    ended(0, &evaluate(&tiny(), &clips(), &["--actors", "1015", "--html", path.to_str().unwrap()]));
    let page = fs::read_to_string(&path).unwrap();
    assert!(page.contains("No curve of tiny: no <code>history.jsonl</code> lies in its folder."), "{page}");
    assert!(!page.contains("validation loss"));
}

#[test]
fn the_page_draws_the_training_of_every_fold() {
    let dir = tempfile::tempdir().unwrap();
    for fold in 0..3 {
        let model = dir.path().join(format!("folds/fold-{fold}"));
        fs::create_dir_all(&model).unwrap();
        fs::copy(tiny().join("model.onnx"), model.join("model.onnx")).unwrap();
        let manifest = fs::read_to_string(tiny().join("manifest.toml")).unwrap();
        // The first is the one that does not know who is scored.
        let actors = if fold == 0 { "[]" } else { "['1015']" };
        fs::write(
            model.join("manifest.toml"),
            manifest.replace("train_actors = []", &format!("train_actors = {actors}")),
        )
        .unwrap();
        fs::write(model.join("history.jsonl"), "{\"epoch\": 1, \"loss\": 1.9}\n{\"epoch\": 2, \"loss\": 1.5}\n")
            .unwrap();
    }
    let path = dir.path().join("page.html");
    let arguments = ["--actors", "1015", "--html", path.to_str().unwrap()];
    ended(0, &evaluate(&dir.path().join("folds"), &clips(), &arguments));
    let page = fs::read_to_string(&path).unwrap();
    for fold in 0..3 {
        assert!(page.contains(&format!(", fold {fold} · loss")), "{fold}");
    }
    assert!(!page.contains("No curve of"));
}

#[test]
fn where_a_file_cannot_be_written_it_is_told_before_anything_is_scored() {
    let absent = tempfile::tempdir().unwrap().path().join("absent/file");
    for option in ["--html", "--json"] {
        // Not even the model is looked for.
        let (out, err) = ended(1, &evaluate(Path::new("no-model"), &clips(), &[option, absent.to_str().unwrap()]));
        assert!(out.is_empty() && err.contains("cannot write") && err.lines().count() == 1, "{out}{err}");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn what_was_scored_is_told_though_a_file_cannot_be_written_in_the_end() {
    for option in ["--html", "--json"] {
        let (out, err) = ended(1, &evaluate(&tiny(), &clips(), &["--actors", "1015", option, "/dev/full"]));
        assert!(out.contains("UAR") && err.contains("cannot write /dev/full"), "{out}{err}");
    }
}

#[test]
fn tables_are_printed_where_no_json_is_asked_for() {
    let arguments = ["--condition", "noise20", "--baseline", "cold", "neutral"];
    let (out, _) = ended(0, &evaluate(&tiny(), &clips(), &arguments));
    for text in ["tiny 1 (", ": 18 clips of 3 actors", "UAR", "angry", "UAR by level", "the same to it"] {
        assert!(out.contains(text), "{text}\n{out}");
    }
    let (report, _) = ended(0, &evaluate(&tiny(), &clips(), &[&arguments[..], &["--json", "-"]].concat()));
    let report: Value = serde_json::from_str(&report).unwrap();
    let people = &report["models"][0]["results"][0]["listeners"];
    for (row, uar, accuracy) in [
        ("people, one vote", &people["uar"], &people["accuracy"]),
        ("people, plurality", &people["plurality_uar"], &people["plurality_accuracy"]),
    ] {
        assert_eq!(figures(&out, row), [percent(uar), percent(accuracy)], "{out}");
    }
    let first = &report["models"][0]["results"][0];
    let heading = format!(
        "noise20, cold, whole: 18 clips, {} windows scored, {} not",
        first["windows"], first["unscored_windows"]
    );
    assert!(out.contains(&heading), "{heading}\n{out}");
    assert!(out.contains(&format!("people who heard 18 of these clips gave {} votes", people["votes"])), "{out}");
    assert!(!out.contains("UAR and its 95 % interval"), "there is nothing to stand beside:\n{out}");
    assert_narrow(&out);
}

#[test]
fn two_models_stand_in_one_table_with_people_before_each_has_its_own() {
    let telephone = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("models/telephone");
    let models = [telephone.as_path(), &tiny()];
    let arguments = ["--condition", "mulaw", "noise20", "--window", "whole", "1", "--baseline", "cold", "neutral"];
    let (out, _) = ended(0, &evaluate_all(&models, &clips(), &arguments));
    let (report, _) = ended(0, &evaluate_all(&models, &clips(), &[&arguments[..], &["--json", "-"]].concat()));
    let report: Value = serde_json::from_str(&report).unwrap();
    let [telephone, tiny] = report["models"].as_array().unwrap().as_slice() else { panic!("{report}") };
    let heading = |model: &Value| format!("{} {}", model["name"].as_str().unwrap(), model["version"].as_str().unwrap());
    let (beside, own) = out.split_once(&format!("\n{} (", heading(telephone))).unwrap();
    let head = beside.lines().find(|line| line.contains("heard")).unwrap();
    assert!(head.find(&heading(telephone)) < head.find(&heading(tiny)) && head.contains(&heading(telephone)), "{out}");
    let rows = telephone["results"].as_array().unwrap().iter().zip(tiny["results"].as_array().unwrap());
    for (one, other) in rows.clone() {
        let [line, heard, window] = ["condition", "baseline", "window"].map(|part| one[part].as_str().unwrap());
        let row = format!("{line:7} {heard:7} {window} ");
        let expected = [one, other].map(|result| {
            let [uar, low, high] = ["uar", "uar_low", "uar_high"].map(|figure| percent(&result[figure]));
            [uar, format!("({low}–{high})")]
        });
        assert_eq!(figures(beside, &row), expected.concat(), "{out}");
    }
    assert_eq!(rows.len(), 8);
    let people = &telephone["results"][0]["listeners"];
    for (row, uar) in [("people, one vote", &people["uar"]), ("people, plurality", &people["plurality_uar"])] {
        assert_eq!(figures(beside, row), [percent(uar), percent(uar)], "{out}");
        assert_eq!(own.matches(row).count(), 2, "each model's own table has people, too:\n{out}");
    }
    assert_eq!(own.matches("UAR by level").count(), 16, "what is told of each setting is as it was:\n{out}");
    assert_narrow(&out);
}

#[test]
fn more_models_than_a_line_holds_stand_in_tables_below_one_another() {
    let tiny = tiny();
    let (out, _) = ended(0, &evaluate_all(&[tiny.as_path(); 6], &clips(), &["--actors", "1015"]));
    let (beside, _) = out.split_once("\ntiny 1 (").unwrap();
    let heads: Vec<usize> =
        beside.lines().filter(|line| line.contains("tiny 1")).map(|line| line.matches("tiny 1").count()).collect();
    assert_eq!(heads, [4, 2], "{out}");
    assert_eq!(beside.matches("people, plurality").count(), 2, "{out}");
    assert_narrow(&out);
}

/// The words of the first line that begins so, after that beginning.
fn figures<'a>(out: &'a str, row: &str) -> Vec<&'a str> {
    let rest = out.lines().find_map(|line| line.strip_prefix(row)).unwrap_or_else(|| panic!("no row {row}:\n{out}"));
    rest.split_whitespace().collect()
}

fn percent(part: &Value) -> String {
    format!("{:.1}", part.as_f64().unwrap() * 100.0)
}

fn assert_narrow(out: &str) {
    for line in out.lines() {
        assert!(line.chars().count() <= LINE_CHARACTERS, "{line}");
    }
}
