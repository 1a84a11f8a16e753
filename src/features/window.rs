//! Which frames a window holds at a stride; the same rule for calls and for the trainer.
//!
//! | heard | the window |
//! |---|---|
//! | a speech frame while there is none | begins there (onset) |
//! | any frame | grows up to `frames`, then moves on; what is not speech stays in it |
//! | more than `clear_after_seconds` without speech | is cleared |
//! | a hold or a gap | is cleared, and begins anew no earlier than with a frame that lies behind it whole |
//!
//! What is speech is judged by what is known at the stride: a frame may turn out to be music after all, and then no window began there.
//!
//! At a stride it is scored unless nothing is in it or less than `min_speech_ratio` of it is speech (silence, noise, tone or music:
//! whichever there is most of), less than `min_seconds` lie between its first sample and the stride ([`NotScored::TooShort`]), or speech
//! stands less than [`LEAST_SNR_DB`] above what is heard behind it ([`NotScored::LowSnr`]). Where a network takes any length,
//! a window that is not full yet leaves out its oldest frames down to a multiple of `grow_frames`.

use std::{collections::VecDeque, ops::Range};

use serde::{Deserialize, Serialize};

use super::{
    Error, FrontEnd, NotScored,
    listen::{Again, Clock, Listener, RawFrames},
    pipeline::StridePoints,
};
use crate::audio::gate::{Activity, Finding};

/// Below this speech has drowned: models are trained on speech 10 dB above the noise and more.
pub const LEAST_SNR_DB: f32 = 5.0;
/// For so long what a frame is may still change: the gate's longest look back, and a block.
const UNSETTLED_SECONDS: f64 = 0.9;
/// A stretch without a window is judged by so much of what was heard last, or all since the stride before.
const REASON_SECONDS: f64 = 0.5;

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
    /// Frames whose finding may still change.
    unsettled: u64,
    /// Frames that a reason is looked for in at least.
    reason_frames: u64,
    /// Frames heard.
    heard: u64,
    /// As of the frames that are settled.
    settled: Onset,
    /// No window begins before this frame.
    not_before: u64,
    /// Frames heard at the stride before.
    asked: u64,
    /// What each of the last frames is, at least as many as a window has and as are not settled.
    findings: VecDeque<Finding>,
}

/// Where a window begins.
#[derive(Debug, Clone, Copy, Default)]
struct Onset {
    /// Frames looked at.
    frames: u64,
    /// The first frame after a speech onset.
    at: Option<u64>,
    /// Frames since the last speech frame.
    quiet: u64,
}

