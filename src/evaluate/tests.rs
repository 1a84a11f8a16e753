//! Scores of the shipped model, of a forest and of a network with a baseline, on the clips that come with the source.

use std::path::Path;

use rafor::{CompactTree, prelude::*, rf::Classifier};

use super::{
    ear::{STRIDE_SECONDS, cut},
    *,
};
use crate::{
    audio::file,
    corpus::Corpus,
    features::{FrontEnd, Pipeline, PipelineOptions, Standardization, WindowOptions, listen::RawFrames, logmel8k},
    model::{
        Forest, Manifest,
        forest::{self, About, Trees},
        onnx::{Provider, graph::Size},
        tiny,
    },
};

fn shipped() -> Subject {
    Subject::load(&Path::new(env!("CARGO_MANIFEST_DIR")).join("models/cnn-bilstm"), Provider::Cpu).unwrap()
}

fn manifest(subject: &Subject) -> &Manifest {
    let Subject::Network(model) = subject else { panic!("no network") };
    &model.manifest
}

/// The mean of every band over the window and one matrix: heard cold, the mean is 0 and all labels are alike.
fn with_baseline(dir: &Path) -> Subject {
    let options = logmel8k::Options::default();
    let bands = options.mel_bands;
    tiny::write(
        dir,
        &tiny::Shape { frames: Size::Any("frames"), values: bands, ..tiny::Shape::default() },
        |manifest| {
            manifest.window = WindowOptions { frames: 125, grow_frames: Some(1), ..manifest.window.clone() };
            manifest.front_end = FrontEnd::Logmel8k(options);
            manifest.standardization = Standardization::identity(bands);
        },
    );
    Subject::load(dir, Provider::Cpu).unwrap()
}

/// A forest grown on these clips.
fn grow(dir: &Path, clips: &[&Clip]) {
    let heard = |clip: &&Clip| {
        let recording = file::read(&clip.path).unwrap();
        let hz = recording.sample_rate_hz;
        forest::clip_values(&recording.into_mono(), hz).unwrap()
    };
    let values: Vec<f32> = clips.iter().flat_map(heard).collect();
    let labels: Vec<i64> = clips.iter().map(|clip| clip.label as i64).collect();
    let trees = Classifier::<CompactTree>::trainer().with_trees(20).train(&values, &labels);
    let Manifest { version, licence, labels, calibration, training, .. } = tiny::manifest(&[]);
    let trees_file =
        Trees { count: 20, values: forest::CLIP_VALUES, file: forest::TREES_FILE.into(), sha256: String::new() };
    let about = About {
        format: forest::FORMAT,
        name: "forest".into(),
        description: String::new(),
        trees: trees_file,
        metrics: BTreeMap::new(),
        version,
        licence,
        labels,
        calibration,
        training,
    };
    Forest::new(about, trees).unwrap().save(dir).unwrap();
}

fn corpus() -> Corpus {
    Corpus::open(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/crema-d")).unwrap()
}

fn of<'a>(corpus: &'a Corpus, actor: &str) -> Vec<&'a Clip> {
    corpus.clips.iter().filter(|clip| clip.actor == actor).collect()
}

fn options(conditions: &[Condition], baselines: &[Baseline], windows: &[Window]) -> Options {
    Options { conditions: conditions.into(), baselines: baselines.into(), windows: windows.into(), gate: false }
}

fn scores(subject: &Subject, clips: &[&Clip], options: &Options) -> Measured {
    evaluate(subject, clips, options, &go_on).unwrap()
}

fn go_on() -> ControlFlow<()> {
    ControlFlow::Continue(())
}

