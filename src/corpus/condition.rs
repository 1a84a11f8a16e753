//! What a line does to a recording before anyone hears it, by the same code that serves calls.
//!
//! | condition | what arrives |
//! |---|---|
//! | `wide` | the recording |
//! | `8k` | sampled at 8 kHz |
//! | `mulaw`, `alaw` | `8k`, through G.711 |
//! | `loss5` | `mulaw` in packets of 20 ms, 5 % of which are lost and filled with zeros |
//! | `noise20`, `noise10` | `8k` with noise so many dB below the clip's active level, then µ-law. The noise is pink and of other voices, both as loud |
//! | `flat` | `8k` brought to an active level of -26 dBov, with white noise 20 dB below, then µ-law: neither level nor background tells anything |
//!
//! All that is drawn comes from the [`Scene`]: who talks in the background stays the same over an actor's clips, as in one call.

use clap::ValueEnum;
use serde::Serialize;

use super::{
    Clip,
    line::{self, Babble, TELEPHONE_HZ},
    seed::generator,
};
use crate::audio::{Encoding, resample};

/// Part of the packets that `loss5` loses.
const LOST: f64 = 0.05;
/// The active level that `flat` brings every clip to, ITU-T P.56's nominal level. dBov.
const FLAT_DBOV: f32 = -26.0;
/// How far `flat` puts its noise below. dB.
const FLAT_SNR_DB: f32 = 20.0;

/// A line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Condition {
    /// The recording as it is.
    Wide,
    /// Sampled at 8 kHz.
    #[value(name = "8k")]
    #[serde(rename = "8k")]
    Narrow,
    /// Sampled at 8 kHz, G.711 µ-law.
    Mulaw,
    /// Sampled at 8 kHz, G.711 A-law.
    Alaw,
    /// µ-law, 5 % of the packets lost.
    Loss5,
    /// Noise 20 dB below the voice, then µ-law.
    Noise20,
    /// Noise 10 dB below the voice, then µ-law.
    Noise10,
    /// Every clip at one level over one noise, then µ-law.
    Flat,
}

/// In which clip of whom, and what is around: all that is drawn depends on it and on nothing else.
#[derive(Debug, Clone, Copy)]
pub struct Scene<'a> {
    /// Of everything drawn.
    pub seed: u64,
    /// Who speaks.
    pub actor: &'a str,
    /// In which clip.
    pub clip: &'a str,
    /// Who else is there: asked by `noise20` and `noise10` only. Without anyone the noise is pink alone.
    pub babble: &'a Babble,
}

impl Condition {
    /// "wide", "8k", "mulaw" and so on.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Wide => "wide",
            Self::Narrow => "8k",
            Self::Mulaw => "mulaw",
            Self::Alaw => "alaw",
            Self::Loss5 => "loss5",
            Self::Noise20 => "noise20",
            Self::Noise10 => "noise10",
            Self::Flat => "flat",
        }
    }

    /// Whether it asks for a [`Babble`].
    pub fn has_babble(self) -> bool {
        matches!(self, Self::Noise20 | Self::Noise10)
    }

    /// What arrives of `samples` at `rate_hz`, and at which rate.
    ///
    /// # Errors
    /// A rate that is not supported.
    pub fn apply(self, samples: Vec<f32>, rate_hz: u32, scene: &Scene<'_>) -> Result<(Vec<f32>, u32), resample::Error> {
        if self == Self::Wide {
            return Ok((samples, rate_hz));
        }
        let mut heard = line::narrow(&samples, rate_hz)?;
        match self {
            Self::Wide | Self::Narrow => return Ok((heard, TELEPHONE_HZ)),
            Self::Mulaw | Self::Loss5 => {}
            Self::Alaw => return Ok((line::coded(Encoding::Alaw, &heard), TELEPHONE_HZ)),
            Self::Noise20 => add_call_noise(&mut heard, scene, 20.0),
            Self::Noise10 => add_call_noise(&mut heard, scene, 10.0),
            Self::Flat => flatten(&mut heard, scene),
        }
        let mut heard = line::coded(Encoding::Mulaw, &heard);
        if self == Self::Loss5 {
            line::lose_packets(&mut heard, LOST, &mut scene.generator("loss"));
        }
        Ok((heard, TELEPHONE_HZ))
    }
}

