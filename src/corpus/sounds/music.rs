//! Music by number: a tempo, a key, chords in a row, a bass, a melody with vibrato, an arpeggio, drums. Instruments are drawn anew each
//! time, and so is which of them play, from one held pad to a whole band.

use rand::RngExt as _;
use rand_chacha::ChaCha8Rng;

use super::{between, pick, samples_in, sine};

/// Semitones of the scales that melodies walk on: major, minor, pentatonic, blues.
const SCALES: [&[i32]; 4] = [&[0, 2, 4, 5, 7, 9, 11], &[0, 2, 3, 5, 7, 8, 10], &[0, 2, 4, 7, 9], &[0, 3, 5, 6, 7, 10]];
/// Steps of the scale that chords stand on, bar by bar.
const PROGRESSIONS: [[usize; 4]; 5] = [[0, 4, 5, 3], [0, 3, 4, 0], [0, 5, 3, 4], [1, 4, 0, 0], [0, 0, 3, 3]];
/// Partials an instrument has at most.
const PARTIALS: usize = 10;

/// How one instrument sounds.
struct Instrument {
    partials: [f32; PARTIALS],
    attack_seconds: f32,
    /// Decay a second, in powers of e; 0 holds the note.
    decay: f32,
    vibrato_hz: f32,
    /// In parts of the frequency.
    vibrato_depth: f32,
    loudness: f32,
}

/// A note to be played.
struct Note {
    at_seconds: f32,
    seconds: f32,
    hz: f32,
}

/// The band and what it plays on.
struct Piece {
    beat_seconds: f32,
    root_hz: f32,
    scale: &'static [i32],
    progression: [usize; 4],
    rate_hz: u32,
}

/// Seconds of a piece.
pub fn music(seconds: f32, rate_hz: u32, random: &mut ChaCha8Rng) -> Vec<f32> {
    let piece = Piece {
        beat_seconds: 60.0 / between(random, 55.0, 170.0),
        root_hz: between(random, 65.0, 140.0),
        scale: pick(random, &SCALES),
        progression: pick(random, &PROGRESSIONS),
        rate_hz,
    };
    let mut out = vec![0.0; samples_in(seconds, rate_hz)];
    let parts: [bool; 5] = std::array::from_fn(|_| random.random_bool(0.55));
    if parts[0] || !parts[1..4].contains(&true) {
        piece.chords(seconds, &mut out, random);
    }
    if parts[1] {
        piece.line(seconds, 1.0, &[1.0, 0.5], &mut out, random);
    }
    if parts[2] {
        piece.line(seconds, pick(random, &[4.0, 8.0]), &[0.5, 1.0, 1.0, 2.0, 3.0], &mut out, random);
    }
    if parts[3] {
        piece.line(seconds, pick(random, &[2.0, 4.0]), &[0.25, 0.5], &mut out, random);
    }
    if parts[4] {
        piece.drums(seconds, &mut out, random);
    }
    out
}

impl Piece {
    /// The frequency of a step of the scale, which may lie octaves up.
    fn hz(&self, step: usize) -> f32 {
        let octave = i32::try_from(step / self.scale.len()).expect("few octaves");
        let semitones = self.scale[step % self.scale.len()] + 12 * octave;
        self.root_hz * 2_f32.powf(semitones as f32 / 12.0)
    }

    /// Chords of three notes, one a bar.
    fn chords(&self, seconds: f32, out: &mut [f32], random: &mut ChaCha8Rng) {
        let instrument = Instrument::new(true, random);
        let bar = 4.0 * self.beat_seconds;
        let octave = pick(random, &[1, 2]) * self.scale.len();
        let (mut at_seconds, mut number) = (0.0, random.random_range(0..4));
        while at_seconds < seconds {
            let root = self.progression[number % 4] + octave;
            for step in [root, root + 2, root + 4] {
                instrument.play(&Note { at_seconds, seconds: bar, hz: self.hz(step) }, self.rate_hz, out);
            }
            at_seconds += bar;
            number += 1;
        }
    }

