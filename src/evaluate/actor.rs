//! Everything about the clips of one actor: the same line, the same noise, and what was heard of them before.

use std::ops::ControlFlow;

use super::{Baseline, Error, SEED, Setting, ear::Ear};
use crate::{
    audio::file,
    corpus::{Clip, Condition, Scene, line::Babble},
};

/// What stays the same over all actors.
pub(super) struct Plan<'a> {
    /// What is scored.
    pub(super) settings: &'a [Setting],
    /// Who else is to be heard.
    pub(super) babble: &'a Babble,
    /// Whether the gate decides what is speech.
    pub(super) gate: bool,
    /// Called once a clip and condition; says whether to go on.
    pub(super) progress: &'a (dyn Fn() -> ControlFlow<()> + Sync),
}

/// What was thought of one actor's clips.
#[derive(Debug, Default)]
pub(super) struct Thoughts {
    /// A row a clip that was heard, for each setting.
    pub(super) of_settings: Vec<Vec<Thought>>,
    /// Clips that cannot be read, and why.
    pub(super) left_out: Vec<String>,
}

/// What was thought of one clip.
#[derive(Debug)]
pub(super) struct Thought {
    /// Which of the actor's clips.
    pub(super) clip: usize,
    /// Calibrated probabilities, a row a window.
    pub(super) rows: Vec<Vec<f32>>,
    /// Strides at which nothing was scored.
    pub(super) unscored: usize,
    /// Clips that were heard before.
    pub(super) heard: usize,
}

/// Scores all `clips`, which are of one actor, under all settings.
pub(super) fn think<E: Ear>(ear: &mut E, clips: &[&Clip], plan: &Plan<'_>) -> Result<Thoughts, Error> {
    let mut thoughts = Thoughts { of_settings: plan.settings.iter().map(|_| Vec::new()).collect(), left_out: vec![] };
    let mut recordings: Vec<_> = clips
        .iter()
        .map(|clip| match file::read(&clip.path) {
            Ok(recording) => {
                let rate_hz = recording.sample_rate_hz;
                Some((recording.into_mono(), rate_hz))
            }
            Err(error) => {
                thoughts.left_out.push(error.to_string());
                None
            }
        })
        .collect();
    let mut conditions: Vec<Condition> = plan.settings.iter().map(|setting| setting.condition).collect();
    conditions.sort_unstable();
    conditions.dedup();
    for condition in conditions {
        let mut heard: Vec<Option<E::Heard>> = Vec::with_capacity(clips.len());
        for (clip, recording) in clips.iter().zip(&mut recordings) {
            if (plan.progress)().is_break() {
                return Err(Error::Stopped);
            }
            heard.push(match recording {
                None => None,
                Some((samples, rate_hz)) => {
                    let scene = Scene::of(clip, plan.babble, SEED);
                    let listened = condition
                        .apply(samples.clone(), *rate_hz, &scene)
                        .and_then(|(samples, rate_hz)| ear.listen(&samples, rate_hz, plan.gate));
                    match listened {
                        Ok(heard) => Some(heard),
                        Err(error) => {
                            thoughts.left_out.push(format!("{}: {error}", clip.path.display()));
                            // Under no condition, so that all are of the same clips.
                            *recording = None;
                            None
                        }
                    }
                }
            });
        }
        let settings = plan.settings.iter().zip(&mut thoughts.of_settings);
        for (setting, thoughts) in settings.filter(|(setting, _)| setting.condition == condition) {
            for (index, clip) in heard.iter().enumerate() {
                let Some(clip) = clip else { continue };
                let before = before(setting, clips, index, &heard);
                let judged = ear.judge(clip, &before, setting.window)?;
                thoughts.push(Thought {
                    clip: index,
                    rows: judged.rows,
                    unscored: judged.unscored,
                    heard: before.len(),
                });
            }
        }
    }
    Ok(thoughts)
}

/// What of the actor is heard before the clip at `index`, as far as it can be read.
fn before<'a, H>(setting: &Setting, clips: &[&Clip], index: usize, heard: &'a [Option<H>]) -> Vec<&'a H> {
    if setting.baseline == Baseline::Cold {
        return Vec::new();
    }
    let others = setting.baseline.choose(clips, index, clips.len(), SEED).into_iter();
    others.filter_map(|other| heard[other].as_ref()).take(setting.heard_clips).collect()
}
