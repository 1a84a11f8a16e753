//! Wire encodings: G.711 µ-law and A-law (ITU-T G.711) and 16-bit linear PCM, decoded in chunks of any size.
//!
//! A chunk may end within a sample or within a group of channels: the rest waits for the next chunk, so that however a stream is
//! cut the samples are the same.

use audio_codec::{Decoder as _, Encoder as _, pcma, pcmu};
use serde::{Deserialize, Serialize};

/// One in samples of ±1 is this in 16-bit linear PCM.
const FULL_SCALE: f32 = 32_768.0;

/// Samples encoded at a time, on the stack: 20 ms at 8 kHz, a telephone packet.
const ENCODE_SAMPLES: usize = 160;

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

/// Decodes chunks of interleaved samples; a sample or a group of channels split over two chunks is carried over.
#[derive(Debug)]
pub struct Decoder {
    /// The sample each code of a law stands for; `None` for linear PCM.
    table: Option<Box<[f32; 256]>>,
    channels: usize,
    bytes_per_sample: usize,
    /// The beginning of a sample group that is not complete yet.
    pending: Vec<u8>,
}

impl Encoding {
    /// As configurations and metrics write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Linear16 => "linear16",
            Self::Mulaw => "mulaw",
            Self::Alaw => "alaw",
        }
    }

    /// Bytes one sample takes.
    pub fn bytes_per_sample(self) -> usize {
        match self {
            Self::Linear16 => 2,
            Self::Mulaw | Self::Alaw => 1,
        }
    }

    /// The largest magnitude that can be written on both sides of 0, in samples of ±1.
    pub fn full_scale(self) -> f32 {
        let linear = match self {
            Self::Linear16 => 32_767.0,
            // The last of the eighth segment, G.711 tables 2 and 1, shifted to 16 bits.
            Self::Mulaw => 32_124.0,
            Self::Alaw => 32_256.0,
        };
        linear / FULL_SCALE
    }
}

impl Decoder {
    /// A decoder of `channels` interleaved channels, at least one.
    pub fn new(encoding: Encoding, channels: usize) -> Self {
        let channels = channels.max(1);
        let bytes_per_sample = encoding.bytes_per_sample();
        Self {
            table: table(encoding),
            channels,
            bytes_per_sample,
            pending: Vec::with_capacity(channels * bytes_per_sample),
        }
    }

    /// Decodes `chunk` and appends to `planes`, one a channel: as many samples to each.
    ///
    /// # Panics
    /// If there are not as many planes as channels: the caller's mistake, whatever a peer sends.
    pub fn push(&mut self, chunk: &[u8], planes: &mut [Vec<f32>]) {
        assert_eq!(planes.len(), self.channels, "one plane a channel");
        let group = self.channels * self.bytes_per_sample;
        let mut rest = chunk;
        if !self.pending.is_empty() {
            let (fill, tail) = rest.split_at(rest.len().min(group - self.pending.len()));
            self.pending.extend_from_slice(fill);
            rest = tail;
            if self.pending.len() == group {
                let pending = std::mem::take(&mut self.pending);
                self.decode(&pending, planes);
                self.pending = pending;
                self.pending.clear();
            }
        }
        let (whole, tail) = rest.split_at(rest.len() / group * group);
        self.decode(whole, planes);
        self.pending.extend_from_slice(tail);
    }

    /// Bytes of an unfinished sample group that wait for the next chunk.
    pub fn pending_bytes(&self) -> usize {
        self.pending.len()
    }

    /// Decodes whole sample groups.
    fn decode(&self, bytes: &[u8], planes: &mut [Vec<f32>]) {
        for (channel, plane) in planes.iter_mut().enumerate() {
            match &self.table {
                Some(table) => {
                    plane.extend(
                        bytes.iter().skip(channel).step_by(self.channels).map(|&code| table[usize::from(code)]),
                    );
                }
                None => plane.extend(
                    bytes
                        .chunks_exact(2)
                        .skip(channel)
                        .step_by(self.channels)
                        .map(|pair| f32::from(i16::from_le_bytes([pair[0], pair[1]])) / FULL_SCALE),
                ),
            }
        }
    }
}

