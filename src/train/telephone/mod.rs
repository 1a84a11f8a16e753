//! Recipe `telephone`: log-mel frames at 8 kHz against the speaker's own baseline, through a small ConvNeXt over time.
//!
//! Every clip is heard over several lines beforehand ([`variants`]); an epoch cuts windows of 1 to 3 s from them and mixes them in pairs.

use rand::{RngExt as _, SeedableRng as _, seq::SliceRandom as _};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Beta, Distribution as _};
use rayon::prelude::*;

mod block;
mod channel;
mod depthwise;
mod graph;
mod kernels;
mod net;
mod norm;
mod parameters;
mod pool;
mod stem;
mod teachers;
#[cfg(test)]
mod tests;
mod variants;
mod windows;

use crate::{
    corpus::{Condition, LABELS, tables},
    evaluate::Window,
    features::{FrontEnd, Standardization, WindowOptions, logmel8k, normalize::Fit},
    model::manifest::Bandwidth,
    train::{
        Event, Heard, Trained, Work,
        calibrate::Wanted,
        clips::Used,
        fit::VALIDATION,
        network::{Batch, Network, generator, smoothed},
        optimiser::Rule,
        recipe::{Batches, Course, Regime, Sketch},
        schedule::{OneCycle, Schedule},
    },
};
use channel::Channel;
use net::ConvNext;
use teachers::Teachers;
use windows::{Draw, Side};

/// Epochs where none are asked for: the cycle must be told beforehand.
pub(super) const EPOCHS: u32 = 40;
/// Filters of the stem where no number is asked for.
const WIDTH: usize = 24;
/// The loudest band is forgotten by so many dB a second of speech: soft speech is heard soon after shouting.
const FORGET: f32 = 5.0;
/// Windows a step learns from.
const BATCH: usize = 64;
/// Windows scored at a time.
const VALID_BATCH: usize = 64;
/// Seconds of a training window.
const SECONDS: std::ops::Range<f32> = 1.0..3.0;
/// Training windows are a multiple of so many frames long.
const GROW: usize = 8;
/// Frames a window is served with: 2 s.
const FRAMES: usize = 125;
/// Frames between validation windows: 0.5 s.
const STRIDE: usize = 31;
/// Highest rate of the cycle.
const LEARNING_RATE: f64 = 2e-3;
/// Part of the steps that it rises for.
const RISING: f64 = 0.15;
/// AdamW's decay.
const DECAY: f64 = 2e-2;
/// Longest norm of the gradients.
const CLIP: f64 = 5.0;
/// Of the running average of the weights.
const AVERAGE: f64 = 0.998;
/// Part of each target that is spread over all labels.
const SMOOTHING: f32 = 0.1;
/// How two windows are mixed: Beta(a, a), mostly nearly one of them (Zhang et al., 2018).
const MIXUP: f32 = 0.3;
/// Every line but `wide`, which is not what it is for.
const CONDITIONS: [Condition; 7] = [
    Condition::Narrow,
    Condition::Mulaw,
    Condition::Alaw,
    Condition::Loss5,
    Condition::Noise20,
    Condition::Noise10,
    Condition::Flat,
];
/// Seed of the lines: the same for every run, so that runs of other seeds hear the same.
const LINES: u64 = 0;

/// The recipe with its data.
struct Telephone {
    network: ConvNext,
    front_end: FrontEnd,
    train: Side,
    valid: Side,
    /// Validation windows of one length each, `VALID_BATCH` at most.
    judged: Vec<Vec<Draw>>,
    standardization: Standardization,
    teachers: Teachers,
    width: usize,
    /// Part of a target that listeners' votes decide.
    votes: f32,
    epochs: u32,
}

