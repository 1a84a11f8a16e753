//! Which windows an epoch learns from.
//!
//! `clip` is the thesis's: the whole clip, zeros behind it, cut at the window's length. `served` is what a service will ask of the
//! model: a window that begins at speech onset and holds between a second and all of what was heard. CREMA-D's clips last 2.5 s
//! and a call's window 7 s, so in half of the draws a clip is followed by others in which the same actor plays the same emotion on the
//! same line, until the window is full.

use std::{collections::HashMap, ops::Range};

use clap::ValueEnum;
use rand::{RngExt as _, seq::SliceRandom as _};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use super::hearing::{Hearing, Way};
use crate::{
    corpus::LABELS,
    features::{FrontEnd, Standardization, WindowOptions, assemble::assemble, normalize::Fit},
    train::network::{Batch, smoothed},
};

/// Part of each target that is spread over all labels: the thesis's label smoothing.
const SMOOTHING: f32 = 0.1;
/// How often a clip is followed by others.
const JOINED: f64 = 0.5;

/// How windows are cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Windows {
    /// As a service sees speech: from onset, of any length, calls longer than a clip included.
    Served,
    /// As the thesis: one whole clip, padded.
    Clip,
}

/// One clip as it was heard in one way.
#[derive(Debug)]
pub(in crate::train) struct Instance {
    /// Its actor, by its place in the list of all.
    pub(in crate::train) actor: usize,
    /// Its emotion.
    pub(in crate::train) label: usize,
    /// How it was heard, and what.
    pub(in crate::train) hearing: Hearing,
}

/// Frames of instances, one after another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::train) struct Cut {
    pub(in crate::train) label: usize,
    parts: Vec<(usize, Range<usize>)>,
}

/// Cuts windows of some actors' clips.
pub(in crate::train) struct Cutter<'a> {
    all: &'a [Instance],
    /// The instances that may be used.
    pub(in crate::train) instances: Vec<usize>,
    alike: HashMap<(usize, usize, Way), Vec<usize>>,
    windows: Windows,
    frames: usize,
    min_frames: usize,
}

#[cfg(test)]
impl Cut {
    /// Frames of one instance.
    pub(in crate::train) fn of(label: usize, instance: usize, frames: Range<usize>) -> Self {
        Self { label, parts: vec![(instance, frames)] }
    }
}

impl<'a> Cutter<'a> {
    /// Uses the clips of `actors` only.
    #[expect(clippy::cast_sign_loss, reason = "a window's options are validated")]
    pub(in crate::train) fn new(
        all: &'a [Instance],
        actors: &[usize],
        windows: Windows,
        front_end: &FrontEnd,
        options: &WindowOptions,
    ) -> Self {
        let ours = |instance: &Instance| actors.contains(&instance.actor);
        let instances: Vec<usize> =
            all.iter().enumerate().filter(|(_, one)| ours(one)).map(|(index, _)| index).collect();
        let mut alike: HashMap<_, Vec<usize>> = HashMap::new();
        for &index in &instances {
            alike.entry(key(&all[index])).or_default().push(index);
        }
        let rate = front_end.sample_rate_hz() as f32 / front_end.hop_samples() as f32;
        let min_frames = (options.min_seconds * rate).round() as usize;
        Self { all, instances, alike, windows, frames: options.frames, min_frames }
    }

    /// How many clips there are of each label.
    pub(in crate::train) fn counts(&self, labels: usize) -> Vec<usize> {
        let mut counts = vec![0; labels];
        for &index in &self.instances {
            counts[self.all[index].label] += 1;
        }
        counts
    }

    /// One window of every instance, in their own order.
    pub(in crate::train) fn draw(&self, random: &mut ChaCha8Rng) -> Vec<Cut> {
        self.instances.iter().map(|&index| self.cut(index, random)).collect()
    }

