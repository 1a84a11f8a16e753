//! The scores as one HTML page that needs nothing else: styles and pictures stand in it.

use std::{collections::BTreeMap, fmt::Write as _};

use undertone::evaluate::{Outcome, curves, groups::Group};

use super::{
    Study,
    chart::{self, Axes, Dot, Error, Line},
    percent,
    study::HISTORY_FILE,
};

const STYLE: &str = include_str!("page.css");

/// The page of these studies, of one corpus.
pub(super) fn page(studies: &[Study], corpus: &str) -> Result<String, Error> {
    let names: Vec<&str> = studies.iter().map(|study| study.scored.name.as_str()).collect();
    let mut page = Page(String::new());
    let title = escape(&format!("{} on {corpus}", names.join(", ")));
    page.add(format_args!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">\
         <title>{title}</title><style>{STYLE}</style></head><body><main><h1>{title}</h1>"
    ));
    page.intro(studies);
    page.table(studies);
    page.conditions(studies)?;
    page.windows(studies)?;
    page.heard(studies)?;
    page.confusions(studies)?;
    page.confidence(studies)?;
    page.groups(studies);
    page.training(studies)?;
    page.notes(studies);
    page.add(format_args!("</main></body></html>\n"));
    Ok(page.0)
}

struct Page(String);

impl Page {
    fn add(&mut self, text: std::fmt::Arguments<'_>) {
        self.0.write_fmt(text).expect("a String takes all that is written to it");
    }

    fn intro(&mut self, studies: &[Study]) {
        let Some(first) = studies.first().and_then(|study| study.scored.results.first()) else { return };
        let (clips, actors) = (first.scores.clips, first.scores.actors);
        self.add(format_args!("<p class=\"lead\">{clips} clips of {actors} actors. UAR is the mean recall of the emotions, so that each counts alike; "));
        self.add(format_args!(
            "the intervals hold 95 % of 1,000 draws of the actors. Chance is {:.1}.",
            100.0 / first.scores.per_class.len() as f64
        ));
        if let Some(people) = &first.listeners {
            let (one, most) = (percent(people.accuracy), percent(people.plurality_accuracy));
            self.add(format_args!(
                " People who heard {} of these clips were right in {one} % of their votes, by plurality in {most} %.",
                people.clips
            ));
        }
        self.add(format_args!("</p>"));
    }

    fn table(&mut self, studies: &[Study]) {
        self.add(format_args!(
            "<section><h2>Scores</h2><div class=\"wide\"><table><thead><tr><th>model<th>line<th>heard before<th>window"
        ));
        for head in [
            "UAR %",
            "95 %",
            "accuracy %",
            "macro F1",
            "weighted F1",
            "ECE",
            "Brier",
            "surer half %",
            "most answered",
            "unscored",
        ] {
            self.add(format_args!("<th class=\"n\">{head}"));
        }
        self.add(format_args!("</tr></thead><tbody>"));
        for study in studies {
            for (index, outcome) in study.scored.results.iter().enumerate() {
                let scores = &outcome.scores;
                let name = if index == 0 { escape(&study.scored.name) } else { String::new() };
                let (most, share) = most_answered(outcome);
                self.add(format_args!(
                    "<tr{}><td>{name}<td>{}<td>{}<td>{}",
                    if index == 0 { " class=\"first\"" } else { "" },
                    outcome.condition.as_str(),
                    outcome.baseline.as_str(),
                    window(outcome)
                ));
                self.add(format_args!(
                    "<td class=\"n\"><b>{}</b><td class=\"n\">{}–{}<td class=\"n\">{}",
                    percent(scores.uar),
                    percent(scores.uar_low),
                    percent(scores.uar_high),
                    percent(scores.accuracy)
                ));
                for figure in [scores.macro_f1, scores.weighted_f1, scores.ece, scores.brier] {
                    self.add(format_args!("<td class=\"n\">{figure:.3}"));
                }
                self.add(format_args!(
                    "<td class=\"n\">{}<td class=\"n\">{} {:.0} %<td class=\"n\">{}</tr>",
                    percent(scores.accuracy_at_half_coverage),
                    escape(most),
                    share * 100.0,
                    outcome.unscored_windows
                ));
            }
        }
        self.add(format_args!("</tbody></table></div></section>"));
    }

