//! `MODEL_CARD.md`: what a model is, how it is made again, what it was measured to do, and what it is not for.

use std::fmt::Write as _;

use super::{Sides, Sketch, recipe::Teacher};
use crate::{evaluate::Outcome, model::Manifest};

mod scores;

/// What a card is written from.
pub(super) struct Facts<'a> {
    pub(super) manifest: &'a Manifest,
    pub(super) sketch: &'a Sketch,
    pub(super) sides: &'a Sides,
    pub(super) scores: &'a [Outcome],
    /// Whether the weights are a running average, and no epoch's own.
    pub(super) averaged: bool,
}

/// The card's text.
pub(super) fn write(facts: &Facts<'_>) -> String {
    let mut card = String::new();
    // A String takes all that is written to it.
    let _ = sections(&mut card, facts);
    card
}

fn sections(card: &mut String, facts: &Facts<'_>) -> std::fmt::Result {
    let Facts { manifest, sketch, scores, .. } = facts;
    let bandwidths: Vec<_> = manifest.bandwidths.iter().map(|bandwidth| bandwidth.as_str()).collect();
    writeln!(card, "# {} {}\n\n{}.\n", manifest.name, manifest.version, manifest.description)?;
    commands(card, &sketch.teachers, &manifest.training.command)?;
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
    protocol(card, facts)?;
    scores::write(card, scores, &manifest.labels, &manifest.training.valid_actors)?;
    writeln!(card, "{}\n- {}", LIMITS.trim(), sketch.limits)
}

/// How it is made again: its teachers first.
fn commands(card: &mut String, teachers: &[Teacher], command: &str) -> std::fmt::Result {
    if teachers.is_empty() {
        return writeln!(
            card,
            "Made by one command, which makes it again of the sources that it was made by:\n\n```\n{command}\n```\n"
        );
    }
    writeln!(
        card,
        "Made by {} commands in this order, which make it again of the sources that it was made by: its teachers, then itself.\n\n```",
        teachers.len() + 1
    )?;
    for teacher in teachers {
        writeln!(card, "{}", teacher.command)?;
    }
    writeln!(card, "{command}\n```\n\n`--out` of the teachers is where the last command looks for them.\n")
}

fn protocol(card: &mut String, Facts { manifest, sketch, sides, averaged, .. }: &Facts<'_>) -> std::fmt::Result {
    let training = &manifest.training;
    let kept = if *averaged {
        format!("the running average of the weights over the steps of all {} epochs", training.epochs)
    } else {
        format!("the weights of epoch {}", training.epochs)
    };
    writeln!(card, "## Data and protocol\n")?;
    writeln!(
        card,
        "Trained on {} clips of {} actors, judged and calibrated by {} clips of {} others; no voice is on both sides. Clips \
         published under two labels, or silent, are left out ({} in all). It saw {}. Seed {}, {kept}, trained on {}.\n",
        sides.train_clips,
        training.train_actors.len(),
        sides.valid_clips,
        training.valid_actors.len(),
        sides.left_out,
        sketch.saw,
        training.seed,
        training.gpu.as_deref().unwrap_or("the CPU"),
    )?;
    if !training.teachers.is_empty() {
        writeln!(
            card,
            "Beside the labels it learnt from {} networks of the same recipe and actors, which were shown the same windows: `{}`.\n",
            training.teachers.len(),
            training.teachers.join("`, `"),
        )?;
    }
    if let Some(part) = training.votes {
        let percent = part * 100.0;
        writeln!(
            card,
            "Listeners' votes, where they are known, decided {percent:.0} % of each target beside the labels.\n"
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
    )
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_student_s_card_names_the_commands_of_its_teachers_before_its_own() {
        let teacher = |seed: u8| Teacher { sha256: String::new(), command: format!("undertone train --seed {seed}") };
        let mut card = String::new();
        commands(&mut card, &[teacher(1), teacher(2)], "undertone train --teacher a").unwrap();
        assert!(
            card.contains("```\nundertone train --seed 1\nundertone train --seed 2\nundertone train --teacher a\n```")
        );
        assert!(card.contains("3 commands"), "{card}");
        let mut card = String::new();
        commands(&mut card, &[], "undertone train").unwrap();
        assert!(card.contains("one command") && card.contains("```\nundertone train\n```"), "{card}");
    }
}
