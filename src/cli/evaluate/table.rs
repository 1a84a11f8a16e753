//! The scores in lines for people.

use std::collections::BTreeMap;

use comfy_table::{CellAlignment, Table, presets};
use undertone::evaluate::{Baseline, Outcome, groups::Group};

use super::{Scored, percent, print};

/// A model's table of settings, and for each setting what is taken for what and how groups fare.
pub(super) fn show(model: &Scored) -> anyhow::Result<()> {
    print(format!("{} {} ({})\n", model.name, model.version, &model.sha256[..12]))?;
    let mut table = table(&[
        "line",
        "heard before",
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
        "most answered",
        "unscored",
    ]);
    for outcome in &model.results {
        let scores = &outcome.scores;
        table.add_row([
            outcome.condition.as_str().to_owned(),
            outcome.baseline.as_str().to_owned(),
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
            most_answered(outcome),
            outcome.unscored_windows.to_string(),
        ]);
    }
    print(table.trim_fmt())?;
    for outcome in &model.results {
        print(format!("\n{}, {}, {}", outcome.condition.as_str(), outcome.baseline.as_str(), outcome.window))?;
        print(classes(outcome, &model.labels).trim_fmt())?;
        let groups = groups(outcome);
        if !groups.is_empty() {
            print(groups)?;
        }
    }
    if let Some((outcome, people)) = model.results.first().and_then(|first| Some((first, first.listeners.as_ref()?))) {
        print(format!(
            "\npeople who heard {} of these clips: {} of their votes right, {} by plurality (UAR {}); the model has {} of the same right \
             ({}) and says what most of them heard in {}",
            people.clips,
            percent(people.accuracy),
            percent(people.plurality_accuracy),
            percent(people.plurality_uar),
            percent(people.machine_accuracy),
            outcome.condition.as_str(),
            percent(people.machine_agrees),
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
    let line = |(name, groups): (&str, &BTreeMap<String, Group>)| {
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

/// The label that is answered most, and how often.
fn most_answered(outcome: &Outcome) -> String {
    let most = outcome.scores.answered.iter().max_by(|a, b| a.1.total_cmp(b.1));
    most.map(|(label, share)| format!("{label} {:.0}", share * 100.0)).unwrap_or_default()
}