/// Appends `samples` as `encoding` writes them; values beyond ±1 are clipped.
pub fn encode(encoding: Encoding, samples: &[f32], out: &mut Vec<u8>) {
    let mut linear = [0_i16; ENCODE_SAMPLES];
    let mut codes = [0_u8; ENCODE_SAMPLES];
    for part in samples.chunks(ENCODE_SAMPLES) {
        let (linear, codes) = (&mut linear[..part.len()], &mut codes[..part.len()]);
        for (to, sample) in linear.iter_mut().zip(part) {
            *to = to_linear(*sample);
        }
        let written = match encoding {
            Encoding::Linear16 => {
                out.extend(linear.iter().flat_map(|sample| sample.to_le_bytes()));
                continue;
            }
            Encoding::Mulaw => pcmu::PcmuEncoder::new().encode_into(linear, codes),
            Encoding::Alaw => pcma::PcmaEncoder::new().encode_into(linear, codes),
        };
        let written = written.expect("there is room for a code a sample");
        out.extend_from_slice(&codes[..written]);
    }
}

/// Rounds to 16 bits, half away from zero; a NaN becomes 0.
#[expect(clippy::cast_possible_truncation, reason = "the value was clamped to the range of i16")]
fn to_linear(sample: f32) -> i16 {
    (sample * FULL_SCALE).round().clamp(f32::from(i16::MIN), f32::from(i16::MAX)) as i16
}

