//! `undertone train`: makes a model of labelled recordings.

use std::path::PathBuf;

use clap::ValueEnum;

#[cfg(feature = "train")]
mod trainer;

#[cfg(feature = "train")]
pub(crate) use trainer::run;

/// Makes a model of labelled recordings. Needs a build with the trainer: cargo build --release --features train.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// What to train.
    #[arg(long, value_enum, value_name = "NAME")]
    recipe: Recipe,
    /// CREMA-D as distributed (AudioWAV/*.wav or the clips themselves), a folder of FLAC, or one with a CSV file,actor,label.
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// Folder for the model and its checkpoint.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Actors to train on: 1001,1002 or @FILE with one a line [default: the built-in division]
    #[arg(long, value_name = "LIST")]
    train_actors: Option<String>,
    /// Actors to stop and calibrate by [default: the built-in division]
    #[arg(long, value_name = "LIST")]
    valid_actors: Option<String>,
    /// Cross-validate over so many folds of the actors instead; scores go to OUT/folds.json. With --resume folds that are done stay.
    #[arg(long, value_name = "K", value_parser = clap::value_parser!(u32).range(3..))]
    folds: Option<u32>,
    /// Run this fold only, counted from 0: folds may run side by side
    #[arg(long, value_name = "N", requires = "folds")]
    fold: Option<u32>,
    /// Epochs at most [default: the recipe's own number]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    epochs: Option<u32>,
    /// Of everything random: the same seed gives the same model on the same machine.
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// Folder of a trained telephone model to learn from beside the labels; may be given several times
    #[arg(long, value_name = "DIR")]
    teacher: Vec<PathBuf>,
    /// Filters of telephone's stem, 8 to 32; its blocks have eight times as many channels [default: 24]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(8..=32))]
    width: Option<u32>,
    /// Part of each of telephone's targets that CREMA-D's listeners decide by their votes, 0 to 0.9
    #[arg(long, value_name = "PART", default_value_t = 0.0, value_parser = part)]
    votes: f32,
    /// Go on from the checkpoint in the output folder.
    #[arg(long)]
    resume: bool,
    /// What computes the networks. A GPU that cannot be had is an error: the CPU never takes its place.
    #[arg(long, value_enum, default_value_t = Device::Cpu)]
    device: Device,
    /// Which lines a model is for [default: both]; telephone is for the telephone
    #[arg(long, value_enum)]
    bandwidth: Option<Bandwidth>,
    /// Which windows a network on the thesis's frames learns from [default: served]
    #[arg(long, value_enum)]
    windows: Option<Windows>,
    /// Where features are kept for other seeds, folds and recipes [default: undertone/ in $XDG_CACHE_HOME or ~/.cache]
    #[arg(long, value_name = "DIR", conflicts_with = "no_cache")]
    cache: Option<PathBuf>,
    /// Keep no features on disk.
    #[arg(long)]
    no_cache: bool,
    /// Recorded music for the gate, WAV or FLAC, in folders by where it comes from
    #[arg(long, value_name = "DIR")]
    music: Option<PathBuf>,
    /// Recorded noise for the gate
    #[arg(long, value_name = "DIR")]
    noise: Option<PathBuf>,
    /// Print one JSON object an epoch, and one at the end.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Recipe {
    /// The thesis's baseline: a Random Forest on mean and deviation of its features. It is scored, and serves no call.
    Forest,
    /// The thesis's network: MFCC, chroma and mel frames, a convolution and a bidirectional LSTM.
    CnnBilstm,
    /// A 2-D convolutional network on the mel spectrogram.
    SpectrogramCnn,
    /// Convolutions, an LSTM and dense layers on MFCCs, with augmentation.
    Cldnn,
    /// A 1-D convolutional network, an LSTM and a GRU on the thesis's frames, averaged, with augmentation.
    Ensemble,
    /// What is served by default: log-mel frames at 8 kHz against the speaker's own baseline, a small ConvNeXt.
    Telephone,
    /// What tells speech from music, tones and noise before anything is scored.
    Gate,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Device {
    /// This machine's processor.
    Cpu,
    /// Its GPU, by Vulkan or Metal; not for forest, telephone and gate. Needs a build with --features train-gpu.
    Gpu,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Bandwidth {
    /// Recordings as they are.
    Wide,
    /// 8 kHz, G.711 µ-law.
    Telephone,
    /// Every clip both ways.
    Both,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Windows {
    /// As a service sees speech: from onset, of any length, longer than a clip as well.
    Served,
    /// As the thesis: one whole clip, padded.
    Clip,
}

/// Reads a part that leaves the labels something to decide.
fn part(text: &str) -> Result<f32, String> {
    match text.parse() {
        Ok(part) if (0.0..=0.9).contains(&part) => Ok(part),
        _ => Err("expected a number from 0 to 0.9".to_owned()),
    }
}

#[cfg(not(feature = "train"))]
pub(crate) fn run(_args: Args) -> anyhow::Result<()> {
    anyhow::bail!(
        "this build has no trainer: build one by `cargo build --release --features train` and run target/release/undertone train"
    )
}
