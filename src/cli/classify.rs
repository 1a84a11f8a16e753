//! `undertone classify`: what is heard in recordings, without a server.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, BufWriter, Write as _},
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use comfy_table::{CellAlignment, Table, presets};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;
use undertone::{
    audio,
    decision::{Tally, position},
    evaluate::hear,
    features::NotScored,
    model::{
        Model,
        onnx::{Options, Provider, Runtime, Session},
    },
};

use super::text;

/// Says what is heard in recordings: one line a file, without a server.
///
/// Whoever runs this decides to analyse these voices: no role or notice is asked for, unlike in a call.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// WAV or FLAC files; the channels of a stereo file are mixed.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Folder with the model [default: models/telephone, here, beside the program or in its checkout]
    #[arg(long, value_name = "DIR")]
    model: Option<PathBuf>,
    /// What runs the model.
    #[arg(long, value_enum, default_value_t)]
    provider: Provider,
    /// Print one JSON object a file instead of a table.
    #[arg(long)]
    json: bool,
    /// Write every window's calibrated scores to this file, one JSON object a line.
    #[arg(long, value_name = "OUT.jsonl")]
    scores: Option<PathBuf>,
}

/// What is heard in one file. The fields are the command's contract.
#[derive(Debug, Serialize)]
struct Heard {
    file: String,
    /// One of the model's labels, "uncertain", or none where nothing was scored.
    label: Option<String>,
    confidence: Option<f32>,
    probabilities: BTreeMap<String, f32>,
    speech_seconds: f64,
    windows: u64,
    /// Why nothing was scored; left out where something was.
    #[serde(skip_serializing_if = "Option::is_none")]
    not_scored_reason: Option<NotScored>,
}

/// A model ready to hear one file after another.
struct Listener {
    model: Model,
    session: Session,
    scores: Option<BufWriter<File>>,
}

/// Runs the command. A file that cannot be read is told and left out; the others are done all the same.
pub(crate) fn run(args: Args) -> anyhow::Result<()> {
    let Args { files, model, provider, json, scores } = args;
    let mut listener = Listener::new(&super::told_model_dir(model)?, provider, scores.as_deref())?;
    let bar = progress(files.len());
    let mut heard = Vec::new();
    let mut failed = 0;
    let mut output_open = true;
    for file in &files {
        bar.set_message(text::name(&file.display().to_string()));
        match listener.hear(file) {
            Ok(result) if json => {
                let line = serde_json::to_string(&result)?;
                if output_open {
                    match bar.suspend(|| super::print(line)) {
                        // The scores are a result of their own, which whoever closed the output did not ask to cut short.
                        Err(error) if scores.is_some() && error.is::<super::OutputClosed>() => output_open = false,
                        printed => printed?,
                    }
                }
            }
            Ok(result) => heard.push(result),
            Err(error) if files.len() == 1 => return Err(error),
            Err(error) => {
                failed += 1;
                bar.suspend(|| super::complain(&error));
            }
        }
        bar.inc(1);
    }
    bar.finish_and_clear();
    listener.finish()?;
    if !heard.is_empty() {
        super::print(table(&heard, &listener.model.manifest.labels))?;
    }
    anyhow::ensure!(failed == 0, "{failed} of {} files could not be classified, as told above", files.len());
    Ok(())
}

impl Listener {
    fn new(dir: &Path, provider: Provider, scores: Option<&Path>) -> anyhow::Result<Self> {
        // Windows of a recording are run one by one.
        let model = Model::load(Runtime::load(None)?, dir, Options::on(provider, 1))
            .map_err(super::without_provider)
            .with_context(|| format!("cannot use the model in {}", dir.display()))?;
        let session = model.session()?;
        let create = |path: &Path| {
            let file = File::create(path).with_context(|| format!("cannot write scores to {}", path.display()))?;
            anyhow::Ok(BufWriter::new(file))
        };
        Ok(Self { model, session, scores: scores.map(create).transpose()? })
    }

