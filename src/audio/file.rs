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

use super::riff;

/// Bytes before the first sample of a FLAC; those of a WAV are two more.
const SHORTEST_HEAD: usize = 42;

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
    /// It is a folder.
    #[error("{path} is a folder; name files, such as {path}/*.wav")]
    Folder {
        /// The folder.
        path: String,
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
/// [`Error::Folder`] and [`Error::Open`] when it cannot be opened, [`Error::Audio`] when it is empty, no audio, cut short or damaged.
pub fn read(path: &Path) -> Result<Recording, Error> {
    let name = path.display().to_string();
    if path.is_dir() {
        return Err(Error::Folder { path: name.trim_end_matches('/').to_owned() });
    }
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
    // No damage is known that makes the reader panic, but one bad file must not end what is done with thousands.
    std::panic::catch_unwind(|| samples(bytes))
        .unwrap_or_else(|_| Err("it makes no sense; copy it again, or convert it to 16-bit WAV".to_owned()))
        .map_err(|reason| Error::Audio { path: name.to_owned(), reason })
}

/// All samples, or why there are none.
fn samples(bytes: Vec<u8>) -> Result<Recording, String> {
    if bytes.is_empty() {
        return Err("it is empty; copy it again".to_owned());
    }
    let begins_well = bytes.starts_with(b"RIFF") || bytes.starts_with(b"fLaC");
    if begins_well && bytes.len() < SHORTEST_HEAD {
        return Err("it is cut short: not even its head is whole; copy it again".to_owned());
    }
    let stream = MediaSourceStream::new(Box::new(Cursor::new(riff::mend(bytes)?)), Default::default());
    let mut format = symphonia::default::get_probe()
        .probe(&Hint::new(), stream, FormatOptions::default(), MetadataOptions::default())
        .map_err(|error| match error {
            DecodeError::IoError(_) | DecodeError::DecodeError(_) if begins_well => damaged(&error),
            _ => format!("{}; convert it to WAV or FLAC first", reason(&error)),
        })?;
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
        DecodeError::Unsupported("core (probe): no suitable format reader found") => {
            "it begins like neither".to_owned()
        }
        DecodeError::DecodeError(reason) | DecodeError::Unsupported(reason) => {
            reason.strip_prefix("core (codec): ").unwrap_or(reason).to_owned()
        }
        DecodeError::IoError(error) => error.to_string(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use hound::{SampleFormat, WavSpec, WavWriter};

    use super::*;

    fn wav(bits_per_sample: u16, sample_format: SampleFormat, channels: u16) -> Vec<u8> {
        let spec = WavSpec { channels, sample_rate: 16_000, bits_per_sample, sample_format };
        let mut bytes = Cursor::new(Vec::new());
        let mut writer = WavWriter::new(&mut bytes, spec).expect("a valid format");
        for n in 0..1_600 * u32::from(channels) {
            let sample = sample(n / u32::from(channels), n % u32::from(channels));
            if sample_format == SampleFormat::Float {
                writer.write_sample(sample).expect("in memory");
            } else {
                let full_scale = (1_i64 << (bits_per_sample - 1)) as f32;
                #[expect(clippy::cast_possible_truncation, reason = "half of full scale fits")]
                writer.write_sample((sample * full_scale) as i32).expect("in memory");
            }
        }
        writer.finalize().expect("in memory");
        bytes.into_inner()
    }

    fn sample(n: u32, channel: u32) -> f32 {
        (n as f32 * 0.05).sin() * if channel == 0 { 0.5 } else { -0.25 }
    }

    fn reason(bytes: &[u8]) -> String {
        let error = decode("a.wav", bytes).expect_err("refused").to_string();
        assert!(error.starts_with("a.wav is no readable WAV or FLAC audio: "), "{error}");
        error
    }

    #[test]
    fn every_kind_of_wav_is_read() {
        for (bits, format) in
            [8, 16, 24, 32].map(|bits| (bits, SampleFormat::Int)).into_iter().chain([(32, SampleFormat::Float)])
        {
            let recording = decode("a.wav", &wav(bits, format, 2)).expect("readable");
            assert_eq!((recording.sample_rate_hz, recording.channels.len()), (16_000, 2));
            let step = if format == SampleFormat::Float { 1e-7 } else { 1.1 / 2_f32.powi(i32::from(bits.min(24)) - 1) };
            for (channel, samples) in (0..).zip(&recording.channels) {
                assert_eq!(samples.len(), 1_600);
                for (n, actual) in (0..).zip(samples) {
                    assert!((actual - sample(n, channel)).abs() <= step, "{bits} bits {format:?}: {actual} at {n}");
                }
            }
        }
    }

    #[test]
    fn channels_are_mixed_to_their_mean() {
        let recording = Recording { channels: vec![vec![0.5, 0.0], vec![-0.25, 1.0]], sample_rate_hz: 8_000 };
        assert_eq!(recording.into_mono(), [0.125, 0.5]);
    }

    #[test]
    fn what_is_no_audio_is_refused() {
        assert!(reason(&[]).contains("empty"));
        assert!(reason(b"Dear diary, today I wrote a text file and called it audio.").contains("convert it"));
    }

    #[test]
    fn half_a_recording_is_refused() {
        let bytes = wav(16, SampleFormat::Int, 1);
        assert!(reason(&bytes[..bytes.len() / 2]).contains("copy it again"));
    }

    #[test]
    fn a_head_without_a_body_is_a_recording_cut_short() {
        for bits in [16, 24] {
            let bytes = wav(bits, SampleFormat::Int, 1);
            for length in (1..9).chain([12, 20, 30, 36, 40, 44, 50]) {
                let reason = reason(&bytes[..length]);
                // Less than its name tells nothing.
                assert_eq!(reason.contains("copy it again"), length >= 4, "{length} bytes: {reason}");
            }
        }
        assert!(reason(b"fLaC").contains("copy it again"));
    }

    #[test]
    fn a_folder_is_told() {
        let dir = tempfile::tempdir().expect("a folder");
        let error = read(dir.path()).expect_err("refused").to_string();
        assert!(error.contains("is a folder; name files, such as") && error.ends_with("/*.wav"), "{error}");
    }

    #[test]
    fn samples_that_are_no_numbers_are_refused() {
        let mut bytes = wav(32, SampleFormat::Float, 1);
        let end = bytes.len();
        bytes[end - 4..].copy_from_slice(&f32::NAN.to_le_bytes());
        assert!(reason(&bytes).contains("no numbers"));
    }

    #[test]
    fn a_missing_file_is_named() {
        let error = read(&PathBuf::from("no/such/file.wav")).expect_err("refused").to_string();
        assert!(error.starts_with("cannot open no/such/file.wav: "), "{error}");
    }

    #[test]
    fn no_damaged_header_makes_the_reader_panic() {
        // A plain header, and an extensible one.
        for bytes in [wav(16, SampleFormat::Int, 1), wav(24, SampleFormat::Int, 2)] {
            for at in 0..80 {
                for value in [0, 1, 0x7F, 0x80, 0xFF] {
                    let mut damaged = bytes.clone();
                    damaged[at] = value;
                    // Not caught, unlike in `decode`: what a panic prints cannot be taken back.
                    let _ = samples(damaged);
                }
            }
        }
    }

    #[test]
    fn a_header_that_tells_of_thousands_of_channels_is_refused_in_its_own_words() {
        for (bits, channels) in [(16, 0xFF01_u16), (24, 0xFF02), (16, 0)] {
            let mut bytes = wav(bits, SampleFormat::Int, 1);
            bytes[22..24].copy_from_slice(&channels.to_le_bytes());
            assert!(reason(&bytes).contains(&format!("its header tells of {channels} channels")));
        }
    }
}