/// A window to be scored.
#[derive(Debug, Clone, PartialEq)]
pub struct Window {
    /// Its frames.
    pub frames: Range<u64>,
    /// Part of them that is speech.
    pub speech_ratio: f32,
    /// How far speech stands above what is heard behind it, in dB; `None` without a gate.
    pub snr_db: Option<f32>,
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
    /// A frame of the recording, and whether it is speech as far as is known.
    Frame(usize, bool),
    /// Whether an earlier one is, now that more was heard.
    Again(usize, bool),
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
        let frames = |seconds: f64| (seconds / clock.hop_seconds()).ceil() as u64;
        let unsettled = frames(UNSETTLED_SECONDS);
        Self {
            clock,
            min_samples: (f64::from(options.min_seconds) * clock.source_hz as f64).round() as u64,
            clear_after_frames: (f64::from(options.clear_after_seconds) / clock.hop_seconds()).floor() as u64,
            unsettled,
            reason_frames: frames(REASON_SECONDS),
            heard: 0,
            settled: Onset::default(),
            not_before: 0,
            asked: 0,
            findings: VecDeque::with_capacity(options.frames.max(unsettled as usize + 1) + 1),
            options: options.clone(),
        }
    }

    /// Bytes that it takes beside itself.
    pub(super) fn bytes(&self) -> usize {
        self.findings.capacity() * size_of::<Finding>()
    }

    /// Takes the next frame in.
    pub(super) fn push(&mut self, finding: Finding) {
        self.findings.push_back(finding);
        self.heard += 1;
        if self.heard - self.settled.frames > self.unsettled {
            let speech = self.finding(self.settled.frames).activity == Activity::Speech;
            self.settled = self.onset_after(self.settled, speech);
        }
        if self.findings.len() as u64 > (self.options.frames as u64).max(self.unsettled + 1) {
            self.findings.pop_front();
        }
    }

    /// Takes in what is known of an earlier frame now; whether it was speech before, if it is still kept.
    pub(super) fn again(&mut self, frame: u64, finding: Finding) -> Option<bool> {
        let first = self.heard - self.findings.len() as u64;
        let known = self.findings.get_mut(usize::try_from(frame.checked_sub(first)?).ok()?)?;
        Some(std::mem::replace(known, finding).activity == Activity::Speech)
    }

    /// Forgets the window; the next begins no earlier than with a frame that begins at sample `at_samples`.
    pub(super) fn clear(&mut self, at_samples: u64) {
        self.settled.at = None;
        self.not_before = self.clock.first_frame_from(at_samples);
    }

    /// What is to be scored when `at_samples` were heard.
    pub(super) fn window(&mut self, at_samples: u64) -> Result<Window, NotScored> {
        let since = std::mem::replace(&mut self.asked, self.heard);
        let mut onset = self.settled;
        while onset.frames < self.heard {
            onset = self.onset_after(onset, self.finding(onset.frames).activity == Activity::Speech);
        }
        let Some(onset) = onset.at else { return Err(self.reason((self.heard - since).max(self.reason_frames))) };
        let there = usize::try_from(self.heard - onset).unwrap_or(usize::MAX).min(self.options.frames);
        let since = self.clock.start(self.heard - there as u64);
        if at_samples.saturating_sub(since) < self.min_samples {
            return Err(NotScored::TooShort);
        }
        let taken = self.options.taken_frames(there) as u64;
        let speech: Vec<&Finding> = self.last(taken).filter(|finding| finding.activity == Activity::Speech).collect();
        let speech_ratio = speech.len() as f32 / taken.max(1) as f32;
        if speech_ratio < self.options.min_speech_ratio {
            return Err(self.reason(taken));
        }
        let snr_db = snr_db(&speech);
        if snr_db.is_some_and(|snr_db| snr_db < LEAST_SNR_DB) {
            return Err(NotScored::LowSnr);
        }
        Ok(Window { frames: self.heard - taken..self.heard, speech_ratio, snr_db })
    }

    /// What is known of a frame that is kept.
    fn finding(&self, frame: u64) -> Finding {
        let index = frame + self.findings.len() as u64 - self.heard;
        self.findings[usize::try_from(index).expect("a window's frames fit into memory")]
    }

    /// The last frames, as far as they are kept.
    fn last(&self, frames: u64) -> impl Iterator<Item = &Finding> {
        self.findings.iter().rev().take(usize::try_from(frames).unwrap_or(usize::MAX))
    }

    /// One frame later.
    fn onset_after(&self, mut onset: Onset, speech: bool) -> Onset {
        if speech {
            onset.quiet = 0;
            if onset.frames >= self.not_before {
                onset.at.get_or_insert(onset.frames);
            }
        } else {
            onset.quiet += 1;
            if onset.quiet > self.clear_after_frames {
                onset.at = None;
            }
        }
        onset.frames += 1;
        onset
    }

    /// What there is most of in the last frames but speech.
    fn reason(&self, frames: u64) -> NotScored {
        let mut counts = [(NotScored::Silence, 0), (NotScored::Noise, 0), (NotScored::Tone, 0), (NotScored::Music, 0)];
        for finding in self.last(frames) {
            match finding.activity {
                Activity::Speech => {}
                Activity::Silence => counts[0].1 += 1,
                Activity::Noise => counts[1].1 += 1,
                Activity::Tone => counts[2].1 += 1,
                Activity::Music => counts[3].1 += 1,
            }
        }
        // Of equals the last: what sounds is more of a reason than what does not.
        counts.into_iter().max_by_key(|(_, count)| *count).map_or(NotScored::Silence, |(reason, _)| reason)
    }
}

/// How far speech stands above what is heard behind it; `None` where nothing is known of either.
fn snr_db(speech: &[&Finding]) -> Option<f32> {
    let (power, background) = speech
        .iter()
        .fold((0.0, 0.0), |(power, background), finding| (power + finding.power, background + finding.background));
    (background > 0.0).then(|| 10.0 * ((power - background).max(f32::MIN_POSITIVE) / background).log10())
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
    let (mut frames, mut again) = (raw.first.iter().enumerate(), raw.again.iter().peekable());
    let mut told = 0;
    // All that depends on no more samples than these, in that order.
    let mut hear = |until: u64, rule: &mut Rule, tell: &mut dyn FnMut(Step)| {
        loop {
            let needed = listener.samples_needed(told + 1);
            let due = frames.len() > 0 && needed <= until;
            let before = if due { needed } else { until };
            while let Some(Again { frame, finding, .. }) = again.next_if(|again| again.at_samples <= before) {
                rule.again(*frame, *finding);
                let frame = usize::try_from(*frame).expect("the recording has it");
                tell(Step::Again(frame, finding.activity == Activity::Speech));
            }
            let Some((frame, finding)) = due.then(|| frames.next()).flatten() else { return frames.len() };
            rule.push(*finding);
            tell(Step::Frame(frame, finding.activity == Activity::Speech));
            told += 1;
        }
    };
    let mut left = raw.first.len();
    while points.next_samples() <= raw.samples {
        let at_samples = points.advance();
        left = hear(at_samples, &mut rule, &mut tell);
        tell(Step::Stride(Served { at_samples, outcome: rule.window(at_samples) }));
    }
    if left > 0 {
        hear(u64::MAX, &mut rule, &mut tell);
        tell(Step::Stride(Served { at_samples: raw.samples, outcome: rule.window(raw.samples) }));
    }
    Ok(())
}