    /// One window of every instance, in random order.
    pub(in crate::train) fn shuffled(&self, random: &mut ChaCha8Rng) -> Vec<Cut> {
        let mut cuts = self.draw(random);
        cuts.shuffle(random);
        cuts
    }

    /// The means and deviations over the frames of these windows, padding included.
    pub(in crate::train) fn standardization(&self, cuts: &[Cut], values: usize) -> Standardization {
        let mut fit = Fit::new(values);
        for cuts in cuts.chunks(64) {
            let windows: Vec<_> = cuts.par_iter().map(|cut| self.assemble(cut, values)).collect();
            windows.iter().for_each(|window| fit.push(window));
        }
        fit.finish()
    }

    /// The windows, standardised.
    pub(in crate::train) fn batch(&self, cuts: &[Cut], standardization: &Standardization) -> Batch {
        let values = standardization.mean.len();
        let windows: Vec<Vec<f32>> = cuts
            .par_iter()
            .map(|cut| {
                let mut window = self.assemble(cut, values);
                standardization.apply(&mut window);
                window
            })
            .collect();
        let labels: Vec<usize> = cuts.iter().map(|cut| cut.label).collect();
        let targets = labels.iter().flat_map(|&label| smoothed(label, LABELS.len(), SMOOTHING)).collect();
        Batch { windows: windows.concat(), labels, targets, frames: self.frames }
    }

    fn cut(&self, index: usize, random: &mut ChaCha8Rng) -> Cut {
        let instance = &self.all[index];
        let label = instance.label;
        let all = instance.hearing.raw.frames();
        if self.windows == Windows::Clip {
            return Cut { label, parts: vec![(index, 0..all.min(self.frames))] };
        }
        let mut parts = vec![(index, onset(instance)..all)];
        let mut total = all - onset(instance);
        if random.random_bool(JOINED) {
            let alike = &self.alike[&key(instance)];
            while total < self.frames {
                let next = alike[random.random_range(0..alike.len())];
                let frames = self.all[next].hearing.raw.frames();
                parts.push((next, 0..frames));
                total += frames;
            }
        }
        // A window ends at a stride, wherever that falls, and holds the last frames before it.
        let end = random.random_range(self.min_frames.min(total)..=total);
        Cut { label, parts: slice(parts, end.saturating_sub(self.frames)..end) }
    }

    fn assemble(&self, cut: &Cut, values: usize) -> Vec<f32> {
        let frames = cut.parts.iter().flat_map(|(index, frames)| self.all[*index].hearing.raw.range(frames.clone()));
        let mut window = vec![0.0; self.frames * values];
        assemble(frames, &mut window);
        window
    }
}

fn key(instance: &Instance) -> (usize, usize, Way) {
    (instance.actor, instance.label, instance.hearing.way)
}

/// The first speech frame; the first frame where the gate hears none.
fn onset(instance: &Instance) -> usize {
    instance.hearing.raw.speech.iter().position(|&speech| speech).unwrap_or(0)
}

/// The frames `wanted` of all parts together.
fn slice(parts: Vec<(usize, Range<usize>)>, wanted: Range<usize>) -> Vec<(usize, Range<usize>)> {
    let mut before = 0;
    let mut kept = Vec::with_capacity(parts.len());
    for (index, frames) in parts {
        let len = frames.len();
        let from = wanted.start.saturating_sub(before).min(len);
        let to = wanted.end.saturating_sub(before).min(len);
        if from < to {
            kept.push((index, frames.start + from..frames.start + to));
        }
        before += len;
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_run_over_the_parts() {
        let parts = vec![(7, 3..10), (8, 0..5), (9, 0..4)];
        assert_eq!(slice(parts.clone(), 0..16), parts);
        assert_eq!(slice(parts.clone(), 2..9), [(7, 5..10), (8, 0..2)]);
        assert_eq!(slice(parts, 7..13), [(8, 0..5), (9, 0..1)]);
    }
}