/// What each code of a G.711 law stands for.
fn table(encoding: Encoding) -> Option<Box<[f32; 256]>> {
    let codes: [u8; 256] = std::array::from_fn(|code| u8::try_from(code).expect("256 codes"));
    let mut linear = [0_i16; 256];
    match encoding {
        Encoding::Linear16 => return None,
        Encoding::Mulaw => pcmu::PcmuDecoder::new().decode_into(&codes, &mut linear),
        Encoding::Alaw => pcma::PcmaDecoder::new().decode_into(&codes, &mut linear),
    }
    .expect("there is room for a sample a code");
    Some(Box::new(linear.map(|sample| f32::from(sample) / FULL_SCALE)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// G.711 table 2: sign, three bits of segment, four of step, all inverted; 14-bit magnitudes, here shifted to 16.
    fn mulaw_by_the_book(code: u8) -> i32 {
        let code = !code;
        let (segment, step) = (i32::from(code >> 4 & 7), i32::from(code & 15));
        let magnitude = ((2 * step + 33) << segment) - 33;
        4 * if code & 0x80 == 0 { magnitude } else { -magnitude }
    }

    /// G.711 table 1: even bits inverted; 13-bit magnitudes at the middle of each step, here shifted to 16.
    fn alaw_by_the_book(code: u8) -> i32 {
        let code = code ^ 0x55;
        let (segment, step) = (i32::from(code >> 4 & 7), i32::from(code & 15));
        let magnitude = if segment == 0 { 2 * step + 1 } else { (2 * step + 33) << (segment - 1) };
        8 * if code & 0x80 == 0 { -magnitude } else { magnitude }
    }

    fn decode(encoding: Encoding, bytes: &[u8]) -> Vec<f32> {
        let mut planes = [Vec::new()];
        Decoder::new(encoding, 1).push(bytes, &mut planes);
        let [plane] = planes;
        plane
    }

    #[test]
    fn all_codes_decode_as_g711_says() {
        for code in 0..=u8::MAX {
            let (mulaw, alaw) = (decode(Encoding::Mulaw, &[code])[0], decode(Encoding::Alaw, &[code])[0]);
            assert_eq!(mulaw * FULL_SCALE, mulaw_by_the_book(code) as f32, "µ-law code {code:#x}");
            assert_eq!(alaw * FULL_SCALE, alaw_by_the_book(code) as f32, "A-law code {code:#x}");
        }
    }

    #[test]
    fn full_scale_is_the_largest_code() {
        for encoding in [Encoding::Mulaw, Encoding::Alaw] {
            let codes: Vec<u8> = (0..=u8::MAX).collect();
            let largest = decode(encoding, &codes).into_iter().fold(0.0, f32::max);
            assert_eq!(encoding.full_scale(), largest, "{encoding:?}");
        }
        assert_eq!(Encoding::Linear16.full_scale(), decode(Encoding::Linear16, &i16::MAX.to_le_bytes())[0]);
    }

    #[test]
    fn every_code_is_encoded_back_to_itself() {
        for encoding in [Encoding::Mulaw, Encoding::Alaw] {
            for code in 0..=u8::MAX {
                let mut again = Vec::new();
                encode(encoding, &decode(encoding, &[code]), &mut again);
                // Of the two codes next to 0 the encoder writes the positive.
                let expected = match (encoding, code) {
                    (Encoding::Mulaw, 0x7F) => 0xFF,
                    (Encoding::Alaw, 0x55) => 0xD5,
                    (_, code) => code,
                };
                assert_eq!(again, [expected], "{encoding:?}");
            }
        }
    }

    #[test]
    fn what_is_beyond_full_scale_is_clipped() {
        let mut bytes = Vec::new();
        encode(Encoding::Linear16, &[2.0, -2.0, 1.0, f32::NAN, f32::NEG_INFINITY], &mut bytes);
        let samples: Vec<i16> = bytes.chunks_exact(2).map(|pair| i16::from_le_bytes([pair[0], pair[1]])).collect();
        assert_eq!(samples, [i16::MAX, i16::MIN, i16::MAX, 0, i16::MIN]);
    }

    #[test]
    fn channels_are_told_apart_and_an_odd_byte_waits() {
        let mut decoder = Decoder::new(Encoding::Linear16, 2);
        let mut planes = [Vec::new(), Vec::new()];
        decoder.push(&[0, 0x40, 0, 0xC0, 0, 0x20, 1], &mut planes);
        assert_eq!((planes[0].as_slice(), planes[1].as_slice()), ([0.5].as_slice(), [-0.5].as_slice()));
        assert_eq!(decoder.pending_bytes(), 3);
        decoder.push(&[0xE0], &mut planes);
        assert_eq!(planes[0], [0.5, 0.25]);
        assert_eq!(planes[1], [-0.5, f32::from(i16::from_le_bytes([1, 0xE0])) / FULL_SCALE]);
        assert_eq!(decoder.pending_bytes(), 0);
    }

    fn encodings() -> impl Strategy<Value = Encoding> {
        prop_oneof![Just(Encoding::Linear16), Just(Encoding::Mulaw), Just(Encoding::Alaw)]
    }

    proptest! {
        #[test]
        fn linear_samples_survive_a_round_trip(samples in prop::collection::vec(any::<i16>(), 0..400)) {
            let bytes: Vec<u8> = samples.iter().flat_map(|sample| sample.to_le_bytes()).collect();
            let mut again = Vec::new();
            encode(Encoding::Linear16, &decode(Encoding::Linear16, &bytes), &mut again);
            prop_assert_eq!(again, bytes);
        }

        #[test]
        fn however_bytes_are_cut_the_samples_are_the_same(
            encoding in encodings(), channels in 1_usize..4, bytes in prop::collection::vec(any::<u8>(), 0..300),
            cuts in prop::collection::vec(0_usize..9, 1..200),
        ) {
            let mut whole = vec![Vec::new(); channels];
            let mut at_once = Decoder::new(encoding, channels);
            at_once.push(&bytes, &mut whole);
            let mut parts = vec![Vec::new(); channels];
            let mut decoder = Decoder::new(encoding, channels);
            let mut rest = bytes.as_slice();
            for cut in cuts {
                let (chunk, tail) = rest.split_at(cut.min(rest.len()));
                decoder.push(chunk, &mut parts);
                rest = tail;
            }
            decoder.push(rest, &mut parts);
            prop_assert_eq!(parts, whole);
            prop_assert_eq!(decoder.pending_bytes(), at_once.pending_bytes());
        }
    }
}
