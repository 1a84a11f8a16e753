//! What is heard: speech, music, signalling tones, noise or silence, block by block, at any rate from 8 kHz up.
//!
//! [`measure`] turns each block of 64 ms into numbers, a network ([`network`]) tells what it is, and [`Track`] keeps what was told. What a
//! block is cannot be said well while it sounds: the network says it at once and thrice again within 768 ms, and whoever asks is
//! told the latest. It looks below 4 kHz only, so that all lines are alike to it.
//!
//! Blocks are counted from the stream's beginning: however samples are cut, the same is told. The network was trained by
//! `undertone train --recipe gate` (docs/gate.md) on speech, music and what [`crate::audio`]'s codecs make of them.

use std::sync::LazyLock;

mod halve;
pub mod measure;
pub mod network;
mod track;

pub use track::Track;

use measure::Measure;
use network::{CLASSES, LAGS, OUTPUTS, PARAMETERS, Walker};

/// The network's numbers, as `undertone train --recipe gate` wrote them: `f32`, little-endian.
const NETWORK: &[u8] = include_bytes!("network.bin");

/// What a block is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Activity {
    /// Somebody speaks.
    Speech,
    /// Music, sung or played.
    Music,
    /// A signal: ringing, engaged, keys, chimes.
    Tone,
    /// Other sound.
    Noise,
    /// None.
    Silence,
}

/// What was found of a stretch.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Finding {
    /// What it is.
    pub activity: Activity,
    /// Its power, against full scale.
    pub power: f32,
    /// The power of what is heard behind it.
    pub background: f32,
}

/// Hears one stream.
pub struct Gate {
    measure: Measure,
    walker: Walker,
    track: Track,
}

static PARAMETERS_READ: LazyLock<Vec<f32>> = LazyLock::new(|| {
    let numbers = NETWORK.chunks_exact(4).map(|bytes| f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]));
    let numbers: Vec<f32> = numbers.collect();
    assert_eq!(numbers.len(), PARAMETERS, "the network in the source fits the code beside it");
    numbers
});

impl Gate {
    /// A gate for samples at `rate_hz`, 8,000 or more.
    pub fn new(rate_hz: u32) -> Self {
        Self::with(rate_hz, &PARAMETERS_READ)
    }

    /// A gate with another network of [`PARAMETERS`] numbers.
    pub fn with(rate_hz: u32, parameters: &'static [f32]) -> Self {
        Self { measure: Measure::new(rate_hz), walker: Walker::new(parameters), track: Track::default() }
    }

    /// Samples a block: block `n` holds samples from `n * block_samples()` on.
    pub fn block_samples(&self) -> usize {
        self.measure.block_samples()
    }

    /// Takes samples in.
    pub fn push(&mut self, samples: &[f32]) {
        let Self { measure, walker, track } = self;
        measure.push(samples, |block| track.push(block.power, told(&walker.step(block.values))));
    }

    /// Ends the stream: the block under way ends in silence.
    pub fn finish(&mut self) {
        let Self { measure, walker, track } = self;
        measure.finish(|block| track.push(block.power, told(&walker.step(block.values))));
    }

    /// Bytes that it takes beside itself; what streams share is not counted.
    pub fn bytes(&self) -> usize {
        self.measure.bytes() + self.walker.bytes() + self.track.bytes()
    }

    /// What was told so far, of the last 4 s.
    pub fn track(&self) -> &Track {
        &self.track
    }
}

/// What each head takes its block for; [`Activity::Noise`] for whatever is neither speech nor music nor tone.
fn told(logits: &[f32; OUTPUTS]) -> [Activity; LAGS.len()] {
    std::array::from_fn(|head| {
        let logits = &logits[head * CLASSES..][..CLASSES];
        let largest = (1..CLASSES).fold(0, |best, class| if logits[class] > logits[best] { class } else { best });
        [Activity::Speech, Activity::Music, Activity::Tone, Activity::Noise][largest]
    })
}