#[test]
fn whole_clips_are_scored_over_the_windows_of_a_call() {
    let subject = shipped();
    let manifest = manifest(&subject);
    let clip = &corpus().clips[0];
    let recording = file::read(&clip.path).unwrap();
    let hz = recording.sample_rate_hz;
    let samples = recording.into_mono();
    for gate in [false, true] {
        let raw = RawFrames::of(&samples, hz, &manifest.front_end, gate).unwrap();
        let (windows, unscored) = cut(&raw, &[], Window::Whole, manifest).unwrap();
        let options = PipelineOptions { source_hz: hz, stride_seconds: STRIDE_SECONDS, gate };
        let mut call =
            Pipeline::new(&manifest.front_end, &manifest.window, &manifest.standardization, &options).unwrap();
        call.push(&samples);
        call.finish();
        let strides: Vec<_> = std::iter::from_fn(|| call.poll()).collect();
        let served: Vec<Vec<f32>> = strides.iter().filter_map(|stride| stride.outcome.clone().ok()).collect();
        assert!(windows == served && !windows.is_empty());
        assert_eq!(unscored, strides.len() - served.len());
    }
}

#[test]
fn every_kind_of_window_counts_what_it_says() {
    let corpus = corpus();
    let wanted = options(
        &[Condition::Wide, Condition::Alaw],
        &[Baseline::Cold],
        &[Window::Whole, Window::Clip, Window::Seconds(1.0)],
    );
    let Measured { outcomes, left_out } = scores(&shipped(), &of(&corpus, "1066"), &wanted);
    assert_eq!((outcomes.len(), left_out.len()), (6, 0));
    for outcome in &outcomes {
        assert_eq!((outcome.scores.clips, outcome.scores.actors), (6, 1));
        let counted: u64 = outcome.scores.confusion.iter().flatten().sum();
        let expected = if outcome.window_seconds.is_some() { outcome.windows } else { 6 };
        assert_eq!(counted, expected as u64);
        assert!(outcome.windows >= 6 && outcome.groups.sex.is_empty());
        let people = outcome.listeners.as_ref().unwrap();
        assert_eq!(people.clips, 6);
        assert!((people.machine_accuracy - outcome.scores.accuracy).abs() < 1e-9);
        assert!((outcome.scores.answered.values().sum::<f64>() - 1.0).abs() < 1e-9);
    }
}

#[test]
fn what_was_heard_before_changes_a_model_with_a_baseline_only() {
    let dir = tempfile::tempdir().unwrap();
    let (corpus, subject) = (corpus(), with_baseline(dir.path()));
    let clips: Vec<&Clip> = corpus.clips.iter().collect();
    let baselines = [Baseline::Cold, Baseline::Warm, Baseline::Neutral];
    let wanted = options(&[Condition::Mulaw], &baselines, &[Window::Clip]);
    let [cold, warm, neutral] = <[Outcome; 3]>::try_from(scores(&subject, &clips, &wanted).outcomes).unwrap();
    assert!(subject.has_baseline() && !shipped().has_baseline());
    // Cold the window's own mean is subtracted, so nothing is left to tell labels apart by: all are as likely as a sixth.
    assert!((cold.scores.reliability[2].count, cold.windows) == (18, 18), "{:?}", cold.scores);
    assert!(cold.heard_clips.abs() < 1e-9);
    assert!((warm.heard_clips - 5.0).abs() < 1e-9, "all others of the actor");
    assert!((neutral.heard_clips - 15.0 / 18.0).abs() < 1e-9, "one neutral clip an actor, and not before itself");
    assert_ne!(warm.scores.reliability, cold.scores.reliability);
    assert_ne!(warm.scores.reliability, neutral.scores.reliability);
    let Measured { outcomes, .. } = scores(&shipped(), &of(&corpus, "1066"), &wanted);
    assert!(outcomes.iter().all(|outcome| outcome.scores == outcomes[0].scores));
}

