//! The whole way on a few real clips: training, resuming, exporting, and what it must not look at.

use std::{
    collections::BTreeMap,
    fs,
    ops::ControlFlow,
    path::{Path, PathBuf},
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use safetensors::SafeTensors;

#[cfg(feature = "train-gpu")]
mod gpu;
mod stops;
mod systems;

use super::{
    CHECKPOINT_FILE, Epoch, Event, Folds, Lines, NETWORK_FILE, Options, Recipe, Trained, Windows,
    cache::Cache,
    clips, cross_validate,
    folds::Fold,
    run,
    thesis::{self, Cut, Cutter},
};
use crate::{
    corpus::{Clip, Condition, Corpus, Scene, line::Babble},
    evaluate::{self, Baseline, Setting, Subject, Window},
    features::{FrontEnd, Pipeline, PipelineOptions, Standardization, normalize::Fit, thesis154, window::served},
    model::{
        Manifest, forest,
        onnx::{self, Provider},
    },
};

/// Steps of the telephone recipe that its loss falls in.
const EPOCHS: u32 = 20;

fn recordings() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/crema-d")
}

fn options(data: &Path, out: &Path, epochs: u32) -> Options {
    Options {
        recipe: Recipe::CnnBilstm,
        data: data.to_owned(),
        out: out.to_owned(),
        train_actors: Some(vec!["1002".into(), "1015".into()]),
        valid_actors: Some(vec!["1066".into()]),
        test_actors: None,
        epochs: Some(epochs),
        seed: 3,
        resume: false,
        teachers: vec![],
        width: None,
        votes: 0.0,
        device: super::Device::Cpu,
        lines: Lines::Both,
        windows: Windows::Served,
        cache: None,
        command: "undertone train".to_owned(),
    }
}

fn train(options: &Options) -> (Trained, Vec<Epoch>) {
    let epochs = Mutex::new(Vec::new());
    let tell = |event: Event<'_>| {
        if let Event::EpochDone(epoch) = event {
            epochs.lock().unwrap().push(epoch.clone());
        }
    };
    let trained = run(options, &AtomicBool::new(false), &tell).unwrap();
    (trained, epochs.into_inner().unwrap())
}

/// The weights of the last epoch, as bytes.
fn last_weights(out: &Path) -> Vec<(String, Vec<u8>)> {
    let bytes = fs::read(out.join(CHECKPOINT_FILE)).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let mut weights: Vec<_> = tensors
        .tensors()
        .into_iter()
        .filter(|(name, _)| name.starts_with("now."))
        .map(|(name, tensor)| (name, tensor.data().to_vec()))
        .collect();
    weights.sort();
    weights
}

/// Everything in a folder.
fn files(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let file =
        |entry: fs::DirEntry| (entry.file_name().to_string_lossy().into_owned(), fs::read(entry.path()).unwrap());
    fs::read_dir(dir).unwrap().map(|entry| file(entry.unwrap())).collect()
}

/// A run that has ended makes its model again of the checkpoint, and learns nothing more.
fn is_made_again_of_its_checkpoint(options: &Options) {
    let before = files(&options.out);
    for file in [NETWORK_FILE, "manifest.toml", "MODEL_CARD.md"] {
        fs::remove_file(options.out.join(file)).unwrap();
    }
    let (_, epochs) = train(&Options { resume: true, ..options.clone() });
    assert!(epochs.is_empty());
    let after = files(&options.out);
    assert!(before.keys().eq(after.keys()), "{:?}", after.keys());
    for (name, bytes) in before {
        assert!(after[&name] == bytes, "{name} differs");
    }
}

