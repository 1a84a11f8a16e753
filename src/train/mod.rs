//! Making a model.
//!
//! [`run`] goes from a folder of recordings to `model.onnx`, `manifest.toml` and `MODEL_CARD.md`: split by speaker, extract features
//! once through the code that serves calls, fit, calibrate, export, check the export in ONNX Runtime, and score it on the validation
//! actors as `undertone evaluate` does. No statistic looks at a validation actor's audio but the loss that stops the training, and
//! the calibration.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::atomic::AtomicBool,
};

use anyhow::Context as _;
use clap::ValueEnum;

mod calibrate;
mod card;
mod checkpoint;
mod export;
mod fit;
mod lstm;
mod nadam;
mod net;
mod parameters;
mod prepare;
mod schedule;
#[cfg(test)]
mod tests;
mod windows;

pub use fit::Epoch;
pub use windows::Windows;

use crate::{
    corpus::{Clip, Condition, Corpus, LABELS, Split, split},
    decision::Calibration,
    evaluate::{self, Outcome, Window},
    features::{FrontEnd, Standardization, WindowOptions, thesis154},
    model::{
        Manifest,
        manifest::{Bandwidth, FORMAT, Network, Training, sha256_hex},
        onnx::{Options as SessionOptions, Runtime, Session, graph},
    },
};
use prepare::Prepared;
use windows::{Cutter, generator};

/// The thesis's most epochs.
pub const EPOCHS: u32 = 20;
/// Name and version of what is made.
const NAME: &str = "cnn-bilstm";
const VERSION: &str = "1.0.0";
/// The network's file.
const NETWORK_FILE: &str = "model.onnx";
/// The checkpoint's. It stays, so that a finished run can be given more epochs.
const CHECKPOINT_FILE: &str = "checkpoint.safetensors";
/// The thesis's frames a window: 6.97 s.
const FRAMES: usize = 300;
/// Least speech before a window is scored: a window of a second tells something, less than that little.
const MIN_SECONDS: f32 = 1.0;
/// A window with less speech tells more of the room than of the voice.
const MIN_SPEECH_RATIO: f32 = 0.5;
/// A pause of two seconds ends what was said.
const CLEAR_AFTER_SECONDS: f32 = 2.0;
/// Draws of every validation clip: one window of random length says little of a clip.
const VALIDATION_DRAWS: usize = 2;
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
    /// The recordings.
    pub data: PathBuf,
    /// Where the model goes.
    pub out: PathBuf,
    /// Actors to train on; the built-in division if not told.
    pub train_actors: Option<Vec<String>>,
    /// Actors to stop and calibrate by.
    pub valid_actors: Option<Vec<String>>,
    /// Epochs at most.
    pub epochs: u32,
    /// Of everything random.
    pub seed: u64,
    /// Go on from the checkpoint in `out`.
    pub resume: bool,
    /// Which lines.
    pub lines: Lines,
    /// Which windows.
    pub windows: Windows,
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
}

/// A trained model.
#[derive(Debug)]
pub struct Trained {
    /// Its folder.
    pub dir: PathBuf,
    /// What stands in its manifest.
    pub manifest: Manifest,
    /// Its scores on the validation actors.
    pub scores: Vec<Outcome>,
}

