//! Cross-validation over speakers: fold k tests, the next one stops and calibrates, the others train.
//!
//! CREMA-D's actors stand in the six folds of its tables; other actors, and other numbers of folds, are dealt out in order. Every fold
//! has a folder of its own, so that folds may run as processes side by side and a stopped run goes on where it was.

use std::{fs, path::Path, sync::atomic::AtomicBool};

use anyhow::{Context as _, bail};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{CHECKPOINT_FILE, Event, Options, checkpoint, run};
use crate::corpus::{Corpus, tables};

/// Folds of the corpus's tables.
const TABLED: u32 = 6;
/// What a fold scored, in its folder.
const FOLD_FILE: &str = "fold.json";
/// What all of them scored.
const ALL_FILE: &str = "folds.json";

/// Which folds to run.
#[derive(Debug, Clone, Copy)]
pub struct Folds {
    /// How many there are.
    pub of: u32,
    /// The only one to run, counted from 0; all if not told.
    pub only: Option<u32>,
}

/// One fold's result.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Fold {
    /// Counted from 0.
    pub fold: u32,
    /// Who was tested on: neither trained on nor calibrated by.
    pub test_actors: Vec<String>,
    /// Who stopped and calibrated.
    pub valid_actors: Vec<String>,
    /// The epoch whose weights were kept.
    pub epochs: u32,
    /// Scores on the test actors, as `evaluate --json` has them.
    pub results: Vec<Value>,
}

/// All folds that are there.
#[derive(Debug, Clone, Serialize)]
pub struct CrossValidation {
    /// What was trained.
    pub recipe: &'static str,
    /// Of everything random.
    pub seed: u64,
    /// How many folds there are.
    pub folds: u32,
    /// Those that were run.
    pub run: Vec<Fold>,
    /// Means over those.
    pub means: Vec<Mean>,
}

/// The mean of a condition, a baseline and a window over the folds, all of which were scored so.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Mean {
    /// The line.
    pub condition: String,
    /// What was heard before.
    pub baseline: String,
    /// The window.
    pub window: String,
    /// Unweighted average recall.
    pub uar: f64,
    /// The lowest fold's.
    pub uar_lowest: f64,
    /// The highest fold's.
    pub uar_highest: f64,
    /// Expected calibration error, on actors that fitted neither the model nor its temperature.
    pub ece: f64,
    /// Accuracy of the surer half.
    pub accuracy_at_half_coverage: f64,
}

