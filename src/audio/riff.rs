//! Looks at a WAV's header before it is read: the reader multiplies and shifts by what it finds there, unchecked.

/// WAV's speaker positions; the reader knows no more.
const MOST_CHANNELS: u16 = 26;

/// Whether the count of channels in the `fmt ` chunk makes sense; what it is to be otherwise. Bytes that are no WAV, or have no such
/// chunk, are left to the reader.
pub(super) fn check(bytes: &[u8]) -> Result<(), String> {
    let Some(channels) = format_chunk(bytes).and_then(|format| format.get(2..4)) else { return Ok(()) };
    let channels = u16::from_le_bytes([channels[0], channels[1]]);
    if (1..=MOST_CHANNELS).contains(&channels) {
        return Ok(());
    }
    Err(format!(
        "its header tells of {channels} channels, expected 1 to {MOST_CHANNELS}; copy it again, or convert it to 16-bit WAV"
    ))
}

/// The content of the `fmt ` chunk, as far as it is there.
fn format_chunk(bytes: &[u8]) -> Option<&[u8]> {
    if bytes.get(..4)? != b"RIFF" || bytes.get(8..12)? != b"WAVE" {
        return None;
    }
    let mut rest = bytes.get(12..)?;
    loop {
        let (name, length) = (rest.get(..4)?, rest.get(4..8)?);
        let length = u32::from_le_bytes([length[0], length[1], length[2], length[3]]) as usize;
        let content = &rest[8..];
        if name == b"fmt " {
            return Some(&content[..length.min(content.len())]);
        }
        // Chunks begin at even bytes.
        rest = content.get(length.checked_add(length % 2)?..)?;
    }
}