    /// Walks one file the way a call's audio goes.
    fn hear(&mut self, path: &Path) -> anyhow::Result<Heard> {
        let recording = audio::file::read(path)?;
        let source_hz = recording.sample_rate_hz;
        let file = path.display().to_string();
        let manifest = &self.model.manifest;
        let mut tally = Tally::new(manifest.labels.len());
        let mut speech_seconds = 0.0;
        let mut reasons: BTreeMap<NotScored, usize> = BTreeMap::new();
        let mut written = Ok(());
        hear::hear(manifest, &mut self.session, &recording.into_mono(), source_hz, |heard| {
            speech_seconds += f64::from(heard.speech_seconds);
            match &heard.outcome {
                Ok(probabilities) => {
                    let end = position::of_samples(heard.end_samples, source_hz);
                    tally.add(probabilities, f64::from(heard.speech_seconds), end);
                }
                Err(reason) => *reasons.entry(*reason).or_default() += 1,
            }
            if let (Some(scores), Ok(())) = (&mut self.scores, &written) {
                let row = heard.into_row(&file, source_hz, manifest);
                written =
                    serde_json::to_writer(&mut *scores, &row).map_err(io::Error::from).and_then(|()| writeln!(scores));
            }
        })
        .with_context(|| format!("cannot classify {file}"))?;
        written.context("cannot write scores")?;

        let judgement = tally.mean().map(|mean| manifest.calibration.judge_probabilities(mean));
        let most_frequent = reasons.into_iter().max_by_key(|(_, count)| *count).map(|(reason, _)| reason);
        Ok(Heard {
            file,
            label: judgement.as_ref().map(|judgement| {
                judgement.label.map_or_else(|| "uncertain".to_owned(), |label| manifest.labels[label].clone())
            }),
            confidence: judgement.as_ref().map(|judgement| judgement.confidence),
            not_scored_reason: judgement.is_none().then(|| most_frequent.unwrap_or(NotScored::TooShort)),
            probabilities: judgement
                .map(|judgement| manifest.labels.iter().cloned().zip(judgement.probabilities.iter().copied()).collect())
                .unwrap_or_default(),
            // As sums of shorter floats they would end in noise.
            speech_seconds: (speech_seconds * 1e6).round() / 1e6,
            windows: tally.windows(),
        })
    }

    /// Writes the last scores out.
    fn finish(&mut self) -> anyhow::Result<()> {
        self.scores.as_mut().map_or(Ok(()), io::Write::flush).context("cannot write scores")
    }
}

/// A bar on a terminal's standard error; hidden elsewhere, and for a single file.
fn progress(files: usize) -> ProgressBar {
    let target = if files > 1 { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
    let style = ProgressStyle::with_template("{bar:30} {pos}/{len} files, {eta} left  {wide_msg}")
        .unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::with_draw_target(Some(files as u64), target).with_style(style)
}

/// A row a file, a column a label.
fn table(heard: &[Heard], labels: &[String]) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    let titles = ["file", "label", "confidence"].into_iter().chain(labels.iter().map(String::as_str));
    table.set_header(titles.chain(["speech s", "windows"]));
    for row in heard {
        let reason = row.not_scored_reason.map(|reason| format!("({})", text::words(&format!("{reason:?}"))));
        let mut cells = vec![text::name(&row.file), row.label.clone().or(reason).unwrap_or_default()];
        cells.push(row.confidence.map(|confidence| format!("{confidence:.2}")).unwrap_or_default());
        cells.extend(
            labels.iter().map(|label| row.probabilities.get(label).map(|p| format!("{p:.2}")).unwrap_or_default()),
        );
        cells.extend([format!("{:.1}", row.speech_seconds), row.windows.to_string()]);
        table.add_row(cells);
    }
    for column in table.column_iter_mut().skip(2) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table.trim_fmt()
}
