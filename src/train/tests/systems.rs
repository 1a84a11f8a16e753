//! The systems that the thesis builds on: each learns, resumes, is exported and looks at nothing that it must not; and what is kept of
//! their features changes nothing.

use super::*;

fn of(recipe: Recipe, out: &Path, epochs: u32) -> Options {
    Options { recipe, ..options(&recordings(), out, epochs) }
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

fn same_files(one: &Path, other: &Path) {
    for file in [NETWORK_FILE, "manifest.toml", CHECKPOINT_FILE] {
        let read = |out: &Path| fs::read(out.join(file)).unwrap();
        assert!(read(one) == read(other), "{file} differs");
    }
}

/// Learns a few epochs at once, and the same stopped within one and gone on with.
fn learns_resumes_and_can_be_served(recipe: Recipe) {
    let [whole, parts] = [folder(), folder()];
    let (trained, epochs) = train(&of(recipe, whole.path(), 10));
    // The first epoch is a step from where it began; one step's loss is noisy, three are less so.
    let last = epochs[epochs.len() - 3..].iter().map(|epoch| epoch.loss).sum::<f64>() / 3.0;
    assert!(last < 0.97 * epochs[0].loss, "{epochs:?}");
    // `run` itself compared the export with the trainer, row by row and all at once.
    let manifest = Manifest::load(&trained.dir).unwrap();
    assert_eq!(manifest.name, recipe.name());
    let runtime = onnx::Runtime::load(None).unwrap();
    onnx::Session::load(runtime, &manifest, &trained.dir, &onnx::Options::default()).unwrap();
    assert_eq!(trained.scores.iter().map(|outcome| outcome.scores.clips).collect::<Vec<_>>(), [6; 4]);

    let stop = AtomicBool::new(false);
    let tell = |event: Event<'_>| {
        if matches!(event, Event::Epoch { epoch: 6, .. }) {
            stop.store(true, Ordering::Relaxed);
        }
    };
    let error = run(&of(recipe, parts.path(), 10), &stop, &tell).unwrap_err().to_string();
    assert!(error.contains("epoch 5 is saved"), "{error}");
    train(&Options { resume: true, ..of(recipe, parts.path(), 10) });
    same_files(whole.path(), parts.path());
}

/// The same folder before and after the validation actor's clips change places and one is gone.
fn before_and_after_the_validation_actor_says_something_else<T>(run: impl Fn(&Path) -> T) -> [T; 2] {
    let data = folder();
    for entry in fs::read_dir(recordings()).unwrap().map(Result::unwrap) {
        fs::copy(entry.path(), data.path().join(entry.file_name())).unwrap();
    }
    let before = run(data.path());
    let place = |name: &str| data.path().join(name);
    fs::rename(place("1066_IEO_ANG_LO.flac"), place("swap")).unwrap();
    fs::rename(place("1066_MTI_FEA_XX.flac"), place("1066_IEO_ANG_LO.flac")).unwrap();
    fs::rename(place("swap"), place("1066_MTI_FEA_XX.flac")).unwrap();
    fs::remove_file(place("1066_IOM_SAD_XX.flac")).unwrap();
    [before, run(data.path())]
}

/// Trains twice; what the validation actor says changes in between.
pub(super) fn learns_alike_whatever_the_validation_actor_says(recipe: Recipe) {
    let learnt = before_and_after_the_validation_actor_says_something_else(|data| {
        let out = folder();
        let trained = train(&Options { recipe, ..options(data, out.path(), 1) }).0;
        let Manifest { standardization, metrics, .. } = Manifest::load(&trained.dir).unwrap();
        ((standardization, trained.training.data_sha256, last_weights(out.path())), metrics)
    });
    let [(first, heard), (second, heard_then)] = learnt;
    assert!(first == second, "{}", recipe.name());
    assert_ne!(heard, heard_then, "the validation actor was heard");
}

#[test]
fn no_tree_looks_at_a_validation_actor() {
    let [first, second] = before_and_after_the_validation_actor_says_something_else(|data| {
        let out = folder();
        let options = Options { recipe: Recipe::Forest, epochs: None, ..options(data, out.path(), 1) };
        let training = train(&options).0.training;
        (fs::read(out.path().join(forest::TREES_FILE)).unwrap(), training.data_sha256)
    });
    assert!(first == second, "trees or clips differ");
}

