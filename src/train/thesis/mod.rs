//! What the recipes on the thesis's frames share: windows, weights of the labels, and how they learn. They differ in their network and
//! in whether training hears every clip a second time, altered.

use anyhow::bail;
use rand_chacha::ChaCha8Rng;

mod hearing;
mod windows;

pub use windows::Windows;

use crate::{
    corpus::{Clip, LABELS},
    evaluate::Window,
    features::{FrontEnd, Standardization, WindowOptions, thesis154},
    train::{
        Event, Heard, Options, Trained, Work,
        calibrate::Wanted,
        clips::{Clips, Used},
        fit::VALIDATION,
        network::{Batch, Network, generator},
        optimiser::Rule,
        recipe::{Batches, Course, Regime, Sketch},
        schedule::Schedule,
    },
};
#[cfg(test)]
pub(super) use hearing::hear;
pub(super) use hearing::{Hearing, ways};
pub(super) use windows::{Cut, Cutter, Instance};

/// Windows a step learns from: the thesis's.
const BATCH: usize = 32;
/// Windows scored at a time.
const VALID_BATCH: usize = 64;
/// The thesis's frames a window: 6.97 s.
const FRAMES: usize = 300;
/// Least speech before a window is scored: a window of a second tells something, less than that little.
const MIN_SECONDS: f32 = 1.0;
/// A window with less speech tells more of the room than of the voice.
const MIN_SPEECH_RATIO: f32 = 0.5;
/// A pause of two seconds ends what was said.
const CLEAR_AFTER_SECONDS: f32 = 2.0;
/// Draws of every validation clip: one window of random length says little of a clip.
const VALIDATION_DRAWS: usize = 2;
/// What keeps a model from being right that heard the recordings as they are.
const LIMITS: &str = "CREMA-D's angry clips are also its loudest over one constant background; part of what the network hears is the \
                      recording.\n- Clean recordings: noise, music, packet loss and codecs other than G.711 were not trained on.";
/// And one that heard them altered as well.
const ALTERED_LIMITS: &str = "CREMA-D's angry clips are also its loudest over one constant background; part of what the network hears is \
                              the recording.\n- Music, packet loss and codecs other than G.711 were not trained on.";

/// What tells one recipe from another.
pub(super) struct Plan {
    /// What is trained.
    pub(super) network: Box<dyn Network>,
    /// Whether training hears every clip a second time, altered.
    pub(super) altered: bool,
    /// The name calls ask for it by.
    pub(super) name: &'static str,
    /// One line on what it is.
    pub(super) description: &'static str,
    /// The network in a line.
    pub(super) line: &'static str,
}

/// A recipe with its data.
struct Thesis<'a> {
    plan: Plan,
    options: &'a Options,
    front_end: FrontEnd,
    train: Cutter<'a>,
    valid: Cutter<'a>,
    valid_cuts: Vec<Cut>,
    standardization: Standardization,
    class_weights: Vec<f32>,
}

/// Reads the data and trains.
pub(super) fn train(plan: Plan, work: &Work<'_>, tell: &(dyn Fn(Event<'_>) + Sync)) -> anyhow::Result<Trained> {
    let options = work.options;
    let front_end = FrontEnd::Thesis154(thesis154::Options::default());
    let learns = |actor: &str| plan.altered && work.split.train.iter().any(|known| known == actor);
    let ways = |actor: &str| ways(options.lines.conditions(), learns(actor));
    let parameters = serde_json::to_string(&front_end)?;
    let what = |clip: &Clip| format!("{:?} by {parameters}", ways(&clip.actor));
    let hear = |heard: Heard| hearing::hear(&heard, &ways(&heard.actor), &front_end);
    let (clips, sides) = work.gather_kept(what, hear, tell)?;
    let place = |actor: &String| clips.actors.iter().position(|known| known == actor);
    let of = |actors: &[String]| -> Vec<usize> { actors.iter().filter_map(place).collect() };
    let (train_actors, valid_actors) = (of(&work.split.train), of(&work.split.valid));
    let instances = instances(clips);
    let cutter = |actors: &[usize]| Cutter::new(&instances, actors, options.windows, &front_end, &window());
    let (train, valid) = (cutter(&train_actors), cutter(&valid_actors));
    let standardization = train.standardization(&train.draw(&mut generator(options.seed, 0)), front_end.values());
    let mut random = generator(options.seed, VALIDATION);
    let draws = if options.windows == Windows::Clip { 1 } else { VALIDATION_DRAWS };
    let valid_cuts: Vec<_> = (0..draws).flat_map(|_| valid.draw(&mut random)).collect();
    let class_weights = class_weights(&train.counts(LABELS.len()))?;
    let front_end = front_end.clone();
    let course = Thesis { plan, options, front_end, train, valid, valid_cuts, standardization, class_weights };
    work.finish(&course, &sides, tell)
}

