//! Puts a WAV's header right before it is read.
//!
//! Whoever writes to a pipe does not know the lengths yet and leaves 0 or a huge number in their place, and so does a recorder that is
//! killed; some recorders write G.711 with the shortest `fmt ` chunk. Both are what the file means to say. A count of channels that makes no sense is refused: the
//! reader multiplies and shifts by it, unchecked.

/// The reader knows as many positions of speakers.
const MOST_CHANNELS: u16 = 26;
/// Lengths from here on stand for "not known yet": ffmpeg writes 2^32 - 1, sox a little less than 2^31.
const UNKNOWN_FROM: u32 = 0x7FFF_0000;
/// `WAVE_FORMAT_ALAW` and `WAVE_FORMAT_MULAW`.
const G711: [u16; 2] = [6, 7];
/// The `fmt ` chunk of PCM; any other has the length of its extension behind it, 0 or more.
const PCM_FORMAT_BYTES: u32 = 16;

/// One chunk: its name, where its content begins, and how long it says it is.
struct Chunk {
    name: [u8; 4],
    at: usize,
    length: u32,
}

/// The file as its header means it. What is no WAV is given back as it is.
///
/// # Errors
/// The count of channels is impossible.
pub(super) fn mend(mut bytes: Vec<u8>) -> Result<Vec<u8>, String> {
    let Some(riff) = chunk(&bytes, 0).filter(|riff| &riff.name == b"RIFF" && bytes.get(8..12) == Some(b"WAVE")) else {
        return Ok(bytes);
    };
    let mut at = riff.at + 4;
    let mut short_format = None;
    while let Some(chunk) = chunk(&bytes, at) {
        match &chunk.name {
            b"fmt " => {
                if let Some(channels) = word(&bytes, chunk.at + 2).filter(|count| !(1..=MOST_CHANNELS).contains(count))
                {
                    return Err(format!(
                        "its header tells of {channels} channels, expected 1 to {MOST_CHANNELS}; copy it again, or convert it to 16-bit WAV"
                    ));
                }
                let g711 = word(&bytes, chunk.at).is_some_and(|format| G711.contains(&format));
                short_format = (g711 && chunk.length == PCM_FORMAT_BYTES).then_some(chunk.at);
            }
            b"data" => {
                if is_unknown(&bytes, &chunk) {
                    // The file's own length may have been known, and more than is there.
                    let told = riff.at.saturating_add(riff.length as usize);
                    let known = riff.length < UNKNOWN_FROM && told > chunk.at;
                    let end = if known { told } else { bytes.len() };
                    set_length(&mut bytes, chunk.at, end - chunk.at);
                    set_length(&mut bytes, riff.at, end - riff.at);
                }
                break;
            }
            _ => {}
        }
        // Chunks begin at even bytes.
        let length = chunk.length as usize;
        at = chunk.at.saturating_add(length).saturating_add(length % 2);
    }
    if let Some(at) = short_format.filter(|at| at + PCM_FORMAT_BYTES as usize <= bytes.len()) {
        let end = at + PCM_FORMAT_BYTES as usize;
        bytes.splice(end..end, [0, 0]);
        set_length(&mut bytes, at, PCM_FORMAT_BYTES as usize + 2);
        let length = chunk(&bytes, 0).map_or(0, |riff| riff.length as usize);
        set_length(&mut bytes, riff.at, length.saturating_add(2));
    }
    Ok(bytes)
}

fn chunk(bytes: &[u8], at: usize) -> Option<Chunk> {
    let head = bytes.get(at..at.checked_add(8)?)?;
    let name = head[..4].try_into().ok()?;
    let length = u32::from_le_bytes(head[4..].try_into().ok()?);
    Some(Chunk { name, at: at + 8, length })
}

fn word(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..at + 2).map(|word| u16::from_le_bytes([word[0], word[1]]))
}

/// Whether the length of the samples stands for what the writer did not know. Where it is 0, they may be none, and other chunks follow.
fn is_unknown(bytes: &[u8], data: &Chunk) -> bool {
    let there = bytes.len() - data.at;
    if data.length == 0 {
        !is_chunks(bytes, data.at)
    } else {
        data.length >= UNKNOWN_FROM && data.length as usize > there
    }
}

