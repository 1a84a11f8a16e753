//! What is measured for a page beyond what was asked for: from the first setting, every line, every window, every amount heard.

use std::{fs, path::Path};

use anyhow::Context as _;
use clap::ValueEnum as _;
use undertone::{
    corpus::Condition,
    evaluate::{Baseline, Measured, Options, Outcome, Setting, Subject, Window, fold_dir},
};

use super::{Epoch, Scored};

/// The trainer's log beside a model: what `undertone train --json` prints, an object an epoch.
pub(super) const HISTORY_FILE: &str = "history.jsonl";

/// Windows that are compared, as far as the model takes them.
const WINDOWS: [Window; 4] = [Window::Seconds(1.0), Window::Seconds(2.0), Window::Seconds(3.0), Window::Whole];

/// Clips heard before that are compared.
const HEARD_CLIPS: [usize; 5] = [0, 1, 2, 4, 8];

/// A model's scores, and what a page tells beyond.
pub(super) struct Study {
    pub(super) scored: Scored,
    pub(super) by_condition: Vec<Outcome>,
    pub(super) by_window: Vec<Outcome>,
    pub(super) by_heard: Vec<Outcome>,
    /// Of the model, or of each fold of a cross-validation, as far as they have one.
    pub(super) histories: Vec<History>,
}

/// How a training went.
#[derive(Debug, PartialEq)]
pub(super) struct History {
    /// Of a cross-validation, counted from 0.
    pub(super) fold: Option<usize>,
    /// At least one.
    pub(super) epochs: Vec<Epoch>,
}

/// What to measure of one model, each setting once.
pub(super) struct Plan {
    settings: Vec<Setting>,
    asked: usize,
    conditions: Vec<usize>,
    windows: Vec<usize>,
    heard: Vec<usize>,
}

impl Plan {
    pub(super) fn new(subject: &Subject, options: &Options, page: bool) -> Self {
        let settings = options.settings();
        let asked = settings.len();
        let mut plan = Self { settings, asked, conditions: vec![], windows: vec![], heard: vec![] };
        let Some(first) = plan.settings.first().copied().filter(|_| page) else { return plan };
        let most = subject.most_seconds().unwrap_or(f64::INFINITY);
        let fits = |window: &Window| window.seconds().is_none_or(|seconds| f64::from(seconds) <= most);
        let heard = |heard_clips| match heard_clips {
            0 => Setting::new(first.condition, Baseline::Cold, first.window),
            _ => Setting { heard_clips, ..Setting::new(first.condition, Baseline::Warm, first.window) },
        };
        plan.conditions =
            Condition::value_variants().iter().map(|&condition| plan.place(Setting { condition, ..first })).collect();
        plan.windows = WINDOWS.into_iter().filter(fits).map(|window| plan.place(Setting { window, ..first })).collect();
        plan.heard = HEARD_CLIPS.into_iter().map(|clips| plan.place(heard(clips))).collect();
        plan
    }

    pub(super) fn settings(&self) -> &[Setting] {
        &self.settings
    }

    /// Clips that are heard in all.
    pub(super) fn steps(&self, clips: usize) -> u64 {
        let mut conditions: Vec<Condition> = self.settings.iter().map(|setting| setting.condition).collect();
        conditions.sort_unstable();
        conditions.dedup();
        (conditions.len() * clips) as u64
    }

    /// Puts what was measured in its places.
    pub(super) fn study(
        self,
        measured: Measured,
        scored: impl FnOnce(Vec<Outcome>, Vec<String>) -> Scored,
        dir: &Path,
    ) -> anyhow::Result<Study> {
        let Measured { mut outcomes, left_out } = measured;
        let pick = |places: &[usize]| places.iter().map(|&place| outcomes[place].clone()).collect();
        let (by_condition, by_window, by_heard) = (pick(&self.conditions), pick(&self.windows), pick(&self.heard));
        outcomes.truncate(self.asked);
        Ok(Study { scored: scored(outcomes, left_out), by_condition, by_window, by_heard, histories: histories(dir)? })
    }

    /// Where a setting stands; at the end, if it was not there.
    fn place(&mut self, setting: Setting) -> usize {
        self.settings.iter().position(|one| *one == setting).unwrap_or_else(|| {
            self.settings.push(setting);
            self.settings.len() - 1
        })
    }
}

fn histories(dir: &Path) -> anyhow::Result<Vec<History>> {
    let folds = (0..).map(|fold| (Some(fold), fold_dir(dir, fold))).take_while(|(_, dir)| dir.is_dir());
    let mut histories = Vec::new();
    for (fold, dir) in std::iter::once((None, dir.to_owned())).chain(folds) {
        let epochs = history(&dir)?;
        if !epochs.is_empty() {
            histories.push(History { fold, epochs });
        }
    }
    Ok(histories)
}

fn history(dir: &Path) -> anyhow::Result<Vec<Epoch>> {
    let path = dir.join(HISTORY_FILE);
    if !path.is_file() {
        return Ok(Vec::new());
    }
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let rows = text.lines().filter(|line| !line.trim().is_empty()).enumerate();
    rows.map(|(index, line)| {
        serde_json::from_str(line).with_context(|| format!("{}, line {}: no epoch", path.display(), index + 1))
    })
    .collect()
}
