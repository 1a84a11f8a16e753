//! Scores of a model on labelled recordings.
//!
//! Clips go through the code that serves calls: the line, the gate if asked for, what was heard of the speaker before, the window's
//! rule, assembly, ONNX Runtime, calibration. What is measured is a list of [`Setting`]s: a line, a [`Baseline`], a [`Window`]. Actors
//! are scored side by side, one thread a core; the figures do not depend on it.

use std::{
    collections::BTreeMap,
    ops::ControlFlow,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use serde::Serialize;

use crate::corpus::{Clip, Condition, LABELS, line::Babble};

mod actor;
mod baseline;
pub mod curves;
mod ear;
pub mod groups;
pub mod hear;
mod listeners;
pub mod metrics;
mod subject;
#[cfg(test)]
mod tests;
mod window;

pub use baseline::{Baseline, HEARD_CLIPS};
pub use listeners::Listeners;
pub use subject::{Folds, Subject, fold_dir};
pub use window::Window;

use actor::{Plan, Thoughts};
use ear::{AnyEar, STRIDE_SECONDS};
use groups::Groups;
use metrics::{Scored, Scores};
use subject::Judge;

/// Of all that conditions and baselines draw, so that the same clips are heard in the same way every time.
const SEED: u64 = 0;

/// What to measure: every condition with every baseline over every window.
#[derive(Debug, Clone)]
pub struct Options {
    /// Under which lines.
    pub conditions: Vec<Condition>,
    /// After what was heard of the speaker.
    pub baselines: Vec<Baseline>,
    /// Over which windows.
    pub windows: Vec<Window>,
    /// Whether the gate decides what is speech; without it all is.
    pub gate: bool,
}

/// One thing to measure.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Setting {
    /// The line.
    pub condition: Condition,
    /// What was heard of the speaker before.
    pub baseline: Baseline,
    /// How many clips of it.
    pub heard_clips: usize,
    /// What is scored at once.
    pub window: Window,
}

/// Scores under one setting. The fields are the command's contract.
#[derive(Debug, Clone, Serialize)]
pub struct Outcome {
    /// What was measured.
    #[serde(skip)]
    pub setting: Setting,
    /// The line.
    pub condition: Condition,
    /// What was heard of the speaker before.
    pub baseline: Baseline,
    /// How many clips of it, in the mean: an actor may have fewer.
    pub heard_clips: f64,
    /// "whole", "clip" or the seconds.
    pub window: String,
    /// Seconds of a window; null for whole clips.
    pub window_seconds: Option<f32>,
    /// Windows that were scored.
    pub windows: usize,
    /// The figures; of windows where `window_seconds` is given, else of clips.
    #[serde(flatten)]
    pub scores: Scores,
    /// The figures by who speaks and how.
    pub groups: Groups,
    /// Windows that the gate, or too little speech, kept from being scored.
    pub unscored_windows: usize,
    /// What people heard in the same clips.
    pub listeners: Option<Listeners>,
}

/// Of one model.
#[derive(Debug)]
pub struct Measured {
    /// In the order of the settings.
    pub outcomes: Vec<Outcome>,
    /// Clips that could not be read, and why.
    pub left_out: Vec<String>,
}