#[test]
fn a_few_clips_are_learnt_and_the_model_can_be_served() {
    let out = tempfile::tempdir().unwrap();
    let (trained, epochs) = train(&options(&recordings(), out.path(), 15));
    let first: f64 = epochs[..3].iter().map(|epoch| epoch.loss).sum();
    let last: f64 = epochs[epochs.len() - 3..].iter().map(|epoch| epoch.loss).sum();
    assert!(last < 0.98 * first, "{epochs:?}");
    // What was written loads, fits its hash and runs; `run` itself compared the export with the trainer.
    let manifest = Manifest::load(out.path()).unwrap();
    assert_eq!((&manifest.training, manifest.calibration), (&trained.training, trained.calibration));
    let runtime = onnx::Runtime::load(None).unwrap();
    onnx::Session::load(runtime, &manifest, out.path(), &onnx::Options::default()).unwrap();
    // Two lines, two kinds of window, six clips each.
    assert_eq!(trained.scores.iter().map(|outcome| outcome.scores.clips).collect::<Vec<_>>(), [6; 4]);
    let history = fs::read_to_string(out.path().join("history.jsonl")).unwrap();
    assert_eq!(history.lines().count(), epochs.len());
    let card = fs::read_to_string(out.path().join("MODEL_CARD.md")).unwrap();
    assert!(card.contains(&manifest.network.sha256) && card.contains("Not for decisions about individuals"));
}

#[test]
fn a_resumed_run_makes_the_same_model_to_the_bit() {
    let [whole, parts] = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    train(&options(&recordings(), whole.path(), 3));
    train(&options(&recordings(), parts.path(), 1));
    let resumed = Options { resume: true, ..options(&recordings(), parts.path(), 3) };
    // Stopped within its second epoch, then gone on with.
    let (stop, batches) = (AtomicBool::new(false), AtomicUsize::new(0));
    let tell = |event: Event<'_>| {
        if matches!(event, Event::Epoch { epoch: 3, .. }) {
            batches.fetch_add(1, Ordering::Relaxed);
            stop.store(true, Ordering::Relaxed);
        }
    };
    let error = run(&resumed, &stop, &tell).unwrap_err().to_string();
    assert!(error.contains("epoch 2 is saved") && error.contains("--resume"), "{error}");
    assert_eq!(batches.load(Ordering::Relaxed), 1);
    train(&resumed);
    for file in [NETWORK_FILE, "manifest.toml", CHECKPOINT_FILE] {
        let read = |out: &Path| fs::read(out.join(file)).unwrap();
        assert!(read(whole.path()) == read(parts.path()), "{file} differs");
    }
    let epochs = fs::read_to_string(parts.path().join("history.jsonl")).unwrap();
    assert_eq!(epochs.lines().count(), 3, "{epochs}");
    is_made_again_of_its_checkpoint(&resumed);
}

#[test]
fn the_telephone_recipe_learns_resumes_and_can_be_served() {
    let [whole, parts] = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let options = |out: &Path| {
        let narrow = Options { recipe: Recipe::Telephone, width: Some(8), ..options(&recordings(), out, EPOCHS) };
        Options { command: "undertone train --recipe telephone".to_owned(), ..narrow }
    };
    let (trained, epochs) = train(&options(whole.path()));
    // An epoch is one step, of windows that are cut, covered and mixed anew: several together tell whether the loss falls.
    let mean = |epochs: &[Epoch]| epochs.iter().map(|epoch| epoch.loss).sum::<f64>() / epochs.len() as f64;
    let (first, last) = (mean(&epochs[..5]), mean(&epochs[epochs.len() - 5..]));
    assert!(last < 0.95 * first, "{first} {last} {epochs:?}");
    assert_eq!(Manifest::load(&trained.dir).unwrap().name, "telephone");
    // Seven lines, whole clips and windows of two lengths, three amounts of the speaker heard before.
    assert_eq!(trained.scores.len(), 63);
    let card = fs::read_to_string(trained.dir.join("MODEL_CARD.md")).unwrap();
    let kept = format!("the running average of the weights over the steps of all {EPOCHS} epochs, trained on the CPU");
    for part in [&*kept, "An angry caller from the first word", "\n| noise10 | 2 |", "\n| 8k | whole |"] {
        assert!(card.contains(part), "{part} is missing: {card}");
    }
    // Stopped within its third epoch, then gone on with.
    let stop = AtomicBool::new(false);
    let tell = |event: Event<'_>| {
        if matches!(event, Event::Epoch { epoch: 3, .. }) {
            stop.store(true, Ordering::Relaxed);
        }
    };
    let error = run(&options(parts.path()), &stop, &tell).unwrap_err().to_string();
    assert!(error.contains("epoch 2 is saved"), "{error}");
    train(&Options { resume: true, ..options(parts.path()) });
    for file in [NETWORK_FILE, "manifest.toml", "MODEL_CARD.md", CHECKPOINT_FILE] {
        let read = |out: &Path| fs::read(out.join(file)).unwrap();
        assert!(read(whole.path()) == read(parts.path()), "{file} differs");
    }
    is_made_again_of_its_checkpoint(&options(parts.path()));
    // The cycle is as long as it was begun.
    let longer = Options { resume: true, epochs: Some(EPOCHS + 1), ..options(parts.path()) };
    let error = format!("{:#}", run(&longer, &AtomicBool::new(false), &|_| {}).unwrap_err());
    assert!(error.contains("other options"), "{error}");
}

