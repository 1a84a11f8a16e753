//! What a line does to a recording before anyone hears it, by the same code that serves calls.

use clap::ValueEnum;
use serde::Serialize;

use crate::audio::{
    Encoding,
    codec::{self, Decoder},
    resample,
};

/// What the telephone network samples at.
const TELEPHONE_HZ: u32 = 8_000;

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
}

impl Condition {
    /// "wide", "8k", "mulaw" or "alaw".
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Wide => "wide",
            Self::Narrow => "8k",
            Self::Mulaw => "mulaw",
            Self::Alaw => "alaw",
        }
    }

    /// What arrives of `samples` at `rate_hz`, and at which rate.
    ///
    /// # Errors
    /// A rate that is not supported.
    pub fn apply(self, samples: Vec<f32>, rate_hz: u32) -> Result<(Vec<f32>, u32), resample::Error> {
        let encoding = match self {
            Self::Wide => return Ok((samples, rate_hz)),
            Self::Narrow => None,
            Self::Mulaw => Some(Encoding::Mulaw),
            Self::Alaw => Some(Encoding::Alaw),
        };
        let narrow = resample::resample(&samples, rate_hz, TELEPHONE_HZ)?;
        let Some(encoding) = encoding else { return Ok((narrow, TELEPHONE_HZ)) };
        let mut bytes = Vec::with_capacity(narrow.len());
        codec::encode(encoding, &narrow, &mut bytes);
        let mut heard = [Vec::with_capacity(bytes.len())];
        Decoder::new(encoding, 1).push(&bytes, &mut heard);
        let [heard] = heard;
        Ok((heard, TELEPHONE_HZ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tone(hz: f32) -> Vec<f32> {
        (0..16_000).map(|index| 0.5 * (std::f32::consts::TAU * hz * index as f32 / 16_000.0).sin()).collect()
    }

    fn energy(samples: &[f32]) -> f32 {
        samples.iter().map(|sample| sample * sample).sum::<f32>() / samples.len() as f32
    }

    #[test]
    fn a_telephone_carries_voices_and_nothing_above_4_khz() {
        for condition in [Condition::Narrow, Condition::Mulaw, Condition::Alaw] {
            let (low, rate_hz) = condition.apply(tone(1_000.0), 16_000).unwrap();
            let (high, _) = condition.apply(tone(6_000.0), 16_000).unwrap();
            assert_eq!((low.len(), rate_hz), (8_000, TELEPHONE_HZ));
            assert!((energy(&low) - 0.125).abs() < 0.005, "{condition:?}: {}", energy(&low));
            assert!(energy(&high) < 1e-4, "{condition:?}: {}", energy(&high));
        }
    }

    #[test]
    fn laws_leave_a_sample_within_their_steps_and_wide_leaves_all() {
        let (plain, _) = Condition::Narrow.apply(tone(440.0), 16_000).unwrap();
        let (coded, _) = Condition::Mulaw.apply(tone(440.0), 16_000).unwrap();
        let widest = plain.iter().zip(&coded).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        // The widest steps, those of the topmost segment, are 1/32 wide: a sample lies within half of one.
        assert!(widest > 1e-4 && widest < 1.0 / 64.0 + 1e-4, "{widest}");
        assert_eq!(Condition::Wide.apply(tone(440.0), 16_000).unwrap(), (tone(440.0), 16_000));
    }
}
