//! `undertone evaluate`: scores of models on labelled recordings, as tables, as JSON and as a page.

use std::{
    collections::BTreeSet,
    fs,
    ops::ControlFlow,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::{Deserialize, Serialize};
use undertone::{
    corpus::{Clip, Condition, Corpus, LabelMap, parse_actors, tables},
    evaluate::{self, Baseline, Outcome, Subject, Window},
    model::onnx::Provider,
};

mod chart;
mod columns;
mod page;
mod side_by_side;
mod study;
mod table;

use super::print;
use study::Study;

/// Scores models on labelled recordings: accuracy, recall, F1, calibration, by class and by group of speakers.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Folder with a model, a forest included; several stand side by side.
    #[arg(long, required = true, num_args = 1.., value_name = "DIR")]
    model: Vec<PathBuf>,
    /// CREMA-D as distributed (AudioWAV/*.wav or the clips themselves), a folder of FLAC, or one with a CSV file,actor,label.
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// Only these actors: 1001,1002 or @FILE with one a line.
    #[arg(long, value_name = "LIST")]
    actors: Option<String>,
    /// What a label of the CSV is called here: calm=neutral; calm=- leaves its clips out.
    #[arg(long, num_args = 1.., value_name = "LABEL=OURS")]
    map: Vec<String>,
    /// What the line does to the recordings.
    #[arg(long, num_args = 1.., value_enum, default_values_t = [Condition::Wide], value_name = "CONDITION")]
    condition: Vec<Condition>,
    /// What is scored at once: whole (mean over a call's windows), clip (one padded window), or seconds.
    #[arg(long, num_args = 1.., default_values_t = [Window::Whole], value_name = "WINDOW")]
    window: Vec<Window>,
    /// What was heard of the speaker before: nothing, or eight other clips of any emotion, or of none.
    #[arg(long, num_args = 1.., value_enum, default_values_t = [Baseline::Cold], value_name = "BASELINE")]
    baseline: Vec<Baseline>,
    /// Let the gate decide what is speech, as in a call, and count what it leaves out.
    #[arg(long)]
    gate: bool,
    /// What runs the networks.
    #[arg(long, value_enum, default_value_t)]
    provider: Provider,
    /// Write JSON to this file, or to standard output with -, in place of the tables.
    #[arg(long, value_name = "OUT|-")]
    json: Option<String>,
    /// Write a page with pictures to this file: every line, window and amount heard before, whatever else is asked for.
    #[arg(long, value_name = "OUT")]
    html: Option<PathBuf>,
}

#[derive(Debug, Serialize)]
struct Report<'a> {
    models: Vec<&'a Scored>,
}

/// One model's scores. The fields are the command's contract.
#[derive(Debug, Serialize)]
struct Scored {
    name: String,
    version: String,
    sha256: String,
    labels: Vec<String>,
    /// The command that made the model.
    command: String,
    /// Whether it matters what was heard of the speaker before.
    has_baseline: bool,
    /// Actors that are scored though the model was trained on them.
    trained_on: Vec<String>,
    results: Vec<Outcome>,
    /// Clips that cannot be read, and why.
    left_out: Vec<String>,
    /// Clips that are scored though they are known to be silent or doubly labelled.
    doubtful: Vec<String>,
}

/// One epoch of a model's `history.jsonl`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
struct Epoch {
    epoch: u32,
    loss: f64,
    #[serde(default)]
    valid_loss: Option<f64>,
    #[serde(default)]
    valid_uar: Option<f64>,
}

