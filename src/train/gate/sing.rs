//! Recorded words sung, or said anew: a clip's vocal tract (linear prediction, 20 ms at a time) driven by a pitch of ours.
//!
//! Sung words are what a gate takes for speech most easily, and few of them are at hand to learn from. Words said anew with a natural
//! fall of pitch keep it from telling song by the sound of the synthesis.

#![expect(clippy::cast_sign_loss, reason = "places in a song are never negative")]

use rand::RngExt as _;
use rand_chacha::ChaCha8Rng;

/// Of the prediction, for 8 kHz.
const ORDER: usize = 10;
/// Samples between changes of the tract: 10 ms.
const HOP: usize = 80;
/// Samples that are analysed: 20 ms.
const FRAME: usize = 160;
const RATE: f32 = 8_000.0;

/// How the words are to come out.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Manner {
    Sung,
    Said,
}

struct Tract {
    coefficients: [f32; ORDER],
    gain: f32,
    /// 0 for hiss, 1 for voice.
    voiced: f32,
}

/// The pitch of the voice as it goes.
struct Pitch {
    manner: Manner,
    root: f32,
    now: f32,
    target: f32,
    left: usize,
    vibrato: (f32, f32),
    step: i32,
    beat: usize,
}

/// The clip again; sung it is longer.
pub(super) fn again(clip: &[f32], manner: Manner, random: &mut ChaCha8Rng) -> Vec<f32> {
    let tracts: Vec<Tract> = clip.windows(FRAME).step_by(HOP).map(Tract::of).collect();
    let speed = match manner {
        Manner::Sung => random.random_range(0.35..0.9_f32),
        Manner::Said => random.random_range(0.85..1.15),
    };
    let mut pitch = Pitch::new(manner, random);
    let (mut out, mut past) = (Vec::new(), [0.0_f32; ORDER]);
    let (mut turns, mut place) = (0.0_f32, 0.0_f32);
    let breath = random.random_range(0.02..0.2_f32);
    while let Some(tract) = tracts.get(place as usize) {
        for _ in 0..HOP {
            turns += pitch.next(random) / RATE;
            let pulse = if turns >= 1.0 {
                turns -= 1.0;
                (RATE / pitch.now).sqrt()
            } else {
                0.0
            };
            let noise = random.random_range(-1.7..1.7_f32);
            let source = tract.voiced * (pulse + breath * noise) + (1.0 - tract.voiced) * noise;
            let heard: f32 = tract.coefficients.iter().zip(&past).map(|(a, y)| a * y).sum();
            let sample = (tract.gain * source + heard).clamp(-4.0, 4.0);
            past.copy_within(..ORDER - 1, 1);
            past[0] = sample;
            out.push(sample);
        }
        place += speed;
    }
    out
}

impl Tract {
    /// Autocorrelation and Levinson-Durbin.
    fn of(frame: &[f32]) -> Self {
        let windowed: Vec<f32> = (0_u16..)
            .zip(frame)
            .map(|(n, sample)| sample * (0.54 - 0.46 * (std::f32::consts::TAU * f32::from(n) / FRAME as f32).cos()))
            .collect();
        let lag = |k: usize| windowed.iter().zip(&windowed[k..]).map(|(a, b)| a * b).sum::<f32>();
        let correlations: [f32; ORDER + 1] = std::array::from_fn(lag);
        let mut error = correlations[0] * 1.000_1 + 1e-7;
        let mut a = [0.0_f32; ORDER];
        for order in 0..ORDER {
            let rest: f32 = (0..order).map(|k| a[k] * correlations[order - k]).sum();
            let reflection = (correlations[order + 1] - rest) / error;
            let before = a;
            a[order] = reflection;
            for k in 0..order {
                a[k] = before[k] - reflection * before[order - 1 - k];
            }
            error *= (1.0 - reflection * reflection).max(1e-4);
        }
        // Voices are strong at low frequencies: neighbouring samples are alike.
        let alike = correlations[1] / (correlations[0] + 1e-7);
        Self { coefficients: a, gain: (error / FRAME as f32).sqrt(), voiced: ((alike - 0.1) * 2.5).clamp(0.0, 1.0) }
    }
}

impl Pitch {
    fn new(manner: Manner, random: &mut ChaCha8Rng) -> Self {
        let root = random.random_range(90.0..300.0);
        Self {
            manner,
            root,
            now: root,
            target: root,
            left: 0,
            vibrato: (random.random_range(4.5..6.5), random.random_range(0.0..0.02)),
            step: random.random_range(0..5),
            beat: random.random_range(1_600..4_800),
        }
    }

    fn next(&mut self, random: &mut ChaCha8Rng) -> f32 {
        if self.left == 0 {
            match self.manner {
                Manner::Sung => {
                    self.step = (self.step + random.random_range(-2..3)).clamp(0, 7);
                    let semitones = [0, 2, 4, 5, 7, 9, 11, 12][self.step.unsigned_abs() as usize];
                    self.target = self.root * 2_f32.powf(semitones as f32 / 12.0);
                    self.left = self.beat * random.random_range(1..4);
                }
                Manner::Said => {
                    self.target = self.root * random.random_range(0.75..1.5);
                    self.left = random.random_range(800..3_200);
                }
            }
        }
        self.left -= 1;
        // A singer is on the note in 50 ms; who speaks never gets anywhere.
        let haste = if self.manner == Manner::Sung { 0.004 } else { 0.000_8 };
        self.now += (self.target - self.now) * haste;
        let (hz, depth) = self.vibrato;
        let t = self.left as f32 / RATE;
        match self.manner {
            Manner::Sung => self.now * (1.0 + depth * (std::f32::consts::TAU * hz * t).sin()),
            Manner::Said => self.now,
        }
    }
}
