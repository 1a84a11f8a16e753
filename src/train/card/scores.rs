//! The tables of a card: a row a line and window, beside each other what was heard of the speaker before.

use std::{collections::BTreeMap, fmt::Write as _};

use clap::ValueEnum as _;

use crate::{
    corpus::Condition,
    evaluate::{
        Baseline, HEARD_CLIPS, Outcome, Window,
        groups::{Group, Groups},
        metrics::Scores,
    },
    train::record::in_full,
};

/// The label whose loudest speakers have nothing calm to be measured by.
const ANGRY: &str = "angry";

pub(super) fn write(card: &mut String, scores: &[Outcome], labels: &[String], actors: &[String]) -> std::fmt::Result {
    writeln!(card, "## Scores on the validation actors\n")?;
    writeln!(
        card,
        "These actors chose the calibration and whatever else was chosen, so a new voice scores a little lower. `whole`: mean over the \
         windows a call is served; `clip`: one window a clip; a number: every window of so many seconds. 95 % intervals over actors. The \
         same figures: `undertone evaluate --model DIR --data DIR --actors {} --condition {} --baseline {} --window {}`.\n",
        actors.join(","),
        all(scores, |outcome| outcome.condition.as_str().to_owned()),
        all(scores, |outcome| outcome.baseline.as_str().to_owned()),
        all(scores, |outcome| outcome.window.clone()),
    )?;
    let measured = |line: &&Condition| scores.iter().any(|outcome| outcome.condition == **line);
    let told = |line: &Condition| format!("`{}`: {}", line.as_str(), meaning(*line));
    let lines: Vec<String> = Condition::value_variants().iter().filter(measured).map(told).collect();
    writeln!(card, "{}.\n", lines.join("; "))?;
    if scores.iter().any(|outcome| outcome.baseline != Baseline::Cold) {
        writeln!(
            card,
            "`cold`: a call's first words; `warm`: after {HEARD_CLIPS} other clips of the speaker, whatever the emotion; `neutral`: after \
             {HEARD_CLIPS} in which nothing is played.\n"
        )?;
    }
    let rows = rows(scores);
    recalls(card, &rows)?;
    figures(card, &rows)?;
    if let Some(listeners) = scores.first().and_then(|outcome| outcome.listeners.as_ref()) {
        writeln!(
            card,
            "People who heard the same {} clips named the emotion in {} % of their votes; their plurality was right in {} %.\n",
            listeners.clips,
            percent(listeners.accuracy),
            percent(listeners.plurality_accuracy),
        )?;
    }
    angry(card, &rows)?;
    groups(card, scores)?;
    scores.iter().filter(|outcome| in_full(outcome.condition)).try_for_each(|outcome| classes(card, outcome, labels))
}

/// What arrives over a line.
fn meaning(line: Condition) -> &'static str {
    match line {
        Condition::Wide => "the recording",
        Condition::Narrow => "sampled at 8 kHz",
        Condition::Mulaw => "through G.711 µ-law",
        Condition::Alaw => "through G.711 A-law",
        Condition::Loss5 => "5 % of the µ-law packets lost",
        Condition::Noise20 => "noise and other voices 20 dB below, µ-law",
        Condition::Noise10 => "10 dB below",
        Condition::Flat => "every clip at one level over one noise, µ-law",
    }
}

/// What outcomes were measured under, each once.
fn all(scores: &[Outcome], what: impl Fn(&Outcome) -> String) -> String {
    let mut found: Vec<String> = Vec::new();
    for outcome in scores {
        let what = what(outcome);
        if !found.contains(&what) {
            found.push(what);
        }
    }
    found.join(" ")
}