/// Reads the data and trains.
pub(super) fn train(work: &Work<'_>, tell: &(dyn Fn(Event<'_>) + Sync)) -> anyhow::Result<Trained> {
    let front_end =
        FrontEnd::Logmel8k(logmel8k::Options { clamp_forget_db_per_second: FORGET, ..logmel8k::Options::default() });
    let teachers = Teachers::load(work, &front_end)?;
    let keep = |heard: Heard| Ok(variants::Source { samples: heard.samples, rate_hz: heard.rate_hz });
    let (clips, sides) = work.gather(keep, tell)?;
    let of = |actors: &[String]| -> Vec<usize> {
        let ours = |clip: &usize| actors.contains(&clips.actors[clips.used[*clip].actor]);
        (0..clips.used.len()).filter(ours).collect()
    };
    let (train, valid) = (of(&work.split.train), of(&work.split.valid));
    let (trained, judged) = variants::Heard::ways();
    tell(Event::Reading(train.len() * trained + valid.len() * judged));
    let side = |of: &[usize], judged| -> anyhow::Result<Side> {
        let means = variants::Means { front_end: &front_end, seed: LINES, cache: &work.cache };
        let heard = variants::Heard::of(&clips, of, judged, means, || work.read(tell))?;
        Ok(Side::new(&clips, of, heard, front_end.values(), FRAMES))
    };
    let (train, valid) = (side(&train, false)?, side(&valid, true)?);
    work.tell_of_cache(tell);
    anyhow::ensure!(
        train.used.len() > 1,
        "{} clips to train on are too few: windows are mixed in pairs",
        train.used.len()
    );
    anyhow::ensure!(
        work.options.votes == 0.0 || train.used.iter().any(|used| tables::votes(&used.name).is_some()),
        "no listener's vote is known for any of the {} clips to train on: leave --votes out",
        train.used.len()
    );
    drop(clips);
    let judged = judged_windows(&valid, &mut generator(work.options.seed, VALIDATION));
    let standardization = deviations(&train, &front_end);
    teachers.check(&standardization)?;
    let width = work.options.width.unwrap_or(WIDTH);
    let course = Telephone {
        network: ConvNext::new(width),
        standardization,
        teachers,
        width,
        votes: work.options.votes,
        front_end,
        train,
        valid,
        judged,
        epochs: work.options.epochs.unwrap_or(EPOCHS),
    };
    work.finish(&course, &sides, tell)
}

impl Course for Telephone {
    fn network(&self) -> &dyn Network {
        &self.network
    }

    fn regime(&self) -> Regime {
        Regime {
            rule: Rule::AdamW { decay: DECAY },
            schedule: Schedule::OneCycle(OneCycle { highest: LEARNING_RATE, rising: RISING, epoch: 0 }),
            clip: Some(CLIP),
            average: Some(AVERAGE),
        }
    }

    fn identity(&self) -> String {
        let taught: String =
            self.teachers.found().iter().map(|teacher| format!(", taught by {}", &teacher.sha256[..12])).collect();
        let heard = if self.votes > 0.0 { format!(", {} by votes", self.votes) } else { String::new() };
        format!("width {}, a cycle of {} epochs{heard}{taught}", self.width, self.epochs)
    }

    fn epoch<'a>(&'a self, random: &mut ChaCha8Rng) -> Batches<'a> {
        let mut order: Vec<usize> = (0..self.train.used.len()).collect();
        order.shuffle(random);
        // The last clips, too few for a step, have their turn in another epoch.
        let steps: Vec<(Vec<usize>, u64)> =
            order.chunks_exact(BATCH.min(order.len())).map(|clips| (clips.to_vec(), random.random())).collect();
        Box::new(steps.into_iter().map(|(clips, seed)| self.batch(&clips, seed)))
    }

    fn validation(&self) -> Batches<'_> {
        Box::new(self.judged.iter().map(|draws| {
            let frames = draws.first().map_or(0, |draw| draw.frames.len());
            let window = |draw: &Draw| self.valid.window(draw, frames, &self.front_end, &self.standardization);
            let windows: Vec<Vec<f32>> = draws.par_iter().map(window).collect();
            let labels: Vec<usize> = draws.iter().map(|draw| self.valid.used[draw.clip].label).collect();
            let targets = labels.iter().flat_map(|&label| smoothed(label, LABELS.len(), SMOOTHING)).collect();
            Batch { windows: windows.concat(), labels, targets, frames }
        }))
    }

    fn sketch(&self) -> Sketch {
        Sketch {
            name: "telephone",
            description: "Six acted emotions in English telephone speech: log-mel frames at 8 kHz against the speaker's own baseline, \
                          through a small ConvNeXt",
            network: "strided 2-D stem → four 1-D ConvNeXt blocks → attentive statistics pooling → 6 logits",
            saw: "windows of 1 to 3 s, each heard against 0 to 8 other clips of its actor over the same line; played at 0.9, 1.0 and \
                  1.1 of the speed; clean, through G.711, over calls drawn for an actor (band limits, noise from 8 dB on, gain, packet \
                  loss), and, half of them, with level, background and its colour drawn for every clip",
            limits: "CREMA-D's angry clips are also its loudest over one constant background. Half of the training has level and \
                     background drawn anew so that they tell nothing; condition `flat` shows what is left of it.\n- An angry caller \
                     from the first word on has no calm baseline: what that costs stands above, as far as it was measured. A baseline \
                     of the speaker's own anger was not measured.",
            bandwidths: vec![Bandwidth::Telephone],
            conditions: CONDITIONS.to_vec(),
            windows: vec![Window::Whole, Window::Seconds(2.0), Window::Seconds(1.0)],
            teachers: self.teachers.found().to_vec(),
            wanted: Wanted { accuracy: 0.7, coverage: 0.7 },
            front_end: self.front_end.clone(),
            window: window(),
            standardization: self.standardization.clone(),
        }
    }
}

