//! Reading WAV and FLAC files, by symphonia.
//!
//! WAV: 8 to 32-bit integer, 32 and 64-bit float, µ-law, A-law. FLAC is checked against its own checksum. A file that holds less
//! than its header says is refused: half a recording would be scored as if it were whole.

use std::{io::Cursor, path::Path};

use symphonia::core::{
    codecs::audio::AudioDecoderOptions,
    errors::Error as DecodeError,
    formats::{FormatOptions, TrackType, probe::Hint},
    io::MediaSourceStream,
    meta::MetadataOptions,
};

/// A recording in memory.
#[derive(Debug, Clone, PartialEq)]
pub struct Recording {
    /// Samples in ±1, one `Vec` a channel.
    pub channels: Vec<Vec<f32>>,
    /// Samples a second.
    pub sample_rate_hz: u32,
}

/// What keeps a file from being read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file could not be opened.
    #[error("cannot open {path}: {source}")]
    Open {
        /// The file.
        path: String,
        /// Why.
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

impl Recording {
    /// The mean of the channels.
    pub fn into_mono(self) -> Vec<f32> {
        let count = self.channels.len() as f32;
        let mut channels = self.channels.into_iter();
        let mut mono = channels.next().unwrap_or_default();
        if count > 1.0 {
            for channel in channels {
                for (sum, sample) in mono.iter_mut().zip(channel) {
                    *sum += sample;
                }
            }
            for sample in &mut mono {
                *sample /= count;
            }
        }
        mono
    }
}

/// Reads a WAV (8 to 32-bit integer, 32-bit float) or FLAC file.
///
/// # Errors
/// [`Error::Open`] when the file cannot be opened, [`Error::Audio`] when it is empty, no audio, cut short or damaged.
pub fn read(path: &Path) -> Result<Recording, Error> {
    let name = path.display().to_string();
    match std::fs::read(path) {
        Ok(bytes) => decode_owned(&name, bytes),
        Err(source) => Err(Error::Open { path: name, source }),
    }
}

/// Reads a WAV or FLAC file that is in memory; `name` stands in errors.
///
/// # Errors
/// [`Error::Audio`] when it is empty, no audio, cut short or damaged.
pub fn decode(name: &str, bytes: &[u8]) -> Result<Recording, Error> {
    decode_owned(name, bytes.to_vec())
}

fn decode_owned(name: &str, bytes: Vec<u8>) -> Result<Recording, Error> {
    samples(bytes).map_err(|reason| Error::Audio { path: name.to_owned(), reason })
}

/// All samples, or why there are none.
fn samples(bytes: Vec<u8>) -> Result<Recording, String> {
    if bytes.is_empty() {
        return Err("it is empty; copy it again".to_owned());
    }
    let stream = MediaSourceStream::new(Box::new(Cursor::new(bytes)), Default::default());
    let mut format = symphonia::default::get_probe()
        .probe(&Hint::new(), stream, FormatOptions::default(), MetadataOptions::default())
        .map_err(|error| format!("{}; convert it to WAV or FLAC first", reason(&error)))?;
    let track = format.default_track(TrackType::Audio).ok_or("it holds no audio")?;
    let (id, promised) = (track.id, track.num_frames);
    let parameters =
        track.codec_params.as_ref().and_then(|parameters| parameters.audio()).ok_or("it holds no audio")?;
    let mut options = AudioDecoderOptions::default();
    options.verify = true;
    let mut decoder = symphonia::default::get_codecs()
        .make_audio_decoder(parameters, &options)
        .map_err(|error| format!("{}; convert it to 16-bit WAV first", reason(&error)))?;
    let mut channels: Vec<Vec<f32>> = Vec::new();
    let mut planes: Vec<Vec<f32>> = Vec::new();
    let mut sample_rate_hz = 0;
    while let Some(packet) = format.next_packet().map_err(|error| damaged(&error))? {
        if packet.track_id != id {
            continue;
        }
        let buffer = decoder.decode(&packet).map_err(|error| damaged(&error))?;
        sample_rate_hz = buffer.spec().rate();
        buffer.copy_to_vecs_planar(&mut planes);
        channels.resize_with(planes.len(), Vec::new);
        for (channel, plane) in channels.iter_mut().zip(&planes) {
            channel.extend_from_slice(plane);
        }
    }
    let read = channels.first().map_or(0, Vec::len);
    if let Some(promised) = promised.filter(|&promised| promised > read as u64) {
        return Err(format!(
            "it is cut short: {read} of the {promised} samples it should hold are there; copy it again"
        ));
    }
    if decoder.finalize().verify_ok == Some(false) {
        return Err("its checksum does not fit its audio, so it is damaged; copy it again".to_owned());
    }
    if read == 0 {
        return Err("it holds no samples".to_owned());
    }
    if channels.iter().flatten().any(|sample| !sample.is_finite()) {
        return Err("some of its samples are no numbers; convert it to 16-bit WAV first".to_owned());
    }
    Ok(Recording { channels, sample_rate_hz })
}

fn damaged(error: &DecodeError) -> String {
    format!("it is cut short or damaged ({}); copy it again", reason(error))
}

/// The decoder's own words without its prefixes.
fn reason(error: &DecodeError) -> String {
    match error {
        DecodeError::DecodeError(reason) | DecodeError::Unsupported(reason) => (*reason).to_owned(),
        DecodeError::IoError(error) => error.to_string(),
        other => other.to_string(),
    }
}