/// The outcomes of each line and window, by what was heard before.
fn rows(scores: &[Outcome]) -> Vec<Vec<&Outcome>> {
    let mut rows: Vec<Vec<&Outcome>> = Vec::new();
    for outcome in scores {
        let alike = |row: &&mut Vec<&Outcome>| row[0].condition == outcome.condition && row[0].window == outcome.window;
        match rows.iter_mut().find(alike) {
            Some(row) => row.push(outcome),
            None => rows.push(vec![outcome]),
        }
    }
    rows
}

fn baselines<'a>(row: &[&'a Outcome]) -> impl Iterator<Item = &'a str> {
    row.iter().map(|outcome| outcome.baseline.as_str())
}

/// Unweighted average recall, a column what was heard before.
fn recalls(card: &mut String, rows: &[Vec<&Outcome>]) -> std::fmt::Result {
    let Some(first) = rows.first() else { return Ok(()) };
    let heads: String = baselines(first).map(|baseline| format!(" UAR {baseline} |")).collect();
    writeln!(card, "| line | window | clips |{heads}\n|---|---|---|{}", "---|".repeat(first.len()))?;
    for row in rows {
        let cell = |outcome: &&Outcome| {
            let Scores { uar, uar_low, uar_high, .. } = outcome.scores;
            format!(" {} ({}–{}) |", percent(uar), percent(uar_low), percent(uar_high))
        };
        let cells: String = row.iter().map(cell).collect();
        writeln!(card, "| {} | {} | {} |{cells}", row[0].condition.as_str(), row[0].window, row[0].scores.clips)?;
    }
    writeln!(card)
}

/// The other figures, in each cell one beside the other.
fn figures(card: &mut String, rows: &[Vec<&Outcome>]) -> std::fmt::Result {
    let Some(first) = rows.first() else { return Ok(()) };
    writeln!(
        card,
        "In each cell: {}. Surer half: accuracy on the half of the answers that it is surer of; most answered: the label that most answers \
         name, and the part of them that do.\n",
        baselines(first).collect::<Vec<_>>().join(" / ")
    )?;
    writeln!(card, "| line | window | accuracy | weighted F1 | macro F1 | ECE | surer half | most answered |")?;
    writeln!(card, "|---|---|---|---|---|---|---|---|")?;
    for row in rows {
        let cell = |figure: &dyn Fn(&Scores) -> String| -> String {
            row.iter().map(|outcome| figure(&outcome.scores)).collect::<Vec<_>>().join(" / ")
        };
        writeln!(
            card,
            "| {} | {} | {} | {} | {} | {} | {} | {} |",
            row[0].condition.as_str(),
            row[0].window,
            cell(&|scores| percent(scores.accuracy)),
            cell(&|scores| format!("{:.2}", scores.weighted_f1)),
            cell(&|scores| format!("{:.2}", scores.macro_f1)),
            cell(&|scores| format!("{:.3}", scores.ece)),
            cell(&|scores| percent(scores.accuracy_at_half_coverage)),
            cell(&most_answered),
        )?;
    }
    writeln!(card)
}

fn most_answered(scores: &Scores) -> String {
    let most = scores.answered.iter().max_by(|one, other| one.1.total_cmp(other.1));
    most.map_or_else(String::new, |(label, part)| format!("{label} {:.0}", part * 100.0))
}

/// What it costs a caller who is angry from the first word that nothing calm was heard before.
fn angry(card: &mut String, rows: &[Vec<&Outcome>]) -> std::fmt::Result {
    let of = |row: &[&Outcome], baseline: Baseline| {
        let outcome = row.iter().find(|outcome| outcome.baseline == baseline)?;
        let class = outcome.scores.per_class.get(ANGRY)?;
        Some(format!("{} ({})", percent(class.recall), percent(class.precision)))
    };
    let told: Vec<(&Outcome, String, String)> =
        rows.iter().filter_map(|row| Some((row[0], of(row, Baseline::Cold)?, of(row, Baseline::Neutral)?))).collect();
    if told.is_empty() {
        return Ok(());
    }
    writeln!(
        card,
        "### An angry caller from the first word\n\nNothing calm was heard of them: their first words are scored as `cold`. What that costs is \
         told by a call that began calmly, `neutral`: recall of angry in %, and in brackets how many in a hundred that are called angry \
         are. Later in such a call the baseline is the speaker's own anger. A baseline of the speaker's own anger was not measured.\n\n\
         | line | window | cold | neutral |\n|---|---|---|---|"
    )?;
    for (outcome, cold, neutral) in told {
        writeln!(card, "| {} | {} | {cold} | {neutral} |", outcome.condition.as_str(), outcome.window)?;
    }
    writeln!(card)
}

