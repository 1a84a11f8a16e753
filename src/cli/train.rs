//! `undertone train`: makes a model of labelled recordings.

use std::path::PathBuf;

use clap::ValueEnum;

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

#[cfg(feature = "train")]
pub(crate) use with_trainer::run;

#[cfg(feature = "train")]
mod with_trainer {
    use std::{
        path::PathBuf,
        sync::{
            Arc, Mutex, PoisonError,
            atomic::{AtomicBool, Ordering},
        },
    };

    use anyhow::Context as _;
    use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
    use serde_json::json;
    use undertone::{
        corpus::parse_actors,
        train::{self, CrossValidation, Epoch, Event, Folds, Lines, Options, Trained, gate},
    };

    use super::{super::print, Args, Bandwidth, Device, Recipe, Windows};

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
                Recipe::Gate => return gate(args),
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
        let stop = Arc::new(AtomicBool::new(false));
        let asked = Arc::clone(&stop);
        ctrlc::set_handler(move || asked.store(true, Ordering::Relaxed)).context("cannot watch for Ctrl-C")?;
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

    /// Where features are kept where nobody says: as the XDG base directories have it.
    fn default_cache() -> Option<PathBuf> {
        let set = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let base = set("XDG_CACHE_HOME").or_else(|| Some(set("HOME")?.join(".cache")))?;
        Some(base.join("undertone"))
    }

    /// Trains the gate; what it makes is compiled in, so there is no model to serve.
    fn gate(args: Args) -> anyhow::Result<()> {
        if args.device == Device::Gpu {
            anyhow::bail!("recipe gate is trained by code of its own, which runs on the CPU: leave --device out");
        }
        if args.folds.is_some() || args.resume || args.bandwidth.is_some() || args.windows.is_some() {
            anyhow::bail!("--folds, --resume, --bandwidth and --windows are no options of gate: leave them out");
        }
        let list = |list: Option<&String>| list.map(|list| parse_actors(list)).transpose();
        let options = gate::Options {
            train_actors: list(args.train_actors.as_ref())?,
            valid_actors: list(args.valid_actors.as_ref())?,
            data: args.data,
            music: args.music,
            noise: args.noise,
            out: args.out,
            epochs: args.epochs.unwrap_or(gate::EPOCHS),
            seed: args.seed,
            command: command(),
        };
        let stop = Arc::new(AtomicBool::new(false));
        let asked = Arc::clone(&stop);
        ctrlc::set_handler(move || asked.store(true, Ordering::Relaxed)).context("cannot watch for Ctrl-C")?;
        let watcher = Watcher::new(args.json)?;
        let report = gate::run(&options, &stop, &|event| {
            match event {
            gate::Event::Reading(clips) => watcher.begin("reading", clips),
            gate::Event::Read => watcher.bar.inc(1),
            gate::Event::EpochDone(epoch) => watcher.print(if args.json {
                serde_json::to_string(epoch).map_err(Into::into)
            } else {
                let [speech, music, tone, other] = epoch.recall.map(|part| 100.0 * part);
                Ok(format!(
                    "epoch {:2}/{}  loss {:.4}  right: speech {speech:.1} %  music {music:.1} %  tones {tone:.1} %  other {other:.1} %",
                    epoch.epoch, epoch.epochs, epoch.loss,
                ))
            }),
        }
        })?;
        watcher.finish()?;
        let made = options.out.join("network.bin");
        if args.json {
            return print(json!({ "network": made, "sha256": report.sha256 }));
        }
        print(made.display())
    }

    /// Shows what happens: bars on a terminal, lines for results.
    struct Watcher {
        bar: ProgressBar,
        json: bool,
        /// Standard output may go away in the midst of training; the model is worth finishing all the same.
        failed: Mutex<Option<anyhow::Error>>,
    }

    impl Watcher {
        fn new(json: bool) -> anyhow::Result<Self> {
            let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
            bar.set_style(ProgressStyle::with_template("{msg} {bar:30} {pos}/{len} {eta}")?);
            Ok(Self { bar, json, failed: Mutex::new(None) })
        }

        fn tell(&self, event: &Event<'_>) {
            match event {
                Event::Reading(clips) => self.begin("reading", *clips),
                Event::Scoring(clips) => self.begin("scoring", *clips),
                Event::Read | Event::Scored => self.bar.inc(1),
                Event::Epoch { epoch, batches } => self.begin(&format!("epoch {epoch}"), *batches),
                Event::Batch { .. } => self.bar.inc(1),
                Event::Note(text) => self.bar.suspend(|| note(text)),
                Event::EpochDone(epoch) => self.print(if self.json {
                    serde_json::to_string(epoch).map_err(Into::into)
                } else {
                    Ok(line(epoch))
                }),
            }
        }

        fn print(&self, line: anyhow::Result<String>) {
            if let Err(error) = self.bar.suspend(|| line.and_then(print)) {
                self.failed.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
            }
        }

        fn begin(&self, message: &str, length: usize) {
            self.bar.set_message(message.to_owned());
            self.bar.set_length(length as u64);
            self.bar.set_position(0);
        }

        fn finish(&self) -> anyhow::Result<()> {
            self.bar.finish_and_clear();
            self.failed.lock().unwrap_or_else(PoisonError::into_inner).take().map_or(Ok(()), Err)
        }
    }

    /// A line on standard error that is no error.
    fn note(text: &str) {
        use std::io::Write as _;
        // Standard error may be gone; that is no reason to stop training.
        let _ = writeln!(std::io::stderr(), "{text}");
    }

    fn line(epoch: &Epoch) -> String {
        format!(
            "epoch {:2}/{}  loss {:.4}  accuracy {:.1} %  validation loss {:.4}  accuracy {:.1} %  UAR {:.1} %  rate {:.1e}  {:.1} s{}",
            epoch.epoch,
            epoch.epochs,
            epoch.loss,
            epoch.accuracy * 100.0,
            epoch.valid_loss,
            epoch.valid_accuracy * 100.0,
            epoch.valid_uar * 100.0,
            epoch.learning_rate,
            epoch.seconds,
            if epoch.best { "  best" } else { "" },
        )
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
        for outcome in &trained.scores {
            let scores = &outcome.scores;
            print(format!(
                "validation, {}, {}, {}: UAR {:.1} %  accuracy {:.1} %  weighted F1 {:.3}",
                outcome.condition.as_str(),
                outcome.baseline.as_str(),
                outcome.window,
                scores.uar * 100.0,
                scores.accuracy * 100.0,
                scores.weighted_f1,
            ))?;
        }
        print(trained.dir.display())
    }

    fn end_folds(all: &CrossValidation, out: &std::path::Path, json: bool) -> anyhow::Result<()> {
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

    /// The command as it was given, for whoever wants to repeat it.
    fn command() -> String {
        let given = std::env::args().skip(1).filter(|argument| argument != "--json" && argument != "--resume");
        std::iter::once("undertone".to_owned()).chain(given).collect::<Vec<_>>().join(" ")
    }
}
