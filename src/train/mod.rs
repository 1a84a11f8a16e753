//! Making a model.
//!
//! [`run`] goes from a folder of recordings to `model.onnx`, `manifest.toml` and `MODEL_CARD.md`: split by speaker, extract features
//! once through the code that serves calls, fit, calibrate, export, check the export in ONNX Runtime, and score it on the validation
//! actors as `undertone evaluate` does. No statistic looks at a validation actor's audio but the loss that stops the training, and
//! the calibration.

use std::{
    fs,
    ops::ControlFlow,
    path::{Path, PathBuf},
    sync::atomic::AtomicBool,
};

use anyhow::Context as _;
use clap::ValueEnum;

mod cache;
mod calibrate;
mod card;
mod checkpoint;
mod cldnn;
mod clips;
mod cnn_bilstm;
mod device;
mod ensemble;
mod export;
mod fit;
mod folds;
mod forest;
pub mod gate;
mod history;
mod network;
mod optimiser;
mod recipe;
mod record;
mod recurrent;
mod schedule;
mod sides;
mod spectrogram_cnn;
mod stack;
mod telephone;
mod tensors;
#[cfg(test)]
mod tests;
mod thesis;

pub use device::Device;
pub use fit::Epoch;
pub use folds::{CrossValidation, Folds, cross_validate};
pub use recipe::Recipe;
pub use thesis::Windows;

use crate::{
    corpus::{Clip, Condition, Corpus, Split, split},
    decision::Calibration,
    evaluate::{self, Baseline, Outcome, Subject},
    model::{
        Manifest, Model,
        manifest::{Bandwidth, Training, sha256_hex},
        onnx::{Options as SessionOptions, Runtime},
    },
};
use cache::Cache;
use clips::Heard;
use device::Found;
use network::Spec;
use recipe::{Course, Sketch};
use sides::Sides;

/// Of the models and the data they are made of.
const LICENCE: &str = "MIT OR Apache-2.0; trained on CREMA-D (ODbL 1.0, contents DbCL 1.0)";
/// Version of what is made.
const VERSION: &str = "1.0.0";
/// The network's file.
const NETWORK_FILE: &str = "model.onnx";
/// The checkpoint's. It stays, so that a finished run can be given more epochs.
const CHECKPOINT_FILE: &str = "checkpoint.safetensors";
/// Windows that the export is compared on.
const CHECKED_WINDOWS: usize = 16;

/// Which lines the model is made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Lines {
    /// The recordings as they are.
    Wide,
    /// 8 kHz, G.711 µ-law.
    Telephone,
    /// Every clip both ways.
    Both,
}

/// What to train on and how.
#[derive(Debug, Clone)]
pub struct Options {
    /// What to train.
    pub recipe: Recipe,
    /// The recordings.
    pub data: PathBuf,
    /// Where the model goes.
    pub out: PathBuf,
    /// Actors to train on; the built-in division if not told.
    pub train_actors: Option<Vec<String>>,
    /// Actors to stop and calibrate by.
    pub valid_actors: Option<Vec<String>>,
    /// Actors to score at last, who neither train nor calibrate.
    pub test_actors: Option<Vec<String>>,
    /// Epochs at most; the recipe's own number if not told.
    pub epochs: Option<u32>,
    /// Of everything random.
    pub seed: u64,
    /// Go on from the checkpoint in `out`.
    pub resume: bool,
    /// Folders of models that it learns from beside the labels; of `telephone` alone.
    pub teachers: Vec<PathBuf>,
    /// Filters of the stem of `telephone`; the recipe's own number if not told.
    pub width: Option<usize>,
    /// Part of each target of `telephone` that listeners' votes decide, from 0 to below 1.
    pub votes: f32,
    /// What computes; recipes with kernels of their own have the CPU alone.
    pub device: Device,
    /// Which lines.
    pub lines: Lines,
    /// Which windows.
    pub windows: Windows,
    /// Where features are kept; nowhere if not told.
    pub cache: Option<PathBuf>,
    /// The command, for manifest and card.
    pub command: String,
}

