//! `undertone evaluate`: scores of models on labelled recordings, as a table and as JSON.

use std::{fs, path::PathBuf};

use anyhow::Context as _;
use clap::ValueEnum;
use comfy_table::{CellAlignment, Table, presets};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;
use undertone::{
    corpus::{Clip, Condition, Corpus, parse_actors},
    evaluate::{self, Outcome, Window},
    model::{
        Manifest,
        onnx::{Options, Runtime, Session},
    },
};

use super::print;

/// Scores models on labelled recordings: accuracy, recall, F1, calibration, by class and by group of speakers.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Folder with a model; several are scored one after another.
    #[arg(long, required = true, num_args = 1.., value_name = "DIR")]
    model: Vec<PathBuf>,
    /// CREMA-D as distributed (AudioWAV/*.wav or the clips themselves), a folder of FLAC, or one with a CSV file,actor,label.
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// Only these actors: 1001,1002 or @FILE with one a line.
    #[arg(long, value_name = "LIST")]
    actors: Option<String>,
    /// What the line does to the recordings.
    #[arg(long, num_args = 1.., value_enum, default_values_t = [Condition::Wide], value_name = "CONDITION")]
    condition: Vec<Condition>,
    /// What is scored at once: whole (mean over a call's windows), clip (one padded window), or seconds.
    #[arg(long, num_args = 1.., default_values_t = [Window::Whole], value_name = "WINDOW")]
    window: Vec<Window>,
    /// What was heard of the speaker before.
    #[arg(long, num_args = 1.., value_enum, default_values_t = [Baseline::Cold], value_name = "BASELINE")]
    baseline: Vec<Baseline>,
    /// Let the gate decide what is speech, as in a call, and count what it leaves out.
    #[arg(long)]
    gate: bool,
    /// Write JSON to this file, or to standard output with -, in place of the tables.
    #[arg(long, value_name = "OUT|-")]
    json: Option<String>,
}

/// What was heard of the speaker before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Baseline {
    /// Nothing.
    Cold,
}

#[derive(Debug, Serialize)]
struct Report {
    models: Vec<Scored>,
}

#[derive(Debug, Serialize)]
struct Scored {
    name: String,
    version: String,
    sha256: String,
    labels: Vec<String>,
    results: Vec<Outcome>,
    left_out: Vec<String>,
}

pub(crate) fn run(args: Args) -> anyhow::Result<()> {
    let corpus = Corpus::open(&args.data)?;
    let clips = wanted(&corpus, args.actors.as_deref())?;
    let runtime = Runtime::load(None)?;
    let options = evaluate::Options { conditions: args.condition, windows: args.window, gate: args.gate };
    let mut models = Vec::with_capacity(args.model.len());
    for dir in &args.model {
        let manifest = Manifest::load(dir)?;
        let mut session = Session::load(runtime, &manifest, dir, &Options::default())?;
        let bar = ProgressBar::with_draw_target(Some(clips.len() as u64), ProgressDrawTarget::stderr());
        bar.set_style(ProgressStyle::with_template("{msg} {bar:30} {pos}/{len} clips {eta}")?);
        bar.set_message(manifest.name.clone());
        let mut left_out = Vec::new();
        let results = evaluate::evaluate(&manifest, &mut session, &clips, &options, &mut left_out, || bar.inc(1))?;
        bar.finish_and_clear();
        for reason in &left_out {
            tracing::warn!("left out: {reason}");
        }
        let Manifest { name, version, labels, network, .. } = manifest;
        models.push(Scored { name, version, sha256: network.sha256, labels, results, left_out });
    }
    let report = Report { models };
    match args.json.as_deref() {
        Some("-") => print(serde_json::to_string(&report)?),
        Some(path) => fs::write(path, serde_json::to_vec(&report)?).with_context(|| format!("cannot write {path}")),
        None => report.models.iter().try_for_each(show),
    }
}

