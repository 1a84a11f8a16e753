//! The scores in lines for people.

use std::collections::BTreeMap;

use comfy_table::{CellAlignment, Table};
use undertone::evaluate::{Baseline, Outcome, groups::Group};

use super::{
    Scored,
    columns::{self, Column, Row},
    percent, print,
};

/// A model's table of settings with people below, and for each setting what is taken for what and how groups fare.
pub(super) fn show(model: &Scored) -> anyhow::Result<()> {
    let Some(first) = model.results.first() else { return Ok(()) };
    let (clips, actors) = (first.scores.clips, first.scores.actors);
    let (name, version, sha256) = (&model.name, &model.version, &model.sha256[..12]);
    print(format!("{name} {version} ({sha256}): {clips} clips of {actors} actors\n"))?;
    print(columns::table(&settings(model)))?;
    for outcome in &model.results {
        let (clips, windows, unscored) = (outcome.scores.clips, outcome.windows, outcome.unscored_windows);
        print(format!("\n{}: {clips} clips, {windows} windows scored, {unscored} not", told(outcome)))?;
        print(classes(outcome, &model.labels).trim_fmt())?;
        let groups = groups(outcome);
        if !groups.is_empty() {
            print(groups)?;
        }
    }
    if let Some(people) = &first.listeners {
        print(format!(
            "\npeople who heard {} of these clips gave {} votes; of the same clips the model has {} right\n\
             and says what most of them heard in {} ({})",
            people.clips,
            people.votes,
            percent(people.machine_accuracy),
            percent(people.machine_agrees),
            told(first),
        ))?;
    }
    if !model.has_baseline && model.results.iter().any(|outcome| outcome.baseline != Baseline::Cold) {
        print(format!("{} keeps nothing of a speaker: cold, warm and neutral are the same to it", model.name))?;
    }
    if !model.doubtful.is_empty() {
        print(format!("scored though doubtful: {}", model.doubtful.join("; ")))?;
    }
    if !model.left_out.is_empty() {
        print(format!("left out because they cannot be read: {}", model.left_out.len()))?;
    }
    print("")
}

fn settings(model: &Scored) -> Vec<Column> {
    let rows = Row::all(&model.results);
    let figures = |head, figure: fn(&Outcome) -> String| Column::figures(head, &rows, |row| row.figure(figure));
    vec![
        Column::settings(&rows),
        Column::figures("\nUAR", &rows, Row::uar),
        Column::figures("\n95 %", &rows, Row::interval),
        Column::figures("\naccuracy", &rows, Row::accuracy),
        figures("macro\nF1", |outcome| format!("{:.3}", outcome.scores.macro_f1)),
        figures("weighted\nF1", |outcome| format!("{:.3}", outcome.scores.weighted_f1)),
        figures("\nECE", |outcome| format!("{:.3}", outcome.scores.ece)),
        figures("\nBrier", |outcome| format!("{:.3}", outcome.scores.brier)),
        figures("surer\nhalf", |outcome| percent(outcome.scores.accuracy_at_half_coverage)),
        figures("most\nanswered", most_answered),
    ]
}

fn told(outcome: &Outcome) -> String {
    format!("{}, {}, {}", outcome.condition.as_str(), outcome.baseline.as_str(), outcome.window)
}

fn classes(outcome: &Outcome, labels: &[String]) -> Table {
    let mut heads = vec!["", "precision", "recall", "F1", "support", "answered:"];
    heads.extend(labels.iter().map(String::as_str));
    let mut table = columns::bare(heads.into_iter().map(str::to_owned).collect());
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
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
    let line = |(name, groups): (&str, &BTreeMap<String, Group>)| {
        let parts: Vec<String> =
            groups.iter().map(|(key, group)| format!("{key} {} ({})", percent(group.uar), group.actors)).collect();
        format!("UAR by {name} (actors): {}", parts.join(", "))
    };
    named.into_iter().filter(|(_, groups)| !groups.is_empty()).map(line).collect::<Vec<_>>().join("\n")
}

/// The label that is answered most, and how often.
fn most_answered(outcome: &Outcome) -> String {
    let most = outcome.scores.answered.iter().max_by(|a, b| a.1.total_cmp(b.1));
    most.map(|(label, share)| format!("{label} {:.0}", share * 100.0)).unwrap_or_default()
}