/// What happens, for whoever watches.
#[derive(Debug)]
pub enum Event<'a> {
    /// So many clips will be read.
    Reading(usize),
    /// One was.
    Read,
    /// Something to know.
    Note(String),
    /// An epoch of so many batches begins.
    Epoch {
        /// Counted from 1.
        epoch: u32,
        /// Epochs at most.
        epochs: u32,
        /// Steps it takes.
        batches: usize,
    },
    /// A batch was learnt from.
    Batch {
        /// Its loss.
        loss: f64,
    },
    /// An epoch was finished.
    EpochDone(&'a Epoch),
    /// The model will be scored on so many clips and lines.
    Scoring(usize),
    /// It was on one.
    Scored,
}

/// A trained model.
#[derive(Debug)]
pub struct Trained {
    /// Its folder.
    pub dir: PathBuf,
    /// What it was trained on and how.
    pub training: Training,
    /// How sure it may be said to be.
    pub calibration: Calibration,
    /// Its scores on the validation actors.
    pub scores: Vec<Outcome>,
    /// Its scores on the test actors, if there are some.
    pub test_scores: Vec<Outcome>,
}

/// All that a recipe needs beside its own options.
pub(in crate::train) struct Work<'a> {
    options: &'a Options,
    runtime: &'static Runtime,
    corpus: Corpus,
    split: Split,
    cache: Cache,
    device: Found,
    stop: &'a AtomicBool,
}