/// Whether nothing but whole chunks is there from `at` on.
fn is_chunks(bytes: &[u8], mut at: usize) -> bool {
    while at < bytes.len() {
        let Some(chunk) = chunk(bytes, at) else { return false };
        let length = chunk.length as usize;
        // The last may lack the byte that makes it even.
        at = chunk.at.saturating_add(length);
        at = if at == bytes.len() { at } else { at.saturating_add(length % 2) };
    }
    at == bytes.len()
}

/// Sets the length of the chunk whose content begins at `at`.
fn set_length(bytes: &mut [u8], at: usize, length: usize) {
    let length = u32::try_from(length).unwrap_or(u32::MAX);
    bytes[at - 4..at].copy_from_slice(&length.to_le_bytes());
}

#[cfg(test)]
mod tests {
    use crate::audio::file::{Recording, decode};

    /// A WAV of these samples: format, bytes of its chunk, and the lengths that stand in the header.
    fn wav(format: u16, format_bytes: u32, lengths: Option<u32>, data: &[u8]) -> Vec<u8> {
        let bytes_a_sample = if format == 1 { 2 } else { 1 };
        let mut bytes = b"RIFF".to_vec();
        let length = 4 + 8 + format_bytes + 8 + data.len() as u32;
        bytes.extend(lengths.unwrap_or(length).to_le_bytes());
        bytes.extend(b"WAVEfmt ");
        bytes.extend(format_bytes.to_le_bytes());
        for word in [format, 1, 8000, 0, 8000 * bytes_a_sample, 0, bytes_a_sample, 8 * bytes_a_sample] {
            bytes.extend(word.to_le_bytes());
        }
        bytes.extend(vec![0; format_bytes as usize - 16]);
        bytes.extend(b"data");
        bytes.extend(lengths.unwrap_or(data.len() as u32).to_le_bytes());
        bytes.extend(data);
        bytes
    }

    fn read(bytes: &[u8]) -> Recording {
        decode("a.wav", bytes).expect("readable")
    }

    #[test]
    fn lengths_that_the_writer_did_not_know_are_those_of_the_file() {
        let data: Vec<u8> = (0..4000_u32).map(|n| (n % 251) as u8).collect();
        let known = read(&wav(1, 16, None, &data));
        assert_eq!(known.channels[0].len(), 2000);
        for unknown in [0, u32::MAX, 0x7FFF_F024] {
            assert_eq!(read(&wav(1, 16, Some(unknown), &data)), known, "{unknown:#x}");
        }
        // A length that is known and not there is still a recording cut short.
        assert!(decode("a.wav", &wav(1, 16, Some(9000), &data)).is_err());
    }

    #[test]
    fn a_length_that_stands_for_none_is_found_where_the_files_own_is_right_or_that_of_an_empty_one() {
        let data: Vec<u8> = (0..4000_u32).map(|n| (n % 251) as u8).collect();
        let whole = wav(1, 16, None, &data);
        let known = read(&whole);
        let with = |riff: u32, data: u32| {
            let mut bytes = whole.clone();
            bytes[4..8].copy_from_slice(&riff.to_le_bytes());
            bytes[40..44].copy_from_slice(&data.to_le_bytes());
            bytes
        };
        for (riff, data) in [(4036, u32::MAX), (4036, 0), (36, 0), (0, 0), (u32::MAX, 0)] {
            assert_eq!(read(&with(riff, data)), known, "{riff} and {data}");
        }
        // The file's length is known, and more than is there.
        assert!(decode("a.wav", &with(9000, u32::MAX)).unwrap_err().to_string().contains("copy it again"));
        // No samples, but another chunk.
        let mut empty = wav(1, 16, None, b"");
        empty.extend(b"LIST\x05\0\0\0INFO.");
        empty[4..8].copy_from_slice(&(36 + 13_u32).to_le_bytes());
        assert!(decode("a.wav", &empty).unwrap_err().to_string().contains("no samples"));
    }

    #[test]
    fn g711_with_the_shortest_format_chunk_is_read() {
        let data: Vec<u8> = (0..=255).collect();
        for format in super::G711 {
            let known = read(&wav(format, 18, None, &data));
            assert_eq!(known.channels[0].len(), 256);
            assert_eq!(read(&wav(format, 16, None, &data)), known);
            assert_eq!(read(&wav(format, 16, Some(u32::MAX), &data)), known);
        }
    }
}
