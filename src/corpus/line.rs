//! What a telephone line does to a voice, in parts: conditions and training put them together. The parts that a call also has,
//! resampling and G.711, are the service's own.
//!
//! Levels are root mean squares of samples in ±1, so that dB below 1 are dBov (ITU-T G.100.1: 0 dBov is the overload point).

use rand::RngExt as _;
use rand_chacha::ChaCha8Rng;

use crate::audio::{
    Encoding,
    codec::{self, Decoder},
    resample,
};

mod babble;
mod noise;

pub use babble::Babble;
pub use noise::{coloured, pink};

/// What the telephone network samples at.
pub const TELEPHONE_HZ: u32 = 8_000;

/// Samples a packet holds: 20 ms, what telephones send over IP.
pub const PACKET_SAMPLES: usize = 160;

/// Blocks a second that levels are measured over: 25 ms, about a pitch period of the lowest voices.
const LEVEL_BLOCKS_PER_SECOND: u32 = 40;

/// Blocks count as active from this part of the loud ones' level on: 20 dB below the 95th percentile.
const ACTIVE_PART: f32 = 0.1;

/// Loud is the level of this part of the blocks, and no less.
const LOUD_PERCENTILE: f32 = 0.95;

/// Keeps the level of silence above 0.
const LEAST_LEVEL: f32 = 1e-7;

/// `samples` as the telephone network samples them.
///
/// # Errors
/// A rate that is not supported.
pub fn narrow(samples: &[f32], rate_hz: u32) -> Result<Vec<f32>, resample::Error> {
    resample::resample(samples, rate_hz, TELEPHONE_HZ)
}

/// `samples` after they were written and read again; what is beyond ±1 is clipped.
pub fn coded(encoding: Encoding, samples: &[f32]) -> Vec<f32> {
    let mut bytes = Vec::with_capacity(samples.len() * encoding.bytes_per_sample());
    codec::encode(encoding, samples, &mut bytes);
    let mut heard = [Vec::with_capacity(samples.len())];
    Decoder::new(encoding, 1).push(&bytes, &mut heard);
    let [heard] = heard;
    heard
}

/// Loses packets of [`PACKET_SAMPLES`], each with the probability `part` and filled with zeros; tells how many.
pub fn lose_packets(samples: &mut [f32], part: f64, random: &mut ChaCha8Rng) -> usize {
    let mut lost = 0;
    for packet in samples.chunks_mut(PACKET_SAMPLES) {
        if random.random_bool(part) {
            packet.fill(0.0);
            lost += 1;
        }
    }
    lost
}

/// The level of what is not pause: of the blocks of 25 ms that are at most 20 dB below the loud ones. Never 0.
pub fn active_level(samples: &[f32], rate_hz: u32) -> f32 {
    let block = (rate_hz / LEVEL_BLOCKS_PER_SECOND).max(1) as usize;
    let mut levels: Vec<f32> = samples.chunks_exact(block).map(|block| level(block) + LEAST_LEVEL).collect();
    if levels.is_empty() {
        return level(samples) + LEAST_LEVEL;
    }
    levels.sort_by(f32::total_cmp);
    let least = ACTIVE_PART * percentile(&levels, LOUD_PERCENTILE);
    let active = &levels[levels.partition_point(|&level| level <= least)..];
    level(active)
}

/// The root mean square; 0 of nothing.
#[expect(clippy::cast_possible_truncation, reason = "a level needs no more than f32")]
pub fn level(samples: &[f32]) -> f32 {
    let squares: f64 = samples.iter().map(|&sample| f64::from(sample).powi(2)).sum();
    (squares / samples.len().max(1) as f64).sqrt() as f32
}

/// The factor that so many dB are.
pub fn factor(db: f32) -> f32 {
    10.0_f32.powf(db / 20.0)
}

/// Adds `noise`, brought to the level `snr_db` below `active_level`; silent noise adds nothing.
pub fn add_noise(samples: &mut [f32], noise: &[f32], active_level: f32, snr_db: f32) {
    let own = level(noise);
    if own == 0.0 {
        return;
    }
    let gain = active_level * factor(-snr_db) / own;
    for (sample, noise) in samples.iter_mut().zip(noise) {
        *sample += gain * noise;
    }
}

/// Of sorted values, interpolated between the two that are nearest.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a place in a slice")]
fn percentile(sorted: &[f32], part: f32) -> f32 {
    let place = part * (sorted.len() - 1) as f32;
    let (low, high) = (place.floor() as usize, place.ceil() as usize);
    sorted[low] + (sorted[high] - sorted[low]) * place.fract()
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng as _;

    use super::*;

    #[test]
    fn pauses_have_no_say_in_the_active_level() {
        let mut samples = vec![0.1; 8_000];
        samples.extend(vec![0.001; 24_000]);
        assert!((active_level(&samples, 8_000) - 0.1).abs() < 1e-4);
        assert!(active_level(&[0.0; 8_000], 8_000) > 0.0);
        assert!((active_level(&[0.5; 10], 8_000) - 0.5).abs() < 1e-6, "shorter than a block");
        assert!(active_level(&[], 8_000) > 0.0);
    }

    #[test]
    fn percentiles_lie_between_neighbours() {
        // As numpy.percentile([1, 2, 4], 95) = 3.8.
        assert!((percentile(&[1.0, 2.0, 4.0], 0.95) - 3.8).abs() < 1e-6);
        assert!((percentile(&[3.0], 0.95) - 3.0).abs() < 1e-6);
    }

    #[test]
    fn packets_are_lost_whole_and_as_often_as_asked() {
        let mut samples = vec![0.5; 160 * 20_000 + 7];
        let lost = lose_packets(&mut samples, 0.05, &mut ChaCha8Rng::seed_from_u64(3));
        // Four deviations of a binomial of 20,001 draws are 123.
        assert!((877..1124).contains(&lost), "{lost}");
        let silent = samples.chunks(PACKET_SAMPLES).filter(|packet| packet.iter().all(|&sample| sample == 0.0)).count();
        assert_eq!(silent, lost);
        assert!(samples.chunks(PACKET_SAMPLES).all(|packet| packet.iter().all(|sample| sample == &packet[0])));
    }

    #[test]
    fn noise_is_added_at_the_ratio_asked_for() {
        let noise = pink(8_000, &mut ChaCha8Rng::seed_from_u64(1));
        let mut samples = vec![0.0; 8_000];
        add_noise(&mut samples, &noise, 0.1, 20.0);
        assert!((level(&samples) - 0.01).abs() < 1e-6);
        add_noise(&mut samples, &[0.0; 8_000], 0.1, 20.0);
        assert!((level(&samples) - 0.01).abs() < 1e-6);
    }
}