impl Telephone {
    /// The windows of one step; each comes from a generator of its own, so that they can be made side by side.
    fn batch(&self, clips: &[usize], seed: u64) -> Batch {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let rate = self.front_end.sample_rate_hz() as f32 / self.front_end.hop_samples() as f32;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a few hundred frames")]
        let frames = (random.random_range(SECONDS) * rate) as usize / GROW * GROW;
        let bands = self.front_end.values();
        let rows: Vec<Vec<f32>> = clips
            .par_iter()
            .enumerate()
            .map(|(row, &clip)| {
                let mut random = generator(seed, row as u64 + 1);
                let draw = self.train.draw(clip, frames, &mut random);
                let mut window = self.train.window(&draw, frames, &self.front_end, &self.standardization);
                windows::cover(&mut window, bands, &mut random);
                window
            })
            .collect();
        let labels: Vec<usize> = clips.iter().map(|&clip| self.train.used[clip].label).collect();
        let targets: Vec<Vec<f32>> = clips.iter().map(|&clip| target(&self.train.used[clip], self.votes)).collect();
        let part: f32 = Beta::new(MIXUP, MIXUP).expect("both are positive").sample(&mut random);
        let mut other: Vec<usize> = (0..rows.len()).collect();
        other.shuffle(&mut random);
        let mixed = |rows: &[Vec<f32>]| -> Vec<f32> {
            let pair = |(row, &other): (&Vec<f32>, &usize)| {
                row.iter().zip(&rows[other]).map(|(a, b)| part * a + (1.0 - part) * b).collect::<Vec<f32>>()
            };
            rows.par_iter().zip(&other).map(pair).collect::<Vec<_>>().concat()
        };
        let larger = |(&label, &other): (&usize, &usize)| if part >= 0.5 { label } else { labels[other] };
        let labels_mixed = labels.iter().zip(&other).map(larger).collect();
        let mut batch = Batch { windows: mixed(&rows), labels: labels_mixed, targets: mixed(&targets), frames };
        self.teachers.teach(&mut batch);
        batch
    }
}

/// What a clip's answer is held against: its label, smoothed, and for `part` of it what listeners heard in the clip, where that is known.
fn target(clip: &Used, part: f32) -> Vec<f32> {
    let label = smoothed(clip.label, LABELS.len(), SMOOTHING);
    let Some(votes) = tables::votes(&clip.name).filter(|_| part > 0.0) else { return label.collect() };
    let all = f32::from(votes.iter().sum::<u16>());
    label.zip(votes).map(|(label, votes)| (1.0 - part) * label + part * f32::from(votes) / all).collect()
}

/// The window it is served with.
fn window() -> WindowOptions {
    WindowOptions {
        frames: FRAMES,
        grow_frames: Some(GROW),
        min_seconds: 1.0,
        min_speech_ratio: 0.5,
        clear_after_seconds: 2.0,
    }
}

/// The served windows of the validation clips over µ-law, each heard after eight other clips of its actor, by length.
fn judged_windows(side: &Side, random: &mut ChaCha8Rng) -> Vec<Vec<Draw>> {
    let way = side.heard.way(Channel::Mulaw);
    let options = window();
    let mut draws = Vec::new();
    for clip in 0..side.used.len() {
        let before = side.others(clip, random);
        let there = side.len(way, clip);
        let taken = options.taken_frames(there);
        let ends = (taken..=there).step_by(STRIDE).filter(|_| taken > 0);
        draws.extend(ends.map(|end| Draw {
            way,
            clip,
            before: before.clone(),
            frames: end - taken..end,
            from_onset: true,
            at: 0,
        }));
    }
    draws.sort_by_key(|draw| std::cmp::Reverse(draw.frames.len()));
    draws
        .chunk_by(|one, other| one.frames.len() == other.frames.len())
        .flat_map(|alike| alike.chunks(VALID_BATCH).map(<[Draw]>::to_vec))
        .collect()
}

/// The deviation of each band over the training clips as they are, clamped below each clip's loudest band; the baseline is the mean.
fn deviations(side: &Side, front_end: &FrontEnd) -> Standardization {
    let FrontEnd::Logmel8k(options) = front_end else { unreachable!("the recipe's own front end") };
    let clamp = options.clamp_db * std::f32::consts::LN_10 / 10.0;
    let mut fit = Fit::new(front_end.values());
    for clip in &side.heard.frames[side.heard.way(Channel::Clean)] {
        let loudest = clip.bands().fold(f32::NEG_INFINITY, f32::max);
        let clamped: Vec<f32> = clip.bands().map(|band| band.max(loudest - clamp)).collect();
        fit.push(&clamped);
    }
    Standardization { mean: vec![0.0; front_end.values()], ..fit.finish() }
}
