//! Noise of one colour, at level 1.

use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution as _, StandardNormal};
use realfft::{RealFftPlanner, num_complex::Complex};

use super::level;

/// Where pink noise ends below, as a part of its length's lowest frequencies: the first bin is the mean, which is no sound.
const FIRST_BIN: usize = 1;

/// Noise through one pole: white at 0, the more of its power below the nearer `pole` is to 1.
pub fn coloured(samples: usize, pole: f32, random: &mut ChaCha8Rng) -> Vec<f32> {
    let mut before = 0.0;
    let mut noise: Vec<f32> = (0..samples)
        .map(|_| {
            before = normal(random) + pole * before;
            before
        })
        .collect();
    to_level_1(&mut noise);
    noise
}

/// Noise with as much power in every octave, made in the spectrum.
pub fn pink(samples: usize, random: &mut ChaCha8Rng) -> Vec<f32> {
    let mut noise = vec![0.0; samples];
    if samples < 2 {
        return noise;
    }
    let inverse = RealFftPlanner::<f32>::new().plan_fft_inverse(samples);
    let mut spectrum = inverse.make_input_vec();
    let last = spectrum.len() - 1;
    for (bin, value) in spectrum.iter_mut().enumerate().skip(FIRST_BIN) {
        *value = Complex::new(normal(random), normal(random)) / (bin as f32).sqrt();
    }
    // The highest frequency of an even length has no phase.
    if samples.is_multiple_of(2) {
        spectrum[last].im = 0.0;
    }
    inverse.process(&mut spectrum, &mut noise).expect("the buffers are of the plan's own sizes");
    to_level_1(&mut noise);
    noise
}

fn normal(random: &mut ChaCha8Rng) -> f32 {
    StandardNormal.sample(random)
}

fn to_level_1(noise: &mut [f32]) {
    let own = level(noise);
    if own > 0.0 {
        noise.iter_mut().for_each(|sample| *sample /= own);
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng as _;

    use super::*;

    /// Power between two frequencies, of noise at 8 kHz.
    fn power(noise: &[f32], from_hz: usize, to_hz: usize) -> f32 {
        let forward = RealFftPlanner::<f32>::new().plan_fft_forward(noise.len());
        let mut spectrum = forward.make_output_vec();
        forward.process(&mut noise.to_vec(), &mut spectrum).unwrap();
        let bin = |hz: usize| hz * noise.len() / 8_000;
        spectrum[bin(from_hz)..bin(to_hz)].iter().map(|value| value.norm_sqr()).sum()
    }

    #[test]
    fn pink_noise_has_as_much_in_every_octave_and_white_twice_as_much() {
        let mut random = ChaCha8Rng::seed_from_u64(5);
        for samples in [160_000, 160_001] {
            let (pink, white) = (pink(samples, &mut random), coloured(samples, 0.0, &mut random));
            assert!((level(&pink) - 1.0).abs() < 1e-4 && (level(&white) - 1.0).abs() < 1e-4);
            for octave in [125, 250, 500, 1_000, 1_800] {
                let ratio =
                    |noise| 10.0 * (power(noise, octave, 2 * octave) / power(noise, octave / 2, octave)).log10();
                assert!(ratio(&pink).abs() < 0.5, "{octave}: {}", ratio(&pink));
                assert!((ratio(&white) - 3.0).abs() < 0.5, "{octave}: {}", ratio(&white));
            }
        }
    }

    #[test]
    fn a_pole_near_1_leaves_the_low_tones_and_no_noise_is_too_short() {
        let mut random = ChaCha8Rng::seed_from_u64(6);
        let dark = coloured(160_000, 0.95, &mut random);
        assert!(power(&dark, 50, 200) > 4.0 * power(&dark, 2_000, 4_000));
        for samples in 0..4 {
            assert_eq!(
                (pink(samples, &mut random).len(), coloured(samples, 0.5, &mut random).len()),
                (samples, samples)
            );
        }
    }
}
