//! What stands between a mouth and a model in training: a line drawn for a whole call, or for one clip.
//!
//! | channel | what is drawn |
//! |---|---|
//! | `Clean` | nothing |
//! | `Mulaw` | nothing; G.711 |
//! | `Call` | once for all clips of an actor: band limits, colour and level of the noise, gain, law, packet loss |
//! | `Varied` | for every clip: its level, its noise and that noise's colour, in half of them its own background pulled down first; band limits and law for an actor |
//! | `Flat` | one level over one noise: for judging, never for training |
//!
//! In CREMA-D anger is 13 dB louder than what is neutral, over one background. `Varied` takes that away: neither level nor background
//! may tell an emotion. The parts are the corpus's own, resampling and G.711 the service's.

use rand::RngExt as _;
use rand_chacha::ChaCha8Rng;

use crate::{
    audio::Encoding,
    corpus::line::{self, TELEPHONE_HZ},
};

/// Samples of one block of the expander's envelope.
const BLOCK: usize = 200;

/// Which kind of line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Channel {
    Clean,
    Mulaw,
    Call,
    Varied,
    Flat,
}

/// One line as an actor's clips meet it.
#[derive(Debug, Clone)]
pub(super) struct Line {
    channel: Channel,
    law: Encoding,
    band: [Biquad; 2],
    /// Below the actor's usual level. dB.
    snr_db: f32,
    pole: f32,
    gain: f32,
    lost: f64,
}

/// A filter of second order (Bristow-Johnson's cookbook), Butterworth's.
#[derive(Debug, Clone, Copy)]
struct Biquad {
    forward: [f32; 3],
    back: [f32; 2],
}

impl Line {
    /// Draws the line of one actor.
    pub(super) fn draw(channel: Channel, random: &mut ChaCha8Rng) -> Self {
        let widest = if channel == Channel::Call { (150.0, 3_700.0) } else { (50.0, 3_900.0) };
        let band = [
            Biquad::high_pass(random.random_range(widest.0..320.0)),
            Biquad::low_pass(random.random_range(3_300.0..widest.1)),
        ];
        Self {
            channel,
            law: if random.random_bool(0.7) { Encoding::Mulaw } else { Encoding::Alaw },
            band,
            snr_db: random.random_range(8.0..35.0),
            pole: random.random_range(0.0..0.95),
            gain: line::factor(random.random_range(-12.0..6.0)),
            lost: if random.random_bool(0.3) { random.random_range(0.0..0.06) } else { 0.0 },
        }
    }

    /// What arrives of a clip at 8 kHz. `usual` is the actor's usual level; what is drawn for the clip comes from `random`.
    pub(super) fn carry(&self, mut samples: Vec<f32>, usual: f32, random: &mut ChaCha8Rng) -> Vec<f32> {
        match self.channel {
            Channel::Clean => samples,
            Channel::Mulaw => line::coded(Encoding::Mulaw, &samples),
            Channel::Call => {
                self.limit(&mut samples);
                let noise = line::coloured(samples.len(), self.pole, random);
                line::add_noise(&mut samples, &noise, usual, self.snr_db);
                samples.iter_mut().for_each(|sample| *sample *= self.gain);
                self.code(&samples, random)
            }
            Channel::Varied => {
                self.limit(&mut samples);
                let active = line::active_level(&samples, TELEPHONE_HZ);
                if random.random_bool(0.5) {
                    expand(&mut samples, random);
                }
                let target =
                    if random.random_bool(0.7) { line::factor(random.random_range(-38.0..-14.0)) } else { active };
                samples.iter_mut().for_each(|sample| *sample *= target / active);
                let noise = line::coloured(samples.len(), random.random_range(-0.3..0.97), random);
                line::add_noise(&mut samples, &noise, target, random.random_range(5.0..50.0));
                self.code(&samples, random)
            }
            Channel::Flat => {
                let target = line::factor(-26.0);
                let gain = target / line::active_level(&samples, TELEPHONE_HZ);
                samples.iter_mut().for_each(|sample| *sample *= gain);
                let noise = line::coloured(samples.len(), 0.0, random);
                line::add_noise(&mut samples, &noise, target, 20.0);
                line::coded(Encoding::Mulaw, &samples)
            }
        }
    }

    fn limit(&self, samples: &mut [f32]) {
        for filter in self.band {
            filter.run(samples);
        }
    }

    fn code(&self, samples: &[f32], random: &mut ChaCha8Rng) -> Vec<f32> {
        let mut heard = line::coded(self.law, samples);
        line::lose_packets(&mut heard, self.lost, random);
        heard
    }
}

