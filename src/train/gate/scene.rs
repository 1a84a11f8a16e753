//! Twelve seconds of a telephone line, put together by chance: who speaks, what plays, what rings, over which noise, through which line.

#![expect(clippy::cast_sign_loss, reason = "places in a scene are never negative")]

use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use super::{
    fit::Scene,
    line,
    sing::{Manner, again},
    sources::{FRAME, RATE_HZ, Sources, Voice},
};
use crate::{
    audio::gate::measure::{self, BLOCK_SECONDS},
    corpus::sounds::{self, Noise, Tone},
};

/// Seconds of a scene: four times what the network remembers.
pub(super) const SECONDS: f32 = 12.0;

/// Music this far below its level is a pause.
const MUSIC_RANGE_DB: f32 = 35.0;

/// What a sample is, in the order of the network's classes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Speech = 0,
    Music = 1,
    Tone = 2,
    Other = 3,
}

/// A scene under way.
struct Draft<'a> {
    sources: &'a Sources,
    random: ChaCha8Rng,
    samples: Vec<f32>,
    /// By frame of 20 ms.
    kinds: Vec<Kind>,
    /// Where the next thing begins.
    at: usize,
    /// The level of what is spoken, in dBFS: one telephone, one distance.
    speech_dbfs: f32,
}

/// The scene that belongs to a number.
pub(super) fn scene(sources: &Sources, seed: u64, number: u64) -> Scene {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    random.set_stream(number);
    let speech_dbfs = random.random_range(-54.0..-12.0);
    let mut draft = Draft { sources, random, samples: Vec::new(), kinds: Vec::new(), at: 0, speech_dbfs };
    let wanted = samples_in(SECONDS);
    // Most scenes are of one kind with a change or two, as calls are.
    let mut turns = draft.random.random_range(0..4_u8);
    while draft.at < wanted {
        match turns {
            0 => draft.speak(),
            1 => draft.play(),
            2 if draft.random.random_bool(0.6) => draft.signal(),
            _ => draft.rest(),
        }
        turns = if draft.random.random_bool(0.45) { turns } else { draft.random.random_range(0..4) };
    }
    draft.samples.truncate(wanted);
    draft.kinds.truncate(wanted / FRAME);
    draft.background();
    let Draft { mut random, mut samples, kinds, .. } = draft;
    line::through(&mut samples, &kinds, &mut random);
    label(&samples, &kinds)
}

/// Measures the samples and labels every block with what most of it is.
fn label(samples: &[f32], kinds: &[Kind]) -> Scene {
    let values = measure::of(samples, RATE_HZ);
    let blocks = values.len() / measure::VALUES;
    let frames = BLOCK_SECONDS * f64::from(RATE_HZ) / FRAME as f64;
    let label = |block: usize| {
        let (from, to) = ((block as f64 * frames) as usize, ((block + 1) as f64 * frames).ceil() as usize);
        let mut counts = [0; 4];
        for &kind in &kinds[from.min(kinds.len() - 1)..to.min(kinds.len())] {
            counts[kind as usize] += 1;
        }
        // Of equals the first: speech that is only a part of a block is still speech.
        (0..4_u8).rev().max_by_key(|&class| counts[usize::from(class)]).unwrap_or(3)
    };
    Scene { labels: (0..blocks).map(label).collect(), values }
}

