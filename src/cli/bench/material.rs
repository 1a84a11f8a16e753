//! What the calls of a bench say: the demo's recorded call, looped, each call beginning somewhere else in it. Cut and encoded once,
//! so that sending costs the load generator little.

use std::time::Duration;

use bytes::Bytes;
use undertone::{audio, server::proto as pb};

use crate::cli::{client::Audio, demo::RECORDING};

/// Consecutive calls begin this part of the recording apart: the golden section, by which any number of them lie spread.
const APART: f64 = 0.618_034;

/// The recording in chunks.
pub(super) struct Material {
    format: pb::AudioFormat,
    chunks: Vec<Bytes>,
    chunk: Duration,
    samples_per_chunk: u64,
    rate_hz: u32,
}

impl Material {
    /// The recording, encoded so, in chunks of so long.
    pub(super) fn new(encoding: audio::Encoding, chunk: Duration) -> anyhow::Result<Self> {
        let recording = audio::file::decode("the demo's call", RECORDING)?;
        let audio = Audio::new(&recording, encoding)?;
        let rate_hz = audio.sample_rate_hz();
        let samples = usize::try_from(chunk.as_millis() * u128::from(rate_hz) / 1000)?;
        let bytes = samples * encoding.bytes_per_sample();
        let chunks: Vec<Bytes> = audio.data().chunks_exact(bytes).map(|chunk| audio.data().slice_ref(chunk)).collect();
        anyhow::ensure!(!chunks.is_empty(), "a chunk of {chunk:?} is longer than the recording");
        Ok(Self { format: audio.format()?, chunks, chunk, samples_per_chunk: samples as u64, rate_hz })
    }

    /// As a call's configuration tells it.
    pub(super) fn format(&self) -> pb::AudioFormat {
        self.format
    }

    /// Audio in a chunk.
    pub(super) fn chunk_duration(&self) -> Duration {
        self.chunk
    }

    /// Samples a second.
    pub(super) fn rate_hz(&self) -> u32 {
        self.rate_hz
    }

    /// Samples in so many chunks.
    pub(super) fn samples(&self, chunks: u64) -> u64 {
        chunks * self.samples_per_chunk
    }

    /// The chunk in which the last of the first `samples` samples lies.
    pub(super) fn chunk_of(&self, samples: u64) -> u64 {
        samples.saturating_sub(1) / self.samples_per_chunk
    }

    /// A call's chunk.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "positive and below the chunks' count")]
    pub(super) fn chunk(&self, call: usize, index: u64) -> Bytes {
        let count = self.chunks.len();
        let begin = ((call as f64 * APART).fract() * count as f64) as usize;
        let index = (begin + (index % count as u64) as usize) % count;
        self.chunks[index].clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_are_whole_and_calls_begin_apart() {
        for (encoding, bytes) in [(audio::Encoding::Mulaw, 800), (audio::Encoding::Linear16, 1600)] {
            let material = Material::new(encoding, Duration::from_millis(100)).unwrap();
            let count = material.chunks.len() as u64;
            assert!(count > 500, "{count} chunks");
            assert!((0..2 * count).all(|index| material.chunk(3, index).len() == bytes));
            assert_eq!(material.chunk(7, 5), material.chunk(7, 5 + count));
            assert_ne!(material.chunk(0, 20), material.chunk(1, 20));
        }
    }

    #[test]
    fn a_sample_lies_in_its_chunk() {
        let material = Material::new(audio::Encoding::Mulaw, Duration::from_millis(20)).unwrap();
        assert_eq!([1, 160, 161, 4000].map(|samples| material.chunk_of(samples)), [0, 0, 1, 24]);
        assert_eq!(material.samples(25), 4000);
    }
}
