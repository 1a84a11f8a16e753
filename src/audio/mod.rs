//! From bytes to samples: decoding, labels that lie, resampling, reading files, telling speech from music, tones, noise and silence. Pure: no clock, no I/O but files.
//!
//! Samples are `f32` in ±1, one `Vec` a channel.

pub mod codec;
pub mod file;
pub mod gate;
pub mod label;
pub(crate) mod lanes;
pub mod level;
pub(crate) mod power;
pub mod resample;
mod riff;

pub use codec::Encoding;
