//! `undertone dataset check`: whether recordings may be trained on.

use std::path::PathBuf;

use anyhow::bail;
use clap::Subcommand;
use comfy_table::{Table, presets};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use undertone::corpus::{self, Report};

use super::print;

/// Names of clips shown in the table; `--json` names all.
const SHOWN: usize = 5;

/// Looks at labelled recordings.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Says what is missing, corrupt, silent or published twice; exit status 1 if training on it would be wrong.
    Check {
        /// CREMA-D as distributed (AudioWAV/*.wav or the clips themselves), a folder of FLAC, or one with a CSV file,actor,label
        #[arg(value_name = "DIR")]
        data: PathBuf,
        /// Print one JSON object instead of a table.
        #[arg(long)]
        json: bool,
    },
}

pub(crate) fn run(args: Args) -> anyhow::Result<()> {
    let Command::Check { data, json } = args.command;
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
    bar.set_style(ProgressStyle::with_template("{bar:30} {pos}/{len} clips {eta}")?);
    let report = corpus::check(&data, |done, of| {
        bar.set_length(of as u64);
        bar.set_position(done as u64);
    })?;
    bar.finish_and_clear();
    print(if json { serde_json::to_string(&report)? } else { table(&report) })?;
    if !report.ok {
        bail!("{} must not be trained on: {}", data.display(), report.errors.join("; "));
    }
    Ok(())
}

fn table(report: &Report) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    let mut row = |name: &str, count: String, examples: String| {
        table.add_row([name.to_owned(), count, examples]);
    };
    row("clips", report.clips.to_string(), format!("{:.2} hours", report.hours));
    row("actors", report.actors.to_string(), String::new());
    for (label, count) in &report.labels {
        row(&format!("  {label}"), count.to_string(), String::new());
    }
    row("missing", report.missing.len().to_string(), some(&report.missing));
    let corrupt: Vec<String> = report.corrupt.iter().map(|fault| format!("{}: {}", fault.file, fault.reason)).collect();
    row("corrupt", corrupt.len().to_string(), some(&corrupt));
    let duplicated: Vec<String> = report.duplicated.iter().map(|duplicate| duplicate.clips.join(" = ")).collect();
    row("duplicated", duplicated.len().to_string(), some(&duplicated));
    row("silent", report.silent.len().to_string(), some(&report.silent));
    row("unlabelled", report.unlabelled.len().to_string(), some(&report.unlabelled));
    let mut text = table.trim_fmt();
    for warning in &report.warnings {
        text.push_str("\nnote: ");
        text.push_str(warning);
    }
    match (report.ok, report.too_little.as_slice()) {
        (false, _) => {}
        (true, []) => text.push_str("\nfit to train on"),
        (true, little) => {
            text.push_str("\nsound, but too little to train on and know how good the model is: ");
            text.push_str(&little.join("; "));
        }
    }
    text
}

fn some(names: &[String]) -> String {
    let mut text = names.iter().take(SHOWN).cloned().collect::<Vec<_>>().join(", ");
    if names.len() > SHOWN {
        text.push_str(", …");
    }
    text
}