fn wanted<'a>(corpus: &'a Corpus, actors: Option<&str>) -> anyhow::Result<Vec<&'a Clip>> {
    let Some(list) = actors else { return Ok(corpus.clips.iter().collect()) };
    let actors = parse_actors(list)?;
    let present = corpus.actors();
    if let Some(absent) = actors.iter().find(|actor| !present.contains(actor)) {
        anyhow::bail!("actor {absent} has no clip in {}", corpus.root.display());
    }
    Ok(corpus.clips.iter().filter(|clip| actors.contains(&clip.actor)).collect())
}

fn show(model: &Scored) -> anyhow::Result<()> {
    print(format!("{} {} ({})\n", model.name, model.version, &model.sha256[..12]))?;
    let mut table = table(&[
        "line",
        "window",
        "clips",
        "actors",
        "UAR",
        "95 %",
        "accuracy",
        "macro F1",
        "weighted F1",
        "ECE",
        "Brier",
        "surer half",
        "unscored",
    ]);
    for outcome in &model.results {
        let scores = &outcome.scores;
        table.add_row([
            outcome.condition.as_str().to_owned(),
            outcome.window.clone(),
            scores.clips.to_string(),
            scores.actors.to_string(),
            percent(scores.uar),
            format!("{}–{}", percent(scores.uar_low), percent(scores.uar_high)),
            percent(scores.accuracy),
            format!("{:.3}", scores.macro_f1),
            format!("{:.3}", scores.weighted_f1),
            format!("{:.3}", scores.ece),
            format!("{:.3}", scores.brier),
            percent(scores.accuracy_at_half_coverage),
            outcome.unscored_windows.to_string(),
        ]);
    }
    print(table.trim_fmt())?;
    for outcome in &model.results {
        print(format!("\n{}, {}", outcome.condition.as_str(), outcome.window))?;
        print(classes(outcome, &model.labels).trim_fmt())?;
        let groups = groups(outcome);
        if !groups.is_empty() {
            print(groups)?;
        }
    }
    if let Some(listeners) = model.results.first().and_then(|outcome| outcome.listeners.as_ref()) {
        print(format!(
            "\npeople who heard {} of these clips: {} of their votes right, {} by plurality",
            listeners.clips,
            percent(listeners.accuracy),
            percent(listeners.plurality_accuracy),
        ))?;
    }
    if !model.left_out.is_empty() {
        print(format!("left out because they cannot be read: {}", model.left_out.len()))?;
    }
    print("")
}

fn classes(outcome: &Outcome, labels: &[String]) -> Table {
    let mut heads = vec!["", "precision", "recall", "F1", "support", "answered:"];
    heads.extend(labels.iter().map(String::as_str));
    let mut table = table(&heads);
    for (label, row) in labels.iter().zip(&outcome.scores.confusion) {
        let class = outcome.scores.per_class[label];
        let mut cells = vec![
            label.clone(),
            percent(class.precision),
            percent(class.recall),
            format!("{:.3}", class.f1),
            class.support.to_string(),
            String::new(),
        ];
        cells.extend(row.iter().map(u64::to_string));
        table.add_row(cells);
    }
    table
}

fn groups(outcome: &Outcome) -> String {
    let all = &outcome.groups;
    let named = [("sex", &all.sex), ("age", &all.age), ("race", &all.race), ("level", &all.level)];
    let line = |(name, groups): (&str, &std::collections::BTreeMap<String, evaluate::groups::Group>)| {
        let parts: Vec<String> = groups
            .iter()
            .map(|(key, group)| format!("{key} {} ({} actors)", percent(group.uar), group.actors))
            .collect();
        format!("UAR by {name}: {}", parts.join(", "))
    };
    named.into_iter().filter(|(_, groups)| !groups.is_empty()).map(line).collect::<Vec<_>>().join("\n")
}

fn table(heads: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(heads.to_vec());
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

fn percent(part: f64) -> String {
    format!("{:.1}", part * 100.0)
}
