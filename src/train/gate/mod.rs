//! The recipe `gate`: the small network that tells speech from music, tones and noise (`audio::gate`).
//!
//! Scenes are put together anew for every epoch ([`scene`]) of CREMA-D's voices, recorded and synthesised music, signalling tones and
//! noise, and sent through a line. What comes out is `network.bin`, which is compiled in, and `report.json`.

use std::{
    fs,
    path::PathBuf,
    sync::atomic::{AtomicBool, Ordering},
};

use anyhow::Context as _;
use rayon::prelude::*;
use serde::Serialize;

mod fit;
mod lean;
mod line;
mod scene;
mod sing;
mod sources;
#[cfg(test)]
mod tests;

use crate::{
    audio::gate::{
        measure::VALUES,
        network::{CLASSES, LAGS, PARAMETERS, Parts, WIDTH},
    },
    corpus::{Clip, Corpus, split},
    model::manifest::sha256_hex,
};
use fit::{Adam, Scene};
pub use lean::Lean;
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use sources::Sources;

/// Passes unless told otherwise.
pub const EPOCHS: u32 = 24;
/// Scenes an epoch: 3.4 hours.
const SCENES: u64 = 1_024;
/// Scenes a step.
const BATCH: usize = 16;
/// Scenes that progress is measured on.
const VALID_SCENES: u64 = 192;
/// The highest rate of learning; it falls to nothing along a cosine.
const RATE: f32 = 4e-3;
/// How much a block of each class weighs: a word that is missed is heard in the next, and music that passes for speech must last to be
/// scored; but most of what a line carries is speech.
const WEIGHTS: [f32; CLASSES] = [1.6, 1.2, 1.0, 0.8];
/// One file of music in so many is kept to measure progress on.
const VALID_ONE_IN: usize = 8;

/// Recordings at 8 kHz, by the package that they come from.
type Packages = Vec<Vec<Vec<i16>>>;

/// What to train on and how.
#[derive(Debug, Clone)]
pub struct Options {
    /// The voices.
    pub data: PathBuf,
    /// Recorded music: WAV or FLAC, in folders by where it comes from.
    pub music: Option<PathBuf>,
    /// Recorded noise.
    pub noise: Option<PathBuf>,
    /// Where the network goes.
    pub out: PathBuf,
    /// Actors to train on; the built-in division if not told.
    pub train_actors: Option<Vec<String>>,
    /// Actors to measure progress with.
    pub valid_actors: Option<Vec<String>>,
    /// Epochs.
    pub epochs: u32,
    /// Of everything random.
    pub seed: u64,
    /// The command, for the report.
    pub command: String,
}

/// What happens, for whoever watches.
#[derive(Debug)]
pub enum Event<'a> {
    /// So many clips will be read.
    Reading(usize),
    /// One was.
    Read,
    /// An epoch was finished.
    EpochDone(&'a Epoch),
}

/// How an epoch went.
#[derive(Debug, Clone, Serialize)]
pub struct Epoch {
    /// Counted from 1.
    pub epoch: u32,
    /// Of so many.
    pub epochs: u32,
    /// Mean of the scenes learnt from.
    pub loss: f64,
    /// Part of the blocks of speech, music, tones and the rest that are told right in scenes of voices and music not learnt from, by the
    /// head that looks back furthest and by the one that tells at once.
    pub recall: [f64; CLASSES],
    /// The same, told at once.
    pub recall_at_once: [f64; CLASSES],
}

/// What was made of what.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// The command.
    pub command: String,
    /// Of everything random.
    pub seed: u64,
    /// Voices learnt from.
    pub train_actors: Vec<String>,
    /// Recorded music learnt from: files by folder.
    pub music_files: Vec<usize>,
    /// The network's SHA-256.
    pub sha256: String,
    /// How it went.
    pub epochs: Vec<Epoch>,
    /// What each lean that was tried does in scenes of voices and music not learnt from.
    pub leans: Vec<Lean>,
    /// What music's logits lose in the network that was written.
    pub lean: f32,
}

