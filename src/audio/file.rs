//! Reading WAV and FLAC files.

use std::path::Path;

/// A recording in memory.
#[derive(Debug, Clone, PartialEq)]
pub struct Recording {
    /// Samples in ±1, one `Vec` a channel.
    pub channels: Vec<Vec<f32>>,
    /// Samples a second.
    pub sample_rate_hz: u32,
}

impl Recording {
    /// The mean of the channels.
    pub fn into_mono(self) -> Vec<f32> {
        todo!()
    }
}

/// What keeps a file from being read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file could not be opened.
    #[error("cannot open {path}")]
    Open {
        /// The file.
        path: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The file is no WAV or FLAC, or is damaged.
    #[error("{path} is no readable WAV or FLAC audio: {reason}")]
    Audio {
        /// The file.
        path: String,
        /// Why.
        reason: String,
    },
}

/// Reads a WAV (8 to 32-bit integer, 32-bit float) or FLAC file.
pub fn read(_path: &Path) -> Result<Recording, Error> {
    todo!()
}

/// Reads a WAV or FLAC file that is in memory; `name` stands in errors.
pub fn decode(_name: &str, _bytes: &'static [u8]) -> Result<Recording, Error> {
    todo!()
}
