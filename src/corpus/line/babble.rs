//! Other people talking at once: the noise of a full room, made of other clips.
//!
//! Around one actor it is always the same few who talk; where in what they say a clip begins is drawn for each. None of them is the
//! actor. Where a corpus has but one actor, their other clips must do.

use std::collections::BTreeMap;

use rand::{RngExt as _, seq::IndexedRandom as _};

use super::{TELEPHONE_HZ, active_level, narrow};
use crate::{
    audio::file,
    corpus::{Clip, seed::generator},
};

/// How many talk: from six on single words are not understood any more (Simpson and Cooke, 2005).
const TALKERS: usize = 6;

/// Clips kept of an actor: some ten seconds of speech.
const CLIPS_PER_ACTOR: usize = 4;

/// What is there to be heard in the background.
#[derive(Debug, Default)]
pub struct Babble {
    /// By actor: clips by name, at 8 kHz and active level 1.
    actors: BTreeMap<String, Vec<(String, Vec<f32>)>>,
}

impl Babble {
    /// Reads a few of `clips`, which all must be of one side of a split. What cannot be read, or is silent, is not heard.
    pub fn of(clips: &[&Clip], seed: u64) -> Self {
        let mut by_actor: BTreeMap<&str, Vec<&Clip>> = BTreeMap::new();
        for clip in clips {
            by_actor.entry(&clip.actor).or_default().push(clip);
        }
        let actors = by_actor.into_iter().map(|(actor, clips)| {
            let mut random = generator(seed, &["babble", actor]);
            let chosen = clips.sample(&mut random, CLIPS_PER_ACTOR);
            (actor.to_owned(), chosen.filter_map(|clip| Some((clip.name.clone(), talk(clip)?))).collect())
        });
        Self { actors: actors.collect() }
    }

    /// What is heard around a clip of `actor`: so many samples at 8 kHz, or `None` where nobody else is there.
    pub fn around(&self, actor: &str, clip: &str, samples: usize, seed: u64) -> Option<Vec<f32>> {
        let others = |(name, clips): &(&String, &Vec<(String, Vec<f32>)>)| name.as_str() != actor && !clips.is_empty();
        let mut talkers: Vec<Vec<&[f32]>> = self
            .actors
            .iter()
            .filter(others)
            .map(|(_, clips)| clips.iter().map(|(_, samples)| samples.as_slice()).collect())
            .collect();
        if talkers.is_empty() {
            let own = self.actors.get(actor)?.iter().filter(|(name, _)| name != clip);
            talkers = own.map(|(_, samples)| vec![samples.as_slice()]).collect();
        }
        let mut of_actor = generator(seed, &["talkers", actor]);
        let mut of_clip = generator(seed, &["talk", clip]);
        let mut heard = vec![0.0; samples];
        for said in talkers.sample(&mut of_actor, TALKERS) {
            let length: usize = said.iter().map(|samples| samples.len()).sum();
            let talk = said.iter().copied().flatten().cycle().skip(of_clip.random_range(0..length));
            for (sum, sample) in heard.iter_mut().zip(talk) {
                *sum += sample;
            }
        }
        (!talkers.is_empty()).then_some(heard)
    }
}

fn talk(clip: &Clip) -> Option<Vec<f32>> {
    let recording = file::read(&clip.path).ok()?;
    let rate_hz = recording.sample_rate_hz;
    let mut samples = narrow(&recording.into_mono(), rate_hz).ok()?;
    let level = active_level(&samples, TELEPHONE_HZ);
    samples.iter_mut().for_each(|sample| *sample /= level);
    samples.iter().any(|&sample| sample != 0.0).then_some(samples)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::corpus::Corpus;

    fn clips(actors: &[&str]) -> Vec<Clip> {
        let corpus = Corpus::open(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/crema-d")).unwrap();
        corpus.clips.into_iter().filter(|clip| actors.contains(&clip.actor.as_str())).collect()
    }

    fn babble(actors: &[&str]) -> Babble {
        let clips = clips(actors);
        Babble::of(&clips.iter().collect::<Vec<_>>(), 1)
    }

    #[test]
    fn around_an_actor_others_talk_and_every_clip_hears_another_moment() {
        let babble = babble(&["1002", "1015", "1066"]);
        let heard = babble.around("1002", "a", 8_000, 1).unwrap();
        assert!(active_level(&heard, TELEPHONE_HZ) > 0.5);
        assert_eq!(heard, babble.around("1002", "a", 8_000, 1).unwrap());
        assert_ne!(heard, babble.around("1002", "b", 8_000, 1).unwrap());
        assert_ne!(heard, babble.around("1002", "a", 8_000, 2).unwrap());
        // It does not depend on what the actor says.
        let without = self::babble(&["1015", "1066"]);
        assert_eq!(heard, without.around("1002", "a", 8_000, 1).unwrap());
    }

    #[test]
    fn a_single_actor_hears_their_other_clips_and_nobody_hears_nothing() {
        let clips = clips(&["1002"]);
        let two: Vec<&Clip> = clips.iter().take(2).collect();
        let babble = Babble::of(&two, 1);
        let heard = |clip: &Clip| babble.around("1002", &clip.name, 500_000, 1).unwrap();
        // Whole, over and over: what of one is not there is that of the other.
        let own = |clip: &Clip| talk(clip).unwrap();
        let peak = |samples: &[f32]| samples.iter().fold(0.0_f32, |peak, sample| peak.max(sample.abs()));
        assert!((peak(&heard(two[0])) - peak(&own(two[1]))).abs() < 1e-6);
        assert!((peak(&heard(two[1])) - peak(&own(two[0]))).abs() < 1e-6);
        let alone = Babble::of(&two[..1], 1);
        assert!(alone.around("1002", &two[0].name, 100, 1).is_none());
        assert!(Babble::default().around("1002", "a", 100, 1).is_none());
    }
}