    fn conditions(&mut self, studies: &[Study]) -> Result<(), Error> {
        let name = |outcome: &Outcome| outcome.condition.as_str().to_owned();
        let people = people(studies);
        let reference = people.map(|uar| ("people, by plurality", uar));
        let picture = compare(studies, |study| &study.by_condition, name, reference)?;
        let note = "wide: the recording. 8k: sampled at 8 kHz. mulaw, alaw: through G.711. loss5: 5 % of the packets lost. noise20, noise10: pink noise and \
                    other voices so many dB below. flat: every clip at one level over one noise, so that neither level nor background tells anything.";
        self.figure("By line", &setting(studies, |study| &study.by_condition, "line"), note, &picture);
        Ok(())
    }

    fn windows(&mut self, studies: &[Study]) -> Result<(), Error> {
        let picture = compare(studies, |study| &study.by_window, window, None)?;
        let note = "Seconds of speech judged at once; whole: the mean over the windows that a call would be served.";
        self.figure("By length of window", &setting(studies, |study| &study.by_window, "window"), note, &picture);
        Ok(())
    }

    fn heard(&mut self, studies: &[Study]) -> Result<(), Error> {
        let name = |outcome: &Outcome| format!("{:.0}", outcome.heard_clips);
        let picture = compare(studies, |study| &study.by_heard, name, None)?;
        let unmoved: Vec<String> =
            studies.iter().filter(|study| !study.scored.has_baseline).map(|study| escape(&study.scored.name)).collect();
        let mut note = "Other clips of the same actor, whatever the emotion, heard on the same line before.".to_owned();
        if !unmoved.is_empty() {
            write!(note, " {} keeps nothing of a speaker, so hears no difference.", unmoved.join(", "))?;
        }
        self.figure(
            "By how much of the speaker was heard before",
            &setting(studies, |study| &study.by_heard, "heard"),
            &note,
            &picture,
        );
        Ok(())
    }

    fn confusions(&mut self, studies: &[Study]) -> Result<(), Error> {
        self.add(format_args!("<section><h2>What is taken for what</h2><p class=\"note\">Each row is an emotion that was played; of 100 such clips so many are answered as the column.</p><div class=\"row\">"));
        for study in studies {
            let Some(outcome) = study.scored.results.first() else { continue };
            let picture = chart::confusion(&study.scored.labels, &outcome.scores.confusion)?;
            self.panel(&format!("{} · {}", study.scored.name, told(outcome)), &picture);
        }
        let first = studies.first();
        let people = first.and_then(|study| Some((study, study.scored.results.first()?.listeners.as_ref()?)));
        if let Some((study, people)) = people {
            let picture = chart::confusion(&study.scored.labels, &people.confusion)?;
            self.panel(&format!("people, single votes ({})", people.votes), &picture);
        }
        self.add(format_args!("</div></section>"));
        Ok(())
    }

    fn confidence(&mut self, studies: &[Study]) -> Result<(), Error> {
        self.add(format_args!("<section><h2>How sure, and how right</h2><p class=\"note\">Dots on the dashed line: as right as it is sure. The grey columns show how many answers are so sure.</p><div class=\"row\">"));
        for (index, study) in studies.iter().enumerate() {
            let Some(outcome) = study.scored.results.first() else { continue };
            let picture = chart::reliability(&outcome.scores.reliability, index)?;
            self.panel(&format!("{} · {} · ECE {:.3}", study.scored.name, told(outcome), outcome.scores.ece), &picture);
        }
        self.add(format_args!("</div>"));
        let lines: Vec<Line> = studies
            .iter()
            .enumerate()
            .filter_map(|(colour, study)| {
                let points = &study.scored.results.first()?.scores.coverage;
                let points = points.iter().map(|point: &curves::Coverage| (point.coverage, point.accuracy)).collect();
                Some(Line { name: study.scored.name.clone(), points, colour, dashed: false })
            })
            .collect();
        let least = lines.iter().flat_map(|line| &line.points).map(|point| point.1).fold(1.0, f64::min);
        let axes = Axes {
            x: (0.0, 1.0),
            y: ((least * 10.0).floor() / 10.0, 1.0),
            x_name: "answered, the surest first, %",
            y_name: "right, %",
            percent: true,
        };
        let picture = chart::lines(&axes, &lines)?;
        self.panel("What is right when only the surest answers are given", &picture);
        self.add(format_args!("</section>"));
        Ok(())
    }

