//! `MODEL_CARD.md`: what a model is, what it was measured to do, and what it is not for.

use std::fmt::Write as _;

use super::{Sides, Sketch};
use crate::{
    evaluate::{Outcome, groups::Group},
    model::Manifest,
};

/// What a card is written from.
pub(super) struct Facts<'a> {
    pub(super) manifest: &'a Manifest,
    pub(super) sketch: &'a Sketch,
    pub(super) sides: &'a Sides,
    pub(super) scores: &'a [Outcome],
}

/// The card's text.
pub(super) fn write(facts: &Facts<'_>) -> String {
    let mut card = String::new();
    // A String takes all that is written to it.
    let _ = sections(&mut card, facts);
    card
}

fn sections(card: &mut String, facts: &Facts<'_>) -> std::fmt::Result {
    let Facts { manifest, sketch, sides, scores } = facts;
    let bandwidths: Vec<_> = manifest.bandwidths.iter().map(|bandwidth| bandwidth.as_str()).collect();
    writeln!(card, "# {} {}\n\n{}.\n", manifest.name, manifest.version, manifest.description)?;
    writeln!(card, "Made by one command, which makes it again:\n\n```\n{}\n```\n", manifest.training.command)?;
    writeln!(card, "| | |\n|---|---|")?;
    writeln!(card, "| labels | {} |", manifest.labels.join(", "))?;
    writeln!(card, "| bandwidths | {} |", bandwidths.join(", "))?;
    let front_end = &manifest.front_end;
    writeln!(
        card,
        "| input | at most {} frames of {} values (`{}`), {:.1} ms apart |",
        manifest.window.frames,
        front_end.values(),
        front_end.name(),
        1e3 * front_end.hop_samples() as f64 / f64::from(front_end.sample_rate_hz()),
    )?;
    writeln!(card, "| network | {}; {} values |", sketch.network, manifest.network.parameters)?;
    writeln!(card, "| SHA-256 of the network | `{}` |", manifest.network.sha256)?;
    writeln!(card, "| licence | {} |\n", manifest.licence)?;

    writeln!(card, "## Data and protocol\n")?;
    writeln!(
        card,
        "Trained on {} clips of {} actors, judged and calibrated by {} clips of {} others; no voice is on both sides. Clips \
         published under two labels, or silent, are left out ({} in all). It saw {}. Seed {}, weights of epoch {}, trained on {}.\n",
        sides.train_clips,
        manifest.training.train_actors.len(),
        sides.valid_clips,
        manifest.training.valid_actors.len(),
        sides.left_out,
        sketch.saw,
        manifest.training.seed,
        manifest.training.epochs,
        manifest.training.gpu.as_deref().unwrap_or("the CPU"),
    )?;
    if !manifest.training.teachers.is_empty() {
        writeln!(
            card,
            "Beside the labels it learnt from {} networks of the same recipe and actors, which were shown the same windows: `{}`.\n",
            manifest.training.teachers.len(),
            manifest.training.teachers.join("`, `"),
        )?;
    }
    writeln!(
        card,
        "Temperature {:.3}; below a confidence of {:.2} the label is *uncertain*: the lowest threshold at which {:.0} % of the labelled \
         validation windows are right, or at which {:.0} % of them still have a label.\n",
        manifest.calibration.temperature,
        manifest.calibration.uncertain_below,
        sketch.wanted.accuracy * 100.0,
        sketch.wanted.coverage * 100.0,
    )?;

    writeln!(card, "## Scores on the validation actors\n")?;
    writeln!(
        card,
        "These actors chose the calibration and whatever else was chosen, so a new voice scores a little lower. `whole`: mean over the \
         windows a call is served; `clip`: one window a clip; a number: every window of so many seconds. 95 % intervals over actors. The \
         same figures: `undertone evaluate --model DIR --data DIR --actors {} --condition {} --baseline {} --window {}`.\n",
        manifest.training.valid_actors.join(","),
        all(scores, |outcome| outcome.condition.as_str().to_owned()),
        all(scores, |outcome| outcome.baseline.as_str().to_owned()),
        all(scores, |outcome| outcome.window.clone()),
    )?;
    writeln!(
        card,
        "| line | heard before | window | clips | UAR | accuracy | weighted F1 | macro F1 | ECE | surer half |"
    )?;
    writeln!(card, "|---|---|---|---|---|---|---|---|---|---|")?;
    for outcome in *scores {
        let figures = &outcome.scores;
        writeln!(
            card,
            "| {} | {} | {} | {} | {} ({}–{}) | {} | {:.2} | {:.2} | {:.3} | {} |",
            outcome.condition.as_str(),
            outcome.baseline.as_str(),
            outcome.window,
            figures.clips,
            percent(figures.uar),
            percent(figures.uar_low),
            percent(figures.uar_high),
            percent(figures.accuracy),
            figures.weighted_f1,
            figures.macro_f1,
            figures.ece,
            percent(figures.accuracy_at_half_coverage),
        )?;
    }
    if let Some(listeners) = scores.first().and_then(|outcome| outcome.listeners.as_ref()) {
        writeln!(
            card,
            "\nPeople who heard the same {} clips named the emotion in {} % of their votes; their plurality was right in {} %.",
            listeners.clips,
            percent(listeners.accuracy),
            percent(listeners.plurality_accuracy),
        )?;
    }
    writeln!(card)?;
    for outcome in *scores {
        classes(card, outcome, &manifest.labels)?;
    }
    if let Some(outcome) = scores.last() {
        groups(card, outcome)?;
    }
    writeln!(card, "{}\n- {}", LIMITS.trim(), sketch.limits)
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

fn groups(card: &mut String, outcome: &Outcome) -> std::fmt::Result {
    writeln!(card, "### Groups ({}, {})\n", outcome.condition.as_str(), outcome.window)?;
    writeln!(card, "Groups of at least three actors; so few actors say little of a group.\n")?;
    writeln!(card, "| group | UAR | clips | actors |\n|---|---|---|---|")?;
    let all = &outcome.groups;
    for (name, groups) in [("sex", &all.sex), ("age", &all.age), ("race", &all.race), ("level", &all.level)] {
        for (key, Group { uar, clips, actors }) in groups {
            writeln!(card, "| {name}: {key} | {} | {clips} | {actors} |", percent(*uar))?;
        }
    }
    writeln!(card)
}

fn percent(part: f64) -> String {
    format!("{:.1}", part * 100.0)
}

const LIMITS: &str = "
## Intended use

Showing trends over many calls, and pointing people at calls worth listening to. Many of its answers are wrong, as the tables
show: no single one means anything by itself.

**Not for decisions about individuals**: not for hiring, rating or disciplining people, not for credit, insurance, policing or medicine, not
for telling whether someone lies. In the European Union inferring emotions of people at work or in education is forbidden but for
medical and safety reasons (AI Act, article 5); who runs it must tell callers.

## Limits

- Acted emotion: actors spoke twelve sentences as they were told to. How people sound in real calls differs, and was not measured.
- English as spoken in North America, actors of 20 to 74 years; other languages, children and accents were not measured.
- Six labels. Whatever else a voice carries is forced into them.
";
