//! A run that is told to stop heeds it wherever it is, and leaves nothing half-done.

use super::*;

/// What a run says that is stopped at the first event that `at` is true of.
fn stopped(options: &Options, at: impl Fn(&Event<'_>) -> bool + Sync) -> String {
    let stop = AtomicBool::new(false);
    let tell = |event: Event<'_>| {
        if at(&event) {
            stop.store(true, Ordering::Relaxed);
        }
    };
    format!("{:#}", run(options, &stop, &tell).unwrap_err())
}

fn of(recipe: Recipe, out: &Path) -> Options {
    match recipe {
        Recipe::Forest => Options { recipe, epochs: None, ..options(&recordings(), out, 1) },
        Recipe::Telephone => Options { recipe, width: Some(8), ..options(&recordings(), out, 1) },
        _ => Options { recipe, ..options(&recordings(), out, 1) },
    }
}

#[test]
fn while_clips_are_read() {
    for recipe in [Recipe::CnnBilstm, Recipe::Telephone, Recipe::Forest] {
        let out = tempfile::tempdir().unwrap();
        let error = stopped(&of(recipe, out.path()), |event| matches!(event, Event::Read));
        assert!(error.contains("stopped while clips were read and heard"), "{}: {error}", recipe.name());
        assert!(files(out.path()).is_empty(), "{}", recipe.name());
    }
}

#[test]
fn while_clips_are_heard_over_lines() {
    let (out, readings) = (tempfile::tempdir().unwrap(), AtomicUsize::new(0));
    let second =
        |event: &Event<'_>| matches!(event, Event::Reading(_)) && readings.fetch_add(1, Ordering::Relaxed) == 1;
    let error = stopped(&of(Recipe::Telephone, out.path()), second);
    assert!(error.contains("stopped while clips were read and heard"), "{error}");
    assert_eq!(readings.load(Ordering::Relaxed), 2);
}

#[test]
fn before_trees_grow() {
    let out = tempfile::tempdir().unwrap();
    let grows = |event: &Event<'_>| matches!(event, Event::Note(note) if note.starts_with("growing"));
    let error = stopped(&of(Recipe::Forest, out.path()), grows);
    assert!(error.contains("stopped before the trees grew"), "{error}");
    assert!(files(out.path()).is_empty());
}

#[test]
fn in_validation_and_while_it_is_scored_which_another_run_makes_good() {
    let out = tempfile::tempdir().unwrap();
    let options = of(Recipe::Telephone, out.path());
    // The only step of the epoch.
    let error = stopped(&options, |event| matches!(event, Event::Batch { .. }));
    assert!(error.contains("stopped in the validation of epoch 1: no epoch was finished"), "{error}");
    assert!(files(out.path()).is_empty());
    let error = stopped(&options, |event| matches!(event, Event::Scoring(_)));
    assert!(error.contains("epoch 1 is saved; go on with --resume: stopped before all clips were scored"), "{error}");
    assert!(files(out.path()).keys().eq([CHECKPOINT_FILE, "history.jsonl"]), "{:?}", files(out.path()).keys());
    let (trained, epochs) = train(&Options { resume: true, ..options });
    assert!(epochs.is_empty() && Manifest::load(&trained.dir).is_ok());
}

#[cfg(target_os = "linux")]
#[test]
fn a_folder_that_takes_no_files_is_told_before_anything_is_read() {
    // There, but nobody writes into it, root included.
    let told = |error: anyhow::Error| format!("{error:#}");
    let nowhere = Options { data: "absent".into(), ..options(&recordings(), Path::new("/proc/self"), 1) };
    let error = told(run(&nowhere, &AtomicBool::new(false), &|_| {}).unwrap_err());
    assert!(error.starts_with("cannot write in the folder /proc/self"), "{error}");
}