    fn groups(&mut self, studies: &[Study]) {
        self.add(format_args!("<section><h2>By who speaks, and how</h2><p class=\"note\">UAR of the first setting of each model. Groups of fewer than three actors are not told.</p><div class=\"row\">"));
        for study in studies {
            let Some(outcome) = study.scored.results.first() else { continue };
            let groups = &outcome.groups;
            self.add(format_args!(
                "<figure><figcaption>{} · {}</figcaption><table class=\"bars\">",
                escape(&study.scored.name),
                told(outcome)
            ));
            for (what, groups) in
                [("sex", &groups.sex), ("age", &groups.age), ("race", &groups.race), ("level", &groups.level)]
            {
                self.group(what, groups);
            }
            self.add(format_args!("</table></figure>"));
        }
        self.add(format_args!("</div></section>"));
    }

    fn group(&mut self, what: &str, groups: &BTreeMap<String, Group>) {
        for (index, (name, group)) in groups.iter().enumerate() {
            let what = if index == 0 { what } else { "" };
            self.add(format_args!(
                "<tr><th>{what}<td>{}<td class=\"n\">{} actors<td><i style=\"width:{:.0}px\"></i> {}</tr>",
                escape(name),
                group.actors,
                group.uar * 160.0,
                percent(group.uar)
            ));
        }
    }

    fn training(&mut self, studies: &[Study]) -> Result<(), Error> {
        self.add(format_args!("<section><h2>Training</h2>"));
        for study in studies.iter().filter(|study| study.histories.is_empty()) {
            self.add(format_args!(
                "<p class=\"note\">No curve of {}: no <code>{HISTORY_FILE}</code> lies in its folder.</p>",
                escape(&study.scored.name)
            ));
        }
        self.add(format_args!("<div class=\"row\">"));
        let all = studies.iter().enumerate();
        for (colour, study, history) in
            all.flat_map(|(colour, study)| study.histories.iter().map(move |history| (colour, study, history)))
        {
            let epochs = &history.epochs;
            let fold = history.fold.map(|fold| format!(", fold {fold}")).unwrap_or_default();
            let whose = format!("{}{fold}", study.scored.name);
            let line = |name: &str, dashed, value: &dyn Fn(&super::Epoch) -> Option<f64>| Line {
                name: name.to_owned(),
                points: epochs.iter().filter_map(|epoch| Some((f64::from(epoch.epoch), value(epoch)?))).collect(),
                colour,
                dashed,
            };
            let last = epochs.iter().map(|epoch| epoch.epoch).max().unwrap_or(1);
            let losses = [
                line("loss", false, &|epoch| Some(epoch.loss)),
                line("validation loss", true, &|epoch| epoch.valid_loss),
            ];
            let axes = |lines: &[Line], y_name, percent| {
                let values = || lines.iter().flat_map(|line| &line.points).map(|point| point.1);
                let (low, high) = (values().fold(f64::INFINITY, f64::min), values().fold(f64::NEG_INFINITY, f64::max));
                let room = ((high - low) * 0.08).max(0.01);
                Axes { x: (0.0, f64::from(last)), y: (low - room, high + room), x_name: "epoch", y_name, percent }
            };
            let picture = chart::lines(&axes(&losses, "cross-entropy", false), &losses)?;
            self.panel(&format!("{whose} · loss"), &picture);
            let uar = [line("validation UAR", false, &|epoch| epoch.valid_uar)];
            if !uar[0].points.is_empty() {
                let picture = chart::lines(&axes(&uar, "validation UAR", false), &uar)?;
                self.panel(&format!("{whose} · validation UAR"), &picture);
            }
        }
        self.add(format_args!("</div></section>"));
        Ok(())
    }