/// What was heard of the clips, as windows are cut from it.
pub(super) fn instances(clips: Clips<Vec<Hearing>>) -> Vec<Instance> {
    let of_clip = |(used, heard): (Used, Vec<Hearing>)| {
        heard.into_iter().map(move |hearing| Instance { actor: used.actor, label: used.label, hearing })
    };
    clips.used.into_iter().zip(clips.made).flat_map(of_clip).collect()
}

/// The thesis's window.
pub(super) fn window() -> WindowOptions {
    WindowOptions {
        frames: FRAMES,
        grow_frames: None,
        min_seconds: MIN_SECONDS,
        min_speech_ratio: MIN_SPEECH_RATIO,
        clear_after_seconds: CLEAR_AFTER_SECONDS,
    }
}

impl Course for Thesis<'_> {
    fn network(&self) -> &dyn Network {
        &*self.plan.network
    }

    fn regime(&self) -> Regime {
        Regime { rule: Rule::Nadam, schedule: Schedule::plateau(), clip: None, average: None }
    }

    fn identity(&self) -> String {
        let altered = if self.plan.altered { ", altered as well" } else { "" };
        format!("{:?} lines, {:?} windows{altered}", self.options.lines, self.options.windows)
    }

    fn epoch<'a>(&'a self, random: &mut ChaCha8Rng) -> Batches<'a> {
        let mut cuts = self.train.shuffled(random);
        if self.plan.altered {
            // An epoch is as long as without the second hearing: half of all are drawn.
            cuts.truncate(cuts.len().div_ceil(2));
        }
        let batches: Vec<Vec<Cut>> = cuts.chunks(BATCH).map(<[Cut]>::to_vec).collect();
        Box::new(batches.into_iter().map(|cuts| self.weighted(self.train.batch(&cuts, &self.standardization))))
    }

    fn validation(&self) -> Batches<'_> {
        Box::new(self.valid_cuts.chunks(VALID_BATCH).map(|cuts| self.valid.batch(cuts, &self.standardization)))
    }

    fn sketch(&self) -> Sketch {
        Sketch {
            name: self.plan.name,
            description: self.plan.description,
            network: self.plan.line,
            saw: saw(self.options.windows, self.plan.altered),
            limits: if self.plan.altered { ALTERED_LIMITS } else { LIMITS },
            bandwidths: self.options.lines.bandwidths(),
            conditions: self.options.lines.conditions().to_vec(),
            windows: vec![Window::Whole, Window::Clip],
            teachers: Vec::new(),
            wanted: Wanted { accuracy: 0.55, coverage: 0.7 },
            front_end: self.front_end.clone(),
            window: window(),
            standardization: self.standardization.clone(),
        }
    }
}

impl Thesis<'_> {
    /// The same, each window weighted by its label.
    fn weighted(&self, mut batch: Batch) -> Batch {
        for (targets, &label) in batch.targets.chunks_exact_mut(LABELS.len()).zip(&batch.labels) {
            targets.iter_mut().for_each(|target| *target *= self.class_weights[label]);
        }
        batch
    }
}

/// The windows it saw, for the card.
fn saw(windows: Windows, altered: bool) -> &'static str {
    match (windows, altered) {
        (Windows::Served, false) => {
            "windows as a service sees them: from speech onset, from one second to the whole window, in half of the draws clips of one \
             actor and emotion joined as in a longer call"
        }
        (Windows::Served, true) => {
            "windows as a service sees them: from speech onset, from one second to the whole window, in half of the draws clips of one \
             actor and emotion joined as in a longer call; half of them of clips at 0.9 or 1.1 of their speed over noise"
        }
        (Windows::Clip, false) => "one window a clip, padded with zeros behind, as in the thesis",
        (Windows::Clip, true) => {
            "one window a clip, padded with zeros behind, as in the thesis; half of them of clips at 0.9 or 1.1 of their speed over noise"
        }
    }
}

/// Each label's weight, so that all labels together weigh the same: windows / (labels × windows of the label).
fn class_weights(counts: &[usize]) -> anyhow::Result<Vec<f32>> {
    if let Some(label) = counts.iter().position(|&count| count == 0) {
        bail!("no clip of the training actors is {}: every label needs some", LABELS[label]);
    }
    let total: usize = counts.iter().sum();
    Ok(counts.iter().map(|&count| total as f32 / (counts.len() * count) as f32).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn class_weights_balance_the_labels() {
        let weights = class_weights(&[10, 10, 10, 10, 5, 15]).unwrap();
        assert_eq!(weights, [1.0, 1.0, 1.0, 1.0, 2.0, 60.0 / 90.0]);
        let error = class_weights(&[1, 1, 1, 0, 1, 1]).unwrap_err().to_string();
        assert!(error.contains("happy"), "{error}");
    }
}