/// Trains by a recipe.
///
/// # Errors
/// Data that cannot be trained on, an actor on both sides, a checkpoint that does not fit, a disk that cannot be written, ONNX Runtime
/// missing, an export that does not agree with the trainer, a device that cannot be had or does not compute the recipe, and `stop`.
pub fn run(options: &Options, stop: &AtomicBool, tell: &(dyn Fn(Event<'_>) + Sync)) -> anyhow::Result<Trained> {
    let device = options.device.find(options.recipe)?;
    if let Some(gpu) = &device.gpu {
        tell(Event::Note(format!("trains on {gpu}")));
    }
    // Whatever would fail at the end fails before hours of work.
    let runtime = Runtime::load(None).context("ONNX Runtime checks the exported model")?;
    prepare(&options.out)?;
    let corpus = Corpus::open(&options.data)?;
    let split = split(&corpus.actors(), options.train_actors.as_deref(), options.valid_actors.as_deref())?;
    let test = options.test_actors.as_deref().unwrap_or_default();
    if let Some(shared) = test.iter().find(|actor| split.train.contains(actor) || split.valid.contains(actor)) {
        return Err(crate::corpus::Error::Shared(shared.clone()).into());
    }
    let cache = Cache::new(options.cache.as_deref());
    options.recipe.train(&Work { options, runtime, corpus, split, cache, device, stop }, tell)
}

/// Makes the folder that a training's files go into, and finds out whether they can be written.
fn prepare(out: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(out).with_context(|| format!("cannot make the folder {}", out.display()))?;
    let probe = out.join(".writable");
    let written = fs::write(&probe, []).and_then(|()| fs::remove_file(&probe));
    written.with_context(|| format!("cannot write in the folder {}", out.display()))
}

impl Work<'_> {
    /// Trains a recipe whose data is in memory, and makes the model's folder.
    fn finish(&self, course: &dyn Course, sides: &Sides, tell: &(dyn Fn(Event<'_>) + Sync)) -> anyhow::Result<Trained> {
        let options = self.options;
        let checkpoint = options.out.join(CHECKPOINT_FILE);
        let task = fit::Task {
            course,
            epochs: options.epochs.unwrap_or(options.recipe.epochs()),
            seed: options.seed,
            identity: self.identity(course, sides),
            checkpoint: &checkpoint,
            resume: options.resume,
        };
        let note = |event: Event<'_>| {
            if let Event::EpochDone(epoch) = &event
                && let Err(error) = history::add(&options.out, epoch)
            {
                tell(Event::Note(format!("the epoch is not noted: {error:#}")));
            }
            tell(event);
        };
        let run = fit::fit(&task, self.stop, &note)?;
        let (network, sketch) = (course.network(), course.sketch());
        let answers = fit::answers(course, &run.kept, self.stop)
            .with_context(|| format!("stopped while it was calibrated: {}", fit::kept(run.epoch)))?;
        let calibration = calibrate::fit(&answers.logits, &answers.labels, sketch.wanted);
        let file = network.export(&run.kept, sketch.window.frames);
        let mut manifest = self.manifest(&sketch, sides, run.schedule.kept_epoch());
        manifest.calibration = calibration;
        manifest.network.parameters = network.specs().iter().map(Spec::len).sum::<usize>() as u64;
        manifest.network.sha256 = sha256_hex(&file);
        let mut some = course.validation().next().context("there is no validation window")?;
        some.truncate(CHECKED_WINDOWS);
        let widest = export::check(&manifest, &file, network, &run.kept, &some)?;
        tell(Event::Note(format!("the exported network differs from the trained one by {widest:.1e} at most")));
        if let Some(windows) = calibrate::scores(calibration, &answers.logits, &answers.labels, &manifest.labels) {
            manifest.metrics.extend(record::figures("valid_windows", &windows));
        }

        let subject = Subject::Network(Model::of(
            self.runtime,
            manifest.clone(),
            file.as_slice().into(),
            SessionOptions::default(),
        ));
        let baselines: &[_] = if subject.has_baseline() { Baseline::value_variants() } else { &[Baseline::Cold] };
        let wanted = evaluate::Options {
            conditions: sketch.conditions.clone(),
            baselines: baselines.to_vec(),
            windows: sketch.windows.clone(),
            gate: false,
        };
        let (scores, test_scores) = self.score(&subject, sides, &wanted, tell).with_context(|| fit::kept(run.epoch))?;
        for outcome in &scores {
            manifest.metrics.extend(record::measured(outcome));
        }
        checkpoint::replace(&options.out.join(NETWORK_FILE), &file)?;
        manifest.save(&options.out)?;
        let averaged = course.regime().average.is_some();
        let facts = card::Facts { manifest: &manifest, sketch: &sketch, sides, scores: &scores, averaged };
        let card = card::write(&facts);
        checkpoint::replace(&options.out.join("MODEL_CARD.md"), card.as_bytes())?;
        let Manifest { training, calibration, .. } = manifest;
        Ok(Trained { dir: options.out.clone(), training, calibration, scores, test_scores })
    }

    /// All that decides what an epoch does; a run with another may not be gone on with.
    fn identity(&self, course: &dyn Course, sides: &Sides) -> String {
        let Options { recipe, seed, .. } = self.options;
        // What a GPU sums up differs in its last bits, and the manifest names one device.
        let on = self.device.gpu.as_ref().map(|gpu| format!(", on {gpu}")).unwrap_or_default();
        format!(
            "{}, {}{on}, seed {seed}, training on {} actors, {} clips {}, validating with {} actors, {} clips {}",
            recipe.name(),
            course.identity(),
            self.split.train.len(),
            sides.train_clips,
            &sides.train_sha256[..12],
            self.split.valid.len(),
            sides.valid_clips,
            &sides.valid_sha256[..12],
        )
    }

    /// Scores on the validation clips that the training did not leave out, and on the test actors if there are some.
    fn score(
        &self,
        subject: &Subject,
        sides: &Sides,
        wanted: &evaluate::Options,
        tell: &(dyn Fn(Event<'_>) + Sync),
    ) -> anyhow::Result<(Vec<Outcome>, Vec<Outcome>)> {
        let progress = || {
            tell(Event::Scored);
            if self.is_stopped() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        let of = |ours: &dyn Fn(&Clip) -> bool| -> anyhow::Result<Vec<Outcome>> {
            let clips: Vec<&Clip> = self.corpus.clips.iter().filter(|clip| ours(clip)).collect();
            tell(Event::Scoring(clips.len() * wanted.conditions.len()));
            Ok(evaluate::evaluate(subject, &clips, wanted, &progress)?.outcomes)
        };
        let valid = of(&|clip| sides.valid_names.binary_search(&clip.name).is_ok())?;
        let test = match &self.options.test_actors {
            Some(actors) => of(&|clip| actors.contains(&clip.actor))?,
            None => Vec::new(),
        };
        Ok((valid, test))
    }
}

impl Lines {
    fn conditions(self) -> &'static [Condition] {
        match self {
            Self::Wide => &[Condition::Wide],
            Self::Telephone => &[Condition::Mulaw],
            Self::Both => &[Condition::Wide, Condition::Mulaw],
        }
    }

    fn bandwidths(self) -> Vec<Bandwidth> {
        match self {
            Self::Wide => vec![Bandwidth::Wide],
            Self::Telephone => vec![Bandwidth::Telephone],
            Self::Both => vec![Bandwidth::Wide, Bandwidth::Telephone],
        }
    }
}