impl Draft<'_> {
    /// One person says one to four things.
    fn speak(&mut self) {
        let actor = &self.sources.voices[self.random.random_range(0..self.sources.voices.len())];
        let gain = 10_f32.powf(self.speech_dbfs / 20.0);
        // A clip's own level against the actor's others stays by half: raised voices are louder, telephones even that out.
        let usual = actor.iter().map(|voice| voice.level).sum::<f32>() / actor.len() as f32;
        let speed = self.random.random_range(0.85..1.18_f32);
        for _ in 0..self.random.random_range(1..5) {
            let voice = &actor[self.random.random_range(0..actor.len())];
            let gain = gain / (voice.level * usual).sqrt();
            let words = if self.random.random_bool(0.06) {
                again_like(voice, &mut self.random)
            } else {
                Some(faster(voice, speed))
            };
            if let Some((samples, speech)) = words {
                self.add(&samples, gain, |frame| if speech[frame] { Kind::Speech } else { Kind::Other });
            }
            let pause = if self.random.random_bool(0.7) { 0.0..0.4 } else { 0.4..1.6 };
            self.pause(pause);
        }
    }

    /// Music of a recording or by number, sometimes sung.
    fn play(&mut self) {
        let seconds = self.random.random_range(1.5..SECONDS);
        let dbfs = self.random.random_range(-38.0..-10.0);
        let mut samples = if self.random.random_bool(0.7) && !self.sources.music.is_empty() {
            self.excerpt(seconds)
        } else {
            sounds::music(seconds, RATE_HZ, &mut self.random)
        };
        sounds::set_level(&mut samples, dbfs);
        if self.random.random_bool(0.35) {
            let mut sung = self.sung(samples.len());
            let over = self.random.random_range(-6.0..12.0);
            sounds::set_level(&mut sung, dbfs + over);
            if self.random.random_bool(0.2) {
                samples = sung;
            } else {
                samples.iter_mut().zip(sung).for_each(|(sample, sung)| *sample += sung);
            }
        }
        self.fade(&mut samples);
        let least = 10_f32.powf((dbfs - MUSIC_RANGE_DB) / 10.0) * FRAME as f32;
        let heard: Vec<bool> = samples
            .chunks(FRAME)
            .map(|frame| frame.iter().map(|sample| sample * sample).sum::<f32>() > least)
            .collect();
        self.add(&samples, 1.0, |frame| if heard[frame] { Kind::Music } else { Kind::Other });
        self.gap();
    }

    fn excerpt(&mut self, seconds: f32) -> Vec<f32> {
        let group = &self.sources.music[self.random.random_range(0..self.sources.music.len())];
        let track = &group[self.random.random_range(0..group.len())];
        let wanted = samples_in(seconds);
        for _ in 0..8 {
            let start = self.random.random_range(0..track.len().saturating_sub(wanted).max(1));
            let part = &track[start..(start + wanted).min(track.len())];
            // The beginnings and ends of tracks may be silent; that is no music.
            if part.iter().any(|sample| sample.unsigned_abs() > 300) {
                return floats(part);
            }
        }
        sounds::music(seconds, RATE_HZ, &mut self.random)
    }

    fn sung(&mut self, count: usize) -> Vec<f32> {
        let seconds = count as f32 / RATE_HZ as f32;
        if self.random.random_bool(0.4) {
            return sounds::song(seconds, RATE_HZ, &mut self.random);
        }
        let actor = &self.sources.voices[self.random.random_range(0..self.sources.voices.len())];
        let mut out = Vec::new();
        while out.len() < count {
            let voice = &actor[self.random.random_range(0..actor.len())];
            out.extend(again(&floats(&voice.samples), Manner::Sung, &mut self.random));
        }
        out.truncate(count);
        out
    }

    fn signal(&mut self) {
        let kind = Tone::ALL[self.random.random_range(0..Tone::ALL.len())];
        let seconds = self.random.random_range(1.0..8.0);
        let mut samples = sounds::tone(kind, seconds, RATE_HZ, &mut self.random);
        let dbfs = self.random.random_range(-35.0..-8.0);
        let loudest = samples.iter().fold(0.0_f32, |loudest, sample| loudest.max(sample.abs())).max(1e-6);
        samples.iter_mut().for_each(|sample| *sample *= 10_f32.powf(dbfs / 20.0) / loudest);
        // Between the signals of a cadence nothing is heard.
        let loud: Vec<bool> =
            samples.chunks(FRAME).map(|frame| frame.iter().any(|sample| sample.abs() > 1e-4)).collect();
        self.add(&samples, 1.0, |frame| if loud[frame] { Kind::Tone } else { Kind::Other });
        self.gap();
    }

    /// Nobody does anything, or something rustles.
    fn rest(&mut self) {
        let seconds = self.random.random_range(0.3..6.0);
        let mut samples = self.noise(seconds);
        let dbfs = self.random.random_range(-70.0..-14.0);
        sounds::set_level(&mut samples, dbfs);
        if self.random.random_bool(0.3) {
            samples.fill(0.0);
        }
        self.fade(&mut samples);
        self.add(&samples, 1.0, |_| Kind::Other);
    }

    /// What is heard beneath everything: most often nearly nothing.
    fn background(&mut self) {
        if self.random.random_bool(0.2) {
            return;
        }
        let below = if self.random.random_bool(0.5) {
            self.random.random_range(25.0..50.0)
        } else {
            self.random.random_range(3.0..30.0)
        };
        let mut noise = self.noise(SECONDS);
        sounds::set_level(&mut noise, (self.speech_dbfs - below).max(-80.0));
        self.samples.iter_mut().zip(noise).for_each(|(sample, noise)| *sample += noise);
    }

    fn noise(&mut self, seconds: f32) -> Vec<f32> {
        let wanted = samples_in(seconds);
        match self.random.random_range(0..10_u8) {
            0..2 => self.babble(wanted),
            2 if !self.sources.noise.is_empty() => {
                let track = &self.sources.noise[self.random.random_range(0..self.sources.noise.len())];
                let start = self.random.random_range(0..track.len().saturating_sub(wanted).max(1));
                let part = floats(&track[start..(start + wanted).min(track.len())]);
                part.into_iter().cycle().take(wanted).collect()
            }
            _ => {
                let kind = Noise::ALL[self.random.random_range(0..Noise::ALL.len())];
                sounds::noise(kind, seconds, RATE_HZ, &mut self.random)
            }
        }
    }

    /// Many people at once, of whom none is understood.
    fn babble(&mut self, count: usize) -> Vec<f32> {
        let mut out = vec![0.0; count];
        for _ in 0..self.random.random_range(6..12) {
            let actor = &self.sources.voices[self.random.random_range(0..self.sources.voices.len())];
            let mut at = 0;
            while at < count {
                let voice = &actor[self.random.random_range(0..actor.len())];
                let gain = 0.1 / voice.level;
                out[at..]
                    .iter_mut()
                    .zip(&voice.samples)
                    .for_each(|(sample, &word)| *sample += gain * f32::from(word) / 32_768.0);
                at += voice.samples.len();
            }
        }
        out
    }

    fn add(&mut self, samples: &[f32], gain: f32, kind: impl Fn(usize) -> Kind) {
        let frames = samples.len() / FRAME;
        let end = self.at + frames * FRAME;
        self.samples.resize(end, 0.0);
        self.samples[self.at..].iter_mut().zip(samples).for_each(|(to, sample)| *to = gain * sample);
        self.kinds.extend((0..frames).map(kind));
        self.at = end;
    }

    fn pause(&mut self, seconds: std::ops::Range<f32>) {
        let seconds = self.random.random_range(seconds);
        self.add(&vec![0.0; samples_in(seconds)], 1.0, |_| Kind::Other);
    }

    fn gap(&mut self) {
        if self.random.random_bool(0.5) {
            self.pause(0.0..1.0);
        }
    }

    /// In and out, or cut off as a switch does.
    fn fade(&mut self, samples: &mut [f32]) {
        for backwards in [false, true] {
            let seconds = if self.random.random_bool(0.6) { 0.0 } else { self.random.random_range(0.01..0.5) };
            let count = samples_in(seconds).min(samples.len());
            for n in 0..count {
                let index = if backwards { samples.len() - 1 - n } else { n };
                samples[index] *= n as f32 / count as f32;
            }
        }
    }
}