/// What can go wrong as a whole; a clip that cannot be read is left out and named instead.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The model tells other things apart than the corpus.
    #[error("the model's labels are {0}, the corpus's {corpus}: they cannot be compared", corpus = LABELS.join(", "))]
    Labels(String),
    /// A window longer than the model's.
    #[error(
        "a window of {seconds} s is longer than the {most:.2} s that {model} takes: ask for a shorter one, or for whole clips"
    )]
    TooLong {
        /// Its name.
        model: String,
        /// Asked for.
        seconds: f32,
        /// The model's.
        most: f64,
    },
    /// A cross-validation that an actor had no part in.
    #[error("actor {actor} had no part in {name}: score the actors that it was made with, or another model")]
    NoFold {
        /// The models.
        name: String,
        /// Who.
        actor: String,
    },
    /// `progress` said so.
    #[error("stopped before all clips were scored")]
    Stopped,
    /// Nothing was scored.
    #[error("no clip could be scored: {0}")]
    Nothing(String),
    /// Features could not be made.
    #[error(transparent)]
    Features(#[from] crate::features::Error),
    /// The network failed.
    #[error(transparent)]
    Model(#[from] crate::model::Error),
    /// The model, or ONNX Runtime, could not be loaded.
    #[error(transparent)]
    Load(#[from] crate::model::onnx::Error),
}

impl Options {
    /// All of it, windows first, then baselines.
    pub fn settings(&self) -> Vec<Setting> {
        let mut settings = Vec::new();
        for &condition in &self.conditions {
            for &baseline in &self.baselines {
                settings.extend(self.windows.iter().map(|&window| Setting::new(condition, baseline, window)));
            }
        }
        settings
    }
}

impl Setting {
    /// With [`HEARD_CLIPS`] heard before, unless it is cold.
    pub fn new(condition: Condition, baseline: Baseline, window: Window) -> Self {
        let heard_clips = if baseline == Baseline::Cold { 0 } else { HEARD_CLIPS };
        Self { condition, baseline, heard_clips, window }
    }
}

/// Scores a model on `clips`; `progress` is called once a clip and condition, and says whether to go on.
///
/// # Errors
/// An [`Error`] where labels or windows do not fit the model, the network fails, `progress` breaks off, or nothing could be scored.
pub fn evaluate(
    subject: &Subject,
    clips: &[&Clip],
    options: &Options,
    progress: &(dyn Fn() -> ControlFlow<()> + Sync),
) -> Result<Measured, Error> {
    measure(subject, clips, &options.settings(), options.gate, progress)
}

/// Scores a model on `clips` under each of `settings`.
///
/// # Errors
/// As [`evaluate`].
pub fn measure(
    subject: &Subject,
    clips: &[&Clip],
    settings: &[Setting],
    gate: bool,
    progress: &(dyn Fn() -> ControlFlow<()> + Sync),
) -> Result<Measured, Error> {
    subject.validate(settings.iter().map(|setting| setting.window))?;
    let babble = if settings.iter().any(|setting| setting.condition.has_babble()) {
        Babble::of(clips, SEED)
    } else {
        Babble::default()
    };
    let plan = Plan { settings, babble: &babble, gate, progress };
    let mut actors: BTreeMap<&str, Vec<&Clip>> = BTreeMap::new();
    for clip in clips {
        actors.entry(&clip.actor).or_default().push(clip);
    }
    let judges = actors.keys().map(|actor| subject.judge(actor)).collect::<Result<Vec<_>, _>>()?;
    let actors: Vec<Vec<&Clip>> = actors.into_values().collect();
    let thoughts = side_by_side(&actors, &judges, &plan)?;
    let left_out: Vec<String> = thoughts.iter().flat_map(|thoughts| thoughts.left_out.clone()).collect();
    let nothing = || left_out.first().cloned().unwrap_or_else(|| "there is no clip of these actors".to_owned());
    let outcomes = settings
        .iter()
        .enumerate()
        .map(|(index, setting)| {
            Pile::gather(index, setting, &actors, &thoughts)
                .outcome(setting, subject.labels())
                .ok_or_else(|| Error::Nothing(nothing()))
        })
        .collect::<Result<_, _>>()?;
    Ok(Measured { outcomes, left_out })
}

/// Thoughts of all actors, in their order, by as many threads as there are cores.
fn side_by_side(actors: &[Vec<&Clip>], judges: &[Judge<'_>], plan: &Plan<'_>) -> Result<Vec<Thoughts>, Error> {
    let next = AtomicUsize::new(0);
    let done = Mutex::new(Vec::with_capacity(actors.len()));
    let work = || -> Result<(), Error> {
        let mut ear = AnyEar::default();
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(clips) = actors.get(index) else { return Ok(()) };
            let thoughts = ear.think(judges[index], clips, plan).inspect_err(|_| {
                // The others need not go on.
                next.store(actors.len(), Ordering::Relaxed);
            })?;
            done.lock().unwrap_or_else(PoisonError::into_inner).push((index, thoughts));
        }
    };
    let threads = thread::available_parallelism().map_or(1, usize::from).min(actors.len());
    thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        workers.into_iter().try_for_each(|worker| match worker.join() {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic),
        })
    })?;
    let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    done.sort_by_key(|(index, _)| *index);
    Ok(done.into_iter().map(|(_, thoughts)| thoughts).collect())
}

/// All that was thought under one setting.
#[derive(Default)]
struct Pile<'a> {
    scored: Vec<(&'a Clip, Scored)>,
    windows: usize,
    unscored: usize,
    clips: usize,
    heard: usize,
}

impl<'a> Pile<'a> {
    fn gather(index: usize, setting: &Setting, actors: &[Vec<&'a Clip>], thoughts: &[Thoughts]) -> Self {
        let mut pile = Self::default();
        for (clips, thoughts) in actors.iter().zip(thoughts) {
            for thought in &thoughts.of_settings[index] {
                pile.unscored += thought.unscored;
                pile.heard += thought.heard;
                pile.clips += 1;
                pile.add(clips[thought.clip], &thought.rows, setting.window);
            }
        }
        pile
    }

    fn add(&mut self, clip: &'a Clip, rows: &[Vec<f32>], window: Window) {
        let Some(first) = rows.first() else { return };
        self.windows += rows.len();
        let scored = |probabilities| Scored { actor: clip.actor.clone(), label: clip.label, probabilities };
        match window {
            Window::Seconds(_) => self.scored.extend(rows.iter().map(|row| (clip, scored(row.clone())))),
            Window::Whole | Window::Clip => {
                let count = rows.len() as f32;
                let mean = |label: usize| rows.iter().map(|row| row[label]).sum::<f32>() / count;
                self.scored.push((clip, scored((0..first.len()).map(mean).collect())));
            }
        }
    }

    fn outcome(self, setting: &Setting, labels: &[String]) -> Option<Outcome> {
        let all: Vec<Scored> = self.scored.iter().map(|(_, scored)| scored.clone()).collect();
        let mut scores = Scores::of(&all, labels)?;
        let mut clips: Vec<&Clip> = self.scored.iter().map(|(clip, _)| *clip).collect();
        clips.dedup_by_key(|clip| &clip.path);
        scores.clips = clips.len();
        Some(Outcome {
            setting: *setting,
            condition: setting.condition,
            baseline: setting.baseline,
            heard_clips: self.heard as f64 / self.clips as f64,
            window: setting.window.to_string(),
            window_seconds: setting.window.seconds(),
            windows: self.windows,
            groups: Groups::of(&self.scored, labels.len()),
            scores,
            unscored_windows: self.unscored,
            listeners: Listeners::of(&self.scored),
        })
    }
}