#[test]
fn a_warm_window_stands_against_what_was_heard_before() {
    let dir = tempfile::tempdir().unwrap();
    let (corpus, subject) = (corpus(), with_baseline(dir.path()));
    let manifest = manifest(&subject);
    let listen = |clip: &Clip| {
        let recording = file::read(&clip.path).unwrap();
        let hz = recording.sample_rate_hz;
        RawFrames::of(&recording.into_mono(), hz, &manifest.front_end, false).unwrap()
    };
    let raw: Vec<RawFrames> = of(&corpus, "1015").into_iter().map(listen).collect();
    let cold = cut(&raw[0], &[], Window::Clip, manifest).unwrap().0;
    let warm = cut(&raw[0], &[&raw[1], &raw[2]], Window::Clip, manifest).unwrap().0;
    assert_eq!(cold.len(), warm.len());
    let sum = |windows: &[Vec<f32>]| windows.concat().iter().map(|&value| f64::from(value)).sum::<f64>().abs();
    assert!(sum(&cold) < 0.1 && sum(&warm) > 10.0, "{} {}", sum(&cold), sum(&warm));
}

#[test]
fn a_network_of_any_length_is_heard_over_longer_windows_than_it_is_served() {
    let dir = tempfile::tempdir().unwrap();
    let corpus = corpus();
    let wanted = options(&[Condition::Flat], &[Baseline::Warm], &[Window::Seconds(3.0)]);
    let Measured { outcomes, .. } = scores(&with_baseline(dir.path()), &of(&corpus, "1002"), &wanted);
    assert_eq!(outcomes[0].scores.clips, 6);
    let error = evaluate(
        &shipped(),
        &of(&corpus, "1002"),
        &options(&[Condition::Wide], &[Baseline::Cold], &[Window::Seconds(7.5)]),
        &go_on,
    );
    assert!(error.unwrap_err().to_string().contains("6.97 s"));
}

#[test]
fn scores_repeat_and_do_not_depend_on_who_else_is_scored() {
    let corpus = corpus();
    let all: Vec<&Clip> = corpus.clips.iter().collect();
    let wanted = options(&[Condition::Loss5, Condition::Noise10], &[Baseline::Cold], &[Window::Whole]);
    let subject = shipped();
    let (first, again) = (scores(&subject, &all, &wanted), scores(&subject, &all, &wanted));
    for (one, other) in first.outcomes.iter().zip(&again.outcomes) {
        assert_eq!((&one.scores, &one.groups), (&other.scores, &other.groups));
    }
    let lossy = options(&[Condition::Loss5], &[Baseline::Cold], &[Window::Whole]);
    let three: u64 = ["1002", "1015", "1066"]
        .iter()
        .map(|actor| {
            scores(&subject, &of(&corpus, actor), &lossy).outcomes[0].scores.confusion.iter().flatten().sum::<u64>()
        })
        .sum();
    assert_eq!(three, 18);
    let alone = &scores(&subject, &of(&corpus, "1015"), &lossy).outcomes[0].scores.confusion;
    let rest: Vec<&Clip> = all.iter().copied().filter(|clip| clip.actor != "1015").collect();
    let rest = &scores(&subject, &rest, &lossy).outcomes[0].scores.confusion;
    for (row, (alone, rest)) in first.outcomes[0].scores.confusion.iter().zip(alone.iter().zip(rest)) {
        assert!(row.iter().zip(alone.iter().zip(rest)).all(|(sum, (a, b))| *sum == a + b));
    }
}

#[test]
fn the_gate_says_what_it_left_out() {
    let dir = tempfile::tempdir().unwrap();
    let (corpus, path) = (corpus(), dir.path().join("pause.wav"));
    let recording = file::read(&corpus.clips[0].path).unwrap();
    let format = hound::SampleFormat::Float;
    let spec = hound::WavSpec {
        channels: 1,
        sample_rate: recording.sample_rate_hz,
        bits_per_sample: 32,
        sample_format: format,
    };
    let mut writer = hound::WavWriter::create(&path, spec).unwrap();
    let silence = std::iter::repeat_n(0.0, 4 * recording.sample_rate_hz as usize);
    silence.chain(recording.into_mono()).for_each(|sample| writer.write_sample(sample).unwrap());
    writer.finalize().unwrap();
    let clip = Clip { path, ..corpus.clips[0].clone() };
    let mut wanted = options(&[Condition::Wide], &[Baseline::Cold], &[Window::Seconds(1.0)]);
    let open = scores(&shipped(), &[&clip], &wanted).outcomes.remove(0);
    wanted.gate = true;
    let gated = scores(&shipped(), &[&clip], &wanted).outcomes.remove(0);
    // Seven strides or more lie in the silence.
    assert!(
        gated.unscored_windows >= open.unscored_windows + 6,
        "{} {}",
        gated.unscored_windows,
        open.unscored_windows
    );
    assert!(gated.windows + 6 <= open.windows);
}

