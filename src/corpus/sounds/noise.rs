//! Noise of lines and rooms.

use rand_chacha::ChaCha8Rng;

use super::{between, pick, samples_in, sine};

/// A kind of noise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Noise {
    /// As much everywhere.
    White,
    /// 3 dB less an octave.
    Pink,
    /// 6 dB less an octave: wind, traffic.
    Brown,
    /// Mains and its harmonics.
    Hum,
    /// Crackle of a bad contact.
    Clicks,
    /// What a codec plays while nobody speaks: dull noise, in pieces.
    Comfort,
    /// Noise that swells and fades as a crowd or the sea does.
    Swell,
}

impl Noise {
    /// All of them.
    pub const ALL: [Self; 7] =
        [Self::White, Self::Pink, Self::Brown, Self::Hum, Self::Clicks, Self::Comfort, Self::Swell];

    /// "white", "pink", …
    pub fn as_str(self) -> &'static str {
        match self {
            Self::White => "white",
            Self::Pink => "pink",
            Self::Brown => "brown",
            Self::Hum => "hum",
            Self::Clicks => "clicks",
            Self::Comfort => "comfort",
            Self::Swell => "swell",
        }
    }
}

/// Seconds of a noise.
pub fn noise(kind: Noise, seconds: f32, rate_hz: u32, random: &mut ChaCha8Rng) -> Vec<f32> {
    let count = samples_in(seconds, rate_hz);
    match kind {
        Noise::White => white(count, random),
        Noise::Pink => pink(count, random),
        Noise::Brown => low_pass(&white(count, random), between(random, 0.01, 0.05)),
        Noise::Hum => hum(count, rate_hz, random),
        Noise::Clicks => clicks(count, rate_hz, random),
        Noise::Comfort => {
            let mut out = low_pass(&white(count, random), between(random, 0.2, 0.6));
            let piece = samples_in(pick(random, &[0.02, 0.16, 0.5]), rate_hz).max(1);
            for part in out.chunks_mut(piece) {
                let gain = between(random, 0.7, 1.3);
                part.iter_mut().for_each(|sample| *sample *= gain);
            }
            out
        }
        Noise::Swell => {
            let (hz, depth, rate) = (between(random, 0.1, 1.5), between(random, 0.3, 0.9), rate_hz as f32);
            let out = pink(count, random);
            let swell = |n: usize| 1.0 - depth * (0.5 + 0.5 * sine(hz * n as f32 / rate));
            out.into_iter().enumerate().map(|(n, sample)| sample * swell(n)).collect()
        }
    }
}

fn white(count: usize, random: &mut ChaCha8Rng) -> Vec<f32> {
    // The sum of two uniform numbers is bell-shaped enough.
    (0..count).map(|_| 0.5 * (between(random, -1.0, 1.0) + between(random, -1.0, 1.0))).collect()
}

/// Paul Kellet's filter: three poles whose slopes add up to 3 dB an octave within half a dB.
fn pink(count: usize, random: &mut ChaCha8Rng) -> Vec<f32> {
    let mut poles = [0.0_f32; 3];
    white(count, random)
        .into_iter()
        .map(|sample| {
            for (pole, (keep, take)) in
                poles.iter_mut().zip([(0.997_65, 0.099_046), (0.963, 0.296_516_4), (0.57, 1.052_691_3)])
            {
                *pole = keep * *pole + take * sample;
            }
            0.3 * (poles.iter().sum::<f32>() + 0.1848 * sample)
        })
        .collect()
}

fn low_pass(samples: &[f32], take: f32) -> Vec<f32> {
    let mut state = 0.0;
    samples
        .iter()
        .map(|sample| {
            state += take * (sample - state);
            state / take.sqrt()
        })
        .collect()
}

fn hum(count: usize, rate_hz: u32, random: &mut ChaCha8Rng) -> Vec<f32> {
    let mains = pick(random, &[50.0, 60.0]);
    let strengths: Vec<f32> = (1..12).map(|k| between(random, 0.0, 1.0) / k as f32).collect();
    let hiss = between(random, 0.0, 0.1);
    let noise = white(count, random);
    let buzz =
        |t: f32| (1_u8..).zip(&strengths).map(|(k, strength)| strength * sine(mains * f32::from(k) * t)).sum::<f32>();
    noise.iter().enumerate().map(|(n, noise)| 0.4 * buzz(n as f32 / rate_hz as f32) + hiss * noise).collect()
}

fn clicks(count: usize, rate_hz: u32, random: &mut ChaCha8Rng) -> Vec<f32> {
    let mut out: Vec<f32> = white(count, random).into_iter().map(|sample| 0.01 * sample).collect();
    let often = between(random, 1.0, 30.0);
    let mut at = 0;
    loop {
        at += samples_in(-between(random, 1e-6, 1.0).ln() / often, rate_hz).max(1);
        let length = samples_in(between(random, 0.000_5, 0.01), rate_hz).max(2);
        let (strength, hz) = (between(random, -0.9, 0.9), between(random, 200.0, 3_000.0));
        let Some(place) = out.get_mut(at..(at + length).min(count)) else { return out };
        for (n, sample) in place.iter_mut().enumerate() {
            let t = n as f32 / rate_hz as f32;
            *sample += strength * (1.0 - n as f32 / length as f32) * sine(0.25 + hz * t);
        }
    }
}
