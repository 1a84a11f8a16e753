//! `undertone replay`: when rules would have fired on recorded scores.

use std::{
    fs::{self, File},
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    sync::Arc,
};

use super::text;
use anyhow::Context as _;
use serde::Serialize;
use undertone::decision::{
    Alert, Rules,
    alert::State,
    scores::{Leg, Row},
};

/// Says when alert rules would have fired on recorded scores, and when each alert would have ended.
///
/// Scores come from `undertone classify --scores`. The same state machine runs over them as over a live call. Where no alert fires, a line
/// on standard error says so.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The rules; `deploy/rules.toml` shows all that they may say.
    #[arg(value_name = "RULES.toml")]
    rules: PathBuf,
    /// Files of scores, a JSON object a line.
    #[arg(required = true, value_name = "SCORES.jsonl")]
    scores: Vec<PathBuf>,
    /// Print one JSON object a change.
    #[arg(long)]
    json: bool,
}

/// One change of an alert. The fields are the command's contract.
#[derive(Debug, Serialize)]
struct Told<'a> {
    file: &'a str,
    leg: &'a str,
    rule: &'a str,
    rule_version: u32,
    /// FIRING or RESOLVED.
    state: &'static str,
    severity: &'static str,
    at_seconds: f64,
    reason: &'static str,
    /// Counts the leg's alerts from 1.
    alert: u64,
    level: f32,
    /// Where the rule counts from.
    usual: f32,
    peak: f32,
    evidence_start_seconds: f64,
    evidence_end_seconds: f64,
}

/// One leg of one recording, and what was told of it so far.
struct Recorded {
    file: String,
    leg: String,
    heard: Leg,
}

/// What there was to hear, and what came of it.
#[derive(Debug, Default)]
struct Heard {
    json: bool,
    rows: u64,
    fired: u64,
}

/// Runs the command.
pub(crate) fn run(args: Args) -> anyhow::Result<()> {
    let Args { rules: path, scores, json } = args;
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read the rules {}", path.display()))?;
    let rules = Rules::parse(&text).with_context(|| format!("cannot use the rules {}", path.display()))?;
    if rules.rules.is_empty() {
        super::complain(&anyhow::anyhow!("the rules {} hold no [[rule]]: nothing can fire", path.display()));
    }
    let rules = Arc::new(rules);
    let mut heard = Heard { json, ..Heard::default() };
    for path in &scores {
        replay(path, &rules, &mut heard)?;
    }
    if heard.rows > 0 && heard.fired == 0 && !rules.rules.is_empty() {
        let (rows, path) = (heard.rows, path.display());
        super::complain(&anyhow::anyhow!("no alert fires under the rules {path} in {rows} rows of scores"));
    }
    Ok(())
}

/// Runs the rules over one file. Legs of one recording may lie in it line by line or one after another; a recording is over when the
/// next begins.
fn replay(path: &Path, rules: &Arc<Rules>, heard: &mut Heard) -> anyhow::Result<()> {
    let shown = path.display();
    let file = File::open(path).with_context(|| format!("cannot read the scores {shown}"))?;
    let mut legs: Vec<Recorded> = Vec::new();
    for (number, line) in (1_usize..).zip(BufReader::new(file).lines()) {
        let line = line.with_context(|| format!("cannot read the scores {shown}"))?;
        if line.trim().is_empty() {
            continue;
        }
        let place = || format!("{shown}, line {number}");
        let row = Row::parse(&line).with_context(place)?;
        if legs.first().is_some_and(|leg| leg.file != row.file) {
            legs.drain(..).try_for_each(|leg| leg.end(heard))?;
        }
        let index = legs.iter().position(|leg| leg.leg == row.leg).unwrap_or_else(|| {
            legs.push(Recorded { file: row.file.clone(), leg: row.leg.clone(), heard: Leg::new(rules) });
            legs.len() - 1
        });
        legs[index].heard.add(row).with_context(place)?;
        heard.rows += 1;
        legs[index].tell(heard)?;
    }
    if legs.is_empty() {
        super::complain(&anyhow::anyhow!("the scores {shown} hold no row: there is nothing to replay"));
    }
    legs.into_iter().try_for_each(|leg| leg.end(heard))
}

impl Recorded {
    fn end(mut self, heard: &mut Heard) -> anyhow::Result<()> {
        self.heard.end();
        self.tell(heard)
    }

    fn tell(&mut self, heard: &mut Heard) -> anyhow::Result<()> {
        while let Some(alert) = self.heard.poll_alert() {
            heard.fired += u64::from(alert.state == State::Firing);
            let told = Told::of(&self.file, &self.leg, &alert);
            if heard.json { super::print(serde_json::to_string(&told)?)? } else { super::print(told.line())? }
        }
        Ok(())
    }
}

impl<'a> Told<'a> {
    fn of(file: &'a str, leg: &'a str, alert: &'a Alert) -> Self {
        let evidence = &alert.evidence;
        Self {
            file,
            leg,
            rule: &alert.rule.name,
            rule_version: alert.rule.version,
            state: alert.state.name(),
            severity: alert.severity.name(),
            at_seconds: alert.at.as_secs_f64(),
            reason: alert.reason.name(),
            alert: alert.number,
            level: evidence.level,
            usual: evidence.usual,
            peak: evidence.peak,
            evidence_start_seconds: evidence.start.as_secs_f64(),
            evidence_end_seconds: evidence.end.as_secs_f64(),
        }
    }

    fn line(&self) -> String {
        let Self { file, leg, rule, state, at_seconds, reason, level, usual, peak, .. } = self;
        let file = text::name(file);
        let (severity, reason) = (self.severity.to_lowercase(), reason.to_lowercase().replace('_', " "));
        let usually = text::usually(*usual);
        format!(
            "{file}  {leg}  {at_seconds:8.2} s  {rule} {state} ({severity}, {reason}): level {level:.2}{usually}, at most {peak:.2}"
        )
    }
}