    /// One note after the other, some left out; `beats` are the lengths to draw from.
    fn line(&self, seconds: f32, octaves: f32, beats: &[f32], out: &mut [f32], random: &mut ChaCha8Rng) {
        let instrument = Instrument::new(false, random);
        let mut step = random.random_range(0..self.scale.len());
        let rests = between(random, 0.0, 0.35);
        let mut at_seconds = 0.0;
        while at_seconds < seconds {
            let length = pick(random, beats) * self.beat_seconds;
            if !random.random_bool(f64::from(rests)) {
                let hz = octaves * self.hz(step);
                instrument.play(&Note { at_seconds, seconds: length * 0.95, hz }, self.rate_hz, out);
            }
            step = (step + pick(random, &[0, 1, 1, 2, 4])).saturating_sub(pick(random, &[0, 1, 2, 3])).min(13);
            at_seconds += length;
        }
    }

    fn drums(&self, seconds: f32, out: &mut [f32], random: &mut ChaCha8Rng) {
        let rate = self.rate_hz as f32;
        let loudness = between(random, 0.1, 0.6);
        let busy = between(random, 0.2, 0.9);
        let (mut at_seconds, mut eighth) = (0.0, 0);
        while at_seconds < seconds {
            let kick = eighth % 4 == 0;
            let snare = eighth % 4 == 2;
            if kick || snare || random.random_bool(f64::from(busy)) {
                let (length, noisy) = if kick {
                    (0.15, 0.1)
                } else if snare {
                    (0.15, 0.8)
                } else {
                    (0.04, 1.0)
                };
                let start = samples_in(at_seconds, self.rate_hz).min(out.len());
                let count = samples_in(length, self.rate_hz);
                for (n, sample) in out[start..].iter_mut().take(count).enumerate() {
                    let t = n as f32 / rate;
                    let body = sine((if kick { 55.0 } else { 180.0 }) * t + 1.5 * (1.0 - (-30.0 * t).exp()));
                    let hiss = between(random, -1.0, 1.0);
                    *sample += loudness * (-t * 4.0 / length).exp() * ((1.0 - noisy) * body + noisy * hiss);
                }
            }
            at_seconds += self.beat_seconds / 2.0;
            eighth += 1;
        }
    }
}

impl Instrument {
    fn new(holds: bool, random: &mut ChaCha8Rng) -> Self {
        // From a flute, whose partials die fast, to a saw; some have only the odd ones.
        let slope = between(random, 0.6, 3.0);
        let odd = random.random_bool(0.25);
        let partials = std::array::from_fn(|index| {
            let number = index as f32 + 1.0;
            if odd && index % 2 == 1 { 0.0 } else { number.powf(-slope) * between(random, 0.5, 1.0) }
        });
        let decays = if holds { random.random_bool(0.4) } else { random.random_bool(0.6) };
        Self {
            partials,
            attack_seconds: if decays { 0.005 } else { between(random, 0.01, 0.2) },
            decay: if decays { between(random, 1.0, 8.0) } else { 0.0 },
            vibrato_hz: between(random, 4.0, 7.0),
            vibrato_depth: if random.random_bool(0.4) { between(random, 0.002, 0.015) } else { 0.0 },
            loudness: between(random, 0.05, 0.3),
        }
    }

    fn play(&self, note: &Note, rate_hz: u32, out: &mut [f32]) {
        let rate = rate_hz as f32;
        let start = samples_in(note.at_seconds, rate_hz).min(out.len());
        let count = samples_in(note.seconds, rate_hz);
        let release = (0.03 * rate).min(count as f32);
        let most = self.partials.iter().zip(1_u8..).filter(|(_, number)| f32::from(*number) * note.hz < 0.45 * rate);
        let partials: Vec<f32> = most.map(|(strength, _)| *strength).collect();
        let mut turns = 0.0_f32;
        for (n, sample) in out[start..].iter_mut().take(count).enumerate() {
            let t = n as f32 / rate;
            let vibrato = 1.0 + self.vibrato_depth * sine(self.vibrato_hz * t) * (t / 0.3).min(1.0);
            turns = (turns + note.hz * vibrato / rate).fract();
            let swell = (t / self.attack_seconds).min(1.0) * ((count - n) as f32 / release).min(1.0);
            let wave: f32 =
                partials.iter().zip(1_u8..).map(|(strength, k)| strength * sine(f32::from(k) * turns)).sum();
            *sample += self.loudness * swell * (-self.decay * t).exp() * wave;
        }
    }
}
