//! The command, in a build with the trainer.

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use anyhow::Context as _;
use serde_json::json;
use undertone::{
    corpus::parse_actors,
    evaluate::{Baseline, Outcome},
    train::{self, CrossValidation, Folds, Lines, Options, Trained},
};

use super::{Args, Bandwidth, Device, Recipe, Windows};
use crate::cli::print;
use watcher::Watcher;

mod gate;
mod learning;
mod watcher;

/// Status of a process that SIGINT ended, as shells have it: 128 and the signal's number.
const INTERRUPTED: i32 = 130;

/// Runs the command.
pub(crate) fn run(args: Args) -> anyhow::Result<()> {
    if args.recipe == Recipe::Telephone && (args.bandwidth.is_some() || args.windows.is_some()) {
        anyhow::bail!(
            "--bandwidth and --windows are options of the recipes on the thesis's frames: leave them out for telephone"
        );
    }
    if args.recipe != Recipe::Telephone && !args.teacher.is_empty() {
        anyhow::bail!("--teacher is an option of telephone: leave it out");
    }
    if args.recipe != Recipe::Telephone && (args.width.is_some() || args.votes > 0.0) {
        anyhow::bail!("--width and --votes are options of telephone: leave them out");
    }
    if args.recipe != Recipe::Gate && (args.music.is_some() || args.noise.is_some()) {
        anyhow::bail!("--music and --noise are options of gate: leave them out");
    }
    let list = |list: Option<&String>| list.map(|list| parse_actors(list)).transpose();
    let options = Options {
        recipe: match args.recipe {
            Recipe::Forest => train::Recipe::Forest,
            Recipe::CnnBilstm => train::Recipe::CnnBilstm,
            Recipe::SpectrogramCnn => train::Recipe::SpectrogramCnn,
            Recipe::Cldnn => train::Recipe::Cldnn,
            Recipe::Ensemble => train::Recipe::Ensemble,
            Recipe::Telephone => train::Recipe::Telephone,
            Recipe::Gate => return gate::run(args),
        },
        train_actors: list(args.train_actors.as_ref())?,
        valid_actors: list(args.valid_actors.as_ref())?,
        data: args.data,
        out: args.out,
        test_actors: None,
        epochs: args.epochs,
        seed: args.seed,
        resume: args.resume,
        teachers: args.teacher,
        width: args.width.map(|width| width as usize),
        votes: args.votes,
        device: if args.device == Device::Gpu { train::Device::Gpu } else { train::Device::Cpu },
        lines: match args.bandwidth.unwrap_or(Bandwidth::Both) {
            Bandwidth::Wide => Lines::Wide,
            Bandwidth::Telephone => Lines::Telephone,
            Bandwidth::Both => Lines::Both,
        },
        windows: match args.windows.unwrap_or(Windows::Served) {
            Windows::Served => train::Windows::Served,
            Windows::Clip => train::Windows::Clip,
        },
        cache: if args.no_cache { None } else { args.cache.or_else(default_cache) },
        command: command(),
    };
    let stop = asked_to_stop()?;
    let watcher = Watcher::new(args.json)?;
    if let Some(of) = args.folds {
        let folds = Folds { of, only: args.fold };
        let all = train::cross_validate(&options, folds, &stop, &|event| watcher.tell(&event))?;
        watcher.finish()?;
        return end_folds(&all, &options.out, args.json);
    }
    let trained = train::run(&options, &stop, &|event| watcher.tell(&event))?;
    watcher.finish()?;
    end(&trained, args.json)
}

fn end(trained: &Trained, json: bool) -> anyhow::Result<()> {
    if json {
        return print(json!({
            "model": trained.dir,
            "kept_epoch": trained.training.epochs,
            "temperature": trained.calibration.temperature,
            "uncertain_below": trained.calibration.uncertain_below,
            "valid": trained.scores,
        }));
    }
    // What was heard before side by side; a line each would be 63 of a telephone model. The card has all figures.
    for outcome in trained.scores.iter().filter(|outcome| outcome.baseline == Baseline::Cold) {
        let alike = |other: &&Outcome| other.condition == outcome.condition && other.window == outcome.window;
        let uar = |other: &Outcome| format!("{} {:.1} %", other.baseline.as_str(), other.scores.uar * 100.0);
        let uars: Vec<String> = trained.scores.iter().filter(alike).map(uar).collect();
        print(format!("validation, {}, {}: UAR {}", outcome.condition.as_str(), outcome.window, uars.join("  ")))?;
    }
    print(trained.dir.display())
}

fn end_folds(all: &CrossValidation, out: &Path, json: bool) -> anyhow::Result<()> {
    if json {
        return print(serde_json::to_string(all)?);
    }
    for mean in &all.means {
        print(format!(
            "{} of {} folds, {}, {}, {}: UAR {:.1} % ({:.1} to {:.1})  ECE {:.3}  surer half {:.1} %",
            all.run.len(),
            all.folds,
            mean.condition,
            mean.baseline,
            mean.window,
            mean.uar * 100.0,
            mean.uar_lowest * 100.0,
            mean.uar_highest * 100.0,
            mean.ece,
            mean.accuracy_at_half_coverage * 100.0,
        ))?;
    }
    print(out.join("folds.json").display())
}

/// Set once Ctrl-C asks the training to stop; a second one ends the process.
fn asked_to_stop() -> anyhow::Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    let asked = Arc::clone(&stop);
    let handler = move || {
        if asked.swap(true, Ordering::Relaxed) {
            // Whoever asks twice does not want to wait. Files are replaced at once, so none is left half-written.
            std::process::exit(INTERRUPTED);
        }
    };
    ctrlc::set_handler(handler).context("cannot watch for Ctrl-C")?;
    Ok(stop)
}

/// Where features are kept where nobody says: as the XDG base directories have it.
fn default_cache() -> Option<PathBuf> {
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let base = set("XDG_CACHE_HOME").or_else(|| Some(set("HOME")?.join(".cache")))?;
    Some(base.join("undertone"))
}

/// The command as it was given, for whoever wants to repeat it.
fn command() -> String {
    let given = std::env::args().skip(1).filter(|argument| argument != "--json" && argument != "--resume");
    std::iter::once("undertone".to_owned()).chain(given).collect::<Vec<_>>().join(" ")
}
