//! Recipe `cnn-bilstm`: the thesis's network on MFCC, chroma and mel frames.

use anyhow::bail;
use rand_chacha::ChaCha8Rng;

mod graph;
mod lstm;
mod net;
mod parameters;
mod windows;

pub use windows::Windows;

use crate::{
    corpus::{Condition, LABELS, Scene, line::Babble},
    evaluate::Window,
    features::{FrontEnd, Standardization, WindowOptions, listen::RawFrames, thesis154},
    train::{
        Event, Heard, Options, Trained, Work,
        calibrate::Wanted,
        fit::VALIDATION,
        network::{Batch, Network, generator},
        optimiser::Rule,
        recipe::{Batches, Course, Regime, Sketch},
        schedule::Schedule,
    },
};
use net::CnnBilstm;
pub(super) use windows::{Cut, Cutter, Instance};

/// The thesis's most epochs.
pub(super) const EPOCHS: u32 = 20;
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

/// The recipe with its data.
struct Thesis<'a> {
    options: &'a Options,
    front_end: FrontEnd,
    train: Cutter<'a>,
    valid: Cutter<'a>,
    valid_cuts: Vec<Cut>,
    standardization: Standardization,
    class_weights: Vec<f32>,
}

/// Reads the data and trains.
pub(super) fn train(work: &Work<'_>, tell: &(dyn Fn(Event<'_>) + Sync)) -> anyhow::Result<Trained> {
    let options = work.options;
    let front_end = FrontEnd::Thesis154(thesis154::Options::default());
    let (clips, sides) = work.gather(|heard| instances(&heard, options.lines.conditions(), &front_end), tell)?;
    let place = |actor: &String| clips.actors.iter().position(|known| known == actor);
    let of = |actors: &[String]| -> Vec<usize> { actors.iter().filter_map(place).collect() };
    let (train_actors, valid_actors) = (of(&work.split.train), of(&work.split.valid));
    let instances: Vec<Instance> = clips.made.into_iter().flatten().collect();
    let cutter = |actors: &[usize]| Cutter::new(&instances, actors, options.windows, &front_end, &window());
    let (train, valid) = (cutter(&train_actors), cutter(&valid_actors));
    let standardization = train.standardization(&train.draw(&mut generator(options.seed, 0)), front_end.values());
    let mut random = generator(options.seed, VALIDATION);
    let draws = if options.windows == Windows::Clip { 1 } else { VALIDATION_DRAWS };
    let valid_cuts: Vec<_> = (0..draws).flat_map(|_| valid.draw(&mut random)).collect();
    let class_weights = class_weights(&train.counts(LABELS.len()))?;
    let front_end = front_end.clone();
    let course = Thesis { options, front_end, train, valid, valid_cuts, standardization, class_weights };
    work.finish(&course, &sides, tell)
}

/// One clip on each line.
pub(super) fn instances(
    heard: &Heard,
    conditions: &[Condition],
    front_end: &FrontEnd,
) -> anyhow::Result<Vec<Instance>> {
    // Neither noise nor loss is among the conditions, so nobody else need be there.
    let babble = Babble::default();
    let scene = Scene { seed: 0, actor: "", clip: &heard.used.name, babble: &babble };
    let listen = |&condition: &Condition| -> anyhow::Result<Instance> {
        let (samples, rate_hz) = condition.apply(heard.samples.clone(), heard.rate_hz, &scene)?;
        let raw = RawFrames::of(&samples, rate_hz, front_end, true)?;
        Ok(Instance { actor: heard.used.actor, label: heard.used.label, condition, raw })
    };
    conditions.iter().map(listen).collect()
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
        &CnnBilstm
    }

    fn regime(&self) -> Regime {
        Regime { rule: Rule::Nadam, schedule: Schedule::plateau(), clip: None, average: None }
    }

    fn identity(&self) -> String {
        format!("{:?} lines, {:?} windows", self.options.lines, self.options.windows)
    }

    fn epoch<'a>(&'a self, random: &mut ChaCha8Rng) -> Batches<'a> {
        let cuts = self.train.shuffled(random);
        let batches: Vec<Vec<Cut>> = cuts.chunks(BATCH).map(<[Cut]>::to_vec).collect();
        Box::new(batches.into_iter().map(|cuts| self.weighted(self.train.batch(&cuts, &self.standardization))))
    }

    fn validation(&self) -> Batches<'_> {
        Box::new(self.valid_cuts.chunks(VALID_BATCH).map(|cuts| self.valid.batch(cuts, &self.standardization)))
    }

    fn sketch(&self) -> Sketch {
        Sketch {
            name: "cnn-bilstm",
            description: "Six acted emotions in English speech: MFCC, chroma and mel frames through a small CNN-BiLSTM",
            network: "Conv1D → BatchNorm → MaxPool → BiLSTM → Dense, 64 of its values are running statistics",
            saw: match self.options.windows {
                Windows::Served => {
                    "windows as a service sees them: from speech onset, from one second to the whole window, in half of the draws \
                     clips of one actor and emotion joined as in a longer call"
                }
                Windows::Clip => "one window a clip, padded with zeros behind, as in the thesis",
            },
            limits: "CREMA-D's angry clips are also its loudest over one constant background; part of what the network hears is the \
                     recording.\n- Clean recordings: noise, music, packet loss and codecs other than G.711 were not trained on.",
            bandwidths: self.options.lines.bandwidths(),
            conditions: self.options.lines.conditions().to_vec(),
            windows: vec![Window::Whole, Window::Clip],
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
