//! What of a clip is scored at once.

use std::{fmt, str::FromStr};

/// What is scored.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Window {
    /// Whole clips: the mean of the calibrated probabilities over the windows that a call would be served.
    Whole,
    /// Whole clips as one padded window, cut at the model's length: the thesis's own.
    Clip,
    /// Every full window of so many seconds at the served stride; a shorter clip gives one, padded.
    Seconds(f32),
}

impl Window {
    /// Seconds of a window; `None` for whole clips.
    pub fn seconds(self) -> Option<f32> {
        match self {
            Self::Whole | Self::Clip => None,
            Self::Seconds(seconds) => Some(seconds),
        }
    }
}

impl FromStr for Window {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "whole" => Ok(Self::Whole),
            "clip" => Ok(Self::Clip),
            _ => match text.parse() {
                Ok(seconds) if (0.5..=60.0).contains(&seconds) => Ok(Self::Seconds(seconds)),
                _ => Err("expected whole, clip, or seconds from 0.5 to 60".to_owned()),
            },
        }
    }
}

impl fmt::Display for Window {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole => out.write_str("whole"),
            Self::Clip => out.write_str("clip"),
            Self::Seconds(seconds) => write!(out, "{seconds}"),
        }
    }
}

/// Frames that hold so many seconds.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "at most 60 s, and positive")]
pub(super) fn frames(seconds: f32, frame_rate: f64) -> usize {
    (f64::from(seconds) * frame_rate).ceil() as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_are_words_or_seconds() {
        for text in ["whole", "clip", "2", "1.5"] {
            assert_eq!(text.parse::<Window>().unwrap().to_string(), text);
        }
        for text in ["", "half", "0.1", "NaN", "-2", "61"] {
            assert!(text.parse::<Window>().is_err(), "{text}");
        }
    }
}