#[test]
fn a_student_learns_from_networks_that_heard_none_of_its_judges() {
    let [teacher, alone, taught] = std::array::from_fn(|_| tempfile::tempdir().unwrap());
    let options = |out: &Path| Options { recipe: Recipe::Telephone, ..options(&recordings(), out, 2) };
    let first = "undertone train --seed 5 --out elsewhere".to_owned();
    train(&Options { seed: 5, command: first, ..options(teacher.path()) });
    let with = |out: &Path| Options { teachers: vec![teacher.path().to_owned()], ..options(out) };
    let (trained, _) = train(&with(taught.path()));
    let known = Manifest::load(teacher.path()).unwrap().network.sha256;
    assert_eq!(trained.training.teachers, std::slice::from_ref(&known));
    let card = fs::read_to_string(taught.path().join("MODEL_CARD.md")).unwrap();
    let way = format!(
        "2 commands in this order, which make it again of the sources that it was made by: its teachers, then itself.\n\n```\nundertone train --seed 5 --out {}\nundertone train\n```",
        teacher.path().display()
    );
    assert!(card.contains(&known) && card.contains(&way), "{card}");
    let (without, _) = train(&options(alone.path()));
    assert!(without.training.teachers.is_empty());
    assert_ne!(last_weights(alone.path()), last_weights(taught.path()));
    // Who was taught otherwise is not gone on with.
    let stop = AtomicBool::new(false);
    let error = run(&Options { resume: true, ..with(alone.path()) }, &stop, &|_| {}).unwrap_err();
    assert!(format!("{error:#}").contains("other options"), "{error:#}");
    let judged = Options {
        train_actors: Some(vec!["1066".into(), "1015".into()]),
        valid_actors: Some(vec!["1002".into()]),
        ..with(taught.path())
    };
    let error = run(&judged, &stop, &|_| {}).unwrap_err().to_string();
    assert!(error.contains("was trained on actors who judge its student: 1002"), "{error}");
    let other = Options { train_actors: Some(vec!["1015".into()]), ..with(taught.path()) };
    let error = run(&other, &stop, &|_| {}).unwrap_err().to_string();
    assert!(error.contains("standardised by other clips"), "{error}");
}

#[test]
fn a_model_tells_what_part_of_its_target_was_votes() {
    let told = |votes: f32| {
        let out = tempfile::tempdir().unwrap();
        train(&Options { recipe: Recipe::Telephone, votes, ..options(&recordings(), out.path(), 1) });
        let card = fs::read_to_string(out.path().join("MODEL_CARD.md")).unwrap();
        (Manifest::load(out.path()).unwrap().training.votes, card.contains("decided 30 % of each target"))
    };
    assert_eq!(told(0.3), (Some(0.3), true));
    assert_eq!(told(0.0), (None, false));
}