    fn notes(&mut self, studies: &[Study]) {
        self.add(format_args!("<section><h2>What stands behind it</h2><dl>"));
        for study in studies {
            let scored = &study.scored;
            self.add(format_args!(
                "<dt>{} {}</dt><dd>SHA-256 <code>{}</code>",
                escape(&scored.name),
                escape(&scored.version),
                escape(&scored.sha256)
            ));
            self.add(format_args!("<br>made by <code>{}</code>", escape(&scored.command)));
            if !scored.trained_on.is_empty() {
                self.add(format_args!(
                    "<br><strong>{} of these actors were trained on: their scores say nothing about others.</strong>",
                    scored.trained_on.len()
                ));
            }
            for (what, list) in
                [("left out, as they cannot be read", &scored.left_out), ("scored, though doubtful", &scored.doubtful)]
            {
                if !list.is_empty() {
                    let list: Vec<String> = list.iter().map(|one| escape(one)).collect();
                    self.add(format_args!("<br>{what}: {}", list.join("; ")));
                }
            }
            self.add(format_args!("</dd>"));
        }
        self.add(format_args!("</dl></section>"));
    }

    fn figure(&mut self, title: &str, setting: &str, note: &str, picture: &str) {
        self.add(format_args!("<section><h2>{title}</h2><p class=\"note\">{setting}</p><figure>{picture}</figure><p class=\"note\">{note}</p></section>"));
    }

    fn panel(&mut self, caption: &str, picture: &str) {
        self.add(format_args!("<figure><figcaption>{}</figcaption>{picture}</figure>", escape(caption)));
    }
}

/// A dot a category and model.
fn compare<'a>(
    studies: &'a [Study],
    outcomes: impl Fn(&'a Study) -> &'a Vec<Outcome>,
    name: impl Fn(&Outcome) -> String,
    reference: Option<(&str, f64)>,
) -> Result<String, Error> {
    let mut categories: Vec<String> = Vec::new();
    for outcome in studies.iter().flat_map(&outcomes) {
        if !categories.contains(&name(outcome)) {
            categories.push(name(outcome));
        }
    }
    let dot = |outcome: &Outcome| {
        let scores = &outcome.scores;
        let at = categories.iter().position(|category| *category == name(outcome)).unwrap_or_default();
        Dot { at, value: scores.uar, low: scores.uar_low, high: scores.uar_high }
    };
    let series: Vec<(String, Vec<Dot>)> =
        studies.iter().map(|study| (study.scored.name.clone(), outcomes(study).iter().map(dot).collect())).collect();
    chart::dots(&categories, &series, reference)
}

/// What the first outcome of a row of them was measured under, but for what the row varies.
fn setting<'a>(studies: &'a [Study], outcomes: impl Fn(&'a Study) -> &'a Vec<Outcome>, varies: &str) -> String {
    let Some(first) = studies.iter().find_map(|study| outcomes(study).first()) else { return String::new() };
    let mut parts = Vec::new();
    if varies != "line" {
        parts.push(format!("line {}", first.condition.as_str()));
    }
    if varies != "window" {
        parts.push(format!("window {}", window(first)));
    }
    if varies != "heard" {
        parts.push(format!("heard before: {}", first.baseline.as_str()));
    }
    parts.join(", ")
}

/// How often most people are right, as UAR.
fn people(studies: &[Study]) -> Option<f64> {
    Some(studies.first()?.scored.results.first()?.listeners.as_ref()?.plurality_uar)
}

fn told(outcome: &Outcome) -> String {
    format!("{}, {}, {}", outcome.condition.as_str(), outcome.baseline.as_str(), window(outcome))
}

fn window(outcome: &Outcome) -> String {
    match outcome.window_seconds {
        Some(seconds) => format!("{seconds} s"),
        None => outcome.window.clone(),
    }
}

fn most_answered(outcome: &Outcome) -> (&str, f64) {
    let answered = outcome.scores.answered.iter();
    answered.max_by(|a, b| a.1.total_cmp(b.1)).map_or(("", 0.0), |(label, share)| (label.as_str(), *share))
}

/// For text and attributes of HTML.
fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