/// Trains the thesis's CNN-BiLSTM.
///
/// # Errors
/// Data that cannot be trained on, an actor on both sides, a checkpoint that does not fit, a disk that cannot be written, ONNX Runtime
/// missing, an export that does not agree with the trainer, and `stop`.
pub fn run(options: &Options, stop: &AtomicBool, tell: &(dyn Fn(Event<'_>) + Sync)) -> anyhow::Result<Trained> {
    // Whatever would fail at the end fails before hours of work.
    let runtime = Runtime::load(None).context("ONNX Runtime checks the exported model")?;
    fs::create_dir_all(&options.out).with_context(|| format!("cannot make the folder {}", options.out.display()))?;
    let corpus = Corpus::open(&options.data)?;
    let split = split(&corpus.actors(), options.train_actors.as_deref(), options.valid_actors.as_deref())?;
    let front_end = FrontEnd::Thesis154(thesis154::Options::default());
    let window = window();
    let prepared = prepare(&corpus, &split, options.lines, &front_end, tell);

    let cutter = |actors| Cutter::new(&prepared, actors, options.windows, &front_end, &window);
    let (train, valid) = (cutter(&split.train), cutter(&split.valid));
    anyhow::ensure!(!valid.instances.is_empty(), "no clip of the validation actors can be used");
    let standardization = train.standardization(&train.draw(&mut generator(options.seed, 0)), front_end.values());
    let mut random = generator(options.seed, fit::VALIDATION);
    let draws = if options.windows == Windows::Clip { 1 } else { VALIDATION_DRAWS };
    let valid_cuts: Vec<_> = (0..draws).flat_map(|_| valid.draw(&mut random)).collect();
    let checkpoint = options.out.join(CHECKPOINT_FILE);
    let task = fit::Task {
        train: &train,
        valid: &valid,
        valid_cuts: &valid_cuts,
        standardization: &standardization,
        epochs: options.epochs,
        seed: options.seed,
        identity: identity(options, &prepared, &split),
        checkpoint: &checkpoint,
        resume: options.resume,
    };
    let run = fit::fit(&task, stop, tell)?;

    let labels: Vec<usize> = valid_cuts.iter().map(|cut| cut.label).collect();
    let logits = fit::logits(&valid, &valid_cuts, &standardization, &run.best);
    let calibration = calibrate::fit(&logits, &labels);
    let network = export::network(&run.best, window.frames);
    let epochs = run.schedule.best.map_or(0, |(_, epoch)| epoch);
    let mut manifest = manifest(options, &prepared, &split, calibration, standardization, epochs);
    manifest.network.sha256 = sha256_hex(&network);
    let some = &valid_cuts[..valid_cuts.len().min(CHECKED_WINDOWS)];
    let widest = export::check(&manifest, &network, &run.best, &valid.batch(some, &manifest.standardization))?;
    tell(Event::Note(format!("the exported network differs from the trained one by {widest:.1e} at most")));
    if let Some(windows) = calibrate::scores(calibration, &logits, &labels, &manifest.labels) {
        manifest.metrics.extend(figures("valid_windows", &windows));
    }

    let scores = score(&manifest, &network, runtime, &valid_clips(&corpus, &prepared, &split), options.lines)?;
    for outcome in &scores {
        let name = format!("valid_{}_{}", outcome.condition.as_str(), outcome.window);
        manifest.metrics.extend(figures(&name, &outcome.scores));
    }
    checkpoint::replace(&options.out.join(NETWORK_FILE), &network)?;
    manifest.save(&options.out)?;
    let card = card::write(&manifest, options, &split, &prepared, &scores);
    checkpoint::replace(&options.out.join("MODEL_CARD.md"), card.as_bytes())?;
    Ok(Trained { dir: options.out.clone(), manifest, scores })
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

fn window() -> WindowOptions {
    WindowOptions {
        frames: FRAMES,
        grow_frames: None,
        min_seconds: MIN_SECONDS,
        min_speech_ratio: MIN_SPEECH_RATIO,
        clear_after_seconds: CLEAR_AFTER_SECONDS,
    }
}

fn prepare(
    corpus: &Corpus,
    split: &Split,
    lines: Lines,
    front_end: &FrontEnd,
    tell: &(dyn Fn(Event<'_>) + Sync),
) -> Prepared {
    let wanted = |clip: &&Clip| split.train.contains(&clip.actor) || split.valid.contains(&clip.actor);
    let clips: Vec<&Clip> = corpus.clips.iter().filter(wanted).collect();
    tell(Event::Reading(clips.len()));
    let prepared = prepare::prepare(&clips, lines.conditions(), front_end, || tell(Event::Read));
    for reason in &prepared.left_out {
        tell(Event::Note(format!("left out: {reason}")));
    }
    let (train, _) = prepared.fingerprint(&split.train);
    let (valid, _) = prepared.fingerprint(&split.valid);
    tell(Event::Note(format!(
        "{train} clips of {} actors to train on, {valid} of {} to stop and calibrate by, {} left out",
        split.train.len(),
        split.valid.len(),
        prepared.left_out.len(),
    )));
    prepared
}

/// All that decides what an epoch does; a run with another may not be gone on with.
fn identity(options: &Options, prepared: &Prepared, split: &Split) -> String {
    let sides = [&split.train, &split.valid].map(|actors| {
        let (clips, sha256) = prepared.fingerprint(actors);
        format!("{} actors, {clips} clips {}", actors.len(), &sha256[..12])
    });
    format!(
        "seed {}, {:?} lines, {:?} windows, training on {}, validating with {}",
        options.seed, options.lines, options.windows, sides[0], sides[1]
    )
}

/// The validation clips that the training did not leave out.
fn valid_clips<'a>(corpus: &'a Corpus, prepared: &Prepared, split: &Split) -> Vec<&'a Clip> {
    let used = |clip: &&Clip| prepared.used.iter().any(|(_, name, _)| *name == clip.name);
    corpus.clips.iter().filter(|clip| split.valid.contains(&clip.actor)).filter(used).collect()
}

fn score(
    manifest: &Manifest,
    network: &[u8],
    runtime: &Runtime,
    clips: &[&Clip],
    lines: Lines,
) -> anyhow::Result<Vec<Outcome>> {
    let mut session = Session::from_network(runtime, manifest, network, &SessionOptions::default())?;
    let options = evaluate::Options {
        conditions: lines.conditions().to_vec(),
        windows: vec![Window::Whole, Window::Clip],
        gate: false,
    };
    Ok(evaluate::evaluate(manifest, &mut session, clips, &options, &mut Vec::new(), || {})?)
}

fn figures(name: &str, scores: &evaluate::metrics::Scores) -> BTreeMap<String, f64> {
    let figures = [
        ("uar", scores.uar),
        ("accuracy", scores.accuracy),
        ("weighted_f1", scores.weighted_f1),
        ("ece", scores.ece),
        ("accuracy_at_half_coverage", scores.accuracy_at_half_coverage),
    ];
    figures.into_iter().map(|(figure, value)| (format!("{name}_{figure}"), (value * 1e4).round() / 1e4)).collect()
}

fn manifest(
    options: &Options,
    prepared: &Prepared,
    split: &Split,
    calibration: Calibration,
    standardization: Standardization,
    epochs: u32,
) -> Manifest {
    Manifest {
        format: FORMAT,
        name: NAME.to_owned(),
        version: VERSION.to_owned(),
        description: "Six acted emotions in English speech: MFCC, chroma and mel frames through a small CNN-BiLSTM"
            .to_owned(),
        licence: "MIT OR Apache-2.0; trained on CREMA-D (ODbL 1.0, contents DbCL 1.0)".to_owned(),
        labels: LABELS.map(str::to_owned).to_vec(),
        bandwidths: options.lines.bandwidths(),
        network: Network {
            file: NETWORK_FILE.to_owned(),
            sha256: String::new(),
            opset: graph::OPSET,
            parameters: parameters::COUNT as u64,
            input: export::INPUT.to_owned(),
            output: export::OUTPUT.to_owned(),
        },
        front_end: FrontEnd::Thesis154(thesis154::Options::default()),
        window: window(),
        calibration,
        training: Training {
            command: options.command.clone(),
            recipe: NAME.to_owned(),
            data: corpus_name(&options.data),
            data_sha256: prepared.fingerprint(&split.train).1,
            train_actors: split.train.clone(),
            valid_actors: split.valid.clone(),
            seed: options.seed,
            epochs,
        },
        metrics: BTreeMap::new(),
        standardization,
    }
}

/// The folder's own name: where it lies is nobody's business.
fn corpus_name(data: &Path) -> String {
    data.file_name().map_or_else(|| "recordings".to_owned(), |name| name.to_string_lossy().into_owned())
}
