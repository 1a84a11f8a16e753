//! A voice that sings: a glottal pulse on the notes of a scale, with vibrato and glides between them, through the formants of vowels, with
//! consonants of noise in between.

use rand::RngExt as _;
use rand_chacha::ChaCha8Rng;

use super::{between, pick, samples_in, sine};

/// First to fourth formant of vowels, in Hz (Peterson and Barney 1952, men; the fourth is set).
const VOWELS: [[f32; 4]; 8] = [
    [730.0, 1_090.0, 2_440.0, 3_300.0],
    [530.0, 1_840.0, 2_480.0, 3_400.0],
    [270.0, 2_290.0, 3_010.0, 3_600.0],
    [570.0, 840.0, 2_410.0, 3_300.0],
    [300.0, 870.0, 2_240.0, 3_200.0],
    [660.0, 1_720.0, 2_410.0, 3_400.0],
    [490.0, 1_350.0, 1_690.0, 3_200.0],
    [440.0, 1_020.0, 2_240.0, 3_300.0],
];
/// Their bandwidths.
const BANDWIDTHS: [f32; 4] = [80.0, 100.0, 140.0, 220.0];
/// Semitones of major and minor.
const SCALES: [[i32; 7]; 2] = [[0, 2, 4, 5, 7, 9, 11], [0, 2, 3, 5, 7, 8, 10]];
/// Samples between changes of the formants.
const CONTROL_SAMPLES: usize = 32;

/// A resonance that can be moved.
#[derive(Default, Clone, Copy)]
struct Resonator {
    a: f32,
    b: f32,
    gain: f32,
    states: [f32; 2],
}

/// Seconds of a song without accompaniment.
pub fn song(seconds: f32, rate_hz: u32, random: &mut ChaCha8Rng) -> Vec<f32> {
    let rate = rate_hz as f32;
    let count = samples_in(seconds, rate_hz);
    let mut out = Vec::with_capacity(count);
    let root = between(random, 90.0, 330.0);
    let scale = pick(random, &SCALES);
    // A woman's mouth is shorter: her formants lie higher.
    let mouth = if root > 180.0 { between(random, 1.08, 1.25) } else { between(random, 0.92, 1.08) };
    let beat = 60.0 / between(random, 55.0, 130.0);
    let vibrato_hz = between(random, 4.5, 6.5);
    let depth = between(random, 0.002, 0.02);
    let (breath, glide) = (between(random, 0.005, 0.06), between(random, 10.0, 60.0));
    let mut resonators = [Resonator::default(); 4];
    let (mut step, mut hz, mut turns) = (random.random_range(0..7_usize), root, 0.0_f32);
    let mut formants = VOWELS[0].map(|formant| mouth * formant);
    let mut pulse = 0.0_f32;
    while out.len() < count {
        let length = beat * pick(random, &[0.5, 0.5, 1.0, 1.0, 2.0, 3.0]);
        let consonant = if random.random_bool(0.7) { between(random, 0.02, 0.1) } else { 0.0 };
        let rest = if random.random_bool(0.12) { length * 0.6 } else { 0.0 };
        step = (step + random.random_range(0..4)).saturating_sub(random.random_range(0..4)).min(9);
        let target = root * 2_f32.powf((scale[step % 7] + if step > 6 { 12 } else { 0 }) as f32 / 12.0);
        let vowel = pick(random, &VOWELS).map(|formant| mouth * formant);
        let notes = samples_in(length, rate_hz);
        for n in 0..notes {
            let t = n as f32 / rate;
            hz += (target - hz) * (glide / rate).min(1.0);
            let now = hz * (1.0 + depth * sine(vibrato_hz * t) * (t / 0.25).min(1.0));
            if n % CONTROL_SAMPLES == 0 {
                for ((formant, vowel), (resonator, bandwidth)) in
                    formants.iter_mut().zip(vowel).zip(resonators.iter_mut().zip(BANDWIDTHS))
                {
                    *formant += (vowel - *formant) * 0.15;
                    resonator.tune(*formant, bandwidth, rate);
                }
            }
            let before = turns;
            turns += now / rate;
            // A pulse lies between two samples; what falls on this one is the rest of the last and the beginning of the next.
            let mut source = std::mem::take(&mut pulse);
            if turns >= 1.0 {
                turns -= 1.0;
                let late = turns / (now / rate);
                source += late * 10.0;
                pulse = (1.0 - late) * 10.0;
            }
            let noise = between(random, -1.0, 1.0);
            let voiced = (((t - consonant) / 0.03).clamp(0.0, 1.0)) * ((length - rest - t) / 0.05).clamp(0.0, 1.0);
            let hiss = if t < consonant { 0.5 } else { 0.0 };
            let open = 0.5 + 0.5 * sine(before);
            let mut sound = voiced * (source + breath * 3.0 * noise * open) + hiss * noise;
            for resonator in &mut resonators {
                sound = resonator.step(sound);
            }
            out.push(sound);
        }
    }
    out.truncate(count);
    let loudest = out.iter().fold(0.0_f32, |loudest, sample| loudest.max(sample.abs()));
    out.iter_mut().for_each(|sample| *sample *= 0.9 / loudest.max(1e-6));
    out
}

impl Resonator {
    /// A resonance of gain 1 at 0 Hz (Klatt 1980).
    fn tune(&mut self, hz: f32, bandwidth: f32, rate: f32) {
        let radius = (-std::f32::consts::PI * bandwidth / rate).exp();
        self.b = -radius * radius;
        self.a = 2.0 * radius * (std::f32::consts::TAU * hz.min(0.47 * rate) / rate).cos();
        self.gain = 1.0 - self.a - self.b;
    }

    fn step(&mut self, input: f32) -> f32 {
        let output = self.gain * input + self.a * self.states[0] + self.b * self.states[1];
        self.states = [output, self.states[0]];
        output
    }
}
