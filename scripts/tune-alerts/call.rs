//! Twenty minutes of one actor on the telephone, of real clips.

use std::{collections::BTreeMap, path::Path};

use anyhow::Context as _;
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use sha2::{Digest as _, Sha256};
use undertone::{
    audio::{
        Encoding,
        codec::{self, Decoder},
        file, resample,
    },
    corpus::{Corpus, LABELS},
};

/// The telephone's rate.
pub(crate) const RATE_HZ: u32 = 8_000;
/// How long a call lasts.
pub(crate) const CALL_SECONDS: f64 = 1_200.0;
/// How long an angry stretch lasts, of whole clips.
const STRETCH_SECONDS: f64 = 20.0;
/// When the angry stretches begin, give or take [`JITTER_SECONDS`].
const ONSETS_SECONDS: [f64; 2] = [400.0, 800.0];
const JITTER_SECONDS: f64 = 60.0;
/// Between two clips of one turn, as between two sentences.
const PAUSE_SECONDS: (f64, f64) = (0.2, 0.8);
/// Clips of one turn, and how long the other party then speaks.
const TURN_CLIPS: (u32, u32) = (2, 6);
const OTHERS_TURN_SECONDS: (f64, f64) = (2.0, 8.0);
/// Root mean square of the line's noise: -60 dBFS, as on a quiet line.
const NOISE_RMS: f32 = 0.001;

/// What a call is put together of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mix {
    /// Neutral clips with two angry stretches.
    Angry,
    /// Neutral clips alone.
    Neutral,
    /// Neutral clips and those of another emotion half and half, clip by clip.
    Half(&'static str),
}

/// All mixes, with the names by which the table has them.
pub(crate) const MIXES: [(&str, Mix); 6] = [
    ("neutral, two angry stretches", Mix::Angry),
    ("neutral", Mix::Neutral),
    ("neutral and happy", Mix::Half("happy")),
    ("neutral and sad", Mix::Half("sad")),
    ("neutral and fear", Mix::Half("fear")),
    ("neutral and disgust", Mix::Half("disgust")),
];

/// The clips of one actor at the telephone's rate, by emotion.
pub(crate) struct Voice {
    clips: BTreeMap<&'static str, Vec<Vec<f32>>>,
}

/// A call as it arrives.
pub(crate) struct Call {
    pub(crate) samples: Vec<f32>,
    /// Where the angry stretches begin and end. Seconds.
    pub(crate) stretches: Vec<(f64, f64)>,
}

impl Voice {
    pub(crate) fn read(corpus: &Corpus, actor: &str) -> anyhow::Result<Self> {
        let mut clips: BTreeMap<&'static str, Vec<Vec<f32>>> = BTreeMap::new();
        for clip in corpus.clips.iter().filter(|clip| clip.actor == actor) {
            let samples = telephone(&clip.path)?;
            // One clip of the corpus is digital silence.
            if samples.iter().any(|&sample| sample != 0.0) {
                clips.entry(LABELS[clip.label]).or_default().push(samples);
            }
        }
        anyhow::ensure!(LABELS.iter().all(|label| clips.contains_key(label)), "actor {actor} lacks an emotion");
        Ok(Self { clips })
    }

    /// Puts a call together, the same for the same name.
    pub(crate) fn call(&self, mix: Mix, name: &str) -> Call {
        let hash = Sha256::digest(name);
        let mut random = ChaCha8Rng::seed_from_u64(u64::from_le_bytes(hash[..8].try_into().expect("8 bytes")));
        let onsets: Vec<f64> = match mix {
            Mix::Angry => ONSETS_SECONDS.map(|at| at + random.random_range(-JITTER_SECONDS..JITTER_SECONDS)).to_vec(),
            Mix::Neutral | Mix::Half(_) => Vec::new(),
        };
        let mut samples = silence(1.0);
        let mut stretches: Vec<(f64, f64)> = Vec::new();
        let mut turn = random.random_range(TURN_CLIPS.0..=TURN_CLIPS.1);
        while seconds(&samples) < CALL_SECONDS {
            let begins = onsets.get(stretches.len()).is_some_and(|&onset| seconds(&samples) >= onset);
            if begins {
                let begin = seconds(&samples);
                while seconds(&samples) < begin + STRETCH_SECONDS {
                    self.speak("angry", &mut samples, &mut random);
                }
                stretches.push((begin, seconds(&samples)));
            }
            let label = match mix {
                Mix::Half(other) if random.random_bool(0.5) => other,
                Mix::Angry | Mix::Neutral | Mix::Half(_) => "neutral",
            };
            self.speak(label, &mut samples, &mut random);
            turn -= 1;
            if turn == 0 {
                turn = random.random_range(TURN_CLIPS.0..=TURN_CLIPS.1);
                samples.extend(silence(random.random_range(OTHERS_TURN_SECONDS.0..OTHERS_TURN_SECONDS.1)));
            }
        }
        let noise = noise(&mut random);
        for (sample, noise) in samples.iter_mut().zip(noise.iter().cycle()) {
            *sample += noise;
        }
        Call { samples: over_the_line(&samples), stretches }
    }

    /// One clip, and a pause.
    fn speak(&self, label: &str, samples: &mut Vec<f32>, random: &mut ChaCha8Rng) {
        let clips = &self.clips[label];
        samples.extend_from_slice(&clips[random.random_range(0..clips.len())]);
        samples.extend(silence(random.random_range(PAUSE_SECONDS.0..PAUSE_SECONDS.1)));
    }
}

/// Ten seconds of the line's noise, to be repeated: a longer one sounds no different.
fn noise(random: &mut ChaCha8Rng) -> Vec<f32> {
    // Twelve uniform numbers make a normal one, near enough for noise: their variance is 12 · 1/12.
    let mut normal = || (0..12).map(|_| random.random::<f32>() - 0.5).sum::<f32>();
    (0..10 * RATE_HZ).map(|_| normal() * NOISE_RMS).collect()
}

fn telephone(path: &Path) -> anyhow::Result<Vec<f32>> {
    let recording = file::read(path)?;
    let rate_hz = recording.sample_rate_hz;
    resample::resample(&recording.into_mono(), rate_hz, RATE_HZ)
        .with_context(|| format!("cannot resample {}", path.display()))
}

/// What G.711 µ-law leaves of it.
fn over_the_line(samples: &[f32]) -> Vec<f32> {
    let mut bytes = Vec::with_capacity(samples.len());
    codec::encode(Encoding::Mulaw, samples, &mut bytes);
    let mut heard = [Vec::with_capacity(bytes.len())];
    Decoder::new(Encoding::Mulaw, 1).push(&bytes, &mut heard);
    let [heard] = heard;
    heard
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a few seconds, and positive")]
fn silence(seconds: f64) -> Vec<f32> {
    vec![0.0; (seconds * f64::from(RATE_HZ)) as usize]
}

fn seconds(samples: &[f32]) -> f64 {
    samples.len() as f64 / f64::from(RATE_HZ)
}