impl<'a> Scene<'a> {
    /// A clip's own.
    pub fn of(clip: &'a Clip, babble: &'a Babble, seed: u64) -> Self {
        Self { seed, actor: &clip.actor, clip: &clip.name, babble }
    }

    fn generator(&self, purpose: &str) -> rand_chacha::ChaCha8Rng {
        generator(self.seed, &[purpose, self.actor, self.clip])
    }
}

/// Adds pink noise and babble, both as loud, together `snr_db` below the clip's active level.
fn add_call_noise(samples: &mut [f32], scene: &Scene<'_>, snr_db: f32) {
    let mut noise = line::pink(samples.len(), &mut scene.generator("pink"));
    if let Some(babble) = scene.babble.around(scene.actor, scene.clip, samples.len(), scene.seed) {
        line::add_noise(&mut noise, &babble, 1.0, 0.0);
    }
    let active = line::active_level(samples, TELEPHONE_HZ);
    line::add_noise(samples, &noise, active, snr_db);
}

/// Brings the clip to one active level and puts white noise below.
fn flatten(samples: &mut [f32], scene: &Scene<'_>) {
    let target = line::factor(FLAT_DBOV);
    let gain = target / line::active_level(samples, TELEPHONE_HZ);
    samples.iter_mut().for_each(|sample| *sample *= gain);
    let noise = line::coloured(samples.len(), 0.0, &mut scene.generator("flat"));
    line::add_noise(samples, &noise, target, FLAT_SNR_DB);
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::{audio::file, corpus::Corpus};

    fn corpus() -> Corpus {
        Corpus::open(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/crema-d")).unwrap()
    }

    fn heard(condition: Condition, clip: &Clip, babble: &Babble) -> Vec<f32> {
        let recording = file::read(&clip.path).unwrap();
        let hz = recording.sample_rate_hz;
        condition.apply(recording.into_mono(), hz, &Scene::of(clip, babble, 0)).unwrap().0
    }

    fn through(condition: Condition, samples: Vec<f32>) -> (Vec<f32>, u32) {
        let babble = Babble::default();
        condition.apply(samples, 16_000, &Scene { seed: 0, actor: "a", clip: "b", babble: &babble }).unwrap()
    }

    fn tone(hz: f32) -> Vec<f32> {
        (0..16_000).map(|index| 0.5 * (std::f32::consts::TAU * hz * index as f32 / 16_000.0).sin()).collect()
    }

    fn difference(a: &[f32], b: &[f32]) -> Vec<f32> {
        assert_eq!(a.len(), b.len());
        a.iter().zip(b).map(|(a, b)| a - b).collect()
    }

    fn db(ratio: f32) -> f32 {
        20.0 * ratio.log10()
    }

    #[test]
    fn a_telephone_carries_voices_and_nothing_above_4_khz() {
        for condition in [Condition::Narrow, Condition::Mulaw, Condition::Alaw] {
            let (low, rate_hz) = through(condition, tone(1_000.0));
            let (high, _) = through(condition, tone(6_000.0));
            assert_eq!((low.len(), rate_hz), (8_000, TELEPHONE_HZ));
            assert!((line::level(&low).powi(2) - 0.125).abs() < 0.005, "{condition:?}");
            assert!(line::level(&high) < 0.01, "{condition:?}");
        }
    }

    #[test]
    fn laws_leave_a_sample_within_their_steps_and_wide_leaves_all() {
        let (plain, _) = through(Condition::Narrow, tone(440.0));
        let (coded, _) = through(Condition::Mulaw, tone(440.0));
        let widest = difference(&plain, &coded).iter().fold(0.0_f32, |widest, step| widest.max(step.abs()));
        // The widest steps, those of the topmost segment, are 1/32 wide: a sample lies within half of one.
        assert!(widest > 1e-4 && widest < 1.0 / 64.0 + 1e-4, "{widest}");
        assert_eq!(through(Condition::Wide, tone(440.0)), (tone(440.0), 16_000));
    }

    #[test]
    fn five_of_a_hundred_packets_are_lost_and_the_others_are_as_sent() {
        let (mut packets, mut lost) = (0, 0);
        let none = Babble::default();
        for clip in &corpus().clips {
            let (sent, arrived) = (heard(Condition::Mulaw, clip, &none), heard(Condition::Loss5, clip, &none));
            for (sent, arrived) in sent.chunks(line::PACKET_SAMPLES).zip(arrived.chunks(line::PACKET_SAMPLES)) {
                packets += 1;
                if arrived.iter().all(|&sample| sample == 0.0) {
                    lost += 1;
                } else {
                    assert_eq!(sent, arrived);
                }
            }
        }
        // Eighteen clips of two seconds; a few packets are silent as they are.
        assert!(
            packets > 1_500 && (0.03..0.07).contains(&(f64::from(lost) / f64::from(packets))),
            "{lost} of {packets}"
        );
    }

    #[test]
    fn noise_lies_as_far_below_the_voice_as_its_name_says() {
        let corpus = corpus();
        let babble = Babble::of(&corpus.clips.iter().collect::<Vec<_>>(), 0);
        for (condition, snr_db) in [(Condition::Noise20, 20.0), (Condition::Noise10, 10.0)] {
            for clip in &corpus.clips {
                let clean = heard(Condition::Narrow, clip, &babble);
                let noise = difference(&heard(condition, clip, &babble), &clean);
                let measured = db(line::active_level(&clean, TELEPHONE_HZ) / line::level(&noise));
                // µ-law's own noise, 38 dB below what it codes, is in the difference as well.
                assert!((measured - snr_db).abs() < 0.5, "{}: {measured} dB", clip.name);
                assert_ne!(noise, difference(&heard(condition, clip, &Babble::default()), &clean), "without voices");
            }
        }
    }

    #[test]
    fn flat_brings_every_clip_to_one_level_over_one_noise() {
        let none = Babble::default();
        for clip in &corpus().clips {
            let clean = heard(Condition::Narrow, clip, &none);
            let flat = heard(Condition::Flat, clip, &none);
            let active = line::active_level(&flat, TELEPHONE_HZ);
            assert!((db(active) + 26.0).abs() < 0.7, "{}: {} dBov", clip.name, db(active));
            let gain = line::factor(-26.0) / line::active_level(&clean, TELEPHONE_HZ);
            let noise: Vec<f32> = flat.iter().zip(&clean).map(|(flat, clean)| flat - gain * clean).collect();
            let snr = -26.0 - db(line::level(&noise));
            assert!((snr - 20.0).abs() < 0.7, "{}: {snr} dB", clip.name);
        }
    }

    #[test]
    fn silence_stays_free_of_nonsense() {
        for condition in Condition::value_variants() {
            let (samples, _) = through(*condition, vec![0.0; 16_000]);
            assert!(samples.iter().all(|sample| sample.is_finite() && sample.abs() <= 1.0), "{condition:?}");
        }
    }

    #[test]
    fn the_same_seed_gives_the_same_and_another_does_not() {
        let corpus = corpus();
        let babble = Babble::of(&corpus.clips.iter().collect::<Vec<_>>(), 0);
        let clip = &corpus.clips[0];
        let recording = file::read(&clip.path).unwrap();
        let (hz, samples) = (recording.sample_rate_hz, recording.into_mono());
        for condition in [Condition::Loss5, Condition::Noise20, Condition::Noise10, Condition::Flat] {
            let of = |scene: &Scene<'_>| condition.apply(samples.clone(), hz, scene).unwrap();
            let first = Scene::of(clip, &babble, 0);
            assert_eq!(of(&first), of(&first));
            assert_ne!(of(&first), of(&Scene { seed: 1, ..first }), "{condition:?}");
            assert_ne!(of(&first), of(&Scene { clip: "another", ..first }), "{condition:?}");
        }
    }

    #[test]
    fn names_are_those_of_the_command_line() {
        for condition in Condition::value_variants() {
            assert_eq!(condition.to_possible_value().unwrap().get_name(), condition.as_str());
            assert_eq!(serde_json::to_value(condition).unwrap(), condition.as_str());
        }
    }
}
