//! Wire encodings.

use serde::{Deserialize, Serialize};

/// How a sample is written on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Encoding {
    /// Signed 16-bit little-endian PCM.
    Linear16,
    /// G.711 µ-law.
    Mulaw,
    /// G.711 A-law.
    Alaw,
}

impl Encoding {
    /// Bytes one sample takes.
    pub fn bytes_per_sample(self) -> usize {
        match self {
            Self::Linear16 => 2,
            Self::Mulaw | Self::Alaw => 1,
        }
    }
}

/// Decodes chunks of interleaved samples; a sample or a group of channels split over two chunks is carried over.
#[derive(Debug)]
pub struct Decoder {}

impl Decoder {
    /// A decoder of `channels` interleaved channels.
    pub fn new(_encoding: Encoding, _channels: usize) -> Self {
        todo!()
    }

    /// Decodes `chunk` and appends to `planes`, one a channel.
    pub fn push(&mut self, _chunk: &[u8], _planes: &mut [Vec<f32>]) {
        todo!()
    }

    /// Bytes of an unfinished sample group that wait for the next chunk.
    pub fn pending_bytes(&self) -> usize {
        todo!()
    }
}

/// Appends `samples` as `encoding` writes them; values beyond ±1 are clipped.
pub fn encode(_encoding: Encoding, _samples: &[f32], _out: &mut Vec<u8>) {
    todo!()
}
