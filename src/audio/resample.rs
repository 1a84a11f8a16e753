//! Sample-rate conversion.

/// What cannot be resampled.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A rate outside 8,000 to 48,000 Hz.
    #[error("cannot resample from {from_hz} Hz to {to_hz} Hz: rates of 8000 to 48000 Hz are supported")]
    Rate {
        /// The source's rate.
        from_hz: u32,
        /// The target's rate.
        to_hz: u32,
    },
}

/// Converts a stream from one rate to another; its delay is already taken out: output sample 0 belongs to input sample 0.
pub struct Resampler {}

impl Resampler {
    /// A converter between two rates; equal rates pass through.
    pub fn new(_from_hz: u32, _to_hz: u32) -> Result<Self, Error> {
        todo!()
    }

    /// Takes `input` in and appends what can be told so far to `out`.
    pub fn push(&mut self, _input: &[f32], _out: &mut Vec<f32>) {
        todo!()
    }

    /// Ends the stream: appends the rest, so that all output is `ceil(input * to / from)` samples.
    pub fn finish(&mut self, _out: &mut Vec<f32>) {
        todo!()
    }

    /// Input samples that must have been pushed before the first `output_samples` are out.
    pub fn input_needed(&self, _output_samples: u64) -> u64 {
        todo!()
    }
}

/// Converts a whole recording.
pub fn resample(_samples: &[f32], _from_hz: u32, _to_hz: u32) -> Result<Vec<f32>, Error> {
    todo!()
}