#[test]
fn a_spectrogram_cnn_learns_resumes_and_can_be_served() {
    learns_resumes_and_can_be_served(Recipe::SpectrogramCnn);
}

#[test]
fn a_cldnn_learns_resumes_and_can_be_served() {
    learns_resumes_and_can_be_served(Recipe::Cldnn);
}

#[test]
fn an_ensemble_learns_resumes_and_can_be_served() {
    learns_resumes_and_can_be_served(Recipe::Ensemble);
}

#[test]
fn no_system_looks_at_a_validation_actor_altered_or_not() {
    for recipe in [Recipe::SpectrogramCnn, Recipe::Cldnn, Recipe::Ensemble] {
        learns_alike_whatever_the_validation_actor_says(recipe);
    }
}

#[test]
fn features_that_are_kept_give_the_same_model_and_another_recipe_finds_them() {
    let (kept, outs) = (folder(), [folder(), folder(), folder()]);
    let entries =
        || fs::read_dir(kept.path()).unwrap().flat_map(|dir| fs::read_dir(dir.unwrap().path()).unwrap()).count();
    let cached = |recipe, out: &Path| train(&Options { cache: Some(kept.path().to_owned()), ..of(recipe, out, 1) });
    train(&of(Recipe::Cldnn, outs[0].path(), 1));
    cached(Recipe::Cldnn, outs[1].path());
    // An entry a clip of both sides.
    assert_eq!(entries(), 18);
    cached(Recipe::Cldnn, outs[2].path());
    same_files(outs[0].path(), outs[1].path());
    same_files(outs[0].path(), outs[2].path());
    cached(Recipe::Ensemble, outs[2].path());
    assert_eq!(entries(), 18, "it hears every clip the same ways");
    // Nobody alters a clip for it, and none of the validation actor's was altered before.
    cached(Recipe::SpectrogramCnn, outs[2].path());
    assert_eq!(entries(), 30);
}

#[test]
fn a_telephone_model_of_kept_frames_is_the_same() {
    let (kept, outs) = (folder(), [folder(), folder(), folder()]);
    let options = |out: &Path| of(Recipe::Telephone, out, 1);
    train(&options(outs[0].path()));
    for out in &outs[1..] {
        train(&Options { cache: Some(kept.path().to_owned()), ..options(out.path()) });
        same_files(outs[0].path(), out.path());
    }
}

#[test]
fn a_clip_is_heard_once_and_again_when_it_changes() {
    let (kept, data) = (folder(), folder());
    for entry in fs::read_dir(recordings()).unwrap().map(Result::unwrap) {
        fs::copy(entry.path(), data.path().join(entry.file_name())).unwrap();
    }
    let heard = AtomicUsize::new(0);
    let gather = |what: &str| {
        let corpus = Corpus::open(data.path()).unwrap();
        let make = |clip: clips::Heard| {
            heard.fetch_add(1, Ordering::Relaxed);
            Ok(clip.samples.iter().step_by(1_000).copied().collect::<Vec<f32>>())
        };
        let cache = Cache::new(Some(kept.path()));
        let all: Vec<&Clip> = corpus.clips.iter().collect();
        let clips = clips::gather_kept(&all, &cache, |_| what.to_owned(), make, || Ok(())).unwrap();
        (clips.fingerprint(&clips.actors), clips.made)
    };
    let first = gather("one");
    assert_eq!((gather("one"), heard.load(Ordering::Relaxed)), (first, 18));
    gather("another");
    assert_eq!(heard.load(Ordering::Relaxed), 36);
    let place = |name: &str| data.path().join(name);
    fs::copy(place("1066_IEO_ANG_LO.flac"), place("1066_MTI_FEA_XX.flac")).unwrap();
    let (_, made) = gather("one");
    // Two clips of one audio and two labels: heard, and left out.
    assert_eq!((heard.load(Ordering::Relaxed), made.len()), (37, 16));
}