/// Whole clips over a telephone, or over the line that was measured, by who speaks and how; cold, and warm if there is such a thing.
fn groups(card: &mut String, scores: &[Outcome]) -> std::fmt::Result {
    let whole = |line: Condition| {
        let asked = move |outcome: &&Outcome| outcome.condition == line && outcome.setting.window == Window::Whole;
        scores.iter().filter(asked).filter(|outcome| outcome.baseline != Baseline::Neutral).collect::<Vec<_>>()
    };
    let mut told = whole(Condition::Mulaw);
    if told.is_empty() {
        told = scores.first().map(|outcome| whole(outcome.condition)).unwrap_or_default();
    }
    let Some(first) = told.first() else { return Ok(()) };
    writeln!(
        card,
        "### Groups ({}, whole, {})\n",
        first.condition.as_str(),
        baselines(&told).collect::<Vec<_>>().join(" and ")
    )?;
    writeln!(card, "UAR of groups of at least three actors; so few actors say little of a group.\n")?;
    let heads: String = baselines(&told).map(|baseline| format!(" {baseline} |")).collect();
    writeln!(card, "| group |{heads} clips | actors |\n|---|{}---|---|", "---|".repeat(told.len()))?;
    for (kind, (name, of_first)) in kinds(&first.groups).into_iter().enumerate() {
        for (key, Group { clips, actors, .. }) in of_first {
            let uar = |outcome: &&Outcome| kinds(&outcome.groups)[kind].1.get(key).map(|group| percent(group.uar));
            let cells: Vec<String> = told.iter().map(|outcome| uar(outcome).unwrap_or_default()).collect();
            writeln!(card, "| {name}: {key} | {} | {clips} | {actors} |", cells.join(" | "))?;
        }
    }
    writeln!(card)
}