/// A clip at another speed and pitch, and where it speaks.
fn faster(voice: &Voice, speed: f32) -> (Vec<f32>, Vec<bool>) {
    let last = voice.samples.len().saturating_sub(2);
    let samples: Vec<f32> = (0..)
        .map(|n| n as f32 * speed)
        .take_while(|&place| (place as usize) < last)
        .map(|place| {
            let (index, part) = (place as usize, place.fract());
            let (a, b) = (f32::from(voice.samples[index]), f32::from(voice.samples[index + 1]));
            (a + part * (b - a)) / 32_768.0
        })
        .collect();
    let speech = (0..samples.len() / FRAME)
        .map(|frame| voice.speech[((frame as f32 * speed) as usize).min(voice.speech.len() - 1)])
        .collect();
    (samples, speech)
}

/// A clip said anew, and where it speaks.
fn again_like(voice: &Voice, random: &mut ChaCha8Rng) -> Option<(Vec<f32>, Vec<bool>)> {
    let samples = again(&floats(&voice.samples), Manner::Said, random);
    #[expect(clippy::cast_possible_truncation, reason = "clamped to the range of i16")]
    let again =
        Voice::new(samples.iter().map(|sample| (sample * 32_767.0).clamp(-32_768.0, 32_767.0) as i16).collect())?;
    Some((samples, again.speech))
}

fn floats(samples: &[i16]) -> Vec<f32> {
    samples.iter().map(|&sample| f32::from(sample) / 32_768.0).collect()
}

fn samples_in(seconds: f32) -> usize {
    (seconds * RATE_HZ as f32) as usize / FRAME * FRAME
}