impl Biquad {
    fn low_pass(hz: f32) -> Self {
        Self::new(hz, |cosine| [(1.0 - cosine) / 2.0, 1.0 - cosine, (1.0 - cosine) / 2.0])
    }

    fn high_pass(hz: f32) -> Self {
        Self::new(hz, |cosine| [(1.0 + cosine) / 2.0, -1.0 - cosine, (1.0 + cosine) / 2.0])
    }

    fn new(hz: f32, forward: impl Fn(f32) -> [f32; 3]) -> Self {
        let angle = std::f32::consts::TAU * hz / TELEPHONE_HZ as f32;
        // Butterworth's quality is 1 / √2.
        let alpha = angle.sin() * std::f32::consts::FRAC_1_SQRT_2;
        let whole = 1.0 + alpha;
        Self {
            forward: forward(angle.cos()).map(|value| value / whole),
            back: [-2.0 * angle.cos() / whole, (1.0 - alpha) / whole],
        }
    }

    fn run(self, samples: &mut [f32]) {
        let (mut first, mut second) = (0.0, 0.0);
        for sample in samples {
            let input = *sample;
            let output = self.forward[0] * input + first;
            first = self.forward[1] * input - self.back[0] * output + second;
            second = self.forward[2] * input - self.back[1] * output;
            *sample = output;
        }
    }
}

/// Pulls a clip's own background down, as a noise gate on a line does: what is near its quietest level, further.
fn expand(samples: &mut [f32], random: &mut ChaCha8Rng) {
    let (above, slope): (f32, f32) = (random.random_range(2.0..4.0), random.random_range(1.0..3.0));
    let levels: Vec<f32> = samples.chunks(BLOCK).map(|block| line::level(block) + 1e-7).collect();
    let mut sorted = levels.clone();
    sorted.sort_by(f32::total_cmp);
    let Some(&quiet) = sorted.get(sorted.len() / 20) else { return };
    let threshold = quiet * above;
    for (place, sample) in samples.iter_mut().enumerate() {
        // Between the middles of two blocks.
        let at = (place as f32 / BLOCK as f32 - 0.5).max(0.0);
        let block = place.saturating_sub(BLOCK / 2) / BLOCK;
        let (here, next) = (levels[block], levels[(block + 1).min(levels.len() - 1)]);
        let level = here + (next - here) * (at - block as f32).clamp(0.0, 1.0);
        *sample *= (level / threshold).min(1.0).powf(slope);
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng as _;

    use super::*;

    fn tone(hz: f32, gain: f32) -> Vec<f32> {
        (0..8_000).map(|n| gain * (std::f32::consts::TAU * hz * n as f32 / 8_000.0).sin()).collect()
    }

    #[test]
    fn a_line_is_deaf_beyond_its_band() {
        let through = |filter: Biquad, hz| {
            let mut samples = tone(hz, 0.5);
            filter.run(&mut samples);
            20.0 * (line::level(&samples[2_000..]) / line::level(&tone(hz, 0.5))).log10()
        };
        assert!(through(Biquad::high_pass(300.0), 50.0) < -25.0 && through(Biquad::high_pass(300.0), 1_000.0) > -0.5);
        assert!((through(Biquad::low_pass(3_300.0), 3_300.0) + 3.0).abs() < 0.3);
        assert!(through(Biquad::low_pass(3_300.0), 1_000.0) > -0.2);
    }

    #[test]
    fn a_varied_line_leaves_no_level_to_hear_the_emotion_by() {
        let mut random = ChaCha8Rng::seed_from_u64(2);
        let line = Line::draw(Channel::Varied, &mut random);
        let level = |gain, random: &mut ChaCha8Rng| {
            line::active_level(&line.carry(tone(800.0, gain), 0.1, random), TELEPHONE_HZ)
        };
        // 20 dB between two clips are not to be found again in most of the draws.
        let louder = (0..200).filter(|_| level(0.5, &mut random) > level(0.05, &mut random)).count();
        assert!((100..170).contains(&louder), "{louder}");
    }

    #[test]
    fn an_expander_leaves_what_is_loud_and_lowers_what_is_not() {
        let mut samples = tone(500.0, 0.5);
        samples.extend(tone(500.0, 0.005));
        expand(&mut samples, &mut ChaCha8Rng::seed_from_u64(3));
        assert!((line::level(&samples[1_000..7_000]) - 0.5 * std::f32::consts::FRAC_1_SQRT_2).abs() < 1e-3);
        assert!(line::level(&samples[9_000..15_000]) < 0.005 * 0.5);
    }
}