/// Runs the folds that have no result yet. `options` say all but the actors.
///
/// # Errors
/// Too few actors, and whatever stops a training.
pub fn cross_validate(
    options: &Options,
    folds: Folds,
    stop: &AtomicBool,
    tell: &(dyn Fn(Event<'_>) + Sync),
) -> anyhow::Result<CrossValidation> {
    if options.train_actors.is_some() || options.valid_actors.is_some() {
        bail!("--folds divides the actors itself: leave out --train-actors and --valid-actors");
    }
    let parts = divide(&Corpus::open(&options.data)?.actors(), folds.of)?;
    if let Some(only) = folds.only.filter(|&only| only >= folds.of) {
        bail!("there is no fold {only}: they are counted from 0 to {}", folds.of - 1);
    }
    let mut all = CrossValidation {
        recipe: options.recipe.name(),
        seed: options.seed,
        folds: folds.of,
        run: Vec::new(),
        means: Vec::new(),
    };
    for fold in 0..folds.of {
        let out = options.out.join(format!("fold-{fold}"));
        let mine = folds.only.is_none_or(|only| only == fold);
        let done = out.join(FOLD_FILE);
        if done.is_file() && (options.resume || !mine) {
            let text = fs::read_to_string(&done).with_context(|| format!("cannot read {}", done.display()))?;
            let damaged = || format!("{} is damaged: remove it to run the fold again", done.display());
            all.run.push(serde_json::from_str(&text).with_context(damaged)?);
        } else if mine {
            tell(Event::Note(format!("fold {fold} of {}", folds.of)));
            all.run.push(one(options, &parts, fold, &out, stop, tell)?);
        }
    }
    all.means = means(&all.run);
    checkpoint::replace(&options.out.join(ALL_FILE), &serde_json::to_vec_pretty(&all)?)?;
    Ok(all)
}

fn one(
    options: &Options,
    parts: &[Vec<String>],
    fold: u32,
    out: &Path,
    stop: &AtomicBool,
    tell: &(dyn Fn(Event<'_>) + Sync),
) -> anyhow::Result<Fold> {
    let (test, valid) = (fold as usize, (fold as usize + 1) % parts.len());
    let rest = |(part, _): &(usize, &Vec<String>)| ![test, valid].contains(part);
    let mut train: Vec<String> = parts.iter().enumerate().filter(rest).flat_map(|(_, part)| part.clone()).collect();
    train.sort_unstable();
    let trained = run(
        &Options {
            train_actors: Some(train),
            valid_actors: Some(parts[valid].clone()),
            test_actors: Some(parts[test].clone()),
            resume: options.resume && out.join(CHECKPOINT_FILE).is_file(),
            out: out.to_owned(),
            ..options.clone()
        },
        stop,
        tell,
    )?;
    let fold = Fold {
        fold,
        test_actors: parts[test].clone(),
        valid_actors: parts[valid].clone(),
        epochs: trained.training.epochs,
        results: trained.test_scores.iter().map(serde_json::to_value).collect::<Result<_, _>>()?,
    };
    checkpoint::replace(&out.join(FOLD_FILE), &serde_json::to_vec_pretty(&fold)?)?;
    Ok(fold)
}

/// The actors of each fold.
fn divide(present: &[String], folds: u32) -> anyhow::Result<Vec<Vec<String>>> {
    let mut parts = vec![Vec::new(); folds as usize];
    let tabled = |actor: &str| tables::find(actor).filter(|_| folds == TABLED);
    // Actors kept for the last test are in no fold of the tables, and in none here whatever the number.
    let usable = present.iter().filter(|actor| tables::find(actor).is_none_or(|found| found.fold.is_some()));
    for (index, actor) in usable.enumerate() {
        let fold = tabled(actor).and_then(|found| found.fold).map_or(index % parts.len(), usize::from);
        parts[fold].push(actor.clone());
    }
    if folds < 3 || parts.iter().any(Vec::is_empty) {
        bail!(
            "{folds} folds of {} actors: at least 3 folds are needed (one tests, one stops and calibrates) and an actor in each",
            parts.iter().map(Vec::len).sum::<usize>()
        );
    }
    Ok(parts)
}

fn means(run: &[Fold]) -> Vec<Mean> {
    let Some(first) = run.first() else { return Vec::new() };
    let text = |value: &Value, key: &str| value[key].as_str().unwrap_or_default().to_owned();
    let alike = |of: &Value, other: &Value| ["condition", "baseline", "window"].iter().all(|key| of[key] == other[key]);
    let mean = |of: &Value| {
        let every = |key: &str| -> Vec<f64> {
            let in_fold = |fold: &Fold| fold.results.iter().find(|other| alike(of, other))?.get(key)?.as_f64();
            run.iter().filter_map(in_fold).collect()
        };
        let average = |values: &[f64]| values.iter().sum::<f64>() / values.len().max(1) as f64;
        let uar = every("uar");
        Mean {
            condition: text(of, "condition"),
            baseline: text(of, "baseline"),
            window: text(of, "window"),
            uar: average(&uar),
            uar_lowest: uar.iter().copied().fold(f64::INFINITY, f64::min),
            uar_highest: uar.iter().copied().fold(f64::NEG_INFINITY, f64::max),
            ece: average(&every("ece")),
            accuracy_at_half_coverage: average(&every("accuracy_at_half_coverage")),
        }
    };
    let in_all = |of: &&Value| run.iter().all(|fold| fold.results.iter().any(|other| alike(of, other)));
    first.results.iter().filter(in_all).map(mean).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn actors(list: &[&str]) -> Vec<String> {
        list.iter().map(|actor| (*actor).to_owned()).collect()
    }

    #[test]
    fn no_actor_is_in_two_folds_and_those_kept_for_the_last_test_in_none() {
        // 1001 is kept for the last test.
        let parts = divide(&actors(&["1001", "1002", "1003", "1005", "x", "y"]), 3).unwrap();
        assert_eq!(parts, [actors(&["1002", "x"]), actors(&["1003", "y"]), actors(&["1005"])]);
        let error = divide(&actors(&["1002", "1003"]), 3).unwrap_err().to_string();
        assert!(error.contains("3 folds of 2 actors"), "{error}");
        assert!(divide(&actors(&["a", "b", "c"]), 2).is_err());
    }

    #[test]
    fn means_are_over_folds_of_one_condition() {
        let result =
            |(condition, uar): (&str, f64)| json!({"condition": condition, "window": "whole", "uar": uar, "ece": 0.1});
        let fold = |fold, results: &[(&str, f64)]| Fold {
            fold,
            test_actors: vec![],
            valid_actors: vec![],
            epochs: 1,
            results: results.iter().copied().map(result).collect(),
        };
        // The second was run when more was scored, in another order.
        let means = means(&[fold(0, &[("mulaw", 0.5), ("wide", 0.9)]), fold(1, &[("alaw", 0.1), ("mulaw", 0.7)])]);
        assert_eq!((means.len(), means[0].condition.as_str()), (1, "mulaw"));
        assert!((means[0].uar - 0.6).abs() < 1e-12 && (means[0].uar_lowest - 0.5).abs() < 1e-12);
    }
}