fn kinds(groups: &Groups) -> [(&'static str, &BTreeMap<String, Group>); 4] {
    [("sex", &groups.sex), ("age", &groups.age), ("race", &groups.race), ("level", &groups.level)]
}

fn classes(card: &mut String, outcome: &Outcome, labels: &[String]) -> std::fmt::Result {
    writeln!(card, "### {}, {}, {}\n", outcome.condition.as_str(), outcome.baseline.as_str(), outcome.window)?;
    writeln!(card, "| label | precision | recall | F1 | clips | answered {} |", labels.join(" / "))?;
    writeln!(card, "|---|---|---|---|---|---|")?;
    for (label, row) in labels.iter().zip(&outcome.scores.confusion) {
        let class = outcome.scores.per_class[label];
        let row = row.iter().map(u64::to_string).collect::<Vec<_>>().join(" / ");
        let (precision, recall, f1) = (class.precision, class.recall, class.f1);
        writeln!(card, "| {label} | {precision:.2} | {recall:.2} | {f1:.2} | {} | {row} |", class.support)?;
    }
    writeln!(card)
}

fn percent(part: f64) -> String {
    format!("{:.1}", part * 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        corpus::LABELS,
        evaluate::{Setting, metrics::Scored},
    };

    /// Two angry clips and a sad one, `right` of the angry ones told as such; the others are taken for sad.
    fn outcome(condition: Condition, baseline: Baseline, window: Window, right: usize) -> Outcome {
        let row = |answer: usize| (0..LABELS.len()).map(|label| if label == answer { 0.5 } else { 0.1 }).collect();
        let scored = |(label, answer)| Scored { actor: "a".to_owned(), label, probabilities: row(answer) };
        let heard = |clip| (0, if clip < right { 0 } else { 5 });
        let scored: Vec<Scored> = (0..2).map(heard).chain([(5, 5)]).map(scored).collect();
        let group = |uar| Group { uar, clips: 3, actors: 3 };
        let sex = BTreeMap::from([("female".to_owned(), group(if baseline == Baseline::Cold { 0.25 } else { 0.375 }))]);
        Outcome {
            setting: Setting::new(condition, baseline, window),
            condition,
            baseline,
            heard_clips: 0.0,
            window: window.to_string(),
            window_seconds: window.seconds(),
            windows: 3,
            scores: Scores::of(&scored, &LABELS.map(str::to_owned)).unwrap(),
            groups: Groups { sex, ..Groups::default() },
            unscored_windows: 0,
            listeners: None,
        }
    }

    fn card(scores: &[Outcome]) -> String {
        let mut card = String::new();
        write(&mut card, scores, &LABELS.map(str::to_owned), &["1009".to_owned()]).unwrap();
        card
    }

    #[test]
    fn what_was_heard_before_stands_side_by_side() {
        let mut scores = Vec::new();
        for condition in [Condition::Mulaw, Condition::Noise10] {
            for (baseline, right) in [(Baseline::Cold, 1), (Baseline::Warm, 2), (Baseline::Neutral, 0)] {
                for window in [Window::Whole, Window::Seconds(2.0)] {
                    scores.push(outcome(condition, baseline, window, right));
                }
            }
        }
        let card = card(&scores);
        assert!(card.contains("--condition mulaw noise10 --baseline cold warm neutral --window whole 2`"), "{card}");
        assert!(card.contains("| line | window | clips | UAR cold | UAR warm | UAR neutral |"), "{card}");
        let row = |line: &str| card.lines().find(|row| row.starts_with(line)).unwrap_or_else(|| panic!("{card}"));
        let recalls: Vec<&str> = row("| noise10 | 2 | 3 |").split(" | ").skip(3).map(|cell| &cell[..4]).collect();
        assert_eq!(recalls, ["75.0", "100.", "50.0"]);
        let figures = row("| noise10 | 2 | 66.7 / 100.0 / 33.3 |");
        assert!(figures.ends_with("| sad 67 / angry 67 / sad 100 |"), "{figures}");
        // The cost of having heard nothing calm, on every line and window.
        let angry = &card[card.find("### An angry caller").unwrap()..card.find("### Groups").unwrap()];
        assert!(angry.contains("A baseline of the speaker's own anger was not measured."));
        assert_eq!(angry.matches("| 50.0 (100.0) | 0.0 (0.0) |").count(), 4, "{angry}");
        assert!(card.contains("### Groups (mulaw, whole, cold and warm)"), "{card}");
        assert_eq!(row("| sex: female"), "| sex: female | 25.0 | 37.5 | 3 | 3 |");
        // What each label was taken for is told of the usual line alone: the card is to be read.
        assert!(card.contains("### mulaw, warm, 2") && !card.contains("### noise10"), "{card}");
    }

    #[test]
    fn a_model_without_a_baseline_has_one_column_and_no_word_on_it() {
        let card = card(&[outcome(Condition::Wide, Baseline::Cold, Window::Whole, 1)]);
        assert!(
            card.contains("| line | window | clips | UAR cold |\n|---|---|---|---|\n| wide | whole | 3 | 75.0"),
            "{card}"
        );
        assert!(!card.contains("angry caller") && !card.contains("warm"), "{card}");
        assert!(card.contains("### Groups (wide, whole, cold)") && card.contains("| sex: female | 25.0 | 3 | 3 |"));
    }
}
