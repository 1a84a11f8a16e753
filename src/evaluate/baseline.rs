//! What was heard of a speaker before the clip that is scored.

use clap::ValueEnum;
use rand::seq::SliceRandom as _;
use serde::Serialize;

use crate::corpus::{Clip, seed::generator, tables};

/// Clips heard before one that is not scored cold.
pub const HEARD_CLIPS: usize = 8;

/// The index of "neutral" in [`crate::corpus::LABELS`].
const NEUTRAL: usize = 4;

/// What was heard of the speaker before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Baseline {
    /// Nothing: a call's first words. What published scores compare with.
    Cold,
    /// Other clips of the same actor, whatever the emotion: the midst of a call.
    Warm,
    /// Other clips of the same actor in which nothing is played: a call that begins calmly.
    Neutral,
}

impl Baseline {
    /// "cold", "warm" or "neutral".
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Cold => "cold",
            Self::Warm => "warm",
            Self::Neutral => "neutral",
        }
    }

    /// Which of an actor's clips are heard before the one at `index`, in order: as many as `count`, or as there are. The first of
    /// them are the same however many are asked for.
    pub(super) fn choose(self, clips: &[&Clip], index: usize, count: usize, seed: u64) -> Vec<usize> {
        let fits = |other: &Clip| match self {
            Self::Cold => false,
            Self::Warm => true,
            Self::Neutral => other.label == NEUTRAL,
        };
        let mut others: Vec<usize> = (0..clips.len())
            .filter(|&other| other != index && fits(clips[other]))
            .filter(|&other| tables::problem(&clips[other].name) != Some(tables::Problem::Silent))
            .collect();
        others.shuffle(&mut generator(seed, &["heard before", &clips[index].name]));
        others.truncate(count);
        others
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::corpus::ClipName;

    fn clips() -> Vec<Clip> {
        let emotions = ["ANG", "DIS", "FEA", "HAP", "NEU", "SAD"];
        let sentences = ["DFA", "IOM", "ITH", "ITS", "IWL", "IWW"];
        let names = sentences.iter().flat_map(|sentence| emotions.iter().map(move |emotion| (sentence, emotion)));
        names
            .map(|(sentence, emotion)| {
                let name = format!("1076_{sentence}_{emotion}_XX");
                let ClipName { actor, label, level, .. } = ClipName::parse(&name).unwrap();
                Clip { path: name.clone().into(), name, actor, label, level: Some(level) }
            })
            .collect()
    }

    #[test]
    fn other_clips_are_heard_in_an_order_that_the_seed_and_the_clip_fix() {
        let all = clips();
        let all: Vec<&Clip> = all.iter().collect();
        assert!(Baseline::Cold.choose(&all, 3, HEARD_CLIPS, 0).is_empty());
        for baseline in [Baseline::Warm, Baseline::Neutral] {
            for index in 0..all.len() {
                let chosen = baseline.choose(&all, index, HEARD_CLIPS, 0);
                let expected =
                    if baseline == Baseline::Warm { 8 } else { 6 - usize::from(all[index].label == NEUTRAL) };
                assert_eq!(chosen.len(), expected);
                assert!(!chosen.contains(&index));
                assert!(baseline == Baseline::Warm || chosen.iter().all(|&other| all[other].label == NEUTRAL));
                assert_eq!(chosen[..2], baseline.choose(&all, index, 2, 0));
            }
        }
        let warm = |index, seed| Baseline::Warm.choose(&all, index, HEARD_CLIPS, seed);
        assert_eq!(warm(3, 0), warm(3, 0));
        assert_ne!(warm(3, 0), warm(3, 1));
        assert_ne!(warm(3, 0), warm(4, 0));
    }

    #[test]
    fn silence_is_not_heard() {
        let mut all = clips();
        all[0].name = "1076_MTI_SAD_XX".into();
        let all: Vec<&Clip> = all.iter().collect();
        assert!(!Baseline::Warm.choose(&all, 1, all.len(), 0).contains(&0));
    }
}
