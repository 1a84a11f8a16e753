//! How far the network leans from music to speech, chosen when it has learnt all else.
//!
//! Learning weighs a wrong block alike whatever comes of it; but a window is scored only where half of it is speech, so music must pass for speech
//! for a second and more to do harm, while each missed word counts. So music's logits lose as much as lets no more than a given multiple of the
//! music pass that passes anyway. All is judged by voices and music that were not learnt from.

use ndarray::Array2;
use rayon::prelude::*;
use serde::Serialize;

use super::{
    fit::{self, Scene},
    scene::Kind,
};
use crate::audio::gate::network::{CLASSES, LAGS, OUTPUTS, PARAMETERS};

/// Blocks of a second.
const SECOND: usize = 16;
/// How much more of music's seconds may pass for speech than with no lean. Relative, since scenes are put together to be hard, with songs of
/// recorded words: what part passes says little of what is played to who waits.
const MOST_MUSIC: f64 = 2.0;
/// What is tried: 0 to so many quarters.
const QUARTERS: u8 = 12;

/// What a lean does.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Lean {
    /// What every logit of music loses.
    pub lean: f32,
    /// Part of the blocks of speech that are taken for speech, by what is known when the second ends that they lie in.
    pub speech: f64,
    /// Part of the seconds of nothing but music of which half or more is taken for speech when they end.
    pub music: f64,
}

/// All that are tried, from the least on.
pub(super) fn tried(parameters: &[f32], scenes: &[Scene]) -> Vec<Lean> {
    let logits: Vec<Array2<f32>> = scenes.par_iter().map(|scene| fit::logits(parameters, scene)).collect();
    (0..=QUARTERS).map(|quarters| of(f32::from(quarters) / 4.0, scenes, &logits)).collect()
}

/// The largest that lets little enough music pass, of those from none on.
pub(super) fn chosen(tried: &[Lean]) -> f32 {
    let most = tried.first().map_or(0.0, |none| MOST_MUSIC * none.music);
    tried.iter().take_while(|lean| lean.music <= most).last().map_or(0.0, |lean| lean.lean)
}

/// Makes a network lean.
pub(super) fn apply(lean: f32, parameters: &mut [f32]) {
    for logits in parameters[PARAMETERS - OUTPUTS..].as_chunks_mut::<CLASSES>().0 {
        logits[Kind::Music as usize] -= lean;
    }
}

fn of(lean: f32, scenes: &[Scene], logits: &[Array2<f32>]) -> Lean {
    let (mut speech, mut heard, mut music, mut passed) = (0_u32, 0_u32, 0_u32, 0_u32);
    for (scene, logits) in scenes.iter().zip(logits) {
        for end in SECOND..=scene.blocks() {
            let labels = &scene.labels[end - SECOND..end];
            let taken: [bool; SECOND] =
                std::array::from_fn(|place| is_speech(lean, logits, end - SECOND + place, SECOND - 1 - place));
            for (label, taken) in labels.iter().zip(taken) {
                speech += u32::from(*label == Kind::Speech as u8);
                heard += u32::from(*label == Kind::Speech as u8 && taken);
            }
            if labels.iter().all(|label| *label == Kind::Music as u8) {
                music += 1;
                passed += u32::from(taken.iter().filter(|taken| **taken).count() * 2 >= SECOND);
            }
        }
    }
    let part = |some: u32, all: u32| f64::from(some) / f64::from(all.max(1));
    Lean { lean, speech: part(heard, speech), music: part(passed, music) }
}

/// Whether a block is taken for speech once so many more were heard: by the head that looks back furthest of those that have heard as much.
fn is_speech(lean: f32, logits: &Array2<f32>, block: usize, more: usize) -> bool {
    let head = LAGS.iter().rposition(|lag| *lag <= more).unwrap_or(0);
    let logit = |kind: Kind| logits[[block + LAGS[head], head * CLASSES + kind as usize]];
    let speech = logit(Kind::Speech);
    speech >= logit(Kind::Music) - lean && speech >= logit(Kind::Tone) && speech >= logit(Kind::Other)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A scene of one kind, and logits by which speech leads music by so much.
    fn second(label: Kind, lead: f32) -> (Scene, Array2<f32>) {
        let scene = Scene { values: Vec::new(), labels: vec![label as u8; SECOND] };
        let logits = Array2::from_shape_fn((SECOND, OUTPUTS), |(_, output)| match output % CLASSES {
            0 => lead,
            1 => 0.0,
            _ => -9.0,
        });
        (scene, logits)
    }

    #[test]
    fn the_lean_is_the_largest_that_no_more_than_doubles_the_music_that_passes() {
        let speech = [1.0, -0.8].map(|lead| second(Kind::Speech, lead));
        let music = [0.5, -0.9, -1.3].map(|lead| second(Kind::Music, lead));
        let (scenes, logits): (Vec<Scene>, Vec<Array2<f32>>) = speech.into_iter().chain(music).unzip();
        let tried: Vec<Lean> = [0.0, 1.0, 1.25, 1.5].map(|lean| of(lean, &scenes, &logits)).to_vec();
        assert_eq!(tried.iter().map(|lean| lean.speech).collect::<Vec<_>>(), [0.5, 1.0, 1.0, 1.0]);
        assert_eq!(tried.iter().map(|lean| lean.music).collect::<Vec<_>>(), [1.0, 2.0, 2.0, 3.0].map(|n| n / 3.0));
        assert_eq!(chosen(&tried), 1.25);
        assert_eq!(chosen(&tried[..1]), 0.0);
    }

    #[test]
    fn a_lean_is_taken_from_all_heads_logits_of_music_and_no_others() {
        let mut parameters = vec![1.0; PARAMETERS];
        apply(0.75, &mut parameters);
        assert!(parameters[..PARAMETERS - OUTPUTS].iter().all(|number| *number == 1.0));
        assert_eq!(parameters[PARAMETERS - OUTPUTS..], [1.0, 0.25, 1.0, 1.0].repeat(LAGS.len()));
    }
}