/// Trains the gate's network and writes it.
///
/// # Errors
/// Data that cannot be read, an actor on both sides, a disk that cannot be written, and `stop`.
pub fn run(options: &Options, stop: &AtomicBool, tell: &(dyn Fn(Event<'_>) + Sync)) -> anyhow::Result<Report> {
    super::prepare(&options.out)?;
    let corpus = Corpus::open(&options.data)?;
    let split = split(&corpus.actors(), options.train_actors.as_deref(), options.valid_actors.as_deref())?;
    let music = options.music.as_deref().map(sources::folders).transpose()?.unwrap_or_default();
    let noise = options.noise.as_deref().map(sources::folders).transpose()?.unwrap_or_default();
    let of =
        |actors: &[String]| -> Vec<&Clip> { corpus.clips.iter().filter(|clip| actors.contains(&clip.actor)).collect() };
    tell(Event::Reading(of(&split.train).len() + of(&split.valid).len()));
    let music_files = music.iter().map(Vec::len).collect();
    let (music, valid_music) = divide(music);
    let voices = |actors| sources::voices(&of(actors), || tell(Event::Read));
    let noise: Vec<Vec<i16>> = noise.into_iter().flatten().collect();
    let train = Sources { voices: voices(&split.train), music, noise };
    let valid = Sources { voices: voices(&split.valid), music: valid_music, noise: Vec::new() };
    anyhow::ensure!(!train.voices.is_empty() && !valid.voices.is_empty(), "no clip of these actors can be used");

    let make = |sources: &Sources, seed: u64, numbers: std::ops::Range<u64>| -> Vec<Scene> {
        numbers.into_par_iter().map(|number| scene::scene(sources, seed, number)).collect()
    };
    let valid_scenes = make(&valid, !options.seed, 0..VALID_SCENES);
    let mut parameters = Vec::new();
    let (mut adam, mut epochs) = (Adam::new(), Vec::new());
    let steps = SCENES as usize / BATCH * options.epochs as usize;
    let mut step = 0;
    for epoch in 1..=options.epochs {
        let first = u64::from(epoch - 1) * SCENES;
        let scenes = make(&train, options.seed, first..first + SCENES);
        if parameters.is_empty() {
            parameters = begin(&scenes, options.seed);
        }
        let mut loss = 0.0;
        for batch in scenes.chunks(BATCH) {
            anyhow::ensure!(!stop.load(Ordering::Relaxed), "stopped in epoch {epoch}: nothing was written");
            let batch: Vec<&Scene> = batch.iter().collect();
            let gradient = fit::gradient(&parameters, &batch, WEIGHTS);
            let part = step as f32 / steps as f32;
            let rate = RATE * (20.0 * part).min(1.0) * 0.5 * (1.0 + (std::f32::consts::PI * part).cos());
            adam.step(&mut parameters, &gradient.numbers, rate);
            loss += gradient.loss * batch.len() as f64 / scenes.len() as f64;
            step += 1;
        }
        let [recall_at_once, .., recall] = recalls(&parameters, &valid_scenes);
        let epoch = Epoch { epoch, epochs: options.epochs, loss, recall, recall_at_once };
        tell(Event::EpochDone(&epoch));
        epochs.push(epoch);
    }
    let leans = lean::tried(&parameters, &valid_scenes);
    let chosen = lean::chosen(&leans);
    lean::apply(chosen, &mut parameters);
    let bytes: Vec<u8> = parameters.iter().flat_map(|number| number.to_le_bytes()).collect();
    fs::write(options.out.join("network.bin"), &bytes).context("cannot write the network")?;
    let report = Report {
        command: options.command.clone(),
        seed: options.seed,
        train_actors: split.train,
        music_files,
        sha256: sha256_hex(&bytes),
        epochs,
        leans,
        lean: chosen,
    };
    fs::write(options.out.join("report.json"), serde_json::to_vec_pretty(&report)?)
        .context("cannot write the report")?;
    Ok(report)
}

/// Music to learn from, and music to measure progress on.
fn divide(music: Packages) -> (Packages, Packages) {
    let (mut train, mut valid) = (Vec::new(), Vec::new());
    for group in music {
        let (kept, learnt): (Vec<_>, Vec<_>) =
            group.into_iter().enumerate().partition(|(index, _)| index % VALID_ONE_IN == VALID_ONE_IN - 1);
        for (side, tracks) in [(&mut train, learnt), (&mut valid, kept)] {
            if !tracks.is_empty() {
                side.push(tracks.into_iter().map(|(_, track)| track).collect());
            }
        }
    }
    (train, valid)
}

/// Weights by chance (He et al. 2015), values standardised by what scenes hold.
fn begin(scenes: &[Scene], seed: u64) -> Vec<f32> {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let count = scenes.iter().map(Scene::blocks).sum::<usize>() as f64;
    let (mut mean, mut square) = ([0.0_f64; VALUES], [0.0_f64; VALUES]);
    for row in scenes.iter().flat_map(|scene| scene.values.chunks_exact(VALUES)) {
        for ((value, mean), square) in row.iter().zip(&mut mean).zip(&mut square) {
            *mean += f64::from(*value) / count;
            *square += f64::from(*value) * f64::from(*value) / count;
        }
    }
    let mut numbers: Vec<f32> = mean.iter().map(|mean| *mean as f32).collect();
    numbers
        .extend(mean.iter().zip(square).map(|(mean, square)| ((square - mean * mean).max(1e-6).sqrt()).recip() as f32));
    let zeros = vec![0.0; PARAMETERS];
    let parts = Parts::of(&zeros);
    let mut draw = |count: usize, inputs: usize| {
        let width = (6.0 / inputs as f32).sqrt();
        numbers.extend((0..count).map(|_| random.random_range(-width..width)));
    };
    draw(parts.dense.len(), VALUES);
    draw(parts.bias.len(), usize::MAX);
    for layer in parts.layers() {
        draw(layer.taps.len(), layer.taps.len() / WIDTH);
        draw(layer.dense.len(), 4 * WIDTH);
        draw(layer.bias.len(), usize::MAX);
    }
    draw(parts.heads.len(), 4 * WIDTH);
    draw(parts.heads_bias.len(), usize::MAX);
    numbers
}

/// Part of each class that each head tells right.
fn recalls(parameters: &[f32], scenes: &[Scene]) -> [[f64; CLASSES]; LAGS.len()] {
    let (mut right, mut all) = ([[0.0; CLASSES]; LAGS.len()], [[0.0; CLASSES]; LAGS.len()]);
    for scene in scenes {
        let logits = fit::logits(parameters, scene);
        for (head, lag) in LAGS.into_iter().enumerate() {
            for block in lag..scene.blocks() {
                let of = |class: usize| logits[[block, head * CLASSES + class]];
                let told = (1..CLASSES).fold(0, |best, class| if of(class) > of(best) { class } else { best });
                let label = usize::from(scene.labels[block - lag]);
                all[head][label] += 1.0;
                right[head][label] += f64::from(u8::from(told == label));
            }
        }
    }
    std::array::from_fn(|head| std::array::from_fn(|class| right[head][class] / f64::max(all[head][class], 1.0)))
}
