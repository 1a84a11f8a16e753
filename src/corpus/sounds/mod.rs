//! Sounds of a telephone line that nobody speaks, put together by number: signalling tones, music, song, noise.
//!
//! The gate's recipe learns from them, its tests and the hold hour listen to them. The same generator gives the same samples. Levels are
//! near full scale; [`set_level`] sets them.

use rand::RngExt as _;
use rand_chacha::ChaCha8Rng;

mod music;
mod noise;
mod song;
mod tones;

pub use music::music;
pub use noise::{Noise, noise};
pub use song::song;
pub use tones::{Tone, tone};

/// Brings samples to a root mean square in dBFS; silence stays silent.
pub fn set_level(samples: &mut [f32], dbfs: f32) {
    let power = samples.iter().map(|sample| sample * sample).sum::<f32>() / samples.len().max(1) as f32;
    if power > 0.0 {
        let gain = 10_f32.powf(dbfs / 20.0) / power.sqrt();
        samples.iter_mut().for_each(|sample| *sample *= gain);
    }
}

/// A number between two, uniformly.
fn between(random: &mut ChaCha8Rng, from: f32, to: f32) -> f32 {
    random.random_range(from..to)
}

/// One of several.
fn pick<T: Copy>(random: &mut ChaCha8Rng, from: &[T]) -> T {
    from[random.random_range(0..from.len())]
}

/// Samples in so many seconds.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "seconds of a recording are few and positive"
)]
fn samples_in(seconds: f32, rate_hz: u32) -> usize {
    (seconds.max(0.0) * rate_hz as f32).round() as usize
}

/// The sine of a phase in turns, of which only the fraction counts: a parabola and its correction, within 1e-3, since millions of them
/// are wanted.
fn sine(turns: f32) -> f32 {
    let x = turns - turns.floor() - 0.5;
    let y = -8.0 * x * (1.0 - 2.0 * x.abs());
    y * (0.775 + 0.225 * y.abs())
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng as _;

    use super::*;

    #[test]
    fn the_quick_sine_is_a_sine() {
        for n in 0..1000 {
            let turns = n as f32 / 250.0 - 1.5;
            assert!((sine(turns) - (std::f32::consts::TAU * turns).sin()).abs() < 2e-3, "{turns}: {}", sine(turns));
        }
    }

    #[test]
    fn sounds_are_as_long_as_asked_for_finite_and_repeatable() {
        let made = |rate_hz| {
            let mut random = ChaCha8Rng::seed_from_u64(5);
            let mut all: Vec<Vec<f32>> = Tone::ALL.iter().map(|&kind| tone(kind, 3.0, rate_hz, &mut random)).collect();
            all.extend(Noise::ALL.iter().map(|&kind| noise(kind, 3.0, rate_hz, &mut random)));
            all.push(music(3.0, rate_hz, &mut random));
            all.push(song(3.0, rate_hz, &mut random));
            all
        };
        for rate_hz in [8_000, 16_000] {
            for (index, sound) in made(rate_hz).iter().enumerate() {
                assert_eq!(sound.len(), 3 * rate_hz as usize, "sound {index}");
                assert!(sound.iter().all(|sample| sample.abs() < 8.0), "sound {index}");
                assert!(sound.iter().any(|sample| sample.abs() > 0.01), "sound {index}");
            }
            assert_eq!(made(rate_hz), made(rate_hz));
        }
    }

    #[test]
    fn a_level_is_what_was_asked_for() {
        let mut samples = tone(Tone::Dial, 1.0, 8_000, &mut ChaCha8Rng::seed_from_u64(1));
        set_level(&mut samples, -30.0);
        let power = samples.iter().map(|sample| sample * sample).sum::<f32>() / samples.len() as f32;
        assert!((10.0 * power.log10() + 30.0).abs() < 0.01);
    }
}
