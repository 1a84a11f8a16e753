//! Which frames a window holds at a stride; the same rule for calls and for the trainer.
//!
//! | heard | the window |
//! |---|---|
//! | a speech frame while there is none | begins there (onset) |
//! | any frame | grows up to `frames`, then moves on; what is not speech stays in it |
//! | more than `clear_after_seconds` without speech | is cleared |
//! | a hold or a gap | is cleared, and begins anew no earlier than with a frame that lies behind it whole |
//!
//! At a stride it is scored unless nothing is in it or less than `min_speech_ratio` of it is speech ([`NotScored::Silence`]), or
//! less than `min_seconds` lie between its first sample and the stride ([`NotScored::TooShort`]). Where a network takes any length,
//! a window that is not full yet leaves out its oldest frames down to a multiple of `grow_frames`.

use std::{collections::VecDeque, ops::Range};

use serde::{Deserialize, Serialize};

use super::{
    Error, FrontEnd, NotScored,
    listen::{Clock, Listener, RawFrames},
    pipeline::StridePoints,
};

/// Which frames a network is given at once.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WindowOptions {
    /// Frames the network takes at most.
    pub frames: usize,
    /// Where it is given, the network takes shorter windows too: they grow by so many frames at a time, so that there are few lengths
    /// and calls of one length share a batch. Without it a shorter window is padded with 0 behind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grow_frames: Option<usize>,
    /// Least speech, from onset, before anything is scored. Seconds.
    pub min_seconds: f32,
    /// A window with a smaller part of speech is not scored.
    pub min_speech_ratio: f32,
    /// Non-speech after which the window is cleared. Seconds.
    pub clear_after_seconds: f32,
}

/// The state of a leg's window.
#[derive(Debug, Clone)]
pub struct Rule {
    clock: Clock,
    options: WindowOptions,
    min_samples: u64,
    clear_after_frames: u64,
    /// Frames heard.
    heard: u64,
    /// The first frame after a speech onset.
    onset: Option<u64>,
    /// No window begins before this frame.
    not_before: u64,
    /// Frames since the last speech frame.
    quiet: u64,
    /// Whether each of the last `frames` frames is speech.
    speech: VecDeque<bool>,
}

/// A window to be scored.
#[derive(Debug, Clone, PartialEq)]
pub struct Window {
    /// Its frames.
    pub frames: Range<u64>,
    /// Part of them that is speech.
    pub speech_ratio: f32,
}

/// What a call would have been told at one stride of a recording.
#[derive(Debug, Clone, PartialEq)]
pub struct Served {
    /// Samples of the recording heard by then.
    pub at_samples: u64,
    /// The window, or why there is none.
    pub outcome: Result<Window, NotScored>,
}

/// What a call meets.
pub(super) enum Step {
    /// A frame of the recording.
    Frame(usize),
    /// A stride.
    Stride(Served),
}

impl WindowOptions {
    /// Checks that the options make sense for a front end.
    ///
    /// # Errors
    /// [`Error::Window`] names the option and its range.
    pub fn validate(&self, front_end: &FrontEnd) -> Result<(), Error> {
        let check = |name, actual: f64, range: std::ops::RangeInclusive<f64>| {
            if range.contains(&actual) {
                return Ok(());
            }
            let expected = format!("from {} to {}", range.start(), range.end());
            Err(Error::Window { name, expected, actual: actual.to_string() })
        };
        // A minute is far more than a feeling lasts, and bounds what a leg keeps.
        let most = 60.0 * front_end.frame_rate();
        check("frames", self.frames as f64, 1.0..=most.floor())?;
        if let Some(grow) = self.grow_frames {
            check("grow_frames", grow as f64, 1.0..=self.frames as f64)?;
        }
        check("min_seconds", self.min_seconds.into(), 0.0..=self.frames as f64 / front_end.frame_rate())?;
        check("min_speech_ratio", self.min_speech_ratio.into(), 0.0..=1.0)?;
        check("clear_after_seconds", self.clear_after_seconds.into(), 0.0..=3_600.0)
    }

    /// Frames of a window for which so many are there; the newest are taken.
    pub fn taken_frames(&self, there: usize) -> usize {
        match self.grow_frames {
            Some(grow) if (grow..self.frames).contains(&there) => there / grow * grow,
            _ => there.min(self.frames),
        }
    }

    /// Frames that the network is given for a window of so many.
    pub fn network_frames(&self, taken: usize) -> usize {
        if self.grow_frames.is_some() { taken } else { self.frames }
    }
}