pub(crate) fn run(args: Args) -> anyhow::Result<()> {
    let json = args.json.as_deref().filter(|json| *json != "-").map(Path::new);
    args.html.as_deref().into_iter().chain(json).try_for_each(super::ensure_writable)?;
    let corpus = Corpus::open_mapped(&args.data, &LabelMap::parse(&args.map)?)?;
    if corpus.unmapped > 0 {
        tracing::warn!("rows of the CSV left out, as --map says: {}", corpus.unmapped);
    }
    let clips = wanted(&corpus, args.actors.as_deref())?;
    // All of them first: what is wrong with the last is told before the first is scored.
    let subjects: Vec<Subject> = args
        .model
        .iter()
        .map(|dir| load(dir, args.provider).with_context(|| format!("model in {}", dir.display())))
        .collect::<Result<_, _>>()?;
    let options = evaluate::Options {
        conditions: args.condition,
        baselines: args.baseline,
        windows: args.window,
        gate: args.gate,
    };
    let mut studies = Vec::with_capacity(subjects.len());
    for (subject, dir) in subjects.iter().zip(&args.model) {
        let plan = study::Plan::new(subject, &options, args.html.is_some());
        let bar = ProgressBar::with_draw_target(Some(plan.steps(clips.len())), ProgressDrawTarget::stderr());
        bar.set_style(ProgressStyle::with_template("{msg} {bar:30} {pos}/{len} clips {eta}")?);
        bar.set_message(subject.name().to_owned());
        let progress = || {
            bar.inc(1);
            ControlFlow::Continue(())
        };
        let measured = evaluate::measure(subject, &clips, plan.settings(), args.gate, &progress)?;
        bar.finish_and_clear();
        let study = plan.study(measured, |results, left_out| scored(subject, &clips, results, left_out), dir)?;
        warn(&study.scored);
        studies.push(study);
    }
    let page = args.html.as_deref().map_or(Ok(()), |path| write_page(&studies, &args.data, path));
    let report = Report { models: studies.iter().map(|study| &study.scored).collect() };
    let object = match args.json.as_deref() {
        Some("-") => print(serde_json::to_string(&report)?),
        Some(path) => fs::write(path, serde_json::to_vec(&report)?).with_context(|| format!("cannot write {path}")),
        None => Ok(()),
    };
    // What was scored is told whatever became of a file.
    if args.json.is_none() || json.is_some() && object.is_err() {
        report.show()?;
    }
    page.and(object)
}

impl Report<'_> {
    /// Prints the tables.
    fn show(&self) -> anyhow::Result<()> {
        if self.models.len() > 1 {
            side_by_side::show(&self.models)?;
        }
        self.models.iter().try_for_each(|scored| table::show(scored))
    }
}

fn write_page(studies: &[Study], data: &Path, path: &Path) -> anyhow::Result<()> {
    let name = data.file_name().map_or_else(|| "recordings".into(), |name| name.to_string_lossy());
    let page = page::page(studies, &name).map_err(|error| anyhow::anyhow!("cannot draw the page: {error}"))?;
    fs::write(path, page).with_context(|| format!("cannot write {}", path.display()))
}

fn load(dir: &Path, provider: Provider) -> anyhow::Result<Subject> {
    Subject::load(dir, provider).map_err(|error| match error {
        evaluate::Error::Load(error) => super::without_provider(error),
        error => error.into(),
    })
}

fn wanted<'a>(corpus: &'a Corpus, actors: Option<&str>) -> anyhow::Result<Vec<&'a Clip>> {
    let Some(list) = actors else { return Ok(corpus.clips.iter().collect()) };
    let actors = parse_actors(list)?;
    let present = corpus.actors();
    let absent: Vec<&str> = actors.iter().filter(|actor| !present.contains(actor)).map(String::as_str).collect();
    anyhow::ensure!(absent.is_empty(), "no clip of {} in {}", absent.join(", "), corpus.root.display());
    Ok(corpus.clips.iter().filter(|clip| actors.contains(&clip.actor)).collect())
}

fn scored(subject: &Subject, clips: &[&Clip], results: Vec<Outcome>, left_out: Vec<String>) -> Scored {
    let present: BTreeSet<&str> = clips.iter().map(|clip| clip.actor.as_str()).collect();
    let doubtful = clips.iter().filter_map(|clip| {
        let why = match tables::problem(&clip.name)? {
            tables::Problem::Conflict => "published under two labels",
            tables::Problem::Silent => "published without sound",
        };
        Some(format!("{}: {why}", clip.name))
    });
    Scored {
        name: subject.name().to_owned(),
        version: subject.version().to_owned(),
        sha256: subject.sha256().to_owned(),
        labels: subject.labels().to_vec(),
        command: subject.command().to_owned(),
        has_baseline: subject.has_baseline(),
        trained_on: subject.trained_on(present.into_iter()).into_iter().map(str::to_owned).collect(),
        results,
        left_out,
        doubtful: doubtful.collect(),
    }
}

fn warn(scored: &Scored) {
    for reason in &scored.left_out {
        tracing::warn!("left out: {reason}");
    }
    if !scored.trained_on.is_empty() {
        tracing::warn!(
            "{} was trained on {} of these actors, so its scores say nothing about others: {}",
            scored.name,
            scored.trained_on.len(),
            scored.trained_on.join(", ")
        );
    }
}

/// A part in per cent, to a tenth.
fn percent(part: f64) -> String {
    format!("{:.1}", part * 100.0)
}