#[test]
fn folds_test_every_actor_once_and_go_on_where_they_stopped() {
    let out = tempfile::tempdir().unwrap();
    let whole = Options { train_actors: None, valid_actors: None, ..options(&recordings(), out.path(), 1) };
    let quiet = |_: Event<'_>| {};
    let second = Folds { of: 3, only: Some(1) };
    let one = cross_validate(&whole, second, &AtomicBool::new(false), &quiet).unwrap();
    assert_eq!(one.run.len(), 1);
    let trained = AtomicUsize::new(0);
    let count = |event: Event<'_>| {
        if matches!(event, Event::EpochDone(_)) {
            trained.fetch_add(1, Ordering::Relaxed);
        }
    };
    let resumed = Options { resume: true, ..whole.clone() };
    let all = cross_validate(&resumed, Folds { of: 3, only: None }, &AtomicBool::new(false), &count).unwrap();
    assert_eq!(trained.load(Ordering::Relaxed), 2, "the second fold was there already");
    let tested: Vec<&str> = all.run.iter().flat_map(|fold| &fold.test_actors).map(String::as_str).collect();
    assert_eq!(tested, ["1002", "1015", "1066"]);
    assert!(all.run.iter().all(|fold| fold.valid_actors != fold.test_actors && fold.results.len() == 4));
    assert_eq!(all.means.len(), 4);
    assert!(out.path().join("folds.json").is_file());
    let named = Options { test_actors: Some(vec!["1002".into()]), ..options(&recordings(), out.path(), 1) };
    let error = run(&named, &AtomicBool::new(false), &quiet).unwrap_err().to_string();
    assert!(error.contains("on both sides of the split: 1002"), "{error}");
}

#[test]
fn another_seed_may_not_go_on() {
    let out = tempfile::tempdir().unwrap();
    train(&options(&recordings(), out.path(), 1));
    let other = Options { resume: true, seed: 4, ..options(&recordings(), out.path(), 2) };
    let error = format!("{:#}", run(&other, &AtomicBool::new(false), &|_| {}).unwrap_err());
    assert!(error.contains("other options"), "{error}");
}

#[test]
fn nothing_that_is_learnt_or_counted_looks_at_a_validation_actor() {
    for recipe in [Recipe::CnnBilstm, Recipe::Telephone] {
        systems::learns_alike_whatever_the_validation_actor_says(recipe);
    }
}

#[test]
fn a_corrupt_clip_is_named_and_left_out() {
    let data = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(recordings()).unwrap().map(Result::unwrap) {
        fs::copy(entry.path(), data.path().join(entry.file_name())).unwrap();
    }
    fs::write(data.path().join("1002_IEO_SAD_HI.flac"), b"no audio").unwrap();
    let out = tempfile::tempdir().unwrap();
    let notes = Mutex::new(Vec::new());
    let tell = |event: Event<'_>| {
        if let Event::Note(note) = event {
            notes.lock().unwrap().push(note);
        }
    };
    run(&options(data.path(), out.path(), 1), &AtomicBool::new(false), &tell).unwrap();
    let notes = notes.into_inner().unwrap();
    assert!(notes[0].contains("left out") && notes[0].contains("1002_IEO_SAD_HI"), "{notes:?}");
    assert!(notes[1].contains("1 left out"), "{notes:?}");
}