impl Rule {
    /// No window yet. The options are valid.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "validated to be small and not negative"
    )]
    pub(super) fn new(options: &WindowOptions, clock: Clock) -> Self {
        Self {
            clock,
            min_samples: (f64::from(options.min_seconds) * clock.source_hz as f64).round() as u64,
            clear_after_frames: (f64::from(options.clear_after_seconds) / clock.hop_seconds()).floor() as u64,
            heard: 0,
            onset: None,
            not_before: 0,
            quiet: 0,
            speech: VecDeque::with_capacity(options.frames),
            options: options.clone(),
        }
    }

    /// Takes the next frame in.
    pub(super) fn push(&mut self, speech: bool) {
        if self.speech.len() == self.options.frames {
            self.speech.pop_front();
        }
        self.speech.push_back(speech);
        if speech {
            self.quiet = 0;
            if self.onset.is_none() && self.heard >= self.not_before {
                self.onset = Some(self.heard);
            }
        } else {
            self.quiet += 1;
            if self.quiet > self.clear_after_frames {
                self.onset = None;
            }
        }
        self.heard += 1;
    }

    /// Forgets the window; the next begins no earlier than with a frame that begins at sample `at_samples`.
    pub(super) fn clear(&mut self, at_samples: u64) {
        self.onset = None;
        self.not_before = self.clock.first_frame_from(at_samples);
    }

    /// What is to be scored when `at_samples` were heard.
    pub(super) fn window(&self, at_samples: u64) -> Result<Window, NotScored> {
        let onset = self.onset.ok_or(NotScored::Silence)?;
        let there = usize::try_from(self.heard - onset).unwrap_or(usize::MAX).min(self.options.frames);
        let since = self.clock.start(self.heard - there as u64);
        if at_samples.saturating_sub(since) < self.min_samples {
            return Err(NotScored::TooShort);
        }
        let taken = self.options.taken_frames(there) as u64;
        let speech_ratio = self.speech_ratio(taken);
        if speech_ratio < self.options.min_speech_ratio {
            return Err(NotScored::Silence);
        }
        Ok(Window { frames: self.heard - taken..self.heard, speech_ratio })
    }

    /// Part of the last `frames` frames that is speech.
    fn speech_ratio(&self, frames: u64) -> f32 {
        let spoken =
            (0_u64..).zip(self.speech.iter().rev()).take_while(|(age, _)| *age < frames).filter(|(_, speech)| **speech);
        spoken.count() as f32 / frames.max(1) as f32
    }
}

/// The strides of a recording and the windows served at them: what a [`super::Pipeline`] yields for the same samples.
///
/// # Errors
/// An [`Error`] when the options do not fit the front end, or the recording's rate or the stride is not supported.
pub fn served(
    raw: &RawFrames,
    front_end: &FrontEnd,
    options: &WindowOptions,
    stride_seconds: f64,
) -> Result<Vec<Served>, Error> {
    let mut served = Vec::new();
    walk(raw, front_end, options, stride_seconds, |step| {
        if let Step::Stride(stride) = step {
            served.push(stride);
        }
    })?;
    Ok(served)
}

/// Tells a recording's frames and strides in the order in which a call meets them.
pub(super) fn walk(
    raw: &RawFrames,
    front_end: &FrontEnd,
    options: &WindowOptions,
    stride_seconds: f64,
    mut tell: impl FnMut(Step),
) -> Result<(), Error> {
    options.validate(front_end)?;
    let listener = Listener::new(front_end, raw.source_hz, false)?;
    let mut points = StridePoints::new(raw.source_hz, stride_seconds)?;
    let mut rule = Rule::new(options, listener.clock());
    let mut frames = raw.speech.iter().enumerate();
    let mut told = 0;
    while points.next_samples() <= raw.samples {
        let at_samples = points.advance();
        while listener.samples_needed(told + 1) <= at_samples {
            let Some((frame, &speech)) = frames.next() else { break };
            rule.push(speech);
            tell(Step::Frame(frame));
            told += 1;
        }
        tell(Step::Stride(Served { at_samples, outcome: rule.window(at_samples) }));
    }
    if frames.len() > 0 {
        for (frame, &speech) in frames {
            rule.push(speech);
            tell(Step::Frame(frame));
        }
        tell(Step::Stride(Served { at_samples: raw.samples, outcome: rule.window(raw.samples) }));
    }
    Ok(())
}