#[test]
fn a_forest_is_scored_beside_the_networks() {
    let dir = tempfile::tempdir().unwrap();
    let corpus = corpus();
    let clips: Vec<&Clip> = corpus.clips.iter().collect();
    grow(dir.path(), &clips);
    let subject = Subject::load(dir.path(), Provider::Cpu).unwrap();
    assert_eq!(subject.name(), "forest");
    let wanted =
        options(&[Condition::Wide, Condition::Flat], &[Baseline::Warm], &[Window::Whole, Window::Seconds(1.0)]);
    let outcomes = scores(&subject, &clips, &wanted).outcomes;
    // It was grown on these very clips.
    assert!(outcomes[0].scores.accuracy > 0.95, "{}", outcomes[0].scores.accuracy);
    assert!(outcomes[1].windows > 18 && outcomes[2].scores.accuracy < outcomes[0].scores.accuracy);
}

#[test]
fn a_clip_that_cannot_be_read_is_named_and_the_others_are_scored() {
    let corpus = corpus();
    let broken = Clip { path: "none/1066_DFA_ANG_XX.wav".into(), ..corpus.clips[0].clone() };
    let wanted = options(&[Condition::Wide, Condition::Mulaw], &[Baseline::Warm], &[Window::Clip]);
    let Measured { outcomes, left_out } = scores(&shipped(), &[&corpus.clips[0], &broken], &wanted);
    assert!(outcomes.iter().all(|outcome| outcome.scores.clips == 1));
    assert!(left_out.len() == 1 && left_out[0].contains("none/1066_DFA_ANG_XX.wav"), "{left_out:?}");
    let error = evaluate(&shipped(), &[&broken], &wanted, &go_on).unwrap_err().to_string();
    assert!(error.contains("no clip could be scored") && error.contains("none/1066"), "{error}");
}

#[test]
fn the_8_bit_variant_answers_nearly_as_the_default_does() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let corpus = Corpus::open(&root.join("tests/data/crema-d")).unwrap();
    let clips: Vec<&Clip> = corpus.clips.iter().collect();
    let settings = [Setting::new(Condition::Mulaw, Baseline::Warm, Window::Seconds(2.0))];
    let scores = ["models/telephone", "models/telephone-int8"].map(|dir| {
        let subject = Subject::load(&root.join(dir), Provider::Cpu).unwrap();
        measure(&subject, &clips, &settings, false, &go_on).unwrap().outcomes.remove(0).scores
    });
    assert!(scores[0].clips > 10 && scores[0].clips == scores[1].clips);
    assert!((scores[0].brier - scores[1].brier).abs() < 0.05, "{} {}", scores[0].brier, scores[1].brier);
    assert!((scores[0].accuracy - scores[1].accuracy).abs() < 0.15, "{} {}", scores[0].accuracy, scores[1].accuracy);
}

#[test]
fn who_says_so_stops_it_between_clips() {
    let corpus = corpus();
    let clips: Vec<&Clip> = corpus.clips.iter().collect();
    let heard = AtomicUsize::new(0);
    let stop = || {
        heard.fetch_add(1, Ordering::Relaxed);
        ControlFlow::Break(())
    };
    let wanted = options(&[Condition::Mulaw, Condition::Wide], &[Baseline::Cold], &[Window::Whole]);
    let error = evaluate(&shipped(), &clips, &wanted, &stop).unwrap_err();
    assert!(matches!(error, Error::Stopped), "{error}");
    // An actor is a thread's work, and there are three.
    assert!((1..=3).contains(&heard.load(Ordering::Relaxed)), "{heard:?}");
}
