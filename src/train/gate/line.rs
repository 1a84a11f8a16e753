//! What a line does to a scene: band limits, gain, overload, codecs, lost packets, silence suppression.

use rand::RngExt as _;
use rand_chacha::ChaCha8Rng;

use super::{scene::Kind, sources::FRAME};
use crate::{
    audio::Encoding,
    corpus::line::{coded, lose_packets},
};

/// Takes samples through a line that is drawn by chance.
pub(super) fn through(samples: &mut Vec<f32>, kinds: &[Kind], random: &mut ChaCha8Rng) {
    if random.random_bool(0.5) {
        let take = random.random_range(0.06..0.25);
        let mut low = [0.0_f32; 2];
        for sample in samples.iter_mut() {
            for low in &mut low {
                *low += take * (*sample - *low);
                *sample -= *low;
            }
        }
    }
    if random.random_bool(0.35) {
        let take = random.random_range(0.5..0.95);
        let mut low = [0.0_f32; 2];
        for sample in samples.iter_mut() {
            for low in &mut low {
                *low += take * (*sample - *low);
                *sample = *low;
            }
        }
    }
    if random.random_bool(0.1) {
        let gain = random.random_range(2.0..8.0_f32);
        samples.iter_mut().for_each(|sample| *sample = (gain * *sample).tanh() * 0.8);
    }
    if random.random_bool(0.12) {
        suppress(samples, kinds);
    }
    match random.random_range(0..10_u8) {
        0..5 => *samples = coded(Encoding::Mulaw, samples),
        5..7 => *samples = coded(Encoding::Alaw, samples),
        _ => *samples = coded(Encoding::Linear16, samples),
    }
    if random.random_bool(0.07) {
        let lost = random.random_range(0.01..0.08);
        lose_packets(samples, lost, random);
    }
}

/// Where nothing is to be heard nothing is sent, but for 200 ms after.
fn suppress(samples: &mut [f32], kinds: &[Kind]) {
    let mut quiet = 0;
    for (frame, kind) in samples.chunks_mut(FRAME).zip(kinds) {
        quiet = if *kind == Kind::Other { quiet + 1 } else { 0 };
        if quiet > 10 {
            frame.fill(0.0);
        }
    }
}