#[test]
fn training_and_a_call_see_the_same_windows_to_the_bit() {
    let (front_end, window) = (FrontEnd::Thesis154(thesis154::Options::default()), thesis::window());
    let corpus = Corpus::open(&recordings()).unwrap();
    let mut compared = 0;
    for condition in [Condition::Wide, Condition::Mulaw] {
        let some: Vec<&Clip> = corpus.clips.iter().take(4).collect();
        let ways = thesis::ways(&[condition], false);
        let gathered = clips::gather(&some, |heard| thesis::hear(&heard, &ways, &front_end), || Ok(())).unwrap();
        let actors: Vec<usize> = (0..gathered.actors.len()).collect();
        let instances = thesis::instances(gathered);
        let cutter = Cutter::new(&instances, &actors, Windows::Served, &front_end, &window);
        // Not the identity, so that the padding is standardised, too.
        let standardization = Standardization { mean: vec![0.25; 154], ..Fit::new(154).finish() };
        for (index, clip) in some.iter().enumerate() {
            let raw = &instances[index].hearing.raw;
            let cuts: Vec<Cut> = served(raw, &front_end, &window, 0.5)
                .unwrap()
                .into_iter()
                .filter_map(|stride| stride.outcome.ok())
                .map(|window| Cut::of(clip.label, index, window.frames.start as usize..window.frames.end as usize))
                .collect();
            let trained = cutter.batch(&cuts, &standardization).windows;

            let recording = crate::audio::file::read(&clip.path).unwrap();
            let rate_hz = recording.sample_rate_hz;
            let (samples, source_hz) =
                condition.apply(recording.into_mono(), rate_hz, &Scene::of(clip, &Babble::default(), 0)).unwrap();
            let options = PipelineOptions { source_hz, stride_seconds: 0.5, gate: true };
            let mut pipeline = Pipeline::new(&front_end, &window, &standardization, &options).unwrap();
            for chunk in samples.chunks(source_hz as usize / 50) {
                pipeline.push(chunk);
            }
            pipeline.finish();
            let called: Vec<f32> =
                std::iter::from_fn(|| pipeline.poll()).filter_map(|stride| stride.outcome.ok()).flatten().collect();
            assert_eq!(trained.len(), called.len(), "{}", clip.name);
            assert!(trained.iter().zip(&called).all(|(a, b)| a.to_bits() == b.to_bits()), "{}", clip.name);
            compared += cuts.len();
        }
    }
    assert!(compared >= 16, "{compared}");
}

#[test]
fn everybody_is_judged_by_a_forest_that_never_heard_them() {
    let [out, again] = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let forest = |out: &Path| Options {
        recipe: Recipe::Forest,
        train_actors: None,
        valid_actors: None,
        epochs: None,
        ..options(&recordings(), out, 1)
    };
    let stop = AtomicBool::new(false);
    let folded = |out: &Path, only| cross_validate(&forest(out), Folds { of: 3, only }, &stop, &|_| {}).unwrap();
    let all = folded(out.path(), None);
    let subject = Subject::load(out.path(), Provider::Cpu).unwrap();
    assert_eq!(subject.name(), "forest, 3 folds");
    assert!(subject.trained_on(["1002", "1015", "1066"].into_iter()).is_empty());
    let corpus = Corpus::open(&recordings()).unwrap();
    let clips: Vec<&Clip> = corpus.clips.iter().collect();
    let settings = [Setting::new(Condition::Wide, Baseline::Cold, Window::Whole)];
    let measured = evaluate::measure(&subject, &clips, &settings, false, &|| ControlFlow::Continue(()))
        .unwrap()
        .outcomes
        .remove(0);
    let hits = |fold: &Fold| fold.results[0]["accuracy"].as_f64().unwrap() * 6.0;
    let of_folds: f64 = all.run.iter().map(hits).sum();
    assert!((measured.scores.accuracy * 18.0 - of_folds).abs() < 1e-6, "{} {of_folds}", measured.scores.accuracy);
    let stranger = Clip { actor: "1001".to_owned(), ..corpus.clips[0].clone() };
    let error = evaluate::measure(&subject, &[&stranger], &settings, false, &|| ControlFlow::Continue(())).unwrap_err();
    assert!(matches!(&error, evaluate::Error::NoFold { actor, .. } if actor == "1001"), "{error}");
    // Alone a fold grows the same trees.
    folded(again.path(), Some(1));
    for file in [forest::FILE_NAME, forest::TREES_FILE] {
        let read = |dir: &Path| fs::read(evaluate::fold_dir(dir, 1).join(file)).unwrap();
        assert!(read(out.path()) == read(again.path()), "{file} differs");
    }
    let epochs = Options { epochs: Some(5), ..forest(out.path()) };
    assert!(run(&epochs, &stop, &|_| {}).unwrap_err().to_string().contains("--epochs"));
}
